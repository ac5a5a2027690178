"""One journal at work: the only home of dbos, which records the steps of runs in it."""

import asyncio
import json
import logging
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from dbos import DBOS, Serializer, SetWorkflowID, WorkflowStatus
from dbos import error as dbos_error

from recollect.clock import SystemClock
from recollect.errors import RecollectError, RunError, StoreError, StoreUnavailable, error_json
from recollect.workflows.journal_file import open_database, store_error
from recollect.workflows.runs import (
    Json,
    RecordedSteps,
    RunEnd,
    StepFailed,
    Walk,
    as_json,
    error_as_json,
    new_run_id,
    result_of,
)

_POLL_SECONDS = 0.02
_DBOS_THREADS = "dbos-executor"  # the names of those that read and write the journal
_START_SECONDS = 30


class _Unfinished(BaseException):
    """Leaves dbos's workflow unfinished: neither a walk nor dbos catches it as an error."""

    def __init__(self, fault: StoreError) -> None:
        super().__init__(str(fault))
        self.fault = fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A run in a journal.

    Attributes:
        end: how its walk ended; None if it has not.
        take_overs: how often finishing it has been begun.
        is_cancelled: its end is to be cancelled; only the rest of that is still to be done.
    """

    run_id: str
    request: Json
    end: RunEnd | None
    take_overs: int
    is_cancelled: bool


class Journal:
    """dbos, working on one journal file; at most one of these is launched at any time."""

    def __init__(self, file: Path, walk: Walk) -> None:
        self._file = file
        self._walk = walk
        self._queue = f"take-over-{new_run_id(SystemClock())}"
        self._listening = False
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
            self._database = open_database(self._file)
            _silence(logging.getLogger("dbos"))
            DBOS(
                config={
                    "name": "recollect",
                    "executor_id": executor,
                    "application_version": "1",
                    "system_database_url": f"sqlite:///{self._file.name}",  # tells only the dialect
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
                with suppress(asyncio.CancelledError):  # what went wrong is told in any case
                    await self.shut()
                raise

    async def shut(self) -> None:
        """Stop dbos and close the file (20 ms); who is cancelled meanwhile hears of it afterwards."""
        # dbos made its pool the loop's own and closes it now: whoever comes next needs another.
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor())
        shutting = loop.run_in_executor(None, self._shut)  # no task, which a loop that ends cancels
        cancelled: asyncio.CancelledError | None = None
        while not shutting.done():  # left to itself it would stop the dbos that is launched next
            try:
                await asyncio.shield(shutting)
            except asyncio.CancelledError as error:
                cancelled = error
        shutting.result()
        if cancelled:
            raise cancelled

    def _shut(self) -> None:
        DBOS.destroy(destroy_registry=True)
        for thread in threading.enumerate():
            is_ours = thread.name.startswith(_DBOS_THREADS)
            if is_ours and thread.is_alive():  # Ctrl-C may have kept one from starting
                thread.join()  # a cancelled run's last write may be on its way
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

    async def runs(self) -> list[Found]:
        """All runs in the journal, the first started first."""
        with self._explained():
            return [_found(status) for status in await DBOS.list_workflows_async()]

    async def cancel(self, run_id: str) -> None:
        """Mark a run as cancelled for good: nobody resumes it any more."""
        with self._explained():
            await DBOS.cancel_workflow_async(run_id)

    async def recorded(self, run_id: str) -> RecordedSteps:
        """Return the steps that a run has taken."""
        with self._explained():
            steps = await DBOS.list_workflow_steps_async(run_id)
        return RecordedSteps(
            run_id,
            [
                (step["function_name"], cast(Mapping[str, Json], step["output"]))
                for step in sorted(steps, key=lambda step: step["function_id"])
            ],
        )

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
            try:
                await self.shut()
            finally:
                await self.launch()  # who is cancelled still has to note that
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
            end = {"outcome": as_json(await self._walk(request, steps))}
        except Exception as error:  # noqa: BLE001 - whatever a walk raises ends its run
            self._failures[run_id] = error
            end = {"error": error_as_json(error)}
        if isinstance(steps.fault, StoreError):
            raise _Unfinished(steps.fault)
        return {"error": error_as_json(steps.fault)} if steps.fault else end

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except _Unfinished as unfinished:
            raise unfinished.fault from unfinished.fault.__cause__
        except Exception as error:
            if isinstance(error, RecollectError) or not (known := store_error(error, self._file)):
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
                return {"result": as_json(await call())}
            except Exception as error:  # noqa: BLE001 - recorded, so that a replay takes the same way
                cause = error
                return {"error": error_as_json(error)}

        if self.fault:
            raise self.fault
        try:
            done = await DBOS.run_step_async({"name": name}, record)
        except Exception as error:
            self.fault = self._explain(name, error)
            raise self.fault from error
        try:
            return result_of(name, done)
        except StepFailed as failed:
            raise failed from cause

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def _explain(self, name: str, error: Exception) -> RecollectError:
        if isinstance(error, dbos_error.DBOSUnexpectedStepError):
            return RunError(
                f"run {self.run_id!r} cannot be resumed: it now comes to step {name!r} where "
                "another step is recorded; was the workflow or Recollect changed meanwhile?",
                run_id=self.run_id,
                step=name,
            )
        known = store_error(error, self._file)
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


def _found(status: WorkflowStatus) -> Found:
    request = cast("Mapping[str, list[Json]]", status.input)["args"][0]
    end: RunEnd | None = None
    if status.status == "SUCCESS":
        end = _run_end(status.workflow_id, request, cast(Mapping[str, Json], status.output))
    elif status.status not in ("PENDING", "ENQUEUED", "CANCELLED"):
        error = RunError(f"dbos ended the run as {status.status}", run_id=status.workflow_id)
        end = RunEnd(run_id=status.workflow_id, request=request, error=error_json(error))
    take_overs = (status.attributes or {}).get("take_overs", 0)
    return Found(
        run_id=status.workflow_id,
        request=request,
        end=end,
        take_overs=take_overs,
        is_cancelled=status.status == "CANCELLED",
    )


def _run_end(run_id: str, request: Json, end: Mapping[str, Json]) -> RunEnd:
    error = cast("Mapping[str, Json] | None", end.get("error"))
    return RunEnd(run_id=run_id, request=request, outcome=end.get("outcome"), error=error)


def _silence(logger: logging.Logger) -> None:
    """Keep dbos off the terminal: its lines advertise, and quote what was stored.

    With a handler there, it adds none for ``sys.stderr``, which it would flush at each start, even
    long after that stream was replaced and closed.
    """
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
