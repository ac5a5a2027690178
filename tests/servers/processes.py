"""Servers as processes of ours: started, awaited by what they say, and ended."""

import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

START = 90.0  # seconds within which a server must be ready, however busy the machine is


class Process:
    """One run of a program.

    Args:
        command: what to run.
        log: a file for all it says.
        ready: what it says when it can be used.
        env: its environment.
        user: whose rights it has; ours if None.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        ready: str,
        *,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
    ) -> None:
        self._log = log
        self._ready = ready.encode()
        self._is_ready = False
        self._said = threading.Event()  # that it is ready, or its last word
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._said.wait(START) or not self._is_ready:
            self.kill()
            raise AssertionError(f"{command[0]} does not start:\n{log.read_text()}")

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._log.open("ab", buffering=0) as log:
            for line in self._process.stdout:
                log.write(line)
                if self._ready in line:
                    self._is_ready = True
                    self._said.set()
        self._said.set()

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._end()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it in good order."""
        self._process.send_signal(number)
        self._end()

    def _end(self) -> None:
        self._process.wait(START)
        self._reader.join(START)
        if self._process.stdout is not None:
            self._process.stdout.close()


def ordinary_user() -> str | None:
    """Whose rights a server may have that refuses to run as root; None if we are not root."""
    return "nobody" if os.geteuid() == 0 else None


def hand_over(folder: Path) -> None:
    """Let that user have a folder, with all in it."""
    user = ordinary_user()
    if user is None:
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, pwd.getpwnam(user).pw_uid, pwd.getpwnam(user).pw_gid)


def until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for what another program tells nobody unasked; nothing else has to be polled."""
    deadline = time.monotonic() + START
    while not is_so():
        assert time.monotonic() < deadline, f"waited {START:g} s in vain for {what}"
        time.sleep(0.02)
