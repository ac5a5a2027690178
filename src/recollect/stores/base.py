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

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import msgspec

from recollect.clock import Clock, SystemClock
from recollect.errors import (
    InvalidConversationId,
    InvalidInput,
    InvalidMessage,
    KeyReused,
)
from recollect.messages import Message, body, check_text, decode_all, encode, freeze
from recollect.stores.moments import EPOCH, to_moment
from recollect.stores.records import (
    UNLIMITED,
    CallLimits,
    Change,
    Conversation,
    ConversationId,
    Damage,
    Full,
    Head,
    Key,
    Lease,
    Limits,
    NewRecord,
    Order,
    Page,
    Record,
    Row,
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
MAX_PAGE = 1000

_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
T = TypeVar("T")

_LONGEST = 512  # characters of an address
_NO_TIME = timedelta(0)
_NO_METADATA: Mapping[str, str | None] = {}
_MAX_TTL = timedelta(days=365 * 100)
_body_encoder = msgspec.json.Encoder(order="sorted")


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
        return await self._append(change if at is None else _dated(change, at))

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
            archive_as=_label(archive_as),
        )
        return await self._replace(change if at is None else _dated(change, at))

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
            archive_as=_label(archive_as),
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
        return await self._annotate(change if at is None else _dated(change, at))

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
        name = _address(key, "idempotency key")
        return await self._recall(_conversation(conversation), name, self.clock.now())

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
        part = _slice(last, offset, limit, after, source, batch)
        return await self._load(_conversation(conversation), part, self.clock.now())

    async def load_many(
        self, conversations: Sequence[ConversationId], *, last: int | None = None
    ) -> list[Conversation | None]:
        """Read several conversations, in the order asked, in one round trip; None for missing."""
        part = _slice(last, 0, None, None, "live", None)
        ids = [_conversation(conversation) for conversation in conversations]
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
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"limit is {limit}: a page holds 1 to {MAX_PAGE} conversations")
        if order not in {"active", "created"}:
            raise InvalidInput(f"order is {order!r:.40}: it must be active or created")
        for name, moment in (("since", since), ("until", until)):
            if moment is not None and moment.tzinfo is None:
                raise InvalidInput(f"{name} has no time zone: give it one, such as UTC")
        search = Search(
            namespace=_address(namespace, "namespace"),
            now=self.clock.now(),
            owner=owner if owner is None else _address(owner, "owner"),
            since=since,
            until=until,
            prefix=_address(prefix, "prefix") if prefix else None,
            order=order,
            cursor=cursor,
            limit=limit,
        )
        return await self._find(search)

    async def measure(self, namespace: str, *, owner: str | None = None) -> Totals:
        """Sum up a namespace, or one owner's part of it; walks all its conversations."""
        if owner is not None:
            _address(owner, "owner")
        return await self._measure(_address(namespace, "namespace"), owner, self.clock.now())

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
            _conversation(conversation), _address(holder, "holder"), _ttl(ttl), self.clock.now()
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
        return await self.open()

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
        texts = _metadata_texts(metadata) if metadata else _NO_METADATA
        rows, tokens = self._rows(records)
        return Change(  # in the order of its fields: by name it would take twice as long
            _conversation(conversation),
            self.clock.now(),
            rows,
            tokens,
            texts,
            owner if owner is None else _address(owner, "owner"),
            ttl if ttl is None else _ttl(ttl),
            limits,
            None if key is None else _key(key, kind, records, texts),
            lease,
            expect_version,
            remove,
            archive_as,
        )

    def _rows(self, records: Sequence[NewRecord]) -> tuple[tuple[Row, ...], int]:
        """Encode the messages; return them with the sum of their tokens."""
        limits = self.call_limits
        if len(records) > limits.call_messages:
            raise InvalidMessage(
                f"{len(records)} messages in one call: at most {limits.call_messages} are allowed"
            )
        rows: list[Row] = []
        total = tokens = 0
        for record in records:
            message = record.message
            data = encode(message)
            total += len(data)
            tokens += record.tokens
            rows.append(Row(message, record.tokens, data))
        if total > limits.message_bytes:
            for i, row in enumerate(rows):
                if len(row.data) > limits.message_bytes:
                    raise InvalidMessage(
                        f"message[{i}] has {len(row.data):,} bytes: at most {limits.message_bytes:,} "
                        "are allowed"
                    )
        if total > limits.call_bytes:
            raise InvalidMessage(
                f"{total:,} bytes in one call: at most {limits.call_bytes:,} are allowed"
            )
        return tuple(rows), tokens


@lru_cache(maxsize=4096)  # a conversation is written to many times
def _checked(conversation: ConversationId) -> ConversationId:
    namespace, name = conversation
    _address(namespace, "namespace")
    _address(name, "conversation id")
    return conversation


def _dated(change: Change, at: datetime) -> Change:
    """Return the change as one of the past."""
    if at.tzinfo is None:
        raise InvalidInput("at has no time zone: give it one, such as UTC")
    if at > change.now:
        raise InvalidInput("at lies in the future: a write is made now, or was made before")
    return msgspec.structs.replace(change, now=at.astimezone(UTC))


def _conversation(conversation: ConversationId) -> ConversationId:
    try:
        return _checked(conversation)
    except TypeError:  # not even hashable
        raise InvalidConversationId("a conversation is a ConversationId of two texts") from None


def _address(text: str, what: str) -> str:
    """Refuse what no backend could keep as an address."""
    if type(text) is str and 0 < len(text) <= _LONGEST and text.isascii() and text.isprintable():
        return text  # the usual one, without a search
    if not isinstance(text, str):
        _refuse_address(what, f"is a {type(text).__name__}, not text")
    if not text:
        _refuse_address(what, "is empty")
    if len(text) > _LONGEST:
        _refuse_address(what, f"has {len(text)} characters: at most {_LONGEST} are allowed")
    bad = _UNUSABLE.search(text)
    if bad:
        kind = "lone surrogate" if "\ud800" <= bad.group() <= "\udfff" else "control character"
        _refuse_address(what, f"has a {kind} (U+{ord(bad.group()):04X}) at {bad.start()}")
    return text


def _refuse_address(what: str, why: str) -> NoReturn:
    raise InvalidConversationId(f"the {what} {why}")


def _label(archive_as: str | None) -> str | None:
    if archive_as is None:
        return None
    if not isinstance(archive_as, str):
        raise InvalidInput(f"an archive label is text, not a {type(archive_as).__name__}")
    if not 0 < len(archive_as) <= 1024:
        raise InvalidInput("an archive label has 1 to 1024 characters")
    check_text(archive_as, "an archive label")
    return archive_as


def _ttl(ttl: timedelta) -> timedelta:
    if not _NO_TIME < ttl <= _MAX_TTL:
        raise InvalidInput("a ttl is longer than nothing and shorter than a hundred years")
    return ttl


def _metadata_texts(metadata: Mapping[str, Any]) -> dict[str, str | None]:
    frozen = freeze(metadata)
    return {
        name: None if value is None else _body_encoder.encode(value).decode()
        for name, value in frozen.items()
    }


def _key(
    name: str,
    kind: str,
    records: Sequence[NewRecord],
    metadata: Mapping[str, str | None],
) -> Key:
    bodies = [body(record.message) for record in records]
    text = _body_encoder.encode((kind, bodies, metadata))
    return Key(_address(name, "idempotency key"), hashlib.sha256(text).digest())


def _slice(
    last: int | None,
    offset: int,
    limit: int | None,
    after: int | None,
    source: Source,
    batch: str | None,
) -> Slice:
    if (last is not None) + (after is not None) + (offset != 0) > 1:
        raise InvalidInput("choose by last, by offset, or by after: not by two at once")
    if last is not None and limit is not None:
        raise InvalidInput("choose by last or by limit, not by both")
    for name, number in (("last", last), ("offset", offset), ("limit", limit), ("after", after)):
        if number is not None and number < 0:
            raise InvalidInput(f"{name} is {number}: it cannot be negative")
    if source not in {"live", "archive"}:
        raise InvalidInput(f"source is {source!r:.40}: it must be live or archive")
    if batch is not None and source == "live":
        raise InvalidInput("a batch is part of the archive: ask with source='archive'")
    return Slice(
        last=last,
        offset=offset,
        limit=limit,
        after=after,
        source=source,
        batch=_label(batch) if batch else batch,
    )


# ---- for backends --------------------------------------------------------------------------------


def known_result(data: bytes, body_hash: bytes, key: Key, kind: type[T]) -> T:
    """Return the recorded first result of a key, or raise KeyReused for another body."""
    if body_hash != key.body_hash:
        raise KeyReused(key.name)
    return msgspec.json.decode(data, type=kind)


def decode_rows(
    rows: Sequence[Sequence[Any]],
) -> tuple[tuple[Record, ...], tuple[Damage, ...]]:
    """Decode rows of seq, tokens, stored_at, data, batch, ...; the unreadable become damages.

    ``stored_at`` is in microseconds since 1970.
    """
    records: list[Record] = []
    damaged: list[Damage] = []
    micros, moment = 0, EPOCH
    messages = decode_all([row[3] for row in rows])
    for row, message in zip(rows, messages, strict=True):
        stored_at = row[2]
        if stored_at != micros:  # what was stored together has one time
            try:
                micros, moment = stored_at, to_moment(stored_at)
            except OverflowError:
                damaged.append(Damage(row[0], "its time is not as Recollect left it"))
                continue
        if isinstance(message, Message):
            records.append(Record(row[0], row[1], moment, message, row[4]))
        else:
            damaged.append(Damage(row[0], str(message)))
    return tuple(records), tuple(damaged)
