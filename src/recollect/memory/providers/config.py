"""How each provider of seed 004 is set up; every field is checked at construction."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from recollect.errors import InvalidInput
from recollect.memory.providers.settings import (
    Check,
    Settings,
    exactly,
    seconds,
    truth,
    url_of,
    whole,
    words,
)

_SENTINEL_PORT = 26379
_PORT = whole(1, 65535)
_LONGEST_PLACE = 500
_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f{}]")


def _redis_url(name: str, value: object) -> str:
    text = words(name, url_of("redis", "rediss", "unix")(name, value))
    try:
        _ = urlsplit(text).port
    except ValueError:
        raise InvalidInput(f"{name} has a port that is none") from None
    return text


def _place(name: str, value: object) -> str:
    """Check what a provider's conversations have in common: it is a part of their addresses."""
    text = words(name, value)
    if len(text) > _LONGEST_PLACE or _UNUSABLE.search(text):
        raise InvalidInput(
            f"{name} has more than {_LONGEST_PLACE} characters, or control characters, or braces"
        )
    return text


def _path(name: str, value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    return words(name, value)


def _hosts(name: str, value: object) -> tuple[str, ...]:
    """Return ``HOST:PORT`` for each of ``HOST[:PORT],...`` or of a sequence of these."""
    given = value.split(",") if isinstance(value, str) else value
    if not isinstance(given, Sequence):
        raise InvalidInput(f"{name} is a {type(value).__name__}: write HOST:PORT,HOST:PORT")
    hosts = []
    for one in given:
        host, _, port = words(name, one.strip() if isinstance(one, str) else one).partition(":")
        if not host or not (port or str(_SENTINEL_PORT)).isdecimal():
            raise InvalidInput(f"{name} has an entry that is not HOST or HOST:PORT")
        hosts.append(f"{host}:{_PORT(name, int(port or _SENTINEL_PORT))}")
    if not hosts:
        raise InvalidInput(f"{name} is empty: leave it out, or name a host")
    return tuple(hosts)


@dataclass(frozen=True, kw_only=True, repr=False)
class InMemoryConfig(Settings):
    """Conversations in this process.

    Attributes:
        max_conversations: beyond it, the one that was not used for longest is dropped; None: never.
        max_messages: beyond it, the oldest messages of a conversation are dropped, whole units at a
            time; None: never. ``max_messages_per_conversation`` is a second name for it.
        ttl: seconds a conversation is kept after it was last written to; None keeps it for ever.
    """

    type: Literal["memory"] = "memory"
    max_conversations: int | None = None
    max_messages: int | None = None
    max_messages_per_conversation: int | None = None
    ttl: float | None = None

    checks: ClassVar[Mapping[str, Check]] = {
        "type": exactly("memory"),
        "max_conversations": whole(1),
        "max_messages": whole(1),
        "max_messages_per_conversation": whole(1),
        "ttl": seconds(),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        one, other = self.max_messages, self.max_messages_per_conversation
        if None not in {one, other} and one != other:
            raise InvalidInput(
                f"max_messages is {one} and max_messages_per_conversation {other}: these are two "
                "names of one setting, give one of them"
            )
        for name in ("max_messages", "max_messages_per_conversation"):
            object.__setattr__(self, name, other if one is None else one)


@dataclass(frozen=True, kw_only=True, repr=False)
class SQLiteConfig(Settings):
    """Conversations in a file.

    Attributes:
        path: the file; it and its folder are made when they are missing.
        ttl: as of ``InMemoryConfig``.
    """

    path: str | Path
    type: Literal["sqlite"] = "sqlite"
    ttl: float | None = None

    checks: ClassVar[Mapping[str, Check]] = {
        "path": _path,
        "type": exactly("sqlite"),
        "ttl": seconds(),
    }


@dataclass(frozen=True, kw_only=True, repr=False)
class RedisConfig(Settings):
    """Conversations on a Redis or Valkey server.

    Attributes:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``. What it says wins over ``host``,
            ``port``, ``password`` and ``db``. A name alone before the ``@`` is a password.
        key_prefix: begins every key.
        ttl: as of ``InMemoryConfig``.
        sentinel_hosts: ``HOST:PORT,HOST:PORT`` or a sequence of these; they name the server, and
            the other settings only say password, database and TLS.
        sentinel_service_name: what Sentinel calls the master.
        sentinel_password: that of the Sentinels; ``password`` is the master's.
    """

    type: Literal["redis"] = "redis"
    url: str | None = None
    host: str = "localhost"
    port: int = 6379
    password: str | None = None
    db: int = 0
    key_prefix: str = "jaf:memory:"
    ttl: float | None = None
    sentinel_hosts: str | Sequence[str] | None = None
    sentinel_service_name: str = "mymaster"
    sentinel_password: str | None = None

    secrets: ClassVar[frozenset[str]] = frozenset({"password", "sentinel_password"})
    urls: ClassVar[frozenset[str]] = frozenset({"url"})
    checks: ClassVar[Mapping[str, Check]] = {
        "type": exactly("redis"),
        "url": _redis_url,
        "host": words,
        "port": _PORT,
        "password": words,
        "db": whole(0),
        "key_prefix": _place,
        "ttl": seconds(),
        "sentinel_hosts": _hosts,
        "sentinel_service_name": words,
        "sentinel_password": words,
    }

    def address(self) -> str:
        """Return the URL with what it leaves open; it holds the password."""
        given = urlsplit(self.url or "redis:")
        user, password = given.username or "", given.password
        if user and password is None and self.password is None:
            user, password = "", user  # a token where the user's name stands
        if password is None and self.password is not None:
            password = quote(self.password, safe="")
        login = f"{user}@" if user else ""
        if password is not None:
            login = f"{user}:{password}@"
        if given.scheme == "unix":
            query = given.query if "db=" in given.query else _joined(given.query, db=self.db)
            return f"unix://{login}{given.path}?{query}"
        host, port = given.hostname or self.host, given.port or self.port
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        has_db = given.path.strip("/") or "db=" in given.query
        path = given.path if has_db else f"/{self.db}"
        return urlunsplit((given.scheme, login + place, path, given.query, ""))

    def sentinels(self) -> list[tuple[str, int]]:
        """Return host and port of each Sentinel."""
        pairs = (one.partition(":") for one in self.sentinel_hosts or ())
        return [(host, int(port)) for host, _, port in pairs]


def _joined(query: str, **more: object) -> str:
    return "&".join(part for part in (query, urlencode(more)) if part)


@dataclass(frozen=True, kw_only=True, repr=False)
class PostgresConfig(Settings):
    """Conversations in tables of a PostgreSQL database.

    Attributes:
        connection_string: ``postgresql://…``; wins over the other settings of the address, and its
            ``sslmode`` over ``ssl``; a password it lacks is taken from ``password``. May say
            ``?pgbouncer=true``.
        ssl: only connect by TLS.
        table_name: what the tables' names begin with; ``SCHEMA.NAME`` is allowed.
        max_connections: most connections at once; ``pool_max_size`` wins over it.
        pool_min_size: connections that are kept open.
        pool_max_queries: a connection is replaced after so many.
        pool_max_inactive_connection_lifetime: seconds until an idle connection is closed; 0: never.
        ttl: as of ``InMemoryConfig``.
    """

    type: Literal["postgres"] = "postgres"
    connection_string: str | None = None
    host: str = "localhost"
    port: int = 5432
    database: str = "jaf_memory"
    username: str = "postgres"
    password: str | None = None
    ssl: bool = False
    table_name: str = "conversations"
    max_connections: int = 10
    pool_min_size: int | None = None
    pool_max_size: int | None = None
    pool_max_queries: int | None = None
    pool_max_inactive_connection_lifetime: float | None = None
    ttl: float | None = None

    secrets: ClassVar[frozenset[str]] = frozenset({"password"})
    urls: ClassVar[frozenset[str]] = frozenset({"connection_string"})
    checks: ClassVar[Mapping[str, Check]] = {
        "type": exactly("postgres"),
        "connection_string": url_of("postgresql", "postgres"),
        "host": words,
        "port": _PORT,
        "database": words,
        "username": words,
        "password": words,
        "ssl": truth,
        "table_name": _place,
        "max_connections": whole(1),
        "pool_min_size": whole(0),
        "pool_max_size": whole(1),
        "pool_max_queries": whole(1),
        "pool_max_inactive_connection_lifetime": seconds(0),
        "ttl": seconds(),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pool_min_size is not None and self.pool_min_size > self.max_size:
            raise InvalidInput(
                f"pool_min_size is {self.pool_min_size}, more than the {self.max_size} connections "
                "there may be: raise pool_max_size (or max_connections)"
            )

    @property
    def max_size(self) -> int:
        """Most connections at once."""
        return self.max_connections if self.pool_max_size is None else self.pool_max_size

    def options(self) -> dict[str, Any]:
        """Return the arguments of ``asyncpg.create_pool``; they hold the password."""
        told = urlsplit(self.connection_string or "")
        has_password = "password=" in told.query or told.password is not None
        options: dict[str, Any] = {
            "max_size": self.max_size,
            "min_size": self.pool_min_size,
            "max_queries": self.pool_max_queries,
            "max_inactive_connection_lifetime": self.pool_max_inactive_connection_lifetime,
            "password": None if has_password else self.password,
            "ssl": "require" if self.ssl and "sslmode=" not in told.query else None,
        }
        if self.connection_string is None:
            options |= {
                "host": self.host,
                "port": self.port,
                "database": self.database,
                "user": self.username,
            }
        return {name: value for name, value in options.items() if value is not None}


MemoryProviderConfig: TypeAlias = InMemoryConfig | SQLiteConfig | RedisConfig | PostgresConfig
