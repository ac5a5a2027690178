# ruff: noqa: D102 - the name of a test is its sentence
"""The suite that every store must pass whose data outlive it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from recollect.clock import ManualClock
from recollect.errors import KeyReused, LeaseLost, SchemaTooNew, StoreClosed, VersionConflict
from recollect.stores.base import KEY_RETENTION, SCHEMA_VERSION, Store
from recollect.stores.records import ConversationId, Limits, Swept
from recollect.testing.promises.building import (
    HERE,
    HOSTILE,
    HOUR,
    NAMESPACE,
    SECOND,
    THERE,
    MakeStore,
    full,
    head_of,
    leased,
    loaded,
    names,
    prepared,
    said,
    say,
    seqs,
    state_of,
    sweep_all,
    texts,
    walk,
    written,
)

Damage = Callable[[ConversationId, int], Awaitable[None]]
RaiseSchemaVersion = Callable[[int], Awaitable[None]]


class Surviving:
    """What was acknowledged is there when the store is opened again."""

    async def test_it_says_that_it_is_durable(self, store: Store) -> None:
        found = await store.ping()
        assert found.durable is True
        assert found.durability

    async def test_everything_survives(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        await prepared(store, metadata={"x": {"y": [1]}}, owner="ann", ttl=HOUR, key="k")
        clock.advance(SECOND)
        await leased(store)
        await store.fold(HERE, [1, 2], [said("both", tokens=9)], archive_as="flush")
        await store.append(THERE, say(*HOSTILE.values()))
        before = await state_of(store), await state_of(store, THERE)
        found = await store.find(NAMESPACE), await store.measure(NAMESPACE)
        await store.close()
        async with reopen(clock) as again:
            assert (await state_of(again), await state_of(again, THERE)) == before
            assert (await again.find(NAMESPACE), await again.measure(NAMESPACE)) == found
            assert names(await walk(again, order="created")) == [HERE.id, THERE.id]

    async def test_counting_goes_on(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        first = await prepared(store)
        await store.replace(HERE, [])
        await store.close()
        async with reopen(clock) as again:
            done = written(await again.append(HERE, say("four")))
            assert (done.first_seq, done.head.version) == (4, 3)
            assert done.head.generation == first.generation

    async def test_keys_are_known(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        first = written(await store.append(HERE, say("a"), key="k"))
        await store.close()
        async with reopen(clock) as again:
            done = written(await again.append(HERE, say("a"), key="k"))
            assert (done.replayed, done.head) == (True, first.head)
            with pytest.raises(KeyReused):
                await again.append(HERE, say("b"), key="k")
            clock.advance(KEY_RETENTION)
            assert written(await again.append(HERE, say("a"), key="k")).replayed is False

    async def test_keyed_deletes_are_known(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        await prepared(store)
        await store.delete(HERE, key="k")
        await store.append(HERE, say("again"))
        await store.close()
        async with reopen(clock) as again:
            assert await again.delete(HERE, key="k") is True
            assert texts(await again.load(HERE)) == ["again"]

    async def test_leases_hold(self, store: Store, reopen: MakeStore, clock: ManualClock) -> None:
        await prepared(store)
        lease = await leased(store, ttl=HOUR)
        await store.close()
        async with reopen(clock) as again:
            assert await again.lease(HERE, holder="other", ttl=HOUR) is None
            written(await again.append(HERE, say("x"), lease=lease))
            clock.advance(HOUR)
            assert (await leased(again, holder="other")).fence == 2
            with pytest.raises(LeaseLost):
                await again.append(HERE, say("y"), lease=lease)

    async def test_generations_do_not_come_again(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        generations = {(await prepared(store)).generation}
        lease = await leased(store)
        await store.delete(HERE)
        await store.close()
        async with reopen(clock) as again:
            generations.add((await prepared(again)).generation)
            await leased(again)
            assert len(generations) == 2
            with pytest.raises(LeaseLost):
                await again.append(HERE, say("x"), lease=lease)

    async def test_deadlines_pass_while_it_is_closed(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=HOUR)
        await store.close()
        clock.advance(HOUR)
        async with reopen(clock) as again:
            assert await again.load(HERE) is None
            assert (await again.find(NAMESPACE)).heads == ()

    async def test_deleted_is_deleted(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        await prepared(store)
        await store.fold(HERE, [1], archive_as="old")
        await store.delete(HERE)
        await store.close()
        async with reopen(clock) as again:
            assert await state_of(again) == (None, None)

    async def test_a_cursor_survives(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        for name in "abcde":
            await store.append(ConversationId(NAMESPACE, name), say(name))
        first = await store.find(NAMESPACE, order="created", limit=2)
        await store.close()
        async with reopen(clock) as again:
            rest = await again.find(NAMESPACE, order="created", cursor=first.cursor)
            assert names([first, rest]) == list("abcde")

    async def test_what_was_swept_stays_gone(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=HOUR)
        await store.append(THERE, say("a"))
        clock.advance(HOUR)
        await sweep_all(store)
        await store.close()
        async with reopen(clock) as again:
            assert await again.sweep() == Swept()
            assert names(await walk(again, order="created")) == [THERE.id]

    async def test_close_finishes_what_is_on_its_way(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        writes = [asyncio.ensure_future(store.append(HERE, say(str(n)))) for n in range(600)]
        await asyncio.sleep(0)
        await store.close()
        results = await asyncio.gather(*writes, return_exceptions=True)
        done = [str(n) for n, result in enumerate(results) if not isinstance(result, Exception)]
        assert all(isinstance(r, StoreClosed) for r in results if isinstance(r, Exception))
        async with reopen(clock) as again:
            found = await again.load(HERE)
            assert sorted(texts(found) if found else []) == sorted(done)

    async def test_opening_an_empty_place_twice_is_fine(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> None:
        await store.close()
        for _ in range(2):
            async with reopen(clock) as again:
                assert (await again.find(NAMESPACE)).heads == ()


class Damaged:
    """A record that cannot be read is named; the others come as ever."""

    async def test_a_damaged_record_is_named_and_the_others_come(
        self, store: Store, damage: Damage
    ) -> None:
        await prepared(store)
        await damage(HERE, 2)
        found = await loaded(store)
        assert texts(found) == ["one", "three"]
        assert [one.seq for one in found.damaged] == [2]

    async def test_the_reason_does_not_quote_the_content(
        self, store: Store, damage: Damage
    ) -> None:
        await store.append(HERE, say("top secret"))
        await damage(HERE, 1)
        found = await loaded(store)
        assert found.damaged[0].reason
        assert "secret" not in found.damaged[0].reason

    async def test_counts_keep_the_damaged_record(self, store: Store, damage: Damage) -> None:
        head = await prepared(store)
        await damage(HERE, 2)
        assert await head_of(store) == head

    async def test_a_read_repairs_nothing(self, store: Store, damage: Damage) -> None:
        await prepared(store)
        await damage(HERE, 2)
        assert await state_of(store) == await state_of(store)

    async def test_slices_name_only_their_own_damages(self, store: Store, damage: Damage) -> None:
        await store.append(HERE, say(*"abcde"))
        await damage(HERE, 2)
        slices: list[tuple[dict[str, Any], list[str], list[int]]] = [
            ({"last": 3}, ["c", "d", "e"], []),
            ({"last": 4}, ["c", "d", "e"], [2]),
            ({"offset": 1, "limit": 2}, ["c"], [2]),
            ({"after": 2}, ["c", "d", "e"], []),
            ({"limit": 2}, ["a"], [2]),
        ]
        for chosen, seen, damages in slices:
            found = await store.load(HERE, **chosen)
            assert found is not None
            assert (texts(found), [one.seq for one in found.damaged]) == (seen, damages)

    async def test_load_many_names_it_too(self, store: Store, damage: Damage) -> None:
        await prepared(store)
        await store.append(THERE, say("a"))
        await damage(HERE, 1)
        here, there = await store.load_many([HERE, THERE])
        assert here is not None
        assert there is not None
        assert (texts(here), [one.seq for one in here.damaged]) == (["two", "three"], [1])
        assert (texts(there), there.damaged) == (["a"], ())

    async def test_writes_go_on(self, store: Store, damage: Damage) -> None:
        await prepared(store)
        await damage(HERE, 2)
        done = written(await store.append(HERE, say("four")))
        assert (done.first_seq, done.head.message_count) == (4, 4)
        assert texts(await store.load(HERE)) == ["one", "three", "four"]

    async def test_a_damaged_record_can_be_folded_away(self, store: Store, damage: Damage) -> None:
        await prepared(store)
        await damage(HERE, 2)
        done = written(await store.fold(HERE, [2], say("mended")))
        assert (done.head.message_count, done.head.token_count) == (3, 3)
        found = await loaded(store)
        assert (texts(found), found.damaged) == (["one", "mended", "three"], ())

    async def test_a_damaged_record_is_archived_as_it_is(
        self, store: Store, damage: Damage
    ) -> None:
        await prepared(store)
        await damage(HERE, 2)
        done = written(await store.replace(HERE, say("new"), archive_as="old"))
        assert (done.removed, done.head.archived_count) == (3, 3)
        archive = await store.load(HERE, source="archive", batch="old")
        assert archive is not None
        assert (seqs(archive), [one.seq for one in archive.damaged]) == ([1, 3], [2])

    async def test_a_damaged_conversation_can_be_deleted(
        self, store: Store, damage: Damage
    ) -> None:
        await prepared(store)
        await damage(HERE, 2)
        assert await store.delete(HERE) is True
        assert await state_of(store) == (None, None)


class Versioned:
    """The data say which Recollect wrote them."""

    @pytest_asyncio.fixture
    async def newer(
        self,
        store: Store,
        reopen: MakeStore,
        raise_schema_version: RaiseSchemaVersion,
        clock: ManualClock,
    ) -> Store:
        """Return a store, not opened, on data that a newer Recollect has written."""
        await prepared(store)
        await store.close()
        await raise_schema_version(SCHEMA_VERSION + 41)
        return reopen(clock)

    async def test_data_of_a_newer_recollect_are_refused(self, newer: Store) -> None:
        with pytest.raises(SchemaTooNew, match=str(SCHEMA_VERSION + 41)) as caught:
            await newer.open()
        await newer.close()
        assert caught.value.details == {"found": SCHEMA_VERSION + 41, "known": SCHEMA_VERSION}

    async def test_what_cannot_be_entered_is_closed(self, newer: Store) -> None:
        with pytest.raises(SchemaTooNew):
            async with newer:
                pass
        with pytest.raises(StoreClosed):
            await newer.load(HERE)

    async def test_refused_data_are_left_alone(
        self,
        store: Store,
        reopen: MakeStore,
        raise_schema_version: RaiseSchemaVersion,
        clock: ManualClock,
    ) -> None:
        await prepared(store)
        before = await state_of(store)
        await store.close()
        await raise_schema_version(SCHEMA_VERSION + 1)
        newer = reopen(clock)
        with pytest.raises(SchemaTooNew):
            await newer.open()
        await newer.close()
        await raise_schema_version(SCHEMA_VERSION)
        async with reopen(clock) as again:
            assert await state_of(again) == before


class Sharing:
    """Two handles on the same data are one store."""

    @pytest_asyncio.fixture
    async def other(
        self, store: Store, reopen: MakeStore, clock: ManualClock
    ) -> AsyncIterator[Store]:
        """Yield a second handle on the data of the first."""
        async with reopen(clock) as other:
            yield other

    async def test_each_sees_what_the_other_wrote(self, store: Store, other: Store) -> None:
        await store.append(HERE, say("a"), metadata={"x": 1})
        assert texts(await other.load(HERE)) == ["a"]
        await other.fold(HERE, [1], say("s"), archive_as="old")
        assert await state_of(store) == await state_of(other)
        await store.delete(HERE)
        assert await other.load(HERE) is None

    async def test_each_sees_the_write_it_has_not_made_at_once(
        self, store: Store, other: Store
    ) -> None:
        for n in range(20):
            writer, reader = (store, other) if n % 2 else (other, store)
            done = written(await writer.append(HERE, say(str(n))))
            assert await head_of(reader) == done.head
            assert (await reader.find(NAMESPACE)).heads == (done.head,)

    async def test_writers_on_both_lose_nothing(self, store: Store, other: Store) -> None:
        await asyncio.gather(
            *((store, other)[n % 2].append(HERE, say(f"{n}.a", f"{n}.b")) for n in range(60))
        )
        found = await loaded(store)
        assert sorted(texts(found)) == sorted(f"{n}.{x}" for n in range(60) for x in "ab")
        assert all(
            first.split(".")[0] == second.split(".")[0]
            for first, second in zip(texts(found)[::2], texts(found)[1::2], strict=True)
        )
        assert (found.head.message_count, found.head.version) == (120, 60)

    async def test_twins_with_one_key_are_stored_once(self, store: Store, other: Store) -> None:
        results = await asyncio.gather(
            *((store, other)[n % 2].append(HERE, say("a"), key="k") for n in range(10))
        )
        assert sorted(written(r).replayed for r in results) == [False] + [True] * 9
        assert texts(await other.load(HERE)) == ["a"]

    async def test_a_key_is_known_to_both(self, store: Store, other: Store) -> None:
        await store.append(HERE, say("a"), key="k")
        with pytest.raises(KeyReused):
            await other.append(HERE, say("b"), key="k")
        assert written(await other.append(HERE, say("a"), key="k")).replayed is True

    async def test_a_keyed_delete_is_known_to_both(self, store: Store, other: Store) -> None:
        await prepared(store)
        await store.delete(HERE, key="k")
        await store.append(HERE, say("again"))
        assert await other.delete(HERE, key="k") is True
        assert texts(await other.load(HERE)) == ["again"]

    async def test_a_lease_binds_both(self, store: Store, other: Store, clock: ManualClock) -> None:
        await prepared(store)
        lease = await leased(store, ttl=HOUR)
        assert await other.lease(HERE, holder="other", ttl=HOUR) is None
        clock.advance(HOUR)
        taken = await leased(other, holder="other")
        with pytest.raises(LeaseLost):
            await store.append(HERE, say("x"), lease=lease)
        written(await store.append(HERE, say("y"), lease=taken))

    async def test_only_one_of_two_gets_a_lease(self, store: Store, other: Store) -> None:
        await prepared(store)
        leases = await asyncio.gather(
            store.lease(HERE, holder="one", ttl=HOUR), other.lease(HERE, holder="two", ttl=HOUR)
        )
        assert len([lease for lease in leases if lease is not None]) == 1

    async def test_a_version_binds_both(self, store: Store, other: Store) -> None:
        version = (await prepared(store)).version
        results = await asyncio.gather(
            store.replace(HERE, say("a"), expect_version=version),
            other.replace(HERE, say("b"), expect_version=version),
            return_exceptions=True,
        )
        assert len([r for r in results if isinstance(r, VersionConflict)]) == 1
        assert (await head_of(store)).version == version + 1

    async def test_limits_hold_for_both_together(self, store: Store, other: Store) -> None:
        limits = Limits(max_messages=10)
        await asyncio.gather(
            *((store, other)[n % 2].append(HERE, say("a"), limits=limits) for n in range(30))
        )
        assert (await head_of(store)).message_count == 10
        full(await other.append(HERE, say("a"), limits=limits))

    async def test_new_generations_differ_between_both(self, store: Store, other: Store) -> None:
        generations = set()
        for n in range(6):
            one = (store, other)[n % 2]
            generations.add((await prepared(one)).generation)
            await (store, other)[n // 2 % 2].delete(HERE)
        assert len(generations) == 6

    async def test_a_sweep_of_one_disturbs_no_write_of_the_other(
        self, store: Store, other: Store, clock: ManualClock
    ) -> None:
        for n in range(20):
            await store.append(ConversationId(NAMESPACE, f"c-{n}"), say("old"), ttl=HOUR)
        clock.advance(HOUR)

        await asyncio.gather(
            sweep_all(other, limit=3),
            *(store.append(ConversationId(NAMESPACE, f"c-{n}"), say("new")) for n in range(20)),
        )
        for n in range(20):
            assert texts(await other.load(ConversationId(NAMESPACE, f"c-{n}"))) == ["new"]

    async def test_closing_one_leaves_the_other(self, store: Store, other: Store) -> None:
        await store.append(HERE, say("a"))
        await store.close()
        await other.append(HERE, say("b"))
        assert texts(await other.load(HERE)) == ["a", "b"]


@pytest.mark.asyncio
class DurableStoreSuite(Surviving, Damaged, Versioned, Sharing):
    """Subclass it with three fixtures.

    ``reopen``: from a clock to a further, unopened store on the data of this test, which are empty at
    first. ``damage(conversation, seq)``: makes that live record unreadable behind the store's back.
    ``raise_schema_version(number)``: writes that number where the store keeps its schema version,
    while no store is open.
    """

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The time of the stores under test."""
        return ManualClock()

    @pytest_asyncio.fixture
    async def store(self, reopen: MakeStore, clock: ManualClock) -> AsyncIterator[Store]:
        """Yield the first store on the data."""
        async with reopen(clock) as store:
            yield store
