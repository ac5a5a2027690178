"""What the store contract costs beside the barest thing that keeps as much.

Run ``python -m benchmarks.store_append [--rounds N] [--only sqlite,memory] [--json] [--check]``.

The raw line of SQLite is one ``INSERT`` and commit of equal durability (WAL, synchronous=FULL) of
ready-made bytes on the loop's thread, into a table with the key (conversation, seq); that of memory
is ``list.append`` behind an async method. Ours is ``Store.append`` of one message of 200 characters
with id, role and three metadata fields, with an owner and a deadline. Every number is a median over
interleaved rounds, and so is every ratio to the raw line of the same round. Files are seeded and their
WALs wrapped before anything is measured, because a WAL that still grows makes a commit dearer.
"""

import argparse
import asyncio
import json
import os
import platform
import sqlite3
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from statistics import median
from time import perf_counter

from recollect.messages import Message, encode
from recollect.stores.base import Store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.records import ConversationId, NewRecord
from recollect.stores.sqlite import SqliteStore

SIZES = (10, 100, 1_000, 10_000)
APPENDS = 100  # a round and line
TTL = timedelta(days=30)
TOGETHER = 1_280  # appends a round of those that run at once
WAL_BYTES = 4 * 1024 * 1024  # SQLite's checkpoint comes here and lets the WAL wrap

PAGES = ("page_count", "freelist_count", "page_size")
RAW_TABLE = """CREATE TABLE raw (conversation INTEGER, seq INTEGER, data BLOB,
    PRIMARY KEY (conversation, seq))"""
RAW_INSERT = "INSERT INTO raw VALUES (?, ?, ?)"
RAW_LAST = "SELECT data FROM raw WHERE conversation = ? ORDER BY seq DESC LIMIT ?"
RAW_ALL = "SELECT data FROM raw WHERE conversation = ? ORDER BY seq"

Line = Callable[[int, int], Awaitable[float]]  # (size, round) -> microseconds an operation


def message() -> Message:
    return Message("user", "x" * 200, metadata={"channel": "web", "lang": "en", "turn": 7})


def spread(size: int) -> tuple[int, int]:
    """Return (conversations, appends to each), so that none grows by more than its own size."""
    each = min(APPENDS, max(10, size // 10))
    return APPENDS // each, each


def conversations(size: int, round_: int) -> range:
    """Return numbers of conversations of that size which no other round uses."""
    first = size * 1_000 + round_ * 10
    return range(first, first + spread(size)[0])


class Raw:
    """A bare table and one connection."""

    def __init__(self, path: Path, rounds: int) -> None:
        self.path = path
        self.data = encode(message())
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute(RAW_TABLE)
        for round_ in range(rounds):
            for size in SIZES:
                self.db.execute("BEGIN")
                rows = (
                    (c, seq, self.data) for c in conversations(size, round_) for seq in range(size)
                )
                self.db.executemany(RAW_INSERT, rows)
                self.db.execute("COMMIT")
        self.seqs = count(1_000_000)

    def add(self, conversation: int) -> None:
        self.db.execute("BEGIN")
        self.db.execute(RAW_INSERT, (conversation, next(self.seqs), self.data))
        self.db.execute("COMMIT")

    async def append(self, size: int, round_: int) -> float:
        times = []
        for conversation in conversations(size, round_):
            for _ in range(spread(size)[1]):
                start = perf_counter()
                self.add(conversation)
                times.append(perf_counter() - start)
        return median(times) * 1e6

    async def append_serially(self, size: int, round_: int) -> float:
        """Return microseconds an append on the whole, checkpoints included."""
        start = perf_counter()
        for n in range(TOGETHER):
            self.add(n % 64)
        return (perf_counter() - start) / TOGETHER * 1e6

    async def read_last(self, size: int, round_: int) -> float:
        return self._read(RAW_LAST, (conversations(size, round_)[0], 50))

    async def read_all(self, size: int, round_: int) -> float:
        return self._read(RAW_ALL, (conversations(size, round_)[0],))

    def _read(self, sql: str, values: tuple[int, ...]) -> float:
        times = []
        for _ in range(30):
            start = perf_counter()
            self.db.execute(sql, values).fetchall()
            times.append(perf_counter() - start)
        return median(times) * 1e6


class Ours:
    """A store under the contract."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.keys = count()

    async def seed(self, rounds: int) -> None:
        for round_ in range(rounds):
            for size in SIZES:
                for conversation in conversations(size, round_):
                    for first in range(0, size, 1_000):
                        records = [
                            NewRecord(message(), 60) for _ in range(min(1_000, size - first))
                        ]
                        await self.store.append(address(conversation), records, owner="o", ttl=TTL)

    async def add(self, conversation: int, record: NewRecord, key: str | None = None) -> None:
        await self.store.append(address(conversation), [record], owner="o", ttl=TTL, key=key)

    async def append(self, size: int, round_: int) -> float:
        return await self._append(size, round_, keyed=False)

    async def append_with_key(self, size: int, round_: int) -> float:
        return await self._append(size, round_, keyed=True)

    async def _append(self, size: int, round_: int, *, keyed: bool) -> float:
        times = []
        for conversation in conversations(size, round_):
            for _ in range(spread(size)[1]):
                record = NewRecord(message(), 60)
                key = f"run-{next(self.keys):08}/task/0/1" if keyed else None
                start = perf_counter()
                await self.add(conversation, record, key)
                times.append(perf_counter() - start)
        return median(times) * 1e6

    async def read_last(self, size: int, round_: int) -> float:
        return await self._read(conversations(size, round_)[0], 50)

    async def read_all(self, size: int, round_: int) -> float:
        return await self._read(conversations(size, round_)[0], None)

    async def _read(self, conversation: int, last: int | None) -> float:
        times = []
        for _ in range(30):
            start = perf_counter()
            await self.store.load(address(conversation), last=last)
            times.append(perf_counter() - start)
        return median(times) * 1e6

    async def together(self, tasks: int, addresses: Sequence[int]) -> float:
        """Return microseconds an append with that many tasks at once."""
        each = TOGETHER // tasks
        records = [[NewRecord(message(), 60) for _ in range(each)] for _ in range(tasks)]

        async def write(task: int) -> None:
            for record in records[task]:
                await self.add(addresses[task % len(addresses)], record)

        start = perf_counter()
        await asyncio.gather(*(write(task) for task in range(tasks)))
        return (perf_counter() - start) / (each * tasks) * 1e6

    async def append_64(self, size: int, round_: int) -> float:
        return await self.together(64, range(64))

    async def append_16(self, size: int, round_: int) -> float:
        return await self.together(16, [999])


class Listing:
    """The least that could be called a store in memory."""

    def __init__(self, rounds: int) -> None:
        rows = [(c, n) for r in range(rounds) for n in SIZES for c in conversations(n, r)]
        self.lists = {conversation: [object()] * size for conversation, size in rows}

    async def add(self, conversation: int, item: object) -> None:
        self.lists[conversation].append(item)

    async def append(self, size: int, round_: int) -> float:
        times = []
        item = object()
        for conversation in conversations(size, round_):
            for _ in range(spread(size)[1]):
                start = perf_counter()
                await self.add(conversation, item)
                times.append(perf_counter() - start)
        return median(times) * 1e6


def address(conversation: int) -> ConversationId:
    return ConversationId("bench", f"conversation-{conversation}")


async def wrap(path: Path, add: Callable[[], Awaitable[None]]) -> None:
    """Write until the WAL has reached its size and begins again at its start."""
    wal = path.with_name(path.name + "-wal")
    while wal.stat().st_size < WAL_BYTES:
        await add()
    for _ in range(200):
        await add()


async def sample(rounds: int, sizes: Sequence[int], lines: dict[str, Line]) -> "Samples":
    """Run all lines of a round after each other, the order turning with the rounds."""
    samples = Samples()
    names = list(lines)
    for round_ in range(rounds):
        turned = names[round_ % len(names) :] + names[: round_ % len(names)]
        for size in sizes:
            for name in turned:
                samples.add(name, size, await lines[name](size, round_))
    return samples


class Samples:
    """Microseconds of each line and size, a value a round."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, int], list[float]] = {}

    def add(self, line: str, size: int, value: float) -> None:
        self.values.setdefault((line, size), []).append(value)

    def mid(self, line: str, size: int) -> float:
        return median(self.values[line, size])

    def ratio(self, line: str, size: int) -> float:
        """Return the line's ratio to the raw one of the same round."""
        pairs = zip(self.values[line, size], self.values["raw", size], strict=True)
        return median(ours / raw for ours, raw in pairs)

    def growth(self, line: str, small: int, large: int) -> float:
        pairs = zip(self.values[line, large], self.values[line, small], strict=True)
        return median(at_large / at_small for at_large, at_small in pairs)

    def text(self, line: str, size: int) -> str:
        return f"{us(self.mid(line, size))} us, raw {us(self.mid('raw', size))} us"


# ---- the report ----------------------------------------------------------------------------------


class Report:
    """Rows of (name, microseconds, ratio, target), and whether each target is met."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []
        self.missed = 0

    def add(
        self, name: str, text: str, ratio: float, target: float, *, at_least: bool = False
    ) -> None:
        met = ratio >= target if at_least else ratio <= target
        self.missed += not met
        row = {"name": name, "text": text, "ratio": round(ratio, 3), "met": met}
        self.rows.append({**row, "target": f"{'>=' if at_least else '<='} {target:g}x"})

    def note(self, name: str, text: str) -> None:
        self.rows.append({"name": name, "text": text})

    def print(self) -> None:
        for row in self.rows:
            line = f"{row['name']:<40} {row['text']:<28}"
            if "ratio" in row:
                verdict = "ok" if row["met"] else "MISSED"
                line += f" {row['ratio']:>7.2f}x  {row['target']:<9} {verdict}"
            print(line.rstrip())


def us(value: float) -> str:
    return f"{value:,.1f}" if value < 10 else f"{value:,.0f}"


def report_appends(report: Report, samples: Samples, name: str, line: str, target: float) -> None:
    for size in SIZES:
        what = f"{name}, {size:,} messages"
        report.add(what, samples.text(line, size), samples.ratio(line, size), target)
    growth = samples.growth(line, SIZES[0], SIZES[-1])
    raw_growth = samples.growth("raw", SIZES[0], SIZES[-1])
    text = f"{growth:.2f}x, raw {raw_growth:.2f}x"
    report.add(f"{name}, 10 to 10,000", text, growth / raw_growth, 1.15)


# ---- SQLite --------------------------------------------------------------------------------------


async def measure_sqlite(folder: Path, rounds: int, report: Report) -> None:
    raw = Raw(folder / "raw.db", rounds)
    async with SqliteStore(folder / "ours.db") as store:
        ours = Ours(store)
        await ours.seed(rounds)
        raw_bytes, our_bytes = database_bytes(raw.path), database_bytes(store.path)
        messages = (await store.measure("bench")).messages
        await wrap_wals(raw, ours, store.path)
        await measure_appends(raw, ours, rounds, report)
        await measure_crowds(raw, ours, rounds, report)
        await measure_reads(raw, ours, rounds, report)
    raw.db.close()
    text = f"{our_bytes / messages:.0f} bytes, raw {raw_bytes / messages:.0f}"
    report.add("SQLite, file bytes a message", text, our_bytes / raw_bytes, 1.2)


async def wrap_wals(raw: Raw, ours: Ours, path: Path) -> None:
    async def add_raw() -> None:
        raw.add(0)

    async def add_ours() -> None:
        for conversation in (*range(64), 999):
            await ours.add(conversation, NewRecord(message(), 60))

    await wrap(raw.path, add_raw)
    await wrap(path, add_ours)


async def measure_appends(raw: Raw, ours: Ours, rounds: int, report: Report) -> None:
    lines: dict[str, Line] = {
        "raw": raw.append,
        "ours": ours.append,
        "keyed": ours.append_with_key,
    }
    samples = await sample(rounds, SIZES, lines)
    report_appends(report, samples, "SQLite append", "ours", 2.3)
    report_appends(report, samples, "SQLite append with key", "keyed", 2.4)


async def measure_crowds(raw: Raw, ours: Ours, rounds: int, report: Report) -> None:
    lines: dict[str, Line] = {
        "raw": raw.append_serially,
        "64": ours.append_64,
        "16": ours.append_16,
    }
    samples = await sample(rounds, [0], lines)
    for line, target, what in (
        ("64", 3.5, "SQLite, 64 tasks, 64 conversations"),
        ("16", 3.0, "SQLite, 16 tasks, one conversation"),
    ):
        text = f"{1e6 / samples.mid(line, 0):,.0f}/s, raw {1e6 / samples.mid('raw', 0):,.0f}/s"
        report.add(what, text, 1 / samples.ratio(line, 0), target, at_least=True)


async def measure_reads(raw: Raw, ours: Ours, rounds: int, report: Report) -> None:
    lines: dict[str, Line] = {"raw": raw.read_last, "ours": ours.read_last}
    last = await sample(rounds, (100, 10_000), lines)
    text = last.text("ours", 10_000)
    report.add("SQLite, last 50 of 10,000", text, last.ratio("ours", 10_000), 7)
    text = f"{us(last.mid('ours', 100))} us at 100"
    report.add("SQLite, last 50, 100 to 10,000", text, last.growth("ours", 100, 10_000), 1.15)
    lines = {"raw": raw.read_all, "ours": ours.read_all}
    whole = await sample(rounds, (1_000,), lines)
    text = whole.text("ours", 1_000)
    report.add("SQLite, all of 1,000", text, whole.ratio("ours", 1_000), 6.5)


def database_bytes(path: Path) -> int:
    """Return the size of what the database holds, whether it is in the file yet or in the WAL."""
    db = sqlite3.connect(path)
    try:
        numbers = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in PAGES)
        count, free, size = numbers
        return int((count - free) * size)
    finally:
        db.close()


# ---- memory --------------------------------------------------------------------------------------


async def measure_memory(rounds: int, report: Report) -> None:
    listing = Listing(rounds)
    async with InMemoryStore() as store:
        ours = Ours(store)
        await ours.seed(rounds)
        lines: dict[str, Line] = {
            "raw": listing.append,
            "ours": ours.append,
            "keyed": ours.append_with_key,
        }
        samples = await sample(rounds, SIZES, lines)
    report_appends(report, samples, "Memory append", "ours", 8)
    for size in SIZES:
        what = f"Memory append with key, {size:,} messages"
        report.note(what, f"{us(samples.mid('keyed', size))} us")


# ---- the command ---------------------------------------------------------------------------------


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_append")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="sqlite,memory", help="sqlite, memory, or both")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--check", action="store_true", help="exit 1 on a missed target")
    parser.add_argument("--folder", help="where the files are put (default: the temporary folder)")
    return parser.parse_args()


async def main() -> int:
    options = arguments()
    report = Report()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if "sqlite" in options.only:
            await measure_sqlite(Path(folder), options.rounds, report)
        if "memory" in options.only:
            await measure_memory(options.rounds, report)
    machine = (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"{options.rounds} rounds in {options.folder or tempfile.gettempdir()}"
    )
    if options.json:
        print(json.dumps({"machine": machine, "missed": report.missed, "rows": report.rows}))
    else:
        report.print()
        print(machine)
    return 1 if options.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
