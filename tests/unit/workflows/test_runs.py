"""The table of run records: several processes, hostile texts, broken files."""

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recollect.clock import ManualClock, SystemClock
from recollect.errors import RunNotFound, SchemaTooNew, StoreCorrupt, StoreUnavailable
from recollect.workflows import liveness, run_table
from recollect.workflows.run_table import KEPT_RUNS, RunTable
from recollect.workflows.runs import new_run_id

T0 = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".recollect" / "runs.sqlite"


@pytest.fixture
def table(path: Path) -> RunTable:
    return RunTable(path)


def test_a_run_that_began_is_listed_without_content(table: RunTable) -> None:
    table.begin("r1", "chat", executor="e1", started_at=T0)
    record = table.get("r1")
    assert (record.status, record.workflow, record.executor) == ("running", "chat", "e1")
    assert (record.started_at, record.ended_at) == (T0, None)
    assert (record.input, record.output, record.tasks, record.error) == (None, None, {}, None)


def test_an_ended_run_keeps_what_it_was_ended_with(table: RunTable) -> None:
    table.begin("r1", "chat", executor="e1", started_at=T0)
    later = T0 + timedelta(seconds=3)
    table.end(
        "r1",
        "failed",
        ended_at=later,
        output=[1, "\ud800\x00é"],
        tasks={"t": {"status": "failed"}},
        error={"code": "X"},
        input={"a": None},
        note="taken over",
    )
    record = table.get("r1")
    assert (record.workflow, record.status, record.ended_at) == ("chat", "failed", later)
    assert record.output == [1, "\ud800\x00é"]
    assert (record.tasks, record.error) == ({"t": {"status": "failed"}}, {"code": "X"})
    assert (record.input, record.note) == ({"a": None}, "taken over")


def test_ending_a_run_twice_changes_nothing(table: RunTable) -> None:
    table.begin("r1", "chat", executor="e1", started_at=T0)
    table.end("r1", "completed", ended_at=T0, output=1)
    first = table.get("r1")
    table.end("r1", "completed", ended_at=T0, output=1)
    assert table.get("r1") == first
    assert len(table.list()) == 1


def test_a_run_whose_beginning_was_lost_can_still_end(table: RunTable) -> None:
    table.end("r1", "completed", ended_at=T0, output=1)
    assert table.get("r1").output == 1


def test_beginning_again_changes_only_the_owner_of_an_unfinished_run(table: RunTable) -> None:
    table.begin("r1", "chat", executor="e1", started_at=T0)
    table.begin("r1", "chat", executor="e2", started_at=T0 + timedelta(days=1))
    assert (table.get("r1").executor, table.get("r1").started_at) == ("e2", T0)
    table.end("r1", "completed", ended_at=T0)
    table.begin("r1", "chat", executor="e3", started_at=T0)
    assert (table.get("r1").executor, table.get("r1").status) == ("e2", "completed")


def test_lists_the_last_started_first_and_by_status(table: RunTable) -> None:
    for number in range(5):
        started = T0 + timedelta(seconds=number)
        table.begin(f"r{number}", "chat", executor="e", started_at=started)
    table.end("r1", "completed", ended_at=T0)
    table.end("r3", "failed", ended_at=T0)
    assert [r.run_id for r in table.list()] == ["r4", "r3", "r2", "r1", "r0"]
    assert [r.run_id for r in table.list(limit=2)] == ["r4", "r3"]
    assert [r.run_id for r in table.list(status="running")] == ["r4", "r2", "r0"]
    assert [r.run_id for r in table.unfinished()] == ["r0", "r2", "r4"]


def test_a_run_that_nobody_works_on_is_interrupted(path: Path) -> None:
    journals = path.parent / "journal"
    claim = liveness.claim_new(journals)
    table = RunTable(path, journals=journals)
    for number, executor in enumerate([claim.executor, "gone", claim.executor]):
        started = T0 + timedelta(seconds=number)
        table.begin(f"r{number}", "chat", executor=executor, started_at=started)
    table.end("r2", "completed", ended_at=T0)
    assert [r.status for r in table.list()] == ["completed", "interrupted", "running"]
    assert [r.run_id for r in table.list(status="running")] == ["r0"]
    claim.release()
    assert table.get("r0").status == "interrupted"
    assert table.get("r2").status == "completed"
    assert [r.run_id for r in table.list(status="interrupted", limit=1)] == ["r1"]
    assert table.list(status="running") == []
    assert [r.status for r in RunTable(path).unfinished()] == ["running", "running"]


def test_a_run_that_ends_while_somebody_looks_is_not_interrupted(path: Path) -> None:
    """Its process ends it first and gives its journal up second; who looks sees them in this order."""
    claim = liveness.claim_new(path.parent / "journal")
    table = RunTable(path, journals=path.parent / "journal")
    table.begin("r1", "chat", executor=claim.executor, started_at=T0)
    (seen_before,) = table.unfinished()
    table.end("r1", "completed", ended_at=T0)
    claim.remove()
    assert [r.status for r in table._seen([seen_before])] == ["completed"]


def test_times_sort_across_time_zones_and_fractions(table: RunTable) -> None:
    earlier = datetime.fromisoformat("2026-01-01T01:00:00.5+02:00")
    table.begin("early", "w", executor="e", started_at=earlier)
    table.begin("late", "w", executor="e", started_at=T0)
    assert [r.run_id for r in table.list()] == ["late", "early"]
    assert table.get("early").started_at == earlier


def test_an_unknown_id_names_the_closest(table: RunTable) -> None:
    with pytest.raises(RunNotFound, match="There are no runs yet"):
        table.get("nothing")
    table.begin("20260101-aaaa", "w", executor="e", started_at=T0)
    with pytest.raises(RunNotFound, match=r"'20260101-aaab'.*Did you mean '20260101-aaaa'\?"):
        table.get("20260101-aaab")
    with pytest.raises(RunNotFound):
        table.get("\udcff'; DROP TABLE runs; --")


def test_keeps_the_newest_ended_runs_and_every_unfinished_one(
    table: RunTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_table, "KEPT_RUNS", 3)
    table.begin("unfinished", "w", executor="e", started_at=T0)
    for number in range(5):
        at = T0 + timedelta(seconds=number)
        table.begin(f"r{number}", "w", executor="e", started_at=at)
        table.end(f"r{number}", "completed", ended_at=at)
    assert [r.run_id for r in table.list()] == ["r4", "r3", "r2", "unfinished"]
    assert KEPT_RUNS == 1_000


def test_what_was_trimmed_is_in_no_file(
    table: RunTable, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_table, "KEPT_RUNS", 1)
    table.end("r0", "completed", ended_at=T0, output="MARKER" * 100)
    assert any(b"MARKER" in file.read_bytes() for file in path.parent.iterdir())
    table.end("r1", "completed", ended_at=T0 + timedelta(seconds=1))
    assert not any(b"MARKER" in file.read_bytes() for file in path.parent.iterdir())


def test_only_the_owner_may_read_the_files(table: RunTable, path: Path) -> None:
    table.list()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_threads_and_processes_write_at_once(table: RunTable, path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC\n"
        "from recollect.workflows.run_table import RunTable\n"
        "table = RunTable(Path(sys.argv[1]))\n"
        "for n in range(20):\n"
        "    table.begin(f'{sys.argv[2]}-{n}', 'w', executor='e', started_at=datetime.now(UTC))\n"
        "    table.end(f'{sys.argv[2]}-{n}', 'completed', ended_at=datetime.now(UTC))\n"
    )
    others = [
        subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in ("p1", "p2")
    ]

    def begin(number: int) -> None:
        table.begin(f"t-{number}", "w", executor="e", started_at=T0)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(begin, range(40)))
    assert [other.wait() for other in others] == [0, 0]
    assert len(table.list(limit=1_000)) == 80
    assert len(table.unfinished()) == 40


def test_who_creates_the_table_waits_for_another_who_does(table: RunTable, path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(1) as threads:
            begun = threads.submit(table.begin, "r", "w", executor="e", started_at=T0)
            with pytest.raises(TimeoutError):
                begun.result(timeout=0.2)
            other.execute("COMMIT")
            begun.result()
    assert table.get("r").status == "running"


def test_a_damaged_file_is_named(table: RunTable, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreCorrupt, match=r"runs\.sqlite is damaged.*move it away"):
        table.list()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"file/runs\.sqlite cannot be used \(.*writable"):
        RunTable(tmp_path / "file" / "runs.sqlite").list()


def test_a_newer_table_is_left_alone(table: RunTable, path: Path) -> None:
    table.list()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(SchemaTooNew, match="upgrade Recollect"):
        table.begin("r", "w", executor="e", started_at=T0)


@pytest.fixture
def locked(table: RunTable, path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    table.list()
    monkeypatch.setattr(run_table, "_BUSY_SECONDS", 0.05)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    yield
    db.close()


@pytest.mark.usefixtures("locked")
def test_a_file_locked_by_another_says_to_try_again(table: RunTable) -> None:
    with pytest.raises(StoreUnavailable, match="another process holds it"):
        table.begin("r", "w", executor="e", started_at=T0)


def test_run_ids_are_short_unique_and_sort_by_time() -> None:
    clock = ManualClock()
    same_time = {new_run_id(clock) for _ in range(20)}
    assert len(same_time) == 20  # of 1,000 two would be equal in one run of 10,000
    assert max(len(run_id) for run_id in same_time) <= 40
    clock.advance(timedelta(microseconds=1))
    assert new_run_id(clock) > max(same_time)
    assert new_run_id(SystemClock()) > new_run_id(clock)


def test_records_can_be_read_without_loading_the_engine() -> None:
    code = "import recollect.workflows.run_table, sys; sys.exit('dbos' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
