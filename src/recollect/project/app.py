"""A project ready to be used: its store open, its memories, its runs. The composition root."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from recollect.clock import Clock, SystemClock
from recollect.errors import (
    ConfigError,
    RunCancelled,
    RunError,
    RunNotCancelled,
    RunNotFound,
    StoreCorrupt,
    StoreError,
    error_json,
)
from recollect.memory import keys
from recollect.memory.data.erasure import Carries, Extent, Receipt, count_user, erase_user
from recollect.memory.privacy.recording import Recorder
from recollect.memory.registry import Memories, Request
from recollect.memory.sweeping import Sweep
from recollect.memory.wildcards import MAX_KEYS
from recollect.project.identity import project_hash_key, project_identity
from recollect.project.loading import Project
from recollect.project.records import kept_of
from recollect.project.tenant import tenant_of
from recollect.stores.base import Store
from recollect.stores.factory import make_store
from recollect.stores.in_memory import InMemoryStore
from recollect.telemetry import Telemetry
from recollect.workflows.run_table import RunTable
from recollect.workflows.runs import RunEnd, RunRecord, RunStatus, Steps, new_run_id
from recollect.workflows.traces import RunTraces

if TYPE_CHECKING:  # models, workflows and dbos are heavy: reading a memory needs none of them
    from recollect.agents.models import Model, ModelSettings
    from recollect.agents.summarizer import ModelSummarizer
    from recollect.workflows.engine import Engine
    from recollect.workflows.runtime import Runtime
    from recollect.workflows.workflow import Workflow

Json = dict[str, Any]
Found = Callable[[str], None]

_JOURNALS = "journal"


@dataclass(slots=True)
class RunResult:
    """How a run ended: ``status`` is completed or failed."""

    run_id: str
    status: str
    output: Any
    tasks: Mapping[str, Any]
    error: Mapping[str, Any] | None
    taken_over: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        """The document that ``recollect run --json`` prints."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "output": self.output,
            "tasks": self.tasks,
            **({"error": self.error} if self.error else {}),
        }


class App:
    """An open project. Use ``open_app``."""

    def __init__(
        self,
        project: Project,
        memories: Memories,
        *,
        clock: Clock,
        telemetry: Telemetry,
        mock: bool,
    ) -> None:
        self.project = project
        self.memories = memories
        self.clock = clock
        self.telemetry = telemetry
        self._mock = mock

    # ---- memories --------------------------------------------------------------------------------

    async def memory(
        self,
        operation: str,
        ref: str,
        key: str | None,
        *,
        payload: object = None,
        config: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
        wildcards: bool = False,
        max_keys: int = MAX_KEYS,
    ) -> Json:
        """Perform one memory operation at an explicit key, as a task would.

        A ``*`` in the key is a character like others, unless ``wildcards`` says that a person wrote the
        key and means the conversations that it matches (``max_keys`` at most).

        Raises:
            RecollectError: it failed; nothing was changed.
        """
        from recollect.memory.operations import checked_operation  # noqa: PLC0415 - see TYPE_CHECKING

        as_key = keys.typed_pattern if wildcards else keys.explicit_key
        request = Request(
            operation=checked_operation(operation),
            memory_ref=ref,
            key=None if key is None else as_key(key),
            payload=payload,
            config=config,
            idempotency_key=idempotency_key,
            max_keys=max_keys,
        )
        return await self.memories.perform(
            request, now=self.clock.now(), used_by=f"memory {operation}"
        )

    # ---- a user's data ---------------------------------------------------------------------------

    async def count_user(self, user: str, extent: Extent) -> Json:
        """Return how much ``erase_user`` would remove, as of now."""
        found = await count_user(self.memories.durable, user, extent)
        return {**found, "runs": await self._run_traces().count(Carries(user))}

    async def erase_user(self, user: str, extent: Extent) -> Receipt:
        """Remove everything of a user from the store and from what runs keep; verify it.

        Raises:
            StoreError: the store or a journal failed; do it again.
        """
        uses = self.memories.use_traces(self._how_ended)
        return await erase_user(
            self.memories.durable, user, extent, traces=[self._run_traces(), uses]
        )

    def _run_traces(self) -> RunTraces:
        async def forget(is_meant: Callable[[Any], bool]) -> list[str]:
            from recollect.workflows.engine import Engine  # noqa: PLC0415 - a second

            async with Engine.open(self._journal, self._walk, finish=self._finish) as engine:
                dropped = await engine.forget(is_meant)
            for run_id in dropped:
                await self.memories.end_run(run_id, "cancelled")
            return dropped

        return RunTraces(self.runs, self._journal, forget)

    # ---- runs ------------------------------------------------------------------------------------

    @cached_property
    def runs(self) -> RunTable:
        """Records of this project's runs."""
        return run_table(self.project)

    async def run(
        self,
        workflow: "Workflow",
        input_: Mapping[str, Any],
        *,
        on_found: Found,
        warn: Callable[[str], None] = lambda text: None,
    ) -> RunResult:
        """Run a workflow to its end, after finishing the runs of processes that died.

        A damaged journal of a dead process stops only its own runs: ``warn`` is told of it. A call that
        is cancelled leaves the run ``interrupted``, for ``resume`` or ``cancel``.

        Raises:
            RecollectError: the run could not be started, or its journal failed.
        """
        from recollect.workflows.engine import Engine  # noqa: PLC0415 - a second that only runs need

        request = {
            "workflow": workflow.to_json(),
            "project": self._project_json(),
            "input": dict(input_),
            "mock_model": self._mock,
        }
        async with Engine.open(self._journal, self._walk, finish=self._finish) as engine:
            taken_over = await self._take_over(engine, on_found, warn)
            await self._sweep_now_and_then(warn)
            run_id = new_run_id(self.clock)
            self.runs.begin(
                run_id, workflow.id, executor=engine.executor, started_at=self.clock.now()
            )
            outcome = await self._outcome(engine, run_id, request)
        return RunResult(
            run_id,
            outcome["status"],
            outcome["output"],
            outcome["tasks"],
            outcome["error"],
            taken_over,
        )

    async def resume(self, *, on_found: Found) -> list[RunRecord]:
        """Finish the runs of processes that died; returns their records.

        Raises:
            StoreError: a journal could not be read or written.
        """
        from recollect.workflows.engine import Engine  # noqa: PLC0415 - a second that only runs need

        if not self._journal.is_dir() and not self.runs.unfinished():
            return []
        async with Engine.open(self._journal, self._walk, finish=self._finish) as engine:
            taken_over = await self._take_over(engine, on_found)
        found = (self._record_of(run_id) for run_id in taken_over)
        return [record for record in found if record is not None]

    async def cancel(self, run_id: str) -> RunRecord:
        """End an interrupted run as cancelled; return its record.

        What belongs to the run alone is removed, its journal forgotten, ``run.ended`` told. A process
        that dies on the way leaves the rest to ``resume`` or the next ``run``.

        Raises:
            RunNotFound: there is no such run. RunNotCancelled: it has ended, or another process works
                on it; nothing was changed.
            StoreError: a journal or the table could not be read or written.
        """
        from recollect.workflows.engine import Engine  # noqa: PLC0415 - a second that only runs need

        _refuse_ended(record := self.runs.get(run_id))
        async with Engine.open(self._journal, self._walk, finish=self._finish) as engine:
            end = await engine.cancel(run_id, record.executor)
        if end is None:
            if not await self._cancel_unbegun(run_id):
                _refuse_ended(self.runs.get(run_id))
        elif (record := self.runs.get(run_id)).status != "cancelled":
            _refuse_ended(record)
        return self.runs.get(run_id)

    async def _cancel_unbegun(self, run_id: str) -> bool:
        """End a run that has no journal: its process died before it began, or somebody removed it."""
        cancelled = RunCancelled(f"run {run_id!r} was cancelled", run_id=run_id)
        if not await self._give_up(run_id, "cancelled", cancelled):
            return False
        self.telemetry.emit("run.started")
        self.telemetry.emit("run.ended", status="cancelled")
        return True

    async def _give_up(self, run_id: str, status: RunStatus, why: RunError) -> bool:
        """End a run without a journal; False if another process has ended or erased it meanwhile."""
        given_up = self.runs.give_up(
            run_id, status, ended_at=self.clock.now(), error=error_json(why)
        )
        if given_up:
            await self.memories.end_run(run_id, status)
        return given_up

    async def _take_over(
        self, engine: "Engine", on_found: Found, warn: Callable[[str], None] | None = None
    ) -> list[str]:
        """Finish what dead processes left; a run whose journal is gone never began."""
        try:
            taken_over = await engine.take_over(on_found=on_found)
        except StoreCorrupt as error:  # of one journal; all others have been finished
            if warn is None:
                raise
            warn(str(error))
            taken_over = []
        for record in self.runs.unfinished():
            # a living process ends its run, and only then removes its journal
            if not (self._journal / record.executor).is_dir():
                lost = RunError("its process died before the run began: start it again")
                await self._give_up(record.run_id, "failed", lost)
        return taken_over

    async def _outcome(self, engine: "Engine", run_id: str, request: Any) -> Json:
        try:
            return cast("Json", await engine.run(run_id, request))
        except RunError as error:
            inner = error.details.get("error") or error_json(error)
            return {"status": "failed", "output": None, "tasks": {}, "error": inner}

    async def _walk(self, request: Any, steps: Steps) -> Any:
        from recollect.workflows.walk import Walker  # noqa: PLC0415 - see TYPE_CHECKING

        return await Walker(request, steps, self._runtime(mock=request["mock_model"])).walk()

    async def _finish(self, end: RunEnd) -> None:
        """Keep what ``runs show`` shows, as the privacy policies let it; the engine forgets the rest."""
        status = _status(end)
        shown = await asyncio.to_thread(kept_of, end, self._recorder, self._journal)
        self.runs.end(end.run_id, status, ended_at=self.clock.now(), **shown)
        await self.memories.end_run(end.run_id, status)

    # ---- upkeep ----------------------------------------------------------------------------------

    async def sweep(self, *, rounds: int = 1) -> Sweep | None:
        """Remove for good what is gone or was left behind; None if another process is at it.

        Raises:
            StoreError: the store failed; what was removed is removed.
        """
        return await self.memories.sweeper.sweep(how_ended=self._how_ended, rounds=rounds)

    async def _sweep_now_and_then(self, warn: Callable[[str], None]) -> None:
        """Do one round if nobody did for a while; a failure keeps no run from starting."""
        try:
            if await self.memories.sweeper.is_due():
                await self.sweep()
        except StoreError as error:
            warn(f"the store was not swept: {error}")

    def _how_ended(self, run_id: str) -> str | None:
        if not self.runs.exists():
            return None
        record = self._record_of(run_id)
        return record.status if record and record.ended_at else None

    def _record_of(self, run_id: str) -> RunRecord | None:
        """Return the record of a run; None if it was removed, as erasures and newer ones do."""
        try:
            return self.runs.get(run_id)
        except RunNotFound:
            return None

    @property
    def _journal(self) -> Path:
        return self.project.data_folder / _JOURNALS

    @cached_property
    def _recorder(self) -> Recorder:
        """All privacy policies of the project at once, for what spans several memories."""
        resources = self.memories.registry.resources
        return Recorder({resource.id: self.memories.redactor(resource) for resource in resources})

    def _runtime(self, *, mock: bool) -> "Runtime":
        """What a run works with; one that began with the offline model ends with it."""
        from recollect.workflows.runtime import Runtime  # noqa: PLC0415 - see TYPE_CHECKING

        default = self.project.default_model
        return Runtime(
            memories=self.memories,
            open_model=partial(open_project_model, self.project, mock=mock or self._mock),
            env=self.project.env,
            clock=self.clock,
            telemetry=self.telemetry,
            default_model=None
            if default is None
            else {
                "provider": default.provider,
                "model": default.model,
                "api_url": default.api_url,
                "params": default.params,
            },
        )

    def _project_json(self) -> Json:
        settings = self.project.settings
        return {
            "id": settings.id or self.project.name,
            "name": self.project.name,
            "version": settings.version,
            "description": settings.description,
        }


def run_table(project: Project) -> RunTable:
    """Return the records of a project's runs; nothing is created."""
    folder = project.data_folder
    return RunTable(folder / "runs.sqlite", journals=folder / _JOURNALS)


def _status(end: RunEnd) -> RunStatus:
    if end.error is None:
        return cast("RunStatus", cast("Json", end.outcome)["status"])
    return "cancelled" if end.error["code"] == RunCancelled.code else "failed"


def _refuse_ended(record: RunRecord) -> None:
    if record.ended_at is not None:
        raise RunNotCancelled(
            f"run {record.run_id!r} has ended already ({record.status}): there is nothing to cancel",
            run_id=record.run_id,
            status=record.status,
        )


@asynccontextmanager
async def open_app(
    project: Project,
    *,
    mock_model: bool = False,
    clock: Clock | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[App]:
    """Open a project's store and memories; models and the engine start when they are needed.

    Raises:
        ConfigError: the store's URL is wrong, or the folder cannot be written.
        StoreError: the store cannot be opened.
    """
    clock = clock or SystemClock()
    telemetry = telemetry or Telemetry()
    async with AsyncExitStack() as stack:
        identity = project_identity(project)
        durable = make_project_store(project, clock)
        memories = Memories(
            project.registry,
            durable=await stack.enter_async_context(durable),
            scratch=await stack.enter_async_context(InMemoryStore(clock=clock)),
            project_id=identity,
            tenant=tenant_of(project),
            switch=project.settings.memory,
            hash_key=partial(project_hash_key, project),
            telemetry=telemetry,
            # offline, the rules summarise
            open_summarizer=None if mock_model else partial(_open_summarizer, project),
        )
        yield App(project, memories, clock=clock, telemetry=telemetry, mock=mock_model)


def open_project_model(
    project: Project, settings: "ModelSettings", *, mock: bool = False
) -> "Model":
    """Open a model with what the project says of it; the environment fills the rest."""
    from recollect.agents.model_factory import open_model  # noqa: PLC0415 - see TYPE_CHECKING
    from recollect.templates import render_text  # noqa: PLC0415

    for entry in project.settings.models:
        if (entry.provider, entry.model) != (settings.provider, settings.model):
            continue
        key = entry.api_key and render_text(entry.api_key, {"env": dict(project.env)})
        settings = replace(
            settings,
            api_key=settings.api_key or key,
            base_url=settings.base_url or entry.api_url,
            organization=settings.organization or entry.organization,
            params={**entry.params, **settings.params},
        )
    return open_model(settings, env=project.env, mock=mock)


def _open_summarizer(project: Project, name: str) -> "ModelSummarizer":
    from recollect.agents.summarizer import ModelSummarizer  # noqa: PLC0415 - see TYPE_CHECKING

    return ModelSummarizer(name, partial(open_project_model, project))


def make_project_store(project: Project, clock: Clock | None = None) -> Store:
    """Return the project's store, not opened yet.

    Raises:
        ConfigError: its URL is wrong; the text says where it was set.
    """
    try:
        return make_store(project.store_url, folder=project.root, clock=clock)
    except ConfigError as error:
        from_file = project.store_url == project.settings.store
        if from_file and project.document:
            place = project.document
            raise ConfigError(
                f"store: {error}", file=place.file, line=place.line_of(("store",))
            ) from None
        raise ConfigError(f"RECOLLECT_STORE_URL: {error}") from None
