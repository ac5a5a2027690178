"""All commands, put together."""

import typer

from recollect import __version__
from recollect.cli import data, memory, project, run, runs, schema, sweep

app = typer.Typer(
    name="recollect",
    help="The memory that AI agents keep: run YAML workflows that remember, and look into memories.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command("init")(project.init)
app.command("run")(run.run)
app.add_typer(memory.app, name="memory")
app.add_typer(runs.app, name="runs")
app.command("validate")(project.validate)
app.command("render")(project.render)
app.command("fmt")(project.fmt)
app.command("export")(data.export)
app.command("import")(data.import_)
app.command("erase")(data.erase)
app.command("migrate")(data.migrate)
app.command("sweep")(sweep.sweep)
app.command("schema")(schema.schema)


def _version(value: bool) -> None:
    if value:
        print(f"recollect {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and stop."
    ),
) -> None:
    """Set what all commands share."""
