"""What a write does. Each function runs inside a transaction and writes nothing when it refuses."""

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from recollect.errors import VersionConflict
from recollect.stores.moments import to_micros
from recollect.stores.records import (
    Change,
    ConversationId,
    Full,
    Head,
    Lease,
    Row,
    Written,
)
from recollect.stores.sqlite import keys
from recollect.stores.sqlite.connection import WritingConnection
from recollect.stores.sqlite.rows import HeadRow
from recollect.stores.sqlite.statements import SQL
from recollect.stores.tables import check, holds

# ---- the writes of the contract ------------------------------------------------------------------


def append(db: WritingConnection, change: Change) -> Written | Full:
    """Add rows behind the live ones: one read and one update of the head, one insert a row."""
    now = to_micros(change.now)
    found, live = _find(db, change.conversation, now)
    known = keys.known_write(db, change, live, now)
    if known is not None:
        return known
    check(change, live, now)
    message_count, token_count = len(change.rows), change.tokens
    if live is not None:
        message_count += live.message_count
        token_count += live.token_count
    if change.limits.broken_by(message_count, token_count):
        return Full(live.head() if live else None)
    head = live or _create(db, change, found, now)
    head.message_count, head.token_count = message_count, token_count
    first_seq = _add_after(db, head, change.rows, now)
    _set_deadline(head, change, now)
    return _save(db, head, change, now, first_seq)


def replace(db: WritingConnection, change: Change) -> Written | Full:
    """Archive or drop what is live, then add rows."""
    now = to_micros(change.now)
    found, live = _find(db, change.conversation, now)
    known = keys.known_write(db, change, live, now)
    if known is not None:
        return known
    check(change, live, now)
    if change.limits.broken_by(len(change.rows), change.tokens):
        return Full(live.head() if live else None)
    head = live or _create(db, change, found, now)
    removed = head.message_count
    if removed:
        _remove_all(db, head, change.archive_as)
    head.message_count, head.token_count = len(change.rows), change.tokens
    first_seq = _add_after(db, head, change.rows, now)
    _set_deadline(head, change, now)
    return _save(db, head, change, now, first_seq, removed)


def fold(db: WritingConnection, change: Change) -> Written | Full:
    """Archive or drop some live rows and put others in the first of their places."""
    now = to_micros(change.now)
    _, head = _find(db, change.conversation, now)
    known = keys.known_write(db, change, head, now)
    if known is not None:
        return known
    check(change, head, now)
    weights = _weigh(db, head, change.remove) if head else []
    if head is None or len(weights) != len(change.remove):
        raise VersionConflict("a message to be folded is not live any more: read again")
    removed = len(change.remove)
    message_count = head.message_count - removed + len(change.rows)
    token_count = head.token_count - sum(tokens for tokens, _ in weights) + change.tokens
    if change.limits.broken_by(message_count, token_count):
        return Full(head.head())
    _remove_some(db, head, change)
    head.message_count, head.token_count = message_count, token_count
    if change.archive_as is None:
        head.stored_bytes -= sum(size for _, size in weights)
    _add(db, head, change.remove, change.rows, now)
    head.folded_at = max(now, head.updated_at)
    return _save(db, head, change, now, change.remove[0] if change.rows else None, removed)


def annotate(db: WritingConnection, change: Change) -> Head | None:
    """Change a head and its metadata."""
    now = to_micros(change.now)
    _, head = _find(db, change.conversation, now)
    known = keys.known(db, change, head, now, Head)
    if known is not None:
        return known
    check(change, head, now)
    if head is None:
        return None
    _set_deadline(head, change, now)
    result = _save_head(db, head, change, now)
    keys.remember(db, head, change, "head", result, now)
    return result


def delete(db: WritingConnection, change: Change) -> bool:
    """Remove a conversation at once, and also one that has only expired."""
    now = to_micros(change.now)
    found, live = _find(db, change.conversation, now)
    known = keys.known(db, change, live, now, bool)
    if known is not None:
        return known
    check(change, live, now)
    if found is not None:
        db.forget_head(change.conversation)
        db.execute(SQL["delete_head"], (found.uid,))
        _remove_rows(db, found.uid)
    keys.remember_delete(db, change, now, existed=live is not None)
    return live is not None


def lease(
    db: WritingConnection, conversation: ConversationId, holder: str, ttl: timedelta, at: datetime
) -> Lease | None:
    """Give the lease out, or renew it."""
    now = to_micros(at)
    _, head = _find(db, conversation, now)
    if head is None:
        return None
    if not head.is_leased_at(now):
        head.fence += 1
    elif head.lease_holder != holder:
        return None
    until = at + ttl
    _save_lease(db, head, holder, to_micros(until))
    return Lease(conversation, holder, head.uid, head.fence, until)


def release(db: WritingConnection, held: Lease, at: datetime) -> bool:
    """End the lease; its fence stays behind, so that the next one gets another."""
    now = to_micros(at)
    _, head = _find(db, held.conversation, now)
    if head is None or not holds(held, head, now):
        return False
    _save_lease(db, head, None, None)
    return True


# ---- heads ---------------------------------------------------------------------------------------


def _find(
    db: WritingConnection, conversation: ConversationId, now: int
) -> tuple[HeadRow | None, HeadRow | None]:
    """Return the head as it lies there, and the same unless it has expired."""
    head = db.head(conversation)
    if head is None:
        return None, None
    return head, head if head.lives_at(now) else None


def _create(db: WritingConnection, change: Change, expired: HeadRow | None, now: int) -> HeadRow:
    """Begin a generation; the rows of an expired one are left to sweep."""
    if expired is not None:
        db.forget_head(change.conversation)
        db.execute(SQL["delete_head"], (expired.uid,))
        db.execute(SQL["discard"], (expired.uid,))
    namespace, name = change.conversation
    db.execute(SQL["create_head"], (namespace, name, now, now))
    head = db.head(change.conversation)
    if head is None:
        raise sqlite3.IntegrityError("a head that was just created is not there")
    return head


def _save_lease(
    db: WritingConnection, head: HeadRow, holder: str | None, until: int | None
) -> None:
    head.lease_holder, head.lease_until = holder, until
    db.execute(SQL["save_lease"], (head.fence, holder, until, head.uid))


def _set_deadline(head: HeadRow, change: Change, now: int) -> None:
    if change.ttl is None:
        head.expires_at = None
    else:
        head.expires_at = now + change.ttl // timedelta(microseconds=1)


def _save(
    db: WritingConnection,
    head: HeadRow,
    change: Change,
    now: int,
    first_seq: int | None,
    removed: int = 0,
) -> Written:
    written = Written(_save_head(db, head, change, now), first_seq, removed)
    keys.remember(db, head, change, "written", written, now)
    return written


def _save_head(db: WritingConnection, head: HeadRow, change: Change, now: int) -> Head:
    head.owner = change.owner or head.owner
    head.version += 1
    head.updated_at = max(now, head.updated_at)
    db.change_head(change.conversation, head)
    for name, text in change.metadata.items():
        if text is None:
            db.execute(SQL["unset_metadata"], (head.uid, name))
        else:
            db.execute(SQL["set_metadata"], (head.uid, name, text))
    return head.head()


# ---- messages ------------------------------------------------------------------------------------


def _add_after(db: WritingConnection, head: HeadRow, rows: Sequence[Row], now: int) -> int | None:
    if not rows:
        return None
    first_seq = head.next_seq
    head.next_seq += len(rows)
    _add(db, head, range(first_seq, head.next_seq), rows, now)
    return first_seq


def _add(
    db: WritingConnection, head: HeadRow, seqs: Iterable[int], rows: Sequence[Row], now: int
) -> None:
    for seq, row in zip(seqs, rows, strict=False):
        db.execute(SQL["add_message"], (head.uid, seq, row.tokens, now, row.data))
        head.stored_bytes += len(row.data)


def _weigh(db: WritingConnection, head: HeadRow, seqs: tuple[int, ...]) -> list[tuple[int, int]]:
    """Return (tokens, bytes) of those messages that are live."""
    found = (db.execute(SQL["weigh_message"], (head.uid, seq)).fetchone() for seq in seqs)
    return [weight for weight in found if weight is not None]


def _remove_some(db: WritingConnection, head: HeadRow, change: Change) -> None:
    if change.archive_as is not None:
        places = enumerate(change.remove, head.archived_count)
        moves = [(place, change.archive_as, head.uid, seq) for place, seq in places]
        db.executemany(SQL["archive_message"], moves)
        head.archived_count += len(moves)
    db.executemany(SQL["remove_message"], [(head.uid, seq) for seq in change.remove])


def _remove_all(db: WritingConnection, head: HeadRow, archive_as: str | None) -> None:
    if archive_as is None:
        (size,) = db.execute(SQL["weigh_messages"], (head.uid,)).fetchone()
        head.stored_bytes -= size
    else:
        db.execute(SQL["archive_messages"], (head.archived_count, archive_as, head.uid))
        head.archived_count += head.message_count
    db.execute(SQL["remove_messages"], (head.uid,))


def _remove_rows(db: WritingConnection, uid: int) -> None:
    for statement in ("remove_messages", "remove_archive", "remove_metadata", "remove_keys"):
        db.execute(SQL[statement], (uid,))
