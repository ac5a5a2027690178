"""Documents checked against pydantic models, and every finding told in plain words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic_core import ErrorDetails, ValidationError

from recollect.errors import ConfigError, closest
from recollect.project.validation_trail import Trail
from recollect.project.yaml_document import Document, Steps
from recollect.project.yaml_values import shown

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)

_EXPECTED = {
    "text": ("string_type", "string_sub_type"),
    "a whole number": ("int_type", "int_parsing", "int_from_float", "int_parsing_size"),
    "a number": ("float_type", "float_parsing", "decimal_type", "decimal_parsing"),
    "true or false": ("bool_type", "bool_parsing"),
    "a list": ("list_type", "tuple_type", "set_type", "frozen_set_type"),
    "a map": ("dict_type", "mapping_type", "model_type", "model_attributes_type"),
    "a duration": ("time_delta_type", "time_delta_parsing"),
    "empty": ("none_required",),
}
_EXPECTED_BY_TYPE = {kind: words for words, kinds in _EXPECTED.items() for kind in kinds}


def validate(model: "type[M]", document: Document, *, at: Steps = ()) -> "M":
    """Check the value at `at`, which must exist, against a pydantic model and return the model.

    A model may name fields it refuses on purpose, each with the reason, in a class variable
    `refused: ClassVar[Mapping[str, str]]`.

    Raises:
        ConfigError: One line `file:line: field: what is wrong` for each problem, in the order of
            the file; `details["problems"]` holds the same as `{line, field, message}`.
    """
    value: Any = document.value
    for step in at:
        value = value[step]
    try:
        return model.model_validate(value)
    except ValidationError as error:
        findings = [_finding(each, model) for each in error.errors(include_url=False)]
    # not chained: pydantic's own text repeats whole values, keys and passwords among them
    raise _invalid(_closest_members(findings), document, at)


def field_name(path: Steps) -> str:
    """Write a path as errors show it: ``tasks[0].id``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding:
    """One problem. `members` tells at which depth and as which member a union was tried."""

    path: tuple[str | int, ...]
    members: tuple[tuple[int, str], ...]
    text: str = ""
    expected: str = ""
    got: Any = None

    @property
    def message(self) -> str:
        if not self.expected:
            return self.text
        quotes = self.expected == "text" and isinstance(self.got, int | float)
        return f"must be {self.expected}, not {shown(self.got)}" + (
            " (put quotes around it)" if quotes else self.text
        )


def _invalid(findings: Sequence[_Finding], document: Document, at: Steps) -> ConfigError:
    paths = [((*at, *finding.path), finding.message) for finding in findings]
    problems: list[dict[str, Any]] = [
        {"line": document.line_of(path), "field": field_name(path), "message": message}
        for path, message in paths
    ]
    problems.sort(key=lambda problem: int(problem["line"]))
    texts = [f"{p['field']}: {p['message']}" if p["field"] else p["message"] for p in problems]
    more = zip(problems[1:], texts[1:], strict=True)
    return ConfigError(
        "\n".join([texts[0], *(f"{document.file}:{p['line']}: {text}" for p, text in more)]),
        file=document.file,
        line=problems[0]["line"],
        field=problems[0]["field"] or None,
        problems=problems,
    )


def _closest_members(findings: Sequence[_Finding], level: int = 0) -> list[_Finding]:
    """Of the members of each union keep the one that came closest to fitting."""

    def union(finding: _Finding) -> Steps | None:
        if len(finding.members) <= level:
            return None
        return finding.path[: finding.members[level][0]]

    result: list[_Finding] = []
    for path, together in groupby(findings, key=union):
        group = list(together)
        if path is None:
            result += group
            continue
        members: dict[str, list[_Finding]] = {}
        for finding in group:
            members.setdefault(finding.members[level][1], []).append(finding)
        inside = [m for m in members.values() if all(len(f.path) > len(path) for f in m)]
        if inside:
            result += _closest_members(min(inside, key=len), level + 1)
        else:
            result += _joined([f for f in group if len(f.path) == len(path)])
    return result


def _joined(mismatches: Sequence[_Finding]) -> Sequence[_Finding]:
    refusals = [finding for finding in mismatches if not finding.expected]
    if refusals:
        return refusals
    expected = dict.fromkeys(finding.expected for finding in mismatches)
    return [replace(mismatches[0], expected=" or ".join(expected), text="")]


def _finding(error: ErrorDetails, model: "type[BaseModel]") -> _Finding:
    kind, steps, got, context = error["type"], error["loc"], error["input"], error.get("ctx", {})
    trail = Trail(model.__pydantic_core_schema__)
    is_unknown = kind == "extra_forbidden"
    for step in steps[:-1] if is_unknown else steps:
        trail.step(step)
    path, text, expected = tuple(trail.path), "", _EXPECTED_BY_TYPE.get(kind, "")
    if is_unknown:
        path, text = (*path, steps[-1]), trail.unknown(str(steps[-1]))
    elif kind == "missing":
        text = "is missing"
    elif kind in ("literal_error", "enum"):
        expected, text = _one_of(context["expected"], got)
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        path, got = (*path, *trail.discriminator()), context.get("tag")
        expected, text = _one_of(trail.tags(), got)
        if got is None:
            expected, text = "", f"is missing: {expected}"
    elif kind in ("value_error", "assertion_error"):
        text = str(context["error"])
    elif not expected:
        text = _plain_words(error["msg"], got)
    return _Finding(path=path, members=tuple(trail.members), text=text, expected=expected, got=got)


def _one_of(listed: str, got: object) -> tuple[str, str]:
    known = re.findall(r"'([^']*)'", listed)
    nearest = closest(str(got), known)
    return ("one of " if len(known) > 1 else "") + listed, f".{nearest}" if nearest else ""


def _plain_words(message: str, got: object) -> str:
    words = re.sub(r"^(Input|Value|\w+) should ", "must ", message)
    words = words.removesuffix(" after validation")
    return f"{words}, not {shown(got)}" if message.startswith("Input should") else words
