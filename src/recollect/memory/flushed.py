"""What became of a flush: its output, the same when asked for again, and what watchers are told."""

from typing import Literal

import msgspec

from recollect.memory.flushing.plan import FlushPlan, fallback
from recollect.memory.flushing.stock import NOTHING, Size
from recollect.memory.opened import Json, Opened
from recollect.memory.operations import FlushConfig
from recollect.stores.records import Head, Record, Written

Kind = Literal["asked", "threshold", "room", "class"]


class Flushed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a flush; ``plan`` is None if there was nothing to do."""

    head: Head | None
    plan: FlushPlan | None = None
    replayed: Written | None = None


async def report(memory: Opened, config: FlushConfig, done: Flushed) -> Json:
    """Return the output of a flush; a dry run tells what would be, in the same fields.

    That of a repeated flush is the first one again: it is reckoned from its record and the archive.
    ``tokens_freed`` is None if what it moved cannot be read there any more: a message is damaged.
    """
    head, plan, known = done.head, done.plan, done.replayed
    dry: Json = {"would_flush": plan is not None} if config.dry_run else {}
    rules = memory.rules(config.strategy)
    freed: int | None = 0
    if known is not None:
        gone, summary = known.removed, known.first_seq is not None
        strategy = "hybrid_summary" if summary else fallback(rules)
        freed = await _freed_by(memory, known)
    elif plan is not None:
        gone, summary, strategy = len(plan.remove), bool(plan.insert), plan.strategy
        freed = plan.freed_tokens
    else:
        gone, summary, strategy = 0, False, rules.strategy
    left = Size(head.message_count, head.token_count) if head else NOTHING
    if config.dry_run and plan is not None:
        left = Size(plan.messages, plan.tokens)
    return memory.output(
        "flush",
        head,
        dry_run=config.dry_run,
        **dry,
        messages_flushed=gone,
        remaining_messages=left.messages,
        remaining_tokens=left.tokens,
        tokens_freed=freed,
        summary_created=summary,
        archived=gone,
        actual_strategy=strategy,
    )


def tell_flushed(memory: Opened, kind: Kind, *, strategy: str, messages: int, tokens: int) -> None:
    """Tell whoever watches of messages that have left, and of the tokens that freed."""
    memory.telemetry.emit(
        "memory.flush",
        memory_id=memory.resource.id,
        kind=kind,
        strategy=strategy,
        status="success",
        messages=messages,
        tokens=tokens,
    )


# ---- asked for again -----------------------------------------------------------------------------


async def _freed_by(memory: Opened, known: Written) -> int | None:
    """Reckon what a flush freed: the archive only grows, so what it moved is where it put it."""
    place = known.head.archived_count - known.removed
    found = await memory.store.load(
        memory.address, source="archive", offset=place, limit=known.removed
    )
    if found is None or found.head.generation != known.head.generation:
        return None
    moved = found.records
    if len(moved) != known.removed or any(record.batch != "flush" for record in moved):
        return None
    freed = sum(record.tokens for record in moved)
    if known.first_seq is None:
        return freed
    summary = await _summary_of(memory, known.head, known.first_seq)
    return None if summary is None else freed - summary.tokens


async def _summary_of(memory: Opened, then: Head, seq: int) -> Record | None:
    """Find what took the place of the messages: live, or the next of its seq that was archived."""
    later = await memory.store.load(memory.address, source="archive", offset=then.archived_count)
    if later is None or any(damage.seq == seq for damage in later.damaged):
        return None
    live = await memory.store.load(memory.address, after=seq - 1, limit=1)
    candidates = [*later.records, *(live.records if live else ())]
    return next((record for record in candidates if record.seq == seq), None)
