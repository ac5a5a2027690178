"""Recollect: the memory that AI agents keep.

The names below are the agent loop of seed 004. Each is loaded when it is first used, so that importing
the package costs nothing; where conversations are kept is in ``recollect.memory``.
"""

TYPE_CHECKING = False  # importing typing for it would take longer than all the rest

if TYPE_CHECKING:
    from typing import Any

    from recollect.agents.approvals import approve, reject
    from recollect.agents.function_tool import FunctionTool, function_tool
    from recollect.agents.run import run
    from recollect.agents.state import (
        Agent,
        ApprovalValue,
        CompletedOutcome,
        ErrorOutcome,
        InterruptedOutcome,
        MemoryEvent,
        MemoryEventData,
        ModelProvider,
        RunConfig,
        RunResult,
        RunState,
        ToolApprovalInterruption,
    )
    from recollect.agents.tools import Tool, ToolSchema
    from recollect.messages import (
        Attachment,
        ContentPart,
        Message,
        ToolCall,
        ToolCallFunction,
    )

__version__ = "0.1.0"

__all__ = [
    "Agent",
    "ApprovalValue",
    "Attachment",
    "CompletedOutcome",
    "ContentPart",
    "ErrorOutcome",
    "FunctionTool",
    "InterruptedOutcome",
    "MemoryEvent",
    "MemoryEventData",
    "Message",
    "ModelProvider",
    "RunConfig",
    "RunResult",
    "RunState",
    "Tool",
    "ToolApprovalInterruption",
    "ToolCall",
    "ToolCallFunction",
    "ToolSchema",
    "__version__",
    "approve",
    "function_tool",
    "reject",
    "run",
]

_HOMES = {
    "recollect.agents.approvals": ("approve", "reject"),
    "recollect.agents.function_tool": ("FunctionTool", "function_tool"),
    "recollect.agents.run": ("run",),
    "recollect.agents.state": (
        "Agent",
        "ApprovalValue",
        "CompletedOutcome",
        "ErrorOutcome",
        "InterruptedOutcome",
        "MemoryEvent",
        "MemoryEventData",
        "ModelProvider",
        "RunConfig",
        "RunResult",
        "RunState",
        "ToolApprovalInterruption",
    ),
    "recollect.agents.tools": ("Tool", "ToolSchema"),
    "recollect.messages": (
        "Attachment",
        "ContentPart",
        "Message",
        "ToolCall",
        "ToolCallFunction",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> "Any":
    from importlib import import_module  # noqa: PLC0415 - nobody pays for it who takes no name

    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
