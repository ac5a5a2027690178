"""What seed 004's face takes and gives: plain, frozen values, and the protocol of a provider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Generic, Protocol, TypeAlias, TypeGuard, runtime_checkable

from typing_extensions import TypeVar

from recollect.errors import InvalidInput, InvalidMessage
from recollect.frozen import freeze
from recollect.memory.providers.settings import Check, Settings, seconds, truth, whole, words
from recollect.messages import Message

T_co = TypeVar("T_co", covariant=True, default=Any)
E_co = TypeVar("E_co", covariant=True, default=Any)


@dataclass(frozen=True, slots=True)
class Success(Generic[T_co]):
    """What a writer answers when it did what was asked."""

    data: T_co


@dataclass(frozen=True, slots=True)
class Failure(Generic[E_co]):
    """What a writer answers when it did not; ``error`` is one of the four memory errors."""

    error: E_co


Result: TypeAlias = Success[T_co] | Failure[E_co]


@dataclass(frozen=True)
class ConversationMemory:
    """A conversation at one moment; never changes, and nothing done to it reaches the store.

    Attributes:
        conversation_id: its id.
        user_id: whom it belongs to.
        messages: any sequence of messages; a tuple afterwards, oldest first.
        metadata: the caller's JSON, read-only; from a provider, with ``created_at``,
            ``updated_at``, ``last_activity`` (ISO 8601 with offset), ``total_messages``, and
            ``user_id`` when it is known.

    Raises:
        InvalidInput: at construction, for what is no message or no JSON.
    """

    conversation_id: str
    user_id: str | None = None
    messages: Sequence[Message] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        words("conversation_id", self.conversation_id)
        if self.user_id is not None:
            words("user_id", self.user_id)
        object.__setattr__(self, "messages", checked_messages(self.messages))
        object.__setattr__(self, "metadata", freeze(checked_metadata(self.metadata)))

    @property
    def created_at(self) -> datetime | None:
        """When it was created, as its metadata say."""
        return self._moment("created_at")

    @property
    def updated_at(self) -> datetime | None:
        """When it was last written to, as its metadata say."""
        return self._moment("updated_at")

    @property
    def last_activity(self) -> datetime | None:
        """The same as ``updated_at``: reading is no activity."""
        return self._moment("last_activity")

    def _moment(self, name: str) -> datetime | None:
        text = self.metadata.get(name)
        try:
            return datetime.fromisoformat(text) if isinstance(text, str) else None
        except ValueError:
            return None


def _moment(name: str, value: object) -> datetime:
    if not isinstance(value, datetime):
        raise InvalidInput(f"{name} is a {type(value).__name__}: it must be a datetime")
    return value


@dataclass(frozen=True, repr=False)
class MemoryQuery(Settings):
    """Which conversations ``find_conversations`` returns; whatever is None does not matter.

    Attributes:
        conversation_id: exactly this one.
        user_id: only this user's.
        trace_id: only those whose metadata say ``trace_id``.
        limit: at most so many, after ``offset``; None is all, 0 is none.
        offset: skip so many of the newest.
        since: active then or later. ``until``: last active then or earlier. Both are inclusive; a
            time without a zone is local time.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        **dict.fromkeys(("conversation_id", "user_id", "trace_id"), words),
        **dict.fromkeys(("limit", "offset"), whole()),
        **dict.fromkeys(("since", "until"), _moment),
    }

    conversation_id: str | None = None
    user_id: str | None = None
    trace_id: str | None = None
    limit: int | None = None
    offset: int | None = None
    since: datetime | None = None
    until: datetime | None = None


@runtime_checkable
class MemoryProvider(Protocol):
    """What an agent needs of whoever keeps its conversations (seed 004); write your own.

    Readers return plain values and raise; the two writers answer a ``Result``.
    """

    async def store_messages(
        self,
        conversation_id: str,
        messages: list[Message],
        metadata: dict[str, Any] | None = None,
    ) -> Result:
        """Make these the messages of the conversation; creates a missing one."""
        ...

    async def get_conversation(self, conversation_id: str) -> ConversationMemory | None:
        """Return the whole conversation; None if there is none."""
        ...

    async def append_messages(
        self,
        conversation_id: str,
        messages: list[Message],
        metadata: dict[str, Any] | None = None,
    ) -> Result:
        """Add messages behind the existing ones; creates a missing conversation."""
        ...

    async def get_recent_messages(self, conversation_id: str, limit: int = 50) -> list[Message]:
        """Return the last messages, oldest first."""
        ...

    async def delete_conversation(self, conversation_id: str) -> bool:
        """Remove the conversation; tell whether it existed."""
        ...

    async def health_check(self) -> dict[str, Any]:
        """Report whether the provider can be used; ``healthy`` says it."""
        ...


def _provider(name: str, value: object) -> object:
    """Refuse what a run could not use at all; it reads, and it writes in one of two ways."""
    if isinstance(value, Success):  # a factory of the original's habit
        value = value.data
    lacks = [method for method in ("get_conversation",) if not hasattr(value, method)]
    if not any(hasattr(value, method) for method in ("append_messages", "store_messages")):
        lacks.append("append_messages")
    if lacks:
        raise InvalidInput(
            f"{name} is a {type(value).__name__} without {' and '.join(lacks)}: it must be a "
            "MemoryProvider (was an `await` forgotten?)"
        )
    return value


@dataclass(frozen=True, repr=False)
class MemoryConfig(Settings):
    """How an agent's run uses a provider (seed 004).

    Attributes:
        provider: who keeps the conversations.
        auto_store: runs store what they add.
        max_messages: how many of the newest a run shows the model; nothing is removed.
        ttl: seconds a conversation is kept after it was last written to; None leaves that to the
            provider.
        compression_threshold: from how many messages on a store may keep older ones compressed;
            nothing is ever lost by it.
        store_on_completion: completed runs store; without it, only interrupted and failed ones do.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "provider": _provider,
        "auto_store": truth,
        "max_messages": whole(1),
        "ttl": seconds(),
        "compression_threshold": whole(1),
        "store_on_completion": truth,
    }

    provider: MemoryProvider
    auto_store: bool = True
    max_messages: int | None = None
    ttl: float | None = None
    compression_threshold: int | None = None
    store_on_completion: bool = True


def checked_messages(messages: object) -> tuple[Message, ...]:
    """Return the messages as a tuple.

    Raises:
        InvalidMessage: it is no sequence, or one of them is no message.
    """
    if not isinstance(messages, list | tuple) and not _is_sequence(messages):
        raise InvalidMessage(f"messages is a {type(messages).__name__}, not a list of messages")
    for position, message in enumerate(messages):
        if not isinstance(message, Message):
            raise InvalidMessage(
                f"messages[{position}] is a {type(message).__name__}, not a Message: "
                "Message(**data) makes one of plain data"
            )
    return tuple(messages)


def _is_sequence(messages: object) -> TypeGuard[Sequence[object]]:
    return isinstance(messages, Sequence) and not isinstance(messages, str | bytes)


def checked_metadata(metadata: object) -> Mapping[str, Any]:
    """Return the metadata.

    Raises:
        InvalidInput: it is no mapping.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidInput(f"metadata is a {type(metadata).__name__}, not a mapping")
    return metadata
