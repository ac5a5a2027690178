"""Writes of a provider that take more than one call of its store."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta

from recollect.errors import KeyReused, StoreError, VersionConflict
from recollect.memory.providers.metadata import Given
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, Full, Head, NewRecord, Written

_DELETED_TOGETHER = 50
_SWEEP_EVERY = 100  # writes


class Sweeping:
    """Lets every hundredth write with a ttl remove some of what has expired, for good."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._writes = 0

    async def wrote(self) -> None:
        """Take note of a write with a ttl."""
        self._writes += 1
        if self._writes % _SWEEP_EVERY == 0:
            with contextlib.suppress(StoreError):  # what was asked for is done
                await self._store.sweep()


async def create(
    store: Store,
    address: ConversationId,
    records: Sequence[NewRecord],
    given: Given,
    ttl: timedelta | None,
    key: str | None,
) -> Written | Full | None:
    """Create a conversation with the time of creation that was given; None if it is there already."""
    try:
        return await store.replace(
            address,
            records,
            metadata={**given.stored, "created_at": given.created_at},
            owner=given.user_id,
            ttl=ttl,
            expect_version=0,
            key=key,
        )
    except (VersionConflict, KeyReused):  # that key may have been used when it was there already
        return None


async def clear_user(
    store: Store, namespace: str, user_id: str, on_deleted: Callable[[ConversationId], None]
) -> int:
    """Delete all conversations of that user and of nobody else; return how many there were."""
    count, cursor = 0, None
    while True:
        page = await store.find(
            namespace, owner=user_id, order="created", cursor=cursor, limit=_DELETED_TOGETHER
        )
        deleting = (_delete_of(store, user_id, head) for head in page.heads)
        done = await asyncio.gather(*deleting, return_exceptions=True)
        for head, existed in zip(page.heads, done, strict=True):
            if isinstance(existed, BaseException):
                raise existed
            if existed:
                on_deleted(head.conversation)
                count += 1
        cursor = page.cursor
        if cursor is None:
            return count


async def _delete_of(store: Store, user_id: str, head: Head) -> bool:
    """Delete a conversation unless it has passed to another user meanwhile."""
    while head.owner == user_id:
        try:
            return await store.delete(head.conversation, expect_version=head.version)
        except VersionConflict:
            found = await store.load(head.conversation, last=0)
            if found is None:
                return False
            head = found.head
    return False
