"""Every way for a run to end: issue 4, part 8; row 37 of specs/workflows.md section 11."""

import asyncio
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recollect.errors import RunNotCancelled
from recollect.project.app import open_app
from recollect.project.users import add_workflow_file
from recollect.telemetry import Telemetry
from tests.acceptance.conftest import wait_until_asked
from tests.fake_openai import FakeOpenAI
from tests.files import files_with, read_files

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli
    from tests.conftest import ProjectFolder

HERE = Path(__file__).parent
SECRET = "tell-nobody-4711"
WORKFLOW = """
id: think
tasks:
  - {id: note, type: memory, operation: append, memory_ref: pad,
     key_template: "run:{{ .workflow.exec_id }}", payload: "a thought of {{ .text }}"}
  - {id: keep, type: memory, operation: append, memory_ref: talk, key_template: k,
     payload: "a result"}
  - {id: ask, prompt: "{{ .text }}", model: "openai:gpt-4o"}
  - {id: last, type: memory, operation: append, memory_ref: talk, key_template: k, payload: late}
"""
SLEEPING = "id: nap\ntasks:\n  - {id: a, with: {x: 1}}\n  - {id: b, sleep: 1h, with: {x: 2}}\n"


@pytest.fixture
def thinking(project: "ProjectFolder") -> "ProjectFolder":
    project.write("memory/pad.yaml", "resource: memory\nid: pad\ncleanup: {scope: execution}\n")
    project.write("wf.yaml", WORKFLOW)
    return project


@contextmanager
def asking(project: "ProjectFolder") -> "Iterator[subprocess.Popen[bytes]]":
    """A run of another process that waits for its model."""
    asked = threading.Event()
    with FakeOpenAI(on_request=lambda _: asked.set()) as server:
        server.fail(silent=True)
        env = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        command = [sys.executable, "-m", "recollect", "run", "wf.yaml", "-i", f"text={SECRET}"]
        with subprocess.Popen(
            command,
            cwd=project.root,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                wait_until_asked(asked, process)
                yield process
            finally:
                process.kill()


def interrupted(project: "ProjectFolder", cli: "Cli", how: int = signal.SIGKILL) -> str:
    """Leave a run behind whose process is gone; return its id."""
    with asking(project) as process:
        process.send_signal(how)
        process.wait(60)
    (run,) = cli.ok("runs", "list", "--json").json()["runs"]
    assert (run["status"], run["ended_at"]) == ("interrupted", None)
    return str(run["run_id"])


def killed_at(project: "ProjectFolder", event: str) -> str:
    """Leave a run behind that was killed at the first event of a name; return its id."""
    command = [sys.executable, str(HERE / "crash_driver.py"), str(project.root)]
    killed = subprocess.run(
        [*command, str(project.root / "wf.yaml"), "1", event], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    return str(next(iter(statuses_of(project))))


def statuses_of(project: "ProjectFolder") -> dict[str, str]:
    from recollect.project.app import run_table

    return {record.run_id: record.status for record in run_table(project.load()).list()}


def left_behind(project: "ProjectFolder") -> list[Path]:
    return list((project.root / ".recollect" / "journal").iterdir())


async def thoughts(project: "ProjectFolder") -> int:
    """How many conversations there are in the memory that belongs to runs."""
    async with open_app(project.load()) as app:
        return len((await app.memories.durable.find(app.memories.namespaces["pad"])).heads)


# ---- interrupted ---------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_run_is_running_while_its_process_lives_and_interrupted_afterwards(
    thinking: "ProjectFolder", cli: "Cli", how: int
) -> None:
    with asking(thinking) as process:
        (run,) = cli.ok("runs", "list", "--json").json()["runs"]
        assert run["status"] == "running"
        assert cli.ok("runs", "show", run["run_id"], "--json").json()["status"] == "running"
        process.send_signal(how)
        process.wait(60)
    assert cli.ok("runs", "show", run["run_id"], "--json").json()["status"] == "interrupted"
    assert "  interrupted  " in cli.ok("runs", "list").out
    resumed = cli.ok("runs", "resume", "--mock-model", "--json").json()["resumed"]
    assert [found["status"] for found in resumed] == ["completed"]
    assert statuses_of(thinking) == {run["run_id"]: "completed"}


# ---- cancelled -----------------------------------------------------------------------------------


async def test_cancelling_removes_what_belongs_to_the_run_and_nothing_else(
    thinking: "ProjectFolder", cli: "Cli"
) -> None:
    run_id = await asyncio.to_thread(interrupted, thinking, cli, signal.SIGINT)
    assert await thoughts(thinking) == 1
    assert files_with(SECRET, thinking.root / ".recollect" / "journal")
    done = await asyncio.to_thread(cli.process, "runs", "cancel", run_id)
    assert (done.code, done.out, done.err) == (0, f"{run_id}  cancelled\n", "")
    assert await thoughts(thinking) == 0
    assert await thinking.contents("k") == ["a result"]
    assert left_behind(thinking) == []
    resumed = await asyncio.to_thread(cli.process, "runs", "resume", "--json")
    assert json.loads(resumed.out) == {"resumed": []}


def test_the_record_of_a_cancelled_run_says_how_far_it_came(
    thinking: "ProjectFolder", cli: "Cli"
) -> None:
    run_id = interrupted(thinking, cli)
    record = cli.ok("runs", "cancel", run_id, "--json").json()
    assert record == cli.ok("runs", "show", run_id, "--json").json()
    assert record["ended_at"] > record["started_at"]
    assert (record["status"], record["output"]) == ("cancelled", None)
    assert record["error"]["code"] == "CANCELLED"
    assert record["input"] == {"text": SECRET}
    tasks = {id_: task["status"] for id_, task in record["tasks"].items()}
    assert tasks == {"note": "completed", "keep": "completed", "ask": "cancelled"}


async def test_the_end_of_a_cancelled_run_is_told_once(
    thinking: "ProjectFolder", cli: "Cli"
) -> None:
    run_id = await asyncio.to_thread(interrupted, thinking, cli)
    events: list[tuple[str, Any]] = []
    telemetry = Telemetry()

    def note(event: str, /, **labels: Any) -> None:
        events.append((event, labels.get("status")))

    telemetry.listen(note)
    async with open_app(thinking.load(), telemetry=telemetry) as app:
        await app.cancel(run_id)
        with pytest.raises(RunNotCancelled):
            await app.cancel(run_id)
    assert [event for event in events if event[0].startswith(("run.", "task."))] == [
        ("run.started", None),
        ("run.ended", "cancelled"),
    ]
    assert ("memory.cleanup", "deleted") in events


@pytest.mark.parametrize("moment", [1, 2, 3])
async def test_a_cancellation_that_is_killed_is_finished_by_the_next_command(
    thinking: "ProjectFolder", cli: "Cli", moment: int
) -> None:
    """Killed once the journal says so, at the end that is told, and within the clean-up."""
    run_id = await asyncio.to_thread(interrupted, thinking, cli)
    killed = await asyncio.to_thread(cancel_until, thinking, run_id, moment)
    assert killed.returncode == -signal.SIGKILL, killed.stdout
    resumed = await asyncio.to_thread(cli.process, "runs", "resume", "--mock-model", "--json")
    (record,) = json.loads(resumed.out)["resumed"]
    assert (resumed.code, record["run_id"], record["status"]) == (0, run_id, "cancelled")
    assert await thoughts(thinking) == 0
    assert await thinking.contents("k") == ["a result"]
    assert left_behind(thinking) == []


async def test_there_are_no_further_moments(thinking: "ProjectFolder", cli: "Cli") -> None:
    run_id = await asyncio.to_thread(interrupted, thinking, cli)
    survived = await asyncio.to_thread(cancel_until, thinking, run_id, 4)
    assert survived.stdout == b"survived\n", survived.stderr


def cancel_until(
    project: "ProjectFolder", run_id: str, moment: int
) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, str(HERE / "cancel_driver.py"), str(project.root), run_id]
    return subprocess.run([*command, str(moment)], capture_output=True, check=False, timeout=100)


def test_a_sleeping_run_is_cancelled_at_once(project: "ProjectFolder", cli: "Cli") -> None:
    project.write("wf.yaml", SLEEPING)
    with cli.start("run", "wf.yaml") as process:
        try:
            wait_for_step(project, "b#0:input")
        finally:
            process.kill()
    (run_id,) = statuses_of(project)
    record = cli.ok("runs", "cancel", run_id, "--json").json()
    tasks = {id_: task["status"] for id_, task in record["tasks"].items()}
    assert tasks == {"a": "completed", "b": "cancelled"}


def wait_for_step(project: "ProjectFolder", name: str) -> None:
    """Return when a step is in a journal."""
    journals, deadline = project.root / ".recollect" / "journal", time.monotonic() + 60
    while not any(
        name.encode() in data and is_recorded(name, file.with_name("journal.sqlite"))
        for file, data in read_files(journals)
    ):
        assert time.monotonic() < deadline


def is_recorded(step: str, journal: Path) -> bool:
    """Whether a step whose name is in the files is there for good, not just being written."""
    with closing(sqlite3.connect(journal)) as db:
        steps = "SELECT 1 FROM operation_outputs WHERE function_name = ?"
        return db.execute(steps, (step,)).fetchone() is not None


async def test_ends_that_do_not_count_leave_the_memory(
    thinking: "ProjectFolder", cli: "Cli"
) -> None:
    pad = "resource: memory\nid: pad\ncleanup: {scope: execution, on: [completed]}\n"
    thinking.write("memory/pad.yaml", pad)
    run_id = await asyncio.to_thread(interrupted, thinking, cli)
    await asyncio.to_thread(cli.process, "runs", "cancel", run_id)
    assert await thoughts(thinking) == 1


async def test_a_run_whose_journal_is_lost_can_be_cancelled(
    thinking: "ProjectFolder", cli: "Cli"
) -> None:
    run_id = await asyncio.to_thread(interrupted, thinking, cli)
    shutil.rmtree(thinking.root / ".recollect" / "journal")
    assert statuses_of(thinking) == {run_id: "interrupted"}
    done = await asyncio.to_thread(cli.process, "runs", "cancel", run_id, "--json")
    assert json.loads(done.out)["status"] == "cancelled"
    assert await thoughts(thinking) == 0


async def test_a_run_that_this_process_gave_up_can_be_cancelled_by_it(
    project: "ProjectFolder",
) -> None:
    project.write("wf.yaml", SLEEPING)
    loaded, asleep, events = project.load(), asyncio.Event(), list[str]()
    workflow = add_workflow_file(loaded, project.root / "wf.yaml").workflow
    telemetry = Telemetry()

    def wake(event: str, /, **labels: Any) -> None:
        events.append(event)
        if event == "task.completed":
            asleep.set()

    telemetry.listen(wake)
    async with open_app(loaded, telemetry=telemetry) as app:
        run = asyncio.create_task(app.run(workflow, {}, on_found=lambda _: None))
        await asyncio.wait_for(asleep.wait(), 60)
        (record,) = app.runs.list(status="running")
        with pytest.raises(RunNotCancelled, match=f"going on in process {os.getpid()}"):
            await cancel_beside(project, record.run_id)
        run.cancel()
        await asyncio.wait({run})
        assert [found.run_id for found in app.runs.list(status="interrupted")] == [record.run_id]
        assert app.runs.list(status="running") == []
        assert (await app.cancel(record.run_id)).status == "cancelled"
    assert [event for event in events if event.startswith("run.")] == [
        "run.started",
        "run.interrupted",
        "run.started",
        "run.ended",
    ]


async def cancel_beside(project: "ProjectFolder", run_id: str) -> None:
    """Cancel in this process, without an engine of its own at work."""
    async with open_app(project.load()) as app:
        await app.cancel(run_id)


# ---- refused -------------------------------------------------------------------------------------


def test_a_living_run_is_not_cancelled_and_the_message_says_what_to_do(
    thinking: "ProjectFolder", cli: "Cli"
) -> None:
    with asking(thinking) as process:
        (run_id,) = statuses_of(thinking)
        done = cli("runs", "cancel", run_id, "--json")
        assert done.code == 1
        error = done.json()["error"]
        assert (error["code"], error["details"]["pid"]) == ("RUN_NOT_CANCELLED", process.pid)
        assert f"kill -INT {process.pid}" in error["message"]
        assert statuses_of(thinking) == {run_id: "running"}
        way_out = re.search(r"`(kill -INT \d+)`", error["message"])
        assert way_out is not None
        subprocess.run(way_out[1].split(), check=True)
        process.wait(60)
    assert cli.ok("runs", "cancel", run_id).out == f"{run_id}  cancelled\n"


def test_two_cancellations_at_once_are_one(thinking: "ProjectFolder", cli: "Cli") -> None:
    run_id = interrupted(thinking, cli)
    both = [cli.start("runs", "cancel", run_id) for _ in range(2)]
    codes = [process.wait(60) for process in both]
    for process in both:
        process.communicate()
    assert sorted(codes) == [0, 1]
    assert statuses_of(thinking) == {run_id: "cancelled"}


@pytest.mark.parametrize("again", ["completed", "failed", "cancelled"])
def test_a_run_that_has_ended_stays_as_it_ended(
    project: "ProjectFolder", cli: "Cli", again: str
) -> None:
    if again == "cancelled":
        project.write("wf.yaml", SLEEPING)
        run_id = killed_at(project, "task.completed")
        cli.ok("runs", "cancel", run_id)
    else:
        bad = "{{ .nope }}" if again == "failed" else "fine"
        project.write("wf.yaml", f"tasks: [{{id: a, with: {{x: '{bad}'}}}}]\n")
        run_id = cli("run", "wf.yaml", "--json").json()["run_id"]
    before = cli.ok("runs", "show", run_id, "--json").json()
    says = [run_id, f"has ended already ({again})", "nothing to cancel"]
    cli.refuses("runs", "cancel", run_id, says=says, code=1)
    assert cli.ok("runs", "show", run_id, "--json").json() == before


def test_a_run_whose_end_was_not_told_yet_ends_as_it_did(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write("wf.yaml", "tasks: [{id: a, with: {x: 1}}]\n")
    run_id = killed_at(project, "run.ended")
    assert statuses_of(project) == {run_id: "interrupted"}
    cli.refuses("runs", "cancel", run_id, says=["has ended already (completed)"], code=1)
    record = cli.ok("runs", "show", run_id, "--json").json()
    assert (record["status"], record["output"]) == ("completed", {"x": 1})
    assert left_behind(project) == []


def test_an_unknown_run_is_not_cancelled(project: "ProjectFolder", cli: "Cli") -> None:
    cli.refuses("runs", "cancel", "x", says=["no run has the id 'x'", "no runs yet"], code=1)
    assert not (project.root / ".recollect" / "runs.sqlite").exists()
    project.write("wf.yaml", "tasks: [{id: a, with: {x: 1}}]\n")
    run_id = cli.ok("run", "wf.yaml", "--json").json()["run_id"]
    cli.refuses("runs", "cancel", f"{run_id}0", says=[f"Did you mean '{run_id}'?"], code=1)
