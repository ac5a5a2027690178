"""Answers that never come, and callers that do not wait: a write is known, or safe to repeat."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

import pytest
import pytest_asyncio

from recollect.errors import OutcomeUnknown, StoreUnavailable
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId, NewRecord, Written
from recollect.stores.redis import RedisStore
from tests.servers.redis_server import GivenRedis
from tests.servers.relay import Relay

if TYPE_CHECKING:
    from tests.servers.postgres_server import PostgresServer

pytest_plugins = ["tests.servers.redis_fixtures", "tests.servers.postgres_server"]

HERE = ConversationId("acme/chat", "c-1")
PATIENCE = 60  # seconds
_numbers = count()


class Wired(NamedTuple):
    """A store, and the wire to its server."""

    store: Store
    relay: Relay


@pytest.fixture
def patience() -> float:
    """For how many seconds a store waits; a test may want another one."""
    return PATIENCE


@pytest_asyncio.fixture(params=["Redis", "PostgreSQL"])
async def wired(
    request: pytest.FixtureRequest,
    redis_server: GivenRedis,
    own_postgres_server: "PostgresServer",
    patience: float,
) -> AsyncIterator[Wired]:
    name = f"wired_{next(_numbers)}"
    if request.param == "Redis":
        relay = Relay(redis_server.host, redis_server.port)
    else:
        relay = Relay(str(own_postgres_server.socket_folder), 5432)
    async with relay:
        if request.param == "Redis":
            url = relay.instead_of(redis_server.url)
            seconds = timedelta(seconds=patience)
            store: Store = RedisStore(url, prefix=f"{name}:", timeout=seconds)
        else:
            url = f"postgresql://postgres@127.0.0.1:{relay.port}/postgres"
            options = {"max_size": 1, "command_timeout": patience, "timeout": patience}
            store = PostgresStore(url, table_name=name, options=options)
        async with store:
            await prepare(store)
            await store.append(HERE, say("a"))
            yield Wired(store, relay)


def say(text: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1)]


async def prepare(store: Store) -> None:
    """Let the driver prepare its statements, so that the next answer is that of a write."""
    for key in (None, f"p-{next(_numbers)}"):
        await store.append(HERE, [], key=key)
        await store.append(HERE, say("gone"), key=key and f"{key}!")
    await store.load(HERE)
    await store.replace(HERE, [])


async def texts(store: Store) -> list[str]:
    found = await store.load(HERE)
    assert found is not None
    assert found.head.message_count == len(found.records)
    return [message.text for message in found.messages]


async def test_a_keyed_write_whose_answer_is_lost_is_repeated_and_stored_once(
    wired: Wired,
) -> None:
    store, relay = wired
    relay.drops_answers = True
    done = await store.append(HERE, say("b"), key="k")
    assert isinstance(done, Written)
    assert done.replayed  # it had been stored when the wire broke
    assert await texts(store) == ["a", "b"]


async def test_a_write_without_a_key_whose_answer_is_lost_is_not_repeated(wired: Wired) -> None:
    store, relay = wired
    relay.drops_answers = True
    with pytest.raises(OutcomeUnknown):
        await store.append(HERE, say("b"))
    assert await texts(store) == ["a", "b"]


async def test_a_caller_that_leaves_while_its_write_is_on_its_way_may_repeat_it(
    wired: Wired,
) -> None:
    store, relay = wired
    relay.holds_answers = True
    writing = asyncio.ensure_future(store.append(HERE, say("b"), key="k"))
    await relay.held.wait()  # the server has stored it
    writing.cancel()
    relay.let_go()
    with pytest.raises(asyncio.CancelledError):
        await writing
    done = await store.append(HERE, say("b"), key="k")
    assert isinstance(done, Written)
    assert done.replayed
    assert await texts(store) == ["a", "b"]


async def test_a_caller_that_leaves_disturbs_no_other(wired: Wired) -> None:
    store, relay = wired
    relay.holds_answers = True
    writing = [asyncio.ensure_future(store.append(HERE, say(str(n)))) for n in range(30)]
    await relay.held.wait()
    for task in writing[::3]:
        task.cancel()
    relay.let_go()
    done = await asyncio.gather(*writing, return_exceptions=True)
    assert all(isinstance(one, Written) for n, one in enumerate(done) if n % 3)
    stored = await texts(store)
    assert len(stored) == len(set(stored))
    assert {str(n) for n in range(30) if n % 3} <= set(stored)


@pytest.mark.parametrize("patience", [2])  # it is used up half a dozen times
async def test_an_answer_that_never_comes_is_not_waited_for(wired: Wired) -> None:
    store, relay = wired
    relay.holds_answers = True
    async with asyncio.timeout(100):
        with pytest.raises(OutcomeUnknown):
            await store.append(HERE, say("b"))
        with pytest.raises(StoreUnavailable):
            await store.append(HERE, say("c"), key="k")
        with pytest.raises(StoreUnavailable):
            await store.replace(HERE, say("d"), expect_version=1, key="k2")
        with pytest.raises(StoreUnavailable):
            await store.load(HERE)
    relay.let_go()
    assert (await texts(store))[:2] == ["a", "b"]
    again = await store.append(HERE, say("c"), key="k")
    assert isinstance(again, Written)
    assert (await texts(store)).count("c") == 1
