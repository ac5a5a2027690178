"""The durable engine: runs a walk so that a crash loses no finished step. The only home of dbos.

Every process keeps the runs it is working on in a journal of its own, ``<folder>/<executor>/``: a
lock that dies with the process, and a SQLite file that dbos writes. A journal whose lock is free
belonged to a dead process, and ``Engine.take_over`` finishes its runs. So processes that live side
by side never see each other's runs, and nothing has to guess who is alive.

A journal holds raw contents, but only of unfinished runs: at the end of each, its rows are deleted,
overwritten in the file and cut off the write-ahead log. Every step is on disk (synchronous=FULL)
before the next begins, since what a step did may already be visible elsewhere when the power goes.

Importing this module takes about a second. dbos is one per process, and so is a working ``Engine``.
"""

import asyncio
import json
import logging
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from dbos import DBOS, Serializer, SetWorkflowID, WorkflowStatus
from dbos import error as dbos_error

from recollect.clock import SystemClock
from recollect.errors import (
    RecollectError,
    RunError,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    error_json,
)
from recollect.workflows import liveness
from recollect.workflows.runs import (
    Json,
    RunEnd,
    StepFailed,
    Steps,
    Walk,
    database_error,
    new_run_id,
)

__all__ = ["TAKE_OVERS", "Engine", "Finish", "Json", "RunEnd", "StepFailed", "Steps", "Walk"]

Finish = Callable[[RunEnd], Awaitable[None]]
"""Told of a run's end before its contents are forgotten; twice after a crash, so idempotent."""

TAKE_OVERS = 5
"""How often finishing a dead process's run is begun before the run is given up as failed."""

_JOURNAL = "journal.sqlite"
_PRAGMAS = """
PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
"""
_POLL_SECONDS = 0.02
_START_SECONDS = 30


class Engine:
    """Runs walks durably, and finishes the runs of processes that died.

    An interrupted ``run`` (cancelled, Ctrl-C, a full disk) stays in the journal, which is then left
    behind at the end for the next ``take_over``; the caller gets the exception. Otherwise nothing
    is left below ``folder``.
    """

    def __init__(self, folder: Path, walk: Walk, finish: Finish, claim: liveness.Claim) -> None:
        self._folder = folder
        self._walk = walk
        self._finish = finish
        self._claim = claim
        self._journal: _Journal | None = None
        self._unsettled: set[str] = set()
        self._live = 0
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, walk: Walk, *, finish: Finish) -> "AsyncIterator[Engine]":
        """Claim a journal below ``folder`` (created with mode 0700); dbos starts when needed.

        No ``run`` may be awaited any more when the context ends.

        Raises:
            StoreUnavailable: the folder cannot be written; nothing was started.
        """
        engine = cls(folder, walk, finish, liveness.claim_new(folder))
        try:
            yield engine
        finally:
            await engine._close()

    @property
    def executor(self) -> str:
        """The name of this process's journal folder; changes if ``take_over`` gave it up."""
        return self._claim.executor

    async def run(self, run_id: str, request: Json) -> Json:
        """Walk a new run to its end, tell ``finish``, forget its contents; return the outcome.

        Runs may go on side by side.

        Raises:
            RunError: the walk raised (``details["error"]`` is what ``finish`` was told), or the id
                is that of a run this engine holds.
            StoreError: the journal failed; the run is unfinished, or its end is not settled.
        """
        request = _as_json(request)
        async with self._turn:
            journal = await self._launched()
            if run_id in self._unsettled:
                raise RunError(f"run {run_id!r} was already started here", run_id=run_id)
            self._unsettled.add(run_id)
            self._live += 1
        try:
            end, failure = await journal.start(run_id, request)
            await self._settle(journal, end)
            self._unsettled.discard(run_id)
        finally:
            self._live -= 1
        if end.error is not None:
            raise RunError(
                f"run {run_id!r} failed: {end.error['message']}", run_id=run_id, error=end.error
            ) from failure
        return end.outcome

    async def take_over(self, *, on_found: Callable[[str], None]) -> list[str]:
        """Finish the runs of dead processes, one after another; return their ids.

        ``on_found`` gets each id before the work on it begins. Finished steps are not repeated, an
        interrupted one is, once. When ``TAKE_OVERS`` attempts at a run have died or failed, it ends
        as failed; an attempt that was cancelled, or met a ``finish`` that could not store, does not
        count.

        Raises:
            RunError: runs of this engine are going on: call this before them, or after.
            StoreCorrupt: a journal is damaged; all others have been finished.
            StoreError: a journal cannot be read or written now; the rest waits for the next call.
        """
        async with self._turn:
            if self._live:
                raise RunError("runs of dead processes cannot be taken over while runs go on here")
            await self._make_way()
            finished: list[str] = []
            damaged: StoreCorrupt | None = None
            for claim in liveness.claim_abandoned(self._folder):
                try:
                    finished += await self._finish_all(claim, on_found)
                except StoreCorrupt as error:
                    damaged = error
        if damaged:
            raise damaged
        return finished

    async def forget(self, is_meant: Callable[[Json], bool]) -> list[str]:
        """Drop interrupted runs of dead processes, unfinished; return their ids.

        ``is_meant`` is asked about the input and about each result of a run; once True drops it.

        Raises:
            RunError: runs of this engine are going on: call this before them, or after.
            StoreError: a journal cannot be read or written now.
        """
        async with self._turn:
            if self._live:
                raise RunError("runs of dead processes cannot be dropped while runs go on here")
            await self._make_way()
            dropped: list[str] = []
            for claim in liveness.claim_abandoned(self._folder):
                file = claim.folder / _JOURNAL
                try:
                    meant = await self._drop(file, is_meant)
                    dropped += meant
                    if meant and not any(True for _ in contents_of(file)):
                        claim.remove()
                finally:
                    claim.release()
        return dropped

    async def _drop(self, file: Path, is_meant: Callable[[Json], bool]) -> list[str]:
        meant = sorted({run_id for run_id, value in contents_of(file) if is_meant(value)})
        if meant:
            journal = _Journal(file, self._walk)
            await journal.launch()
            try:
                for run_id in meant:
                    await journal.forget(run_id)
                await journal.scrub()
            finally:
                await journal.shut()
        return meant

    async def _finish_all(
        self, claim: liveness.Claim, on_found: Callable[[str], None]
    ) -> list[str]:
        finished: list[str] = []
        try:
            if (claim.folder / _JOURNAL).exists():
                journal = _Journal(claim.folder / _JOURNAL, self._walk)
                await journal.launch()
                try:
                    for found in await journal.runs():
                        on_found(found.run_id)
                        await self._finish_one(journal, found)
                        finished.append(found.run_id)
                finally:
                    await journal.shut()
            claim.remove()
        finally:
            claim.release()
        return finished

    async def _finish_one(self, journal: "_Journal", found: "_Found") -> None:
        """Count the attempt before it can do harm; take it back if the run was not to blame."""
        if found.take_overs >= TAKE_OVERS:
            await self._settle(journal, _given_up(found))
            return
        await journal.count_take_overs(found.run_id, found.take_overs + 1)
        try:
            end = found.end or await journal.resume(found.run_id, found.request)
        except asyncio.CancelledError:
            await journal.count_take_overs(found.run_id, found.take_overs)
            raise
        try:
            await self._finish(end)
        except (asyncio.CancelledError, StoreError):
            await journal.count_take_overs(found.run_id, found.take_overs)
            raise
        await journal.forget(end.run_id)

    async def _settle(self, journal: "_Journal", end: RunEnd) -> None:
        await self._finish(end)
        await journal.forget(end.run_id)

    async def _launched(self) -> "_Journal":
        if self._journal is None:
            journal = _Journal(self._claim.folder / _JOURNAL, self._walk)
            await journal.launch()
            self._journal = journal
        return self._journal

    async def _make_way(self) -> None:
        """Stop dbos on our own journal; give the journal up if it holds interrupted runs."""
        if await self._stop():
            given_up, self._claim = self._claim, liveness.claim_new(self._folder)
            given_up.release()
            self._unsettled.clear()

    async def _stop(self) -> bool:
        """Stop dbos; say whether the journal still holds runs."""
        journal, self._journal = self._journal, None
        if journal is None:
            return False
        try:
            return bool(self._unsettled and await journal.runs())
        except StoreError:
            return True
        finally:
            await journal.shut()

    async def _close(self) -> None:
        try:
            if not await self._stop():
                with suppress(StoreError):  # nothing is in it: the next take-over removes it
                    self._claim.remove()
        finally:
            self._claim.release()


def contents_of(file: Path) -> Iterator[tuple[str, Json]]:
    """Yield (run id, input or result) of all that a journal holds, a living process's too.

    Raises:
        StoreError: it cannot be read now, or is damaged.
    """
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True)) as db:
            db.execute("PRAGMA query_only = ON")
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            if not {"workflow_status", "operation_outputs"} <= tables:
                return  # its process died before it began
            runs = "SELECT workflow_uuid, inputs, output FROM workflow_status"
            for run_id, inputs, output in db.execute(runs):
                yield run_id, json.loads(inputs)["args"][0]["input"] if inputs else None
                yield run_id, json.loads(output or "null")
            steps = "SELECT workflow_uuid, output FROM operation_outputs"
            for run_id, output in db.execute(steps):
                yield run_id, json.loads(output or "null")
    except sqlite3.Error as error:
        raise database_error(error, file) from error


class _Unfinished(BaseException):
    """Leaves dbos's workflow unfinished: neither a walk nor dbos catches it as an error."""

    def __init__(self, fault: StoreError) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    run_id: str
    request: Json
    end: RunEnd | None
    take_overs: int


class _Journal:
    """dbos, working on one journal file; at most one of these is launched at any time."""

    def __init__(self, file: Path, walk: Walk) -> None:
        self._file = file
        self._walk = walk
        self._queue = f"take-over-{new_run_id(SystemClock())}"
        self._listening = False
        self._shutting = threading.Lock()
        self._awaited: dict[str, asyncio.Future[asyncio.Task[Any]]] = {}
        self._failures: dict[str, Exception] = {}
        self._database: sa.Engine
        self._workflow: Callable[[Json], Awaitable[Mapping[str, Json]]]

    async def launch(self) -> None:
        """Start dbos. Must be on the event loop (30 ms): there dbos runs what is resumed."""
        # An executor id never used before, so that dbos resumes nothing by itself.
        executor = new_run_id(SystemClock())
        with self._explained():
            self._file.touch(mode=0o600)
            self._database = _database(self._file)
            _silence(logging.getLogger("dbos"))
            DBOS(
                config={
                    "name": "recollect",
                    "executor_id": executor,
                    "application_version": "1",
                    "system_database_url": f"sqlite:///{_JOURNAL}",  # tells only the dialect
                    "system_database_engine": self._database,
                    "serializer": _JsonText(),
                    "log_level": "CRITICAL",
                    "notification_listener_polling_interval_sec": _POLL_SECONDS,
                }
            )
            if DBOS.executor_id != executor:
                raise RunError("dbos is already at work in this process: one engine at a time")

            @DBOS.workflow(name="run", max_recovery_attempts=None)
            async def interpret(request: Json) -> Mapping[str, Json]:
                return await self._interpret(request)

            self._workflow = interpret
            DBOS.listen_queues([self._queue])
            try:
                DBOS.launch()
            except BaseException:
                await self.shut()
                raise

    async def shut(self) -> None:
        """Stop dbos and close the file (20 ms)."""
        # dbos made its pool the loop's own and closes it now: whoever comes next needs another.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
        await asyncio.to_thread(self._shut)

    def _shut(self) -> None:
        with self._shutting:  # a cancelled ``shut`` may still be at it
            DBOS.destroy(destroy_registry=True)
            pool = cast(sa.QueuePool, self._database.pool)
            while pool.checkedout():  # a cancelled run's last write is on its way
                time.sleep(_POLL_SECONDS / 10)
            self._database.dispose()

    async def start(self, run_id: str, request: Json) -> tuple[RunEnd, Exception | None]:
        """Walk a new run; also return what its walk raised, if it did."""
        self._await(run_id)
        with self._explained(), SetWorkflowID(run_id):
            end = await self._workflow(request)
        return _run_end(run_id, request, end), self._failures.pop(run_id, None)

    async def resume(self, run_id: str, request: Json) -> RunEnd:
        """Walk an interrupted run to its end."""
        with self._explained():
            await self._listen()
            started = self._await(run_id)
            await DBOS.resume_workflow_async(run_id, queue_name=self._queue)
            try:
                await asyncio.wait([started], timeout=_START_SECONDS)
                if not started.done():
                    raise StoreUnavailable(
                        f"{self._file}: dbos did not resume run {run_id!r} within {_START_SECONDS}"
                        " seconds; try again"
                    )
                return _run_end(run_id, request, await started.result())
            finally:
                self._awaited.pop(run_id, None)
                if started.done():
                    await _stopped(started.result())

    async def runs(self) -> list[_Found]:
        """All runs in the journal, the first started first."""
        with self._explained():
            return [_found(status) for status in await DBOS.list_workflows_async()]

    async def count_take_overs(self, run_id: str, count: int) -> None:
        """Remember how often finishing the run has been begun."""
        with self._explained():
            await DBOS.update_workflow_attributes_async(run_id, {"take_overs": count})

    async def forget(self, run_id: str) -> None:
        """Delete all that is known of the run, from the file and from its log."""
        with self._explained():
            await DBOS.delete_workflow_async(run_id)
            await asyncio.to_thread(self._cut_log)

    async def scrub(self) -> None:
        """Write the file anew: SQLite leaves traces of rows that it moved before they were deleted."""
        with self._explained():
            await asyncio.to_thread(self._vacuum)
            await asyncio.to_thread(self._cut_log)

    def _vacuum(self) -> None:
        with self._database.connect() as connection:
            connection.exec_driver_sql("VACUUM")

    def _cut_log(self) -> None:
        with self._database.connect() as connection:
            busy = True
            while busy:
                busy, _, _ = connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()

    async def _listen(self) -> None:
        """Let dbos take resumed runs at once: at launch it looks for queues, then each second."""
        if not self._listening:
            await DBOS.register_queue_async(self._queue, polling_interval_sec=_POLL_SECONDS)
            await self.shut()
            await self.launch()
            self._listening = True

    def _await(self, run_id: str) -> asyncio.Future[asyncio.Task[Any]]:
        self._awaited[run_id] = asyncio.get_running_loop().create_future()
        return self._awaited[run_id]

    async def _interpret(self, request: Json) -> Mapping[str, Json]:
        """What dbos records as the run: the walk's outcome, or its error without content."""
        run_id = cast(str, DBOS.workflow_id)
        if not (awaited := self._awaited.pop(run_id, None)):
            raise _Unfinished(StoreUnavailable(f"nobody waits for run {run_id!r} any more"))
        awaited.set_result(cast("asyncio.Task[Any]", asyncio.current_task()))
        steps = _JournaledSteps(run_id, self._file)
        try:
            end = {"outcome": _as_json(await self._walk(request, steps))}
        except Exception as error:  # noqa: BLE001 - whatever a walk raises ends its run
            self._failures[run_id] = error
            end = {"error": _error_as_json(error)}
        if isinstance(steps.fault, StoreError):
            raise _Unfinished(steps.fault)
        return {"error": _error_as_json(steps.fault)} if steps.fault else end

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except _Unfinished as unfinished:
            raise unfinished.fault from unfinished.fault.__cause__
        except Exception as error:
            if isinstance(error, RecollectError) or not (known := _store_error(error, self._file)):
                raise
            raise known from error


class _JournaledSteps:
    """The steps of one walk. Once the journal has failed, no further step is taken."""

    def __init__(self, run_id: str, file: Path) -> None:
        self.run_id = run_id
        self.fault: RecollectError | None = None
        self._file = file

    async def step(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        cause: Exception | None = None

        async def record() -> Mapping[str, Json]:
            nonlocal cause
            try:
                return {"result": _as_json(await call())}
            except Exception as error:  # noqa: BLE001 - recorded, so that a replay takes the same way
                cause = error
                return {"error": _error_as_json(error)}

        if self.fault:
            raise self.fault
        try:
            done = await DBOS.run_step_async({"name": name}, record)
        except Exception as error:
            self.fault = self._explain(name, error)
            raise self.fault from error
        if "error" in done:
            raise StepFailed(name, cast(Mapping[str, Json], done["error"])) from cause
        return done["result"]

    def _explain(self, name: str, error: Exception) -> RecollectError:
        if isinstance(error, dbos_error.DBOSUnexpectedStepError):
            return RunError(
                f"run {self.run_id!r} cannot be resumed: it now comes to step {name!r} where "
                "another step is recorded; was the workflow or Recollect changed meanwhile?",
                run_id=self.run_id,
                step=name,
            )
        known = _store_error(error, self._file)
        return known or StoreUnavailable(f"{self._file} failed ({type(error).__name__}): try again")


class _JsonText(Serializer):
    """dbos's values as ASCII JSON: any text fits, and nothing is ever unpickled.

    Errors are refused. Ours come as values; what is left are failures of the journal itself, which
    dbos would record as the step's or the run's own, so that a full disk ended the run for good.
    """

    def name(self) -> str:
        return "recollect_json"

    def serialize(self, data: Any) -> str:
        if isinstance(data, Exception):
            raise data
        return json.dumps(data)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data)


async def _stopped(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait({task})


def _found(status: WorkflowStatus) -> _Found:
    request = cast("Mapping[str, list[Json]]", status.input)["args"][0]
    end: RunEnd | None = None
    if status.status == "SUCCESS":
        end = _run_end(status.workflow_id, request, cast(Mapping[str, Json], status.output))
    elif status.status not in ("PENDING", "ENQUEUED"):
        error = RunError(f"dbos ended the run as {status.status}", run_id=status.workflow_id)
        end = RunEnd(run_id=status.workflow_id, request=request, error=error_json(error))
    take_overs = (status.attributes or {}).get("take_overs", 0)
    return _Found(run_id=status.workflow_id, request=request, end=end, take_overs=take_overs)


def _given_up(found: _Found) -> RunEnd:
    error = RunError(
        f"run {found.run_id!r} was given up: its process died, and finishing it failed "
        f"{found.take_overs} times",
        run_id=found.run_id,
    )
    return RunEnd(run_id=found.run_id, request=found.request, error=error_json(error))


def _run_end(run_id: str, request: Json, end: Mapping[str, Json]) -> RunEnd:
    error = cast("Mapping[str, Json] | None", end.get("error"))
    return RunEnd(run_id=run_id, request=request, outcome=end.get("outcome"), error=error)


def _database(file: Path) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(file))
    engine = sa.create_engine(url, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.executescript(_PRAGMAS)
        if sqlite3.sqlite_version_info < (3, 42):
            # From Python 3.12 on dbos asks for unixepoch('subsec'), which is NULL before 3.42.
            connection.create_function("unixepoch", 1, lambda _: SystemClock().now().timestamp())

    return engine


def _silence(logger: logging.Logger) -> None:
    """Keep dbos off the terminal: its lines advertise, and quote what was stored.

    With a handler there, it adds none for ``sys.stderr``, which it would flush at each start, even
    long after that stream was replaced and closed.
    """
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _store_error(error: BaseException, file: Path) -> StoreError | None:
    """What a failure of the journal says to us; dbos sometimes wraps it in errors of its own."""
    cause: BaseException | None = error
    while cause:
        driver = getattr(cause, "orig", cause)
        if isinstance(driver, sqlite3.Error):
            return database_error(driver, file)
        if isinstance(driver, OSError):
            return StoreUnavailable(f"{file} cannot be used ({driver.strerror}): check the disk")
        cause = cause.__context__
    return None


def _as_json(value: Json) -> Json:
    """The value as a replay would read it."""
    return cast(Json, json.loads(json.dumps(value)))


def _error_as_json(error: Exception) -> Mapping[str, Json]:
    plain = json.dumps(error_json(error), default=lambda foreign: type(foreign).__name__)
    return cast(Mapping[str, Json], json.loads(plain))
