"""``recollect init``, ``validate``, ``render`` and ``fmt``: making and checking projects."""

import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.options import (
    AsJson,
    InputFile,
    Inputs,
    ProjectFolder,
    load,
    read_inputs,
    stdin_text,
)
from recollect.cli.output import print_json, say
from recollect.errors import ConfigError, RecollectError

if TYPE_CHECKING:
    from recollect.project.loading import Project


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Created if missing.")
    ] = Path(),
) -> int:
    """Make a project: a chatbot that remembers, ready to run offline."""
    template = files("recollect.project") / "template"
    names = ("recollect.yaml", "workflow.yaml", "memory/conversation.yaml")
    taken = [name for name in names if (folder / name).exists()]
    if taken:
        raise ConfigError(
            f"{folder / taken[0]} is there already: init never overwrites; name another folder"
        )
    try:
        for name in names:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text((template / name).read_text(encoding="utf-8"), encoding="utf-8")
            print(target)
    except OSError as error:
        raise ConfigError(f"{folder}: {error.strerror}: choose a folder you can write to") from None
    where = f" {folder}" if str(folder) != "." else " ."
    say(
        f"\nTry it, twice:\n  recollect run{where} --mock-model -i user_id=u1 -i session_id=s1 "
        "-i user_message='My name is Ada'\nLook inside:\n  recollect memory read conversation_memory "
        f"--key conv:u1:s1{f' --project {folder}' if str(folder) != '.' else ''}"
    )
    return 0


def validate(
    where: Annotated[
        Path,
        typer.Argument(metavar="[FILE_OR_FOLDER]", help="A workflow file or a project folder."),
    ] = Path(),
    strict: Annotated[bool, typer.Option("--strict", help="Notes count as errors.")] = False,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Check a project, or one workflow file in it, without running anything."""
    from recollect.project.users import add_workflow_file

    if not where.exists():
        raise ConfigError(f"there is no file or folder {str(where)!r}")
    loaded = load(project or (where if where.is_dir() else None), where)
    if where.is_file() and where.resolve() != (loaded.file and loaded.file.resolve()):
        _validate_file(loaded, where, add_workflow_file)
    report = _summary(loaded)
    if as_json:
        print_json({"valid": not (strict and loaded.notes), **report})
    else:
        for note in loaded.notes:
            say(f"note: {note}")
        for kind in ("memories", "workflows", "agents"):
            for entry in report[kind]:
                print(f"{kind[:-1] if kind != 'memories' else 'memory':>8}  {entry['id']}")
    if strict and loaded.notes:
        raise ConfigError(f"{len(loaded.notes)} notes, and --strict counts them as errors")
    return 0


def _validate_file(loaded: "Project", file: Path, add_workflow_file: Any) -> None:
    from recollect.project.loading import read_yaml
    from recollect.project.yaml_file import validate as validate_model

    document = read_yaml(file)
    if isinstance(document.value, dict) and document.value.get("resource") == "memory":
        from recollect.memory.resource import Resource

        validate_model(Resource, document)
    else:
        add_workflow_file(loaded, file)


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
    """Render a template the way a task would, with the inputs as its scope."""
    from recollect.clock import SystemClock
    from recollect.templates import render as render_template
    from recollect.workflows.scope import Progress, base_scope

    now = SystemClock().now()
    given = read_inputs(inputs, input_file)
    progress = Progress(run_id="render", workflow={"id": "render"}, project={}, input=given)
    text = stdin_text() if template == "-" else template
    value = render_template(text, base_scope(progress, {}, now), now=now)
    if as_json or not isinstance(value, str):
        print_json(value)
    else:
        print(value)
    return 0


def fmt(
    paths: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML files.")],
    fix: Annotated[bool, typer.Option("--fix", help="Write the repaired files.")] = False,
) -> int:
    """Show, or with --fix write, the intended form of snippets that lost their indentation.

    Without --fix the exit code is 1 if a file would change.
    """
    from recollect.project.repair import diff, fix_file, repair
    from recollect.project.yaml_file import read_text

    changed = failed = False
    for path in paths:
        try:
            before = read_text(path)
            after = repair(before)
            if after is None:
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
        raise typer.Exit(2)
    return 1 if changed and not fix else 0
