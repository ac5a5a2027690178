"""Which work holds a lease, and for how long: ``locking`` (row 44 of specs/memory.md §13)."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.stores.in_memory import InMemoryStore

LOCKING = {"append_ttl": "31s", "clear_ttl": "11s", "flush_ttl": "6m"}
FLUSHING = {"threshold": 1.0, "target_utilization": 0.2}


class Watched(InMemoryStore):
    """Notes who takes a lease, and for how long."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.leases: list[tuple[str, timedelta]] = []

    async def _lease(self, conversation: Any, holder: str, ttl: timedelta, now: Any) -> Any:
        self.leases.append((holder.partition("-")[0], ttl))
        return await super()._lease(conversation, holder, ttl, now)


async def leases_of(clock: ManualClock, operation: str, **more: Any) -> list[tuple[str, timedelta]]:
    """Do one operation on a memory of three messages, with room for two more."""
    resource = Resource.model_validate(
        {"id": "talk", "max_messages": 5, "flushing": FLUSHING, "locking": LOCKING}
    )
    registry = Registry({"talk": Defined(resource=resource, file=Path("m.yaml"))})
    store = Watched(clock)
    memories = Memories(registry, durable=store, scratch=store, project_id="p")

    async def perform(operation: str, **more: Any) -> None:
        request = Request(operation=operation, memory_ref="talk", key="k", **more)  # type: ignore[arg-type]
        await memories.perform(request, now=clock.now())

    await perform("append", payload=["one", "two", "three"])
    store.leases.clear()
    await perform(operation, **more)
    return store.leases


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("append", {"payload": "four"}),
        ("write", {"payload": "new"}),
        ("delete", {}),
        ("read", {}),
        ("stats", {}),
        ("health", {}),
        ("clear", {"config": {"confirm": True}}),
        ("flush", {"config": {"dry_run": True, "force": True}}),
        ("flush", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else str(value.get("config", "")),
)
async def test_work_of_one_step_needs_none(
    clock: ManualClock, operation: str, more: dict[str, Any]
) -> None:
    assert await leases_of(clock, operation, **more) == []


@pytest.mark.parametrize(
    ("operation", "more", "seconds"),
    [
        ("append", {"payload": ["four", "five", "six"]}, 31),
        ("clear", {"config": {"confirm": True, "backup": True}}, 11),
        ("flush", {"config": {"force": True}}, 360),
    ],
    ids=["append that makes room", "clear with backup", "flush"],
)
async def test_work_of_several_steps_has_the_ttl_of_its_class(
    clock: ManualClock, operation: str, more: dict[str, Any], seconds: int
) -> None:
    leases = await leases_of(clock, operation, **more)
    assert {ttl for _, ttl in leases} == {timedelta(seconds=seconds)}
