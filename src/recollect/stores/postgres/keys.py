"""The records of idempotency keys: inside their conversation, or as what a keyed delete leaves."""

from datetime import timedelta
from typing import Any

from recollect.errors import KeyReused
from recollect.stores.base import KEY_RETENTION
from recollect.stores.postgres.rows import HeadRow, hash_of, head_of
from recollect.stores.postgres.session import Session
from recollect.stores.records import Change, ConversationId, Key, Written

RETENTION = KEY_RETENTION // timedelta(microseconds=1)


def deleted_hash(conversation: ConversationId, key: str) -> bytes:
    """Return what stands for a key in what deletes leave behind."""
    return hash_of(*conversation, key)


async def known(session: Session, change: Change, live: HeadRow | None, now: int) -> Any:
    """Return the record of this change's key; None if it has no key or the key is new.

    Raises:
        KeyReused: the key came with another body.
    """
    if change.key is None:
        return None
    row = None
    if live is not None:
        row = await session.row("known", uid=live.uid, key_hash=hash_of(change.key.name), now=now)
    if row is None:
        row = await known_delete(session, change, change.key, now)
    if row is not None and row["body_hash"] != change.key.body_hash:
        raise KeyReused(change.key.name)
    return row


async def known_delete(session: Session, change: Change, key: Key, now: int) -> Any:
    """Return what a delete with this key left."""
    digest = deleted_hash(change.conversation, key.name)
    return await session.row("known_delete", deleted_hash=digest, now=now)


def written_of(conversation: ConversationId, row: Any) -> Written:
    """Return the recorded result of a write that stores messages, marked as such."""
    head = head_of(conversation, row["owner"], row["numbers"])
    return Written(head, row["first_seq"], row["removed"], replayed=True)


async def recall(
    session: Session, conversation: ConversationId, address: bytes, key: str, now: int
) -> Written | None:
    """Return what a write that stores messages did with this key."""
    row = await session.row("recall", address=address, key_hash=hash_of(key), now=now)
    return None if row is None else written_of(conversation, row)


async def remember(
    session: Session,
    head: HeadRow,
    change: Change,
    now: int,
    *,
    written: Written | None = None,
) -> None:
    """Record the result of a change under its key, if it has one; without ``written``, the head."""
    if change.key is None:
        return
    await session.run(
        "remember",
        uid=head.uid,
        key_hash=hash_of(change.key.name),
        body_hash=change.key.body_hash,
        until=max(now + RETENTION, head.expires_at or 0),
        stores=written is not None,
        first_seq=None if written is None else written.first_seq,
        removed=0 if written is None else written.removed,
        numbers=head.numbers(),
        owner=head.owner,
    )


async def remember_delete(
    session: Session, conversation: ConversationId, key: Key, now: int, *, existed: bool
) -> None:
    """Record a delete under its key."""
    await session.run(
        "remember_delete",
        deleted_hash=deleted_hash(conversation, key.name),
        body_hash=key.body_hash,
        existed=existed,
        until=now + RETENTION,
    )
