"""What a run is given and what it gives back (seed 004): agent, state, settings, outcomes, events.

All of it is frozen: a run never changes the state it was given, it returns a new one.
"""

import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from recollect.clock import SystemClock
from recollect.errors import InvalidInput, InvalidMessage
from recollect.messages import Message, ToolCall

if TYPE_CHECKING:
    from recollect.agents.models import Model
    from recollect.agents.tools import Tool
    from recollect.memory.providers.types import MemoryConfig

_clock = SystemClock()


def _new_id(kind: str) -> str:
    """Return ``<kind>_<Unix milliseconds>_<8 hex>``, the form that message ids have too."""
    return f"{kind}_{int(_clock.now().timestamp() * 1000)}_{secrets.token_hex(4)}"


def new_run_id() -> str:
    """Return an id for a run."""
    return _new_id("run")


def new_trace_id() -> str:
    """Return an id for what belongs together across runs."""
    return _new_id("trace")


@dataclass(frozen=True, slots=True)
class ApprovalValue:
    """What a person decided about one call; ``additional_context`` is handed on as it is."""

    status: Literal["pending", "approved", "rejected"]
    approved: bool
    additional_context: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """Where a run stands.

    Attributes:
        messages: what is said now; with memory, the stored history is put before it. A message whose
            id is in the history already is not taken twice.
        current_agent_name: who answers; a name in ``RunConfig.agent_registry``.
        context: the caller's own object, handed to instructions and tools. The user of a stored
            conversation is its ``user_id`` or ``userId``, as an attribute or a key.
        run_id: made if not given; stays when an interrupted run goes on.
        turn_count: answers the model gave in the latest run.
        approvals: decisions about calls, by the id of the call; see ``approve`` and ``reject``.
    """

    messages: Sequence[Message]
    current_agent_name: str
    context: Any = None
    run_id: str = field(default_factory=new_run_id)
    trace_id: str = field(default_factory=new_trace_id)
    turn_count: int = 0
    approvals: Mapping[str, ApprovalValue] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for position, message in enumerate(self.messages):
            if not isinstance(message, Message):
                raise InvalidMessage(
                    f"messages[{position}] is a {type(message).__name__}, not a Message: "
                    "Message(**data) makes one of plain data"
                )
        object.__setattr__(self, "messages", tuple(self.messages))


Instructions: TypeAlias = str | Callable[[RunState], str | Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Agent:
    """Who answers: a name, instructions (text, or made from the state), and tools."""

    name: str
    instructions: Instructions
    tools: "Sequence[Tool] | None" = None


class ModelProvider(Protocol):
    """Anything that can be asked for the next message."""

    async def get_completion(self, state: RunState, agent: Agent, config: "RunConfig") -> Any:
        """Answer ``state.messages``, which can be sent as they are, under the agent's instructions.

        Returns:
            ``{"message": {"content": text or None, "tool_calls": calls or None}}``, where a call is
            ``{"id", "type": "function", "function": {"name", "arguments": JSON text}}``.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """With what a run works; only the first two are needed.

    Attributes:
        agent_registry: the agents by name.
        model_provider: a model provider; or a model of ``recollect.agents.models``; or the name of
            one, such as ``"mock"`` or ``"openai:gpt-4o-mini"``. The last two answer with text only.
        max_turns: how often the model may be asked in one run, at least 1.
        memory: where the conversation is kept; None forgets it.
        conversation_id: which conversation; None neither loads nor stores.
        on_event: is told of every load and store; may be async. What it raises is reported to the
            event loop's exception handler and changes nothing.
        default_tool_timeout: seconds for a tool that does not say its own.
    """

    agent_registry: Mapping[str, Agent]
    model_provider: "ModelProvider | Model | str"
    max_turns: int = 50
    memory: "MemoryConfig | None" = None
    conversation_id: str | None = None
    on_event: "Callable[[MemoryEvent], object] | None" = None
    default_tool_timeout: float = 300.0

    def __post_init__(self) -> None:
        if self.max_turns < 1:
            raise InvalidInput(f"max_turns is {self.max_turns}: a run needs at least 1")
        if self.default_tool_timeout <= 0:
            raise InvalidInput("default_tool_timeout must be more than 0 seconds")


# ---- outcomes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolApprovalInterruption:
    """A call that waits for a person; ``session_id`` is the id of the run."""

    tool_call: ToolCall
    agent: Agent | None = None
    session_id: str | None = None
    type: Literal["tool_approval"] = "tool_approval"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedOutcome:
    """The model gave its answer: ``output`` is its text."""

    output: str
    status: Literal["completed"] = "completed"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorOutcome:
    """The run could not go on; what happened before is in the state, and stored."""

    error: Exception
    status: Literal["error"] = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptedOutcome:
    """Calls wait for a person: ``approve`` or ``reject`` them, then run the state again."""

    interruptions: tuple[ToolApprovalInterruption, ...] = ()
    status: Literal["interrupted"] = "interrupted"


Outcome: TypeAlias = CompletedOutcome | ErrorOutcome | InterruptedOutcome


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """How a run ended.

    Attributes:
        final_state: the window of history, what was given and what was added, in this order.
        memory_error: why the conversation could not be loaded or stored; the outcome stands all the
            same.
        unstored: the messages that a failed store did not keep, to be given to
            ``provider.append_messages``, or to the next run as part of its state.
    """

    final_state: RunState
    outcome: Outcome
    memory_error: Exception | None = None
    unstored: tuple[Message, ...] = ()


# ---- events --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEventData:
    """One step of loading or storing; ``message_count`` counts what was loaded or appended."""

    operation: Literal["load", "store"]
    conversation_id: str
    status: Literal["start", "end", "fail"]
    error: str | None = None
    message_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEvent:
    """What ``RunConfig.on_event`` is told."""

    data: MemoryEventData
    type: Literal["memory_operation"] = "memory_operation"
