"""Lone appends are done on their caller's loop, groups in a thread; both keep what they promise."""

import asyncio
import fcntl
import gc
import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from types import ModuleType
from typing import Any

import pytest
import pytest_asyncio

from recollect.clock import ManualClock
from recollect.messages import Message
from recollect.stores.records import ConversationId, NewRecord, Written
from recollect.stores.sqlite import SqliteStore, changes, reads
from recollect.stores.sqlite.database import Database
from recollect.stores.sqlite.jobs import Job
from recollect.stores.sqlite.sessions import Writing
from recollect.stores.sqlite.worker import Worker
from tests.servers.processes import until

HERE = ConversationId("space", "here")
TTL = timedelta(hours=1)
LOCK_TIMEOUT = 60.0  # seconds; longer than any test is held up by other programs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


@pytest_asyncio.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path, lock_timeout=timedelta(seconds=LOCK_TIMEOUT)) as store:
        yield store


def said(text: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1)]


async def texts(store: SqliteStore) -> list[str]:
    found = await store.load(HERE)
    return [message.text for message in found.messages] if found else []


def threads_of(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> list[int]:
    """Return the threads in which a function is called from now on, call by call."""
    seen: list[int] = []
    real = getattr(module, name)

    def noted(*arguments: Any) -> Any:
        seen.append(threading.get_ident())
        return real(*arguments)

    monkeypatch.setattr(module, name, noted)
    return seen


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The thread of every append."""
    return threads_of(monkeypatch, changes, "append")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine's disk is."""
    monkeypatch.setattr("recollect.stores.sqlite.worker._QUICK", 10.0)


async def test_a_lone_append_is_made_in_place_once_they_are_quick(
    store: SqliteStore, threads: list[int], quick: None
) -> None:
    for n in range(20):
        await store.append(HERE, said(str(n)))
    assert threads[-1] == threading.get_ident()
    assert await texts(store) == [str(n) for n in range(20)]


async def test_appends_that_come_together_go_to_the_thread(
    store: SqliteStore, threads: list[int], quick: None
) -> None:
    for n in range(20):
        await store.append(HERE, said(str(n)))
    threads.clear()
    await asyncio.gather(*(store.append(HERE, said(str(n))) for n in range(20, 36)))
    assert set(threads) - {threading.get_ident()} == set(threads)
    assert await texts(store) == [str(n) for n in range(36)]


async def test_a_short_listing_is_made_in_place_a_long_one_in_its_thread(
    store: SqliteStore, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = threads_of(monkeypatch, reads, "find")
    await store.append(HERE, said("hi"), owner="o")
    here = threading.get_ident()
    for _ in range(20):
        assert len((await store.find("space", owner="o", limit=10)).heads) == 1
    assert threads[-1] == here
    threads.clear()
    for _ in range(20):
        await store.find("space", limit=1000)
        await store.find("space", prefix="he")
    assert here not in threads


async def test_an_idle_thread_keeps_nothing_of_what_it_read(store: SqliteStore) -> None:
    await store.append(HERE, said("hi"))
    found = await store.load(HERE)
    assert found is not None

    def is_let_go() -> bool:
        return not any(isinstance(one, Job) for one in gc.get_referrers(found))

    until(is_let_go, "the thread to let go of it")


async def test_slow_appends_are_left_to_the_thread(
    store: SqliteStore, threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recollect.stores.sqlite.worker._QUICK", 0.0)
    for n in range(20):
        await store.append(HERE, said(str(n)))
    assert threading.get_ident() not in threads


async def test_the_turn_of_another_process_holds_up_no_loop(
    store: SqliteStore, path: Path, quick: None
) -> None:
    for n in range(20):
        await store.append(HERE, said(str(n)))
    other = os.open(path.with_name(path.name + "-lock"), os.O_RDWR)
    fcntl.flock(other, fcntl.LOCK_EX)
    append = asyncio.ensure_future(store.append(HERE, said("after")))
    for _ in range(50):
        await asyncio.sleep(0)  # a held-up loop would never come here
    assert not append.done()
    fcntl.flock(other, fcntl.LOCK_UN)
    os.close(other)
    await append
    assert (await texts(store))[-1] == "after"


async def test_a_lock_of_another_program_holds_up_no_loop(
    store: SqliteStore, path: Path, quick: None
) -> None:
    for n in range(20):
        await store.append(HERE, said(str(n)))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    append = asyncio.ensure_future(store.append(HERE, said("after")))
    start = monotonic()
    for _ in range(50):
        await asyncio.sleep(0)
    assert monotonic() - start < LOCK_TIMEOUT / 2
    assert not append.done()
    other.execute("COMMIT")
    other.close()
    await append
    assert (await texts(store))[-1] == "after"


async def test_close_takes_along_what_no_thread_has_seen_yet(path: Path) -> None:
    def count(db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT count(*) FROM heads").fetchone()[0])

    database = Database(path, "FULL", TTL)
    worker: Worker[sqlite3.Connection] = Worker("w", partial(Writing, database), lambda e: e)
    await worker.connect()
    asked = asyncio.ensure_future(worker.run_short(count))
    await asyncio.sleep(0)  # it has been asked for, no more
    await worker.close()
    assert await asyncio.wait_for(asked, 60) == 0


async def test_an_append_knows_what_another_connection_has_written(path: Path) -> None:
    async with SqliteStore(path) as one, SqliteStore(path) as two:
        for n in range(0, 40, 2):
            await one.append(HERE, said(str(n)), ttl=TTL)
            await two.append(HERE, said(str(n + 1)), ttl=TTL)
        await two.delete(HERE)
        written = await one.append(HERE, said("new"))
        assert isinstance(written, Written)
        assert (written.head.message_count, written.head.version) == (1, 1)


async def test_a_head_that_was_swept_is_begun_anew(path: Path) -> None:
    clock = ManualClock()
    async with SqliteStore(path, clock=clock) as store:
        first = await store.append(HERE, said("old"), ttl=TTL)
        clock.advance(TTL)
        swept = await store.sweep()
        assert swept.conversations == 1
        second = await store.append(HERE, said("new"))
        assert isinstance(first, Written)
        assert isinstance(second, Written)
        assert second.head.generation != first.head.generation
        assert await texts(store) == ["new"]


async def test_a_group_of_all_kinds_leaves_exact_counts_in_the_order_asked_for(
    store: SqliteStore,
) -> None:
    await store.append(HERE, said("first"))
    taking = asyncio.ensure_future(store.lease(HERE, holder="holder", ttl=TTL))
    await asyncio.gather(
        *(store.append(HERE, said(str(n)), owner=f"o{n}") for n in range(8)),
        store.annotate(HERE, {"topic": "x"}),
        store.sweep(),
    )
    lease = await taking
    assert lease is not None
    await asyncio.gather(
        *(store.append(HERE, said(str(n)), lease=lease) for n in range(8, 12)),
        store.release(lease),
    )
    found = await store.load(HERE)
    assert found is not None
    assert [message.text for message in found.messages] == ["first", *map(str, range(12))]
    assert (found.head.message_count, found.head.token_count) == (13, 13)
    assert (found.head.version, found.head.owner) == (14, "o7")
