"""Providers of the four backends, made as users make them: a plugin."""

from collections.abc import AsyncIterator, Callable
from functools import cache
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from recollect.memory import (
    InMemoryConfig,
    PostgresConfig,
    RedisConfig,
    SQLiteConfig,
    StoreProvider,
    create_in_memory_provider,
    create_postgres_provider,
    create_redis_provider,
    create_sqlite_provider,
)
from tests.servers.redis_server import RedisServer
from tests.stores.providers import OpenProvider

_numbers = count()


@pytest.fixture
def open_provider(
    folder: Path,
    redis_server: RedisServer,
    postgres_url: str,
    postgres_table: Callable[[], str],
) -> OpenProvider:
    """Open a provider of a backend; further ones of this test are in the same place."""
    number = next(_numbers)
    table = cache(postgres_table)

    async def open_provider(backend: str, *, ttl: float | None = None) -> StoreProvider:
        match backend:
            case "memory":
                return create_in_memory_provider(InMemoryConfig(ttl=ttl))
            case "sqlite":
                return await create_sqlite_provider(
                    SQLiteConfig(path=folder / "provider.db", ttl=ttl)
                )
            case "redis":
                return await create_redis_provider(
                    RedisConfig(url=redis_server.url, key_prefix=f"provider-{number}:", ttl=ttl)
                )
        return await create_postgres_provider(
            PostgresConfig(connection_string=postgres_url, table_name=table(), ttl=ttl)
        )

    return open_provider


@pytest_asyncio.fixture(params=["memory", "sqlite", "redis", "postgres"])
async def provider(
    request: pytest.FixtureRequest, open_provider: OpenProvider
) -> AsyncIterator[StoreProvider]:
    """An empty provider of each backend."""
    made = await open_provider(request.param)
    yield made
    await made.close()
