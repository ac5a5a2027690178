"""A disk that is full: what does not fit is refused whole, what was stored stays, room is noticed."""

import asyncio
import json
import random
import string
import subprocess
import sys
import textwrap
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest

from recollect.errors import StoreUnavailable
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId, NewRecord
from recollect.stores.redis import RedisStore
from tests.servers.redis_server import RedisServer
from tests.servers.secure import SMALL_DISK, DebianPostgres, make_room

HERE = ConversationId("acme/chat", "c-1")


def say(number: int) -> list[NewRecord]:
    """Two messages, of a kind that cannot be compressed."""
    noise = random.Random(number)
    text = "".join(noise.choices(string.ascii_letters + string.digits, k=20_000))
    return [
        NewRecord(Message("user", f"{number} {text}")),
        NewRecord(Message("user", f"{number}!")),
    ]


async def numbers(store: Store) -> list[str]:
    found = await store.load(HERE)
    assert found is not None
    assert found.head.message_count == len(found.records)
    return [message.text.split(" ")[0] for message in found.messages]


def both(count: int) -> list[str]:
    return [text for n in range(count) for text in (f"{n}", f"{n}!")]


async def fill(store: Store) -> int:
    """Append until the disk is full; return how many appends there was room for."""
    for number in range(10_000):
        try:
            await store.append(HERE, say(number), key=str(number))
        except StoreUnavailable as error:
            assert "disk" in str(error)  # noqa: PT017
            return number
    raise AssertionError("the disk is never full")


async def again(store: Store, number: int) -> None:
    """Repeat the append that failed until the server has noticed that there is room."""
    async with asyncio.timeout(60):
        while True:
            try:
                await store.append(HERE, say(number), key=str(number))
                return
            except StoreUnavailable:
                await asyncio.sleep(0)


async def test_a_full_disk_under_redis(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    around = (*SMALL_DISK, str(disk), str(2**20))
    with RedisServer(disk, "--appendonly", "yes", around=around) as server:
        async with RedisStore(server.url) as store:
            count = await fill(store)
            assert count > 3
            assert await numbers(store) == both(count)
            for write in (store.replace(HERE, []), store.annotate(HERE, {"x": 1}),
                          store.delete(HERE, key="d"), store.fold(HERE, [1])):  # fmt: skip
                with pytest.raises(StoreUnavailable, match="disk"):
                    await write
            assert await numbers(store) == both(count)
            assert server.process is not None
            make_room(server.process.pid, disk)
            await again(store, count)
            assert await numbers(store) == both(count + 1)


async def test_a_full_disk_under_postgres() -> None:
    around = (*SMALL_DISK, "{folder}/disk", str(4 * 2**20))
    with DebianPostgres(around=around) as server:
        authority = str(server.certificates.authority)
        url = server.url(sslmode="verify-full", sslrootcert=authority)
        connection = await asyncpg.connect(url)
        await connection.execute(f"CREATE TABLESPACE small LOCATION '{server.folder}/disk'")
        await connection.close()
        options = {"server_settings": {"default_tablespace": "small"}}
        async with PostgresStore(url, table_name="talks", options=options) as store:
            count = await fill(store)
            assert count > 3
            assert await numbers(store) == both(count)
            make_room(server.process.pid, server.folder / "disk")
            await again(store, count)
            assert await numbers(store) == both(count + 1)


def test_a_full_disk_under_sqlite(tmp_path: Path) -> None:
    """In a process of its own, which alone sees the small disk."""
    script = textwrap.dedent(
        f"""
        import asyncio, json, pathlib
        from recollect.stores.sqlite import SqliteStore
        from tests.servers.test_full_disks import again, fill, numbers

        async def main():
            folder = pathlib.Path({str(tmp_path)!r})
            async with SqliteStore(folder / "a.db") as store:
                count = await fill(store)
                full = await numbers(store)
                (folder / "filler").unlink()
                await again(store, count)
                print(json.dumps([count, full, await numbers(store)]))

        asyncio.run(main())
        """
    )
    command = [*SMALL_DISK, str(tmp_path), str(2**20), sys.executable, "-c", script]
    root = Path(__file__).parents[2]
    run = subprocess.run(
        ["env", f"PYTHONPATH={root}", *command], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    count, full, finally_ = json.loads(run.stdout)
    assert count > 3
    assert full == both(count)
    assert finally_ == both(count + 1)
