"""The table of issue 3: each line with its target, and whether it is met.

Run ``python -m benchmarks [--only sqlite,redis] [--lines append,read] [--rounds N] [--json] [--check]``.
Servers are started from wheels. Each store has a process of its own: what another left on the heap would
make it slower. Each module ``on_*`` says at its top what its store is compared with.
"""

import argparse
import os
import platform
import sqlite3
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.alone import STORES, measured
from benchmarks.measures import LINES
from benchmarks.report import Report


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default=",".join(STORES), help=f"some of {', '.join(STORES)}")
    parser.add_argument("--lines", default=",".join(LINES), help=f"some of {', '.join(LINES)}")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--check", action="store_true", help="exit 1 on a missed target")
    parser.add_argument("--folder", help="where files are put (default: the temporary folder)")
    options = parser.parse_args()
    for name, known in (("only", STORES), ("lines", LINES)):
        chosen = set(getattr(options, name).split(","))
        if not chosen <= set(known):
            parser.error(f"--{name} takes some of {', '.join(known)}")
        setattr(options, name, chosen)
    return options


def main() -> int:
    options = arguments()
    report = Report()
    for store in STORES:
        if store in options.only:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                found = alone.submit(measured, store, options).result()
            report.take(found)
            if not options.json:
                print("\n".join(found.lines()), flush=True)
    machine = (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"{options.rounds} rounds in {options.folder or tempfile.gettempdir()}"
    )
    print(report.json(machine) if options.json else f"{machine}; {report.missed} missed")
    return 1 if options.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
