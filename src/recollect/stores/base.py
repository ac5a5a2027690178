"""The store contract: what every backend and every wrapper promises.

Public methods check their arguments, fix the time and hash the body of keyed writes, all written
once here; a backend implements the primitives with a leading underscore, each of them one atomic
step. ``recollect.testing`` holds the suites that pin every sentence below.

**Order.** Messages are ordered by seq. ``find`` orders by last activity, newest first, or by
creation, oldest first. **Missing** is None from ``load`` and ``annotate``, False from ``delete`` and
``release``, an empty page from ``find``. **Expiry.** From ``expires_at`` on, compared with the
caller's clock, a conversation is missing everywhere: live messages, archive, metadata, owner, leases
and key records. A later write begins a new generation under the same address, its seq starting at 1.
**Retention.** append, replace and annotate set ``expires_at`` to now + ttl, or to None without a ttl;
fold, leases and reads leave it. **Reads never write.**

**Keys.** A write with a key that was used before on that conversation returns the first result again
(``replayed``) when the body is the same, and raises KeyReused when it is not. The body is the kind of
write, role, content, attachments, tool data and metadata of its messages, and its conversation
metadata; ids, timestamps and tokens do not count. The record of a key survives fold, replace and
clear. It lives for seven days, or until the deadline that the conversation had right after that write
if that is later, and ends earlier when the conversation expires or is deleted; later writes trim it.
The record of a keyed delete itself stays for seven days and holds hashes only: while it lives, the
same delete changes nothing, even if the conversation exists again, and any other write with its key
raises KeyReused. Order of checks: key, lease, expect_version, limits.

**Failures.** A write either happened whole or not at all. ``StoreUnavailable`` says that it did not;
``OutcomeUnknown`` that it may have (only for writes without a key; with one, repeat it).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from recollect.clock import Clock, SystemClock
from recollect.errors import InvalidInput, StoreError
from recollect.stores.arguments import (
    checked_address,
    checked_label,
    checked_ttl,
    conversation_of,
    dated,
    key_of,
    metadata_texts,
    rows_of,
    search_of,
    slice_of,
)
from recollect.stores.records import (
    UNLIMITED,
    CallLimits,
    Change,
    Conversation,
    ConversationId,
    Full,
    Head,
    Lease,
    Limits,
    NewRecord,
    Order,
    Page,
    Search,
    Slice,
    Source,
    StoreInfo,
    Swept,
    Totals,
    Written,
)

SCHEMA_VERSION = 1
KEY_RETENTION = timedelta(days=7)

_NO_METADATA: Mapping[str, str | None] = {}


class Store(ABC):
    """Keeps conversations. Open it with ``async with``; use it from any number of tasks."""

    def __init__(
        self, *, clock: Clock | None = None, call_limits: CallLimits | None = None
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.call_limits = call_limits or CallLimits()

    # ---- writes ----------------------------------------------------------------------------------

    async def append(
        self,
        conversation: ConversationId,
        records: Sequence[NewRecord],
        *,
        metadata: Mapping[str, Any] | None = None,
        owner: str | None = None,
        ttl: timedelta | None = None,
        limits: Limits = UNLIMITED,
        key: str | None = None,
        lease: Lease | None = None,
        at: datetime | None = None,
    ) -> Written | Full:
        """Add messages after the existing ones; creates the conversation if it is missing.

        All records are stored, adjacent and in order, or none. Costs the same however long the
        conversation is. ``metadata`` is merged by top-level name (None removes a name); ``owner``
        None leaves the stored one. An empty list changes metadata, owner and deadline only. ``at``
        is for imports: the write counts as made at that moment of the past, in all its times.

        Returns:
            Written, or Full when the result would be over ``limits``.

        Raises:
            InvalidInput: an argument is refused; nothing was stored.
            KeyReused: see the contract. LeaseLost: ``lease`` is no longer held.
            StoreError: the store failed.
        """
        change = self._change(
            "append", conversation, records, metadata, owner, ttl, limits, key, lease
        )
        return await self._append(change if at is None else dated(change, at))

    async def replace(
        self,
        conversation: ConversationId,
        records: Sequence[NewRecord],
        *,
        metadata: Mapping[str, Any] | None = None,
        owner: str | None = None,
        ttl: timedelta | None = None,
        limits: Limits = UNLIMITED,
        expect_version: int | None = None,
        archive_as: str | None = None,
        key: str | None = None,
        lease: Lease | None = None,
        at: datetime | None = None,
    ) -> Written | Full:
        """Make the live messages exactly ``records``, in one step; creates a missing conversation.

        The former ones move to the archive under the label ``archive_as``, or are dropped without
        one. Metadata is merged, ``created_at`` is kept. ``removed`` counts the former ones.
        ``expect_version`` 0 asks for a missing conversation.

        Raises:
            VersionConflict: the version is not ``expect_version``. Otherwise as ``append``.
        """
        change = self._change(
            "replace",
            conversation,
            records,
            metadata,
            owner,
            ttl,
            limits,
            key,
            lease,
            expect_version=expect_version,
            archive_as=checked_label(archive_as),
        )
        return await self._replace(change if at is None else dated(change, at))

    async def fold(
        self,
        conversation: ConversationId,
        remove: Sequence[int],
        insert: Sequence[NewRecord] = (),
        *,
        archive_as: str | None = None,
        limits: Limits = UNLIMITED,
        key: str | None = None,
        lease: Lease | None = None,
    ) -> Written | Full:
        """Replace the live messages with these seqs by ``insert``, leaving all others untouched.

        The inserted ones take the first seqs of ``remove``, so a summary stands where the messages
        it covers stood; messages appended meanwhile stay behind it. The removed ones move to the
        archive under ``archive_as``, or are dropped without it. ``expires_at`` stays.

        Raises:
            InvalidInput: ``remove`` is empty, has doubles, or is shorter than ``insert``.
            VersionConflict: one of the seqs is not live. Otherwise as ``append``.
        """
        seqs = tuple(sorted(remove))
        if not seqs or len(set(seqs)) != len(seqs) or len(insert) > len(seqs):
            raise InvalidInput("fold needs distinct seqs to remove, at least as many as it inserts")
        change = self._change(
            "fold",
            conversation,
            insert,
            None,
            None,
            None,
            limits,
            key,
            lease,
            remove=seqs,
            archive_as=checked_label(archive_as),
        )
        return await self._fold(change)

    async def annotate(
        self,
        conversation: ConversationId,
        metadata: Mapping[str, Any] | None = None,
        *,
        owner: str | None = None,
        ttl: timedelta | None = None,
        expect_version: int | None = None,
        key: str | None = None,
        at: datetime | None = None,
    ) -> Head | None:
        """Merge metadata, set the owner and the deadline of an existing conversation.

        Returns:
            The new head; None, and nothing is stored, if the conversation is missing.
        """
        change = self._change(
            "annotate",
            conversation,
            (),
            metadata,
            owner,
            ttl,
            UNLIMITED,
            key,
            None,
            expect_version=expect_version,
        )
        return await self._annotate(change if at is None else dated(change, at))

    async def delete(
        self,
        conversation: ConversationId,
        *,
        expect_version: int | None = None,
        key: str | None = None,
        lease: Lease | None = None,
    ) -> bool:
        """Remove the conversation with its archive, metadata, leases and key records.

        Returns:
            Whether it existed (for a known key: whether it existed the first time).
        """
        change = self._change(
            "delete",
            conversation,
            (),
            None,
            None,
            None,
            UNLIMITED,
            key,
            lease,
            expect_version=expect_version,
        )
        return await self._delete(change)

    # ---- reads -----------------------------------------------------------------------------------

    async def recall(self, conversation: ConversationId, key: str) -> Written | None:
        """Return what an append, replace or fold with this key did; None if the key is not known.

        Lets a caller that has to plan before it writes find out first that it already did.
        """
        name = checked_address(key, "idempotency key")
        return await self._recall(conversation_of(conversation), name, self.clock.now())

    async def load(
        self,
        conversation: ConversationId,
        *,
        last: int | None = None,
        offset: int = 0,
        limit: int | None = None,
        after: int | None = None,
        source: Source = "live",
        batch: str | None = None,
    ) -> Conversation | None:
        """Read a head and a slice of the messages, both of the same moment; None if missing.

        ``last`` takes the newest; ``offset``/``limit`` count from the oldest; ``after`` takes seqs
        above it. ``source="archive"`` reads what was moved away, ``batch`` only under that label.

        Raises:
            InvalidInput: a negative number, or two ways of choosing at once.
        """
        part = slice_of(last, offset, limit, after, source, batch)
        return await self._load(conversation_of(conversation), part, self.clock.now())

    async def load_many(
        self, conversations: Sequence[ConversationId], *, last: int | None = None
    ) -> list[Conversation | None]:
        """Read several conversations, in the order asked, in one round trip; None for missing."""
        part = slice_of(last, 0, None, None, "live", None)
        ids = [conversation_of(conversation) for conversation in conversations]
        return await self._load_many(ids, part, self.clock.now())

    async def find(
        self,
        namespace: str,
        *,
        owner: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        prefix: str | None = None,
        order: Order = "active",
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page:
        """List heads of a namespace, at most ``limit`` (1-1000) a page.

        ``active``: by last activity, newest first; a conversation written during the walk may be
        met again or missed. ``created``: oldest first; a walk meets each conversation that exists
        throughout exactly once. ``since``/``until`` (inclusive, aware) compare last activity;
        ``prefix`` compares the id, character by character: it is no pattern.

        Raises:
            InvalidInput: a limit out of range, a naive time, or a cursor that is not from here.
        """
        search = search_of(
            namespace,
            self.clock.now(),
            owner=owner,
            since=since,
            until=until,
            prefix=prefix,
            order=order,
            cursor=cursor,
            limit=limit,
        )
        return await self._find(search)

    async def measure(self, namespace: str, *, owner: str | None = None) -> Totals:
        """Sum up a namespace, or one owner's part of it; walks all its conversations."""
        if owner is not None:
            checked_address(owner, "owner")
        return await self._measure(checked_address(namespace, "namespace"), owner, self.clock.now())

    # ---- leases ----------------------------------------------------------------------------------

    async def lease(
        self, conversation: ConversationId, *, holder: str, ttl: timedelta
    ) -> Lease | None:
        """Take the lease of a conversation, or renew it when ``holder`` has it.

        A new lease gets the next fence; a renewed one keeps its fence and lives ``ttl`` from now.

        Returns:
            None while another holder's lease lives, and for a missing conversation.
        """
        return await self._lease(
            conversation_of(conversation),
            checked_address(holder, "holder"),
            checked_ttl(ttl),
            self.clock.now(),
        )

    async def release(self, lease: Lease) -> bool:
        """Give a lease back; False if it was not held any more."""
        return await self._release(lease, self.clock.now())

    # ---- upkeep ----------------------------------------------------------------------------------

    async def sweep(self, *, limit: int = 1000) -> Swept:
        """Remove for good what is invisible: expired conversations, cut rows, old key records.

        Each call removes about ``limit`` rows at most, so that it delays no writer for long.
        """
        return await self._sweep(self.clock.now(), limit)

    async def scrub(self, conversations: Sequence[ConversationId]) -> str:
        """Make what was deleted unreadable on the medium, as far as the store can.

        Called by an erasure with the conversations it has deleted. A store that leaves more of them
        behind than hashes removes it here; a wrapper hands the call on.

        Returns:
            What may still lie on the medium, in words; empty if nothing does.
        """
        return ""

    @abstractmethod
    async def ping(self) -> StoreInfo:
        """Prove that the store answers, by a read that touches the medium.

        Raises:
            StoreError: it does not.
        """

    @abstractmethod
    async def open(self) -> Self:
        """Connect and create or check the schema; done by ``async with``. Opening twice is fine.

        Raises:
            SchemaTooNew: a newer Recollect wrote here. StoreUnavailable, StoreCorrupt.
        """

    @abstractmethod
    async def close(self) -> None:
        """Finish what was acknowledged, then let go of everything we opened. Idempotent.

        Later use raises StoreClosed.
        """

    async def __aenter__(self) -> Self:
        """Open; what cannot be opened is closed, for nobody else will."""
        try:
            return await self.open()
        except BaseException:
            with suppress(StoreError):
                await self.close()
            raise

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # ---- primitives: one atomic step each --------------------------------------------------------

    @abstractmethod
    async def _append(self, change: Change) -> Written | Full: ...

    @abstractmethod
    async def _replace(self, change: Change) -> Written | Full: ...

    @abstractmethod
    async def _fold(self, change: Change) -> Written | Full: ...

    @abstractmethod
    async def _annotate(self, change: Change) -> Head | None: ...

    @abstractmethod
    async def _delete(self, change: Change) -> bool: ...

    @abstractmethod
    async def _recall(
        self, conversation: ConversationId, key: str, now: datetime
    ) -> Written | None: ...

    @abstractmethod
    async def _load(
        self, conversation: ConversationId, part: Slice, now: datetime
    ) -> Conversation | None: ...

    @abstractmethod
    async def _load_many(
        self, conversations: Sequence[ConversationId], part: Slice, now: datetime
    ) -> list[Conversation | None]: ...

    @abstractmethod
    async def _find(self, search: Search) -> Page: ...

    @abstractmethod
    async def _measure(self, namespace: str, owner: str | None, now: datetime) -> Totals: ...

    @abstractmethod
    async def _lease(
        self, conversation: ConversationId, holder: str, ttl: timedelta, now: datetime
    ) -> Lease | None: ...

    @abstractmethod
    async def _release(self, lease: Lease, now: datetime) -> bool: ...

    @abstractmethod
    async def _sweep(self, now: datetime, limit: int) -> Swept: ...

    # ---- checking --------------------------------------------------------------------------------

    def _change(
        self,
        kind: str,
        conversation: ConversationId,
        records: Sequence[NewRecord],
        metadata: Mapping[str, Any] | None,
        owner: str | None,
        ttl: timedelta | None,
        limits: Limits,
        key: str | None,
        lease: Lease | None,
        *,
        expect_version: int | None = None,
        remove: tuple[int, ...] = (),
        archive_as: str | None = None,
    ) -> Change:
        texts = metadata_texts(metadata) if metadata else _NO_METADATA
        rows, tokens = rows_of(records, self.call_limits)
        return Change(  # in the order of its fields: by name it would take twice as long
            conversation_of(conversation),
            self.clock.now(),
            rows,
            tokens,
            texts,
            owner if owner is None else checked_address(owner, "owner"),
            ttl if ttl is None else checked_ttl(ttl),
            limits,
            None if key is None else key_of(key, kind, records, texts),
            lease,
            expect_version,
            remove,
            archive_as,
        )
