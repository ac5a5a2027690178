"""The health of all memories at once. Row 38 of specs/memory.md section 13."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.memory.monitor import HealthMonitor
from recollect.memory.registry import Memories
from recollect.stores.base import Store
from recollect.telemetry import Telemetry

Make = Callable[..., Memories]


@pytest.fixture
def memories(make_memories: Make) -> Memories:
    return make_memories({"id": "talk"}, {"id": "prefs", "max_tokens": 100})


async def test_every_memory_is_reported_with_its_counts(
    memories: Memories, clock: ManualClock
) -> None:
    report = await HealthMonitor(memories, clock=clock).check()
    assert report["healthy"]
    assert (report["total_instances"], report["healthy_instances"]) == (2, 2)
    assert set(report["instance_health"]) == {"talk", "prefs"}
    talk = report["instance_health"]["talk"]
    assert talk["store_status"] == "connected"
    assert talk["memory_stats"]["total_keys"] == 0
    assert talk["error_message"] is None


async def test_failures_in_a_row_are_counted_and_end_with_a_success(
    memories: Memories, clock: ManualClock, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = HealthMonitor(memories, clock=clock)
    with monkeypatch.context() as broken:
        broken.setattr(store, "ping", _hang)
        broken.setattr("recollect.memory.health.HEALTH_TIMEOUT_SECONDS", 0.01)
        for failures in (1, 2):
            report = await monitor.check()
            assert not report["healthy"]
            assert report["unhealthy_instances"] == 2
            talk = report["instance_health"]["talk"]
            assert talk["consecutive_failures"] == failures
            assert "did not answer" in talk["error_message"]
    report = await monitor.check()
    assert report["healthy"]
    assert report["instance_health"]["talk"]["consecutive_failures"] == 0


async def _hang() -> Any:
    await asyncio.Event().wait()


async def test_what_was_checked_long_ago_is_not_healthy(
    memories: Memories, clock: ManualClock
) -> None:
    monitor = HealthMonitor(memories, clock=clock, interval=timedelta(seconds=30))
    assert not monitor.report()["healthy"], "nothing is known yet"
    await monitor.check()
    clock.advance(timedelta(seconds=60))
    assert monitor.report()["healthy"]
    clock.advance(timedelta(seconds=1))
    report = monitor.report()
    assert not report["healthy"]
    assert report["healthy_instances"] == 0
    assert sorted(report["system_errors"]) == [
        "prefs: health check timeout",
        "talk: health check timeout",
    ]


async def test_it_goes_on_checking_until_it_is_cancelled(
    memories: Memories, clock: ManualClock
) -> None:
    telemetry, checked, twice = Telemetry(), list[str](), asyncio.Event()

    def count(event: str, /, **labels: Any) -> None:
        checked.append(event)
        if checked.count("memory.health") == 4:  # two memories, twice
            twice.set()

    telemetry.listen(count)
    monitor = HealthMonitor(
        memories, clock=clock, telemetry=telemetry, interval=timedelta(milliseconds=1)
    )
    task = asyncio.create_task(monitor.run())
    await twice.wait()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
