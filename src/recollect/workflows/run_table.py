"""The records of a project's runs, in a small SQLite file of our own beside the engine's journals.

A journal holds raw contents while a run is unfinished; the table holds what may be kept afterwards.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from recollect.errors import (
    RunNotFound,
    SchemaTooNew,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    closest,
)
from recollect.workflows import liveness
from recollect.workflows.runs import Json, RunRecord, RunStatus

KEPT_RUNS = 1_000
"""How many ended runs the table keeps; the oldest go first, unfinished ones never."""

_BUSY_SECONDS = 30.0
_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    run_id TEXT PRIMARY KEY, workflow TEXT NOT NULL, status TEXT NOT NULL,
    started_at TEXT NOT NULL, ended_at TEXT, executor TEXT NOT NULL,
    input TEXT, output TEXT, tasks TEXT NOT NULL DEFAULT '{}', error TEXT, note TEXT
) STRICT;
CREATE INDEX IF NOT EXISTS runs_by_start ON runs (started_at, run_id);
CREATE INDEX IF NOT EXISTS runs_by_end ON runs (ended_at) WHERE ended_at IS NOT NULL;
"""


class RunTable:
    """The records of a project's runs; any number of processes and threads at once.

    Every method is one transaction on a connection of its own: quick, blocking, nothing to close.
    Its file has no write-ahead log: connections this short gain nothing by one, and SQLite does not
    wait for others when a file changes to that mode.

    Args:
        path: the file.
        journals: the folder of the engine's journals. With it, unfinished runs whose process is gone
            have the status ``interrupted`` instead of ``running``; without it nobody looks.

    Raises (every method):
        StoreUnavailable: the file cannot be opened or written now.
        StoreCorrupt: the file is damaged or no database of ours.
        SchemaTooNew: a newer Recollect wrote it.
    """

    def __init__(self, path: Path, *, journals: Path | None = None) -> None:
        self._path = path
        self._journals = journals

    def exists(self) -> bool:
        """Tell whether anything ran here yet; nothing is created."""
        return self._path.exists()

    def begin(self, run_id: str, workflow: str, *, executor: str, started_at: datetime) -> None:
        """Note that a run started, and nothing of its content.

        For a run that is already there and unfinished, only its ``executor`` changes.
        """
        with self._transaction() as db:
            db.execute(
                "INSERT INTO runs (run_id, workflow, status, started_at, executor)"
                " VALUES (?, ?, 'running', ?, ?) ON CONFLICT (run_id)"
                " DO UPDATE SET executor = excluded.executor WHERE ended_at IS NULL",
                (run_id, workflow, _text(started_at), executor),
            )

    def end(
        self,
        run_id: str,
        status: RunStatus,
        *,
        ended_at: datetime,
        output: Json = None,
        tasks: Mapping[str, Json] | None = None,
        error: Mapping[str, Json] | None = None,
        input: Json = None,  # noqa: A002 - the record's own word
        note: str | None = None,
    ) -> None:
        """Record how a run ended; repeating it is safe. Forgets the oldest beyond ``KEPT_RUNS``."""
        with self._transaction() as db:
            db.execute(
                "INSERT INTO runs (run_id, workflow, executor, started_at, ended_at, status, input,"
                " output, tasks, error, note) VALUES (?, '', '', ?, ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (run_id) DO UPDATE SET ended_at = excluded.ended_at,"
                " status = excluded.status, input = excluded.input, output = excluded.output,"
                " tasks = excluded.tasks, error = excluded.error, note = excluded.note",
                (
                    *(run_id, _text(ended_at), _text(ended_at), status, json.dumps(input)),
                    *(json.dumps(output), json.dumps(tasks or {}), json.dumps(error), note),
                ),
            )
            _trim(db)

    def give_up(
        self, run_id: str, status: RunStatus, *, ended_at: datetime, error: Mapping[str, Json]
    ) -> bool:
        """End a run of which nothing is left; False if it has ended, or its record was removed."""
        with self._transaction() as db:
            given_up = db.execute(
                "UPDATE runs SET ended_at = ?, status = ?, error = ?"
                " WHERE run_id = ? AND ended_at IS NULL",
                (_text(ended_at), status, json.dumps(error), run_id),
            )
            _trim(db)
        return given_up.rowcount > 0

    def get(self, run_id: str) -> RunRecord:
        """Return one record.

        Raises:
            RunNotFound: no run has this id; the text names the closest that exists.
        """
        with self._transaction() as db:
            found = self._select(db, "WHERE run_id = ?", (_storable(run_id),))
            known = (
                [] if found else [row["run_id"] for row in db.execute("SELECT run_id FROM runs")]
            )
        if found:
            return self._seen(found)[0]
        hint = closest(run_id, known) or ("" if known else " There are no runs yet.")
        raise RunNotFound(f"no run has the id {run_id!r}.{hint}", run_id=run_id)

    def list(self, *, limit: int = 50, status: RunStatus | None = None) -> Sequence[RunRecord]:
        """Return records, the last started first."""
        if status in {"running", "interrupted"}:
            unfinished = [*reversed(self._seen(self.unfinished()))]
            return [record for record in unfinished if record.status == status][:limit]
        with self._transaction() as db:
            found = self._select(
                db,
                "WHERE ? IS NULL OR status = ? ORDER BY started_at DESC, run_id DESC LIMIT ?",
                (status, status, limit),
            )
        return self._seen(found)

    def unfinished(self) -> Sequence[RunRecord]:
        """Return the runs that have not ended, the first started first; all count as running."""
        with self._transaction() as db:
            return self._select(db, "WHERE ended_at IS NULL ORDER BY started_at, run_id", ())

    def _seen(self, records: Sequence[RunRecord]) -> Sequence[RunRecord]:
        """Say of unfinished runs whether anybody works on them.

        A living process ends its run here before it lets its journal go; so what seems to have been
        left is read again.
        """
        left = {record.run_id for record in records if self._is_left(record)}
        if not left:
            return records
        with self._transaction() as db:
            again = {
                run_id: record
                for run_id in left
                for record in self._select(db, "WHERE run_id = ?", (run_id,))
            }
        return [
            record if record.run_id not in left else _as_left(again.get(record.run_id, record))
            for record in records
        ]

    def _is_left(self, record: RunRecord) -> bool:
        if record.ended_at is not None or self._journals is None:
            return False
        return not liveness.is_held(self._journals / record.executor)

    def delete(self, run_ids: Sequence[str]) -> int:
        """Remove records for good, from the file too; return how many there were."""
        with self._transaction() as db:
            gone = sum(
                db.execute("DELETE FROM runs WHERE run_id = ?", (run_id,)).rowcount
                for run_id in run_ids
            )
        if gone:
            self._scrub()
        return gone

    def _scrub(self) -> None:
        """Write the file anew: SQLite leaves traces of rows that it moved before they were deleted."""
        try:
            with closing(
                sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
            ) as db:
                db.execute("PRAGMA secure_delete = ON")
                db.execute("PRAGMA temp_store = MEMORY")
                db.execute("VACUUM")
        except sqlite3.Error as error:
            raise database_error(error, self._path) from error

    @staticmethod
    def _select(
        db: sqlite3.Connection, where: str, values: tuple[str | int | None, ...]
    ) -> Sequence[RunRecord]:
        return [_record(row) for row in db.execute(f"SELECT * FROM runs {where}", values)]  # noqa: S608 - our own text

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction, committed if the body returns; driver errors become ours."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(
                sqlite3.connect(self._path, timeout=_BUSY_SECONDS, isolation_level=None)
            ) as db:
                db.row_factory = sqlite3.Row
                db.execute("PRAGMA secure_delete = ON")
                _migrate(db, self._path)
                db.execute("BEGIN IMMEDIATE")
                try:
                    yield db
                except BaseException:
                    db.execute("ROLLBACK")
                    raise
                db.execute("COMMIT")
        except sqlite3.Error as error:
            raise database_error(error, self._path) from error
        except OSError as error:
            raise StoreUnavailable(
                f"{self._path} cannot be used ({error.strerror}): make the folder writable, or free"
                " some space"
            ) from error


def _as_left(record: RunRecord) -> RunRecord:
    if record.ended_at is not None:
        return record
    return msgspec.structs.replace(record, status="interrupted")


def database_error(error: sqlite3.Error, where: Path) -> StoreError:
    """Turn a driver's error into ours; the text names the file or folder and the way out."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreCorrupt(
            f"{where} is damaged or no database ({error}): restore it, or move it away and lose"
            " what it holds"
        )
    way_out = {
        sqlite3.SQLITE_FULL: "free some space",
        sqlite3.SQLITE_READONLY: "make it writable",
        sqlite3.SQLITE_CANTOPEN: "make it and its folder writable",
        sqlite3.SQLITE_BUSY: "another process holds it; try again",
        sqlite3.SQLITE_LOCKED: "another process holds it; try again",
    }.get(code, "check the disk, its free space and its permissions")
    return StoreUnavailable(f"{where} cannot be used ({error}): {way_out}")


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Create the table, once; of several processes one does it while the others wait."""
    found = db.execute("PRAGMA user_version").fetchone()[0]
    if found > _SCHEMA_VERSION:
        raise SchemaTooNew(str(path), found, _SCHEMA_VERSION)
    if found < _SCHEMA_VERSION:
        path.chmod(0o600)  # not by opening it: closing that would free SQLite's locks on it
        db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = 1; COMMIT;")


def _trim(db: sqlite3.Connection) -> None:
    db.execute(
        "DELETE FROM runs WHERE run_id IN (SELECT run_id FROM runs WHERE ended_at"
        " IS NOT NULL ORDER BY ended_at DESC, run_id DESC LIMIT -1 OFFSET ?)",
        (KEPT_RUNS,),
    )


def _record(row: sqlite3.Row) -> RunRecord:
    ended_at, tasks = row["ended_at"], row["tasks"]
    loaded = {name: json.loads(row[name] or "null") for name in ("input", "output", "error")}
    return RunRecord(
        run_id=row["run_id"],
        workflow=row["workflow"],
        status=row["status"],
        started_at=datetime.fromisoformat(row["started_at"]),
        ended_at=datetime.fromisoformat(ended_at) if ended_at else None,
        executor=row["executor"],
        tasks=json.loads(tasks),
        note=row["note"],
        **loaded,
    )


def _text(time: datetime) -> str:
    """A time as text of one width, so that texts sort as times do."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")


def _storable(text: str) -> str:
    """The text with lone surrogates replaced: it then equals no id, instead of failing."""
    return text.encode("utf-8", "replace").decode()
