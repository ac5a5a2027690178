"""OpenTelemetry spans of memory operations, by the GenAI conventions for memory.

    telemetry = Telemetry()
    telemetry.listen(MemorySpans())

Source: open-telemetry/semantic-conventions-genai, docs/gen-ai/gen-ai-spans.md, "Memory" (status
Development, 2026): ``gen_ai.operation.name``, ``gen_ai.memory.store.id``, ``error.type``; the span is
called ``{operation} {store}``. A store there is a memory resource here. Content is never recorded.
"""

from collections.abc import Mapping

from recollect.clock import Clock, SystemClock
from recollect.errors import MissingExtra
from recollect.telemetry import Label

try:
    from opentelemetry import trace
except ImportError:
    raise MissingExtra("OpenTelemetry spans", "otel") from None

OPERATIONS: Mapping[str, str] = {
    "append": "create_memory",
    "write": "upsert_memory",
    "read": "search_memory",
    "flush": "update_memory",
    "delete": "delete_memory",
    "clear": "delete_memory",
    "health": "recollect.health",
    "stats": "recollect.stats",
}
"""What the conventions call our operations; the last two have no name there."""

_NUMBERS = (
    "messages_stored",
    "tokens_stored",
    "messages_read",
    "messages_flushed",
    "tokens_freed",
    "redactions",
    "dropped",
)


class MemorySpans:
    """A listener that writes a span for each operation, under the caller's current span.

    Args:
        tracer: the global provider's tracer unless given.
    """

    def __init__(self, tracer: trace.Tracer | None = None, *, clock: Clock | None = None) -> None:
        self._tracer = tracer or trace.get_tracer("recollect")
        self._clock = clock or SystemClock()

    def __call__(self, event: str, /, **labels: Label) -> None:
        """Write the span of an operation that has just ended; other events are ignored."""
        if event != "memory.operation":
            return
        end = int(self._clock.now().timestamp() * 1e9)
        operation = OPERATIONS[str(labels["operation"])]
        memory = str(labels["memory_id"])
        span = self._tracer.start_span(
            f"{operation} {memory}",
            kind=trace.SpanKind.INTERNAL,
            start_time=end - int(float(labels["seconds"]) * 1e9),
            attributes={
                "gen_ai.operation.name": operation,
                "gen_ai.memory.store.id": memory,
                "recollect.memory.operation": str(labels["operation"]),
                **{f"recollect.memory.{n}": labels[n] for n in _NUMBERS if labels.get(n)},
            },
        )
        if labels["status"] != "success":
            span.set_attribute("error.type", str(labels["status"]))
            span.set_status(trace.StatusCode.ERROR)
        span.end(end)
