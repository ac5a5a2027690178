"""Making providers (seed 004): one for each backend, or the one the environment asks for."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any, TypeVar

from recollect.errors import (
    InvalidInput,
    RecollectError,
    StoreError,
    closest,
)
from recollect.memory.providers.config import (
    InMemoryConfig,
    PostgresConfig,
    RedisConfig,
    SQLiteConfig,
)
from recollect.memory.providers.deadline import within
from recollect.memory.providers.environment import config_from_environment
from recollect.memory.providers.provider import StoreProvider
from recollect.memory.providers.retention import Retention
from recollect.memory.providers.statistics import told
from recollect.stores import factory
from recollect.stores.base import Store
from recollect.stores.records import CallLimits
from recollect.telemetry import Telemetry

TEST_TIMEOUT_SECONDS = 5.0

# A provider stores whole conversations at once (a backup is imported), so it may carry more.
CALL_LIMITS = CallLimits(call_messages=100_000, call_bytes=64 * 1024 * 1024)

C = TypeVar("C")


def create_in_memory_provider(
    config: InMemoryConfig | None = None, *, telemetry: Telemetry | None = None
) -> StoreProvider:
    """Return a provider that keeps conversations in this process; works from any event loop.

    ``telemetry`` hears ``provider.conversations_evicted`` and ``provider.messages_evicted``, each
    with a ``count``, when something is dropped for a limit.
    """
    config = _checked(config if config is not None else InMemoryConfig(), InMemoryConfig)
    store = factory.in_memory_store(call_limits=CALL_LIMITS)
    retention = Retention(
        store,
        max_conversations=config.max_conversations,
        max_messages=config.max_messages,
        telemetry=telemetry or Telemetry(),
    )
    has_limits = (config.max_conversations, config.max_messages) != (None, None)
    return StoreProvider(
        store,
        name="InMemory",
        ttl=_lifetime(config.ttl),
        retention=retention if has_limits else None,
    )


async def create_sqlite_provider(config: SQLiteConfig) -> StoreProvider:
    """Return a provider that keeps conversations in a file; works from any event loop.

    Raises:
        MemoryConnectionError: the file cannot be opened now. MemoryStorageError: it is damaged, or
            was written by a newer Recollect, or by another program.
    """
    config = _checked(config, SQLiteConfig)
    store = factory.sqlite_store(config.path, call_limits=CALL_LIMITS)
    return await _opened(store, "SQLite", "conversations", config.ttl)


async def create_redis_provider(config: RedisConfig, client: Any = None) -> StoreProvider:
    """Return a provider that keeps conversations on a Redis server. It belongs to this event loop.

    Args:
        config: where, and under which prefix.
        client: a client of redis.asyncio (a Cluster's too), used in place of the config's address
            and never closed by us. The provider's own connection, made with the client's settings,
            wants ``close()`` all the same.

    Raises:
        MemoryConnectionError: the server cannot be reached, or refuses the password.
        MemoryStorageError: a newer Recollect, or another program, wrote under the prefix.
        MissingExtra: the driver is not installed.
    """
    config = _checked(config, RedisConfig)
    store = factory.redis_store(
        config.address() if client is None else None,
        client=client,
        sentinels=config.sentinels() if client is None else (),
        service=config.sentinel_service_name,
        sentinel_login={"password": config.sentinel_password} if config.sentinel_password else None,
        prefix=config.key_prefix,
        call_limits=CALL_LIMITS,
    )
    return await _opened(store, "Redis", config.key_prefix, config.ttl)


async def create_postgres_provider(config: PostgresConfig, connection: Any = None) -> StoreProvider:
    """Return a provider that keeps conversations in PostgreSQL. It belongs to this event loop.

    Args:
        config: where, and in which tables; they are created when they are missing, the database and
            the schema are not.
        connection: an asyncpg connection or pool, used in place of the config's address and never
            closed by us. A connection is used by one call after the other.

    Raises:
        MemoryConnectionError: the server cannot be reached, refuses the user, or has no such database.
        MemoryStorageError: a newer Recollect, or another program, made the tables.
        MissingExtra: the driver is not installed.
    """
    config = _checked(config, PostgresConfig)
    store = factory.postgres_store(
        config.connection_string if connection is None else None,
        connection=connection,
        table_name=config.table_name,
        options=config.options() if connection is None else None,
        call_limits=CALL_LIMITS,
    )
    return await _opened(store, "Postgres", config.table_name, config.ttl)


async def create_memory_provider_from_env(
    external_clients: Mapping[str, Any] | None = None,
) -> StoreProvider:
    """Return the provider that the environment asks for (``docs/providers.md`` has the variables).

    ``external_clients`` may have a client under ``redis`` and a connection or pool under
    ``postgres``; that of the chosen type is used, and never closed by us.

    Raises:
        MemoryConnectionError: a variable has a value that cannot be, or the provider cannot be made.
    """
    clients = dict(external_clients or {})
    for name in clients:
        if name not in {"redis", "postgres"}:
            near = closest(str(name), ("redis", "postgres"))
            raise InvalidInput(
                f"external_clients has {name!r:.40}: known are redis, postgres.{near}"
            )
    config = config_from_environment()
    if isinstance(config, RedisConfig):
        return await create_redis_provider(config, clients.get("redis"))
    if isinstance(config, PostgresConfig):
        return await create_postgres_provider(config, clients.get("postgres"))
    if isinstance(config, SQLiteConfig):
        return await create_sqlite_provider(config)
    return create_in_memory_provider(config)


async def test_memory_provider_connection() -> dict[str, Any]:
    """Make the provider that the environment asks for, ask it, close it; takes at most seconds.

    Returns:
        ``healthy`` and, if so, ``message``, ``type``, ``provider``, ``latency_ms``; if not,
        ``error``. It never raises for settings, a server or an extra that is not as it should be.
    """
    try:
        kind = config_from_environment().type
        report = await within(TEST_TIMEOUT_SECONDS, _tested())
    except TimeoutError:
        return {"healthy": False, "error": f"no answer within {TEST_TIMEOUT_SECONDS:g} s"}
    except RecollectError as error:
        return {"healthy": False, "error": str(error)}
    shown = ("healthy", "message", "error", "provider", "latency_ms")
    return {"type": kind} | {name: report[name] for name in shown if name in report}


test_memory_provider_connection.__test__ = False  # type: ignore[attr-defined]  # for pytest


async def _tested() -> dict[str, Any]:
    provider = await create_memory_provider_from_env()
    try:
        return await provider.health_check()
    finally:
        await provider.close()


def _checked(config: C, kind: type[C]) -> C:
    if not isinstance(config, kind):
        raise InvalidInput(f"config is a {type(config).__name__}: it must be a {kind.__name__}")
    return config


def _lifetime(ttl: float | None) -> timedelta | None:
    return None if ttl is None else timedelta(seconds=ttl)


async def _opened(store: Store, name: str, namespace: str, ttl: float | None) -> StoreProvider:
    try:
        await AsyncExitStack().enter_async_context(store)
    except StoreError as error:
        raise told(error, name, f"create_{name.lower()}_provider") from error
    return StoreProvider(store, name=name, namespace=namespace, ttl=_lifetime(ttl))
