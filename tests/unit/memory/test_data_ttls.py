"""How long data live: row 16 of specs/memory.md §13, and the ttl that an operation may have."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.memory.registry import Memories, Request
from recollect.stores.base import Store

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Make = Callable[..., Memories]


class Timed:
    """A memory whose time to live is looked at after each operation."""

    def __init__(self, memories: Memories, store: Store, clock: ManualClock) -> None:
        self.memories, self.store, self.clock = memories, store, clock

    async def __call__(self, operation: str, **more: Any) -> timedelta | None:
        config = {"flush": {"force": True}, "clear": {"confirm": True}}.get(operation)
        payload = ["one", "two", "three"] if operation in {"append", "write"} else None
        request = Request(
            operation=operation,  # type: ignore[arg-type]
            memory_ref="talk",
            key="k",
            payload=payload,
            config=more.pop("config", config),
            **more,
        )
        await self.memories.perform(request, now=self.clock.now())
        return await self.left()

    async def left(self) -> timedelta | None:
        found = await self.store.load(self.memories.open("talk", "k").address, last=0)
        assert found is not None
        end = found.head.expires_at
        return None if end is None else end - self.clock.now()


@pytest.fixture
def timed(make_memories: Make, store: Store, clock: ManualClock) -> Callable[..., Timed]:
    return lambda **fields: Timed(make_memories({"id": "talk", **fields}), store, clock)


async def test_every_write_sets_the_ttl_anew(timed: Callable[..., Timed]) -> None:
    """Row 16: 86400 s after each write; a flush and a read leave it."""
    talk = timed(persistence={"ttl": "24h"})
    for operation in ("write", "append", "clear", "append"):
        assert await talk(operation) == DAY, operation
        talk.clock.advance(HOUR)
    for operation in ("flush", "read", "stats", "health"):
        assert await talk(operation) == DAY - HOUR, operation


async def test_an_operation_may_have_a_ttl_of_its_own(timed: Callable[..., Timed]) -> None:
    talk = timed(
        persistence={"ttl": "24h"}, append_ttl="30m", flush_ttl="2h", clear_ttl="5m"
    )  # as D's sample
    assert await talk("append") == HOUR / 2
    assert await talk("flush") == 2 * HOUR
    assert await talk("write") == DAY
    assert await talk("clear") == timedelta(minutes=5)


async def test_a_flush_that_removes_nothing_leaves_it(timed: Callable[..., Timed]) -> None:
    talk = timed(persistence={"ttl": "24h"}, flush_ttl="2h", max_messages=100)
    await talk("append")
    assert await talk("flush", config={}) == DAY
    assert await talk("flush", config={"force": True, "dry_run": True}) == DAY


async def test_a_flush_done_again_moves_the_end_no_further(timed: Callable[..., Timed]) -> None:
    talk = timed(flush_ttl="2h")
    await talk("append")
    assert await talk("flush", idempotency_key="run/1") == 2 * HOUR
    talk.clock.advance(HOUR)
    assert await talk("flush", idempotency_key="run/1") == HOUR


async def test_without_any_ttl_nothing_ends(timed: Callable[..., Timed]) -> None:
    talk = timed()
    for operation in ("append", "write", "flush", "clear"):
        assert await talk(operation) is None, operation
