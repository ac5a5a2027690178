"""``recollect schema``: what may stand in the YAML files, for editors."""

import json
from pathlib import Path
from typing import Annotated

import typer


def schema(
    kind: Annotated[
        str | None, typer.Argument(metavar="[KIND]", help="memory, project, workflow or agent.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FOLDER",
            help="Write KIND.schema.json into it; all without KIND.",
        ),
    ] = None,
) -> int:
    """Print the JSON Schema of a kind of YAML file, for editors."""
    from recollect.errors import ConfigError
    from recollect.project.schema import KINDS, json_schema

    if output is None:
        if kind is None:
            raise ConfigError(
                f"name a kind ({', '.join(KINDS)}), or a folder for all: --output FOLDER"
            )
        print(json.dumps(json_schema(kind), indent=2))
        return 0
    output.mkdir(parents=True, exist_ok=True)
    for name in KINDS if kind is None else (kind,):
        file = output / f"{name}.schema.json"
        file.write_text(json.dumps(json_schema(name), indent=2) + "\n", encoding="utf-8")
        print(file)
    return 0
