"""Which process owns a journal, and whether it still lives.

Each process keeps its runs in a folder of its own that holds a locked file. The kernel frees the
lock when the process dies, however it dies, so a folder whose lock can be taken is abandoned: no
heartbeat, no clock, no process id that may be used again.
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from weakref import WeakSet

from recollect.clock import SystemClock
from recollect.errors import StoreUnavailable
from recollect.workflows.runs import new_run_id

_LOCK = "lock"
_LOOKS = 10_000  # times _LOOK_SECONDS: who looks may have no processor for a while
_LOOK_SECONDS = 0.001


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
        lock, self._lock = self._lock, -1  # first: Ctrl-C may come when it has been closed
        if lock >= 0:
            os.close(lock)

    def remove(self) -> None:
        """Delete the folder. The lock goes last, so a crash in between leaves it claimable."""
        if self._lock >= 0:
            with _explained(self.folder):
                while not _removed(self.folder):
                    pass  # a process that reads the journal has just put a file beside it
        self.release()


def is_held(folder: Path) -> bool:
    """Tell whether a living process holds a journal folder, this one included.

    Raises:
        StoreUnavailable: the folder cannot be read.
    """
    with _explained(folder):
        try:
            lock = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _flocked(lock, fcntl.LOCK_SH)
        finally:
            os.close(lock)


def holder(folder: Path) -> int | None:
    """Return the id of the process that claimed a folder last; None if it is not known."""
    with suppress(OSError, ValueError):
        return int((folder / _LOCK).read_text(encoding="ascii"))
    return None


def claim(folder: Path) -> Claim | None:
    """Claim one folder; None if it is gone or a living process holds it.

    Raises:
        StoreUnavailable: the folder cannot be read or written.
    """
    with _explained(folder):
        return _claim_old(folder)


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
        if _claimed(lock) and os.path.samestat(os.fstat(lock), (folder / _LOCK).stat()):
            _sign(lock)
            return True
    except FileNotFoundError:
        pass
    os.close(lock)
    return False


def _removed(folder: Path) -> bool:
    """Delete a folder with its files, the lock last; False if there is a new file in it by then."""
    try:
        for file in sorted(folder.iterdir()):  # a database before its -shm and -wal
            if file.name != _LOCK:
                file.unlink(missing_ok=True)
        (folder / _LOCK).unlink(missing_ok=True)
        folder.rmdir()
    except FileNotFoundError:
        pass  # somebody looking for abandoned folders came by after the lock was gone
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
        return False
    return True


def _sign(lock: int) -> None:
    """Say who holds the lock; it is only for people, so a full disk may keep it from being said."""
    with suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode("ascii"), 0)


def _claimed(lock: int) -> bool:
    """Take the lock, though somebody may be looking at it (``is_held``) for a moment."""
    for _ in range(_LOOKS):
        if _flocked(lock, fcntl.LOCK_EX):
            return True
        if not _flocked(lock, fcntl.LOCK_SH):
            return False  # an owner has it
        fcntl.flock(lock, fcntl.LOCK_UN)
        time.sleep(_LOOK_SECONDS)
    return False


def _flocked(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
