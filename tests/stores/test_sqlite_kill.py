"""A process that is killed in a storm of writes: what it was told is stored, is stored; whole."""

import random
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from recollect.stores.records import Conversation, ConversationId, Source
from recollect.stores.sqlite import SqliteStore

STORM = """
import asyncio, os, sys
from recollect.messages import Message
from recollect.stores.records import *
from recollect.stores.sqlite import SqliteStore

TASKS = 12

async def main(path, round_):
    async with SqliteStore(path) as store:
        async def write(task):
            where = ConversationId("storm", f"c{task % 3}")
            number = 0
            while True:
                name = f"{round_}.{task}.{number}"
                size = 1 + number % 3
                records = [
                    NewRecord(Message("user", f"{name}/{i}of{size} " + "x" * 300), 7)
                    for i in range(size)
                ]
                key = name if number % 2 else None
                written = await store.append(where, records, key=key)
                os.write(1, (name + chr(10)).encode())
                if number % 5 == 0:
                    seqs = range(written.first_seq, written.first_seq + size)
                    await store.fold(where, list(seqs), archive_as="old")
                number += 1
        await asyncio.gather(*(write(task) for task in range(TASKS)))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


def killed_after(path: Path, round_: int, lines: int) -> set[str]:
    """Let the storm rage until so many writes are acknowledged, kill it, return all of them."""
    command = [sys.executable, "-c", STORM, str(path), str(round_)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(lines)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.readlines()
    return {line.strip() for line in acknowledged}


async def loaded(store: SqliteStore, name: str, source: Source) -> Conversation:
    found = await store.load(ConversationId("storm", name), source=source)
    assert found is not None
    return found


async def test_kill_9_loses_nothing_acknowledged_and_leaves_nothing_half(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    chance = random.Random(9)  # where it is killed differs anyhow
    acknowledged: set[str] = set()
    for round_ in range(6):
        acknowledged |= killed_after(path, round_, chance.randrange(1, 900))
        async with SqliteStore(path) as store:
            parts: Counter[str] = Counter()
            sizes: dict[str, int] = {}
            for name in ("c0", "c1", "c2"):
                if await store.load(ConversationId("storm", name), last=0) is None:
                    continue
                live = await loaded(store, name, "live")
                archive = await loaded(store, name, "archive")
                assert (live.damaged, archive.damaged) == ((), ())
                assert live.head.message_count == len(live.records)
                assert live.head.token_count == 7 * len(live.records)
                assert live.head.archived_count == len(archive.records)
                seqs = [record.seq for record in (*live.records, *archive.records)]
                assert sorted(seqs) == list(range(1, live.head.next_seq))
                for message in (*live.messages, *archive.messages):
                    part = re.match(r"(.+)/(\d)of(\d) ", message.text)
                    assert part is not None
                    parts[f"{part[1]}/{part[2]}"] += 1
                    sizes[part[1]] = int(part[3])
        assert set(parts.values()) <= {1}
        assert len(parts) == sum(sizes.values())
        assert acknowledged <= set(sizes)
    assert len(acknowledged) > 100
