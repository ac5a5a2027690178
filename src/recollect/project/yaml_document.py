"""YAML text as plain values that remember where they were written.

The dialect is YAML 1.2 with a few ambiguous spellings left as text, because a configuration that
says `on: no` or `since: 2024-01-02` means words:

- `true`, `True`, `TRUE` and the same of `false` are the only booleans; `null`, `Null`, `NULL`, `~`
  and nothing at all are null;
- numbers are decimal. `0123`, `0x1F`, `0o17`, `1_000` and `12:30` are text; `1.0` is a float;
- dates are text; tags are refused except the standard ones for the types above;
- keys are text. A key occurs once in its map; only a top-level `tasks` may come twice, of which
  the last one counts and a warning tells.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, cast

import yaml

from recollect.errors import ConfigError
from recollect.project.yaml_syntax import refuse_control_characters, syntax_error, template_hint
from recollect.project.yaml_values import Value, cut, resolve, shown

Steps: TypeAlias = Sequence[str | int]

MAX_DEPTH = 100
MAX_ALIASED_NODES = 100_000

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


def parse(text: str, *, file: Path | str) -> Document:
    """Parse one YAML document; `file` is the name that errors show.

    Raises:
        ConfigError: The text is not one document of our dialect (see the module), nests deeper
            than 100 levels, or grows by more than 100,000 nodes through its aliases.
    """
    text = text.removeprefix("\ufeff")
    refuse_control_characters(text, file)
    builder = _Builder(text, file)
    try:
        root = builder.document()
    except yaml.MarkedYAMLError as error:
        raise syntax_error(error, text, file) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"this is not YAML: {error}", file=file) from error
    return Document(file=file, value=root.value, warnings=tuple(builder.warnings), _root=root)


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
            hint = template_hint(self._lines, _line(event))
            raise self._error(
                event, hint or f"a key must be text, not a {kind}: put quotes around it"
            )
        key = self._scalar(event)
        if not isinstance(key, str):
            raise self._error(
                event,
                f'a key must be text, not {shown(key)}: put quotes around it, "{event.value}":',
            )
        if event.anchor:
            self._anchors[event.anchor] = _Node(key, _line(event))
        return key

    def _duplicate(self, key: str, first: int, event: yaml.Event, *, is_root: bool) -> None:
        twice = f"{shown(key)} is written twice, on line {first} and on line {_line(event)}"
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
            return resolve(text) if _is_plain(event) else text
        if tag in ("!", "!!str"):
            return text
        value = resolve(text)
        if tag == "!!float" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        kinds = {"!!int": "int", "!!float": "float", "!!bool": "bool", "!!null": "NoneType"}
        self._check_tag(event, *(kind.removeprefix("!!") for kind in kinds))
        if type(value).__name__ != kinds[tag]:
            raise self._error(event, f"{shown(text)} is no {tag}")
        return value

    def _check_tag(self, event: yaml.Event, *allowed: str) -> None:
        tag = _short_tag(event)
        if tag not in (None, "!", *(f"!!{name}" for name in allowed)):
            raise self._error(
                event,
                f"the tag {cut(str(tag))} is refused, only plain values are read: delete it, or "
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
