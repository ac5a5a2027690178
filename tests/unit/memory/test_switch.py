"""Memory switched off: row 50 of specs/memory.md §13."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import MemoryDisabled
from recollect.memory.operations import OPERATIONS
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.memory.switch import MemorySwitch
from recollect.stores.base import Store
from recollect.stores.in_memory import InMemoryStore

CONFIGS: dict[str, Any] = {"clear": {"confirm": True}, "flush": {"force": True}}


@pytest.fixture
async def store(clock: ManualClock) -> AsyncIterator[Store]:
    async with InMemoryStore(clock=clock) as opened:
        yield opened


def memories(store: Store, *, switch: MemorySwitch | None = None, enabled: bool = True) -> Memories:
    resources = [
        Resource.model_validate({"id": "talk", "enabled": enabled}),
        Resource.model_validate({"id": "other"}),
    ]
    registry = Registry({r.id: Defined(resource=r, file=Path("m.yaml")) for r in resources})
    return Memories(registry, durable=store, scratch=store, project_id="p", switch=switch)


async def ask(
    memories: Memories, operation: str, *, ref: str = "talk", key: str = "k"
) -> dict[str, Any]:
    request = Request(
        operation=operation,  # type: ignore[arg-type]
        memory_ref=ref,
        key=key,
        payload="hello" if operation in {"write", "append"} else None,
        config=CONFIGS.get(operation),
    )
    return await memories.perform(request, now=memories.durable.clock.now())


OFF = MemorySwitch(enabled=False)
ways_off = pytest.mark.parametrize(
    "off", [{"switch": OFF}, {"enabled": False}], ids=["project", "resource"]
)


@ways_off
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_every_operation_does_nothing_and_says_so(
    store: Store, off: dict[str, Any], operation: str
) -> None:
    on = memories(store)
    await ask(on, "append")
    before = await store.load(on.open("talk", "k").address)
    output = await ask(memories(store, **off), operation)
    assert (output["success"], output["skipped"], output["operation"]) == (True, True, operation)
    assert "switched off" in output["reason"]
    assert (output["memory_ref"], output["key"], output["message_count"]) == ("talk", "k", 0)
    assert await store.load(on.open("talk", "k").address) == before


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_the_fields_that_templates_read_are_those_of_an_empty_memory(
    store: Store, operation: str
) -> None:
    """So the tasks that follow work: ``{{ .history.messages }}`` is a list."""
    skipped = await ask(memories(store, switch=OFF), operation)
    usual = await ask(memories(store), operation, key="empty")
    for name in set(skipped) - {"skipped", "reason", "store_status", "key"}:
        assert isinstance(skipped[name], type(usual[name])), name


@ways_off
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_or_it_is_an_error(store: Store, off: dict[str, Any], operation: str) -> None:
    told = MemorySwitch(enabled=off.get("switch") is None, when_disabled="error")
    off = {**off, "switch": told}
    with pytest.raises(MemoryDisabled, match="switch it on") as caught:
        await ask(memories(store, **off), operation)
    assert caught.value.details == {"memory_ref": "talk"}
    assert not caught.value.retryable
    assert await store.load(memories(store).open("talk", "k").address) is None


async def test_nothing_is_lost_when_it_is_switched_on_again(store: Store) -> None:
    await ask(memories(store), "append")
    off = memories(store, switch=OFF)
    for operation in OPERATIONS:
        await ask(off, operation)
    assert (await ask(memories(store), "read"))["count"] == 1


async def test_one_memory_off_leaves_the_others_on(store: Store) -> None:
    some = memories(store, enabled=False)
    assert (await ask(some, "append", ref="other"))["messages_added"] == 1
    assert (await ask(some, "append"))["messages_added"] == 0


@ways_off
async def test_it_cannot_be_opened(store: Store, off: dict[str, Any]) -> None:
    """Agents, which open memories themselves, meet the switch too."""
    with pytest.raises(MemoryDisabled):
        memories(store, **off).open("talk", "k")


async def test_several_keys_are_off_too(store: Store) -> None:
    await ask(memories(store), "append")
    output = await ask(memories(store, switch=OFF), "delete", key="*")
    assert output["skipped"] is True
    assert (await ask(memories(store), "read"))["count"] == 1
