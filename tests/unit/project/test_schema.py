"""Editors and readers are told exactly what the checks of the YAML files accept."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from recollect.cli import main
from recollect.memory.resource import Resource
from recollect.project import schema
from recollect.project.yaml_document import parse

ROOT = Path(__file__).parents[3]
PATHS = [path for path, _ in schema.memory_paths()]
EXAMPLES = schema.examples()


def resource_of(path: str) -> dict[str, Any]:
    value = parse(EXAMPLES[path], file="example").value
    assert isinstance(value, dict)
    return {"resource": "memory", "id": "example", **value}


def test_every_field_of_a_memory_has_an_example_and_nothing_else_has() -> None:
    assert list(EXAMPLES) == PATHS


@pytest.mark.parametrize("path", PATHS)
def test_every_example_loads_and_sets_its_field(path: str) -> None:
    raw = resource_of(path)
    found: Any = Resource.model_validate(raw)
    for name in path.split("."):
        found = found[0] if isinstance(found, tuple) else found
        assert name in found.model_fields_set
        found = getattr(found, name)


@pytest.mark.parametrize("path", PATHS)
def test_the_schema_accepts_every_example(path: str) -> None:
    jsonschema.validate(resource_of(path), schema.json_schema("memory"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_tokns": 1},
        {"max_tokens": 0},
        {"flushing": {"type": "lru"}},
        {"flushing": {"treshold": 0.5}},
        {"type": "token"},
        {"persistence": {"ttl": []}},
    ],
)
def test_what_the_checks_refuse_the_schema_refuses(wrong: dict[str, Any]) -> None:
    raw = {"resource": "memory", "id": "example", **wrong}
    with pytest.raises(ValidationError):
        Resource.model_validate(raw)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, schema.json_schema("memory"))


@pytest.mark.parametrize(
    ("kind", "file"),
    [
        ("project", "recollect.yaml"),
        ("memory", "memory/conversation.yaml"),
        ("workflow", "workflow.yaml"),
    ],
)
def test_the_schemas_accept_the_example_project(kind: str, file: str) -> None:
    text = (ROOT / "examples" / "memory-workflow" / file).read_text("utf-8")
    jsonschema.validate(parse(text, file=file).value, schema.json_schema(kind))


@pytest.mark.parametrize("second", ["default_key_template", "message_limit", "flushing_strategy"])
def test_second_names_are_known_to_the_schema_as_deprecated(second: str) -> None:
    assert schema.json_schema("memory")["properties"][second]["deprecated"] is True


def test_a_task_is_checked_by_its_type() -> None:
    workflow = {"id": "w", "tasks": [{"id": "t", "type": "memory", "operation": "read"}]}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(workflow, schema.json_schema("workflow"))


@pytest.mark.parametrize("kind", schema.KINDS)
def test_every_schema_is_a_schema(kind: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema.json_schema(kind))


def test_the_page_of_reference_is_the_one_that_is_generated() -> None:
    page = (ROOT / "docs" / "memory-reference.md").read_text("utf-8")
    assert page == schema.memory_reference(), "run: python -m recollect.project.schema > that file"


def test_the_command_prints_a_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "memory"]) == 0
    assert json.loads(capsys.readouterr().out) == schema.json_schema("memory")


def test_the_command_writes_all_schemas(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--output", str(tmp_path / "schemas")]) == 0
    written = {file.name for file in (tmp_path / "schemas").iterdir()}
    assert written == {f"{kind}.schema.json" for kind in schema.KINDS}


@pytest.mark.parametrize("arguments", [["schema"], ["schema", "memroy"]])
def test_the_command_says_which_kinds_there_are(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "memory, project, workflow, agent" in capsys.readouterr().err
