"""Numbers: arithmetic in 64-bit whole numbers, its ``f`` twins in decimals, and conversions."""

import math
from collections.abc import Callable
from decimal import Decimal
from functools import reduce

from recollect.templates.functions.signature import (
    Function,
    in_64_bits,
    integer,
    real,
    text,
    whole,
)
from recollect.templates.rendering import MAX_ITERATIONS, Refusal


def _product(first: int, *others: int) -> int:
    return reduce(lambda a, b: in_64_bits(a * b), others, first)


def _quotient(a: int, b: int) -> int:
    if b == 0:
        raise Refusal("division by zero")
    quotient = abs(a) // abs(b)
    return in_64_bits(quotient if (a < 0) == (b < 0) else -quotient)


def _remainder(a: int, b: int) -> int:
    return a - b * _quotient(a, b)


def _ratio(a: Decimal, b: Decimal) -> Decimal:
    if b == 0:
        raise Refusal("division by zero")
    return a / b


def _decimals(step: Callable[[Decimal, Decimal], Decimal]) -> Callable[..., float]:
    def calculate(*numbers: float) -> float:
        return float(reduce(step, (Decimal(repr(number)) for number in numbers)))

    return calculate


def _rounded(value: float, places: int, up_from: float = 0.5) -> float:
    power = 10.0**places
    scaled = power * value
    fraction, _ = math.modf(scaled)
    return (math.ceil(scaled) if fraction >= up_from else math.floor(scaled)) / power


def _steps(start: int, stop: int, step: int) -> list[int]:
    if step == 0 or (step > 0) != (stop > start):
        return []
    numbers = range(start, stop, step)
    if max(abs(start), abs(stop)) >= 2**62 or len(numbers) > MAX_ITERATIONS:
        raise Refusal(f"more than {MAX_ITERATIONS} numbers")
    return list(numbers)


def _sequence(*bounds: int) -> str:
    if not 1 <= len(bounds) <= 3:
        return ""
    start, last = bounds[0] if len(bounds) > 1 else 1, bounds[-1]
    onward = 1 if last >= start else -1
    step = bounds[1] if len(bounds) == 3 else onward
    return " ".join(map(str, _steps(start, last + onward, step)))


MATHS = {
    "int": Function(integer, (integer,)),
    "int64": Function(integer, (integer,)),
    "float64": Function(real, (real,)),
    "atoi": Function(integer, (text,)),
    "add": Function(lambda *n: in_64_bits(sum(n)), rest=integer),
    "add1": Function(lambda n: in_64_bits(n + 1), (integer,)),
    "sub": Function(lambda a, b: in_64_bits(a - b), (integer, integer)),
    "mul": Function(_product, (integer,), rest=integer),
    "div": Function(_quotient, (integer, integer)),
    "mod": Function(_remainder, (integer, integer)),
    "max": Function(lambda *n: max(n), (integer,), rest=integer),
    "biggest": Function(lambda *n: max(n), (integer,), rest=integer),
    "min": Function(lambda *n: min(n), (integer,), rest=integer),
    "addf": Function(lambda *n: _decimals(Decimal.__add__)(0.0, *n), rest=real),
    "add1f": Function(lambda n: _decimals(Decimal.__add__)(n, 1.0), (real,)),
    "subf": Function(_decimals(Decimal.__sub__), (real,), rest=real),
    "mulf": Function(_decimals(Decimal.__mul__), (real,), rest=real),
    "divf": Function(_decimals(_ratio), (real,), rest=real),
    "maxf": Function(lambda *n: max(n), (real,), rest=real),
    "minf": Function(lambda *n: min(n), (real,), rest=real),
    "floor": Function(lambda n: float(math.floor(n)), (real,)),
    "ceil": Function(lambda n: float(math.ceil(n)), (real,)),
    "round": Function(_rounded, (real, whole), (real,)),
    "until": Function(lambda n: _steps(0, n, 1 if n >= 0 else -1), (whole,)),
    "untilStep": Function(_steps, (whole, whole, whole)),
    "seq": Function(_sequence, rest=whole),
}
