"""PostgreSQL behind a PgBouncer that gives each transaction another connection."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import TYPE_CHECKING

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest
import pytest_asyncio

from recollect.errors import StoreUnavailable
from recollect.messages import Message
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId, NewRecord
from recollect.testing import MakeStore, StoreSuite
from tests.servers.pgbouncer import PgBouncer

if TYPE_CHECKING:
    from tests.servers.postgres_server import PostgresServer

pytest_plugins = ["tests.servers.postgres_server"]

HERE = ConversationId("acme/chat", "c-1")
_tables = count()


@pytest.fixture(scope="module")
def pgbouncer(own_postgres_server: "PostgresServer") -> Iterator[PgBouncer]:
    with PgBouncer(own_postgres_server.socket_folder) as pgbouncer:
        yield pgbouncer


def store_at(url: str) -> PostgresStore:
    return PostgresStore(url, table_name=f"bounced_{next(_tables)}")


def say(text: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1)]


async def texts(store: PostgresStore) -> list[str]:
    found = await store.load(HERE)
    return [message.text for message in found.messages] if found else []


class TestBehindPgBouncer(StoreSuite):
    @pytest_asyncio.fixture
    async def schema(self, own_postgres_server: "PostgresServer") -> AsyncIterator[str]:
        """An empty schema: with the tables of all tests in one, each new one would take longer."""
        name = f"bounced_{next(_tables)}"
        connection = await asyncpg.connect(own_postgres_server.url)
        await connection.execute(f"CREATE SCHEMA {name}")
        yield name
        await connection.execute(f"DROP SCHEMA {name} CASCADE")
        await connection.close()

    @pytest.fixture
    def make_store(self, pgbouncer: PgBouncer, schema: str) -> MakeStore:
        return lambda clock: PostgresStore(
            pgbouncer.url, table_name=f"{schema}.t{next(_tables)}", clock=clock
        )


async def test_many_more_tasks_than_connections(pgbouncer: PgBouncer) -> None:
    async with store_at(pgbouncer.url) as store:
        done = [store.append(HERE, say(str(n)), key=str(n)) for n in range(100)]
        plain = [store.append(HERE, say(str(n))) for n in range(100, 200)]
        await asyncio.gather(*done, *plain)
        assert sorted(await texts(store), key=int) == [str(n) for n in range(200)]


async def test_it_may_die_and_come_back_in_the_middle_of_a_storm(
    own_postgres_server: "PostgresServer",
) -> None:
    with PgBouncer(own_postgres_server.socket_folder) as pgbouncer:
        async with store_at(pgbouncer.url) as store:
            enough, back = asyncio.Event(), asyncio.Event()

            async def write(writer: int) -> None:
                for n in range(30):
                    text = f"{writer}.{n}"
                    while True:
                        try:
                            await store.append(HERE, say(text), key=text)
                            break
                        except StoreUnavailable:
                            await asyncio.wait_for(back.wait(), 100)
                    if n == 5:
                        enough.set()

            async def restart() -> None:
                await enough.wait()
                pgbouncer.kill()
                await asyncio.to_thread(pgbouncer.start)
                back.set()

            await asyncio.gather(restart(), *(write(writer) for writer in range(8)))
            stored = await texts(store)
            assert sorted(stored) == sorted(f"{w}.{n}" for w in range(8) for n in range(30))
            for writer in range(8):
                own = [text for text in stored if text.startswith(f"{writer}.")]
                assert own == [f"{writer}.{n}" for n in range(30)]


async def test_who_does_not_say_that_there_is_one_is_told_to(pgbouncer: PgBouncer) -> None:
    store = store_at(pgbouncer.plain_url)
    with pytest.raises(StoreUnavailable, match="pgbouncer=true"):
        await store.open()
    await store.close()
