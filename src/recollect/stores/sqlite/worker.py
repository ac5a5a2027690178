"""Threads that run jobs in groups: whatever has been asked for meanwhile goes together.

A hop to a thread of our own and back costs a third of ``asyncio.to_thread``, but a third of a quick
commit as well. So a short job that comes alone is done in place, on its caller's loop, as long as such
jobs have been quick and nothing has to be waited for. Callers may live in any number of event loops.
Connections are never carried across a fork, where they would break SQLite's locks: they are closed
before it and opened again, in both processes, when they are next needed.
"""

import asyncio
import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future as ThreadFuture
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Generic, Protocol, TypeVar, TypeVarTuple, Unpack

from recollect.errors import StoreClosed
from recollect.stores.sqlite.jobs import Job

T = TypeVar("T")
Db = TypeVar("Db", bound=sqlite3.Connection)
Ts = TypeVarTuple("Ts")

_LARGEST_GROUP = 256
_QUICK = 0.0005  # seconds; what a loop may be held up for
_TIDY_EVERY = 100  # jobs in place


class Session(Protocol):
    """A connection that runs groups of jobs; of any thread, but of one at a time."""

    def run(self, jobs: Sequence[Job], *, wait: bool = True) -> bool:
        """Run all; an exception means that none of them took place.

        Without ``wait``, False means the same: it would have had to wait for other processes.
        """
        ...

    def tidy(self) -> None:
        """Do now what a later job would otherwise be held up by."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


def _only_connect(_: sqlite3.Connection) -> None:
    """Stand for no work at all: the group it comes with is not even begun for it."""


class _Tidying:
    """Not work, but: do what would hold up a job in place."""


class _Order:
    """Not work, but: let go of the connection; then end, or wait for ``go_on``."""

    def __init__(self, *, ends: bool) -> None:
        self.ends = ends
        self.done: ThreadFuture[None] = ThreadFuture()
        self.go_on = threading.Event()


class Worker(Generic[Db]):
    """One thread, started when it is first needed, and its connection."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Session],
        translated: Callable[[Exception], Exception],
    ) -> None:
        self._name = name
        self._connect = connect
        self._translated = translated
        self._closing: _Order | None = None
        self._begin()
        _workers.add(self)

    def _begin(self) -> None:
        self._gate = threading.Lock()
        self._queue: SimpleQueue[Job | _Order | _Tidying] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._fresh: dict[asyncio.AbstractEventLoop, list[Job]] = {}
        self._session: Session | None = None
        self._in_use = threading.Lock()  # whoever has it may use the session
        self._pace = _QUICK  # seconds that a lone short job took lately
        self._until_tidying = _TIDY_EVERY

    async def run(self, work: Callable[[Db, Unpack[Ts]], T], *args: *Ts) -> T:
        """Do ``work(connection, *args)`` in the thread.

        When the caller is cancelled, work that has begun goes on to its end; other work is not done.

        Raises:
            StoreClosed: the worker was closed.
        """
        result: T = await self._submit(lambda db: work(db, *args))
        return result

    async def run_short(self, work: Callable[[Db, Unpack[Ts]], T], *args: *Ts) -> T:
        """Do the same in the thread, or in place if that holds up nobody for long."""
        result: T = await self._submit(lambda db: work(db, *args), is_short=True)
        return result

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._session is not None

    async def connect(self) -> None:
        """Connect now rather than with the first job."""
        await self._submit(_only_connect)

    async def close(self) -> None:
        """Finish what was asked for, disconnect, end the thread. Idempotent."""
        with self._gate:
            order = self._closing or _Order(ends=True)
            if self._closing is None:
                self._closing = order
                for jobs in self._fresh.values():
                    self._enqueue(jobs)
                if self._thread is None:
                    order.done.set_result(None)
                else:
                    self._queue.put(order)
        await asyncio.shield(asyncio.wrap_future(order.done))
        if self._thread is not None:
            self._thread.join()  # it has nothing left to do

    def _submit(self, work: Callable[[Db], Any], *, is_short: bool = False) -> asyncio.Future[Any]:
        job = Job(work, asyncio.get_running_loop(), is_short=is_short)
        if self._thread is None:
            self._start()
        with self._gate:
            if self._closing is not None:
                raise StoreClosed(f"the {self._name} is closed: open a new one")
            if is_short:
                self._gather(job)
            else:
                self._enqueue(self._fresh.get(job.loop, []))  # what was asked for before
                self._queue.put(job)
        return job.future

    def _gather(self, job: Job) -> None:
        """Let the loop finish its round first: what its other tasks ask for goes with this job."""
        jobs = self._fresh.setdefault(job.loop, [])
        jobs.append(job)
        if len(jobs) == 1:
            job.loop.call_soon(self._dispatch, job.loop)

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._gate:
            jobs = self._fresh.pop(loop, [])
            if len(jobs) != 1 or not self._run_in_place(jobs):
                self._enqueue(jobs)

    def _enqueue(self, jobs: list[Job]) -> None:
        while jobs:
            self._queue.put(jobs.pop(0))

    def _run_in_place(self, jobs: list[Job]) -> bool:
        """Return False, with nothing done, if others or the disk would have to be waited for."""
        if self._pace >= _QUICK or not self._queue.empty():
            return False
        if not self._in_use.acquire(blocking=False):
            return False
        try:
            if self._session is None or not self._try(self._session, jobs, wait=False):
                return False
        finally:
            self._in_use.release()
        for job in jobs:
            job.settle()
        self._until_tidying -= 1
        if self._until_tidying <= 0:
            self._until_tidying = _TIDY_EVERY
            self._queue.put(_Tidying())
        return True

    def _start(self) -> None:
        with _no_fork, self._gate:
            if self._thread is None and self._closing is None:
                self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
                self._thread.start()

    # ---- around a fork ---------------------------------------------------------------------------

    def pause(self) -> _Order | None:
        """Let the thread finish its group and disconnect; nothing can be asked until ``go_on``."""
        self._gate.acquire()
        if self._thread is None:
            return None
        if self._closing is not None:
            self._closing.done.result()
            return None
        order = _Order(ends=False)
        self._queue.put(order)
        order.done.result()
        return order

    def go_on(self, order: _Order | None) -> None:
        """Take up work again, in the parent."""
        if order is not None:
            order.go_on.set()
        self._gate.release()

    def begin_anew(self) -> None:
        """Forget the thread and its jobs, which live on in the parent only."""
        self._begin()

    # ---- in the thread ---------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            jobs, order = self._next_group()
            if jobs:
                with self._in_use:
                    self._run_group(jobs)
                _settle(jobs)
                jobs.clear()  # what was read belongs to the callers: an idle thread keeps nothing
            if order is None:
                continue
            try:
                with self._in_use:
                    self._disconnect()
            finally:
                order.done.set_result(None)
            if order.ends:
                return
            order.go_on.wait()

    def _next_group(self) -> tuple[list[Job], _Order | None]:
        jobs: list[Job] = []
        while True:
            item = self._queue.get()
            if isinstance(item, _Order):
                return jobs, item
            if isinstance(item, _Tidying):
                self._tidy()
            else:
                jobs.append(item)
            if len(jobs) >= _LARGEST_GROUP or (jobs and self._queue.empty()):
                return jobs, None

    def _run_group(self, jobs: list[Job]) -> None:
        try:
            self._session = self._session or self._connect()
        except Exception as error:  # noqa: BLE001  # whatever it is, the callers must hear of it
            self._fail(jobs, error)
            return
        working = [job for job in jobs if job.work is not _only_connect]
        if working:
            self._try(self._session, working, wait=True)

    def _try(self, session: Session, jobs: list[Job], *, wait: bool) -> bool:
        """Run them; False, with nothing done, only without ``wait``."""
        start = perf_counter()
        try:
            if not session.run(jobs, wait=wait):
                return False
        except Exception as error:  # noqa: BLE001  # whatever it is, the callers must hear of it
            self._fail(jobs, error)
        else:
            for job in jobs:
                if job.error is not None:
                    job.error = self._translated(job.error)
        if len(jobs) == 1 and jobs[0].is_short:
            self._pace += (perf_counter() - start - self._pace) / 8
        return True

    def _fail(self, jobs: list[Job], error: Exception) -> None:
        for job in jobs:
            job.fail(error)
            job.error = self._translated(job.error or error)

    def _tidy(self) -> None:
        with self._in_use:
            if self._session is not None:
                self._session.tidy()

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def _settle(jobs: Sequence[Job]) -> None:
    """Tell the waiting tasks, waking each of their loops once."""
    loops: dict[asyncio.AbstractEventLoop, list[Job]] = {}
    for job in jobs:
        loops.setdefault(job.loop, []).append(job)
    for loop, its_jobs in loops.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits there
            loop.call_soon_threadsafe(_settle_here, its_jobs)


def _settle_here(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.settle()


# ---- forks ---------------------------------------------------------------------------------------

_workers: "weakref.WeakSet[Worker[Any]]" = weakref.WeakSet()
_no_fork = threading.Lock()
_paused: list[tuple[Worker[Any], _Order | None]] = []


def _before_fork() -> None:
    _no_fork.acquire()
    _paused.extend((worker, worker.pause()) for worker in list(_workers))


def _after_fork_in_parent() -> None:
    for worker, order in _paused:
        worker.go_on(order)
    _paused.clear()
    _no_fork.release()


def _after_fork_in_child() -> None:
    for worker, _ in _paused:
        worker.begin_anew()
    _paused.clear()
    _no_fork.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
