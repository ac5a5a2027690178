"""One connection, with the statements of one store."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from recollect.stores.postgres.statements import Statements

T = TypeVar("T")

_PATIENCE = 1.0  # seconds that a caller who gave up waits for a server to undo what it did

Row = Sequence[Any]  # one that also knows its columns by name


class Transaction(Protocol):
    """What we use of asyncpg's transactions."""

    async def start(self) -> None:
        """Begin."""

    async def commit(self) -> None:
        """End, keeping what was done."""

    async def rollback(self) -> None:
        """End, undoing what was done."""


class Connection(Protocol):
    """What we use of asyncpg's connections."""

    async def fetch(self, query: str, *args: Any) -> list[Any]:
        """Return all rows."""
        ...

    async def fetchrow(self, query: str, *args: Any) -> Any:
        """Return the first row."""
        ...

    async def execute(self, query: str, *args: Any) -> str:
        """Return what was done."""
        ...

    def transaction(self, *, isolation: str | None = None, readonly: bool = False) -> Transaction:
        """Return a transaction that has not begun."""
        ...

    def is_in_transaction(self) -> bool:
        """Tell whether a transaction has begun."""
        ...

    def terminate(self) -> None:
        """Disconnect without a word."""


class Session:
    """A connection while one caller has it.

    Attributes:
        may_have_written: a write was sent that the server finishes on its own.
    """

    def __init__(self, connection: Connection, statements: Statements) -> None:
        self._connection = connection
        self._statements = statements
        self.may_have_written = False

    @property
    def table_names(self) -> Sequence[str]:
        """The names of our tables, quoted."""
        return self._statements.table_names

    async def write_at_once(self, name: str, values: dict[str, Any]) -> Any:
        """Run a statement that is a transaction of its own; return its first row."""
        self.may_have_written = True
        if self._connection.is_in_transaction():  # the caller's: it must outlive our mistakes
            return await self._in(None, lambda session: session.row(name, **values))
        return await self.row(name, **values)

    async def write_all_at_once(self, name: str, values: dict[str, Any]) -> list[Any]:
        """Run a statement that is a transaction of its own; return its rows."""
        self.may_have_written = True
        if self._connection.is_in_transaction():
            return await self._in(None, lambda session: session.rows(name, **values))
        return await self.rows(name, **values)

    async def in_transaction(self, work: "Callable[[Session], Awaitable[T]]") -> T:
        """Do ``work`` as one step; each of its statements sees what others committed before it."""
        nested = self._connection.is_in_transaction()
        return await self._in(None if nested else "read_committed", work)

    async def _in(self, isolation: str | None, work: "Callable[[Session], Awaitable[T]]") -> T:
        transaction = self._connection.transaction(isolation=isolation)
        await transaction.start()
        try:
            result = await work(self)
        except (asyncio.CancelledError, TimeoutError):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await transaction.rollback()
            raise
        except BaseException:
            await transaction.rollback()
            raise
        self.may_have_written = True
        await transaction.commit()
        return result

    async def row(self, name: str, /, **values: Any) -> Any:
        """Run a statement; return its first row, None without one."""
        statement = self._statements[name]
        return await self._connection.fetchrow(statement.sql, *statement.arguments(values))

    async def rows(self, name: str, /, **values: Any) -> list[Any]:
        """Run a statement; return its rows."""
        statement = self._statements[name]
        return await self._connection.fetch(statement.sql, *statement.arguments(values))

    async def run(self, name: str, /, **values: Any) -> int:
        """Run a statement; return how many rows it touched."""
        statement = self._statements[name]
        done = await self._connection.execute(statement.sql, *statement.arguments(values))
        return int(done.rpartition(" ")[2])

    async def order(self, name: str, /) -> None:
        """Run a statement that defines something."""
        await self._connection.execute(self._statements[name].sql)

    async def create_tables(self) -> None:
        """Create what the store needs."""
        await self._connection.execute(self._statements.creation())
