"""What is read of a journal that another process may be writing."""

import json
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from recollect.workflows.journal_file import contents_of


def test_one_run_is_read_without_what_others_were_given(tmp_path: Path) -> None:
    file = tmp_path / "journal.sqlite"
    write_journal(file)
    assert list(contents_of(file, "r2")) == [("r2", "given r2"), ("r2", None), ("r2", "did r2")]
    assert len(list(contents_of(file))) == 6
    assert list(contents_of(file, "r3")) == []


def write_journal(file: Path) -> None:
    """Runs r1 and r2 in the tables of dbos, with the columns that we read."""
    with closing(sqlite3.connect(file, timeout=60)) as db, db:  # who reads may be paused meanwhile
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE workflow_status (workflow_uuid, inputs, output)")
        db.execute("CREATE TABLE operation_outputs (workflow_uuid, output)")
        for run in ("r1", "r2"):
            inputs = json.dumps({"args": [{"input": f"given {run}"}]})
            db.execute("INSERT INTO workflow_status VALUES (?, ?, NULL)", (run, inputs))
            db.execute(
                "INSERT INTO operation_outputs VALUES (?, ?)", (run, json.dumps(f"did {run}"))
            )


def test_a_journal_that_is_removed_meanwhile_holds_no_more(tmp_path: Path) -> None:
    """Its process ends; whoever reads it finds the runs among the records."""

    def write_and_remove() -> None:
        for number in range(60):
            folder = tmp_path / f"{number}"
            folder.mkdir()
            file = folder / "journal.sqlite"
            write_journal(file)
            file.unlink()  # first: without the files beside it SQLite cannot read it
            shutil.rmtree(folder, ignore_errors=True)

    with ThreadPoolExecutor(1) as threads:
        written = threads.submit(write_and_remove)
        while not written.done():
            for file in tmp_path.glob("*/journal.sqlite"):
                assert len(list(contents_of(file))) <= 6
        written.result()
