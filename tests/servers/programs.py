"""Programs that no wheel carries: PgBouncer, and servers that can do TLS.

They are taken from this machine, or else from Debian's packages: fetched with what they lack and
unpacked beside the environment, so that nothing is installed. ``make test-integration`` does it ahead
with ``python -m tests.servers.programs``. On other systems install them; being found is enough.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(sys.prefix) / "servers"
_PLACES = ("usr/bin", "usr/sbin", "usr/local/bin", "usr/lib/postgresql/*/bin")
PACKAGES = {
    "pgbouncer": "pgbouncer",
    "redis-server": "redis-server",
    "initdb": "postgresql-15",
    "postgres": "postgresql-15",
}


def program(name: str) -> str:
    """Return the path of a program; fetch it if it is not there."""
    found = _find(name)
    if found is None:
        _fetch(PACKAGES[name])
        found = _find(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not here: install it, on Debian from {PACKAGES[name]}")
    return found


def environment() -> dict[str, str]:
    """Return the environment in which unpacked programs find their libraries."""
    folders = [str(path) for path in FOLDER.glob("usr/lib/*-linux-gnu")]
    before = os.environ.get("LD_LIBRARY_PATH")
    return os.environ | {"LD_LIBRARY_PATH": ":".join([*folders, *([before] if before else [])])}


def _find(name: str) -> str | None:
    folders = [
        str(folder) for root in (Path("/"), FOLDER) for at in _PLACES for folder in root.glob(at)
    ]
    return shutil.which(name, path=":".join([os.environ.get("PATH", ""), *folders]))


def _fetch(package: str) -> None:
    """Fetch a package and what it needs beside what is installed, and unpack them."""
    fetched = FOLDER / "fetched"
    (fetched / "partial").mkdir(parents=True, exist_ok=True)
    apt = ("apt-get", "-q", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=root")
    install = ("install", "-y", "--no-install-recommends", "--download-only", package)
    where = ("-o", f"Dir::Cache::archives={fetched}")
    if shutil.which("apt-get") is None:
        return
    if subprocess.run([*apt, *where, *install], capture_output=True, check=False).returncode:
        subprocess.run([*apt, "update"], capture_output=True, check=False)
        subprocess.run([*apt, *where, *install], stdout=subprocess.DEVNULL, check=True)
    for archive in fetched.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", archive, FOLDER], check=True)
        archive.unlink()


if __name__ == "__main__":
    for one in PACKAGES:
        print(f"{one}: {program(one)}")
