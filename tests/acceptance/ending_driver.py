"""Runs ``recollect``, and sends itself a signal as soon as it has printed so many lines.

A person who presses Ctrl-C is in time; another process on a busy machine may come when all is done.

usage: ending_driver.py LINES SIGNAL ARGUMENT... of ``recollect``
"""

import signal
import sys
from typing import Any

from recollect.cli.main import start


class Counted:
    """A stream that raises the signal behind the last of the lines."""

    left = 0
    number = signal.SIGINT

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        written: int = self._stream.write(text)
        before, Counted.left = Counted.left, Counted.left - text.count("\n")
        if Counted.left <= 0 < before:
            self._stream.flush()
            signal.raise_signal(Counted.number)
        return written


lines, number, *sys.argv[1:] = sys.argv[1:]
Counted.left, Counted.number = int(lines), signal.Signals(int(number))
sys.stdout, sys.stderr = Counted(sys.stdout), Counted(sys.stderr)
sys.exit(start())
