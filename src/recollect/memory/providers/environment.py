"""Provider settings from environment variables (seed 004, Environment-Based Configuration).

Each variable is read as ``RECOLLECT_X``, else as ``JAF_X``. An empty one counts as unset. Numbers and
switches may carry a trailing `` # comment``, which ``docker --env-file`` and systemd hand over whole.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from recollect.errors import InvalidInput, MemoryConnectionError, closest
from recollect.memory.providers.config import (
    InMemoryConfig,
    MemoryProviderConfig,
    PostgresConfig,
    RedisConfig,
    SQLiteConfig,
)

PREFIXES = ("RECOLLECT_", "JAF_")
PROVIDER = "Factory"  # what the errors of this module say as their provider

_COMMENT = re.compile(r"(^|\s)#.*$", re.DOTALL)
_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})


def _text(value: str) -> str:
    return value


def _plain(value: str) -> str:
    return _COMMENT.sub("", value).strip()


def _whole(value: str) -> int:
    return int(value)


def _seconds(value: str) -> float:
    number = float(value)
    return int(number) if number.is_integer() else number


def _switch(value: str) -> bool:
    word = value.lower()
    if word not in _TRUE | _FALSE:
        raise ValueError
    return word in _TRUE


_EXPECTED: dict[Callable[[str], Any], str] = {
    _whole: "a whole number",
    _seconds: "a number of seconds",
    _switch: "true, yes, on or 1, or else false, no, off or 0",
}


class Variable(NamedTuple):
    """One variable without its prefix; ``others`` are names that mean the same and come second."""

    field: str
    name: str
    others: tuple[str, ...] = ()
    read: Callable[[str], Any] = _text


class Kind(NamedTuple):
    """A type of provider: its settings, the variables they come from, what it is in words."""

    config: Callable[..., MemoryProviderConfig]
    variables: tuple[Variable, ...]
    persistence: bool
    description: str


TYPE = "MEMORY_TYPE"
KINDS: Mapping[str, Kind] = {
    "memory": Kind(
        InMemoryConfig,
        (
            Variable("max_conversations", "MEMORY_MAX_CONVERSATIONS", read=_whole),
            Variable("max_messages", "MEMORY_MAX_MESSAGES", read=_whole),
        ),
        persistence=False,
        description="in this process; lost when it ends",
    ),
    "sqlite": Kind(
        SQLiteConfig,
        (Variable("path", "SQLITE_PATH"),),
        persistence=True,
        description="in a file on this machine",
    ),
    "redis": Kind(
        RedisConfig,
        (
            Variable("url", "REDIS_URL"),
            Variable("host", "REDIS_HOST"),
            Variable("port", "REDIS_PORT", read=_whole),
            Variable("password", "REDIS_PASSWORD"),
            Variable("db", "REDIS_DB", read=_whole),
            Variable("key_prefix", "REDIS_KEY_PREFIX", ("REDIS_PREFIX",)),
            Variable("ttl", "REDIS_TTL", read=_seconds),
            Variable("sentinel_hosts", "REDIS_SENTINEL_HOSTS"),
            Variable("sentinel_service_name", "REDIS_SENTINEL_SERVICE_NAME"),
            Variable("sentinel_password", "REDIS_SENTINEL_PASSWORD"),
        ),
        persistence=True,
        description="on a Redis server",
    ),
    "postgres": Kind(
        PostgresConfig,
        (
            Variable("connection_string", "POSTGRES_CONNECTION_STRING"),
            Variable("host", "POSTGRES_HOST"),
            Variable("port", "POSTGRES_PORT", read=_whole),
            Variable("database", "POSTGRES_DATABASE", ("POSTGRES_DB",)),
            Variable("username", "POSTGRES_USERNAME", ("POSTGRES_USER",)),
            Variable("password", "POSTGRES_PASSWORD"),
            Variable("ssl", "POSTGRES_SSL", read=_switch),
            Variable("table_name", "POSTGRES_TABLE_NAME", ("POSTGRES_TABLE",)),
            Variable("max_connections", "POSTGRES_MAX_CONNECTIONS", read=_whole),
            Variable("pool_min_size", "POSTGRES_POOL_MIN_SIZE", read=_whole),
            Variable("pool_max_size", "POSTGRES_POOL_MAX_SIZE", read=_whole),
            Variable("pool_max_queries", "POSTGRES_POOL_MAX_QUERIES", read=_whole),
            Variable(
                "pool_max_inactive_connection_lifetime",
                "POSTGRES_POOL_MAX_INACTIVE_CONNECTION_LIFETIME",
                read=_seconds,
            ),
        ),
        persistence=True,
        description="in tables of a PostgreSQL database",
    ),
}


def get_memory_provider_info() -> dict[str, Any]:
    """Describe the provider that the environment asks for; asks no server.

    Returns:
        ``type`` (memory, sqlite, redis or postgres), ``persistence`` (whether conversations outlive
        the process), ``description``, and ``config``, its settings with secrets masked.

    Raises:
        MemoryConnectionError: a variable has a value that cannot be; the text names it.
    """
    config = config_from_environment()
    kind = KINDS[config.type]
    return {
        "type": config.type,
        "persistence": kind.persistence,
        "description": kind.description,
        "config": config.shown(),
    }


def config_from_environment() -> MemoryProviderConfig:
    """Return the settings that the environment asks for; without any, those of the in-memory one.

    Raises:
        MemoryConnectionError: as ``get_memory_provider_info``.
    """
    kind = KINDS[_type()]
    found = dict(_found(kind))
    try:
        return kind.config(**{field: value for field, (_, value) in found.items()})
    except InvalidInput as error:  # each was checked alone: they do not go together
        names = ", ".join(name for name, _ in found.values())
        raise MemoryConnectionError(f"{error} (set by {names})", PROVIDER, error) from error


def _type() -> str:
    name, value = _lookup((TYPE,), _plain) or (f"{PREFIXES[0]}{TYPE}", "memory")
    kind = value.lower()
    if kind not in KINDS:
        raise MemoryConnectionError(
            f"{name} is {value!r:.40}: unsupported memory type, it must be one of "
            f"{', '.join(KINDS)}.{closest(kind, KINDS)}",
            PROVIDER,
        )
    if kind == "sqlite" and not _lookup(("SQLITE_PATH",), _text):
        raise MemoryConnectionError(
            f"{name} is 'sqlite', but no file is named: set {PREFIXES[0]}SQLITE_PATH", PROVIDER
        )
    return kind


def _found(kind: Kind) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Yield (field, (variable, value)) for each variable that is set."""
    for variable in kind.variables:
        clean = _text if variable.read is _text else _plain
        found = _lookup((variable.name, *variable.others), clean)
        if found is not None:
            name, text = found
            yield variable.field, (name, _value(kind, variable, name, text))


def _lookup(names: tuple[str, ...], clean: Callable[[str], str]) -> tuple[str, str] | None:
    for name in names:
        for prefix in PREFIXES:
            value = clean(os.environ.get(prefix + name, ""))
            if value:
                return prefix + name, value
    return None


def _value(kind: Kind, variable: Variable, name: str, text: str) -> Any:
    try:
        value = variable.read(text)
    except (ValueError, OverflowError):
        _refuse(f"{name} is {text!r:.40}: expected {_EXPECTED[variable.read]}")
    try:
        checks = kind.config.checks  # type: ignore[attr-defined]  # all of them are Settings
        checks[variable.field](name, value)
    except InvalidInput as error:
        _refuse(str(error), error)
    return value


def _refuse(why: str, error: Exception | None = None) -> NoReturn:
    raise MemoryConnectionError(why, PROVIDER, error) from error
