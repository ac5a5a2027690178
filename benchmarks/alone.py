"""One store in a process of its own: what another left on the heap would make it slower."""

import argparse
import asyncio

from benchmarks import importing, on_memory, on_postgres, on_redis, on_sqlite
from benchmarks.report import Report

STORES = ("memory", "sqlite", "redis", "cluster", "postgres", "import")


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


def measured(store: str, options: argparse.Namespace) -> Report:
    """Run the wanted lines of one store, in this process."""
    report = Report()
    asyncio.run(measure(store, options, report))
    return report
