"""Options that several commands share, and how their values are read."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.errors import ConfigError

if TYPE_CHECKING:
    from recollect.project.loading import Project

ProjectFolder = Annotated[
    Path | None,
    typer.Option(
        "--project",
        metavar="DIR",
        help="Folder of the project; else the nearest one with a recollect.yaml.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", "-i", metavar="K=V", help="An input; K:=V takes V as JSON. May be repeated."
    ),
]
InputFile = Annotated[
    Path | None,
    typer.Option(
        "--input-file", metavar="FILE", help="Inputs as a JSON or YAML mapping; - is stdin."
    ),
]


def load(
    folder: Path | None, start: Path | None = None, *, only_memories: bool = False
) -> "Project":
    """Load the project in ``folder``, or the nearest one above ``start``."""
    from recollect.project.loading import find_root, load_memories

    root = folder if folder is not None else find_root(start or Path.cwd())
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
        inputs[name] = _json(value, f"--input {name}") if is_json else checked_text(value, name)
    return inputs


def _from_file(file: Path) -> dict[str, Any]:
    from recollect.project.yaml_file import parse, read

    document = parse(stdin_text(), file="stdin") if str(file) == "-" else read(file)
    if not isinstance(document.value, dict):
        raise ConfigError("inputs are a mapping: {name: value, ...}", file=file, line=1)
    return document.value


def stdin_text() -> str:
    """Return all of standard input.

    Raises:
        ConfigError: it is not UTF-8.
    """
    try:
        return sys.stdin.buffer.read().decode()
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
        raise ConfigError(f"the value of {name!r} is not UTF-8: convert it first") from None
    return value


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{what} is no JSON: {error}") from None


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
        return _json(checked_text(payload, "--payload"), "--payload")
    if file is not None:
        text = stdin_text() if str(file) == "-" else _text_of(file)
        return _json(text, f"{file}")
    raise ConfigError("nothing to store: give CONTENT (- reads stdin), --payload or --payload-file")


def _text_of(file: Path) -> str:
    from recollect.project.yaml_file import read_text

    return read_text(file)
