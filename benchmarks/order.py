"""Many writers at once: is anything lost, doubled, or out of order?

Run as ``python -m benchmarks.order KIND WHERE FIRST`` it is one of several writing processes.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId, NewRecord
from recollect.stores.redis import RedisStore
from recollect.stores.sqlite import SqliteStore

TASKS = 16  # a process, all at one conversation
EACH = 50  # appends a task
SPREAD = 64  # tasks with a conversation of their own


class Opening(NamedTuple):
    """How another process opens the store."""

    kind: str
    where: str


def opened(opening: Opening) -> Store:
    """Return the store."""
    kind, where = opening
    if kind == "sqlite":
        return SqliteStore(where)
    if kind == "postgres":
        return PostgresStore(where)
    return RedisStore(where)


async def wrong_appends(store: Store, opening: Opening | None, processes: int) -> tuple[int, int]:
    """Return how many appends were made, and how many of them are lost, doubled or out of order."""
    shared = ConversationId("order", f"shared-{processes}")
    await store.delete(shared)
    if processes == 1 or opening is None:
        own = [ConversationId("order", f"own-{n}") for n in range(SPREAD)]
        for conversation in own:
            await store.delete(conversation)
        await asyncio.gather(
            write(store, shared, range(TASKS)),
            *(write(store, conversation, [n]) for n, conversation in enumerate(own)),
        )
        wrong = await _wrong(store, shared, range(TASKS))
        for n, conversation in enumerate(own):
            wrong += await _wrong(store, conversation, [n])
        return (TASKS + SPREAD) * EACH, wrong
    starts = range(0, processes * TASKS, TASKS)
    await asyncio.gather(*(_write_elsewhere(opening, shared, first) for first in starts))
    writers = range(processes * TASKS)
    return len(writers) * EACH, await _wrong(store, shared, writers)


async def write(store: Store, conversation: ConversationId, writers: Sequence[int]) -> None:
    """Append, each writer one message after the other."""

    async def run(writer: int) -> None:
        for number in range(EACH):
            record = NewRecord(Message("user", f"{writer} {number}"))
            await store.append(conversation, [record])

    await asyncio.gather(*map(run, writers))


async def _write_elsewhere(opening: Opening, conversation: ConversationId, first: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.order", *opening, conversation.id, str(first)
    )
    if await process.wait():
        raise RuntimeError("a writing process has failed")


async def _wrong(store: Store, conversation: ConversationId, writers: Sequence[int]) -> int:
    loaded = await store.load(conversation)
    if loaded is None:
        return len(writers) * EACH
    found: dict[int, list[int]] = {writer: [] for writer in writers}
    for message in loaded.messages:
        writer, number = map(int, message.text.split())
        found[writer].append(number)
    wrong = len(loaded.damaged)
    for numbers in found.values():
        counts = Counter(numbers)
        wrong += EACH - len(counts)  # lost
        wrong += len(numbers) - len(counts)  # doubled
        wrong += sum(a > b for a, b in pairwise(numbers))
    return wrong


async def main() -> None:
    kind, where, name, first = sys.argv[1:]
    async with opened(Opening(kind, where)) as store:
        writers = range(int(first), int(first) + TASKS)
        await write(store, ConversationId("order", name), writers)


if __name__ == "__main__":
    asyncio.run(main())
