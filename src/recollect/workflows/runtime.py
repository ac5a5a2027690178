"""What tasks work with: memories, models, the environment; put together by ``project``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from recollect.agents.models import Model, ModelSettings
from recollect.clock import Clock
from recollect.memory.registry import Memories
from recollect.telemetry import Telemetry


class OpenModel(Protocol):
    """Opens the model that a task names."""

    def __call__(self, settings: ModelSettings) -> Model:
        """Return a model; nothing is sent yet."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The surroundings of a run.

    Attributes:
        env: what templates see as ``.env``.
        default_model: provider and model for tasks that name none.
    """

    memories: Memories
    open_model: OpenModel
    env: Mapping[str, str]
    clock: Clock
    telemetry: Telemetry
    default_model: Mapping[str, Any] | None = None
