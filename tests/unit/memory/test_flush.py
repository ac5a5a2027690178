"""Flush plans: whole units, oldest first, down to the low-water mark."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from recollect.memory.budget import held_tokens
from recollect.memory.flush import Room, is_due, plan_flush
from recollect.memory.resource import Resource
from recollect.messages import Message, ToolCall, ToolCallFunction, units
from recollect.stores.records import Record

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def resource(**fields: object) -> Resource:
    return Resource.model_validate({"id": "m", **fields})


def records(*messages: Message, tokens: int = 6) -> list[Record]:
    return [Record(seq, tokens, NOW, message) for seq, message in enumerate(messages, 1)]


def said(count: int) -> list[Message]:
    return [Message(role="user", content=f"message {i}") for i in range(count)]


def calling(*ids: str) -> Message:
    calls = tuple(ToolCall(id_, ToolCallFunction("look", "{}")) for id_ in ids)
    return Message(role="assistant", tool_calls=calls)


def result(id_: str) -> Message:
    return Message(role="tool", content="found", tool_call_id=id_)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Talk with parallel, interleaved, repeated, missing and orphaned tool results."""
    messages: list[Message] = []
    for _ in range(draw(st.integers(0, 25))):
        kind = draw(st.sampled_from(["user", "assistant", "call", "result", "system"]))
        if kind == "call":
            messages.append(
                calling(*draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3)))
            )
        elif kind == "result":
            messages.append(result(draw(st.sampled_from("abcd"))))
        else:
            messages.append(Message(role=kind, content="x"))  # type: ignore[arg-type]
    return messages


limited = st.builds(
    lambda tokens, messages: resource(type="buffer", max_tokens=tokens, max_messages=messages),
    st.one_of(st.none(), st.integers(10, 300)),
    st.one_of(st.none(), st.integers(1, 30)),
)
rooms = st.builds(lambda m, t: Room(messages=m, tokens=t), st.integers(0, 3), st.integers(0, 40))


@given(conversations(), limited, rooms)
def test_units_stay_whole_and_open_ones_stay(
    messages: list[Message], memory: Resource, room: Room
) -> None:
    kept = records(*messages)
    plan = plan_flush(memory, kept, room)
    gone = {seq - 1 for seq in plan.remove}
    for unit in units(messages):
        assert gone.isdisjoint(unit.positions) or gone.issuperset(unit.positions)
        assert not unit.open or gone.isdisjoint(unit.positions)


@given(conversations(), limited, rooms)
def test_the_counts_of_a_plan_are_exact(
    messages: list[Message], memory: Resource, room: Room
) -> None:
    kept = records(*messages)
    plan = plan_flush(memory, kept, room)
    assert plan.messages == len(messages) - len(plan.remove)
    assert plan.tokens == 6 * plan.messages
    assert plan.freed_tokens == 6 * len(plan.remove)
    assert list(plan.remove) == sorted(set(plan.remove))


@given(st.integers(2, 60), limited)
def test_plain_talk_goes_oldest_first_and_the_newest_stays(count: int, memory: Resource) -> None:
    plan = plan_flush(memory, records(*said(count)))
    assert plan.remove == tuple(range(1, len(plan.remove) + 1))
    assert plan.messages >= 1


def test_at_the_threshold_a_flush_leaves_half() -> None:
    memory = resource(type="token_based", max_tokens=4000)
    kept = records(*said(40), tokens=76)  # 80 with the overhead of each
    assert held_tokens(40, 40 * 76) == 3200
    assert is_due(memory, 40, 40 * 76)
    plan = plan_flush(memory, kept)
    assert held_tokens(plan.messages, plan.tokens) == 2000


def test_below_the_threshold_nothing_is_due() -> None:
    memory = resource(type="token_based", max_tokens=4000)
    assert not is_due(memory, 39, 39 * 76)
    assert is_due(memory, 39, 39 * 76, 0.5)


def test_without_limits_nothing_is_ever_due() -> None:
    assert not is_due(resource(), 10**6, 10**9)


def test_making_room_may_take_the_last_message() -> None:
    memory = resource(type="message_count_based", max_messages=1)
    plan = plan_flush(memory, records(*said(1)), Room(messages=1, tokens=6))
    assert plan.remove == (1,)


def test_a_flush_never_leaves_fewer_than_min_messages() -> None:
    memory = resource(type="message_count_based", max_messages=10, flushing={"min_messages": 8})
    assert plan_flush(memory, records(*said(10))).messages == 8


def test_an_open_call_stays_with_its_result() -> None:
    memory = resource(type="message_count_based", max_messages=4)
    kept = records(calling("a", "b"), result("a"), *[Message(role="assistant", content="x")] * 4)
    assert not {1, 2} & set(plan_flush(memory, kept).remove)
