"""From the payload of a write or append, as YAML, a template or JSON gave it, to messages."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec

from recollect.errors import InvalidMessage
from recollect.frozen import freeze
from recollect.messages import ContentPart, Message, Role, ToolCall, new_message_id

DEFAULT_ROLE: Role = "user"
_FIELDS = frozenset(Message.__struct_fields__) | {"name"}
_PART_TYPES = frozenset(get_args(msgspec.structs.fields(ContentPart)[0].type))
_GO_TIME = re.compile(r"^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,9})?) ([+-]\d{4}) \S+")
_FAR_FUTURE_SECONDS = 253_402_300_799  # 9999-12-31


_KINDS = ((bool, "true or false"), (int | float, "a number"), (str, "a text"), (Mapping, "a map"))


def kind_of(value: object) -> str:
    """Say in the words of YAML what a value is."""
    if value is None:
        return "nothing"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    return next(
        (words for kind, words in _KINDS if isinstance(value, kind)), f"a {type(value).__name__}"
    )


def messages_of(payload: object, now: datetime) -> tuple[Message, ...]:
    """Return the messages of a payload, in order.

    A text is one user message; a mapping with ``content`` one message (role ``user`` unless given); a
    list holds such mappings or texts; a mapping that has no message field at all is kept as the JSON
    of one message with ``metadata.structured``. Messages without a ``timestamp`` get ``now``.

    Raises:
        InvalidMessage: any other shape; the text says which message and which field.
    """
    if isinstance(payload, str | Mapping):
        return (_message(payload, "payload", now),)
    if isinstance(payload, Sequence):
        if not payload:
            raise InvalidMessage("payload is an empty list: messages cannot be empty")
        return tuple(_message(item, f"message[{i}]", now) for i, item in enumerate(payload))
    shape = "missing" if payload is None else kind_of(payload)
    raise InvalidMessage(
        f"payload is {shape}: give a message {{role, content}}, a list of messages, or a text"
    )


def _message(item: object, where: str, now: datetime) -> Message:
    if isinstance(item, str):
        item = {"content": item}
    if not isinstance(item, Mapping):
        raise InvalidMessage(f"{where} is {kind_of(item)}: a message is {{role, content}}")
    if not item:
        raise InvalidMessage(f"{where} is empty: a message is {{role, content}}")
    if not _FIELDS & set(item):
        return _structured(item, where, now)
    unknown = sorted(str(name) for name in set(item) - _FIELDS)
    if unknown:
        raise InvalidMessage(
            f"{where} has unknown fields: {', '.join(unknown)[:200]}. A message has role, content, "
            "timestamp, metadata, tool_calls, tool_call_id, attachments and message_id; put "
            "anything else into metadata"
        )
    return _built(dict(item), where, now)


def _structured(item: Mapping[Any, Any], where: str, now: datetime) -> Message:
    return Message(
        role=DEFAULT_ROLE,
        content=_json_text(item, where),
        timestamp=now,
        metadata={"structured": True},
    )


def _built(item: dict[str, Any], where: str, now: datetime) -> Message:
    role = item.get("role") or DEFAULT_ROLE
    try:
        message = Message(
            role=role,
            content=_content(item.get("content"), where),
            attachments=item.get("attachments"),
            tool_call_id=item.get("tool_call_id"),
            tool_calls=_tool_calls(item.get("tool_calls")),
            message_id=str(item.get("message_id") or new_message_id()),
            timestamp=_moment(item.get("timestamp"), now),
            metadata=_metadata(item),
        )
    except InvalidMessage as error:
        text = str(error)
        raise InvalidMessage(text if text.startswith(where) else f"{where}: {text}") from None
    if not message.content and not message.tool_calls and not message.attachments:
        raise InvalidMessage(f"{where}: content is empty or missing")
    return message


def _metadata(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata = item.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, Mapping):
        raise InvalidMessage(f"metadata is {kind_of(metadata)}, not a map")
    name = item.get("name")
    return {**metadata, "name": name} if name is not None else dict(metadata)


def _tool_calls(calls: object) -> tuple[ToolCall, ...] | None:
    return calls or None  # type: ignore[return-value]  # Message checks and converts them


def _content(content: object, where: str) -> Any:
    """Text and typed parts as they are; what a template made of a value as its JSON text."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list | tuple) and content and all(_is_part(item) for item in content):
        return content
    if type(content).__str__ not in {dict.__str__, list.__str__, object.__str__}:
        return str(content)  # an alias, such as a model's answer, has a text form of its own
    return _json_text(content, where)


def _is_part(item: object) -> bool:
    return isinstance(item, Mapping) and item.get("type") in _PART_TYPES


def _json_text(value: object, where: str) -> str:
    try:
        return msgspec.json.encode(freeze(value, "content"), order="sorted").decode()
    except InvalidMessage as error:
        raise InvalidMessage(f"{where}: {error}: it is nothing that JSON can hold") from None


def _moment(value: object, now: datetime) -> datetime:
    """Read RFC 3339, Go's own form of a time, or epoch seconds; naive times are UTC."""
    if value is None or value == "":
        return now
    if isinstance(value, bool):
        raise InvalidMessage("timestamp is true or false: give an ISO 8601 time or epoch seconds")
    if isinstance(value, int | float):
        return _from_epoch(float(value))
    if isinstance(value, str):
        return _from_text(value.strip())
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    raise InvalidMessage(f"timestamp is {kind_of(value)}, not a time")


def _from_epoch(seconds: float) -> datetime:
    if not 0 <= seconds <= _FAR_FUTURE_SECONDS:
        raise InvalidMessage("timestamp is out of range: give epoch seconds")
    return datetime.fromtimestamp(seconds, UTC)


def _from_text(text: str) -> datetime:
    if text.replace(".", "", 1).isdigit() and text.isascii():
        return _from_epoch(float(text))
    go = _GO_TIME.match(text)
    if go:
        text = f"{go[1]}T{go[2]}{go[3]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidMessage(
            "timestamp is not a time: give ISO 8601 (2026-01-31T12:00:00Z) or epoch seconds"
        ) from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
