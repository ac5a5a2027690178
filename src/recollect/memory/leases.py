"""Holding a conversation while work on it takes several steps (issue 4, part 7; specs/memory.md §4.4).

A lease keeps others from doing the same work; it is no lock. What is written under it names it, and a
holder that was paused beyond its end changes nothing: the store answers LeaseLost. Work of one step
(an append, a write, a delete) needs none.
"""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from recollect.errors import LeaseTaken, StoreError
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, Lease
from recollect.telemetry import Telemetry

NO_WAIT = timedelta(0)
LEASE_WAIT = timedelta(seconds=10)
"""How long work that has to be done waits for its turn."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.01, 0.25


@asynccontextmanager
async def held(
    store: Store,
    address: ConversationId,
    *,
    holder: str,
    ttl: timedelta,
    wait: timedelta = NO_WAIT,
    memory_id: str = "",
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Lease | None]:
    """Hold the lease of a conversation; hand it to every write of the work.

    It is renewed each third of ``ttl`` as long as the work goes on, and given back at its end, also
    when that is an error or a cancellation. A holder that dies keeps others away for ``ttl`` at most.
    Yields None if there is no such conversation: then there is nothing to hold.

    Each lease is an event ``memory.lease`` with ``memory_id``, ``operation`` (the holder) and
    ``status``: ``held`` or ``taken`` with the ``seconds`` waited and whether it was ``contended``, and
    ``lost`` when it ended before the work did.

    ``holder`` says what kind of work it is, such as ``flush``; who does it is added. For another holder
    it waits up to ``wait``, with growing pauses of random length.

    Raises:
        LeaseTaken: another holder had it all the time.
        LeaseLost: not here, but from a write under a lease that has ended.
    """
    tell = _Events(telemetry or Telemetry(), memory_id, holder)
    name = f"{holder}-{secrets.token_hex(8)}"
    lease = await _taken_within(store, address, name, ttl, wait, tell)
    if lease is None:
        yield None
        return
    over = asyncio.Event()
    renewing = asyncio.create_task(_renew(store, lease, ttl, over, tell))
    try:
        yield lease
    finally:
        over.set()
        await asyncio.shield(_give_back(store, lease, renewing))


class _Events:
    """What one holder tells."""

    def __init__(self, telemetry: Telemetry, memory_id: str, operation: str) -> None:
        self._telemetry = telemetry
        self._memory_id = memory_id
        self.operation = operation

    def __call__(self, status: str, **labels: float | bool) -> None:
        self._telemetry.emit(
            "memory.lease",
            memory_id=self._memory_id,
            operation=self.operation,
            status=status,
            **labels,
        )


async def _taken_within(
    store: Store,
    address: ConversationId,
    name: str,
    ttl: timedelta,
    wait: timedelta,
    tell: _Events,
) -> Lease | None:
    """Return the lease; None for a missing conversation."""
    start = store.clock.monotonic()
    slept, pause = 0.0, _FIRST_PAUSE_SECONDS
    while True:
        lease = await _taken(store, address, name, ttl)
        waited = max(slept, store.clock.monotonic() - start)
        if lease is not None:
            tell("held", seconds=waited, contended=slept > 0)
            return lease
        if await store.load(address, last=0) is None:
            return None
        if waited >= wait.total_seconds():
            tell("taken", seconds=waited, contended=True)
            raise LeaseTaken(
                f"somebody else works on this conversation: waited {waited:.1f} s for the lease of a "
                f"{tell.operation}. Try again"
            )
        nap = random.uniform(pause / 2, pause)  # noqa: S311 - so that the waiting do not meet again
        await asyncio.sleep(nap)
        slept, pause = slept + nap, min(pause * 2, _LONGEST_PAUSE_SECONDS)


async def _taken(store: Store, address: ConversationId, name: str, ttl: timedelta) -> Lease | None:
    """Ask once. Who is cancelled meanwhile gives back what may have been granted."""
    asked = asyncio.ensure_future(store.lease(address, holder=name, ttl=ttl))
    try:
        return await asyncio.shield(asked)
    except asyncio.CancelledError:
        with suppress(StoreError):
            lease = await asked
            if lease is not None:
                await store.release(lease)
        raise


async def _renew(
    store: Store, lease: Lease, ttl: timedelta, over: asyncio.Event, tell: _Events
) -> None:
    """Renew until the work is over or the lease is lost. A store that fails is asked again."""
    pause = ttl.total_seconds() / 3
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), pause)
            return
        try:
            renewed = await store.lease(lease.conversation, holder=lease.holder, ttl=ttl)
        except StoreError:
            continue
        if renewed is not None and _is_same(renewed, lease):
            continue
        tell("lost")
        if renewed is not None:  # a new one, after the end of ours: no write of ours names it
            with suppress(StoreError):
                await store.release(renewed)
        return


def _is_same(one: Lease, other: Lease) -> bool:
    return (one.generation, one.fence) == (other.generation, other.fence)


async def _give_back(store: Store, lease: Lease, renewing: "asyncio.Task[None]") -> None:
    await renewing  # not cancelled: a renewal that arrives after the release would be a new lease
    with suppress(StoreError):  # its end frees it
        await store.release(lease)
