from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
    with_config,
)
from typing_extensions import TypedDict

from recollect.errors import ConfigError
from recollect.project.validation import validate
from recollect.project.yaml_document import parse


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Kind(StrEnum):
    NONE = "none"
    REDIS = "redis"


class Persistence(Strict):
    refused: ClassVar[Mapping[str, str]] = {"pool": "the store opens its own connections"}
    type: Kind = Kind.NONE
    ttl: str = ""

    @field_validator("ttl")
    @classmethod
    def _has_a_unit(cls, value: str) -> str:
        if value.isdigit():
            raise ValueError("needs a unit, as in 24h")
        return value


class Signal(Strict):
    type: Literal["signal"]
    id: str
    signal: dict[str, str] = {}
    tasks: list["Task"] = []


class Wait(Strict):
    type: Literal["wait"]
    id: str
    workers: int = Field(1, gt=0)


Task = Annotated[Signal | Wait, Field(discriminator="type")]


class Reference(Strict):
    id: str
    mode: Literal["read-only", "read-write"] = "read-write"


def shape(value: Any) -> str:
    return "many" if isinstance(value, list) else "one"


def named(value: str) -> str:
    if not value.islower():
        raise ValueError("must be written in lower case")
    return value


@with_config(ConfigDict(extra="forbid"))
class Size(TypedDict):
    width: int


class Move(Strict):
    way: str
    far: int


class File(Strict):
    refused: ClassVar[Mapping[str, str]] = {"depth": "files are flat"}
    name: Annotated[str, AfterValidator(named)] | int = "x"
    max_tokens: int | None = None
    is_open: bool = Field(False, alias="open")
    persistence: Persistence = Persistence()
    tasks: list[Task] = []
    memory: str | bool | list[Reference | str] = False
    payload: Annotated[
        Annotated[list[Reference], Tag("many")] | Annotated[Reference, Tag("one")],
        Discriminator(shape),
    ] = []
    labels: dict[str, int] = {}
    pair: tuple[int, Reference] | None = None
    limits: dict[Literal["low", "high"], int] = {}
    size: Size = {"width": 1}
    step: Reference | Move | None = None
    colour: str = Field("", validation_alias=AliasChoices("colour", "color"))

    @model_validator(mode="after")
    def _tokens_need_a_name(self) -> "File":
        if self.max_tokens and self.name == "nameless":
            raise ValueError("max_tokens needs a name")
        return self


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(File, parse(text, file="a.yaml"))
    return str(caught.value).splitlines()


def test_a_document_that_fits_becomes_the_model() -> None:
    file = validate(File, parse("max_tokens: 3\nopen: true\nmemory: [a, {id: b}]", file="a.yaml"))
    assert (file.max_tokens, file.is_open) == (3, True)
    assert file.memory == ["a", Reference(id="b")]


def test_a_part_of_a_document_is_validated_with_its_own_lines() -> None:
    document = parse("x: 1\nitems:\n  - id: a\n  - id: b\n    mod: c\n", file="a.yaml")
    assert validate(Reference, document, at=["items", 0]) == Reference(id="a")
    with pytest.raises(ConfigError, match=r"^a\.yaml:5: items\[1\]\.mod: unknown field 'mod'"):
        validate(Reference, document, at=["items", 1])


def test_an_unknown_field_names_the_closest_and_the_known_ones() -> None:
    assert problems_of("persistence:\n  tpye: redis") == [
        "a.yaml:2: persistence.tpye: unknown field 'tpye'. Did you mean 'type'? "
        "Known fields: ttl, type."
    ]


def test_a_field_with_another_name_in_yaml_is_known_by_that() -> None:
    assert "Did you mean 'open'?" in problems_of("opne: true")[0]


def test_a_field_with_two_spellings_is_known_by_both() -> None:
    assert "Did you mean 'color'?" in problems_of("colr: red")[0]
    assert problems_of("color: 3") == [
        "a.yaml:1: color: must be text, not 3 (put quotes around it)"
    ]


def test_a_refused_field_is_answered_with_the_reason() -> None:
    assert problems_of("persistence:\n  pool: {}") == [
        "a.yaml:2: persistence.pool: 'pool' is refused: the store opens its own connections"
    ]


def test_all_problems_come_at_once_in_the_order_of_the_file() -> None:
    text = "nmae: x\npersistence:\n  type: reddis\n  ttl: '5'\nmax_tokens: ten\nlabels:\n  p: x\n"
    assert [problem.split("Known")[0].strip() for problem in problems_of(text)] == [
        "a.yaml:1: nmae: unknown field 'nmae'. Did you mean 'name'?",
        "a.yaml:3: persistence.type: must be one of 'none' or 'redis', not 'reddis'. "
        "Did you mean 'redis'?",
        "a.yaml:4: persistence.ttl: needs a unit, as in 24h",
        "a.yaml:5: max_tokens: must be a whole number, not 'ten'",
        "a.yaml:7: labels.p: must be a whole number, not 'x'",
    ]


def test_the_details_hold_line_field_and_message_of_each_problem() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(File, parse("max_tokens: x\nlabels: 3\n", file="a.yaml"))
    assert caught.value.details["problems"] == [
        {"line": 1, "field": "max_tokens", "message": "must be a whole number, not 'x'"},
        {"line": 2, "field": "labels", "message": "must be a map, not 3"},
    ]
    assert (caught.value.details["line"], caught.value.details["field"]) == (1, "max_tokens")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("persistence: {ttl: 5}", "persistence.ttl: must be text, not 5 (put quotes around it)"),
        ("persistence: [1]", "persistence: must be a map, not a list"),
        ("tasks: {a: 1}", "tasks: must be a list, not a map"),
        ("open: perhaps", "open: must be true or false, not 'perhaps'"),
        ("max_tokens: 1.5", "max_tokens: must be a whole number, not 1.5"),
        ("tasks: [{type: wait, id: a, workers: 0}]", "workers: must be greater than 0, not 0"),
        ("tasks: [3]", "tasks[0]: must be a map, not 3"),
        ("persistence:", "persistence: must be a map, not nothing"),
        ("pair: [1, {id: a, x: 2}]", "pair[1].x: unknown field 'x'"),
        ("limits: {mid: 2}", "limits.mid: must be one of 'low' or 'high', not 'mid'"),
        ("size: {width: 2, depth: 1}", "size.depth: unknown field 'depth'."),
        ("max_tokens: 1\nname: nameless", "a.yaml:1: max_tokens needs a name"),
        ("- 1", "a.yaml:1: must be a map, not a list"),
    ],
)
def test_a_wrong_value_is_described_in_plain_words(text: str, says: str) -> None:
    assert says in problems_of(text)[0]


def test_the_kind_of_a_task_leads_to_lines_inside_it() -> None:
    text = """\
tasks:
  - type: signal
    signal: {a: 1}
    tasks:
      - type: wait
        worker: 2
      - type: wiat
      - id: x
"""
    assert problems_of(text) == [
        "a.yaml:2: tasks[0].id: is missing",
        "a.yaml:3: tasks[0].signal.a: must be text, not 1 (put quotes around it)",
        "a.yaml:5: tasks[0].tasks[0].id: is missing",
        "a.yaml:6: tasks[0].tasks[0].worker: unknown field 'worker'. Did you mean 'workers'? "
        "Known fields: id, type, workers.",
        "a.yaml:7: tasks[0].tasks[1].type: must be one of 'signal', 'wait', not 'wiat'. "
        "Did you mean 'wait'?",
        "a.yaml:8: tasks[0].tasks[2].type: is missing: one of 'signal', 'wait'",
    ]


def test_a_kind_told_by_shape_leads_to_lines_inside_it() -> None:
    assert problems_of("payload:\n  - id: a\n  - id: b\n    mode: rw\n") == [
        "a.yaml:4: payload[1].mode: must be one of 'read-only' or 'read-write', not 'rw'"
    ]


def test_of_a_choice_of_shapes_only_the_one_meant_is_reported() -> None:
    assert problems_of("memory:\n  - a\n  - id: b\n    mod: c\n") == [
        "a.yaml:4: memory[1].mod: unknown field 'mod'. Did you mean 'mode'? Known fields: id, mode."
    ]


def test_of_two_models_the_one_with_fewer_problems_is_reported() -> None:
    assert problems_of("step: {way: up, fra: 3}") == [
        "a.yaml:1: step.far: is missing",
        "a.yaml:1: step.fra: unknown field 'fra'. Did you mean 'far'? Known fields: far, way.",
    ]


def test_a_value_that_fits_no_shape_hears_all_of_them() -> None:
    assert problems_of("memory: 3.5") == [
        "a.yaml:1: memory: must be text or true or false or a list, not 3.5"
    ]


def test_a_value_of_the_right_shape_hears_only_what_its_check_says() -> None:
    assert problems_of("name: ABC") == ["a.yaml:1: name: must be written in lower case"]


def test_long_values_are_cut() -> None:
    (problem,) = problems_of(f"max_tokens: {'x' * 500}")
    assert problem == f"a.yaml:1: max_tokens: must be a whole number, not '{'x' * 56}..."


def test_the_validation_error_of_the_library_with_its_values_is_not_attached() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(File, parse("max_tokens: secret", file="a.yaml"))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
