"""Prometheus metrics of the memory, fed by telemetry events.

    telemetry = Telemetry()
    telemetry.listen(MemoryMetrics(project_id="shop"))

Labels are few: a resource id, an operation, a status, never a key, an id of a user or content. Names
and labels: specs/memory.md §9.1, under ``recollect_memory_``.
"""

from collections.abc import Callable, Mapping
from typing import Any

from recollect.errors import MissingExtra
from recollect.telemetry import Label

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
except ImportError:
    raise MissingExtra("Prometheus metrics", "prometheus") from None

BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds; they resolve the 50 ms that seed 003 promises."""

_PREFIX = "recollect_memory_"
_OF_A_MEMORY = ("memory_id", "project_id")

Labels = Mapping[str, Label]


class MemoryMetrics:
    """A listener that counts.

    Args:
        project_id: the label of that name.
        registry: where the metrics are registered; the default one unless given. One registry holds
            the metrics of one listener.
    """

    def __init__(self, *, project_id: str, registry: CollectorRegistry | None = None) -> None:
        self._project_id = project_id
        self._registry = REGISTRY if registry is None else registry
        self._define()
        self._handlers: Mapping[str, Callable[[Labels], None]] = {
            "memory.operation": self._operation,
            "memory.flush": self._flush,
            "memory.resolved": self._resolved,
            "memory.health": self._health,
            "memory.lease": self._lease,
            "memory.worker": self._worker,
            "store.breaker": self._breaker,
            "run.started": self._run_started,
            "run.ended": self._run_left,
            "run.interrupted": self._run_left,
        }

    def __call__(self, event: str, /, **labels: Label) -> None:
        """Count an event; unknown ones are ignored."""
        handler = self._handlers.get(event)
        if handler is not None:
            handler(labels)

    def _define(self) -> None:
        self._messages = self._counter("messages", "Messages stored")
        self._tokens = self._counter("tokens", "Tokens stored")
        self._trims = self._counter("trim", "Times that messages left for lack of room", "strategy")
        self._saved = self._counter("tokens_saved", "Tokens that flushes took away", "strategy")
        self._flushes = self._counter("flush", "Flushes", "flush_type", "status")
        self._leases = self._counter("lock_acquire", "Leases taken")
        self._contention = self._counter("lock_contention", "Leases that had to be waited for")
        self._redactions = self._counter("redaction_operations", "Matches that were redacted")
        self._exclusions = self._counter("privacy_exclusions", "Messages not stored", "reason")
        self._trips = self._counter("circuit_breaker_trips", "Times that the breaker opened")
        self._operations = self._counter("operations", "Operations", "operation")
        self._errors = self._counter("operation_errors", "Operations that failed", "operation")
        self._resolutions = self._counter("config_resolution", "References looked up", "status")
        self._jobs_begun = self._counter("temporal_activities", "Runs begun", "activity_type")
        self._seconds = Histogram(
            f"{_PREFIX}operation_duration_seconds",
            "Seconds that an operation took",
            (*_OF_A_MEMORY, "operation", "status"),
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._used = self._gauge("tokens_used_gauge", "Tokens held by the memory last used")
        self._limit = self._gauge("max_tokens_gauge", "Its token limit")
        self._healthy = self._gauge("health_status", "1 when the last check went well")
        self._pool = self._gauge(
            "goroutine_pool_active", "Large messages being worked on in threads"
        )
        self._jobs = self._gauge("background_jobs", "Runs under way", "activity_type")

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        names = (*_OF_A_MEMORY, *labels)
        return Counter(f"{_PREFIX}{name}", text, names, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        names = (*_OF_A_MEMORY, *labels)
        return Gauge(f"{_PREFIX}{name}", text, names, registry=self._registry)

    def _of(self, metric: Any, labels: Labels, **more: Label) -> Any:
        """Return the metric of this memory; of the whole project where no memory is named."""
        return metric.labels(
            memory_id=labels.get("memory_id", ""), project_id=self._project_id, **more
        )

    # ---- events ----------------------------------------------------------------------------------

    def _operation(self, labels: Labels) -> None:
        operation, status = labels["operation"], labels["status"]
        succeeded = status == "success"
        outcome = "success" if succeeded else "failure"
        self._of(self._operations, labels, operation=operation).inc()
        seconds = float(labels["seconds"])
        self._of(self._seconds, labels, operation=operation, status=outcome).observe(seconds)
        if not succeeded:
            self._of(self._errors, labels, operation=operation).inc()
        for counter, name in (
            (self._messages, "messages_stored"),
            (self._tokens, "tokens_stored"),
            (self._redactions, "redactions"),
        ):
            if labels.get(name):
                self._of(counter, labels).inc(float(labels[name]))
        if labels.get("dropped"):
            dropped = float(labels["dropped"])
            self._of(self._exclusions, labels, reason="privacy_policy").inc(dropped)
        if "held_tokens" in labels:
            self._of(self._used, labels).set(float(labels["held_tokens"]))
        if labels.get("max_tokens"):
            self._of(self._limit, labels).set(float(labels["max_tokens"]))

    def _flush(self, labels: Labels) -> None:
        status, strategy = labels["status"], str(labels.get("strategy", ""))
        self._of(self._flushes, labels, flush_type=labels["kind"], status=status).inc()
        if status == "success":
            self._of(self._trims, labels, strategy=strategy).inc()
            self._of(self._saved, labels, strategy=strategy).inc(float(labels["tokens"]))

    def _resolved(self, labels: Labels) -> None:
        self._of(self._resolutions, labels, status=labels["status"]).inc()

    def _health(self, labels: Labels) -> None:
        self._of(self._healthy, labels).set(1 if labels["healthy"] else 0)

    def _lease(self, labels: Labels) -> None:
        if labels["status"] == "held":
            self._of(self._leases, labels).inc()
        if labels.get("contended"):
            self._of(self._contention, labels).inc()

    def _worker(self, labels: Labels) -> None:
        self._of(self._pool, labels).inc(float(labels["change"]))

    def _breaker(self, labels: Labels) -> None:
        if labels["state"] == "open":
            self._of(self._trips, labels).inc()

    def _run_started(self, labels: Labels) -> None:
        self._of(self._jobs_begun, {}, activity_type="run").inc()
        self._of(self._jobs, {}, activity_type="run").inc()

    def _run_left(self, labels: Labels) -> None:
        self._of(self._jobs, {}, activity_type="run").dec()
