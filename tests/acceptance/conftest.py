"""The command line as a person meets it: in this process where that shows the same, else in another."""

import ctypes
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recollect.cli import main

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

_DROP_FROM_BOUNDING_SET = 24
_READ_AND_WRITE_ANYTHING = (1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a command left: its exit code, and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout, and nothing beside it."""
        return json.loads(self.out)


class Cli:
    """Runs ``recollect`` in the folder of a project."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._capsys = capsys

    def __call__(self, *args: str, stdin: str | bytes = b"") -> Done:
        """Run a command in this process."""
        data = stdin.encode() if isinstance(stdin, str) else stdin
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
            self._capsys.readouterr()
            code = main(args)
            out, err = self._capsys.readouterr()
        return Done(code=code, out=out, err=err)

    def ok(self, *args: str, stdin: str | bytes = b"") -> Done:
        """Run a command that must succeed."""
        done = self(*args, stdin=stdin)
        assert done.code == 0, done
        return done

    def refuses(
        self, *args: str, says: Iterable[str], code: int = 2, stdin: str | bytes = b""
    ) -> Done:
        """Run a command that must fail, for a person and for a program; return what the person saw.

        Both get the same message: one, on stderr; the program gets it as one document too.
        """
        for_program = self(*args, "--json", stdin=stdin)
        done = self(*args, stdin=stdin)
        check_refusal(done, says=says, code=code)
        error = for_program.json()["error"]
        assert (for_program.code, for_program.err) == (code, f"recollect: {error['message']}\n")
        assert for_program.err in done.err
        assert error["code"].isupper()
        return done

    def process(self, *args: str | bytes, **options: Any) -> Done:
        """Run a command in a process of its own."""
        ended = subprocess.run(
            self.command(*args),
            cwd=self.root,
            capture_output=True,
            check=False,
            timeout=60,
            **options,
        )
        out, err = ended.stdout.decode(), ended.stderr.decode()
        return Done(code=ended.returncode, out=out, err=err)

    def start(self, *args: str, **options: Any) -> "subprocess.Popen[bytes]":
        """Start a command in a process of its own."""
        return subprocess.Popen(
            self.command(*args),
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    @staticmethod
    def command(*args: str | bytes) -> list[str | bytes]:
        """The words that start a command."""
        return [sys.executable, "-m", "recollect", *args]

    def stored(self, key: str = "k", memory: str = "talk") -> list[str]:
        """The contents under a key."""
        done = self.ok("memory", "read", memory, "--key", key, "--json")
        return [message["content"] for message in done.json()["messages"]]


def wait_until_asked(asked: threading.Event, process: "subprocess.Popen[bytes]") -> None:
    """Return when a run asks its model; if its process ends before that, show what it said."""
    deadline = time.monotonic() + 60
    while not asked.wait(0.1):
        assert time.monotonic() < deadline, "the model was not asked"
        assert process.poll() is None, process.communicate()[1]


def check_refusal(done: Done, *, says: Iterable[str], code: int) -> None:
    """One message on stderr that says what it should, and the right exit code."""
    assert done.code == code, done
    told = [line for line in done.err.splitlines() if line.startswith("recollect: ")]
    assert len(told) == 1, done
    for text in says:
        assert text in done.err, done
    for text in ("Traceback", "internal error", 'File "'):
        assert text not in done.err, done


@pytest.fixture
def cli(
    project: "ProjectFolder", monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Cli:
    """The command line in the folder of ``project``, with no setting in the environment."""
    for name in list(os.environ):
        if name.startswith(("RECOLLECT_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    # it would be one; a store that can be used has longer on a busy machine
    monkeypatch.setattr("recollect.memory.health.HEALTH_TIMEOUT_SECONDS", 30.0)
    monkeypatch.chdir(project.root)
    return Cli(project.root, capsys)


def obeying_permissions() -> Callable[[], None]:
    """What a child calls before it starts: even root's then may do only what the modes allow."""
    if os.getuid() != 0:
        return lambda: None
    drop = ctypes.CDLL(None).prctl

    def obey() -> None:
        for capability in _READ_AND_WRITE_ANYTHING:
            drop(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)

    return obey
