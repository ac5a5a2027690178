"""Operations on all conversations whose keys a pattern names (issue 4, part 6; specs/memory.md §2.5).

A pattern is expanded within one namespace: one tenant, project and resource. It is compared with keys as
they are stored; a key in which the privacy policy hides something ends in a hash there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from recollect.errors import RecollectError, TooManyKeys, error_json
from recollect.memory.keys import Pattern
from recollect.memory.memory import Json, Memory
from recollect.memory.operations import READ_CAP, ReadConfig
from recollect.stores.arguments import MAX_PAGE
from recollect.stores.base import Store
from recollect.stores.records import Head

MAX_KEYS, MOST_KEYS = 1_000, 50_000
BATCH_SIZE, LARGEST_BATCH = 100, 10_000
DESTRUCTIVE = frozenset({"delete", "clear", "flush"})

_AT_ONCE = 16
_TOTALS = {
    "delete": (),
    "clear": ("message_count", "token_count", "messages_cleared"),
    "flush": (
        "message_count", "token_count", "messages_flushed", "remaining_messages", "tokens_freed",
    ),
    "stats": ("message_count", "token_count", "archived_count"),
    "health": ("message_count", "token_count"),
}  # fmt: skip


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which conversations are meant.

    Attributes:
        patterns: all of them have to match; the first names the operation's key.
        max_keys: no more than so many.
        batch_size: how many heads are looked at in one call of the store.
        created_until: those that were made later are not meant, so that an operation that a crash cut
            short means the same conversations when it is done again.
    """

    patterns: tuple[Pattern, ...]
    max_keys: int = MAX_KEYS
    batch_size: int = BATCH_SIZE
    created_until: datetime | None = None

    @property
    def key(self) -> str:
        """The key as it was given."""
        return self.patterns[0].text

    def means(self, head: Head) -> bool:
        """Tell whether a conversation is meant."""
        if self.created_until is not None and head.created_at > self.created_until:
            return False
        return all(pattern.matches(head.conversation.id) for pattern in self.patterns)


class Found(msgspec.Struct, frozen=True):
    """The conversations that are meant, by key; ``more`` says that there are others."""

    heads: tuple[Head, ...]
    more: bool


async def find(store: Store, namespace: str, selection: Selection) -> Found:
    """Look up what a selection means: the oldest ``max_keys`` of it."""
    heads: list[Head] = []
    cursor: str | None = None
    while True:
        page = await store.find(
            namespace,
            prefix=selection.patterns[0].prefix or None,
            order="created",
            cursor=cursor,
            limit=min(selection.batch_size, MAX_PAGE),
        )
        heads += (head for head in page.heads if selection.means(head))
        cursor = page.cursor
        if cursor is None or len(heads) > selection.max_keys:
            break
    meant = sorted(heads[: selection.max_keys], key=lambda head: head.conversation.id)
    return Found(tuple(meant), more=len(heads) > selection.max_keys)


def refuse_too_many(operation: str, found: Found, selection: Selection) -> None:
    """Refuse to change anything if not all of it may be changed.

    Raises:
        TooManyKeys: more conversations are meant than ``max_keys``.
    """
    if found.more:
        raise TooManyKeys(
            f"{operation}: the key {selection.key!r} names more than {selection.max_keys:,} "
            "conversations; none was changed. Choose fewer by a longer key, or raise max_keys (up to "
            f"{MOST_KEYS:,})",
            max_keys=selection.max_keys,
        )


async def each(
    operation: str,
    memories: Sequence[Memory],
    work: Callable[[Memory], Awaitable[Json]],
    *,
    about: Json,
) -> Json:
    """Do the work on each memory and return totals and one result a key, in the order of ``memories``.

    A key that fails stops no other: its result has ``success: false`` and its ``error``, and so has the
    whole. When all fail, so does the operation.

    Raises:
        RecollectError: the first error, if no key succeeded.
    """
    results: list[Json] = []
    errors: list[RecollectError] = []
    for some in _chunks(memories, _AT_ONCE):
        for memory, done in zip(
            some, await asyncio.gather(*(_tried(work, memory) for memory in some)), strict=True
        ):
            if isinstance(done, RecollectError):
                errors.append(done)
                results.append({"key": memory.key, "success": False, "error": error_json(done)})
            else:
                own = {k: v for k, v in done.items() if k not in {"operation", "memory_ref"}}
                results.append({"key": memory.key, **own})
    if errors and len(errors) == len(results):
        raise errors[0]
    return {
        **about,
        "success": not errors,
        "keys": [result["key"] for result in results],
        "failed_keys": len(errors),
        **_totals(operation, [result for result in results if result["success"]]),
        "results": results,
    }


async def _tried(
    work: Callable[[Memory], Awaitable[Json]], memory: Memory
) -> Json | RecollectError:
    try:
        return await work(memory)
    except RecollectError as error:
        return error


def _totals(operation: str, results: Sequence[Json]) -> Json:
    totals: Json = {name: _sum(results, name) for name in _TOTALS[operation]}
    match operation:
        case "delete":
            deleted = sum(result["deleted"] for result in results)
            return {"deleted": bool(deleted), "deleted_keys": deleted}
        case "clear":
            backups = sum(result["backup_created"] for result in results)
            return {**totals, "backup_created": bool(backups)}
        case "flush":
            flushed = sum(result["messages_flushed"] > 0 for result in results)
            return {
                **totals,
                **_dry(results),
                "flushed_keys": flushed,
                "remaining_keys": len(results) - flushed,
            }
    return totals


def _sum(results: Sequence[Json], name: str) -> int | None:
    """Add up; None if one of the numbers is not known."""
    numbers = [result[name] for result in results]
    return None if None in numbers else sum(numbers)


def _dry(results: Sequence[Json]) -> Json:
    if not any(result["dry_run"] for result in results):
        return {"dry_run": False}
    return {"dry_run": True, "would_flush": any(result["would_flush"] for result in results)}


# ---- reading -------------------------------------------------------------------------------------


class _Piece(msgspec.Struct, frozen=True):
    """What is read of one memory: ``count`` messages from ``offset`` on."""

    memory: Memory
    offset: int
    count: int


async def read_all(
    memories: Sequence[Memory],
    heads: Sequence[Head],
    config: ReadConfig,
    *,
    more: bool,
    about: Json,
) -> Json:
    """Return the messages of several memories: by key, and in the order of each.

    ``offset`` and ``limit`` count in that order; ``last`` takes the newest of each key. ``results``
    says how many messages belong to each key; ``has_more``, that others were left out.
    """
    archived = config.source == "archive"
    counts = [head.archived_count if archived else head.message_count for head in heads]
    pieces = list(_pieces(memories, counts, config))
    read: list[Json] = []
    for some in _chunks(pieces, _AT_ONCE):
        read += await asyncio.gather(*(_read(piece, config) for piece in some))
    taken = {memory.key: 0 for memory in memories}
    taken |= {piece.memory.key: part["count"] for piece, part in zip(pieces, read, strict=True)}
    count, total = sum(taken.values()), sum(counts)
    damaged = sum(part.get("damaged", 0) for part in read)
    return {
        **about,
        "success": True,
        "message_count": sum(head.message_count for head in heads),
        "token_count": sum(head.token_count for head in heads),
        "messages": [message for part in read for message in part["messages"]],
        "count": count,
        "total_count": total,
        "offset": config.offset,
        "limit": config.limit or READ_CAP,
        "has_more": more or config.offset + count < total,
        **({"damaged": damaged} if damaged else {}),
        "keys": list(taken),
        "results": [
            {"key": memory.key, "count": taken[memory.key], "total_count": count_}
            for memory, count_ in zip(memories, counts, strict=True)
        ],
    }


def _pieces(
    memories: Sequence[Memory], counts: Sequence[int], config: ReadConfig
) -> Iterator[_Piece]:
    skip, left = config.offset, config.limit or READ_CAP
    for memory, count in zip(memories, counts, strict=True):
        first = max(count - config.last, 0) if config.last is not None else 0
        passed = min(skip, count - first)
        skip -= passed
        take = min(count - first - passed, left)
        if take > 0:
            left -= take
            yield _Piece(memory, first + passed, take)


async def _read(piece: _Piece, config: ReadConfig) -> Json:
    part = ReadConfig(offset=piece.offset, limit=piece.count, source=config.source)
    return await piece.memory.read(part)


def _chunks(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
