"""One rendering in progress: its time, its limits, its variables, and where errors are."""

from collections.abc import Callable, Mapping
from datetime import datetime

from recollect.clock import SystemClock
from recollect.errors import TemplateError

MAX_OUTPUT_BYTES = 1024 * 1024
MAX_ITERATIONS = 10_000
MAX_NESTING = 20
MAX_WORK = 16 * 1024 * 1024  # about one character handled each: a time limit that never flickers


class Refusal(Exception):
    """A function or a limit says no. The text names types and names, never values of the data."""


class Rendering:
    """What the nodes of a template share while one text is made."""

    __slots__ = (
        "_iterations",
        "_now",
        "_size_bytes",
        "_work",
        "at",
        "escape",
        "parts",
        "slots",
        "template",
    )

    def __init__(
        self,
        template: str,
        scope: Mapping[str, object],
        *,
        slots: int,
        now: datetime | None,
        escape: Callable[[str], str] | None = None,
    ) -> None:
        self.template = template
        self.slots: list[object] = [scope, *[None] * slots]
        self.escape = escape
        self.parts: list[str] = []
        self.at = 0
        self._now = now
        self._size_bytes = self._work = self._iterations = 0

    @property
    def now(self) -> datetime:
        """The time of this rendering: the same however often it is asked for."""
        if self._now is None:
            self._now = SystemClock().now()
        return self._now

    def write(self, text: str) -> None:
        """Add to the output."""
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        self._size_bytes += size
        if self._size_bytes > MAX_OUTPUT_BYTES:
            raise Refusal(f"the output is larger than {MAX_OUTPUT_BYTES} bytes")
        self.parts.append(text)

    def spend(self, work: int) -> None:
        """Count work done, so that no small template keeps the machine busy."""
        self._work += work
        if self._work > MAX_WORK:
            raise Refusal("the template handles too much data in one rendering")

    def iterate(self) -> None:
        """Count one turn of a ``range``."""
        self._iterations += 1
        if self._iterations > MAX_ITERATIONS:
            raise Refusal(f"more than {MAX_ITERATIONS} turns of range in one rendering")

    def error(
        self, at: int, message: str, kind: type[TemplateError] = TemplateError
    ) -> TemplateError:
        """Make an error of this template at an offset."""
        return located(kind, self.template, at, message)


def check_size(characters: int) -> None:
    """Refuse a text before it is built."""
    if characters > MAX_OUTPUT_BYTES:
        raise Refusal(f"the text would be longer than {MAX_OUTPUT_BYTES} characters")


def located(kind: type[TemplateError], template: str, at: int, message: str) -> TemplateError:
    """Make an error that says where: ``line 2, column 5: ...``, both from 1."""
    line = template.count("\n", 0, at) + 1
    column = at - template.rfind("\n", 0, at)
    return kind(f"line {line}, column {column}: {message}", line=line, column=column)
