"""Work on the server: opened once, repeated where that is safe, told in our own errors."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from recollect.errors import (
    InvalidInput,
    OutcomeUnknown,
    SchemaTooNew,
    StoreClosed,
    StoreCorrupt,
    StoreUnavailable,
    WrongLoop,
)
from recollect.stores.base import SCHEMA_VERSION
from recollect.stores.postgres.access import Access
from recollect.stores.postgres.failures import (
    DRIVER_ERRORS,
    Again,
    is_lost,
    is_repeatable,
    translated,
)
from recollect.stores.postgres.seed_shape import found_seed_table, refuse_seed_table
from recollect.stores.postgres.session import Session
from recollect.stores.postgres.statements import Statements

T = TypeVar("T")
Work = Callable[[Session], Awaitable[T]]

_MOST_ATTEMPTS = 30  # of what the server undid itself
_LONGEST_PAUSE = 0.1


class Server:
    """A server with our tables, used from one event loop."""

    def __init__(self, access: Access, statements: Statements, *, migrating: bool = False) -> None:
        self.where = access.where
        self._access = access
        self._statements = statements
        self._migrating = migrating
        self._opening: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_open = False
        self._is_closed = False
        self._running = 0
        self._idle: asyncio.Event | None = None

    @property
    def connections(self) -> int:
        """How many are open now."""
        return self._access.connections

    @property
    def most_connections(self) -> int:
        """How many may be in use at once."""
        return self._access.most

    # ---- opening and closing ---------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and see to the tables, once."""
        self._check_usable()
        if self._is_open:
            return
        if self._opening is None:
            self._loop = asyncio.get_running_loop()
            self._opening = asyncio.create_task(self._open())
        opening = self._opening
        try:
            await asyncio.shield(opening)
        finally:
            if opening.done():
                self._opening = None
                if not self._is_open:
                    self._loop = None  # it may be opened in another

    async def _open(self) -> None:
        try:
            await self._access.open()
            async with self._access.connection() as connection:
                session = Session(connection, self._statements)
                if not self._migrating:
                    await refuse_seed_table(session, self._statements, self.where)
                await _see_to_tables(session, self._statements, self.where)
        except DRIVER_ERRORS as error:
            await self._access.close()
            raise translated(error, self.where) from None
        except ValueError:
            await self._access.close()
            raise InvalidInput(f"the URL or the options of {self.where} cannot be read") from None
        except BaseException:
            await self._access.close()
            raise
        self._is_open = True

    async def close(self, finish: Callable[[], Awaitable[None]]) -> None:
        """Refuse new work, finish what was begun, disconnect."""
        if self._is_open and self._loop is not asyncio.get_running_loop():
            self._check_usable()
        if self._opening is not None:
            await asyncio.wait([self._opening])
        if self._is_open:
            self._is_open, self._idle = False, asyncio.Event()
            self._is_closed = True
            while self._running:  # what follows it is begun before we are told
                self._idle.clear()
                await self._idle.wait()
                await finish()
            await finish()
            await self._access.close()
        self._is_closed = True

    def _check_usable(self) -> None:
        if self._is_closed:
            raise StoreClosed(f"the store in {self.where} is closed: open a new one")
        if self._loop is not None and self._loop is not asyncio.get_running_loop():
            raise WrongLoop(self.where)

    async def ready(self) -> None:
        """See that the store may be used here and now; opens it when that was forgotten."""
        if self._is_open and self._loop is asyncio.get_running_loop():
            return
        self._check_usable()
        await self.open()

    # ---- work ------------------------------------------------------------------------------------

    async def read(self, work: Work[T]) -> T:
        """Read; once more when the connection breaks."""
        return await self.write(work, has_key=True)

    async def write(self, work: Work[T], *, has_key: bool = False) -> T:
        """Write; repeated when the server undid it, and with a key when the connection breaks."""
        await self.ready()
        return await self.go_on(work, has_key=has_key)

    async def go_on(self, work: Work[T], *, has_key: bool = False) -> T:
        """Write as a part of what was begun before the store was closed."""
        self._running += 1
        try:
            return await self._attempts(work, lost_may_repeat=has_key)
        finally:
            self._running -= 1
            if self._running == 0 and self._idle is not None:
                self._idle.set()

    async def _attempts(self, work: Work[T], *, lost_may_repeat: bool) -> T:
        attempt = lost = 0
        while True:
            attempt += 1
            session: Session | None = None
            try:
                async with self._access.connection() as connection:
                    session = Session(connection, self._statements)
                    return await work(session)
            except (Again, *DRIVER_ERRORS) as error:
                unknown = is_lost(error) and session is not None and session.may_have_written
                if is_lost(error) and session is not None:
                    await self._access.renew()
                if is_lost(error) and session is not None and lost_may_repeat and not lost:
                    lost += 1
                    continue
                if unknown and not lost_may_repeat:
                    raise OutcomeUnknown(
                        f"the connection to {self.where} broke during a write without a key: it may "
                        "or may not have been stored. Read before repeating it, or give writes a key"
                    ) from error
                if unknown:
                    raise StoreUnavailable(
                        f"the connection to {self.where} broke during a write: with its key, it may "
                        "be repeated"
                    ) from error
                if not is_repeatable(error) or attempt >= _MOST_ATTEMPTS:
                    raise translated(error, self.where) from None
            await asyncio.sleep(random.uniform(0, min(0.001 * 2**attempt, _LONGEST_PAUSE)))  # noqa: S311


async def _see_to_tables(session: Session, statements: Statements, where: str) -> None:
    version = await _version(session, statements, where)
    if version is None:
        await session.in_transaction(lambda one: _create_once(one, statements, where))
    elif version > SCHEMA_VERSION:
        raise SchemaTooNew(f"{where}, {statements.schema_name}", version, SCHEMA_VERSION)


async def _create_once(session: Session, statements: Statements, where: str) -> None:
    """Create the tables, unless somebody did while we waited for the lock."""
    await session.row("lock_schema", lock_number=statements.lock_number)
    if await _version(session, statements, where) is None:
        await session.create_tables()
        found = await found_seed_table(session, statements)
        if found.name_is_free and not found.is_begun:
            await session.order("view")
        await session.run("write_schema", version=SCHEMA_VERSION)


async def _version(session: Session, statements: Statements, where: str) -> int | None:
    (exists,) = await session.row("find_schema", schema_name=statements.schema_name)
    if not exists:
        return None
    row = await session.row("read_schema")
    if row is None:
        raise StoreCorrupt(f"{statements.schema_name} in {where} is empty: restore a backup")
    return int(row[0])
