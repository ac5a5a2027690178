"""``recollect runs``: what ran, how it ended, and finishing what a dead process left."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recollect.cli.options import AsJson, ProjectFolder, load
from recollect.cli.output import RunProgress, print_json, say, say_notes
from recollect.cli.run import kept, say_found
from recollect.errors import RunNotFound

if TYPE_CHECKING:
    from recollect.workflows.runs import RunTable

app = typer.Typer(
    help="Look at runs, and finish those of processes that died.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_runs(
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=1000, help="At most this many.")
    ] = 20,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """List runs, the last first."""
    table = _table(project)
    records = [_shown(record) for record in table.list(limit=limit)] if table else []
    if as_json:
        print_json({"runs": [{k: v for k, v in r.items() if k not in _LONG} for r in records]})
        return 0
    if not records:
        say("there are no runs yet")
    for record in records:
        print(
            f"{record['run_id']}  {record['status']:<10} {record['started_at']}  {record['workflow']}"
        )
    return 0


@app.command()
def show(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="As `recollect runs list` shows it.")
    ],
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Show one run: its input, output and tasks.

    What the project's privacy policies hide is hidden here too.
    """
    table = _table(project)
    if table is None:
        raise RunNotFound(f"no run has the id {run_id!r}. There are no runs yet.", run_id=run_id)
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
    return 0 if all(record["status"] == "completed" for record in records) else 1


_LONG = frozenset({"input", "output", "tasks"})


def _table(project: Path | None) -> "RunTable | None":
    """Return the records of the project's runs; None before the first run: looking makes no file."""
    from recollect.workflows.runs import RunTable

    file = load(project, only_memories=True).data_folder / "runs.sqlite"
    return RunTable(file) if file.exists() else None


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
