"""Events for whoever watches: metrics, traces, logs attach here; nothing listens by default.

An event names what happened and carries numbers and low-cardinality labels (a resource id, an
operation, a status), never a key, an id of a user, or the content of a message.
"""

from collections.abc import Callable
from typing import Protocol

Label = str | int | float | bool


class Listener(Protocol):
    """Receives every event in the thread that emits it; must be quick and must not raise."""

    def __call__(self, event: str, /, **labels: Label) -> None:
        """Handle one event."""
        ...


def silent(event: str, /, **labels: Label) -> None:
    """Ignore the event."""


class Telemetry:
    """Hands events to its listeners, in the order they were added."""

    def __init__(self) -> None:
        self._listeners: tuple[Listener, ...] = ()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; call the result to remove it."""
        self._listeners = (*self._listeners, listener)

        def stop() -> None:
            self._listeners = tuple(x for x in self._listeners if x is not listener)

        return stop

    def emit(self, event: str, /, **labels: Label) -> None:
        """Tell every listener; free when there is none."""
        for listener in self._listeners:
            listener(event, **labels)
