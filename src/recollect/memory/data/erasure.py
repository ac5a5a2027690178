"""Everything of one user is removed for good, and looked for again.

With its conversation go, in the same step, archive, summaries, metadata, leases, key records and index
entries. A receipt says how much that was, in numbers and salted hashes; it holds no content, and no
name but the one the caller gave.
"""

import hashlib
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from recollect.errors import InvalidInput, OutcomeUnknown, VersionConflict
from recollect.memory.data.receipt import Receipt, Verified
from recollect.memory.data.traces import Carries, Traces
from recollect.memory.data.transfer import conversations_of
from recollect.stores.base import Store
from recollect.stores.records import Conversation, ConversationId, Head

__all__ = ["Carries", "Extent", "Receipt", "Traces", "Verified", "count_user", "erase_user"]

ROUNDS = 20
_ATTEMPTS = 20
_GROUP = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where an erasure looks.

    Attributes:
        namespaces: in each of them, for what the user owns.
        prefixes: and for ids that begin so and belong to nobody or to the user: memories of YAML
            projects name no owner, their keys do.
    """

    namespaces: Sequence[str]
    prefixes: Sequence[str] = ()


async def erase_user(
    store: Store, user: str, extent: Extent, *, traces: Sequence[Traces] = ()
) -> Receipt:
    """Remove every conversation of a user, whoever is writing, and verify that none is left.

    It is gone through again until nothing new is found, at most ``ROUNDS`` times; whether that was
    enough is said by ``Receipt.is_complete``. After a crash do it again.

    Raises:
        InvalidInput: there is no user or no namespace to look in, or a prefix is empty.
        StoreError: the store failed; what was removed stays removed.
    """
    if not user or not extent.namespaces or "" in extent.prefixes:
        raise InvalidInput("an erasure needs a user and a namespace, and no prefix may be empty")
    return await _Erasure(store, user, extent, traces).run()


async def count_user(store: Store, user: str, extent: Extent) -> dict[str, int]:
    """Return how much an erasure would remove, as of now."""
    found: Counter[str] = Counter()
    async for head in _heads(store, user, extent):
        if _may_go(head, user):
            found += Counter(
                conversations=1, messages=head.message_count, archived=head.archived_count
            )
    return {name: found[name] for name in ("conversations", "messages", "archived")}


async def _heads(store: Store, user: str, extent: Extent) -> AsyncIterator[Head]:
    """Yield what may have to go; those that are found in two ways once."""
    for namespace in extent.namespaces:
        seen: set[str] = set()
        async for head in conversations_of(store, namespace, owner=user):
            seen.add(head.conversation.id)
            yield head
        for prefix in extent.prefixes:
            async for head in conversations_of(store, namespace, prefix=prefix):
                if head.conversation.id not in seen:
                    seen.add(head.conversation.id)
                    yield head


def _may_go(head: Head, user: str) -> bool:
    return head.owner in {None, user}


@dataclass(slots=True)
class _Erasure:
    """One erasure while it goes on."""

    store: Store
    user: str
    extent: Extent
    traces: Sequence[Traces]
    salt: str = field(default_factory=lambda: secrets.token_hex(16))
    removed: Counter[str] = field(default_factory=Counter)
    erased: dict[ConversationId, None] = field(default_factory=dict)
    others: set[ConversationId] = field(default_factory=set)

    async def run(self) -> Receipt:
        began_at = self.store.clock.now()
        rounds = 1
        while await self._round() and rounds < ROUNDS:
            rounds += 1
        await self._sweep()
        there = {one.head.conversation for one in await self._loaded()}
        medium = await self.store.scrub([one for one in self.erased if one not in there])
        verified = await self._verified()
        return Receipt(
            user=self.user,
            began_at=began_at,
            ended_at=self.store.clock.now(),
            namespaces=tuple(self.extent.namespaces),
            removed=self._removed(),
            salt=self.salt,
            hashes=tuple(sorted(self._hash(one) for one in self.erased)),
            rounds=rounds,
            of_others=len(self.others),
            verified=verified,
            medium=medium,
        )

    async def _round(self) -> int:
        """Remove what is there; return how much that was."""
        removed = 0
        async for head in _heads(self.store, self.user, self.extent):
            if _may_go(head, self.user):
                removed += await self._remove(head.conversation)
            else:
                self.others.add(head.conversation)
        for found in await self._back():
            removed += await self._remove(found.head.conversation)
        for traces in self.traces:
            number = await traces.erase(self._carries())
            self.removed[traces.kind] += number
            removed += number
        return removed

    async def _back(self) -> list[Conversation]:
        """Return those of the erased that somebody has written to again."""
        return [found for found in await self._loaded() if _may_go(found.head, self.user)]

    async def _loaded(self) -> list[Conversation]:
        addresses = list(self.erased)
        groups = (addresses[i : i + _GROUP] for i in range(0, len(addresses), _GROUP))
        found = [one for group in groups for one in await self.store.load_many(group, last=0)]
        return [one for one in found if one is not None]

    async def _remove(self, conversation: ConversationId) -> bool:
        """Delete a conversation as it was seen, so that none is that has just become another's."""
        before: Conversation | None = None
        for _ in range(_ATTEMPTS):
            found = await self.store.load(conversation, last=0)
            if found is None or not _may_go(found.head, self.user):
                break
            before = found
            try:
                await self.store.delete(conversation, expect_version=found.head.version)
                break
            except (VersionConflict, OutcomeUnknown):
                continue
        else:  # it is written to all the time, and was the user's at every look
            await self.store.delete(conversation)
        if before is None:
            return False
        self._count(before)
        return True

    def _count(self, gone: Conversation) -> None:
        head = gone.head
        self.erased[head.conversation] = None
        self.removed += Counter(
            conversations=1,
            messages=head.message_count,
            archived=head.archived_count,
            metadata=len(gone.metadata),
            tokens=head.token_count,
            leases=head.fence,
        )

    def _removed(self) -> dict[str, int]:
        kinds = ["conversations", "messages", "archived", "metadata", "tokens", "leases"]
        return {kind: self.removed[kind] for kind in (*kinds, *(t.kind for t in self.traces))}

    async def _sweep(self) -> None:
        """Remove what has expired or was replaced: nobody sees it, but it is there."""
        while True:
            swept = await self.store.sweep()
            if not swept.conversations + swept.records + swept.keys:
                return

    async def _verified(self) -> Verified:
        """Read everything again, along every way that leads to it."""
        found = {one.head.conversation for one in await self._back()}
        walks = 0
        for conversation in self.erased:
            archive = await self.store.load(conversation, source="archive", limit=1)
            if archive is not None and _may_go(archive.head, self.user):
                found.add(conversation)
        async for head in _heads(self.store, self.user, self.extent):
            if _may_go(head, self.user):
                found.add(head.conversation)
        still = len(found)
        for namespace in self.extent.namespaces:
            page = await self.store.find(namespace, owner=self.user, order="active")
            found.update(head.conversation for head in page.heads)
            totals = await self.store.measure(namespace, owner=self.user)
            still = max(still, totals.conversations)
            walks += 3 + len(self.extent.prefixes)
        still = max(still, len(found))
        for traces in self.traces:
            still += await traces.count(self._carries())
        kinds = tuple(traces.kind for traces in self.traces)
        return Verified(conversations=len(self.erased), walks=walks, traces=kinds, found=still)

    def _carries(self) -> Carries:
        return Carries(self.user, frozenset(one.id for one in self.erased))

    def _hash(self, conversation: ConversationId) -> str:
        text = f"{self.salt}{conversation.namespace}\0{conversation.id}"
        return hashlib.sha256(text.encode()).hexdigest()
