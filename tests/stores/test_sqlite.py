# ruff: noqa: ASYNC240 - nobody else uses these loops
"""What only the SQLite store promises: one file, its locks, its failures, its threads."""

import asyncio
import base64
import fcntl
import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from recollect.clock import ManualClock
from recollect.errors import (
    InvalidInput,
    SchemaTooNew,
    StoreClosed,
    StoreCorrupt,
    StoreUnavailable,
    VersionConflict,
)
from recollect.messages import Message
from recollect.stores.records import ConversationId, NewRecord, Swept, Written
from recollect.stores.sqlite import SqliteStore, database

HERE = ConversationId("space", "here")
SOON = timedelta(milliseconds=30)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "memory.db"


@pytest_asyncio.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(path, clock=ManualClock()) as store:
        yield store


def said(*texts: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1) for text in texts]


async def texts(store: SqliteStore, conversation: ConversationId = HERE) -> list[str]:
    found = await store.load(conversation)
    return [message.text for message in found.messages] if found else []


async def head_agrees_with_rows(store: SqliteStore, conversation: ConversationId = HERE) -> bool:
    found = await store.load(conversation)
    archive = await store.load(conversation, source="archive")
    assert found is not None
    assert archive is not None
    counted = (
        len(found.records),
        sum(record.tokens for record in found.records),
        len(archive.records),
    )
    head = found.head
    return counted == (head.message_count, head.token_count, head.archived_count)


def python(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a Python that runs ``script``, with the names of this module's imports at hand."""
    before = """
        import asyncio, os, resource, sys, urllib.parse  # needed when nothing can be imported
        from datetime import timedelta
        from functools import partial
        from recollect.errors import *
        from recollect.messages import Message
        from recollect.stores import sqlite
        from recollect.stores.records import *
        # a process may have no processor for a while, just when it is its turn to write
        SqliteStore = partial(sqlite.SqliteStore, lock_timeout=timedelta(minutes=1))
        HERE = ConversationId("space", "here")
        def said(*texts):
            return [NewRecord(Message("user", text), 1) for text in texts]
    """
    code = textwrap.dedent(before) + textwrap.dedent(script)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE)


def output_of(process: "subprocess.Popen[str]") -> str:
    with process:
        assert process.stdout is not None
        found = process.stdout.read()
    assert process.returncode == 0
    return found


# ---- the file ------------------------------------------------------------------------------------


async def test_creates_the_folder_and_the_file_for_its_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "memory.db"
    async with SqliteStore(path) as store:
        await store.append(HERE, said("a"))
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["a?b#c%20d.db", "größe 漢字.db", "mode=memory&x.db"])
async def test_takes_any_file_name(tmp_path: Path, name: str) -> None:
    async with SqliteStore(tmp_path / name) as store:
        await store.append(HERE, said("a"))
    assert (tmp_path / name).stat().st_size > 0
    async with SqliteStore(str(tmp_path / name)) as store:
        assert await texts(store) == ["a"]


@pytest.mark.parametrize("name", ["", ":memory:"])
def test_refuses_names_that_mean_no_file(name: str) -> None:
    with pytest.raises(InvalidInput, match="names no file"):
        SqliteStore(name)


async def test_says_where_it_is_and_what_it_survives(path: Path) -> None:
    async with SqliteStore(path) as full, SqliteStore(path, synchronous="NORMAL") as normal:
        assert (await full.ping()).location == str(path)
        assert (await full.ping()).durable
        assert "synced at every commit" in (await full.ping()).durability
        assert "last moments" in (await normal.ping()).durability


async def test_ping_notices_that_the_file_is_gone(store: SqliteStore, path: Path) -> None:
    await store.ping()
    path.rename(path.with_name("elsewhere.db"))
    with pytest.raises(StoreUnavailable, match="removed or replaced") as caught:
        await store.ping()
    assert str(path) in str(caught.value)


async def test_close_leaves_one_file_and_its_lock(store: SqliteStore, path: Path) -> None:
    await store.append(HERE, said("a"))
    await store.load(HERE)
    await store.close()
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}-lock"}


async def test_deleted_content_does_not_linger_in_the_file(store: SqliteStore, path: Path) -> None:
    await store.append(HERE, said("a secret" * 2000, *("a secret" for _ in range(50))))
    await store.fold(HERE, [2, 3], archive_as="old")
    assert await store.delete(HERE)
    await store.close()
    assert b"a secret" not in path.read_bytes()


# ---- files it cannot use -------------------------------------------------------------------------


async def refused(path: Path, error: type[Exception], match: str) -> None:
    store = SqliteStore(path, lock_timeout=SOON)
    with pytest.raises(error, match=match) as caught:
        await store.open()
    await store.close()
    assert str(path) in str(caught.value)


async def test_refuses_a_file_that_is_no_database(path: Path) -> None:
    path.write_text("a letter to nobody " * 500)
    await refused(path, StoreCorrupt, "not a SQLite database")
    assert path.read_text().startswith("a letter")


async def test_refuses_the_database_of_another_program(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE heads (theirs)")
    db.close()
    before = path.read_bytes()
    await refused(path, StoreCorrupt, "another program")
    assert path.read_bytes() == before


async def test_refuses_a_newer_schema(store: SqliteStore, path: Path) -> None:
    await store.close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    await refused(path, SchemaTooNew, "upgrade Recollect")


async def test_takes_an_empty_file(path: Path) -> None:
    path.touch()
    async with SqliteStore(path) as store:
        await store.append(HERE, said("a"))
        assert await texts(store) == ["a"]


async def test_refuses_a_folder(tmp_path: Path) -> None:
    await refused(tmp_path, StoreUnavailable, "cannot be opened")


async def test_refuses_a_file_in_the_place_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    await refused(tmp_path / "file" / "memory.db", StoreUnavailable, "folder")


async def test_a_truncated_file_is_damaged(store: SqliteStore, path: Path) -> None:
    await store.append(HERE, said(*("x" * 900 for _ in range(200))))
    await store.close()
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(StoreCorrupt, match="damaged") as caught:
        async with SqliteStore(path) as again:
            await again.load(HERE)
    assert str(path) in str(caught.value)


async def test_a_damaged_page_spoils_only_what_lies_on_it(store: SqliteStore, path: Path) -> None:
    await store.append(ConversationId("space", "whole"), said("fine"))
    await store.append(HERE, said(*("x" * 900 for _ in range(200))))
    await store.close()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 4096 // 2 * 4096)
        file.write(os.urandom(4096))
    async with SqliteStore(path) as again:
        with pytest.raises(StoreCorrupt, match="damaged"):
            await again.load(HERE)
        assert await texts(again, ConversationId("space", "whole")) == ["fine"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [("stored_at = 1 << 62", "its time"), ("data = 5", "not a message: TypeError")],
    ids=["time", "number"],
)
async def test_a_record_that_somebody_spoiled_is_damaged(
    store: SqliteStore, path: Path, spoil: str, says: str
) -> None:
    await store.append(HERE, said("a", "a secret", "c"))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE messages SET data = CAST(data AS TEXT) WHERE seq = 1")
        db.execute(f"UPDATE messages SET {spoil} WHERE seq = 2")
    found = await store.load(HERE)
    assert found is not None
    assert [record.message.text for record in found.records] == ["a", "c"]
    assert [(one.seq, says in one.reason) for one in found.damaged] == [(2, True)]


async def test_missing_tables_are_told_as_damage(store: SqliteStore, path: Path) -> None:
    await store.close()
    db = sqlite3.connect(path)
    db.execute("DROP TABLE messages")
    db.close()
    async with SqliteStore(path) as again:
        with pytest.raises(StoreCorrupt, match="not as Recollect left it") as caught:
            await again.append(HERE, said("a secret"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("there", ["missing", "there"])
async def test_says_that_a_folder_cannot_be_written(tmp_path: Path, there: str) -> None:
    tmp_path.chmod(0o755)
    for above in tmp_path.parents[:2]:
        above.chmod(0o755)
    path = tmp_path / "memory.db"
    if there == "there":
        async with SqliteStore(path) as store:
            await store.append(HERE, said("a"))
        path.chmod(0o444)
        path.with_name("memory.db-lock").chmod(0o444)
    tmp_path.chmod(0o555)
    script = """
        async def main():
            store = SqliteStore(sys.argv[1])
            try:
                await store.open()
                await store.append(HERE, said("b"))
            except StoreUnavailable as error:
                print(error)
            await store.close()
        if os.geteuid() == 0:
            os.setuid(65534)
        asyncio.run(main())
    """
    told = output_of(python(script, path))
    tmp_path.chmod(0o755)
    assert str(path) in told
    assert "allow this user" in told or "may write to" in told


# ---- a disk that is full, a file that is locked --------------------------------------------------


async def test_a_full_disk_takes_nothing_of_a_group_and_recovers(path: Path) -> None:
    script = """
        async def main(path):
            async with SqliteStore(path) as store:
                await store.append(HERE, said("before"))
                _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
                resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
                big = [store.append(HERE, said("x" * 100_000, "y")) for _ in range(8)]
                results = await asyncio.gather(*big, return_exceptions=True)
                assert {type(result) for result in results} == {StoreUnavailable}, results
                assert path in str(results[0]) and "x" * 9 not in str(results[0])
                assert (await store.load(HERE)).head.message_count == 1
                resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
                await store.append(HERE, said("after"))
                found = await store.load(HERE)
                print([m.text for m in found.messages], found.head.message_count)
        asyncio.run(main(sys.argv[1]))
    """
    assert output_of(python(script, path)) == "['before', 'after'] 2\n"
    async with SqliteStore(path) as store:
        assert await head_agrees_with_rows(store)


async def test_a_full_file_takes_nothing_and_the_small_writes_of_its_group_go_on(
    path: Path,
) -> None:
    async with SqliteStore(path) as store:
        await store.append(HERE, said("before"))
        await fill_up(store)
        results = await asyncio.gather(
            store.append(HERE, said("small")),
            store.append(HERE, said("big" * 300_000)),
            store.append(HERE, said("small too")),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [Written, StoreUnavailable, Written]
        assert "full" in str(results[1])
        assert await texts(store) == ["before", "small", "small too"]
        assert await head_agrees_with_rows(store)


async def fill_up(store: SqliteStore) -> None:
    """Let the writer's connection believe that the disk holds few pages more."""

    def limit(db: sqlite3.Connection) -> None:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages + 20}")

    await store._writer.run(limit)


async def test_a_locked_file_is_unavailable_until_it_is_free(path: Path) -> None:
    async with SqliteStore(path, lock_timeout=SOON) as store:
        await store.append(HERE, said("a"))
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked") as caught:
            await store.append(HERE, said("b"))
        assert str(path) in str(caught.value)
        assert caught.value.retryable
        assert await texts(store) == ["a"]  # readers do not wait
        db.execute("ROLLBACK")
        db.close()
        await store.append(HERE, said("c"))
        assert await texts(store) == ["a", "c"]


async def test_a_process_that_keeps_its_turn_makes_it_unavailable(path: Path) -> None:
    async with SqliteStore(path, lock_timeout=SOON) as store:
        await store.append(HERE, said("a"))
        with path.with_name("memory.db-lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(StoreUnavailable, match="locked"):
                await store.append(HERE, said("b"))
        await store.append(HERE, said("c"))
        assert await texts(store) == ["a", "c"]


async def test_opens_and_reads_while_another_program_writes(store: SqliteStore, path: Path) -> None:
    await store.append(HERE, said("a"))
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    async with SqliteStore(path, lock_timeout=SOON, clock=store.clock) as other:
        assert await texts(other) == ["a"]
    db.close()


# ---- groups --------------------------------------------------------------------------------------


async def test_a_write_that_fails_in_a_group_fails_alone(store: SqliteStore) -> None:
    beyond = [NewRecord(Message("user", "good")), NewRecord(Message("user", "beyond"), 2**70)]
    results = await asyncio.gather(
        store.append(HERE, said("a")),
        store.append(HERE, beyond),
        store.replace(HERE, said("no"), expect_version=77),
        store.append(HERE, said("b")),
        return_exceptions=True,
    )
    assert [type(r) for r in results] == [Written, InvalidInput, VersionConflict, Written]
    assert await texts(store) == ["a", "b"]
    assert await head_agrees_with_rows(store)


async def test_appends_of_one_tick_keep_their_order(store: SqliteStore) -> None:
    wanted = [str(number) for number in range(1000)]
    await asyncio.gather(*(store.append(HERE, said(text)) for text in wanted))
    assert await texts(store) == wanted


async def test_a_cancelled_append_is_there_whole_or_not_at_all(store: SqliteStore) -> None:
    await store.append(HERE, said("first"))
    tasks = []
    for number in range(60):
        tasks.append(asyncio.create_task(store.append(HERE, said(f"{number}.a", f"{number}.b"))))
        await asyncio.sleep(0)
        if number % 3 == 0:
            tasks[-1].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    found = (await texts(store))[1:]
    pairs = list(zip(found[::2], found[1::2], strict=True))
    assert all(a.removesuffix(".a") == b.removesuffix(".b") for a, b in pairs)
    kept = {int(a.removesuffix(".a")) for a, _ in pairs}
    assert kept >= {n for n, result in enumerate(results) if isinstance(result, Written)}
    assert await head_agrees_with_rows(store)


async def test_a_cancelled_append_that_waits_is_not_done(path: Path) -> None:
    async with SqliteStore(path, lock_timeout=timedelta(seconds=20)) as store:
        await store.append(HERE, said("a"))
        with path.with_name("memory.db-lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            waiting = asyncio.create_task(store.append(HERE, said("waiting")))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await store.append(HERE, said("b"))
        assert await texts(store) == ["a", "b"]


# ---- loops, threads, closing ---------------------------------------------------------------------


def test_serves_several_event_loops_at_once(path: Path) -> None:
    store = SqliteStore(path)
    failures: list[BaseException] = []

    async def write(name: str) -> None:
        for number in range(40):
            await store.append(HERE, said(f"{name}-{number}"))
            found = await store.load(HERE)
            assert found is not None
            assert found.head.message_count == len(found.records)  # of one moment

    def run(name: str) -> None:
        try:
            asyncio.run(write(name))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    asyncio.run(open_only(store))
    threads = [threading.Thread(target=run, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []

    async def check() -> None:
        found = await texts(store)
        for name in "abc":
            mine = [text for text in found if text.startswith(name)]
            assert mine == [f"{name}-{number}" for number in range(40)]
        assert len(found) == 120
        await store.close()

    asyncio.run(check())


async def open_only(store: SqliteStore) -> None:
    await store.open()


def test_survives_that_a_loop_ends_while_it_writes(path: Path) -> None:
    store = SqliteStore(path)

    async def leave() -> None:
        await store.open()
        asyncio.ensure_future(store.append(HERE, said("left behind")))  # noqa: RUF006
        await asyncio.sleep(0)

    async def go_on() -> None:
        await store.append(HERE, said("a"))
        assert (await texts(store))[-1] == "a"
        assert await head_agrees_with_rows(store)
        await store.close()

    asyncio.run(leave())
    asyncio.run(go_on())


async def test_close_drains_and_ends_its_threads(path: Path) -> None:
    store = await SqliteStore(path).open()
    writes = [asyncio.ensure_future(store.append(HERE, said(str(n)))) for n in range(100)]
    await asyncio.sleep(0)
    await asyncio.gather(store.close(), store.close())
    assert all(isinstance(write.result(), Written) for write in writes)
    await store.close()
    assert not [t for t in threading.enumerate() if t.is_alive() and str(path) in t.name]
    for use in (store.append(HERE, said("late")), store.load(HERE), store.ping(), store.open()):
        with pytest.raises(StoreClosed, match="open a new one") as caught:
            await use
        assert str(path) in str(caught.value)


async def test_a_store_that_failed_to_open_can_be_tried_again(path: Path) -> None:
    path.mkdir()
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable):
        await store.open()
    path.rmdir()
    async with store:
        await store.append(HERE, said("a"))
        assert await texts(store) == ["a"]


# ---- forks and processes -------------------------------------------------------------------------


async def test_a_forked_child_opens_anew(path: Path) -> None:
    script = """
        import threading, warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # about threads and fork
        store = SqliteStore(sys.argv[1])

        async def write(name, count=20):
            for number in range(count):
                await store.append(HERE, said(f"{name}-{number}"))
                await store.load(HERE, last=1)

        asyncio.run(write("before", 3))
        storm = threading.Thread(target=lambda: asyncio.run(write("storm", 300)))
        storm.start()
        children = []
        for number in range(4):
            child = os.fork()
            if child == 0:
                asyncio.run(write(f"child{number}"))
                asyncio.run(store.close())
                os._exit(0)
            children.append(child)
            asyncio.run(write(f"parent{number}", 5))
        storm.join()
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
        asyncio.run(store.close())
    """
    output_of(python(script, path))
    async with SqliteStore(path) as store:
        found = await texts(store)
        wanted = {"before": 3, "storm": 300}
        wanted |= {f"child{n}": 20 for n in range(4)} | {f"parent{n}": 5 for n in range(4)}
        for name, count in wanted.items():
            mine = [text for text in found if text.startswith(f"{name}-")]
            assert mine == [f"{name}-{number}" for number in range(count)]
        assert len(found) == sum(wanted.values())
        assert await head_agrees_with_rows(store)


async def test_processes_share_a_file_without_loss(path: Path) -> None:
    script = """
        async def main(path, name):
            async with SqliteStore(path) as store:
                async def write(task):
                    for number in range(30):
                        where = ConversationId("space", ["here", "there"][number % 2])
                        text = f"{name}.{task}.{number}"
                        await store.append(where, said(text, text + "+"), key=text)
                await asyncio.gather(*(write(task) for task in range(4)))
        asyncio.run(main(sys.argv[1], sys.argv[2]))
    """
    for process in [python(script, path, name) for name in "pqr"]:
        output_of(process)
    async with SqliteStore(path) as store:
        for where, first in ((HERE, 0), (ConversationId("space", "there"), 1)):
            found = await texts(store, where)
            assert [text + "+" for text in found[::2]] == found[1::2]
            for name in "pqr":
                for task in range(4):
                    mine = [text for text in found[::2] if text.startswith(f"{name}.{task}.")]
                    assert mine == [f"{name}.{task}.{number}" for number in range(first, 30, 2)]
            assert len(found) == 3 * 4 * 15 * 2
            assert await head_agrees_with_rows(store, where)


async def test_processes_may_create_the_file_at_the_same_time(path: Path) -> None:
    script = """
        async def main(path):
            async with SqliteStore(path) as store:
                await store.append(HERE, said(str(os.getpid())))
        asyncio.run(main(sys.argv[1]))
    """
    for process in [python(script, path.parent / "new" / "memory.db") for _ in range(5)]:
        output_of(process)
    async with SqliteStore(path.parent / "new" / "memory.db") as store:
        assert len(set(await texts(store))) == 5


# ---- cursors and upkeep --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        ["created", "space", None, 0, 2**63],
        ["created", "space", None, 0, "1"],
        ["created", "space", None, 0],
        ["created", "other", None, 0, 1],
        ["created", "space", "ann", 0, 1],
        ["active", "space", None, 0, 1],
        {"uid": 1},
    ],
)
async def test_refuses_cursors_it_did_not_make(store: SqliteStore, value: object) -> None:
    cursor = base64.urlsafe_b64encode(msgspec.json.encode(value)).decode()
    with pytest.raises(InvalidInput):
        await store.find("space", order="created", cursor=cursor)


async def test_sweeps_in_small_steps_until_nothing_is_left(path: Path) -> None:
    clock = ManualClock()
    async with SqliteStore(path, clock=clock) as store:
        for number in range(3):
            where = ConversationId("space", str(number))
            await store.append(where, said(*"abcde"), metadata={"a": 1}, ttl=SOON, key="k")
            await store.fold(where, [1, 2], archive_as="old")
        clock.advance(SOON)
        await store.append(ConversationId("space", "0"), said("anew"))
        steps = []
        while (step := await store.sweep(limit=4)) != Swept():
            steps.append(step)
        assert all(s.conversations + s.records + s.keys <= 4 for s in steps)
        assert (sum(s.conversations for s in steps), sum(s.records for s in steps)) == (2, 15)
        assert await texts(store, ConversationId("space", "0")) == ["anew"]
    db = sqlite3.connect(path)
    counts = [
        db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("heads", "messages", "archive", "metadata", "keys", "garbage")
    ]
    db.close()
    assert counts == [1, 1, 0, 0, 0, 0]


async def test_old_keys_are_trimmed_by_later_writes(path: Path) -> None:
    clock = ManualClock()
    async with SqliteStore(path, clock=clock) as store:
        for number in range(200):
            await store.append(HERE, said("x"), key=str(number))
            clock.advance(timedelta(hours=4))
    db = sqlite3.connect(path)
    (kept,) = db.execute("SELECT count(*) FROM keys").fetchone()
    db.close()
    assert 42 <= kept <= 42 + 16


@pytest.mark.parametrize("moment", [1, 2, 3])
async def test_a_file_that_is_being_created_is_not_taken_for_another_programs(
    path: Path, moment: int
) -> None:
    """It is created before the first, second or third thing that is looked at."""
    looked_at, created = list[str](), list[int]()

    def create(statement: str) -> None:
        looked_at.append(statement)
        if len(looked_at) == moment:
            with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as creating:
                creating.execute("BEGIN IMMEDIATE")
                creating.execute("CREATE TABLE ours (id INTEGER)")
                creating.execute(f"PRAGMA application_id = {database._APPLICATION}")
                creating.execute("COMMIT")
            created.append(moment)

    with closing(sqlite3.connect(path, isolation_level=None)) as looking:
        looking.execute("PRAGMA journal_mode = WAL")  # as who creates it does first
        looking.set_trace_callback(create)  # it swallows what goes wrong in it
        assert database._is_ours(looking, path) is (moment == 1)
        looking.set_trace_callback(None)
        assert created == [moment], looked_at
