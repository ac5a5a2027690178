"""What a task type is."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from recollect.errors import InvalidInput, TemplateError
from recollect.workflows.definition import Task
from recollect.workflows.runtime import Runtime

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Something outside the task that it names: a memory. ``field`` is where, for messages."""

    memory_ref: str
    field: str
    needs_key: bool = False


@contextmanager
def field(name: str) -> Iterator[None]:
    """Let an error in here say which field of the task it is about."""
    try:
        yield
    except (TemplateError, InvalidInput) as error:
        raise type(error)(f"{name}: {error}", **error.details) from None


class TaskType(Task):
    """A task whose type is known."""

    def references(self) -> tuple[Reference, ...]:
        """Return the memories it names literally."""
        return ()

    def notes(self) -> tuple[str, ...]:
        """Return what is legal but will surprise."""
        return ()

    @abstractmethod
    def render(self, scope: Mapping[str, Any], runtime: Runtime, now: datetime) -> Json:
        """Render every template once; the result is recorded and is all that ``execute`` gets.

        Raises:
            TemplateError, InvalidInput, ConfigError: not retried.
        """

    @abstractmethod
    async def execute(self, rendered: Json, runtime: Runtime, once: str) -> Any:
        """Do the work and return its output as plain JSON.

        ``once`` is the same for every execution of this step, so that effects happen once.

        Raises:
            RecollectError: tried again only if ``retryable``.
        """
