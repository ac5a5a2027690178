"""Regular expressions, by RE2: Go's own syntax, and no pattern can make it slow."""

import re
from collections.abc import Iterator
from itertools import islice

import re2

from recollect.templates.functions.signature import Function, text, whole
from recollect.templates.rendering import Refusal, check_size


def _matches(pattern: str, written: str, most: int = -1) -> "Iterator[re.Match[str]]":
    options = re2.Options()
    options.log_errors = False
    try:
        found = re2.compile(pattern, options).finditer(written)
    except re2.error:
        raise Refusal("the pattern is not a regular expression of RE2") from None
    return islice(found, most if most >= 0 else None)


def _find(pattern: str, written: str) -> str:
    return next((found[0] for found in _matches(pattern, written, 1)), "")


def _find_all(pattern: str, written: str, most: int) -> list[str]:
    return [found[0] for found in _matches(pattern, written, most)]


def _split(pattern: str, written: str, most: int) -> list[str]:
    parts, at = [], 0
    for found in _matches(pattern, written, max(most - 1, -1)):
        if found.end() > 0:
            parts.append(written[at : found.start()])
            at = found.end()
    return [*parts, written[at:]] if most else []


def _replaced(pattern: str, written: str, replacement: str, *, literal: bool = False) -> str:
    parts, size, at = [], len(written), 0
    for found in _matches(pattern, written):
        new = replacement if literal else _expanded(replacement, found)
        size += len(new)
        check_size(size)
        parts += [written[at : found.start()], new]
        at = found.end()
    return "".join([*parts, written[at:]])


_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")


def _expanded(replacement: str, found: "re.Match[str]") -> str:
    def group(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        try:
            return found.group(int(name) if name.isdigit() else name) or ""
        except (IndexError, KeyError):
            return ""

    return _REFERENCE.sub(group, replacement)


PATTERNS = {
    "regexMatch": Function(lambda p, t: any(True for _ in _matches(p, t, 1)), (text, text)),
    "regexFind": Function(_find, (text, text)),
    "regexFindAll": Function(_find_all, (text, text, whole)),
    "regexSplit": Function(_split, (text, text, whole)),
    "regexReplaceAll": Function(_replaced, (text, text, text)),
    "regexReplaceAllLiteral": Function(
        lambda p, t, new: _replaced(p, t, new, literal=True), (text, text, text)
    ),
    "regexQuoteMeta": Function(re2.escape, (text,)),
}
