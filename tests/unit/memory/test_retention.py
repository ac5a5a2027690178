"""The limits of the in-memory provider: what goes, what stays, who hears of it."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.memory import (
    InMemoryConfig,
    MemoryQuery,
    StoreProvider,
    Success,
    create_in_memory_provider,
)
from recollect.memory.providers.retention import surplus
from recollect.messages import Message, units
from recollect.telemetry import Telemetry


class Heard:
    """A listener that sums up the counts of events."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def __call__(self, event: str, /, **labels: Any) -> None:
        self.counts[event] = self.counts.get(event, 0) + labels["count"]


@pytest.fixture
def heard() -> Heard:
    return Heard()


def limited(heard: Heard, **limits: int) -> StoreProvider:
    telemetry = Telemetry()
    telemetry.listen(heard)
    return create_in_memory_provider(InMemoryConfig(**limits), telemetry=telemetry)  # type: ignore[arg-type]


def said(*texts: str) -> list[Message]:
    return [Message("user", text) for text in texts]


async def texts(provider: StoreProvider, conversation_id: str = "c") -> list[str]:
    found = await provider.get_conversation(conversation_id)
    assert found is not None
    return [message.text for message in found.messages]


async def ids(provider: StoreProvider) -> set[str]:
    return {c.conversation_id for c in await provider.find_conversations(MemoryQuery())}


# ---- messages ------------------------------------------------------------------------------------


async def test_without_limits_nothing_goes() -> None:
    provider = create_in_memory_provider()
    for number in range(1_100):
        await provider.append_messages(str(number), said("a"))
    await provider.append_messages("c", said(*map(str, range(1_100))))
    assert (await provider.get_stats())["total_conversations"] == 1_101
    assert len(await texts(provider)) == 1_100


async def test_the_last_messages_stay_and_the_others_are_told(heard: Heard) -> None:
    provider = limited(heard, max_messages=3)
    await provider.store_messages("c", said(*"abcde"))
    assert await texts(provider) == ["c", "d", "e"]
    await provider.append_messages("c", said("f"))
    assert await texts(provider) == ["d", "e", "f"]
    await provider.append_messages("c", said(*"ghijk"))
    assert await texts(provider) == ["i", "j", "k"]
    assert heard.counts == {"provider.messages_evicted": 2 + 1 + 5}
    found = await provider.get_conversation("c")
    assert found is not None
    assert found.metadata["total_messages"] == 3


async def test_a_repeated_write_drops_nothing_more(heard: Heard) -> None:
    provider = limited(heard, max_messages=2)
    for _ in range(3):
        assert await provider.append_messages("c", said(*"abc"), key="k") == Success(None)
    assert await texts(provider) == ["b", "c"]
    assert heard.counts == {"provider.messages_evicted": 1}


def call(*call_ids: str) -> Message:
    calls = [{"id": one, "function": {"name": "look"}} for one in call_ids]
    return Message("assistant", "", tool_calls=calls)  # type: ignore[arg-type]


def result(call_id: str) -> Message:
    return Message("tool", call_id, tool_call_id=call_id)


async def test_a_call_goes_with_its_results(heard: Heard) -> None:
    provider = limited(heard, max_messages=3)
    await provider.store_messages("c", [call("x"), result("x"), *said("a")])
    await provider.append_messages("c", said("b"))
    assert await texts(provider) == ["a", "b"]
    assert heard.counts == {"provider.messages_evicted": 2}


async def test_the_newest_unit_and_an_open_one_stay_whole(heard: Heard) -> None:
    provider = limited(heard, max_messages=2)
    await provider.store_messages("c", [*said("a"), call("x", "y"), result("x"), result("y")])
    assert await texts(provider) == ["", "x", "y"]
    await provider.store_messages("d", [call("x", "y"), result("x"), Message("assistant", "so")])
    assert await texts(provider, "d") == ["", "x", "so"]
    await provider.append_messages("d", [*said("b"), Message("assistant", "c")])
    assert await texts(provider, "d") == ["b", "c"]


@given(
    st.lists(st.sampled_from(["user", "assistant", "call", "result"]), max_size=12),
    st.integers(1, 6),
)
def test_what_goes_are_the_oldest_whole_units_and_no_more_than_needed(
    kinds: list[str], most: int
) -> None:
    makers = {"call": lambda: call("x", "y"), "result": lambda: result("x")}
    messages = [
        makers[kind]() if kind in makers else Message(kind, "t")  # type: ignore[arg-type]
        for kind in kinds
    ]
    gone = set(surplus(messages, most))
    whole = units(messages)
    parts = [(set(unit.positions), unit.open) for unit in whole]
    assert all(part <= gone or not part & gone for part, _ in parts)
    assert not any(part & gone for part, is_open in parts if is_open)
    if whole:
        assert not parts[-1][0] & gone
    left = len(messages) - len(gone)
    removable = [part for part, is_open in parts[:-1] if not is_open]
    assert left <= most or set().union(*removable) == gone
    if gone:
        last = next(part for part in reversed(removable) if part <= gone)
        assert left + len(last) > most


# ---- conversations -------------------------------------------------------------------------------


async def test_the_one_not_used_for_longest_goes(heard: Heard) -> None:
    provider = limited(heard, max_conversations=2)
    for one in ("a", "b", "c"):
        await provider.store_messages(one, said(one))
    assert await ids(provider) == {"b", "c"}
    assert heard.counts == {"provider.conversations_evicted": 1}


@pytest.mark.parametrize(
    "use",
    [
        lambda provider: provider.get_conversation("a"),
        lambda provider: provider.get_recent_messages("a"),
        lambda provider: provider.append_messages("a", []),
        lambda provider: provider.store_messages("a", []),
        lambda provider: provider.mark_regeneration_point("a", "m", {}),
        lambda provider: provider.truncate_conversation_after("a", "m"),
        lambda provider: provider.get_conversation_until_message("a", "m"),
    ],
    ids=["get", "recent", "append", "store", "mark", "truncate", "until"],
)
async def test_this_counts_as_use(heard: Heard, use: Any) -> None:
    provider = limited(heard, max_conversations=2)
    await provider.store_messages("a", said("a"))
    await provider.store_messages("b", said("b"))
    await use(provider)
    await provider.store_messages("c", said("c"))
    assert await ids(provider) == {"a", "c"}


async def test_a_deleted_one_takes_no_place(heard: Heard) -> None:
    provider = limited(heard, max_conversations=2)
    await provider.store_messages("a", said("a"), {"user_id": "u"})
    await provider.store_messages("b", said("b"))
    await provider.clear_user_conversations("u")
    await provider.store_messages("c", said("c"))
    await provider.delete_conversation("b")
    await provider.store_messages("d", said("d"))
    assert await ids(provider) == {"c", "d"}
    assert heard.counts == {}


async def test_an_evicted_one_begins_anew(heard: Heard) -> None:
    provider = limited(heard, max_conversations=1)
    await provider.store_messages("a", said("a"), {"user_id": "u", "x": 1})
    await provider.store_messages("b", said("b"))
    await provider.append_messages("a", said("c"))
    found = await provider.get_conversation("a")
    assert found is not None
    assert ([m.text for m in found.messages], found.user_id) == (["c"], None)
    assert "x" not in found.metadata


async def test_both_limits_hold_from_several_threads_at_once(heard: Heard) -> None:
    provider = limited(heard, max_conversations=3, max_messages=5)

    async def write(thread: int) -> None:
        for number in range(100):
            await provider.append_messages(f"c{number % 6}", said(f"{thread}.{number}"))

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, write(n)) for n in range(4)))
    await provider.append_messages("last", said("x"))
    stats = await provider.get_stats()
    assert stats["total_conversations"] == 3
    for one in await provider.find_conversations(MemoryQuery()):
        assert len(one.messages) <= 5
