"""Reads of the Redis store on one server: as one transaction, or by script where that cannot do."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
import pytest_asyncio

from recollect.clock import ManualClock
from recollect.errors import StoreCorrupt, StoreUnavailable
from recollect.messages import Message
from recollect.stores.records import Conversation, ConversationId, NewRecord
from recollect.stores.redis import RedisStore
from recollect.stores.redis.places import Server
from tests.servers.redis_server import GivenRedis, RedisServer

pytest_plugins = ["tests.servers.redis_fixtures"]

HERE = ConversationId("acme", "c-1")
SHORT = timedelta(seconds=1)  # for a server that says nothing, or answers and does nothing else
PATIENCE = timedelta(minutes=1)  # for all else, however busy the machine is

_prefixes = count()


def say(*texts: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1) for text in texts]


def texts(conversation: Conversation | None) -> list[str]:
    assert conversation is not None
    return [message.text for message in conversation.messages]


@pytest_asyncio.fixture
async def store(redis_server: GivenRedis) -> AsyncIterator[RedisStore]:
    prefix = f"reads-{next(_prefixes)}:"
    async with RedisStore(redis_server.url, prefix=prefix, timeout=PATIENCE) as store:
        await store.append(HERE, say("a", "b", "c"), metadata={"x": 1})
        yield store


def key(store: RedisStore, part: str) -> str:
    return f"{store._names.head(HERE)}{part}"


async def test_slices(store: RedisStore) -> None:
    assert texts(await store.load(HERE)) == ["a", "b", "c"]
    assert texts(await store.load(HERE, last=2)) == ["b", "c"]
    assert texts(await store.load(HERE, last=9)) == ["a", "b", "c"]
    assert texts(await store.load(HERE, last=0)) == []
    assert texts(await store.load(HERE, offset=1)) == ["b", "c"]
    assert texts(await store.load(HERE, offset=1, limit=1)) == ["b"]
    assert texts(await store.load(HERE, limit=0)) == []
    assert texts(await store.load(HERE, offset=9)) == []


async def test_an_expired_conversation_is_missing(redis_server: GivenRedis) -> None:
    clock = ManualClock()
    prefix = f"reads-{next(_prefixes)}:"
    async with RedisStore(redis_server.url, prefix=prefix, clock=clock) as store:
        await store.append(HERE, say("a"), ttl=timedelta(hours=1))
        clock.advance(timedelta(minutes=59))
        assert texts(await store.load(HERE)) == ["a"]
        clock.advance(timedelta(minutes=1))
        assert await store.load(HERE) is None
        assert await store.load(HERE, last=1) is None


async def test_a_key_of_another_kind_is_told_as_damage(
    store: RedisStore, redis_server: GivenRedis
) -> None:
    with redis_server.client() as client:
        client.delete(key(store, ":messages"))
        client.set(key(store, ":messages"), "top secret")
    with pytest.raises(StoreCorrupt) as caught:
        await store.load(HERE)
    assert "secret" not in str(caught.value)


async def test_a_head_that_is_none_is_told_as_damage(
    store: RedisStore, redis_server: GivenRedis
) -> None:
    with redis_server.client() as client:
        client.set(key(store, ""), "top secret")
    with pytest.raises(StoreCorrupt, match="c-1") as caught:
        await store.load(HERE)
    assert "secret" not in str(caught.value)


async def test_a_read_sees_one_moment(store: RedisStore) -> None:
    async def write() -> None:
        for number in range(200):
            await store.append(HERE, say(str(number)))

    writing = asyncio.create_task(write())
    while not writing.done():
        found = await store.load(HERE)
        assert found is not None
        assert found.head.message_count == len(found.records)
        assert found.head.next_seq == found.records[-1].seq + 1
    await writing


async def test_readers_who_leave_do_not_mix_up_answers(store: RedisStore) -> None:
    for number in range(20):
        await store.append(ConversationId("acme", f"n-{number}"), say(str(number)))

    async def read(number: int) -> list[str]:
        return texts(await store.load(ConversationId("acme", f"n-{number}")))

    for _ in range(20):
        tasks = [asyncio.create_task(read(number)) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        async with asyncio.timeout(60):
            found = await asyncio.gather(*tasks, return_exceptions=True)
        for number, answer in enumerate(found):
            if number % 3:
                assert answer == [str(number)]


def wait_no_longer_than(store: RedisStore, patience: timedelta) -> None:
    assert isinstance(store._place, Server)
    for lane in store._place._lanes.values():
        lane._timeout = patience.total_seconds()
        if lane._timer is not None:  # of the former patience
            lane._timer.cancel()
            lane._timer = None


async def test_answers_in_time_are_not_broken_off(store: RedisStore) -> None:
    wait_no_longer_than(store, SHORT)
    end = time.monotonic() + 2.5 * SHORT.total_seconds()
    assert isinstance(store._place, Server)
    lanes = store._place._lanes
    assert await store.load(HERE) is not None
    connection = lanes["read"]._connection
    while time.monotonic() < end:
        assert await store.load(HERE) is not None
    assert lanes["read"]._connection is connection


async def test_a_server_that_falls_silent_is_given_up_in_time(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        async with RedisStore(server.url, timeout=PATIENCE) as store:
            await store.append(HERE, say("a"))
            assert texts(await store.load(HERE)) == ["a"]
            server.pause()
            wait_no_longer_than(store, SHORT)
            try:
                start = time.monotonic()
                async with asyncio.timeout(PATIENCE.total_seconds()):
                    with pytest.raises(StoreUnavailable):
                        await store.load(HERE)
                took = time.monotonic() - start
            finally:
                server.resume()
            wait_no_longer_than(store, PATIENCE)
            assert took > SHORT.total_seconds()
            assert texts(await store.load(HERE)) == ["a"]
            await store.append(HERE, say("b"))
            assert texts(await store.load(HERE)) == ["a", "b"]


async def test_an_idle_store_leaves_no_task_behind_and_goes_on_when_it_is_asked(
    redis_server: GivenRedis,
) -> None:
    """Who waits for all tasks of a loop, as checks of leaks do, does not wait for ever."""
    before = asyncio.all_tasks()
    async with RedisStore(redis_server.url, prefix=f"reads-{next(_prefixes)}:") as store:
        for n in range(3):
            await store.append(HERE, say(str(n)))
            left = asyncio.all_tasks() - before
            if left:
                await asyncio.wait_for(asyncio.gather(*left), timeout=60)
        assert texts(await store.load(HERE)) == ["0", "1", "2"]
