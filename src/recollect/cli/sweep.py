"""``recollect sweep``: remove for good what is gone or was left behind."""

from typing import TYPE_CHECKING, Annotated

import typer

from recollect.cli.options import AsJson, ProjectFolder, load
from recollect.cli.output import print_json, say, say_notes

if TYPE_CHECKING:
    from recollect.memory.sweeping import Sweep
    from recollect.project.loading import Project


def sweep(
    rounds: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=100_000, help="At most N rounds."),
    ] = 1_000,
    project: ProjectFolder = None,
    as_json: AsJson = False,
) -> int:
    """Remove for good what has expired, and what ended runs left.

    `recollect run` does a round of it every ten minutes by itself. Of several that sweep one project,
    one works and the others stop at once.
    """
    import asyncio

    loaded = load(project, only_memories=True)
    if not as_json:
        say_notes(loaded)
    done = asyncio.run(_sweep(loaded, rounds))
    if as_json:
        print_json(_as_json(done))
    elif done is None:
        say("another process is sweeping")
    else:
        for name, count in _as_json(done).items():
            if name not in {"success", "skipped"}:
                print(f"{name:>24}  {count if name != 'finished' else 'yes' if count else 'no'}")
    return 0


async def _sweep(project: "Project", rounds: int) -> "Sweep | None":
    from recollect.project.app import open_app

    async with open_app(project) as app:
        return await app.sweep(rounds=rounds)


def _as_json(done: "Sweep | None") -> dict[str, object]:
    if done is None:
        return {"success": True, "skipped": True}
    return {
        "success": True,
        "expired_conversations": done.conversations,
        "removed_records": done.records,
        "removed_idempotency_keys": done.keys,
        "settled_uses_of_runs": done.uses,
        "finished": done.finished,
    }
