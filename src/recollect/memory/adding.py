"""``append`` and ``write``: into the store, within the limits and the caps of classes."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from recollect.errors import FlushPending, LeaseLost, VersionConflict
from recollect.memory.admission import Admitted
from recollect.memory.budget import limits_of
from recollect.memory.flush import MAX_ROUNDS, flush_if_due, make_room
from recollect.memory.flushed import tell_flushed
from recollect.memory.flushing.allocation import Cap, caps_of, plan_caps, touched
from recollect.memory.leases import LEASE_WAIT
from recollect.memory.opened import Json, Opened, size_of
from recollect.messages import Message
from recollect.stores.records import Full, Lease, Written


async def append(
    memory: Opened, messages: Sequence[Message], *, idempotency_key: str | None = None
) -> Json:
    """Add messages after the existing ones, all or none; makes room when limits ask for it.

    ``total_count`` is that of the moment they were added. When they take the memory over its
    threshold, it is then flushed; ``messages_flushed`` counts what went before and after.

    Raises:
        MemoryLimitExceeded: they do not fit even after a flush; nothing was stored.
        PrivacyError: redaction could not finish; nothing was stored.
        FlushPending: other writers kept filling the memory meanwhile; repeat.
        LeaseTaken: the same for a class that has a cap.
        MemoryReadOnly: the mode forbids it.
    """
    memory.allow("append")
    admitted = await memory.admitted(messages)
    if not admitted.records:
        head = await memory.head()
        return memory.output("append", head, messages_added=0, **memory.privacy_report(admitted))
    caps = touched(caps_of(memory.resource), [record.message for record in admitted.records])
    if caps:
        added, flushed = await _append_capped(memory, admitted, caps, idempotency_key)
    else:
        added, flushed = await _append(memory, admitted, idempotency_key)
    done = await flush_if_due(memory, added.head)
    return memory.output(
        "append",
        done.head,
        messages_added=len(admitted.records),
        tokens_added=size_of(admitted).tokens,
        total_count=added.head.message_count,
        messages_flushed=flushed + (len(done.plan.remove) if done.plan else 0),
        **memory.privacy_report(admitted),
    )


async def _append(
    memory: Opened, admitted: Admitted, idempotency_key: str | None, lease: Lease | None = None
) -> tuple[Written, int]:
    """Append within the hard limits; return with it how many messages made room."""
    flushed = 0
    for attempt in range(MAX_ROUNDS):
        result = await memory.store.append(
            memory.address,
            admitted.records,
            ttl=memory.ttl("append"),
            limits=limits_of(memory.resource),
            key=idempotency_key,
            lease=lease,
        )
        if isinstance(result, Written):
            return result, flushed
        flushed += await make_room(
            memory, size_of(admitted), result.head, attempt=attempt, lease=lease
        )
    raise FlushPending("other writers keep filling this memory: try again")


async def _append_capped(
    memory: Opened, admitted: Admitted, caps: Sequence[Cap], idempotency_key: str | None
) -> tuple[Written, int]:
    """Append what counts against a cap: look, make room in the class, add, all under one lease.

    The store knows nothing of classes, so only a lease keeps two such appends apart; whoever loses it
    stores nothing. Other appends go on meanwhile.
    """
    for _ in range(MAX_ROUNDS):
        try:
            async with _turn(memory) as lease:
                flushed = 0
                if await memory.recall(idempotency_key) is None:
                    flushed = await _make_room_in(memory, admitted, caps, lease)
                added, more = await _append(memory, admitted, idempotency_key, lease)
                return added, flushed + more
        except (LeaseLost, VersionConflict):
            continue
    raise FlushPending("other writers keep changing this memory: try again")


@asynccontextmanager
async def _turn(memory: Opened) -> AsyncIterator[Lease]:
    """Hold the lease of an append; creates the conversation, because a lease needs one."""
    while True:
        ttl = memory.resource.locking.append_ttl
        async with memory.held("append", ttl, wait=LEASE_WAIT) as lease:
            if lease is not None:
                yield lease
                return
        await memory.store.append(memory.address, (), ttl=memory.ttl("append"))


async def _make_room_in(
    memory: Opened, admitted: Admitted, caps: Sequence[Cap], lease: Lease
) -> int:
    conversation = await memory.store.load(memory.address)
    records = conversation.records if conversation else ()
    plan = plan_caps(memory.resource, caps, records, admitted.records)
    if plan.broken is not None:
        raise memory.over_cap(plan.broken.name, plan.broken.tokens)
    if plan.remove and memory.resource.disable_flush:
        raise memory.over_cap(caps[0].name, caps[0].tokens)
    if plan.remove:
        await memory.store.fold(memory.address, plan.remove, archive_as="flush", lease=lease)
        gone = set(plan.remove)
        tell_flushed(
            memory,
            "class",
            strategy=memory.rules().strategy,
            messages=len(gone),
            tokens=sum(record.tokens for record in records if record.seq in gone),
        )
    return len(plan.remove)


async def write(
    memory: Opened, messages: Sequence[Message], *, idempotency_key: str | None = None
) -> Json:
    """Make the content exactly these messages, in one step; the former ones are archived.

    When the privacy policy keeps none of them, the existing content stays.

    Raises:
        MemoryLimitExceeded: they are over the limits by themselves; nothing changed.
        PrivacyError, MemoryReadOnly: as append.
    """
    memory.allow("write")
    admitted = await memory.admitted(messages)
    if not admitted.records:
        head = await memory.head()
        return memory.output(
            "write",
            head,
            messages_written=0,
            replaced_count=0,
            **memory.privacy_report(admitted),
        )
    result = await _replace(memory, admitted, idempotency_key)
    return memory.output(
        "write",
        result.head,
        messages_written=len(admitted.records),
        tokens_added=size_of(admitted).tokens,
        replaced_count=result.removed,
        **memory.privacy_report(admitted),
    )


async def _replace(memory: Opened, admitted: Admitted, idempotency_key: str | None) -> Written:
    caps = touched(caps_of(memory.resource), [record.message for record in admitted.records])
    broken = plan_caps(memory.resource, caps, (), admitted.records).broken
    if broken is not None:
        raise memory.over_cap(broken.name, broken.tokens)
    if not caps:
        return await _replace_once(memory, admitted, idempotency_key, None)
    for _ in range(MAX_ROUNDS):
        try:
            async with _turn(memory) as lease:
                return await _replace_once(memory, admitted, idempotency_key, lease)
        except LeaseLost:
            continue
    raise FlushPending("other writers keep changing this memory: try again")


async def _replace_once(
    memory: Opened, admitted: Admitted, idempotency_key: str | None, lease: Lease | None
) -> Written:
    result = await memory.store.replace(
        memory.address,
        admitted.records,
        ttl=memory.ttl("write"),
        limits=limits_of(memory.resource),
        archive_as="write",
        key=idempotency_key,
        lease=lease,
    )
    if isinstance(result, Full):
        raise memory.over_limit(size_of(admitted), None)
    return result
