"""A Cluster: a lane per node and kind of work; answers that point elsewhere are followed."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from redis.asyncio import RedisCluster
from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from recollect.errors import StoreUnavailable
from recollect.stores.redis.failures import Lost, NotSent
from recollect.stores.redis.lane import Command, Lane
from recollect.stores.redis.places import Kind, Settings, connected, connection_to

Address = tuple[str, int]
_PAUSE = 0.05  # seconds between tries while the Cluster is changing
_CHANGING = (MovedError, AskError, ClusterDownError, TryAgainError, ReadOnlyError)


class Cluster:
    """The nodes of a Cluster, found from some of them.

    Args:
        seeds: nodes to ask first.
        settings: what connections are told beside the address.
        timeout: seconds within which an answer must come, and a changing Cluster must be whole again.
    """

    is_cluster = True

    def __init__(self, seeds: Sequence[Address], settings: Settings, timeout: float) -> None:
        self.where = "the Cluster at " + ",".join(f"{host}:{port}" for host, port in seeds)
        self._seeds = list(seeds)
        self._settings = {name: value for name, value in settings.items() if name != "db"}
        self._timeout = timeout
        self._slots: dict[int, Address] = {}
        self._lanes: dict[tuple[Address, Kind], Lane] = {}

    @property
    def connections(self) -> int:
        """How many are open now."""
        return sum(lane.is_connected for lane in self._lanes.values())

    # ---- calls -----------------------------------------------------------------------------------

    async def call(self, kind: Kind, key: str, command: Command) -> Any:
        """Send a command to the node of the key."""
        (answer,) = await self.call_together(kind, key, (command,))
        if isinstance(answer, ResponseError):
            raise answer
        return answer

    async def call_together(self, kind: Kind, key: str, commands: Sequence[Command]) -> list[Any]:
        """Send commands to the node of the key, wherever it turns out to be."""
        slot = key_slot(key.encode())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        asked: Address | None = None
        while True:
            try:
                answers = await self._send(kind, asked or await self._node(slot), asked, commands)
            except NotSent:
                if loop.time() > deadline:
                    raise
                self._slots.clear()
                asked = None
                await asyncio.sleep(_PAUSE)
                continue
            except Lost:
                self._slots.clear()
                raise
            first = answers[0]
            if not isinstance(first, _CHANGING) or loop.time() > deadline:
                return answers
            asked = await self._follow(slot, first)

    async def call_many(self, kind: Kind, requests: Sequence[tuple[str, Command]]) -> list[Any]:
        """Send what belongs to one node as one packet; what has moved is sent after it."""
        groups: dict[Address, list[int]] = {}
        for at, (key, _) in enumerate(requests):
            groups.setdefault(await self._node(key_slot(key.encode())), []).append(at)
        answers: list[Any] = [None] * len(requests)

        async def ask(node: Address, places: list[int]) -> None:
            try:
                found = await self._send(kind, node, None, [requests[at][1] for at in places])
            except (NotSent, Lost):  # these calls are reads, or may be repeated
                self._slots.clear()
                found = [ClusterDownError("CLUSTERDOWN")] * len(places)
            for at, answer in zip(places, found, strict=True):
                answers[at] = answer
                if isinstance(answer, _CHANGING):
                    key, command = requests[at]
                    (answers[at],) = await self.call_together(kind, key, (command,))

        await asyncio.gather(*(ask(node, places) for node, places in groups.items()))
        return answers

    async def _send(
        self, kind: Kind, node: Address, asked: Address | None, commands: Sequence[Command]
    ) -> list[Any]:
        lane = self._lane(node, kind)
        if asked is not None:
            before: list[Command] = [part for one in commands for part in (("ASKING",), one)]
            return (await lane.call_together(before))[1::2]
        if len(commands) > 1:
            return await lane.call_together(commands)
        try:
            return [await lane.call(commands[0])]
        except ResponseError as error:
            return [error]

    async def _follow(self, slot: int, error: ResponseError) -> Address | None:
        """Learn from an answer where to go; return a node that wants to be asked only this once."""
        if isinstance(error, MovedError):
            self._slots[slot] = (error.host, error.port)
            return None
        if isinstance(error, AskError):
            return (error.host, error.port)
        await asyncio.sleep(_PAUSE)
        if not isinstance(error, TryAgainError):
            self._slots.clear()
        return None

    # ---- nodes -----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Learn who has which slots."""
        await self._learn()

    async def close(self) -> None:
        """Finish and disconnect."""
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))

    async def _node(self, slot: int) -> Address:
        if slot not in self._slots:
            await self._learn()
        if slot not in self._slots:
            raise NotSent(StoreUnavailable(f"{self.where} lacks a node for slot {slot}: try again"))
        return self._slots[slot]

    async def _learn(self) -> None:
        known = {node for node, _ in self._lanes}
        failure: NotSent | None = None
        for node in (*self._seeds, *(known - set(self._seeds))):
            try:
                parts = await self._lane(node, "walk").call(("CLUSTER", "SLOTS"))
            except NotSent as error:
                failure = error
                continue
            except (Lost, ResponseError):
                continue
            for first, last, (host, port, *_), *_ in parts:
                owner = (host.decode() or node[0], int(port))
                self._slots.update(dict.fromkeys(range(first, last + 1), owner))
            return
        raise failure or NotSent(
            StoreUnavailable(f"{self.where} does not say who has which slots: is it a Cluster?")
        )

    def _lane(self, node: Address, kind: Kind) -> Lane:
        if (node, kind) not in self._lanes:
            host, port = node
            settings = {**self._settings, "host": host, "port": port}

            async def connect() -> AbstractConnection:
                return await connected(connection_to(settings, self._timeout))

            self._lanes[node, kind] = Lane(connect, f"redis://{host}:{port}", self._timeout)
        return self._lanes[node, kind]


def at_url(settings: Settings, timeout: float) -> Cluster:
    """Return the Cluster that has a node at that address."""
    seed = (settings.get("host", "localhost"), settings.get("port", 6379))
    return Cluster([seed], settings, timeout)


def of_client(client: RedisCluster, timeout: float) -> Cluster:
    """Return the Cluster a client leads to. Its settings are used; its connections are left to it."""
    nodes = client.nodes_manager.startup_nodes.values()
    seeds = [(str(node.host), int(node.port)) for node in nodes]
    settings: dict[str, Any] = {}
    for node in nodes:
        settings = {**node.connection_kwargs, "connection_class": node.connection_class}
    for name in ("event_dispatcher", "oss_cluster_maint_notifications_handler"):
        with contextlib.suppress(KeyError):
            del settings[name]
    return Cluster(seeds, settings, timeout)
