"""The file: how it is created, recognised and connected to."""

import contextlib
import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Literal, TypeVar

from recollect.errors import SchemaTooNew, StoreCorrupt, StoreUnavailable
from recollect.stores.base import SCHEMA_VERSION
from recollect.stores.sqlite.connection import WritingConnection
from recollect.stores.sqlite.failures import told_as_ours
from recollect.stores.sqlite.statements import SCHEMA
from recollect.stores.sqlite.turn import Turn

Synchronous = Literal["FULL", "NORMAL"]
Connection = TypeVar("Connection", bound=sqlite3.Connection)

_APPLICATION = 0x5265636F  # "Reco"; says in the file's header whose it is
_OLDEST_SQLITE = (3, 25, 0)  # window functions


class Database:
    """One database file, and how to get at it."""

    def __init__(self, path: Path, synchronous: Synchronous, lock_timeout: timedelta) -> None:
        self.path = path
        self.synchronous = synchronous
        self._identity: tuple[int, int] | None = None
        self.lock_timeout = lock_timeout.total_seconds()

    def turn(self) -> Turn:
        """The lock that writers of all processes wait for."""
        return Turn(self.path.with_name(self.path.name + "-lock"), self.lock_timeout)

    def connect_for_writing(self) -> WritingConnection:
        """Connect, creating what is missing: folder, file, tables. It never waits for a lock.

        Raises:
            SchemaTooNew, StoreCorrupt, StoreUnavailable: it cannot be used.
        """
        with told_as_ours(self.path), contextlib.ExitStack() as undo:
            if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
                raise StoreUnavailable(
                    f"SQLite {sqlite3.sqlite_version} is too old for {self.path}: "
                    "use a Python with SQLite 3.25 or newer"
                )
            if not self.path.exists():
                self._create()
            db = undo.enter_context(closing(self._connect(WritingConnection)))
            if not _is_ours(db, self.path):
                self._create_tables(db)
            if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
                raise StoreUnavailable(
                    f"{self.path} lies on a file system without shared memory: "
                    "move it to a local disk"
                )
            full = self.synchronous == "FULL"
            db.execute("PRAGMA synchronous = FULL" if full else "PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA secure_delete = ON")  # what is deleted does not linger in the file
            db.execute("PRAGMA busy_timeout = 0")
            self._identity = _identity(self.path)
            undo.pop_all()
            return db

    def connect_for_reading(self) -> sqlite3.Connection:
        """Connect to the file, which must be there."""
        with told_as_ours(self.path):
            db = self._connect(sqlite3.Connection)
            db.execute("PRAGMA query_only = ON")
            return db

    def check_in_place(self) -> None:
        """Refuse to go on with a file that was removed or replaced under our hands."""
        if not self.path.exists() or self._identity != _identity(self.path):
            raise StoreUnavailable(
                f"{self.path} was removed or replaced while it was open: put it back, or close "
                "the store and open it again"
            )

    def size(self) -> int:
        """Bytes of the file and of what is still in its log."""
        log = self.path.with_name(self.path.name + "-wal")
        return sum(file.stat().st_size for file in (self.path, log) if file.exists())

    def _connect(self, kind: type[Connection]) -> Connection:
        return sqlite3.connect(
            f"{self.path.as_uri()}?mode=rw",
            uri=True,
            timeout=self.lock_timeout,
            isolation_level=None,
            check_same_thread=False,  # a worker sees to it that one thread at a time uses it
            factory=kind,
        )

    def _create(self) -> None:
        # Only under the lock, and only if it is not there: closing a file that some connection of
        # this process has open would end that connection's locks.
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with closing(self.turn()) as turn, turn, contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))

    def _create_tables(self, db: sqlite3.Connection) -> None:
        with closing(self.turn()) as turn, turn:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("BEGIN IMMEDIATE")
            if not _is_ours(db, self.path):
                for statement in SCHEMA.values():
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute("COMMIT")


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def _is_ours(db: sqlite3.Connection, path: Path) -> bool:
    """Tell whether the tables are there; an empty file has none yet.

    Raises:
        SchemaTooNew: a newer Recollect wrote it. StoreCorrupt: it belongs to another program.
    """
    # one statement: another process may be creating the tables at this moment
    application, version, tables = db.execute(
        "SELECT (SELECT application_id FROM pragma_application_id),"
        " (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if application == _APPLICATION:
        if version > SCHEMA_VERSION:
            raise SchemaTooNew(str(path), version, SCHEMA_VERSION)
        return True
    if application or version or tables:
        raise StoreCorrupt(
            f"{path} is the database of another program: give Recollect a file of its own"
        )
    return False
