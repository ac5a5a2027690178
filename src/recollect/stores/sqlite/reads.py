"""What a read does. Each function runs inside a read transaction, so all it sees is of one moment."""

import sqlite3
from collections.abc import Sequence
from datetime import datetime

from recollect.stores.cursors import write_cursor
from recollect.stores.decoding import decode_rows
from recollect.stores.moments import to_micros, to_moment
from recollect.stores.records import (
    Conversation,
    ConversationId,
    Page,
    Search,
    Slice,
    Totals,
    Written,
)
from recollect.stores.sqlite import keys
from recollect.stores.sqlite.database import Database
from recollect.stores.sqlite.rows import HeadRow
from recollect.stores.sqlite.statements import SQL
from recollect.stores.tables import MOST, place_of


def load(
    db: sqlite3.Connection, conversation: ConversationId, part: Slice, at: datetime
) -> Conversation | None:
    """Read head, slice and metadata."""
    head = _live_head(db, conversation, to_micros(at))
    if head is None:
        return None
    rows = _live(db, head, part) if part.source == "live" else _archived(db, head, part)
    records, damaged = decode_rows(rows)
    metadata = dict(db.execute(SQL["metadata"], (head.uid,)).fetchall())
    return Conversation(head.head(), records, metadata, damaged)


def load_many(
    db: sqlite3.Connection, conversations: Sequence[ConversationId], part: Slice, at: datetime
) -> list[Conversation | None]:
    """Read several."""
    return [load(db, conversation, part, at) for conversation in conversations]


def recall(
    db: sqlite3.Connection, conversation: ConversationId, key: str, at: datetime
) -> Written | None:
    """Return the recorded result of a key."""
    now = to_micros(at)
    head = _live_head(db, conversation, now)
    return keys.recall(db, head, key, now) if head else None


def find(db: sqlite3.Connection, search: Search) -> Page:
    """Read one page of heads, and one head more to know whether another page follows."""
    values = {
        "namespace": search.namespace,
        "owner": search.owner,
        "now": to_micros(search.now),
        "since": -MOST if search.since is None else to_micros(search.since),
        "until": MOST if search.until is None else to_micros(search.until),
        "prefix": search.prefix or "",
        "limit": search.limit + 1,
    }
    at, uid = place_of(search)
    values |= {"at": at, "uid": uid}
    statement = f"find_{search.order}" + ("" if search.owner is None else "_of_owner")
    rows = [HeadRow(*row) for row in db.execute(SQL[statement], values)]
    page = rows[: search.limit]
    cursor = (
        write_cursor(search, page[-1].updated_at, page[-1].uid)
        if len(rows) > search.limit
        else None
    )
    return Page(tuple(row.head() for row in page), cursor)


def measure(db: sqlite3.Connection, namespace: str, owner: str | None, at: datetime) -> Totals:
    """Sum up heads."""
    values = {"namespace": namespace, "owner": owner, "now": to_micros(at)}
    row = db.execute(SQL["measure"], values).fetchone()
    conversations, messages, tokens, archived, stored_bytes, oldest, newest = row
    if oldest is None:
        return Totals()
    return Totals(
        conversations,
        messages,
        tokens,
        archived,
        stored_bytes,
        to_moment(oldest),
        to_moment(newest),
    )


def ping(db: sqlite3.Connection, database: Database) -> int:
    """Read from the file, and see that the path still leads to it; return the bytes it takes."""
    db.execute(SQL["ping"]).fetchone()
    database.check_in_place()
    return database.size()


def _live_head(db: sqlite3.Connection, conversation: ConversationId, now: int) -> HeadRow | None:
    row = db.execute(SQL["head"], conversation).fetchone()
    head = None if row is None else HeadRow(*row)
    return head if head is not None and head.lives_at(now) else None


# ---- slices --------------------------------------------------------------------------------------

_Rows = Sequence[tuple[int, int, int, bytes, str | None]]


def _live(db: sqlite3.Connection, head: HeadRow, part: Slice) -> _Rows:
    if part.batch is not None:  # only archived messages have one
        return []
    if part.last is not None:
        return db.execute(SQL["last_live"], (head.uid, part.last)).fetchall()[::-1]
    return db.execute(
        SQL["live"], (head.uid, part.after or 0, _limit(part), part.offset)
    ).fetchall()


def _archived(db: sqlite3.Connection, head: HeadRow, part: Slice) -> _Rows:
    values = {"uid": head.uid, "batch": part.batch}
    if part.last is not None:
        return db.execute(SQL["last_archived"], values | {"limit": part.last}).fetchall()[::-1]
    values |= {"after": part.after or 0, "limit": _limit(part), "offset": part.offset}
    return db.execute(SQL["archived"], values).fetchall()


def _limit(part: Slice) -> int:
    return -1 if part.limit is None else part.limit
