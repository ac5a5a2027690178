"""The durable engine across processes that are killed: real processes, real SIGKILL."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

SCRIPT = '''
"""Run a walk of three steps in a project; "serve" forks one process per line of stdin."""

import asyncio, json, os, resource, signal, subprocess, sys
from pathlib import Path

from recollect.errors import RecollectError
from recollect.workflows.engine import Engine


class Process:
    def __init__(self, project, mode, run_id="", die="", text="", limit=0, child=""):
        self.project, self.mode, self.run_id, self.die = Path(project), mode, run_id, die
        self.text, self.limit, self.child = text, limit, child

    def note(self, *line):
        with (self.project / "side").open("a") as side:
            side.write(json.dumps(line) + "\\n")

    def reach(self, point):
        if point == self.die:
            os.kill(os.getpid(), signal.SIGKILL)

    async def walk(self, request, steps):
        self.reach("before 1")
        texts = []
        for number in (1, 2, 3):
            async def call():
                self.note("step", steps.run_id, number)
                if number == 2 and self.mode == "hold":
                    print("holding", self.leave_child(), flush=True)
                    await asyncio.to_thread(sys.stdin.readline)
                self.reach(f"inside {number}")
                return f"{number} {request}"
            texts.append(await steps.step(f"step {number}", call))
            self.reach(f"after {number}")
        return texts

    def leave_child(self):
        if self.child == "exec":  # close_fds would hide an inheritable lock
            return subprocess.Popen(["cat"], close_fds=False).pid
        pid = os.fork() if self.child == "fork" else -1
        if pid == 0:
            os.read(0, 1)
            os._exit(0)
        return pid

    async def finish(self, end):
        self.reach("before finish")
        self.note("end", end.run_id, end.outcome, end.error)
        self.reach("after finish")

    async def main(self):
        if self.limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, self.limit))
        journal = self.project / "journal"
        try:
            async with Engine.open(journal, self.walk, finish=self.finish) as engine:
                if self.mode == "take over":
                    await engine.take_over(on_found=lambda run_id: self.note("found", run_id))
                else:
                    await engine.run(self.run_id, self.text)
        except RecollectError as error:
            self.note("error", type(error).__name__, str(error))


def serve():
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            asyncio.run(Process(**json.loads(line)).main())
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


serve() if sys.argv[1] == "serve" else asyncio.run(Process(**json.loads(sys.argv[1])).main())
'''


def start(script: Path, argument: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, script, argument],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


class Server:
    """Forks processes that have imported all they need, so that each costs little."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, **what: str | int) -> int:
        """Run one process to its end; return its exit code, or minus the signal."""
        pipe(self._process.stdin).write(json.dumps(what) + "\n")
        pipe(self._process.stdin).flush()
        return int(pipe(self._process.stdout).readline())


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("script") / "process.py"
    path.write_text(SCRIPT)
    return path


@pytest.fixture(scope="module")
def server(script: Path) -> Iterator[Server]:
    with start(script, "serve") as process:
        yield Server(process)
        _, complaints = process.communicate()
    assert complaints == ""


class Project:
    """A folder, and what processes noted in it."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self._server = server

    def run(self, run_id: str, *, text: str = "hello", **options: str | int) -> int:
        where = str(self.folder)
        return self._server.run(project=where, mode="run", run_id=run_id, text=text, **options)

    def take_over(self, **options: str | int) -> int:
        return self._server.run(project=str(self.folder), mode="take over", **options)

    def noted(self, kind: str) -> list[list[Any]]:
        side = self.folder / "side"
        lines = [json.loads(line) for line in side.read_text().splitlines()]
        return [rest for found, *rest in lines if found == kind]

    def steps(self, run_id: str) -> dict[int, int]:
        return dict(Counter(number for run, number in self.noted("step") if run == run_id))

    def journals(self) -> list[str]:
        return [path.name for path in (self.folder / "journal").iterdir()]


@pytest.fixture
def project(tmp_path: Path, server: Server) -> Project:
    return Project(tmp_path, server)


def holding(script: Path, project: Project, run_id: str, **options: str) -> subprocess.Popen[str]:
    what = {"project": str(project.folder), "mode": "hold", "run_id": run_id, **options}
    return start(script, json.dumps(what))


OUTCOME = ["1 hello", "2 hello", "3 hello"]

POINTS = {
    "before 1": {1: 1, 2: 1, 3: 1},
    "inside 1": {1: 2, 2: 1, 3: 1},
    "after 1": {1: 1, 2: 1, 3: 1},
    "inside 2": {1: 1, 2: 2, 3: 1},
    "after 2": {1: 1, 2: 1, 3: 1},
    "inside 3": {1: 1, 2: 1, 3: 2},
    "after 3": {1: 1, 2: 1, 3: 1},
    "before finish": {1: 1, 2: 1, 3: 1},
    "after finish": {1: 1, 2: 1, 3: 1},
}


@pytest.mark.parametrize("point", POINTS)
def test_the_next_process_finishes_a_killed_run(project: Project, point: str) -> None:
    assert project.run("r1", die=point) == -signal.SIGKILL
    assert len(project.journals()) == 1
    assert project.take_over() == 0
    assert project.noted("found") == [["r1"]]
    assert project.steps("r1") == POINTS[point]
    ends = project.noted("end")
    assert ends == [["r1", OUTCOME, None]] * (2 if point == "after finish" else 1)
    assert project.journals() == []


def test_a_run_survives_takers_that_are_killed_too(project: Project) -> None:
    assert project.run("r1", die="inside 1") == -signal.SIGKILL
    for point in ("after 1", "inside 2", "after 3", "before finish"):
        assert project.take_over(die=point) == -signal.SIGKILL
    assert project.take_over() == 0
    assert project.steps("r1") == {1: 2, 2: 2, 3: 1}
    assert project.noted("end") == [["r1", OUTCOME, None]]
    assert project.journals() == []


def test_a_run_that_kills_every_taker_is_given_up_as_failed(project: Project) -> None:
    assert project.run("r1", die="inside 2") == -signal.SIGKILL
    for _ in range(5):
        assert project.take_over(die="inside 2") == -signal.SIGKILL
    assert project.take_over(die="inside 2") == 0
    [[run_id, outcome, error]] = project.noted("end")
    assert (run_id, outcome) == ("r1", None)
    assert "'r1' was given up: its process died" in error["message"]
    assert project.journals() == []


def test_the_runs_of_several_dead_processes_are_all_finished(project: Project) -> None:
    for number in range(3):
        assert project.run(f"r{number}", die=f"inside {number + 1}") == -signal.SIGKILL
    assert project.take_over() == 0
    assert project.noted("found") == [["r0"], ["r1"], ["r2"]]
    assert [end[:2] for end in project.noted("end")] == [[f"r{n}", OUTCOME] for n in range(3)]
    assert project.journals() == []


def test_living_processes_run_side_by_side_and_are_not_taken_over(
    script: Path, project: Project
) -> None:
    with holding(script, project, "a") as first, holding(script, project, "b") as second:
        for process in (first, second):
            assert pipe(process.stdout).readline().startswith("holding")
        assert project.take_over() == 0
        assert project.noted("found") == []
        assert len(project.journals()) == 2
        assert project.run("c") == 0
        for process in (first, second):
            assert process.communicate("go on\n") == ("", "")
            assert process.returncode == 0
    assert project.steps("a") == project.steps("b") == project.steps("c") == {1: 1, 2: 1, 3: 1}
    assert sorted(end[0] for end in project.noted("end")) == ["a", "b", "c"]
    assert project.journals() == []


def test_only_the_dead_one_of_two_processes_is_taken_over(script: Path, project: Project) -> None:
    with holding(script, project, "dead") as first, holding(script, project, "alive") as second:
        for process in (first, second):
            assert pipe(process.stdout).readline().startswith("holding")
        first.kill()
        first.wait()
        assert project.take_over() == 0
        assert project.noted("found") == [["dead"]]
        assert project.steps("dead") == {1: 1, 2: 2, 3: 1}
        second.communicate("go on\n")
    assert project.steps("alive") == {1: 1, 2: 1, 3: 1}
    assert project.journals() == []


@pytest.mark.parametrize("kind", ["fork", "exec"])
def test_a_child_that_outlives_its_killed_parent_does_not_keep_the_lock(
    script: Path, project: Project, kind: str
) -> None:
    with holding(script, project, "r1", child=kind) as parent:
        child = int(pipe(parent.stdout).readline().split()[1])
        assert project.take_over() == 0
        assert project.noted("found") == []
        parent.kill()
        parent.wait()
        os.kill(child, 0)
        assert project.take_over() == 0
        os.kill(child, 0)
    assert project.noted("found") == [["r1"]]
    assert project.journals() == []


def test_ctrl_c_leaves_the_run_to_the_next_process(script: Path, project: Project) -> None:
    with holding(script, project, "r1") as process:
        pipe(process.stdout).readline()
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate("\n")
        assert complaints.splitlines()[-1] == "KeyboardInterrupt"
    assert len(project.journals()) == 1
    assert project.take_over() == 0
    assert project.noted("end") == [["r1", ["1 ", "2 ", "3 "], None]]
    assert project.journals() == []


def test_a_disk_full_at_the_start_leaves_nothing_half_started(project: Project) -> None:
    assert project.run("r1", limit=10_000) == 0
    [[kind, text]] = project.noted("error")
    assert kind == "StoreUnavailable"
    assert str(project.folder / "journal") in text
    assert project.noted("step") == []
    assert project.journals() == []


@pytest.mark.parametrize(
    ("limit", "twice"),
    [(1_300_000, 1), (3_500_000, 3), (4_500_000, None)],
    ids=["in the first step", "in the last step", "while forgetting"],
)
def test_a_disk_that_fills_up_leaves_the_run_resumable(
    project: Project, limit: int, twice: int | None
) -> None:
    text = "x" * 1_000_000
    assert project.run("r1", text=text, limit=limit) == 0
    [[kind, problem]] = project.noted("error")
    assert kind == "StoreUnavailable"
    assert "journal.sqlite cannot be used" in problem
    assert project.take_over() == 0
    assert project.steps("r1") == {number: 1 + (number == twice) for number in (1, 2, 3)}
    end = ["r1", [f"{n} {text}" for n in (1, 2, 3)], None]
    assert project.noted("end") == [end] * (1 if twice else 2)
    assert project.journals() == []
