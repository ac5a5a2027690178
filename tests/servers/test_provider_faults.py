"""Providers whose servers die, hang, come back, or want TLS."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from recollect.errors import (
    MemoryConnectionError,
    MemoryStorageError,
    OutcomeUnknown,
)
from recollect.memory import (
    Failure,
    MemoryQuery,
    PostgresConfig,
    RedisConfig,
    StoreProvider,
    Success,
    create_postgres_provider,
    create_redis_provider,
    test_memory_provider_connection,
)
from tests.servers.redis_server import RedisServer
from tests.servers.secure import PASSWORD, DebianPostgres
from tests.stores.providers import said, texts

if TYPE_CHECKING:
    from tests.servers.postgres_server import PostgresServer

pytest_plugins = ["tests.servers.postgres_server"]

_numbers = count()


class Servers:
    """One server that can be killed, whichever it is."""

    def __init__(self, server: "RedisServer | PostgresServer") -> None:
        self.server = server

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        self.server.start()


@pytest.fixture(params=["redis", "postgres"])
def servers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Servers]:
    if request.param == "postgres":
        server = request.getfixturevalue("own_postgres_server")
        yield Servers(server)
        server.start()
        return
    with RedisServer(tmp_path, "--appendonly", "yes", "--appendfsync", "always") as redis:
        yield Servers(redis)


@pytest_asyncio.fixture
async def provider(servers: Servers) -> AsyncIterator[StoreProvider]:
    name = f"talks{next(_numbers)}"
    if isinstance(servers.server, RedisServer):
        config = RedisConfig(url=servers.server.url, key_prefix=f"{name}:")
        made = await create_redis_provider(config)
    else:
        url = servers.server.url
        made = await create_postgres_provider(
            PostgresConfig(connection_string=url, table_name=name, max_connections=4)
        )
    yield made
    await made.close()


async def test_a_server_that_is_down_is_answered_and_raised_and_recovered_from(
    servers: Servers, provider: StoreProvider
) -> None:
    await provider.store_messages("c", said("a"), {"user_id": "u"})
    await provider.get_conversation("c")
    servers.kill()
    with pytest.raises(MemoryConnectionError):  # whoever reads finds out that it is gone
        await provider.get_conversation("c")
    for write in (provider.store_messages, provider.append_messages):
        result = await write("c", said("lost"))
        assert isinstance(result, Failure)
        assert isinstance(result.error, MemoryConnectionError)
        assert result.error.provider == provider.name
        assert result.error.cause is not None
    for answer in (
        await provider.truncate_conversation_after("c", "m"),
        await provider.get_conversation_until_message("c", "m"),
        await provider.mark_regeneration_point("c", "m", {}),
    ):
        assert isinstance(answer, Failure)
        assert isinstance(answer.error, MemoryConnectionError)
    for read in (
        provider.get_recent_messages("c"),
        provider.find_conversations(MemoryQuery(user_id="u")),
        provider.delete_conversation("c"),
        provider.clear_user_conversations("u"),
        provider.get_stats(),
    ):
        with pytest.raises(MemoryConnectionError):
            await read
    report = await provider.health_check()
    assert (report["healthy"], report["provider"]) == (False, provider.name)
    assert report["error"]
    servers.start()
    assert await provider.append_messages("c", said("b")) == Success(None)
    assert texts(await provider.get_conversation("c")) == ["a", "b"]
    assert (await provider.health_check())["healthy"] is True


async def test_a_storm_through_a_crash_loses_and_doubles_nothing(
    servers: Servers, provider: StoreProvider
) -> None:
    acknowledged: list[str] = []
    doubtful: list[str] = []
    stop, is_down, progress = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def reach(count: int) -> None:
        while len(acknowledged) < count:
            progress.clear()
            await progress.wait()

    async def write(writer: int) -> None:
        for number in range(10**6):
            if stop.is_set():
                return
            text = f"{writer}.{number}"
            result = await provider.append_messages("c", said(text))
            if isinstance(result, Success):
                acknowledged.append(text)
                progress.set()
                continue
            is_down.set()
            if isinstance(result.error, MemoryStorageError):
                assert isinstance(result.error.cause, OutcomeUnknown)
                doubtful.append(text)
            await asyncio.sleep(0)

    writers = [asyncio.create_task(write(n)) for n in range(8)]
    await reach(100)
    servers.kill()
    await is_down.wait()
    await asyncio.to_thread(servers.start)
    await reach(len(acknowledged) + 100)  # they have found it again
    stop.set()
    await asyncio.gather(*writers)
    stored = texts(await provider.get_conversation("c"))
    assert len(stored) == len(set(stored))
    assert set(acknowledged) <= set(stored) <= {*acknowledged, *doubtful}


async def test_a_repeated_write_with_a_key_is_stored_once_through_a_crash(
    servers: Servers, provider: StoreProvider
) -> None:
    async def write(number: int) -> None:
        while True:
            result = await provider.append_messages("c", said(str(number)), key=str(number))
            if isinstance(result, Success):
                return
            assert isinstance(result.error, MemoryConnectionError)
            await asyncio.sleep(0)

    writers = [asyncio.create_task(write(n)) for n in range(300)]
    await asyncio.wait(writers, return_when=asyncio.FIRST_COMPLETED)
    servers.kill()
    await asyncio.to_thread(servers.start)
    await asyncio.gather(*writers)
    stored = texts(await provider.get_conversation("c"))
    assert sorted(stored, key=int) == [str(n) for n in range(300)]


async def test_health_is_told_in_time_when_a_server_hangs(
    own_postgres_server: "PostgresServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recollect.memory.providers.provider.HEALTH_TIMEOUT_SECONDS", 0.3)
    config = PostgresConfig(connection_string=own_postgres_server.url, table_name="hung")
    provider = await create_postgres_provider(config)
    own_postgres_server.pause()
    try:
        report = await provider.health_check()
    finally:
        own_postgres_server.resume()
    assert (report["healthy"], "0.3 s" in report["error"]) == (False, True)
    await provider.close()


async def test_the_connection_test_ends_in_time_when_a_server_hangs(
    own_postgres_server: "PostgresServer", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recollect.memory.providers.factories.TEST_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setenv("RECOLLECT_MEMORY_TYPE", "postgres")
    monkeypatch.setenv("RECOLLECT_POSTGRES_CONNECTION_STRING", own_postgres_server.url)
    own_postgres_server.pause()
    try:
        report = await test_memory_provider_connection()
    finally:
        own_postgres_server.resume()
    assert report == {"healthy": False, "error": "no answer within 0.3 s"}


async def test_ssl_is_insisted_on() -> None:
    with DebianPostgres() as server:
        config = PostgresConfig(
            host="127.0.0.1",
            port=server.port,
            database="postgres",
            username="ann",
            password=PASSWORD,
            ssl=True,
        )
        provider = await create_postgres_provider(config)
        await provider.store_messages("c", said("a"))
        assert texts(await provider.get_conversation("c")) == ["a"]
        await provider.close()


async def test_ssl_is_not_given_up_when_the_server_has_none() -> None:
    with DebianPostgres(settings=["ssl = off"]) as server:
        config = PostgresConfig(
            connection_string=server.url(password=PASSWORD).replace("?", ""), ssl=True
        )
        with pytest.raises(MemoryConnectionError) as caught:
            await create_postgres_provider(config)
    assert "user" not in str(caught.value)  # it did not come so far as to ask for one
    assert PASSWORD not in f"{caught.value!r}{caught.value.__cause__!r}{config!r}"
