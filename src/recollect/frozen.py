"""JSON that does not change: metadata and other plain data, checked and frozen.

Text may be anything UTF-8 can carry, NUL included; lone surrogates are refused, because no store can
keep them.
"""

import math
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, NoReturn

from recollect.errors import InvalidMessage

INT_MIN, INT_MAX = -(2**63), 2**64 - 1  # what JSON readers of all backends agree on
_MAX_NESTING = 50


def _read_only(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise TypeError("a message does not change: build a new one")


class FrozenDict(dict[str, Any]):
    """A dict that refuses to change; equal to, and as JSON the same as, a plain one."""

    __slots__ = ()
    __setitem__ = __delitem__ = __ior__ = _read_only
    clear = pop = popitem = setdefault = update = _read_only

    def __reduce__(self) -> tuple[Any, ...]:
        return (FrozenDict, (dict(self),))

    def __copy__(self) -> "FrozenDict":
        return self

    def __deepcopy__(self, memo: object) -> "FrozenDict":
        return self


class FrozenList(list[Any]):
    """A list that refuses to change; equal to, and as JSON the same as, a plain one."""

    __slots__ = ()
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _read_only
    append = clear = extend = insert = pop = remove = reverse = sort = _read_only

    def __reduce__(self) -> tuple[Any, ...]:
        return (FrozenList, (list(self),))

    def __copy__(self) -> "FrozenList":
        return self

    def __deepcopy__(self, memo: object) -> "FrozenList":
        return self


EMPTY = FrozenDict()


def check_text(text: str, what: str) -> None:
    """Refuse lone surrogates.

    Raises:
        InvalidMessage: ``text`` cannot be written as UTF-8.
    """
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidMessage(
            f"{what} has a lone surrogate at character {error.start}, which no store can keep: "
            "decode the text with the right encoding first"
        ) from None


def freeze(value: object, what: str = "metadata", depth: int = 0) -> Any:
    """Return ``value`` as immutable JSON: dates become ISO 8601 text, tuples lists.

    Raises:
        InvalidMessage: it holds something JSON has no place for (a set, NaN, an object, a key that
            is no string, a number beyond 64 bits) or is nested deeper than 50; the text names where.
    """
    kind = type(value)
    if kind is str:
        check_text(value, what)  # type: ignore[arg-type]
        return value
    if value is None or kind is bool or kind is FrozenDict or kind is FrozenList:
        return value
    if kind is int:
        return _checked_int(value, what)  # type: ignore[arg-type]
    if kind is float:
        if math.isfinite(value):  # type: ignore[arg-type]
            return value
        raise InvalidMessage(f"{what} is {value}, which JSON cannot hold")
    return _freeze_other(value, what, depth)


def _checked_int(value: int, what: str) -> int:
    if INT_MIN <= value <= INT_MAX:
        return value
    raise InvalidMessage(f"{what} is a number beyond 64 bits: give it as text")


def _freeze_other(value: object, what: str, depth: int) -> Any:
    if depth >= _MAX_NESTING:
        raise InvalidMessage(f"{what} is nested deeper than {_MAX_NESTING} levels")
    if isinstance(value, Mapping):
        return FrozenDict(
            {_checked_name(k, what): freeze(v, f"{what}.{k}", depth + 1) for k, v in value.items()}
        )
    if isinstance(value, list | tuple):
        return FrozenList(freeze(v, f"{what}[{i}]", depth + 1) for i, v in enumerate(value))
    if isinstance(value, datetime | date):
        return value.isoformat()
    for base in (str, int, float):  # subclasses, such as enums, become the plain value
        if isinstance(value, base):
            return freeze(base.__str__(value) if base is str else base(value), what, depth)
    raise InvalidMessage(f"{what} holds a {type(value).__name__}, which JSON has no place for")


def _checked_name(name: object, what: str) -> str:
    if not isinstance(name, str):
        raise InvalidMessage(f"{what} has a key of type {type(name).__name__}: keys are text")
    check_text(name, f"a key of {what}")
    return str(name)
