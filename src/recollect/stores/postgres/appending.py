"""The append in one statement: alone, or several that waited."""

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
    values = _head_values(change) | {
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


async def append_together(
    session: Session, lines: Sequence[Sequence[Change]]
) -> list[list[Written] | None]:
    """Append what wait in the lines of several conversations, in one statement.

    Returns:
        For each line what its appends did; None, and nothing of it was stored, if it takes more than
        that: a limit would be broken, or the conversation is missing.
    """
    heads = dict[str, list[Any]]()
    all_lines, all_places, all_tokens, all_stored_at, all_data = [], [], [], [], []
    for line, changes in enumerate(lines, 1):
        for name, value in _line_values(changes).items():
            heads.setdefault(name, []).append(value)
        place = 0
        for change in changes:
            now = to_micros(change.now)
            for row in change.rows:
                all_lines.append(line)
                all_places.append(place)
                all_tokens.append(row.tokens)
                all_stored_at.append(now)
                all_data.append(row.data)
                place += 1
    values = heads | {
        "all_lines": all_lines,
        "all_places": all_places,
        "all_tokens": all_tokens,
        "all_stored_at": all_stored_at,
        "all_data": all_data,
    }
    found = {row[0]: row for row in await session.write_all_at_once("append_together", values)}
    return [
        _results(changes, *found[line][1:]) if line in found else None
        for line, changes in enumerate(lines, 1)
    ]


def _line_values(changes: Sequence[Change]) -> dict[str, Any]:
    """Return what a line adds to its head."""
    first, final = changes[0], changes[-1]
    rows = [row for change in changes for row in change.rows]
    max_messages, max_tokens, overhead = _limit_values(first.limits)
    return {
        "addresses": address_of(first.conversation),
        "owners": first.owner,
        "owner_hashes": owner_hash_of(first.owner),
        "writes": len(changes),
        "counts": len(rows),
        "tokens": sum([row.tokens for row in rows]),
        "bytes": sum([len(row.data) for row in rows]),
        "lasts": max([to_micros(change.now) for change in changes]),
        "deadlines": deadline(to_micros(final.now), final.ttl),
        "max_messages": max_messages,
        "max_tokens": max_tokens,
        "overheads": overhead,
    }


def _results(
    changes: Sequence[Change],
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
    for change in changes:
        now = to_micros(change.now)
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


class Room:
    """What still fits into a shared statement."""

    def __init__(self) -> None:
        self._rows = _MOST_ROWS
        self._bytes = _MOST_BYTES

    def take(self, line: Sequence[Change], *, is_first: bool) -> int:
        """Return how many of the first appends in a line may share it: they differ in rows only.

        The first append of the first line goes in, however large it is.
        """
        for number, change in enumerate(line):
            if number and not _may_follow(change, line[0]):
                return number
            rows, size = len(change.rows), sum([len(row.data) for row in change.rows])
            fits = rows <= self._rows and size <= self._bytes
            if not fits and (number or not is_first):
                return number
            self._rows -= rows
            self._bytes -= size
            if any(row.tokens < 0 for row in change.rows):
                return number + 1
        return len(line)


def _may_follow(change: Change, first: Change) -> bool:
    return (
        (change.owner, change.ttl, change.limits) == (first.owner, first.ttl, first.limits)
        and not any(row.tokens < 0 for row in change.rows)
        and _is_near(change, first.now)
    )


def _is_near(change: Change, first: datetime) -> bool:
    """Tell whether an earlier append cannot have ended before this one."""
    apart = abs(change.now - first)
    return change.ttl is None or 2 * apart < change.ttl


def _head_values(change: Change) -> dict[str, Any]:
    namespace, name = change.conversation
    max_messages, max_tokens, overhead = _limit_values(change.limits)
    return {
        "address": address_of(change.conversation),
        "space": space_of(namespace),
        "namespace": namespace,
        "name": name,
        "owner": change.owner,
        "owner_hash": owner_hash_of(change.owner),
        "max_messages": max_messages,
        "max_tokens": max_tokens,
        "overhead": overhead,
    }


def _limit_values(limits: Limits) -> tuple[int, int, int]:
    overhead = 0 if limits.max_tokens is None else limits.message_overhead_tokens
    return _at_most(limits.max_messages), _at_most(limits.max_tokens), overhead


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
