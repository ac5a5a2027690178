# ruff: noqa: D102 - the name of a test is its sentence
"""Deadlines, retention, and clocks that step back."""

import pytest

from recollect.clock import ManualClock
from recollect.errors import InvalidInput, LeaseLost, VersionConflict
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, Totals
from recollect.testing.promises.building import (
    CHANGING,
    DAY,
    HERE,
    HOUR,
    NAMESPACE,
    SECOND,
    TICK,
    Write,
    annotate_it,
    append_one,
    head_of,
    leased,
    loaded,
    names,
    prepared,
    replace_all,
    say,
    seqs,
    state_of,
    texts,
    walk,
    written,
)

RENEWING: dict[str, Write] = {
    "append": append_one,
    "replace": replace_all,
    "annotate": annotate_it,
}
renewing = pytest.mark.parametrize("write", RENEWING.values(), ids=RENEWING)
changing = pytest.mark.parametrize("write", CHANGING.values(), ids=CHANGING)


async def expired(store: Store, clock: ManualClock) -> None:
    """Leave behind a full conversation whose deadline is this very moment."""
    await prepared(store, ttl=HOUR, owner="ann", metadata={"x": 1}, key="k-1")
    await store.fold(HERE, [1], archive_as="old")
    clock.advance(HOUR)


class Expiry:
    """From ``expires_at`` on a conversation is missing everywhere."""

    async def test_just_before_the_deadline_everything_is_there(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=HOUR)
        before = await state_of(store)
        clock.advance(HOUR - TICK)
        assert await state_of(store) == before
        assert names(await walk(store, order="active")) == [HERE.id]
        assert names(await walk(store, order="created")) == [HERE.id]
        assert (await store.measure(NAMESPACE)).conversations == 1

    async def test_load_finds_it_missing(self, store: Store, clock: ManualClock) -> None:
        await expired(store, clock)
        assert await store.load(HERE) is None

    async def test_load_finds_its_archive_missing(self, store: Store, clock: ManualClock) -> None:
        await expired(store, clock)
        assert await store.load(HERE, source="archive") is None

    async def test_load_many_finds_it_missing(self, store: Store, clock: ManualClock) -> None:
        await expired(store, clock)
        assert await store.load_many([HERE]) == [None]

    @pytest.mark.parametrize("order", ["active", "created"])
    async def test_find_does_not_find_it(
        self, store: Store, clock: ManualClock, order: str
    ) -> None:
        await expired(store, clock)
        assert (await store.find(NAMESPACE, order=order)).heads == ()  # type: ignore[arg-type]
        assert (await store.find(NAMESPACE, owner="ann", order=order)).heads == ()  # type: ignore[arg-type]

    async def test_measure_does_not_count_it(self, store: Store, clock: ManualClock) -> None:
        await expired(store, clock)
        assert await store.measure(NAMESPACE) == Totals()
        assert await store.measure(NAMESPACE, owner="ann") == Totals()

    async def test_annotate_finds_it_missing(self, store: Store, clock: ManualClock) -> None:
        await expired(store, clock)
        assert await store.annotate(HERE, {"y": 1}, ttl=HOUR) is None
        assert await store.load(HERE) is None

    async def test_delete_finds_it_missing(self, store: Store, clock: ManualClock) -> None:
        await expired(store, clock)
        assert await store.delete(HERE) is False

    async def test_fold_finds_it_missing(self, store: Store, clock: ManualClock) -> None:
        await expired(store, clock)
        with pytest.raises(VersionConflict):
            await store.fold(HERE, [2], say("s"))

    async def test_lease_finds_it_missing(self, store: Store, clock: ManualClock) -> None:
        await expired(store, clock)
        assert await store.lease(HERE, holder="w", ttl=HOUR) is None

    async def test_release_finds_its_lease_gone(self, store: Store, clock: ManualClock) -> None:
        await prepared(store, ttl=HOUR)
        lease = await leased(store, ttl=DAY)
        clock.advance(HOUR)
        assert await store.release(lease) is False

    async def test_replace_expecting_zero_finds_it_missing(
        self, store: Store, clock: ManualClock
    ) -> None:
        await expired(store, clock)
        done = written(await store.replace(HERE, say("x"), expect_version=0))
        assert (done.head.version, done.removed) == (1, 0)

    async def test_replace_expecting_its_version_conflicts(
        self, store: Store, clock: ManualClock
    ) -> None:
        await expired(store, clock)
        with pytest.raises(VersionConflict):
            await store.replace(HERE, say("x"), expect_version=2)

    @pytest.mark.parametrize("how", ["append", "replace"])
    async def test_a_later_write_begins_a_new_generation(
        self, store: Store, clock: ManualClock, how: str
    ) -> None:
        await prepared(store, ttl=HOUR, owner="ann", metadata={"x": 1})
        await leased(store, ttl=DAY)
        await store.fold(HERE, [1], archive_as="old")
        old = await head_of(store)
        clock.advance(HOUR)
        write = store.append if how == "append" else store.replace
        new = written(await write(HERE, say("again"))).head
        assert new.generation != old.generation
        assert (new.version, new.message_count, new.token_count, new.archived_count) == (1, 1, 1, 0)
        assert (new.owner, new.expires_at, new.folded_at, new.fence) == (None, None, None, 0)
        assert new.created_at == new.updated_at == clock.now()

    @pytest.mark.parametrize("how", ["append", "replace"])
    async def test_a_new_generation_shows_nothing_of_the_old_one(
        self, store: Store, clock: ManualClock, how: str
    ) -> None:
        await expired(store, clock)
        write = store.append if how == "append" else store.replace
        await write(HERE, say("again"))
        live, archive = await state_of(store)
        assert texts(live) == ["again"]
        assert texts(archive) == []
        assert (await loaded(store)).metadata == {}
        assert (await store.find(NAMESPACE, owner="ann")).heads == ()

    async def test_a_new_generation_counts_its_seqs_from_one(
        self, store: Store, clock: ManualClock
    ) -> None:
        await expired(store, clock)
        done = written(await store.append(HERE, say("a", "b")))
        assert (done.first_seq, done.head.next_seq) == (1, 3)
        assert seqs(await store.load(HERE)) == [1, 2]

    async def test_a_new_generation_is_found_and_measured_alone(
        self, store: Store, clock: ManualClock
    ) -> None:
        await expired(store, clock)
        new = written(await store.append(HERE, say("again"), owner="bob")).head
        assert (await store.find(NAMESPACE)).heads == (new,)
        assert (await store.find(NAMESPACE, order="created")).heads == (new,)
        found = await store.measure(NAMESPACE)
        assert (found.conversations, found.messages, found.archived) == (1, 1, 0)

    async def test_a_key_of_the_old_generation_is_unknown(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=HOUR, key="k-1")
        clock.advance(HOUR)
        done = written(await store.append(HERE, say("one", "two", "three"), key="k-1"))
        assert (done.replayed, done.head.version) == (False, 1)

    async def test_a_key_of_the_old_generation_is_free_for_another_body(
        self, store: Store, clock: ManualClock
    ) -> None:
        await expired(store, clock)
        assert written(await store.append(HERE, say("other"), key="k-1")).replayed is False

    async def test_a_lease_of_the_old_generation_is_lost(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=HOUR)
        lease = await leased(store, ttl=DAY)
        clock.advance(HOUR)
        with pytest.raises(LeaseLost):
            await store.append(HERE, say("x"), lease=lease)
        assert await store.load(HERE) is None

    async def test_a_lease_of_the_old_generation_is_lost_in_the_new_one(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=HOUR)
        old = await leased(store, ttl=DAY)
        clock.advance(HOUR)
        await store.append(HERE, say("a"))
        new = await leased(store, ttl=DAY)
        assert new.generation != old.generation
        with pytest.raises(LeaseLost):
            await store.append(HERE, say("x"), lease=old)
        assert await store.release(old) is False
        assert texts(await store.load(HERE)) == ["a"]


class Retention:
    """Append, replace and annotate set the deadline; fold, leases and reads leave it."""

    @renewing
    async def test_the_deadline_is_now_plus_ttl(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store, ttl=DAY)
        clock.advance(SECOND)
        await write(store, ttl=HOUR)
        assert (await head_of(store)).expires_at == clock.now() + HOUR

    @renewing
    async def test_a_write_prolongs_a_conversation(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store, ttl=HOUR)
        clock.advance(HOUR - TICK)
        await write(store, ttl=HOUR)
        clock.advance(HOUR - TICK)
        assert await store.load(HERE) is not None
        clock.advance(TICK)
        assert await store.load(HERE) is None

    @renewing
    async def test_a_write_without_a_ttl_takes_the_deadline_away(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store, ttl=HOUR)
        await write(store)
        assert (await head_of(store)).expires_at is None
        clock.advance(1000 * DAY)
        assert await store.load(HERE) is not None

    async def test_a_first_write_sets_the_deadline(self, store: Store, clock: ManualClock) -> None:
        done = written(await store.replace(HERE, say("a"), ttl=HOUR))
        assert done.head.expires_at == clock.now() + HOUR

    async def test_a_ttl_may_be_as_fine_as_the_clock(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=TICK)
        assert await store.load(HERE) is not None
        clock.advance(TICK)
        assert await store.load(HERE) is None

    async def test_fold_leaves_the_deadline(self, store: Store, clock: ManualClock) -> None:
        deadline = (await prepared(store, ttl=HOUR)).expires_at
        clock.advance(SECOND)
        done = written(await store.fold(HERE, [1, 2], say("s"), archive_as="old"))
        assert done.head.expires_at == deadline

    async def test_leases_leave_the_deadline(self, store: Store, clock: ManualClock) -> None:
        deadline = (await prepared(store, ttl=HOUR)).expires_at
        clock.advance(SECOND)
        lease = await leased(store, ttl=DAY)
        assert (await head_of(store)).expires_at == deadline
        await store.release(lease)
        assert (await head_of(store)).expires_at == deadline

    async def test_refused_writes_leave_the_deadline(
        self, store: Store, clock: ManualClock
    ) -> None:
        deadline = (await prepared(store, ttl=HOUR)).expires_at
        with pytest.raises(VersionConflict):
            await store.replace(HERE, say("x"), expect_version=9, ttl=DAY)
        assert (await head_of(store)).expires_at == deadline


class SteppingBack:
    """Stored times never run backwards, whatever the clock does."""

    @changing
    async def test_updated_at_never_runs_backwards(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        before = await prepared(store)
        clock.advance(-HOUR)
        await write(store)
        head = await head_of(store)
        assert (head.updated_at, head.created_at) == (before.updated_at, before.created_at)
        assert head.version == 2

    @renewing
    async def test_the_deadline_is_reckoned_from_the_callers_now(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store)
        clock.advance(-HOUR)
        await write(store, ttl=DAY)
        assert (await head_of(store)).expires_at == clock.now() + DAY

    async def test_a_message_is_taken_at_the_callers_now(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        clock.advance(-HOUR)
        await append_one(store)
        assert (await loaded(store)).records[-1].stored_at == clock.now()

    async def test_updated_at_goes_on_when_the_clock_has_caught_up(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        clock.advance(-HOUR)
        await store.append(HERE, say("a"))
        clock.advance(HOUR + SECOND)
        done = written(await store.append(HERE, say("b")))
        assert done.head.updated_at == clock.now()

    async def test_order_of_messages_is_that_of_arrival(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        clock.advance(-HOUR)
        await append_one(store)
        assert texts(await store.load(HERE)) == ["one", "two", "three", "four"]

    async def test_folded_at_never_runs_backwards(self, store: Store, clock: ManualClock) -> None:
        await prepared(store)
        first = written(await store.fold(HERE, [1])).head.folded_at
        clock.advance(-HOUR)
        assert written(await store.fold(HERE, [2])).head.folded_at == first


class Dated:
    """A write that says when it was made counts as made then: what was exported keeps its times."""

    @renewing
    async def test_all_its_times_are_of_that_moment(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        made = clock.now() - 30 * DAY
        first = written(await store.append(HERE, say("a"), at=made))
        assert (first.head.created_at, first.head.updated_at) == (made, made)
        assert (await loaded(store)).records[0].stored_at == made
        await write(store, at=made + HOUR, ttl=31 * DAY)
        head = await head_of(store)
        assert (head.created_at, head.updated_at) == (made, made + HOUR)
        assert head.expires_at == made + HOUR + 31 * DAY
        assert (await loaded(store)).records[-1].stored_at <= made + HOUR

    async def test_its_place_in_walks_is_that_of_its_last_activity(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        old = ConversationId(NAMESPACE, "old")
        await store.append(old, say("a"), at=clock.now() - DAY)
        assert names(await walk(store, order="active")) == [HERE.id, "old"]
        page = await store.find(NAMESPACE, until=clock.now() - HOUR)
        assert [head.conversation for head in page.heads] == [old]

    async def test_its_key_is_known_to_the_same_write(
        self, store: Store, clock: ManualClock
    ) -> None:
        made = clock.now() - 30 * DAY
        first = written(await store.append(HERE, say("a"), key="k", at=made))
        again = written(await store.append(HERE, say("a"), key="k", at=made))
        assert (again.replayed, again.head) == (True, first.head)

    async def test_the_future_and_times_without_a_zone_are_refused(
        self, store: Store, clock: ManualClock
    ) -> None:
        for moment in (clock.now() + TICK, clock.now().replace(tzinfo=None)):
            with pytest.raises(InvalidInput):
                await store.append(HERE, say("a"), at=moment)
        assert await store.load(HERE) is None
