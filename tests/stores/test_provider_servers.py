"""Providers on real servers: made with a client, a connection, a URL or the environment."""

import asyncio
import os
import pickle
from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest
import pytest_asyncio
import redis
from redis.asyncio import Redis, RedisCluster

from recollect.errors import InvalidInput, MemoryConnectionError, MemoryError, MemoryStorageError  # noqa: A004
from recollect.memory import (
    MemoryQuery,
    PostgresConfig,
    RedisConfig,
    SQLiteConfig,
    StoreProvider,
    Success,
    create_memory_provider_from_env,
    create_postgres_provider,
    create_redis_provider,
    create_sqlite_provider,
    test_memory_provider_connection,
)
from tests.servers.redis_server import RedisCluster as ClusterServers
from tests.servers.redis_server import RedisServer, SentinelTrio
from tests.stores.providers import PLUGINS, said, texts

pytest_plugins = PLUGINS

_numbers = count()


@pytest.fixture
def prefix() -> str:
    return f"made-{next(_numbers)}:"


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith(("JAF_", "RECOLLECT_")):
            monkeypatch.delenv(name)
    return monkeypatch


@pytest_asyncio.fixture
async def database(postgres_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


async def works(provider: StoreProvider) -> None:
    assert await provider.append_messages("c", said("a"), {"user_id": "u"}) == Success(None)
    assert texts(await provider.get_conversation("c")) == ["a"]


# ---- Redis ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("decode_responses", [True, False])
async def test_a_redis_client_is_used_and_left_open(
    redis_server: RedisServer, prefix: str, decode_responses: bool
) -> None:
    client = Redis(port=redis_server.port, db=3, decode_responses=decode_responses)
    config = RedisConfig(host="nowhere.invalid", port=1, key_prefix=prefix, ttl=86400)
    provider = await create_redis_provider(config, client)
    await works(provider)
    await provider.close()
    keys = [key async for key in client.scan_iter(f"{prefix}*")]
    assert len(keys) > 1
    await client.aclose()


async def test_all_keys_begin_with_the_prefix_and_messages_expire(
    redis_server: RedisServer, prefix: str
) -> None:
    with redis_server.client() as client:
        before = set(client.keys())
        provider = await create_redis_provider(
            RedisConfig(url=redis_server.url, key_prefix=prefix, ttl=86400)
        )
        await works(provider)
        await provider.close()
        new = set(client.keys()) - before
        assert all(key.startswith(prefix.encode()) for key in new)
        messages = [key for key in new if key.endswith(b":c}:messages")]
        assert [client.ttl(key) >= 86_000 for key in messages] == [True]


async def test_a_cluster_client_is_used(redis_cluster: ClusterServers, prefix: str) -> None:
    client = RedisCluster(host="127.0.0.1", port=redis_cluster.nodes[0].port)
    provider = await create_redis_provider(RedisConfig(key_prefix=prefix), client)
    await works(provider)
    assert (await provider.health_check())["metrics"]["active_connections"] >= 1
    assert len(await provider.find_conversations(MemoryQuery(user_id="u"))) == 1
    assert await provider.clear_user_conversations("u") == 1
    await provider.close()
    await client.aclose()


async def test_the_parts_of_the_settings_lead_to_the_server(
    redis_server: RedisServer, prefix: str
) -> None:
    config = RedisConfig(host="127.0.0.1", port=redis_server.port, db=4, key_prefix=prefix)
    provider = await create_redis_provider(config)
    await works(provider)
    assert "/4" in (await provider.health_check())["details"]["location"]
    await provider.close()


async def test_a_token_in_the_url_is_a_password_and_never_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    with RedisServer(tmp_path, "--requirepass", "s3same") as server:
        at = f"127.0.0.1:{server.port}"
        right = [
            RedisConfig(url=f"redis://s3same@{at}/0"),
            RedisConfig(url=f"redis://{at}/0", password="s3same"),
            RedisConfig(host="127.0.0.1", port=server.port, password="s3same"),
        ]
        for config in right:
            provider = await create_redis_provider(config)
            await provider.append_messages("c", said("a"))
            health = await provider.health_check()
            assert health["healthy"]
            assert "s3same" not in f"{config}{provider!r}{health}"
            await provider.close()
        for config in (
            RedisConfig(url=f"redis://wr0ng@{at}"),
            RedisConfig(host="127.0.0.1", port=server.port, password="wr0ng"),
            RedisConfig(url=f"redis://{at}"),
        ):
            with pytest.raises(MemoryConnectionError, match="password") as caught:
                await create_redis_provider(config)
            assert "wr0ng" not in shown(caught.value)
    assert "s3same" not in caplog.text
    assert "wr0ng" not in caplog.text


def shown(error: MemoryError) -> str:
    """All that an error says, with its causes, and after a journey between processes."""
    parts = [repr(pickle.loads(pickle.dumps(error)))]
    step: BaseException | None = error
    while step is not None:
        parts += [str(step), repr(step), str(vars(step))]
        step = step.__cause__ or step.__context__
    return "\n".join(parts)


async def test_sentinels_lead_to_the_master(
    tmp_path: Path, prefix: str, environ: pytest.MonkeyPatch
) -> None:
    with SentinelTrio(tmp_path) as trio:
        hosts = ",".join(f"{host}:{port}" for host, port in trio.addresses)
        config = RedisConfig(
            sentinel_hosts=hosts,
            sentinel_service_name=trio.service,
            key_prefix=prefix,
            db=2,
            port=1,
        )
        provider = await create_redis_provider(config)
        await works(provider)
        await provider.close()
        with trio.master.client(db=2) as client:
            assert client.dbsize() > 1
        environ.setenv("JAF_MEMORY_TYPE", "redis")
        environ.setenv("JAF_REDIS_SENTINEL_HOSTS", hosts)
        environ.setenv("JAF_REDIS_SENTINEL_SERVICE_NAME", trio.service)
        assert (await test_memory_provider_connection())["healthy"] is True
        environ.setenv("JAF_REDIS_SENTINEL_SERVICE_NAME", "other")
        assert (await test_memory_provider_connection())["healthy"] is False


@pytest.mark.parametrize(
    "client", ["redis://localhost", 5, redis.Redis()], ids=["url", "int", "sync"]
)
async def test_what_is_no_asyncio_client_of_redis_is_refused(client: Any) -> None:
    with pytest.raises(InvalidInput, match=r"redis\.asyncio"):
        await create_redis_provider(RedisConfig(), client)


# ---- PostgreSQL ----------------------------------------------------------------------------------


async def test_a_connection_is_used_safely_and_left_open(
    database: Any, postgres_schema: str
) -> None:
    config = PostgresConfig(host="nowhere.invalid", table_name=f"{postgres_schema}.talks")
    provider = await create_postgres_provider(config, database)
    await asyncio.gather(*(provider.append_messages("c", said(str(n))) for n in range(10)))
    assert len(texts(await provider.get_conversation("c"))) == 10
    assert (await provider.health_check())["metrics"]["active_connections"] == 1
    await provider.close()
    assert await database.fetchval("SELECT 1") == 1


async def test_a_pool_is_used_and_left_open(postgres_url: str, postgres_schema: str) -> None:
    async with asyncpg.create_pool(postgres_url, min_size=2, max_size=3) as pool:
        config = PostgresConfig(table_name=f"{postgres_schema}.talks")
        provider = await create_postgres_provider(config, pool)
        await works(provider)
        assert (await provider.health_check())["metrics"]["active_connections"] >= 2
        await provider.close()
        assert await pool.fetchval("SELECT 1") == 1


def parts_of(url: str) -> dict[str, Any]:
    """The settings that lead where a URL of the tests leads."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    found = {
        "host": query.get("host", [parts.hostname])[0],
        "port": parts.port or int(query.get("port", ["5432"])[0]),
        "database": parts.path.strip("/"),
        "username": parts.username,
        "password": parts.password or None,
    }
    return {name: value for name, value in found.items() if value is not None}


async def test_the_parts_of_the_settings_lead_to_the_database(
    postgres_url: str, postgres_schema: str, environ: pytest.MonkeyPatch
) -> None:
    parts = parts_of(postgres_url)
    config = PostgresConfig(
        **parts, table_name=f"{postgres_schema}.talks", pool_min_size=3, max_connections=4
    )
    provider = await create_postgres_provider(config)
    await works(provider)
    assert (await provider.health_check())["metrics"]["active_connections"] == 3
    await provider.close()
    variables = {
        "MEMORY_TYPE": "postgres",
        "POSTGRES_TABLE_NAME": f"{postgres_schema}.talks",
        "POSTGRES_POOL_MAX_SIZE": "2",
        "POSTGRES_POOL_MAX_QUERIES": "50000",
        "POSTGRES_POOL_MAX_INACTIVE_CONNECTION_LIFETIME": "300",
    }
    variables |= {f"POSTGRES_{name.upper()}": str(value) for name, value in parts.items()}
    for name, value in variables.items():
        environ.setenv(f"JAF_{name}", value)
    provider = await create_memory_provider_from_env()
    assert texts(await provider.get_conversation("c")) == ["a"]
    await provider.close()


async def test_many_first_starts_at_once_make_the_tables_once(
    postgres_url: str, postgres_schema: str
) -> None:
    config = PostgresConfig(
        connection_string=postgres_url, table_name=f"{postgres_schema}.talks", max_connections=1
    )
    providers = await asyncio.gather(*(create_postgres_provider(config) for _ in range(8)))
    await asyncio.gather(*(one.append_messages("c", said("a")) for one in providers))
    assert len(texts(await providers[0].get_conversation("c"))) == 8
    for one in providers:
        await one.close()


@pytest.mark.parametrize("connection", ["postgresql://localhost", 5], ids=str)
async def test_what_is_no_connection_of_asyncpg_is_refused(connection: Any) -> None:
    with pytest.raises(InvalidInput, match="asyncpg"):
        await create_postgres_provider(PostgresConfig(), connection)


# ---- what cannot be made -------------------------------------------------------------------------


async def test_an_unreachable_server_is_a_connection_error_without_the_password() -> None:
    redis_config = RedisConfig(host="127.0.0.1", port=1, password="s3same")
    with pytest.raises(MemoryConnectionError, match=r"127\.0\.0\.1:1") as caught:
        await create_redis_provider(redis_config)
    assert (caught.value.provider, "s3same" in shown(caught.value)) == ("Redis", False)
    assert caught.value.cause is caught.value.__cause__ is not None
    for postgres_config in (
        PostgresConfig(host="127.0.0.1", port=1, password="s3same"),
        PostgresConfig(connection_string="postgresql://u:s3same@127.0.0.1:1/d"),
    ):
        with pytest.raises(MemoryConnectionError, match=r"127\.0\.0\.1:1") as caught:
            await create_postgres_provider(postgres_config)
        assert (caught.value.provider, "s3same" in shown(caught.value)) == ("Postgres", False)


async def test_a_missing_database_is_named(postgres_url: str) -> None:
    parts = parts_of(postgres_url) | {"database": "no_such"}
    with pytest.raises(MemoryConnectionError, match="no such database"):
        await create_postgres_provider(PostgresConfig(**parts))


async def test_a_file_of_another_program_is_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    path.write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(MemoryStorageError, match=r"a\.db") as caught:
        await create_sqlite_provider(SQLiteConfig(path=path))
    assert (caught.value.provider, caught.value.operation) == ("SQLite", "create_sqlite_provider")


@pytest.mark.parametrize(
    "config", [None, "redis://h", {"port": 1}, SQLiteConfig(path="x")], ids=str
)
async def test_settings_of_another_kind_are_refused(config: Any) -> None:
    for make in (create_redis_provider, create_postgres_provider):
        with pytest.raises(InvalidInput, match="config"):
            await make(config)


# ---- the environment -----------------------------------------------------------------------------


async def test_clients_passed_in_are_used(
    redis_server: RedisServer,
    database: Any,
    postgres_schema: str,
    prefix: str,
    environ: pytest.MonkeyPatch,
) -> None:
    client = Redis(port=redis_server.port)
    clients = {"redis": client, "postgres": database}
    environ.setenv("JAF_REDIS_HOST", "nowhere.invalid")
    environ.setenv("JAF_REDIS_KEY_PREFIX", prefix)
    environ.setenv("JAF_POSTGRES_HOST", "nowhere.invalid")
    environ.setenv("JAF_POSTGRES_TABLE_NAME", f"{postgres_schema}.talks")
    for kind in clients:
        environ.setenv("JAF_MEMORY_TYPE", kind)
        provider = await create_memory_provider_from_env(external_clients=clients)
        await works(provider)
        await provider.close()
    assert await client.ping()
    assert await database.fetchval("SELECT 1") == 1
    await client.aclose()


async def test_the_connection_test_finds_the_servers(
    redis_server: RedisServer, postgres_url: str, postgres_schema: str, environ: pytest.MonkeyPatch
) -> None:
    environ.setenv("RECOLLECT_REDIS_URL", redis_server.url)
    environ.setenv("RECOLLECT_POSTGRES_CONNECTION_STRING", postgres_url)
    environ.setenv("RECOLLECT_POSTGRES_TABLE_NAME", f"{postgres_schema}.talks")
    for kind in ("redis", "postgres"):
        environ.setenv("RECOLLECT_MEMORY_TYPE", kind)
        report = await test_memory_provider_connection()
        assert (report["healthy"], report["type"]) == (True, kind)
