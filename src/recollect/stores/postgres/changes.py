"""What a write does. Each function runs inside a transaction and writes nothing when it refuses."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from recollect.errors import VersionConflict
from recollect.stores.moments import to_micros
from recollect.stores.postgres import keys
from recollect.stores.postgres.failures import Again
from recollect.stores.postgres.rows import (
    HeadRow,
    address_of,
    deadline,
    hash_of,
    head_of,
    owner_hash_of,
    space_of,
)
from recollect.stores.postgres.session import Session
from recollect.stores.records import Change, ConversationId, Full, Head, Lease, Row, Written
from recollect.stores.tables import check, holds

# ---- the writes of the contract ------------------------------------------------------------------


async def append(session: Session, change: Change) -> Written | Full:
    """Add rows behind the live ones; for what one statement did not do."""
    now = to_micros(change.now)
    found, live = await _find(session, change.conversation, now)
    known = await keys.known(session, change, live, now)
    if known is not None:
        return keys.written_of(change.conversation, known)
    check(change, live, now)
    message_count, token_count = len(change.rows), change.tokens
    if live is not None:
        message_count += live.message_count
        token_count += live.token_count
    if change.limits.broken_by(message_count, token_count):
        return Full(live.head() if live else None)
    head = live or await _create(session, change, found, now)
    head.message_count, head.token_count = message_count, token_count
    first_seq = await _add_after(session, head, change.rows, now)
    head.expires_at = deadline(now, change.ttl)
    return await _save(session, head, change, now, first_seq)


async def replace(session: Session, change: Change) -> Written | Full:
    """Archive or drop what is live, then add rows."""
    now = to_micros(change.now)
    found, live = await _find(session, change.conversation, now)
    known = await keys.known(session, change, live, now)
    if known is not None:
        return keys.written_of(change.conversation, known)
    check(change, live, now)
    if change.limits.broken_by(len(change.rows), change.tokens):
        return Full(live.head() if live else None)
    head = live or await _create(session, change, found, now)
    removed = head.message_count
    if removed:
        await _remove_all(session, head, change.archive_as)
    head.message_count, head.token_count = len(change.rows), change.tokens
    first_seq = await _add_after(session, head, change.rows, now)
    head.expires_at = deadline(now, change.ttl)
    return await _save(session, head, change, now, first_seq, removed)


async def fold(session: Session, change: Change) -> Written | Full:
    """Archive or drop some live rows and put others in the first of their places."""
    now = to_micros(change.now)
    _, head = await _find(session, change.conversation, now)
    known = await keys.known(session, change, head, now)
    if known is not None:
        return keys.written_of(change.conversation, known)
    check(change, head, now)
    removed = len(change.remove)
    seqs = change.remove
    weight = await session.row("weigh_messages", uid=head.uid, seqs=seqs) if head else None
    if head is None or weight is None or weight["found"] != removed:
        raise VersionConflict("a message to be folded is not live any more: read again")
    message_count = head.message_count - removed + len(change.rows)
    token_count = head.token_count - weight["tokens"] + change.tokens
    if change.limits.broken_by(message_count, token_count):
        return Full(head.head())
    await _remove_some(session, head, change)
    head.message_count, head.token_count = message_count, token_count
    if change.archive_as is None:
        head.stored_bytes -= weight["bytes"]
    await _add(session, head, change.remove, change.rows, now)
    head.folded_at = max(now, head.updated_at)
    first_seq = change.remove[0] if change.rows else None
    return await _save(session, head, change, now, first_seq, removed)


async def annotate(session: Session, change: Change) -> Head | None:
    """Change a head and its metadata."""
    now = to_micros(change.now)
    _, head = await _find(session, change.conversation, now)
    known = await keys.known(session, change, head, now)
    if known is not None:
        return head_of(change.conversation, known["owner"], known["numbers"])
    check(change, head, now)
    if head is None:
        return None
    head.expires_at = deadline(now, change.ttl)
    await _save_head(session, head, change, now)
    await keys.remember(session, head, change, now)
    return head.head()


async def delete(session: Session, change: Change) -> bool:
    """Remove a conversation at once, and also one that has only expired.

    With a key it leaves an empty head at the address. An append in one statement, whose snapshot may
    be older than the record of this delete, would otherwise create the conversation under the same key.
    """
    now = to_micros(change.now)
    found, live = await _find(session, change.conversation, now)
    known = await keys.known(session, change, live, now)
    if known is not None:
        return bool(known["existed"])
    check(change, live, now)
    uid = found.uid if found else None
    if uid is not None:
        for table in ("all_messages", "archive", "metadata", "keys"):
            await session.run(f"remove_{table}", uid=uid)
    if change.key is not None:
        uid = uid or await _insert_head(session, change.conversation, ConversationId("", ""), now)
        await session.run("void_head", uid=uid)
        existed = live is not None
        await keys.remember_delete(session, change.conversation, change.key, now, existed=existed)
    elif uid is not None:
        await session.run("delete_head", uid=uid)
    return live is not None


async def lease(
    session: Session, conversation: ConversationId, holder: str, ttl: timedelta, at: datetime
) -> Lease | None:
    """Give the lease out, or renew it."""
    now = to_micros(at)
    _, head = await _find(session, conversation, now)
    if head is None:
        return None
    if not head.is_leased_at(now):
        head.fence += 1
    elif head.lease_holder != holder:
        return None
    until = at + ttl
    await session.run(
        "save_lease", uid=head.uid, fence=head.fence, holder=holder, until=to_micros(until)
    )
    return Lease(conversation, holder, head.uid, head.fence, until)


async def release(session: Session, held: Lease, at: datetime) -> bool:
    """End the lease; its fence stays behind, so that the next one gets another."""
    now = to_micros(at)
    _, head = await _find(session, held.conversation, now)
    if head is None or not holds(held, head, now):
        return False
    await session.run("save_lease", uid=head.uid, fence=head.fence, holder=None, until=None)
    return True


# ---- heads ---------------------------------------------------------------------------------------


async def _find(
    session: Session, conversation: ConversationId, now: int
) -> tuple[HeadRow | None, HeadRow | None]:
    """Lock the head; return it as it lies there, and the same unless it has expired."""
    row = await session.row("lock_head", address=address_of(conversation))
    if row is None:
        return None, None
    head = HeadRow(*row)
    return head, head if head.lives_at(now) else None


async def _create(session: Session, change: Change, expired: HeadRow | None, now: int) -> HeadRow:
    """Begin a generation; the rows of an expired one are left to sweep."""
    if expired is not None:
        await session.run("bury_head", uid=expired.uid)
    uid = await _insert_head(session, change.conversation, change.conversation, now)
    return HeadRow(
        uid, *change.conversation, None, 0, 0, 0, 0, 0, 1, 0, None, None, now, now, None, None
    )


async def _insert_head(
    session: Session, conversation: ConversationId, named: ConversationId, now: int
) -> int:
    """Take the address of a conversation, under a name; return the uid."""
    namespace, name = named
    row = await session.row(
        "create_head",
        address=address_of(conversation),
        space=space_of(namespace),
        namespace=namespace,
        name=name,
        now=now,
    )
    if row is None:
        raise Again
    return int(row["uid"])


async def _save(
    session: Session,
    head: HeadRow,
    change: Change,
    now: int,
    first_seq: int | None,
    removed: int = 0,
) -> Written:
    await _save_head(session, head, change, now)
    written = Written(head.head(), first_seq, removed)
    await keys.remember(session, head, change, now, written=written)
    return written


async def _save_head(session: Session, head: HeadRow, change: Change, now: int) -> None:
    head.owner = change.owner or head.owner
    head.version += 1
    head.updated_at = max(now, head.updated_at)
    await session.run(
        "save_head",
        uid=head.uid,
        owner=head.owner,
        owner_hash=owner_hash_of(head.owner),
        version=head.version,
        message_count=head.message_count,
        token_count=head.token_count,
        archived_count=head.archived_count,
        stored_bytes=head.stored_bytes,
        next_seq=head.next_seq,
        updated_at=head.updated_at,
        expires_at=head.expires_at,
        folded_at=head.folded_at,
    )
    kept = {name: text for name, text in change.metadata.items() if text is not None}
    gone = [name for name, text in change.metadata.items() if text is None]
    if gone:
        await session.run("unset_metadata", uid=head.uid, hashes=[hash_of(name) for name in gone])
    if kept:
        await session.run(
            "set_metadata",
            uid=head.uid,
            hashes=[hash_of(name) for name in kept],
            names=[name.encode() for name in kept],
            values=[text.encode() for text in kept.values()],
        )


# ---- messages ------------------------------------------------------------------------------------


async def _add_after(session: Session, head: HeadRow, rows: Sequence[Row], now: int) -> int | None:
    if not rows:
        return None
    first_seq = head.next_seq
    head.next_seq += len(rows)
    await _add(session, head, range(first_seq, head.next_seq), rows, now)
    return first_seq


async def _add(
    session: Session, head: HeadRow, seqs: Iterable[int], rows: Sequence[Row], now: int
) -> None:
    if not rows:
        return
    places = [seq for seq, _ in zip(seqs, rows, strict=False)]
    await session.run(
        "add_messages",
        uid=head.uid,
        now=now,
        seqs=places,
        tokens=[row.tokens for row in rows],
        data=[row.data for row in rows],
    )
    head.stored_bytes += sum(len(row.data) for row in rows)


async def _remove_some(session: Session, head: HeadRow, change: Change) -> None:
    seqs = change.remove
    if change.archive_as is not None:
        batch, place = change.archive_as.encode(), head.archived_count
        await session.run("archive_messages", uid=head.uid, seqs=seqs, batch=batch, place=place)
        head.archived_count += len(seqs)
    await session.run("remove_messages", uid=head.uid, seqs=seqs)


async def _remove_all(session: Session, head: HeadRow, archive_as: str | None) -> None:
    if archive_as is None:
        row = await session.row("weigh_all_messages", uid=head.uid)
        head.stored_bytes -= row["bytes"]
    else:
        batch, place = archive_as.encode(), head.archived_count
        await session.run("archive_all_messages", uid=head.uid, batch=batch, place=place)
        head.archived_count += head.message_count
    await session.run("remove_all_messages", uid=head.uid)
