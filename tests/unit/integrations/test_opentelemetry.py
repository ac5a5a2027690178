"""Each operation is a span by the GenAI conventions for memory."""

from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from recollect.clock import SystemClock
from recollect.errors import MemoryLimitExceeded
from recollect.integrations.opentelemetry import OPERATIONS, MemorySpans
from recollect.memory.operations import CONFIGS
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.stores.in_memory import InMemoryStore
from recollect.telemetry import Telemetry


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(exporter: InMemorySpanExporter) -> trace.Tracer:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test")


@pytest.fixture
def memories(tracer: trace.Tracer) -> Memories:
    telemetry = Telemetry()
    telemetry.listen(MemorySpans(tracer))
    resource = Resource.model_validate({"id": "talk", "max_tokens": 100})
    store = InMemoryStore()
    return Memories(
        Registry({"talk": Defined(resource=resource, file=Path("m.yaml"))}),
        durable=store,
        scratch=store,
        project_id="shop",
        telemetry=telemetry,
    )


async def test_an_append_is_a_span_under_the_callers(
    memories: Memories, tracer: trace.Tracer, exporter: InMemorySpanExporter
) -> None:
    request = Request(operation="append", memory_ref="talk", key="user:ada", payload="a secret")
    with tracer.start_as_current_span("request"):
        await memories.perform(request, now=SystemClock().now())
    span, parent = exporter.get_finished_spans()
    assert span.name == "create_memory talk"
    assert span.parent is not None
    assert span.parent.span_id == parent.context.span_id
    attributes = dict(span.attributes or {})
    assert attributes["gen_ai.operation.name"] == "create_memory"
    assert attributes["gen_ai.memory.store.id"] == "talk"
    assert attributes["recollect.memory.messages_stored"] == 1
    assert "secret" not in str(attributes)
    assert "ada" not in str(attributes)
    assert span.start_time is not None
    assert span.end_time is not None
    assert span.start_time <= span.end_time


async def test_a_failure_says_which(memories: Memories, exporter: InMemorySpanExporter) -> None:
    request = Request(operation="append", memory_ref="talk", key="k", payload="word " * 500)
    with pytest.raises(MemoryLimitExceeded):
        await memories.perform(request, now=SystemClock().now())
    (span,) = exporter.get_finished_spans()
    assert not span.status.is_ok
    assert dict(span.attributes or {})["error.type"] == "MEMORY_LIMIT_EXCEEDED"


def test_every_operation_has_its_name() -> None:
    assert set(OPERATIONS) == {"write", "append", "delete", *CONFIGS}
