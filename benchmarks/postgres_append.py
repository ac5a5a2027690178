"""What the PostgreSQL store costs beside one prepared ``INSERT`` through a pool.

Run ``python -m benchmarks.postgres_append [--rounds N] [--json] [--check]``. It starts a server of its
own with fsync on (``--url`` names another one).

The raw line is one ``INSERT`` of ready-made bytes into a table with the key (conversation, seq), or one
``SELECT`` of them, through an asyncpg pool that runs no reset query. Ours is what
``benchmarks.store_append`` appends and reads. Every number is a median over interleaved rounds, and so
is every ratio to the raw line of the same round.
"""

import argparse
import asyncio
import json
import os
import platform
import sys
from itertools import count
from statistics import median
from time import perf_counter
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types

from benchmarks.store_append import (
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
)
from recollect.messages import encode
from recollect.stores.postgres import PostgresStore
from tests.servers.postgres_server import running_server

RAW_TABLE = """CREATE TABLE raw (conversation bigint, seq bigint, data bytea,
    PRIMARY KEY (conversation, seq))"""
RAW_INSERT = "INSERT INTO raw VALUES ($1, $2, $3)"
RAW_LAST = "SELECT data FROM raw WHERE conversation = $1 ORDER BY seq DESC LIMIT $2"
RAW_ALL = "SELECT data FROM raw WHERE conversation = $1 ORDER BY seq"
TABLES = ("heads", "messages", "metadata", "archive", "keys", "deleted")


class QuietConnection(asyncpg.Connection):  # type: ignore[misc]
    """One that is not reset when it goes back, as ours is not."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class Raw:
    """A bare table behind a pool."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.data = encode(message())
        self.seqs = count(1_000_000)

    async def seed(self, rounds: int) -> None:
        await self.pool.execute(RAW_TABLE)
        for round_ in range(rounds):
            for size in SIZES:
                rows = [
                    (c, seq, self.data) for c in conversations(size, round_) for seq in range(size)
                ]
                await self.pool.copy_records_to_table("raw", records=rows)

    async def add(self, conversation: int) -> None:
        await self.pool.execute(RAW_INSERT, conversation, next(self.seqs), self.data)

    async def append(self, size: int, round_: int) -> float:
        times = []
        for conversation in conversations(size, round_):
            for _ in range(spread(size)[1]):
                start = perf_counter()
                await self.add(conversation)
                times.append(perf_counter() - start)
        return median(times) * 1e6

    async def together(self, tasks: int) -> float:
        """Return microseconds an append with that many tasks at once."""

        async def write(task: int) -> None:
            for _ in range(TOGETHER // tasks):
                await self.add(task)

        start = perf_counter()
        await asyncio.gather(*(write(task) for task in range(tasks)))
        return (perf_counter() - start) / TOGETHER * 1e6

    async def append_64(self, size: int, round_: int) -> float:
        return await self.together(64)

    async def append_16(self, size: int, round_: int) -> float:
        return await self.together(16)

    async def read_last(self, size: int, round_: int) -> float:
        return await self._read(RAW_LAST, conversations(size, round_)[0], 50)

    async def read_all(self, size: int, round_: int) -> float:
        return await self._read(RAW_ALL, conversations(size, round_)[0])

    async def _read(self, sql: str, *values: int) -> float:
        times = []
        for _ in range(30):
            start = perf_counter()
            await self.pool.fetch(sql, *values)
            times.append(perf_counter() - start)
        return median(times) * 1e6


async def measure(url: str, rounds: int, report: Report) -> None:
    pool = await asyncpg.create_pool(url, connection_class=QuietConnection)
    raw = Raw(pool)
    async with PostgresStore(url) as store:
        ours = Ours(store)
        await raw.seed(rounds)
        await ours.seed(rounds)
        await pool.execute("VACUUM ANALYZE")
        stored = await stored_bytes(pool, "raw")
        bytes_of_ours = sum([await stored_bytes(pool, f"conversations_{name}") for name in TABLES])
        messages = (await store.measure("bench")).messages
        for _ in range(3):  # until all connections know all statements
            await raw.append_64(0, 0)
            await ours.append_64(0, 0)
        await measure_appends(raw, ours, rounds, report)
        await measure_crowds(raw, ours, rounds, report)
        await measure_reads(raw, ours, rounds, report)
    await pool.close()
    text = f"{bytes_of_ours / messages:.0f} bytes, raw {stored / messages:.0f}"
    report.add("PostgreSQL, bytes a message", text, bytes_of_ours / stored, 1.4)


async def measure_appends(raw: Raw, ours: Ours, rounds: int, report: Report) -> None:
    lines: dict[str, Line] = {
        "raw": raw.append,
        "ours": ours.append,
        "keyed": ours.append_with_key,
    }
    samples = await sample(rounds, SIZES, lines)
    report_appends(report, samples, "PostgreSQL append", "ours", 1.4)
    report_appends(report, samples, "PostgreSQL append with key", "keyed", 1.55)


async def measure_crowds(raw: Raw, ours: Ours, rounds: int, report: Report) -> None:
    crowds: tuple[tuple[Line, Line, float, str], ...] = (
        (raw.append_64, ours.append_64, 0.65, "PostgreSQL, 64 tasks, 64 conversations"),
        (raw.append_16, ours.append_16, 1.0, "PostgreSQL, 16 tasks, one conversation"),
    )
    for raw_line, our_line, target, what in crowds:
        samples: Samples = await sample(rounds, [0], {"raw": raw_line, "ours": our_line})
        text = f"{1e6 / samples.mid('ours', 0):,.0f}/s, raw {1e6 / samples.mid('raw', 0):,.0f}/s"
        report.add(what, text, 1 / samples.ratio("ours", 0), target, at_least=True)


async def measure_reads(raw: Raw, ours: Ours, rounds: int, report: Report) -> None:
    last = await sample(rounds, (100, 10_000), {"raw": raw.read_last, "ours": ours.read_last})
    text = last.text("ours", 10_000)
    report.add("PostgreSQL, last 50 of 10,000", text, last.ratio("ours", 10_000), 2)
    growth = last.growth("ours", 100, 10_000) / last.growth("raw", 100, 10_000)
    report.add("PostgreSQL, last 50, 100 to 10,000", last.text("ours", 100), growth, 1.15)
    whole = await sample(rounds, (1_000,), {"raw": raw.read_all, "ours": ours.read_all})
    text = whole.text("ours", 1_000)
    report.add("PostgreSQL, all of 1,000", text, whole.ratio("ours", 1_000), 4.5)


async def stored_bytes(pool: Any, table: str) -> int:
    return int(await pool.fetchval("SELECT pg_total_relation_size($1::regclass)", table))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.postgres_append")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--check", action="store_true", help="exit 1 on a missed target")
    parser.add_argument("--folder", help="where the server's data are put")
    parser.add_argument("--url", help="a server to use in place of one of our own")
    return parser.parse_args()


def main() -> int:
    options = arguments()
    report = Report()
    if options.url:
        asyncio.run(measure(options.url, options.rounds, report))
    else:
        with running_server(fsync=True, folder=options.folder) as server:
            asyncio.run(measure(server.url, options.rounds, report))
    machine = (
        f"Python {platform.python_version()}, asyncpg {asyncpg.__version__}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.machine()}, {options.rounds} rounds, fsync on"
    )
    if options.json:
        print(json.dumps({"machine": machine, "missed": report.missed, "rows": report.rows}))
    else:
        report.print()
        print(machine)
    return 1 if options.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
