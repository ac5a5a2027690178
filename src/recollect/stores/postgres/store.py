"""The store contract on PostgreSQL."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar

import msgspec
from typing_extensions import override

from recollect.clock import Clock
from recollect.errors import StoreError
from recollect.stores.base import Store
from recollect.stores.moments import to_micros
from recollect.stores.postgres import changes, keys, reads, sweeping
from recollect.stores.postgres.access import access_to
from recollect.stores.postgres.appending import append_at_once, append_together, is_plain
from recollect.stores.postgres.lines import Lines
from recollect.stores.postgres.rows import address_of
from recollect.stores.postgres.server import Server, Work
from recollect.stores.postgres.session import Session
from recollect.stores.postgres.statements import Statements
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

T = TypeVar("T")

_MOST_SEEN = 10_000
_TRIM_EVERY = 16  # keyed writes
_TRIMMED = 2 * _TRIM_EVERY


class PostgresStore(Store):
    """Keeps conversations in tables of a PostgreSQL database. Belongs to the loop that opens it.

    Any number of stores, processes and machines may use the same tables. They are created when they
    are missing, by one of those who start at the same time.

    Args:
        url: ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE``; may say ``?pgbouncer=true``.
        connection: an asyncpg pool or connection to use in place of ``url``; never closed by us. A
            connection is used by one call after the other.
        table_name: what the tables' names begin with; ``SCHEMA.NAME`` is allowed.
        pgbouncer: there is a PgBouncer in transaction mode between: statements are not kept prepared,
            and each takes two round trips.
        migrating: open beside a table of the seed's shape, to bring it over, however long that takes.
        options: further arguments of ``asyncpg.create_pool``, such as host, ssl or max_size.
            ``timeout`` and ``command_timeout``, the seconds to connect and to answer, are 60 each.
        clock: the source of all times.
        call_limits: how much one call may carry.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        connection: Any = None,
        table_name: str = "conversations",
        pgbouncer: bool = False,
        migrating: bool = False,
        options: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        call_limits: CallLimits | None = None,
    ) -> None:
        super().__init__(clock=clock, call_limits=call_limits)
        given = dict(options or {})
        if migrating:
            given.setdefault("command_timeout", None)
        access = access_to(url, connection, pgbouncer=pgbouncer, options=given)
        self._server = Server(access, Statements(table_name), migrating=migrating)
        self._lines = Lines(
            self._append_alone,
            self._append_together,
            is_known=lambda conversation: conversation in self._seen,
            most=lambda: self._server.most_connections,
        )
        self._keyed_writes = 0
        self._seen: dict[ConversationId, None] = {}

    # ---- writes ----------------------------------------------------------------------------------

    @override
    async def _append(self, change: Change) -> Written | Full:
        await self._server.ready()
        if is_plain(change):
            return await self._lines.append(change)
        has_key = change.key is not None
        result = None
        if change.lease is None:
            result = await self._server.write(self._at_once(change), has_key=has_key)
        if result is None:
            return await self._mutate(changes.append, change)
        await self._trim(change)
        return result

    def _at_once(self, change: Change) -> Work[Written | None]:
        """Append in one statement, a shorter one where it need not create the conversation."""
        seen = change.conversation in self._seen

        async def work(session: Session) -> Written | None:
            written = await append_at_once(session, change, seen=seen)
            if written is None:
                self._seen.pop(change.conversation, None)
            elif not seen:
                if len(self._seen) == _MOST_SEEN:
                    del self._seen[next(iter(self._seen))]
                self._seen[change.conversation] = None
            return written

        return work

    async def _append_alone(self, change: Change) -> Written | Full:
        result = await self._server.go_on(self._at_once(change))
        if result is not None:
            return result
        return await self._server.go_on(_in_transaction(changes.append, change))

    async def _append_together(
        self, lines: Sequence[Sequence[Change]]
    ) -> list[list[Written] | None]:
        return await self._server.go_on(lambda s: append_together(s, lines))

    async def _trim(self, change: Change) -> None:
        """Let a keyed write now and then remove keys that are too old."""
        self._keyed_writes += change.key is not None
        if change.key is not None and self._keyed_writes % _TRIM_EVERY == 0:
            now = to_micros(change.now)
            with contextlib.suppress(StoreError):  # what was asked for is done
                await self._server.write(lambda s: s.run("sweep_old_keys", now=now, limit=_TRIMMED))

    @override
    async def _replace(self, change: Change) -> Written | Full:
        return await self._mutate(changes.replace, change)

    @override
    async def _fold(self, change: Change) -> Written | Full:
        return await self._mutate(changes.fold, change)

    @override
    async def _annotate(self, change: Change) -> Head | None:
        return await self._mutate(changes.annotate, change)

    @override
    async def _delete(self, change: Change) -> bool:
        return await self._mutate(changes.delete, change)

    async def _mutate(self, work: Callable[[Session, Change], Awaitable[T]], change: Change) -> T:
        result = await self._server.write(
            _in_transaction(work, change), has_key=change.key is not None
        )
        await self._trim(change)
        return result

    # ---- reads -----------------------------------------------------------------------------------

    @override
    async def _recall(
        self, conversation: ConversationId, key: str, now: datetime
    ) -> Written | None:
        address, micros = address_of(conversation), to_micros(now)
        return await self._server.read(lambda s: keys.recall(s, conversation, address, key, micros))

    @override
    async def _load(
        self, conversation: ConversationId, part: Slice, now: datetime
    ) -> Conversation | None:
        return await self._server.read(lambda s: reads.load(s, conversation, part, now))

    @override
    async def _load_many(
        self, conversations: Sequence[ConversationId], part: Slice, now: datetime
    ) -> list[Conversation | None]:
        return await self._server.read(lambda s: reads.load_many(s, conversations, part, now))

    @override
    async def _find(self, search: Search) -> Page:
        return await self._server.read(lambda s: reads.find(s, search))

    @override
    async def _measure(self, namespace: str, owner: str | None, now: datetime) -> Totals:
        return await self._server.read(lambda s: reads.measure(s, namespace, owner, now))

    # ---- leases and upkeep -----------------------------------------------------------------------

    @override
    async def _lease(
        self, conversation: ConversationId, holder: str, ttl: timedelta, now: datetime
    ) -> Lease | None:
        async def work(session: Session) -> Lease | None:
            return await changes.lease(session, conversation, holder, ttl, now)

        # taken twice by one holder it is one lease, so it may be repeated
        return await self._server.write(lambda s: s.in_transaction(work), has_key=True)

    @override
    async def _release(self, lease: Lease, now: datetime) -> bool:
        async def work(session: Session) -> bool:
            return await changes.release(session, lease, now)

        return await self._server.write(lambda s: s.in_transaction(work))

    @override
    async def _sweep(self, now: datetime, limit: int) -> Swept:
        async def work(session: Session) -> Swept:
            return await sweeping.sweep(session, now, limit)

        return await self._server.write(lambda s: s.in_transaction(work))

    @override
    async def scrub(self, conversations: Sequence[ConversationId]) -> str:
        return (
            "PostgreSQL keeps the bytes of deleted rows until VACUUM and later writes reuse their "
            "place; its WAL, replicas and backups keep them as long as they are kept"
        )

    @override
    async def ping(self) -> StoreInfo:
        info = await self._server.read(lambda s: reads.ping(s, self._server.where))
        return msgspec.structs.replace(info, connections=self._server.connections)

    @override
    async def open(self) -> Self:
        await self._server.open()
        return self

    @override
    async def close(self) -> None:
        await self._server.close(self._lines.finish)


def _in_transaction(work: Callable[[Session, Change], Awaitable[T]], change: Change) -> Work[T]:
    return lambda session: session.in_transaction(lambda one: work(one, change))
