"""What a template function takes, and how a value of the data becomes an argument."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import cast

import msgspec

from recollect.templates.printing import describe, is_container, own_text
from recollect.templates.rendering import Refusal, Rendering

Kind = Callable[[object], object]


class Function(msgspec.Struct, frozen=True):
    """A function by the kinds of its arguments; ``rest`` may repeat without end.

    With ``needs_rendering`` the rendering is handed over before the arguments.
    """

    call: Callable[..., object]
    takes: tuple[Kind, ...] = ()
    optional: tuple[Kind, ...] = ()
    rest: Kind | None = None
    needs_rendering: bool = False

    def __call__(self, rendering: Rendering, given: Sequence[object]) -> object:
        """Convert the arguments and call."""
        kinds = self.takes + self.optional
        arguments = []
        for number, value in enumerate(given):
            kind = kinds[number] if number < len(kinds) else self.rest
            try:
                arguments.append(kind(value) if kind else value)
            except Refusal as why:
                raise Refusal(f"argument {number + 1} {why}") from None
        return self.call(rendering, *arguments) if self.needs_rendering else self.call(*arguments)

    def wrong_count(self, count: int) -> str | None:
        """Say what is wrong with this many arguments, if anything."""
        least, most = len(self.takes), len(self.takes) + len(self.optional)
        if count >= least and (self.rest or count <= most):
            return None
        bounds = f"{least}" if least == most else f"{least} to {most}"
        bounds = f"at least {least}" if self.rest else bounds
        plural = "" if bounds.endswith("1") else "s"
        return f"takes {bounds} argument{plural}, {count} given"


def anything(value: object) -> object:
    """Take any value, nil too."""
    return value


def text(value: object) -> str:
    """Take a text, or an object whose class has a text form."""
    if isinstance(value, str):
        return value
    if is_container(value) and (own := own_text(value)) is not None:
        return own
    raise Refusal(f"must be a text, not {describe(value)}")


def whole(value: object) -> int:
    """Take a whole number; JSON may write it as 3.0."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, (float, Decimal)) and math.isfinite(value) and value == int(value):
        return int(value)
    raise Refusal(f"must be a whole number, not {describe(value)}")


def flag(value: object) -> bool:
    """Take true or false; nil is false."""
    if value is None or isinstance(value, bool):
        return bool(value)
    raise Refusal(f"must be true or false, not {describe(value)}")


def items(value: object) -> Sequence[object]:
    """Take a list; nil is an empty one."""
    if value is None:
        return ()
    if is_container(value) and not isinstance(value, Mapping):
        return cast(Sequence[object], value)
    raise Refusal(f"must be a list, not {describe(value)}")


def fields(value: object) -> Mapping[str, object]:
    """Take a map; nil is an empty one."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise Refusal(f"must be a map, not {describe(value)}")


def real(value: object) -> float:
    """Take what Sprig reads as a number: text too, where other text is 0, nil 0, true 1."""
    if isinstance(value, (int, float, Decimal)):
        return float(value)
    if value is None:
        return 0.0
    if isinstance(value, str):
        return float(_read_number(value))
    raise Refusal(f"must be a number, not {describe(value)}")


def integer(value: object) -> int:
    """Take what Sprig reads as a number, without its fraction, in 64 bits."""
    number = _read_number(value) if isinstance(value, str) else value
    return in_64_bits(int(number if isinstance(number, int) else real(number)))


def in_64_bits(number: int) -> int:
    """Refuse a whole number that Go could not hold."""
    if not -(2**63) <= number < 2**63:
        raise Refusal("the number does not fit 64 bits")
    return number


_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_BASED = re.compile(r"[+-]?0([xX][0-9a-fA-F]+|[bB][01]+|[oO][0-7]+)")
_LONGEST_NUMBER = 64


def _read_number(written: str) -> int | float:
    if len(written) > _LONGEST_NUMBER:
        return 0
    if _BASED.fullmatch(written):
        return int(written, 0)
    found = _NUMBER.fullmatch(written)
    if not found:
        return 0
    return float(written) if found[2] or found[3] or "." in written else int(written)
