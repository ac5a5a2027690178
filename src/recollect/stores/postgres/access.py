"""The connections: a pool of our own, or a pool or a single connection that was passed in."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import asyncpg  # type: ignore[import-untyped]  # it has no types

from recollect.errors import InvalidInput, WrongLoop
from recollect.stores.postgres.session import Connection

# Plans of ours need no statistics: every statement goes along an index.
_SETTINGS = {
    "application_name": "recollect",
    "default_transaction_isolation": "read committed",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
}


_PATIENCE = 60.0  # seconds that an answer may take

# Who sets one of these wants the pool to count every use.
_LIVES = {"max_queries", "max_inactive_connection_lifetime", "setup", "reset"}


class Access(Protocol):
    """Where sessions get their connection."""

    where: str

    @property
    def connections(self) -> int:
        """How many are open now."""
        ...

    @property
    def most(self) -> int:
        """How many may be in use at once."""
        ...

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Let go of what we opened."""

    async def renew(self) -> None:
        """Connect anew: one connection broke, so the others may be broken too."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection."""
        ...


class _OurConnection(asyncpg.Connection):  # type: ignore[misc]
    """Nothing we do leaves anything behind, so nothing has to be reset: half an append's time."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class OwnPool:
    """A pool that is opened and closed by us."""

    def __init__(self, url: str | None, pgbouncer: bool, options: Mapping[str, Any]) -> None:
        if url is not None and urlsplit(url).scheme not in {"postgres", "postgresql"}:
            raise InvalidInput("a PostgreSQL URL is postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
        url, told = _without_pgbouncer(url)
        self._url = url
        self._options = dict(options)
        if pgbouncer or told:  # it hands every transaction to another server connection
            self._options |= {"statement_cache_size": 0}
        else:
            given = self._options.get("server_settings", {})
            self._options["server_settings"] = _SETTINGS | given
        self.where = f"PostgreSQL at {_location(url, options)}"
        self._pool: Any = None
        self._most = self._options.setdefault("max_size", 10)
        self._may_keep = not _LIVES & self._options.keys()
        self._taken = 0  # connections that the pool has given us
        self._kept: list[Any] = []  # of these, the ones that nobody uses
        self._line: deque[asyncio.Future[Any]] = deque()
        self._renewals = 0

    @property
    def connections(self) -> int:
        """How many are open now."""
        return 0 if self._pool is None else int(self._pool.get_size())

    @property
    def most(self) -> int:
        """How many may be in use at once."""
        return int(self._most)

    async def open(self) -> None:
        """Connect."""
        options = {"min_size": 1, "command_timeout": _PATIENCE, **self._options}
        options["min_size"] = min(options["min_size"], self._most)
        self._pool = await asyncpg.create_pool(
            self._url, connection_class=_OurConnection, **options
        )

    async def renew(self) -> None:
        """Let go of each connection as it comes back."""
        self._renewals += 1
        await self._pool.expire_connections()
        await self._give_back_kept()

    async def close(self) -> None:
        """Disconnect; everything that was lent is back."""
        if self._pool is not None:
            await self._give_back_kept()
            await self._pool.close()

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection."""
        return _Lent(self)

    async def take(self) -> tuple[Any, int]:
        """Return a connection, and what ``put_back`` wants to know of it."""
        while self._kept:
            connection = self._kept.pop()
            if not connection.is_closed():
                return connection, self._renewals
            await self._give_back(connection)
        if self._taken < self._most or not self._may_keep:
            self._taken += 1
            try:
                return await self._pool.acquire(), self._renewals
            except BaseException:
                self._taken -= 1
                self._call_next()
                raise
        waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._line.append(waiting)
        try:
            connection = await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled():  # it came too late
                self._pass_on(waiting.result())
            raise
        return (connection, self._renewals) if connection is not None else await self.take()

    async def put_back(self, connection: Any, renewals: int, *, broken: bool) -> None:
        """Pass a connection on, or keep it: to give it to the pool costs a tenth of an append."""
        is_fit = self._may_keep and not broken and renewals == self._renewals
        if is_fit and not connection.is_closed():
            self._pass_on(connection)
        else:
            await self._give_back(connection)

    def _pass_on(self, connection: Any) -> None:
        if not self._call_next(connection) and connection is not None:
            self._kept.append(connection)

    def _call_next(self, connection: Any = None) -> bool:
        """Give the connection to the first in the line; without one it shall ask the pool."""
        while self._line:
            waiting = self._line.popleft()
            if not waiting.done():
                waiting.set_result(connection)
                return True
        return False

    async def _give_back(self, connection: Any) -> None:
        try:
            await self._pool.release(connection)
        finally:
            self._taken -= 1
            self._call_next()

    async def _give_back_kept(self) -> None:
        while self._kept:
            await self._give_back(self._kept.pop())


class _Lent(AbstractAsyncContextManager[Connection]):
    """A connection of the pool, for as long as somebody has it."""

    def __init__(self, pool: OwnPool) -> None:
        self._pool = pool

    async def __aenter__(self) -> Connection:
        self._connection, self._renewals = await self._pool.take()
        return self._connection  # type: ignore[no-any-return]  # asyncpg has no types

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, asyncio.CancelledError | TimeoutError):
            self._connection.terminate()  # asyncpg would wait for the answer, which may never come
        await self._pool.put_back(self._connection, self._renewals, broken=error is not None)


class GivenPool:
    """A pool that somebody else opens and closes."""

    where = "PostgreSQL (the pool that was passed in)"

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    @property
    def connections(self) -> int:
        """How many are open now."""
        return int(self._pool.get_size())

    @property
    def most(self) -> int:
        """How many may be in use at once."""
        return int(self._pool.get_max_size())

    async def open(self) -> None:
        """See that it is of this loop."""
        _check_loop(self._pool, self.where)

    async def renew(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def connection(self) -> AbstractAsyncContextManager[Connection]:
        """Lend a connection."""
        lent: AbstractAsyncContextManager[Connection] = self._pool.acquire()
        return lent


class GivenConnection:
    """A connection that somebody else opened; used by one after the other."""

    where = "PostgreSQL (the connection that was passed in)"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()

    @property
    def connections(self) -> int:
        """How many are open now."""
        return 1

    most = connections

    async def open(self) -> None:
        """See that it is of this loop."""
        _check_loop(self._connection, self.where)

    async def renew(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend the connection."""
        async with self._lock:
            yield self._connection


def access_to(
    url: str | None, connection: Any, *, pgbouncer: bool, options: Mapping[str, Any]
) -> Access:
    """Return the way to the server."""
    if connection is None:
        return OwnPool(url, pgbouncer, options)
    if url is not None or options:
        raise InvalidInput("give a URL and options, or a connection, not both")
    if isinstance(connection, asyncpg.Pool):
        return GivenPool(connection)
    if not isinstance(connection, asyncpg.Connection | asyncpg.pool.PoolConnectionProxy):
        raise InvalidInput(
            f"connection is a {type(connection).__name__}: it must be a connection or a pool of "
            "asyncpg (was an `await` forgotten?)"
        )
    return GivenConnection(connection)


def _check_loop(given: Any, where: str) -> None:
    """Refuse what belongs to another loop, before asyncpg breaks it by mixing the two."""
    loop = getattr(given, "_loop", None)  # asyncpg has no public name for it
    if loop is not None and loop is not asyncio.get_running_loop():
        raise WrongLoop(where)


def _without_pgbouncer(url: str | None) -> tuple[str | None, bool]:
    """Take ``pgbouncer=true`` out of a URL; the driver would pass it on to the server."""
    if url is None:
        return None, False
    parts = urlsplit(url)
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    told = any(name == "pgbouncer" and value.lower() in {"true", "1"} for name, value in pairs)
    kept = [(name, value) for name, value in pairs if name != "pgbouncer"]
    if len(kept) == len(pairs):
        return url, False
    return parts._replace(query=urlencode(kept)).geturl(), told


def _location(url: str | None, options: Mapping[str, Any]) -> str:
    """Return host, port and database, never user or password."""
    parts = urlsplit(url or "")
    query = dict(parse_qsl(parts.query))
    given = {"host": query.get("host") or parts.netloc.rpartition("@")[2],
             "database": unquote(parts.path.lstrip("/"))}  # fmt: skip
    host = options.get("host") or given["host"] or "the default host"
    port = f":{options['port']}" if options.get("port") else ""
    return f"{host}{port}/{options.get('database') or given['database'] or ''}"
