"""The store in an SQLite file, beside one ``INSERT`` and commit of equal durability.

The raw line runs on the loop's thread (WAL, synchronous=FULL), into a table with the key (conversation,
seq). Files are seeded and their WALs wrapped before anything is measured, because a WAL that still grows
makes a commit dearer.
"""

import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from time import perf_counter

from benchmarks import measures
from benchmarks.lines import TOGETHER, Bare, Ours, seeded
from benchmarks.order import Opening
from benchmarks.report import Report
from benchmarks.targets import SQLITE
from benchmarks.traffic import Wal, moved
from recollect.stores.sqlite import SqliteStore

WAL_BYTES = 4 * 1024 * 1024  # SQLite's checkpoint comes here and lets the WAL wrap

PAGES = ("page_count", "freelist_count", "page_size")
RAW_TABLE = """CREATE TABLE raw (conversation INTEGER, seq INTEGER, data BLOB,
    PRIMARY KEY (conversation, seq))"""
RAW_INSERT = "INSERT INTO raw VALUES (?, ?, ?)"
RAW_LAST = "SELECT data FROM raw WHERE conversation = ? ORDER BY seq DESC LIMIT ?"
RAW_ALL = "SELECT data FROM raw WHERE conversation = ? ORDER BY seq"


class Table(Bare):
    """A bare table and one connection."""

    def __init__(self, path: Path, rounds: int) -> None:
        super().__init__()
        self.path = path
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute("PRAGMA synchronous = FULL")
        self.db.execute(RAW_TABLE)
        for conversation, size in seeded(rounds):
            self.db.execute("BEGIN")
            rows = ((conversation, seq, self.data) for seq in range(size))
            self.db.executemany(RAW_INSERT, rows)
            self.db.execute("COMMIT")
        self.seqs = count(1_000_000)

    def insert(self, conversation: int) -> None:
        self.db.execute("BEGIN")
        self.db.execute(RAW_INSERT, (conversation, next(self.seqs), self.data))
        self.db.execute("COMMIT")

    async def add(self, conversation: int) -> None:
        self.insert(conversation)

    async def last(self, conversation: int) -> object:
        return self.db.execute(RAW_LAST, (conversation, 50)).fetchall()

    async def all(self, conversation: int) -> object:
        return self.db.execute(RAW_ALL, (conversation,)).fetchall()

    async def append_64(self, size: int, round_: int) -> float:
        """Return microseconds an append on the whole, checkpoints included; one connection's."""
        start = perf_counter()
        for n in range(TOGETHER):
            self.insert(n % 64)
        return (perf_counter() - start) / TOGETHER * 1e6

    append_16 = append_64


async def measure(report: Report, rounds: int, wanted: set[str], folder: str | None) -> None:
    """Run the lines of this store."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        raw = Table(Path(name) / "raw.db", rounds)
        async with SqliteStore(Path(name) / "ours.db") as store:
            run = measures.Run("SQLite", raw, Ours(store), SQLITE, rounds, report)
            await run.ours.seed(rounds)
            if "stored" in wanted:
                ours = database_bytes(store.path)
                messages = (await store.measure("bench")).messages
                measures.report_stored(run, ours, database_bytes(raw.path), messages)
            if wanted & {"append", "crowds", "moved"}:
                await wrap_wals(raw, run.ours, store.path)
            opening = Opening("sqlite", str(store.path))
            await measures.measure(run, wanted - {"moved"}, {}, opening)
            if "moved" in wanted:
                await measure_wal(run, raw, store.path)
        raw.db.close()


async def measure_wal(run: measures.Run, raw: Table, path: Path) -> None:
    """Both files have a log of their own."""
    ours, bare = Wal(path, run.ours.add), Wal(raw.path, raw.add)
    moved_by_ours = await moved(ours.add, ours.count, run.rounds)
    moved_by_raw = await moved(bare.add, bare.count, run.rounds)
    measures.report_moved(run, "WAL", moved_by_ours, moved_by_raw)


async def wrap_wals(raw: Table, ours: Ours, path: Path) -> None:
    async def add_raw() -> None:
        raw.insert(0)

    async def add_ours() -> None:
        for conversation in (*range(64), 999):
            await ours.add(conversation)

    await wrap(raw.path, add_raw)
    await wrap(path, add_ours)


async def wrap(path: Path, add: Callable[[], Awaitable[None]]) -> None:
    """Write until the WAL has reached its size and begins again at its start."""
    wal = path.with_name(path.name + "-wal")
    while wal.stat().st_size < WAL_BYTES:
        await add()
    for _ in range(200):
        await add()


def database_bytes(path: Path) -> int:
    """Return the size of what the database holds, whether it is in the file yet or in the WAL."""
    db = sqlite3.connect(path)
    try:
        numbers = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in PAGES)
        count, free, size = numbers
        return int((count - free) * size)
    finally:
        db.close()
