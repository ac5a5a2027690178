"""A provider as a run uses it, in whichever habit it was written (seed 004).

The habits are plain values and exceptions, or ``Success`` and ``Failure``; and to create a missing
conversation on append, or to answer that it is missing. Providers of ours are given the time to live
and an idempotency key besides, and read a long conversation's end alone.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from weakref import WeakValueDictionary

from recollect.errors import MemoryNotFoundError, MemoryStorageError
from recollect.memory.providers.provider import StoreProvider
from recollect.memory.providers.types import ConversationMemory, Failure, MemoryConfig, Success
from recollect.messages import Message

_locks: WeakValueDictionary[tuple[int, int, str], asyncio.Lock] = WeakValueDictionary()


class Keeper:
    """The provider of a run, for one conversation. Raises whatever the provider raises or answers."""

    def __init__(self, memory: MemoryConfig, conversation_id: str) -> None:
        self._provider = memory.provider
        self._ttl = memory.ttl
        self._id = conversation_id

    @property
    def name(self) -> str:
        """How errors call it."""
        return type(self._provider).__name__

    @property
    def keeps_ttl(self) -> bool:
        """Tell whether the time to live that was asked for is kept."""
        return self._ttl is None or isinstance(self._provider, StoreProvider)

    async def read(self) -> ConversationMemory | None:
        """Return the conversation; None if there is none."""
        answer = await self._provider.get_conversation(self._id)
        found: ConversationMemory | None = self._plain(answer, "get_conversation")
        return found

    async def read_recent(self, count: int) -> tuple[ConversationMemory | None, bool]:
        """Return the newest messages, or all of them, and whether these are all."""
        if not isinstance(self._provider, StoreProvider):
            return await self.read(), True
        found = await self._provider.get_conversation(self._id, last=count)
        return found, found is None or len(found.messages) == found.metadata["total_messages"]

    async def append(
        self,
        messages: list[Message],
        metadata: dict[str, Any],
        *,
        run_id: str,
        may_create: bool,
    ) -> None:
        """Add messages behind the existing ones, in one call.

        With ``may_create``, a conversation that the provider says is missing is created by
        ``store_messages``; of several runs of this process, by one of them.
        """
        try:
            await self._append(messages, metadata, run_id)
        except MemoryNotFoundError:
            if not may_create:
                raise
            async with self._lock():
                try:
                    await self._append(messages, metadata, run_id)
                except MemoryNotFoundError:
                    answer = await self._provider.store_messages(self._id, messages, metadata)
                    self._check(answer, "store_messages")

    async def _append(self, messages: list[Message], metadata: dict[str, Any], run_id: str) -> None:
        if isinstance(self._provider, StoreProvider):
            answer: Any = await self._provider.append_messages(
                self._id,
                messages,
                metadata,
                ttl=None if self._ttl is None else timedelta(seconds=self._ttl),
                key=_key(run_id, messages),
            )
        else:
            answer = await self._provider.append_messages(self._id, messages, metadata)
        self._check(answer, "append_messages")

    def _lock(self) -> asyncio.Lock:
        """Return the lock of the conversation, which lives as long as somebody holds or awaits it."""
        key = (id(asyncio.get_running_loop()), id(self._provider), self._id)
        return _locks.setdefault(key, asyncio.Lock())

    def _plain(self, answer: Any, operation: str) -> Any:
        if isinstance(answer, Success):
            return answer.data
        if not isinstance(answer, Failure):
            return answer
        if isinstance(answer.error, Exception):
            raise answer.error
        raise MemoryStorageError(str(answer.error), self.name, operation)

    def _check(self, answer: Any, operation: str) -> None:
        """Take nothing, or any value but False, for a success."""
        self._plain(answer, operation)
        if answer is False:
            raise MemoryStorageError(f"{operation} answered False", self.name, operation)


def _key(run_id: str, messages: Sequence[Message]) -> str:
    """Return the same key for the same messages of the same run, so that a driver may repeat them."""
    names = "\0".join([run_id, *(message.message_id for message in messages)])
    return f"run-{hashlib.sha256(names.encode(errors='surrogatepass')).hexdigest()[:40]}"
