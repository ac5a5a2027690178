"""What a flush chooses from: the messages of a memory in whole units, each with its size and rank."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from recollect.memory.budget import held_tokens, limits_of
from recollect.memory.flushing.allocation import is_reserved
from recollect.memory.flushing.priority import (
    CRITICAL,
    LOW,
    heeds_importance,
    is_summary,
    priority_of,
)
from recollect.memory.resource import Resource
from recollect.memory.sections import StrategyName
from recollect.messages import Message, Unit, units
from recollect.stores.records import Limits, NewRecord, Record

Strategy = Literal["simple_fifo", "priority", "hybrid_summary"]
Seal = Callable[[Message], NewRecord | None]


class Size(msgspec.Struct, frozen=True):
    """So many messages with so many tokens, their overhead not included."""

    messages: int = 0
    tokens: int = 0

    def __add__(self, other: "Size") -> "Size":
        return Size(self.messages + other.messages, self.tokens + other.tokens)

    def __sub__(self, other: "Size") -> "Size":
        return Size(self.messages - other.messages, self.tokens - other.tokens)

    @property
    def held(self) -> int:
        """The tokens that count against a limit."""
        return held_tokens(self.messages, self.tokens)


NOTHING = Size()
_ROUNDING = 1e-9  # 0.7 x 10 is a little more than 7


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a memory says about flushing, and how it makes a message ready to be stored.

    Attributes:
        asked: the strategy of one call, in place of the resource's.
        count: tokens of a text.
        seal: redacts and counts; None if the privacy policy does not keep the message.
    """

    resource: Resource
    count: Callable[[str], int]
    seal: Seal
    asked: StrategyName | None = None

    @property
    def strategy(self) -> Strategy:
        """The strategy that is tried."""
        name = self.asked or self.resource.flushing.type
        if name in {"hybrid_summary", "priority"}:
            return name
        return "priority" if self.asked is None and self.is_ranked else "simple_fifo"

    @property
    def is_ranked(self) -> bool:
        """The less important goes first; a call that asks for FIFO gets it."""
        if self.asked in {"simple_fifo", "fifo"}:
            return False
        return self.asked == "priority" or heeds_importance(self.resource)

    @property
    def spares_critical(self) -> bool:
        """What is critical never goes; plain FIFO spares protected roles only."""
        return self.strategy != "simple_fifo" or heeds_importance(self.resource)

    @property
    def low_water(self) -> float:
        """The share of a limit that a flush leaves."""
        usual = 0.6 if self.strategy == "hybrid_summary" else 0.5
        return self.resource.flushing.target_utilization or usual


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A unit as a flush sees it.

    Attributes:
        rank: importance of its most important message.
        is_fixed: it never leaves: critical, or within the share of a class of its own.
        is_free: it may leave now.
    """

    positions: tuple[int, ...]
    size: Size
    rank: int
    is_summary: bool
    is_fixed: bool
    is_free: bool


class Stock:
    """The messages of a memory, and how many of them may stay.

    The marks of a limit are shares of what is not fixed: with 1,000 tokens fixed of 4,000, the
    low-water mark 0.5 is at 2,500. So a flush frees a good part whatever is fixed, and the next one is
    not due at once.

    Args:
        room: what is to be stored next; nothing for a flush that is asked for, which keeps the newest
            unit and ``min_messages``.
        unread: live messages that are not among ``records``, because they cannot be read.
    """

    def __init__(
        self, rules: Rules, records: Sequence[Record], room: Size = NOTHING, unread: Size = NOTHING
    ) -> None:
        self.records = records
        self.rules = rules
        self.room = room
        self.least = 0 if room.messages else rules.resource.flushing.min_messages
        self.pieces = _pieces(rules, records, keep_newest=not room.messages)
        self.size = sum((piece.size for piece in self.pieces), unread)
        self._limits: Limits = limits_of(rules.resource)
        self._fixed = sum((piece.size for piece in self.pieces if piece.is_fixed), NOTHING)

    def free(self) -> list[Piece]:
        """Return what may leave, in the order of leaving; summaries go last."""
        free = [piece for piece in self.pieces if piece.is_free]
        if self.rules.is_ranked:
            return sorted(free, key=lambda piece: (piece.is_summary, -piece.rank))
        return sorted(free, key=lambda piece: piece.is_summary)

    def is_above(self, share: float) -> bool:
        """Tell whether one of the limits is filled to its mark at this share (0-1)."""
        limits, size, fixed = self._limits, self.size, self._fixed
        tokens, messages = limits.max_tokens, limits.max_messages
        return bool(
            (tokens and size.held + _ROUNDING >= _mark(tokens, fixed.held, share))
            or (messages and size.messages + _ROUNDING >= _mark(messages, fixed.messages, share))
        )

    def is_low(self, left: Size) -> bool:
        """Tell whether ``left`` is at every low-water mark and fits together with what comes."""
        limits, low, fixed = self._limits, self.rules.low_water, self._fixed
        tokens, messages = limits.max_tokens, limits.max_messages
        return (
            (not tokens or left.held <= _mark(tokens, fixed.held, low) + _ROUNDING)
            and (not messages or left.messages <= _mark(messages, fixed.messages, low) + _ROUNDING)
            and self.fits(left)
        )

    def fits(self, left: Size) -> bool:
        """Tell whether ``left`` and what comes are within the limits."""
        both = left + self.room
        return not self._limits.broken_by(both.messages, both.tokens)


def _mark(limit: int, fixed: int, share: float) -> float:
    return fixed + share * max(limit - fixed, 0)


def _pieces(rules: Rules, records: Sequence[Record], *, keep_newest: bool) -> list[Piece]:
    messages = [record.message for record in records]
    newest = len(records) - 1 if keep_newest else -1
    return [_piece(rules, records, unit, newest) for unit in units(messages)]


def _piece(rules: Rules, records: Sequence[Record], unit: Unit, newest: int) -> Piece:
    resource = rules.resource
    mine = [records[position] for position in unit.positions]
    summary = all(is_summary(record.message) for record in mine)
    heeds = rules.is_ranked or rules.spares_critical  # otherwise nobody asks, and it takes reading
    rank = min(priority_of(record.message, resource) for record in mine) if heeds else LOW
    merges = summary and rules.strategy == "hybrid_summary"
    fixed = not merges and (
        (rank == CRITICAL and rules.spares_critical)
        or any(record.message.role in resource.eviction_policy.protected_roles for record in mine)
        or all(is_reserved(record.message, resource) for record in mine)
    )
    return Piece(
        positions=unit.positions,
        size=Size(len(mine), sum(record.tokens for record in mine)),
        rank=rank,
        is_summary=summary,
        is_fixed=fixed,
        is_free=not fixed and not unit.open and newest not in unit.positions,
    )
