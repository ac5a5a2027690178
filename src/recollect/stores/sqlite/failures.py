"""What the driver's and the system's errors mean to a caller; never with content in the text."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recollect.errors import InvalidInput, StoreCorrupt, StoreError, StoreUnavailable

_UNAVAILABLE = {
    sqlite3.SQLITE_BUSY: "is locked by another program: wait until it is done, or end it",
    sqlite3.SQLITE_LOCKED: "is locked by another program: wait until it is done, or end it",
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full: make room; nothing of this was stored",
    sqlite3.SQLITE_READONLY: "may not be written: allow this user to write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: allow this user to read and write it and its folder",
    sqlite3.SQLITE_PERM: "may not be opened: allow this user to read and write it and its folder",
    sqlite3.SQLITE_AUTH: "may not be opened: allow this user to read and write it and its folder",
    sqlite3.SQLITE_IOERR: "could not be read or written: check its disk (space, quota, health)",
    sqlite3.SQLITE_NOMEM: "could not be used, memory is short: give the process more",
    sqlite3.SQLITE_PROTOCOL: "is busy beyond measure: try again",
}
_CORRUPT = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database: name another file, or move this one away",
    sqlite3.SQLITE_CORRUPT: "is damaged: restore a backup, or save what `sqlite3 FILE .recover` finds",
}


@contextmanager
def told_as_ours(path: Path) -> Iterator[None]:
    """Raise our errors in place of the driver's and the system's."""
    try:
        yield
    except (sqlite3.Error, OSError, OverflowError, UnicodeError) as error:
        raise translated(error, path) from error


def translated(error: Exception, path: Path) -> Exception:
    """Return what to tell the caller; errors that are already ours, or bugs, stay as they are."""
    told = _translated(error, path)
    if told is not error:
        told.__cause__ = error
    return told


def _translated(error: Exception, path: Path) -> Exception:
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, path)
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"{path} {_UNAVAILABLE[sqlite3.SQLITE_BUSY]}")
    if isinstance(error, OSError):
        return StoreUnavailable(
            f"the store {path} cannot be used: {error.strerror} ({error.filename}). "
            "It needs a folder that this user may write to"
        )
    if isinstance(error, OverflowError | UnicodeError):
        return InvalidInput("a number beyond 64 bits or a lone surrogate, which no store can keep")
    return error


def _of_sqlite(error: sqlite3.Error, path: Path) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code & 0xFF in _UNAVAILABLE:
        return StoreUnavailable(f"{path} {_UNAVAILABLE[code & 0xFF]}", sqlite=name)
    if code & 0xFF in _CORRUPT:
        return StoreCorrupt(f"{path} {_CORRUPT[code & 0xFF]}", sqlite=name)
    return StoreCorrupt(
        f"{path} is not as Recollect left it ({name}): restore a backup", sqlite=name
    )
