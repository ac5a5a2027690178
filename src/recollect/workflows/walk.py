"""The walk from task to task: what a run does, given a way to record steps.

Each execution of a task is two recorded steps: ``<id>#<visit>:input`` (scope, with its ``now``, is built
and rendered once) and ``<id>#<visit>:output`` (the work). Everything between steps follows from
recorded values alone, so a run that is walked again after a crash takes the same way.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from recollect.durations import parse_duration
from recollect.errors import (
    ConfigError,
    RecollectError,
    RunCancelled,
    RunError,
    StoreError,
    TaskTimeout,
    TemplateError,
    error_json,
)
from recollect.templates import render_text, render_tree
from recollect.workflows.conditions import holds
from recollect.workflows.runs import Steps
from recollect.workflows.runtime import Runtime
from recollect.workflows.scope import Progress, base_scope, task_scope
from recollect.workflows.tasks import TaskType
from recollect.workflows.tasks.base import field
from recollect.workflows.workflow import Workflow

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """How a task was reached: values from the transition, and the error it should handle."""

    with_: Mapping[str, Any]
    error: Mapping[str, Any] | None = None


class Walker:
    """Walks one run of a workflow; ``walk`` may be called again with the same recorded steps."""

    def __init__(self, request: Json, steps: Steps, runtime: Runtime) -> None:
        self._workflow = Workflow.from_json(request["workflow"])
        self._steps = steps
        self._runtime = runtime
        workflow = self._workflow
        self._env = {**runtime.env, **workflow.config.env}
        self._progress = Progress(
            run_id=steps.run_id,
            workflow={
                "id": workflow.id,
                "name": workflow.name,
                "version": workflow.version,
                "description": workflow.description,
            },
            project=request["project"],
            input=request["input"],
        )

    async def walk(self) -> Json:
        """Execute tasks until the run ends; returns {status, output, tasks, error}.

        Each ``run.started`` is followed by one ``run.ended``, or by ``run.interrupted`` if the run is
        left unfinished: the process stops, or the journal cannot be written.
        """
        self._runtime.telemetry.emit("run.started")
        try:
            return await self._walk()
        except RunCancelled as cancelled:
            self._runtime.telemetry.emit("run.ended", status="cancelled")
            return {
                **_outcome("cancelled", error=cancelled.as_json()),
                "tasks": self._progress.tasks,
            }
        except (asyncio.CancelledError, StoreError):
            self._runtime.telemetry.emit("run.interrupted")
            raise
        except Exception:
            self._runtime.telemetry.emit("run.ended", status="failed")
            raise

    async def _walk(self) -> Json:
        task: TaskType | None = self._workflow.first
        arrival = Arrival(with_={})
        last: Any = None
        while task is not None:
            if self._progress.executions >= self._workflow.config.max_task_executions:
                return await self._ended(None, _too_long(self._workflow, task))
            record = await self._execute(task, arrival)
            if record["status"] != "skipped":
                last = record["output"]
            task, arrival, failure = self._next(task, record)
            if failure is not None:
                return await self._ended(None, failure)
        return await self._ended(last, None)

    # ---- one task --------------------------------------------------------------------------------

    async def _execute(self, task: TaskType, arrival: Arrival) -> Json:
        progress = self._progress
        visit = progress.visits.get(task.id, 0)
        progress.visits[task.id] = visit + 1
        first = progress.executions == 0
        progress.executions += 1
        name = f"{task.id}#{visit}"
        prepared = await self._step(f"{name}:input", self._prepare, task, arrival, first)
        if prepared["status"] == "ready":
            await self._sleep_until(prepared["not_before"])
            once = f"{self._steps.run_id}/{self._workflow.id}/{task.id}/{visit}"
            try:
                record = await self._step(
                    f"{name}:output", self._work, task, arrival, prepared, once
                )
            except RunCancelled:
                self._progress.tasks[task.id] = _outcome("cancelled")
                raise
        else:
            record = {key: prepared[key] for key in ("status", "output", "error")}
        self._remember(task, record)
        return record

    async def _step(self, name: str, call: Any, *args: Any) -> Json:
        return cast("Json", await self._steps.step(name, lambda: call(*args)))

    async def _prepare(self, task: TaskType, arrival: Arrival, first: bool) -> Json:
        """Render everything the task needs; failures are results, so that they are recorded too."""
        now = self._runtime.clock.now()
        try:
            own = self._own(task, arrival, now)
            scope = self._scope(task, arrival, own, now)
            if task.condition is not None and not holds(task.condition, scope, now):
                return _outcome("skipped")
            with field("sleep"):
                pause = _pause(task, scope, now) if not first else timedelta(0)
            rendered = task.render(scope, self._runtime, now)
        except RecollectError as error:
            self._emit("task.failed", task, code=error.code)
            return _outcome("failed", error=_located(error, task))
        return {
            "status": "ready",
            "now": now.isoformat(),
            "not_before": (now + pause).isoformat() if pause else None,
            "with": own,
            "input": rendered,
        }

    async def _work(self, task: TaskType, arrival: Arrival, prepared: Json, once: str) -> Json:
        self._emit("task.started", task)
        start = self._runtime.clock.monotonic()
        try:
            output = await self._bounded(task, prepared["input"], once)
            if task.outputs is not None:
                now = datetime.fromisoformat(prepared["now"])
                scope = self._scope(task, arrival, prepared["with"], now) | {"output": output}
                with field("outputs"):
                    output = render_tree(task.outputs, scope, now=now)
        except RecollectError as error:
            self._emit("task.failed", task, code=error.code)
            return _outcome("failed", error=_located(error, task))
        self._emit("task.completed", task, seconds=self._runtime.clock.monotonic() - start)
        return _outcome("completed", output=output)

    async def _bounded(self, task: TaskType, rendered: Json, once: str) -> Any:
        limit = task.timeout.total_seconds() if task.timeout else None
        try:
            async with asyncio.timeout(limit):
                return await self._with_retries(task, rendered, once)
        except TimeoutError:
            raise TaskTimeout(
                f"task {task.id!r} took longer than its timeout of {limit} s"
            ) from None

    async def _with_retries(self, task: TaskType, rendered: Json, once: str) -> Any:
        policy = self._workflow.retry_policy(task)
        pause = policy.initial_interval.total_seconds()
        for attempt in range(1, policy.maximum_attempts + 1):
            try:
                return await task.execute(rendered, self._runtime, once)
            except RecollectError as error:
                if not error.retryable or attempt == policy.maximum_attempts:
                    raise
                self._emit("task.retried", task, attempt=attempt, code=error.code)
            await asyncio.sleep(pause)
            pause = min(pause * policy.backoff_coefficient, policy.maximum_interval.total_seconds())
        raise RunError(f"task {task.id!r} was not executed")  # pragma: no cover - attempts >= 1

    async def _sleep_until(self, moment: str | None) -> None:
        if moment is not None:
            left = datetime.fromisoformat(moment) - self._runtime.clock.now()
            await self._steps.sleep(max(left.total_seconds(), 0))

    def _own(self, task: TaskType, arrival: Arrival, now: datetime) -> Json:
        """Render ``with``; what the transition brought is there before it, and wins over it."""
        with field("with"):
            brought = render_tree(dict(arrival.with_), self._scope(task, arrival, {}, now), now=now)
            scope = self._scope(task, arrival, cast("Json", brought), now)
            own = render_tree(task.with_, scope, now=now)
        return {**cast("Json", own), **cast("Json", brought)}

    def _scope(self, task: TaskType, arrival: Arrival, own: Json, now: datetime) -> Json:
        about = {"id": task.id, "type": cast("Any", task).type}
        base = base_scope(self._progress, self._env, now)
        return task_scope(base, task=about, with_=own, error=arrival.error, env=task.env)

    # ---- between tasks ---------------------------------------------------------------------------

    def _remember(self, task: TaskType, record: Json) -> None:
        if record["status"] == "failed" and task.on_error and task.on_error.continue_:
            record["status"], record["output"] = "completed", task.on_error.default_output
        self._progress.tasks[task.id] = record
        if task.output is not None and record["status"] == "completed":
            self._progress.aliases[task.output] = record["output"]

    def _next(self, task: TaskType, record: Json) -> tuple[TaskType | None, Arrival, Json | None]:
        """Return the task that follows, how it is reached, and the failure that ends the run."""
        if record["status"] == "failed":
            handler = task.on_error
            if handler is None or handler.next is None:
                return None, Arrival(with_={}), record["error"]
            arrival = Arrival(with_=handler.with_, error=record["error"])
            return self._workflow.task(handler.next), arrival, None
        arrival = Arrival(with_=task.on_success.with_)
        return self._workflow.after(task), arrival, None

    async def _ended(self, last: Any, failure: Json | None) -> Json:
        record = await self._step("outputs", self._outputs, last, failure)
        self._runtime.telemetry.emit("run.ended", status=record["status"])
        return {**record, "tasks": self._progress.tasks}

    async def _outputs(self, last: Any, failure: Json | None) -> Json:
        status = "completed" if failure is None else "failed"
        if self._workflow.outputs is None or failure is not None:
            return {"status": status, "output": None if failure else last, "error": failure}
        now = self._runtime.clock.now()
        scope = base_scope(self._progress, self._env, now)
        scope["status"] = scope["workflow"]["status"] = status
        try:
            output = {}
            for name, template in sorted(self._workflow.outputs.items()):
                with field(f"outputs.{name}"):
                    output[name] = render_tree(template, scope, now=now)
        except TemplateError as error:
            details = {**error.as_json(), "code": "OUTPUT_TRANSFORMATION_FAILED"}
            return {"status": "failed", "output": last, "error": details}
        return {"status": status, "output": output, "error": None}

    def _emit(self, event: str, task: TaskType, **labels: str | int | float) -> None:
        self._runtime.telemetry.emit(event, task=task.id, type=cast("Any", task).type, **labels)


def _outcome(status: str, *, output: Any = None, error: Json | None = None) -> Json:
    return {"status": status, "output": output, "error": error}


def _located(error: RecollectError, task: TaskType) -> Json:
    shown = dict(error_json(error))
    shown["details"] = {**shown["details"], "task": task.id}
    return shown


def _pause(task: TaskType, scope: Mapping[str, Any], now: datetime) -> timedelta:
    if task.sleep is None:
        return timedelta(0)
    value = task.sleep
    if isinstance(value, str):
        value = render_text(value, scope, now=now)
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ConfigError(f"sleep: {error}") from None


def _too_long(workflow: Workflow, task: TaskType) -> Json:
    limit = workflow.config.max_task_executions
    return dict(
        RunError(
            f"the run executed {limit} tasks and was about to execute {task.id!r}: is there a loop "
            "in the transitions? config.max_task_executions sets the limit"
        ).as_json()
    )
