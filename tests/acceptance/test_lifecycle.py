"""Row 61 of specs/memory.md §13: kill -9 anywhere; what belongs to a run goes when the run ends."""

import asyncio
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from recollect.project.app import open_app
from recollect.stores.sqlite import SqliteStore
from tests.servers.redis_server import RedisServer

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli
    from tests.conftest import ProjectFolder

pytest_plugins = ["tests.servers.redis_fixtures"]

DRIVER = Path(__file__).with_name("crash_driver.py")
SCRATCHPAD = "resource: memory\nid: pad\ncleanup: {scope: execution}\n"
WORKFLOW = """
id: think
tasks:
  - {id: note, type: memory, operation: append, memory_ref: pad,
     key_template: "run:{{ .workflow.exec_id }}", payload: "a thought"}
  - {id: keep, type: memory, operation: append, memory_ref: talk, payload: "a result"}
  - {id: look, type: memory, operation: read, memory_ref: pad,
     key_template: "run:{{ .workflow.exec_id }}"}
outputs: {seen: "{{ .tasks.look.output.count }}"}
"""
FAILING = WORKFLOW.replace("outputs:", "  - {id: bad, with: {x: '{{ .nope }}'}}\noutputs:")
MOMENTS = (
    ("task.started", 1), ("memory.operation", 1), ("task.completed", 1), ("task.started", 3),
    ("run.ended", 1), ("memory.cleanup", 1),
)  # fmt: skip
"""Around the first write, and from the last task over the end of the run to its clean-up."""


@pytest.fixture
def thinking(project: "ProjectFolder") -> "ProjectFolder":
    project.write("memory/pad.yaml", SCRATCHPAD)
    project.write("wf.yaml", WORKFLOW)
    return project


def recollect(*args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "recollect", *args], capture_output=True, text=True, check=False
    )


def killed_at(
    project: "ProjectFolder", event: str, number: int
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(DRIVER), str(project.root), str(project.root / "wf.yaml")]
    return subprocess.run(
        [*command, str(number), event], capture_output=True, text=True, check=False
    )


async def left(project: "ProjectFolder") -> dict[str, int]:
    """How many conversations there are in the run's own memory, in the lasting one, and as uses."""
    async with open_app(project.load()) as app:
        spaces = app.memories.namespaces
    parent = spaces["pad"].rpartition("/")[0]
    spaces["uses"] = f"{parent}/.uses"
    async with SqliteStore(project.root / ".recollect" / "store.sqlite") as store:
        return {name: len((await store.find(space)).heads) for name, space in spaces.items()}


ENDED = {"pad": 0, "talk": 1, "uses": 0}


@pytest.mark.parametrize(("event", "number"), MOMENTS)
def test_killed_at_any_moment_the_next_command_leaves_nothing_of_the_run(
    thinking: "ProjectFolder", cli: "Cli", event: str, number: int
) -> None:
    killed = killed_at(thinking, event, number)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    (record,) = cli.ok("runs", "resume", "--json").json()["resumed"]
    assert (record["status"], record["output"]) == ("completed", {"seen": 1})
    assert asyncio.run(left(thinking)) == ENDED


async def test_a_run_cleans_up_once_and_leaves_nothing(thinking: "ProjectFolder") -> None:
    survived = killed_at(thinking, "memory.cleanup", 2)
    assert survived.stdout == "survived\n", survived.stderr
    assert await left(thinking) == ENDED


async def test_while_a_killed_run_waits_to_be_finished_its_memory_waits_too(
    thinking: "ProjectFolder",
) -> None:
    killed_at(thinking, "task.completed", 2)
    assert await left(thinking) == {"pad": 1, "talk": 1, "uses": 1}
    swept = recollect("sweep", "--json", "--project", str(thinking.root))
    assert json.loads(swept.stdout)["settled_uses_of_runs"] == 0
    assert (await left(thinking))["pad"] == 1


async def test_when_the_journal_of_a_killed_run_is_lost_its_memory_goes(
    thinking: "ProjectFolder",
) -> None:
    killed_at(thinking, "task.completed", 2)
    shutil.rmtree(thinking.root / ".recollect" / "journal")
    recollect("runs", "resume", "--project", str(thinking.root))
    assert await left(thinking) == ENDED


async def test_a_failed_run_leaves_nothing_either(thinking: "ProjectFolder") -> None:
    thinking.write("wf.yaml", FAILING)
    done = recollect("run", str(thinking.root / "wf.yaml"), "-i", "user_id=u", "--json")
    assert json.loads(done.stdout)["status"] == "failed"
    assert await left(thinking) == ENDED


async def test_a_grace_is_kept_and_a_sweep_ends_it(thinking: "ProjectFolder") -> None:
    thinking.write("memory/pad.yaml", SCRATCHPAD.replace("execution", "execution, grace: 1s"))
    done = recollect("run", str(thinking.root / "wf.yaml"), "-i", "user_id=u", "--json")
    assert done.returncode == 0, done.stderr
    assert await left(thinking) == {"pad": 1, "talk": 1, "uses": 1}
    async with asyncio.timeout(60):
        while (await left(thinking))["pad"]:
            assert recollect("sweep", "--project", str(thinking.root)).returncode == 0
    assert await left(thinking) == ENDED


def test_the_next_run_sweeps_what_was_left(thinking: "ProjectFolder", cli: "Cli") -> None:
    """Every ten minutes; the first run of a project is one of those."""
    thinking.write("memory/talk.yaml", "resource: memory\nid: talk\npersistence: {ttl: 1ms}\n")
    cli.ok("memory", "append", "talk", "--key", "k", "gone at once")
    assert rows(thinking) > 0
    thinking.write("wf.yaml", "tasks: [{id: a, with: {x: 1}}]")
    cli.ok("run", "wf.yaml", "--json")
    assert rows(thinking) == 0


def rows(project: "ProjectFolder") -> int:
    """Messages in the file, whether visible or not."""
    with closing(sqlite3.connect(project.root / ".recollect" / "store.sqlite")) as db:
        count: int = db.execute("SELECT count(*) FROM messages").fetchone()[0]
    return count


async def test_on_redis_too(
    thinking: "ProjectFolder",
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RECOLLECT_STORE_URL", redis_server.url)
    with redis_server.client() as client:
        before: Any = client.keys()
        killed = killed_at(thinking, "task.completed", 2)
        assert killed.returncode == -signal.SIGKILL
        assert kept(client, before)
        resumed = recollect("runs", "resume", "--json", "--project", str(thinking.root))
        (record,) = json.loads(resumed.stdout)["resumed"]
        assert record["status"] == "completed"
        assert not kept(client, before)


def kept(client: Any, before: Any) -> list[str]:
    """The families of the run's own memory and of its uses."""
    names = [unquote(name.decode()) for name in set(client.keys()) - set(before)]
    return [name for name in names if "/pad:" in name or "/.uses:" in name]
