"""The only reader of time.

Stored times come from ``Clock.now`` (wall clock, UTC). Intervals within a process are measured with
``Clock.monotonic``. Tests pass a ``ManualClock``, so nothing has to sleep.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> datetime:
        """Return the wall-clock time, aware, in UTC, microsecond resolution."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start that never run backwards."""
        ...


class SystemClock:
    """The machine's clock."""

    now = staticmethod(partial(datetime.now, UTC))  # asked by each call: a method is slower
    """Return the machine's time in UTC."""

    def monotonic(self) -> float:
        """Return the machine's monotonic seconds."""
        return time.monotonic()


class ManualClock:
    """A clock that stands still until it is moved; starts on 2026-01-01T00:00:00Z."""

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 0.0

    def now(self) -> datetime:
        """Return the time it was last set to."""
        return self._now

    def monotonic(self) -> float:
        """Return the seconds it was advanced by."""
        return self._monotonic

    def advance(self, by: timedelta) -> None:
        """Move the clock; a negative ``by`` steps only the wall clock back."""
        self._now += by
        self._monotonic += max(by.total_seconds(), 0.0)
