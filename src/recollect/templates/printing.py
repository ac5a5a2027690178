"""Values -> text: as a template prints them, as JSON, and as Go quotes them."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

from recollect.templates.rendering import Refusal, Rendering

_MAX_DEPTH = 100
NODE_WORK = 16
_PLAIN_BELOW = 1e21


class Made(dict[str, object]):
    """A map made by the template itself: ``set`` may change it, unlike a map of the scope."""

    __slots__ = ()


def to_text(value: object, rendering: Rendering) -> str:
    """Write a value as a template prints it.

    Nil is empty, numbers are plain, times are RFC 3339 in UTC; lists and maps are JSON unless their
    class has a text form of its own.
    """
    if type(value) is str:
        return value
    if value is None:
        return ""
    if is_container(value):
        own = own_text(value)
        return to_json(value, rendering) if own is None else own
    return scalar_text(value)


def scalar_text(value: object) -> str:
    """Write a text, number, boolean or time."""
    match value:
        case str():
            return str.__str__(value)
        case bool():
            return "true" if value else "false"
        case int():
            return int.__repr__(value)
        case float():
            return _float_text(value)
        case Decimal():
            return f"{value:f}" if value.is_finite() else _float_text(float(value))
        case datetime():
            return aware(value).astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date():
            return value.isoformat()
    raise Refusal(f"{describe(value)} has no text form in a template")


def is_container(value: object) -> bool:
    """Tell lists and maps from everything else."""
    if isinstance(value, (dict, list)):
        return True
    return isinstance(value, (Mapping, Sequence)) and not isinstance(
        value, (str, bytes, bytearray, memoryview)
    )


def own_text(value: object) -> str | None:
    """The text of a list or map whose class defines one, such as a conversation's transcript."""
    if type(value).__str__ in _COMMON_FORMS:
        return None
    return str(value)


_COMMON_FORMS = {dict.__str__, list.__str__, tuple.__str__, object.__str__}


def describe(value: object) -> str:
    """Name the type of a value in the words of error texts."""
    if value is None:
        return "nil"
    for kind, name in _NAMES:
        if isinstance(value, kind):
            return name
    if is_container(value):
        return "a list"
    return f"a value of type {type(value).__name__}"


_NAMES: list[tuple[type, str]] = [
    (str, "a text"),
    (bool, "a boolean"),
    (int, "a whole number"),
    (float, "a number"),
    (Decimal, "a number"),
    (datetime, "a time"),
    (date, "a date"),
    (Mapping, "a map"),
]


def aware(time: datetime) -> datetime:
    """Read a time without a zone as UTC."""
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def to_json(value: object, rendering: Rendering, *, indent: int | None = None) -> str:
    """Write JSON: sorted keys, compact unless indented, non-ASCII and HTML characters as they are.

    Raises:
        Refusal: the value holds something that has no JSON form, or is too large or too deep.
    """
    return json.dumps(
        plain(value, rendering, leaf=_json_leaf),
        ensure_ascii=False,
        sort_keys=True,
        indent=indent,
        separators=None if indent else (",", ":"),
    )


def plain(
    value: object,
    rendering: Rendering,
    *,
    leaf: Callable[[object], object] = lambda value: value,
    fields: type[dict[str, object]] = dict,
    depth: int = 0,
) -> object:
    """Copy a value into dicts and lists of its own, through and through.

    Every node costs work, so a list of lists of the same list ends instead of growing without end.
    """
    rendering.spend(NODE_WORK + depth)
    if depth > _MAX_DEPTH:
        raise Refusal(f"the value is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, str):
        rendering.spend(len(value))
        return str.__str__(value)
    if not is_container(value):
        return leaf(value)

    def inner(item: object) -> object:
        return plain(item, rendering, leaf=leaf, fields=fields, depth=depth + 1)

    if isinstance(value, Mapping):
        return fields({scalar_text(key): inner(item) for key, item in value.items()})
    return [inner(item) for item in value]  # type: ignore[attr-defined]  # a container is iterable


def _json_leaf(value: object) -> object:
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Refusal("JSON has no form for NaN and infinity")
        return int(value) if value.is_integer() and abs(value) < _PLAIN_BELOW else value
    return value if value is None or isinstance(value, int) else scalar_text(value)


def _float_text(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value.is_integer() and abs(value) < _PLAIN_BELOW:
        return str(int(value))
    text = repr(value)
    return text if "e" not in text or abs(value) >= _PLAIN_BELOW else _small_text(value)


def _small_text(value: float) -> str:
    return f"{Decimal(repr(value)):f}" if abs(value) >= 1e-6 else repr(value)


def quoted(text: str) -> str:
    """Write a text as Go quotes it, in double quotes with Go's escapes."""
    return f'"{_UNPRINTED.sub(_escaped, text)}"'


_UNPRINTED = re.compile(r'[\\"\x00-\x1f\x7f]|[^\x00-\x7f]')
_SHORT = {**dict(zip("\a\b\f\n\r\t\v", "abfnrtv", strict=True)), "\\": "\\", '"': '"'}


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if character in _SHORT:
        return "\\" + _SHORT[character]
    if character.isprintable():
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
