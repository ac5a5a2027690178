"""Options that several commands share, and how their values are read."""

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.errors import ConfigError

if TYPE_CHECKING:
    from recollect.project.loading import Project

MAX_INPUT_DEPTH = 100

ProjectFolder = Annotated[
    Path | None,
    typer.Option(
        "--project",
        metavar="DIR",
        help="The project's folder; else the nearest one above.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", "-i", metavar="K=V", help="An input, as often as needed; K:=V takes V as JSON."
    ),
]
InputFile = Annotated[
    Path | None,
    typer.Option(
        "--input-file", metavar="FILE", help="Inputs from a JSON or YAML file; - is stdin."
    ),
]


def load(
    folder: Path | None, start: Path | None = None, *, only_memories: bool = False
) -> "Project":
    """Load the project in ``folder``, or the nearest one above ``start``."""
    from recollect.project.loading import find_root, load_memories

    root = folder if folder is not None else find_root(start or Path())
    if only_memories:
        return load_memories(root)
    from recollect.project.users import load_project

    return load_project(root)


def read_inputs(pairs: list[str] | None, file: Path | None) -> dict[str, Any]:
    """Return the inputs of a run; ``--input`` beats ``--input-file``.

    Raises:
        ConfigError: a pair or the file has the wrong form.
    """
    inputs = dict(_from_file(file)) if file is not None else {}
    for pair in pairs or ():
        name, sign, value = pair.partition("=")
        is_json = name.endswith(":")
        name = name.removesuffix(":").strip()
        if not sign or not name:
            raise ConfigError(f"--input {pair[:60]!r} has the wrong form: write name=value")
        checked_text(name, "--input")
        inputs[name] = _json(value, f"--input {name}") if is_json else value
    for name, given in inputs.items():
        _refuse_what_json_cannot_hold(given, f"the input {name!r}")
    return inputs


def _refuse_what_json_cannot_hold(value: Any, where: str, depth: int = 0) -> None:
    """A run records its inputs as JSON, which has no NaN, no infinity and no broken text."""
    if depth > MAX_INPUT_DEPTH:
        raise ConfigError(f"{where[:80]} is nested deeper than {MAX_INPUT_DEPTH} levels")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{where} is {value}, which JSON cannot hold: give it as text")
    if isinstance(value, str):
        checked_text(value, where)
    if isinstance(value, dict):
        for name, inner in value.items():
            checked_text(name, where)
            _refuse_what_json_cannot_hold(inner, f"{where}.{name}", depth + 1)
    if isinstance(value, list):
        for position, inner in enumerate(value):
            _refuse_what_json_cannot_hold(inner, f"{where}[{position}]", depth + 1)


def _from_file(file: Path) -> dict[str, Any]:
    from recollect.project.yaml_document import parse
    from recollect.project.yaml_file import read

    document = parse(stdin_text(), file="stdin") if str(file) == "-" else read(file)
    if not isinstance(document.value, dict):
        raise ConfigError("inputs are a map: {name: value, ...}", file=document.file, line=1)
    return document.value


def stdin_text() -> str:
    """Return all of standard input.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        return sys.stdin.buffer.read().decode() if sys.stdin else ""
    except UnicodeDecodeError as error:
        raise ConfigError(f"stdin is not UTF-8 (byte {error.start}): convert it first") from None


def checked_text(value: str, name: str) -> str:
    """Refuse an argument whose bytes were not UTF-8.

    Raises:
        ConfigError: and names the argument.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"{name} is not UTF-8: convert it first") from None
    return value


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{what} is no JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except RecursionError:
        raise ConfigError(f"{what} is nested too deeply") from None
    except ValueError:  # the only other one: Python refuses to convert it
        raise ConfigError(
            f"{what} holds a number of thousands of digits: give it as text"
        ) from None


def read_payload(content: str | None, payload: str | None, file: Path | None, role: str) -> Any:
    """Return the payload of a write or append from whichever way it was given.

    Raises:
        ConfigError: it was given in no way, or in two.
    """
    given = [x for x in (content, payload, file) if x is not None]
    if len(given) > 1:
        raise ConfigError("give one of CONTENT, --payload and --payload-file")
    if content == "-":
        return {"role": role, "content": stdin_text()}
    if content is not None:
        return {"role": role, "content": checked_text(content, "CONTENT")}
    if payload is not None:
        if not payload.lstrip().startswith(("{", "[", '"')):
            raise ConfigError(
                '--payload takes JSON, such as {"role": "user", "content": "Hi"}: give plain '
                "text as CONTENT, and a file with --payload-file"
            )
        return _json(checked_text(payload, "--payload"), "--payload")
    if file is not None:
        if str(file) == "-":
            return _json(stdin_text(), "stdin")
        return _json(_text_of(file), f"{file}")
    raise ConfigError("nothing to store: give CONTENT (- reads stdin), --payload or --payload-file")


def _text_of(file: Path) -> str:
    from recollect.project.yaml_file import read_text

    return read_text(file)
