"""How values are kept in rows: times, addresses, and the head of a conversation."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec

from recollect.stores.records import ConversationId, Head

EPOCH = datetime.fromtimestamp(0, UTC)


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    since = moment - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def to_moment(micros: int) -> datetime:
    """Return the aware UTC time."""
    return EPOCH + timedelta(0, 0, micros)


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


class HeadRow(msgspec.Struct):
    """A row of the table of heads; changed in place, then saved."""

    uid: int
    namespace: str
    name: str
    owner: str | None
    version: int
    message_count: int
    token_count: int
    archived_count: int
    stored_bytes: int
    next_seq: int
    fence: int
    lease_holder: str | None
    lease_until: int | None
    created_at: int
    updated_at: int
    expires_at: int | None
    folded_at: int | None

    def lives_at(self, now: int) -> bool:
        """Tell whether the deadline has not come."""
        return self.expires_at is None or now < self.expires_at

    def is_leased_at(self, now: int) -> bool:
        """Tell whether somebody holds the lease."""
        return self.lease_until is not None and now < self.lease_until

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

    def head(self) -> Head:
        """The head as callers see it."""
        return head_of(ConversationId(self.namespace, self.name), self.owner, self.numbers())
