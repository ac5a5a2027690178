"""What a provider says about itself: response times, health, sums (seed 004, Monitoring)."""

from collections import deque
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Any

from recollect.errors import (
    MemoryConnectionError,
    MemoryError,  # noqa: A004  # seed 004's name
    MemoryStorageError,
    StoreClosed,
    StoreError,
    StoreUnavailable,
)
from recollect.stores.records import StoreInfo, Totals

_REMEMBERED = 100  # calls


class ResponseTimes:
    """How long the store took for each of the latest calls that succeeded."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic
        self._seconds: deque[float] = deque(maxlen=_REMEMBERED)

    def took(self, seconds: float) -> None:
        """Take note of a call."""
        self._seconds.append(seconds)

    @property
    def average_ms(self) -> float | None:
        """Milliseconds; None before the first call."""
        seconds = list(self._seconds)
        return round(1000 * sum(seconds) / len(seconds), 3) if seconds else None


class Asking:
    """One call of a store: it is timed, and its failure is told as a provider tells failures.

    StoreUnavailable and StoreClosed become MemoryConnectionError: nothing was stored. Every other
    StoreError becomes MemoryStorageError.
    """

    __slots__ = ("_operation", "_provider", "_start", "_times")

    def __init__(self, provider: str, operation: str, times: ResponseTimes) -> None:
        self._provider = provider
        self._operation = operation
        self._times = times

    def __enter__(self) -> None:
        self._start = self._times.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._times.took(self._times.monotonic() - self._start)
        elif isinstance(error, StoreError):
            raise told(error, self._provider, self._operation) from error


def told(error: StoreError, provider: str, operation: str) -> MemoryError:
    """Return the error of seed 004 for an error of a store."""
    if isinstance(error, StoreUnavailable | StoreClosed):
        return MemoryConnectionError(str(error), provider, error)
    return MemoryStorageError(str(error), provider, operation, error)


def healthy(provider: str, info: StoreInfo, latency: float, times: ResponseTimes) -> dict[str, Any]:
    """Return the report of a provider whose store has answered after ``latency`` seconds."""
    latency_ms = round(1000 * latency, 3)
    return {
        "healthy": True,
        "message": f"{provider} at {info.location} answered in {latency_ms:g} ms",
        "provider": provider,
        "latency_ms": latency_ms,
        "details": {
            "backend": info.backend,
            "location": info.location,
            "durable": info.durable,
            "durability": info.durability,
        },
        "metrics": {
            "active_connections": info.connections,
            "memory_usage": info.used_bytes,
            "avg_response_time": times.average_ms,
        },
    }


def unhealthy(provider: str, why: str) -> dict[str, Any]:
    """Return the report of a provider that cannot be used."""
    return {"healthy": False, "provider": provider, "error": why}


def sums(totals: Totals, user_id: str | None) -> dict[str, Any]:
    """Return what ``get_stats`` returns."""
    count = totals.conversations
    stats = {
        "total_conversations": count,
        "total_messages": totals.messages,
        "avg_messages_per_conversation": round(totals.messages / count, 2) if count else 0.0,
        "total_storage_size": totals.stored_bytes,
        "oldest_conversation": _text(totals.oldest),
        "newest_conversation": _text(totals.newest),
    }
    if user_id is not None:
        stats |= {"user_conversations": count, "user_messages": totals.messages}
    return stats


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
