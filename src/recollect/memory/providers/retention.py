"""The limits of the in-memory provider (seed 004: max_conversations, max_messages)."""

import threading
from collections import OrderedDict
from collections.abc import Sequence

from recollect.errors import VersionConflict
from recollect.messages import Message, units
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, Head, Written
from recollect.telemetry import Telemetry


class Retention:
    """Drops what is beyond the limits after each write; works in any thread, on a store in memory.

    What is dropped is told as ``provider.conversations_evicted`` and ``provider.messages_evicted``,
    with a ``count``.

    Args:
        store: where.
        max_conversations: beyond it, those that were not used for longest are dropped; None: none.
        max_messages: beyond it, the oldest of a conversation are dropped; None: none.
        telemetry: hears of it.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_conversations: int | None = None,
        max_messages: int | None = None,
        telemetry: Telemetry,
    ) -> None:
        self._store = store
        self._max_conversations = max_conversations
        self._max_messages = max_messages
        self._telemetry = telemetry
        self._versions: OrderedDict[ConversationId, int] = OrderedDict()  # last used is last
        self._lock = threading.Lock()

    def read(self, address: ConversationId) -> None:
        """Take note that a conversation was used."""
        with self._lock:
            if address in self._versions:
                self._versions.move_to_end(address)

    def deleted(self, address: ConversationId) -> None:
        """Take note that a conversation is gone."""
        with self._lock:
            self._versions.pop(address, None)

    async def wrote(self, written: Written) -> None:
        """Take note of a write, and drop what has to go now."""
        if not written.replayed:
            await self.used(written.head)

    async def used(self, head: Head) -> None:
        """Take note of a conversation that was changed, and drop what has to go now."""
        if self._max_messages is not None and head.message_count > self._max_messages:
            head = await self._trim(head, self._max_messages)
        if self._max_conversations is None:
            return
        evicted = 0
        for address, version in self._surplus(head, self._max_conversations):
            evicted += await self._evict(address, version)
        if evicted:
            self._telemetry.emit("provider.conversations_evicted", count=evicted)

    def _surplus(self, head: Head, most: int) -> list[tuple[ConversationId, int]]:
        with self._lock:
            self._versions[head.conversation] = head.version
            self._versions.move_to_end(head.conversation)
            surplus = max(len(self._versions) - most, 0)
            return [self._versions.popitem(last=False) for _ in range(surplus)]

    async def _evict(self, address: ConversationId, version: int) -> bool:
        while True:
            try:
                return await self._store.delete(address, expect_version=version)
            except VersionConflict:
                found = await self._store.load(address, last=0)
                if found is None or address in self._versions:  # used meanwhile: it may stay
                    return False
                version = found.head.version

    async def _trim(self, head: Head, most: int) -> Head:
        """Drop the oldest messages beyond the limit; return the head after it."""
        while head.message_count > most:
            seqs = await self._oldest(head, most)
            if not seqs:
                break
            try:
                folded = await self._store.fold(head.conversation, seqs)
            except VersionConflict:  # another thread was faster
                found = await self._store.load(head.conversation, last=0)
                if found is None:
                    break
                head = found.head
                continue
            if isinstance(folded, Written):
                head = folded.head
            self._telemetry.emit("provider.messages_evicted", count=len(seqs))
        return head

    async def _oldest(self, head: Head, most: int) -> list[int]:
        """Return the seqs of what has to go; looks at no more than that where it can."""
        count = head.message_count - most
        found = await self._store.load(head.conversation, limit=count)
        if found is None or not all(map(is_alone, found.messages)):
            found = await self._store.load(head.conversation)
        if found is None:
            return []
        if len(found.records) == count:
            return [record.seq for record in found.records]
        return [found.records[position].seq for position in surplus(found.messages, most)]


def surplus(messages: Sequence[Message], most: int) -> list[int]:
    """Return the positions of the oldest messages without which at most ``most`` are left.

    Units go whole. The newest unit and open ones stay, even if they alone are more than ``most``.
    """
    left = len(messages)
    if left <= most:
        return []
    gone: list[int] = []
    *older, _ = units(messages)
    for unit in older:
        if left <= most:
            break
        if not unit.open:
            gone += unit.positions
            left -= len(unit.positions)
    return sorted(gone)


def is_alone(message: Message) -> bool:
    """Tell whether the message is a unit of its own, whatever stands around it."""
    return message.role != "tool" and not message.tool_calls
