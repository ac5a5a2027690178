"""Removing for good what nobody can see any more, a bounded number of rows at a time."""

import sqlite3
from datetime import datetime

from recollect.stores.records import Swept
from recollect.stores.sqlite import keys
from recollect.stores.sqlite.rows import to_micros
from recollect.stores.sqlite.statements import SQL


def sweep(db: sqlite3.Connection, at: datetime, limit: int) -> Swept:
    """Bury expired conversations, then empty graves and drop old keys while ``limit`` lasts."""
    now, limit = to_micros(at), min(max(limit, 0), 2**62)
    conversations = _bury_expired(db, now, limit)
    records, old_keys = _empty_graves(db, limit - conversations)
    old_keys += keys.sweep(db, now, limit - conversations - records - old_keys)
    old_keys += keys.sweep_tombstones(db, now, limit - conversations - records - old_keys)
    return Swept(conversations, records, old_keys)


def _bury_expired(db: sqlite3.Connection, now: int, limit: int) -> int:
    uids = db.execute(SQL["expired"], {"now": now, "limit": limit}).fetchall()
    db.executemany(SQL["delete_head"], uids)
    db.executemany(SQL["discard"], uids)
    return len(uids)


def _empty_graves(db: sqlite3.Connection, limit: int) -> tuple[int, int]:
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
