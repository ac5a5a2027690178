"""A file that appears whole, under a name that nobody else has taken, and stays."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def publish(draft: Path, path: Path) -> None:
    """Give a file that is written and synced its name in the same folder; a crash does not undo it.

    The draft may stay behind: remove it.

    Raises:
        FileExistsError: another has taken the name, maybe just now. OSError: the folder refuses it.
    """
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        _rename(draft, path)
    for folder in (path.parent, path.parent.parent):  # the folder may be as new as the file
        with suppress(OSError), _opened(folder) as descriptor:
            os.fsync(descriptor)


def _rename(draft: Path, path: Path) -> None:
    """Rename while no other process does, for that replaces what is there."""
    import fcntl  # noqa: PLC0415 - not on Windows

    with _opened(path.parent) as folder:
        with suppress(OSError):  # a file system without locks, too
            fcntl.flock(folder, fcntl.LOCK_EX)
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        draft.rename(path)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
