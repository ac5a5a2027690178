"""Our stores keep every promise of the contract: row 37 of specs/memory.md section 13."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest

from recollect.clock import ManualClock
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.records import ConversationId, NewRecord
from recollect.stores.sqlite import SqliteStore
from recollect.testing import (
    Damage,
    DurableStoreSuite,
    MakeStore,
    RaiseSchemaVersion,
    StoreSuite,
)

HERE = ConversationId("acme/chat", "c-1")


class TestInMemoryStore(StoreSuite):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        return lambda clock: InMemoryStore(clock=clock)


class TestSqliteStore(StoreSuite):
    @pytest.fixture
    def make_store(self, folder: Path) -> MakeStore:
        numbers = count()
        return lambda clock: SqliteStore(folder / f"{next(numbers)}.db", clock=clock)


class TestSqliteStoreOnDisk(DurableStoreSuite):
    @pytest.fixture
    def path(self, folder: Path) -> Path:
        return folder / "conversations.db"

    @pytest.fixture
    def reopen(self, path: Path) -> MakeStore:
        return lambda clock: SqliteStore(path, clock=clock, lock_timeout=timedelta(minutes=1))

    @pytest.fixture
    def damage(self, path: Path) -> Damage:
        async def damage(conversation: ConversationId, seq: int) -> None:
            with closing(sqlite3.connect(path)) as db, db:
                changed = db.execute(
                    "UPDATE messages SET data = substr(data, 2) WHERE seq = ? AND uid = "
                    "(SELECT uid FROM heads WHERE namespace = ? AND name = ?)",
                    (seq, *conversation),
                )
                assert changed.rowcount == 1

        return damage

    @pytest.fixture
    def raise_schema_version(self, path: Path) -> RaiseSchemaVersion:
        async def raise_schema_version(number: int) -> None:
            with closing(sqlite3.connect(path)) as db:
                db.execute(f"PRAGMA user_version = {number}")

        return raise_schema_version


@pytest.mark.parametrize("suite", [StoreSuite, DurableStoreSuite])
def test_no_promise_of_a_suite_hides_another(suite: type) -> None:
    names = [name for group in suite.__mro__ for name in vars(group) if name.startswith("test_")]
    assert len(names) == len(set(names))


FROM_ANY_LOOP: dict[str, Callable[[Path], Store]] = {
    "in memory": lambda folder: InMemoryStore(clock=ManualClock()),
    "SQLite": lambda folder: SqliteStore(folder / "a.db", clock=ManualClock()),
}
any_loop = pytest.mark.parametrize("make", FROM_ANY_LOOP.values(), ids=FROM_ANY_LOOP)


class TestFromAnyLoop:
    """What these stores promise beyond the contract: they belong to no event loop."""

    @any_loop
    def test_it_works_from_a_second_loop_after_the_first_has_ended(
        self, folder: Path, make: Callable[[Path], Store]
    ) -> None:
        store = make(folder)

        async def begin() -> None:
            await store.open()
            await store.append(HERE, _say("a"))

        async def go_on() -> list[str]:
            await store.append(HERE, _say("b"))
            found = await store.load(HERE)
            await store.close()
            assert found is not None
            return [message.text for message in found.messages]

        asyncio.run(begin())
        assert asyncio.run(go_on()) == ["a", "b"]

    @any_loop
    async def test_it_works_from_loops_in_several_threads_at_once(
        self, folder: Path, make: Callable[[Path], Store]
    ) -> None:
        async with make(folder) as store:

            async def write(thread: int) -> None:
                for n in range(20):
                    await store.append(HERE, _say(f"{thread}.{n}"))

            await asyncio.gather(
                write(0), *(asyncio.to_thread(asyncio.run, write(n)) for n in range(1, 4))
            )
            found = await store.load(HERE)
            assert found is not None
            stored = [message.text for message in found.messages]
            for thread in range(4):
                own = [text for text in stored if text.startswith(f"{thread}.")]
                assert own == [f"{thread}.{n}" for n in range(20)]
            assert found.head.message_count == 80


def _say(text: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1)]
