"""Which run uses which conversation, so that what belongs to runs alone goes with them.

``cleanup.scope: execution`` (issue 4, part 8; specs/memory.md §8): before a run first uses a key, a use
is recorded in the store that keeps the data. When the run ends, in whatever way, its uses fall *due*. A
use that is due is *settled*: the conversation is deleted, unless another run that has not ended uses it
too; then that run inherits the duty. What a crash leaves is settled by whoever comes next, or a sweep.

A use is a conversation without messages, ``<hash of the address>:<run id>`` in a namespace of its own,
owned by the run. A run records its use first and looks for others that are due second; a use falls due
first and is compared with others second; so of two runs at the same time at least one sees the other.
"""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec

from recollect.errors import LeaseTaken, StoreError
from recollect.memory.leases import LEASE_WAIT, held
from recollect.memory.sections import Cleanup
from recollect.stores.arguments import MAX_PAGE
from recollect.stores.base import Store
from recollect.stores.records import ConversationId
from recollect.telemetry import Telemetry

ABANDONED_AFTER = timedelta(days=30)
"""A run of which nothing else is known any more counts as ended, this long after its last new use."""

_LEASE_TTL = timedelta(seconds=30)

HowEnded = Callable[[str], str | None]
"""Run id -> the status with which it ended; None if it has not, or is not known."""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """That a run uses a conversation.

    Attributes:
        record: where this is kept.
        due: from when on it is to be settled; None while the run goes on.
    """

    record: ConversationId
    run_id: str
    address: ConversationId
    grace: timedelta
    on: tuple[str, ...]
    due: datetime | None
    updated_at: datetime

    def is_due(self, now: datetime) -> bool:
        """Tell whether it can be settled."""
        return self.due is not None and self.due <= now


class Uses:
    """The uses of one project, in whatever store they are."""

    def __init__(self, namespace: str, telemetry: Telemetry) -> None:
        self._namespace = namespace
        self._telemetry = telemetry
        self._begun: dict[str, dict[ConversationId, bool]] = {}

    async def begin(
        self,
        store: Store,
        run_id: str,
        address: ConversationId,
        cleanup: Cleanup,
        *,
        writes: bool,
    ) -> None:
        """Record that a run is about to use a conversation; free when it was recorded before.

        Raises:
            StoreError, LeaseTaken: it could not be recorded; do not use the conversation.
        """
        begun = self._begun.setdefault(run_id, {})
        if address in begun and begun[address] >= writes:
            return
        metadata: dict[str, Any] = {
            "namespace": address.namespace,
            "id": address.id,
            "grace_seconds": cleanup.grace.total_seconds(),
            "on": list(cleanup.on),
            **({"owes": True} if writes else {}),
        }
        await store.append(self._record(address, run_id), (), metadata=metadata, owner=run_id)
        for other in await self._of(store, address):
            if other.run_id != run_id and other.is_due(store.clock.now()):
                await self._settle(store, other)
        begun[address] = writes

    async def end(self, store: Store, run_id: str, status: str) -> int:
        """Take note that a run has ended; return how many of its uses were settled.

        May be repeated. What cannot be settled now stays due, and is left to a sweep.

        Raises:
            StoreError: the uses could not be looked up, or marked as due; repeat.
        """
        self._begun.pop(run_id, None)
        uses = [use async for use in self._walk(store, owner=run_id)]
        due = [await self._fall_due(store, use, status) for use in uses]
        return await self._settle_all(store, (use for use in due if use is not None))

    async def sweep(self, store: Store, *, how_ended: HowEnded, limit: int) -> int:
        """Settle what is due, at most ``limit``; return how many uses were settled."""
        ready: list[Use] = []
        async for use in self._walk(store):
            if len(ready) == limit:
                break
            due = use if use.due else await self._orphaned(store, use, how_ended)
            if due is not None and due.is_due(store.clock.now()):
                ready.append(due)
        return await self._settle_all(store, ready)

    async def _orphaned(self, store: Store, use: Use, how_ended: HowEnded) -> Use | None:
        """Mark the use of a run that ended without telling; None while the run may go on."""
        status = how_ended(use.run_id)
        if status is None and use.updated_at > store.clock.now() - ABANDONED_AFTER:
            return None
        return await self._fall_due(store, use, status)

    # ---- settling --------------------------------------------------------------------------------

    async def _fall_due(self, store: Store, use: Use, status: str | None) -> Use | None:
        """Mark the use of an ended run; None if this way to end removes nothing."""
        if status is not None and status not in use.on:
            await store.delete(use.record)
            return None
        due = store.clock.now() + use.grace
        await store.annotate(use.record, {"due": due.isoformat()})
        return msgspec.structs.replace(use, due=due)

    async def _settle_all(self, store: Store, uses: Iterable[Use]) -> int:
        settled = 0
        for use in uses:
            if not use.is_due(store.clock.now()):
                continue
            try:
                await self._settle(store, use)
                settled += 1
            except (StoreError, LeaseTaken) as error:
                self._telemetry.emit("memory.cleanup", status=error.code)
        return settled

    async def _settle(self, store: Store, use: Use) -> None:
        """Delete the conversation or hand the duty on, then forget the use.

        The lease on the conversation lets one settle after the other. Who was paused in here deletes
        nothing that was written since: the lease names the generation.
        """
        deleted = False
        async with held(
            store, use.address, holder="cleanup", ttl=_LEASE_TTL, wait=LEASE_WAIT
        ) as lease:
            owes = await self._owes(store, use)
            if owes and not await self._hand_on(store, use):
                deleted = lease is not None and await store.delete(use.address, lease=lease)
            await store.delete(use.record)
        if deleted:
            self._telemetry.emit("memory.cleanup", status="deleted")

    async def _owes(self, store: Store, use: Use) -> bool:
        """Look again: another may have settled it meanwhile, or handed its duty to it."""
        (found,) = await store.load_many([use.record], last=0)
        return found is not None and found.decoded_metadata().get("owes", False)

    async def _hand_on(self, store: Store, use: Use) -> bool:
        """Give the duty to another use of the conversation; False if there is none."""
        for other in await self._of(store, use.address):
            is_other = other.record != use.record
            if is_other and await store.annotate(other.record, {"owes": True}) is not None:
                return True
        return False

    # ---- looking up ------------------------------------------------------------------------------

    async def left_over(self, store: Store, is_meant: Callable[[str], bool]) -> list[Use]:
        """Return the uses of conversations with such ids that are gone: nothing is to be settled."""
        meant = [use async for use in self._walk(store) if is_meant(use.address.id)]
        found = await store.load_many([use.address for use in meant], last=0) if meant else []
        return [use for use, there in zip(meant, found, strict=True) if there is None]

    def _record(self, address: ConversationId, run_id: str) -> ConversationId:
        return ConversationId(self._namespace, f"{_digest(address)}:{run_id}")

    async def _of(self, store: Store, address: ConversationId) -> list[Use]:
        prefix = f"{_digest(address)}:"
        return [use async for use in self._walk(store, prefix=prefix)]

    async def _walk(
        self, store: Store, *, owner: str | None = None, prefix: str | None = None
    ) -> AsyncIterator[Use]:
        cursor: str | None = None
        while True:
            page = await store.find(
                self._namespace,
                owner=owner,
                prefix=prefix,
                order="created",
                cursor=cursor,
                limit=MAX_PAGE,
            )
            records = [head.conversation for head in page.heads]
            for found in await store.load_many(records, last=0) if records else ():
                if found is not None:
                    yield _use(
                        found.head.conversation, found.decoded_metadata(), found.head.updated_at
                    )
            cursor = page.cursor
            if cursor is None:
                return


def _use(record: ConversationId, metadata: dict[str, Any], updated_at: datetime) -> Use:
    due = metadata.get("due")
    return Use(
        record=record,
        run_id=record.id.partition(":")[2],
        address=ConversationId(metadata["namespace"], metadata["id"]),
        grace=timedelta(seconds=metadata["grace_seconds"]),
        on=tuple(metadata["on"]),
        due=None if due is None else datetime.fromisoformat(due),
        updated_at=updated_at,
    )


def _digest(address: ConversationId) -> str:
    text = "\0".join(address)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
