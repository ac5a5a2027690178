"""A store used from another event loop works, or says so at once; it never hangs."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest

from recollect.errors import WrongLoop
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.breaker import BreakerStore
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId, Lease, NewRecord
from recollect.stores.redis import RedisStore
from recollect.stores.sqlite import SqliteStore
from recollect.testing.promises.upkeep import USES
from tests.servers.redis_server import RedisServer

pytest_plugins = ["tests.servers.redis_fixtures", "tests.servers.postgres_server"]

HERE = ConversationId("acme/chat", "c-1")
PATIENCE = 20  # seconds; nothing here waits for anything
_numbers = count()

Make = Callable[[], Store]


def say(text: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1)]


def on_redis(request: pytest.FixtureRequest) -> Make:
    server: RedisServer = request.getfixturevalue("redis_server")
    return lambda: RedisStore(server.url, prefix=f"loops-{next(_numbers)}:")


def on_postgres(request: pytest.FixtureRequest) -> Make:
    url: str = request.getfixturevalue("postgres_url")
    schema: str = request.getfixturevalue("postgres_schema")
    return lambda: PostgresStore(url, table_name=f"{schema}.t{next(_numbers)}")


def in_a_file(request: pytest.FixtureRequest) -> Make:
    folder: Path = request.getfixturevalue("folder")
    return lambda: SqliteStore(folder / f"{next(_numbers)}.db")


KINDS: dict[str, Callable[[pytest.FixtureRequest], Make]] = {
    "Redis": on_redis,
    "PostgreSQL": on_postgres,
    "SQLite": in_a_file,
    "in memory": lambda _: InMemoryStore,
}
BOUND, FREE = ("Redis", "PostgreSQL"), ("SQLite", "in memory")


@pytest.fixture(params=["plain", "behind a breaker"])
def make(request: pytest.FixtureRequest, kind: str) -> Make:
    plain = KINDS[kind](request)
    return plain if request.param == "plain" else lambda: BreakerStore(plain())


async def elsewhere(use: Callable[[], Any]) -> Any:
    """Do it in a loop of another thread."""

    async def run() -> Any:
        async with asyncio.timeout(PATIENCE):
            return await use()

    return await asyncio.to_thread(asyncio.run, run())


async def leased(store: Store) -> Lease:
    await store.append(HERE, say("a"))
    lease = await store.lease(HERE, holder="w", ttl=timedelta(hours=1))
    assert lease is not None
    return lease


@pytest.mark.parametrize("kind", BOUND)
@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_each_use_from_another_loop_is_refused_and_does_nothing(
    make: Make, use: Callable[[Store, Lease], Any]
) -> None:
    async with make() as store:
        lease = await leased(store)
        before = await store.load(HERE)
        with pytest.raises(WrongLoop, match="another event loop"):
            await elsewhere(lambda: use(store, lease))
        assert await store.load(HERE) == before


@pytest.mark.parametrize("kind", FREE)
@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_each_use_from_another_loop_works(
    make: Make, use: Callable[[Store, Lease], Any]
) -> None:
    async with make() as store:
        lease = await leased(store)
        await elsewhere(lambda: use(store, lease))


@pytest.mark.parametrize("kind", BOUND)
async def test_being_refused_is_no_failure_of_the_server(make: Make) -> None:
    async with make() as store:
        await leased(store)
        for _ in range(10):
            with pytest.raises(WrongLoop):
                await elsewhere(lambda: store.load(HERE))
        assert await store.load(HERE) is not None


@pytest.mark.parametrize("kind", BOUND)
def test_a_store_whose_loop_stands_still_is_refused(make: Make) -> None:
    store = make()
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(store.open())
        for use in (store.append(HERE, say("a")), store.load(HERE)):
            with pytest.raises(WrongLoop):
                second.run(use)
        first.run(store.close())


@pytest.mark.parametrize("kind", [*BOUND, *FREE])
async def test_a_store_that_was_never_opened_belongs_to_the_loop_that_uses_it(make: Make) -> None:
    store = make()

    async def use() -> None:
        async with store:
            await store.append(HERE, say("a"))

    await elsewhere(use)


@pytest.mark.parametrize("kind", [*BOUND, *FREE])
async def test_many_loops_have_a_store_each(make: Make) -> None:
    async def use() -> None:
        async with make() as store:
            for _ in range(10):
                await store.append(HERE, say("a"))
            found = await store.load(HERE)
            assert found is not None
            assert found.head.message_count == 10

    await asyncio.gather(*(elsewhere(use) for _ in range(4)))


async def test_a_postgres_pool_or_connection_of_another_loop_is_refused(
    postgres_url: str, postgres_schema: str
) -> None:
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=2) as pool:
        connection = await asyncpg.connect(postgres_url)
        for given in (pool, connection):
            store = PostgresStore(connection=given, table_name=f"{postgres_schema}.talks")
            with pytest.raises(WrongLoop):
                await elsewhere(store.open)
            with pytest.raises(WrongLoop):
                await elsewhere(partial(store.append, HERE, say("a")))
            async with store:  # here it belongs
                await store.append(HERE, say("b"))
        await connection.close()


async def test_a_redis_client_of_another_loop_works(redis_server: RedisServer) -> None:
    client = redis_server.async_client()
    await client.ping()

    async def use() -> None:
        async with RedisStore(client=client, prefix=f"loops-{next(_numbers)}:") as store:
            await store.append(HERE, say("a"))
            assert await store.load(HERE) is not None

    await elsewhere(use)
    assert await client.ping()
    await client.aclose()
