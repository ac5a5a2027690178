"""What an erasure removes of runs."""

import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from recollect.memory.data.erasure import Carries
from recollect.workflows.run_table import RunTable
from recollect.workflows.traces import RunTraces
from tests.files import files_with

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ADA = "ada-4711"


async def nothing_unfinished(is_meant: Any) -> list[str]:
    raise AssertionError("there are no journals")


def traces_in(folder: Path) -> tuple[RunTable, RunTraces]:
    table = RunTable(folder / "runs.sqlite")
    return table, RunTraces(table, folder / "journal", nothing_unfinished)


def note(table: RunTable, run_id: str, **parts: Any) -> None:
    table.begin(run_id, "chat", executor="x", started_at=NOW)
    table.end(run_id, "completed", ended_at=NOW, **parts)


WHERE: dict[str, dict[str, Any]] = {
    "input": {"input": {"user_id": ADA}},
    "key of an input": {"input": {ADA: 1}},
    "output": {"output": {"messages": [{"content": f"I am {ADA}."}]}},
    "task": {"tasks": {"save": {"status": "success", "output": {"key": f"conv:{ADA}:s1"}}}},
    "error": {"error": {"code": "X", "message": f"no room for {ADA!r}", "details": {}}},
    "conversation": {"output": {"key": "room 7"}},
}


@pytest.mark.parametrize("parts", WHERE.values(), ids=WHERE)
async def test_a_record_that_names_the_user_is_removed(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    table, traces = traces_in(tmp_path)
    note(table, "1", **parts)
    note(table, "2", input={"user_id": "bob"}, output="room 70")
    carries = Carries(ADA, frozenset({"room 7"}))
    assert await traces.count(carries) == 1
    assert await traces.erase(carries) == 1
    assert await traces.count(carries) == 0
    assert [record.run_id for record in table.list()] == ["2"]


async def test_a_project_that_never_ran_stays_as_it_is(tmp_path: Path) -> None:
    _, traces = traces_in(tmp_path)
    assert await traces.erase(Carries(ADA)) == await traces.count(Carries(ADA)) == 0
    assert not any(os.scandir(tmp_path))


async def test_a_run_that_ends_while_it_is_looked_for_is_counted(tmp_path: Path) -> None:
    class Ending(Carries):
        """Asked for the first time, it sees the run end: from its journal into the table."""

        def __call__(self, text: str) -> bool:
            if file.exists():
                shutil.rmtree(file.parent)
                note(table, "2", input={"user_id": ADA})
            return super().__call__(text)

    file = tmp_path / "journal" / "p" / "journal.sqlite"
    file.parent.mkdir(parents=True)
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE workflow_status (workflow_uuid, inputs, output)")
        db.execute("CREATE TABLE operation_outputs (workflow_uuid, output)")
        inputs = json.dumps({"args": [{"input": {"user_id": ADA}}]})
        db.execute("INSERT INTO workflow_status VALUES ('2', ?, NULL)", (inputs,))
    table, traces = traces_in(tmp_path)
    note(table, "1", input={"user_id": "bob"})
    assert await traces.count(Ending(ADA)) == 1


def delete_as_trimming_does(folder: Path, run_id: str) -> None:
    with closing(sqlite3.connect(folder / "runs.sqlite")) as db, db:
        db.execute("PRAGMA secure_delete = ON")
        db.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))


@pytest.mark.parametrize("seed", [1, 3])
async def test_no_bytes_stay_in_the_file(seed: int, folder: Path) -> None:
    table, traces = traces_in(folder)
    chance = random.Random(seed)
    others: list[str] = []
    for number in range(300):
        user = chance.choice([ADA, "bob"])
        run_id = f"{chance.randrange(10**6):06d}-{user}"
        note(table, run_id, input={"u": user}, output=user * chance.choice([1, 60]))
        if user == "bob":
            others.append(run_id)
        if number % 3 == 0 and others:  # so that pages with hers are joined
            delete_as_trimming_does(folder, others.pop(chance.randrange(len(others))))
    await traces.erase(Carries(ADA))
    assert files_with(ADA, folder) == []
