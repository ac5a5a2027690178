"""The durable engine: runs a walk so that a crash loses no finished step.

Every process keeps the runs it is working on in a journal of its own, ``<folder>/<executor>/``: a
lock that dies with the process, and a SQLite file that dbos writes. A journal whose lock is free
belonged to a dead process, and ``Engine.take_over`` finishes its runs. So processes that live side
by side never see each other's runs, and nothing has to guess who is alive.

A journal holds raw contents, but only of unfinished runs: at the end of each, its rows are deleted,
overwritten in the file and cut off the write-ahead log. Every step is on disk (synchronous=FULL)
before the next begins, since what a step did may already be visible elsewhere when the power goes.

Importing this module takes about a second. dbos is one per process, and so is a working ``Engine``.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from recollect.errors import (
    RunCancelled,
    RunError,
    RunNotCancelled,
    StoreCorrupt,
    StoreError,
    error_json,
)
from recollect.workflows import liveness
from recollect.workflows.journal import Found, Journal
from recollect.workflows.journal_file import contents_of
from recollect.workflows.runs import (
    Json,
    RunEnd,
    StepFailed,
    Steps,
    Walk,
    as_json,
)

__all__ = ["TAKE_OVERS", "Engine", "Finish", "Json", "RunEnd", "StepFailed", "Steps", "Walk"]

Finish = Callable[[RunEnd], Awaitable[None]]
"""Told of a run's end before its contents are forgotten; twice after a crash, so idempotent."""

TAKE_OVERS = 5
"""How often finishing a dead process's run is begun before the run is given up as failed."""

_JOURNAL = "journal.sqlite"


class Engine:
    """Runs walks durably, and finishes or cancels the runs of processes that died.

    An interrupted ``run`` (cancelled, Ctrl-C, a full disk) stays in the journal, which is then left
    behind at the end for the next ``take_over``; the caller gets the exception. Otherwise nothing
    is left below ``folder``.
    """

    def __init__(self, folder: Path, walk: Walk, finish: Finish, claim: liveness.Claim) -> None:
        self._folder = folder
        self._walk = walk
        self._finish = finish
        self._claim = claim
        self._journal: Journal | None = None
        self._unsettled: set[str] = set()
        self._live = 0
        self._turn = asyncio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, walk: Walk, *, finish: Finish) -> "AsyncIterator[Engine]":
        """Claim a journal below ``folder`` (created with mode 0700); dbos starts when needed.

        No ``run`` may be awaited any more when the context ends.

        Raises:
            StoreUnavailable: the folder cannot be written; nothing was started.
        """
        engine = cls(folder, walk, finish, liveness.claim_new(folder))
        try:
            yield engine
        finally:
            await engine._close()

    @property
    def executor(self) -> str:
        """The name of this process's journal folder; changes if ``take_over`` gave it up."""
        return self._claim.executor

    async def run(self, run_id: str, request: Json) -> Json:
        """Walk a new run to its end, tell ``finish``, forget its contents; return the outcome.

        Runs may go on side by side.

        Raises:
            RunError: the walk raised (``details["error"]`` is what ``finish`` was told), or the id
                is that of a run this engine holds.
            StoreError: the journal failed; the run is unfinished, or its end is not settled.
        """
        request = as_json(request)
        async with self._turn:
            journal = await self._launched()
            if run_id in self._unsettled:
                raise RunError(f"run {run_id!r} was already started here", run_id=run_id)
            self._unsettled.add(run_id)
            self._live += 1
        try:
            end, failure = await journal.start(run_id, request)
            await self._settle(journal, end)
            self._unsettled.discard(run_id)
        finally:
            self._live -= 1
        if end.error is not None:
            raise RunError(
                f"run {run_id!r} failed: {end.error['message']}", run_id=run_id, error=end.error
            ) from failure
        return end.outcome

    async def take_over(self, *, on_found: Callable[[str], None]) -> list[str]:
        """Finish the runs of dead processes, one after another; return their ids.

        ``on_found`` gets each id before the work on it begins. Finished steps are not repeated, an
        interrupted one is, once. When ``TAKE_OVERS`` attempts at a run have died or failed, it ends
        as failed; an attempt that was cancelled, or met a ``finish`` that could not store, does not
        count.

        Raises:
            RunError: runs of this engine are going on: call this before them, or after.
            StoreCorrupt: a journal is damaged; all others have been finished.
            StoreError: a journal cannot be read or written now; the rest waits for the next call.
        """
        async with self._turn:
            if self._live:
                raise RunError("runs of dead processes cannot be taken over while runs go on here")
            await self._make_way()
            finished: list[str] = []
            damaged: StoreCorrupt | None = None
            for claim in liveness.claim_abandoned(self._folder):
                try:
                    finished += await self._finish_all(claim, on_found)
                except StoreCorrupt as error:
                    damaged = error
        if damaged:
            raise damaged
        return finished

    async def cancel(self, run_id: str, executor: str) -> RunEnd | None:
        """End an interrupted run in the journal of ``executor`` as cancelled; tell ``finish``.

        Its walk is repeated as far as its steps are recorded and told then that it is cancelled; what
        it returns is the outcome. Nothing of the run is executed any more. If this process dies on the
        way, the next ``take_over`` goes on with cancelling. A run that had done all it had to do, so
        that only its end was not told, ends as it would have.

        Returns:
            How the run ended; None if the journal is gone or does not hold it.

        Raises:
            RunNotCancelled: a process works on that journal (``details["pid"]``, if known).
            RunError: runs of this engine are going on: call this before them, or after.
            StoreError: the journal cannot be read or written now, or the end not be told.
        """
        async with self._turn:
            if self._live:
                raise RunError("runs of dead processes cannot be cancelled while runs go on here")
            await self._make_way()
            claim = self._claim_left(run_id, self._folder / executor)
            if claim is None:
                return None
            try:
                return await self._cancel_in(claim, run_id)
            finally:
                claim.release()

    @staticmethod
    def _claim_left(run_id: str, folder: Path) -> liveness.Claim | None:
        """Claim the journal of a run; None if it is gone."""
        for _ in range(2):  # its process may die between the two questions
            if claim := liveness.claim(folder):
                return claim
            if liveness.is_held(folder):
                raise _is_going_on(run_id, liveness.holder(folder))
        return None

    async def _cancel_in(self, claim: liveness.Claim, run_id: str) -> RunEnd | None:
        file = claim.folder / _JOURNAL
        if not file.exists():
            return None
        journal = Journal(file, self._walk)
        await journal.launch()
        try:
            runs = await journal.runs()
            found = next((found for found in runs if found.run_id == run_id), None)
            if found is None:
                return None
            if found.end is None:
                await journal.cancel(run_id)
            end = found.end or await self._cancelled(journal, found)
            await self._settle(journal, end)
            await journal.scrub()
        finally:
            await journal.shut()
        if len(runs) == 1:
            claim.remove()
        return end

    async def _cancelled(self, journal: Journal, found: Found) -> RunEnd:
        """Walk a cancelled run as far as it came."""
        steps = await journal.recorded(found.run_id)
        end = RunEnd(run_id=found.run_id, request=found.request)
        try:
            outcome = as_json(await self._walk(found.request, steps))
        except Exception as error:  # noqa: BLE001 - a walk that cannot be repeated is cancelled too
            cancelled = RunCancelled(f"run {found.run_id!r} was cancelled", run_id=found.run_id)
            shown = cancelled if not isinstance(error, RunCancelled) else error
            return replace(end, error=error_json(shown))
        return replace(end, outcome=outcome)

    async def forget(self, is_meant: Callable[[Json], bool]) -> list[str]:
        """Drop interrupted runs of dead processes, unfinished; return their ids.

        ``is_meant`` is asked about the input and about each result of a run; once True drops it.

        Raises:
            RunError: runs of this engine are going on: call this before them, or after.
            StoreError: a journal cannot be read or written now.
        """
        async with self._turn:
            if self._live:
                raise RunError("runs of dead processes cannot be dropped while runs go on here")
            await self._make_way()
            dropped: list[str] = []
            for claim in liveness.claim_abandoned(self._folder):
                file = claim.folder / _JOURNAL
                try:
                    meant = await self._drop(file, is_meant)
                    dropped += meant
                    if meant and not any(True for _ in contents_of(file)):
                        claim.remove()
                finally:
                    claim.release()
        return dropped

    async def _drop(self, file: Path, is_meant: Callable[[Json], bool]) -> list[str]:
        meant = sorted({run_id for run_id, value in contents_of(file) if is_meant(value)})
        if meant:
            journal = Journal(file, self._walk)
            await journal.launch()
            try:
                for run_id in meant:
                    await journal.forget(run_id)
                await journal.scrub()
            finally:
                await journal.shut()
        return meant

    async def _finish_all(
        self, claim: liveness.Claim, on_found: Callable[[str], None]
    ) -> list[str]:
        finished: list[str] = []
        try:
            if (claim.folder / _JOURNAL).exists():
                journal = Journal(claim.folder / _JOURNAL, self._walk)
                await journal.launch()
                try:
                    for found in await journal.runs():
                        on_found(found.run_id)
                        await self._finish_one(journal, found)
                        finished.append(found.run_id)
                finally:
                    await journal.shut()
            claim.remove()
        finally:
            claim.release()
        return finished

    async def _finish_one(self, journal: Journal, found: Found) -> None:
        """Count the attempt before it can do harm; take it back if the run was not to blame."""
        if found.is_cancelled:
            await self._settle(journal, await self._cancelled(journal, found))
            return
        if found.take_overs >= TAKE_OVERS:
            await self._settle(journal, _given_up(found))
            return
        await journal.count_take_overs(found.run_id, found.take_overs + 1)
        try:
            end = found.end or await journal.resume(found.run_id, found.request)
        except asyncio.CancelledError:
            await journal.count_take_overs(found.run_id, found.take_overs)
            raise
        try:
            await self._finish(end)
        except (asyncio.CancelledError, StoreError):
            await journal.count_take_overs(found.run_id, found.take_overs)
            raise
        await journal.forget(end.run_id)

    async def _settle(self, journal: Journal, end: RunEnd) -> None:
        await self._finish(end)
        await journal.forget(end.run_id)

    async def _launched(self) -> Journal:
        if self._journal is None:
            journal = Journal(self._claim.folder / _JOURNAL, self._walk)
            await journal.launch()
            self._journal = journal
        return self._journal

    async def _make_way(self) -> None:
        """Stop dbos on our own journal; give the journal up if it holds interrupted runs."""
        is_left = True  # also if this is cancelled before it is known
        try:
            is_left = await self._stop()
        finally:
            if is_left:
                given_up, self._claim = self._claim, liveness.claim_new(self._folder)
                given_up.release()
                self._unsettled.clear()

    async def _stop(self) -> bool:
        """Stop dbos; say whether the journal still holds runs."""
        journal, self._journal = self._journal, None
        if journal is None:
            return False
        try:
            return bool(self._unsettled and await journal.runs())
        except StoreError:
            return True
        finally:
            await journal.shut()

    async def _close(self) -> None:
        try:
            if not await self._stop():
                with suppress(StoreError):  # nothing is in it: the next take-over removes it
                    self._claim.remove()
        finally:
            self._claim.release()


def _given_up(found: Found) -> RunEnd:
    error = RunError(
        f"run {found.run_id!r} was given up: its process died, and finishing it failed "
        f"{found.take_overs} times",
        run_id=found.run_id,
    )
    return RunEnd(run_id=found.run_id, request=found.request, error=error_json(error))


def _is_going_on(run_id: str, pid: int | None) -> RunNotCancelled:
    where = "another process" if pid is None else f"process {pid}"
    how = "Ctrl-C there" if pid is None else f"Ctrl-C there, or `kill -INT {pid}`"
    return RunNotCancelled(
        f"run {run_id!r} is going on in {where}: stop that first ({how}), then cancel the run",
        run_id=run_id,
        status="running",
        **({} if pid is None else {"pid": pid}),
    )
