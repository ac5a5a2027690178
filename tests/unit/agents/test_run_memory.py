"""What a run keeps of a conversation, with providers that users write themselves.

The same on our own providers and real servers: tests/stores/test_run_memory.py.
"""

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from recollect import CompletedOutcome, ErrorOutcome, Message, RunResult, function_tool, run
from recollect.errors import (
    ConfigError,
    MemoryConnectionError,
    MemoryNotFoundError,
    MemoryStorageError,
)
from recollect.memory import ConversationMemory, Failure, MemoryConfig, Success
from tests.agent_parts import (
    ScriptedModel,
    SixMethods,
    asks,
    calling,
    config,
    lines,
    result,
    said,
    state,
)


class OriginalHabit(SixMethods):
    """Every method answers Success or Failure, and appending creates nothing."""

    async def get_conversation(self, conversation_id: str) -> Any:
        return Success(await super().get_conversation(conversation_id))

    async def append_messages(self, conversation_id: str, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)  # where another run gets its turn
        if conversation_id not in self.kept:
            return Failure(MemoryNotFoundError("missing", "Original", conversation_id))
        return await super().append_messages(conversation_id, *args, **kwargs)

    async def store_messages(self, *args: Any, **kwargs: Any) -> Any:
        await asyncio.sleep(0)
        return await super().store_messages(*args, **kwargs)


class RaisingHabit(OriginalHabit):
    """Plain values; what goes wrong is raised."""

    async def get_conversation(self, conversation_id: str) -> Any:
        return (await super().get_conversation(conversation_id)).data

    async def append_messages(self, *args: Any, **kwargs: Any) -> Any:
        answer = await super().append_messages(*args, **kwargs)
        if isinstance(answer, Failure):
            raise answer.error


HABITS = [SixMethods, OriginalHabit, RaisingHabit]


class Events(list[tuple[str, str, int | None]]):
    """What ``on_event`` was told."""

    def __call__(self, event: Any) -> None:
        assert event.type == "memory_operation"
        assert event.data.conversation_id == "c-1"
        self.append((event.data.operation, event.data.status, event.data.message_count))


def kept(provider: SixMethods) -> list[str]:
    return lines(provider.kept.get("c-1", []))


async def tell(provider: Any, text: str, **others: Any) -> RunResult:
    return await run(state(text), config(ScriptedModel(), provider=provider, **others))


# ---- habits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("habit", HABITS)
async def test_a_provider_of_six_methods_works_in_any_habit(habit: type[SixMethods]) -> None:
    provider = habit()
    events = Events()
    for text in ("a", "b"):
        answered = await tell(provider, text, on_event=events)
        assert answered.outcome.status == "completed"
        assert answered.memory_error is None
    assert kept(provider) == ["user: a", "assistant: reply 1", "user: b", "assistant: reply 1"]
    assert events == [
        ("load", "start", None),
        ("load", "end", 0),
        ("store", "start", 2),
        ("store", "end", 2),
        ("load", "start", None),
        ("load", "end", 2),
        ("store", "start", 2),
        ("store", "end", 2),
    ]


@pytest.mark.parametrize("habit", HABITS)
async def test_runs_at_once_on_a_new_conversation_all_survive(habit: type[SixMethods]) -> None:
    provider = habit()
    await asyncio.gather(*(tell(provider, f"q{n}") for n in range(10)))
    assert len(kept(provider)) == 20
    assert {f"user: q{n}" for n in range(10)} <= set(kept(provider))
    assert provider.replaced <= 1


async def test_a_provider_may_come_as_a_success() -> None:
    provider = SixMethods()
    settings = config(ScriptedModel(), provider=provider)
    wrapped: Any = Success(provider)
    memory = MemoryConfig(provider=wrapped)
    again = config(ScriptedModel(), conversation_id="c-1")
    object.__setattr__(again, "memory", memory)
    await run(state("a"), settings)
    await run(state("b"), again)
    assert len(kept(provider)) == 4


async def test_a_provider_whose_methods_do_nothing_breaks_nothing() -> None:
    """The class of the seed as it stands there: docstrings only."""

    class Nothing(SixMethods):
        async def get_conversation(self, conversation_id: str) -> Any: ...
        async def append_messages(self, *args: Any, **kwargs: Any) -> Any: ...

    answered = await tell(Nothing(), "a")
    assert (answered.outcome.status, answered.memory_error) == ("completed", None)


# ---- what is stored ------------------------------------------------------------------------------


async def test_only_what_was_added_is_appended_and_nothing_is_replaced() -> None:
    provider = SixMethods()
    appended: list[list[str]] = []

    class Watched(SixMethods):
        async def append_messages(self, conversation_id: str, messages: Any, *rest: Any) -> Any:
            appended.append(lines(messages))
            return await super().append_messages(conversation_id, messages, *rest)

    provider = Watched()
    await tell(provider, "a")
    await tell(provider, "b")
    assert appended == [["user: a", "assistant: reply 1"], ["user: b", "assistant: reply 1"]]
    assert provider.replaced == 0


async def test_the_whole_history_given_again_is_kept_once() -> None:
    """The original kept q1, reply 1, q1, reply 1, q2, reply 2."""
    provider = SixMethods()
    first = await tell(provider, "q1")
    model = ScriptedModel("reply 2")
    again = state(*first.final_state.messages, "q2")
    await run(again, config(model, provider=provider))
    assert kept(provider) == ["user: q1", "assistant: reply 1", "user: q2", "assistant: reply 2"]
    assert model.seen == [["user: q1", "assistant: reply 1", "user: q2"]]


async def test_old_messages_given_again_are_known_beyond_the_window() -> None:
    provider = SixMethods()
    provider.kept["c-1"] = said(*map(str, range(9)))
    provider.metadata["c-1"] = {}
    model = ScriptedModel()
    settings = config(model, provider=provider, memory={"max_messages": 2})
    await run(state(*provider.kept["c-1"], "new"), settings)
    assert model.seen == [["user: 7", "user: 8", "user: new"]]
    assert len(kept(provider)) == 11


async def test_max_messages_is_a_window_and_loses_nothing() -> None:
    """The original held 6 of 20 messages after this."""
    provider = SixMethods()
    model = ScriptedModel()
    settings = config(
        model, provider=provider, memory={"max_messages": 4, "compression_threshold": 4}
    )
    for n in range(10):
        await run(state(f"q{n}"), settings)
    assert len(kept(provider)) == 20
    assert all(len(seen) <= 5 for seen in model.seen)
    assert model.seen[-1][-3:] == ["user: q8", "assistant: reply 9", "user: q9"]


async def test_the_window_does_not_part_a_call_from_its_results() -> None:
    provider = SixMethods()
    provider.kept["c-1"] = [*said("a"), calling("1"), result("1"), Message("assistant", "b")]
    provider.metadata["c-1"] = {}
    model = ScriptedModel()
    await run(state("c"), config(model, provider=provider, memory={"max_messages": 2}))
    assert model.seen == [["assistant: b", "user: c"]]


@pytest.mark.parametrize(
    ("memory", "stored"),
    [
        ({}, 2),
        ({"auto_store": False}, 0),
        ({"store_on_completion": False}, 0),
    ],
)
async def test_a_completed_run_is_stored_if_the_memory_says_so(
    memory: dict[str, Any], stored: int
) -> None:
    provider = SixMethods()
    await tell(provider, "a", memory=memory)
    assert len(kept(provider)) == stored


@pytest.mark.parametrize("memory", [{}, {"store_on_completion": False}])
async def test_a_run_that_ends_in_an_error_keeps_what_happened_before(
    memory: dict[str, Any],
) -> None:
    @function_tool
    def look() -> str:
        return "a door"

    provider = SixMethods()
    model = ScriptedModel(asks(("1", "look", "{}")), ConnectionError("down"))
    failed = await run(state("a"), config(model, tools=(look,), provider=provider, memory=memory))
    assert failed.outcome.status == "error"
    assert kept(provider) == ["user: a", "assistant: ", "tool: a door"]


async def test_a_failed_run_stores_nothing_without_auto_store() -> None:
    provider = SixMethods()
    model = ScriptedModel(ConnectionError("down"))
    await run(state("a"), config(model, provider=provider, memory={"auto_store": False}))
    assert provider.kept == {}


async def test_a_failed_run_repeated_with_its_state_keeps_the_question_once() -> None:
    provider = SixMethods()
    settings = config(ScriptedModel(ConnectionError("down"), "Hello."), provider=provider)
    asked = state("a")
    await run(asked, settings)
    await run(asked, settings)
    assert kept(provider) == ["user: a", "assistant: Hello."]


async def test_a_conversation_outlives_max_turns() -> None:
    """In the original it was dead after max_turns answers."""
    provider = SixMethods()
    for n in range(8):
        assert (await tell(provider, f"q{n}", max_turns=5)).outcome.status == "completed"
    assert provider.metadata["c-1"]["turn_count"] == 8


async def test_without_a_conversation_id_nothing_is_loaded_or_stored() -> None:
    provider = SixMethods()
    events = Events()
    await tell(provider, "a", conversation_id=None, on_event=events)
    assert (provider.kept, events) == ({}, [])


# ---- metadata ------------------------------------------------------------------------------------


async def test_the_run_is_named_in_the_metadata() -> None:
    provider = SixMethods()
    given = state("a", context={"user_id": "ada"}, run_id="r-1", trace_id="t-1")
    await run(given, config(ScriptedModel(), provider=provider))
    assert provider.metadata["c-1"] == {
        "user_id": "ada",
        "trace_id": "t-1",
        "run_id": "r-1",
        "agent_name": "Bot",
        "turn_count": 1,
    }


@pytest.mark.parametrize(
    ("context", "user"),
    [
        (SimpleNamespace(user_id="ada"), "ada"),
        ({"user_id": "ada"}, "ada"),
        ({"userId": "ada"}, "ada"),
        (SimpleNamespace(userId="ada"), "ada"),
        ({"userId": "no", "user_id": "ada"}, "ada"),
        ({"user_id": 7}, "7"),
        ({"user_id": None}, None),
        ({"user_id": ""}, None),
        (None, None),
        ("ada", None),
    ],
)
async def test_the_user_is_found_in_the_context(context: Any, user: str | None) -> None:
    provider = SixMethods()
    await run(state("a", context=context), config(ScriptedModel(), provider=provider))
    assert provider.metadata["c-1"].get("user_id") == user
    assert ("user_id" in provider.metadata["c-1"]) is (user is not None)


# ---- failures ------------------------------------------------------------------------------------

DOWN = MemoryConnectionError("no route to the store", "Mine")


def raises(*args: Any, **kwargs: Any) -> Any:
    raise DOWN


def answers(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


class Broken(SixMethods):
    """Its methods fail as often as they are told to."""

    def __init__(self, **failing: Sequence[Callable[..., Any]]) -> None:
        super().__init__()
        self._failing = {name: list(ways) for name, ways in failing.items()}

    def _fails(self, name: str) -> Any:
        ways = self._failing.get(name)
        return ways.pop(0) if ways else None

    async def get_conversation(self, conversation_id: str) -> Any:
        if way := self._fails("get"):
            return way()
        return await super().get_conversation(conversation_id)

    async def append_messages(self, *args: Any, **kwargs: Any) -> Any:
        if way := self._fails("append"):
            return way()
        return await super().append_messages(*args, **kwargs)


@pytest.mark.parametrize(
    ("way", "error"),
    [
        (raises, DOWN),
        (answers(Failure(DOWN)), DOWN),
        (answers(Failure("disk full")), "disk full"),
        (answers(False), "append_messages answered False"),
        (lambda: 1 / 0, "division by zero"),
    ],
)
async def test_a_store_that_fails_does_not_spoil_the_answer_and_is_reported(
    way: Callable[..., Any], error: Any
) -> None:
    provider = Broken(append=[way])
    events = Events()
    answered = await tell(provider, "a", on_event=events)
    assert answered.outcome == CompletedOutcome(output="reply 1")
    assert answered.memory_error is not None
    assert str(answered.memory_error) == str(error)
    assert lines(answered.unstored) == ["user: a", "assistant: reply 1"]
    assert events[-2:] == [("store", "start", 2), ("store", "fail", None)]
    # the way out: append them, or go on from the state
    await run(state(*answered.final_state.messages), config(ScriptedModel(), provider=provider))
    assert kept(provider) == ["user: a", "assistant: reply 1", "assistant: reply 1"]


@pytest.mark.parametrize("habit", [raises, answers(Failure(DOWN))])
@pytest.mark.parametrize("times", [1, 2])
async def test_a_failed_load_is_never_followed_by_a_store_that_replaces(
    habit: Callable[..., Any], times: int
) -> None:
    """The original left 2 of 12 messages."""
    provider = Broken(get=[habit] * times)
    provider.kept["c-1"] = said(*map(str, range(10)))
    provider.metadata["c-1"] = {}
    events = Events()
    answered = await tell(provider, "new", on_event=events)
    assert answered.outcome.status == "completed"
    assert answered.memory_error == DOWN
    assert answered.unstored == ()
    assert kept(provider)[8:] == ["user: 8", "user: 9", "user: new", "assistant: reply 1"]
    assert events == [
        ("load", "start", None),
        ("load", "fail", None),
        ("store", "start", 2),
        ("store", "end", 2),
    ]


async def test_a_conversation_that_could_not_be_read_is_not_even_created_by_replacing() -> None:
    class NeverRead(OriginalHabit):
        async def get_conversation(self, conversation_id: str) -> Any:
            return Failure(DOWN)

    provider = NeverRead()
    answered = await tell(provider, "a")
    assert provider.replaced == 0
    assert isinstance(answered.memory_error, MemoryNotFoundError)
    assert len(answered.unstored) == 2


async def test_after_a_failed_load_messages_that_are_stored_already_are_not_doubled() -> None:
    provider = Broken(get=[answers(None), raises])
    first = await tell(provider, "a")
    again = state(*first.final_state.messages, "b")
    await run(again, config(ScriptedModel("reply 2"), provider=provider))
    assert kept(provider) == ["user: a", "assistant: reply 1", "user: b", "assistant: reply 2"]


async def test_the_text_of_a_failure_that_is_no_exception_is_kept() -> None:
    answered = await tell(Broken(append=[answers(Failure("disk full"))]), "a")
    error = answered.memory_error
    assert isinstance(error, MemoryStorageError)
    assert (error.provider, error.operation) == ("Broken", "append_messages")


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_listener_that_raises_changes_nothing_and_is_not_lost(is_async: bool) -> None:
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    async def later(event: Any) -> None:
        raise ValueError("listener")

    provider = SixMethods()
    listener = later if is_async else raises
    answered = await tell(provider, "a", on_event=listener)
    assert answered.outcome.status == "completed"
    assert len(kept(provider)) == 2
    assert len(told) == 4


# ---- cancellation --------------------------------------------------------------------------------


async def test_a_cancelled_run_keeps_the_question_and_the_calls_that_were_made() -> None:
    reached = asyncio.Event()

    @function_tool
    async def look(fast: bool) -> str:
        if not fast:
            reached.set()
            await asyncio.Event().wait()
        return "a door"

    provider = SixMethods()
    model = ScriptedModel(asks(("1", "look", '{"fast": false}'), ("2", "look", '{"fast": true}')))
    task = asyncio.create_task(run(state("a"), config(model, tools=(look,), provider=provider)))
    await reached.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kept(provider) == ["user: a", "assistant: ", "tool: a door"]
    # the next question goes on as if the call had no result
    settings = config(next_model := ScriptedModel(), tools=(look,), provider=provider)
    await run(state("b"), settings)
    assert [line.split(":")[0] for line in next_model.seen[0]] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
    ]


async def test_a_run_cancelled_while_it_loads_keeps_the_question() -> None:
    loading = asyncio.Event()

    class Slow(SixMethods):
        async def get_conversation(self, conversation_id: str) -> ConversationMemory | None:
            if not loading.is_set():
                loading.set()
                await asyncio.Event().wait()
            return await super().get_conversation(conversation_id)

    provider = Slow()
    task = asyncio.create_task(tell(provider, "a"))
    await loading.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert kept(provider) == ["user: a"]


async def test_an_error_of_the_settings_keeps_the_question_too() -> None:
    provider = SixMethods()
    failed = await run(state("a"), config("opnai", provider=provider))
    assert isinstance(failed.outcome, ErrorOutcome)
    assert kept(provider) == ["user: a"]


async def test_a_ttl_that_a_provider_cannot_keep_is_reported() -> None:
    provider = SixMethods()
    answered = await tell(provider, "a", memory={"ttl": 60})
    assert answered.outcome.status == "completed"
    assert len(kept(provider)) == 2
    assert isinstance(answered.memory_error, ConfigError)
    assert "SixMethods" in str(answered.memory_error)
