"""How values are kept in rows: times, addresses, and the head of a conversation."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from recollect.stores.moments import to_moment
from recollect.stores.records import ConversationId, Head
from recollect.stores.tables import StoredHead


def deadline(now: int, ttl: timedelta | None) -> int | None:
    """Return now + ttl, None without a ttl."""
    return None if ttl is None else now + ttl // timedelta(microseconds=1)


def hash_of(*names: str) -> bytes:
    """Return what stands for names in an index; if they are several, none holds a NUL."""
    return hashlib.sha256("\0".join(names).encode()).digest()


@lru_cache(maxsize=4096)  # a conversation is written to many times
def address_of(conversation: ConversationId) -> bytes:
    """Return what stands for a conversation."""
    return hash_of(*conversation)


@lru_cache(maxsize=4096)
def space_of(namespace: str) -> bytes:
    """Return what stands for a namespace."""
    return hash_of(namespace)


@lru_cache(maxsize=4096)
def owner_hash_of(owner: str | None) -> bytes | None:
    """Return what stands for an owner."""
    return None if owner is None else hash_of(owner)


def head_of(conversation: ConversationId, owner: str | None, numbers: Sequence[Any]) -> Head:
    """Return the head whose numbers these are, in the order the statements give them."""
    uid, version, messages, tokens, archived, next_seq, fence, created, updated, expires, folded = (
        numbers
    )
    return Head(
        conversation,
        owner,
        uid,
        version,
        messages,
        tokens,
        archived,
        next_seq,
        fence,
        to_moment(created),
        to_moment(updated),
        None if expires is None else to_moment(expires),
        None if folded is None else to_moment(folded),
    )


class HeadRow(StoredHead):
    """A row of the table of heads."""

    def numbers(self) -> list[int | None]:
        """Return what ``head_of`` takes."""
        return [
            self.uid,
            self.version,
            self.message_count,
            self.token_count,
            self.archived_count,
            self.next_seq,
            self.fence,
            self.created_at,
            self.updated_at,
            self.expires_at,
            self.folded_at,
        ]
