"""What is read of a journal that another process may be writing."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from recollect.workflows.journal_file import contents_of


def test_one_run_is_read_without_what_others_were_given(tmp_path: Path) -> None:
    """The tables are those of dbos, with the columns that we read."""
    file = tmp_path / "journal.sqlite"
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE workflow_status (workflow_uuid, inputs, output)")
        db.execute("CREATE TABLE operation_outputs (workflow_uuid, output)")
        for run in ("r1", "r2"):
            inputs = json.dumps({"args": [{"input": f"given {run}"}]})
            db.execute("INSERT INTO workflow_status VALUES (?, ?, NULL)", (run, inputs))
            db.execute(
                "INSERT INTO operation_outputs VALUES (?, ?)", (run, json.dumps(f"did {run}"))
            )
    assert list(contents_of(file, "r2")) == [("r2", "given r2"), ("r2", None), ("r2", "did r2")]
    assert len(list(contents_of(file))) == 6
    assert list(contents_of(file, "r3")) == []
