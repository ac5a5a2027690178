"""Whatever is stored, made valid to send to a model: pure, deterministic, never touching storage."""

from collections.abc import Sequence

import msgspec

from recollect.messages import Message, ToolCall, Unit, units


def repaired(messages: Sequence[Message]) -> list[Message]:
    """Return what can be sent to a model: each call followed by its results, and by nothing else's.

    A result that answers no call is left out; a call that was never answered gets a stand-in that says
    so. The same messages always give the same result.
    """
    return [message for unit in units(messages) for message in repaired_unit(messages, unit)]


def repaired_unit(messages: Sequence[Message], unit: Unit) -> list[Message]:
    """Return what of one unit can be sent: its messages, then stand-ins; nothing of a lone result."""
    first = messages[unit.positions[0]]
    if first.role == "tool":
        return []
    return [
        *(messages[position] for position in unit.positions),
        *(_stand_in(first, call) for call in unanswered(messages, unit)),
    ]


def unanswered(messages: Sequence[Message], unit: Unit) -> list[ToolCall]:
    """Return the calls of a unit that have no result, in their order."""
    first = messages[unit.positions[0]]
    if first.role != "assistant" or not first.tool_calls:
        return []
    answered = [messages[position].tool_call_id for position in unit.positions[1:]]
    missing = []
    for call in first.tool_calls:
        if call.id in answered:
            answered.remove(call.id)  # two calls may share an id
        else:
            missing.append(call)
    return missing


def _stand_in(asking: Message, call: ToolCall) -> Message:
    told = {"status": "unanswered", "tool_name": call.function.name, "message": "it has no result"}
    return Message(
        role="tool",
        content=msgspec.json.encode(told).decode(),
        tool_call_id=call.id,
        message_id=f"{asking.message_id}:{call.id}",
        timestamp=asking.timestamp,
    )
