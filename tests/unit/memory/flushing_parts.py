"""What the tests of flushing are made of: talk with tools, records, resources, rules."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from recollect.memory.counting.tokens import Counter, message_tokens
from recollect.memory.flushing.stock import Rules
from recollect.memory.resource import Resource
from recollect.memory.sections import StrategyName
from recollect.messages import Message, Role, ToolCall, ToolCallFunction
from recollect.stores.records import NewRecord, Record

NOW = datetime(2026, 1, 2, tzinfo=UTC)
WORDS = Counter(method="estimate:words", count=lambda text: len(text.split()))


def resource(**fields: object) -> Resource:
    return Resource.model_validate({"id": "m", **fields})


def rules(memory: Resource, asked: StrategyName | None = None) -> Rules:
    return Rules(resource=memory, count=WORDS.count, seal=sealed, asked=asked)


def sealed(message: Message) -> NewRecord:
    return NewRecord(message, message_tokens(WORDS, message))


def said(text: str, role: Role = "user", **metadata: Any) -> Message:
    return Message(role, text, metadata=metadata, timestamp=NOW)


def chatter(count: int) -> list[Message]:
    return [said(f"message {i}") for i in range(count)]


def calling(*ids: str) -> Message:
    calls = tuple(ToolCall(id_, ToolCallFunction("look", "{}")) for id_ in ids)
    return Message(role="assistant", tool_calls=calls)


def result(id_: str) -> Message:
    return Message(role="tool", content="found", tool_call_id=id_)


def records(*messages: Message, tokens: int | None = 6) -> list[Record]:
    """Number them from 1; ``tokens`` None counts words."""
    return [
        Record(seq, message_tokens(WORDS, m) if tokens is None else tokens, NOW, m)
        for seq, m in enumerate(messages, 1)
    ]


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Talk with parallel, interleaved, repeated, missing and orphaned tool results."""
    messages: list[Message] = []
    for _ in range(draw(st.integers(0, 25))):
        kind = draw(st.sampled_from(["user", "assistant", "call", "result", "system", "summary"]))
        if kind == "call":
            ids = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=3))
            messages.append(calling(*ids))
        elif kind == "result":
            messages.append(result(draw(st.sampled_from("abcd"))))
        elif kind == "summary":
            messages.append(said("The dog is called Biscuit.", "system", kind="summary"))
        else:
            text = draw(st.sampled_from(["fine", "My name is Ana Lopez.", "an urgent error", "ok"]))
            messages.append(said(text, kind, **draw(_metadata)))  # type: ignore[arg-type]
    return messages


_metadata = st.sampled_from([{}, {}, {}, {"priority": 0}, {"priority": 4}, {"allocation": "notes"}])

ALLOCATION = {"system": 0.2, "long_term": 0.3, "short_term": 0.3, "user_defined": {"notes": 0.2}}


@st.composite
def limited(draw: st.DrawFn) -> Resource:
    """A memory with any strategy, limits, marks and policies."""
    tokens = draw(st.one_of(st.none(), st.integers(20, 300)))
    type_ = draw(st.sampled_from(["simple_fifo", "priority", "hybrid_summary"]))
    flushing: dict[str, object] = {"type": type_, "min_messages": draw(st.integers(1, 4))}
    if type_ == "hybrid_summary":
        flushing["summary_tokens"] = draw(st.integers(5, 60))
        flushing["summarize_oldest_percent"] = draw(st.floats(0.1, 1))
    return resource(
        max_tokens=tokens,
        max_messages=draw(st.one_of(st.none(), st.integers(1, 30))),
        flushing=flushing,
        eviction_policy={
            "type": draw(st.sampled_from(["fifo", "priority"])),
            "protected_roles": draw(st.sampled_from([(), ("tool",), ("assistant",)])),
        },
        token_allocation=ALLOCATION if tokens and draw(st.booleans()) else None,
    )


def texts(kept: Sequence[Record]) -> list[str]:
    return [record.message.text for record in kept]
