"""`make soak`: 16 processes share one limited memory for a minute while flushes run.

``RECOLLECT_SOAK_SECONDS`` sets how long.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from recollect.stores.sqlite import SqliteStore
from tests.soak.sharer import MAX_MESSAGES, MAX_TOKENS, shared_memory

SHARER = Path(__file__).with_name("sharer.py")
ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("RECOLLECT_SOAK_SECONDS", "60"))
PROCESSES = 16


async def share(database: Path, name: str, strategy: str) -> dict[str, int]:
    """Run one process to its end; return what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SHARER),
        str(database),
        name,
        str(SECONDS),
        strategy,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0
    report: dict[str, int] = json.loads(printed)
    return report


@pytest.mark.timeout(SECONDS * 3 + 180)
@pytest.mark.parametrize("strategy", ["simple_fifo", "hybrid_summary"])
async def test_sixteen_processes_share_a_memory_and_nothing_is_lost(
    tmp_path: Path, strategy: str
) -> None:
    database = tmp_path / "shared.sqlite"
    names = [f"p{i}" for i in range(PROCESSES)]
    async with SqliteStore(database):
        pass  # its tables are there before all begin at once
    reports = await asyncio.gather(*(share(database, name, strategy) for name in names))
    async with SqliteStore(database) as store:
        address = shared_memory(store, strategy).address
        live = await store.load(address)
        archive = await store.load(address, source="archive")
    assert live is not None
    assert archive is not None
    kept = [m for m in (*archive.messages, *live.messages) if m.metadata.get("kind") != "summary"]
    summaries = len(archive.records) + len(live.records) - len(kept)
    sent = [
        [name, str(i)] for name, r in zip(names, reports, strict=True) for i in range(r["stored"])
    ]
    assert sorted(m.text.split()[:2] for m in kept) == sorted(sent), "lost or doubled"
    for name in names:
        mine = [int(m.text.split()[1]) for m in kept if m.text.split()[0] == name]
        assert mine == sorted(mine), "out of order"
    head = live.head
    assert head.message_count == len(live.records)
    assert head.token_count == sum(record.tokens for record in live.records)
    assert head.archived_count == len(archive.records)
    assert max(report["tokens"] for report in reports) <= MAX_TOKENS
    assert max(report["messages"] for report in reports) <= MAX_MESSAGES
    assert (summaries > 0) == (strategy == "hybrid_summary")
    print(f"\n{strategy}: {len(sent):,} messages of {PROCESSES} processes, {summaries} summaries")
