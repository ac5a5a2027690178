"""The statements of a template: what writes output or decides what is written."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from typing_extensions import override

from recollect.templates.expressions import Assignment, Expression, is_true
from recollect.templates.printing import describe, is_container, to_text
from recollect.templates.rendering import Refusal, Rendering

_STATEMENT_WORK = 16


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """``at`` is where it begins in the template."""

    at: int

    @abstractmethod
    def execute(self, rendering: Rendering, dot: object) -> None:
        """Write the output of this statement."""


Body = tuple[Statement, ...]


def execute(body: Body, rendering: Rendering, dot: object) -> None:
    """Execute statements in order."""
    rendering.spend(_STATEMENT_WORK * len(body))
    for statement in body:
        rendering.at = statement.at
        statement.execute(rendering, dot)


def own_words(body: Body) -> Iterator[str]:
    """Yield the author's own texts, those in branches and loops included."""
    for statement in body:
        match statement:
            case Text(text=text):
                yield text
            case Conditional(branches=branches, otherwise=otherwise):
                for _, inner in branches:
                    yield from own_words(inner)
                yield from own_words(otherwise)
            case Range(body=inner, otherwise=otherwise):
                yield from own_words(inner)
                yield from own_words(otherwise)


class Text(Statement, frozen=True, kw_only=True):
    """The author's own words between actions."""

    text: str

    @override
    def execute(self, rendering: Rendering, dot: object) -> None:
        rendering.write(self.text)


class Action(Statement, frozen=True, kw_only=True):
    """``{{ expression }}``: the only statement through which data reach the output."""

    expression: Expression

    @override
    def execute(self, rendering: Rendering, dot: object) -> None:
        if isinstance(self.expression, Assignment):
            self.expression.value(rendering, dot)
            return
        text = to_text(self.expression.required(rendering, dot), rendering)
        rendering.write(rendering.escape(text) if rendering.escape else text)


class Conditional(Statement, frozen=True, kw_only=True):
    """``if`` and ``with`` (which sets the dot), with their ``else if`` branches."""

    branches: tuple[tuple[Expression, Body], ...]
    otherwise: Body
    sets_dot: bool

    @override
    def execute(self, rendering: Rendering, dot: object) -> None:
        for condition, body in self.branches:
            value = condition.value(rendering, dot)
            if is_true(value):
                execute(body, rendering, value if self.sets_dot else dot)
                return
        execute(self.otherwise, rendering, dot)


class Range(Statement, frozen=True, kw_only=True):
    """``range``: over a list, a map (by sorted key) or a whole number (from 0)."""

    source: Expression
    key_slot: int | None
    item_slot: int | None
    body: Body
    otherwise: Body

    @override
    def execute(self, rendering: Rendering, dot: object) -> None:
        empty = True
        for key, item in _pairs(self.source.value(rendering, dot)):
            empty = False
            rendering.iterate()
            if self.key_slot is not None:
                rendering.slots[self.key_slot] = key
            if self.item_slot is not None:
                rendering.slots[self.item_slot] = item
            try:
                execute(self.body, rendering, item)
            except _Continue:
                continue
            except _Break:
                break
        if empty:
            execute(self.otherwise, rendering, dot)


def _pairs(source: object) -> Iterator[tuple[object, object]]:
    if isinstance(source, Mapping):
        return iter([(key, source[key]) for key in sorted(source, key=str)])
    if is_container(source) and isinstance(source, Sequence):
        return enumerate(source)
    if isinstance(source, int) and not isinstance(source, bool):
        return ((number, number) for number in range(source))
    if source is None:
        return iter(())
    raise Refusal(f"range goes over a list, a map or a whole number, not over {describe(source)}")


class _Continue(Exception):
    """Go on with the next turn."""


class _Break(Exception):
    """Leave the range."""


class Jump(Statement, frozen=True, kw_only=True):
    """``break`` or ``continue``."""

    leaves: bool

    @override
    def execute(self, rendering: Rendering, dot: object) -> None:
        raise _Break if self.leaves else _Continue
