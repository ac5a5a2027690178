"""Calls that need a person: the run stops before them, and goes on with what the person decided."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from recollect import (
    CompletedOutcome,
    FunctionTool,
    InterruptedOutcome,
    RunResult,
    approve,
    function_tool,
    reject,
    run,
)
from recollect.memory import MemoryProvider
from tests.agent_parts import ScriptedModel, SixMethods, asks, config, lines, said, state

Paid = list[int]


def paying(paid: Paid) -> FunctionTool:
    @function_tool(needs_approval=True)
    def pay(amount: int) -> str:
        paid.append(amount)
        return f"paid {amount}"

    return pay


def wants_to_pay(*amounts: int) -> dict[str, Any]:
    return asks(*((f"call-{n}", "pay", f'{{"amount": {n}}}') for n in amounts))


def waiting(result: RunResult) -> list[str]:
    assert isinstance(result.outcome, InterruptedOutcome)
    assert result.outcome.status == "interrupted"
    return [interruption.tool_call.id for interruption in result.outcome.interruptions]


async def test_a_run_stops_before_a_call_that_needs_a_person() -> None:
    paid: Paid = []
    result = await run(
        state("pay 5"), config(ScriptedModel(wants_to_pay(5)), tools=(paying(paid),))
    )
    assert waiting(result) == ["call-5"]
    assert isinstance(result.outcome, InterruptedOutcome)
    (interruption,) = result.outcome.interruptions
    assert interruption.session_id == result.final_state.run_id
    assert interruption.agent is not None
    assert interruption.agent.name == "Bot"
    assert paid == []


async def test_an_approved_call_is_made_once_and_the_run_goes_on() -> None:
    paid: Paid = []
    model = ScriptedModel(wants_to_pay(5), "Done.")
    settings = config(model, tools=(paying(paid),))
    stopped = await run(state("pay 5"), settings)
    assert isinstance(stopped.outcome, InterruptedOutcome)
    allowed = await approve(stopped.final_state, stopped.outcome.interruptions[0])
    result = await run(allowed, settings)
    assert result.outcome == CompletedOutcome(output="Done.")
    assert paid == [5]
    assert lines(result.final_state.messages)[2:] == ["tool: paid 5", "assistant: Done."]
    assert result.final_state.approvals == {}
    assert stopped.final_state.approvals == {}  # states are not changed


@pytest.mark.parametrize(
    ("context", "told"), [(None, "a person refused it"), ({"reason": "too much"}, "too much")]
)
async def test_a_rejected_call_is_not_made_and_the_model_is_told(
    context: Mapping[str, Any] | None, told: str
) -> None:
    paid: Paid = []
    settings = config(ScriptedModel(wants_to_pay(5), "As you wish."), tools=(paying(paid),))
    stopped = await run(state("pay 5"), settings)
    assert isinstance(stopped.outcome, InterruptedOutcome)
    refused = await reject(stopped.final_state, stopped.outcome.interruptions[0], context)
    result = await run(refused, settings)
    assert result.outcome == CompletedOutcome(output="As you wish.")
    assert paid == []
    told_to_model = json.loads(result.final_state.messages[2].text)
    assert told_to_model == {"status": "rejected", "tool_name": "pay", "message": told}


async def test_what_was_approved_once_is_asked_again_when_the_model_reuses_its_id() -> None:
    paid: Paid = []
    model = ScriptedModel(wants_to_pay(5), wants_to_pay(5), "Done.")
    settings = config(model, tools=(paying(paid),))
    stopped = await run(state("pay 5"), settings)
    assert isinstance(stopped.outcome, InterruptedOutcome)
    again = await run(
        await approve(stopped.final_state, stopped.outcome.interruptions[0]), settings
    )
    assert waiting(again) == ["call-5"]
    assert paid == [5]


async def test_the_other_calls_of_an_answer_are_made_before_the_run_stops() -> None:
    looked = []

    @function_tool
    def look() -> str:
        looked.append(1)
        return "a door"

    paid: Paid = []
    answer = asks(("look-1", "look", "{}"), ("call-5", "pay", '{"amount": 5}'))
    settings = config(ScriptedModel(answer, "Done."), tools=(look, paying(paid)))
    stopped = await run(state("go"), settings)
    assert waiting(stopped) == ["call-5"]
    assert isinstance(stopped.outcome, InterruptedOutcome)
    allowed = await approve(stopped.final_state, stopped.outcome.interruptions[0])
    assert (await run(allowed, settings)).outcome == CompletedOutcome(output="Done.")
    assert (looked, paid) == ([1], [5])


@pytest.mark.parametrize(("amount", "stops"), [(1, False), (100, True)])
async def test_a_tool_may_decide_by_context_and_arguments(amount: int, stops: bool) -> None:
    async def above_limit(context: Any, args: Mapping[str, Any]) -> bool:
        await asyncio.sleep(0)
        return bool(args["amount"] > context["limit"])

    @function_tool(needs_approval=above_limit)
    def pay(amount: int) -> str:
        return f"paid {amount}"

    given = state("pay", context={"limit": 10})
    result = await run(given, config(ScriptedModel(wants_to_pay(amount)), tools=(pay,)))
    assert (result.outcome.status == "interrupted") is stops


async def test_a_tool_that_fails_to_decide_needs_a_person() -> None:
    def broken(context: Any, args: Mapping[str, Any]) -> bool:
        raise KeyError("limit")

    @function_tool(needs_approval=broken)
    def pay(amount: int) -> str:
        raise AssertionError("it was paid")

    result = await run(state("pay"), config(ScriptedModel(wants_to_pay(5)), tools=(pay,)))
    assert waiting(result) == ["call-5"]


async def test_a_call_that_cannot_be_made_bothers_nobody() -> None:
    model = ScriptedModel(asks(("1", "pay", "{"), ("2", "pray", "{}")), "Sorry.")
    result = await run(state("pay"), config(model, tools=(paying([]),)))
    assert result.outcome == CompletedOutcome(output="Sorry.")


# ---- with memory ---------------------------------------------------------------------------------


@pytest.fixture
def provider() -> SixMethods:
    return SixMethods()


async def test_an_interrupted_run_is_stored_whatever_store_on_completion_says(
    provider: SixMethods,
) -> None:
    settings = config(
        ScriptedModel(wants_to_pay(5), "Done."),
        tools=(paying([]),),
        provider=provider,
        memory={"store_on_completion": False},
    )
    await run(state("pay 5"), settings)
    assert [m.role for m in provider.kept["c-1"]] == ["user", "assistant"]


async def test_going_on_with_the_state_keeps_each_message_once(provider: MemoryProvider) -> None:
    paid: Paid = []
    settings = config(
        ScriptedModel(wants_to_pay(5), "Done."), tools=(paying(paid),), provider=provider
    )
    stopped = await run(state("pay 5"), settings)
    assert isinstance(stopped.outcome, InterruptedOutcome)
    await run(await approve(stopped.final_state, stopped.outcome.interruptions[0]), settings)
    kept = await provider.get_conversation("c-1")
    assert kept is not None
    assert lines(kept.messages) == [
        "user: pay 5",
        "assistant: ",
        "tool: paid 5",
        "assistant: Done.",
    ]


async def test_going_on_from_memory_alone(provider: SixMethods) -> None:
    """As another process does, which has the ids of the calls and nothing else."""
    paid: Paid = []
    settings = config(
        ScriptedModel(wants_to_pay(5), "Done."), tools=(paying(paid),), provider=provider
    )
    stopped = await run(state("pay 5"), settings)
    assert isinstance(stopped.outcome, InterruptedOutcome)
    elsewhere = state(run_id=stopped.final_state.run_id)
    allowed = await approve(elsewhere, stopped.outcome.interruptions[0])
    assert (await run(allowed, settings)).outcome == CompletedOutcome(output="Done.")
    assert paid == [5]
    assert len(provider.kept["c-1"]) == 4


async def test_calls_that_were_made_are_never_made_again(provider: SixMethods) -> None:
    """The original made call 1 again: [1, 1, 2]."""
    paid: Paid = []
    settings = config(
        ScriptedModel(wants_to_pay(1, 2), "Done."), tools=(paying(paid),), provider=provider
    )
    stopped = await run(state("pay"), settings)
    assert waiting(stopped) == ["call-1", "call-2"]
    assert isinstance(stopped.outcome, InterruptedOutcome)
    first, second = stopped.outcome.interruptions
    still = await run(await approve(state(), first), settings)
    assert waiting(still) == ["call-2"]
    assert len(provider.kept["c-1"]) == 3
    result = await run(await approve(state(), second), settings)
    assert result.outcome == CompletedOutcome(output="Done.")
    assert paid == [1, 2]
    assert len(provider.kept["c-1"]) == 5


async def test_a_decision_holds_although_the_user_has_spoken_since(provider: SixMethods) -> None:
    paid: Paid = []
    model = ScriptedModel(wants_to_pay(5), "Still waiting.", "Paid.")
    settings = config(model, tools=(paying(paid),), provider=provider, memory={"max_messages": 1})
    stopped = await run(state("pay 5"), settings)
    assert isinstance(stopped.outcome, InterruptedOutcome)
    between = await run(state(*said("what now?")), settings)
    assert between.outcome == CompletedOutcome(output="Still waiting.")
    assert paid == []
    result = await run(await approve(state(), stopped.outcome.interruptions[0]), settings)
    assert result.outcome == CompletedOutcome(output="Paid.")
    assert paid == [5]
    assert model.seen[-1] == ["assistant: ", "tool: paid 5", "assistant: Still waiting."]
    assert len(provider.kept["c-1"]) == 6
