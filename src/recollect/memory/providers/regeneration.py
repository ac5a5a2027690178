"""Going back in a conversation to have something said anew."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from recollect.errors import StoreError, VersionConflict
from recollect.frozen import freeze
from recollect.memory.providers.types import ConversationMemory, checked_metadata
from recollect.stores.base import Store
from recollect.stores.records import Conversation, ConversationId, Head

T = TypeVar("T")

_ATTEMPTS = 200
_LONGEST_PAUSE = 0.02  # seconds
_log = logging.getLogger(__name__)


class Cut(NamedTuple):
    """How many messages went, and the head after it."""

    removed: int
    head: Head


async def truncate(
    store: Store, address: ConversationId, message_id: str, ttl: timedelta | None
) -> Cut | None:
    """Remove that message and all after it; None if there is no such conversation.

    What is appended while this goes on stays. The note in the metadata is a second step; when it
    fails, the cut has taken place all the same.
    """

    async def attempt() -> Cut | None:
        found = await store.load(address)
        if found is None:
            return None
        at = _position(found, message_id)
        if at is None:
            return Cut(0, found.head)
        seqs = [record.seq for record in found.records[at:]]
        await store.fold(address, seqs)
        return Cut(len(seqs), found.head)

    cut = await _persistently(attempt)
    if cut is None or not cut.removed:
        return cut
    now = store.clock.now()
    note = {
        "regeneration_truncated": True,
        "truncated_at": now.isoformat(),
        "messages_removed": cut.removed,
    }
    try:
        head = await store.annotate(address, note, ttl=_lifetime(cut.head, now, ttl))
    except StoreError as error:  # what was asked for is done
        _log.warning("a cut took place, but could not be noted in the metadata: %s", error)
        return cut
    return cut._replace(head=head or cut.head)


def until(conversation: ConversationMemory, message_id: str) -> ConversationMemory | None:
    """Return a copy without that message and all after it; None without such a message."""
    ids = [message.message_id for message in conversation.messages]
    if message_id not in ids:
        return None
    at = ids.index(message_id)
    note = {
        "truncated_for_regeneration": True,
        "truncated_until_message": message_id,
        "original_message_count": len(ids),
        "truncated_message_count": at,
    }
    return replace(
        conversation,
        messages=conversation.messages[:at],
        metadata={**conversation.metadata, **note},
    )


def point(message_id: str, metadata: Mapping[str, Any], now: datetime) -> Mapping[str, Any]:
    """Return what is kept of a regeneration.

    Raises:
        InvalidInput: the metadata are no JSON.
    """
    frozen: Mapping[str, Any] = freeze(checked_metadata(metadata), "regeneration_metadata")
    return {"message_id": message_id, "timestamp": now.isoformat(), **frozen}


async def mark(
    store: Store, address: ConversationId, point: Mapping[str, Any], ttl: timedelta | None
) -> Head | None:
    """Add a point to those in the metadata; None if there is no such conversation."""

    async def attempt() -> Head | None:
        found = await store.load(address, last=0)
        if found is None:
            return None
        points = found.decoded_metadata().get("regeneration_points")
        points = [*(points if isinstance(points, list) else ()), point]
        note = {
            "regeneration_points": points,
            "last_regeneration": point["timestamp"],
            "regeneration_count": len(points),
        }
        lifetime = _lifetime(found.head, store.clock.now(), ttl)
        version = found.head.version
        return await store.annotate(address, note, ttl=lifetime, expect_version=version)

    return await _persistently(attempt)


async def _persistently(attempt: Callable[[], Awaitable[T]]) -> T:
    """Repeat what others were faster than."""
    for number in range(_ATTEMPTS):
        try:
            return await attempt()
        except VersionConflict:
            await asyncio.sleep(random.uniform(0, min(0.001 * number, _LONGEST_PAUSE)))  # noqa: S311
    return await attempt()


def _position(found: Conversation, message_id: str) -> int | None:
    ids = [message.message_id for message in found.messages]
    return ids.index(message_id) if message_id in ids else None


def _lifetime(head: Head, now: datetime, ttl: timedelta | None) -> timedelta | None:
    """Return the provider's ttl; without one, what is left of the one this conversation was given."""
    if ttl is not None or head.expires_at is None:
        return ttl
    return head.expires_at - now if head.expires_at > now else None
