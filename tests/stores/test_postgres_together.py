"""Appends that wait for a connection of the PostgreSQL store share a statement."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest
import pytest_asyncio

from recollect.clock import ManualClock
from recollect.errors import StoreClosed
from recollect.messages import Message, encode
from recollect.stores.postgres import PostgresStore, server
from recollect.stores.postgres.failures import is_repeatable
from recollect.stores.records import ConversationId, Full, Limits, NewRecord, Written

pytest_plugins = ["tests.servers.postgres_server"]

PLACES = [ConversationId("space", f"talk {number}") for number in range(20)]


def said(text: str, tokens: int = 1) -> list[NewRecord]:
    return [NewRecord(Message("user", text), tokens)]


@pytest_asyncio.fixture
async def store(postgres_url: str, postgres_schema: str) -> AsyncIterator[PostgresStore]:
    """One with a single connection, where each conversation has its first message."""
    table, options = f"{postgres_schema}.talks", {"max_size": 1}
    async with PostgresStore(postgres_url, table_name=table, options=options) as store:
        await asyncio.gather(*(store.append(place, said("first")) for place in PLACES))
        yield store


@pytest_asyncio.fixture
async def ask(
    postgres_url: str, postgres_schema: str
) -> AsyncIterator[Callable[[str], Awaitable[int]]]:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"SET search_path TO {postgres_schema}")
    yield connection.fetchval
    await connection.close()


async def texts(store: PostgresStore, place: ConversationId) -> list[object]:
    found = await store.load(place)
    assert found is not None
    seqs = [record.seq for record in found.records]
    assert seqs == list(range(1, len(seqs) + 1)) == list(range(1, found.head.message_count + 1))
    return [message.content for message in found.messages]


async def test_many_conversations_share_a_transaction(
    store: PostgresStore, ask: Callable[[str], Awaitable[int]]
) -> None:
    before = await ask("SELECT count(DISTINCT xmin::text) FROM talks_messages")
    writes = [store.append(place, said(f"{n}")) for n in range(3) for place in PLACES]
    results = await asyncio.gather(*writes)
    for number, result in enumerate(results):
        assert isinstance(result, Written)
        assert result.head.conversation == PLACES[number % len(PLACES)]
        expected = 2 + number // len(PLACES)
        assert (result.first_seq, result.head.message_count) == (expected, expected)
        assert (result.head.version, result.head.token_count) == (expected, expected)
    for place in PLACES:
        assert await texts(store, place) == ["first", "0", "1", "2"]
    # the first one goes alone, what came meanwhile goes together
    assert await ask("SELECT count(DISTINCT xmin::text) FROM talks_messages") == before + 2


async def test_each_has_its_own_owner_deadline_and_size(store: PostgresStore) -> None:
    writes = [
        store.append(
            place,
            said("x" * number, tokens=number),
            owner=f"owner {number}" if number % 2 else None,
            ttl=timedelta(days=number) if number % 3 else None,
        )
        for number, place in enumerate(PLACES)
    ]
    size = 0
    for number, result in enumerate(await asyncio.gather(*writes)):
        assert isinstance(result, Written)
        head = result.head
        assert head.token_count == 1 + number
        assert head.owner == (f"owner {number}" if number % 2 else None)
        days = timedelta(days=number) if number % 3 else None
        assert head.expires_at == (None if days is None else head.updated_at + days)
        found = await store.load(PLACES[number])
        assert found is not None
        assert found.head == head
        size += sum(len(encode(message)) for message in found.messages)
    assert (await store.measure("space")).stored_bytes == size


async def test_one_that_is_full_does_not_keep_others_out(store: PostgresStore) -> None:
    full = PLACES[7]
    writes = [
        store.append(place, said("second"), limits=Limits(max_messages=1 if place == full else 9))
        for place in PLACES
    ]
    results = await asyncio.gather(*writes)
    assert [isinstance(result, Full) for result in results] == [p == full for p in PLACES]
    assert await texts(store, full) == ["first"]
    assert await texts(store, PLACES[8]) == ["first", "second"]


async def test_a_line_that_fills_up_takes_what_fits(store: PostgresStore) -> None:
    busy = [store.append(place, said("other")) for place in PLACES]
    limits = Limits(max_messages=3)
    line = [store.append(PLACES[0], said(str(n)), limits=limits) for n in range(4)]
    results = (await asyncio.gather(*busy, *line))[len(busy) :]
    assert [type(result) for result in results] == [Written, Full, Full, Full]
    assert await texts(store, PLACES[0]) == ["first", "other", "0"]


async def test_one_that_was_deleted_meanwhile_begins_anew(
    store: PostgresStore, postgres_url: str, postgres_schema: str
) -> None:
    async with PostgresStore(postgres_url, table_name=f"{postgres_schema}.talks") as other:
        assert await other.delete(PLACES[5])
        writes = [store.append(place, said("second")) for place in PLACES]
        results = await asyncio.gather(*writes)
        assert [r.first_seq for r in results if isinstance(r, Written)] == [2] * 5 + [1] + [2] * 14
        assert await texts(other, PLACES[5]) == ["second"]


async def test_callers_who_leave_leave_the_others_in_peace(store: PostgresStore) -> None:
    tasks = [asyncio.create_task(store.append(place, said("second"))) for place in PLACES]
    await asyncio.sleep(0)  # the first is on its way, the others wait
    for task in tasks[10:]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, Written) for result in results] == [True] * 10 + [False] * 10
    assert await texts(store, PLACES[9]) == ["first", "second"]
    assert await texts(store, PLACES[10]) == ["first"]
    await store.append(PLACES[10], said("third"))
    assert await texts(store, PLACES[10]) == ["first", "third"]


async def test_groups_of_many_stores_never_stand_in_each_others_way(
    postgres_url: str, postgres_schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes through the conversations in another order."""
    table, options = f"{postgres_schema}.talks", {"max_size": 2}
    failures: list[Exception] = []  # the server counts deadlocks of others too, and late

    def noted(error: Exception) -> bool:
        failures.append(error)
        return is_repeatable(error)

    monkeypatch.setattr(server, "is_repeatable", noted)
    async with (
        PostgresStore(postgres_url, table_name=table, options=options) as one,
        PostgresStore(postgres_url, table_name=table, options=options) as two,
        PostgresStore(postgres_url, table_name=table, options=options) as three,
    ):
        for place in PLACES:
            await one.append(place, said("first"))
        orders = (PLACES, PLACES[::-1], PLACES[10:] + PLACES[:10])
        for store, order in zip((one, two, three), orders, strict=True):  # now they know them
            await asyncio.gather(*(store.append(place, said("known")) for place in order))
        for n in range(10):
            await asyncio.gather(
                *(
                    store.append(place, said(f"{n}"))
                    for store, order in zip((one, two, three), orders, strict=True)
                    for place in order
                )
            )
        for place in PLACES:
            expected = ["first", *["known"] * 3, *(f"{n}" for n in range(10) for _ in range(3))]
            assert await texts(one, place) == expected
    assert not [one for one in failures if isinstance(one, asyncpg.DeadlockDetectedError)]


async def test_what_is_larger_than_a_statement_takes_more_than_one(
    store: PostgresStore, ask: Callable[[str], Awaitable[int]]
) -> None:
    before = await ask("SELECT count(DISTINCT xmin::text) FROM talks_messages")
    many = [record for _ in range(400) for record in said("small")]
    await asyncio.gather(*(store.append(place, many) for place in PLACES))
    for place in PLACES:
        assert len(await texts(store, place)) == 401
    # 400 go alone, then 800 of at most 1,000 at a time, and at last the one that is left
    assert await ask("SELECT count(DISTINCT xmin::text) FROM talks_messages") == before + 1 + 10


async def test_no_walk_through_all_heads(
    store: PostgresStore, ask: Callable[[str], Awaitable[int]], postgres_schema: str
) -> None:
    """Also by a statement that was planned when there were few."""
    await asyncio.gather(*(store.append(place, said("planned")) for place in PLACES))
    await ask(
        "INSERT INTO talks_heads (address, space, namespace, name, version, message_count,"
        " token_count, archived_count, stored_bytes, next_seq, fence, created_at, updated_at)"
        " SELECT sha256(n::text::bytea), '', '', '', 1, 0, 0, 0, 0, 1, 0, 0, 0"
        " FROM generate_series(1, 5000) AS n"
    )
    read = (
        "SELECT sum(seq_tup_read) + sum(idx_tup_fetch) FROM pg_stat_user_tables"
        f" WHERE schemaname = '{postgres_schema}' AND relname = 'talks_heads'"
    )

    async def rows_read() -> int:
        async with store._server._access.connection() as connection:
            await connection.fetchrow("SELECT pg_stat_force_next_flush()")
            await connection.fetchrow("SELECT 1")
        return await ask(read)

    before = await rows_read()
    await asyncio.gather(*(store.append(place, said("again")) for place in PLACES))
    assert 0 < await rows_read() - before < 10 * len(PLACES)


async def test_close_ends_what_waits(postgres_url: str, postgres_schema: str) -> None:
    table, options = f"{postgres_schema}.talks", {"max_size": 1}
    store = await PostgresStore(postgres_url, table_name=table, options=options).open()
    for place in PLACES:
        await store.append(place, said("first"))
    tasks = [asyncio.create_task(store.append(place, said("last"))) for place in PLACES]
    await asyncio.sleep(0)
    await store.close()
    results = await asyncio.gather(*tasks)
    assert all(isinstance(result, Written) for result in results)
    with pytest.raises(StoreClosed):
        await store.append(PLACES[0], said("too late"))
    async with PostgresStore(postgres_url, table_name=table) as store:
        assert [len(await texts(store, place)) for place in PLACES] == [2] * len(PLACES)


class Ticking(ManualClock):
    """A clock that goes on by a second whenever it is read."""

    def now(self) -> datetime:
        self.advance(timedelta(seconds=1))
        return super().now()


async def test_times_of_what_goes_together_are_those_of_the_calls(
    postgres_url: str, postgres_schema: str
) -> None:
    clock, options = Ticking(), {"max_size": 1}
    table = f"{postgres_schema}.talks"
    async with PostgresStore(postgres_url, table_name=table, options=options, clock=clock) as store:
        for place in PLACES:
            await store.append(place, said("first"))
        before = clock.now()
        await asyncio.gather(*(store.append(place, said("second")) for place in PLACES))
        found = await store.load_many(PLACES)
    times = [one.records[-1].stored_at for one in found if one is not None]
    assert times == [before + timedelta(seconds=n) for n in range(1, len(PLACES) + 1)]
