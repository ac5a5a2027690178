"""The pool of connections that the PostgreSQL store opens itself."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio

from recollect.messages import Message
from recollect.stores.postgres import PostgresStore
from recollect.stores.postgres.access import OwnPool
from recollect.stores.records import ConversationId, NewRecord

pytest_plugins = ["tests.servers.postgres_server"]

MOST = 2


@pytest_asyncio.fixture
async def pool(postgres_url: str) -> AsyncIterator[OwnPool]:
    pool = OwnPool(postgres_url, False, {"max_size": MOST})
    await pool.open()
    yield pool
    await pool.close()


async def use(pool: OwnPool, seconds: float = 0) -> int:
    """Return the process of the server that answered."""
    async with pool.connection() as connection:
        row = await connection.fetchrow("SELECT pg_backend_pid(), pg_sleep($1)", seconds)
        return int(row[0])


async def in_line(pool: OwnPool, count: int, seconds: float = 0) -> list[asyncio.Task[int]]:
    """Return tasks that wait for a connection: each gets into the line at its first step."""
    tasks = [asyncio.create_task(use(pool, seconds)) for _ in range(count)]
    await asyncio.sleep(0)
    assert len(pool._line) == count
    return tasks


async def test_many_share_a_few(pool: OwnPool) -> None:
    used = await asyncio.gather(*(use(pool) for _ in range(50)))
    assert 1 <= len(set(used)) <= MOST
    assert pool.connections <= MOST
    assert sorted(used) != [used[0]] * 50  # both were used


async def test_those_who_come_first_are_first(pool: OwnPool) -> None:
    order: list[int] = []

    async def note(number: int) -> None:
        async with pool.connection():
            order.append(number)

    async with pool.connection(), pool.connection():
        tasks = [asyncio.create_task(note(number)) for number in range(10)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == list(range(10))


async def test_a_waiter_that_is_cancelled_passes_its_connection_on(pool: OwnPool) -> None:
    first, second = await pool.take(), await pool.take()
    tasks = await in_line(pool, 3)
    tasks[0].cancel()  # still in the line
    await pool.put_back(*first, broken=False)  # tasks[1] has it now, but has not run
    tasks[1].cancel()
    assert await tasks[2] > 0
    await pool.put_back(*second, broken=False)
    assert [task.cancelled() for task in tasks] == [True, True, False]
    assert len(set(await asyncio.gather(*(use(pool, 0.01) for _ in range(6))))) == MOST


async def test_a_broken_one_is_replaced_for_those_who_wait(pool: OwnPool) -> None:
    lent = [await pool.take(), await pool.take()]
    old = {connection.get_server_pid() for connection, _ in lent}
    tasks = await in_line(pool, 6, 0.01)
    for connection, renewals in lent:
        connection.terminate()
        await pool.put_back(connection, renewals, broken=True)
    used = set(await asyncio.gather(*tasks))
    assert len(used) == MOST
    assert not used & old


async def test_after_a_renewal_none_of_the_old_ones_is_used(pool: OwnPool) -> None:
    old = set(await asyncio.gather(use(pool, 0.01), use(pool, 0.01)))
    lent = await pool.take()  # while one is lent and one is kept
    await pool.renew()
    await pool.put_back(*lent, broken=False)
    new = set(await asyncio.gather(use(pool, 0.01), use(pool, 0.01)))
    assert len(new) == MOST
    assert not new & old


async def test_one_that_cannot_be_had_leaves_room_for_the_next(postgres_url: str) -> None:
    pool = OwnPool(postgres_url, False, {"max_size": 1, "min_size": 0})
    await pool.open()
    real, pool._pool = pool._pool, None
    for _ in range(3):
        with pytest.raises(AttributeError):
            await pool.take()
    pool._pool = real
    assert await use(pool) > 0
    await pool.close()


async def test_a_store_with_one_connection_serves_many_tasks(
    postgres_url: str, postgres_schema: str
) -> None:
    record = NewRecord(Message("user", "hi"))
    async with PostgresStore(
        postgres_url, table_name=f"{postgres_schema}.t", options={"max_size": 1}
    ) as store:
        places = [ConversationId("space", str(number)) for number in range(40)]
        await asyncio.gather(*(store.append(place, [record]) for place in places))
        assert (await store.ping()).connections == 1
        assert (await store.measure("space")).messages == 40
        assert await store.sweep() is not None
        await store.append(places[0], [record], ttl=timedelta(days=1))
