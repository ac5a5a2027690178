"""Which patterns can be used, and why not; the only home of google-re2.

A search is linear in the text however evil the pattern; for patterns that match often and look far
ahead each time, such as ``x.*y|x``, all searches of a text together are not: ``matching`` bounds those.
"""

import re
from itertools import product
from types import ModuleType
from typing import Any, Final

from recollect.errors import ConfigError, MissingExtra, closest
from recollect.memory.privacy.presets import PRESETS, named

_PATTERN_BYTES: Final = 8 << 20  # RE2's own default for one pattern


def check_pattern(pattern: str) -> str | None:
    """Return why a pattern cannot be used for redaction, or None if it can.

    Refused is a preset there is not, what RE2 does not know, what splits characters, and what matches
    the empty text anywhere (it would redact between any two characters).

    Raises:
        MissingExtra: google-re2 is not installed.
    """
    name = named(pattern)
    if name is not None:
        if name in PRESETS:
            return None
        return (
            f"there is no preset {name!r}.{closest(name, PRESETS)} There are {', '.join(PRESETS)}"
        )
    re2 = _re2()
    try:
        expression(pattern)
        if _SINGLE_BYTE.search(pattern):
            return r"\C matches half a character: use (?s:.)"
        if _matches_nothing(pattern):
            return (
                "it matches the empty text, so it would redact everywhere: make it match something"
            )
    except re2.error as error:
        return _reason(pattern, error.args[0].decode(errors="replace"))
    except UnicodeEncodeError:
        return "it holds a lone surrogate: write it as UTF-8"
    return None


def expression(pattern: str) -> Any:
    """Return the compiled pattern; it searches bytes.

    Raises:
        MissingExtra: google-re2 is not installed. re2.error: RE2 cannot read it.
    """
    re2 = _re2()
    return re2.compile(pattern, _options(re2))


def any_of(patterns: tuple[str, ...]) -> Any:
    """Return what finds in one pass which patterns match, by position.

    It has one member more than patterns, which matches everything: RE2's answer lacks it when its
    memory did not suffice, which would else look like no match.

    Raises:
        ConfigError: they are too large together.
    """
    re2 = _re2()
    members = re2.Set.SearchSet(_options(re2, max_bytes=_PATTERN_BYTES * (len(patterns) + 1)))
    try:
        for pattern in (*patterns, ""):
            members.Add(pattern)
        members.Compile()
    except re2.error:
        raise ConfigError(
            "the patterns are together too large: use fewer or smaller ones"
        ) from None
    return members


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


# ---- reasons -------------------------------------------------------------------------------------

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


def _matches_nothing(pattern: str) -> bool:
    """Say whether the pattern can match the empty text, whatever stands before and after it.

    Exact: what an empty match may depend on is whether its neighbours are the text's ends, line
    breaks, word characters or others. The neighbours take up the whole text, so it gets none of it.
    """
    kinds = ("a", "\n", "-")
    closed = _closed(pattern)
    for before, after in product(("", r"[a\n-]"), repeat=2):
        around = expression(f"{before}(?:{closed}){after}")
        texts = product(kinds if before else ("",), kinds if after else ("",))
        if any(around.fullmatch(left + right) for left, right in texts):
            return True
    return False


def _closed(pattern: str) -> str:
    r"""Return the pattern so that it can stand in a group: an open ``\Q`` needs its end."""
    try:
        expression(f"(?:{pattern})")
    except _re2().error:
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
