"""kill -9 anywhere in a run, then the next command finishes it: every message once."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recollect.project.app import open_app
from recollect.project.users import add_workflow_file
from recollect.stores.sqlite import SqliteStore
from tests.acceptance.conftest import wait_until_asked
from tests.fake_openai import FakeOpenAI

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli
    from tests.conftest import ProjectFolder

DRIVER = Path(__file__).with_name("crash_driver.py")
WORKFLOW = """
id: talk
tasks:
  - id: before
    type: memory
    operation: append
    memory_ref: talk
    key_template: "log:{{ now | date '2006-01-02T15:04:05.000000' }}"
    payload: {role: user, content: "said at {{ now }}", timestamp: "{{ now }}"}
    output: saved
  - {id: ask, provider: openai, model: gpt-4o, prompt: "{{ .text }}", output: answer}
  - id: after
    type: memory
    operation: append
    memory_ref: talk
    key_template: "{{ .saved.key }}"
    payload:
      - {role: assistant, content: "{{ .answer }}"}
"""
EVENTS = range(1, 15)


def recollect(*args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "recollect", *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
        timeout=100,
    )


async def stored(project: "ProjectFolder") -> list[tuple[str, list[str]]]:
    """Every conversation of the project with its contents."""
    async with SqliteStore(project.root / ".recollect" / "store.sqlite") as store:
        async with open_app(project.load()) as app:
            namespace = app.memories.open("talk", "x").address.namespace
        page = await store.find(namespace)
        found = [await store.load(head.conversation) for head in page.heads]
        return [(c.head.conversation.id, [m.text for m in c.messages]) for c in found if c]


@pytest.mark.parametrize("event", EVENTS)
def test_a_run_killed_at_any_moment_is_finished_with_each_message_once(
    project: "ProjectFolder", cli: "Cli", event: int
) -> None:
    """Row 39 of specs/workflows.md section 11."""
    file = project.write("wf.yaml", WORKFLOW)
    killed = subprocess.run(
        [sys.executable, str(DRIVER), str(project.root), str(file), str(event)],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    (record,) = cli.ok("runs", "resume", "--json").json()["resumed"]
    assert record["status"] == "completed"
    ((_, contents),) = asyncio.run(stored(project))
    assert len(contents) == 2
    assert contents[0].startswith("said at 20")
    assert contents[1].startswith("[mock model]")
    assert list((project.root / ".recollect" / "journal").iterdir()) == []
    assert cli.ok("runs", "resume", "--json").json() == {"resumed": []}


async def test_there_is_no_event_after_the_last_one(project: "ProjectFolder") -> None:
    """So the test above has tried every moment between two events."""
    file = project.write("wf.yaml", WORKFLOW)
    command = [sys.executable, str(DRIVER), str(project.root), str(file), str(EVENTS[-1] + 1)]
    survived = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert survived.stdout == "survived\n", survived.stderr


async def test_the_next_run_finishes_what_a_killed_one_left_and_says_so(
    project: "ProjectFolder",
) -> None:
    """Killed inside the model call."""
    file = str(project.write("wf.yaml", WORKFLOW))
    asked = threading.Event()
    with FakeOpenAI(on_request=lambda _: asked.set()) as server:
        server.fail(silent=True)
        server.reply("first", "second")
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        with subprocess.Popen(
            [sys.executable, "-m", "recollect", "run", file, "-i", "text=x"],
            env={**os.environ, **env},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as victim:
            try:
                wait_until_asked(asked, victim)
            finally:
                victim.kill()
        done = recollect("run", file, "-i", "text=y", "--json", **env)
    assert done.returncode == 0, done.stderr
    assert "finishing run" in done.stderr
    assert sorted(contents[1] for _, contents in await stored(project)) == ["first", "second"]


async def test_two_runs_at_the_same_time_leave_each_other_alone(
    project: "ProjectFolder",
) -> None:
    project.write("wf.yaml", WORKFLOW)
    both_there = threading.Barrier(2, timeout=60)

    def meet(_: dict[str, Any]) -> None:
        both_there.wait()

    with FakeOpenAI(on_request=meet) as server:
        env = {**os.environ, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        file = str(project.root / "wf.yaml")
        command = [sys.executable, "-m", "recollect", "run", file, "--json"]
        both = [
            subprocess.Popen(
                [*command, "-i", f"text={name}"],
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for name in "ab"
        ]
        ends = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    for out, err in ends:
        assert json.loads(out)["status"] == "completed"
        assert "finishing" not in err
    assert [len(contents) for _, contents in await stored(project)] == [2, 2]


async def test_a_damaged_journal_of_a_dead_process_stops_no_other_run(
    project: "ProjectFolder",
) -> None:
    dead = project.root / ".recollect" / "journal" / "dead"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    (dead / "journal.sqlite").write_bytes(b"this is no database at all, " * 100)
    file = str(project.write("wf.yaml", "tasks: [{id: a, with: {x: 1}}]"))
    done = recollect("run", file, "--json")
    assert done.returncode == 0, done.stderr
    assert "dead" in done.stderr
    resumed = recollect("runs", "resume", "--project", str(project.root))
    assert resumed.returncode == 1
    assert "dead" in resumed.stderr
    assert "Traceback" not in done.stderr + resumed.stderr


async def test_a_failed_run_is_kept_as_failed_and_not_resumed(project: "ProjectFolder") -> None:
    file = project.write("wf.yaml", "tasks: [{id: a, with: {x: '{{ .nope }}'}}]")
    loaded = project.load()
    workflow = add_workflow_file(loaded, file).workflow
    async with open_app(loaded) as app:
        result = await app.run(workflow, {}, on_found=print)
        assert app.runs.get(result.run_id).status == "failed"
        assert await app.resume(on_found=print) == []
