"""The ids of memories that ever kept something, for an erasure after their files are gone."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from recollect.clock import ManualClock
from recollect.errors import StoreUnavailable
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.stores.base import Store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.records import Change, ConversationId

Make = Callable[..., Memories]


async def say(memories: Memories, ref: str, operation: str = "append") -> None:
    request = Request(operation=operation, memory_ref=ref, key="k", payload="hello")  # type: ignore[arg-type]
    await memories.perform(request, now=memories.durable.clock.now())


async def test_only_what_something_was_stored_in_is_remembered_and_by_every_process(
    make_memories: Make,
) -> None:
    before = make_memories({"id": "notes"}, {"id": "talk"}, {"id": "read_only"})
    await say(before, "notes", "write")
    await say(before, "talk")
    await say(before, "read_only", "read")
    later = make_memories({"id": "talk"})
    assert list(await later.ever_used()) == ["talk", "notes"]
    assert (await later.ever_used())["notes"] == "default/demo/notes"
    assert list(await make_memories(project_id="other").ever_used()) == []


async def test_two_processes_that_begin_at_once_note_it_once(
    make_memories: Make, store: Store
) -> None:
    await asyncio.gather(*(say(make_memories({"id": "talk"}), "talk") for _ in range(5)))
    page = await store.find("default/demo/.memories")
    assert [head.conversation.id for head in page.heads] == ["talk"]


class Failing(InMemoryStore):
    """Notes nothing."""

    async def _append(self, change: Change) -> object:  # type: ignore[override]
        if change.conversation.namespace.endswith("/.memories"):
            raise StoreUnavailable("down")
        return await super()._append(change)


async def test_nothing_is_stored_in_what_could_not_be_noted() -> None:
    resource = Resource.model_validate({"resource": "memory", "id": "talk"})
    registry = Registry({"talk": Defined(resource=resource, file=Path("m.yaml"))})
    async with Failing(clock=ManualClock()) as store, InMemoryStore() as scratch:
        memories = Memories(registry, durable=store, scratch=scratch, project_id="demo")
        with pytest.raises(StoreUnavailable):
            await say(memories, "talk")
        assert await store.load(ConversationId("default/demo/talk", "k")) is None
