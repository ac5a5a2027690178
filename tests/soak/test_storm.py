"""`make soak`: writers of many processes on one limited memory, killed at random, for a minute.

``RECOLLECT_SOAK_SECONDS`` sets how long.
"""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from recollect.memory.budget import held_tokens
from recollect.stores.sqlite import SqliteStore
from tests.soak.writer import MAX_MESSAGES, MAX_TOKENS, storm_memory

WRITER = Path(__file__).with_name("writer.py")
SECONDS = float(os.environ.get("RECOLLECT_SOAK_SECONDS", "60"))
WRITERS = 8


class Writer:
    """A writing process that is killed and started again; remembers what was acknowledged."""

    def __init__(self, database: Path, name: str, until: float) -> None:
        self._database, self._name, self._until = database, name, until
        self.acknowledged: list[int] = []
        self.kills = 0
        self._random = random.Random(name)
        self.thread = threading.Thread(target=self._work)
        self.thread.start()

    def _work(self) -> None:
        while time.monotonic() < self._until:
            first = self.acknowledged[-1] + 1 if self.acknowledged else 0
            command = [sys.executable, str(WRITER), str(self._database), self._name, str(first)]
            root = Path(__file__).parents[2]
            with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": str(root)},
            ) as process:
                life = min(self._random.uniform(1.5, 8), self._until - time.monotonic() + 2)
                timer = threading.Timer(life, process.kill)
                timer.start()
                assert process.stdout is not None
                self.acknowledged += [int(line) for line in process.stdout]
                timer.cancel()
            self.kills += 1


@pytest.mark.timeout(SECONDS * 3 + 120)
async def test_nothing_acknowledged_is_lost_or_doubled_however_often_writers_die(
    tmp_path: Path,
) -> None:
    database = tmp_path / "storm.sqlite"
    until = time.monotonic() + SECONDS
    writers = [Writer(database, f"w{i}", until) for i in range(WRITERS)]
    for writer in writers:
        writer.thread.join()
    async with SqliteStore(database) as store:
        address = storm_memory(store).address
        live = await store.load(address)
        archive = await store.load(address, source="archive")
    assert live is not None
    assert archive is not None
    stored = [m.text.split()[:2] for m in (*archive.messages, *live.messages)]
    for i, writer in enumerate(writers):
        mine = [int(number) for name, number in stored if name == f"w{i}"]
        assert mine == sorted(set(mine)), "doubled or out of order"
        assert set(mine) >= set(writer.acknowledged), "an acknowledged message is lost"
        assert len(mine) <= len(writer.acknowledged) + writer.kills
    head = live.head
    assert head.message_count == len(live.records) <= MAX_MESSAGES
    assert head.token_count == sum(record.tokens for record in live.records)
    assert held_tokens(head.message_count, head.token_count) <= MAX_TOKENS
    assert head.archived_count == len(archive.records)
    print(f"\n{len(stored):,} messages, {sum(w.kills for w in writers)} kills, none lost")
