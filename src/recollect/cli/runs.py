"""``recollect runs``: what ran, how it ended, and finishing or cancelling what a dead process left."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.options import AsJson, ProjectFolder, load
from recollect.cli.output import RunProgress, print_json, say, say_notes
from recollect.cli.run import kept, say_found
from recollect.errors import RunNotFound

if TYPE_CHECKING:
    from recollect.workflows.run_table import RunTable

app = typer.Typer(
    help="Look at runs; finish or cancel those of processes that died.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="As `recollect runs list` shows it.")]


@app.command("list")
def list_runs(
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="At most this many.")
    ] = 20,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """List runs, the last first.

    A run is "interrupted" when it has not ended and its process is gone: it waits for `runs resume` or
    `runs cancel`.
    """
    table = _table(project)
    records = [_shown(record) for record in table.list(limit=limit)] if table else []
    if as_json:
        print_json({"runs": [{k: v for k, v in r.items() if k not in _LONG} for r in records]})
        return 0
    if not records:
        say("there are no runs yet")
    for record in records:
        print(
            f"{record['run_id']}  {record['status']:<11}  {record['started_at']}  {record['workflow']}"
        )
    return 0


@app.command()
def show(
    run_id: RunId,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Show one run: its input, output and tasks.

    What the project's privacy policies hide is hidden here too.
    """
    table = _table(project)
    if table is None:
        raise _no_runs(run_id)
    record = _shown(table.get(run_id))
    if as_json:
        print_json(record)
        return 0
    for name in ("run_id", "workflow", "status", "started_at", "ended_at"):
        print(f"{name:>10}  {record[name] or '-'}")
    for id_, task in record["tasks"].items():
        error = f"  {task['error']['message']}" if task.get("error") else ""
        print(f"{'task':>10}  {id_}: {task['status']}{error}")
    print_json({"input": record["input"], "output": record["output"], "error": record["error"]})
    return 0


@app.command()
def resume(
    mock_model: Annotated[
        bool, typer.Option("--mock-model", help="Answer with the offline model; needs no key.")
    ] = False,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Finish the runs of processes that died.

    Runs that are still going on are left alone.
    """
    import asyncio

    from recollect.project.app import open_app
    from recollect.telemetry import Telemetry

    loaded = load(project)
    if not as_json:
        say_notes(loaded)

    async def finish() -> list[Any]:
        telemetry = Telemetry()
        telemetry.listen(RunProgress())
        async with open_app(loaded, mock_model=mock_model, telemetry=telemetry) as opened:
            return await opened.resume(on_found=say_found)

    try:
        finished = asyncio.run(finish()) if loaded.data_folder.is_dir() else []
    except KeyboardInterrupt:
        raise kept(loaded) from None
    records = [_shown(record) for record in finished]
    if as_json:
        print_json({"resumed": records})
    elif not records:
        say("nothing to resume")
    else:
        for record in records:
            print(f"{record['run_id']}  {record['status']}")
    wanted = {"completed", "cancelled"}  # the latter when a `runs cancel` was killed on its way
    return 0 if all(record["status"] in wanted for record in records) else 1


@app.command()
def cancel(
    run_id: RunId,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """End an interrupted run without finishing it.

    What belongs to the run alone is removed. What its tasks have stored elsewhere stays. A run that is
    still going on has to be stopped first, with Ctrl-C.
    """
    import asyncio

    from recollect.project.app import open_app, run_table

    loaded = load(project, only_memories=True)
    if not run_table(loaded).exists():
        raise _no_runs(run_id)

    async def end() -> Any:
        async with open_app(loaded) as opened:
            return await opened.cancel(run_id)

    record = _shown(asyncio.run(end()))
    if as_json:
        print_json(record)
    else:
        print(f"{record['run_id']}  {record['status']}")
    return 0


_LONG = frozenset({"input", "output", "tasks"})


def _table(project: Path | None) -> "RunTable | None":
    """Return the records of the project's runs; None before the first run: looking makes no file."""
    from recollect.project.app import run_table

    table = run_table(load(project, only_memories=True))
    return table if table.exists() else None


def _no_runs(run_id: str) -> RunNotFound:
    return RunNotFound(f"no run has the id {run_id!r}. There are no runs yet.", run_id=run_id)


def _shown(record: Any) -> dict[str, Any]:
    names = (
        "run_id", "workflow", "status", "started_at", "ended_at",
        "input", "output", "tasks", "error", "note",
    )  # fmt: skip
    values = {name: getattr(record, name) for name in names}
    return {
        name: value.isoformat().replace("+00:00", "Z") if isinstance(value, datetime) else value
        for name, value in values.items()
    }
