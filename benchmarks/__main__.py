"""The table of issue 3: each line with its target, and whether it is met.

Run ``python -m benchmarks [--only sqlite,redis] [--lines append,read] [--rounds N] [--json] [--check]``.
Servers are started from wheels. Each module ``on_*`` says at its top what its store is compared with.
"""

import argparse
import asyncio
import os
import platform
import sqlite3
import sys
import tempfile

from benchmarks import importing, on_memory, on_postgres, on_redis, on_sqlite
from benchmarks.measures import LINES
from benchmarks.report import Report

STORES = ("memory", "sqlite", "redis", "cluster", "postgres", "import")


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


async def measure(store: str, options: argparse.Namespace, report: Report) -> None:
    """Run the wanted lines of one store."""
    rounds, wanted, folder = options.rounds, options.lines, options.folder
    if store == "memory":
        await on_memory.measure(report, rounds, wanted)
    elif store == "sqlite":
        await on_sqlite.measure(report, rounds, wanted, folder)
    elif store == "redis":
        await on_redis.measure(report, rounds, wanted)
    elif store == "cluster":
        await on_redis.measure_cluster(report, rounds, wanted)
    elif store == "postgres":
        await on_postgres.measure(report, rounds, wanted, folder)
    else:
        importing.measure(report, rounds)


def main() -> int:
    options = arguments()
    report = Report()
    for store in STORES:
        if store in options.only:
            first = len(report.rows)
            asyncio.run(measure(store, options, report))
            if not options.json:
                print("\n".join(report.lines(first)), flush=True)
    machine = (
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"{options.rounds} rounds in {options.folder or tempfile.gettempdir()}"
    )
    print(report.json(machine) if options.json else f"{machine}; {report.missed} missed")
    return 1 if options.check and report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
