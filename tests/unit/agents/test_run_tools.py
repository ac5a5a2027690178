"""Calls of tools: whatever happens in one becomes its result."""

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest

from recollect import Message, RunResult, ToolSchema, function_tool, run
from recollect.errors import ConfigError, InvalidInput
from tests.agent_parts import ScriptedModel, asks, config, state


async def call(tool: Any, arguments: str = "{}", *, name: str = "", context: Any = None) -> Message:
    """The result of one call in a run, which completes whatever the call does."""
    model = ScriptedModel(asks(("call-1", name or tool.schema.name, arguments)), "done")
    result = await run(state("go", context=context), config(model, tools=(tool,)))
    assert result.outcome.status == "completed"
    answered = result.final_state.messages[2]
    assert (answered.role, answered.tool_call_id) == ("tool", "call-1")
    return answered


def failure(message: Message) -> tuple[str, str]:
    """The status and the text of a failed call."""
    told = json.loads(message.text)
    assert told["tool_name"] == message.metadata["tool_name"]
    assert told["status"] == message.metadata["status"]
    return told["status"], told["message"]


async def test_text_is_the_result_as_it_is() -> None:
    @function_tool
    async def look(city: str) -> str:
        return f'"{city}" is sunny'

    answered = await call(look, '{"city": "Rome"}')
    assert answered.text == '"Rome" is sunny'
    assert answered.metadata == {"tool_name": "look", "status": "executed"}


class Unfolds:
    """Stands for a pydantic model."""

    def model_dump(self, *, mode: str) -> Any:
        return {"mode": mode}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (None, "null"),
        (2.5, "2.5"),
        (Unfolds(), '{"mode":"json"}'),
    ],
)
async def test_any_other_value_is_json(value: Any, text: str) -> None:
    @function_tool
    def look() -> Any:
        return value

    assert (await call(look)).text == text


async def test_a_tool_is_anything_with_a_schema_and_execute() -> None:
    class Look:
        schema = ToolSchema("look")

        def execute(self, args: dict[str, Any], context: Any) -> Any:
            return f"{args} for {context}"

    assert (await call(Look(), '{"a": 1}', context="Ada")).text == "{'a': 1} for Ada"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("{", "are not JSON"),
        ("[1]", "not a JSON object"),
        ('{"city": 1}', "Expected `str`, got `int` - at `$.city`"),
        ("", "missing required field `city`"),
        ('{"city": "Rome", "town": "x"}', "unknown field `town`"),
    ],
)
async def test_wrong_arguments_are_told_to_the_model(arguments: str, told: str) -> None:
    @function_tool
    def look(city: str) -> str:
        raise AssertionError("it was called all the same")

    status, message = failure(await call(look, arguments))
    assert status == "validation_error"
    assert told in message


async def test_a_tool_may_refuse_its_arguments_itself() -> None:
    @function_tool
    def look(city: str) -> str:
        raise InvalidInput("there is no such city")

    assert failure(await call(look, '{"city": "Atlantis"}')) == (
        "validation_error",
        "there is no such city",
    )


async def test_an_unknown_tool_is_told_with_those_there_are() -> None:
    @function_tool
    def look() -> None: ...

    status, message = failure(await call(look, name="lock"))
    assert status == "tool_not_found"
    assert "look" in message


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ValueError("no door"), "ValueError: no door"),
        (TimeoutError("server"), "TimeoutError: server"),
    ],
)
async def test_what_a_tool_raises_is_its_result(error: Exception, told: str) -> None:
    @function_tool
    async def look() -> str:
        raise error

    assert failure(await call(look)) == ("execution_error", told)


@pytest.mark.parametrize("value", [object(), "\ud800", ["\ud800"], {1, object()}])
async def test_a_result_that_no_message_can_hold_is_an_error(value: Any) -> None:
    @function_tool
    def look() -> Any:
        return value

    assert failure(await call(look))[0] == "execution_error"


async def forever() -> str:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_call_ends_after_the_time_of_its_tool() -> None:
    look = function_tool(name="look", timeout=0.01)(forever)
    assert failure(await call(look)) == ("execution_timeout", "it took longer than 0.01 s")


async def test_a_call_ends_after_the_time_of_the_run() -> None:
    model = ScriptedModel(asks(("call-1", "forever", "{}")), "done")
    settings = config(model, tools=(function_tool(forever),), default_tool_timeout=0.01)
    result = await run(state("go"), settings)
    assert failure(result.final_state.messages[2])[0] == "execution_timeout"


async def test_a_tool_that_cancels_itself_does_not_end_the_run() -> None:
    @function_tool
    async def look() -> str:
        raise asyncio.CancelledError

    assert failure(await call(look)) == ("execution_error", "it was cancelled")


async def test_calls_of_one_answer_are_made_side_by_side_and_answered_in_their_order() -> None:
    met = {"a": asyncio.Event(), "b": asyncio.Event()}
    second_is_done = asyncio.Event()

    @function_tool
    async def meet(me: str, other: str) -> str:
        met[me].set()
        await met[other].wait()
        if me == "b":
            second_is_done.set()
        await second_is_done.wait()
        return me

    model = ScriptedModel(
        asks(
            ("1", "meet", '{"me": "a", "other": "b"}'),
            ("2", "meet", '{"me": "b", "other": "a"}'),
            ("3", "none", "{}"),
        ),
        "done",
    )
    result: RunResult = await run(state("go"), config(model, tools=(meet,)))
    answers = result.final_state.messages[2:5]
    assert [m.tool_call_id for m in answers] == ["1", "2", "3"]
    assert [m.text for m in answers[:2]] == ["a", "b"]


async def test_two_calls_with_one_id_are_both_made() -> None:
    calls: list[str] = []

    @function_tool
    def look(at: str) -> str:
        calls.append(at)
        return at

    model = ScriptedModel(
        asks(("same", "look", '{"at": "a"}'), ("same", "look", '{"at": "b"}')),
        asks(("same", "look", '{"at": "c"}')),
        "done",
    )
    await run(state("go"), config(model, tools=(look,)))
    assert sorted(calls) == ["a", "b", "c"]


# ---- function_tool -------------------------------------------------------------------------------


class Place(msgspec.Struct):
    name: str


def test_a_function_shows_its_name_docstring_and_annotations() -> None:
    @function_tool
    async def weather(
        city: str, place: Place, context: Any, unit: Literal["C", "F"] = "C", days: int = 1
    ) -> str:
        """Tell the weather.

        Not for the model.
        """
        return ""

    assert weather.schema.name == "weather"
    assert weather.schema.description == "Tell the weather."
    shown = weather.schema.parameters
    assert shown["type"] == "object"
    assert shown["required"] == ["city", "place"]
    assert shown["properties"]["city"] == {"type": "string"}
    assert shown["properties"]["unit"] == {"enum": ["C", "F"]}
    assert shown["properties"]["days"] == {"type": "integer"}
    assert "context" not in shown["properties"]
    assert shown["$defs"]["Place"]["required"] == ["name"]


async def test_arguments_become_what_the_function_expects() -> None:
    @function_tool(name="look", description="d")
    def look(place: Place, context: Any, days: int = 3) -> str:
        return f"{place.name} {days} {context}"

    answered = await call(look, '{"place": {"name": "Rome"}}', context="Ada")
    assert (answered.text, look.schema.description) == ("Rome 3 Ada", "d")


async def test_a_plain_function_does_not_block_the_loop() -> None:
    @function_tool
    def look() -> str:
        return threading.current_thread().name

    assert (await call(look)).text != threading.current_thread().name


def takes_any(*args: int) -> None: ...
def takes_named(**kwargs: int) -> None: ...
def takes_strange(value: Callable[[], int]) -> None: ...


@pytest.mark.parametrize("function", [takes_any, takes_named, takes_strange])
def test_a_function_that_no_model_can_call_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match=f"tool '{function.__name__}'"):
        function_tool(function)
