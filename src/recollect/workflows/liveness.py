"""Which process owns a journal, and whether it still lives.

Each process keeps its runs in a folder of its own that holds a locked file. The kernel frees the
lock when the process dies, however it dies, so a folder whose lock can be taken is abandoned: no
heartbeat, no clock, no process id that may be used again.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakSet

from recollect.clock import SystemClock
from recollect.errors import StoreUnavailable
from recollect.workflows.runs import new_run_id

_LOCK = "lock"


class Claim:
    """A journal folder that this process holds until it releases or removes it, or dies."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self._lock = lock
        _held.add(self)

    @property
    def executor(self) -> str:
        """The id of the folder's first owner: sorts by time, unique."""
        return self.folder.name

    def release(self) -> None:
        """Leave the folder, with all that is in it, to whoever claims it next; once is enough."""
        _held.discard(self)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def remove(self) -> None:
        """Delete the folder. The lock goes last, so a crash in between leaves it claimable."""
        if self._lock >= 0:
            with _explained(self.folder):
                for file in self.folder.iterdir():
                    if file.name != _LOCK:
                        file.unlink()
                (self.folder / _LOCK).unlink()
                self.folder.rmdir()
        self.release()


def claim_new(journals: Path) -> Claim:
    """Create and claim a folder of one's own below ``journals`` (mode 0700, also if it was there).

    Raises:
        StoreUnavailable: the folder cannot be created or written.
    """
    with _explained(journals):
        journals.mkdir(mode=0o700, parents=True, exist_ok=True)
        journals.chmod(0o700)
        while (claim := _claim_new(journals / new_run_id(SystemClock()))) is None:
            pass  # somebody looking for abandoned folders was faster: take another name
    return claim


def claim_abandoned(journals: Path) -> Iterator[Claim]:
    """Claim the folders of dead processes, oldest first, one at a time as they are asked for.

    Raises:
        StoreUnavailable: a folder cannot be read or written.
    """
    with _explained(journals):
        folders = sorted(path for path in journals.iterdir() if path.is_dir())
    for folder in folders:
        with _explained(folder):
            claim = _claim_old(folder)
        if claim:
            yield claim


def _claim_new(folder: Path) -> Claim | None:
    folder.mkdir(mode=0o700)
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    return Claim(folder, lock) if _locked(folder, lock) else None


def _claim_old(folder: Path) -> Claim | None:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        # Its process died before it had a lock, or is about to make one and will notice.
        with suppress(OSError):
            folder.rmdir()
        return None
    return Claim(folder, lock) if _locked(folder, lock) else None


def _locked(folder: Path, lock: int) -> bool:
    """Lock the open file, or close it: it is another's, or it was deleted meanwhile."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), (folder / _LOCK).stat()):
            return True
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return False


@contextmanager
def _explained(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(
            f"runs cannot be kept in {folder} ({error.strerror}): make the folder writable, or"
            " free some space"
        ) from error


_held: WeakSet[Claim] = WeakSet()


def _leave_all_to_parent() -> None:
    for claim in list(_held):
        claim.release()


# flock, unlike lockf, is kept when the process closes another handle of the file (a backup, a
# test that reads every file). The price: a fork shares it and would keep it after the parent's
# death, so a forked child closes its copies at once (which frees nothing of the parent's).
os.register_at_fork(after_in_child=_leave_all_to_parent)
