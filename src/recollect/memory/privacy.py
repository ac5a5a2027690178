"""What must not be kept: patterns whose matches are replaced, and messages that are not stored.

Patterns are RE2 expressions, the dialect of Go, matched in time linear in the text however evil the
pattern. Everything here is pure; nothing here logs, and no error quotes what it was reading.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from itertools import product
from types import ModuleType
from typing import Any, Final, NoReturn

import msgspec

from recollect.errors import ConfigError, MissingExtra, PrivacyError
from recollect.messages import Attachment, ContentPart, Message, ToolCall, ToolCallFunction

DEFAULT_REPLACEMENT: Final = "[REDACTED]"

_PASSES: Final = 16  # replacements that form new matches are replaced again, this often
_PATTERN_BYTES: Final = 8 << 20  # RE2's own default for one pattern
_Leaf = Callable[[Any], tuple[Any, int]]
_FAILURES: Final = (RuntimeError, MemoryError, ValueError)  # RecursionError, Unicode errors too


class Redactor:
    """Replaces every match of its patterns; says which messages are not to be stored.

    What it returns holds no match of any pattern, so redacting twice changes nothing more; only a
    match that reads exactly like the replacement stays. Redaction fails closed: it is whole or it
    raises. Safe to use from any thread. Without patterns it returns what it was given.

    Attributes:
        patterns: the expressions, in the order in which they are applied.
        replacement: stands in place of each match, literally.
        non_persistable: roles or ``metadata.type`` values that are not stored, case-folded.

    Raises:
        ConfigError: a pattern cannot be used (``check_pattern`` says why; counted from 0), or the
            replacement would be redacted itself.
        MissingExtra: there are patterns, and google-re2 is not installed.
    """

    __slots__ = ("_rules", "non_persistable", "patterns", "replacement")

    def __init__(
        self,
        patterns: Sequence[str] = (),
        *,
        replacement: str = DEFAULT_REPLACEMENT,
        non_persistable: Collection[str] = (),
    ) -> None:
        self.patterns = tuple(patterns)
        self.replacement = replacement
        self.non_persistable = frozenset(name.strip().casefold() for name in non_persistable)
        self._rules: _Rules | None = None
        if self.patterns:
            for index, pattern in enumerate(self.patterns):
                reason = check_pattern(pattern)
                if reason:
                    raise ConfigError(f"pattern {index}: {reason}", index=index)
            self._rules = _compile(self.patterns, replacement)
            self._check_replacement()

    def _check_replacement(self) -> None:
        try:
            settled = not self.redact_text(self.replacement)[1]
        except PrivacyError:
            settled = False
        if not settled:
            raise ConfigError(
                f"the replacement {self.replacement!r} would itself be redacted: choose a text that "
                "no pattern matches"
            )

    def persistable(self, message: Message) -> bool:
        """Say whether a message may be stored, by its role and its ``metadata.type``."""
        if not self.non_persistable:
            return True
        kind = message.metadata.get("type")
        return message.role not in self.non_persistable and not (
            isinstance(kind, str) and kind.strip().casefold() in self.non_persistable
        )

    def redact_text(self, text: str) -> tuple[str, int]:
        r"""Return the text without matches, and how many were replaced.

        Matches are found as written and behind JSON's ``\uXXXX`` escapes. A text without any is
        returned as the same object.

        Raises:
            PrivacyError: the text holds a lone surrogate, or replacing does not come to an end.
        """
        if self._rules is None:
            return text, 0
        try:
            return self._rules.text(text)
        except _FAILURES as error:
            _fail(error)

    def redact_json(self, value: Any) -> Any:
        """Return JSON data with all texts, keys and numbers in it redacted, at any depth.

        The shape stays: the same lists and maps with as many items. A key that became equal to
        another gets its position behind it; a number becomes a text only if a pattern matches it.
        Data without a match are returned as the same object.

        Raises:
            PrivacyError: as for ``redact_text``, or the data are nested too deep.
        """
        if self._rules is None:
            return value
        try:
            return self._rules.json(value)[0]
        except _FAILURES as error:
            _fail(error)

    def redact(self, message: Message) -> tuple[Message, int]:
        """Return the message without matches, and how many were replaced.

        Covers content, parts, attachments, names and arguments of tool calls, the message's id and its
        metadata, keys included. Arguments are redacted as the JSON they hold and stay JSON unless a
        match spans its punctuation. Base64 is opened where it holds UTF-8 text; in pictures and other
        binary data nothing is looked for. Ids of tool calls stay, because they pair calls and results,
        and so do message ids of our own making, whose digits mean nothing.
        A message without matches is returned as the same object.

        Raises:
            PrivacyError: as for ``redact_json``; the message must then not be stored.
        """
        if self._rules is None:
            return message, 0
        try:
            return self._rules.message(message)
        except _FAILURES as error:
            _fail(error)


def merged(redactors: Iterable[Redactor]) -> Redactor:
    """Return one redactor with the patterns of all, in order and each once, that stores everything.

    For what spans several memories. It uses the first replacement that no pattern matches.

    Raises:
        ConfigError: every replacement is matched by some pattern.
    """
    able = [redactor for redactor in redactors if redactor.patterns]
    patterns = tuple(dict.fromkeys(pattern for one in able for pattern in one.patterns))
    *first, last = dict.fromkeys((*(one.replacement for one in able), DEFAULT_REPLACEMENT))
    for replacement in first:
        with suppress(ConfigError):
            return Redactor(patterns, replacement=replacement)
    return Redactor(patterns, replacement=last)


def check_pattern(pattern: str) -> str | None:
    """Return why a pattern cannot be used for redaction, or None if it can.

    Refused is what RE2 does not know, what splits characters, and what matches the empty text
    anywhere (it would redact between any two characters).

    Raises:
        MissingExtra: google-re2 is not installed.
    """
    re2 = _re2()
    try:
        _expression(re2, pattern)
        if _SINGLE_BYTE.search(pattern):
            return r"\C matches half a character: use (?s:.)"
        if _matches_nothing(re2, pattern):
            return (
                "it matches the empty text, so it would redact everywhere: make it match something"
            )
    except re2.error as error:
        return _reason(pattern, error.args[0].decode(errors="replace"))
    except UnicodeEncodeError:
        return "it holds a lone surrogate: write it as UTF-8"
    return None


# ---- patterns ------------------------------------------------------------------------------------

_SINGLE_BYTE: Final = re.compile(r"(?<!\\)(?:\\\\)*+\\C")
_UNKNOWN_TO_RE2: Final = (
    (
        re.compile(r"\(\?<?[=!]$"),
        "look-around ({!r}): match the surroundings too, or leave them out",
    ),
    (re.compile(r"\\[1-9k]$|\(\?P=?$"), "back-references ({!r}): write the repeated part out"),
    (re.compile(r"\(\?>$|[*+?]\+$"), "atomic groups or possessive repeats ({!r}), and needs none"),
    (re.compile(r"\(\?\(?$|\(\?[R#]$"), "comments, recursion or conditions ({!r})"),
    (re.compile(r"\\Z$"), r"{!r}: write \z"),
)


def _re2() -> Any:
    try:
        import re2  # noqa: PLC0415 - an optional extra
    except ImportError:
        raise MissingExtra("redact_patterns", "workflows") from None
    module: ModuleType = re2
    return module


def _options(re2: Any, *, max_bytes: int = _PATTERN_BYTES) -> Any:
    options = re2.Options()
    options.log_errors = False  # it would print patterns to stderr
    options.never_capture = True  # groups are not used, and matching is faster without
    options.max_mem = max_bytes
    return options


def _expression(re2: Any, pattern: str) -> Any:
    return re2.compile(pattern, _options(re2))


def _matches_nothing(re2: Any, pattern: str) -> bool:
    """Say whether the pattern can match the empty text, whatever stands before and after it.

    Exact: what an empty match may depend on is whether its neighbours are the text's ends, line
    breaks, word characters or others. The neighbours take up the whole text, so it gets none of it.
    """
    kinds = ("a", "\n", "-")
    closed = _closed(re2, pattern)
    for before, after in product(("", r"[a\n-]"), repeat=2):
        around = _expression(re2, f"{before}(?:{closed}){after}")
        texts = product(kinds if before else ("",), kinds if after else ("",))
        if any(around.fullmatch(left + right) for left, right in texts):
            return True
    return False


def _closed(re2: Any, pattern: str) -> str:
    r"""Return the pattern so that it can stand in a group: an open ``\Q`` needs its end."""
    try:
        _expression(re2, f"(?:{pattern})")
    except re2.error:
        return pattern + r"\E"
    return pattern


def _reason(pattern: str, complaint: str) -> str:
    kind, _, fragment = complaint.partition(": ")
    if kind == "invalid repetition size":
        return f"RE2 (linear time) repeats at most 1000 times, all levels together: {fragment}"
    if fragment == "(?P" and "(?P=" not in pattern:
        return f"RE2 cannot read it: {complaint}"
    for shape, what in _UNKNOWN_TO_RE2:
        if shape.search(fragment):
            return f"RE2 (linear time) has no {what.format(fragment)}"
    return f"RE2 cannot read it: {complaint}"


# ---- replacing -----------------------------------------------------------------------------------


def _fail(error: BaseException) -> NoReturn:
    raise PrivacyError(
        f"redaction could not finish ({type(error).__name__}), so nothing was stored: look for lone "
        "surrogates, nesting beyond reason, or a replacement that forms new matches with its "
        "surroundings"
    ) from None


def _compile(patterns: Sequence[str], replacement: str) -> "_Rules":
    re2 = _re2()
    any_of = re2.Set.SearchSet(_options(re2, max_bytes=_PATTERN_BYTES * (len(patterns) + 1)))
    try:
        for pattern in (*patterns, ""):
            any_of.Add(pattern)
        any_of.Compile()
        return _Rules(
            expressions=tuple(_expression(re2, pattern) for pattern in patterns),
            any_of=any_of,
            replacement=replacement,
            replacement_bytes=replacement.encode(),
        )
    except re2.error:
        raise ConfigError(
            "the patterns are together too large: use fewer or smaller ones"
        ) from None
    except UnicodeEncodeError:
        raise ConfigError("the replacement holds a lone surrogate: write it as UTF-8") from None


class _Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Compiled patterns; each method returns the redacted value and how much was replaced.

    ``any_of`` finds in one pass which patterns match. Its last member matches everything: RE2's
    answer lacks it when its memory did not suffice, which would else look like no match.
    """

    expressions: tuple[Any, ...]
    any_of: Any
    replacement: str
    replacement_bytes: bytes

    def text(self, text: str) -> tuple[str, int]:
        data = text.encode()
        count = 0
        for _ in range(_PASSES):
            plain = _ESCAPE.sub(_unescaped, data) if b"\\" in data else data
            safe, replaced = self._pass(plain)
            if not replaced and plain != data:
                safe, replaced = self._pass(data)
            if not replaced:
                return (data.decode(), count) if count else (text, 0)
            data = safe
            count += replaced
        raise RuntimeError("replacements form new matches without end")

    def _pass(self, data: bytes) -> tuple[bytes, int]:
        found = self.any_of.Match(data)
        everything = len(self.expressions)
        if not found or everything not in found:  # out of memory: the expressions alone never are
            return self._replaced(data, 0)
        first = min(found)
        return (data, 0) if first == everything else self._replaced(data, first)

    def _replaced(self, data: bytes, first: int) -> tuple[bytes, int]:
        """Replace the matches of each pattern from ``first`` on, one pattern after the other."""
        count = 0
        for expression in self.expressions[first:]:
            pieces: list[bytes] = []
            end = 0
            for match in expression.finditer(data):
                start, stop = match.span()
                if data[start:stop] != self.replacement_bytes:
                    pieces += (data[end:start], self.replacement_bytes)
                    end = stop
                    count += 1
            if pieces:
                data = b"".join((*pieces, data[end:]))
        return data, count

    def json(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._map(value, self.json)
        if isinstance(value, list | tuple):
            items = [self.json(item) for item in value]
            count = sum(replaced for _, replaced in items)
            return ([item for item, _ in items], count) if count else (value, 0)
        if isinstance(value, int | float) and not isinstance(value, bool):
            digits, count = self.text(json.dumps(value))
            return (digits, count) if count else (value, 0)
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
            if free not in taken and not self.text(free)[1]:
                return free
        raise RuntimeError("no key can tell the items apart")

    def message(self, message: Message) -> tuple[Message, int]:
        tally = _Tally()
        message_id = message.message_id
        if not _MADE_ID.fullmatch(message_id):
            message_id = tally.add(self.text(message_id))
        metadata = tally.add(self.json(message.metadata)) if message.metadata else message.metadata
        content: Any = message.content
        if isinstance(content, str):
            content = tally.add(self.text(content))
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
            text=None if part.text is None else tally.add(self.text(part.text)),
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
            name=tally.add(self.text(call.function.name)),
            arguments=tally.add(self._arguments(call.function.arguments)),
        )
        return ToolCall(id=call.id, function=function, type=call.type), tally.count

    def _arguments(self, text: str) -> tuple[str, int]:
        """Redact what the JSON text says, then whatever still matches in how it is written."""
        total = 0
        for _ in range(_PASSES):
            text, in_values = self._json_text(text)
            text, in_writing = self.text(text)
            total += in_values + in_writing
            if not in_writing:
                return text, total
        raise RuntimeError("replacements form new matches without end")

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
        if not _is_data(url):
            return self.text(url)
        header, _, payload = url.partition(",")
        tally = _Tally()
        safe = f"{tally.add(self.text(header))},{tally.add(self._base64(payload))}"
        return safe, tally.count

    def _base64(self, payload: str) -> tuple[str, int]:
        """Redact UTF-8 text inside base64; what is no base64 is text itself; the rest is binary."""
        standard = "".join(payload.split()).translate(_URL_SAFE).rstrip("=")
        try:
            data = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
        except (binascii.Error, ValueError):
            return self.text(payload)
        try:
            inner = data.decode()
        except UnicodeDecodeError:
            return payload, 0
        safe, count = self.text(inner)
        return (base64.b64encode(safe.encode()).decode(), count) if count else (payload, 0)


class _Tally:
    """Adds up how much was replaced while values are put together."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def add(self, result: tuple[Any, int]) -> Any:
        value, replaced = result
        self.count += replaced
        return value


# ---- encodings -----------------------------------------------------------------------------------

_HEX: Final = rb"[0-9a-fA-F]"
_ESCAPE: Final = re.compile(  # \uXXXX, a pair of them for one character, or escaped once more
    rb"(?<!\\)\\++u(?:([dD][89abAB]%b{2})\\++u([dD][c-fC-F]%b{2})|(%b{4}))" % (_HEX, _HEX, _HEX)
)
_MADE_ID: Final = re.compile(r"msg_\d{13}_[0-9a-f]{8}")  # messages.new_message_id
_DATA_URL: Final = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_URL_SAFE: Final = str.maketrans("-_", "+/")
_DOTS: Final = str.maketrans("01", ".'")


def _unescaped(escape: re.Match[bytes]) -> bytes:
    """Return the character, unless JSON needs its escape or no text can hold it."""
    digits = (escape[1] or b"") + (escape[2] or b"") + (escape[3] or b"")
    try:
        char = bytes.fromhex(digits.decode()).decode("utf-16-be")
    except UnicodeDecodeError:
        return escape[0]
    return escape[0] if char < " " or char in '"\\' else char.encode()


def _is_data(url: object) -> bool:
    return isinstance(url, str) and _DATA_URL.match(url) is not None
