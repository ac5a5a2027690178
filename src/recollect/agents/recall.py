"""From history to prompt: which messages a model sees, and in what order. Pure; never touches storage.

Messages are always taken in units: a call is never parted from its results (design §4.5).
"""

from collections.abc import Collection, Sequence

from recollect.memory.repair import repaired as view
from recollect.memory.repair import unanswered
from recollect.messages import Message, ToolCall, units

__all__ = ["begins_anew", "not_in", "view", "waiting_calls", "window"]


def window(
    history: Sequence[Message], limit: int | None, *, decided: Collection[str] = ()
) -> list[Message]:
    """Return the newest whole units of ``history`` that together are at most ``limit`` messages.

    Units whose calls wait for an answer, and those with a call in ``decided``, stay whatever the limit,
    because the run goes on with them. Results that answer no call of ``history`` are left out.
    """
    if limit is None:
        return list(history)
    kept: set[int] = set()
    has_room = True
    for unit in sorted(units(history), key=lambda unit: unit.positions[-1], reverse=True):
        if history[unit.positions[0]].role == "tool":
            continue
        has_room = has_room and len(kept) + len(unit.positions) <= limit
        if has_room or unit.open or _calls_any(history[unit.positions[0]], decided):
            kept.update(unit.positions)
    return [message for position, message in enumerate(history) if position in kept]


def _calls_any(message: Message, ids: Collection[str]) -> bool:
    return any(call.id in ids for call in message.tool_calls or ())


def not_in(history: Sequence[Message], given: Sequence[Message]) -> list[Message]:
    """Return the messages of ``given`` whose ids are new, each once, in their order."""
    seen = {message.message_id for message in history}
    added: list[Message] = []
    for message in given:
        if message.message_id not in seen:
            seen.add(message.message_id)
            added.append(message)
    return added


def begins_anew(recent: Sequence[Message], given: Sequence[Message]) -> bool:
    """Tell whether the end of a history is all of it that a run needs.

    That is so when the user says something new, and whatever is not found in ``recent`` was made after
    all that is: it cannot stand further back (as long as the clocks of all writers agree roughly).
    """
    new = not_in(recent, given)
    newest = max((message.at for message in recent), default=None)
    return (
        newest is not None
        and any(message.role == "user" for message in new)
        and all(message.at > newest for message in new)
    )


def waiting_calls(messages: Sequence[Message], decided: Collection[str]) -> list[ToolCall]:
    """Return the calls that a run has to answer before it asks the model, oldest first.

    They are the unanswered calls of open units, and those in ``decided`` even if the user has spoken
    since: a person has said what to do with them.
    """
    return [
        call
        for unit in units(messages)
        for call in unanswered(messages, unit)
        if unit.open or call.id in decided
    ]
