"""What is asked of a thread, and who waits for the answer."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

from recollect.errors import RecollectError


class Job:
    """Something to be done on a connection, and who waits for it."""

    __slots__ = ("error", "future", "is_short", "loop", "result", "work")

    def __init__(
        self, work: Callable[[Any], Any], loop: asyncio.AbstractEventLoop, *, is_short: bool
    ) -> None:
        self.work = work
        self.loop = loop
        self.is_short = is_short
        self.future: asyncio.Future[Any] = loop.create_future()
        self.result: Any = None
        self.error: Exception | None = None

    def run(self, db: sqlite3.Connection) -> bool:
        """Do the work; False if it failed, not by refusing before it wrote anything."""
        self.error = None
        if self.future.cancelled():
            return True
        try:
            self.result = self.work(db)
        except RecollectError as refusal:
            self.error = refusal
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller must hear of it
            self.error = error
            return False
        return True

    def fail(self, error: Exception) -> None:
        """Say that it did not take place, unless it has said so itself."""
        self.error = self.error or error

    def settle(self) -> None:
        """Tell the waiting task, if it still waits; runs in its loop."""
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)
