"""What stores take and give: plain, immutable values, the same for every backend."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

import msgspec

from recollect.messages import Message

Source = Literal["live", "archive"]
Order = Literal["active", "created"]


class ConversationId(NamedTuple):
    """The address of a conversation; both parts 1-512 characters without control characters."""

    namespace: str
    id: str


class NewRecord(msgspec.Struct, frozen=True, gc=False):
    """A message to be stored, with what it costs."""

    message: Message
    tokens: int = 0


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message as it is stored.

    Attributes:
        seq: its place; conversations are ordered by it, gaps are normal, it is never reused within
            a generation (a summary takes the first seq it replaces).
        tokens: as given when it was stored.
        stored_at: when the store took it; UTC.
        batch: in the archive, the label it was archived under; None among the live.
    """

    seq: int
    tokens: int
    stored_at: datetime
    message: Message
    batch: str | None = None


class Damage(msgspec.Struct, frozen=True):
    """A record that cannot be read. It stays where it is; its content is never quoted."""

    seq: int
    reason: str


class Head(msgspec.Struct, frozen=True, gc=False):
    """What is known of a conversation without reading its messages; exact at every moment.

    Attributes:
        conversation: its address.
        owner: the user it belongs to, if any.
        generation: changes when a conversation is created anew under the same address.
        version: 1 after the first write, plus 1 for each further write.
        message_count: live messages.
        token_count: the sum of their tokens.
        archived_count: messages in the archive.
        next_seq: the seq the next appended message gets.
        fence: number of the last lease given out; 0 before the first.
        created_at: of this generation.
        updated_at: of the last write; never runs backwards.
        expires_at: from this moment on the conversation is gone; None keeps it for ever.
        folded_at: when the last fold happened.
    """

    conversation: ConversationId
    owner: str | None
    generation: int
    version: int
    message_count: int
    token_count: int
    archived_count: int
    next_seq: int
    fence: int
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    folded_at: datetime | None = None


class Conversation(msgspec.Struct, frozen=True):
    """A head and the part of its messages that was asked for, of one and the same moment.

    Attributes:
        records: in order of seq (in the archive: in the order they were archived, then seq).
        metadata: top-level name -> JSON text.
        damaged: records of that part that could not be read.
    """

    head: Head
    records: tuple[Record, ...]
    metadata: Mapping[str, str]
    damaged: tuple[Damage, ...] = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The messages alone."""
        return tuple(record.message for record in self.records)

    def decoded_metadata(self) -> dict[str, Any]:
        """The metadata as JSON values."""
        return {name: msgspec.json.decode(text) for name, text in self.metadata.items()}


class Limits(msgspec.Struct, frozen=True):
    """Hard limits a write must leave intact; None is no limit.

    Attributes:
        max_messages: on live messages.
        max_tokens: on token_count + message_overhead_tokens x message_count.
        message_overhead_tokens: what a message costs a model beside its text.
    """

    max_messages: int | None = None
    max_tokens: int | None = None
    message_overhead_tokens: int = 0

    def broken_by(self, message_count: int, token_count: int) -> bool:
        """Tell whether these counts are over a limit."""
        if self.max_messages is not None and message_count > self.max_messages:
            return True
        if self.max_tokens is None:
            return False
        return token_count + self.message_overhead_tokens * message_count > self.max_tokens


UNLIMITED = Limits()


class Lease(msgspec.Struct, frozen=True):
    """The right to work on a conversation until ``expires_at``; a courtesy, not a lock.

    A write that names it succeeds only while the conversation's generation and fence equal it, so a
    holder that was overtaken changes nothing.
    """

    conversation: ConversationId
    holder: str
    generation: int
    fence: int
    expires_at: datetime


class Written(msgspec.Struct, frozen=True, gc=False):
    """A write that took place.

    Attributes:
        head: right after it.
        first_seq: seq of the first message it stored; None if it stored none.
        removed: live messages it took away.
        replayed: the key was known: this is the result of the first time, nothing changed now.
    """

    head: Head
    first_seq: int | None = None
    removed: int = 0
    replayed: bool = False


class Full(msgspec.Struct, frozen=True, gc=False):
    """A write that would have broken a limit: nothing was stored and its key is not used up.

    ``head`` is the conversation as it is, None if there is none.
    """

    head: Head | None


class Page(msgspec.Struct, frozen=True):
    """One page of heads; ``cursor`` asks for the next, None says that this was the last."""

    heads: tuple[Head, ...]
    cursor: str | None


class Totals(msgspec.Struct, frozen=True):
    """Sums over conversations; ``stored_bytes`` counts encoded messages, live and archived.

    ``oldest`` and ``newest`` are the first and last ``created_at``.
    """

    conversations: int = 0
    messages: int = 0
    tokens: int = 0
    archived: int = 0
    stored_bytes: int = 0
    oldest: datetime | None = None
    newest: datetime | None = None


class Swept(msgspec.Struct, frozen=True):
    """What a sweep removed for good; all zero says that nothing is left to do."""

    conversations: int = 0
    records: int = 0
    keys: int = 0


class StoreInfo(msgspec.Struct, frozen=True):
    """What a store is, for health reports; ``location`` never holds a password.

    ``durability`` says in words what an acknowledged write survives. ``connections`` are open now,
    to a server or a file, on our side. ``used_bytes`` is taken where the conversations are kept: by
    this process, the file, the server's memory, or the tables; None where that cannot be known.
    """

    backend: str
    location: str
    durable: bool
    durability: str
    connections: int = 0
    used_bytes: int | None = None


class CallLimits(msgspec.Struct, frozen=True):
    """How much one call may carry; beyond it the call is refused whole."""

    message_bytes: int = 1024 * 1024
    call_bytes: int = 4 * 1024 * 1024
    call_messages: int = 1000


# ---- what the base class hands to a backend ------------------------------------------------------


class Row(msgspec.Struct, frozen=True, gc=False):
    """A checked message, ready to be written."""

    message: Message
    tokens: int
    data: bytes


class Key(msgspec.Struct, frozen=True):
    """An idempotency key and the hash of what came with it."""

    name: str
    body_hash: bytes


class Change(msgspec.Struct, frozen=True, gc=False):
    """One checked mutation. Backends apply it in one atomic step or not at all.

    ``tokens`` is the sum of those of its rows.
    """

    conversation: ConversationId
    now: datetime
    rows: Sequence[Row] = ()
    tokens: int = 0
    metadata: Mapping[str, str | None] = {}
    owner: str | None = None
    ttl: timedelta | None = None
    limits: Limits = UNLIMITED
    key: Key | None = None
    lease: Lease | None = None
    expect_version: int | None = None
    remove: tuple[int, ...] = ()
    archive_as: str | None = None


class Slice(msgspec.Struct, frozen=True):
    """Which records of a conversation are wanted; at most one way of choosing is set."""

    last: int | None = None
    offset: int = 0
    limit: int | None = None
    after: int | None = None
    source: Source = "live"
    batch: str | None = None


class Search(msgspec.Struct, frozen=True):
    """Which heads are wanted."""

    namespace: str
    now: datetime
    owner: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    prefix: str | None = None
    order: Order = "active"
    cursor: str | None = None
    limit: int = 50
