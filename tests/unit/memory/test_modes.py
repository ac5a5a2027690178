"""Row 55 of specs/memory.md section 13: what a reference may not do, the memory itself refuses."""

from pathlib import Path
from typing import Any, get_args

import pytest

from recollect.errors import MemoryReadOnly
from recollect.memory.modes import Mode
from recollect.memory.operations import OPERATIONS, FlushConfig, Operation
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.messages import Message
from recollect.stores.in_memory import InMemoryStore

CHANGING: tuple[Operation, ...] = ("append", "write", "delete", "clear", "flush")
REFUSED: dict[Mode, set[Operation]] = {
    "read-write": set(),
    "read-only": set(CHANGING),
    "append-only": set(CHANGING) - {"append"},
}
CONFIGS: dict[str, Any] = {"clear": {"confirm": True}, "flush": {"force": True}}


@pytest.fixture
def store() -> InMemoryStore:
    return InMemoryStore()


@pytest.fixture
def memories(store: InMemoryStore) -> Memories:
    resource = Resource.model_validate({"resource": "memory", "id": "talk", "max_messages": 100})
    registry = Registry({"talk": Defined(resource=resource, file=Path("m.yaml"))})
    return Memories(registry, durable=store, scratch=store, project_id="demo")


async def perform(memories: Memories, operation: Operation, mode: Mode, key: str = "k") -> Any:
    request = Request(
        operation=operation,
        memory_ref="talk",
        key=key,
        payload="more" if operation in {"append", "write"} else None,
        config=CONFIGS.get(operation),
        mode=mode,
    )
    return await memories.perform(request, now=memories.durable.clock.now())


async def contents(memories: Memories) -> list[str]:
    return [m.text for m in (await memories.open("talk", "k").view()).messages]


def test_every_mode_and_operation_is_tried_here() -> None:
    assert set(REFUSED) == set(get_args(Mode))
    assert set(CHANGING) < set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("mode", get_args(Mode))
async def test_row_55_what_a_mode_forbids_is_refused_and_changes_nothing(
    memories: Memories, mode: Mode, operation: Operation
) -> None:
    await memories.open("talk", "k").append([Message("user", "kept"), Message("user", "too")])
    if operation not in REFUSED[mode]:
        assert (await perform(memories, operation, mode))["success"]
        return
    with pytest.raises(MemoryReadOnly) as caught:
        await perform(memories, operation, mode)
    for part in ("'talk'", mode, operation):
        assert part in str(caught.value)
    assert caught.value.details == {"memory_ref": "talk", "operation": operation, "mode": mode}
    assert await contents(memories) == ["kept", "too"]


async def test_row_55_a_memory_opened_to_be_read_cannot_be_changed_directly(
    memories: Memories, store: InMemoryStore
) -> None:
    await memories.open("talk", "k").append([Message("user", "kept")])
    reading = memories.open("talk", "k", mode="read-only")
    with pytest.raises(MemoryReadOnly):
        await reading.append([Message("user", "more")])
    with pytest.raises(MemoryReadOnly):
        await reading.write([])
    with pytest.raises(MemoryReadOnly):
        await reading.delete()
    assert (await reading.flush(FlushConfig(dry_run=True, force=True)))["success"]
    assert (await reading.read())["count"] == 1
    assert await contents(memories) == ["kept"]


async def test_row_55_a_pattern_is_no_way_around_a_mode(memories: Memories) -> None:
    await memories.open("talk", "k").append([Message("user", "kept")])
    with pytest.raises(MemoryReadOnly):
        await perform(memories, "delete", "read-only", key="*")
    assert await contents(memories) == ["kept"]


async def test_row_55_what_is_refused_is_not_noted_either(
    memories: Memories, store: InMemoryStore
) -> None:
    with pytest.raises(MemoryReadOnly):
        await perform(memories, "append", "read-only")
    assert set(await memories.ever_used()) == {"talk"}
    assert store._namespaces == {}
