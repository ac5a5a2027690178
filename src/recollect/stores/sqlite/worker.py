"""Threads that run jobs in groups: whatever has been asked for meanwhile goes together.

A hop to a thread of our own and back costs a third of ``asyncio.to_thread``. Callers may live in any
number of event loops. Connections are never carried across a fork, where they would break SQLite's
locks: they are closed before it and opened again, in both processes, when they are next needed.
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
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

from recollect.errors import StoreClosed
from recollect.stores.sqlite.jobs import Job

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_LARGEST_GROUP = 256


class Session(Protocol):
    """A connection that runs groups of jobs."""

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all; an exception means that none of them took place."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


def _only_connect(_: sqlite3.Connection) -> None:
    """Stand for no work at all: the group it comes with is not even begun for it."""


class _Order:
    """Not work, but: let go of the connection; then end, or wait for ``go_on``."""

    def __init__(self, *, ends: bool) -> None:
        self.ends = ends
        self.done: ThreadFuture[None] = ThreadFuture()
        self.go_on = threading.Event()


class Worker:
    """One thread, started when it is first needed."""

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
        self._queue: SimpleQueue[Job | _Order] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[sqlite3.Connection, Unpack[Ts]], T], *args: *Ts) -> T:
        """Do ``work(connection, *args)`` in the thread.

        When the caller is cancelled, work that has begun goes on to its end; other work is not done.

        Raises:
            StoreClosed: the worker was closed.
        """
        result: T = await self._submit(lambda db: work(db, *args))
        return result

    async def connect(self) -> None:
        """Connect now rather than with the first job."""
        await self._submit(_only_connect)

    async def close(self) -> None:
        """Finish what was asked for, disconnect, end the thread. Idempotent."""
        with self._gate:
            order = self._closing or _Order(ends=True)
            if self._closing is None:
                self._closing = order
                if self._thread is None:
                    order.done.set_result(None)
                else:
                    self._queue.put(order)
        await asyncio.shield(asyncio.wrap_future(order.done))
        if self._thread is not None:
            self._thread.join()  # it has nothing left to do

    def _submit(self, work: Callable[[sqlite3.Connection], Any]) -> asyncio.Future[Any]:
        job = Job(work, asyncio.get_running_loop())
        if self._thread is None:
            self._start()
        with self._gate:
            if self._closing is not None:
                raise StoreClosed(f"the {self._name} is closed: open a new one")
            self._queue.put(job)
        return job.future

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
        session: Session | None = None
        while True:
            jobs, order = self._next_group()
            if jobs:
                session = self._run_group(session, jobs)
            if order is None:
                continue
            try:
                if session is not None:
                    session.close()
            finally:
                session = None
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
            jobs.append(item)
            if len(jobs) >= _LARGEST_GROUP or self._queue.empty():
                return jobs, None

    def _run_group(self, session: Session | None, jobs: list[Job]) -> Session | None:
        try:
            session = session or self._connect()
            working = [job for job in jobs if job.work is not _only_connect]
            if working:
                session.run(working)
        except Exception as error:  # noqa: BLE001  # whatever it is, the callers must hear of it
            for job in jobs:
                job.fail(error)
        for job in jobs:
            if job.error is not None:
                job.error = self._translated(job.error)
        _settle(jobs)
        return session


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

_workers: "weakref.WeakSet[Worker]" = weakref.WeakSet()
_no_fork = threading.Lock()
_paused: list[tuple[Worker, _Order | None]] = []


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
