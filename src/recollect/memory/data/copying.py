"""One conversation, out of a store and into a store, a part at a time.

``copied`` reads it as of one moment, ``restore`` writes it so that a crash at any point is mended by
doing it again: how far it came stands in the conversation's own metadata, in the same atomic step as
the messages, and goes away with the last step.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from recollect.errors import InvalidInput, VersionConflict
from recollect.memory.data.export_format import Begin, Digest, End, Kept, Lost, Void, kept_of
from recollect.messages import Message, encode
from recollect.stores.base import Store
from recollect.stores.records import (
    CallLimits,
    Conversation,
    ConversationId,
    Head,
    NewRecord,
    Written,
)

MARK = "recollect.import"
"""Name of the metadata of a conversation whose import is not finished: what, and how far."""

Outcome = Literal["stored", "present", "kept", "expired"]
"""Stored now; there already, the same; there with another content, left as it is; out of date."""

Copy = Begin | Kept | Lost | End | Void

_FIRST_PAGE, _LARGEST_PAGE = 50, 1000
_PAGE_BYTES = 4 * 1024 * 1024
_CALL_MESSAGES = 500


# ---- out of a store ------------------------------------------------------------------------------


async def copied(store: Store, conversation: ConversationId) -> AsyncIterator[Copy]:
    """Yield head, archived messages, live messages and end; nothing if it is missing.

    Messages that are appended meanwhile are left out. If something else happens to those that were
    there, ``Void`` ends it.

    Raises:
        InvalidInput: the conversation is one whose import was not finished.
    """
    first = await store.load(conversation, source="archive", limit=0)
    if first is None:
        return
    if MARK in first.metadata:
        raise InvalidInput(
            "a conversation was imported by halves: finish that import (do it again), then export"
        )
    begin = _begin(first)
    digest = Digest(begin)
    counts = {"live": 0, "archive": 0, "lost": 0}
    yield begin
    async for source, page in _pages(store, first.head):
        if page is None or not _goes_on(first.head, page.head):
            yield Void()
            return
        for damage in page.damaged:
            if source == "archive" or damage.seq < first.head.next_seq:
                counts["lost"] += 1
                yield Lost(damage.seq)
        for record in page.records:
            if source == "archive" or record.seq < first.head.next_seq:
                kept = kept_of(record, encode(record.message))
                counts[source] += 1
                digest.add(kept)
                yield kept
    yield End(counts["live"], counts["archive"], counts["lost"], digest.text())


def _begin(found: Conversation) -> Begin:
    head = found.head
    metadata = {name: msgspec.Raw(text.encode()) for name, text in sorted(found.metadata.items())}
    return Begin(
        head.conversation.namespace,
        head.conversation.id,
        head.owner,
        head.created_at,
        head.updated_at,
        head.expires_at,
        metadata,
    )


async def _pages(
    store: Store, head: Head
) -> AsyncIterator[tuple[Literal["archive", "live"], Conversation | None]]:
    size, offset, after = _FIRST_PAGE, 0, 0
    while offset < head.archived_count:
        limit = min(size, head.archived_count - offset)
        page = await store.load(head.conversation, source="archive", offset=offset, limit=limit)
        yield "archive", page
        offset += limit
        size = _next_size(page, size)
    while after < head.next_seq - 1:
        page = await store.load(head.conversation, after=after, limit=size)
        yield "live", page
        if page is None or len(page.records) + len(page.damaged) < size:
            return
        after = max([*(r.seq for r in page.records), *(d.seq for d in page.damaged)])
        size = _next_size(page, size)


def _next_size(page: Conversation | None, size: int) -> int:
    """Return how many messages make a page of a few MiB, given how long these were."""
    if page is None or not page.records:
        return size
    mean = sum(len(r.message.text) for r in page.records) // len(page.records) + 200
    return max(min(_PAGE_BYTES // mean, _LARGEST_PAGE), 1)


def _goes_on(then: Head, now: Head) -> bool:
    """Tell whether nothing but appends has happened between the two."""
    appended = now.next_seq - then.next_seq
    return (then.generation, then.archived_count, then.folded_at, then.message_count) == (
        now.generation,
        now.archived_count,
        now.folded_at,
        now.message_count - appended,
    )


# ---- into a store --------------------------------------------------------------------------------


class Part(NamedTuple):
    """A message on its way; ``batch`` is the label of an archived one."""

    record: NewRecord
    stored_at: datetime
    batch: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A conversation to be restored.

    Attributes:
        digest: of its content, see ``Digest``.
        parts: begins reading it: archived messages in the order of archiving, then live ones.
    """

    conversation: ConversationId
    owner: str | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None
    metadata: Mapping[str, Any]
    digest: str
    parts: Callable[[], Iterator[Part]]


async def restore(store: Store, whole: Whole, *, dry_run: bool = False) -> Outcome:
    """Bring a conversation about; what is there already is finished or left, never overwritten.

    Order, archive, owner, metadata, deadline, creation and last activity are kept; places (seq) are
    given anew, and the times of storing lie between creation and last activity.

    Raises:
        VersionConflict: somebody else writes to the conversation at the same time.
        StoreError: the store failed; do it again.
    """
    if whole.expires_at is not None and whole.expires_at <= store.clock.now():
        return "expired"
    found = await store.load(whole.conversation, last=0)
    if found is None:
        if not dry_run:
            await _Restoring(store, whole).go_on(0, 0)
        return "stored"
    mark = found.decoded_metadata().get(MARK)
    if not mark or mark["of"] != whole.digest:
        is_same = not mark and await _digest_of(store, whole.conversation) == whole.digest
        return "present" if is_same else "kept"
    if not dry_run:
        await _Restoring(store, whole).go_on(mark["done"], found.head.version)
    return "stored"


async def _digest_of(store: Store, conversation: ConversationId) -> str | None:
    digest = None
    async for record in copied(store, conversation):
        digest = record.digest if isinstance(record, End) and not record.damaged else None
    return digest


class _Restoring:
    """The writes of one restoration.

    An archived chunk is stored live and moved to the archive by the write that stores the next one,
    so each write is one step from one state to the next.
    """

    def __init__(self, store: Store, whole: Whole) -> None:
        self._store = store
        self._whole = whole
        self._done = self._version = 0
        self._last: Part | None = None

    async def go_on(self, done: int, version: int) -> None:
        """Write all but the first ``done`` messages to the conversation, which has that version."""
        self._done, self._version = done, version
        parts = self._whole.parts()
        for _ in range(done):
            self._last = await asyncio.to_thread(next, parts)
        chunks = _chunks(parts, self._store.call_limits)
        while chunk := await asyncio.to_thread(next, chunks, None):
            await self._add(chunk)
        if self._version == 0 or (self._last and self._last.batch is not None):
            await self._replace([])
        await self._store.annotate(
            self._whole.conversation,
            {**self._whole.metadata, MARK: None},
            expect_version=self._version,
            key=self._key("end"),
            **self._times(self._whole.updated_at),
        )

    async def _add(self, chunk: Sequence[Part]) -> None:
        if self._last is None or self._last.batch is not None:
            written = await self._replace(chunk)
        else:
            result = await self._store.append(
                self._whole.conversation,
                [part.record for part in chunk],
                **self._options(chunk),
            )
            written = _written(result)
            if written.head.version != self._version + 1:
                raise VersionConflict(
                    "somebody writes to a conversation that is being imported: stop that, and do "
                    "the import again"
                )
        self._done += len(chunk)
        self._version = written.head.version
        self._last = chunk[-1]

    async def _replace(self, chunk: Sequence[Part]) -> Written:
        try:
            return await self._replaced(chunk)
        except VersionConflict:
            if self._version:
                raise
        # what lies there has expired, but was still alive when this was created
        await self._store.delete(self._whole.conversation, expect_version=0)
        return await self._replaced(chunk)

    async def _replaced(self, chunk: Sequence[Part]) -> Written:
        result = await self._store.replace(
            self._whole.conversation,
            [part.record for part in chunk],
            expect_version=self._version,
            archive_as=self._last.batch if self._last else None,
            **self._options(chunk),
        )
        written = _written(result)
        self._version = written.head.version
        return written

    def _options(self, chunk: Sequence[Part]) -> dict[str, Any]:
        """What the writes of messages have in common; the first one is the moment of creation."""
        done = self._done + len(chunk)
        at = self._whole.created_at
        if chunk and self._version:
            at = max(at, chunk[-1].stored_at)
        return {
            "metadata": {MARK: {"of": self._whole.digest, "done": done}},
            "key": self._key(f"{self._done}-{len(chunk)}"),
            **self._times(at),
        }

    def _times(self, at: datetime) -> dict[str, Any]:
        at = min(at, self._store.clock.now())
        expires_at = self._whole.expires_at
        ttl = None if expires_at is None else expires_at - at
        return {"owner": self._whole.owner, "at": at, "ttl": ttl}

    def _key(self, step: str) -> str:
        return f"import-{self._whole.digest[:32]}-{step}"


def _written(result: object) -> Written:
    if not isinstance(result, Written):  # pragma: no cover - there are no limits
        raise TypeError("a write without limits cannot be full")
    return result


def _chunks(parts: Iterator[Part], limits: CallLimits) -> Iterator[list[Part]]:
    """Group parts of one batch into what one call may carry."""
    chunk: list[Part] = []
    size = 0
    for part in parts:
        length = len(encode(part.record.message))
        is_full = (
            len(chunk) >= min(_CALL_MESSAGES, limits.call_messages)
            or size + length > limits.call_bytes
            or (chunk and chunk[-1].batch != part.batch)
        )
        if is_full and chunk:
            yield chunk
            chunk, size = [], 0
        chunk.append(part)
        size += length
    if chunk:
        yield chunk


def part_of(kept: Kept, message: Message) -> Part:
    """Return a message of a file on its way."""
    return Part(NewRecord(message, kept.tokens), kept.stored_at, kept.batch)
