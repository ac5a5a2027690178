"""What a read does: one statement each, so all it sees is of one moment."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from recollect.stores.cursors import write_cursor
from recollect.stores.decoding import decode_rows
from recollect.stores.moments import to_micros, to_moment
from recollect.stores.postgres.rows import address_of, hash_of, head_of, owner_hash_of, space_of
from recollect.stores.postgres.session import Session
from recollect.stores.records import (
    Conversation,
    ConversationId,
    Page,
    Search,
    Slice,
    StoreInfo,
    Totals,
)
from recollect.stores.tables import MOST, place_of


async def load_many(
    session: Session, conversations: Sequence[ConversationId], part: Slice, at: datetime
) -> list[Conversation | None]:
    """Read heads, slices and metadata."""
    addresses = [address_of(conversation) for conversation in conversations]
    rows = await session.rows(f"load_many_{_slice(part)}", addresses=addresses, **_asked(part, at))
    heads = {row["address"]: row for row in rows if row["address"] is not None}
    slices: dict[int, list[Any]] = {row["uid"]: [] for row in heads.values()}
    for row in rows[len(heads) :]:
        slices[row["uid"]].append(row)
    return [
        _conversation(conversation, heads[address], slices[heads[address]["uid"]], part)
        if address in heads
        else None
        for conversation, address in zip(conversations, addresses, strict=True)
    ]


async def load(
    session: Session, conversation: ConversationId, part: Slice, at: datetime
) -> Conversation | None:
    """Read head, slice and metadata of one conversation."""
    address = address_of(conversation)
    rows = await session.rows(f"load_{_slice(part)}", address=address, **_asked(part, at))
    return _conversation(conversation, rows[0], rows[1:], part) if rows else None


def _slice(part: Slice) -> str:
    name = "archived" if part.source == "archive" else "live"
    return name if part.last is None else f"last_{name}"


def _asked(part: Slice, at: datetime) -> dict[str, Any]:
    return {
        "now": to_micros(at),
        "after": part.after or 0,
        "offset": part.offset,
        "limit": _limit(part),
        "batch": None if part.batch is None else part.batch.encode(),
    }


def _conversation(
    conversation: ConversationId, head: Any, rows: Sequence[Any], part: Slice
) -> Conversation:
    """Make a conversation of rows that begin with seq, tokens, stored_at, data and batch."""
    if part.last is not None:  # the last comes first
        rows = rows[::-1]
    if part.source == "archive":
        rows = [(*row[:4], row[4].decode()) for row in rows]
    records, damaged = decode_rows(rows)
    owner, numbers, names, values = head[5:9]
    texts = zip(names, values, strict=True)
    metadata = {name.decode(): value.decode() for name, value in texts}
    return Conversation(head_of(conversation, owner, numbers), records, metadata, damaged)


def _limit(part: Slice) -> int | None:
    if part.batch is not None and part.source == "live":  # only archived messages have one
        return 0
    limit = part.limit if part.last is None else part.last
    return None if limit is None else min(limit, MOST)


async def find(session: Session, search: Search) -> Page:
    """Read one page of heads, and one head more to know whether another page follows."""
    at, uid = place_of(search)
    rows = await session.rows(
        f"find_{search.order}" + ("" if search.owner is None else "_of_owner"),
        space=space_of(search.namespace),
        owner_hash=owner_hash_of(search.owner),
        now=to_micros(search.now),
        since=-MOST if search.since is None else to_micros(search.since),
        until=MOST if search.until is None else to_micros(search.until),
        prefix=search.prefix or "",
        at=at,
        uid=uid,
        limit=search.limit + 1,
    )
    page = rows[: search.limit]
    cursor = (
        write_cursor(search, page[-1]["updated_at"], page[-1]["uid"])
        if len(rows) > search.limit
        else None
    )
    heads = (
        head_of(ConversationId(row["namespace"], row["name"]), row["owner"], row["numbers"])
        for row in page
    )
    return Page(tuple(heads), cursor)


async def measure(session: Session, namespace: str, owner: str | None, at: datetime) -> Totals:
    """Sum up heads."""
    owner_hash = None if owner is None else hash_of(owner)
    row = await session.row(
        "measure", space=space_of(namespace), owner_hash=owner_hash, now=to_micros(at)
    )
    if row["oldest"] is None:
        return Totals()
    times = {name: to_moment(row[name]) for name in ("oldest", "newest")}
    return Totals(**{**row, **times})


async def ping(session: Session, where: str) -> StoreInfo:
    """Read from the tables, and ask how durable the server is."""
    row = await session.row("ping", tables=session.table_names)
    if row["fsync"] == "off":
        durability = "a crash of the server's machine may take or spoil it: fsync is off"
    elif row["commits"] == "off":
        durability = "a crash of the server may take the last moments: synchronous_commit is off"
    else:
        durability = "survives a crash of the server and its machine: synced at every commit"
    return StoreInfo(
        "postgres", where, durable=True, durability=durability, used_bytes=row["used_bytes"]
    )
