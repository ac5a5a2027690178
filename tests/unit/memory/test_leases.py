"""Leases around work of several steps: row 44 of specs/memory.md §13, as far as one process shows it."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import LeaseLost, LeaseTaken
from recollect.memory.leases import held
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, NewRecord
from recollect.telemetry import Telemetry
from tests.unit.memory.conftest import HearLeases

HERE = ConversationId("n", "c")
MINUTE = timedelta(minutes=1)
SHORT = timedelta(milliseconds=60)
SAY = [NewRecord(Message("user", "hello"))]


@pytest.fixture
async def talk(store: Store) -> Store:
    await store.append(HERE, SAY)
    return store


def listened() -> tuple[Telemetry, list[dict[str, Any]]]:
    """A telemetry, and what it was told."""
    telemetry, told = Telemetry(), list[dict[str, Any]]()

    def listen(event: str, /, **labels: Any) -> None:
        told.append({"event": event, **labels})

    telemetry.listen(listen)
    return telemetry, told


async def free(store: Store) -> bool:
    """Whether anybody can have the lease now; it is given back."""
    lease = await store.lease(HERE, holder="looks", ttl=MINUTE)
    return lease is not None and await store.release(lease)


async def test_a_write_may_name_the_lease_that_is_held(talk: Store) -> None:
    async with held(talk, HERE, holder="flush", ttl=MINUTE) as lease:
        assert not await free(talk)
        await talk.append(HERE, SAY, lease=lease)
    assert await free(talk)


async def test_it_is_given_back_after_an_error(talk: Store) -> None:
    with pytest.raises(ZeroDivisionError):
        async with held(talk, HERE, holder="flush", ttl=MINUTE):
            raise ZeroDivisionError
    assert await free(talk)


async def test_it_is_given_back_when_the_work_is_cancelled(talk: Store) -> None:
    working = asyncio.Event()

    async def work() -> None:
        async with held(talk, HERE, holder="flush", ttl=MINUTE):
            working.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await working.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await free(talk)


async def test_who_is_cancelled_while_asking_holds_nothing(talk: Store) -> None:
    for turns in range(6):  # wherever the cancellation meets it
        task = asyncio.create_task(hold(talk))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await free(talk), turns


async def hold(store: Store) -> None:
    async with held(store, HERE, holder="flush", ttl=MINUTE):
        await asyncio.Event().wait()


async def test_another_holder_is_not_waited_for_unless_asked(talk: Store) -> None:
    async with held(talk, HERE, holder="flush", ttl=MINUTE):
        with pytest.raises(LeaseTaken, match="lease of a clear"):
            async with held(talk, HERE, holder="clear", ttl=MINUTE):
                pass


async def test_another_holder_is_waited_for(talk: Store) -> None:
    order = []

    async def work(name: str) -> None:
        async with held(talk, HERE, holder=name, ttl=MINUTE, wait=MINUTE):
            order.append(f"{name} begins")
            await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(*(work(f"w{number}") for number in range(5)))
    assert [entry.split()[1] for entry in order] == ["begins", "ends"] * 5


async def test_waiting_has_an_end(talk: Store) -> None:
    async with held(talk, HERE, holder="flush", ttl=MINUTE):
        with pytest.raises(LeaseTaken) as caught:
            async with held(talk, HERE, holder="clear", ttl=MINUTE, wait=SHORT):
                pass
    assert caught.value.retryable
    assert caught.value.code == "LOCK_ACQUISITION_FAILED"
    assert "hello" not in str(caught.value)


async def test_of_a_missing_conversation_there_is_none(store: Store) -> None:
    async with held(store, HERE, holder="flush", ttl=MINUTE, wait=MINUTE) as lease:
        assert lease is None


async def test_it_is_renewed_while_the_work_goes_on(
    talk: Store, clock: ManualClock, hear_leases: HearLeases
) -> None:
    """Each time the clock moves half a ttl, a renewal moves the end by as much."""
    answers = hear_leases(talk, HERE)
    async with held(talk, HERE, holder="flush", ttl=SHORT) as lease:
        for _ in range(4):
            clock.advance(SHORT / 2)
            end = None
            while end != clock.now() + SHORT:
                renewed = await answers.get()
                assert renewed is not None
                end = renewed.expires_at
        await talk.append(HERE, SAY, lease=lease)


async def test_who_was_overtaken_changes_nothing_and_leaves_the_other_its_lease(
    talk: Store, clock: ManualClock
) -> None:
    async with held(talk, HERE, holder="flush", ttl=MINUTE) as lease:
        clock.advance(MINUTE)
        assert await talk.lease(HERE, holder="other", ttl=MINUTE)
        with pytest.raises(LeaseLost):
            await talk.append(HERE, SAY, lease=lease)
    assert not await free(talk)
    loaded = await talk.load(HERE)
    assert loaded is not None
    assert loaded.head.message_count == 1


async def test_a_renewal_after_its_end_does_not_revive_it(talk: Store, clock: ManualClock) -> None:
    """Nobody else wanted it: the renewal gets a new lease, which no write of the work names."""
    lost = asyncio.Event()

    def listen(event: str, /, **labels: Any) -> None:
        if labels["status"] == "lost":
            lost.set()

    telemetry = Telemetry()
    telemetry.listen(listen)
    async with held(talk, HERE, holder="flush", ttl=SHORT, telemetry=telemetry) as lease:
        clock.advance(SHORT)
        await lost.wait()
        with pytest.raises(LeaseLost):
            await talk.append(HERE, SAY, lease=lease)
        assert await free(talk)


async def test_waiting_and_contention_are_told(talk: Store) -> None:
    telemetry, told = listened()

    def hold_(name: str, wait: timedelta = timedelta(0)) -> Any:
        return held(
            talk, HERE, holder=name, ttl=MINUTE, wait=wait, memory_id="talk", telemetry=telemetry
        )

    async with hold_("flush"):
        with pytest.raises(LeaseTaken):
            async with hold_("clear", SHORT):
                pass
    assert [(t["operation"], t["status"], t["contended"]) for t in told] == [
        ("flush", "held", False),
        ("clear", "taken", True),
    ]
    assert told[1]["seconds"] >= SHORT.total_seconds()
    assert {(t["event"], t["memory_id"]) for t in told} == {("memory.lease", "talk")}
