"""Messages: what one utterance is, which of them belong together, and their JSON form.

A ``Message`` is deeply immutable, so a store may hand out the very object it keeps.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeAlias, cast, get_args

import msgspec

from recollect.clock import SystemClock
from recollect.errors import InvalidMessage
from recollect.frozen import EMPTY, INT_MAX, INT_MIN, FrozenDict, check_text, freeze

Role = Literal["user", "assistant", "system", "tool"]
ROLES: frozenset[str] = frozenset(get_args(Role))

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_clock = SystemClock()
_fix = msgspec.structs.force_setattr


JsonObject: TypeAlias = dict[str, Any]


class ToolCallFunction(msgspec.Struct, frozen=True, gc=False):
    """What a tool call calls: ``arguments`` is JSON text as the model wrote it, unparsed."""

    name: str
    arguments: str = "{}"


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """One call that an assistant message asks for; its result is a tool message with the same id."""

    id: str
    function: ToolCallFunction
    type: str = "function"


class ContentPart(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One part of a content that is more than text."""

    type: Literal["text", "image_url", "file"]
    text: str | None = None
    image_url: dict[str, Any] | None = None
    file: dict[str, Any] | None = None


class Attachment(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A file that came with a message, by ``url`` or as base64 ``data``; one of them is needed."""

    kind: Literal["image", "document", "file"]
    mime_type: str | None = None
    name: str | None = None
    url: str | None = None
    data: str | None = None
    format: str | None = None


class Message(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One utterance.

    Attributes:
        role: who speaks.
        content: text, or a tuple of typed parts; may be empty beside tool calls or attachments.
        attachments: files that came with it.
        tool_call_id: on a tool message, the call it answers.
        tool_calls: on an assistant message, the calls it asks for.
        message_id: given, or made at construction; not unique within a store.
        timestamp: when it was said, aware UTC; given, or the time of construction.
        metadata: the caller's JSON, returned exactly as given.

    Any field may be given as the plain JSON that ``to_json`` writes (lists, dicts, ISO 8601 text).

    Raises:
        InvalidMessage: at construction, naming the field.
    """

    role: Role
    content: str | tuple[ContentPart, ...] = ""
    attachments: tuple[Attachment, ...] | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    message_id: str = ""
    timestamp: datetime | None = None
    metadata: JsonObject = EMPTY

    def __post_init__(self) -> None:
        # Runs for every message that is read: what is right already is only looked at.
        role: object = self.role
        content, moment, metadata = self.content, self.timestamp, self.metadata
        if type(role) is not str or role not in ROLES:
            _fix(self, "role", _role(role))
        if type(content) is not str:
            _fix(self, "content", _content(content))
        elif not content.isascii():
            check_text(content, "content")
        if (
            self.attachments is not None
            or self.tool_calls is not None
            or self.tool_call_id is not None
        ):
            _check_extras(self)
        if not self.message_id:
            _fix(self, "message_id", new_message_id())
        elif type(self.message_id) is not str or not self.message_id.isascii():
            _short_text(self.message_id, "message_id")
        if type(moment) is not datetime or moment.tzinfo is not UTC:
            _fix(self, "timestamp", _timestamp(moment))
        if type(metadata) is not FrozenDict:
            _fix(self, "metadata", _metadata(metadata))

    def dict(self) -> JsonObject:
        """Return plain JSON data, role and content always among them; ``Message(**m.dict()) == m``."""
        return {"role": self.role, "content": "", **to_json(self)}

    @property
    def text(self) -> str:
        """The content as text: its text parts joined by a space."""
        if isinstance(self.content, str):
            return self.content
        return " ".join(part.text for part in self.content if part.text is not None)

    @property
    def at(self) -> datetime:
        """The timestamp, which construction has always set."""
        if self.timestamp is None:  # pragma: no cover - __post_init__ sets it
            raise InvalidMessage("a message without a timestamp")
        return self.timestamp


def _check_extras(message: Message) -> None:
    fix = msgspec.structs.force_setattr
    if message.attachments is not None:
        fix(message, "attachments", _structs(message.attachments, Attachment, "attachments"))
        if any(a.url is None and a.data is None for a in message.attachments):
            raise InvalidMessage("an attachment needs a url or data")
    if message.tool_calls is not None:
        fix(message, "tool_calls", _structs(message.tool_calls, ToolCall, "tool_calls"))
    if message.tool_call_id is not None:
        _short_text(message.tool_call_id, "tool_call_id")


def _role(role: object) -> str:
    plain = str.__str__(role) if isinstance(role, str) else ""  # an enum of texts will do
    if plain in ROLES:
        return plain
    raise InvalidMessage(f"role is {role!r:.40}: it must be one of user, assistant, system, tool")


_PLAIN = frozenset({str, int, bool, type(None)})


def _metadata(given: object) -> FrozenDict:
    """Freeze metadata; the usual flat map of short texts and numbers by the shortest way."""
    if type(given) is not dict:
        if not isinstance(given, Mapping):
            raise InvalidMessage(f"metadata is a {type(given).__name__}, not a mapping")
        return cast(FrozenDict, freeze(given))
    for name, value in given.items():
        kind = type(value)
        if type(name) is not str or not name.isascii() or kind not in _PLAIN:
            break
        if kind is str:
            if not value.isascii():
                break
        elif kind is int and not INT_MIN <= value <= INT_MAX:
            break
    else:
        return FrozenDict(given) if given else EMPTY
    return cast(FrozenDict, freeze(given))


def _short_text(value: object, what: str) -> None:
    if not isinstance(value, str):
        raise InvalidMessage(f"{what} is a {type(value).__name__}, not text")
    check_text(value, what)


def _content(value: object) -> Any:
    if isinstance(value, str):  # a subclass of str
        plain = str.__str__(value)
        check_text(plain, "content")
        return plain
    if isinstance(value, list | tuple):
        return _structs(value, ContentPart, "content")
    raise InvalidMessage(
        f"content is a {type(value).__name__}: it must be text or a list of typed parts"
    )


def _structs(value: object, kind: type[Any], what: str) -> Any:
    """Turn the items into ``kind``, whether given as such or as plain JSON."""
    if not isinstance(value, list | tuple):
        raise InvalidMessage(f"{what} is a {type(value).__name__}, not a list")
    items = (msgspec.to_builtins(x) if isinstance(x, msgspec.Struct) else x for x in value)
    plain = [freeze(item, f"{what}[{i}]") for i, item in enumerate(items)]
    try:
        made: tuple[Any, ...] = msgspec.convert(plain, tuple[kind, ...])  # type: ignore[valid-type]
    except msgspec.ValidationError as error:
        raise InvalidMessage(f"{what}: {error}") from None
    if kind is ContentPart:  # convert thawed the nested maps
        return tuple(ContentPart(p.type, p.text, freeze(p.image_url), freeze(p.file)) for p in made)
    return made


def _timestamp(value: object) -> datetime:
    if value is None:
        return _clock.now()
    if isinstance(value, datetime):
        if value.tzinfo is UTC:
            return value
        if value.tzinfo is None:
            raise InvalidMessage("timestamp has no time zone: give it one, such as UTC")
        return value.astimezone(UTC)
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
        except ValueError:
            raise InvalidMessage("timestamp is not an ISO 8601 time") from None
        return _timestamp(parsed)
    raise InvalidMessage(f"timestamp is a {type(value).__name__}, not a time")


def new_message_id() -> str:
    """Return ``msg_<Unix milliseconds>_<8 hex>``."""
    return f"msg_{int(_clock.now().timestamp() * 1000)}_{secrets.token_hex(4)}"


# ---- JSON both ways ------------------------------------------------------------------------------


class _Usual(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A message as most are: its JSON proves that nothing is left to check, only metadata to freeze.

    It has the fields of ``Message``, so that it can become one; all others are read as ``Message``.
    """

    role: Role
    message_id: Annotated[str, msgspec.Meta(min_length=1)]
    timestamp: Annotated[datetime, msgspec.Meta(tz=True)]
    content: str = ""
    attachments: None = None
    tool_call_id: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    metadata: dict[str, str | bool | float | _Int64 | None] = EMPTY


_encoder = msgspec.json.Encoder()
_decode_usual = msgspec.json.Decoder(list[_Usual]).decode
_decode_checked = msgspec.json.Decoder(Message).decode

_TOGETHER = 64  # messages decoded by one call: more would not stay in the processor's cache
# A column of SQLite may hold anything, whence the TypeError.
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError)

encode: Callable[[Message], bytes] = _encoder.encode
"""Return the message as compact UTF-8 JSON; ``decode(encode(m)) == m``."""


def decode(data: bytes | str) -> Message:
    """Read a message back; fields it does not know are ignored.

    Raises:
        InvalidMessage: the bytes are not a message (the text never quotes them).
    """
    try:
        return _decode_checked(data)
    except _UNREADABLE as error:
        raise InvalidMessage(f"not a message: {type(error).__name__}") from None


def decode_all(texts: Sequence[bytes]) -> list[Message | InvalidMessage]:
    """Read many messages back, in order, much quicker than one by one.

    The error of ``decode`` takes the place of one that is not a message.
    """
    found: list[Message | InvalidMessage] = []
    for first in range(0, len(texts), _TOGETHER):
        some = texts[first : first + _TOGETHER]
        found += _usual_messages(some) or map(_message_or_error, some)
    return found


def _usual_messages(texts: Sequence[bytes]) -> list[Message] | None:
    """Decode all by one call; None unless each is as most are."""
    try:
        usual = _decode_usual(b"[%b]" % b",".join(texts))
    except _UNREADABLE:
        return None
    if len(usual) != len(texts):
        return None
    for one in usual:
        if one.timestamp.tzinfo is not UTC:
            return None
        if one.metadata is not EMPTY:
            _fix(one, "metadata", FrozenDict(one.metadata))
        # It becomes a message where it lies: to build one of its parts would take as long again.
        # Python refuses this if the fields differ.
        _fix(one, "__class__", Message)
    return cast(list[Message], usual)


def _message_or_error(data: bytes) -> Message | InvalidMessage:
    try:
        return decode(data)
    except InvalidMessage as error:
        return error


def to_json(message: Message) -> dict[str, Any]:
    """Return plain JSON data; ``Message(**to_json(m)) == m``."""
    plain: dict[str, Any] = msgspec.json.decode(_encoder.encode(message))  # lists, no tuples
    return plain


def body(message: Message) -> tuple[object, ...]:
    """What makes a message the same one when it is sent twice: all but its id and timestamp."""
    return (
        message.role,
        message.content,
        message.attachments,
        message.tool_call_id,
        message.tool_calls,
        message.metadata,
    )


# ---- units ---------------------------------------------------------------------------------------


class Unit(msgspec.Struct, frozen=True):
    """Messages that live and die together.

    Attributes:
        positions: indices into the sequence it was made from, ascending; not always adjacent,
            because parallel calls may be answered in any order.
        open: a call is not answered yet and no later user message has come.
    """

    positions: tuple[int, ...]
    open: bool = False


class _Growing:
    """A unit while its messages are being collected."""

    __slots__ = ("closed", "positions", "waiting")

    def __init__(self, position: int, waiting: Iterable[str]) -> None:
        self.positions = [position]
        self.waiting = list(waiting)
        self.closed = False


def units(messages: Sequence[Message]) -> list[Unit]:
    """Split messages into units, ordered by their first message; every position is in one unit.

    A unit is an assistant message with tool calls and all their results; otherwise one message. A
    result belongs to the latest earlier call with its id that is still unanswered; one that answers
    nothing is a unit of its own. A unit is open until every call is answered or a later user message
    has come; a result that comes after that user message still joins its unit.
    """
    grown: list[_Growing] = []
    asking: list[_Growing] = []  # units with unanswered calls, oldest first
    for position, message in enumerate(messages):
        if message.role == "tool" and message.tool_call_id is not None:
            owner = _asker(asking, message.tool_call_id)
            if owner is not None:
                owner.positions.append(position)
                if not owner.waiting:
                    asking.remove(owner)
                continue
        if message.role == "user":
            for unit in asking:
                unit.closed = True
        calls = message.tool_calls if message.role == "assistant" else None
        unit = _Growing(position, (call.id for call in calls or ()))
        grown.append(unit)
        if unit.waiting:
            asking.append(unit)
    return [Unit(tuple(u.positions), bool(u.waiting) and not u.closed) for u in grown]


def _asker(asking: list[_Growing], call_id: str) -> _Growing | None:
    for unit in reversed(asking):
        if call_id in unit.waiting:
            unit.waiting.remove(call_id)
            return unit
    return None
