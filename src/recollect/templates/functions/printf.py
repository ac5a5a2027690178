"""``printf``: Go's verbs. What Go marks inside the text as ``%!d(string=…)`` is an error here."""

import re
from collections.abc import Callable

from recollect.templates.functions.logic import type_of
from recollect.templates.functions.signature import Function, anything, flag, real, text, whole
from recollect.templates.printing import quoted, to_text
from recollect.templates.rendering import Refusal, Rendering, check_size

_VERB = re.compile(r"%([-+# 0]*)(\*|[0-9]+)?(?:\.(\*|[0-9]*))?(.)?", re.DOTALL)
_WIDEST = 10_000


def _printf(rendering: Rendering, layout: str, *given: object) -> str:
    arguments = _Arguments(given)
    parts: list[str] = []
    size = at = 0
    for found in _VERB.finditer(layout):
        parts += [layout[at : found.start()], _formatted(rendering, found, arguments)]
        size += len(parts[-1])
        check_size(size)
        at = found.end()
    arguments.check_all_used()
    return "".join([*parts, layout[at:]])


class _Arguments:
    """Hands out the arguments in order."""

    def __init__(self, given: tuple[object, ...]) -> None:
        self._given = given
        self._used = 0

    def take(self, verb: str) -> object:
        if self._used == len(self._given):
            raise Refusal(f"there is no argument for %{verb}")
        self._used += 1
        return self._given[self._used - 1]

    def check_all_used(self) -> None:
        if self._used < len(self._given):
            raise Refusal(f"{len(self._given)} arguments, but verbs for {self._used}")


def _formatted(rendering: Rendering, found: re.Match[str], arguments: _Arguments) -> str:
    flags, verb = found[1], found[4]
    width = _size(found[2], arguments) or 0
    precision = _size(found[3], arguments)
    if verb == "%":
        return "%"
    if verb is None or verb not in _WRITERS:
        known = " ".join(sorted(_WRITERS))
        raise Refusal(f"%{verb or ''} is no verb. Known verbs: {known}")
    value = arguments.take(verb)
    try:
        body = _WRITERS[verb](rendering, value, flags, precision)
    except Refusal as why:
        raise Refusal(f"the value for %{verb} {why}") from None
    if "-" in flags:
        return body.ljust(width)
    if "0" in flags and body.lstrip("+-")[:1].isdigit():
        return body.zfill(width)
    return body.rjust(width)


def _size(written: str | None, arguments: _Arguments) -> int | None:
    if written is None:
        return None
    size = whole(arguments.take("*")) if written == "*" else int(written[:9] or 0)
    if not 0 <= size <= _WIDEST:
        raise Refusal(f"a width or precision above {_WIDEST}, or below 0")
    return size


Writer = Callable[[Rendering, object, str, int | None], str]


def _signed(body: str, flags: str) -> str:
    if body.startswith("-"):
        return body
    return "+" + body if "+" in flags else " " + body if " " in flags else body


def _text(rendering: Rendering, value: object, flags: str, precision: int | None) -> str:
    if value is None:
        raise Refusal("must not be nil: use %v or default")
    return to_text(value, rendering)[:precision]


def _value(rendering: Rendering, value: object, flags: str, precision: int | None) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _signed(to_text(value, rendering), flags)
    return "<nil>" if value is None else to_text(value, rendering)[:precision]


def _whole_in(base: str) -> Writer:
    def written(rendering: Rendering, value: object, flags: str, precision: int | None) -> str:
        number = whole(value)
        digits = format(abs(number), base).rjust(precision or 0, "0")
        mark = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(base, "") if "#" in flags else ""
        return _signed(("-" if number < 0 else "") + mark + digits, flags)

    return written


def _hexadecimal(base: str) -> Writer:
    def written(rendering: Rendering, value: object, flags: str, precision: int | None) -> str:
        if isinstance(value, str):
            digits = value.encode("utf-8", "surrogatepass").hex()
            return digits.upper() if base == "X" else digits
        return _whole_in(base)(rendering, value, flags, precision)

    return written


def _real_in(style: str) -> Writer:
    def written(rendering: Rendering, value: object, flags: str, precision: int | None) -> str:
        if isinstance(value, (str, type(None))):
            raise Refusal("must be a number, not a text" if value else "must be a number")
        if style in "gG" and precision is None:
            return _value(rendering, value, flags, None)
        return _signed(
            format(real(value), f".{6 if precision is None else precision}{style}"), flags
        )

    return written


_WRITERS: dict[str, Writer] = {
    "v": _value,
    "s": _text,
    "d": _whole_in("d"),
    "o": _whole_in("o"),
    "b": _whole_in("b"),
    "x": _hexadecimal("x"),
    "X": _hexadecimal("X"),
    **{style: _real_in(style) for style in "fFeEgG"},
    "t": lambda rendering, value, flags, precision: str(flag(value)).lower(),
    "q": lambda *given: quoted(_text(*given)),
    "c": lambda rendering, value, flags, precision: chr(whole(value)),
    "U": lambda rendering, value, flags, precision: f"U+{whole(value):04X}",
    "T": lambda rendering, value, flags, precision: type_of(value),
}

PRINTF = {"printf": Function(_printf, (text,), rest=anything, needs_rendering=True)}
