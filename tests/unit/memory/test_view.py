"""Views: whole units within a budget, valid to send, and the same bytes from prompt to prompt."""

from collections import Counter as Tally

from hypothesis import given
from hypothesis import strategies as st

from recollect.memory.repair import repaired
from recollect.memory.view import view_of
from recollect.messages import Message, encode, units
from tests.unit.memory.flushing_parts import (
    WORDS,
    calling,
    chatter,
    conversations,
    records,
    result,
    said,
)


def is_valid(sent: list[Message]) -> bool:
    """Each call is followed by its results and nothing else; no result stands elsewhere."""
    waiting: Tally[str] = Tally()
    for message in sent:
        if message.role == "tool":
            if not waiting[message.tool_call_id or ""]:
                return False
            waiting[message.tool_call_id or ""] -= 1
        elif waiting.total():
            return False
        waiting.update(call.id for call in message.tool_calls or ())
    return not waiting.total()


@given(conversations(), st.one_of(st.none(), st.integers(0, 300)))
def test_a_view_is_valid_to_send_and_within_its_budget(
    messages: list[Message], budget: int | None
) -> None:
    view = view_of(records(*messages), WORDS, budget_tokens=budget)
    assert is_valid(list(view.messages))
    assert budget is None or view.tokens <= budget


@given(conversations(), st.integers(0, 300))
def test_a_view_holds_whole_units_in_order(messages: list[Message], budget: int) -> None:
    view = view_of(records(*messages), WORDS, budget_tokens=budget)
    shown = {id(message) for message in view.messages}
    everything = repaired(messages)
    assert [id(m) for m in everything if id(m) in shown] == [
        id(m) for m in view.messages if id(m) in {id(e) for e in everything}
    ]
    for unit in units(messages):
        mine = {id(messages[position]) for position in unit.positions}
        assert mine <= shown or not mine & shown or messages[unit.positions[0]].role == "tool"


@given(conversations(), st.one_of(st.none(), st.integers(0, 300)))
def test_the_same_messages_give_the_same_bytes(messages: list[Message], budget: int | None) -> None:
    one = view_of(records(*messages), WORDS, budget_tokens=budget)
    two = view_of(records(*messages), WORDS, budget_tokens=budget)
    assert [encode(m) for m in one.messages] == [encode(m) for m in two.messages]


@given(conversations(), conversations())
def test_the_stable_prefix_stays_byte_for_byte(before: list[Message], more: list[Message]) -> None:
    one = view_of(records(*before), WORDS)
    two = view_of(records(*before, *more), WORDS)
    tokens = count = 0
    while tokens < one.stable_tokens:
        message = one.messages[count]
        tokens += 6 + 4 if any(message is m for m in before) else 0
        count += 1
    assert [encode(m) for m in two.messages[:count]] == [encode(m) for m in one.messages[:count]]


def test_a_small_budget_moves_in_steps() -> None:
    """The first message changes seldom, though every prompt is at its budget."""
    talk = chatter(200)
    firsts = [
        view_of(records(*talk[:n]), WORDS, budget_tokens=200).messages[0].text
        for n in range(20, 200)
    ]
    assert len(set(firsts)) <= 31
    for n in range(20, 200):
        assert view_of(records(*talk[:n]), WORDS, budget_tokens=200).tokens > 100


def test_system_messages_and_summaries_stay_in_a_small_view() -> None:
    talk = [said("rules", "system"), said("s", "system", kind="summary"), *chatter(50)]
    view = view_of(records(*talk), WORDS, budget_tokens=100)
    assert [m.text for m in view.messages[:2]] == ["rules", "s"]
    assert view.messages[-1].text == "message 49"
    assert view.left_out == 52 - len(view.messages)


def test_a_budget_that_nothing_fits_gives_an_empty_view() -> None:
    assert view_of(records(*chatter(3)), WORDS, budget_tokens=9).messages == ()


def test_what_waits_for_a_result_is_not_stable() -> None:
    talk = [said("hi"), calling("a"), said("still there?")]
    view = view_of(records(*talk), WORDS)
    assert view.stable_tokens == 10
    assert [m.role for m in view.messages] == ["user", "assistant", "tool", "user"]
    answered = view_of(records(*talk, result("a")), WORDS)
    assert answered.stable_tokens == answered.tokens
    assert [m.text for m in answered.messages] == ["hi", "", "found", "still there?"]
