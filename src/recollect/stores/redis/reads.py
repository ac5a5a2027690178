"""Walks over the indexes, which may name more than there is: heads decide what is found."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

from recollect.stores.cursors import read_cursor, write_cursor
from recollect.stores.moments import to_micros, to_moment
from recollect.stores.records import ConversationId, Order, Page, Search, Totals
from recollect.stores.redis.heads import KeptHead, read_kept_head
from recollect.stores.redis.names import Names
from recollect.stores.redis.runner import Runner

_SMALLEST, _LARGEST = 16, 1000


class Entry(NamedTuple):
    """What stands in an index: when, and which id."""

    score: int
    name: bytes


class Walk(NamedTuple):
    """An index and the part of it that is wanted."""

    order: Order
    namespace: str
    owner: str | None
    lowest: int | None = None
    highest: int | None = None


async def find(runner: Runner, names: Names, search: Search) -> Page:
    """Read one page of heads, and one head more to know whether another page follows."""
    is_exact = search.order == "active" and not runner.place.is_cluster
    walk = Walk(
        search.order,
        search.namespace,
        search.owner,
        to_micros(search.since) if is_exact and search.since else None,
        to_micros(search.until) if is_exact and search.until else None,
    )
    found: list[tuple[Entry, KeptHead]] = []
    prefix = (search.prefix or "").encode()
    batches = _batches(runner, names, walk, _place(search), search.limit + 1)
    async for entries in batches:
        wanted = [entry for entry in entries if entry.name.startswith(prefix)]
        heads = await _heads(runner, names, search.namespace, wanted)
        for entry, kept in zip(wanted, heads, strict=True):
            if kept is not None and _matches(kept, search):
                found.append((entry, kept))
        if len(found) > search.limit:
            break
    page = found[: search.limit]
    last = page[-1][0] if len(found) > search.limit else None
    cursor = None if last is None else write_cursor(search, last.score, last.name.decode())
    shown = [kept.head(_address(search.namespace, entry)) for entry, kept in page]
    if search.order == "active":
        shown.sort(key=lambda head: head.updated_at, reverse=True)
    return Page(tuple(shown), cursor)


async def measure(
    runner: Runner, names: Names, namespace: str, owner: str | None, now: datetime
) -> Totals:
    """Sum up heads."""
    kepts: list[KeptHead] = []
    moment = to_micros(now)
    walk = Walk("created", namespace, owner)
    async for entries in _batches(runner, names, walk, None, _LARGEST):
        kepts += [
            kept
            for kept in await _heads(runner, names, namespace, entries)
            if kept and kept.lives_at(moment) and owner in {None, kept.owner}
        ]
    created = [kept.created_at for kept in kepts]
    return Totals(
        conversations=len(kepts),
        messages=sum(kept.message_count for kept in kepts),
        tokens=sum(kept.token_count for kept in kepts),
        archived=sum(kept.archived_count for kept in kepts),
        stored_bytes=sum(kept.live_bytes + kept.archive_bytes for kept in kepts),
        oldest=to_moment(min(created)) if created else None,
        newest=to_moment(max(created)) if created else None,
    )


async def _heads(
    runner: Runner, names: Names, namespace: str, entries: Sequence[Entry]
) -> list[KeptHead | None]:
    ids = [_address(namespace, entry) for entry in entries]
    texts = await runner.texts([names.head(one) for one in ids])
    return [
        None if text is None else read_kept_head(one, text)
        for one, text in zip(ids, texts, strict=True)
    ]


def _address(namespace: str, entry: Entry) -> ConversationId:
    return ConversationId(namespace, entry.name.decode())


async def _batches(
    runner: Runner, names: Names, walk: Walk, place: Entry | None, wanted: int
) -> AsyncIterator[list[Entry]]:
    """Yield the entries behind a place, batch by batch; those of one score are in order of name."""
    key = names.index(walk.order, walk.namespace, walk.owner)
    size = min(max(wanted, _SMALLEST), _LARGEST)
    descending = walk.order == "active"
    while True:
        entries = await _entries(runner, key, walk, place, size + 1)
        fresh = [e for e in entries if place is None or (e < place if descending else e > place)]
        if fresh:
            yield fresh
            place = fresh[-1]
        if len(entries) <= size:
            return
        size = min(size * 2, _LARGEST) if fresh else size * 2  # all of one score, all met


async def _entries(
    runner: Runner, key: str, walk: Walk, place: Entry | None, size: int
) -> list[Entry]:
    low = "-inf" if walk.lowest is None else str(walk.lowest)
    high = "+inf" if walk.highest is None else str(walk.highest)
    if walk.order == "active":
        bounds = ("ZREVRANGEBYSCORE", key, str(place.score) if place else high, low)
    else:
        bounds = ("ZRANGEBYSCORE", key, str(place.score) if place else low, high)
    answer = await runner.command("walk", key, (*bounds, "WITHSCORES", "LIMIT", 0, size))
    pairs = zip(answer[::2], answer[1::2], strict=True)
    return [Entry(int(float(score)), name) for name, score in pairs]


def _matches(kept: KeptHead, search: Search) -> bool:
    updated = kept.updated_at
    return (
        kept.lives_at(to_micros(search.now))
        and (search.owner is None or kept.owner == search.owner)
        and (search.since is None or updated >= to_micros(search.since))
        and (search.until is None or updated <= to_micros(search.until))
    )


def _place(search: Search) -> Entry | None:
    met = read_cursor(search, str)
    return None if met is None else Entry(met[0], met[1].encode())
