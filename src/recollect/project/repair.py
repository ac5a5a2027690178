"""Repairs task snippets that lost their indentation, as when a task is copied from a web page.

    payload:                payload:
    role: "system"            role: "system"
    content: |                content: |
    Name: Ada         →         Name: Ada
    on_success:             on_success:
    next: greet               next: greet

Only the indentation of lines changes. A text is taken for flattened when it looks like a task and
either is no YAML as it stands, or a key that holds a map (`payload`, `metadata`, `on_success`,
`on_error`, `*_config`) is empty and keys known to belong under it follow in its own column.
"""

import difflib
import os
import re
import tempfile
from collections.abc import Mapping, Set
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from recollect.errors import ConfigError
from recollect.project.yaml_document import parse
from recollect.project.yaml_file import read_text


def is_flattened(text: str) -> bool:
    """Tell whether `repair` has something to repair."""
    return repair(text) is not None


def repair(text: str) -> str | None:
    """Return a flattened task, or list of tasks, in its intended form; None for any other text.

    Never raises. What it returns parses, differs from the text by spaces at the beginnings of
    lines only, and is not flattened: `repair` of it is None.
    """
    nesting = _Nesting(text)
    nested = nesting.nested()
    if nested == text or not nesting.is_task:
        return None
    if not nesting.found_child and (not nesting.found_text_or_item or _parses(text)):
        return None
    is_settled = _parses(nested) and _Nesting(nested).nested() == nested
    return nested if is_settled else None


def flattened_error(text: str, *, file: Path | str) -> ConfigError:
    """Return the error for loading a flattened text: it shows the repaired one and the way out.

    Raises:
        ValueError: The text is not flattened.
    """
    repaired = repair(text)
    if repaired is None:
        raise ValueError("only a flattened text has this error: ask is_flattened first")
    pairs = zip(text.splitlines(), repaired.splitlines(), strict=True)
    line = next(number for number, (old, new) in enumerate(pairs, 1) if old != new)
    return ConfigError(
        "this task lost its indentation, as when it is copied from a web page. It was probably "
        f"meant to be:\n\n{repaired.rstrip()}\n\n"
        f"`recollect fmt --fix {file}` writes it like this.",
        file=file,
        line=line,
    )


def diff(before: str, after: str, *, file: Path | str) -> str:
    """Return the change as a unified diff, or an empty text when there is none."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), str(file), f"{file} (repaired)", lineterm=""
    )
    return "".join(f"{line}\n" for line in lines)


def fix_file(path: Path) -> bool:
    """Rewrite a flattened file in its intended form; return whether it was flattened.

    The file is replaced in one step and keeps its mode; of a link the target is replaced.

    Raises:
        ConfigError: The file cannot be read (see `read_text`) or its folder not written.
    """
    repaired = repair(read_text(path))
    if repaired is None:
        return False
    try:
        _replace(path.resolve(), repaired)
    except OSError as error:
        raise ConfigError(
            f"the repaired file cannot be written to the folder {str(path.resolve().parent)!r} "
            f"({error.strerror}): make the folder writable; the file is unchanged",
            file=path,
        ) from error
    return True


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".recollect-", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(path.stat().st_mode & 0o7777)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise


def _parses(text: str) -> bool:
    try:
        parse(text, file="")
    except ConfigError:
        return False
    return True


# --- nesting --------------------------------------------------------------------------------------

_STEP: Final = 2
_TASK_KEYS: Final = frozenset({
    "id", "type", "task", "resource", "config", "operation", "memory_ref", "key_template",
    "payload", "batch_size", "max_keys", "read_config", "flush_config", "health_config",
    "stats_config", "clear_config", "model_config", "agent", "tool", "action", "prompt",
    "provider", "model", "messages", "memory", "memories", "memory_key", "tools", "mcps",
    "max_iterations", "attachments", "knowledge", "with", "env", "input", "output", "outputs",
    "condition", "sleep", "timeout", "retries", "final", "tasks", "on_success", "on_error", "on_timeout",
})  # fmt: skip
_FILE_KEYS: Final = frozenset({
    "agents", "autoload", "models", "schedule", "schemas", "triggers", "workflows",
})  # fmt: skip
_NEVER_OF_A_FILE: Final = frozenset({
    "type", "task", "operation", "memory_ref", "key_template", "payload", "agent", "tool",
    "action", "prompt", "on_success",
})  # fmt: skip
_MARKS: Final = frozenset({"id", "type", "task", "operation"})
_TRANSITION: Final = frozenset({"next", "with", "continue", "default_output"})
_CHILDREN: Final[Mapping[str, Set[str]]] = {
    "payload": frozenset({"role", "content", "timestamp", "metadata"}),
    "metadata": frozenset({"user_id", "session_id"}),
    "on_success": _TRANSITION,
    "on_error": _TRANSITION,
    "with": frozenset(),
    "read_config": frozenset({"limit", "offset", "pattern", "include_metadata", "source"}),
    "flush_config": frozenset({"strategy", "max_keys", "dry_run", "force", "threshold"}),
    "health_config": frozenset({"include_stats", "check_connectivity"}),
    "stats_config": frozenset({"include_content", "group_by"}),
    "clear_config": frozenset({"confirm", "backup", "pattern"}),
    "model_config": frozenset({"provider", "model", "api_key", "api_url", "params"}),
}

_LINE: Final = re.compile(
    r"(?P<indent> *)(?P<dash>- +)?(?:(?P<key>[A-Za-z_][\w-]*):(?: +(?P<value>.*)|$))?"
)
_BLOCK: Final = re.compile(r"[|>][-+]?\s*(#.*)?")
_OPENS_BLOCK: Final = re.compile(r"(?:^|[-:]\s|\s)[|>][-+0-9]*\s*(?:\s#.*)?$")


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    text: str
    indent: int
    is_item: bool
    key: str
    key_column: int
    value: str

    @property
    def is_structure(self) -> bool:
        rest = self.text.strip()
        return bool(rest) and not rest.startswith("#")

    @property
    def is_empty_key(self) -> bool:
        return bool(self.key) and (not self.value or self.value.startswith("#"))

    @property
    def begins_task(self) -> bool:
        return self.is_item and self.key in _MARKS


class _Map(msgspec.Struct, kw_only=True):
    """A map whose keys stand in one column and should stand in another; a task has no name."""

    name: str = ""
    found_column: int
    column: int
    given: set[str] = msgspec.field(default_factory=set)
    dash_column: int = -1

    def takes(self, key: str) -> bool:
        known = _CHILDREN.get(self.name, ()) if self.name else _TASK_KEYS
        return key in known and key not in self.given


class _Nesting:
    """One pass over the lines that finds how far each has to move to the right."""

    def __init__(self, text: str) -> None:
        self.is_task = False
        self.found_child = False
        self.found_text_or_item = False
        self._text = text
        self._lines = [_line(line) for line in text.removeprefix("\ufeff").splitlines()]
        self._shifts: dict[int, int] = {}
        self._shift = 0
        margin = next((line.indent for line in self._lines if line.is_structure), 0)
        self._tasks = [_Map(found_column=margin, column=margin)]
        self._parents: list[_Map] = []

    def nested(self) -> str:
        """Return the text with every line moved to where it belongs."""
        index = 0
        while index < len(self._lines):
            index = self._take(index)
        shift = 0
        for index in reversed(range(len(self._lines))):  # comments stay with the line they precede
            shift = self._shifts.setdefault(index, shift)
        mark = "\ufeff" if self._text.startswith("\ufeff") else ""
        whole = self._text.removeprefix("\ufeff").splitlines(keepends=True)
        return mark + "".join(
            " " * self._shifts[index] + line if line.strip() else line
            for index, line in enumerate(whole)
        )

    def _take(self, index: int) -> int:
        """Place the line and what belongs to it; return the index of the next line to place."""
        line = self._lines[index]
        if not line.is_structure:
            return index + 1
        while len(self._tasks) > 1 and line.indent < self._tasks[-1].found_column:
            self._leave_task()
        is_inside = line.indent > self._tasks[-1].found_column
        if line.begins_task and not (is_inside and self._shift):
            self._begin_task(index)
        elif line.key and not line.is_item and not is_inside:
            return self._place(index)
        self._shifts[index] = self._shift
        return self._skip_block(index)

    def _begin_task(self, index: int) -> None:
        line = self._lines[index]
        while self._tasks[-1].dash_column >= line.indent:
            self._leave_task()
        self._parents.clear()
        after = self._next_structure(index)
        is_flat = (
            after is not None
            and after.indent == line.indent
            and not after.is_item
            and after.key in _NEVER_OF_A_FILE
        )
        self._tasks.append(
            _Map(
                found_column=line.indent if is_flat else line.key_column,
                column=line.key_column,
                given={line.key},
                dash_column=line.indent,
            )
        )
        self.is_task = True
        self.found_text_or_item |= is_flat
        self._shift = 0

    def _leave_task(self) -> None:
        self._tasks.pop()
        self._parents.clear()
        self._shift = 0

    def _place(self, index: int) -> int:
        line = self._lines[index]
        owner = self._owner(line.key)
        owner.given.add(line.key)
        self.is_task |= not owner.name and line.key in _MARKS
        self._shifts[index] = self._shift = max(owner.column - line.indent, 0)
        if _BLOCK.fullmatch(line.value):
            return self._place_block(index, owner)
        if self._lost_children(index):
            column = owner.column + _STEP
            self._parents.append(_Map(name=line.key, found_column=line.indent, column=column))
        return self._skip_block(index)

    def _lost_children(self, index: int) -> bool:
        """Tell whether the line is an empty key that holds a map, followed in its own column."""
        line, after = self._lines[index], self._next_structure(index)
        holds_map = line.key in _CHILDREN or line.key.endswith("_config")
        return (
            holds_map
            and line.is_empty_key
            and after is not None
            and not after.is_item
            and after.indent == line.indent
        )

    def _owner(self, key: str) -> _Map:
        """Find the map a key belongs to, and close the maps inside that."""
        if self._ends_list(key):
            self._leave_task()
        task, parents = self._tasks[-1], self._parents
        for depth in reversed(range(len(parents))):
            if parents[depth].takes(key):
                self.found_child = True
                del parents[depth + 1 :]
                return parents[depth]
        if not task.takes(key):
            while parents and parents[-1].name in ("on_success", "on_error"):
                parents.pop()  # these hold nothing but known keys
            if parents:
                return parents[-1]
        parents.clear()
        return task

    def _ends_list(self, key: str) -> bool:
        is_flat = self._tasks[-1].dash_column == self._tasks[-1].found_column
        return is_flat and (key in _FILE_KEYS or key == "tasks")

    def _place_block(self, index: int, owner: _Map) -> int:
        line = self._lines[index]
        first = next((n for n in range(index + 1, len(self._lines)) if self._is_filled(n)), None)
        if first is None or self._lines[first].indent > line.indent:
            return self._skip_block(index)
        end = index + 1
        while end < len(self._lines) and not self._ends_text(self._lines[end]):
            end += 1
        shift = owner.column + _STEP - line.indent
        self._shifts.update(dict.fromkeys(range(index + 1, end), shift))
        self.found_text_or_item |= first < end
        return end

    def _ends_text(self, line: _Line) -> bool:
        """A task's next own key ends a flattened text; so does metadata that holds something."""
        if line.indent > self._tasks[-1].found_column:
            return False
        if line.is_item:
            return line.begins_task and len(self._tasks) > 1
        opens_metadata = line.key == "metadata" and line.is_empty_key
        return self._tasks[-1].takes(line.key) or (
            opens_metadata and any(parent.takes("metadata") for parent in self._parents)
        )

    def _skip_block(self, index: int) -> int:
        """Pass over the text of a block scalar that kept its indentation."""
        line = self._lines[index]
        end = index + 1
        if _OPENS_BLOCK.search(line.text):
            column = line.key_column if line.key else line.indent
            while end < len(self._lines) and not (
                self._is_filled(end) and self._lines[end].indent <= column
            ):
                self._shifts[end] = self._shift
                end += 1
        return end

    def _is_filled(self, index: int) -> bool:
        return bool(self._lines[index].text.strip())

    def _next_structure(self, index: int) -> _Line | None:
        following = (self._lines[n] for n in range(index + 1, len(self._lines)))
        return next((line for line in following if line.is_structure), None)


def _line(text: str) -> _Line:
    found = _LINE.match(text)
    indent, dash, key, value = found.group("indent", "dash", "key", "value") if found else [""] * 4
    return _Line(
        text=text,
        indent=len(indent),
        is_item=bool(dash),
        key=key or "",
        key_column=len(indent) + len(dash or ""),
        value=value or "",
    )
