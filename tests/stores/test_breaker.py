"""A store behind a circuit breaker keeps every promise, and fails at once while its server is away."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from typing_extensions import override

from recollect.clock import Clock, ManualClock
from recollect.errors import (
    InvalidInput,
    KeyReused,
    LeaseLost,
    OutcomeUnknown,
    StoreError,
    StoreUnavailable,
    VersionConflict,
)
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.breaker import BreakerStore
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import (
    Change,
    ConversationId,
    Full,
    Limits,
    NewRecord,
    Written,
)
from recollect.stores.redis import RedisStore
from recollect.stores.sqlite import SqliteStore
from recollect.telemetry import Telemetry
from recollect.testing import MakeStore, StoreSuite
from tests.servers.redis_server import RedisServer
from tests.stores.test_conformance import TestSqliteStoreOnDisk as _SqliteOnDisk

if TYPE_CHECKING:
    from tests.servers.postgres_server import PostgresServer

pytest_plugins = ["tests.servers.redis_fixtures", "tests.servers.postgres_server"]

HERE = ConversationId("acme/chat", "c-1")
SECOND = timedelta(seconds=1)
RESET = timedelta(seconds=30)
SOON = 0.2  # seconds; for servers that do not answer at all
PATIENCE = timedelta(minutes=1)  # for those that do, however busy the machine is

FEWER = 15  # histories: the breaker's are tried around the store in memory, the stores' without it

_numbers = count()


def say(text: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1)]


async def texts(store: Store) -> list[str]:
    found = await store.load(HERE)
    return [message.text for message in found.messages] if found else []


# ---- every promise of the contract ---------------------------------------------------------------


class TestAroundInMemory(StoreSuite):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        return lambda clock: BreakerStore(InMemoryStore(clock=clock), timeout=PATIENCE)


class TestAroundSqlite(StoreSuite):
    histories = FEWER

    @pytest.fixture
    def make_store(self, folder: Path) -> MakeStore:
        return lambda clock: BreakerStore(
            SqliteStore(folder / f"{next(_numbers)}.db", clock=clock), timeout=PATIENCE
        )


class TestAroundSqliteOnDisk(_SqliteOnDisk):
    @pytest.fixture
    def reopen(self, path: Path) -> MakeStore:
        return lambda clock: BreakerStore(
            SqliteStore(path, clock=clock, lock_timeout=PATIENCE), timeout=PATIENCE
        )


class TestAroundRedis(StoreSuite):
    histories = FEWER

    @pytest.fixture
    def make_store(self, redis_server: RedisServer) -> MakeStore:
        def make(clock: Clock) -> BreakerStore:
            prefix = f"breaker-{next(_numbers)}:"
            inner = RedisStore(redis_server.url, prefix=prefix, timeout=PATIENCE, clock=clock)
            return BreakerStore(inner, timeout=PATIENCE)

        return make


# ---- its states, with a server that dies ---------------------------------------------------------


class Watched:
    """A store on a server of its own behind a breaker, and what its breaker has told."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.clock = ManualClock()
        self.told: list[str] = []
        telemetry = Telemetry()
        telemetry.listen(self._hear)
        self.store = BreakerStore(
            RedisStore(server.url, clock=self.clock, timeout=PATIENCE),
            max_failures=3,
            reset_timeout=RESET,
            timeout=PATIENCE,
            telemetry=telemetry,
        )

    def _hear(self, event: str, /, **labels: Any) -> None:
        assert event == "store.breaker"
        self.told.append(labels["state"])

    async def fail(self, times: int) -> None:
        """Ask that often in vain; the breaker must still be letting calls through."""
        for _ in range(times):
            with pytest.raises(StoreUnavailable) as caught:
                await self.store.load(HERE)
            assert "breaker" not in caught.value.details

    async def refused(self) -> dict[str, Any]:
        """Return the details of a call that the breaker refuses."""
        with pytest.raises(StoreUnavailable, match="left alone") as caught:
            await self.store.load(HERE)
        return caught.value.details


@pytest.fixture
def server(folder: Path) -> Iterator[RedisServer]:
    # each write is in the file before it is answered: else a kill may come before that
    with RedisServer(folder, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest_asyncio.fixture
async def watched(server: RedisServer) -> AsyncIterator[Watched]:
    watched = Watched(server)
    async with watched.store as store:
        await store.append(HERE, say("a"))
        yield watched


async def test_it_opens_after_failures_in_a_row_and_tells_when_to_come_again(
    watched: Watched,
) -> None:
    watched.server.kill()
    await watched.fail(3)
    assert watched.store.state == "open"
    assert await watched.refused() == {"retry_after": 30, "breaker": "open"}
    watched.clock.advance(timedelta(seconds=12.3))
    assert await watched.refused() == {"retry_after": 18, "breaker": "open"}
    assert watched.told == ["open"]


async def test_while_it_is_open_nothing_reaches_the_server(watched: Watched) -> None:
    watched.server.kill()
    await watched.fail(3)
    watched.server.start()
    with watched.server.client() as client:
        asked = client.info("stats")["total_connections_received"]
        for _ in range(10):
            await watched.refused()
        with pytest.raises(StoreUnavailable, match="left alone"):
            await watched.store.append(HERE, say("b"))
        with pytest.raises(StoreUnavailable, match="left alone"):
            await watched.store.ping()
        assert client.info("stats")["total_connections_received"] == asked


async def test_it_closes_when_the_store_answers_again(watched: Watched) -> None:
    watched.server.kill()
    await watched.fail(3)
    watched.server.start()
    watched.clock.advance(RESET)
    assert await texts(watched.store) == ["a"]
    assert (watched.store.state, watched.told) == ("closed", ["open", "half_open", "closed"])
    watched.server.kill()
    await watched.fail(3)  # it counts from the beginning


async def test_an_answer_between_failures_begins_the_count_anew(watched: Watched) -> None:
    watched.server.kill()
    await watched.fail(2)
    watched.server.start()
    assert await texts(watched.store) == ["a"]
    watched.server.kill()
    await watched.fail(2)
    assert (watched.store.state, watched.told) == ("closed", [])


async def test_a_failure_while_it_is_half_open_opens_it_for_the_whole_time(
    watched: Watched,
) -> None:
    watched.server.kill()
    await watched.fail(3)
    watched.clock.advance(RESET)
    await watched.fail(1)
    assert await watched.refused() == {"retry_after": 30, "breaker": "open"}
    assert watched.told == ["open", "half_open", "open"]


async def test_half_open_it_lets_one_call_through_and_refuses_the_others(watched: Watched) -> None:
    watched.server.kill()
    await watched.fail(3)
    watched.server.start()
    watched.server.pause()
    watched.clock.advance(RESET)
    tried = asyncio.ensure_future(watched.store.load(HERE))
    await asyncio.sleep(0)
    for _ in range(10):
        assert await watched.refused() == {"retry_after": 1, "breaker": "half_open"}
    watched.server.resume()
    assert await tried is not None
    assert watched.store.state == "closed"


async def test_when_the_one_call_is_cancelled_another_is_let_through(watched: Watched) -> None:
    watched.server.kill()
    await watched.fail(3)
    watched.server.start()
    watched.server.pause()
    watched.clock.advance(RESET)
    tried = asyncio.ensure_future(watched.store.load(HERE))
    await asyncio.sleep(0)
    tried.cancel()
    with pytest.raises(asyncio.CancelledError):
        await tried
    watched.server.resume()
    assert await texts(watched.store) == ["a"]
    assert watched.told == ["open", "half_open", "closed"]


async def test_refusals_do_not_count_and_show_that_it_answers(server: RedisServer) -> None:
    inner = RedisStore(server.url, clock=ManualClock(), timeout=PATIENCE)
    async with BreakerStore(inner, max_failures=2, timeout=PATIENCE) as store:
        await store.append(HERE, say("a"), key="k")
        lease = await store.lease(HERE, holder="w", ttl=SECOND)
        assert lease is not None
        assert await store.release(lease)
        for _ in range(5):
            with pytest.raises(KeyReused):
                await store.append(HERE, say("b"), key="k")
            with pytest.raises(VersionConflict):
                await store.replace(HERE, say("b"), expect_version=9)
            with pytest.raises(LeaseLost):
                await store.append(HERE, say("b"), lease=lease)
            with pytest.raises(InvalidInput):
                await store.find("acme/chat", cursor="no cursor")
            assert isinstance(await store.append(HERE, say("b"), limits=Limits(1)), Full)
        assert store.state == "closed"
        for _ in range(3):
            server.kill()
            with pytest.raises(StoreUnavailable):
                await store.load(HERE)
            server.start()
            with pytest.raises(VersionConflict):
                await store.replace(HERE, say("b"), expect_version=9)
        assert store.state == "closed"


async def test_a_refused_argument_does_not_show_that_the_store_answers(folder: Path) -> None:
    path = folder / "a.db"
    async with BreakerStore(SqliteStore(path), max_failures=2) as store:
        await store.find("acme/chat")
        put_back = _put_aside(path)
        with pytest.raises(StoreUnavailable):
            await store.ping()
        with pytest.raises(InvalidInput):
            await store.find("acme/chat", cursor="no cursor")
        with pytest.raises(StoreUnavailable):
            await store.ping()
        assert store.state == "open"
        put_back()


# ---- servers that do not answer ------------------------------------------------------------------


@contextmanager
def waiting_little(store: BreakerStore) -> Iterator[None]:
    """Give calls little time while their server is paused: one that answers gets all it needs."""
    store._seconds, patience = SOON, store._seconds
    yield
    store._seconds = patience


async def test_what_takes_too_long_is_given_up_and_can_be_repeated_with_its_key(
    watched: Watched,
) -> None:
    watched.server.pause()
    with waiting_little(watched.store):
        with pytest.raises(OutcomeUnknown):
            await watched.store.append(HERE, say("without a key"))
        with pytest.raises(StoreUnavailable, match="repeated"):
            await watched.store.append(HERE, say("with a key"), key="k")
        with pytest.raises(StoreUnavailable):
            await watched.store.load(HERE)
    assert watched.store.state == "open"
    watched.server.resume()
    watched.clock.advance(RESET)
    assert isinstance(await watched.store.append(HERE, say("with a key"), key="k"), Written)
    assert (await texts(watched.store)).count("with a key") == 1


async def _p99(store: BreakerStore) -> float:
    """Open the breaker of a store that does not answer; return seconds that calls take then.

    Seconds of the processor: other programs may take it away for longer than that.
    """
    with waiting_little(store):
        while store.state == "closed":
            with pytest.raises(StoreError):
                await store.append(HERE, say("b"))
    taken = []
    for _ in range(500):
        for call in (store.load(HERE), store.append(HERE, say("b"), key="k")):
            start = time.thread_time()
            with pytest.raises(StoreUnavailable) as caught:
                call.send(None)  # its first step: there is nothing that it waits for
            taken.append(time.thread_time() - start)
            assert caught.value.details["retry_after"] > 0
    return sorted(taken)[len(taken) * 99 // 100]


async def test_a_paused_redis_costs_callers_no_time(watched: Watched) -> None:
    watched.server.pause()
    assert await _p99(watched.store) < 0.005
    watched.server.resume()


async def test_a_paused_postgres_costs_callers_no_time(
    own_postgres_server: "PostgresServer",
) -> None:
    inner = PostgresStore(own_postgres_server.url, table_name="paused", clock=ManualClock())
    async with BreakerStore(inner, max_failures=3, timeout=PATIENCE) as store:
        await store.append(HERE, say("a"))
        own_postgres_server.pause()
        try:
            assert await _p99(store) < 0.005
        finally:
            own_postgres_server.resume()


# ---- tasks, loops, threads -----------------------------------------------------------------------


async def test_many_tasks_that_fail_together_open_it_once(watched: Watched) -> None:
    watched.server.pause()
    calls = (watched.store.load(HERE) for _ in range(50))
    with waiting_little(watched.store):
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(one, StoreUnavailable) for one in found)
    assert watched.told == ["open"]
    watched.server.resume()


class HeldUp(InMemoryStore):
    """The loop stands still while it is asked, and it takes a few steps to answer then."""

    @override
    async def _append(self, change: Change) -> Written | Full:
        time.sleep(2 * SOON)  # noqa: ASYNC251  # so it stands still
        for _ in range(5):
            await asyncio.sleep(0)
        return await super()._append(change)


async def test_what_is_done_while_the_loop_stands_still_is_not_given_up() -> None:
    store = BreakerStore(HeldUp(), max_failures=1, timeout=timedelta(seconds=SOON))
    assert isinstance(await store.append(HERE, say("a")), Written)
    assert store.state == "closed"


class SlowClock(ManualClock):
    """A clock that lets other threads go first whenever it is read."""

    def monotonic(self) -> float:
        time.sleep(0.001)
        return super().monotonic()


async def test_it_is_shared_by_loops_in_several_threads(folder: Path) -> None:
    clock = SlowClock()
    told: list[str] = []
    telemetry = Telemetry()
    telemetry.listen(lambda event, /, **labels: told.append(str(labels["state"])))
    path = folder / "a.db"
    inner = SqliteStore(path, clock=clock, lock_timeout=timedelta(milliseconds=1))
    async with BreakerStore(inner, max_failures=20, timeout=PATIENCE, telemetry=telemetry) as store:
        await store.append(HERE, say("a"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")  # now each write fails

        async def write() -> int:
            """Return how many of ten calls got through to the store that fails."""
            through = 0
            for _ in range(10):
                try:
                    await store.append(HERE, say("b"), key="k")
                except StoreUnavailable as error:
                    through += "breaker" not in error.details
            return through

        async def in_threads() -> list[int]:
            return await asyncio.gather(
                write(), *(asyncio.to_thread(asyncio.run, write()) for _ in range(5))
            )

        assert 20 <= sum(await in_threads()) <= 25  # some were on their way when it opened
        assert told == ["open"]
        assert sum(await in_threads()) == 0
        clock.advance(RESET)
        assert sum(await in_threads()) == 1  # one was tried
        other.close()
        clock.advance(RESET)
        assert sum(await in_threads()) == 0
        assert await texts(store) == ["a", "b"]
        assert told == ["open", "half_open", "open", "half_open", "closed"]


async def test_what_was_asked_before_it_opened_does_not_close_it(folder: Path) -> None:
    path = folder / "a.db"
    inner = SqliteStore(path, lock_timeout=PATIENCE)
    async with BreakerStore(inner, max_failures=1, timeout=PATIENCE) as store:
        await store.append(HERE, say("a"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            waiting = asyncio.ensure_future(store.append(HERE, say("b")))
            await asyncio.sleep(0)
            put_back = _put_aside(path)
            with pytest.raises(StoreUnavailable):
                await store.ping()
            put_back()
            other.execute("ROLLBACK")
        assert isinstance(await waiting, Written)
        assert store.state == "open"


def _put_aside(path: Path) -> Callable[[], object]:
    """Take a database away from under a store; the result puts it back."""
    aside = path.with_name("aside")
    path.rename(aside)
    return lambda: aside.rename(path)


@pytest.mark.parametrize(
    "settings",
    [{"max_failures": 0}, {"timeout": timedelta(0)}, {"reset_timeout": -SECOND}],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="breaker"):
        BreakerStore(InMemoryStore(), **settings)
