"""A group of jobs on a connection: reads see one moment, writes are committed together."""

import contextlib
import sqlite3
from collections.abc import Sequence
from contextlib import closing

from recollect.errors import OutcomeUnknown
from recollect.stores.sqlite.database import Database
from recollect.stores.sqlite.jobs import Job


class Reading:
    """Reads of one snapshot, which is younger than every request for them."""

    def __init__(self, database: Database) -> None:
        self._db = database.connect_for_reading()

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all; a job that fails keeps its error, the others go on."""
        self._db.execute("BEGIN")
        try:
            for job in jobs:
                job.run(self._db)
        finally:
            if self._db.in_transaction:
                self._db.execute("COMMIT")

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

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all and commit; a job that fails keeps its error.

        Raises:
            Exception: nothing of the group is stored.
        """
        with self._turn:
            if not self._commit_all(jobs) and len(jobs) > 1:
                self._commit_each(jobs)

    def _commit_each(self, jobs: Sequence[Job]) -> None:
        stopped: Exception | None = None
        for job in jobs:
            job.error = stopped
            if stopped is None:
                try:
                    self._commit_all([job])
                except sqlite3.Error as error:
                    stopped = error
                    job.fail(error)

    def _commit_all(self, jobs: Sequence[Job]) -> bool:
        """Return False, with nothing stored, if one failed that might have written already."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for job in jobs:
                if not job.run(self._db):
                    return False
            self._commit()
            return True
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

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
