"""What the Redis store costs beside the barest commands on the same server.

Run ``python -m benchmarks.redis_append [--rounds N] [--json] [--check]``. It starts a server of its own.

The raw line is one ``RPUSH`` of ready-made bytes through redis-py's asyncio client, the raw reads one
``LRANGE``; the raw crowds are as many tasks with the client's pool. Ours is ``Store.append`` of one
message of 200 characters with id, role and three metadata fields, an owner and a deadline. Every number
is a median over interleaved rounds, and so is every ratio to the raw line of the same round.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

from redis.asyncio import Redis

from benchmarks.store_append import (
    APPENDS,
    SIZES,
    TOGETHER,
    Line,
    Ours,
    Report,
    Samples,
    conversations,
    message,
    report_appends,
    sample,
    spread,
    us,
)
from recollect.messages import encode
from recollect.stores.records import ConversationId, NewRecord
from recollect.stores.redis import RedisStore
from tests.servers.redis_server import RedisServer

OWNED = (10_000, 100_000)  # conversations in the namespace; the user has some of them


class Raw:
    """A bare list a conversation."""

    def __init__(self, client: Redis) -> None:
        self.client = client
        self.data = encode(message())

    async def seed(self, rounds: int) -> None:
        for round_ in range(rounds):
            for size in SIZES:
                for conversation in conversations(size, round_):
                    for first in range(0, size, 1_000):
                        items = [self.data] * min(1_000, size - first)
                        await self.client.rpush(f"raw:{conversation}", *items)

    async def append(self, size: int, round_: int) -> float:
        times = []
        for conversation in conversations(size, round_):
            for _ in range(spread(size)[1]):
                start = perf_counter()
                await self.client.rpush(f"raw:{conversation}", self.data)
                times.append(perf_counter() - start)
        return median(times) * 1e6

    async def read_last(self, size: int, round_: int) -> float:
        return await self._read(conversations(size, round_)[0], -50)

    async def read_all(self, size: int, round_: int) -> float:
        return await self._read(conversations(size, round_)[0], 0)

    async def _read(self, conversation: int, first: int) -> float:
        times = []
        for _ in range(30):
            start = perf_counter()
            await self.client.lrange(f"raw:{conversation}", first, -1)
            times.append(perf_counter() - start)
        return median(times) * 1e6

    async def together(self, tasks: int, addresses: Sequence[int]) -> float:
        each = TOGETHER // tasks

        async def write(task: int) -> None:
            for _ in range(each):
                await self.client.rpush(f"raw:{addresses[task % len(addresses)]}", self.data)

        start = perf_counter()
        await asyncio.gather(*(write(task) for task in range(tasks)))
        return (perf_counter() - start) / (each * tasks) * 1e6

    async def append_64(self, size: int, round_: int) -> float:
        return await self.together(64, range(64))

    async def append_16(self, size: int, round_: int) -> float:
        return await self.together(16, [999])


class Found:
    """The heads of a user's newest conversations."""

    def __init__(self, store: RedisStore) -> None:
        self.ours = Ours(store)
        self.made = count()

    async def seed(self, conversations: int) -> None:
        """Make conversations until there are so many; every hundredth is the user's."""

        async def make(number: int) -> None:
            owner = "user" if number % 100 == 0 else f"other-{number % 997}"
            here = ConversationId("people", f"talk-{number}")
            await self.ours.store.append(here, [NewRecord(message(), 60)], owner=owner)

        numbers = range(next(self.made), conversations)
        for first in range(numbers.start, numbers.stop, 500):
            await asyncio.gather(*map(make, range(first, min(first + 500, numbers.stop))))
        self.made = count(numbers.stop)

    async def newest(self, size: int, round_: int) -> float:
        times = []
        for _ in range(30):
            start = perf_counter()
            await self.ours.store.find("people", owner="user", limit=10)
            times.append(perf_counter() - start)
        return median(times) * 1e6


async def measure(server: RedisServer, rounds: int, report: Report, *, find: bool) -> None:
    raw = Raw(Redis(host="127.0.0.1", port=server.port))
    async with RedisStore(server.url) as store:
        ours = Ours(store)
        before = await used(raw.client)
        await raw.seed(rounds)
        raw_bytes = await used(raw.client) - before
        await ours.seed(rounds)
        our_bytes = await used(raw.client) - before - raw_bytes
        await measure_appends(raw, ours, rounds, report)
        await measure_crowds(raw, ours, rounds, report)
        await measure_reads(raw, ours, rounds, report)
        report.add(
            "Redis, memory a message", f"{our_bytes >> 20} MiB, raw {raw_bytes >> 20} MiB",
            our_bytes / raw_bytes, 1.25,
        )  # fmt: skip
        if find:
            await measure_find(raw, store, rounds, report)
    await raw.client.aclose()


async def measure_appends(raw: Raw, ours: Ours, rounds: int, report: Report) -> None:
    lines: dict[str, Line] = {
        "raw": raw.append,
        "ours": ours.append,
        "keyed": ours.append_with_key,
    }
    samples = await sample(rounds, SIZES, lines)
    report_appends(report, samples, "Redis append", "ours", 1.6)
    report_appends(report, samples, "Redis append with key", "keyed", 1.8)


async def measure_crowds(raw: Raw, ours: Ours, rounds: int, report: Report) -> None:
    for name, raw_line, line, target in (
        ("Redis, 64 tasks, 64 conversations", raw.append_64, ours.append_64, 1.4),
        ("Redis, 16 tasks, one conversation", raw.append_16, ours.append_16, 1.15),
    ):
        samples = await sample(rounds, [0], {"raw": raw_line, "ours": line})
        rates = (1e6 / samples.mid(which, 0) for which in ("ours", "raw"))
        text = "{:,.0f}/s, raw {:,.0f}/s".format(*rates)
        report.add(name, text, 1 / samples.ratio("ours", 0), target, at_least=True)


async def measure_reads(raw: Raw, ours: Ours, rounds: int, report: Report) -> None:
    lines: dict[str, Line] = {"raw": raw.read_last, "ours": ours.read_last}
    last = await sample(rounds, (100, 10_000), lines)
    text = last.text("ours", 10_000)
    report.add("Redis, last 50 of 10,000", text, last.ratio("ours", 10_000), 2)
    text = f"{us(last.mid('ours', 100))} us at 100"
    report.add("Redis, last 50, 100 to 10,000", text, last.growth("ours", 100, 10_000), 1.15)
    lines = {"raw": raw.read_all, "ours": ours.read_all}
    whole = await sample(rounds, (1_000,), lines)
    report.add("Redis, all of 1,000", whole.text("ours", 1_000), whole.ratio("ours", 1_000), 8)


async def measure_find(raw: Raw, store: RedisStore, rounds: int, report: Report) -> None:
    found = Found(store)
    values: dict[int, Samples] = {}
    for conversations_ in OWNED:
        await found.seed(conversations_)
        lines: dict[str, Line] = {"raw": raw.read_last, "ours": found.newest}
        values[conversations_] = await sample(rounds, (100,), lines)
        text = values[conversations_].text("ours", 100)
        name = f"Redis, 10 newest heads, {conversations_:,}"
        report.add(name, text, values[conversations_].ratio("ours", 100), 4)
    small, large = (values[n].mid("ours", 100) for n in OWNED)
    text = f"{us(small)} us, {us(large)} us"
    report.add("Redis, 10 newest, 10,000 to 100,000", text, large / small, 1.15)


async def used(client: Redis) -> int:
    return int((await client.info("memory"))["used_memory_dataset"])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.redis_append")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-find", action="store_true", help="without the 100,000 conversations")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--check", action="store_true", help="exit 1 on a missed target")
    return parser.parse_args()


async def main() -> int:
    options = arguments()
    report = Report()
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        await measure(server, options.rounds, report, find=not options.no_find)
    machine = (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.machine()}, {options.rounds} rounds of {APPENDS} appends"
    )
    if options.json:
        print(json.dumps({"machine": machine, "missed": report.missed, "rows": report.rows}))
    else:
        report.print()
        print(machine)
    return 1 if options.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
