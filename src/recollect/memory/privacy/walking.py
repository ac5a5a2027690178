"""Redacting data of any shape: JSON, and messages with all that they carry."""

import json
import re
from collections.abc import Callable, Collection
from typing import Any, Final

import msgspec

from recollect.memory.privacy.encodings import as_read, in_base64, is_data_url, text_in_base64
from recollect.memory.privacy.matching import PASSES, Endless, Rules
from recollect.messages import Attachment, ContentPart, Message, ToolCall, ToolCallFunction

_Leaf = Callable[[Any], tuple[Any, int]]
_MADE_ID: Final = re.compile(r"msg_\d{13}_[0-9a-f]{8}")  # messages.new_message_id
# Looked for one by one: a search of a megabyte by ``re`` lets no other thread run meanwhile.
_EXPONENTS: Final = tuple(f"{digit}{e}" for digit in range(10) for e in "eE")
_DOTS: Final = str.maketrans("01", ".'")


class Walk:
    """Redacts data of any shape; each method returns the value and how much was replaced."""

    __slots__ = ("_rules",)

    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def json(self, value: Any) -> tuple[Any, int]:
        """Redact JSON data: see ``Redactor.redact_json``."""
        if isinstance(value, str):
            return self._rules.text(value)
        if isinstance(value, dict):
            return self._map(value, self.json)
        if isinstance(value, list | tuple):
            items = [self.json(item) for item in value]
            count = sum(replaced for _, replaced in items)
            return ([item for item, _ in items], count) if count else (value, 0)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._rules.number(value)
        return value, 0

    def _map(self, value: dict[str, Any], leaf: _Leaf) -> tuple[dict[str, Any], int]:
        safe: dict[str, Any] = {}
        tally = _Tally()
        for position, (key, item) in enumerate(value.items()):
            name = tally.add(self.json(key))
            free = name if name not in safe else self._told_apart(name, position, safe)
            safe[free] = tally.add(leaf(item))
        return (safe, tally.count) if tally.count else (value, 0)

    def _told_apart(self, name: str, position: int, taken: Collection[str]) -> str:
        """Return a key for an item whose own key became equal to another; it matches nothing either."""
        dots = f"{position:b}".translate(_DOTS)
        for free in (f"{name}_{position}", f"{name}{dots}", f"{name}.{dots}"):
            if free not in taken and not self._rules.text(free)[1]:
                return free
        raise RuntimeError("no key can tell the items apart")

    def message(self, message: Message) -> tuple[Message, int]:
        """Redact a message: see ``Redactor.redact``."""
        tally = _Tally()
        text = self._rules.text
        message_id = message.message_id
        if not _MADE_ID.fullmatch(message_id):
            message_id = tally.add(text(message_id))
        metadata = tally.add(self.json(message.metadata)) if message.metadata else message.metadata
        content: Any = message.content
        if isinstance(content, str):
            content = tally.add(text(content))
        else:
            content = tuple(tally.add(self._part(part)) for part in content)
        calls, attachments = message.tool_calls, message.attachments
        if calls is not None:
            calls = tuple(tally.add(self._call(call)) for call in calls)
        if attachments is not None:
            attachments = tuple(tally.add(self._attachment(one)) for one in attachments)
        if not tally.count:
            return message, 0
        safe = msgspec.structs.replace(
            message,
            content=content,
            attachments=attachments,
            tool_calls=calls,
            message_id=message_id,
            metadata=metadata,
        )
        return safe, tally.count

    def _part(self, part: ContentPart) -> tuple[ContentPart, int]:
        tally = _Tally()
        safe = ContentPart(
            type=part.type,
            text=None if part.text is None else tally.add(self._rules.text(part.text)),
            image_url=tally.add(self._media(part.image_url)),
            file=tally.add(self._media(part.file)),
        )
        return safe, tally.count

    def _media(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, dict):
            return self._map(value, self._media)
        return self._url(value) if isinstance(value, str) else self.json(value)

    def _call(self, call: ToolCall) -> tuple[ToolCall, int]:
        tally = _Tally()
        function = ToolCallFunction(
            name=tally.add(self._rules.text(call.function.name)),
            arguments=tally.add(self._arguments(call.function.arguments)),
        )
        return ToolCall(id=call.id, function=function, type=call.type), tally.count

    def _arguments(self, text: str) -> tuple[str, int]:
        """Redact what the JSON text says, then whatever still matches in how it is written."""
        if self._is_clean(text):
            return text, 0
        total = 0
        for _ in range(PASSES):
            text, in_values = self._json_text(text)
            text, in_writing = self._rules.text(text)
            total += in_values + in_writing
            if not in_writing:
                return text, total
        raise Endless("replacements form new matches without end")

    def _is_clean(self, text: str) -> bool:
        r"""Whether one look shows that nothing matches, in the JSON text or in a value of it.

        Each value stands in the text, once its escapes are read. The quotes and punctuation around it
        are to ``\b`` what a text's ends are; to ``^`` they are not.
        """
        if self._rules.anchored or any(part in text for part in _EXPONENTS):
            return False
        if (plain := as_read(text)) is None:
            return False
        return not (self._rules.text(plain)[1] or self._rules.text(text)[1])

    def _json_text(self, text: str) -> tuple[str, int]:
        try:
            safe, count = self.json(json.loads(text))
        except (ValueError, RecursionError):  # no JSON, or it escapes what no text can hold
            return text, 0
        if not count:
            return text, 0
        return json.dumps(safe, ensure_ascii=False), count

    def _attachment(self, attachment: Attachment) -> tuple[Attachment, int]:
        tally = _Tally()
        url, data = attachment.url, attachment.data
        safe = Attachment(
            kind=attachment.kind,
            mime_type=tally.add(self.json(attachment.mime_type)),
            name=tally.add(self.json(attachment.name)),
            url=None if url is None else tally.add(self._url(url)),
            data=None if data is None else tally.add(self._base64(data)),
            format=tally.add(self.json(attachment.format)),
        )
        return safe, tally.count

    def _url(self, url: str) -> tuple[str, int]:
        if not is_data_url(url):
            return self._rules.text(url)
        header, _, payload = url.partition(",")
        tally = _Tally()
        safe = f"{tally.add(self._rules.text(header))},{tally.add(self._base64(payload))}"
        return safe, tally.count

    def _base64(self, payload: str) -> tuple[str, int]:
        """Redact UTF-8 text inside base64; what is no base64 is text itself; the rest is binary."""
        try:
            inner = text_in_base64(payload)
        except ValueError:
            return self._rules.text(payload)
        if inner is None:
            return payload, 0
        safe, count = self._rules.text(inner)
        return (in_base64(safe), count) if count else (payload, 0)


class _Tally:
    """Adds up how much was replaced while values are put together."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def add(self, result: tuple[Any, int]) -> Any:
        value, replaced = result
        self.count += replaced
        return value
