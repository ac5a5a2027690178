"""The store contract on one SQLite file."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Self, TypeVar, TypeVarTuple, Unpack

from typing_extensions import override

from recollect.clock import Clock
from recollect.errors import InvalidInput, OutcomeUnknown, StoreUnavailable
from recollect.stores.base import Store
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
from recollect.stores.sqlite import changes, reads
from recollect.stores.sqlite.connection import WritingConnection
from recollect.stores.sqlite.database import Database, Synchronous
from recollect.stores.sqlite.failures import translated
from recollect.stores.sqlite.scrubbing import scrub
from recollect.stores.sqlite.sessions import Reading, Writing
from recollect.stores.sqlite.sweeping import sweep
from recollect.stores.sqlite.worker import Worker

T = TypeVar("T")
Db = TypeVar("Db", bound=sqlite3.Connection)
Ts = TypeVarTuple("Ts")

_SHORT_READ = 100  # messages, or conversations
_DURABILITY = {
    "FULL": "survives a crash of the process and of the machine: synced at every commit",
    "NORMAL": "survives a crash of the process; a crash of the machine may take the last moments",
}


class SqliteStore(Store):
    """Keeps conversations in one file. Works from any loop and thread, and across forks.

    Several processes may use the file at once. Its folder is created when it is missing (0700).

    Args:
        path: the file; created when it is missing (0600).
        clock: the source of all times.
        call_limits: how much one call may carry.
        synchronous: "FULL" syncs every commit to the disk; "NORMAL" leaves that to the system, so
            that a crash of the machine may take the last moments, never the file.
        lock_timeout: how long a write waits for other processes before it is StoreUnavailable.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        clock: Clock | None = None,
        call_limits: CallLimits | None = None,
        synchronous: Synchronous = "FULL",
        lock_timeout: timedelta = timedelta(seconds=5),
    ) -> None:
        super().__init__(clock=clock, call_limits=call_limits)
        if str(path) in {"", ":memory:"}:
            raise InvalidInput(f"{str(path)!r} names no file: use a file, or the in-memory store")
        self.path = Path(path).resolve()
        self._database = Database(self.path, synchronous, lock_timeout)
        tell = partial(translated, path=self.path)
        name = f"SQLite store {self.path}"
        self._writer: Worker[WritingConnection] = Worker(
            name, partial(Writing, self._database), tell
        )
        reading = partial(Reading, self._database)
        self._reader: Worker[sqlite3.Connection] = Worker(name, reading, tell)
        self._walker: Worker[sqlite3.Connection] = Worker(name, reading, tell)  # for long walks
        self._is_open = False

    # ---- writes ----------------------------------------------------------------------------------

    @override
    async def _append(self, change: Change) -> Written | Full:
        return await self._write(self._writer.run_short, changes.append, change)

    @override
    async def _replace(self, change: Change) -> Written | Full:
        return await self._write(self._writer.run, changes.replace, change)

    @override
    async def _fold(self, change: Change) -> Written | Full:
        return await self._write(self._writer.run, changes.fold, change)

    @override
    async def _annotate(self, change: Change) -> Head | None:
        return await self._write(self._writer.run_short, changes.annotate, change)

    @override
    async def _delete(self, change: Change) -> bool:
        return await self._write(self._writer.run, changes.delete, change)

    async def _write(
        self,
        run: Callable[[Callable[[WritingConnection, Change], T], Change], Awaitable[T]],
        work: Callable[[WritingConnection, Change], T],
        change: Change,
    ) -> T:
        if not self._is_open:
            await self.open()
        try:
            return await run(work, change)
        except OutcomeUnknown as error:
            if change.key is None:
                raise
            raise StoreUnavailable(f"{error}; with its key, this write may be repeated") from error

    # ---- reads -----------------------------------------------------------------------------------

    @override
    async def _recall(
        self, conversation: ConversationId, key: str, now: datetime
    ) -> Written | None:
        return await self._run(self._reader, reads.recall, conversation, key, now)

    @override
    async def _load(
        self, conversation: ConversationId, part: Slice, now: datetime
    ) -> Conversation | None:
        count = part.limit if part.last is None else part.last
        is_short = count is not None and count <= _SHORT_READ
        return await self._run(self._reader, reads.load, conversation, part, now, is_short=is_short)

    @override
    async def _load_many(
        self, conversations: Sequence[ConversationId], part: Slice, now: datetime
    ) -> list[Conversation | None]:
        return await self._run(self._reader, reads.load_many, conversations, part, now)

    @override
    async def _find(self, search: Search) -> Page:
        is_choosy = search.prefix or search.since or search.until  # it may pass by many
        is_short = search.limit <= _SHORT_READ and not is_choosy
        worker = self._reader if is_short else self._walker
        return await self._run(worker, reads.find, search, is_short=is_short)

    @override
    async def _measure(self, namespace: str, owner: str | None, now: datetime) -> Totals:
        return await self._run(self._walker, reads.measure, namespace, owner, now)

    # ---- leases and upkeep -----------------------------------------------------------------------

    @override
    async def _lease(
        self, conversation: ConversationId, holder: str, ttl: timedelta, now: datetime
    ) -> Lease | None:
        return await self._run(self._writer, changes.lease, conversation, holder, ttl, now)

    @override
    async def _release(self, lease: Lease, now: datetime) -> bool:
        return await self._run(self._writer, changes.release, lease, now)

    @override
    async def _sweep(self, now: datetime, limit: int) -> Swept:
        return await self._run(self._writer, sweep, now, limit)

    @override
    async def scrub(self, conversations: Sequence[ConversationId]) -> str:
        await self.open()
        return await asyncio.to_thread(scrub, self._database)

    @override
    async def ping(self) -> StoreInfo:
        used_bytes = await self._run(self._reader, reads.ping, self._database)
        workers = (self._reader, self._walker, self._writer)
        return StoreInfo(
            "sqlite",
            str(self.path),
            durable=True,
            durability=_DURABILITY[self._database.synchronous],
            connections=sum(worker.is_connected for worker in workers),
            used_bytes=used_bytes,
        )

    @override
    async def open(self) -> Self:
        await self._writer.connect()
        self._is_open = True
        return self

    @override
    async def close(self) -> None:
        for worker in (self._reader, self._walker, self._writer):
            await worker.close()

    async def _run(
        self,
        worker: Worker[Db],
        work: Callable[[Db, Unpack[Ts]], T],
        *args: *Ts,
        is_short: bool = False,
    ) -> T:
        if not self._is_open:
            await self.open()
        return await (worker.run_short if is_short else worker.run)(work, *args)
