"""The agent loop of seed 004: load the conversation, ask the model, call tools, store what was added."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from recollect.agents.asking import ask, find_agent
from recollect.agents.conversation import KeptConversation
from recollect.agents.recall import view, waiting_calls
from recollect.agents.state import (
    Agent,
    CompletedOutcome,
    ErrorOutcome,
    InterruptedOutcome,
    Outcome,
    RunConfig,
    RunResult,
    RunState,
    ToolApprovalInterruption,
)
from recollect.agents.tools import execute_call, failed_call, needs_approval
from recollect.errors import MaxTurnsExceeded
from recollect.messages import Message, ToolCall


async def run(state: RunState, config: RunConfig) -> RunResult:
    """Let the agent answer, and keep the conversation if ``config.memory`` says where.

    With memory and a ``conversation_id``, the stored history (its newest ``max_messages`` in whole
    units) is put before ``state.messages``; a message whose id is in the history is not taken twice.
    Calls that a former run left unanswered are made first. What this run added is appended in one
    atomic call, so that any number of runs on one conversation survive each other:

    - a completed run is stored if ``auto_store`` and ``store_on_completion`` are set;
    - an interrupted, failed or cancelled run is stored if ``auto_store`` is set, with the results of
      all calls that were made, so that no call is made twice.

    A load or store that fails is told to ``on_event`` and in ``RunResult.memory_error``, and changes
    nothing else: a run whose load failed goes on without history, and still only appends.

    Raises:
        asyncio.CancelledError: the only exception; every other failure is an ``ErrorOutcome``.
    """
    conversation = KeptConversation(state, config)
    walk = _Walk(state, config)
    outcome: Outcome
    try:
        walk.messages = await conversation.load()
        outcome = await walk.go_on()
    except asyncio.CancelledError:
        await conversation.store(walk.state())
        raise
    except Exception as error:  # noqa: BLE001 - models, tools and listeners may raise anything
        outcome = ErrorOutcome(error=error)
    await _whole(conversation.store(walk.state(), outcome))
    return RunResult(
        final_state=walk.state(),
        outcome=outcome,
        memory_error=conversation.error,
        unstored=conversation.unstored,
    )


async def _whole(storing: Coroutine[Any, Any, None]) -> None:
    """Store to the end; who is cancelled meanwhile hears of it then, and loses nothing of the run."""
    task = asyncio.ensure_future(storing)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


class _Walk:
    """A run while it goes on."""

    def __init__(self, state: RunState, config: RunConfig) -> None:
        self._given = state
        self._config = config
        self._approvals = dict(state.approvals)
        self._turns = 0
        self.messages: list[Message] = list(state.messages)

    def state(self) -> RunState:
        """Return where the run stands."""
        return replace(
            self._given,
            messages=tuple(self.messages),
            turn_count=self._turns,
            approvals=dict(self._approvals),
        )

    async def go_on(self) -> Outcome:
        """Answer calls and ask the model in turn, until it says something or the run has to stop."""
        agent = find_agent(self._given, self._config)
        while True:
            if interruptions := await self._answer_calls(agent):
                return InterruptedOutcome(interruptions=interruptions)
            if self._turns == self._config.max_turns:
                return ErrorOutcome(error=MaxTurnsExceeded(self._turns))
            self._turns += 1
            sendable = replace(self.state(), messages=tuple(view(self.messages)))
            message = await ask(sendable, agent, self._config)
            self.messages.append(message)
            if not message.tool_calls:
                return CompletedOutcome(output=message.text)

    async def _answer_calls(self, agent: Agent) -> tuple[ToolApprovalInterruption, ...]:
        """Make or refuse the calls that wait; return those that need a person first."""
        calls = waiting_calls(self.messages, self._approvals)
        pending = [call for call in calls if await self._waits_for_approval(agent, call)]
        await self._make([call for call in calls if call not in pending], agent)
        return tuple(
            ToolApprovalInterruption(tool_call=call, agent=agent, session_id=self._given.run_id)
            for call in pending
        )

    async def _waits_for_approval(self, agent: Agent, call: ToolCall) -> bool:
        decision = self._approvals.get(call.id)
        if decision is not None and decision.status != "pending":
            return False
        return await needs_approval(agent.tools, call, self._given.context)

    async def _make(self, calls: list[ToolCall], agent: Agent) -> None:
        """Make calls side by side; the results that are there are kept even if we are cancelled."""
        results: dict[int, Message] = {}

        async def make(place: int, call: ToolCall) -> None:
            results[place] = await self._result(call, agent)

        try:
            async with asyncio.TaskGroup() as group:
                for place, call in enumerate(calls):
                    group.create_task(make(place, call))
            for place, call in enumerate(calls):  # a tool may cancel itself, which is no exception
                results.setdefault(place, failed_call(call, "execution_error", "it was cancelled"))
        finally:
            for place in sorted(results):
                self.messages.append(results[place])
                self._approvals.pop(calls[place].id, None)  # good for one call only

    async def _result(self, call: ToolCall, agent: Agent) -> Message:
        decision = self._approvals.get(call.id)
        if decision is not None and not decision.approved:
            reason = (decision.additional_context or {}).get("reason", "a person refused it")
            return failed_call(call, "rejected", str(reason))
        return await execute_call(
            agent.tools,
            call,
            self._given.context,
            default_timeout=self._config.default_tool_timeout,
        )
