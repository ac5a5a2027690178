"""What a run is: its steps, its end, and the record of it that stays.

The words here are shared by the engine, which runs a *walk* durably, and by the interpreter, which
is one.
"""

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol, cast

import msgspec

from recollect.clock import Clock
from recollect.errors import RunCancelled, RunError, error_json

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
"""What JSON can hold. Numbers, texts with lone surrogates included, come back as they were given."""

RunStatus = Literal["pending", "running", "interrupted", "completed", "failed", "cancelled"]
"""``interrupted``: not ended, and no living process works on it; it can be resumed or cancelled."""


class Steps(Protocol):
    """What a walk sees of the engine: the one way to do something that has an effect."""

    run_id: str

    async def step(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        """Do something once and remember what came of it, whatever happens to the process.

        Returns what ``call`` returned, as JSON gives it back (tuples become lists). When the run is
        replayed after a crash, the recorded result is returned and ``call`` is not called; a call
        that a crash cut short is called once more. Steps are told apart by their order, so a walk
        must ask for the same names in the same order, given the same results; one at a time.

        Raises:
            StepFailed: ``call`` raised; the same on replay, without a second call.
            StoreError: the journal cannot be written: the run is left unfinished and resumable,
                whatever the walk makes of this error.
            RunCancelled: the run is being cancelled and the step was not recorded: walk no further.
        """
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait between steps; a run that is being cancelled does not."""
        ...


Walk = Callable[[Json, Steps], Awaitable[Json]]
"""``(request, steps) -> outcome``: deterministic, given what its steps returned."""


class StepFailed(RunError):
    """A step's call raised. ``error`` is its ``{code, message, details}``, the same on replay."""

    def __init__(self, name: str, error: Mapping[str, Json]) -> None:
        super().__init__(str(error["message"]))
        self.step = name
        self.error = error

    def as_json(self) -> dict[str, Json]:
        """The call's own error, not this wrapping."""
        return dict(self.error)


class RecordedSteps:
    """The steps that an interrupted run had recorded; none is taken any more."""

    def __init__(self, run_id: str, recorded: Sequence[tuple[str, Mapping[str, Json]]]) -> None:
        self.run_id = run_id
        self._recorded = list(recorded)

    async def step(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        """Return what the step returned before; see ``Steps``."""
        del call
        if not self._recorded or self._recorded[0][0] != name:
            raise RunCancelled(f"run {self.run_id!r} was cancelled", run_id=self.run_id)
        _, done = self._recorded.pop(0)
        return result_of(name, done)

    async def sleep(self, seconds: float) -> None:
        """Go on at once."""


def result_of(name: str, done: Mapping[str, Json]) -> Json:
    """Return what a recorded step returned.

    Raises:
        StepFailed: it raised.
    """
    if "error" in done:
        raise StepFailed(name, cast(Mapping[str, Json], done["error"]))
    return done["result"]


class RunEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended: with an outcome, or with ``error`` set."""

    run_id: str
    request: Json
    outcome: Json = None
    #: ``{code, message, details}``, without content; None if the walk returned.
    error: Mapping[str, Json] | None = None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a run, redacted by whoever wrote it."""

    run_id: str
    workflow: str
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None
    #: The journal folder of the process that runs or ran it.
    executor: str
    #: None until the run has ended.
    input: Json
    output: Json
    #: Task id to status, output and error.
    tasks: Mapping[str, Json]
    error: Mapping[str, Json] | None
    note: str | None


def new_run_id(clock: Clock) -> str:
    """Return a new id, e.g. ``20261120-192258-123456-9f3ac2d1``: sorts by time, unique anywhere."""
    return f"{clock.now():%Y%m%d-%H%M%S-%f}-{secrets.token_hex(4)}"


def as_json(value: Json) -> Json:
    """Return the value as a replay would read it."""
    return cast(Json, json.loads(json.dumps(value)))


def error_as_json(error: Exception) -> Mapping[str, Json]:
    """Return ``{code, message, details}`` as a replay would read it."""
    plain = json.dumps(error_json(error), default=lambda foreign: type(foreign).__name__)
    return cast(Mapping[str, Json], json.loads(plain))
