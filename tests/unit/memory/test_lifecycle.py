"""Row 61 of specs/memory.md §13: what belongs to runs alone goes with them; §8."""

import asyncio
import hashlib
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import StoreUnavailable
from recollect.memory.data.traces import Carries
from recollect.memory.lifecycle import ABANDONED_AFTER
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.memory.sweeping import SWEEP_EVERY
from recollect.stores.base import Store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.records import Change
from tests.unit.memory.conftest import HearLeases

Make = Callable[..., Memories]
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
ENDS = ("completed", "failed", "cancelled", "timed_out")


def living(run_id: str) -> None:
    """No run is known to have ended."""


class Talk:
    """Runs that use the memory ``talk``."""

    def __init__(self, memories: Memories, store: Store, clock: ManualClock) -> None:
        self.memories, self.store, self.clock = memories, store, clock

    async def __call__(self, operation: str, run: str | None, key: str = "k", **more: Any) -> Any:
        request = Request(
            operation=operation,  # type: ignore[arg-type]
            memory_ref="talk",
            key=key,
            payload="hello" if operation in {"write", "append"} else None,
            run_id=run,
            **more,
        )
        return await self.memories.perform(request, now=self.clock.now())

    async def exists(self, key: str = "k") -> bool:
        return await self.store.load(self.memories.open("talk", key).address) is not None

    async def uses(self) -> list[str]:
        page = await self.store.find("default/demo/.uses")
        return [head.conversation.id.partition(":")[2] for head in page.heads]

    async def sweep(self, how_ended: Any = living) -> int:
        swept = await self.memories.sweeper.sweep(how_ended=how_ended)
        assert swept is not None
        return swept.uses


@pytest.fixture
def open_talk(make_memories: Make, store: Store, clock: ManualClock) -> Callable[..., Talk]:
    def open_(**cleanup: Any) -> Talk:
        section = {"scope": "execution", **cleanup}
        return Talk(make_memories({"id": "talk", "cleanup": section}), store, clock)

    return open_


Open = Callable[..., Talk]


@pytest.mark.parametrize("status", ENDS)
async def test_what_a_run_wrote_is_deleted_however_it_ends(open_talk: Open, status: str) -> None:
    talk = open_talk()
    await talk("append", "r1", "a")
    await talk("write", "r1", "b")
    assert await talk.exists("a")
    await talk.memories.end_run("r1", status)
    assert not await talk.exists("a")
    assert not await talk.exists("b")
    assert await talk.uses() == []


@pytest.mark.parametrize("status", ENDS)
async def test_persistent_data_stay(open_talk: Open, status: str) -> None:
    talk = open_talk(scope="persistent")
    await talk("append", "r1")
    assert await talk.uses() == []
    await talk.memories.end_run("r1", status)
    assert await talk.exists()


async def test_only_the_ends_that_count_delete(open_talk: Open) -> None:
    talk = open_talk(on=["failed"])
    await talk("append", "r1", "a")
    await talk("append", "r2", "b")
    await talk.memories.end_run("r1", "completed")
    await talk.memories.end_run("r2", "failed")
    assert await talk.exists("a")
    assert not await talk.exists("b")
    assert await talk.uses() == []


class Hooked(InMemoryStore):
    """Calls ``before`` with the kind and the place of each of these calls."""

    async def before(self, call: str, where: str) -> None:
        """Nothing, until a test says what."""

    async def _append(self, change: Change) -> Any:
        await self.before("append", "/".join(change.conversation))
        return await super()._append(change)

    async def _annotate(self, change: Change) -> Any:
        await self.before("annotate", "/".join(change.conversation))
        return await super()._annotate(change)

    async def _delete(self, change: Change) -> Any:
        await self.before("delete", "/".join(change.conversation))
        return await super()._delete(change)

    async def _sweep(self, now: Any, limit: int) -> Any:
        await self.before("sweep", "")
        return await super()._sweep(now, limit)


@pytest.fixture
def hooked(clock: ManualClock) -> tuple[Talk, Hooked]:
    resource = Resource.model_validate({"id": "talk", "cleanup": {"scope": "execution"}})
    registry = Registry({"talk": Defined(resource=resource, file=Path("m.yaml"))})
    store = Hooked(clock=clock)
    memories = Memories(registry, durable=store, scratch=store, project_id="demo")
    return Talk(memories, store, clock), store


async def test_the_use_is_recorded_before_the_first_write(hooked: tuple[Talk, Hooked]) -> None:
    """A crash right after the write finds it."""
    talk, store = hooked
    seen: list[list[str]] = []

    async def watch(call: str, where: str) -> None:
        if where.endswith("/talk/k"):
            seen.append(await talk.uses())

    store.before = watch  # type: ignore[method-assign]
    await talk("append", "r1")
    assert seen == [["r1"]]


async def test_nothing_is_written_when_the_use_cannot_be_recorded(
    hooked: tuple[Talk, Hooked],
) -> None:
    talk, store = hooked

    async def fail(call: str, where: str) -> None:
        if "/.uses/" in where:
            raise StoreUnavailable("down")

    store.before = fail  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await talk("append", "r1")
    assert not await talk.exists()


async def test_a_key_that_another_run_uses_is_kept_until_that_ends_too(open_talk: Open) -> None:
    talk = open_talk()
    await talk("append", "r1")
    await talk("append", "r2")
    await talk.memories.end_run("r1", "completed")
    assert await talk.exists()
    assert await talk.uses() == ["r2"]
    await talk.memories.end_run("r2", "completed")
    assert not await talk.exists()


async def test_a_reader_keeps_it_and_inherits_the_duty(open_talk: Open) -> None:
    talk = open_talk()
    await talk("append", "r1")
    await talk("read", "r2")
    await talk.memories.end_run("r1", "completed")
    assert (await talk("read", "r2"))["count"] == 1
    await talk.memories.end_run("r2", "completed")
    assert not await talk.exists()


async def test_what_no_run_wrote_is_not_deleted(open_talk: Open) -> None:
    talk = open_talk()
    await talk("append", None)
    await talk("read", "r1")
    await talk.memories.end_run("r1", "completed")
    assert await talk.exists()


async def test_who_reads_first_and_writes_later_deletes(open_talk: Open) -> None:
    talk = open_talk()
    await talk("read", "r1")
    await talk("append", "r1")
    await talk("read", "r1")
    await talk.memories.end_run("r1", "completed")
    assert not await talk.exists()


async def test_after_a_grace_a_sweep_deletes(open_talk: Open) -> None:
    talk = open_talk(grace="5m")
    await talk("append", "r1")
    await talk.memories.end_run("r1", "completed")
    talk.clock.advance(5 * MINUTE - SECOND)
    assert await talk.sweep() == 0
    assert await talk.exists()
    talk.clock.advance(SECOND)
    assert await talk.sweep() == 1
    assert not await talk.exists()


async def test_who_comes_within_the_grace_keeps_it(open_talk: Open) -> None:
    talk = open_talk(grace="5m")
    await talk("append", "r1")
    await talk.memories.end_run("r1", "completed")
    await talk("read", "r2")
    talk.clock.advance(5 * MINUTE)
    await talk.sweep()
    assert await talk.exists()
    assert await talk.uses() == ["r2"]


async def test_the_last_grace_counts(open_talk: Open) -> None:
    talk = open_talk(grace="5m")
    await talk("append", "r1")
    await talk("read", "r2")
    await talk.memories.end_run("r1", "completed")
    talk.clock.advance(3 * MINUTE)
    await talk.memories.end_run("r2", "completed")
    talk.clock.advance(2 * MINUTE)
    await talk.sweep()
    assert await talk.exists()
    talk.clock.advance(3 * MINUTE)
    await talk.sweep()
    assert not await talk.exists()


async def test_ending_twice_changes_nothing_again(open_talk: Open) -> None:
    talk = open_talk()
    await talk("append", "r1")
    await talk.memories.end_run("r1", "completed")
    await talk("append", "r2")
    await talk.memories.end_run("r1", "completed")
    assert await talk.exists()


async def test_a_new_process_ends_what_a_crashed_one_began(
    open_talk: Open, make_memories: Make
) -> None:
    """Its memory of what it used is gone: the store knows."""
    talk = open_talk()
    await talk("append", "r1", "a")
    later = open_talk()
    await later("append", "r1", "b")
    await later.memories.end_run("r1", "completed")
    assert not await talk.exists("a")
    assert not await talk.exists("b")


async def test_a_run_that_ended_without_telling_is_swept(open_talk: Open) -> None:
    """The process died between the end of the run and its clean-up."""
    talk = open_talk()
    await talk("append", "r1", "a")
    await talk("append", "r2", "b")
    assert await talk.sweep({"r1": "failed"}.get) == 1
    assert not await talk.exists("a")
    assert await talk.exists("b")


async def test_a_run_of_which_nothing_is_known_is_swept_after_a_month(open_talk: Open) -> None:
    talk = open_talk()
    await talk("append", "r1")
    talk.clock.advance(ABANDONED_AFTER - SECOND)
    assert await talk.sweep() == 0
    talk.clock.advance(SECOND)
    assert await talk.sweep() == 1
    assert not await talk.exists()


async def test_a_sweep_is_bounded_and_goes_on(open_talk: Open) -> None:
    talk = open_talk(grace="1m")
    for number in range(5):
        await talk("append", "r1", f"k{number}")
    await talk.memories.end_run("r1", "completed")
    talk.clock.advance(MINUTE)
    sweeper = talk.memories.sweeper
    first = await sweeper.sweep(how_ended=living, limit=2)
    assert first is not None
    assert (first.uses, first.finished) == (2, False)
    rest = await sweeper.sweep(how_ended=living, limit=2, rounds=10)
    assert rest is not None
    assert (rest.uses, rest.finished) == (3, True)


async def test_one_sweeps_and_the_others_stop(hooked: tuple[Talk, Hooked]) -> None:
    talk, store = hooked
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait(call: str, where: str) -> None:
        if call == "sweep":
            entered.set()
            await leave.wait()

    store.before = wait  # type: ignore[method-assign]
    first = asyncio.create_task(talk.memories.sweeper.sweep(how_ended=living))
    await entered.wait()
    assert await talk.memories.sweeper.sweep(how_ended=living) is None
    leave.set()
    assert await first is not None


async def test_a_sweep_is_due_every_ten_minutes(open_talk: Open) -> None:
    talk = open_talk()
    sweeper = talk.memories.sweeper
    assert await sweeper.is_due()
    await sweeper.sweep(how_ended=living)
    assert not await sweeper.is_due()
    talk.clock.advance(SWEEP_EVERY)
    assert await sweeper.is_due()


async def test_expired_conversations_are_swept_from_the_store(
    make_memories: Make, store: Store, clock: ManualClock
) -> None:
    talk = Talk(make_memories({"id": "talk", "persistence": {"ttl": "1m"}}), store, clock)
    await talk("append", None)
    clock.advance(MINUTE)
    swept = await talk.memories.sweeper.sweep(how_ended=living, rounds=5)
    assert swept is not None
    assert (swept.conversations, swept.finished) == (1, True)


@pytest.mark.parametrize("runs", [2, 8])
async def test_runs_at_the_same_time_never_lose_what_a_living_one_wrote(
    open_talk: Open, runs: int
) -> None:
    """Each comes, writes, finds its own message there, and goes; at the end nothing is left."""
    talk = open_talk()

    async def run(number: int) -> None:
        for turn in range(4):
            name = f"r{number}-{turn}"
            await talk("append", name)
            await asyncio.sleep(0)
            assert (await talk("read", name))["count"] >= 1
            await talk.memories.end_run(name, "completed")

    await asyncio.gather(*(run(number) for number in range(runs)))
    assert not await talk.exists()
    assert await talk.uses() == []


async def test_who_comes_while_another_deletes_begins_afterwards(
    hooked: tuple[Talk, Hooked], hear_leases: HearLeases
) -> None:
    """r1 has found nobody else and is about to delete when r2 comes: r2 waits, and loses nothing."""
    talk, store = hooked
    await talk("append", "r1")
    deleting, go_on = asyncio.Event(), asyncio.Event()

    async def wait(call: str, where: str) -> None:
        if call == "delete" and where.endswith("/talk/k"):
            deleting.set()
            await go_on.wait()

    store.before = wait  # type: ignore[method-assign]
    ending = asyncio.create_task(talk.memories.end_run("r1", "completed"))
    await deleting.wait()
    answers = hear_leases(store, talk.memories.open("talk", "k").address)
    coming = asyncio.create_task(talk("append", "r2"))
    assert await answers.get() is None  # r1 has the lease
    go_on.set()
    await asyncio.gather(ending, coming)
    assert (await talk("read", "r2"))["count"] == 1
    await talk.memories.end_run("r2", "completed")
    assert not await talk.exists()


async def test_a_duty_that_is_inherited_at_the_last_moment_is_done(
    hooked: tuple[Talk, Hooked],
) -> None:
    """r2 only read, and is ending; before it has said so, r1 hands over what it wrote."""
    talk, store = hooked
    await talk("append", "r1")
    await talk("read", "r2")
    ended: list[str] = []

    async def end_the_other(call: str, where: str) -> None:
        if call == "annotate" and where.endswith(":r2") and not ended:
            ended.append("r1")
            await talk.memories.end_run("r1", "completed")

    store.before = end_the_other  # type: ignore[method-assign]
    await talk.memories.end_run("r2", "completed")
    assert not await talk.exists()
    assert await talk.uses() == []


async def test_two_that_end_together_leave_nothing(open_talk: Open) -> None:
    talk = open_talk()
    for _ in range(5):
        await talk("append", "r1")
        await talk("read", "r2")
        await asyncio.gather(
            talk.memories.end_run("r1", "completed"), talk.memories.end_run("r2", "failed")
        )
        assert not await talk.exists()
        assert await talk.uses() == []


async def test_what_could_not_be_deleted_now_is_swept_later(
    open_talk: Open, hear_leases: HearLeases
) -> None:
    """Another holder works on the conversation: the clean-up waits ten seconds, then leaves it."""
    talk = open_talk(grace="1m")
    await talk("append", "r1")
    await talk.memories.end_run("r1", "completed")
    talk.clock.advance(MINUTE)
    address = talk.memories.open("talk", "k").address
    lease = await talk.store.lease(address, holder="flush", ttl=MINUTE)
    assert lease is not None
    answers = hear_leases(talk.store, address)
    sweeping = asyncio.create_task(talk.sweep())
    assert await answers.get() is None
    assert await talk.exists()
    await talk.store.release(lease)
    assert await sweeping == 1
    assert not await talk.exists()


# ---- privacy and erasure -------------------------------------------------------------------------

MAIL = "jane.doe@example.com"


async def noted_in(store: Store) -> str:
    """All that is noted of uses, names and metadata."""
    page = await store.find("default/demo/.uses")
    found = await store.load_many([head.conversation for head in page.heads])
    return repr([(head, head.owner) for head in page.heads]) + repr(found)


async def test_a_use_of_a_hidden_key_names_nobody_and_is_enough_to_clean_up(
    make_memories: Make, store: Store, clock: ManualClock
) -> None:
    """A process that never saw the key deletes the conversation, from what the crashed one noted."""
    fields = {"id": "talk", "cleanup": {"scope": "execution"}}
    policy = {"privacy_policy": {"redact_patterns": ["preset:email"]}}
    talk = Talk(make_memories({**fields, **policy}), store, clock)
    await talk("append", "r1", f"user:{MAIL}")
    noted = await noted_in(store)
    assert "user:[REDACTED]-" in noted
    for algorithm in ("sha1", "sha256"):
        for guess in (f"user:{MAIL}", MAIL):
            assert hashlib.new(algorithm, guess.encode()).hexdigest()[:16] not in noted
    assert "jane" not in noted
    later = Talk(make_memories({**fields, **policy}), store, clock)
    assert await later.sweep({"r1": "failed"}.get) == 1
    assert not await talk.exists(f"user:{MAIL}")
    assert await talk.uses() == []


async def test_an_erasure_takes_the_uses_of_ended_runs_whose_conversation_is_gone(
    open_talk: Open,
) -> None:
    talk = open_talk(grace="1h")
    for run, key in (("r1", "ada"), ("r2", "ada-too"), ("r3", "ada"), ("r4", "bob")):
        await talk("append", run, key)
    for run in ("r1", "r4"):
        await talk.memories.end_run(run, "completed")
    traces = talk.memories.use_traces({"r2": "failed"}.get)
    carries = Carries("x", frozenset({"ada", "ada-too"}))
    assert (await traces.erase(carries), await traces.count(carries)) == (0, 0)
    for key in ("ada", "ada-too"):
        await talk.store.delete(talk.memories.open("talk", key).address)
    assert await traces.erase(carries) == 2
    assert sorted(await talk.uses()) == ["r3", "r4"]
    assert await traces.count(carries) == 1  # r3 goes on: it may write again, and cleans up then
    await talk("append", "r3", "ada")
    await talk.memories.end_run("r3", "completed")
    talk.clock.advance(60 * MINUTE)
    await talk.sweep()
    assert not await talk.exists("ada")
    assert not await talk.exists("bob")
