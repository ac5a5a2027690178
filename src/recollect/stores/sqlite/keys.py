"""The records of idempotency keys: inside their conversation, or as what a keyed delete leaves."""

import hashlib
import sqlite3
from datetime import timedelta
from typing import Literal, TypeVar

import msgspec

from recollect.errors import KeyReused
from recollect.stores.base import KEY_RETENTION
from recollect.stores.records import Change, ConversationId, Head, Written
from recollect.stores.sqlite.rows import HeadRow
from recollect.stores.sqlite.statements import SQL

T = TypeVar("T")

_RETENTION = KEY_RETENTION // timedelta(microseconds=1)
_TRIM_EVERY = 16  # versions
_encoder = msgspec.json.Encoder()


def known(
    db: sqlite3.Connection, change: Change, live: HeadRow | None, now: int, kind: type[T]
) -> T | None:
    """Return the first result of this change's key; None if it has no key or the key is new.

    Raises:
        KeyReused: the key came with another body.
    """
    if change.key is None:
        return None
    uid, name = live.uid if live else None, change.key.name
    values = (uid, name, now, _address_hash(change.conversation, name), now)
    row = db.execute(SQL["known"], values).fetchone()
    if row is None:
        return None
    body_hash, result = row[0], row[1]
    if body_hash != change.key.body_hash:
        raise KeyReused(change.key.name)
    return msgspec.json.decode(result, type=kind)


def known_write(
    db: sqlite3.Connection, change: Change, live: HeadRow | None, now: int
) -> Written | None:
    """Return the first result, marked as such."""
    written = known(db, change, live, now, Written)
    return None if written is None else msgspec.structs.replace(written, replayed=True)


def recall(db: sqlite3.Connection, live: HeadRow, name: str, now: int) -> Written | None:
    """Return what a write that stores messages did with this key."""
    row = db.execute(SQL["recall"], (live.uid, name, now)).fetchone()
    if row is None:
        return None
    written = msgspec.json.decode(row[0], type=Written)
    return msgspec.structs.replace(written, replayed=True)


def remember(
    db: sqlite3.Connection,
    head: HeadRow,
    change: Change,
    kind: Literal["written", "head"],
    result: Written | Head,
    now: int,
) -> None:
    """Record the result of a change under its key, if it has one; trim older records."""
    if change.key is None:
        return
    if head.version % _TRIM_EVERY == 0:
        sweep(db, now, 2 * _TRIM_EVERY)
    until = max(now + _RETENTION, head.expires_at or 0)
    first, last = _first_id(until), _first_id(until + 1000) - 1
    key, data = change.key, _encoder.encode(result)
    values = (first, head.uid, key.name, key.body_hash, kind, data, until, first, last)
    db.execute(SQL["remember_key"], values)


def remember_delete(db: sqlite3.Connection, change: Change, now: int, *, existed: bool) -> None:
    """Record a delete under its key, if it has one."""
    if change.key is not None:
        digest = _address_hash(change.conversation, change.key.name)
        result = _encoder.encode(existed)
        values = (digest, change.key.body_hash, result, now + _RETENTION)
        db.execute(SQL["remember_delete"], values)


def sweep(db: sqlite3.Connection, now: int, limit: int) -> int:
    """Remove records that are too old; return how many."""
    return db.execute(SQL["sweep_old_keys"], (_first_id(now + 1000), now, limit)).rowcount


def sweep_tombstones(db: sqlite3.Connection, now: int, limit: int) -> int:
    """Remove records of deletes that are too old; return how many."""
    return db.execute(SQL["sweep_tombstones"], (now, limit)).rowcount


def _first_id(deadline: int) -> int:
    """Return the first row id of that millisecond: the table lies in order of deadline.

    So it needs no index of deadlines, and a write touches one page less.
    """
    return deadline // 1000 << 20


def _address_hash(conversation: ConversationId, name: str) -> bytes:
    return hashlib.sha256("\0".join((*conversation, name)).encode()).digest()
