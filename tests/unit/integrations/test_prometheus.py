"""Every metric moves when what it counts happens, and none of them names a key or says a word.

Row 64 of specs/memory.md section 13; row 51 for the alert rules.
"""

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from recollect.clock import ManualClock
from recollect.errors import MemoryLimitExceeded, MemoryResourceNotFound
from recollect.integrations.prometheus import MemoryMetrics
from recollect.memory.leases import held
from recollect.memory.monitor import HealthMonitor
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.stores.in_memory import InMemoryStore
from recollect.telemetry import Telemetry

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 21, tzinfo=UTC)
SECRET = "ada@example.com"
RESOURCE = {
    "resource": "memory",
    "id": "talk",
    "type": "token_based",
    "max_tokens": 200,
    "privacy_policy": {
        "redact_patterns": ["preset:email"],
        "non_persistable_message_types": ["system"],
    },
}


class Watched:
    """Memories, and the metrics that listen to them."""

    def __init__(self, store: InMemoryStore) -> None:
        self.telemetry = Telemetry()
        self.registry = CollectorRegistry()
        self.telemetry.listen(MemoryMetrics(project_id="shop", registry=self.registry))
        resource = Resource.model_validate(RESOURCE)
        self.memories = Memories(
            Registry({"talk": Defined(resource=resource, file=Path("m.yaml"))}),
            durable=store,
            scratch=store,
            project_id="shop",
            hash_key=lambda: b"k" * 32,
            telemetry=self.telemetry,
        )

    async def do(self, operation: Any, payload: object = None, **config: Any) -> dict[str, Any]:
        request = Request(
            operation=operation,
            memory_ref="talk",
            key=f"user:{SECRET}",
            payload=payload,
            config=config or None,
        )
        return await self.memories.perform(request, now=NOW)

    def value(self, name: str, **labels: str) -> float:
        of_all = {"memory_id": "talk", "project_id": "shop", **labels}
        found = self.registry.get_sample_value(f"recollect_memory_{name}", of_all)
        return 0.0 if found is None else found


@pytest.fixture
async def watched() -> AsyncIterator[Watched]:
    async with InMemoryStore(clock=ManualClock(NOW)) as store:
        yield Watched(store)


async def test_appends_are_counted_in_messages_and_tokens(watched: Watched) -> None:
    output = await watched.do("append", [{"content": "one"}, {"content": "two"}])
    assert watched.value("messages_total") == 2
    assert watched.value("tokens_total") == output["token_count"] > 0
    assert watched.value("operations_total", operation="append") == 1
    seconds = "operation_duration_seconds_count"
    assert watched.value(seconds, operation="append", status="success") == 1


async def test_fullness_is_shown_beside_the_limit(watched: Watched) -> None:
    await watched.do("append", "something to remember")
    assert 0 < watched.value("tokens_used_gauge") < watched.value("max_tokens_gauge") == 200


async def test_redactions_and_exclusions_are_counted(watched: Watched) -> None:
    await watched.do("append", [{"content": f"I am {SECRET}"}, {"role": "system", "content": "x"}])
    assert watched.value("redaction_operations_total") == 1
    assert watched.value("privacy_exclusions_total", reason="privacy_policy") == 1


async def test_flushes_are_counted_with_what_they_saved(watched: Watched) -> None:
    await watched.do("write", [{"content": f"number {n} of many words"} for n in range(10)])
    output = await watched.do("flush", force=True)
    assert output["messages_flushed"] > 0
    assert watched.value("flush_total", flush_type="asked", status="success") == 1
    assert watched.value("trim_total", strategy="simple_fifo") == 1
    assert watched.value("tokens_saved_total", strategy="simple_fifo") == output["tokens_freed"]


async def test_a_dry_run_saves_nothing(watched: Watched) -> None:
    await watched.do("write", [{"content": f"number {n} of many words"} for n in range(10)])
    assert (await watched.do("flush", force=True, dry_run=True))["messages_flushed"] > 0
    assert watched.value("trim_total", strategy="simple_fifo") == 0


async def test_failures_are_counted_by_operation(watched: Watched) -> None:
    with pytest.raises(MemoryLimitExceeded):
        await watched.do("append", "word " * 1000)
    assert watched.value("operation_errors_total", operation="append") == 1
    seconds = "operation_duration_seconds_count"
    assert watched.value(seconds, operation="append", status="failure") == 1
    assert watched.value("messages_total") == 0


async def test_leases_and_those_that_were_contended_are_counted(watched: Watched) -> None:
    await watched.do("append", "hello")
    memory = watched.memories.open("talk", f"user:{SECRET}")
    settings: dict[str, Any] = {
        "ttl": timedelta(seconds=5),
        "memory_id": "talk",
        "telemetry": watched.telemetry,
    }
    async with held(memory.store, memory.address, holder="flush", **settings):
        assert watched.value("lock_acquire_total") == 1
        assert watched.value("lock_contention_total") == 0
        with pytest.raises(Exception, match="somebody else"):
            async with held(memory.store, memory.address, holder="clear", **settings):
                pytest.fail("two hold it")
    assert watched.value("lock_contention_total") == 1


async def test_large_messages_are_seen_in_their_thread(watched: Watched) -> None:
    seen: list[float] = []
    watched.telemetry.listen(
        lambda event, /, **labels: (
            seen.append(watched.value("goroutine_pool_active"))
            if event == "memory.worker"
            else None
        )
    )
    with pytest.raises(MemoryLimitExceeded):
        await watched.do("append", "word " * 10_000)
    assert seen == [1, 0]


async def test_health_is_shown(watched: Watched) -> None:
    monitor = HealthMonitor(watched.memories, clock=ManualClock(NOW), telemetry=watched.telemetry)
    assert (await monitor.check())["healthy"]
    assert watched.value("health_status") == 1
    await watched.memories.durable.close()
    assert not (await monitor.check())["healthy"]
    assert watched.value("health_status") == 0


async def test_events_of_others_move_their_metrics(watched: Watched) -> None:
    watched.telemetry.emit("store.breaker", state="open")
    watched.telemetry.emit("store.breaker", state="closed")
    watched.telemetry.emit("run.started", workflow="w")
    with pytest.raises(MemoryResourceNotFound):
        await watched.memories.perform(
            Request(operation="read", memory_ref="tlak", key="k"), now=NOW
        )
    watched.telemetry.emit("an.event.nobody.knows", status="x")
    of_all = {"memory_id": "", "project_id": "shop"}
    prefix = "recollect_memory_"
    value = watched.registry.get_sample_value
    assert value(f"{prefix}circuit_breaker_trips_total", of_all) == 1
    assert value(f"{prefix}background_jobs", {**of_all, "activity_type": "run"}) == 1
    assert value(f"{prefix}config_resolution_total", {**of_all, "status": "failure"}) == 1
    watched.telemetry.emit("run.ended", status="completed")
    assert value(f"{prefix}background_jobs", {**of_all, "activity_type": "run"}) == 0
    watched.telemetry.emit("run.started")
    watched.telemetry.emit("run.interrupted")
    assert value(f"{prefix}background_jobs", {**of_all, "activity_type": "run"}) == 0


async def test_no_key_and_no_content_is_in_what_is_scraped(watched: Watched) -> None:
    await watched.do("append", f"I am {SECRET}")
    await watched.do("read")
    scraped = generate_latest(watched.registry).decode()
    assert "recollect_memory_messages_total" in scraped
    assert SECRET not in scraped
    assert "user:" not in scraped


def test_the_alert_rules_ask_for_metrics_that_are_there(watched: Watched) -> None:
    rules = (ROOT / "examples" / "monitoring" / "alerts.yaml").read_text("utf-8")
    asked = set(re.findall(r"recollect_memory_\w+", rules)) - {"recollect_memory_"}
    groups = {group["name"] for group in yaml.safe_load(rules)["groups"]}
    there = {
        f"{metric.name}{ending}"
        for metric in watched.registry.collect()
        for ending in ("", "_total", "_bucket", "_count")
    }
    assert asked - groups <= there


def test_the_page_has_a_row_for_every_metric(watched: Watched) -> None:
    page = (ROOT / "docs" / "observability.md").read_text("utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \| (?:counter|gauge|histogram)", page, re.MULTILINE))
    there = {
        metric.name.removeprefix("recollect_memory_")
        + ("_total" if metric.type == "counter" else "")
        for metric in watched.registry.collect()
    }
    assert documented == there
