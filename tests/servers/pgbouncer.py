"""A real PgBouncer in transaction mode, before a server of ours."""

import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType

from tests.servers.processes import Process
from tests.servers.programs import environment, program
from tests.servers.redis_server import free_port


class PgBouncer:
    """Hands each transaction to one of a few connections.

    Args:
        socket_folder: where the server's socket is.
        pool_size: how many connections to the server there are.
    """

    def __init__(self, socket_folder: Path, *, pool_size: int = 4) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="recollect-pgbouncer-"))
        self._folder.chmod(0o755)
        self._port = free_port()
        # With the rights of the server's user, as only that one gets at the socket.
        self._user = socket_folder.owner() if os.geteuid() == 0 else None
        self._settings = self._folder / "pgbouncer.ini"
        self._settings.write_text(
            f"[databases]\npostgres = host={socket_folder} port=5432 dbname=postgres user=postgres\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\n"
            f"pool_mode = transaction\nauth_type = any\ndefault_pool_size = {pool_size}\n"
            "max_client_conn = 200\n"
        )
        self._process: Process | None = None

    @property
    def plain_url(self) -> str:
        """Where it is, without a word that it is a PgBouncer."""
        return f"postgresql://postgres@127.0.0.1:{self._port}/postgres"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{self.plain_url}?pgbouncer=true"

    def start(self) -> None:
        """Start it, or start it again."""
        command = [program("pgbouncer"), str(self._settings)]
        self._process = Process(
            command, self._folder / "log", "process up", env=environment(), user=self._user
        )

    def kill(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def __enter__(self) -> "PgBouncer":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder)
