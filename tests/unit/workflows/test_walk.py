"""What a walk tells of itself when its steps cannot be taken."""

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from recollect.clock import SystemClock
from recollect.errors import RunError, StoreUnavailable
from recollect.telemetry import Telemetry
from recollect.workflows.runs import Json
from recollect.workflows.runtime import Runtime
from recollect.workflows.walk import Walker

WORKFLOW: dict[str, Any] = {
    "id": "w",
    "name": "w",
    "version": "",
    "description": "",
    "config": {},
    "outputs": None,
}
TASK = {"id": "a", "type": "basic", "with": {"x": 1}}


class Failing:
    """Steps of a journal that fails."""

    run_id = "r1"

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def step(self, name: str, call: Callable[[], Awaitable[Json]]) -> Json:
        raise self._error

    async def sleep(self, seconds: float) -> None:
        raise self._error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StoreUnavailable("full"), ("run.interrupted", None)),
        (RunError("another step is recorded"), ("run.ended", "failed")),
    ],
)
async def test_a_run_that_breaks_off_is_told_to_whoever_watches(
    error: Exception, told: tuple[str, str | None]
) -> None:
    events: list[tuple[str, Any]] = []
    telemetry = Telemetry()

    def note(event: str, /, **labels: Any) -> None:
        events.append((event, labels.get("status")))

    telemetry.listen(note)
    nothing = cast("Any", None)
    runtime = Runtime(
        memories=nothing, open_model=nothing, env={}, clock=SystemClock(), telemetry=telemetry
    )
    request = {"workflow": {**WORKFLOW, "tasks": [TASK]}, "project": {}, "input": {}}
    with pytest.raises(type(error)):
        await Walker(request, Failing(error), runtime).walk()
    assert events == [("run.started", None), told]
