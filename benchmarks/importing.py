"""How long ``import recollect.memory`` takes, and that it brings no driver, engine or model library.

Its names are loaded when they are first used: the second row is what a program pays that uses one.
"""

import subprocess
import sys
from statistics import median

from benchmarks.report import Report
from benchmarks.targets import IMPORT

HEAVY = ("redis", "asyncpg", "psycopg", "httpx", "openai", "pydantic", "numpy", "tiktoken")
PROGRAM = """
import sys, time
start = time.perf_counter()
import recollect.memory
getattr(recollect.memory, sys.argv.pop(1))
print(time.perf_counter() - start, *(set(sys.modules) & set(sys.argv[1:])))
"""


def measure(report: Report, rounds: int) -> None:
    """Import it in processes of their own."""
    for what, used in (
        ("import of recollect.memory", "__name__"),
        ("and use of a provider in memory", "create_in_memory_provider"),
    ):
        seconds, heavy = [], set()
        for _ in range(max(3, rounds)):
            command = [sys.executable, "-c", PROGRAM, used, *HEAVY]
            said = subprocess.run(command, capture_output=True, check=True, text=True).stdout
            first, *found = said.split()
            seconds.append(float(first))
            heavy |= set(found)
        text = f"loads {', '.join(sorted(heavy))}" if heavy else "loads no driver"
        value = float("inf") if heavy else median(seconds)
        report.add(what, text, value, IMPORT, unit=" s")
