"""Finding conversations: heads first, then the messages of those that are wanted."""

from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime

from recollect.memory.providers.metadata import trace_of
from recollect.memory.providers.types import MemoryQuery
from recollect.stores.arguments import MAX_PAGE
from recollect.stores.base import Store
from recollect.stores.records import Conversation, ConversationId, Head

_MOST_TOGETHER = 100  # conversations that are read in one call
_MOST_MESSAGES = 5_000  # that are read in one call, unless one conversation has more


async def find(store: Store, namespace: str, query: MemoryQuery) -> list[Conversation]:
    """Return what the query asks for: the conversation last written to first.

    A conversation that is written to, given away or deleted meanwhile is returned as it is when its
    messages are read, or not at all if the query does not ask for it any more.
    """
    if query.limit == 0:
        return []
    offset = query.offset or 0
    end = None if query.limit is None else offset + query.limit
    heads: dict[ConversationId, Head] = {}
    async for head in _heads(store, namespace, query, end):
        heads[head.conversation] = head
        if len(heads) == end:
            break
    newest = sorted(heads.values(), key=lambda head: head.updated_at, reverse=True)
    found: list[Conversation] = []
    for part in _parts(newest[offset:]):
        loaded = await store.load_many([head.conversation for head in part])
        found += [one for one in loaded if one is not None and _matches(one, query)]
    return sorted(found, key=lambda one: one.head.updated_at, reverse=True)


async def _heads(
    store: Store, namespace: str, query: MemoryQuery, end: int | None
) -> AsyncIterator[Head]:
    """Yield the heads of what matches; ordered by activity if not all are wanted."""
    if query.conversation_id is not None:
        one = await store.load(ConversationId(namespace, query.conversation_id), last=0)
        if one is not None and _matches(one, query):
            yield one.head
        return
    cursor: str | None = None
    while True:
        page = await store.find(
            namespace,
            owner=query.user_id,
            since=aware(query.since),
            until=aware(query.until),
            order="created" if end is None else "active",
            cursor=cursor,
            limit=MAX_PAGE if end is None or query.trace_id else min(end, MAX_PAGE),
        )
        for head in await _traced(store, page.heads, query):
            yield head
        cursor = page.cursor
        if cursor is None:
            return


async def _traced(store: Store, heads: Sequence[Head], query: MemoryQuery) -> Sequence[Head]:
    if query.trace_id is None or not heads:
        return heads
    found = await store.load_many([head.conversation for head in heads], last=0)
    return [one.head for one in found if one is not None and trace_of(one) == query.trace_id]


def _matches(conversation: Conversation, query: MemoryQuery) -> bool:
    head, since, until = conversation.head, aware(query.since), aware(query.until)
    return (
        query.user_id in {None, head.owner}
        and (since is None or head.updated_at >= since)
        and (until is None or head.updated_at <= until)
        and (query.trace_id is None or trace_of(conversation) == query.trace_id)
    )


def aware(moment: datetime | None) -> datetime | None:
    """Return the time in UTC; one without a zone is local time."""
    if moment is None:
        return None
    try:
        return moment.astimezone(UTC)
    except (OverflowError, ValueError, OSError):  # datetime.min and .max
        return moment.replace(tzinfo=UTC)


def _parts(heads: Sequence[Head]) -> Iterator[list[Head]]:
    """Split into parts that are read together."""
    part: list[Head] = []
    messages = 0
    for head in heads:
        if part and (len(part) == _MOST_TOGETHER or messages + head.message_count > _MOST_MESSAGES):
            yield part
            part, messages = [], 0
        part.append(head)
        messages += head.message_count
    if part:
        yield part
