"""``recollect run``: run a workflow, durably, in this process."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recollect.cli.exits import EXIT_FAILED, Interrupted
from recollect.cli.options import AsJson, InputFile, Inputs, ProjectFolder, load, read_inputs
from recollect.cli.output import RunProgress, on_terminal, print_json, print_run, say, say_notes
from recollect.errors import ConfigError, closest

if TYPE_CHECKING:
    from recollect.project.app import RunResult
    from recollect.project.loading import Project
    from recollect.workflows.workflow import Workflow


def run(
    where: Annotated[
        Path,
        typer.Argument(metavar="FILE_OR_FOLDER", help="A workflow file, or a project's folder."),
    ],
    inputs: Inputs = None,
    input_file: InputFile = None,
    workflow: Annotated[
        str | None,
        typer.Option(
            "--workflow", "-w", metavar="ID", help="Which workflow, if the folder has several."
        ),
    ] = None,
    mock_model: Annotated[
        bool, typer.Option("--mock-model", help="Answer with the offline model; needs no key.")
    ] = False,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Run a workflow to its end.

    Runs of processes that died are finished first. Exit code 1 says that the run failed.
    """
    import asyncio

    loaded, chosen = _choose(where, workflow, project)
    given = read_inputs(inputs, input_file)
    watched = on_terminal() or not as_json
    if not as_json:
        say_notes(loaded)
    try:
        result = asyncio.run(_run(loaded, chosen, given, mock_model, watched))
    except KeyboardInterrupt:
        raise kept(loaded) from None
    shown = result.as_json()
    print_json(shown) if as_json else print_run(shown)
    return 0 if result.status == "completed" else EXIT_FAILED


async def _run(
    loaded: "Project", chosen: "Workflow", given: dict[str, object], mock: bool, watched: bool
) -> "RunResult":
    from recollect.project.app import open_app
    from recollect.telemetry import Telemetry

    telemetry = Telemetry()
    if watched:
        telemetry.listen(RunProgress())
    async with open_app(loaded, mock_model=mock, telemetry=telemetry) as app:
        return await app.run(
            chosen, given, on_found=say_found, warn=lambda text: say(f"note: {text}")
        )


def say_found(run_id: str) -> None:
    """Tell that a dead process's run is being finished."""
    say(f"finishing run {run_id}, whose process died")


def kept(project: "Project") -> Interrupted:
    """Say where the work of an interrupted command goes on."""
    folder = project.root.resolve()
    where = "" if folder == Path.cwd().resolve() else f" --project {shlex.quote(str(project.root))}"
    return Interrupted(
        f"interrupted. A run that was going on is kept: `recollect runs resume{where}` finishes it"
    )


def _choose(where: Path, workflow: str | None, folder: Path | None) -> "tuple[Project, Workflow]":
    """Return the project and the workflow that the arguments mean.

    Raises:
        ConfigError: there is no such file, or the folder leaves a choice.
    """
    from recollect.project.users import add_workflow_file

    if not where.exists():
        raise ConfigError(f"there is no file or folder {str(where)!r}")
    if where.is_dir():
        project = load(folder or where)
        return project, _only(project, workflow, where)
    project = load(folder, where)
    if where.resolve() == (project.file and project.file.resolve()):
        return project, _only(project, workflow, where)
    loaded = add_workflow_file(project, where).workflow
    if workflow not in (None, loaded.id):
        raise ConfigError(
            f"{where} is the workflow {loaded.id!r}, not {workflow!r}: --workflow chooses among "
            "those of a folder"
        )
    if not loaded.tasks:
        from recollect.agents.reference import NOT_YET

        raise ConfigError(NOT_YET, file=where)
    return project, loaded


def _only(project: "Project", workflow: str | None, where: Path) -> "Workflow":
    known = sorted(project.workflows)
    if workflow is not None:
        if workflow not in project.workflows:
            raise ConfigError(
                f"the project has no workflow {workflow!r}. It has: {', '.join(known) or 'none'}."
                + closest(workflow, known)
            )
        return project.workflows[workflow].workflow
    if len(known) == 1:
        return project.workflows[known[0]].workflow
    if not known:
        raise ConfigError(
            f"{where} has no workflow: put one into workflow.yaml or workflows/, list it under "
            "workflows: in recollect.yaml, or name a file"
        )
    raise ConfigError(f"{where} has several workflows: choose with --workflow: {', '.join(known)}")
