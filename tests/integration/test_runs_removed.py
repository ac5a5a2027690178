"""Records of runs that another process ends or erases while this one finishes what is left."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from recollect.errors import RunNotFound
from recollect.project.app import open_app
from recollect.project.users import add_workflow_file
from recollect.telemetry import Telemetry
from recollect.workflows.run_table import RunTable
from recollect.workflows.runs import Json, RunRecord

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

WORKFLOW = "id: short\ntasks:\n  - {id: a, with: {x: 1}}\n"
NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def interrupt(project: "ProjectFolder") -> None:
    loaded = project.load()
    chosen = add_workflow_file(loaded, project.write("wf.yaml", WORKFLOW)).workflow

    def cancel_at_start(event: str, /, **_: Any) -> None:
        if event == "run.started":
            running.cancel()

    telemetry = Telemetry()
    telemetry.listen(cancel_at_start)
    async with open_app(loaded, telemetry=telemetry) as app:
        running = asyncio.create_task(app.run(chosen, {}, on_found=lambda _: None))
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_what_was_finished_and_erased_since_fails_no_resume(project: "ProjectFolder") -> None:
    journals, aside = project.root / ".recollect" / "journal", project.root / "aside"
    aside.mkdir()
    for _ in range(2):
        await interrupt(project)
        (journal,) = journals.iterdir()
        journal.rename(aside / journal.name)  # or the next run would finish it
    for journal in aside.iterdir():
        journal.rename(journals / journal.name)
    found: list[str] = []
    async with open_app(project.load()) as app:

        def erase_the_former(run_id: str) -> None:
            app.runs.delete(found)
            found.append(run_id)

        records = await app.resume(on_found=erase_the_former)
    assert [(record.run_id, record.status) for record in records] == [(found[1], "completed")]


class Erased(RunTable):
    """Its unfinished runs are erased as soon as somebody has read which there are."""

    @override
    def unfinished(self) -> Sequence[RunRecord]:
        found = super().unfinished()
        self.delete([record.run_id for record in found])
        return found


async def test_a_run_that_never_began_and_was_erased_does_not_come_back(
    project: "ProjectFolder",
) -> None:
    async with open_app(project.load()) as app:
        app.runs = Erased(project.root / ".recollect" / "runs.sqlite")
        app.runs.begin("r1", "short", executor="gone", started_at=NOW)
        (project.root / ".recollect" / "journal").mkdir()
        assert await app.resume(on_found=lambda _: None) == []
        with pytest.raises(RunNotFound):
            app.runs.get("r1")


def test_a_run_is_given_up_unless_it_has_ended_or_is_gone(tmp_path: Path) -> None:
    table = RunTable(tmp_path / "runs.sqlite")
    lost: dict[str, Json] = {"code": "RUN_ERROR", "message": "lost", "details": {}}
    table.begin("r1", "short", executor="gone", started_at=NOW)
    assert table.give_up("r1", "failed", ended_at=NOW, error=lost)
    assert not table.give_up("r1", "cancelled", ended_at=NOW, error=lost)
    assert not table.give_up("r2", "failed", ended_at=NOW, error=lost)
    (record,) = table.list()
    assert (record.run_id, record.status, record.error) == ("r1", "failed", lost)
    assert (record.workflow, record.input, record.tasks) == ("short", None, {})
