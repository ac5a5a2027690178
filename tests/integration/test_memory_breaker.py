"""Row 63 of specs/memory.md §13: a memory whose store stops answering, on a Redis that is paused.

How fast it fails is measured by ``python -m benchmarks.memory_overhead --only breaker``.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import StoreError
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.stores.factory import make_store
from recollect.stores.in_memory import InMemoryStore
from recollect.telemetry import Telemetry
from tests.servers.redis_server import RedisServer

BREAKER = {"enabled": True, "timeout": "3s", "max_failures": 3, "reset_timeout": "1s"}
"""An answer has time to come on a busy machine; calls that wait in vain do so side by side."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis") as started:
        yield started


class Asked:
    """Memories of one project, and what their breakers told."""

    def __init__(self, memories: Memories, states: list[Any], clock: ManualClock) -> None:
        self.memories, self.states, self.clock = memories, states, clock

    async def __call__(
        self, operation: str, ref: str = "talk", key: str = "k", **more: Any
    ) -> dict[str, Any]:
        request = Request(operation=operation, memory_ref=ref, key=key, **more)  # type: ignore[arg-type]
        return await self.memories.perform(request, now=self.memories.durable.clock.now())

    async def fails(self, ref: str = "talk", key: str = "k") -> StoreError:
        with pytest.raises(StoreError) as caught:
            await self("append", ref, key, payload="x")
        return caught.value

    async def opens(self) -> None:
        failures: int = BREAKER["max_failures"]  # type: ignore[assignment]
        await asyncio.gather(*(self.fails(key=f"k{n}") for n in range(failures)))
        assert self.states == ["open"]


@pytest.fixture
async def asked(server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Asked]:
    monkeypatch.setattr("recollect.memory.health.HEALTH_TIMEOUT_SECONDS", 30.0)  # it would be one
    telemetry, states, clock = Telemetry(), list[Any](), ManualClock()

    def listen(event: str, /, **labels: Any) -> None:
        if event == "store.breaker":
            states.append(labels["state"])

    telemetry.listen(listen)
    persistence = {"type": "redis", "circuit_breaker": BREAKER}
    resources = [
        Resource.model_validate({"id": id_, "persistence": persistence}) for id_ in ("talk", "twin")
    ]
    registry = Registry({r.id: Defined(resource=r, file=Path("m.yaml")) for r in resources})
    store = make_store(server.url, folder=Path(), clock=clock)
    async with store, InMemoryStore(clock=clock) as scratch:
        memories = Memories(
            registry, durable=store, scratch=scratch, project_id="demo", telemetry=telemetry
        )
        yield Asked(memories, states, clock)
        server.resume()


async def test_it_opens_fails_fast_and_recovers(asked: Asked, server: RedisServer) -> None:
    await asked("append", payload="before")
    server.pause()
    await asked.opens()
    async with asyncio.timeout(60):  # to ask the server each time would take ten minutes
        for _ in range(200):
            error = await asked.fails()
            assert error.code == "MEMORY_PERSISTENCE_ERROR"
            assert error.details["retry_after"] >= 1
            assert error.details["breaker"] == "open"
    server.resume()
    with server.client() as client:
        client.ping()  # it has woken up
    asked.clock.advance(timedelta(seconds=1))
    health = await asked("health")
    assert asked.states == ["open", "half_open", "closed"]
    assert (health["healthy"], health["store_status"]) == (True, "connected")
    await asked("append", payload="after")
    contents = [m["content"] for m in (await asked("read"))["messages"]]
    assert contents[0] == "before"
    assert contents[-1] == "after"


async def test_health_says_degraded(asked: Asked, server: RedisServer) -> None:
    server.pause()
    await asked.opens()
    health = await asked("health")
    assert (health["success"], health["healthy"], health["store_status"]) == (
        True, False, "degraded",
    )  # fmt: skip
    assert health["error"]["code"] == "MEMORY_PERSISTENCE_ERROR"


async def test_there_is_one_for_the_store_not_one_for_each_key_or_memory(
    asked: Asked, server: RedisServer
) -> None:
    server.pause()
    await asked.opens()
    assert (await asked.fails("twin")).details["breaker"] == "open"
    request = Request(operation="read", memory_ref="talk", key="another")
    with pytest.raises(StoreError) as caught:
        await asked.memories.perform(request, now=asked.memories.durable.clock.now())
    assert caught.value.details["breaker"] == "open"


async def test_refusals_do_not_open_it(asked: Asked) -> None:
    """Only the store's own failures count."""
    await asked("append", payload="one", idempotency_key="n")
    for _ in range(10):
        with pytest.raises(StoreError, match="already used"):
            await asked("append", payload="two", idempotency_key="n")
    assert asked.states == []


async def test_without_it_the_store_is_asked_each_time(server: RedisServer) -> None:
    resource = Resource.model_validate({"id": "talk"})
    registry = Registry({"talk": Defined(resource=resource, file=Path("m.yaml"))})
    store, scratch = make_store(server.url, folder=Path()), InMemoryStore()
    memories = Memories(registry, durable=store, scratch=scratch, project_id="demo")
    assert memories.open("talk", "k").store is store
