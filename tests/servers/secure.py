"""Servers that want TLS and a password."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.servers.certificates import Certificates, make_certificates
from tests.servers.processes import Process, hand_over, ordinary_user
from tests.servers.programs import environment, program
from tests.servers.redis_server import RedisServer, free_port

PASSWORD = "s3same-open"


def secure_redis(folder: Path, certificates: Certificates) -> RedisServer:
    """Return a server, not started yet, that answers on a TLS port only and wants the password."""
    server = RedisServer(folder, binary=program("redis-server"), env=environment())
    server.options = (
        *("--port", "0", "--tls-port", str(server.port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", str(certificates.certificate)),
        *("--tls-key-file", str(certificates.key)),
        *("--tls-ca-cert-file", str(certificates.authority)),
        *("--requirepass", PASSWORD),
    )
    server.url = f"rediss://:{PASSWORD}@127.0.0.1:{server.port}"
    return server


class DebianPostgres:
    """A server of Debian's, as the wheel's cannot do TLS; it wants the password of its user ``ann``.

    Args:
        settings: further lines of its configuration.
        around: a command that runs the server's; ``{folder}`` is the server's folder.
    """

    def __init__(self, settings: Sequence[str] = (), around: Sequence[str] = ()) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="recollect-debian-pg-"))
        self.port = free_port()
        self.certificates = make_certificates(self.folder)
        self._around = [part.replace("{folder}", str(self.folder)) for part in around]
        self._settings = settings
        self._process: Process | None = None

    def url(self, *, password: str = PASSWORD, **query: str) -> str:
        """Where it is."""
        asked = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql://ann:{password}@127.0.0.1:{self.port}/postgres?{asked}"

    @property
    def process(self) -> Process:
        """The server that runs."""
        assert self._process is not None
        return self._process

    def __enter__(self) -> "DebianPostgres":
        data, secret = self.folder / "data", self.folder / "password"
        secret.write_text(PASSWORD)
        (self.folder / "disk").mkdir()
        hand_over(self.folder)
        user = ordinary_user()
        subprocess.run(
            [program("initdb"), "-D", data, "-U", "ann", "-A", "scram-sha-256", "--pwfile", secret],
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            env=environment(),
            cwd=self.folder,
            check=True,
            capture_output=True,
        )
        (data / "pg_hba.conf").write_text(
            "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
        )
        with (data / "postgresql.conf").open("a") as file:
            lines = (
                "fsync = off",
                "ssl = on",
                f"ssl_cert_file = '{self.certificates.certificate}'",
                f"ssl_key_file = '{self.certificates.key}'",
                f"unix_socket_directories = '{self.folder}'",
                *self._settings,
            )
            file.writelines(f"{line}\n" for line in lines)
        command = [*self._around, program("postgres"), "-D", str(data), "-p", str(self.port)]
        self._process = Process(
            command,
            self.folder / "log",
            "database system is ready to accept connections",
            env=environment() | {"HOME": str(self.folder)},
            user=user,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.stop(signal.SIGINT)  # disconnects everybody
        shutil.rmtree(self.folder)


# Runs a server with a small file system in memory, which nobody else sees, in place of a folder. It
# begins with a file that takes up half: whoever removes that makes room.
SMALL_DISK = (
    *("unshare", "--user", "--mount", "--map-current-user", "--keep-caps", "sh", "-euc"),
    'mount -t tmpfs -o size="$2" tmpfs "$1"; cd "$1"; '
    'head -c $(($2 / 2)) /dev/zero > filler; shift 2; exec "$@"',
    "sh",
)


def make_room(pid: int, disk: Path) -> None:
    """Remove the file that takes up half of a small disk."""
    os.unlink(f"/proc/{pid}/root{disk}/filler")  # noqa: PTH108  # a path of another's root
