"""A clock that steps back: on every store stored times, deadlines and leases stay sane."""

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from recollect.clock import ManualClock
from recollect.errors import LeaseLost
from recollect.messages import Message
from recollect.stores.base import KEY_RETENTION, Store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId, Head, NewRecord, Written
from recollect.stores.redis import RedisStore
from recollect.stores.sqlite import SqliteStore
from tests.servers.redis_server import GivenRedis

pytest_plugins = ["tests.servers.redis_fixtures", "tests.servers.postgres_server"]

HERE = ConversationId("acme/chat", "c-1")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
_numbers = count()


def say(text: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["in memory", "SQLite", "Redis", "PostgreSQL"])
def unopened(
    request: pytest.FixtureRequest,
    clock: ManualClock,
    folder: Path,
    redis_server: GivenRedis,
    postgres_url: str,
    postgres_table: Callable[[], str],
) -> Store:
    name = f"t{next(_numbers)}"
    kinds: dict[str, Callable[[], Store]] = {
        "in memory": lambda: InMemoryStore(clock=clock),
        "SQLite": lambda: SqliteStore(folder / name, clock=clock),
        "Redis": lambda: RedisStore(redis_server.url, prefix=f"steps-{name}:", clock=clock),
        "PostgreSQL": lambda: PostgresStore(postgres_url, table_name=postgres_table(), clock=clock),
    }
    return kinds[request.param]()


@pytest_asyncio.fixture
async def store(unopened: Store) -> AsyncIterator[Store]:
    async with unopened as store:
        yield store


async def head_of(store: Store) -> Head:
    found = await store.load(HERE, last=0)
    assert found is not None
    return found.head


async def test_updated_at_never_runs_backwards_over_a_day_of_steps(
    store: Store, clock: ManualClock
) -> None:
    steps = [HOUR, -DAY, MINUTE, -HOUR, 3 * DAY, -MINUTE, -2 * DAY, DAY]
    latest = (await _written(store, "first")).updated_at
    for number, step in enumerate(steps):
        clock.advance(step)
        head = await _written(store, str(number))
        assert head.updated_at == max(latest, clock.now())
        latest = head.updated_at
    found = await store.load(HERE)
    assert found is not None
    assert [message.text for message in found.messages] == ["first", *map(str, range(len(steps)))]


async def test_a_deadline_is_decided_by_the_callers_clock(store: Store, clock: ManualClock) -> None:
    await store.append(HERE, say("a"), ttl=HOUR)
    clock.advance(HOUR)
    assert await store.load(HERE) is None
    clock.advance(-MINUTE)
    assert await store.load(HERE) is not None
    clock.advance(MINUTE)
    assert await store.load(HERE) is None


async def test_a_new_generation_outlives_a_step_behind_its_birth(
    store: Store, clock: ManualClock
) -> None:
    first = await _written(store, "old", ttl=HOUR)
    clock.advance(HOUR)
    second = await _written(store, "new", ttl=HOUR)
    clock.advance(-HOUR)
    found = await store.load(HERE)
    assert found is not None
    assert [message.text for message in found.messages] == ["new"]
    assert found.head.generation == second.generation != first.generation


async def test_a_lease_is_held_by_one_however_the_clock_steps(
    store: Store, clock: ManualClock
) -> None:
    await _written(store, "a")
    first = await store.lease(HERE, holder="one", ttl=HOUR)
    assert first is not None
    clock.advance(-DAY)
    assert await store.lease(HERE, holder="two", ttl=HOUR) is None
    again = await store.lease(HERE, holder="one", ttl=HOUR)
    assert again is not None
    assert (again.fence, again.expires_at) == (first.fence, clock.now() + HOUR)
    clock.advance(HOUR)
    second = await store.lease(HERE, holder="two", ttl=HOUR)
    assert second is not None
    assert second.fence == first.fence + 1


async def test_who_was_overtaken_gets_nothing_back_when_the_clock_steps_back(
    store: Store, clock: ManualClock
) -> None:
    await _written(store, "a")
    first = await store.lease(HERE, holder="one", ttl=HOUR)
    clock.advance(HOUR)
    second = await store.lease(HERE, holder="two", ttl=HOUR)
    assert first is not None
    assert second is not None
    clock.advance(-MINUTE)  # the first lease would be living again
    with pytest.raises(LeaseLost):
        await store.append(HERE, say("b"), lease=first)
    assert await store.release(first) is False
    assert isinstance(await store.append(HERE, say("c"), lease=second), Written)


async def test_a_key_stays_known_when_the_clock_steps_back(
    store: Store, clock: ManualClock
) -> None:
    done = await store.append(HERE, say("a"), key="k")
    assert isinstance(done, Written)
    for step in (-DAY, KEY_RETENTION, MINUTE - DAY):
        clock.advance(step)
        again = await store.append(HERE, say("a"), key="k")
        assert isinstance(again, Written)
        assert (again.replayed, again.head) == (True, done.head)


async def test_finding_goes_by_the_stored_times(store: Store, clock: ManualClock) -> None:
    names = ["early", "late", "stepped"]
    for name, step in zip(names, (timedelta(0), HOUR, -2 * HOUR), strict=True):
        clock.advance(step)
        await store.append(ConversationId("acme/chat", name), say("a"))
    for order, expected in (("active", ["late", "early", "stepped"]), ("created", names)):
        page = await store.find("acme/chat", order=order)  # type: ignore[arg-type]
        assert [head.conversation.id for head in page.heads] == expected


async def _written(store: Store, text: str, **given: Any) -> Head:
    done = await store.append(HERE, say(text), **given)
    assert isinstance(done, Written)
    return done.head
