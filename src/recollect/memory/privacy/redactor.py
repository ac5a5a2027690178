"""A privacy policy, compiled: what of a message may be stored."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NoReturn

import msgspec

from recollect.errors import ConfigError, PrivacyError
from recollect.memory.privacy.flags import flags_of, without_sensitive
from recollect.memory.privacy.matching import Endless, Rules, compiled
from recollect.memory.privacy.patterns import check_pattern
from recollect.memory.privacy.replacing import DEFAULT_REPLACEMENT, Strategy, samples, stand_in
from recollect.memory.privacy.walking import Walk
from recollect.messages import Message

_FAILURES: Final = (RuntimeError, MemoryError, ValueError)  # RecursionError, Unicode errors too


class Screened(msgspec.Struct, frozen=True, gc=False):
    """What came of a message.

    Attributes:
        message: what may be stored of it; None: nothing.
        redactions: how many matches were replaced.
        reason: why nothing may be stored: ``type`` (its role or ``metadata.type``), ``flag`` (it says
            ``do_not_persist``) or ``match`` (strategy drop, and a pattern matched).
    """

    message: Message | None
    redactions: int = 0
    reason: str | None = None


class Redactor:
    """Replaces every match of its patterns; says which messages are not to be stored.

    What it returns holds no match of any pattern, so redacting twice changes nothing more; only a
    match that is its own replacement stays. Redaction fails closed: it is whole or it raises. Safe to
    use from any thread. Without patterns and flags it returns what it was given.

    Attributes:
        patterns: the expressions and presets, in the order in which they are applied.
        replacement: stands in place of each match, literally (strategies redact and drop).
        strategy: what stands in place of a match (``replacing.stand_in``); with ``drop`` a message
            with a match is not stored, and what is no message has its matches replaced.
        non_persistable: roles or ``metadata.type`` values that are not stored, case-folded.

    Raises:
        ConfigError: a pattern cannot be used (``check_pattern`` says why; counted from 0), a
            replacement would be redacted itself, or strategy hash has no ``hash_key``.
        MissingExtra: there are patterns, and google-re2 is not installed.
    """

    __slots__ = ("_rules", "_stand_in", "non_persistable", "patterns", "replacement", "strategy")

    def __init__(
        self,
        patterns: Sequence[str] = (),
        *,
        replacement: str = DEFAULT_REPLACEMENT,
        strategy: Strategy = "redact",
        hash_key: bytes | None = None,
        non_persistable: Collection[str] = (),
        max_seconds: float = 10.0,
    ) -> None:
        self.patterns = tuple(patterns)
        self.replacement = replacement
        self.strategy: Strategy = strategy
        self.non_persistable = frozenset(name.strip().casefold() for name in non_persistable)
        self._stand_in = stand_in(strategy, replacement, hash_key)
        self._rules: Rules | None = None
        if self.patterns:
            for index, pattern in enumerate(self.patterns):
                reason = check_pattern(pattern)
                if reason:
                    raise ConfigError(f"pattern {index}: {reason}", index=index)
            self._rules = compiled(self.patterns, self._stand_in, max_seconds=max_seconds)
            for sample in samples(strategy, self._stand_in):
                self._check_replacement(sample)

    def _check_replacement(self, replacement: str) -> None:
        try:
            settled = not self.redact_text(replacement)[1]
        except PrivacyError:
            settled = False
        if not settled:
            raise ConfigError(
                f"the replacement {replacement!r} would itself be redacted: choose a text that "
                "no pattern matches"
                if self.strategy != "hash"
                else f"hashes, such as {replacement!r}, would themselves be redacted: choose another "
                "strategy, or narrower patterns"
            )

    def screen(self, message: Message) -> Screened:
        """Return what of a message may be stored.

        Raises:
            PrivacyError: as for ``redact``, or ``metadata.privacy`` is not understood.
        """
        if self.non_persistable and self.excludes(message.role, message.metadata):
            return Screened(None, reason="type")
        flags = flags_of(message.metadata) if "privacy" in message.metadata else None
        if flags and flags.do_not_persist:
            return Screened(None, reason="flag")
        hidden = 0
        if flags and flags.sensitive_fields:
            message, hidden = self._hide(message, flags.sensitive_fields)
        safe, count = self._redact(message)
        if count and self.strategy == "drop":
            return Screened(None, reason="match")
        return Screened(safe, hidden + count)

    def excludes(self, role: object, metadata: Mapping[str, Any]) -> bool:
        """Say whether no message of this role or ``metadata.type`` is stored, whatever their case."""
        kinds = (kind for kind in (role, metadata.get("type")) if isinstance(kind, str))
        return any(kind.strip().casefold() in self.non_persistable for kind in kinds)

    def _hide(self, message: Message, fields: Sequence[str]) -> tuple[Message, int]:
        def replace(text: str) -> str:
            return self._stand_in(text.encode()).decode()

        metadata, count = without_sensitive(message.metadata, fields, replace)
        return (
            (msgspec.structs.replace(message, metadata=metadata), count) if count else (message, 0)
        )

    def redact_text(self, text: str) -> tuple[str, int]:
        r"""Return the text without matches, and how many were replaced.

        Matches are found as written, behind JSON's ``\uXXXX`` escapes, and next to escapes like ``\n``.
        A text without any is returned as the same object.

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
            return Walk(self._rules).json(value)[0]
        except _FAILURES as error:
            _fail(error)

    def redact(self, message: Message) -> tuple[Message, int]:
        """Return the message without matches and sensitive fields, and how many were replaced.

        Covers content, parts, attachments, names and arguments of tool calls, the message's id and its
        metadata, keys included. Arguments are redacted as the JSON they hold and stay JSON unless a
        match spans its punctuation. Base64 is opened where it holds UTF-8 text; in pictures and other
        binary data nothing is looked for. Ids of tool calls stay, because they pair calls and results,
        and so do message ids of our own making, whose digits mean nothing.
        A message without matches is returned as the same object.

        Raises:
            PrivacyError: as for ``redact_json``, or ``metadata.privacy`` is not understood; the message
                must then not be stored.
        """
        fields = flags_of(message.metadata).sensitive_fields
        message, hidden = self._hide(message, fields) if fields else (message, 0)
        safe, count = self._redact(message)
        return safe, hidden + count

    def _redact(self, message: Message) -> tuple[Message, int]:
        if self._rules is None:
            return message, 0
        try:
            return Walk(self._rules).message(message)
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


def _fail(error: BaseException) -> NoReturn:
    if isinstance(error, Endless):
        raise PrivacyError(
            f"redaction could not finish ({error}), so nothing was stored: look for a replacement "
            "that forms new matches with its surroundings, or a pattern such as x.*y|x"
        ) from None
    raise PrivacyError(
        f"redaction could not finish ({type(error).__name__}), so nothing was stored: look for lone "
        "surrogates, or nesting beyond reason"
    ) from None
