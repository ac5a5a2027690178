"""What a run keeps of a conversation (specs/conversations.md §6), on each of our providers.

With providers that users write themselves: tests/unit/agents/test_run_memory.py.
"""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from recollect import (
    CompletedOutcome,
    InterruptedOutcome,
    Message,
    RunResult,
    approve,
    function_tool,
    run,
)
from recollect.clock import ManualClock
from recollect.errors import InvalidInput, MemoryConnectionError
from recollect.memory import ConversationMemory, MemoryQuery, StoreProvider
from recollect.messages import ContentPart
from recollect.stores.base import Store
from tests.agent_parts import ScriptedModel, asks, calling, config, lines, result, said, state
from tests.stores.backends import BACKENDS, Make
from tests.stores.providers import PLUGINS

pytest_plugins = PLUGINS


async def kept(provider: StoreProvider, conversation_id: str = "c-1") -> list[str]:
    found = await provider.get_conversation(conversation_id)
    return lines(found.messages) if found else []


async def tell(provider: StoreProvider, text: str, **others: Any) -> RunResult:
    done = await run(state(text), config(ScriptedModel(), provider=provider, **others))
    assert done.memory_error is None
    return done


async def test_a_conversation_is_remembered(provider: StoreProvider) -> None:
    model = ScriptedModel()
    settings = config(model, provider=provider)
    for text in ("a", "b"):
        assert (await run(state(text), settings)).outcome.status == "completed"
    assert model.seen == [["user: a"], ["user: a", "assistant: reply 1", "user: b"]]
    assert await kept(provider) == [
        "user: a",
        "assistant: reply 1",
        "user: b",
        "assistant: reply 2",
    ]


async def test_ten_runs_at_once_on_one_conversation_all_survive(provider: StoreProvider) -> None:
    """The original left 2 of 20 messages, on every backend."""
    await asyncio.gather(*(tell(provider, f"q{n}") for n in range(10)))
    messages = await kept(provider)
    assert len(messages) == 20
    for n in range(10):  # each question directly before its answer
        assert messages[messages.index(f"user: q{n}") + 1] == "assistant: reply 1"


async def test_a_run_while_another_one_works_loses_nothing(provider: StoreProvider) -> None:
    between = asyncio.Event()
    asked = asyncio.Event()

    class Slow(ScriptedModel):
        async def get_completion(self, *args: Any) -> Any:
            asked.set()
            await between.wait()
            return await super().get_completion(*args)

    slow = asyncio.create_task(run(state("slow"), config(Slow(), provider=provider)))
    await asked.wait()
    await tell(provider, "quick")
    between.set()
    await slow
    assert await kept(provider) == [
        "user: quick",
        "assistant: reply 1",
        "user: slow",
        "assistant: reply 1",
    ]


async def test_the_user_and_the_run_are_found_in_the_conversation(provider: StoreProvider) -> None:
    given = state("a", context={"user_id": "user-123"}, run_id="r-1", trace_id="t-1")
    await run(given, config(ScriptedModel(), provider=provider))
    await tell(provider, "b", conversation_id="c-2")
    (found,) = await provider.find_conversations(MemoryQuery(user_id="user-123"))
    assert (found.conversation_id, found.user_id) == ("c-1", "user-123")
    assert found.metadata["run_id"] == "r-1"
    assert found.metadata["agent_name"] == "Bot"
    (traced,) = await provider.find_conversations(MemoryQuery(trace_id="t-1"))
    assert traced.conversation_id == "c-1"


async def test_the_user_and_own_metadata_survive_later_runs(provider: StoreProvider) -> None:
    await provider.store_messages("c-1", said("a"), {"topic": "x", "user_id": "ada"})
    before = await provider.get_conversation("c-1")
    await tell(provider, "b")
    after = await provider.get_conversation("c-1")
    assert before is not None
    assert after is not None
    assert (after.user_id, after.metadata["topic"]) == ("ada", "x")
    assert after.created_at == before.created_at


# ---- what is given again -------------------------------------------------------------------------


@pytest.mark.parametrize("max_messages", [None, 1, 3])
async def test_the_whole_history_given_again_is_kept_once(
    provider: StoreProvider, max_messages: int | None
) -> None:
    model = ScriptedModel()
    settings = config(model, provider=provider, memory={"max_messages": max_messages})
    reached = state("q0")
    for n in range(1, 4):
        history = (await provider.get_conversation("c-1")) or state()
        done = await run(state(*history.messages, *reached.messages), settings)
        assert done.outcome.status == "completed"
        reached = state(f"q{n}")
    assert [line for line in await kept(provider) if line.startswith("user")] == [
        "user: q0",
        "user: q1",
        "user: q2",
    ]
    assert len(await kept(provider)) == 6


@pytest.mark.parametrize("max_messages", [None, 2])
async def test_one_old_message_given_again_is_kept_once(
    provider: StoreProvider, max_messages: int | None
) -> None:
    history = said(*map(str, range(9)))
    await provider.store_messages("c-1", history)
    settings = config(ScriptedModel(), provider=provider, memory={"max_messages": max_messages})
    await run(state(history[0]), settings)
    assert await kept(provider) == [*lines(history), "assistant: reply 1"]


async def test_a_repeated_run_keeps_its_question_once(provider: StoreProvider) -> None:
    settings = config(ScriptedModel(ConnectionError("down"), "Hello."), provider=provider)
    asked = state("a")
    assert (await run(asked, settings)).outcome.status == "error"
    assert await kept(provider) == ["user: a"]
    assert (await run(asked, settings)).outcome == CompletedOutcome(output="Hello.")
    assert await kept(provider) == ["user: a", "assistant: Hello."]


# ---- the window ----------------------------------------------------------------------------------


async def test_max_messages_is_a_window_in_whole_units(provider: StoreProvider) -> None:
    history = [*said("a"), calling("1"), result("1"), Message("assistant", "b")]
    await provider.store_messages("c-1", history)
    model = ScriptedModel()
    for limit in (2, 3):
        settings = config(model, provider=provider, memory={"max_messages": limit})
        await run(state(f"c{limit}"), settings)
    assert model.seen[0] == ["assistant: b", "user: c2"]
    assert model.seen[1] == ["assistant: b", "user: c2", "assistant: reply 1", "user: c3"]
    assert len(await kept(provider)) == 8


async def test_nothing_is_lost_by_the_window_or_the_threshold(provider: StoreProvider) -> None:
    memory = {"max_messages": 4, "compression_threshold": 4}
    for n in range(10):
        await tell(provider, f"q{n}", memory=memory)
    messages = await kept(provider)
    assert [line for line in messages if line.startswith("user")] == [
        f"user: q{n}" for n in range(10)
    ]
    assert len(messages) == 20
    found = await provider.get_conversation("c-1", last=1)
    assert found is not None
    assert found.metadata["turn_count"] == 10


# ---- the end of a run ----------------------------------------------------------------------------


async def test_an_interrupted_run_goes_on_from_memory(provider: StoreProvider) -> None:
    paid: list[int] = []

    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        paid.append(amount)
        return f"paid {amount}"

    model = ScriptedModel(
        asks(("1", "pay", '{"amount": 1}'), ("2", "pay", '{"amount": 2}')), "Done."
    )
    settings = config(model, tools=(pay,), provider=provider, memory={"max_messages": 1})
    stopped = await run(state("pay"), settings)
    for step in range(2):
        assert isinstance(stopped.outcome, InterruptedOutcome)
        assert len(await kept(provider)) == 2 + step
        given = state() if step else stopped.final_state
        stopped = await run(await approve(given, stopped.outcome.interruptions[0]), settings)
    assert stopped.outcome == CompletedOutcome(output="Done.")
    assert paid == [1, 2]
    assert await kept(provider) == [
        "user: pay",
        "assistant: ",
        "tool: paid 1",
        "tool: paid 2",
        "assistant: Done.",
    ]


async def test_a_decision_may_come_with_a_new_message(provider: StoreProvider) -> None:
    @function_tool(needs_approval=True)
    def pay() -> str:
        return "paid"

    settings = config(
        ScriptedModel(asks(("1", "pay", "{}")), "later", "Done."),
        tools=(pay,),
        provider=provider,
        memory={"max_messages": 1},
    )
    stopped = await run(state("pay"), settings)
    assert isinstance(stopped.outcome, InterruptedOutcome)
    await run(state("wait"), settings)
    await run(await approve(state("now, please"), stopped.outcome.interruptions[0]), settings)
    assert (await kept(provider))[-3:] == ["user: now, please", "tool: paid", "assistant: Done."]


async def test_a_cancelled_run_keeps_its_question(provider: StoreProvider) -> None:
    asked = asyncio.Event()

    class Silent:
        async def get_completion(self, *args: Any) -> Any:
            asked.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(run(state("a"), config(Silent(), provider=provider)))
    await asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await kept(provider) == ["user: a"]


async def test_a_closed_provider_spoils_no_answer(provider: StoreProvider) -> None:
    await provider.close()
    answered = await run(state("a"), config(ScriptedModel(), provider=provider))
    assert answered.outcome == CompletedOutcome(output="reply 1")
    assert isinstance(answered.memory_error, MemoryConnectionError)
    assert lines(answered.unstored) == ["user: a", "assistant: reply 1"]


async def test_an_id_that_no_store_takes_is_reported(provider: StoreProvider) -> None:
    answered = await run(
        state("a"), config(ScriptedModel(), provider=provider, conversation_id="a\nb")
    )
    assert answered.outcome.status == "completed"
    assert isinstance(answered.memory_error, InvalidInput)


# ---- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_ttl_is_counted_from_the_latest_store_and_wins_over_the_providers(
    backend: str, make: Make
) -> None:
    """In the original it was never read."""
    clock = ManualClock()
    hour = timedelta(hours=1)
    async with make(backend, clock=clock) as store:
        provider = StoreProvider(store, name="Mine", ttl=99 * hour)
        for _ in range(2):
            await tell(provider, "a", memory={"ttl": 3600})
            clock.advance(hour * 0.9)
        assert len(await kept(provider)) == 4
        clock.advance(hour * 0.2)
        assert await kept(provider) == []
        assert len((await tell(provider, "b", memory={"ttl": 3600})).final_state.messages) == 2


class Watched(StoreProvider):
    """Counts the messages that it hands out."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, name="Watched")
        self.read: list[int] = []

    async def get_conversation(
        self, conversation_id: str, *, last: int | None = None
    ) -> ConversationMemory | None:
        found = await super().get_conversation(conversation_id, last=last)
        self.read.append(len(found.messages) if found else 0)
        return found


@pytest.mark.parametrize("backend", BACKENDS)
async def test_with_a_window_a_run_reads_no_more_than_that(backend: str, make: Make) -> None:
    async with make(backend) as store:
        provider = Watched(store)
        await provider.store_messages("c-1", said(*map(str, range(300))))
        await tell(provider, "new", memory={"max_messages": 5})
        assert provider.read == [5]
        assert len(await kept(provider)) == 302


class Repeating(StoreProvider):
    """Repeats each append, as a driver does that lost the answer to the first."""

    async def append_messages(self, *args: Any, **kwargs: Any) -> Any:
        await super().append_messages(*args, **kwargs)
        return await super().append_messages(*args, **kwargs)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_an_append_that_is_repeated_is_kept_once(backend: str, make: Make) -> None:
    async with make(backend) as store:
        provider = Repeating(store, name="Repeating")
        same_run = state("a")
        await run(same_run, config(ScriptedModel(), provider=provider))
        assert len(await kept(provider)) == 2
        await run(same_run, config(ScriptedModel("more"), provider=provider))
        assert len(await kept(provider)) == 3


async def test_rich_messages_come_back_to_the_model(provider: StoreProvider) -> None:
    picture = ContentPart("image_url", image_url={"url": "http://x/a.png"})
    message = Message("user", (ContentPart("text", "look"), picture), metadata={"k": [1, None]})
    model = ScriptedModel()
    settings = config(model, provider=provider)
    await run(state(message), settings)
    await run(state("and now?"), settings)
    assert model.states[1].messages[0] == message
