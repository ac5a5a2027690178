"""YAML files as plain values that remember where they were written.

The dialect is YAML 1.2 with a few ambiguous spellings left as text, because a configuration that
says `on: no` or `since: 2024-01-02` means words:

- `true`, `True`, `TRUE` and the same of `false` are the only booleans; `null`, `Null`, `NULL`, `~`
  and nothing at all are null;
- numbers are decimal. `0123`, `0x1F`, `0o17`, `1_000` and `12:30` are text; `1.0` is a float;
- dates are text; tags are refused except the standard ones for the types above;
- keys are text. A key occurs once in its map; only a top-level `tasks` may come twice, of which
  the last one counts and a warning tells.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar, cast

import yaml
from pydantic_core import ErrorDetails, ValidationError

from recollect.errors import ConfigError, closest

if TYPE_CHECKING:
    from pydantic import BaseModel

    M = TypeVar("M", bound=BaseModel)

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"
Steps: TypeAlias = Sequence[str | int]

MAX_BYTES = 10 * 1024 * 1024
MAX_DEPTH = 100
MAX_ALIASED_NODES = 100_000
MAX_SHOWN = 60

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One parsed YAML document. `value` may be changed by its owner; positions stay as read."""

    file: Path | str
    value: Value
    warnings: tuple[str, ...] = ()
    """Complete sentences that begin with `file:line:`."""
    _root: "_Node" = field(repr=False, compare=False)

    def line_of(self, path: Steps) -> int | None:
        """Return the line, counted from 1, of the key or list item at `path`.

        Of a path that leads nowhere it is the line of the nearest parent that exists. What came
        through an alias or a merge key stands where its anchor was written.
        """
        node = self._root
        for step in path:
            child = node.children.get(step)
            if child is None:
                break
            node = child
        return node.line

    def replaced(self, path: Steps, value: Value) -> "Document":
        """Return this document with another value at `path`, which must exist.

        Positions stay those of the file, so what the new value adds has the line of its parent.
        """
        return replace(self, value=_with(self.value, path, value))


def read(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        ConfigError: as `read_text` and `parse` do.
    """
    return parse(read_text(path), file=path)


def read_text(path: Path) -> str:
    """Return the text of a file exactly as it is: line ends and a byte order mark stay.

    Raises:
        ConfigError: The file is missing, a folder, not readable, over 10 MiB, or not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("there is no such file", file=path) from None
    except IsADirectoryError:
        raise ConfigError("this is a folder, not a YAML file", file=path) from None
    except PermissionError as error:
        raise ConfigError(
            "permission denied: make the file readable for the user who runs recollect", file=path
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {error}", file=path) from error
    if len(data) > MAX_BYTES:
        raise ConfigError("is larger than 10 MiB: split it into several files", file=path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"byte 0x{data[error.start]:02x} at byte offset {error.start} is not UTF-8: "
            "save it as UTF-8",
            file=path,
            line=data.count(b"\n", 0, error.start) + 1,
        ) from error


def parse(text: str, *, file: Path | str) -> Document:
    """Parse one YAML document; `file` is the name that errors show.

    Raises:
        ConfigError: The text is not one document of our dialect (see the module), nests deeper
            than 100 levels, or grows by more than 100,000 nodes through its aliases.
    """
    text = text.removeprefix("\ufeff")
    _refuse_control_characters(text, file)
    builder = _Builder(text, file)
    try:
        root = builder.document()
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, text, file) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"this is not YAML: {error}", file=file) from error
    return Document(file=file, value=root.value, warnings=tuple(builder.warnings), _root=root)


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


# --- building values ------------------------------------------------------------------------------


class _Node(NamedTuple):
    value: Value
    line: int
    children: "Mapping[str | int, _Node]" = MappingProxyType({})
    size: int = 1
    height: int = 0


class _Builder:
    """Turns the events of the YAML library into nodes; recursion ends at MAX_DEPTH."""

    def __init__(self, text: str, file: Path | str) -> None:
        self.warnings: list[str] = []
        self._file = file
        self._lines = text.splitlines()
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._anchors: dict[str, _Node | None] = {}
        self._aliased = 0

    def document(self) -> _Node:
        next(self._events)
        if isinstance(next(self._events), yaml.StreamEndEvent):
            raise ConfigError("the file is empty", file=self._file)
        root = self._node(next(self._events), 0)
        next(self._events)
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            raise self._error(
                after,
                "a second document begins here, but a file holds one: delete the `---`, or put "
                "the rest into a file of its own",
            )
        if root.value is None:
            raise ConfigError("the file is empty", file=self._file)
        return root

    def _node(self, event: yaml.Event, depth: int) -> _Node:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        anchor = cast("yaml.NodeEvent", event).anchor
        if anchor:
            self._anchors[anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = _Node(self._scalar(event), _line(event))
        else:
            self._check_depth(event, depth + 1)
            is_map = isinstance(event, yaml.MappingStartEvent)
            self._check_tag(event, "map" if is_map else "seq")
            node = self._map(event, depth) if is_map else self._list(event, depth)
        if anchor:
            self._anchors[anchor] = node
        return node

    def _list(self, start: yaml.Event, depth: int) -> _Node:
        items: list[_Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return _collection([n.value for n in items], _line(start), dict(enumerate(items)))

    def _map(self, start: yaml.Event, depth: int) -> _Node:
        own: dict[str | int, _Node] = {}
        merged: dict[str | int, _Node] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event)
            if key in lines:
                self._duplicate(key, lines[key], event, is_root=depth == 0)
            lines[key] = _line(event)
            node = self._node(next(self._events), depth + 1)
            if key == "<<" and _is_plain(event):
                merged = self._merged(event, node)
            else:
                own[key] = node._replace(line=_line(event))
        children = {**merged, **own}
        return _collection({str(k): n.value for k, n in children.items()}, _line(start), children)

    def _key(self, event: yaml.Event) -> str:
        if isinstance(event, yaml.AliasEvent):
            raise self._error(event, "an alias cannot be a key: write the key itself")
        if not isinstance(event, yaml.ScalarEvent):
            kind = "map" if isinstance(event, yaml.MappingStartEvent) else "list"
            hint = _template_hint(self._lines, _line(event))
            raise self._error(
                event, hint or f"a key must be text, not a {kind}: put quotes around it"
            )
        key = self._scalar(event)
        if not isinstance(key, str):
            raise self._error(
                event,
                f'a key must be text, not {_shown(key)}: put quotes around it, "{event.value}":',
            )
        if event.anchor:
            self._anchors[event.anchor] = _Node(key, _line(event))
        return key

    def _duplicate(self, key: str, first: int, event: yaml.Event, *, is_root: bool) -> None:
        twice = f"{_shown(key)} is written twice, on line {first} and on line {_line(event)}"
        if not (is_root and key == "tasks"):
            raise self._error(event, f"{twice}: keep one of them", first_line=first)
        self.warnings.append(f"{self._file}:{_line(event)}: {twice}: the last one counts")

    def _merged(self, event: yaml.Event, node: _Node) -> dict[str | int, _Node]:
        sources = [node] if isinstance(node.value, dict) else list(node.children.values())
        if not sources or not all(isinstance(source.value, dict) for source in sources):
            raise self._error(event, "`<<` takes a map or a list of maps")
        result: dict[str | int, _Node] = {}
        for source in reversed(sources):
            result |= {k: n._replace(value=_copy(n.value)) for k, n in source.children.items()}
        return result

    def _alias(self, event: yaml.AliasEvent, depth: int) -> _Node:
        if event.anchor not in self._anchors:
            raise self._error(
                event, f"no anchor &{event.anchor} comes before this; quote the value if it is text"
            )
        node = self._anchors[event.anchor]
        if node is None:
            raise self._error(event, f"*{event.anchor} contains itself")
        self._check_depth(event, depth + node.height)
        self._aliased += node.size
        if self._aliased > MAX_ALIASED_NODES:
            raise self._error(
                event, f"the aliases of this file grow beyond {MAX_ALIASED_NODES:,} values"
            )
        return node._replace(value=_copy(node.value), line=_line(event))

    def _scalar(self, event: yaml.ScalarEvent) -> Value:
        text = str(event.value)
        tag = _short_tag(event)
        if tag is None:
            return _resolve(text) if _is_plain(event) else text
        if tag in ("!", "!!str"):
            return text
        value = _resolve(text)
        if tag == "!!float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        kinds = {"!!int": "int", "!!float": "float", "!!bool": "bool", "!!null": "NoneType"}
        self._check_tag(event, *(kind.removeprefix("!!") for kind in kinds))
        if type(value).__name__ != kinds[tag]:
            raise self._error(event, f"{_shown(text)} is no {tag}")
        return value

    def _check_tag(self, event: yaml.Event, *allowed: str) -> None:
        tag = _short_tag(event)
        if tag not in (None, "!", *(f"!!{name}" for name in allowed)):
            raise self._error(
                event,
                f"the tag {_cut(str(tag))} is refused, only plain values are read: delete it, or "
                "put quotes around the value if it is text",
            )

    def _check_depth(self, event: yaml.Event, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._error(event, f"nested deeper than {MAX_DEPTH} levels")

    def _error(self, event: yaml.Event, message: str, **details: Any) -> ConfigError:
        return ConfigError(message, file=self._file, line=_line(event), **details)


def _with(whole: Any, path: Steps, value: Value) -> Value:
    if not path:
        return value
    changed: Any = whole.copy()
    changed[path[0]] = _with(whole[path[0]], path[1:], value)
    return cast("Value", changed)


def _copy(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _copy(each) for key, each in value.items()}
    return [_copy(each) for each in value] if isinstance(value, list) else value


def _collection(value: Value, line: int, children: Mapping[str | int, _Node]) -> _Node:
    nodes = children.values()
    return _Node(
        value,
        line,
        children,
        size=1 + sum(node.size for node in nodes),
        height=1 + max((node.height for node in nodes), default=0),
    )


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _is_plain(event: yaml.Event) -> bool:
    return isinstance(event, yaml.ScalarEvent) and event.tag is None and bool(event.implicit[0])


def _short_tag(event: yaml.Event) -> str | None:
    tag = cast("yaml.ScalarEvent", event).tag
    return None if tag is None else str(tag).replace("tag:yaml.org,2002:", "!!")


_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,999})")  # beyond, Python refuses to convert: text
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"([-+]?)\.(inf|Inf|INF)")


def _resolve(text: str) -> Value:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit():
        return float(text)
    if found := _INF.fullmatch(text):
        return -math.inf if found[1] == "-" else math.inf
    return math.nan if text in (".nan", ".NaN", ".NAN") else text


# --- syntax errors --------------------------------------------------------------------------------

_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HINTS = (
    ("mapping values are not allowed", "a value that holds `: ` needs quotes; else the indentation "
     "is wrong"),
    ("cannot start any token", "a value that begins with such a character needs quotes"),
    ("did not find expected key", "keys of one map must begin in the same column"),
    ("expected <block end>", "keys of one map must begin in the same column"),
    ("'-' indicator", "items of one list must begin in the same column"),
    ("could not find expected ':'", "a line `key: value` was expected here"),
    ("unexpected end of stream", "a quote or bracket that opens here is never closed"),
    ("expected ',' or", "a bracket that opens here is never closed"),
    ("alphabetic or numeric", "a value that begins with `*` or `&` needs quotes"),
    ("unknown escape", "a backslash is written as it is inside single quotes"),
)  # fmt: skip
_QUOTED = re.compile("\"[^\"]*\"|'[^']*'")
_UNQUOTED_TEMPLATE = re.compile(
    r"(?P<before>\s*+(?:- +)*+(?:[^\s:'\"\[{|>#][^:'\"\[{#]*:\s+)?+)"
    r"(?P<value>(?:[^\s'\"\[{|>#][^#]*?)?\{\{.*?)(?P<comment>\s+#.*)?\s*"
)


def _refuse_control_characters(text: str, file: Path | str) -> None:
    if found := _FORBIDDEN.search(text):
        code = ord(found[0])
        escape = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
        raise ConfigError(
            f'the character U+{code:04X} may not stand in YAML: write it as "{escape}" in double '
            "quotes, or delete it",
            file=file,
            line=len((text[: found.start()] + ".").splitlines()),
        )


def _syntax_error(error: yaml.MarkedYAMLError, text: str, file: Path | str) -> ConfigError:
    lines = text.splitlines()
    problem = str(error.problem)
    unclosed = error.context_mark and any(s in str(error.context) for s in ("quoted", "flow"))
    mark = error.context_mark if unclosed else error.problem_mark
    line = min(mark.line + 1, len(lines)) if mark else None
    message = f"this is not YAML: {problem}"
    if line:
        indentation = re.match(r"\s*", lines[line - 1])
        if indentation and "\t" in indentation[0]:
            message = "the line is indented with a tab: YAML wants spaces, replace each tab by two"
        elif hint := _template_hint(lines, line):
            message = hint
        else:
            message += "".join(f" ({hint})" for part, hint in _HINTS if part in problem)
    return ConfigError(message, file=file, line=line)


def _template_hint(lines: Sequence[str], line: int) -> str:
    """How to write the template of a line, or nothing when the line has none."""
    if "{{" not in _QUOTED.sub("", lines[line - 1]):
        return ""
    found = _UNQUOTED_TEMPLATE.fullmatch(lines[line - 1])
    if not found:
        return 'put quotes around templates, as in key: "{{ .name }}"'
    value = found["value"]
    single = '"' in value or "\\" in value
    quoted = "'" + value.replace("'", "''") + "'" if single else f'"{value}"'
    return f"put quotes around templates: write {found['before'].lstrip()}{quoted}"


# --- validation errors ----------------------------------------------------------------------------

_Schema: TypeAlias = Mapping[str, Any]
_FEW = 15
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
        return f"must be {self.expected}, not {_shown(self.got)}" + (
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


def field_name(path: Steps) -> str:
    """Write a path as errors show it: ``tasks[0].id``."""
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(steps).removeprefix(".")


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
    trail = _Trail(model.__pydantic_core_schema__)
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
    return f"{words}, not {_shown(got)}" if message.startswith("Input should") else words


class _Trail:
    """Follows the location of an error through the schema of a model.

    Pydantic mixes the names of union members into locations; only the schema tells them from keys
    of the document.
    """

    def __init__(self, schema: _Schema) -> None:
        self.path: list[str | int] = []
        self.members: list[tuple[int, str]] = []
        self._model: object = None
        self._definitions: dict[str, _Schema] = {}
        self._schema = self._bare(schema)

    def step(self, step: str | int) -> None:
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
        return f"unknown field {_shown(name)}.{closest(name, known)}{listed}"

    def discriminator(self) -> tuple[str, ...]:
        name = self._schema.get("discriminator")
        return (name,) if isinstance(name, str) else ()

    def tags(self) -> str:
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


def _shown(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else "a list"
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
