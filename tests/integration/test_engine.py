"""The durable engine within one process: outcomes, errors, interruptions, and what is left behind."""

import asyncio
import base64
import contextlib
import io
import json
import logging
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from recollect.errors import (
    ConfigError,
    RunCancelled,
    RunError,
    StoreCorrupt,
    StoreUnavailable,
    error_json,
)
from recollect.workflows.engine import TAKE_OVERS, Engine, Json, RunEnd, StepFailed, Steps, Walk
from tests.files import read_files


class Ends:
    """A ``finish`` that remembers what it was told."""

    def __init__(self) -> None:
        self.seen: list[RunEnd] = []

    async def __call__(self, end: RunEnd) -> None:
        self.seen.append(end)


class Interrupted:
    """A walk of two steps that hangs between them the first time, and counts its calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.reached = asyncio.Event()
        self.hangs = True

    async def __call__(self, request: Json, steps: Steps) -> Json:
        first = await steps.step("first", self._call("first", request))
        if self.hangs:
            self.reached.set()
            await asyncio.Event().wait()
        second = await steps.step("second", self._call("second", request))
        return [steps.run_id, first, second]

    def _call(self, name: str, result: Json) -> Callable[[], Awaitable[Json]]:
        async def call() -> Json:
            self.calls.append(name)
            return result

        return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".recollect" / "journal"


@pytest.fixture
def ends() -> Ends:
    return Ends()


async def give(value: Json) -> Json:
    return value


async def echo(request: Json, steps: Steps) -> Json:
    return await steps.step("echo", lambda: give(request))


async def reached(event: asyncio.Event, by: asyncio.Task[Any]) -> None:
    """Wait for the event; if the task that should bring it ends first, show how."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({waiting, by}, return_when=asyncio.FIRST_COMPLETED)
    if not event.is_set():
        waiting.cancel()
        pytest.fail(f"never came there: {by.exception()!r}")


async def interrupt(folder: Path, walk: Interrupted, run_id: str, request: Json = None) -> None:
    """Leave a run behind that was interrupted between its steps."""
    async with Engine.open(folder, walk, finish=Ends()) as engine:
        run = asyncio.create_task(engine.run(run_id, request))
        await reached(walk.reached, run)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    walk.hangs = False


async def take_over(folder: Path, walk: Walk, ends: Ends) -> list[str]:
    async with Engine.open(folder, walk, finish=ends) as engine:
        return await engine.take_over(on_found=lambda _: None)


def modes_by_name(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}


def left(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def traces(folder: Path, marker: str) -> list[str]:
    """Files below the folder that hold the marker: raw, in base64 (any alignment), escaped."""
    raw = marker.encode()
    forms = {raw, json.dumps(marker)[1:-1].encode(), marker.encode("utf-16-le")}
    forms |= {base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3)}
    return [file.name for file, data in read_files(folder) if any(form in data for form in forms)]


async def test_a_run_returns_the_outcome_and_tells_its_end(folder: Path, ends: Ends) -> None:
    async with Engine.open(folder, echo, finish=ends) as engine:
        assert await engine.run("r1", {"x": 1}) == {"x": 1}
    assert ends.seen == [RunEnd(run_id="r1", request={"x": 1}, outcome={"x": 1}, error=None)]


async def test_any_json_comes_back_as_it_was(folder: Path, ends: Ends) -> None:
    hostile: Json = {
        "": None,
        "{{ now }}": ["\ud800 \x00 \u2028 🙂 é", -0.5, 1e300, 2**70, True, {}, []],
        "long": "x" * 100_000,
    }
    async with Engine.open(folder, echo, finish=ends) as engine:
        assert await engine.run("r1", hostile) == hostile


async def test_a_step_gives_live_what_a_replay_would_give(folder: Path, ends: Ends) -> None:
    given: list[Json] = [1]

    async def walk(_: Json, steps: Steps) -> Json:
        got = await steps.step("tuple", lambda: give({"pair": (given, 2)}))
        given.append("changed later")
        return got

    async with Engine.open(folder, walk, finish=ends) as engine:
        assert await engine.run("r1", None) == {"pair": [[1], 2]}


async def test_runs_go_on_side_by_side(folder: Path, ends: Ends) -> None:
    both = asyncio.Barrier(2)

    async def walk(request: Json, steps: Steps) -> Json:
        await both.wait()
        return await echo(request, steps)

    async with Engine.open(folder, walk, finish=ends) as engine:
        first, second = await asyncio.gather(engine.run("a", 1), engine.run("b", 2))
    assert (first, second) == (1, 2)


async def test_the_end_is_told_before_anything_is_forgotten(folder: Path) -> None:
    found: list[list[str]] = []

    async def finish(end: RunEnd) -> None:
        found.append(traces(folder, "MARKER"))

    async with Engine.open(folder, echo, finish=finish) as engine:
        await engine.run("r1", "MARKER")
    assert found != [[]]


async def test_nothing_of_ended_runs_is_left_while_another_goes_on(
    folder: Path, ends: Ends
) -> None:
    marker = "jane.döe@example.com/SECRET-4711"
    waiting, go_on = asyncio.Event(), asyncio.Event()

    async def fail() -> Json:
        raise ConfigError(marker)

    async def walk(request: Json, steps: Steps) -> Json:
        if request == "wait":
            await steps.step("before", lambda: give("KEPT-UNTIL-THE-END"))
            waiting.set()
            await go_on.wait()
            return None
        for number in range(3):
            await steps.step(f"echo {number}", lambda: give(request))
        assert traces(folder, marker)
        if request == [marker, "fail"]:
            await steps.step("fail", fail)
        return request

    async with Engine.open(folder, walk, finish=ends) as engine:
        other = asyncio.create_task(engine.run("other", "wait"))
        await reached(waiting, other)
        for number in range(3):
            await engine.run(f"r{number}", [marker, marker * 2_000])
            assert traces(folder, marker) == []
        with pytest.raises(RunError):
            await engine.run("failing", [marker, "fail"])
        assert traces(folder, marker) == []
        assert traces(folder, "KEPT-UNTIL-THE-END")
        go_on.set()
        await other
        assert traces(folder, "KEPT-UNTIL-THE-END") == []


async def test_closing_leaves_an_empty_folder_for_the_owner_only(folder: Path, ends: Ends) -> None:
    async with Engine.open(folder, echo, finish=ends) as engine:
        await engine.run("r1", 1)
        modes = modes_by_name(folder)
        assert modes.pop("journal") == modes.pop(engine.executor) == 0o700
        assert {"lock", "journal.sqlite"} <= modes.keys()
        assert set(modes.values()) == {0o600}
    assert left(folder) == []


async def test_a_walk_that_raises_ends_its_run_as_failed(folder: Path, ends: Ends) -> None:
    async def walk(request: Json, _: Steps) -> Json:
        raise ConfigError("no such task", field="tasks") if request else ValueError("SECRET")

    async with Engine.open(folder, walk, finish=ends) as engine:
        with pytest.raises(RunError, match="run 'r1' failed: no such task") as ours:
            await engine.run("r1", True)
        with pytest.raises(RunError, match=r"internal error \(ValueError\)") as foreign:
            await engine.run("r2", False)
    assert [end.error for end in ends.seen] == [
        {"code": "INVALID_CONFIGURATION", "message": "no such task", "details": {"field": "tasks"}},
        {"code": "INTERNAL_ERROR", "message": "internal error (ValueError)", "details": {}},
    ]
    assert ours.value.details["error"] == ends.seen[0].error
    assert isinstance(foreign.value.__cause__, ValueError)
    assert left(folder) == []


async def test_a_failed_step_raises_its_error_and_the_walk_may_go_on(
    folder: Path, ends: Ends
) -> None:
    async def fail() -> Json:
        raise StoreUnavailable("the store is down", retry_after=7)

    async def walk(_: Json, steps: Steps) -> Json:
        try:
            return await steps.step("fail", fail)
        except StepFailed as error:
            return [error.step, error_json(error), await steps.step("next", lambda: give("next"))]

    async with Engine.open(folder, walk, finish=ends) as engine:
        outcome = await engine.run("r1", None)
    told = error_json(StoreUnavailable("the store is down", retry_after=7))
    assert outcome == ["fail", told, "next"]


async def test_a_step_that_returns_no_json_fails(folder: Path, ends: Ends) -> None:
    async def walk(_: Json, steps: Steps) -> Json:
        return await steps.step("odd", lambda: give(object()))  # type: ignore[arg-type] # the point

    async with Engine.open(folder, walk, finish=ends) as engine:
        with pytest.raises(RunError, match=r"internal error \(TypeError\)"):
            await engine.run("r1", None)


async def test_an_interrupted_run_is_finished_without_repeating_steps(
    folder: Path, ends: Ends
) -> None:
    walk, said = Interrupted(), list[tuple[str, int]]()
    await interrupt(folder, walk, "r1", {"x": "\ud800"})
    async with Engine.open(folder, walk, finish=ends) as engine:
        found = await engine.take_over(on_found=lambda run: said.append((run, len(walk.calls))))
    assert (found, said) == (["r1"], [("r1", 1)])
    assert walk.calls == ["first", "second"]
    request: Json = {"x": "\ud800"}
    assert ends.seen == [RunEnd(run_id="r1", request=request, outcome=["r1", request, request])]
    assert left(folder) == []


# ---- cancelled -----------------------------------------------------------------------------------


async def test_of_the_runs_of_a_dead_process_the_one_that_is_meant_is_cancelled(
    folder: Path, ends: Ends
) -> None:
    walk = Interrupted()
    executor = await interrupt_both(folder, walk)
    async with Engine.open(folder, walk, finish=ends) as engine:
        end = await engine.cancel("r1", executor)
        assert end is not None
        assert end.error is not None
        assert (end.run_id, end.error["code"]) == ("r1", "CANCELLED")
        assert traces(folder, "marker of r1") == []
        assert traces(folder, "marker of r2") != []
        assert await engine.cancel("r1", executor) is None
        assert await engine.take_over(on_found=lambda _: None) == ["r2"]
    assert walk.calls == ["first", "first", "second"]
    assert [(told.run_id, told.error is None) for told in ends.seen] == [
        ("r1", False),
        ("r2", True),
    ]
    assert left(folder) == []


async def interrupt_both(folder: Path, walk: Interrupted) -> str:
    """Leave two runs behind in one journal; return its name."""
    async with Engine.open(folder, walk, finish=Ends()) as engine:
        for run_id in ("r1", "r2"):
            walk.reached.clear()
            run = asyncio.create_task(engine.run(run_id, f"marker of {run_id}"))
            await reached(walk.reached, run)
            run.cancel()
            await asyncio.wait({run})
        walk.hangs = False
        return engine.executor


async def test_a_walk_that_is_cancelled_may_say_how_far_it_came(folder: Path, ends: Ends) -> None:
    interrupted = Interrupted()

    async def walk(request: Json, steps: Steps) -> Json:
        try:
            return await interrupted(request, steps)
        except RunCancelled:
            await steps.sleep(3600)
            return "so far"

    async with Engine.open(folder, walk, finish=ends) as engine:
        run = asyncio.create_task(engine.run("r1", None))
        await reached(interrupted.reached, run)
        run.cancel()
        await asyncio.wait({run})
        interrupted.hangs = False
        end = await engine.cancel("r1", engine.executor)
    assert end == RunEnd(run_id="r1", request=None, outcome="so far")
    assert ends.seen == [end]
    assert left(folder) == []


async def test_a_cancellation_that_could_not_be_told_goes_on_at_the_next_take_over(
    folder: Path, ends: Ends
) -> None:
    walk = Interrupted()
    executor = await interrupt_both(folder, walk)

    async def full(_: RunEnd) -> None:
        raise StoreUnavailable("full")

    async with Engine.open(folder, walk, finish=full) as engine:
        with pytest.raises(StoreUnavailable, match="full"):
            await engine.cancel("r1", executor)
    assert await take_over(folder, walk, ends) == ["r1", "r2"]
    assert [told.error and told.error["code"] for told in ends.seen] == ["CANCELLED", None]
    assert walk.calls == ["first", "first", "second"]


async def test_nothing_is_cancelled_while_runs_go_on_here(folder: Path, ends: Ends) -> None:
    walk = Interrupted()
    async with Engine.open(folder, walk, finish=ends) as engine:
        run = asyncio.create_task(engine.run("r1", None))
        await reached(walk.reached, run)
        with pytest.raises(RunError, match="while runs go on here"):
            await engine.cancel("r1", engine.executor)
        run.cancel()
        await asyncio.wait({run})


async def test_a_failed_step_fails_the_same_way_when_replayed(folder: Path, ends: Ends) -> None:
    seen: list[Mapping[str, Json]] = []
    calls: list[str] = []
    hang = asyncio.Event()

    async def fail() -> Json:
        calls.append("fail")
        raise ConfigError("wrong", file="a.yaml", line=3)

    async def walk(_: Json, steps: Steps) -> Json:
        try:
            await steps.step("fail", fail)
        except StepFailed as error:
            seen.append(error.as_json())
        if len(seen) == 1:
            hang.set()
            await asyncio.Event().wait()
        return None

    async with Engine.open(folder, walk, finish=ends) as engine:
        run = asyncio.create_task(engine.run("r1", None))
        await reached(hang, run)
        run.cancel()
        await asyncio.wait({run})
    assert await take_over(folder, walk, ends) == ["r1"]
    assert calls == ["fail"]
    assert seen[0] == seen[1] == error_json(ConfigError("wrong", file="a.yaml", line=3))


async def test_a_cancelled_take_over_leaves_the_run_for_the_next_and_does_not_count(
    folder: Path, ends: Ends
) -> None:
    walk = Interrupted()
    await interrupt(folder, walk, "r1")
    for _ in range(TAKE_OVERS + 1):
        walk.hangs = True
        walk.reached.clear()
        async with Engine.open(folder, walk, finish=ends) as engine:
            taking = asyncio.create_task(engine.take_over(on_found=lambda _: None))
            await reached(walk.reached, taking)
            taking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await taking
    walk.hangs = False
    assert await take_over(folder, walk, ends) == ["r1"]
    assert walk.calls == ["first", "second"]
    assert ends.seen[0].error is None


async def test_a_failing_finish_is_repeated_with_the_same_outcome(folder: Path, ends: Ends) -> None:
    walk = Interrupted()
    walk.hangs = False

    async def finish(_: RunEnd) -> None:
        raise StoreUnavailable("runs.sqlite is full")

    async with Engine.open(folder, walk, finish=finish) as engine:
        with pytest.raises(StoreUnavailable, match="full"):
            await engine.run("r1", 1)
    assert await take_over(folder, walk, ends) == ["r1"]
    assert walk.calls == ["first", "second"]
    assert ends.seen == [RunEnd(run_id="r1", request=1, outcome=["r1", 1, 1])]
    assert left(folder) == []


async def test_a_run_whose_end_cannot_be_stored_is_kept(folder: Path, ends: Ends) -> None:
    async def finish(_: RunEnd) -> None:
        raise StoreUnavailable("runs.sqlite is full")

    await interrupt(folder, walk := Interrupted(), "r1")
    for _ in range(TAKE_OVERS + 1):
        async with Engine.open(folder, walk, finish=finish) as engine:
            with pytest.raises(StoreUnavailable, match="full"):
                await engine.take_over(on_found=lambda _: None)
    assert await take_over(folder, walk, ends) == ["r1"]
    assert ends.seen == [RunEnd(run_id="r1", request=None, outcome=["r1", None, None])]


async def test_a_run_whose_end_nobody_can_take_is_given_up(folder: Path, ends: Ends) -> None:
    async def finish(end: RunEnd) -> None:
        await ends(end)
        if end.error is None:
            raise ValueError("a mistake of ours")

    await interrupt(folder, walk := Interrupted(), "r1")
    for _ in range(TAKE_OVERS):
        async with Engine.open(folder, walk, finish=finish) as engine:
            with pytest.raises(ValueError, match="mistake"):
                await engine.take_over(on_found=lambda _: None)
    async with Engine.open(folder, walk, finish=finish) as engine:
        assert await engine.take_over(on_found=lambda _: None) == ["r1"]
    assert ends.seen[-1].error is not None
    assert f"finishing it failed {TAKE_OVERS} times" in str(ends.seen[-1].error["message"])
    assert left(folder) == []


async def test_a_walk_that_changed_meanwhile_ends_as_failed(folder: Path, ends: Ends) -> None:
    await interrupt(folder, Interrupted(), "r1")
    assert await take_over(folder, echo, ends) == ["r1"]
    assert ends.seen[0].error is not None
    assert "another step is recorded" in str(ends.seen[0].error["message"])
    assert left(folder) == []


async def test_an_engine_can_take_over_after_its_own_runs_and_run_again(
    folder: Path, ends: Ends
) -> None:
    walk = Interrupted()
    async with Engine.open(folder, walk, finish=ends) as engine:
        run = asyncio.create_task(engine.run("interrupted", 1))
        await reached(walk.reached, run)
        with pytest.raises(RunError, match="while runs go on"):
            await engine.take_over(on_found=lambda _: None)
        with pytest.raises(RunError, match="already started"):
            await engine.run("interrupted", 1)
        run.cancel()
        await asyncio.wait({run})
        walk.hangs = False
        assert await engine.take_over(on_found=lambda _: None) == ["interrupted"]
        assert await engine.take_over(on_found=lambda _: None) == []
        assert await engine.run("new", 2) == ["new", 2, 2]
    assert [end.run_id for end in ends.seen] == ["interrupted", "new"]
    assert left(folder) == []


async def test_nothing_to_take_over_is_found_quickly_and_leaves_nothing(
    folder: Path, ends: Ends
) -> None:
    assert await take_over(folder, echo, ends) == []
    assert left(folder) == []


async def test_what_a_crash_left_of_a_journal_without_runs_is_cleaned_up(
    folder: Path, ends: Ends
) -> None:
    for name in ("0-empty", "1-lock", "2-file"):
        (folder / name).mkdir(parents=True)
    (folder / "1-lock" / "lock").touch()
    (folder / "2-file" / "lock").touch()
    (folder / "2-file" / "journal.sqlite").touch()
    assert await take_over(folder, echo, ends) == []
    assert left(folder) == []


async def test_a_damaged_journal_is_named_and_stops_no_other(folder: Path, ends: Ends) -> None:
    damaged = folder / "0-damaged"
    damaged.mkdir(parents=True)
    (damaged / "lock").touch()
    (damaged / "journal.sqlite").write_bytes(b"this is no database, " * 1_000)
    walk = Interrupted()
    await interrupt(folder, walk, "r1")
    with pytest.raises(StoreCorrupt, match=r"0-damaged/journal\.sqlite is damaged.*move it away"):
        await take_over(folder, walk, ends)
    assert [end.run_id for end in ends.seen] == ["r1"]
    assert left(folder) == [damaged]


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, ends: Ends) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match=r"runs cannot be kept in .*/file/journal \("):
        async with Engine.open(tmp_path / "file" / "journal", echo, finish=ends):
            pass


async def test_a_second_engine_in_the_process_is_refused(folder: Path, ends: Ends) -> None:
    async with (
        Engine.open(folder, echo, finish=ends) as first,
        Engine.open(folder, echo, finish=ends) as second,
    ):
        assert await first.run("r1", 1) == 1
        with pytest.raises(RunError, match="one engine at a time"):
            await second.run("r2", 2)
        assert await first.run("r3", 3) == 3
    assert left(folder) == []


async def test_the_loop_can_still_use_threads_afterwards(folder: Path, ends: Ends) -> None:
    async with Engine.open(folder, echo, finish=ends) as engine:
        await engine.run("r1", 1)
    assert await asyncio.to_thread(lambda: 42) == 42


async def test_the_engine_says_nothing(
    folder: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def walk(_: Json, steps: Steps) -> Json:
        raise ValueError("SECRET")

    interrupted = Interrupted()
    await interrupt(folder, interrupted, "r0")
    async with Engine.open(folder, walk, finish=Ends()) as engine:
        await engine.take_over(on_found=lambda _: None)
        with pytest.raises(RunError):
            await engine.run("r1", "SECRET")
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.name.startswith("dbos")] == []


async def test_the_engine_holds_on_to_no_stream(
    folder: Path, ends: Ends, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("dbos"), "handlers", [])
    replaced = io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stderr(replaced):
        async with Engine.open(folder, echo, finish=ends) as engine:
            await engine.run("r1", 1)
    replaced.close()
    async with Engine.open(folder, echo, finish=ends) as engine:
        assert await engine.run("r2", 2) == 2
