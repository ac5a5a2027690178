# ruff: noqa: D102 - the name of a test is its sentence
"""Leases: who works on a conversation, and that who was overtaken changes nothing."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import InvalidConversationId, InvalidInput, LeaseLost, VersionConflict
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, Lease
from recollect.testing.promises.building import (
    DAY,
    HERE,
    HOUR,
    LEASED_WRITES,
    SECOND,
    THERE,
    TICK,
    Write,
    head_of,
    leased,
    prepared,
    say,
    state_of,
    texts,
    written,
)

leased_write = pytest.mark.parametrize("write", LEASED_WRITES.values(), ids=LEASED_WRITES)


class Leasing:
    """One holder at a time; each new lease has the next fence."""

    async def test_a_lease_names_all_that_a_write_needs(
        self, store: Store, clock: ManualClock
    ) -> None:
        head = await prepared(store)
        lease = await store.lease(HERE, holder="w", ttl=HOUR)
        assert lease == Lease(HERE, "w", head.generation, 1, clock.now() + HOUR)

    async def test_the_head_tells_the_last_fence(self, store: Store) -> None:
        assert (await prepared(store)).fence == 0
        await store.release(await leased(store))
        await leased(store)
        assert (await head_of(store)).fence == 2

    async def test_another_holder_gets_none_while_it_lives(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        await leased(store, ttl=HOUR)
        clock.advance(HOUR - TICK)
        assert await store.lease(HERE, holder="other", ttl=HOUR) is None
        assert (await head_of(store)).fence == 1

    async def test_from_its_end_on_another_holder_gets_the_next_fence(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        await leased(store, ttl=HOUR)
        clock.advance(HOUR)
        lease = await leased(store, holder="other")
        assert (lease.holder, lease.fence) == ("other", 2)

    async def test_its_holder_renews_it_with_the_same_fence(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        first = await leased(store, ttl=HOUR)
        clock.advance(SECOND)
        again = await leased(store, ttl=DAY)
        assert (again.fence, again.generation) == (first.fence, first.generation)
        assert again.expires_at == clock.now() + DAY

    async def test_a_renewed_lease_lives_from_now(self, store: Store, clock: ManualClock) -> None:
        await prepared(store)
        await leased(store, ttl=HOUR)
        clock.advance(HOUR - TICK)
        await leased(store, ttl=HOUR)
        clock.advance(HOUR - TICK)
        assert await store.lease(HERE, holder="other", ttl=HOUR) is None
        clock.advance(TICK)
        assert await store.lease(HERE, holder="other", ttl=HOUR) is not None

    async def test_a_renewal_may_shorten(self, store: Store, clock: ManualClock) -> None:
        await prepared(store)
        await leased(store, ttl=DAY)
        assert (await leased(store, ttl=SECOND)).expires_at == clock.now() + SECOND
        clock.advance(SECOND)
        assert await store.lease(HERE, holder="other", ttl=HOUR) is not None

    async def test_from_its_end_on_its_holder_gets_the_next_fence_too(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        await leased(store, ttl=HOUR)
        clock.advance(HOUR)
        assert (await leased(store)).fence == 2

    async def test_a_missing_conversation_has_none(self, store: Store) -> None:
        assert await store.lease(HERE, holder="w", ttl=HOUR) is None
        assert await store.load(HERE) is None

    async def test_each_conversation_has_its_own(self, store: Store) -> None:
        await store.append(HERE, say("a"))
        await store.append(THERE, say("b"))
        await leased(store, HERE)
        assert (await leased(store, THERE, holder="other")).fence == 1

    async def test_holders_are_compared_character_by_character(self, store: Store) -> None:
        await prepared(store)
        await leased(store, holder="w")
        for other in ("W", "w ", "%", "\u1e81"):
            assert await store.lease(HERE, holder=other, ttl=HOUR) is None

    async def test_a_lease_changes_nothing_but_the_fence(
        self, store: Store, clock: ManualClock
    ) -> None:
        before = await prepared(store, ttl=DAY)
        clock.advance(SECOND)
        lease = await leased(store)
        await leased(store)
        await store.release(lease)
        after = await head_of(store)
        assert (after.version, after.updated_at, after.expires_at) == (
            before.version,
            before.updated_at,
            before.expires_at,
        )

    async def test_only_one_of_many_gets_it(self, store: Store) -> None:
        await prepared(store)
        leases = await asyncio.gather(
            *(store.lease(HERE, holder=f"w-{n}", ttl=HOUR) for n in range(10))
        )
        assert len([lease for lease in leases if lease is not None]) == 1

    @pytest.mark.parametrize("holder", ["", "x" * 513, "a\x00", "\ud800"], ids=ascii)
    async def test_a_bad_holder_is_refused(self, store: Store, holder: str) -> None:
        await prepared(store)
        with pytest.raises(InvalidConversationId):
            await store.lease(HERE, holder=holder, ttl=HOUR)
        assert (await head_of(store)).fence == 0

    @pytest.mark.parametrize("ttl", [timedelta(0), -SECOND], ids=["zero", "negative"])
    async def test_a_lease_for_no_time_is_refused(self, store: Store, ttl: timedelta) -> None:
        await prepared(store)
        with pytest.raises(InvalidInput):
            await store.lease(HERE, holder="w", ttl=ttl)

    async def test_a_bad_address_is_refused(self, store: Store) -> None:
        with pytest.raises(InvalidConversationId):
            await store.lease(ConversationId("", "a"), holder="w", ttl=HOUR)


class Releasing:
    """``release`` gives a lease back, if it is still held."""

    async def test_a_held_lease_is_released_once(self, store: Store) -> None:
        await prepared(store)
        lease = await leased(store)
        assert await store.release(lease) is True
        assert await store.release(lease) is False

    async def test_a_released_lease_is_free_for_others(self, store: Store) -> None:
        await prepared(store)
        await store.release(await leased(store))
        assert (await leased(store, holder="other")).fence == 2

    async def test_its_holder_gets_the_next_fence_after_a_release(self, store: Store) -> None:
        await prepared(store)
        await store.release(await leased(store))
        assert (await leased(store)).fence == 2

    async def test_a_lease_that_ended_is_not_released(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        lease = await leased(store, ttl=HOUR)
        clock.advance(HOUR)
        assert await store.release(lease) is False

    async def test_who_was_overtaken_releases_nothing(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        old = await leased(store, ttl=HOUR)
        clock.advance(HOUR)
        await leased(store, holder="other")
        assert await store.release(old) is False
        assert await store.lease(HERE, holder="third", ttl=HOUR) is None

    async def test_a_lease_of_a_deleted_conversation_is_not_released(self, store: Store) -> None:
        await prepared(store)
        lease = await leased(store)
        await store.delete(HERE)
        assert await store.release(lease) is False

    async def test_a_lease_of_a_missing_conversation_is_not_released(
        self, store: Store, clock: ManualClock
    ) -> None:
        assert await store.release(Lease(HERE, "w", 1, 1, clock.now() + HOUR)) is False


class LeasedWrites:
    """A write that names a lease succeeds only while it is held."""

    @leased_write
    async def test_a_write_under_a_held_lease_happens(self, store: Store, write: Write) -> None:
        await prepared(store)
        lease = await leased(store)
        assert await write(store, lease=lease)
        after = await store.load(HERE)
        assert after is None or after.head.version == 2

    @leased_write
    async def test_a_write_under_a_renewed_lease_happens(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store)
        first = await leased(store, ttl=HOUR)
        clock.advance(HOUR - TICK)
        await leased(store, ttl=HOUR)
        clock.advance(TICK)
        assert await write(store, lease=first)

    @leased_write
    async def test_a_write_of_who_was_overtaken_changes_nothing(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store)
        old = await leased(store, ttl=HOUR)
        clock.advance(HOUR)
        await leased(store, holder="other")
        before = await state_of(store)
        with pytest.raises(LeaseLost):
            await write(store, lease=old)
        assert await state_of(store) == before

    @leased_write
    async def test_a_write_under_an_ended_lease_changes_nothing(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store)
        lease = await leased(store, ttl=HOUR)
        clock.advance(HOUR)
        before = await state_of(store)
        with pytest.raises(LeaseLost):
            await write(store, lease=lease)
        assert await state_of(store) == before

    @leased_write
    async def test_a_write_under_a_released_lease_changes_nothing(
        self, store: Store, write: Write
    ) -> None:
        await prepared(store)
        lease = await leased(store)
        await store.release(lease)
        before = await state_of(store)
        with pytest.raises(LeaseLost):
            await write(store, lease=lease)
        assert await state_of(store) == before

    @leased_write
    async def test_a_lease_of_a_former_generation_changes_nothing(
        self, store: Store, write: Write
    ) -> None:
        await prepared(store)
        old = await leased(store)
        await store.delete(HERE)
        await prepared(store)
        new = await leased(store)
        assert new.fence == old.fence
        before = await state_of(store)
        with pytest.raises(LeaseLost):
            await write(store, lease=old)
        assert await state_of(store) == before

    @pytest.mark.parametrize("name", LEASED_WRITES)
    async def test_a_write_to_a_deleted_conversation_under_its_lease_stores_nothing(
        self, store: Store, name: str
    ) -> None:
        await prepared(store)
        lease = await leased(store)
        await store.delete(HERE)
        with pytest.raises(LeaseLost):
            await LEASED_WRITES[name](store, lease=lease)
        assert await store.load(HERE) is None

    @pytest.mark.parametrize("change", [{"fence": 2}, {"fence": 0}, {"generation": -1}])
    async def test_a_forged_lease_changes_nothing(
        self, store: Store, change: dict[str, int]
    ) -> None:
        await prepared(store)
        lease = await leased(store)
        given: dict[str, Any] = {"generation": lease.generation, "fence": lease.fence, **change}
        forged = Lease(HERE, lease.holder, expires_at=lease.expires_at, **given)
        with pytest.raises(LeaseLost):
            await store.append(HERE, say("x"), lease=forged)
        assert texts(await store.load(HERE)) == ["one", "two", "three"]

    async def test_writes_without_a_lease_are_not_held_up(self, store: Store) -> None:
        await prepared(store)
        await leased(store)
        written(await store.append(HERE, say("four")))
        assert await store.delete(HERE) is True

    async def test_a_write_under_a_lease_leaves_the_lease(self, store: Store) -> None:
        await prepared(store)
        lease = await leased(store)
        await store.append(HERE, say("a"), lease=lease)
        await store.replace(HERE, say("b"), lease=lease)
        assert await store.release(lease) is True

    async def test_a_lost_lease_goes_before_the_version(self, store: Store) -> None:
        await prepared(store)
        lease = await leased(store)
        await store.release(lease)
        with pytest.raises(LeaseLost):
            await store.replace(HERE, say("x"), lease=lease, expect_version=9)
        with pytest.raises(LeaseLost):
            await store.delete(HERE, lease=lease, expect_version=9)

    async def test_a_lost_lease_goes_before_seqs_that_are_gone(self, store: Store) -> None:
        await prepared(store)
        lease = await leased(store)
        await store.release(lease)
        with pytest.raises(LeaseLost):
            await store.fold(HERE, [9], lease=lease)

    async def test_a_held_lease_does_not_excuse_a_wrong_version(self, store: Store) -> None:
        await prepared(store)
        lease = await leased(store)
        with pytest.raises(VersionConflict):
            await store.replace(HERE, say("x"), lease=lease, expect_version=9)
