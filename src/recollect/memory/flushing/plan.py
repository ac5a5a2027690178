"""The plan of a flush: what goes, what stands for it, what stays."""

from collections.abc import Sequence

import msgspec

from recollect.memory.flushing.fifo import taken_in_turn
from recollect.memory.flushing.stock import NOTHING, Piece, Rules, Size, Stock, Strategy
from recollect.memory.flushing.summary import summarised
from recollect.stores.records import NewRecord, Record


class FlushPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a flush does, in one step of the store.

    Attributes:
        remove: seqs, ascending; empty when there is nothing to do.
        insert: at most one message, a summary; it takes the first seq of ``remove``.
        strategy: the one that chose, which is not always the one that was asked for.
        messages, tokens: what stays, ``insert`` included, without what is to be stored next.
        freed_tokens: how many fewer that is.
        saved_tokens: the same with the overhead of each message.
        invalidated_tokens: of what stays behind the first message that goes: a model's prompt cache
            has to read it anew. Overhead included.
    """

    remove: tuple[int, ...]
    strategy: Strategy
    messages: int
    tokens: int
    freed_tokens: int
    saved_tokens: int
    invalidated_tokens: int
    insert: tuple[NewRecord, ...] = ()

    @property
    def saves(self) -> bool:
        """It frees more than it invalidates."""
        return self.saved_tokens > self.invalidated_tokens


def plan_flush(
    rules: Rules, records: Sequence[Record], *, room: Size = NOTHING, unread: Size = NOTHING
) -> FlushPlan:
    """Plan to bring ``records`` (in order) plus ``room`` to the low-water mark of every limit.

    Units stay whole and open ones stay. ``hybrid_summary`` that would not make the memory smaller, or
    not small enough for ``room``, is replaced by removal in turn.

    ``room`` is what is to be stored next, nothing for a flush that is asked for; ``unread`` are live
    messages that are not among ``records``, because they cannot be read.
    """
    return plan_of(Stock(rules, records, room, unread))


def plan_of(stock: Stock) -> FlushPlan:
    """Plan as ``plan_flush`` does."""
    strategy = stock.rules.strategy
    if strategy == "hybrid_summary":
        summary = summarised(stock)
        if summary is not None:
            return planned(stock, summary.pieces, strategy, (summary.record,))
        strategy = fallback(stock.rules)
    return planned(stock, taken_in_turn(stock), strategy)


def fallback(rules: Rules) -> Strategy:
    """Return the strategy that removes in turn: the one of the rules, or that in place of a summary."""
    if rules.strategy != "hybrid_summary":
        return rules.strategy
    return "priority" if rules.is_ranked else "simple_fifo"


def planned(
    stock: Stock, taken: Sequence[Piece], strategy: Strategy, insert: tuple[NewRecord, ...] = ()
) -> FlushPlan:
    """Return the plan that takes these units away."""
    gone = sorted(position for piece in taken for position in piece.positions)
    added = Size(len(insert), sum(record.tokens for record in insert))
    left = stock.size - sum((piece.size for piece in taken), NOTHING) + added
    return FlushPlan(
        remove=tuple(stock.records[position].seq for position in gone),
        insert=insert,
        strategy=strategy,
        messages=left.messages,
        tokens=left.tokens,
        freed_tokens=stock.size.tokens - left.tokens,
        saved_tokens=stock.size.held - left.held,
        invalidated_tokens=_behind(stock, gone) if gone else 0,
    )


def _behind(stock: Stock, gone: Sequence[int]) -> int:
    without = set(gone)
    behind = range(gone[0], len(stock.records))
    return sum(Size(1, stock.records[i].tokens).held for i in behind if i not in without)


def replanned(plan: FlushPlan, record: NewRecord) -> FlushPlan:
    """Return a plan with another summary in place of the one it inserts."""
    more = record.tokens - sum(inserted.tokens for inserted in plan.insert)
    return msgspec.structs.replace(
        plan,
        insert=(record,),
        tokens=plan.tokens + more,
        freed_tokens=plan.freed_tokens - more,
        saved_tokens=plan.saved_tokens - more,
    )
