"""The loop: one question after another to a model, until it answers or the run has to stop."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from recollect import (
    Agent,
    CompletedOutcome,
    ErrorOutcome,
    Message,
    RunConfig,
    RunState,
    function_tool,
    run,
)
from recollect.agents.mock_model import MockModel
from recollect.errors import (
    ConfigError,
    InvalidInput,
    InvalidMessage,
    MaxTurnsExceeded,
    ModelError,
)
from recollect.messages import ToolCall, ToolCallFunction
from tests.agent_parts import ScriptedModel, asks, config, lines, state


@function_tool
def look() -> str:
    """Look around."""
    return "a door"


ALWAYS_LOOKS = [asks((f"call-{n}", "look", "{}")) for n in range(9)]


async def test_only_what_the_seed_gives_is_needed() -> None:
    given = RunState(
        messages=[Message(role="user", content="Hello!")],
        current_agent_name="ChatBot",
        context={"user_id": "user-123"},
    )
    settings = RunConfig(
        agent_registry={"ChatBot": Agent(name="ChatBot", instructions="Help.", tools=[])},
        model_provider=ScriptedModel("Hi!"),
    )
    result = await run(given, settings)
    assert result.outcome == CompletedOutcome(output="Hi!")
    assert result.outcome.status == "completed"
    assert lines(result.final_state.messages) == ["user: Hello!", "assistant: Hi!"]
    assert result.final_state.turn_count == 1
    assert (result.memory_error, result.unstored) == (None, ())


def test_ids_are_made_and_kept_when_given() -> None:
    one, other = state("a"), state("a")
    assert one.run_id.startswith("run_")
    assert one.trace_id.startswith("trace_")
    assert one.run_id != other.run_id
    given = RunState(context=None, trace_id="t", run_id="r", current_agent_name="Bot", messages=[])
    assert (given.run_id, given.trace_id) == ("r", "t")


async def test_the_state_that_was_given_is_not_changed() -> None:
    messages = [Message("user", "a")]
    given = RunState(messages=messages, current_agent_name="Bot")
    result = await run(given, config(ScriptedModel("b")))
    assert messages == list(given.messages)
    assert len(messages) == 1
    assert result.final_state is not given
    assert result.final_state.run_id == given.run_id


async def test_the_model_is_given_the_messages_the_agent_and_the_settings() -> None:
    seen: list[Any] = []

    class Model:
        async def get_completion(self, state: Any, agent: Any, config: Any) -> Any:
            seen.append((lines(state.messages), agent.instructions(state), config))
            return {"message": {"content": "b"}}

    settings = config(Model())
    await run(state("a"), settings)
    assert seen == [(["user: a"], "Help.", settings)]


async def test_calls_are_made_and_the_model_is_asked_again() -> None:
    model = ScriptedModel(asks(("call-1", "look", "{}"), content="Let me see."), "A door.")
    result = await run(state("what is there?"), config(model, tools=(look,)))
    assert result.outcome == CompletedOutcome(output="A door.")
    assert model.seen[1] == ["user: what is there?", "assistant: Let me see.", "tool: a door"]
    assert result.final_state.turn_count == 2


# ---- answers -------------------------------------------------------------------------------------


async def test_an_answer_may_be_made_of_objects() -> None:
    function = SimpleNamespace(name="look", arguments="{}")
    call = SimpleNamespace(id="call-1", function=function)
    message = SimpleNamespace(content=None, tool_calls=[call])
    model = ScriptedModel(lambda _: SimpleNamespace(message=message), "done")
    result = await run(state("a"), config(model, tools=(look,)))
    assert result.outcome == CompletedOutcome(output="done")


async def test_calls_are_taken_as_they_come() -> None:
    """Arguments as an object, no id, or our own class."""
    model = ScriptedModel(
        {
            "message": {
                "tool_calls": [
                    {"function": {"name": "look", "arguments": {}}},
                    {"id": None, "function": {"name": "look", "arguments": None}},
                    ToolCall("mine", ToolCallFunction("look")),
                ]
            }
        },
        "done",
    )
    result = await run(state("a"), config(model, tools=(look,)))
    calls = result.final_state.messages[1].tool_calls
    assert calls is not None
    assert [call.function.arguments for call in calls] == ["{}", "{}", "{}"]
    assert len({call.id for call in calls}) == 3
    assert lines(result.final_state.messages[2:5]) == ["tool: a door"] * 3


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"message": {"content": ""}}, "neither text nor calls"),
        ({"message": {"content": None, "tool_calls": []}}, "neither text nor calls"),
        ({"messages": []}, 'without a "message"'),
        (None, 'without a "message"'),
        ({"message": {"content": 7}}, "content is a int"),
        ({"message": {"tool_calls": "look"}}, "tool_calls is a str"),
        ({"message": {"tool_calls": [{"function": {}}]}}, "names no function"),
        ({"message": {"content": "\ud800"}}, "surrogate"),
    ],
)
async def test_what_is_no_answer_is_an_error_that_says_why(answer: Any, told: str) -> None:
    result = await run(state("a"), config(ScriptedModel(lambda _: answer)))
    assert isinstance(result.outcome, ErrorOutcome)
    assert isinstance(result.outcome.error, ModelError)
    assert told in str(result.outcome.error)
    assert lines(result.final_state.messages) == ["user: a"]


async def test_what_a_model_raises_is_the_outcome() -> None:
    error = ZeroDivisionError("down")
    result = await run(state("a"), config(ScriptedModel(error)))
    assert result.outcome == ErrorOutcome(error=error)
    assert result.outcome.status == "error"


# ---- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["mock", "mock:any", MockModel("any")])
async def test_our_own_models_answer_with_the_instructions_before_the_messages(model: Any) -> None:
    result = await run(state("remember me"), config(model))
    assert isinstance(result.outcome, CompletedOutcome)
    assert 'Now you say: "remember me"' in result.outcome.output


@pytest.mark.parametrize("made", ["Be kind.", lambda state: "Be kind.", "async"])
async def test_instructions_are_text_or_made_from_the_state(made: Any) -> None:
    async def later(state: RunState) -> str:
        await asyncio.sleep(0)
        return "Be kind."

    class Model:
        async def answer(self, messages: Any) -> Any:
            return SimpleNamespace(content=f"{messages[0].role}: {messages[0].text}")

    agent = Agent("Bot", later if made == "async" else made)
    settings = RunConfig(agent_registry={"Bot": agent}, model_provider=Model())
    assert (await run(state("a"), settings)).outcome == CompletedOutcome(output="system: Be kind.")


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("mock", "has tools"),
        ("opnai:gpt", "Did you mean 'openai'"),
        (object(), "async def get_completion"),
    ],
)
async def test_a_model_that_cannot_be_asked_is_named(model: Any, told: str) -> None:
    result = await run(state("a"), config(model, tools=(look,)))
    assert isinstance(result.outcome, ErrorOutcome)
    assert isinstance(result.outcome.error, ConfigError)
    assert told in str(result.outcome.error)


async def test_an_unknown_agent_is_named_with_those_there_are() -> None:
    given = RunState(messages=[], current_agent_name="Bott")
    result = await run(given, config(ScriptedModel()))
    assert isinstance(result.outcome, ErrorOutcome)
    assert isinstance(result.outcome.error, ConfigError)
    assert "'Bott'" in str(result.outcome.error)
    assert "Bot" in str(result.outcome.error)


# ---- turns ---------------------------------------------------------------------------------------


async def test_a_run_ends_after_max_turns() -> None:
    model = ScriptedModel(*ALWAYS_LOOKS)
    result = await run(state("a"), config(model, tools=(look,), max_turns=3))
    assert isinstance(result.outcome, ErrorOutcome)
    assert isinstance(result.outcome.error, MaxTurnsExceeded)
    assert "3 turns" in str(result.outcome.error)
    assert len(model.seen) == 3
    assert [m.role for m in result.final_state.messages] == ["user", *["assistant", "tool"] * 3]


async def test_turns_are_counted_for_this_run_only() -> None:
    model = ScriptedModel()
    reached = state("a", turn_count=99)
    for _ in range(5):
        result = await run(reached, config(model, max_turns=1))
        assert result.outcome.status == "completed"
        reached = result.final_state
    assert reached.turn_count == 1


async def test_a_run_that_ran_out_of_turns_goes_on_from_its_state() -> None:
    model = ScriptedModel(*ALWAYS_LOOKS[:2], "done")
    settings = config(model, tools=(look,), max_turns=2)
    stopped = await run(state("a"), settings)
    assert (await run(stopped.final_state, settings)).outcome == CompletedOutcome(output="done")


# ---- bad input -----------------------------------------------------------------------------------


def test_what_is_no_message_is_refused_by_its_place() -> None:
    with pytest.raises(InvalidMessage, match=r"messages\[1\] is a dict"):
        RunState(
            messages=[Message("user", "a"), {"role": "user"}],  # type: ignore[list-item]
            current_agent_name="Bot",
        )


@pytest.mark.parametrize("setting", [{"max_turns": 0}, {"default_tool_timeout": 0}])
def test_settings_out_of_range_are_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(setting))):
        config(ScriptedModel(), **setting)


async def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    model = ScriptedModel(
        asks(("c", "look", '{"secret": 1}'), ("d", "none", "{}")), ValueError("x")
    )
    await run(state("secret", context={"password": "p"}), config(model, tools=(look,)))
    assert capfd.readouterr() == ("", "")
