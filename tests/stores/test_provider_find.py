"""Finding, counting and clearing conversations, and the health of providers (seed 004)."""

import asyncio
import resource
import secrets
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from typing_extensions import override

from recollect.clock import ManualClock
from recollect.memory import MemoryQuery, StoreProvider
from recollect.messages import encode
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.records import Page, Search
from tests.stores.backends import BACKENDS, Make
from tests.stores.providers import PLUGINS, said

pytest_plugins = PLUGINS

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture(params=BACKENDS)
async def week(
    request: pytest.FixtureRequest, make: Make, clock: ManualClock
) -> AsyncIterator[StoreProvider]:
    """Conversations d0 … d6, a day apart, of anna and bert in turn; then d1 is written to again."""
    async with make(request.param, clock=clock) as store:
        provider = StoreProvider(store, name="P")
        for day in range(7):
            metadata = {"user_id": "bert" if day % 2 else "anna", "trace_id": f"t{day % 3}"}
            await provider.store_messages(f"d{day}", said(*"ab"), metadata)
            clock.advance(DAY)
        await provider.append_messages("d1", said("c"))
        yield provider


async def found(provider: StoreProvider, **query: Any) -> list[str]:
    return [c.conversation_id for c in await provider.find_conversations(MemoryQuery(**query))]


ALL = ["d1", "d6", "d5", "d4", "d3", "d2", "d0"]
START = ManualClock().now()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ALL),
        ({"limit": None}, ALL),
        ({"limit": 0}, []),
        ({"limit": 2}, ALL[:2]),
        ({"limit": 2, "offset": 1}, ALL[1:3]),
        ({"offset": 5}, ALL[5:]),
        ({"offset": 99}, []),
        ({"limit": 10**6}, ALL),
        ({"user_id": "anna"}, ["d6", "d4", "d2", "d0"]),
        ({"user_id": "anna", "limit": 1, "offset": 1}, ["d4"]),
        ({"user_id": "nobody"}, []),
        ({"conversation_id": "d3"}, ["d3"]),
        ({"conversation_id": "d3", "user_id": "anna"}, []),
        ({"conversation_id": "d3", "offset": 1}, []),
        ({"conversation_id": "d"}, []),
        ({"trace_id": "t0"}, ["d6", "d3", "d0"]),
        ({"trace_id": "t0", "limit": 2}, ["d6", "d3"]),
        ({"trace_id": "t0", "user_id": "bert"}, ["d3"]),
        ({"trace_id": "t"}, []),
        ({"since": START + 5 * DAY}, ["d1", "d6", "d5"]),
        ({"until": START + 2 * DAY}, ["d2", "d0"]),
        ({"since": START + 2 * DAY, "until": START + 4 * DAY}, ["d4", "d3", "d2"]),
        ({"until": START + 2 * DAY, "limit": 1}, ["d2"]),
        ({"since": START + 5 * DAY + timedelta(microseconds=1)}, ["d1", "d6"]),
        ({"since": datetime.min, "until": datetime.max}, ALL),  # noqa: DTZ901  # no zone is meant
        ({"conversation_id": "d0", "since": START + DAY}, []),
    ],
    ids=str,
)
async def test_every_filter_filters_and_the_newest_come_first(
    week: StoreProvider, query: dict[str, Any], expected: list[str]
) -> None:
    assert await found(week, **query) == expected


async def test_what_is_found_is_whole(week: StoreProvider) -> None:
    (one,) = await week.find_conversations(MemoryQuery(conversation_id="d1"))
    assert one == await week.get_conversation("d1")
    assert [message.text for message in one.messages] == ["a", "b", "c"]


async def test_a_time_without_a_zone_is_local_time(
    week: StoreProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = datetime(2026, 1, 6)  # noqa: DTZ001  # START is 2026-01-01T00:00Z; d5 was active on the 6th
    for zone, expected in (("UTC+2", ["d1", "d6"]), ("UTC-2", ["d1", "d6", "d5"])):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert await found(week, since=local) == expected
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("backend", BACKENDS)
async def test_all_are_found_however_many(make: Make, backend: str) -> None:
    async with make(backend) as store:
        provider = StoreProvider(store, name="P")
        ids = [f"c{n}" for n in range(1_100)]
        for part in range(0, 1_100, 100):
            await asyncio.gather(
                *(provider.append_messages(one, said("a")) for one in ids[part : part + 100])
            )
        assert set(await found(provider)) == set(ids)
        assert len(await found(provider)) == 1_100
        assert len(await found(provider, limit=1_050, offset=20)) == 1_050
        assert await provider.clear_user_conversations("u") == 0


# ---- clearing ------------------------------------------------------------------------------------


async def test_clearing_removes_that_users_conversations_and_no_others(week: StoreProvider) -> None:
    assert await week.clear_user_conversations("anna") == 4
    assert await found(week) == ["d1", "d5", "d3"]
    assert await week.clear_user_conversations("anna") == 0


async def test_clearing_is_complete_while_others_write(week: StoreProvider) -> None:
    others = (week.append_messages(f"d{n}", said("x"), {"user_id": "bert"}) for n in (1, 3, 5) * 5)
    count, *_ = await asyncio.gather(week.clear_user_conversations("anna"), *others)
    assert count == 4
    assert sorted(await found(week)) == ["d1", "d3", "d5"]


class Busy(InMemoryStore):
    """Somebody writes between finding and whatever follows."""

    @override
    async def _find(self, search: Search) -> Page:
        page = await super()._find(search)
        for head in page.heads:
            owner = "bert" if head.conversation.id == "given away" else None
            await self.annotate(head.conversation, {"x": 1}, owner=owner)
        return page


async def busy_provider() -> StoreProvider:
    provider = StoreProvider(Busy(), name="P")
    for one in ("given away", "written to"):
        await provider.store_messages(one, said("a"), {"user_id": "anna"})
    return provider


async def test_clearing_leaves_what_has_passed_to_another_user_meanwhile() -> None:
    provider = await busy_provider()
    assert await provider.clear_user_conversations("anna") == 1
    given = await provider.get_conversation("given away")
    assert given is not None
    assert given.user_id == "bert"
    assert await provider.get_conversation("written to") is None


async def test_what_has_passed_to_another_user_meanwhile_is_not_returned() -> None:
    provider = await busy_provider()
    assert await found(provider, user_id="anna", limit=5) == ["written to"]


async def test_the_cleanup_of_the_seed_removes_exactly_the_old_ones(week: StoreProvider) -> None:
    query = MemoryQuery(until=START + 3 * DAY, limit=1000)
    for old in await week.find_conversations(query):
        await week.delete_conversation(old.conversation_id)
    assert await found(week) == ["d1", "d6", "d5", "d4"]


# ---- sums and health -----------------------------------------------------------------------------


async def test_stats_have_all_keys_of_the_seed(week: StoreProvider) -> None:
    stored = await week.find_conversations(MemoryQuery())
    size = sum(len(encode(message)) for one in stored for message in one.messages)
    assert await week.get_stats() == {
        "total_conversations": 7,
        "total_messages": 15,
        "avg_messages_per_conversation": 2.14,
        "total_storage_size": size,
        "oldest_conversation": START.isoformat(),
        "newest_conversation": (START + 6 * DAY).isoformat(),
    }


async def test_stats_of_a_user_count_that_user_alone(week: StoreProvider) -> None:
    stats = await week.get_stats(user_id="bert")
    assert (stats["total_conversations"], stats["total_messages"]) == (3, 7)
    assert (stats["user_conversations"], stats["user_messages"]) == (3, 7)
    assert stats["oldest_conversation"] == (START + DAY).isoformat()


async def test_stats_of_nothing_are_zero(provider: StoreProvider) -> None:
    stats = await provider.get_stats("nobody")
    assert (stats["total_conversations"], stats["user_messages"]) == (0, 0)
    assert stats["avg_messages_per_conversation"] == 0
    assert (stats["oldest_conversation"], stats["newest_conversation"]) == (None, None)


CONNECTIONS = {"InMemory": 0, "SQLite": 2, "Redis": 2, "Postgres": 1}


async def test_health_reports_what_was_measured(provider: StoreProvider) -> None:
    await provider.store_messages("c", said("a"))
    first = (await provider.health_check())["metrics"]
    for n in range(20):  # 10 MB that cannot be compressed much
        await provider.append_messages("big", said(secrets.token_hex(250_000) + str(n)))
    health = await provider.health_check()
    assert health["healthy"] is True
    assert health["provider"] == provider.name
    assert provider.name in health["message"]
    assert 0 < health["latency_ms"] < 60_000
    assert health["details"]["durable"] is (provider.name != "InMemory")
    assert health["details"]["durability"]
    metrics = health["metrics"]
    assert metrics["active_connections"] == CONNECTIONS[provider.name]
    assert 0 < metrics["avg_response_time"] < 60_000
    if provider.name == "InMemory":  # of the whole process, which may reuse what it has
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        assert 10_000_000 < metrics["memory_usage"] <= 1.1 * most
    else:
        assert metrics["memory_usage"] - first["memory_usage"] > 5_000_000


async def test_the_average_response_time_is_that_of_the_calls() -> None:
    class Slow(ManualClock):
        def monotonic(self) -> float:
            self.advance(timedelta(milliseconds=10))
            return super().monotonic()

    provider = StoreProvider(InMemoryStore(clock=Slow()), name="P")
    for _ in range(200):
        await provider.append_messages("c", said("a"))
    health = await provider.health_check()
    assert health["metrics"]["avg_response_time"] == 10.0
