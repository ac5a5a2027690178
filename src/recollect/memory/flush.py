"""Which messages leave when a memory is full: a pure plan, made of whole units.

``simple_fifo`` takes the oldest units until the memory is at its low-water mark. A unit that is open
(a tool call still waits for its result) never leaves, so a view is always valid to send.
"""

from collections.abc import Sequence

import msgspec

from recollect.memory.budget import held_tokens
from recollect.memory.resource import Resource
from recollect.messages import Unit, units
from recollect.stores.records import Record


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be stored next; nothing for a flush that is asked for."""

    messages: int = 0
    tokens: int = 0


class FlushPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a flush takes away.

    Attributes:
        remove: seqs, ascending; empty when there is nothing to do.
        messages, tokens: what stays, without what is to be stored next.
        freed_tokens: what goes.
    """

    remove: tuple[int, ...]
    messages: int
    tokens: int
    freed_tokens: int


NO_ROOM = Room()


def is_due(resource: Resource, messages: int, tokens: int, threshold: float | None = None) -> bool:
    """Tell whether a memory this full has reached the threshold (0-1) of one of its limits."""
    share = resource.flushing.threshold if threshold is None else threshold
    held = held_tokens(messages, tokens)
    return bool(
        (resource.max_tokens and held >= share * resource.max_tokens)
        or (resource.max_messages and messages >= share * resource.max_messages)
    )


def plan_flush(resource: Resource, records: Sequence[Record], room: Room = NO_ROOM) -> FlushPlan:
    """Plan to bring ``records`` (in order) plus ``room`` to the low-water mark of every limit.

    Takes the oldest closed units first and at least one, if any is free to go. A flush that is asked
    for keeps the newest unit and ``min_messages``; making room for a new message does not need to.
    """
    plan = _Plan(resource, records, room)
    free = [unit for unit in units([r.message for r in records]) if not unit.open]
    if not room.messages:
        newest = len(records) - 1
        free = [unit for unit in free if newest not in unit.positions]
    for unit in free:
        if plan.removed and plan.is_low():
            break
        plan.take(unit)
    return plan.done()


class _Plan:
    """A plan while units are being taken."""

    def __init__(self, resource: Resource, records: Sequence[Record], room: Room) -> None:
        self._records = records
        self._room = room
        self._low = resource.flushing.target_utilization
        self._max_tokens, self._max_messages = resource.max_tokens, resource.max_messages
        self._least = 0 if room.messages else resource.flushing.min_messages
        self.removed: list[int] = []
        self._messages = len(records)
        self._tokens = sum(record.tokens for record in records)
        self._before = self._tokens

    def is_low(self) -> bool:
        """What stays is at its low-water mark, and fits together with what comes."""
        return self._fits(
            self._max_tokens,
            held_tokens(self._messages, self._tokens),
            held_tokens(self._room.messages, self._room.tokens),
        ) and self._fits(self._max_messages, self._messages, self._room.messages)

    def _fits(self, limit: int | None, stays: int, comes: int) -> bool:
        return not limit or (stays <= self._low * limit and stays + comes <= limit)

    def take(self, unit: Unit) -> None:
        if self._messages - len(unit.positions) < self._least:
            return
        self.removed.extend(unit.positions)
        self._messages -= len(unit.positions)
        self._tokens -= sum(self._records[position].tokens for position in unit.positions)

    def done(self) -> FlushPlan:
        return FlushPlan(
            remove=tuple(sorted(self._records[position].seq for position in self.removed)),
            messages=self._messages,
            tokens=self._tokens,
            freed_tokens=self._before - self._tokens,
        )
