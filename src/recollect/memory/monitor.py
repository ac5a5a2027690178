"""The health of all memories of a project, checked again and again.

Shapes and numbers: specs/memory.md §4.6, without what is wrong there: an idle memory is not a sick one.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from recollect.clock import Clock
from recollect.memory.registry import Memories, Request
from recollect.telemetry import Telemetry

Json = dict[str, Any]

INTERVAL = timedelta(seconds=30)


class MemoryHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What the last check of a memory resource said.

    Attributes:
        report: the output of its health operation, counts of all its keys included.
        consecutive_failures: checks that failed since one went well.
    """

    memory_id: str
    healthy: bool
    last_checked: datetime
    consecutive_failures: int
    report: Mapping[str, Any]

    def as_json(self) -> Json:
        """The entry of this memory in the report of all."""
        error = self.report.get("error") or {}
        return {
            "memory_id": self.memory_id,
            "healthy": self.healthy,
            "last_checked": self.last_checked.isoformat(),
            "consecutive_failures": self.consecutive_failures,
            "store_status": self.report.get("store_status"),
            "error_message": error.get("message"),
            "memory_stats": self.report.get("memory_stats"),
        }


class HealthMonitor:
    """Checks all memories of a project at once and remembers what it found.

    Args:
        interval: between checks; what is older than two of them counts as unhealthy.
    """

    def __init__(
        self,
        memories: Memories,
        *,
        clock: Clock,
        telemetry: Telemetry | None = None,
        interval: timedelta = INTERVAL,
    ) -> None:
        self._memories = memories
        self._clock = clock
        self._telemetry = telemetry or Telemetry()
        self._interval = interval
        self._found: dict[str, MemoryHealth] = {}

    async def check(self) -> Json:
        """Check all memories now; returns the same as ``report``, after a second at most."""
        resources = self._memories.registry.resources
        await asyncio.gather(*(self._check(resource.id) for resource in resources))
        return self.report()

    async def run(self) -> None:
        """Check for ever, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(self._interval.total_seconds())

    def report(self) -> Json:
        """Return what is known: ``healthy`` is True when every memory was well, not long ago."""
        now = self._clock.now()
        stale = [
            health.memory_id
            for health in self._found.values()
            if now - health.last_checked > 2 * self._interval
        ]
        healthy = [
            health.memory_id
            for health in self._found.values()
            if health.healthy and health.memory_id not in stale
        ]
        checked = [health.last_checked for health in self._found.values()]
        return {
            "healthy": bool(self._found) and len(healthy) == len(self._found),
            "total_instances": len(self._found),
            "healthy_instances": len(healthy),
            "unhealthy_instances": len(self._found) - len(healthy),
            "last_checked": max(checked).isoformat() if checked else None,
            "instance_health": {id_: health.as_json() for id_, health in self._found.items()},
            "system_errors": [f"{id_}: health check timeout" for id_ in stale],
        }

    async def _check(self, memory_id: str) -> None:
        request = Request(
            operation="health", memory_ref=memory_id, key=None, config={"include_stats": True}
        )
        report = await self._memories.perform(request, now=self._clock.now(), used_by="health")
        healthy = bool(report["healthy"])
        before = self._found.get(memory_id)
        failures = 0 if healthy else 1 + (before.consecutive_failures if before else 0)
        self._found[memory_id] = MemoryHealth(
            memory_id=memory_id,
            healthy=healthy,
            last_checked=self._clock.now(),
            consecutive_failures=failures,
            report=report,
        )
        self._telemetry.emit("memory.health", memory_id=memory_id, healthy=healthy)
