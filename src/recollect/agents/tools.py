"""Tools: what an agent may call, and one call made into the message that answers it.

A call never breaks a run: whatever goes wrong with it becomes its result, which the model reads. The
result of a call that worked is the tool's own text, or its value as JSON. Of any other call it is
``{"status", "tool_name", "message"}`` with one of the statuses of ``Status``, which stands in the
message's metadata too.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from recollect.errors import InvalidInput, InvalidMessage, RecollectError
from recollect.messages import Message, ToolCall

Status: TypeAlias = Literal[
    "executed",
    "rejected",  # by a person
    "tool_not_found",
    "validation_error",  # the arguments are not what the tool takes
    "execution_error",
    "execution_timeout",
]
NeedsApproval: TypeAlias = bool | Callable[[Any, Mapping[str, Any]], bool | Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class ToolSchema:
    """How a tool is shown to a model; ``parameters`` is a JSON Schema of an object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})


class Tool(Protocol):
    """Something an agent can call.

    It may also have ``needs_approval`` (true or false, or a function of the context and the arguments,
    which may be async) and ``timeout`` (seconds).
    """

    @property
    def schema(self) -> ToolSchema:
        """How models see it."""
        ...

    def execute(self, args: dict[str, Any], context: Any) -> Any:
        """Do it; may be async. The result is text, or anything JSON can hold.

        Raises:
            InvalidInput: the arguments are wrong; the text tells the model what to change.
        """
        ...


def find_tool(tools: Sequence[Tool] | None, call: ToolCall) -> Tool | None:
    """Return the tool that a call names."""
    return next((tool for tool in tools or () if tool.schema.name == call.function.name), None)


def parse_arguments(call: ToolCall) -> dict[str, Any]:
    """Return the arguments of a call; none at all count as an empty object.

    Raises:
        InvalidInput: they are not a JSON object.
    """
    try:
        found = msgspec.json.decode(call.function.arguments or "{}")
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the arguments are not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidInput("the arguments are not a JSON object")
    return found


async def needs_approval(tools: Sequence[Tool] | None, call: ToolCall, context: Any) -> bool:
    """Say whether a person has to allow a call.

    A call that cannot be made at all needs nobody; one whose tool fails to say does need a person.
    """
    asked: NeedsApproval = getattr(find_tool(tools, call), "needs_approval", False)
    try:
        args = parse_arguments(call)
    except InvalidInput:
        return False
    if not callable(asked):
        return bool(asked)
    try:
        answer = asked(context, args)
        return bool(await answer if inspect.isawaitable(answer) else answer)
    except Exception:  # noqa: BLE001 - a tool may raise anything
        return True


async def execute_call(
    tools: Sequence[Tool] | None, call: ToolCall, context: Any, *, default_timeout: float
) -> Message:
    """Make a call and return the message that answers it; raises nothing but a cancellation."""
    tool = find_tool(tools, call)
    if tool is None:
        known = ", ".join(t.schema.name for t in tools or ()) or "none"
        return failed_call(call, "tool_not_found", f"there is no such tool; known: {known}")
    allowed = getattr(tool, "timeout", None)
    seconds = default_timeout if allowed is None else allowed
    limit = asyncio.timeout(seconds)
    try:
        args = parse_arguments(call)
        async with limit:
            result = tool.execute(args, context)
            if inspect.isawaitable(result):
                result = await result
        return _result(call, _as_text(result), "executed")
    except Exception as error:  # noqa: BLE001 - a tool may raise anything
        if isinstance(error, InvalidInput) and not isinstance(error, InvalidMessage):
            return failed_call(call, "validation_error", str(error))
        if limit.expired() and isinstance(error, TimeoutError):
            return failed_call(call, "execution_timeout", f"it took longer than {seconds:g} s")
        return failed_call(call, "execution_error", f"{type(error).__name__}: {error}")


def failed_call(call: ToolCall, status: Status, message: str) -> Message:
    """Return the message that says why a call has no result."""
    told = {"status": status, "tool_name": call.function.name, "message": message}
    return _result(call, msgspec.json.encode(told).decode(), status)


def _result(call: ToolCall, content: str, status: Status) -> Message:
    return Message(
        role="tool",
        content=content,
        tool_call_id=call.id,
        metadata={"tool_name": call.function.name, "status": status},
    )


def _as_text(result: object) -> str:
    if isinstance(result, str):
        return result
    return msgspec.json.encode(result, enc_hook=_as_plain).decode()


def _as_plain(value: Any) -> object:
    """Unfold what msgspec does not know, such as a pydantic model."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    raise RecollectError(f"the tool returned a {type(value).__name__}, which JSON has no place for")
