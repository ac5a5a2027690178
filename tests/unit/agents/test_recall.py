"""From history to prompt: whole units, valid to send."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recollect.agents.recall import begins_anew, not_in, view, waiting_calls, window
from recollect.messages import Message, units
from tests.agent_parts import calling, lines, result, said

IDS = st.sampled_from("abc")
MESSAGES = st.lists(
    st.one_of(
        st.builds(lambda: Message("user", "hm")),
        st.builds(lambda: Message("assistant", "ah")),
        st.lists(IDS, min_size=1, max_size=3).map(lambda ids: calling(*ids)),
        IDS.map(result),
    ),
    max_size=20,
)


# ---- window --------------------------------------------------------------------------------------


def test_without_a_limit_all_of_history_is_shown() -> None:
    history = said("a", "b")
    assert window(history, None) == history


def test_the_newest_messages_are_shown() -> None:
    assert lines(window(said("a", "b", "c"), 2)) == ["user: b", "user: c"]


def test_a_call_is_not_parted_from_its_results() -> None:
    history = [*said("a"), calling("1", "2"), result("1"), result("2"), *said("b")]
    assert lines(window(history, 3)) == ["user: b"]
    assert window(history, 4) == history[1:]


def test_what_a_run_goes_on_with_is_shown_whatever_the_limit() -> None:
    waits = [*said("a"), calling("1", "2"), result("1")]
    assert window(waits, 1) == waits[1:]
    spoken = [*waits, *said("b")]
    assert lines(window(spoken, 1)) == ["user: b"]
    assert window(spoken, 1, decided={"2"}) == spoken[1:]


@given(MESSAGES, st.integers(0, 25))
def test_a_window_is_whole_units_within_the_limit_or_waiting(
    history: list[Message], limit: int
) -> None:
    shown = {message.message_id for message in window(history, limit)}
    closed = orphans = 0
    for unit in units(history):
        inside = [history[position].message_id in shown for position in unit.positions]
        assert all(inside) or not any(inside)
        if history[unit.positions[0]].role == "tool":
            assert not any(inside)
            orphans += 1
            continue
        assert all(inside) or not unit.open
        closed += sum(inside) * (not unit.open)
    assert closed <= limit
    assert len(history) > limit or len(shown) == len(history) - orphans


def test_a_history_may_begin_with_results_of_a_call_that_was_not_read() -> None:
    assert lines(window([result("1"), result("2"), *said("a")], 3)) == ["user: a"]


# ---- the end of a history ------------------------------------------------------------------------


def at(minute: int, role: Any = "user") -> Message:
    return Message(role, "x", timestamp=datetime(2026, 1, 1, 12, minute, tzinfo=UTC))


def test_the_end_of_a_history_is_enough_when_the_user_says_something_newer() -> None:
    recent = [at(5), at(4)]
    assert begins_anew(recent, [at(6)])
    assert begins_anew(recent, [recent[0], at(6, "system"), at(6)])


def test_the_end_of_a_history_is_not_enough_when_something_may_stand_further_back() -> None:
    recent = [at(5), at(4)]
    assert not begins_anew(recent, [at(1), at(6)])  # an older message comes again
    assert not begins_anew(recent, [at(5)])
    assert not begins_anew(recent, [recent[0]])  # the run goes on where it stopped
    assert not begins_anew(recent, [at(6, "system")])
    assert not begins_anew([], [at(6)])  # nothing could be read


# ---- view ----------------------------------------------------------------------------------------


@given(MESSAGES)
def test_in_a_view_every_call_is_followed_by_exactly_its_results(messages: list[Message]) -> None:
    sent = view(messages)
    expected: Counter[str | None] = Counter()
    for message in sent:
        if message.role == "tool":
            assert expected[message.tool_call_id] > 0
            expected[message.tool_call_id] -= 1
        else:
            assert not expected.total()
            expected = Counter(call.id for call in message.tool_calls or ())
    assert not expected.total()
    assert view(sent) == sent
    assert view(messages) == sent
    assert [m for m in sent if m.role != "tool"] == [m for m in messages if m.role != "tool"]


def test_a_call_that_nobody_answered_gets_a_stand_in() -> None:
    sent = view([calling("1", "2"), *said("never mind"), result("2", "late")])
    assert [m.role for m in sent] == ["assistant", "tool", "tool", "user"]
    assert sent[1].text == "late"
    assert sent[2].tool_call_id == "1"
    assert json.loads(sent[2].text)["status"] == "unanswered"


def test_a_result_that_answers_nothing_is_left_out() -> None:
    assert lines(view([result("x"), *said("a")])) == ["user: a"]


# ---- the rest ------------------------------------------------------------------------------------


def test_a_message_is_taken_once_by_its_id() -> None:
    old, new = said("old", "new")
    assert not_in([old], [old, new, new]) == [new]


def test_calls_wait_until_they_are_answered_or_the_user_speaks() -> None:
    messages = [calling("1", "2"), result("1")]
    assert [call.id for call in waiting_calls(messages, ())] == ["2"]
    assert waiting_calls([*messages, *said("never mind")], ()) == []
    assert [call.id for call in waiting_calls([*messages, *said("b")], {"2"})] == ["2"]
    assert waiting_calls([*messages, result("2")], {"2"}) == []
