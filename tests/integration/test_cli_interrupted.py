"""Ctrl-C when a command has ended and its process has not."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import gc, os, signal, sys

gc.freeze = lambda: os.kill(os.getpid(), signal.SIGINT)
signal.signal(signal.SIGINT, getattr(signal, sys.argv.pop()))

from recollect.cli import start

sys.argv[1:] = ["--version"]
sys.exit(start())
"""


@pytest.mark.parametrize(
    ("handler", "code"),
    [("default_int_handler", -signal.SIGINT), ("SIG_IGN", 0)],
    ids=["by a person", "in the background"],
)
def test_a_late_ctrl_c_shows_no_traceback(handler: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, handler], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, "")
