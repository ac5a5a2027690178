"""An engine whose caller is cancelled while it stops: dbos is one per process, and ends before that."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from dbos import DBOS

from recollect.workflows.engine import TAKE_OVERS, Engine, Json, RunEnd, Steps
from recollect.workflows.journal_file import contents_of


class Walk:
    """Hangs after its first step until it may go on."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.hangs = True

    async def __call__(self, request: Json, steps: Steps) -> Json:
        async def call() -> Json:
            return request

        first = await steps.step("first", call)
        if self.hangs:
            self.reached.set()
            await asyncio.Event().wait()
        return first


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".recollect" / "journal"


@pytest.fixture
def ends() -> list[RunEnd]:
    return []


@asynccontextmanager
async def opened(folder: Path, walk: Walk, ends: list[RunEnd]) -> AsyncIterator[Engine]:
    async def finish(end: RunEnd) -> None:
        ends.append(end)

    async with Engine.open(folder, walk, finish=finish) as engine:
        yield engine


async def take_over(folder: Path, walk: Walk, ends: list[RunEnd]) -> list[str]:
    async with opened(folder, walk, ends) as engine:
        return await engine.take_over(on_found=lambda _: None)


async def interrupt(engine: Engine, walk: Walk, run_id: str) -> None:
    run = asyncio.create_task(engine.run(run_id, "x"))
    await walk.reached.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    walk.hangs = False


async def interrupted(folder: Path, ends: list[RunEnd]) -> Walk:
    """Leave a run r1 that was interrupted in the folder."""
    walk = Walk()
    async with opened(folder, walk, ends) as engine:
        await interrupt(engine, walk, "r1")
    return walk


async def test_who_is_cancelled_again_while_closing_hinders_no_next_engine(
    folder: Path, ends: list[RunEnd]
) -> None:
    for number in range(5):
        walk = Walk()

        async def run(walk: Walk = walk, number: int = number) -> None:
            async with opened(folder, walk, ends) as engine:
                await engine.run(f"r{number}", "x")

        running = asyncio.create_task(run())
        await walk.reached.wait()
        while not running.done():
            running.cancel()
            await asyncio.sleep(0)
        walk.hangs = False
        assert await take_over(folder, walk, ends) == [f"r{number}"]
    assert [end.outcome for end in ends] == ["x"] * 5


async def test_a_take_over_that_is_cancelled_at_its_beginning_loses_no_run_of_ours(
    folder: Path, ends: list[RunEnd]
) -> None:
    walk = Walk()
    async with opened(folder, walk, ends) as engine:
        await interrupt(engine, walk, "r1")
        beginning = asyncio.create_task(engine.take_over(on_found=lambda _: None))
        await asyncio.sleep(0)
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
    assert await take_over(folder, walk, ends) == ["r1"]


async def test_a_take_over_that_is_cancelled_between_two_starts_of_dbos_does_not_count(
    folder: Path, ends: list[RunEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = await interrupted(folder, ends)
    loop = asyncio.get_running_loop()
    replace_threads = loop.set_default_executor

    def cancel_when_stopping(threads: Executor) -> None:
        replace_threads(threads)
        loop.call_later(0.002 * attempt, taking.cancel)

    for attempt in range(TAKE_OVERS + 1):  # noqa: B007 - read when it is cancelled
        async with opened(folder, walk, ends) as engine:
            taking = asyncio.create_task(engine.take_over(on_found=lambda _: None))
            monkeypatch.setattr(loop, "set_default_executor", cancel_when_stopping)
            with pytest.raises(asyncio.CancelledError):
                await taking
            monkeypatch.undo()
    assert await take_over(folder, walk, ends) == ["r1"]
    assert [(end.run_id, end.outcome, end.error) for end in ends] == [("r1", "x", None)]


async def test_what_a_cancelled_run_is_writing_is_written_before_the_engine_is_closed(
    folder: Path, ends: list[RunEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the thread that writes it is held up before it has a connection."""
    recording, goes_on, begin = threading.Event(), threading.Event(), sa.Engine.begin
    steps = asyncio.Event()

    def held_up(database: sa.Engine) -> Any:
        if steps.is_set() and threading.current_thread() is not threading.main_thread():
            steps.clear()
            recording.set()
            goes_on.wait()
        return begin(database)

    async def walk(request: Json, journal: Steps) -> Json:
        async def call() -> Json:
            steps.set()
            return "first"

        return await journal.step("first", call)

    async def finish(end: RunEnd) -> None:
        ends.append(end)

    monkeypatch.setattr(sa.Engine, "begin", held_up)
    async with Engine.open(folder, walk, finish=finish) as engine:
        run = asyncio.create_task(engine.run("r1", "x"))
        await asyncio.to_thread(recording.wait)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        threading.Timer(0.3, goes_on.set).start()  # when it is being closed
    (file,) = await asyncio.to_thread(lambda: list(folder.glob("*/journal.sqlite")))
    assert ("r1", {"result": "first"}) in contents_of(file)


class CtrlC(BaseException):
    """What KeyboardInterrupt is outside of an event loop."""


async def test_ctrl_c_while_dbos_starts_and_again_while_it_stops_is_no_other_error(
    folder: Path, ends: list[RunEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    walk = await interrupted(folder, ends)
    loop = asyncio.get_running_loop()
    replace_threads, launch = loop.set_default_executor, DBOS.launch
    starts: list[str] = []

    def fail_at_second() -> None:
        starts.append("begun")
        if len(starts) == 2:
            raise CtrlC
        launch()

    def cancel_when_stopping_again(threads: Executor) -> None:
        replace_threads(threads)
        if len(starts) == 2:
            starts.append("cancelled")
            loop.call_soon(taking.cancel)

    async with opened(folder, walk, ends) as engine:
        monkeypatch.setattr(DBOS, "launch", fail_at_second)
        monkeypatch.setattr(loop, "set_default_executor", cancel_when_stopping_again)
        taking = asyncio.create_task(engine.take_over(on_found=lambda _: None))
        with pytest.raises(CtrlC):
            await taking
        monkeypatch.undo()
    assert await take_over(folder, walk, ends) == ["r1"]


async def test_a_thread_of_dbos_that_ctrl_c_kept_from_starting_is_not_waited_for(
    folder: Path, ends: list[RunEnd], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise CtrlC

    thread = threading.Thread(target=int, name="dbos-executor-_0")
    with monkeypatch.context() as patched:
        for start in ("_start_new_thread", "_start_joinable_thread"):  # before and from Python 3.13
            patched.setattr(threading, start, interrupted, raising=False)
        with pytest.raises(CtrlC):
            thread.start()
    assert thread in threading.enumerate()
    walk = Walk()
    walk.hangs = False
    async with opened(folder, walk, ends) as engine:
        assert await engine.run("r1", "x") == "x"
    thread.start()
    thread.join()
