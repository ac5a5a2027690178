"""Text that is not YAML, told in our words: the line, the mistake and how to write it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recollect.errors import ConfigError

if TYPE_CHECKING:
    import yaml

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


def refuse_control_characters(text: str, file: Path | str) -> None:
    """Raise a `ConfigError` at the first character that may not stand in YAML."""
    if found := _FORBIDDEN.search(text):
        code = ord(found[0])
        escape = f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
        raise ConfigError(
            f'the character U+{code:04X} may not stand in YAML: write it as "{escape}" in double '
            "quotes, or delete it",
            file=file,
            line=len((text[: found.start()] + ".").splitlines()),
        )


def syntax_error(error: "yaml.MarkedYAMLError", text: str, file: Path | str) -> ConfigError:
    """Tell the mistake the YAML library found in `text`, and the remedy where one is known."""
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
        elif hint := template_hint(lines, line):
            message = hint
        else:
            message += "".join(f" ({hint})" for part, hint in _HINTS if part in problem)
    return ConfigError(message, file=file, line=line)


def template_hint(lines: Sequence[str], line: int) -> str:
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
