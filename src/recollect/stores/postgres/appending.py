"""The append in one statement: alone, or several that waited for the same conversation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from recollect.stores.moments import to_micros
from recollect.stores.postgres import keys
from recollect.stores.postgres.rows import (
    address_of,
    deadline,
    hash_of,
    head_of,
    owner_hash_of,
    space_of,
)
from recollect.stores.postgres.session import Session
from recollect.stores.postgres.statements import append_name
from recollect.stores.records import Change, Limits, Written

_MOST = 2**63 - 1
_MOST_ROWS = 1000  # in a shared statement
_MOST_BYTES = 4 * 1024 * 1024


async def append_at_once(session: Session, change: Change, *, seen: bool = False) -> Written | None:
    """Append in one statement; ``seen`` says that the conversation was there before.

    Returns:
        None, and nothing was stored, if it takes more than that: a limit would be broken, the key is
        known or was, the conversation has expired, or somebody else was faster.
    """
    now = to_micros(change.now)
    rows, count = change.rows, len(change.rows)
    values = _head_values(change, change.limits) | {
        "count": count,
        "tokens": change.tokens,
        "bytes": sum([len(row.data) for row in rows]),
        "now": now,
        "expires_at": deadline(now, change.ttl),
    }
    if count == 1:
        values["data"] = rows[0].data
    else:
        values["all_tokens"] = [row.tokens for row in rows]
        values["all_data"] = [row.data for row in rows]
    if change.metadata:
        values |= _metadata_values(change)
    if change.key is not None:
        values["key_hash"] = hash_of(change.key.name)
        values["body_hash"] = change.key.body_hash
        values["key_until"] = now + keys.RETENTION
        values["deleted_hash"] = keys.deleted_hash(change.conversation, change.key.name)
    name = append_name(
        many=count != 1,
        with_key=change.key is not None,
        with_metadata=bool(change.metadata),
        seen=seen,
    )
    row = await session.write_at_once(name, values)
    if row is None:
        return None
    head = head_of(change.conversation, row[1], row[0])
    return Written(head, head.next_seq - count if count else None)


async def append_together(session: Session, changes: Sequence[Change]) -> list[Written] | None:
    """Append what several writes bring, in one statement; all or, with None, nothing."""
    first, final = changes[0], changes[-1]
    rows = [row for change in changes for row in change.rows]
    moments = [to_micros(change.now) for change in changes]
    values = _head_values(first, first.limits) | {
        "writes": len(changes),
        "count": len(rows),
        "tokens": sum(row.tokens for row in rows),
        "bytes": sum(len(row.data) for row in rows),
        "last": max(moments),
        "expires_at": deadline(moments[-1], final.ttl),
        "all_tokens": [row.tokens for row in rows],
        "all_stored_at": [
            now for change, now in zip(changes, moments, strict=True) for _ in change.rows
        ],
        "all_data": [row.data for row in rows],
    }
    row = await session.write_at_once("append_together", values)
    return None if row is None else _results(changes, moments, *row)


def _results(
    changes: Sequence[Change],
    moments: Sequence[int],
    numbers: Sequence[Any],
    owner: str | None,
    updated_at: int,
) -> list[Written]:
    """Return what each write would have been told, had it gone alone."""
    uid, version, messages, tokens, archived, next_seq, fence, created, _, _, folded = numbers
    version -= len(changes)
    messages -= sum(len(change.rows) for change in changes)
    next_seq -= sum(len(change.rows) for change in changes)
    tokens -= sum(change.tokens for change in changes)
    results = []
    for change, now in zip(changes, moments, strict=True):
        first_seq, count = next_seq, len(change.rows)
        version, messages, next_seq = version + 1, messages + count, next_seq + count
        tokens += change.tokens
        updated_at = max(updated_at, now)
        row = (uid, version, messages, tokens, archived, next_seq, fence, created, updated_at,
               deadline(now, change.ttl), folded)  # fmt: skip
        head = head_of(change.conversation, owner, row)
        results.append(Written(head, first_seq if count else None))
    return results


def is_plain(change: Change) -> bool:
    """Tell whether an append may share a statement."""
    return change.key is None and change.lease is None and not change.metadata


def how_many_fit(changes: Sequence[Change]) -> int:
    """Return how many of the first appends may share a statement: they differ in rows only."""
    first = changes[0]
    rows = size = 0
    for number, change in enumerate(changes):
        rows += len(change.rows)
        size += sum(len(row.data) for row in change.rows)
        alike = (change.owner, change.ttl, change.limits) == (first.owner, first.ttl, first.limits)
        if number and not (alike and rows <= _MOST_ROWS and size <= _MOST_BYTES):
            return number
        if any(row.tokens < 0 for row in change.rows) or not _is_near(change, first.now):
            return max(number, 1)
    return len(changes)


def _is_near(change: Change, first: datetime) -> bool:
    """Tell whether an earlier append cannot have ended before this one."""
    apart = abs(change.now - first)
    return change.ttl is None or 2 * apart < change.ttl


def _head_values(change: Change, limits: Limits) -> dict[str, Any]:
    namespace, name = change.conversation
    unlimited = limits.max_tokens is None
    return {
        "address": address_of(change.conversation),
        "space": space_of(namespace),
        "namespace": namespace,
        "name": name,
        "owner": change.owner,
        "owner_hash": owner_hash_of(change.owner),
        "max_messages": _at_most(limits.max_messages),
        "max_tokens": _at_most(limits.max_tokens),
        "overhead": 0 if unlimited else limits.message_overhead_tokens,
    }


def _at_most(limit: int | None) -> int:
    return _MOST if limit is None else max(min(limit, _MOST), -_MOST)


def _metadata_values(change: Change) -> dict[str, Any]:
    kept = {name: text for name, text in change.metadata.items() if text is not None}
    return {
        "unset_hashes": [hash_of(n) for n, text in change.metadata.items() if text is None],
        "set_hashes": [hash_of(name) for name in kept],
        "set_names": [name.encode() for name in kept],
        "set_values": [text.encode() for text in kept.values()],
    }
