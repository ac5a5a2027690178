# ruff: noqa: D102 - the name of a test is its sentence
"""Writes that take the place of something: replace, fold, annotate, delete, and the archive."""

import pytest

from recollect.clock import ManualClock
from recollect.errors import InvalidInput, VersionConflict
from recollect.stores.base import Store
from recollect.testing.promises.building import (
    ELSEWHERE,
    EXPECTING,
    HERE,
    HOUR,
    SECOND,
    THERE,
    Write,
    head_of,
    leased,
    loaded,
    prepared,
    said,
    say,
    seqs,
    state_of,
    texts,
    written,
)

expecting = pytest.mark.parametrize("write", EXPECTING.values(), ids=EXPECTING)


class Replacing:
    """``replace`` makes the live messages exactly what it was given."""

    async def test_replace_creates_a_missing_conversation(
        self, store: Store, clock: ManualClock
    ) -> None:
        done = written(await store.replace(HERE, say("a", "b"), owner="ann"))
        assert (done.first_seq, done.removed, done.head.version) == (1, 0, 1)
        assert (done.head.created_at, done.head.owner) == (clock.now(), "ann")
        assert texts(await store.load(HERE)) == ["a", "b"]

    async def test_replace_makes_the_live_messages_exactly_those(self, store: Store) -> None:
        await store.append(HERE, say("a", "b", "c"))
        done = written(await store.replace(HERE, [said("x", tokens=7), said("y", tokens=8)]))
        assert texts(await store.load(HERE)) == ["x", "y"]
        assert (done.head.message_count, done.head.token_count) == (2, 15)

    async def test_replace_returns_the_head_that_load_returns(self, store: Store) -> None:
        await prepared(store, owner="ann")
        done = written(await store.replace(HERE, say("x"), archive_as="old", ttl=HOUR))
        assert done.head == await head_of(store)

    async def test_replace_counts_the_former_messages(self, store: Store) -> None:
        await store.append(HERE, say("a", "b", "c"))
        done = written(await store.replace(HERE, say("x")))
        assert done.removed == 3

    async def test_replace_uses_no_seq_again(self, store: Store) -> None:
        await store.append(HERE, say("a", "b", "c"))
        done = written(await store.replace(HERE, say("x", "y")))
        assert (done.first_seq, done.head.next_seq) == (4, 6)
        assert seqs(await store.load(HERE)) == [4, 5]

    async def test_replace_by_nothing_clears(self, store: Store) -> None:
        await store.append(HERE, say("a", "b"), metadata={"x": 1}, owner="ann")
        done = written(await store.replace(HERE, []))
        assert (done.first_seq, done.removed) == (None, 2)
        assert (done.head.message_count, done.head.token_count, done.head.next_seq) == (0, 0, 3)
        assert (await loaded(store)).decoded_metadata() == {"x": 1}
        assert done.head.owner == "ann"

    async def test_replace_keeps_created_at_and_generation(
        self, store: Store, clock: ManualClock
    ) -> None:
        before = await prepared(store)
        clock.advance(SECOND)
        after = written(await store.replace(HERE, say("x"))).head
        assert (after.created_at, after.generation) == (before.created_at, before.generation)
        assert after.updated_at == clock.now()

    async def test_replace_merges_metadata(self, store: Store) -> None:
        await store.append(HERE, [], metadata={"kept": 1, "removed": 2, "changed": 3})
        await store.replace(HERE, [], metadata={"removed": None, "changed": 4})
        assert (await loaded(store)).decoded_metadata() == {"kept": 1, "changed": 4}

    async def test_replace_touches_no_other_conversation(self, store: Store) -> None:
        await store.append(THERE, say("a"))
        await store.append(ELSEWHERE, say("b"))
        await prepared(store)
        before = await state_of(store, THERE), await state_of(store, ELSEWHERE)
        await store.replace(HERE, say("x"), archive_as="old")
        assert (await state_of(store, THERE), await state_of(store, ELSEWHERE)) == before


class Folding:
    """``fold`` replaces what it names, and leaves all others untouched."""

    async def test_fold_puts_a_summary_where_the_messages_stood(self, store: Store) -> None:
        await store.append(HERE, say("a", "b", "c", "d"))
        done = written(await store.fold(HERE, [2, 3], say("b and c")))
        assert texts(await store.load(HERE)) == ["a", "b and c", "d"]
        assert (done.first_seq, done.removed) == (2, 2)

    async def test_a_summary_takes_the_first_seqs_it_replaces(self, store: Store) -> None:
        await store.append(HERE, say("a", "b", "c", "d", "e"))
        await store.fold(HERE, [5, 2, 4], say("x", "y"))
        assert seqs(await store.load(HERE)) == [1, 2, 3, 4]
        assert texts(await store.load(HERE)) == ["a", "x", "c", "y"]

    async def test_messages_appended_meanwhile_stay_behind_the_summary(self, store: Store) -> None:
        await store.append(HERE, say("a", "b"))
        await store.append(HERE, say("meanwhile"))
        await store.fold(HERE, [1, 2], say("summary"))
        await store.append(HERE, say("later"))
        assert texts(await store.load(HERE)) == ["summary", "meanwhile", "later"]

    async def test_fold_without_messages_only_removes(self, store: Store) -> None:
        await store.append(HERE, say("a", "b", "c"))
        done = written(await store.fold(HERE, [1, 3]))
        assert (done.first_seq, done.removed) == (None, 2)
        assert texts(await store.load(HERE)) == ["b"]

    async def test_fold_can_remove_everything(self, store: Store) -> None:
        await prepared(store, metadata={"x": 1})
        done = written(await store.fold(HERE, [1, 2, 3]))
        assert (done.head.message_count, done.head.token_count, done.head.next_seq) == (0, 0, 4)
        assert (await loaded(store)).decoded_metadata() == {"x": 1}

    async def test_fold_can_put_as_many_as_it_removes(self, store: Store) -> None:
        await prepared(store)
        await store.fold(HERE, [1, 2, 3], say("x", "y", "z"))
        assert texts(await store.load(HERE)) == ["x", "y", "z"]
        assert seqs(await store.load(HERE)) == [1, 2, 3]

    async def test_fold_keeps_the_counts_exact(self, store: Store) -> None:
        await store.append(HERE, [said(str(n), tokens=10**n) for n in range(4)])
        done = written(await store.fold(HERE, [2, 3], [said("s", tokens=7)]))
        assert (done.head.message_count, done.head.token_count) == (3, 1 + 7 + 1000)

    async def test_fold_leaves_the_others_untouched(self, store: Store, clock: ManualClock) -> None:
        await prepared(store)
        before = (await loaded(store)).records[2]
        clock.advance(SECOND)
        await store.fold(HERE, [1, 2], say("s"))
        assert (await loaded(store)).records[1] == before

    async def test_a_summary_is_stored_at_the_time_of_the_fold(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        clock.advance(SECOND)
        await store.fold(HERE, [1, 2], [said("s", tokens=9)])
        record = (await loaded(store)).records[0]
        assert (record.stored_at, record.tokens, record.batch) == (clock.now(), 9, None)

    async def test_fold_tells_when_it_happened(self, store: Store, clock: ManualClock) -> None:
        assert (await prepared(store)).folded_at is None
        clock.advance(SECOND)
        folded = written(await store.fold(HERE, [1])).head
        moment = clock.now()
        clock.advance(SECOND)
        later = written(await store.append(HERE, say("x"))).head
        assert (folded.folded_at, later.folded_at) == (moment, moment)
        assert folded.updated_at == moment

    async def test_a_later_fold_moves_folded_at(self, store: Store, clock: ManualClock) -> None:
        await prepared(store)
        await store.fold(HERE, [1])
        clock.advance(SECOND)
        assert written(await store.fold(HERE, [2])).head.folded_at == clock.now()

    async def test_fold_returns_the_head_that_load_returns(self, store: Store) -> None:
        await prepared(store, owner="ann", ttl=HOUR)
        done = written(await store.fold(HERE, [1, 2], say("s"), archive_as="old"))
        assert done.head == await head_of(store)

    async def test_fold_keeps_owner_and_metadata(self, store: Store) -> None:
        await prepared(store, owner="ann", metadata={"x": 1})
        done = written(await store.fold(HERE, [1]))
        assert done.head.owner == "ann"
        assert (await loaded(store)).decoded_metadata() == {"x": 1}

    async def test_a_summary_can_be_folded_again(self, store: Store) -> None:
        await prepared(store)
        await store.fold(HERE, [1, 2], say("first"), archive_as="a")
        await store.fold(HERE, [1, 3], say("second"), archive_as="b")
        assert texts(await store.load(HERE)) == ["second"]
        assert texts(await store.load(HERE, source="archive")) == ["one", "two", "first", "three"]

    @pytest.mark.parametrize(
        ("remove", "count"),
        [([], 0), ([], 1), ([1, 1], 0), ([1], 2)],
        ids=["nothing", "nothing by something", "doubles", "shorter than insert"],
    )
    async def test_fold_refuses_a_senseless_list(
        self, store: Store, remove: list[int], count: int
    ) -> None:
        await prepared(store)
        before = await state_of(store)
        with pytest.raises(InvalidInput):
            await store.fold(HERE, remove, say(*["x"] * count))
        assert await state_of(store) == before

    @pytest.mark.parametrize("remove", [[4], [0], [-1], [1, 4], [2**40]])
    async def test_fold_of_a_seq_that_is_not_live_changes_nothing(
        self, store: Store, remove: list[int]
    ) -> None:
        await prepared(store)
        before = await state_of(store)
        with pytest.raises(VersionConflict):
            await store.fold(HERE, remove, say("s"), archive_as="old")
        assert await state_of(store) == before

    async def test_fold_of_a_seq_that_was_folded_away_conflicts(self, store: Store) -> None:
        await prepared(store)
        await store.fold(HERE, [1, 2], say("s"), archive_as="old")
        with pytest.raises(VersionConflict):
            await store.fold(HERE, [2, 3], say("t"))

    async def test_fold_of_a_seq_that_was_replaced_conflicts(self, store: Store) -> None:
        await prepared(store)
        await store.replace(HERE, say("x"), archive_as="old")
        with pytest.raises(VersionConflict):
            await store.fold(HERE, [1], say("t"))

    async def test_fold_of_a_missing_conversation_conflicts_and_creates_nothing(
        self, store: Store
    ) -> None:
        with pytest.raises(VersionConflict):
            await store.fold(HERE, [1], say("s"))
        assert await store.load(HERE) is None

    async def test_fold_touches_no_other_conversation(self, store: Store) -> None:
        await store.append(THERE, say("a", "b"))
        await store.append(ELSEWHERE, say("c", "d"))
        await prepared(store)
        before = await state_of(store, THERE), await state_of(store, ELSEWHERE)
        await store.fold(HERE, [1, 2], say("s"), archive_as="old")
        assert (await state_of(store, THERE), await state_of(store, ELSEWHERE)) == before


class Archiving:
    """What is moved away is kept under its label; without one it is dropped."""

    async def test_replace_moves_the_former_messages_under_the_label(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.append(HERE, [said("a", tokens=3), said("b", tokens=4)])
        before = (await loaded(store)).records
        clock.advance(SECOND)
        done = written(await store.replace(HERE, say("x"), archive_as="first"))
        archive = await store.load(HERE, source="archive")
        assert archive is not None
        assert [r.batch for r in archive.records] == ["first", "first"]
        assert [(r.seq, r.tokens, r.stored_at, r.message) for r in archive.records] == [
            (r.seq, r.tokens, r.stored_at, r.message) for r in before
        ]
        assert done.head.archived_count == 2

    async def test_replace_without_a_label_drops_the_former_messages(self, store: Store) -> None:
        await prepared(store)
        done = written(await store.replace(HERE, say("x")))
        assert done.head.archived_count == 0
        assert texts(await store.load(HERE, source="archive")) == []

    async def test_fold_moves_the_removed_messages_under_the_label(self, store: Store) -> None:
        await prepared(store)
        done = written(await store.fold(HERE, [1, 3], say("s"), archive_as="flush"))
        archive = await store.load(HERE, source="archive")
        assert texts(archive) == ["one", "three"]
        assert seqs(archive) == [1, 3]
        assert done.head.archived_count == 2

    async def test_fold_without_a_label_drops_the_removed_messages(self, store: Store) -> None:
        await prepared(store)
        done = written(await store.fold(HERE, [1, 3], say("s")))
        assert done.head.archived_count == 0
        assert texts(await store.load(HERE, source="archive")) == []

    async def test_archived_messages_are_not_live(self, store: Store) -> None:
        await prepared(store)
        await store.fold(HERE, [1], archive_as="flush")
        assert texts(await store.load(HERE)) == ["two", "three"]

    async def test_the_archive_is_in_the_order_of_archiving_then_of_seq(self, store: Store) -> None:
        await store.append(HERE, say("1", "2", "3", "4", "5"))
        await store.fold(HERE, [5, 3], archive_as="zebra")
        await store.fold(HERE, [4, 1], archive_as="ant")
        await store.fold(HERE, [2], archive_as="mole")
        archive = await store.load(HERE, source="archive")
        assert texts(archive) == ["3", "5", "1", "4", "2"]

    async def test_one_label_can_be_used_again(self, store: Store) -> None:
        await prepared(store)
        await store.fold(HERE, [3], archive_as="same")
        await store.fold(HERE, [1, 2], archive_as="same")
        archive = await store.load(HERE, source="archive", batch="same")
        assert texts(archive) == ["three", "one", "two"]

    async def test_a_batch_reads_only_what_is_under_that_label(self, store: Store) -> None:
        await prepared(store)
        await store.fold(HERE, [1], archive_as="a")
        await store.fold(HERE, [2], archive_as="b")
        await store.replace(HERE, [], archive_as="a")
        assert texts(await store.load(HERE, source="archive", batch="a")) == ["one", "three"]
        assert texts(await store.load(HERE, source="archive", batch="b")) == ["two"]

    @pytest.mark.parametrize("label", ["%", "_", "A", "a ", "", "b"])
    async def test_a_label_is_compared_character_by_character(
        self, store: Store, label: str
    ) -> None:
        await prepared(store)
        await store.fold(HERE, [1], archive_as="a")
        assert texts(await store.load(HERE, source="archive", batch=label)) == []

    async def test_archived_count_is_exact_over_a_long_history(self, store: Store) -> None:
        await store.append(HERE, say(*"abcdef"))
        await store.fold(HERE, [1, 2], say("s"), archive_as="x")
        await store.fold(HERE, [3], archive_as=None)
        await store.replace(HERE, say("n"), archive_as="y")
        archive = await store.load(HERE, source="archive")
        assert texts(archive) == ["a", "b", "s", "d", "e", "f"]
        assert (await head_of(store)).archived_count == 6

    async def test_archiving_nothing_adds_nothing(self, store: Store) -> None:
        done = written(await store.replace(HERE, say("a"), archive_as="old"))
        assert done.head.archived_count == 0
        assert texts(await store.load(HERE, source="archive")) == []

    async def test_archived_messages_do_not_count_against_limits(self, store: Store) -> None:
        await prepared(store)
        head = written(await store.replace(HERE, say("x", tokens=5), archive_as="old")).head
        assert (head.message_count, head.token_count) == (1, 5)


class Annotating:
    """``annotate`` changes what is known of a conversation, never its messages."""

    async def test_annotate_merges_metadata(self, store: Store) -> None:
        await prepared(store, metadata={"kept": 1, "removed": 2, "changed": {"a": 1}})
        await store.annotate(HERE, {"removed": None, "changed": [2], "added": "x"})
        metadata = (await loaded(store)).decoded_metadata()
        assert metadata == {"kept": 1, "changed": [2], "added": "x"}

    async def test_annotate_sets_owner_and_deadline(self, store: Store, clock: ManualClock) -> None:
        await prepared(store)
        head = await store.annotate(HERE, owner="ann", ttl=HOUR)
        assert head is not None
        assert (head.owner, head.expires_at) == ("ann", clock.now() + HOUR)

    async def test_annotate_without_an_owner_leaves_it(self, store: Store) -> None:
        await prepared(store, owner="ann")
        head = await store.annotate(HERE, {"x": 1})
        assert head is not None
        assert head.owner == "ann"

    async def test_annotate_returns_the_head_that_load_returns(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        clock.advance(SECOND)
        head = await store.annotate(HERE, {"x": 1}, owner="ann", ttl=HOUR)
        assert head is not None
        assert head == await head_of(store)
        assert (head.version, head.updated_at) == (2, clock.now())

    async def test_annotate_leaves_the_messages(self, store: Store) -> None:
        before = await prepared(store)
        records = (await loaded(store)).records
        head = await store.annotate(HERE, {"x": 1}, owner="ann")
        assert head is not None
        assert (await loaded(store)).records == records
        assert (head.message_count, head.token_count, head.next_seq) == (
            before.message_count,
            before.token_count,
            before.next_seq,
        )

    async def test_annotate_of_a_missing_conversation_is_none_and_stores_nothing(
        self, store: Store
    ) -> None:
        assert await store.annotate(HERE, {"x": 1}, owner="ann", ttl=HOUR) is None
        assert await store.load(HERE) is None


class Deleting:
    """``delete`` leaves nothing."""

    async def test_delete_tells_whether_it_existed(self, store: Store) -> None:
        await prepared(store)
        assert await store.delete(HERE) is True
        assert await store.delete(HERE) is False

    async def test_a_deleted_conversation_is_missing(self, store: Store) -> None:
        await prepared(store, owner="ann")
        await store.delete(HERE)
        assert await store.load(HERE) is None
        assert await store.load(HERE, source="archive") is None
        assert await store.load_many([HERE]) == [None]
        assert (await store.find(HERE.namespace)).heads == ()
        assert (await store.find(HERE.namespace, owner="ann")).heads == ()
        assert (await store.find(HERE.namespace, order="created")).heads == ()
        assert (await store.measure(HERE.namespace)).conversations == 0

    async def test_a_conversation_that_is_created_again_is_a_new_one(
        self, store: Store, clock: ManualClock
    ) -> None:
        old = await prepared(store, owner="ann", metadata={"x": 1}, ttl=HOUR)
        await leased(store)
        await store.fold(HERE, [1], archive_as="old")
        await store.delete(HERE)
        clock.advance(SECOND)
        new = written(await store.append(HERE, say("again"))).head
        assert new.generation != old.generation
        assert (new.version, new.message_count, new.archived_count) == (1, 1, 0)
        assert (new.owner, new.expires_at, new.folded_at, new.fence) == (None, None, None, 0)
        assert new.created_at == new.updated_at == clock.now()
        found = await loaded(store)
        assert texts(found) == ["again"]
        assert found.metadata == {}
        assert texts(await store.load(HERE, source="archive")) == []

    async def test_generations_are_never_used_again(self, store: Store) -> None:
        generations = set()
        for _ in range(5):
            generations.add(written(await store.append(HERE, say("a"))).head.generation)
            await store.delete(HERE)
        assert len(generations) == 5

    async def test_delete_touches_no_other_conversation(self, store: Store) -> None:
        for other in (THERE, ELSEWHERE):
            await store.append(other, say("a", "b"), metadata={"x": 1}, owner="ann")
            await store.fold(other, [1], archive_as="old")
        await prepared(store, owner="ann")
        before = await state_of(store, THERE), await state_of(store, ELSEWHERE)
        await store.delete(HERE)
        assert (await state_of(store, THERE), await state_of(store, ELSEWHERE)) == before


class Expecting:
    """``expect_version`` makes a write safe against what happened since the read."""

    @expecting
    async def test_the_version_that_was_read_is_accepted(self, store: Store, write: Write) -> None:
        version = (await prepared(store)).version
        assert await write(store, expect_version=version)

    @expecting
    @pytest.mark.parametrize("version", [0, 1, 3], ids=["missing", "older", "newer"])
    async def test_another_version_conflicts_and_changes_nothing(
        self, store: Store, write: Write, version: int
    ) -> None:
        await prepared(store)
        await store.append(HERE, [])
        before = await state_of(store)
        with pytest.raises(VersionConflict):
            await write(store, expect_version=version)
        assert await state_of(store) == before

    async def test_replace_expecting_zero_asks_for_a_missing_conversation(
        self, store: Store
    ) -> None:
        done = written(await store.replace(HERE, say("a"), expect_version=0))
        assert done.head.version == 1

    async def test_replace_expecting_a_version_conflicts_when_it_is_missing(
        self, store: Store
    ) -> None:
        with pytest.raises(VersionConflict):
            await store.replace(HERE, say("a"), expect_version=1)
        assert await store.load(HERE) is None
