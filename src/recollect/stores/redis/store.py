"""The store contract on Redis."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self

from redis.asyncio import Redis, RedisCluster
from typing_extensions import override

from recollect.clock import Clock
from recollect.errors import (
    InvalidInput,
    KeyReused,
    LeaseLost,
    SchemaTooNew,
    StoreClosed,
    StoreCorrupt,
    VersionConflict,
    WrongLoop,
)
from recollect.stores.base import SCHEMA_VERSION, Store
from recollect.stores.moments import to_micros
from recollect.stores.records import (
    CallLimits,
    Change,
    Conversation,
    ConversationId,
    Full,
    Head,
    Lease,
    Page,
    Search,
    Slice,
    StoreInfo,
    Swept,
    Totals,
    Written,
)
from recollect.stores.redis import cluster as clusters
from recollect.stores.redis import reads, requests
from recollect.stores.redis.entries import Entries
from recollect.stores.redis.heads import (
    read_head,
    read_items,
    read_kept_head,
    read_written,
)
from recollect.stores.redis.names import Names
from recollect.stores.redis.places import (
    Place,
    Sentinels,
    at_url,
    behind_sentinel,
    of_client,
    read_url,
)
from recollect.stores.redis.runner import Runner
from recollect.stores.redis.sweeping import sweep


class RedisStore(Store):
    """Keeps conversations on Redis or Valkey. Belongs to the event loop it is first used in.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user, password and database. With
            ``sentinels``, what it says beside the address holds for the master.
        client: in place of a URL: a client of redis-py, a Cluster's too. Its settings are used, it is
            never closed by us, and its own retries play no part.
        sentinels: (host, port) of each Sentinel; they name the server.
        service: what Sentinel calls the master.
        sentinel_login: ``username`` and ``password`` of the Sentinels themselves.
        cluster: the URL names a node of a Cluster.
        prefix: begins every key.
        wait_replicas: how many replicas must have a write before it counts as done.
        timeout: how long an answer may take.
        clock: the source of all times.
        call_limits: how much one call may carry.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        client: "Redis | RedisCluster | None" = None,
        sentinels: Sequence[tuple[str, int]] = (),
        service: str = "mymaster",
        sentinel_login: Mapping[str, str] | None = None,
        cluster: bool = False,
        prefix: str = "recollect:",
        wait_replicas: int = 0,
        timeout: timedelta = timedelta(seconds=5),
        clock: Clock | None = None,
        call_limits: CallLimits | None = None,
    ) -> None:
        super().__init__(clock=clock, call_limits=call_limits)
        if set(prefix) & set("{}"):
            raise InvalidInput("a prefix of keys has no braces: they are Redis's hash tags")
        if url is not None and client is not None:
            raise InvalidInput("name the server by a URL or by a client, not by both")
        seconds = timeout.total_seconds()
        self._names = Names(prefix)
        asked = Sentinels(sentinels, service, sentinel_login or {})
        self._place = _place(url, client, asked, seconds, cluster=cluster)
        self._runner = Runner(self._place, wait_replicas, seconds)
        self._entries = Entries(self._runner, self._names)
        self._prefix = "" if self._place.is_cluster else prefix
        self._wait_replicas = wait_replicas
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_open = self._is_closed = False

    # ---- writes ----------------------------------------------------------------------------------

    @override
    async def _append(self, change: Change) -> Written | Full:
        return self._stored(change, await self._write("append", change))

    @override
    async def _replace(self, change: Change) -> Written | Full:
        return self._stored(change, await self._write("replace", change))

    @override
    async def _fold(self, change: Change) -> Written | Full:
        return self._stored(change, await self._write("fold", change))

    @override
    async def _annotate(self, change: Change) -> Head | None:
        answer = await self._write("annotate", change)
        return None if answer == b"N" else read_head(change.conversation, answer[1:])

    @override
    async def _delete(self, change: Change) -> bool:
        answer = await self._write("delete", change)
        if self._place.is_cluster and len(answer) > 2:
            generation, owner = answer[2:].split(b"\n")
            await self._entries.leave(change.conversation, generation, owner.decode())
        return bool(answer.startswith(b"D1"))

    async def _write(self, name: str, change: Change) -> bytes:
        await self._begin()
        key = self._names.head(change.conversation)
        may_repeat = change.key is not None
        args = requests.writing(change, self._prefix, b"")
        answer: bytes = await self._runner.write(name, key, args, may_repeat=may_repeat)
        if self._place.is_cluster:
            answer = await self._write_on_cluster(name, key, change, answer)
        if answer[:1] in b"KLVG":
            _refuse(change, answer)
        return answer

    async def _write_on_cluster(self, name: str, key: str, change: Change, answer: bytes) -> bytes:
        """Repeat a write that wanted entries in the indexes, after making them."""
        while answer.startswith(b"I"):
            wanted = answer
            generation = await self._entries.enter(change, wanted)
            args = requests.writing(change, "", generation)
            answer = await self._runner.write(name, key, args, may_repeat=change.key is not None)
            if not answer.startswith(b"I"):
                await self._entries.leave_owner(change, wanted)
        if answer.startswith(b"W"):
            self._entries.follow(change.conversation, answer.split(b"\n", 2)[2])
        elif answer.startswith(b"H"):
            self._entries.follow(change.conversation, answer[1:])
        return answer

    def _stored(self, change: Change, answer: bytes) -> Written | Full:
        if answer.startswith(b"F"):
            return Full(read_head(change.conversation, answer[1:]) if len(answer) > 1 else None)
        return read_written(change.conversation, answer)

    # ---- reads -----------------------------------------------------------------------------------

    @override
    async def _recall(
        self, conversation: ConversationId, key: str, now: datetime
    ) -> Written | None:
        await self._begin()
        args = (to_micros(now), key)
        answer = await self._runner.read("read", "recall", self._names.head(conversation), args)
        return None if answer is None else read_written(conversation, answer)

    @override
    async def _load(
        self, conversation: ConversationId, part: Slice, now: datetime
    ) -> Conversation | None:
        await self._begin()
        key, at = self._names.head(conversation), to_micros(now)
        commands = requests.plain_loading(part, key)
        answer = await self._runner.transact(commands) if commands else None
        if answer is None:
            answer = await self._runner.read("read", "load", key, requests.loading(part, at))
        return _conversation(conversation, part, answer, at)

    @override
    async def _load_many(
        self, conversations: Sequence[ConversationId], part: Slice, now: datetime
    ) -> list[Conversation | None]:
        await self._begin()
        if not conversations:
            return []
        at = to_micros(now)
        args = requests.loading(part, at)
        asked = [(self._names.head(conversation), args) for conversation in conversations]
        answers = await self._runner.read_many("read", "load", asked)
        return [
            _conversation(conversation, part, answer, at)
            for conversation, answer in zip(conversations, answers, strict=True)
        ]

    @override
    async def _find(self, search: Search) -> Page:
        await self._begin()
        await self._entries.settle()
        return await reads.find(self._runner, self._names, search)

    @override
    async def _measure(self, namespace: str, owner: str | None, now: datetime) -> Totals:
        await self._begin()
        return await reads.measure(self._runner, self._names, namespace, owner, now)

    # ---- leases and upkeep -----------------------------------------------------------------------

    @override
    async def _lease(
        self, conversation: ConversationId, holder: str, ttl: timedelta, now: datetime
    ) -> Lease | None:
        await self._begin()
        args = requests.leasing(holder, ttl, to_micros(now))
        key = self._names.head(conversation)
        answer = await self._runner.write("lease", key, args, may_repeat=True)
        if answer is None:
            return None
        generation, fence = answer.split(b"\n")
        return Lease(conversation, holder, int(generation), int(fence), now + ttl)

    @override
    async def _release(self, lease: Lease, now: datetime) -> bool:
        await self._begin()
        args = requests.releasing(lease, to_micros(now))
        key = self._names.head(lease.conversation)
        return bool(await self._runner.write("release", key, args, may_repeat=False))

    @override
    async def _sweep(self, now: datetime, limit: int) -> Swept:
        await self._begin()
        entries = self._entries if self._place.is_cluster else None
        return await sweep(self._runner, self._names, entries, to_micros(now), limit)

    # ---- opening and closing ---------------------------------------------------------------------

    @override
    async def scrub(self, conversations: Sequence[ConversationId]) -> str:
        """Remove what keyed deletes left: its name holds the id. And on a Cluster, the due time."""
        await self._begin()
        due = self._names.due
        for conversation in conversations:
            deletes = f"{self._names.head(conversation)}:deletes"
            await self._runner.command("write", deletes, ("UNLINK", deletes))
            await self._runner.command("walk", due, ("ZREM", due, self._names.tag(conversation)))
        return (
            "Redis's append-only file and snapshots, its replicas and backups, keep what was removed "
            "until they are written anew (BGREWRITEAOF, BGSAVE)"
        )

    @override
    async def ping(self) -> StoreInfo:
        await self._begin()
        await self._check_schema()
        info = await self._runner.command("read", self._names.schema, ("INFO",))
        used = re.search(rb"^used_memory:(\d+)", info, re.MULTILINE)
        return StoreInfo(
            "redis",
            self._place.where,
            durable=True,
            durability=self._durability(info),
            connections=self._place.connections,
            used_bytes=None if used is None else int(used[1]),
        )

    def _durability(self, info: bytes) -> str:
        replicas = f"; {self._wait_replicas} replicas have it too" if self._wait_replicas else ""
        if b"aof_enabled:1" in info:
            return (
                "survives a crash of the server as far as its append-only file is synced: at every "
                f"write with appendfsync always, else up to a second may be lost{replicas}"
            )
        return f"a crash of the server loses what came after its last snapshot{replicas}"

    @override
    async def open(self) -> Self:
        self._check_usable()
        await self._runner.open()
        await self._check_schema()
        self._is_open = True
        return self

    @override
    async def close(self) -> None:
        self._is_closed = True
        if self._loop is None or self._loop is asyncio.get_running_loop():
            await self._runner.rest()  # what takes several steps goes on to its end
            await self._entries.settle()
            await self._runner.rest()  # searches have waited for that, too
            await self._place.close()

    async def _begin(self) -> None:
        self._check_usable()
        if not self._is_open:
            await self.open()

    def _check_usable(self) -> None:
        if self._is_closed:
            raise StoreClosed(f"the store at {self._place.where} is closed: open a new one")
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            if self._loop is not None:
                raise WrongLoop(self._place.where)
            self._loop = loop

    async def _check_schema(self) -> None:
        key = self._names.schema
        found = await self._runner.command("write", key, ("GET", key))
        if found is None:
            await self._runner.command("write", key, ("SET", key, SCHEMA_VERSION, "NX"))
        elif not found.isdigit():
            raise StoreCorrupt(f"{key!r} at {self._place.where} belongs to another program")
        elif int(found) > SCHEMA_VERSION:
            raise SchemaTooNew(self._place.where, int(found), SCHEMA_VERSION)


def _place(
    url: str | None,
    client: "Redis | RedisCluster | None",
    sentinels: Sentinels,
    timeout: float,
    *,
    cluster: bool,
) -> Place:
    if isinstance(client, RedisCluster):
        return clusters.of_client(client, timeout)
    if isinstance(client, Redis):
        return of_client(client, timeout)
    if client is not None:
        raise InvalidInput(
            f"client is a {type(client).__module__}.{type(client).__name__}: it must be a Redis or "
            "RedisCluster of redis.asyncio"
        )
    settings = read_url(url or "redis://localhost:6379")
    if cluster:
        return clusters.at_url(settings, timeout)
    if sentinels.addresses:
        return behind_sentinel(sentinels, settings, timeout)
    return at_url(settings, timeout)


def _refuse(change: Change, answer: bytes) -> None:
    if answer.startswith(b"K"):
        raise KeyReused(change.key.name if change.key else "")
    if answer.startswith(b"L"):
        raise LeaseLost("the lease of this conversation is no longer held: take it again")
    if answer.startswith(b"V"):
        raise VersionConflict(
            f"the conversation has version {answer[1:].decode()}, not {change.expect_version}: "
            "read again"
        )
    raise VersionConflict("a message to be folded is not live any more: read again")


def _conversation(
    conversation: ConversationId, part: Slice, answer: list[Any] | None, now: int
) -> Conversation | None:
    if answer is None or answer[0] is None:
        return None
    text, pairs, items = answer
    kept = read_kept_head(conversation, text)
    if not kept.lives_at(now):
        return None
    records, damaged = read_items(items, are_archived=part.source == "archive")
    # A client passed in may speak RESP3, which knows maps.
    found = pairs.items() if isinstance(pairs, dict) else zip(pairs[::2], pairs[1::2], strict=True)
    metadata = {name.decode(): value.decode() for name, value in found}
    return Conversation(kept.head(conversation), records, metadata, damaged)
