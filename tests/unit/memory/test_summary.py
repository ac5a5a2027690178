"""Summaries: what they keep, where they stand, and that they are the same every time."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.memory.flushing.digest import HEADING, cut_to, digest
from recollect.memory.flushing.plan import FlushPlan, plan_flush, replanned
from recollect.memory.flushing.stock import Size
from recollect.memory.flushing.summary import from_model
from recollect.memory.resource import Resource
from recollect.messages import Message
from recollect.stores.records import Record
from tests.unit.memory.flushing_parts import (
    NOW,
    WORDS,
    calling,
    conversations,
    limited,
    records,
    resource,
    result,
    rules,
    said,
)

LINES = [
    said("Hi there! Could you help me plan a trip to Kyoto?"),
    said(
        "Gladly, there is so much to see over there and spring is when most people like to go. "
        "When do you want to go?",
        "assistant",
    ),
    said("Call me Ana Lopez. My budget is 2,500 EUR."),
    said("That should do for the whole trip if the rooms stay as cheap as they are.", "assistant"),
    said("We decided to fly on 2026-04-12 with LH716."),
    said("Booked, the code is XK42-9.", "assistant"),
    said("I must not eat peanuts."),
    said("All right.", "assistant"),
    said("Thanks, hang on a moment, somebody is at the front door right now."),
    said("Take your time.", "assistant"),
]


def hybrid(**fields: object) -> Resource:
    flushing = {"type": "hybrid_summary", "summary_tokens": 90, **fields}
    return resource(type="message_count_based", max_messages=10, flushing=flushing)


def text_of(plan: FlushPlan) -> str:
    return plan.insert[0].message.text


def applied(plan: FlushPlan, kept: list[Record]) -> list[Record]:
    """What a store makes of a plan: the summary takes the first seq of what it replaces."""
    left = [record for record in kept if record.seq not in plan.remove]
    new = [Record(plan.remove[0], i.tokens, NOW, i.message) for i in plan.insert]
    return sorted([*left, *new], key=lambda record: record.seq)


def test_row_58_a_summary_keeps_goal_decisions_facts_and_the_last_exchange() -> None:
    plan = plan_flush(rules(hybrid(summarize_oldest_percent=0.9)), records(*LINES, tokens=None))
    assert plan.strategy == "hybrid_summary"
    assert text_of(plan) == (
        f"{HEADING}\n"
        "Wanted first:\n"
        "- Could you help me plan a trip to Kyoto?\n"
        "Decided:\n"
        "- We decided to fly on 2026-04-12 with LH716.\n"
        "The user told:\n"
        "- Call me Ana Lopez.\n"
        "- My budget is 2,500 EUR.\n"
        "- I must not eat peanuts.\n"
        "The assistant told:\n"
        "- Booked, the code is XK42-9.\n"
        "Last said:\n"
        "- assistant: All right.\n"
        "- user: hang on a moment, somebody is at the front door right now."
    )


def test_row_58_the_metadata_say_what_a_summary_stands_for() -> None:
    plan = plan_flush(rules(hybrid(summarize_oldest_percent=0.9)), records(*LINES, tokens=None))
    record = plan.insert[0]
    assert plan.remove == tuple(range(1, 10))
    assert record.tokens <= 90
    assert record.message.role == "system"
    assert record.message.timestamp == NOW
    assert dict(record.message.metadata) == {
        "kind": "summary",
        "summarized_count": 9,
        "from": NOW.isoformat(),
        "to": NOW.isoformat(),
        "tokens_saved": plan.saved_tokens,
    }


@given(conversations(), limited())
def test_row_58_a_summary_is_never_too_long_and_there_is_one_only(
    messages: list[Message], memory: Resource
) -> None:
    kept = records(*messages, tokens=None)
    plan = plan_flush(rules(memory, "hybrid_summary"), kept)
    for record in plan.insert:
        assert record.tokens <= memory.flushing.summary_tokens
    if plan.insert:
        movable = [m for m in messages[:-1] if m.metadata.get("kind") == "summary"]
        gone = [messages[seq - 1] for seq in plan.remove]
        assert all(any(m is g for g in gone) for m in movable)


def test_row_58_facts_of_early_turns_are_there_after_many_flushes() -> None:
    memory = resource(
        type="token_based",
        max_tokens=400,
        flushing={"type": "hybrid_summary", "summary_tokens": 90},
    )
    kept = records(*LINES, tokens=None)
    flushes = 0
    for turn in range(300):
        message = said(
            f"so what else is new, number {turn} perhaps", "user" if turn % 2 else "assistant"
        )
        tokens = WORDS.count(message.text)
        kept.append(Record(kept[-1].seq + 1, tokens, NOW, message))
        if sum(record.tokens + 4 for record in kept) >= 320:
            plan = plan_flush(rules(memory), kept)
            assert plan.strategy == "hybrid_summary"
            kept = applied(plan, kept)
            flushes += 1
    assert flushes > 5
    summaries = [r.message for r in kept if r.message.metadata.get("kind") == "summary"]
    assert len(summaries) == 1
    for fact in ("Kyoto", "Ana Lopez", "2,500 EUR", "2026-04-12", "LH716", "XK42-9", "peanuts"):
        assert fact in summaries[0].text
    assert summaries[0].text.count(HEADING) == 1
    covered = len(LINES) + 300 - (len(kept) - 1)
    assert summaries[0].metadata["summarized_count"] == covered


def test_row_58_the_same_in_every_process() -> None:
    """No clock, counter, random id or hash seed is in it."""
    script = (
        "from tests.unit.memory.test_summary import *\n"
        "lines = [Message(m.role, m.text, message_id=f'm{i}', timestamp=NOW) "
        "for i, m in enumerate(LINES)]\n"
        "plan = plan_flush(rules(hybrid()), records(*lines, tokens=None))\n"
        "print(plan.insert, plan.remove)"
    )
    root = Path(__file__).parents[3]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root}:{root}/src", "PATH": ""},
            cwd=root,
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert "summary_" in outputs.pop()


def test_a_newer_statement_on_the_same_subject_replaces_the_older() -> None:
    told = [said("I want to go to Kyoto."), said("My budget is 500 EUR."), said("So it is.")]
    first = digest(told, [], max_tokens=100, count=WORDS.count)
    assert first is not None
    assert "- My budget is 500 EUR." in first
    later = [said("My budget is 700 EUR."), said("Anything else?", "assistant")]
    second = digest(later, [first], max_tokens=100, count=WORDS.count)
    assert second is not None
    assert "- My budget is 700 EUR." in second
    assert "500" not in second


def test_a_summary_merges_the_text_of_a_model() -> None:
    free = f"{HEADING}\nAna wants to see Kyoto. She pays 2,500 EUR."
    merged = digest([said("I live in Lima.")], [free], max_tokens=100, count=WORDS.count)
    assert merged is not None
    for fact in ("Kyoto", "2,500", "Lima"):
        assert fact in merged


@given(st.text(max_size=300), st.integers(0, 60))
def test_a_digest_of_anything_is_as_short_as_asked(text: str, longest: int) -> None:
    made = digest([said(text)], [text], max_tokens=longest, count=WORDS.count)
    assert made is None or WORDS.count(made) <= longest
    assert WORDS.count(cut_to(text, longest, WORDS.count)) <= longest


@pytest.mark.parametrize(
    "text",
    ["x" * 200_000, " " * 200_000, "a_" * 100_000, "1." * 100_000, "“" * 200_000, "\n" * 200_000],
)
def test_hostile_text_is_summarised_in_time_linear_in_it(text: str) -> None:
    """The timeout of a test is far below what a quadratic rule would take."""
    digest([said(text + ".")], [text], max_tokens=100, count=WORDS.count)


def test_a_summary_that_saves_nothing_is_not_made() -> None:
    plan = plan_flush(rules(hybrid()), records(*[said("ok")] * 9, tokens=None))
    assert plan.strategy == "simple_fifo"
    assert plan.insert == ()
    assert plan.remove


def test_the_slice_grows_in_steps_to_the_low_water_mark() -> None:
    lines = [said(f"My item{i}x costs {i} EUR in a shop far away from here") for i in range(20)]

    def gone(low: float) -> int:
        memory = resource(
            max_messages=20,
            flushing={
                "type": "hybrid_summary",
                "summary_tokens": 40,
                "summarize_oldest_percent": 20,
                "target_utilization": low,
            },
        )
        return len(plan_flush(rules(memory), records(*lines, tokens=None)).remove)

    assert [gone(low) for low in (0.9, 0.8, 0.6, 0.4)] == [4, 6, 10, 14]


def test_critical_messages_stay_before_the_summary_and_the_newest_behind_it() -> None:
    lines = [said("Be polite.", "system"), *LINES, said("What about 42?")]
    kept = records(*lines, tokens=None)
    memory = resource(
        max_messages=12,
        flushing={"type": "hybrid_summary", "summary_tokens": 80, "summarize_oldest_percent": 100},
    )
    plan = plan_flush(rules(memory), kept)
    left = [record.message for record in applied(plan, kept)]
    assert [m.metadata.get("kind") or m.text for m in left] == [
        "Be polite.",
        "summary",
        "What about 42?",
    ]


def test_making_room_never_summarises_the_newest_message() -> None:
    memory = hybrid(summarize_oldest_percent=1.0, target_utilization=0.1)
    plan = plan_flush(rules(memory), records(*LINES, tokens=None), room=Size(1, 6))
    assert plan.strategy == "hybrid_summary"
    assert plan.remove == tuple(range(1, len(LINES)))


def test_tool_calls_are_summarised_with_their_results() -> None:
    talk = [calling("a", "b"), said("wait"), result("b"), result("a"), *LINES]
    memory = hybrid(summarize_oldest_percent=0.2)
    plan = plan_flush(rules(memory), records(*talk, tokens=12))
    assert {1, 3, 4} <= set(plan.remove)


def test_another_summary_in_a_plan_changes_its_numbers() -> None:
    kept = records(*LINES, tokens=None)
    memory = rules(hybrid(summarize_oldest_percent=0.9))
    plan = plan_flush(memory, kept)
    made = from_model(memory, "Ana wants tea.", kept[:9])
    assert made is not None
    other = replanned(plan, made)
    less = plan.insert[0].tokens - made.tokens
    assert other.insert == (made,)
    assert (other.tokens, other.freed_tokens) == (plan.tokens - less, plan.freed_tokens + less)
    assert other.saved_tokens == made.message.metadata["tokens_saved"]


def test_what_a_model_writes_is_cut_and_must_save_tokens() -> None:
    kept = records(*LINES, tokens=None)
    memory = rules(hybrid(summary_tokens=20))
    made = from_model(memory, "word " * 200, kept)
    assert made is not None
    assert made.tokens <= 20
    assert made.message.metadata["kind"] == "summary"
    assert from_model(memory, "  ", kept) is None
    assert from_model(rules(hybrid(summary_tokens=500)), "word " * 200, kept) is None
