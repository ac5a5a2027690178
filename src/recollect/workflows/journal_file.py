"""The SQLite file of a journal: how dbos opens it, what it holds, and what its failures say."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from recollect.clock import SystemClock
from recollect.errors import StoreError, StoreUnavailable
from recollect.workflows.run_table import database_error
from recollect.workflows.runs import Json

_PRAGMAS = """
PRAGMA busy_timeout = 30000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
PRAGMA secure_delete = ON; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
"""


def contents_of(file: Path, run_id: str | None = None) -> Iterator[tuple[str, Json]]:
    """Yield (run id, input or result) of all that a journal holds, a living process's too.

    ``run_id`` asks for one run alone. A journal that is removed meanwhile, because its runs have ended,
    holds no more.

    Raises:
        StoreError: it cannot be read now, or is damaged.
    """
    if not file.exists():
        return
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True)) as db:
            db.execute("PRAGMA query_only = ON")
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            if not {"workflow_status", "operation_outputs"} <= tables:
                return  # its process died before it began
            meant, values = " WHERE :run IS NULL OR workflow_uuid = :run", {"run": run_id}
            runs = f"SELECT workflow_uuid, inputs, output FROM workflow_status{meant}"  # noqa: S608 - our own text
            for id_, inputs, output in db.execute(runs, values):
                yield id_, json.loads(inputs)["args"][0]["input"] if inputs else None
                yield id_, json.loads(output or "null")
            steps = f"SELECT workflow_uuid, output FROM operation_outputs{meant}"  # noqa: S608 - our own text
            for id_, output in db.execute(steps, values):
                yield id_, json.loads(output or "null")
    except sqlite3.Error as error:
        if file.exists():
            raise database_error(error, file) from error


def open_database(file: Path) -> sa.Engine:
    """Return what dbos works on the file with."""
    url = sa.URL.create("sqlite", database=str(file))
    engine = sa.create_engine(url, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        connection.executescript(_PRAGMAS)
        if sqlite3.sqlite_version_info < (3, 42):
            # From Python 3.12 on dbos asks for unixepoch('subsec'), which is NULL before 3.42.
            connection.create_function("unixepoch", 1, lambda _: SystemClock().now().timestamp())

    return engine


def store_error(error: BaseException, file: Path) -> StoreError | None:
    """What a failure of the journal says to us; dbos sometimes wraps it in errors of its own."""
    cause: BaseException | None = error
    while cause:
        driver = getattr(cause, "orig", cause)
        if isinstance(driver, sqlite3.Error):
            return database_error(driver, file)
        if isinstance(driver, OSError):
            return StoreUnavailable(f"{file} cannot be used ({driver.strerror}): check the disk")
        cause = cause.__context__
    return None
