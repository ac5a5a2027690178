"""A table of the seed's shape while it is brought over: read where it is, moved aside, put away."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

from recollect.clock import Clock
from recollect.errors import MigrationNeeded
from recollect.stores.base import Store
from recollect.stores.postgres.access import access_to
from recollect.stores.postgres.failures import DRIVER_ERRORS, translated
from recollect.stores.postgres.seed_shape import SeedTable, found_seed_table
from recollect.stores.postgres.session import Session
from recollect.stores.postgres.statements import Statements
from recollect.stores.postgres.store import PostgresStore

_PREFETCH = 20  # rows; each is a whole conversation


class SeedRow(NamedTuple):
    """One row; messages and metadata as JSON text, times only where the table has them."""

    conversation_id: str
    user_id: str | None
    messages: str
    metadata: str | None
    created_at: datetime | None
    updated_at: datetime | None


class SeedSource:
    """The table ``T`` of another library, in a database of one's own. Open it with ``async with``."""

    def __init__(self, url: str, table_name: str, *, clock: Clock | None = None) -> None:
        self._access = access_to(url, None, pgbouncer=False, options={"max_size": 2})
        self._statements = Statements(table_name)
        self._store = PostgresStore(url, table_name=table_name, migrating=True, clock=clock)
        self._opened = AsyncExitStack()
        self.where = self._access.where

    async def __aenter__(self) -> Self:
        try:
            await self._access.open()
        except DRIVER_ERRORS as error:
            await self._access.close()
            raise translated(error, self.where) from None
        self._opened.push_async_callback(self._access.close)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._opened.aclose()

    @property
    def names(self) -> dict[str, str]:
        """The names of the table, of what it is moved to, and of what it is called at the end."""
        return self._statements.seed_tables

    async def look(self) -> SeedTable:
        """Look at what there is."""
        async with self._session() as session:
            return await found_seed_table(session, self._statements)

    async def rows(self, *, moved: bool) -> AsyncIterator[SeedRow]:
        """Yield all rows, oldest first; of the table as it was, or after it was moved aside.

        Those of a table that was not moved may be in any order, and change meanwhile.
        """
        statement = self._statements["rows_moved" if moved else "rows_before"]
        async with self._connection() as connection, connection.transaction(readonly=True):
            async for row in connection.cursor(statement.sql, prefetch=_PREFETCH):
                yield SeedRow(*row)

    async def begin(self) -> Store:
        """Move the table aside, once, and return the store that takes its rows; closed with this.

        Whoever still uses the table fails from now on, and loses nothing silently.
        """
        async with self._session() as session:
            await session.in_transaction(self._move_aside)
        return await self._opened.enter_async_context(self._store)

    async def _move_aside(self, session: Session) -> None:
        await session.row("lock_schema", lock_number=self._statements.lock_number)
        found = await found_seed_table(session, self._statements)
        if found.is_there and not found.is_begun:  # else another process was faster
            await session.order("move_aside")
            await session.order("add_creation_time")
            await session.order("add_activity_time")
            await session.run("fill_times")

    async def finish(self) -> None:
        """Put the moved table away under its last name, and make the view.

        Raises:
            MigrationNeeded: somebody has made a table of the old name meanwhile.
        """
        async with self._session() as session:
            await session.in_transaction(self._put_away)

    async def _put_away(self, session: Session) -> None:
        await session.row("lock_schema", lock_number=self._statements.lock_number)
        found = await found_seed_table(session, self._statements)
        if not found.is_begun:  # another process was faster
            return
        if not found.name_is_free:
            raise MigrationNeeded(
                f"something made {self.names['table']} anew in {self.where} while it was brought "
                "over: stop what still uses the other library, move that table's rows into "
                f"{self.names['migrating']}, drop it, and do this again"
            )
        await session.order("put_away")
        await session.order("view")

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[Session]:
        async with self._connection() as connection:
            yield Session(connection, self._statements)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        try:
            async with self._access.connection() as connection:
                yield connection
        except DRIVER_ERRORS as error:
            raise translated(error, self.where) from error
