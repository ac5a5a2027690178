"""What runs keep of a user: records of ended runs, and journals of unfinished ones."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from recollect.memory.data.erasure import Carries
from recollect.workflows.run_table import RunTable
from recollect.workflows.runs import Json, RunRecord

Forget = Callable[[Callable[[Json], bool]], Awaitable[list[str]]]
"""Drops the interrupted runs of dead processes whose contents are meant; returns their ids."""


class RunTraces:
    """The runs of a project, as an erasure sees them.

    A run carries a user when its input, its output or that of a task names the user, or a conversation
    that was the user's, in a text of its own or as a part of one. It is removed whole. Interrupted runs
    are dropped: finishing them would bring back what is erased. A run that is going on is left to its
    process, counted, and to be erased when it has ended.
    """

    kind = "runs"

    def __init__(self, table: RunTable, journals: Path, forget: Forget) -> None:
        self._table = table
        self._journals = journals
        self._forget = forget

    async def erase(self, carries: Carries) -> int:
        """Remove the runs that carry a user; return how many."""
        dropped: list[str] = []
        if await asyncio.to_thread(self._running, carries):
            dropped = await self._forget(lambda value: names_any(value, carries))
        records = await asyncio.to_thread(self._records)
        meant = [record.run_id for record in records if _is_meant(record, carries)]
        known = {record.run_id for record in records}
        ids = [*meant, *(run_id for run_id in dropped if run_id in known and run_id not in meant)]
        if ids:
            await asyncio.to_thread(self._table.delete, ids)
        return len({*meant, *dropped})

    async def count(self, carries: Carries) -> int:
        """Return how many there are, those that are going on among them."""
        running = await asyncio.to_thread(self._running, carries)
        records = await asyncio.to_thread(self._records)  # after it: a run that ends goes there
        return len(running | {record.run_id for record in records if _is_meant(record, carries)})

    def _records(self) -> list[RunRecord]:
        return list(self._table.list(limit=-1)) if self._table.exists() else []

    def _running(self, carries: Carries) -> set[str]:
        """Return the unfinished runs that carry the user, of living and of dead processes."""
        if not self._journals.is_dir() or not any(self._journals.iterdir()):
            return set()
        from recollect.workflows.journal_file import contents_of  # noqa: PLC0415 - slow

        files = self._journals.glob("*/journal.sqlite")
        contents = (found for file in files for found in contents_of(file))
        return {run_id for run_id, value in contents if names_any(value, carries)}


def _is_meant(record: RunRecord, carries: Carries) -> bool:
    parts: list[Json] = [record.input, record.output, dict(record.tasks), dict(record.error or {})]
    return names_any([*parts, record.note], carries)


def names_any(value: Json, carries: Carries) -> bool:
    """Tell whether one of the texts in a JSON value carries a user."""
    return any(carries(text) for text in _texts(value))


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield name
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
