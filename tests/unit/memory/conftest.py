"""Memories over every store, opened from the YAML fields of their resource."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.memory.memory import Memory
from recollect.memory.registry import Defined, Memories, Registry
from recollect.memory.resource import Resource
from recollect.stores.base import Store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.records import ConversationId, Lease
from recollect.stores.sqlite import SqliteStore

OpenMemory = Callable[..., Memory]
HearLeases = Callable[[Store, ConversationId], "asyncio.Queue[Lease | None]"]


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer within a second is unwell; here it is the machine that is busy."""
    monkeypatch.setattr("recollect.memory.health.HEALTH_TIMEOUT_SECONDS", 60.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["in_memory", "sqlite"])
async def store(
    request: pytest.FixtureRequest, folder: Path, clock: ManualClock
) -> AsyncIterator[Store]:
    made: Store = (
        InMemoryStore(clock=clock)
        if request.param == "in_memory"
        else SqliteStore(folder / "store.sqlite", clock=clock)
    )
    async with made as opened:
        yield opened


@pytest.fixture
def make_memories(store: Store) -> Callable[..., Memories]:
    def make(
        *resources: dict[str, Any],
        project_id: str = "demo",
        hash_key: Callable[[], bytes] | None = lambda: b"k" * 32,
    ) -> Memories:
        checked = [Resource.model_validate({"resource": "memory", **r}) for r in resources]
        registry = Registry({r.id: Defined(resource=r, file=Path("m.yaml")) for r in checked})
        return Memories(
            registry, durable=store, scratch=store, project_id=project_id, hash_key=hash_key
        )

    return make


@pytest.fixture
def open_memory(make_memories: Callable[..., Memories]) -> OpenMemory:
    def open_(key: str = "conv:u1:s1", **fields: Any) -> Memory:
        return make_memories({"id": "talk", **fields}).open("talk", key)

    return open_


@pytest.fixture
def hear_leases(monkeypatch: pytest.MonkeyPatch) -> HearLeases:
    """Listen to what a store answers to each that asks for a conversation's lease, or renews it."""

    def hear(store: Store, conversation: ConversationId) -> "asyncio.Queue[Lease | None]":
        answers, ask = asyncio.Queue["Lease | None"](), store.lease

        async def lease(asked_for: ConversationId, **options: Any) -> Lease | None:
            answer = await ask(asked_for, **options)
            if asked_for == conversation:
                answers.put_nowait(answer)
            return answer

        monkeypatch.setattr(store, "lease", lease)
        return answers

    return hear
