"""A template read once, rendered as often as one likes."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

import msgspec

from recollect.clock import SystemClock
from recollect.errors import TemplateError
from recollect.templates.expressions import Assignment, Call, Dot, Expression, Path, Variable
from recollect.templates.functions.escapes import escape_key_part, escape_whole_key
from recollect.templates.parser import Parsed, parse_body
from recollect.templates.printing import NODE_WORK, Made, is_container, to_text
from recollect.templates.rendering import Refusal, Rendering
from recollect.templates.statements import Action, execute, own_words

_CACHED_CHARACTERS = 16_384
_CACHED_TEMPLATES = 512

T = TypeVar("T")


class Template(msgspec.Struct, frozen=True):
    """A template that has been checked. ``notes`` are doubts about what its author meant."""

    text: str
    parsed: Parsed

    @property
    def notes(self) -> tuple[str, ...]:
        """What reads well but probably says something else, such as a date used as a layout."""
        return self.parsed.notes

    def roots(self) -> frozenset[str]:
        """Return the first segments of the paths it reads from the scope."""
        return self.parsed.roots

    def has_text(self, text: str) -> bool:
        """Tell whether the author's own words, outside of all actions, hold ``text``."""
        return any(text in words for words in own_words(self.parsed.body))

    @property
    def alone(self) -> Expression | None:
        """The expression, if the whole template is one action and nothing else."""
        match self.parsed.body:
            case (Action(expression=expression),) if not isinstance(expression, Assignment):
                return expression
        return None


def is_template(text: str) -> bool:
    """Tell whether a text has actions at all."""
    return "{{" in text


def parse(template: str) -> Template:
    """Read and check a template.

    Raises:
        TemplateSyntaxError: it is not a template of our dialect, or uses an unknown function.
        MissingExtra: it uses a function whose library is not installed.
    """
    return _parse(template) if len(template) > _CACHED_CHARACTERS else _parse_cached(template)


def render(template: str, scope: Mapping[str, object], *, now: datetime | None = None) -> object:
    """Render to a value.

    One bare path or ``index`` alone gives the value itself; one expression alone that makes a list
    or a map gives that; everything else is text.

    Raises:
        TemplateMissingKey: a path that is printed leads nowhere.
        TemplateError: it cannot be read, or a function refused its arguments.
    """
    if "{{" not in template:
        return template
    checked = parse(template)
    alone = checked.alone
    if alone is None:
        return _text(checked, scope, now=now, escape=None)
    rendering = Rendering(template, scope, slots=checked.parsed.slots, now=now)
    return _guarded(rendering, lambda: _native(alone, rendering, scope))


def render_text(template: str, scope: Mapping[str, object], *, now: datetime | None = None) -> str:
    """Render to text, whatever the template is.

    Raises:
        TemplateError: as ``render``.
    """
    return _text(parse(template), scope, now=now, escape=None) if "{{" in template else template


def render_key(template: str, scope: Mapping[str, object], *, now: datetime | None = None) -> str:
    """Render a memory key, in which no two values can be mistaken for each other.

    ``%``, ``:``, ``*``, ``{`` and ``}`` of the data are percent-escaped; the template's own are not.
    Of a template that is one expression alone only ``*``, ``{`` and ``}`` are.

    Raises:
        TemplateError: as ``render``.
    """
    checked = parse(template)
    escape = escape_whole_key if checked.alone else escape_key_part
    return _text(checked, scope, now=now, escape=escape)


def render_tree(
    value: object, scope: Mapping[str, object], *, now: datetime | None = None
) -> object:
    """Render every text inside maps and lists, once; keys stay as they are.

    Raises:
        TemplateError: as ``render``; ``details["field"]`` is the path of the text.
    """
    moment = now or SystemClock().now()
    return _branch(value, lambda text: render(text, scope, now=moment), "")


def _branch(value: object, rendered: Callable[[str], object], field: str) -> object:
    if isinstance(value, str):
        try:
            return rendered(value)
        except TemplateError as error:
            error.details["field"] = field
            raise
    if isinstance(value, dict):
        return {
            key: _branch(item, rendered, f"{field}.{key}" if field else str(key))
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_branch(item, rendered, f"{field}[{at}]") for at, item in enumerate(value)]
    return value


def _text(
    checked: Template,
    scope: Mapping[str, object],
    *,
    now: datetime | None,
    escape: Callable[[str], str] | None,
) -> str:
    rendering = Rendering(checked.text, scope, slots=checked.parsed.slots, now=now, escape=escape)
    _guarded(rendering, lambda: execute(checked.parsed.body, rendering, scope))
    return "".join(rendering.parts)


def _guarded(rendering: Rendering, work: Callable[[], T]) -> T:
    try:
        return work()
    except Refusal as why:
        raise rendering.error(rendering.at, str(why)) from None
    except RecursionError:
        raise rendering.error(rendering.at, "the value is nested too deep") from None


def _native(alone: Expression, rendering: Rendering, scope: Mapping[str, object]) -> object:
    value = alone.required(rendering, scope)
    if isinstance(alone, (Path, Dot, Variable)) or (
        isinstance(alone, Call) and alone.name == "index"
    ):
        return value
    return _released(value, rendering) if is_container(value) else to_text(value, rendering)


def _released(value: object, rendering: Rendering) -> object:
    """Give away what the template made as plain dicts and lists, and all else as it is."""
    if type(value) is Made:
        rendering.spend(NODE_WORK * (len(value) + 1))
        return {key: _released(item, rendering) for key, item in value.items()}
    if type(value) is list:
        rendering.spend(NODE_WORK * (len(value) + 1))
        return [_released(item, rendering) for item in value]
    return value


@lru_cache(maxsize=_CACHED_TEMPLATES)
def _parse_cached(template: str) -> Template:
    return _parse(template)


def _parse(template: str) -> Template:
    return Template(template, parse_body(template))
