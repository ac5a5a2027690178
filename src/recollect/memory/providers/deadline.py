"""An answer in bounded time, whatever a driver does when it is told to stop."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns.

    ``asyncio.timeout`` would wait until the work has ended after it was cancelled; a driver that then
    asks a server that hangs to stop as well would take as long as that server. Here it is left to
    itself.

    Raises:
        TimeoutError: it did not end in time.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if not done:
        _abandon(task)
        raise TimeoutError
    return task.result()


def _abandon(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    _abandoned.add(task)  # the loop alone would not keep it
    task.add_done_callback(_forget)


def _forget(task: "asyncio.Task[Any]") -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # nobody else will look at it


_abandoned: set["asyncio.Task[Any]"] = set()
