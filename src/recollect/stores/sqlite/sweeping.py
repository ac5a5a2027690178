"""Removing for good what nobody can see any more, a bounded number of rows at a time."""

from datetime import datetime

from recollect.stores.moments import to_micros
from recollect.stores.records import ConversationId, Swept
from recollect.stores.sqlite import keys
from recollect.stores.sqlite.connection import WritingConnection
from recollect.stores.sqlite.statements import SQL


def sweep(db: WritingConnection, at: datetime, limit: int) -> Swept:
    """Bury expired conversations, then empty graves and drop old keys while ``limit`` lasts."""
    db.save_heads()
    now, limit = to_micros(at), min(max(limit, 0), 2**62)
    conversations = _bury_expired(db, now, limit)
    records, old_keys = _empty_graves(db, limit - conversations)
    old_keys += keys.sweep(db, now, limit - conversations - records - old_keys)
    old_keys += keys.sweep_tombstones(db, now, limit - conversations - records - old_keys)
    return Swept(conversations, records, old_keys)


def _bury_expired(db: WritingConnection, now: int, limit: int) -> int:
    expired = db.execute(SQL["expired"], {"now": now, "limit": limit}).fetchall()
    for _, namespace, name in expired:
        db.forget_head(ConversationId(namespace, name))
    uids = [(uid,) for uid, _, _ in expired]
    db.executemany(SQL["delete_head"], uids)
    db.executemany(SQL["discard"], uids)
    return len(uids)


def _empty_graves(db: WritingConnection, limit: int) -> tuple[int, int]:
    """Return how many records and keys were removed."""
    records = old_keys = 0
    for (uid,) in db.execute(SQL["garbage"], (limit,)).fetchall():
        for statement in ("sweep_messages", "sweep_archive"):
            values = (uid, limit - records - old_keys)
            records += db.execute(SQL[statement], values).rowcount
        old_keys += db.execute(SQL["sweep_keys"], (uid, limit - records - old_keys)).rowcount
        if records + old_keys >= limit:
            break  # there may be more of it
        db.execute(SQL["remove_metadata"], (uid,))
        db.execute(SQL["forget_garbage"], (uid,))
    return records, old_keys
