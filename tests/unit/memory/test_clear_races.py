"""``clear`` while others delete the conversation and begin it anew."""

from datetime import datetime, timedelta
from pathlib import Path

from typing_extensions import override

from recollect.memory.operations import ClearConfig
from recollect.memory.registry import Defined, Memories, Registry
from recollect.memory.resource import Resource
from recollect.messages import Message
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.records import ConversationId, Lease, NewRecord


class BegunAnew(InMemoryStore):
    """Another deletes a conversation and writes to it again, as soon as its first lease is given."""

    begins_anew = True

    @override
    async def _lease(
        self, conversation: ConversationId, holder: str, ttl: timedelta, now: datetime
    ) -> Lease | None:
        lease = await super()._lease(conversation, holder, ttl, now)
        if self.begins_anew:
            self.begins_anew = False
            await self.delete(conversation)
            await self.append(conversation, [NewRecord(Message("user", "new"), 1)])
        return lease


async def test_what_was_begun_anew_is_cleared_with_a_backup() -> None:
    resource = Resource.model_validate({"resource": "memory", "id": "talk"})
    registry = Registry({"talk": Defined(resource=resource, file=Path("m.yaml"))})
    async with BegunAnew() as store:
        memories = Memories(registry, durable=store, scratch=store, project_id="p")
        memory = memories.open("talk", "k")
        await memory.append([Message("user", "old"), Message("user", "older")])
        cleared = await memory.clear(ClearConfig(confirm=True, backup=True))
        assert (cleared["messages_cleared"], cleared["backup_created"]) == (1, True)
        assert (await memory.read())["count"] == 0
