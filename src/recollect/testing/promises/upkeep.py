# ruff: noqa: D102 - the name of a test is its sentence
"""Sweeping, pinging, opening and closing."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import StoreClosed
from recollect.stores.base import KEY_RETENTION, Store
from recollect.stores.records import ConversationId, Lease, Swept
from recollect.testing.promises.building import (
    DAY,
    HERE,
    HOUR,
    NAMESPACE,
    TICK,
    MakeStore,
    leased,
    prepared,
    say,
    state_of,
    sweep_all,
    texts,
    written,
)


class Sweeping:
    """``sweep`` removes for good what is invisible, and nothing else."""

    async def test_there_is_nothing_to_sweep_at_first(self, store: Store) -> None:
        assert await store.sweep() == Swept()

    async def test_a_living_conversation_is_left_alone(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=HOUR, key="k", metadata={"x": 1}, owner="ann")
        await leased(store, ttl=DAY)
        await store.fold(HERE, [1], say("s"), archive_as="old")
        clock.advance(HOUR - TICK)
        before = await state_of(store)
        await sweep_all(store)
        assert await state_of(store) == before
        assert (await store.find(NAMESPACE, owner="ann")).heads != ()

    async def test_an_expired_conversation_is_removed(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=HOUR)
        await store.fold(HERE, [1], archive_as="old")
        clock.advance(HOUR)
        swept = await sweep_all(store)
        assert sum(s.conversations for s in swept) == 1
        assert sum(s.records for s in swept) == 3
        assert await store.load(HERE) is None

    async def test_what_was_swept_stays_gone_when_the_clock_steps_back(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=HOUR)
        clock.advance(HOUR)
        await sweep_all(store)
        clock.advance(-HOUR)
        assert await store.load(HERE) is None

    async def test_after_a_sweep_the_address_is_free(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=HOUR, key="k")
        clock.advance(HOUR)
        await sweep_all(store)
        done = written(await store.append(HERE, say("a"), key="k"))
        assert (done.replayed, done.first_seq, done.head.version) == (False, 1, 1)
        assert texts(await store.load(HERE)) == ["a"]

    async def test_a_new_generation_outlives_the_sweep_of_the_old_one(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.append(HERE, say("old 1", "old 2"), ttl=HOUR, key="k-old")
        clock.advance(HOUR)
        await store.append(HERE, say("new"), key="k-new", owner="ann", metadata={"x": 1})
        before = await state_of(store)
        await sweep_all(store)
        assert await state_of(store) == before
        assert written(await store.append(HERE, say("new"), key="k-new",
                                          metadata={"x": 1})).replayed is True  # fmt: skip

    async def test_cut_rows_leave_the_living_ones(self, store: Store) -> None:
        await store.append(HERE, say(*"abcdef"))
        await store.fold(HERE, [2, 4], say("s"))
        await store.replace(HERE, say("x", "y"), archive_as="old")
        await store.replace(HERE, say("z"))
        before = await state_of(store)
        await sweep_all(store)
        assert await state_of(store) == before

    async def test_known_keys_stay_known(self, store: Store, clock: ManualClock) -> None:
        await store.append(HERE, say("a"), key="k")
        await store.delete(ConversationId(NAMESPACE, "gone"), key="d")
        clock.advance(KEY_RETENTION - TICK)
        await sweep_all(store)
        assert written(await store.append(HERE, say("a"), key="k")).replayed is True
        await store.append(ConversationId(NAMESPACE, "gone"), say("back"))
        assert await store.delete(ConversationId(NAMESPACE, "gone"), key="d") is False

    async def test_each_call_removes_about_as_much_as_it_may(
        self, store: Store, clock: ManualClock
    ) -> None:
        for n in range(40):
            await store.append(ConversationId(NAMESPACE, f"c-{n}"), say("a"), ttl=HOUR)
        clock.advance(HOUR)
        swept = await sweep_all(store, limit=5)
        assert sum(s.conversations for s in swept) == 40
        assert sum(s.records for s in swept) == 40
        assert max(s.conversations for s in swept) <= 10

    async def test_a_limited_sweep_hides_no_living_conversation(
        self, store: Store, clock: ManualClock
    ) -> None:
        for n in range(10):
            ttl = HOUR if n % 2 else None
            await store.append(ConversationId(NAMESPACE, f"c-{n}"), say("a", "b"), ttl=ttl)
        clock.advance(HOUR)
        before = await store.find(NAMESPACE, order="created")
        for _ in range(5):
            await store.sweep(limit=1)
            assert await store.find(NAMESPACE, order="created") == before
        await sweep_all(store)
        assert await store.find(NAMESPACE, order="created") == before
        assert len(before.heads) == 5

    async def test_an_address_may_be_used_again_while_it_is_being_swept(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.append(HERE, say(*"abcdefghij"), ttl=HOUR)
        clock.advance(HOUR)
        await store.sweep(limit=1)
        await store.append(HERE, say("new"))
        await sweep_all(store, limit=1)
        assert texts(await store.load(HERE)) == ["new"]
        assert texts(await store.load(HERE, source="archive")) == []


USES: dict[str, Callable[[Store, Lease], Coroutine[Any, Any, object]]] = {
    "append": lambda store, _: store.append(HERE, say("x")),
    "append of nothing": lambda store, _: store.append(HERE, []),
    "replace": lambda store, _: store.replace(HERE, say("x")),
    "fold": lambda store, _: store.fold(HERE, [1]),
    "annotate": lambda store, _: store.annotate(HERE, {"x": 1}),
    "delete": lambda store, _: store.delete(HERE),
    "keyed delete": lambda store, _: store.delete(HERE, key="k"),
    "recall": lambda store, _: store.recall(HERE, "k"),
    "load": lambda store, _: store.load(HERE),
    "load_many": lambda store, _: store.load_many([HERE]),
    "find": lambda store, _: store.find(NAMESPACE),
    "find created": lambda store, _: store.find(NAMESPACE, order="created"),
    "measure": lambda store, _: store.measure(NAMESPACE),
    "lease": lambda store, _: store.lease(HERE, holder="w", ttl=HOUR),
    "release": lambda store, lease: store.release(lease),
    "sweep": lambda store, _: store.sweep(),
    "ping": lambda store, _: store.ping(),
}


class Scrubbing:
    """After an erasure nothing is left of what was deleted, and all else is as it was."""

    async def test_what_is_there_stays_as_it_was(self, store: Store) -> None:
        gone = ConversationId(HERE.namespace, "gone")
        await prepared(store, metadata={"x": 1}, key="k-1")
        await store.fold(HERE, [1], archive_as="old")
        await store.append(gone, say("a"), owner="ann")
        before = await state_of(store)
        await store.delete(gone, key="k-2")
        assert isinstance(await store.scrub([gone]), str)
        assert await store.load(gone) is None
        after = await state_of(store)
        assert after == before
        assert written(await store.append(HERE, say("four"))).head.next_seq == 5

    async def test_what_was_deleted_may_begin_anew(self, store: Store) -> None:
        await prepared(store, owner="ann", key="k-1")
        await store.delete(HERE)
        await store.scrub([HERE])
        done = written(await store.append(HERE, say("a"), owner="ann", key="k-1"))
        assert (done.head.version, done.first_seq, done.replayed) == (1, 1, False)
        assert [head.conversation for head in (await store.find(HERE.namespace)).heads] == [HERE]


class OpeningAndClosing:
    """A store is opened once, closed once, and may be told so twice."""

    async def test_open_returns_the_store(self, make_store: MakeStore, clock: ManualClock) -> None:
        store = make_store(clock)
        assert await store.open() is store
        await store.close()

    async def test_the_context_manager_opens_and_closes(
        self, make_store: MakeStore, clock: ManualClock
    ) -> None:
        async with make_store(clock) as store:
            await store.append(HERE, say("a"))
            assert texts(await store.load(HERE)) == ["a"]
        with pytest.raises(StoreClosed):
            await store.load(HERE)

    async def test_opening_twice_is_fine(self, store: Store) -> None:
        await store.append(HERE, say("a"))
        assert await store.open() is store
        assert texts(await store.load(HERE)) == ["a"]

    async def test_closing_twice_is_fine(self, make_store: MakeStore, clock: ManualClock) -> None:
        store = await make_store(clock).open()
        await store.close()
        await store.close()

    async def test_closing_what_was_never_opened_is_fine(
        self, make_store: MakeStore, clock: ManualClock
    ) -> None:
        await make_store(clock).close()

    @pytest.mark.parametrize("use", USES.values(), ids=USES)
    async def test_a_closed_store_refuses(
        self,
        make_store: MakeStore,
        clock: ManualClock,
        use: Callable[[Store, Lease], Coroutine[Any, Any, object]],
    ) -> None:
        store = await make_store(clock).open()
        await prepared(store)
        lease = await leased(store)
        await store.close()
        with pytest.raises(StoreClosed):
            await use(store, lease)

    async def test_an_error_inside_the_context_is_passed_on(
        self, make_store: MakeStore, clock: ManualClock
    ) -> None:
        with pytest.raises(ZeroDivisionError):
            async with make_store(clock) as store:
                raise ZeroDivisionError
        with pytest.raises(StoreClosed):
            await store.ping()

    async def test_ping_tells_what_the_store_is(self, store: Store) -> None:
        found = await store.ping()
        assert found.backend
        assert found.location
        assert found.durability

    async def test_two_stores_are_two(self, make_store: MakeStore, clock: ManualClock) -> None:
        async with make_store(clock) as first, make_store(clock) as second:
            await first.append(HERE, say("a"))
            assert await second.load(HERE) is None
