"""Memories over every store, opened from the YAML fields of their resource."""

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
from recollect.stores.sqlite import SqliteStore

OpenMemory = Callable[..., Memory]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["in_memory", "sqlite"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Store]:
    made: Store = (
        InMemoryStore(clock=clock)
        if request.param == "in_memory"
        else SqliteStore(tmp_path / "store.sqlite", clock=clock)
    )
    async with made as opened:
        yield opened


@pytest.fixture
def make_memories(store: Store) -> Callable[..., Memories]:
    def make(*resources: dict[str, Any], project_id: str = "demo") -> Memories:
        checked = [Resource.model_validate({"resource": "memory", **r}) for r in resources]
        registry = Registry({r.id: Defined(resource=r, file=Path("m.yaml")) for r in checked})
        return Memories(registry, durable=store, scratch=store, project_id=project_id)

    return make


@pytest.fixture
def open_memory(make_memories: Callable[..., Memories]) -> OpenMemory:
    def open_(key: str = "conv:u1:s1", **fields: Any) -> Memory:
        return make_memories({"id": "talk", **fields}).open("talk", key)

    return open_
