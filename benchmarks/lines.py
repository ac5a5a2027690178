"""What is measured: the barest thing that keeps as much as a store, and a store under the contract.

Both append, read, and append from many tasks at once, to conversations of each size. A message has 200
characters, an id, a role and three metadata fields; ours has an owner and a deadline too, and pays for
its encoding, the bare one stores ready-made bytes. On the clock is the call on objects that are held.
Every number is a median over interleaved rounds, and so is every ratio to the raw line of the same
round.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from itertools import count
from statistics import median
from time import perf_counter
from typing import TypeVar

from benchmarks.report import us
from recollect.messages import Message, encode
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, NewRecord

SIZES = (10, 100, 1_000, 10_000)
APPENDS = 100  # a round and line
READS = 30
TTL = timedelta(days=30)
TOGETHER = 1_280  # appends a round of those that run at once

T = TypeVar("T")
Line = Callable[[int, int], Awaitable[float]]  # (size, round) -> microseconds an operation


def message() -> Message:
    """Return the message that is stored over and over."""
    return Message("user", "x" * 200, metadata={"channel": "web", "lang": "en", "turn": 7})


def spread(size: int) -> tuple[int, int]:
    """Return (conversations, appends to each), so that none grows by more than its own size."""
    each = min(APPENDS, max(10, size // 10))
    return APPENDS // each, each


def conversations(size: int, round_: int) -> range:
    """Return numbers of conversations of that size which no other round uses."""
    first = size * 1_000 + round_ * 10
    return range(first, first + spread(size)[0])


def seeded(rounds: int) -> Iterator[tuple[int, int]]:
    """Return (conversation, messages) for all that has to be there before."""
    for round_ in range(rounds):
        for size in SIZES:
            for conversation in conversations(size, round_):
                yield conversation, size


def address(conversation: int) -> ConversationId:
    """Return the address of a conversation of ours."""
    return ConversationId("bench", f"conversation-{conversation}")


class Bare(ABC):
    """The barest thing that keeps as much; ``add`` and the reads are its only operations."""

    def __init__(self) -> None:
        self.data = encode(message())

    @abstractmethod
    async def add(self, conversation: int) -> None:
        """Append one message."""

    async def last(self, conversation: int) -> object:
        """Read the last 50."""
        raise NotImplementedError

    async def all(self, conversation: int) -> object:
        """Read everything."""
        raise NotImplementedError

    async def append(self, size: int, round_: int) -> float:
        """Return microseconds an append."""
        times = []
        for conversation in conversations(size, round_):
            for _ in range(spread(size)[1]):
                start = perf_counter()
                await self.add(conversation)
                times.append(perf_counter() - start)
        return median(times) * 1e6

    async def read_last(self, size: int, round_: int) -> float:
        """Return microseconds a read of the last 50."""
        return await _timed(self.last, conversations(size, round_)[0])

    async def read_all(self, size: int, round_: int) -> float:
        """Return microseconds a read of everything."""
        return await _timed(self.all, conversations(size, round_)[0])

    async def together(self, tasks: int, addresses: Sequence[int]) -> float:
        """Return microseconds an append with that many tasks at once."""
        each = TOGETHER // tasks

        async def write(task: int) -> None:
            for _ in range(each):
                await self.add(addresses[task % len(addresses)])

        start = perf_counter()
        await asyncio.gather(*(write(task) for task in range(tasks)))
        return (perf_counter() - start) / (each * tasks) * 1e6

    async def append_64(self, size: int, round_: int) -> float:
        """Return microseconds an append of 64 tasks, each to a conversation of its own."""
        return await self.together(64, range(64))

    async def append_16(self, size: int, round_: int) -> float:
        """Return microseconds an append of 16 tasks to one conversation."""
        return await self.together(16, [999])


class Ours:
    """A store under the contract."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.keys = count()
        self.people = count()

    async def seed(self, rounds: int) -> None:
        """Store what has to be there before."""
        for conversation, size in seeded(rounds):
            for first in range(0, size, 1_000):
                records = [NewRecord(message(), 60) for _ in range(min(1_000, size - first))]
                await self.store.append(address(conversation), records, owner="o", ttl=TTL)

    async def add(self, conversation: int) -> None:
        """Append one message."""
        record = NewRecord(message(), 60)
        await self.store.append(address(conversation), [record], owner="o", ttl=TTL)

    async def append(self, size: int, round_: int) -> float:
        """Return microseconds an append."""
        return await self._append(size, round_, keyed=False)

    async def append_with_key(self, size: int, round_: int) -> float:
        """Return microseconds an append with an idempotency key."""
        return await self._append(size, round_, keyed=True)

    async def _append(self, size: int, round_: int, *, keyed: bool) -> float:
        append = self.store.append
        times = []
        for conversation in conversations(size, round_):
            here = address(conversation)
            for _ in range(spread(size)[1]):
                records = [NewRecord(message(), 60)]
                key = f"run-{next(self.keys):08}/task/0/1" if keyed else None
                start = perf_counter()
                written = await append(here, records, owner="o", ttl=TTL, key=key)
                times.append(perf_counter() - start)
                del written  # off the clock
        return median(times) * 1e6

    async def read_last(self, size: int, round_: int) -> float:
        """Return microseconds a read of the last 50."""
        load = self.store.load
        return await _timed(
            lambda here: load(here, last=50), address(conversations(size, round_)[0])
        )

    async def read_all(self, size: int, round_: int) -> float:
        """Return microseconds a read of everything."""
        return await _timed(self.store.load, address(conversations(size, round_)[0]))

    async def together(self, tasks: int, addresses: Sequence[int]) -> float:
        """Return microseconds an append with that many tasks at once."""
        each = TOGETHER // tasks
        records = [[NewRecord(message(), 60) for _ in range(each)] for _ in range(tasks)]

        async def write(task: int) -> None:
            here = address(addresses[task % len(addresses)])
            for record in records[task]:
                await self.store.append(here, [record], owner="o", ttl=TTL)

        start = perf_counter()
        await asyncio.gather(*(write(task) for task in range(tasks)))
        return (perf_counter() - start) / (each * tasks) * 1e6

    async def append_64(self, size: int, round_: int) -> float:
        """Return microseconds an append of 64 tasks, each to a conversation of its own."""
        return await self.together(64, range(64))

    async def append_16(self, size: int, round_: int) -> float:
        """Return microseconds an append of 16 tasks to one conversation."""
        return await self.together(16, [999])

    # ---- the newest conversations of a user ------------------------------------------------------

    async def seed_people(self, conversations: int) -> None:
        """Make conversations until there are so many; every hundredth is the user's."""

        async def make(number: int) -> None:
            owner = "user" if number % 100 == 0 else f"other-{number % 997}"
            here = ConversationId("people", f"talk-{number}")
            await self.store.append(here, [NewRecord(message(), 60)], owner=owner)

        numbers = range(next(self.people), conversations)
        for first in range(numbers.start, numbers.stop, 500):
            await asyncio.gather(*map(make, range(first, min(first + 500, numbers.stop))))
        self.people = count(numbers.stop)

    async def newest(self, size: int, round_: int) -> float:
        """Return microseconds a listing of the user's 10 newest heads."""
        return await _timed(lambda owner: self.store.find("people", owner=owner, limit=10), "user")


async def _timed(read: Callable[[T], Awaitable[object]], what: T) -> float:
    times = []
    for _ in range(READS):
        start = perf_counter()
        found = await read(what)
        times.append(perf_counter() - start)
        del found  # off the clock, as every caller keeps what it reads for a while,
        await asyncio.sleep(0)  # and the loop to the end of its round
    return median(times) * 1e6


# ---- rounds --------------------------------------------------------------------------------------


class Samples:
    """Microseconds of each line and size, a value a round."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, int], list[float]] = {}

    def add(self, line: str, size: int, value: float) -> None:
        """Add the value of one more round."""
        self.values.setdefault((line, size), []).append(value)

    def mid(self, line: str, size: int) -> float:
        """Return the median."""
        return median(self.values[line, size])

    def ratio(self, line: str, size: int) -> float:
        """Return the line's ratio to the raw one of the same round."""
        pairs = zip(self.values[line, size], self.values["raw", size], strict=True)
        return median(ours / raw for ours, raw in pairs)

    def growth(self, line: str, small: int, large: int) -> float:
        """Return how much larger it is at one size than at another, in the same round."""
        pairs = zip(self.values[line, large], self.values[line, small], strict=True)
        return median(at_large / at_small for at_large, at_small in pairs)

    def text(self, line: str, size: int) -> str:
        """Return the line beside the raw one."""
        return f"{us(self.mid(line, size))} us, raw {us(self.mid('raw', size))} us"


async def sample(rounds: int, sizes: Sequence[int], lines: dict[str, Line]) -> Samples:
    """Run all lines of a round after each other, the order turning with the rounds."""
    samples = Samples()
    names = list(lines)
    for round_ in range(rounds):
        turned = names[round_ % len(names) :] + names[: round_ % len(names)]
        for size in sizes:
            for name in turned:
                samples.add(name, size, await lines[name](size, round_))
    return samples
