"""The expressions of a template: what has a value."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from heapq import nsmallest
from itertools import islice

import msgspec
from typing_extensions import override

from recollect.errors import TemplateError, TemplateMissingKey, closest
from recollect.templates.functions.signature import Function
from recollect.templates.functions.times import TIME_METHODS
from recollect.templates.printing import describe, is_container
from recollect.templates.rendering import Refusal, Rendering, check_size

_CALL_WORK = 32
_NAMES_SHOWN = 20
_NAMES_READ = 1_000
_NAME_CHARACTERS = 60
_INDEX_DIGITS = 10
_MISSING = object()


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """``at`` is where it begins in the template."""

    at: int

    @abstractmethod
    def value(self, rendering: Rendering, dot: object) -> object:
        """Evaluate; a path that leads nowhere is nil."""

    def required(self, rendering: Rendering, dot: object) -> object:
        """Evaluate to be printed: a path that leads nowhere is an error.

        Raises:
            TemplateMissingKey: a path leads nowhere.
        """
        return self.value(rendering, dot)


class Literal(Expression, frozen=True, kw_only=True):
    """A text, number or boolean of the template, or nil."""

    constant: str | int | float | bool | None

    @override
    def value(self, rendering: Rendering, dot: object) -> object:
        return self.constant


class Dot(Expression, frozen=True, kw_only=True):
    """The scope, or what the innermost range or with is about."""

    @override
    def value(self, rendering: Rendering, dot: object) -> object:
        return dot


class Variable(Expression, frozen=True, kw_only=True):
    """``$name``; slot 0 is ``$``, the scope."""

    name: str
    slot: int

    @override
    def value(self, rendering: Rendering, dot: object) -> object:
        return rendering.slots[self.slot]


class Assignment(Expression, frozen=True, kw_only=True):
    """``$name := expression``."""

    slot: int
    source: Expression

    @override
    def value(self, rendering: Rendering, dot: object) -> object:
        rendering.slots[self.slot] = found = self.source.value(rendering, dot)
        return found


class Path(Expression, frozen=True, kw_only=True):
    """``.a.b``, ``$x.a``, ``(f x).a``, ``.a[0]``: steps into maps, lists and times."""

    root: Expression
    steps: tuple[str | Expression, ...]

    @override
    def value(self, rendering: Rendering, dot: object) -> object:
        value = self.root.value(rendering, dot)
        for step in self.steps:
            value = _child(value, _key(step, rendering, dot))
            if value is _MISSING:
                return None
        return value

    @override
    def required(self, rendering: Rendering, dot: object) -> object:
        value = self.root.value(rendering, dot)
        for number, step in enumerate(self.steps):
            found = _child(value, _key(step, rendering, dot))
            if found is _MISSING:
                raise self._missing(rendering, number, value)
            value = found
        return value

    def shown(self, count: int | None = None) -> str:
        """The path as one writes it; what stands in brackets may be data and is left out."""
        match self.root:
            case Dot():
                root = ""
            case Variable(name=name):
                root = name
            case _:
                root = "(…)"
        steps = self.steps[:count]
        return root + "".join(f".{s}" if isinstance(s, str) else "[…]" for s in steps) or "."

    def _missing(self, rendering: Rendering, number: int, parent: object) -> TemplateError:
        step = self.steps[number]
        segment = step if isinstance(step, str) else "[…]"
        names = _names(parent)
        listed = nsmallest(_NAMES_SHOWN, names)
        why = f"{self.shown(number)} is {describe(parent)} and has no {segment!r}."
        if listed:
            more = f", … ({len(names)} in all)" if len(names) > len(listed) else ""
            near = closest(segment, names) if isinstance(step, str) else ""
            why = f"{why} Available there: {', '.join(listed)}{more}.{near}"
        error = rendering.error(
            self.at, f"{self.shown()} is missing: {why}", kind=TemplateMissingKey
        )
        error.details.update(path=self.shown(), segment=segment, available=listed)
        return error


class Method(Expression, frozen=True, kw_only=True):
    """``(now).Format "2006"``: a path whose last step is a method of a time, with arguments."""

    path: Path
    arguments: tuple[Expression, ...]

    @override
    def value(self, rendering: Rendering, dot: object) -> object:
        *steps, name = self.path.steps
        owner = Path(at=self.at, root=self.path.root, steps=tuple(steps))
        time = owner.value(rendering, dot)
        method = TIME_METHODS.get(name) if isinstance(name, str) else None
        if method is None or not isinstance(time, datetime):
            raise rendering.error(self.at, f"{self.path.shown()} cannot be given arguments")
        given = [time, *(each.value(rendering, dot) for each in self.arguments)]
        if wrong := method.wrong_count(len(given)):
            raise rendering.error(self.at, f"{self.path.shown()} (counting the time) {wrong}")
        return _called(self, self.path.shown(), method, given, rendering)


class Call(Expression, frozen=True, kw_only=True):
    """A function with its arguments; what comes through a pipe is the last one."""

    name: str
    function: Function
    arguments: tuple[Expression, ...]

    @override
    def value(self, rendering: Rendering, dot: object) -> object:
        given = [each.value(rendering, dot) for each in self.arguments]
        return _called(self, self.name, self.function, given, rendering)

    def absent(self, given: list[object]) -> str:
        """Name the paths among the arguments that are nil, for the text of an error."""
        nil = [
            each.shown()
            for each, value in zip(self.arguments, given, strict=True)
            if value is None and isinstance(each, Path)
        ]
        return f" ({', '.join(nil)}: missing or nil)" if nil else ""


class Choice(Expression, frozen=True, kw_only=True):
    """``and`` and ``or``: the first argument that decides; those after it are not evaluated."""

    stops_at: bool
    arguments: tuple[Expression, ...]

    @override
    def value(self, rendering: Rendering, dot: object) -> object:
        rendering.spend(_CALL_WORK)
        found: object = None
        for each in self.arguments:
            found = each.value(rendering, dot)
            if is_true(found) is self.stops_at:
                break
        return found


def is_true(value: object) -> bool:
    """Tell what ``if`` takes for true: not nil, false, zero or empty."""
    return bool(value)


def _called(
    node: Call | Method,
    name: str,
    function: Function,
    given: list[object],
    rendering: Rendering,
) -> object:
    try:
        rendering.spend(_CALL_WORK + sum(len(v) for v in given if isinstance(v, (str, list, dict))))
        result = function(rendering, given)
        check_size(len(result) if isinstance(result, str) else 0)
    except Refusal as why:
        absent = node.absent(given) if isinstance(node, Call) else ""
        raise rendering.error(node.at, f"{name}: {why}{absent}") from None
    except _FAILURES as error:
        message = f"{name} failed with its arguments ({type(error).__name__})"
        raise rendering.error(node.at, message) from None
    return result


_FAILURES = (ValueError, TypeError, ArithmeticError, LookupError, RecursionError, AttributeError)


def _key(step: str | Expression, rendering: Rendering, dot: object) -> str | None:
    if isinstance(step, str):
        return step
    key = step.value(rendering, dot)
    return key if isinstance(key, str) else str(key) if isinstance(key, int) else None


def _child(value: object, key: str | None) -> object:
    if key is None:
        return _MISSING
    if isinstance(value, Mapping):
        found = value.get(key, _MISSING)
        return value.get(int(key), _MISSING) if found is _MISSING and _is_index(key) else found
    if isinstance(value, datetime):
        method = TIME_METHODS.get(key)
        return method.call(value) if method and method.wrong_count(1) is None else _MISSING
    if is_container(value) and isinstance(value, Sequence) and _is_index(key):
        return value[int(key)] if int(key) < len(value) else _MISSING
    return _MISSING


def _is_index(key: str) -> bool:
    return len(key) < _INDEX_DIGITS and key.isascii() and key.isdigit()


def _names(parent: object) -> list[str]:
    if not isinstance(parent, Mapping):
        return []
    return [str(name)[:_NAME_CHARACTERS] for name in islice(parent, _NAMES_READ)]
