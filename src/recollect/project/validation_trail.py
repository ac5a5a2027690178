"""The way of a validation error through a document, as the schema of the model tells it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

from recollect.errors import closest
from recollect.project.yaml_values import shown

_Schema: TypeAlias = Mapping[str, Any]
_FEW = 15


class Trail:
    """Follows the location of an error through the schema of a model.

    Pydantic mixes the names of union members into locations; only the schema tells them from keys
    of the document.
    """

    def __init__(self, schema: _Schema) -> None:
        self.path: list[str | int] = []
        """The steps through the document."""
        self.members: list[tuple[int, str]] = []
        """At which depth of the path and as which member a union was tried."""
        self._model: object = None
        self._definitions: dict[str, _Schema] = {}
        self._schema = self._bare(schema)

    def step(self, step: str | int) -> None:
        """Follow the next step of the location."""
        schema, inner = self._schema, cast("_Schema", {})
        if schema.get("type") == "tagged-union":
            inner = schema["choices"].get(step, inner)
        elif schema.get("type") == "union":
            self.members.append((len(self.path), str(step)))
            inner = self._member(schema, str(step))
        elif step != "[key]":
            self.path.append(step)
            inner = _child(schema, step)
        self._schema = self._bare(inner)

    def unknown(self, name: str) -> str:
        """What to say of a field that the model at hand does not have."""
        reason = getattr(self._model, "refused", {}).get(name)
        if reason:
            return f"{name!r} is refused: {reason}"
        fields = self._schema.get("fields", {}).items()
        known = [alias for field, schema in fields for alias in _names(field, schema)]
        listed = f" Known fields: {', '.join(sorted(known))}." if 0 < len(known) <= _FEW else ""
        return f"unknown field {shown(name)}.{closest(name, known)}{listed}"

    def discriminator(self) -> tuple[str, ...]:
        """The key that tells the kind of the map at hand, if there is one key that does."""
        name = self._schema.get("discriminator")
        return (name,) if isinstance(name, str) else ()

    def tags(self) -> str:
        """The kinds the map at hand may be of, as an error lists them."""
        return ", ".join(repr(str(tag)) for tag in self._schema.get("choices", ()))

    def _bare(self, schema: _Schema) -> _Schema:
        """Take off what surrounds a type: defaults, validators, optional, references."""
        self._model = None
        while True:
            for definition in schema.get("definitions", ()):
                self._definitions[definition["ref"]] = definition
            if schema.get("type") == "definition-ref":
                schema = self._definitions.get(schema["schema_ref"], {})
                continue
            self._model = schema.get("cls", self._model)
            keys = ("schema", "python_schema", "lax_schema")
            inner = next((schema[key] for key in keys if key in schema), None)
            if inner is None:
                return schema
            schema = inner

    def _member(self, union: _Schema, label: str) -> _Schema:
        for choice in union["choices"]:
            schema = choice[0] if isinstance(choice, tuple) else choice
            bare = self._bare(schema)
            if label in (getattr(self._model, "__name__", ""), schema.get("ref")):
                return cast("_Schema", schema)
            if label.split("[")[0] in (schema.get("type"), bare.get("type")):
                return cast("_Schema", schema)
        return {}


def _child(schema: _Schema, step: str | int) -> _Schema:
    for name, inner in schema.get("fields", {}).items():
        if step in (name, *_names(name, inner)):
            return cast("_Schema", inner)
    inner = schema.get("values_schema") or schema.get("items_schema") or {}
    if isinstance(inner, list):
        inner = inner[step] if isinstance(step, int) and step < len(inner) else inner[-1]
    return cast("_Schema", inner)


def _names(name: str, schema: _Schema) -> Sequence[str]:
    """The keys a field may be written under."""
    alias = schema.get("validation_alias", name)
    if isinstance(alias, str):
        return (alias,)
    paths = alias if isinstance(alias[0], list) else [alias]
    return [str(path[0]) for path in paths]
