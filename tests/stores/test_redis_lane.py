"""The connection that many tasks share: what goes in one packet, and who may leave."""

import asyncio
import select
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import count

import pytest
import pytest_asyncio

from recollect.messages import Message
from recollect.stores.records import ConversationId, NewRecord
from recollect.stores.redis import RedisStore
from recollect.stores.redis.places import Server
from tests.servers.redis_server import GivenRedis

pytest_plugins = ["tests.servers.redis_fixtures"]

_numbers = count()


@pytest_asyncio.fixture
async def store(redis_server: GivenRedis) -> AsyncIterator[RedisStore]:
    prefix, patience = f"lane-{next(_numbers)}:", timedelta(minutes=1)
    async with RedisStore(redis_server.url, prefix=prefix, timeout=patience) as store:
        await append(store, "first")
        yield store


async def append(store: RedisStore, name: str, text: str = "hi") -> None:
    await store.append(ConversationId("space", name), [NewRecord(Message("user", text), 1)])


def packets_of(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the packets that are sent for writes from now on."""
    assert isinstance(store._place, Server)
    connection = store._place._lanes["write"]._connection
    assert connection is not None
    send, packets = connection.send_packed_command, list[bytes]()

    async def note(packet: bytes, check_health: bool = True) -> None:
        packets.append(packet)
        await send(packet, check_health=check_health)

    monkeypatch.setattr(connection, "send_packed_command", note)
    return packets


async def test_one_after_the_other_goes_at_once(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    packets = packets_of(store, monkeypatch)
    for number in range(5):
        await append(store, str(number))
    assert [packet.count(b"EVALSHA") for packet in packets] == [1] * 5


@pytest.mark.parametrize("tasks", range(60, 65))
async def test_what_comes_at_the_same_moment_goes_in_a_few_packets(
    store: RedisStore, monkeypatch: pytest.MonkeyPatch, tasks: int
) -> None:
    packets = packets_of(store, monkeypatch)
    await asyncio.gather(*(append(store, str(number)) for number in range(tasks)))
    sizes = [packet.count(b"EVALSHA") for packet in packets]
    assert sizes[0] == 1  # nothing was in flight
    assert sum(sizes) == tasks
    assert len(sizes) <= tasks // 4 + 2
    assert all(sizes)  # nothing at all would stay in asyncio's buffer and keep the loop awake
    assert (await store.measure("space")).messages == tasks + 1


async def test_what_is_more_than_a_socket_takes_makes_no_caller_wait_in_it(
    store: RedisStore,
) -> None:
    tasks = [asyncio.create_task(append(store, str(number), "x" * 200_000)) for number in range(40)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # some are being sent
    for task in tasks[1::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [one for one in done[::2] if one is not None] == []
    assert store._place.connections == 1
    stored = await store.measure("space")
    assert 21 <= stored.messages <= 41


async def test_an_answer_that_came_while_the_loop_stood_still_is_not_late(
    store: RedisStore, redis_server: GivenRedis
) -> None:
    assert isinstance(store._place, Server)
    lane = store._place._lanes["write"]
    assert lane._connection is not None
    assert lane._connection._writer is not None
    socket = lane._connection._writer.get_extra_info("socket")
    key = f"late-{next(_numbers)}"
    asking = asyncio.create_task(lane.call(("BLPOP", key, 0)))
    while lane._due is None:  # noqa: ASYNC110  # nobody is told
        await asyncio.sleep(0)
    with redis_server.client() as client:
        client.rpush(key, "an answer")
    assert select.select([socket], [], [], 60)[0]  # it is there, and has not been read
    lane._due = 0  # long ago
    lane._look()
    assert await asking == [key.encode(), b"an answer"]
