"""A group of jobs on a connection: reads see one moment, writes are committed together."""

import contextlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing

from recollect.errors import OutcomeUnknown
from recollect.stores.sqlite.database import Database
from recollect.stores.sqlite.jobs import Job
from recollect.stores.sqlite.turn import Waiting


class Reading:
    """Reads of one snapshot, which is younger than every request for them."""

    def __init__(self, database: Database) -> None:
        self._db = database.connect_for_reading()

    def run(self, jobs: Sequence[Job], *, wait: bool = True) -> bool:
        """Run all; a job that fails keeps its error, the others go on. Nothing is ever waited for."""
        self._db.execute("BEGIN")
        try:
            for job in jobs:
                job.run(self._db)
        finally:
            if self._db.in_transaction:
                self._db.execute("COMMIT")
        return True

    def tidy(self) -> None:
        """Do nothing: reads leave nothing behind."""

    def close(self) -> None:
        """Disconnect."""
        self._db.close()


class Writing:
    """Writes with one commit for all of them.

    A write that refuses has written nothing, so the others of its group go on. Any other failure
    undoes the whole group, and each of its writes is then made alone.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._db = database.connect_for_writing()
        self._turn = database.turn()

    def run(self, jobs: Sequence[Job], *, wait: bool = True) -> bool:
        """Run all and commit; a job that fails keeps its error.

        Returns:
            False without ``wait`` if it is another process's turn; nothing was done.

        Raises:
            Exception: nothing of the group is stored.
        """
        if not self._turn.take(wait=wait):
            return False
        try:
            if not self._begin(wait=wait):
                return False
            if not self._commit_all(jobs) and len(jobs) > 1:
                self._commit_each(jobs)
        finally:
            self._turn.give_back()
        return True

    def tidy(self) -> None:
        """Bring the log into the main file before a commit has to."""
        with contextlib.suppress(sqlite3.OperationalError):  # a later commit tries it again
            self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _begin(self, *, wait: bool = True) -> bool:
        waiting = Waiting(self._database.lock_timeout)
        while True:
            try:
                self._db.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:  # a program that does not take turns
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                if not wait:
                    return False
                if not waiting.goes_on():
                    raise
            else:
                self._db.begun()
                return True

    def _commit_each(self, jobs: Sequence[Job]) -> None:
        stopped: Exception | None = None
        for job in jobs:
            job.error = stopped
            if stopped is None:
                try:
                    self._begin()
                    self._commit_all([job])
                except sqlite3.Error as error:
                    stopped = error
                    job.fail(error)

    def _commit_all(self, jobs: Sequence[Job]) -> bool:
        """Return False, with nothing stored, if one failed that might have written already."""
        committed = False
        try:
            if all(job.run(self._db) for job in jobs):
                self._db.save_heads()
                self._commit()
                committed = True
        finally:
            if not committed:
                self._db.forget_heads()
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        return committed

    def _commit(self) -> None:
        try:
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_IOERR_FSYNC:
                raise OutcomeUnknown(
                    f"the system could not say whether {self._database.path} reached the disk: "
                    "check the disk, read what is there, then repeat what is missing"
                ) from error
            raise

    def close(self) -> None:
        """Disconnect; the last one to do so brings everything into the main file."""
        with contextlib.suppress(sqlite3.Error), closing(self._turn):
            self._db.close()
