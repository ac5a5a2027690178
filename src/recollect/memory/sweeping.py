"""Removing for good what is gone or was left behind; one process of a project at a time.

The store's own sweep removes expired conversations, cut rows and old key records; then the uses of ended
runs are settled (``lifecycle``). ``recollect sweep`` does all there is to do, each ``recollect run``
some of it, if nobody did for a while.
"""

from datetime import timedelta

import msgspec

from recollect.errors import LeaseTaken
from recollect.memory.leases import held
from recollect.memory.lifecycle import HowEnded, Uses
from recollect.stores.base import Store
from recollect.stores.records import ConversationId

SWEEP_EVERY = timedelta(minutes=10)
SWEEP_LIMIT = 1_000

_LEASE_TTL = timedelta(minutes=1)
_LEADER = "leader"


class Sweep(msgspec.Struct, frozen=True):
    """What a sweep removed: rows of the store, and uses of ended runs.

    ``finished`` is False when there may be more to remove.
    """

    conversations: int = 0
    records: int = 0
    keys: int = 0
    uses: int = 0
    finished: bool = True


class Sweeper:
    """Sweeps a project's store.

    Args:
        namespace: where the leader's lease is kept.
    """

    def __init__(self, store: Store, uses: Uses, namespace: str) -> None:
        self._store = store
        self._uses = uses
        self._leader = ConversationId(namespace, _LEADER)

    async def is_due(self) -> bool:
        """Tell whether nobody has swept for a while; one read."""
        found = await self._store.load(self._leader, last=0)
        return found is None or found.head.updated_at <= self._store.clock.now() - SWEEP_EVERY

    async def sweep(
        self, *, how_ended: HowEnded, rounds: int = 1, limit: int = SWEEP_LIMIT
    ) -> Sweep | None:
        """Remove about ``limit`` rows and as many conversations of ended runs, ``rounds`` times.

        Returns:
            What was removed; None if another process is sweeping.

        Raises:
            StoreError: the store failed; what was removed is removed.
        """
        await self._store.append(self._leader, ())
        try:
            async with held(self._store, self._leader, holder="sweep", ttl=_LEASE_TTL):
                done = Sweep(finished=False)
                for _ in range(rounds):
                    done = _sum(done, await self._round(how_ended, limit))
                    if done.finished:
                        break
                return done
        except LeaseTaken:
            return None

    async def _round(self, how_ended: HowEnded, limit: int) -> Sweep:
        swept = await self._store.sweep(limit=limit)
        uses = await self._uses.sweep(self._store, how_ended=how_ended, limit=limit)
        nothing = not (swept.conversations or swept.records or swept.keys or uses)
        return Sweep(swept.conversations, swept.records, swept.keys, uses, finished=nothing)


def _sum(one: Sweep, other: Sweep) -> Sweep:
    return Sweep(
        one.conversations + other.conversations,
        one.records + other.records,
        one.keys + other.keys,
        one.uses + other.uses,
        other.finished,
    )
