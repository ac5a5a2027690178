"""What may stand in a project's YAML, told to editors and readers: JSON Schema and a page of reference.

Both come from the models that check the files, so they cannot say anything else.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib.resources import files
from inspect import getdoc
from typing import Any, Literal, cast, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from recollect.agents.reference import Agent
from recollect.errors import InvalidInput, closest
from recollect.memory.operations import CONFIGS
from recollect.memory.resource import Resource
from recollect.memory.sections import Section
from recollect.project.definition import ProjectFile
from recollect.project.yaml_document import parse
from recollect.workflows.definition import WorkflowFile
from recollect.workflows.tasks import TASK_TYPES

Json = dict[str, Any]
Kind = Literal["memory", "project", "workflow", "agent"]

KINDS: tuple[Kind, ...] = get_args(Kind)
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_MODELS: Mapping[Kind, type[Section]] = {
    "memory": Resource,
    "project": ProjectFile,
    "workflow": WorkflowFile,
    "agent": Agent,
}


def json_schema(kind: str) -> Json:
    """Return the JSON Schema (draft 2020-12) of a kind of YAML file.

    Raises:
        InvalidInput: there is no such kind.
    """
    model = _MODELS.get(kind)  # type: ignore[call-overload]  # any text is asked for
    if model is None:
        raise InvalidInput(
            f"{kind!r} is no kind of file: it is one of {', '.join(KINDS)}.{closest(kind, KINDS)}"
        )
    schema = _schema_of(model)
    if kind == "workflow":
        _put_tasks_in(schema)
    return {"$schema": DIALECT, **schema, "title": f"Recollect {kind} file"}


def fields_of(model: type[BaseModel]) -> dict[str, str]:
    """Return field -> what it means, from the ``Attributes`` of the model's docstring."""
    doc = getdoc(model) or ""
    _, _, attributes = doc.partition("Attributes:\n")
    found: dict[str, str] = {}
    for names, text in re.findall(r"^    ([a-z_, ]+): (.*(?:\n {8}.*)*)", attributes, re.MULTILINE):
        for name in names.split(", "):
            found[name] = re.sub(r"\s+", " ", text).strip()
    return found


# ---- JSON Schema ---------------------------------------------------------------------------------


class _Generator(GenerateJsonSchema):
    """Durations are texts such as ``24h``, or seconds; not those of ISO 8601."""

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:
        return {
            "type": ["string", "number"],
            "description": "a duration: 24h, 1h30m, 7d, 10 minutes; a number means seconds",
        }

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        plain = super().default_schema(schema)
        if isinstance(schema.get("default"), timedelta):
            plain["default"] = f"{schema['default'].total_seconds():g}s"
        return plain


def _schema_of(model: type[Section]) -> Json:
    schema = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions = {found.__name__: found for found in _sections(model)}
    for name, part in (schema.get("$defs") or {}).items():
        if name in definitions:
            _explain(definitions[name], part)
    _explain(model, schema)
    return schema


def _sections(model: type[Section]) -> Iterator[type[Section]]:
    """Every section there is: definitions are found by name among them."""
    waiting: list[type[Section]] = [Section]
    while waiting:
        found = waiting.pop()
        waiting += found.__subclasses__()
        yield found


def _explain(model: type[Section], schema: Json) -> None:
    """Add what each field means, and the second names it may be written under."""
    summary = (getdoc(model) or "").partition("\n\n")[0]
    schema["description"] = re.sub(r"\s+", " ", summary)
    properties = schema.get("properties") or {}
    for name, text in fields_of(model).items():
        field = model.model_fields.get(name)
        key = (field.alias if field else None) or name
        if key in properties:
            properties[key] = {**_wrapped(properties[key]), "description": text}
    for second, name in model.second_names.items():
        properties[second] = {
            **_wrapped(properties[name]),
            "description": f"Second name of {name}.",
            "deprecated": True,
        }


def _wrapped(part: Json) -> Json:
    return {key: value for key, value in part.items() if key != "title"}


def _put_tasks_in(schema: Json) -> None:
    """Tasks are checked by their type, after the file: the schema says so at once."""
    definitions = schema.setdefault("$defs", {})
    variants = []
    for name, model in TASK_TYPES.items():
        part = _schema_of(model)
        definitions |= part.pop("$defs", {})
        definitions[model.__name__] = part
        if name == "memory":
            for operation, config in CONFIGS.items():
                _put_config_in(part, definitions, f"{operation}_config", config)
        variants.append({"$ref": f"#/$defs/{model.__name__}"})
    schema["properties"]["tasks"] = {
        "type": "array",
        "items": {"anyOf": variants},
        "description": "In the order of list mode; see specs of each type.",
    }


def _put_config_in(task: Json, definitions: Json, field: str, config: Any) -> None:
    if field in task["properties"] and config is not None:
        part = _schema_of(config)
        definitions |= part.pop("$defs", {})
        definitions[config.__name__] = part
        task["properties"][field] = {
            "$ref": f"#/$defs/{config.__name__}",
            "description": f"Settings of {field.removesuffix('_config')}.",
        }


# ---- the page ------------------------------------------------------------------------------------


def examples() -> dict[str, str]:
    """Return path of a field of a memory -> YAML that uses it; each loads when an id is added."""
    file = files("recollect.project").joinpath("memory_examples.yaml")
    found = parse(file.read_text("utf-8"), file=str(file)).value
    return {str(path): str(text) for path, text in cast("Json", found).items()}


def memory_paths(model: type[Section] = Resource, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (path, model of its section) for every field of a memory's YAML, in order."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        yield path, model
        for inner in _models_in(field.annotation):
            yield from memory_paths(inner, f"{path}.")


def memory_reference() -> str:
    """Return the page ``docs/memory-reference.md``."""
    lines = [*_HEAD]
    known = examples()
    for path, model in memory_paths():
        name = path.rpartition(".")[2]
        lines += [f"## `{path}`", "", _facts(model, name), ""]
        text = fields_of(model).get(name)
        if text:
            lines += [f"{text[:1].upper()}{text[1:]}".replace("``", "`"), ""]
        whole = _whole(path, known[path]).splitlines()
        lines += [f'```yaml title="memory/{path}.yaml"', *whole, "```", ""]
    return "\n".join([*lines, *_TAIL])


_HEAD = (
    "# Memory resources: every field",
    "",
    "Made by `python -m recollect.project.schema` from the models that check the files; "
    "`recollect schema memory` says the same in JSON Schema, for editors. Each example is a whole file "
    "of this project:",
    "",
    '```yaml title="recollect.yaml"',
    "name: every-field",
    "autoload:",
    "  enabled: true",
    '  include: ["memory/*.yaml"]',
    "```",
    "",
)
_TAIL = (
    "## All of them together",
    "",
    "```console",
    "$ recollect validate",
    "…",
    "```",
    "",
)


def _whole(path: str, snippet: str) -> str:
    head = "" if re.search(r"^resource:", snippet, re.MULTILINE) else "resource: memory\n"
    id_ = "" if re.search(r"^id:", snippet, re.MULTILINE) else f"id: {path}\n"
    return head + id_ + snippet


def _facts(model: type[Section], name: str) -> str:
    schema = _schema_of(model)
    part = schema["properties"][name]
    facts = [_type_of(part, schema)]
    if name in schema.get("required", ()):
        facts.append("required")
    elif part.get("default") not in (None, [], {}, ""):
        default = part["default"]
        if not isinstance(default, dict):
            facts.append(f"default `{default}`".replace("True", "true").replace("False", "false"))
    seconds = [second for second, first in model.second_names.items() if first == name]
    if seconds:
        facts.append(f"also written `{seconds[0]}`")
    return ", ".join(facts) + "."


def _type_of(part: Json, schema: Json) -> str:
    if "$ref" in part:
        return "A section"
    if "enum" in part:
        return "One of " + ", ".join(f"`{value}`" for value in part["enum"])
    if "const" in part:
        return f"`{part['const']}`"
    if "anyOf" in part:
        kinds = [_type_of(one, schema) for one in part["anyOf"] if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    kind = part.get("type")
    if kind == ["string", "number"]:
        return "A duration"
    words = {
        "string": "A text",
        "integer": "A whole number",
        "number": "A number",
        "boolean": "`true` or `false`",
        "array": "A list",
        "object": "A mapping",
    }
    return words.get(str(kind), "Any value")


def _models_in(annotation: Any) -> list[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]


if __name__ == "__main__":
    sys.stdout.write(memory_reference())
