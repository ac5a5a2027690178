"""Row 44 of specs/memory.md §13: processes change one key safely, on real stores.

A killed holder frees the conversation by its ttl; one that was stopped beyond its ttl changes nothing.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from recollect.errors import LeaseTaken
from recollect.memory.leases import held
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.factory import make_store
from recollect.stores.records import ConversationId, NewRecord
from tests.servers.redis_server import RedisServer

pytest_plugins = ["tests.servers.redis_fixtures"]

TTL = timedelta(milliseconds=500)
UNHURRIED = timedelta(seconds=4)
LONG = timedelta(seconds=60)

HOLDER = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from recollect.errors import LeaseLost
from recollect.memory.leases import held
from recollect.messages import Message
from recollect.stores.factory import make_store
from recollect.stores.records import ConversationId, NewRecord

async def main(url, name, ttl):
    where = ConversationId("leases", name)
    async with make_store(url, folder=Path()) as store:
        try:
            async with held(
                store, where, holder="flush", ttl=timedelta(seconds=float(ttl))
            ) as lease:
                print("held", flush=True)
                await asyncio.to_thread(sys.stdin.readline)
                await store.fold(where, [1], archive_as="flush", lease=lease)
                print("changed", flush=True)
        except LeaseLost:
            print("lost", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""

COUNTER = """
import asyncio, sys
from datetime import timedelta
from pathlib import Path
from recollect.memory.leases import held
from recollect.messages import Message
from recollect.stores.factory import make_store
from recollect.stores.records import ConversationId, NewRecord

async def main(url, name, turns):
    where = ConversationId("leases", name)
    async with make_store(url, folder=Path()) as store:
        for _ in range(int(turns)):
            async with held(
                store, where, holder="count", ttl=timedelta(minutes=1), wait=timedelta(minutes=1)
            ) as lease:
                found = await store.load(where)
                number = int(found.messages[0].text) + 1
                await asyncio.sleep(0)
                await store.replace(where, [NewRecord(Message("user", str(number)))], lease=lease)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'store.sqlite'}"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with make_store(url, folder=Path("/")) as opened:
        yield opened


@pytest.fixture
async def here(store: Store, request: pytest.FixtureRequest) -> ConversationId:
    """A conversation of the test's own with the number 0."""
    conversation = ConversationId("leases", request.node.name)
    await store.append(conversation, [NewRecord(Message("user", "0"))])
    return conversation


def command(script: str, *args: str) -> list[str]:
    return [sys.executable, "-c", script, *args]


@contextmanager
def holding(
    url: str, here: ConversationId, ttl: timedelta = TTL
) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the lease, and changes the conversation when it is told to."""
    with subprocess.Popen(
        command(HOLDER, url, here.id, str(ttl.total_seconds())),
        stdin=-1,
        stdout=-1,
        stderr=-1,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n", process.stderr and process.stderr.read()
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def told_to_change(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate("now\n", timeout=60)
    assert not err
    return out.strip()


async def test_a_holder_that_is_not_disturbed_changes_what_it_wants(
    url: str, store: Store, here: ConversationId
) -> None:
    """It is renewed: beyond its ttl another waits in vain before it is told to.

    A holder on a busy machine may not get its turn for a while; this ttl is longer than that.
    """
    with holding(url, here, UNHURRIED) as process:
        with pytest.raises(LeaseTaken):
            async with held(store, here, holder="flush", ttl=LONG, wait=1.5 * UNHURRIED):
                pass
        assert told_to_change(process) == "changed"
    found = await store.load(here)
    assert found is not None
    assert found.messages == ()


async def test_a_holder_stopped_beyond_its_ttl_changes_nothing(
    url: str, store: Store, here: ConversationId
) -> None:
    with holding(url, here) as process:
        process.send_signal(signal.SIGSTOP)
        async with held(store, here, holder="flush", ttl=LONG, wait=LONG) as lease:
            written = await store.replace(here, [NewRecord(Message("user", "1"))], lease=lease)
            process.send_signal(signal.SIGCONT)
            assert told_to_change(process) == "lost"
            found = await store.load(here)
            assert found is not None
            assert found.head.version == written.head.version  # type: ignore[union-attr]
            assert [message.text for message in found.messages] == ["1"]
            await store.append(here, [NewRecord(Message("user", "2"))], lease=lease)


async def test_a_holder_that_wakes_after_the_other_has_gone_changes_nothing(
    url: str, store: Store, here: ConversationId
) -> None:
    with holding(url, here) as process:
        process.send_signal(signal.SIGSTOP)
        async with held(store, here, holder="flush", ttl=LONG, wait=LONG):
            pass
        process.send_signal(signal.SIGCONT)
        assert told_to_change(process) == "lost"
    found = await store.load(here)
    assert found is not None
    assert [message.text for message in found.messages] == ["0"]


async def test_a_killed_holder_frees_the_conversation_by_its_ttl(
    url: str, store: Store, here: ConversationId
) -> None:
    with holding(url, here) as process:
        process.kill()
        process.wait()
        start = store.clock.monotonic()
        async with held(store, here, holder="flush", ttl=LONG, wait=LONG):
            waited = store.clock.monotonic() - start
    assert waited < LONG.total_seconds() / 2


async def test_two_processes_lose_none_of_their_changes(
    url: str, store: Store, here: ConversationId
) -> None:
    """Read, count, write under one lease: without it, some of the changes would be lost."""
    turns = 15
    both = [subprocess.Popen(command(COUNTER, url, here.id, str(turns))) for _ in range(2)]
    assert [await asyncio.to_thread(process.wait, 60) for process in both] == [0, 0]
    found = await store.load(here)
    assert found is not None
    assert [message.text for message in found.messages] == [str(2 * turns)]
