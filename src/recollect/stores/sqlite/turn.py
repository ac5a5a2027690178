"""Whose turn it is to write, among the processes that have a file open.

SQLite's own waiting sleeps ever longer and starves whoever waits; with this lock before it, all get
their turn. It is a courtesy: SQLite's lock is what keeps the file whole.
"""

import os
import time
from pathlib import Path
from types import ModuleType

_locks: ModuleType | None
try:
    import fcntl as _locks
except ImportError:  # pragma: no cover - Windows: SQLite's own waiting has to do
    _locks = None

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0001, 0.001


class Waiting:
    """Pauses that grow to a millisecond, until a time is up."""

    def __init__(self, timeout: float) -> None:
        self._left = timeout
        self._pause = _FIRST_PAUSE

    def goes_on(self) -> bool:
        """Pause, then True; False at once when the time is up."""
        if self._left <= 0:
            return False
        time.sleep(self._pause)
        self._left -= self._pause
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        return True


class Turn:
    """An advisory lock on a file beside the database; used by one thread."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._timeout = timeout
        self._file: int | None = None

    def __enter__(self) -> None:
        """Wait for the turn.

        Raises:
            TimeoutError: it did not come in time.
        """
        self.take(wait=True)

    def __exit__(self, *_: object) -> None:
        self.give_back()

    def take(self, *, wait: bool) -> bool:
        """Take the turn; False without ``wait`` if another process has it.

        Raises:
            TimeoutError: it did not come in time.
        """
        if _locks is None:  # pragma: no cover
            return True
        if self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        waiting = Waiting(self._timeout)
        while not _try_lock(_locks, self._file):
            if not wait:
                return False
            if not waiting.goes_on():
                raise TimeoutError
        return True

    def give_back(self) -> None:
        """End the turn."""
        if _locks is not None and self._file is not None:
            _locks.flock(self._file, _locks.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _try_lock(locks: ModuleType, file: int) -> bool:
    try:
        locks.flock(file, locks.LOCK_EX | locks.LOCK_NB)
    except BlockingIOError:
        return False
    return True
