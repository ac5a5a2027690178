"""Flushing: what is over the marks of a memory moves to its archive, or into a summary.

Three things ask for it. Somebody calls ``flush``. An append crosses the threshold: ``flush_if_due``
runs within that append, after its messages are stored, so they are safe whatever becomes of the flush,
and any later append looks again, so a flush is not lost with the process that should have done it. A
write does not fit: ``make_room`` runs before it.

A lease sees to it that one process does the work; the store applies a plan only while all it removes is
still live, and keeps what was appended meanwhile. A model is asked for a summary before the lease is
taken, and never to make room, which is urgent. (Issue 4, part 3; specs/memory.md §2.4, §5.)
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from functools import partial

from recollect.errors import (
    FlushPending,
    KeyReused,
    LeaseLost,
    LeaseTaken,
    RecollectError,
    VersionConflict,
)
from recollect.memory.budget import is_due, limits_of
from recollect.memory.flushed import Flushed, Kind, report, tell_flushed
from recollect.memory.flushing.plan import FlushPlan
from recollect.memory.flushing.stock import Size
from recollect.memory.leases import NO_WAIT
from recollect.memory.opened import Json, Opened
from recollect.memory.operations import FlushConfig
from recollect.memory.planning import (
    Made,
    asked_plan,
    is_asked,
    room_plan,
    threshold_plan,
    with_model,
)
from recollect.stores.records import Conversation, Head, Lease

MAX_ROUNDS = 100
_POLITE_ROUNDS = 10  # a second or so; then room is made beside a lease: its holder may be dead
_MODEL_ROUNDS = 2  # then the rules summarise what others keep changing
_log = logging.getLogger(__name__)


async def flush(
    memory: Opened, config: FlushConfig | None = None, *, idempotency_key: str | None = None
) -> Json:
    """Archive or summarise when a limit's threshold is reached, or when forced.

    ``dry_run`` reports exactly what the flush would do at this moment, by the same plan; it has no use
    for an idempotency key. With the key of a flush that was done, its output is returned again. A flush
    that had nothing to do used up no key.

    Raises:
        FlushPending: somebody else is flushing this memory, or keeps changing it.
        MemoryReadOnly: the mode forbids it, unless it is a dry run.
    """
    config = config or FlushConfig()
    if not config.dry_run:
        memory.allow("flush")
    known = None if config.dry_run else await memory.recall(idempotency_key)
    if known is not None:
        return await report(memory, config, Flushed(head=known.head, replayed=known))
    planner = partial(asked_plan, memory, config)
    for attempt in range(MAX_ROUNDS):
        conversation = await memory.store.load(memory.address)
        head = conversation.head if conversation else None
        if config.dry_run:
            made = await with_model(memory, await planner(conversation))
            plan = made.plan if made else None
            return await report(memory, config, Flushed(head=head, plan=plan))
        if head is None or not is_asked(memory, config, head):
            return await report(memory, config, Flushed(head=head))
        try:
            asks = attempt < _MODEL_ROUNDS
            done = await _carry_out(memory, planner, "asked", idempotency_key, asks_model=asks)
        except LeaseTaken:
            raise FlushPending(
                f"memory {memory.resource.id!r} is being flushed already: try again"
            ) from None
        if done is not None:
            return await report(memory, config, done)
        await _pause()
    raise FlushPending("other writers keep changing this memory: try again")


async def flush_if_due(memory: Opened, head: Head) -> Flushed:
    """Flush to the low-water mark if an append has taken the memory over its threshold.

    Never raises for a flush that fails: the messages are stored, and a later append tries again.
    """
    resource = memory.resource
    due = is_due(
        limits_of(resource), head.message_count, head.token_count, resource.flushing.threshold
    )
    if not due or resource.disable_flush or memory.address in memory.flushing:
        return Flushed(head=head)
    memory.flushing.add(memory.address)
    try:
        done = await _carry_out(memory, partial(threshold_plan, memory), "threshold")
    except (LeaseTaken, FlushPending):  # somebody is at it
        return Flushed(head=head)
    except Exception as error:  # noqa: BLE001 - the append has succeeded and must not seem to fail
        reason = error.code if isinstance(error, RecollectError) else type(error).__name__
        _log.warning("memory %s: flush by threshold failed: %s", resource.id, reason)
        memory.telemetry.emit(
            "memory.flush", memory_id=resource.id, kind="threshold", status="failure"
        )
        return Flushed(head=head)
    finally:
        memory.flushing.discard(memory.address)
    return done if done and done.head else Flushed(head=head)


async def make_room(
    memory: Opened, room: Size, head: Head | None, *, attempt: int = 0, lease: Lease | None = None
) -> int:
    """Move units away so that ``room`` fits; returns how many messages went.

    0 says that somebody else changed the conversation first, or is about to: the caller tries again
    and says with ``attempt`` how often it has. The lease of another holder is respected for some
    attempts only, because its holder may be dead; the store keeps the two apart all the same.
    ``lease`` is one that the caller holds already.

    Raises:
        MemoryLimitExceeded: there is nothing that may go.
    """
    resource, limits = memory.resource, limits_of(memory.resource)
    if resource.disable_flush or limits.broken_by(room.messages, room.tokens):
        raise memory.over_limit(room, head)
    planner = partial(room_plan, memory, room)
    done = None
    try:
        if lease is not None or attempt >= _POLITE_ROUNDS:
            done = await _plan_and_fold(memory, planner, "room", lease)
        else:
            done = await _carry_out(memory, planner, "room", asks_model=False)
    except LeaseTaken:
        pass
    if done is None:
        await _pause(attempt)
    return len(done.plan.remove) if done and done.plan else 0


# ---- applying ------------------------------------------------------------------------------------

Planner = Callable[[Conversation | None], Awaitable[Made | None]]


async def _carry_out(
    memory: Opened,
    planner: Planner,
    kind: Kind,
    idempotency_key: str | None = None,
    *,
    asks_model: bool = True,
) -> Flushed | None:
    """Plan and apply under a lease, so that one process does it; a model is asked before.

    Returns:
        None if the conversation changed so that the plan does not fit any more.

    Raises:
        LeaseTaken: somebody else works on this conversation.
    """
    made = None
    if memory.summarizer is not None and asks_model:
        conversation = await memory.store.load(memory.address)
        made = await with_model(memory, await planner(conversation))
        if made is None:
            return Flushed(head=conversation.head if conversation else None)
    locking = memory.resource.locking
    turn = ("append", locking.append_ttl) if kind == "room" else ("flush", locking.flush_ttl)
    async with memory.held(*turn, wait=NO_WAIT) as lease:
        if lease is None:
            return Flushed(head=None)
        if made is not None:
            return await _fold(memory, made.plan, kind, lease, idempotency_key)
        return await _plan_and_fold(memory, planner, kind, lease, idempotency_key)


async def _plan_and_fold(
    memory: Opened,
    planner: Planner,
    kind: Kind,
    lease: Lease | None,
    idempotency_key: str | None = None,
) -> Flushed | None:
    conversation = await memory.store.load(memory.address)
    made = await planner(conversation)
    if made is None:
        return Flushed(head=conversation.head if conversation else None)
    return await _fold(memory, made.plan, kind, lease, idempotency_key)


async def _fold(
    memory: Opened,
    plan: FlushPlan,
    kind: Kind,
    lease: Lease | None,
    idempotency_key: str | None = None,
) -> Flushed | None:
    try:
        result = await memory.store.fold(
            memory.address,
            plan.remove,
            plan.insert,
            archive_as="flush",
            key=idempotency_key,
            lease=lease,
        )
    except (VersionConflict, LeaseLost):
        return None
    except KeyReused:  # a twin with the same key was first, and its summary is another
        known = await memory.recall(idempotency_key)
        if known is None:
            raise
        return Flushed(head=known.head, replayed=known)
    gone, freed = len(plan.remove), plan.freed_tokens
    tell_flushed(memory, kind, strategy=plan.strategy, messages=gone, tokens=freed)
    return Flushed(head=result.head, plan=plan)


async def _pause(attempt: int = 0) -> None:
    longest = min(0.01 * 2**attempt, 0.2)
    await asyncio.sleep(random.uniform(0, longest))  # noqa: S311 - so that rivals do not meet again
