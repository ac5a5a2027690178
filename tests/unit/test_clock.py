"""Time comes from one place, and tests move it."""

import time
from datetime import UTC, datetime, timedelta

from recollect.clock import Clock, ManualClock, SystemClock

HOUR = timedelta(hours=1)


def test_the_system_clock_tells_aware_utc_between_two_looks_at_the_wall() -> None:
    before = datetime.now(UTC)
    now = SystemClock().now()
    assert now.utcoffset() == timedelta(0)
    assert before <= now <= datetime.now(UTC)


def test_the_system_clock_counts_seconds_that_never_run_backwards() -> None:
    clock = SystemClock()
    before = time.monotonic()
    seconds = [clock.monotonic() for _ in range(100)]
    assert seconds == sorted(seconds)
    assert before <= seconds[0] <= time.monotonic()


def test_a_manual_clock_starts_with_2026() -> None:
    assert ManualClock().now() == datetime(2026, 1, 1, tzinfo=UTC)
    assert ManualClock().monotonic() == 0.0


def test_a_manual_clock_may_start_anywhere() -> None:
    start = datetime(1999, 12, 31, tzinfo=UTC)
    assert ManualClock(start).now() == start


def test_a_manual_clock_stands_still() -> None:
    clock = ManualClock()
    assert (clock.now(), clock.monotonic()) == (clock.now(), clock.monotonic())


def test_advancing_moves_both_times() -> None:
    clock = ManualClock()
    clock.advance(HOUR)
    clock.advance(timedelta(microseconds=1))
    assert clock.now() == datetime(2026, 1, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert clock.monotonic() == 3600.000001


def test_stepping_back_moves_the_wall_clock_only() -> None:
    clock = ManualClock()
    clock.advance(HOUR)
    clock.advance(-2 * HOUR)
    assert clock.now() == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert clock.monotonic() == 3600.0


def test_both_are_clocks() -> None:
    clocks: list[Clock] = [SystemClock(), ManualClock()]
    assert all(clock.now().tzinfo is UTC for clock in clocks)
