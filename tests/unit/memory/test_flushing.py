"""Flush plans: whole units, in the order of the strategy, down to the low-water mark."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.memory.budget import held_tokens, is_due, limits_of, token_limit
from recollect.memory.flushing.plan import plan_flush
from recollect.memory.flushing.priority import priority_of
from recollect.memory.flushing.stock import Size, Stock
from recollect.memory.resource import Resource
from recollect.memory.sections import StrategyName
from recollect.messages import Message, units
from tests.unit.memory.flushing_parts import (
    calling,
    chatter,
    conversations,
    limited,
    records,
    resource,
    result,
    rules,
    said,
)

rooms = st.builds(Size, st.integers(0, 3), st.integers(0, 40))


# ---- every strategy ------------------------------------------------------------------------------


@given(conversations(), limited(), rooms)
def test_units_stay_whole_and_open_ones_stay(
    messages: list[Message], memory: Resource, room: Size
) -> None:
    plan = plan_flush(rules(memory), records(*messages), room=room)
    gone = {seq - 1 for seq in plan.remove}
    for unit in units(messages):
        assert gone.isdisjoint(unit.positions) or gone.issuperset(unit.positions)
        assert not unit.open or gone.isdisjoint(unit.positions)


@given(conversations(), limited(), rooms)
def test_the_counts_of_a_plan_are_exact(
    messages: list[Message], memory: Resource, room: Size
) -> None:
    plan = plan_flush(rules(memory), records(*messages), room=room)
    added = sum(record.tokens for record in plan.insert)
    assert plan.messages == len(messages) - len(plan.remove) + len(plan.insert)
    assert plan.tokens == 6 * (len(messages) - len(plan.remove)) + added
    assert plan.freed_tokens == 6 * len(plan.remove) - added
    assert list(plan.remove) == sorted(set(plan.remove))
    assert len(plan.insert) <= 1


@given(conversations(), limited())
def test_a_flush_makes_a_memory_smaller_or_leaves_it_alone(
    messages: list[Message], memory: Resource
) -> None:
    plan = plan_flush(rules(memory), records(*messages))
    assert plan.saved_tokens > 0 or not plan.remove
    assert not plan.remove or plan.messages >= memory.flushing.min_messages


@given(conversations(), limited(), rooms)
def test_what_is_critical_or_protected_never_goes(
    messages: list[Message], memory: Resource, room: Size
) -> None:
    given_rules = rules(memory)
    plan = plan_flush(given_rules, records(*messages), room=room)
    for seq in plan.remove:
        message = messages[seq - 1]
        assert message.role not in memory.eviction_policy.protected_roles
        if given_rules.spares_critical and "kind" not in message.metadata:
            assert priority_of(message, memory) > 0


@given(conversations(), limited(), rooms)
def test_the_same_messages_give_the_same_plan(
    messages: list[Message], memory: Resource, room: Size
) -> None:
    kept = records(*messages)
    assert plan_flush(rules(memory), kept, room=room) == plan_flush(rules(memory), kept, room=room)


@given(st.integers(2, 60), limited())
def test_the_newest_stays_when_a_flush_is_asked_for(count: int, memory: Resource) -> None:
    talk = [*chatter(count - 1), said("the least important", priority=9)]
    assert count not in plan_flush(rules(memory), records(*talk)).remove


# ---- simple_fifo: row 56 -------------------------------------------------------------------------


@given(st.integers(2, 80), st.integers(0, 200), st.integers(60, 800))
def test_row_56_fifo_takes_the_oldest_and_leaves_half(
    count: int, tokens: int, max_tokens: int
) -> None:
    memory = resource(type="token_based", max_tokens=max_tokens)
    kept = records(*chatter(count), tokens=tokens)
    plan = plan_flush(rules(memory), kept)
    gone = len(plan.remove)
    assert plan.remove == tuple(range(1, gone + 1))
    assert plan.messages == count - gone >= 1
    low = max_tokens / 2
    assert held_tokens(plan.messages, plan.tokens) <= low or plan.messages == 1
    assert gone == 1 or held_tokens(plan.messages + 1, plan.tokens + tokens) > low


def test_row_56_at_the_threshold_a_flush_leaves_half() -> None:
    memory = resource(type="token_based", max_tokens=4000)
    kept = records(*chatter(40), tokens=76)  # 80 with the overhead of each
    assert held_tokens(40, 40 * 76) == 3200
    assert is_due(limits_of(memory), 40, 40 * 76, memory.flushing.threshold)
    plan = plan_flush(rules(memory), kept)
    assert held_tokens(plan.messages, plan.tokens) == 2000


@pytest.mark.parametrize(
    ("flushing", "asked", "low"),
    [
        ({}, None, 0.5),
        ({"type": "priority"}, None, 0.5),
        ({"type": "hybrid_summary"}, None, 0.6),
        ({}, "hybrid_summary", 0.6),
        ({"type": "hybrid_summary"}, "fifo", 0.5),
        ({"type": "hybrid_summary", "target_utilization": 0.3}, None, 0.3),
    ],
)
def test_the_low_water_mark_is_that_of_the_strategy(
    flushing: dict[str, object], asked: StrategyName | None, low: float
) -> None:
    assert rules(resource(flushing=flushing), asked).low_water == low


def test_below_the_threshold_nothing_is_due() -> None:
    limits = limits_of(resource(type="token_based", max_tokens=4000))
    assert not is_due(limits, 39, 39 * 76, 0.8)
    assert is_due(limits, 39, 39 * 76, 0.5)


def test_without_limits_nothing_is_ever_due() -> None:
    assert not is_due(limits_of(resource()), 10**6, 10**9, 0.1)


def test_making_room_may_take_the_last_message() -> None:
    memory = resource(type="message_count_based", max_messages=1)
    plan = plan_flush(rules(memory), records(*chatter(1)), room=Size(1, 6))
    assert plan.remove == (1,)


def test_a_flush_never_leaves_fewer_than_min_messages() -> None:
    memory = resource(type="message_count_based", max_messages=10, flushing={"min_messages": 8})
    assert plan_flush(rules(memory), records(*chatter(10))).messages == 8


def test_an_earlier_summary_is_among_those_that_leave() -> None:
    summary = {"type": "hybrid_summary", "summary_tokens": 17, "summarize_oldest_percent": 1.0}
    earlier = said("The dog is called Biscuit.", "system", kind="summary")
    kept = records(said("fine"), earlier, said("found"), said("fine"))
    for least in (1, 2, 3, 4):
        memory = resource(max_messages=100, flushing={**summary, "min_messages": least})
        plan = plan_flush(rules(memory), kept)
        assert plan.messages == (2 if least <= 2 else 4 if least == 4 else 3)


def test_an_open_call_stays_with_its_result() -> None:
    memory = resource(type="message_count_based", max_messages=4)
    kept = records(calling("a", "b"), result("a"), *[Message(role="assistant", content="x")] * 4)
    assert not {1, 2} & set(plan_flush(rules(memory), kept).remove)


def test_messages_that_cannot_be_read_count() -> None:
    memory = resource(type="message_count_based", max_messages=10)
    plan = plan_flush(rules(memory), records(*chatter(6)), unread=Size(2, 12))
    assert plan.messages == 5
    assert len(plan.remove) == 3


# ---- priority: row 57 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "priority"),
    [
        (said("rules", "system"), 0),
        (said("an ERROR came up"), 1),
        (said("the Key.", "assistant"), 1),
        (said("my keyboard, its terrors and tissues"), 2),
        (said("hello"), 2),
        (said("an error", "tool"), 3),
        (said("hello", priority=0), 0),
        (said("rules", "system", priority=4), 4),
        (said("hello", priority=7), 7),
        (said("hello", priority=True), 2),
        (said("hello", priority=-1), 2),
        (said("hello", priority="0"), 2),
        (said("x", "system", kind="summary"), 1),
    ],
)
def test_row_57_importance_by_role_keyword_and_number(message: Message, priority: int) -> None:
    assert priority_of(message, resource()) == priority


def test_row_57_keywords_of_the_resource_replace_the_usual_ones() -> None:
    memory = resource(eviction_policy={"type": "priority", "priority_keywords": ["Merlin", "C++"]})
    assert priority_of(said("ask MERLIN."), memory) == 1
    assert priority_of(said("in c++, please"), memory) == 1
    assert priority_of(said("an error"), memory) == 2


def test_row_57_blocks_give_kinds_and_roles_a_priority() -> None:
    memory = resource(
        priority_blocks=[
            {"priority": 0, "content_types": ["contract"]},
            {"priority": 4, "content_types": ["user", "note"]},
        ]
    )
    assert priority_of(said("x", type="contract"), memory) == 0
    assert priority_of(said("x", type="note"), memory) == 4
    assert priority_of(said("an error"), memory) == 4
    assert priority_of(said("x", type="note", priority=1), memory) == 1


def mixed() -> list[Message]:
    """One of each importance, the most important first, twice; then the newest."""
    once = [
        said("rules", "system"),
        said("an error"),
        said("hello"),
        said("found", "tool"),
        said("whatever", priority=4),
    ]
    return [*once, *once, said("bye")]


@pytest.mark.parametrize(
    ("leaves", "gone"),
    [(10, (5,)), (9, (5, 10)), (8, (4, 5, 10)), (7, (4, 5, 9, 10)), (5, (3, 4, 5, 8, 9, 10))],
)
def test_row_57_the_least_important_goes_first_then_the_oldest(
    leaves: int, gone: tuple[int, ...]
) -> None:
    low = (leaves - 2) / 9  # of what is not critical
    memory = resource(
        type="message_count_based",
        max_messages=11,
        flushing={"type": "priority", "target_utilization": low},
    )
    assert plan_flush(rules(memory), records(*mixed())).remove == gone


@pytest.mark.parametrize(
    "policy",
    [
        {"flushing": {"type": "priority"}},
        {"eviction_policy": {"type": "priority"}},
        {"priority_blocks": [{"priority": 4, "content_types": ["tool"]}]},
    ],
)
def test_importance_is_heeded_however_it_is_asked_for(policy: dict[str, object]) -> None:
    memory = resource(type="message_count_based", max_messages=11, **policy)
    plan = plan_flush(rules(memory), records(*mixed()))
    assert plan.strategy == "priority"
    assert not {1, 6} & set(plan.remove)
    assert {5, 10} <= set(plan.remove)


def test_a_call_may_ask_for_another_strategy() -> None:
    memory = resource(type="message_count_based", max_messages=11)
    assert plan_flush(rules(memory), records(*mixed())).remove[:2] == (1, 2)
    asked = plan_flush(rules(memory, "priority"), records(*mixed()))
    assert asked.strategy == "priority"
    assert 1 not in asked.remove


def test_plain_fifo_spares_protected_roles() -> None:
    memory = resource(
        type="message_count_based", max_messages=11, eviction_policy={"protected_roles": ["tool"]}
    )
    plan = plan_flush(rules(memory), records(*mixed()))
    assert plan.strategy == "simple_fifo"
    assert plan.remove == (1, 2, 3, 5, 6)


def test_much_that_is_critical_does_not_make_every_append_a_flush() -> None:
    """The marks are shares of what may go: after a flush the next is not due at once."""
    memory = resource(type="message_count_based", max_messages=20, flushing={"type": "priority"})
    fixed = [said("rules", "system")] * 14
    full = [*fixed, *chatter(5)]
    assert Stock(rules(memory), records(*full)).is_above(0.8)
    left = plan_flush(rules(memory), records(*full)).messages
    assert left == 17
    assert not Stock(rules(memory), records(*full[:left])).is_above(0.8)


# ---- budgets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({"max_tokens": 4000}, 4000),
        ({"max_context_ratio": 0.5, "model": "gpt-4"}, 4096),
        ({"max_context_ratio": 0.5, "model": "gpt-4", "max_tokens": 4000}, 4000),
        ({"max_context_ratio": 0.25, "model": "gpt-4", "max_tokens": 4000}, 2048),
        ({"max_context_ratio": 0.33, "context_length": 1000}, 330),
        ({"max_context_ratio": 0.5, "context_length": 1000, "model": "gpt-4"}, 500),
        ({"max_context_ratio": 0.5, "model": "nobody-knows"}, 2048),
        ({"max_context_ratio": 0.5}, 2048),
        (
            {"max_context_ratio": 0.3, "token_provider": {"provider": "openai", "model": "gpt-4"}},
            2457,
        ),
        ({"max_messages": 3}, None),
        ({}, None),
    ],
)
def test_the_token_limit_is_the_smaller_of_number_and_share(
    fields: dict[str, object], limit: int | None
) -> None:
    assert token_limit(resource(**fields)) == limit
