"""Making what was deleted unreadable in the file and its log.

``secure_delete`` overwrites what is deleted, but not what SQLite left behind when it had moved rows to
other pages before. So the file is written anew, which takes as long as copying it, and the log is cut.
"""

import sqlite3
from contextlib import closing

from recollect.stores.sqlite.database import Database
from recollect.stores.sqlite.failures import told_as_ours
from recollect.stores.sqlite.turn import Waiting


def scrub(database: Database) -> str:
    """Write the file anew and cut its log; return what may be left, in words.

    Writers wait meanwhile, those of other processes at most as long as their ``lock_timeout``.

    Raises:
        StoreUnavailable: it is locked, or there is no room for a second copy.
    """
    with told_as_ours(database.path), closing(database.turn()) as turn, turn:
        database.check_in_place()
        db = sqlite3.connect(database.path, timeout=database.lock_timeout, isolation_level=None)
        with closing(db):
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute("VACUUM")
            # SQLite itself does not wait for another that brings the log in.
            db.execute("PRAGMA busy_timeout = 0")
            waiting = Waiting(database.lock_timeout)
            while not (is_cut := _cut_log(db)) and waiting.goes_on():
                pass
    if is_cut:
        return ""
    return (
        f"{database.path}-wal may hold it until the reads that are going on have ended and the next "
        "writes are stored: erase again then"
    )


def _cut_log(db: sqlite3.Connection) -> bool:
    busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy
