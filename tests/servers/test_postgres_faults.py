"""What only the PostgreSQL store promises: its tables, its connections, its failures."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest
import pytest_asyncio

from recollect.clock import ManualClock
from recollect.errors import (
    InvalidInput,
    KeyReused,
    OutcomeUnknown,
    StoreClosed,
    StoreUnavailable,
)
from recollect.messages import Message
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId, Limits, NewRecord, Swept, Written

if TYPE_CHECKING:
    from tests.servers.postgres_server import PostgresServer

pytest_plugins = ["tests.servers.postgres_server"]

HERE = ConversationId("space", "here")
SECRET = "s3cret-pa55word"

MakeStore = Callable[..., PostgresStore]


@pytest.fixture
def make_store(postgres_url: str, postgres_schema: str) -> MakeStore:
    def make(**given: Any) -> PostgresStore:
        url = None if "connection" in given else postgres_url
        name = given.pop("table_name", f"{postgres_schema}.talks")
        return PostgresStore(given.pop("url", url), table_name=name, **given)

    return make


@pytest_asyncio.fixture
async def store(make_store: MakeStore) -> AsyncIterator[PostgresStore]:
    async with make_store(clock=ManualClock()) as store:
        yield store


@pytest_asyncio.fixture
async def database(postgres_url: str, postgres_schema: str) -> AsyncIterator[Any]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"SET search_path TO {postgres_schema}")
    yield connection
    await connection.close()


def said(*texts: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1) for text in texts]


async def texts(store: PostgresStore, conversation: ConversationId = HERE) -> list[str]:
    found = await store.load(conversation)
    return [message.text for message in found.messages] if found else []


# ---- the tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Talks", 'o"dd; DROP', "größe 漢字", "select", "x" * 43])
async def test_takes_any_table_name(
    make_store: MakeStore, database: Any, postgres_schema: str, name: str
) -> None:
    async with make_store(table_name=f"{postgres_schema}.{name}") as store:
        await store.append(HERE, said("a"))
        assert await texts(store) == ["a"]
    found = await database.fetch(
        "SELECT tablename FROM pg_tables WHERE schemaname = $1", postgres_schema
    )
    tables = {"heads", "messages", "metadata", "archive", "keys", "deleted", "schema"}
    assert {row[0] for row in found} == {f"{name}_{table}" for table in tables}


@pytest.mark.parametrize("name", ["", ".x", "a.", "a\0b", "x" * 44, "ä" * 22])
def test_refuses_names_that_the_server_would_cut(name: str) -> None:
    with pytest.raises(InvalidInput, match="table_name"):
        PostgresStore("postgresql://localhost/x", table_name=name)


async def test_says_that_the_schema_is_missing(make_store: MakeStore) -> None:
    store = make_store(table_name="nowhere.talks")
    with pytest.raises(StoreUnavailable, match="schema"):
        await store.open()
    await store.close()


async def test_stores_that_start_at_the_same_time_create_the_tables_once(
    make_store: MakeStore,
) -> None:
    stores = [make_store(options={"max_size": 2}) for _ in range(8)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(store.append(HERE, said(str(n))) for n, store in enumerate(stores)))
    assert sorted(await texts(stores[0])) == [str(n) for n in range(8)]
    await asyncio.gather(*(store.close() for store in stores))


async def test_most_appends_change_no_index(make_store: MakeStore, database: Any) -> None:
    async with make_store() as store:  # by the machine's clock; the server counts at its end
        for n in range(200):
            await store.append(HERE, said(str(n)), ttl=timedelta(days=1))
    sql = (
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables "
        "WHERE relid = 'talks_heads'::regclass"
    )
    updates = hot = 0
    while updates < 199:
        updates, hot = await database.fetchrow(sql)
    assert hot > 180


async def test_a_number_beyond_64_bits_is_refused(store: PostgresStore) -> None:
    with pytest.raises(InvalidInput, match="64 bits"):
        await store.append(HERE, [NewRecord(Message("user", "a"), 2**63)])
    await store.append(HERE, [NewRecord(Message("user", "a"), 2**62)])
    with pytest.raises(InvalidInput, match="64 bits"):
        await store.append(HERE, [NewRecord(Message("user", "b"), 2**62)])
    assert await texts(store) == ["a"]


# ---- connections ---------------------------------------------------------------------------------


async def test_a_pool_that_is_passed_in_is_used_and_left_open(
    make_store: MakeStore, postgres_url: str
) -> None:
    async with asyncpg.create_pool(postgres_url, min_size=1, max_size=3) as pool:
        async with make_store(connection=pool) as store:
            await asyncio.gather(*(store.append(HERE, said(str(n))) for n in range(20)))
            assert len(await texts(store)) == 20
        assert await pool.fetchval("SELECT 1") == 1


async def test_a_connection_that_is_passed_in_is_safe_under_concurrency_and_left_open(
    make_store: MakeStore, database: Any
) -> None:
    async with make_store(connection=database) as store:
        ids = [ConversationId("space", str(n)) for n in range(10)]
        await asyncio.gather(*(store.append(one, said("a"), key="k") for one in ids * 2))
        await asyncio.gather(*(store.replace(one, said("b")) for one in ids))
        assert [await texts(store, one) for one in ids] == [["b"]] * 10
    assert await database.fetchval("SELECT 1") == 1


async def test_writes_share_the_fate_of_the_transaction_they_are_in(
    make_store: MakeStore, database: Any
) -> None:
    async with make_store(connection=database) as store:
        transaction = database.transaction()
        await transaction.start()
        await store.append(HERE, [NewRecord(Message("user", "a"), 2**62)], key="k")
        with pytest.raises(InvalidInput):  # the server refuses: the transaction must go on
            await store.append(HERE, [NewRecord(Message("user", "b"), 2**62)])
        await store.fold(HERE, [1], said("s"))
        assert await texts(store) == ["s"]
        await transaction.rollback()
        assert await texts(store) == []


def test_refuses_a_connection_beside_a_url() -> None:
    with pytest.raises(InvalidInput, match="not both"):
        PostgresStore("postgresql://localhost/x", connection=object())


async def test_works_behind_pgbouncer_without_prepared_statements(
    make_store: MakeStore, postgres_url: str
) -> None:
    joint = "&" if "?" in postgres_url else "?"
    async with make_store(url=f"{postgres_url}{joint}pgbouncer=true") as store:
        await asyncio.gather(*(store.append(HERE, said(str(n)), key=str(n)) for n in range(20)))
        await store.replace(HERE, said("a"), archive_as="old")
        assert await texts(store) == ["a"]


async def test_more_callers_than_connections_wait_their_turn(make_store: MakeStore) -> None:
    async with make_store(options={"min_size": 1, "max_size": 1}) as store:
        ids = [ConversationId("space", str(n)) for n in range(30)]
        await asyncio.gather(*(store.append(one, said("a")) for one in ids))
        assert (await store.measure("space")).messages == 30


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://ann:{SECRET}@127.0.0.1:1/talks",
        f"postgresql://ann:{SECRET}@/talks?host=/nowhere",
        f"postgresql://ann:{SECRET}@127.0.0.1:none/talks",
    ],
)
async def test_an_unreachable_server_is_named_without_its_password(url: str) -> None:
    store = PostgresStore(url)
    with pytest.raises((StoreUnavailable, InvalidInput)) as caught:
        await store.open()
    told = (
        f"{caught.value} {caught.value!r} {caught.value.__cause__} {caught.value.details} {store!r}"
    )
    assert SECRET not in told
    assert "127.0.0.1" in told or "/nowhere" in told
    await store.close()
    with pytest.raises(StoreClosed):
        await store.load(HERE)


async def test_where_it_is_holds_no_password(store: PostgresStore) -> None:
    found = await store.ping()
    assert (found.backend, found.durable) == ("postgres", True)
    assert "@" not in found.location


# ---- appends that share a statement --------------------------------------------------------------


async def test_appends_that_wait_for_one_conversation_share_statements(
    store: PostgresStore, database: Any
) -> None:
    await store.append(HERE, said("first"))
    results = await asyncio.gather(*(store.append(HERE, said(f"{n}", "x")) for n in range(50)))
    found = await store.load(HERE)
    assert found is not None
    seqs = {record.message.text: record.seq for record in found.records}
    told = [result for result in results if isinstance(result, Written)]
    assert [result.first_seq for result in told] == [seqs[str(n)] for n in range(50)]
    assert told[-1].head == found.head
    assert sorted(result.head.message_count for result in told) == list(range(3, 102, 2))
    steps = await database.fetchval("SELECT count(DISTINCT xmin::text) FROM talks_messages")
    assert steps < 10


async def test_a_shared_append_that_breaks_a_limit_stores_what_fits(store: PostgresStore) -> None:
    limits = Limits(max_messages=7)
    await store.append(HERE, said("first"))
    results = await asyncio.gather(
        *(store.append(HERE, said(str(n)), limits=limits) for n in range(20))
    )
    assert sum(isinstance(result, Written) for result in results) == 6
    assert len(await texts(store)) == 7


async def test_a_cancelled_caller_takes_no_other_append_along(store: PostgresStore) -> None:
    await store.append(HERE, said("first"))
    tasks = [asyncio.ensure_future(store.append(HERE, said(str(n)))) for n in range(30)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    stored = await texts(store)
    for n, result in enumerate(results):
        assert isinstance(result, asyncio.CancelledError if n % 3 == 0 else Written)
        assert n % 3 == 0 or str(n) in stored
    assert len(stored) == len(set(stored))


# ---- faults --------------------------------------------------------------------------------------


async def test_twins_on_two_stores_are_stored_once(make_store: MakeStore) -> None:
    async with make_store() as one, make_store() as other:
        await one.append(HERE, said("first"))
        for n in range(20):
            results = await asyncio.gather(
                *((one, other)[t % 2].append(HERE, said(f"{n}"), key=f"k-{n}") for t in range(6))
            )
            told = [result.replayed for result in results if isinstance(result, Written)]
            assert sorted(told) == [False] + [True] * 5
        assert await texts(one) == ["first", *(str(n) for n in range(20))]


@pytest.mark.parametrize("write", ["append", "replace"])
async def test_a_delete_and_a_first_write_with_one_key_never_both_happen(
    make_store: MakeStore, database: Any, write: str
) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
    async with make_store() as store, make_store(connection=database) as other:
        transaction = database.transaction()
        await transaction.start()
        before = await database.fetchval(waiting)
        await other.append(HERE, said("never committed"))
        writing = asyncio.ensure_future(getattr(store, write)(HERE, said("a"), key="k"))
        while await database.fetchval(waiting) == before:
            assert not writing.done()
        deleting = asyncio.ensure_future(store.delete(HERE, key="k"))
        while not deleting.done() and await database.fetchval(waiting) < before + 2:
            pass
        await transaction.rollback()
        done = await asyncio.gather(writing, deleting, return_exceptions=True)
        assert sum(isinstance(one, KeyReused) for one in done) == 1
        assert (await texts(store) == ["a"]) is isinstance(done[1], KeyReused)


async def test_deletes_and_first_writes_that_race_for_a_key_agree_on_who_had_it(
    make_store: MakeStore,
) -> None:
    async with make_store() as one, make_store() as two:
        for n in range(60):
            there = ConversationId("space", f"c-{n}")
            if n % 3 == 0:
                await one.append(there, said("before"))
            done = await asyncio.gather(
                one.delete(there, key="k"),
                two.append(there, said("a"), key="k"),
                one.replace(there, said("b"), key="k"),
                return_exceptions=True,
            )
            assert sum(isinstance(result, KeyReused) for result in done) == 2


async def test_a_keyed_delete_leaves_no_name_behind(make_store: MakeStore, database: Any) -> None:
    async with make_store() as store:
        for there in (HERE, ConversationId("space", "missing")):
            if there == HERE:
                await store.append(there, said("a"), owner="ann", metadata={"x": 1})
                await store.lease(there, holder="worker", ttl=timedelta(days=1))
            await store.delete(there, key="k")
            assert await store.load(there) is None
        assert await database.fetchval("SELECT count(*) FROM talks_deleted") == 2
        rows = await database.fetch("SELECT * FROM talks_heads")
        assert {(row["namespace"], row["name"], row["owner"]) for row in rows} == {("", "", None)}
        assert {(row["owner_hash"], row["lease_holder"]) for row in rows} == {(None, None)}
        while await store.sweep() != Swept():
            pass
        assert await database.fetchval("SELECT count(*) FROM talks_heads") == 0
        with pytest.raises(KeyReused):
            await store.append(HERE, said("b"), key="k")


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
async def test_serialization_failures_are_repeated(
    make_store: MakeStore, postgres_url: str, isolation: str
) -> None:
    settings = {"default_transaction_isolation": isolation}
    async with (
        asyncpg.create_pool(postgres_url, server_settings=settings) as pool,
        make_store(connection=pool) as one,
        make_store(connection=pool) as other,
    ):
        await one.append(HERE, said("first"))
        await asyncio.gather(
            *((one, other)[n % 2].append(HERE, said(str(n)), key=str(n)) for n in range(30)),
            *((one, other)[n % 2].append(HERE, said(str(n))) for n in range(30, 60)),
        )
        assert sorted((await texts(one))[1:], key=int) == [str(n) for n in range(60)]


async def test_a_deadlock_is_repeated(store: PostgresStore, database: Any) -> None:
    await store.append(HERE, said("a"))
    await database.execute("SET deadlock_timeout = '1min'")  # so that it is not the victim
    async with database.transaction():
        await database.execute("LOCK TABLE talks_archive IN EXCLUSIVE MODE")
        replacing = asyncio.ensure_future(store.replace(HERE, said("b"), archive_as="old"))
        waits = (
            "SELECT count(*) FROM pg_locks WHERE NOT granted "
            "AND relation = 'talks_archive'::regclass"
        )
        while not await database.fetchval(waits):
            await database.execute("SELECT pg_stat_clear_snapshot()")
        await database.fetch("SELECT 1 FROM talks_heads FOR UPDATE")
        assert not replacing.done()
    assert isinstance(await replacing, Written)
    archive = await store.load(HERE, source="archive")
    assert archive is not None
    assert [message.text for message in archive.messages] == ["a"]


async def test_a_write_whose_answer_is_lost_says_so(store: PostgresStore, database: Any) -> None:
    await store.append(HERE, said("a"))
    writing = await _break_off(database, lambda: store.append(HERE, said("b")))
    with pytest.raises(OutcomeUnknown):
        await writing
    assert await texts(store) == ["a"]


async def test_a_keyed_write_whose_answer_is_lost_is_repeated(
    store: PostgresStore, database: Any
) -> None:
    await store.append(HERE, said("a"))
    writing = await _break_off(database, lambda: store.append(HERE, said("b"), key="k"))
    assert isinstance(await writing, Written)
    assert await texts(store) == ["a", "b"]


async def test_a_transaction_that_never_came_to_its_commit_did_not_happen(
    store: PostgresStore, database: Any
) -> None:
    await store.append(HERE, said("a"))
    writing = await _break_off(database, lambda: store.replace(HERE, said("b")))
    with pytest.raises(StoreUnavailable):
        await writing
    assert await texts(store) == ["a"]


async def _break_off(database: Any, write: Callable[[], Any]) -> "asyncio.Future[Any]":
    """Begin a write, and cut its connection while it waits for a lock."""
    waits = (
        "SELECT pid FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND query LIKE '%talks_heads%'"
    )
    async with database.transaction():
        await database.fetch("SELECT 1 FROM talks_heads FOR UPDATE")
        writing: asyncio.Future[Any] = asyncio.ensure_future(write())
        while (pid := await database.fetchval(waits)) is None:
            await database.execute("SELECT pg_stat_clear_snapshot()")
        await database.execute("SELECT pg_terminate_backend($1, 60000)", pid)
    return writing


async def test_a_killed_server_loses_and_doubles_nothing(
    own_postgres_server: "PostgresServer",
) -> None:
    async with PostgresStore(own_postgres_server.url, table_name="storm") as store:
        told: list[str] = []
        enough, killed = asyncio.Event(), asyncio.Event()

        async def write(writer: int) -> None:
            conversation = ConversationId("space", str(writer % 4))
            for n in range(40):
                key = f"{writer}.{n}"
                while True:
                    try:
                        await store.append(conversation, said(key), key=key)
                        break
                    except StoreUnavailable:
                        await asyncio.wait_for(killed.wait(), 100)
                told.append(key)
                if len(told) == 60:
                    enough.set()

        async def kill() -> None:
            await enough.wait()
            await asyncio.to_thread(own_postgres_server.kill)
            await asyncio.to_thread(own_postgres_server.start)
            killed.set()

        await asyncio.gather(kill(), *(write(writer) for writer in range(12)))
        for number in range(4):
            conversation = ConversationId("space", str(number))
            found = await store.load(conversation)
            assert found is not None
            stored = [message.text for message in found.messages]
            own = [f"{w}.{n}" for w in range(number, 12, 4) for n in range(40)]
            assert sorted(stored) == sorted(own)
            for writer in range(number, 12, 4):
                in_order = [text for text in stored if text.startswith(f"{writer}.")]
                assert in_order == [f"{writer}.{n}" for n in range(40)]
            assert found.head.message_count == 120


async def test_a_stopped_server_is_unavailable_and_its_return_is_noticed(
    own_postgres_server: "PostgresServer",
) -> None:
    async with PostgresStore(own_postgres_server.url, table_name="stops") as store:
        await store.append(HERE, said("a"))
        await asyncio.to_thread(own_postgres_server.stop)
        with pytest.raises(StoreUnavailable):
            await store.load(HERE)
        with pytest.raises(StoreUnavailable):
            await store.append(HERE, said("b"), key="k")
        with pytest.raises(StoreUnavailable):
            await store.replace(HERE, said("b"))
        await asyncio.to_thread(own_postgres_server.start)
        assert await texts(store) == ["a"]
        await store.append(HERE, said("b"))
        assert await texts(store) == ["a", "b"]


PATIENT: dict[str, Callable[[PostgresStore], Any]] = {
    "load": lambda store: store.load(HERE),
    "append": lambda store: store.append(HERE, said("b")),
    "keyed append": lambda store: store.append(HERE, said("b"), key="k"),
    "replace": lambda store: store.replace(HERE, said("b"), key="k"),
    "lease": lambda store: store.lease(HERE, holder="w", ttl=timedelta(days=1)),
    "ping": lambda store: store.ping(),
}


@pytest.mark.parametrize("use", PATIENT.values(), ids=PATIENT)
async def test_a_callers_patience_ends_though_the_server_does_not_answer(
    own_postgres_server: "PostgresServer", use: Callable[[PostgresStore], Any]
) -> None:
    async with PostgresStore(own_postgres_server.url, table_name="patience") as store:
        await store.replace(HERE, said("a"))
        own_postgres_server.pause()
        try:
            asked = asyncio.ensure_future(use(store))
            _, unanswered = await asyncio.wait([asked], timeout=0.1)
            assert unanswered
            asked.cancel()
            done, _ = await asyncio.wait([asked], timeout=60)
            assert done
            assert asked.cancelled()
        finally:
            own_postgres_server.resume()
        assert (await texts(store))[:1] in (["a"], ["b"])
        await store.delete(HERE)


async def test_patience_ends_in_the_middle_of_a_transaction_too(
    own_postgres_server: "PostgresServer",
) -> None:
    other = await asyncpg.connect(own_postgres_server.url)
    async with PostgresStore(own_postgres_server.url, table_name="patience") as store:
        await store.replace(HERE, said("a"))
        async with other.transaction():
            await other.fetch("SELECT 1 FROM patience_heads FOR UPDATE")
            asked = asyncio.ensure_future(store.replace(HERE, said("b")))
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                pass
            own_postgres_server.pause()
            try:
                asked.cancel()
                done, _ = await asyncio.wait([asked], timeout=60)
                assert done
            finally:
                own_postgres_server.resume()
        assert asked.cancelled()
        assert await texts(store) == ["a"]
        await store.delete(HERE)
    await other.close()
