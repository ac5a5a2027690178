"""Where commands go: one server, directly or as Sentinel names it."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from recollect.errors import InvalidInput
from recollect.stores.redis.lane import Command, Connect, Lane

Kind = Literal["write", "read", "walk"]
Settings = Mapping[str, Any]


class Place(Protocol):
    """Servers that hold conversations.

    All methods raise Lost, NotSent, and ResponseError as ``Lane.call`` does.
    """

    where: str
    is_cluster: bool

    @property
    def connections(self) -> int:
        """How many are open now."""
        ...

    async def call(self, kind: Kind, key: str, command: Command) -> Any:
        """Send a command about that key."""
        ...

    async def call_together(self, kind: Kind, key: str, commands: Sequence[Command]) -> list[Any]:
        """Send commands about that key as one packet; errors are among the answers."""
        ...

    async def call_many(self, kind: Kind, requests: Sequence[tuple[str, Command]]) -> list[Any]:
        """Send (key, command) pairs with as few packets as there are servers."""
        ...

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """Finish what was asked for and disconnect what we connected."""
        ...


class Server:
    """One server, with a connection for writes, one for reads, and one for walks."""

    is_cluster = False

    def __init__(self, connect: Connect, where: str, timeout: float) -> None:
        self.where = where
        self._lanes: dict[Kind, Lane] = {
            "write": Lane(connect, where, timeout),
            "read": Lane(connect, where, timeout),
            "walk": Lane(connect, where, timeout),
        }

    @property
    def connections(self) -> int:
        """How many are open now."""
        return sum(lane.is_connected for lane in self._lanes.values())

    async def call(self, kind: Kind, key: str, command: Command) -> Any:
        """Send a command."""
        return await self._lanes[kind].call(command)

    async def call_together(self, kind: Kind, key: str, commands: Sequence[Command]) -> list[Any]:
        """Send commands as one packet."""
        return await self._lanes[kind].call_together(commands)

    async def call_many(self, kind: Kind, requests: Sequence[tuple[str, Command]]) -> list[Any]:
        """Send commands as one packet."""
        return await self._lanes[kind].call_together([command for _, command in requests])

    async def transact(self, kind: Kind, commands: Sequence[Command]) -> list[Any]:
        """Send commands as one transaction; errors are among the answers."""
        return await self._lanes[kind].transact(commands)

    async def open(self) -> None:
        """Connect for writing."""
        await self._lanes["write"].connect()

    async def close(self) -> None:
        """Finish and disconnect."""
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()))


# ---- what leads to one server --------------------------------------------------------------------


def read_url(url: str) -> dict[str, Any]:
    """Return what the driver's connections are told by a URL; a lone user name is a password.

    Raises:
        InvalidInput: it is no URL of Redis. The text does not quote it.
    """
    try:
        parts = urlsplit(url)
        if parts.username and parts.password is None:
            name, _, host = parts.netloc.rpartition("@")
            url = urlunsplit(parts._replace(netloc=f":{name}@{host}"))
        return dict(parse_url(url))
    except ValueError:
        raise InvalidInput(
            "this is no URL of Redis: write redis://[[USER]:PASSWORD@]HOST[:PORT][/DB], rediss:// "
            "for TLS, or unix://FILE"
        ) from None


def describe(settings: Settings) -> str:
    """Return the address without user and password."""
    kind = settings.get("connection_class", Connection)
    db = f"/{settings['db']}" if settings.get("db") else ""
    if "path" in settings:
        return f"unix://{settings['path']}{db}"
    scheme = "rediss" if issubclass(kind, SSLConnection) else "redis"
    return f"{scheme}://{settings.get('host', 'localhost')}:{settings.get('port', 6379)}{db}"


def at_url(settings: Settings, timeout: float) -> Server:
    """Return the server at that address."""

    async def connect() -> AbstractConnection:
        return await connected(connection_to(settings, timeout))

    return Server(connect, describe(settings), timeout)


def of_client(client: Redis, timeout: float) -> Server:
    """Return the server a client leads to. Its settings are used; its connections are left to it."""
    pool = client.connection_pool

    async def connect() -> AbstractConnection:
        return await connected(pool.make_connection())  # type: ignore[no-untyped-call]

    settings = {**pool.connection_kwargs, "connection_class": pool.connection_class}
    if hasattr(pool, "service_name"):
        return Server(connect, f"Sentinel's master {pool.service_name!r}", timeout)
    return Server(connect, describe(settings), timeout)


class Sentinels(NamedTuple):
    """Who names the master.

    Attributes:
        addresses: (host, port) of each.
        service: what they call the master.
        login: their own ``username`` and ``password``, if they ask for them.
    """

    addresses: Sequence[tuple[str, int]]
    service: str
    login: Mapping[str, str]


def behind_sentinel(sentinels: Sentinels, settings: Settings, timeout: float) -> Server:
    """Return the master that Sentinel names, asked anew for each connection."""
    names = ",".join(f"{host}:{port}" for host, port in sentinels.addresses)

    async def connect() -> AbstractConnection:
        asked = Sentinel(  # type: ignore[no-untyped-call]
            sentinels.addresses,
            sentinel_kwargs={
                **sentinels.login,
                "socket_timeout": timeout / 2,
                "socket_connect_timeout": timeout / 2,
                "retry": Retry(NoBackoff(), 0),
            },
        )
        try:
            host, port = await asked.discover_master(sentinels.service)
        finally:
            for one in asked.sentinels:
                await one.aclose()
        connection = connection_to({**settings, "host": host, "port": port}, timeout)
        return await connected(connection)

    return Server(connect, f"{sentinels.service} at Sentinel {names}", timeout)


def connection_to(settings: Settings, timeout: float) -> AbstractConnection:
    """Return a connection that sends everything once and leaves timing to its lane."""
    given = dict(settings)
    kind: type[AbstractConnection] = given.pop("connection_class", Connection)
    given.pop("max_connections", None)
    given.update(
        socket_timeout=None,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        health_check_interval=0,
    )
    if issubclass(kind, Connection) and not issubclass(kind, UnixDomainSocketConnection):
        given.setdefault("socket_keepalive", True)
    return kind(**given)


async def connected(connection: AbstractConnection) -> AbstractConnection:
    """Connect; let go of it when that fails."""
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except (RedisError, OSError, asyncio.CancelledError):
        await connection.disconnect(nowait=True)
        raise
    return connection
