"""Conditions of tasks: a template, or a CEL expression when there are no braces. Home of CEL."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from recollect.errors import MissingExtra, TemplateError, TemplateSyntaxError
from recollect.memory.payload import kind_of
from recollect.templates import is_template, render_text

MAX_CHARACTERS = 4000
_QUOTED = re.compile("'([^']+)'")
_PLACE = re.compile(r"<input>:(\d+):(\d+): (.*)")
_FALSE_TEXTS = frozenset({"", "false", "0", "no", "off", "<no value>"})


def holds(condition: str, scope: Mapping[str, Any], now: datetime) -> bool:
    """Tell whether a condition is true in a scope.

    Raises:
        TemplateError: it cannot be evaluated.
    """
    if is_template(condition):
        return render_text(condition, scope, now=now).strip().lower() not in _FALSE_TEXTS
    value = _evaluate(condition, dict(scope))
    if not isinstance(value, bool):
        raise TemplateError(
            f"the condition gives {kind_of(value)}, not true or false: compare it with something"
        )
    return value


def check(condition: str) -> None:
    """Refuse, at load, a condition that cannot be read.

    Raises:
        TemplateSyntaxError: and says why.
    """
    if is_template(condition):
        return
    if len(condition) > MAX_CHARACTERS:
        raise TemplateSyntaxError(f"the condition is longer than {MAX_CHARACTERS} characters")
    cel = _cel()
    try:
        cel.compile(condition)
    except ValueError as error:
        raise TemplateSyntaxError(
            f"the condition is no CEL expression: {_syntax_error(error)}"
        ) from None


def _evaluate(condition: str, scope: dict[str, Any]) -> Any:
    cel = _cel()
    try:
        return cel.evaluate(condition, scope)
    except (LookupError, ValueError, TypeError, ArithmeticError, RuntimeError) as error:
        raise TemplateError(
            f"the condition cannot be evaluated ({_reason(error, condition)}): use has(...) for "
            'values that may be missing, and tasks["my-task"] for ids with hyphens'
        ) from None


def _reason(error: Exception, condition: str) -> str:
    """Name what is missing, but only if the condition itself does: other words may be content."""
    named = _QUOTED.search(str(error))
    if isinstance(error, KeyError | RuntimeError) and named and named[1] in condition:
        return f"{named[1]!r} is missing"
    return type(error).__name__


def _syntax_error(error: Exception) -> str:
    found = _PLACE.search(str(error))
    if not found:
        return "syntax error"
    return f"line {found[1]}, column {found[2]}: {found[3].partition(' expecting {')[0]}"


def _cel() -> Any:
    try:
        import cel  # noqa: PLC0415 - half a second that only conditions need
    except ImportError:
        raise MissingExtra("a CEL condition", "workflows") from None
    return cel
