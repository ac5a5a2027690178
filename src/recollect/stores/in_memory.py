"""Conversations in this process's memory: for tests, and for what need not outlive the process."""

import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Self, TypeVar

import msgspec
from typing_extensions import override

from recollect.clock import Clock
from recollect.errors import (
    KeyReused,
    LeaseLost,
    StoreClosed,
    VersionConflict,
)
from recollect.messages import encode
from recollect.stores.base import KEY_RETENTION, Store
from recollect.stores.cursors import read_cursor, write_cursor
from recollect.stores.moments import EPOCH, to_micros
from recollect.stores.records import (
    UNLIMITED,
    CallLimits,
    Change,
    Conversation,
    ConversationId,
    Full,
    Head,
    Key,
    Lease,
    Page,
    Record,
    Search,
    Slice,
    StoreInfo,
    Swept,
    Totals,
    Written,
)

R = TypeVar("R")
S = TypeVar("S")


class _Known(msgspec.Struct):
    """The record of an idempotency key."""

    body_hash: bytes
    result: Written | Head | bool | None
    expires_at: datetime


class _Kept:
    """One conversation; changed only under the store's lock."""

    __slots__ = ("archive", "head", "keys", "lease", "metadata", "records", "uid")

    def __init__(self, uid: int, head: Head) -> None:
        self.uid = uid  # order of creation
        self.head = head
        self.records: list[Record] = []
        self.archive: list[Record] = []
        self.metadata: dict[str, str] = {}
        self.keys: dict[str, _Known] = {}
        self.lease: Lease | None = None


class InMemoryStore(Store):
    """Keeps everything in this process; gone when it ends. Works from any loop and thread."""

    def __init__(
        self, *, clock: Clock | None = None, call_limits: CallLimits | None = None
    ) -> None:
        super().__init__(clock=clock, call_limits=call_limits)
        self._namespaces: dict[str, dict[str, _Kept]] = {}
        self._deleted: dict[tuple[ConversationId, str], _Known] = {}
        self._lock = threading.Lock()
        self._uids = count(1)
        self._closed = False

    # ---- writes ----------------------------------------------------------------------------------

    @override
    async def _append(self, change: Change) -> Written | Full:
        if change.key is None and change.lease is None:  # then nothing is known, nothing to check
            with self._lock:
                return self._add(self._living(change.conversation, change.now), change)
        return self._once(change, Written, self._add)

    def _once(
        self, change: Change, kind: type[R], write: Callable[[_Kept | None, Change], S]
    ) -> R | S:
        """Write, unless the key is known: then its first result is the result."""
        with self._lock:
            kept = self._living(change.conversation, change.now)
            if change.key is not None:
                known = self._replay(kept, change, kind)
                if known is not None:
                    return known
            self._check(kept, change)
            return write(kept, change)

    def _add(self, kept: _Kept | None, change: Change) -> Written | Full:
        messages, tokens = len(change.rows), change.tokens
        if kept is not None:
            messages += kept.head.message_count
            tokens += kept.head.token_count
        if change.limits is not UNLIMITED and change.limits.broken_by(messages, tokens):
            return Full(kept.head if kept else None)
        if kept is None:
            kept = self._create(change)
        head, now = kept.head, change.now
        first_seq = seq = head.next_seq
        for row in change.rows:
            kept.records.append(Record(seq, row.tokens, now, row.message))
            seq += 1
        kept.head = _next_head(head, change, messages, tokens, head.archived_count, seq - first_seq)
        if change.metadata or change.key is not None:
            return self._wrote(kept, change, first_seq if change.rows else None, 0)
        return Written(kept.head, first_seq if change.rows else None)

    @override
    async def _replace(self, change: Change) -> Written | Full:
        return self._once(change, Written, self._put)

    def _put(self, kept: _Kept | None, change: Change) -> Written | Full:
        if change.limits.broken_by(len(change.rows), change.tokens):
            return Full(kept.head if kept else None)
        kept = kept or self._create(change)
        removed = kept.records
        _archive(kept, removed, change)
        first_seq = kept.head.next_seq
        kept.records = _records(change, first_seq)
        kept.head = _next_head(
            kept.head,
            change,
            len(change.rows),
            change.tokens,
            len(kept.archive),
            len(change.rows),
        )
        return self._wrote(kept, change, first_seq if change.rows else None, len(removed))

    @override
    async def _fold(self, change: Change) -> Written | Full:
        return self._once(change, Written, self._fold_live)

    def _fold_live(self, kept: _Kept | None, change: Change) -> Written | Full:
        going = set(change.remove)
        live = kept.records if kept else []
        removed = [record for record in live if record.seq in going]
        if kept is None or len(removed) != len(going):
            raise VersionConflict("a message to be folded is not live any more: read again")
        return self._replace_some(kept, removed, change)

    def _replace_some(self, kept: _Kept, removed: list[Record], change: Change) -> Written | Full:
        head = kept.head
        messages = head.message_count - len(removed) + len(change.rows)
        tokens = head.token_count - sum(r.tokens for r in removed) + change.tokens
        if change.limits.broken_by(messages, tokens):
            return Full(head)
        going = set(change.remove)
        inserted = [
            Record(seq, row.tokens, change.now, row.message)
            for seq, row in zip(change.remove, change.rows, strict=False)
        ]
        staying = [record for record in kept.records if record.seq not in going]
        _archive(kept, removed, change)
        kept.records = sorted([*staying, *inserted], key=lambda record: record.seq)
        kept.head = msgspec.structs.replace(
            _next_head(head, change, messages, tokens, len(kept.archive), 0),
            owner=head.owner,
            expires_at=head.expires_at,
            folded_at=max(head.updated_at, change.now),
        )
        return self._wrote(kept, change, change.remove[0] if inserted else None, len(removed))

    @override
    async def _annotate(self, change: Change) -> Head | None:
        return self._once(change, Head, self._note)

    def _note(self, kept: _Kept | None, change: Change) -> Head | None:
        if kept is None:
            return None
        head = kept.head
        kept.head = _next_head(
            head, change, head.message_count, head.token_count, head.archived_count, 0
        )
        _merge(kept.metadata, change.metadata)
        self._remember(kept, change, kept.head)
        return kept.head

    @override
    async def _delete(self, change: Change) -> bool:
        with self._lock:
            kept = self._living(change.conversation, change.now)
            key = change.key
            if key is not None:
                known = self._deleted.get((change.conversation, key.name))
                if known is not None and change.now < known.expires_at:
                    return bool(_first_result(known, key))
            self._replay(kept, change, bool)
            self._check(kept, change)
            self._remove(change.conversation)
            if key is not None:
                self._deleted[change.conversation, key.name] = _Known(
                    key.body_hash, kept is not None, change.now + KEY_RETENTION
                )
            return kept is not None

    def _create(self, change: Change) -> _Kept:
        self._remove(change.conversation)  # an expired generation, if any
        uid = next(self._uids)
        head = Head(
            conversation=change.conversation,
            owner=None,
            generation=uid,
            version=0,
            message_count=0,
            token_count=0,
            archived_count=0,
            next_seq=1,
            fence=0,
            created_at=change.now,
            updated_at=change.now,
        )
        kept = _Kept(uid, head)
        namespace, name = change.conversation
        self._namespaces.setdefault(namespace, {})[name] = kept
        return kept

    def _remove(self, conversation: ConversationId) -> _Kept | None:
        names = self._namespaces.get(conversation.namespace, {})
        kept = names.pop(conversation.id, None)
        if kept is not None and not names:
            del self._namespaces[conversation.namespace]
        return kept

    def _wrote(self, kept: _Kept, change: Change, first_seq: int | None, removed: int) -> Written:
        if change.metadata:
            _merge(kept.metadata, change.metadata)
        written = Written(kept.head, first_seq, removed)
        if change.key is not None:
            self._remember(kept, change, written)
        return written

    # ---- checks, in the contract's order ---------------------------------------------------------

    def _replay(self, kept: _Kept | None, change: Change, kind: type[R]) -> R | None:
        if change.key is None:
            return None
        deleted = self._deleted.get((change.conversation, change.key.name))
        if deleted is not None and change.now < deleted.expires_at:
            _first_result(deleted, change.key)  # that key was a delete's: any other write differs
        if kept is None:
            return None
        known = kept.keys.get(change.key.name)
        if known is None or known.expires_at <= change.now:
            return None
        result = _first_result(known, change.key)
        if isinstance(result, Written):
            result = msgspec.structs.replace(result, replayed=True)
        return result if isinstance(result, kind) else None

    def _check(self, kept: _Kept | None, change: Change) -> None:
        if change.lease is not None and not _holds(kept, change.lease, change.now):
            raise LeaseLost("the lease of this conversation is no longer held: take it again")
        if change.expect_version is None:
            return
        version = kept.head.version if kept else 0
        if change.expect_version != version:
            raise VersionConflict(
                f"the conversation has version {version}, not {change.expect_version}: read again"
            )

    def _remember(self, kept: _Kept, change: Change, result: Written | Head) -> None:
        if change.key is None:
            return
        for name in [n for n, known in kept.keys.items() if known.expires_at <= change.now]:
            del kept.keys[name]
        until = max(change.now + KEY_RETENTION, kept.head.expires_at or EPOCH)
        kept.keys[change.key.name] = _Known(change.key.body_hash, result, until)

    # ---- reads -----------------------------------------------------------------------------------

    @override
    async def _recall(
        self, conversation: ConversationId, key: str, now: datetime
    ) -> Written | None:
        with self._lock:
            kept = self._living(conversation, now)
            known = kept.keys.get(key) if kept else None
            if known is None or known.expires_at <= now or not isinstance(known.result, Written):
                return None
            return msgspec.structs.replace(known.result, replayed=True)

    @override
    async def _load(
        self, conversation: ConversationId, part: Slice, now: datetime
    ) -> Conversation | None:
        with self._lock:
            return self._read(conversation, part, now)

    @override
    async def _load_many(
        self, conversations: Sequence[ConversationId], part: Slice, now: datetime
    ) -> list[Conversation | None]:
        with self._lock:
            return [self._read(conversation, part, now) for conversation in conversations]

    def _read(
        self, conversation: ConversationId, part: Slice, now: datetime
    ) -> Conversation | None:
        kept = self._living(conversation, now)
        if kept is None:
            return None
        records = kept.records if part.source == "live" else kept.archive
        if part.batch is not None:
            records = [record for record in records if record.batch == part.batch]
        return Conversation(kept.head, tuple(_cut(records, part)), dict(kept.metadata))

    @override
    async def _find(self, search: Search) -> Page:
        with self._lock:
            self._assert_open()
            kepts = [
                kept
                for kept in self._namespaces.get(search.namespace, {}).values()
                if _matches(kept.head, search)
            ]
        order: Callable[[_Kept], tuple[int, int]]
        if search.order == "active":
            order = lambda kept: (to_micros(kept.head.updated_at), kept.uid)  # noqa: E731
        else:
            order = lambda kept: (0, kept.uid)  # noqa: E731
        descending = search.order == "active"
        kepts.sort(key=order, reverse=descending)
        place = read_cursor(search, int)
        if place is not None:
            kepts = [k for k in kepts if (order(k) < place if descending else order(k) > place)]
        page = kepts[: search.limit]
        more = len(kepts) > search.limit
        cursor = write_cursor(search, *order(page[-1])) if more else None
        return Page(tuple(kept.head for kept in page), cursor)

    @override
    async def _measure(self, namespace: str, owner: str | None, now: datetime) -> Totals:
        with self._lock:
            self._assert_open()
            kepts = [
                kept
                for kept in self._namespaces.get(namespace, {}).values()
                if _alive(kept.head, now) and owner in {None, kept.head.owner}
            ]
            created = [kept.head.created_at for kept in kepts]
            return Totals(
                conversations=len(kepts),
                messages=sum(kept.head.message_count for kept in kepts),
                tokens=sum(kept.head.token_count for kept in kepts),
                archived=sum(kept.head.archived_count for kept in kepts),
                stored_bytes=sum(_stored_bytes(kept) for kept in kepts),
                oldest=min(created, default=None),
                newest=max(created, default=None),
            )

    # ---- leases ----------------------------------------------------------------------------------

    @override
    async def _lease(
        self, conversation: ConversationId, holder: str, ttl: timedelta, now: datetime
    ) -> Lease | None:
        with self._lock:
            kept = self._living(conversation, now)
            if kept is None:
                return None
            held = kept.lease if kept.lease and now < kept.lease.expires_at else None
            if held is not None and held.holder != holder:
                return None
            if held is None:
                kept.head = msgspec.structs.replace(kept.head, fence=kept.head.fence + 1)
            kept.lease = Lease(
                conversation, holder, kept.head.generation, kept.head.fence, now + ttl
            )
            return kept.lease

    @override
    async def _release(self, lease: Lease, now: datetime) -> bool:
        with self._lock:
            kept = self._living(lease.conversation, now)
            if kept is None or not _holds(kept, lease, now):
                return False
            kept.lease = None
            return True

    # ---- upkeep ----------------------------------------------------------------------------------

    @override
    async def _sweep(self, now: datetime, limit: int) -> Swept:
        with self._lock:
            self._assert_open()
            gone = [
                kept
                for names in self._namespaces.values()
                for kept in names.values()
                if not _alive(kept.head, now)
            ][:limit]
            records = 0
            for kept in gone:
                records += len(kept.records) + len(kept.archive)
                self._remove(kept.head.conversation)
            old = [place for place, known in self._deleted.items() if known.expires_at <= now]
            for place in old[:limit]:
                del self._deleted[place]
            return Swept(len(gone), records, len(old[:limit]))

    @override
    async def scrub(self, conversations: Sequence[ConversationId]) -> str:
        gone = set(conversations)
        with self._lock:
            for known in [one for one in self._deleted if one[0] in gone]:
                del self._deleted[known]
        return ""

    @override
    async def ping(self) -> StoreInfo:
        with self._lock:
            self._assert_open()
        return StoreInfo(
            "in_memory",
            "memory://",
            durable=False,
            durability="ends with the process",
            used_bytes=_resident_bytes(),
        )

    @override
    async def open(self) -> Self:
        with self._lock:
            self._assert_open()
        return self

    @override
    async def close(self) -> None:
        with self._lock:
            self._closed = True
            self._namespaces.clear()
            self._deleted.clear()

    def _assert_open(self) -> None:
        if self._closed:
            raise StoreClosed("the in-memory store is closed: open a new one")

    def _living(self, conversation: ConversationId, now: datetime) -> _Kept | None:
        if self._closed:
            self._assert_open()
        namespace, name = conversation
        try:
            kept = self._namespaces[namespace][name]
        except KeyError:
            return None
        expires_at = kept.head.expires_at
        return kept if expires_at is None or now < expires_at else None


def _resident_bytes() -> int | None:
    """What this process takes of the machine's memory, where the system says it."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def _alive(head: Head, now: datetime) -> bool:
    return head.expires_at is None or now < head.expires_at


def _holds(kept: _Kept | None, lease: Lease, now: datetime) -> bool:
    held = kept.lease if kept else None
    return (
        held is not None
        and now < held.expires_at
        and (held.generation, held.fence) == (lease.generation, lease.fence)
    )


def _first_result(known: _Known, key: Key) -> Written | Head | bool | None:
    if known.body_hash != key.body_hash:
        raise KeyReused(key.name)
    return known.result


def _records(change: Change, first_seq: int) -> list[Record]:
    return [
        Record(seq, row.tokens, change.now, row.message)
        for seq, row in enumerate(change.rows, first_seq)
    ]


def _next_head(
    head: Head, change: Change, messages: int, tokens: int, archived: int, new_seqs: int
) -> Head:
    now = change.now
    return Head(
        head.conversation,
        change.owner or head.owner,
        head.generation,
        head.version + 1,
        messages,
        tokens,
        archived,
        head.next_seq + new_seqs,
        head.fence,
        head.created_at,
        now if now > head.updated_at else head.updated_at,  # noqa: FURB136 - three times as quick
        None if change.ttl is None else now + change.ttl,
        head.folded_at,
    )


def _archive(kept: _Kept, removed: list[Record], change: Change) -> None:
    if change.archive_as is not None:
        kept.archive.extend(
            msgspec.structs.replace(record, batch=change.archive_as) for record in removed
        )


def _merge(metadata: dict[str, str], changes: Mapping[str, str | None]) -> None:
    for name, text in changes.items():
        if text is None:
            metadata.pop(name, None)
        else:
            metadata[name] = text


def _cut(records: list[Record], part: Slice) -> list[Record]:
    if part.last is not None:
        return records[max(len(records) - part.last, 0) :]
    start = part.offset
    if part.after is not None and part.source == "live":
        start = bisect_right(records, part.after, key=lambda record: record.seq)
    elif part.after is not None:  # the archive is in the order things were archived
        records = [record for record in records if record.seq > part.after]
    return records[start : None if part.limit is None else start + part.limit]


def _matches(head: Head, search: Search) -> bool:
    return (
        _alive(head, search.now)
        and (search.owner is None or head.owner == search.owner)
        and (search.since is None or head.updated_at >= search.since)
        and (search.until is None or head.updated_at <= search.until)
        and (search.prefix is None or head.conversation.id.startswith(search.prefix))
    )


def _stored_bytes(kept: _Kept) -> int:
    return sum(len(encode(r.message)) for records in (kept.records, kept.archive) for r in records)
