"""``recollect init``, ``validate``, ``render`` and ``fmt``: making and checking projects."""

import os
import shlex
import sys
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.exits import EXIT_FAILED, EXIT_USAGE
from recollect.cli.options import (
    AsJson,
    InputFile,
    Inputs,
    ProjectFolder,
    checked_text,
    load,
    read_inputs,
    stdin_text,
)
from recollect.cli.output import print_json, say, say_notes
from recollect.errors import ConfigError, RecollectError

if TYPE_CHECKING:
    from recollect.project.loading import Project


_TEMPLATE_FILES = ("recollect.yaml", "workflow.yaml", "memory/conversation.yaml")


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Created if missing.")] = Path(),
) -> int:
    """Make a project: a chatbot that remembers, even offline."""
    from recollect.project.definition import FILE_NAMES

    taken = [name for name in (*FILE_NAMES, *_TEMPLATE_FILES) if os.path.lexists(folder / name)]
    if taken:
        raise ConfigError(
            f"{folder / taken[0]} is there already: init never overwrites; name another folder"
        )
    _write_template(folder)
    for name in _TEMPLATE_FILES:
        print(folder / name)
    where = shlex.quote(str(folder))
    say(
        f"\nTry it, twice:\n  recollect run {where} --mock-model -i user_id=u1 -i session_id=s1 "
        "-i user_message='My name is Ada'\nLook inside:\n  recollect memory read conversation_memory "
        f"--key conv:u1:s1{f' --project {where}' if where != '.' else ''}"
    )
    return 0


def _write_template(folder: Path) -> None:
    """Write all files, or none of them.

    Raises:
        ConfigError: the folder cannot be written.
    """
    template = files("recollect.project") / "template"
    with ExitStack() as undo:
        try:
            for name in _TEMPLATE_FILES:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("x", encoding="utf-8") as file:
                    undo.callback(target.unlink)
                    file.write((template / name).read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(
                f"{error.filename or folder}: {error.strerror}: name a folder you can write to"
            ) from None
        undo.pop_all()


def validate(
    where: Annotated[
        Path,
        typer.Argument(metavar="FILE_OR_FOLDER", help="A YAML file, or a project's folder."),
    ] = Path(),
    strict: Annotated[bool, typer.Option("--strict", help="Count notes as errors.")] = False,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Check a project or a file, without running anything."""
    from recollect.project.app import make_project_store
    from recollect.project.users import check_file

    if not where.exists():
        raise ConfigError(f"there is no file or folder {str(where)!r}")
    loaded = load(project or (where if where.is_dir() else None), where)
    make_project_store(loaded)
    if where.is_file() and where.resolve() != (loaded.file and loaded.file.resolve()):
        check_file(loaded, where)
    if loaded.file is None:
        loaded.notes.append(f"{loaded.root}: no recollect.yaml here or above: `recollect init`?")
    report = _summary(loaded)
    refused = strict and bool(loaded.notes)
    if as_json:
        print_json({"valid": not refused, **report})
        return EXIT_USAGE if refused else 0
    say_notes(loaded)
    for kind in ("memories", "workflows", "agents"):
        for entry in report[kind]:
            print(f"{kind[:-1] if kind != 'memories' else 'memory':>8}  {entry['id']}")
    if refused:
        raise ConfigError("not valid: --strict counts notes as errors")
    say("valid")
    return 0


def _summary(loaded: "Project") -> dict[str, Any]:
    from recollect.agents.reference import references_json

    return {
        "project": loaded.name,
        "memories": [
            resource.model_dump(mode="json", exclude_unset=True)
            for resource in loaded.registry.resources
        ],
        "workflows": [
            {"id": id_, "tasks": [task.id for task in entry.workflow.tasks]}
            for id_, entry in sorted(loaded.workflows.items())
        ],
        "agents": [
            {"id": id_, "memories": references_json(entry.agent)}
            for id_, entry in sorted(loaded.agents.items())
        ],
        "notes": loaded.notes,
    }


def render(
    template: Annotated[str, typer.Argument(metavar="TEMPLATE", help="- reads it from stdin.")],
    inputs: Inputs = None,
    input_file: InputFile = None,
    as_json: AsJson = False,
) -> int:
    """Render a template with inputs, the way a task would."""
    from recollect.clock import SystemClock
    from recollect.templates import render as render_template
    from recollect.workflows.scope import Progress, base_scope

    now = SystemClock().now()
    given = read_inputs(inputs, input_file)
    progress = Progress(run_id="render", workflow={"id": "render"}, project={}, input=given)
    text = stdin_text() if template == "-" else checked_text(template, "TEMPLATE")
    value = render_template(text, base_scope(progress, {}, now), now=now)
    if as_json or not isinstance(value, str):
        print_json(value)
    else:
        print(value)
    return 0


def fmt(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE", help="YAML files.")],
    fix: Annotated[bool, typer.Option("--fix", help="Write the repaired files.")] = False,
) -> int:
    """Repair snippets that lost their indentation.

    Without --fix the changes are only shown, and the exit code is 1 if there are any.
    """
    from recollect.project.repair import diff, fix_file, repair
    from recollect.project.yaml_document import parse
    from recollect.project.yaml_file import read_text

    changed = failed = False
    for path in paths:
        try:
            before = read_text(path)
            after = repair(before)
            if after is None:
                parse(before, file=path)  # what is broken in another way is told, not passed over
                continue
            changed = True
            if fix:
                fix_file(path)
                say(f"repaired {path}")
            else:
                sys.stdout.write(diff(before, after, file=path))
        except RecollectError as error:
            failed = True
            say(f"recollect: {error}")
    if failed:
        raise typer.Exit(EXIT_USAGE)
    return EXIT_FAILED if changed and not fix else 0
