"""Finding and replacing in one text."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from recollect.clock import SystemClock
from recollect.memory.privacy.encodings import blanked, unescaped
from recollect.memory.privacy.patterns import any_of, expression
from recollect.memory.privacy.presets import Check, parts_of
from recollect.memory.privacy.replacing import StandIn

PASSES: Final = 16  # replacements that form new matches are replaced again, this often
_LOOKED_AT_TOGETHER: Final = 64  # matches between two looks at the clock
_clock = SystemClock()


class Endless(RuntimeError):
    """Replacing did not come to an end."""


class _Rule(msgspec.Struct, frozen=True):
    expression: Any
    check: Check | None
    again: bool

    def spans(self, data: bytes, deadline: float) -> Iterator[tuple[int, int]]:
        """Yield where the matches are, in order, none inside another."""
        found = self._matches(data) if self.check is None else self._checked(data)
        for number, (start, stop) in enumerate(found):
            if number % _LOOKED_AT_TOGETHER == 0 and _clock.monotonic() > deadline:
                raise Endless("a pattern looks far ahead at each of many matches")
            if start < stop:
                yield start, stop

    def _matches(self, data: bytes) -> Iterator[tuple[int, int]]:
        for match in self.expression.finditer(data):
            yield match.span()

    def _checked(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Yield what of each candidate is real; nothing of it is an empty span."""
        check = self.check
        position = 0
        while check and (found := self.expression.search(data, position)):
            start, stop = found.span()
            end = check(data, start, stop)
            yield start, end
            position = end if end > start else start + 1 if self.again else stop


Seen = Callable[[bytes], bytes]


def _as_it_is(data: bytes) -> bytes:
    return data


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Compiled patterns; each method returns the redacted value and how much was replaced.

    Attributes:
        any_of: finds in one pass which of ``rules`` may match.
        anchored: some pattern looks at where a text begins or ends.
        max_seconds: replacing in one text never takes longer.
    """

    rules: tuple[_Rule, ...]
    any_of: Any
    stand_in: StandIn
    anchored: bool
    max_seconds: float

    def text(self, text: str) -> tuple[str, int]:
        """Redact a text; one without matches is returned as the same object.

        Raises:
            Endless: it takes too long. UnicodeError: the text holds a lone surrogate.
        """
        data = text.encode()
        count = 0
        deadline: float | None = None
        for _ in range(PASSES):
            plain = unescaped(data)
            safe, replaced = self._pass(plain, deadline)
            if not replaced and plain is not data:
                safe, replaced = self._pass(data, deadline)
            if not replaced and blanked(plain) is not plain:
                safe, replaced = self._pass(plain, deadline, blanked)
            if not replaced:
                return (data.decode(), count) if count else (text, 0)
            deadline = deadline or _clock.monotonic() + self.max_seconds
            data = safe
            count += replaced
        raise Endless("replacements form new matches without end")

    def number(self, value: float) -> tuple[float | str, int]:
        """Redact a number, as JSON writes it; what is left of a match is text."""
        digits, count = self.text(json.dumps(value))
        return (digits, count) if count else (value, 0)

    def _pass(
        self, data: bytes, deadline: float | None, seen_as: Seen = _as_it_is
    ) -> tuple[bytes, int]:
        """Replace what matches in the data as they are seen; that has their length."""
        found = self.any_of.Match(seen_as(data))
        everything = len(self.rules)
        first = min(found) if found and everything in found else 0  # 0: RE2 ran out of memory
        if first == everything:
            return data, 0
        deadline = deadline or _clock.monotonic() + self.max_seconds
        return self._replaced(data, first, deadline, seen_as)

    def _replaced(
        self, data: bytes, first: int, deadline: float, seen_as: Seen
    ) -> tuple[bytes, int]:
        """Replace the matches of each rule from ``first`` on, one rule after the other."""
        count = 0
        for rule in self.rules[first:]:
            pieces: list[bytes] = []
            end = 0
            for start, stop in rule.spans(seen_as(data), deadline):
                match = data[start:stop]
                new = self.stand_in(match)
                if new != match:
                    pieces += (data[end:start], new)
                    end = stop
                    count += 1
            if pieces:
                data = b"".join((*pieces, data[end:]))
        return data, count


def compiled(patterns: Sequence[str], stand_in: StandIn, *, max_seconds: float) -> Rules:
    """Return checked patterns, compiled.

    Raises:
        ConfigError: they are too large together.
    """
    parts = [part for pattern in patterns for part in parts_of(pattern)]
    return Rules(
        rules=tuple(_Rule(expression(part.expression), part.check, part.again) for part in parts),
        any_of=any_of(tuple(part.expression for part in parts)),
        stand_in=stand_in,
        anchored=any(mark in part.expression for part in parts for mark in _ANCHORS),
        max_seconds=max_seconds,
    )


_ANCHORS: Final = ("^", "$", r"\A", r"\z", r"\Q")  # [^ and \$ too: they only cost a longer way
