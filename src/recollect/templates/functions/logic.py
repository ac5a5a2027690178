"""Truth, comparison, defaults, types, and JSON."""

import json
from datetime import datetime
from decimal import Decimal

from recollect.templates.functions.signature import Function, anything, flag, text
from recollect.templates.printing import (
    Made,
    aware,
    describe,
    is_container,
    own_text,
    plain,
    to_json,
)
from recollect.templates.rendering import Refusal, Rendering


def _comparable(value: object) -> object:
    """Bring values that may be compared to one Python type."""
    if isinstance(value, datetime):
        return aware(value)
    if is_container(value):
        own = own_text(value)
        if own is None:
            raise Refusal(f"cannot compare {describe(value)}: use deepEqual")
        return own
    return value


def _check_pair(a: object, b: object) -> None:
    if isinstance(a, bool) is not isinstance(b, bool) or not any(
        isinstance(a, kind) and isinstance(b, kind)
        for kind in (str, (int, float, Decimal), datetime)
    ):
        raise Refusal(f"cannot compare {describe(a)} with {describe(b)}")


def _equal(first: object, *others: object) -> bool:
    a = _comparable(first)
    for other in others:
        b = _comparable(other)
        if a is None or b is None:
            if a is b:
                return True
            continue
        _check_pair(a, b)
        if a == b:
            return True
    return False


def _less(first: object, second: object) -> bool:
    a, b = _comparable(first), _comparable(second)
    _check_pair(a, b)
    if isinstance(a, bool):
        raise Refusal("booleans have no order")
    return bool(a < b)  # type: ignore[operator]  # both are texts, numbers or times


def _coalesce(*values: object) -> object:
    return next(filter(None, values), None)


def _parse_json(written: str) -> object:
    def refuse(constant: str) -> object:
        raise ValueError(constant)

    return json.loads(written, object_hook=Made, parse_constant=refuse)


def _parsed_or_nil(written: str) -> object:
    try:
        return _parse_json(written)
    except (ValueError, RecursionError):
        return None


def _same(rendering: Rendering, a: object, b: object) -> bool:
    return to_json(a, rendering) == to_json(b, rendering)


def kind_of(value: object) -> str:
    """Name the Go kind of a value."""
    match value:
        case None:
            return "invalid"
        case str():
            return "string"
        case bool():
            return "bool"
        case int():
            return "int"
        case float() | Decimal():
            return "float64"
        case datetime():
            return "struct"
    return "map" if describe(value) == "a map" else "slice"


def type_of(value: object) -> str:
    """Name the Go type of a value."""
    kind = kind_of(value)
    return _TYPES.get(kind, kind)


_TYPES = {
    "invalid": "<nil>",
    "struct": "time.Time",
    "map": "map[string]interface {}",
    "slice": "[]interface {}",
}

_TO_JSON = Function(lambda r, v: to_json(v, r), (anything,), needs_rendering=True)

LOGIC = {
    "eq": Function(_equal, (anything, anything), rest=anything),
    "ne": Function(lambda a, b: not _equal(a, b), (anything, anything)),
    "lt": Function(_less, (anything, anything)),
    "le": Function(lambda a, b: not _less(b, a), (anything, anything)),
    "gt": Function(lambda a, b: _less(b, a), (anything, anything)),
    "ge": Function(lambda a, b: not _less(a, b), (anything, anything)),
    "not": Function(lambda v: not v, (anything,)),
    "default": Function(lambda spare, v=None: v or spare, (anything,), (anything,)),
    "coalesce": Function(_coalesce, rest=anything),
    "empty": Function(lambda v: not v, (anything,)),
    "all": Function(lambda *v: all(v), rest=anything),
    "any": Function(lambda *v: any(v), rest=anything),
    "ternary": Function(lambda yes, no, c: yes if c else no, (anything, anything, flag)),
    "deepEqual": Function(_same, (anything, anything), needs_rendering=True),
    "deepCopy": Function(lambda r, v: plain(v, r, fields=Made), (anything,), needs_rendering=True),
    "fromJson": Function(_parsed_or_nil, (text,)),
    "mustFromJson": Function(_parse_json, (text,)),
    "toJson": _TO_JSON,
    "toRawJson": _TO_JSON,
    "toPrettyJson": Function(
        lambda r, v: to_json(v, r, indent=2), (anything,), needs_rendering=True
    ),
    "kindOf": Function(kind_of, (anything,)),
    "kindIs": Function(lambda name, v: kind_of(v) == name, (text, anything)),
    "typeOf": Function(type_of, (anything,)),
    "typeIs": Function(lambda name, v: type_of(v) == name, (text, anything)),
    "typeIsLike": Function(lambda name, v: type_of(v) == name.lstrip("*"), (text, anything)),
}
