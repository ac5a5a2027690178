"""What is stored is redacted and counted, and a large message does not keep the event loop."""

import asyncio
import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from recollect.errors import PrivacyError
from recollect.memory.admission import IN_PLACE_BYTES, Admitted, admit, admit_now
from recollect.memory.counting.tokens import Counter, Counting
from recollect.memory.privacy import Redactor
from recollect.messages import Message, ToolCall, ToolCallFunction
from recollect.stores.records import CallLimits

MAIL = "jane.doe@example.com"
EMAIL = r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b"
LIMITS = CallLimits()


@pytest.fixture
def counting() -> Counting:
    """Tokens of OpenAI, loaded."""
    made = Counting("openai", "gpt-4")
    made().count("x")
    return made


class Watched(Counting):
    """Notes the thread that counts."""

    def __init__(self, *, loaded: bool = True) -> None:
        super().__init__("openai", "gpt-4")
        self.threads: set[int] = set()
        if loaded:
            super().__call__().count("x")

    def __call__(self) -> Counter:
        self.threads.add(threading.get_ident())
        return super().__call__()


async def admitted(messages: Sequence[Message], counting: Counting, *patterns: str) -> Admitted:
    return await admit(messages, Redactor(patterns), counting, LIMITS)


async def test_what_is_admitted_is_redacted_before_it_is_counted(counting: Counting) -> None:
    result = await admitted([Message("user", f"I am {MAIL}")], counting, EMAIL)
    (record,) = result.records
    assert record.message.content == "I am [REDACTED]"
    assert record.tokens == counting().count("I am [REDACTED]")
    assert (result.redactions, result.dropped, result.explanation) == (1, 0, "")


async def test_what_is_not_stored_is_told_by_its_reason(counting: Counting) -> None:
    messages = [
        Message("system", "rules"),
        Message("user", "a", metadata={"privacy": {"do_not_persist": True}}),
        Message("user", MAIL),
        Message("user", "b", metadata={"type": "secret"}),
        Message("user", "c"),
    ]
    redactor = Redactor([EMAIL], strategy="drop", non_persistable=["system", "secret"])
    result = await admit(messages, redactor, counting, LIMITS)
    assert [record.message.content for record in result.records] == ["c"]
    assert result.reasons == ("type", "flag", "match", "type")
    assert result.dropped == 4
    assert result.explanation == (
        "2 for the role or type and 1 for do_not_persist and 1 for a match"
    )


async def test_one_message_that_cannot_be_redacted_lets_none_in(counting: Counting) -> None:
    redactor = Redactor(["ab"], replacement="")
    messages = [Message("user", "fine"), Message("user", "a" * 100 + "b" * 100)]
    with pytest.raises(PrivacyError):
        await admit(messages, redactor, counting, LIMITS)


async def test_what_is_refused_anyway_is_not_counted(counting: Counting) -> None:
    many = [Message("user", "hello")] * (LIMITS.call_messages + 1)
    large = [Message("user", "x" * (LIMITS.message_bytes + 1))]
    for messages in (many, large):
        result = await admitted(messages, counting)
        assert {record.tokens for record in result.records} == {0}


# ---- row 60 of memory.md §13: async-first ----------------------------------------------------------

LARGE: dict[str, Any] = {
    "content": {"content": "word " * (IN_PLACE_BYTES // 5 + 1)},
    "metadata": {"content": "x", "metadata": {"a": ["y" * 1000] * 17}},
    "arguments": {
        "tool_calls": (ToolCall("c", ToolCallFunction("f", '"' + "z" * IN_PLACE_BYTES + '"')),)
    },
}


@pytest.mark.parametrize("fields", LARGE.values(), ids=LARGE)
async def test_large_messages_are_counted_in_another_thread(fields: dict[str, Any]) -> None:
    watched = Watched()
    await admitted([Message("assistant", **fields)], watched)
    assert watched.threads
    assert threading.get_ident() not in watched.threads


async def test_small_messages_are_counted_where_they_are() -> None:
    watched = Watched()
    await admitted([Message("user", "hello")] * 3, watched)
    assert watched.threads == {threading.get_ident()}


async def test_many_small_messages_are_large_together() -> None:
    watched = Watched()
    await admitted([Message("user", "x" * 1000)] * 17, watched)
    assert threading.get_ident() not in watched.threads


async def test_the_first_count_of_a_process_is_made_in_another_thread() -> None:
    watched = Watched(loaded=False)
    await admitted([Message("user", "hello")], watched)
    assert threading.get_ident() not in watched.threads


async def test_the_loop_goes_on_while_a_mebibyte_is_admitted(counting: Counting) -> None:
    text = f"the mail of {MAIL} and so on with many words " * 20_000
    task = asyncio.ensure_future(
        admitted([Message("user", text[: 2**20 - 1000])], counting, EMAIL, "preset:card")
    )
    beats = 0
    while not task.done():
        await asyncio.sleep(0)
        beats += 1
    assert task.result().redactions > 17_000
    assert beats > 20


async def test_threads_take_shorter_turns_only_while_large_messages_are_admitted() -> None:
    usual = sys.getswitchinterval()
    turns: list[float] = []

    class Timed(Counting):
        def __call__(self) -> Counter:
            turns.append(sys.getswitchinterval())
            return super().__call__()

    large = [Message("user", "word " * IN_PLACE_BYTES)]
    await asyncio.gather(*(admitted(large, Timed("anthropic")) for _ in range(5)))
    assert max(turns) < usual
    assert sys.getswitchinterval() == usual


async def test_counts_are_the_same_whichever_way_messages_come_in(counting: Counting) -> None:
    messages = [Message("user", f"word {n} 字 😀 " * 700) for n in range(5)]
    redactor = Redactor([EMAIL])
    here = admit_now(messages, redactor, counting, LIMITS)
    results = await asyncio.gather(
        *(admit(messages, redactor, counting, LIMITS) for _ in range(20))
    )
    assert all(result == here for result in results)
