"""What is erased leaves the log of a SQLite store, too, whatever others do with that log."""

import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from recollect.messages import Message
from recollect.stores.records import ConversationId, NewRecord
from recollect.stores.sqlite.store import SqliteStore

TALK = ConversationId("ns", "talk")


async def test_a_log_is_cut_though_others_bring_it_in(tmp_path: Path) -> None:
    """SQLite does not wait for them: each process does that now and then, between two writes."""
    path = tmp_path / "store.sqlite"
    done = threading.Event()

    def bring_in() -> None:
        with closing(sqlite3.connect(path)) as db:
            while not done.is_set():
                db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    async with SqliteStore(path) as store:
        other = threading.Thread(target=bring_in)
        other.start()
        try:
            for _ in range(20):
                await store.append(TALK, [NewRecord(Message("user", "secret"), 1)])
                await store.delete(TALK)
                assert await store.scrub([TALK]) == ""
        finally:
            done.set()
            other.join()


async def test_a_log_that_is_being_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    async with SqliteStore(path, lock_timeout=timedelta(milliseconds=50)) as store:
        await store.append(TALK, [NewRecord(Message("user", "secret"), 1)])
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM heads").fetchone()
            await store.delete(TALK)
            assert f"{path.name}-wal may hold it" in await store.scrub([TALK])
        assert await store.scrub([TALK]) == ""
