"""From stored messages to a prompt: pure, deterministic, never touching storage.

Between two flushes a prompt only grows at its end, so a model's prompt cache can use all of the one
before. That holds for a budget smaller than the memory too: the oldest messages leave the view in large
steps, not one by one as in a sliding window. (Issue 4, part 4; design §4.8.)
"""

from collections.abc import Sequence
from math import ceil

import msgspec

from recollect.memory.budget import held_tokens
from recollect.memory.counting.tokens import Counter, message_tokens
from recollect.memory.flushing.priority import is_summary
from recollect.memory.repair import repaired_unit
from recollect.messages import Message, Unit, units
from recollect.stores.records import Record

_STEP = 0.3
"""The share of a budget that leaves a view at once."""


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that can be sent to a model as they are.

    Attributes:
        tokens: what they cost, overhead of each message included.
        left_out: stored messages that are not among them.
        stable_tokens: what the first messages cost that stay as they are until the next flush, or
            the next step of the budget: all before the first call without a result.
    """

    messages: tuple[Message, ...]
    tokens: int
    left_out: int
    stable_tokens: int


def view_of(
    records: Sequence[Record], counter: Counter, *, budget_tokens: int | None = None
) -> View:
    """Return the newest whole units within a budget, ready to be sent.

    System messages and summaries stay as long as they fit. Each call is followed by its results, one
    without a result by a stand-in; results that answer nothing are left out.
    """
    prompt = [part for part in _parts(records, counter) if part.messages]
    shown = prompt if budget_tokens is None else _within(prompt, budget_tokens)
    messages = tuple(message for part in shown for message in part.messages)
    stable = 0
    for part in shown:
        if not part.is_settled:
            break
        stable += part.tokens
    return View(
        messages=messages,
        tokens=sum(part.tokens for part in shown),
        left_out=len(records) - sum(part.stored for part in shown),
        stable_tokens=stable,
    )


# ---- fitting -------------------------------------------------------------------------------------


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    """A unit as it is sent; ``stored`` counts its messages without stand-ins."""

    messages: tuple[Message, ...]
    tokens: int
    stored: int
    is_settled: bool
    is_pinned: bool


def _parts(records: Sequence[Record], counter: Counter) -> list[_Part]:
    messages = [record.message for record in records]
    return [_part(records, messages, unit, counter) for unit in units(messages)]


def _part(
    records: Sequence[Record], messages: Sequence[Message], unit: Unit, counter: Counter
) -> _Part:
    sent = repaired_unit(messages, unit)
    mine = [records[position] for position in unit.positions]
    stand_ins = sent[len(mine) :]
    tokens = sum(record.tokens for record in mine)
    tokens += sum(message_tokens(counter, message) for message in stand_ins)
    first = mine[0].message
    return _Part(
        messages=tuple(sent),
        tokens=held_tokens(len(sent), tokens),
        stored=len(mine) if sent else 0,
        is_settled=not stand_ins,
        is_pinned=first.role == "system" or is_summary(first),
    )


def _within(prompt: Sequence[_Part], budget: int) -> list[_Part]:
    """Return the parts that fit; where the oldest leave, they leave a step of the budget at once."""
    pinned = sum(part.tokens for part in prompt if part.is_pinned)
    if pinned > budget:
        prompt, pinned = _newest([part for part in prompt if part.is_pinned], budget), 0
    talk = [part for part in prompt if not part.is_pinned]
    room = budget - pinned
    excess = sum(part.tokens for part in talk) - room
    if excess <= 0:
        return list(prompt)
    step = max(int(room * _STEP), 1)
    going = ceil(excess / step) * step
    kept = _without_oldest(talk, going) or _newest(talk, room)
    chosen = {id(part) for part in kept}
    return [part for part in prompt if part.is_pinned or id(part) in chosen]


def _without_oldest(talk: Sequence[_Part], tokens: int) -> list[_Part]:
    for position, part in enumerate(talk):
        if tokens <= 0:
            return list(talk[position:])
        tokens -= part.tokens
    return []


def _newest(parts: Sequence[_Part], budget: int) -> list[_Part]:
    for position in range(len(parts)):
        if sum(part.tokens for part in parts[position:]) <= budget:
            return list(parts[position:])
    return []
