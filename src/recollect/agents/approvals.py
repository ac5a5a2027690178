"""A person's decision about a call that an interrupted run waits for."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recollect.agents.state import ApprovalValue, RunState, ToolApprovalInterruption


async def approve(
    state: RunState,
    interruption: ToolApprovalInterruption,
    additional_context: Mapping[str, Any] | None = None,
) -> RunState:
    """Return a state in which the call may be made, once; ``run`` it to go on."""
    return _decided(state, interruption, ApprovalValue("approved", True, additional_context))


async def reject(
    state: RunState,
    interruption: ToolApprovalInterruption,
    additional_context: Mapping[str, Any] | None = None,
) -> RunState:
    """Return a state in which the call is refused; ``run`` it to go on.

    The model is told ``additional_context["reason"]`` if there is one.
    """
    return _decided(state, interruption, ApprovalValue("rejected", False, additional_context))


def _decided(
    state: RunState, interruption: ToolApprovalInterruption, decision: ApprovalValue
) -> RunState:
    return replace(state, approvals={**state.approvals, interruption.tool_call.id: decision})
