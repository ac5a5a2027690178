"""The types of the agent loop, under jaf's names."""

from recollect import (
    Agent,
    ApprovalValue,
    Attachment,
    CompletedOutcome,
    ErrorOutcome,
    InterruptedOutcome,
    MemoryEvent,
    MemoryEventData,
    Message,
    ModelProvider,
    RunConfig,
    RunResult,
    RunState,
    Tool,
    ToolApprovalInterruption,
    ToolCall,
    ToolCallFunction,
    ToolSchema,
)
from recollect import ContentPart as MessageContentPart
from recollect.agents.state import new_run_id as generate_run_id
from recollect.agents.state import new_trace_id as generate_trace_id
from recollect.messages import new_message_id as generate_message_id

__all__ = [
    "Agent",
    "ApprovalValue",
    "Attachment",
    "CompletedOutcome",
    "ErrorOutcome",
    "InterruptedOutcome",
    "MemoryEvent",
    "MemoryEventData",
    "Message",
    "MessageContentPart",
    "ModelProvider",
    "RunConfig",
    "RunResult",
    "RunState",
    "Tool",
    "ToolApprovalInterruption",
    "ToolCall",
    "ToolCallFunction",
    "ToolSchema",
    "generate_message_id",
    "generate_run_id",
    "generate_trace_id",
]
