# ruff: noqa: D102 - the name of a test is its sentence
"""Appends, and what every write has in common."""

from datetime import timedelta
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import InvalidInput, InvalidMessage
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.records import Head, NewRecord
from recollect.testing.promises.building import (
    ELSEWHERE,
    HERE,
    HOUR,
    SECOND,
    THERE,
    head_of,
    loaded,
    said,
    say,
    seqs,
    state_of,
    texts,
    written,
)


class Appending:
    """``append`` adds whole and in order, and creates what is missing."""

    async def test_append_creates_a_missing_conversation(
        self, store: Store, clock: ManualClock
    ) -> None:
        done = written(await store.append(HERE, [said("a", tokens=3), said("b", tokens=4)]))
        now = clock.now()
        assert done.head == Head(
            conversation=HERE,
            owner=None,
            generation=done.head.generation,
            version=1,
            message_count=2,
            token_count=7,
            archived_count=0,
            next_seq=3,
            fence=0,
            created_at=now,
            updated_at=now,
            expires_at=None,
            folded_at=None,
        )

    async def test_append_returns_the_head_that_load_returns(self, store: Store) -> None:
        done = written(await store.append(HERE, say("a"), metadata={"x": 1}, owner="ann", ttl=HOUR))
        assert done.head == await head_of(store)

    async def test_append_tells_the_first_seq_and_takes_nothing_away(self, store: Store) -> None:
        await store.append(HERE, say("a", "b"))
        done = written(await store.append(HERE, say("c", "d")))
        assert (done.first_seq, done.removed, done.replayed) == (3, 0, False)

    async def test_append_gives_adjacent_seqs_from_one_on(self, store: Store) -> None:
        await store.append(HERE, say("a", "b"))
        await store.append(HERE, say("c"))
        assert seqs(await store.load(HERE)) == [1, 2, 3]

    async def test_append_stores_all_messages_after_the_existing_ones_in_order(
        self, store: Store
    ) -> None:
        await store.append(HERE, say("a", "b"))
        await store.append(HERE, say("c", "d", "e"))
        assert texts(await store.load(HERE)) == ["a", "b", "c", "d", "e"]

    async def test_a_record_is_the_message_with_its_tokens_and_the_time_it_was_taken(
        self, store: Store, clock: ManualClock
    ) -> None:
        new = said("a", tokens=5)
        clock.advance(SECOND)
        await store.append(HERE, [new])
        record = (await loaded(store)).records[0]
        assert (record.seq, record.tokens, record.stored_at, record.message, record.batch) == (
            1,
            5,
            clock.now(),
            new.message,
            None,
        )

    async def test_next_seq_is_the_seq_the_next_message_gets(self, store: Store) -> None:
        await store.append(HERE, say("a", "b"))
        await store.fold(HERE, [2])
        expected = (await head_of(store)).next_seq
        done = written(await store.append(HERE, say("c")))
        assert done.first_seq == expected

    async def test_each_write_adds_one_to_the_version(self, store: Store) -> None:
        await store.append(HERE, say("a", "b"))
        await store.append(HERE, say("c", "d"))
        await store.append(HERE, [])
        await store.annotate(HERE, {"x": 1})
        await store.fold(HERE, [1, 2], say("s"))
        await store.replace(HERE, [])
        assert (await head_of(store)).version == 6

    async def test_each_write_sets_updated_at_and_keeps_created_at_and_generation(
        self, store: Store, clock: ManualClock
    ) -> None:
        first = written(await store.append(HERE, say("a"))).head
        clock.advance(SECOND)
        second = written(await store.append(HERE, say("b"))).head
        assert second.created_at == first.created_at
        assert second.generation == first.generation
        assert second.updated_at == clock.now()

    async def test_metadata_is_merged_by_top_level_name(self, store: Store) -> None:
        await store.append(HERE, [], metadata={"kept": 1, "changed": {"a": 1, "b": 2}})
        await store.append(HERE, [], metadata={"changed": {"c": 3}, "added": [1]})
        metadata = (await loaded(store)).decoded_metadata()
        assert metadata == {"kept": 1, "changed": {"c": 3}, "added": [1]}

    async def test_metadata_none_removes_a_name(self, store: Store) -> None:
        await store.append(HERE, [], metadata={"kept": 1, "removed": 2})
        await store.append(HERE, [], metadata={"removed": None, "never there": None})
        assert (await loaded(store)).decoded_metadata() == {"kept": 1}

    async def test_metadata_none_in_the_first_write_stores_no_name(self, store: Store) -> None:
        await store.append(HERE, [], metadata={"x": None, "y": {"inner": None}})
        assert (await loaded(store)).decoded_metadata() == {"y": {"inner": None}}

    async def test_without_metadata_the_stored_ones_stay(self, store: Store) -> None:
        await store.append(HERE, [], metadata={"kept": 1})
        await store.append(HERE, say("a"))
        await store.append(HERE, say("b"), metadata={})
        assert (await loaded(store)).decoded_metadata() == {"kept": 1}

    async def test_owner_is_set_and_none_leaves_it(self, store: Store) -> None:
        await store.append(HERE, say("a"), owner="ann")
        await store.append(HERE, say("b"))
        assert (await head_of(store)).owner == "ann"

    async def test_owner_can_change(self, store: Store) -> None:
        await store.append(HERE, say("a"), owner="ann")
        done = written(await store.append(HERE, say("b"), owner="bob"))
        assert done.head.owner == "bob"

    async def test_appending_nothing_creates_an_empty_conversation(self, store: Store) -> None:
        done = written(await store.append(HERE, []))
        assert (done.first_seq, done.head.version, done.head.message_count) == (None, 1, 0)
        assert texts(await store.load(HERE)) == []

    async def test_appending_nothing_changes_metadata_owner_and_deadline_only(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.append(HERE, say("a", "b", tokens=5))
        done = written(await store.append(HERE, [], metadata={"x": 1}, owner="ann", ttl=HOUR))
        head = done.head
        assert (head.owner, head.expires_at, done.first_seq) == ("ann", clock.now() + HOUR, None)
        assert (head.message_count, head.token_count, head.next_seq) == (2, 10, 3)
        assert texts(await store.load(HERE)) == ["a", "b"]

    async def test_one_message_can_be_stored_twice(self, store: Store) -> None:
        new = said("a")
        await store.append(HERE, [new, new])
        await store.append(HERE, [new])
        assert [r.message for r in (await loaded(store)).records] == [new.message] * 3

    async def test_append_touches_no_other_conversation(self, store: Store) -> None:
        await store.append(THERE, say("a"), metadata={"x": 1})
        await store.append(ELSEWHERE, say("b"), metadata={"y": 1})
        before = await state_of(store, THERE), await state_of(store, ELSEWHERE)
        await store.append(HERE, say("c"), metadata={"x": 2}, owner="ann", ttl=HOUR)
        assert (await state_of(store, THERE), await state_of(store, ELSEWHERE)) == before

    @pytest.mark.parametrize("count", [1, 10, 1000])
    async def test_counts_are_exact_for_any_number(self, store: Store, count: int) -> None:
        await store.append(HERE, [said(str(n), tokens=n) for n in range(count)])
        head = await head_of(store)
        assert (head.message_count, head.token_count) == (count, sum(range(count)))


class Refusing:
    """A call that is refused stores nothing."""

    async def test_a_message_beyond_the_limit_is_refused_whole(self, store: Store) -> None:
        large = said("x" * store.call_limits.message_bytes)
        with pytest.raises(InvalidMessage, match=r"message\[1\]"):
            await store.append(HERE, [said("small"), large])
        assert await store.load(HERE) is None

    async def test_a_message_just_within_the_limit_is_stored(self, store: Store) -> None:
        text = "x" * (store.call_limits.message_bytes - 200)
        await store.append(HERE, say(text))
        assert texts(await store.load(HERE)) == [text]

    async def test_bytes_are_counted_not_characters(self, store: Store) -> None:
        with pytest.raises(InvalidMessage):
            await store.append(HERE, say("\u20ac" * (store.call_limits.message_bytes // 2)))

    async def test_too_many_bytes_in_one_call_are_refused(self, store: Store) -> None:
        limits = store.call_limits
        text = "x" * (limits.message_bytes - 200)
        count = limits.call_bytes // limits.message_bytes + 1
        with pytest.raises(InvalidMessage):
            await store.append(HERE, say(*[text] * count))
        assert await store.load(HERE) is None

    async def test_too_many_messages_in_one_call_are_refused(self, store: Store) -> None:
        with pytest.raises(InvalidMessage):
            await store.append(HERE, say(*["x"] * (store.call_limits.call_messages + 1)))
        assert await store.load(HERE) is None

    async def test_a_refused_replace_leaves_what_was_there(self, store: Store) -> None:
        await store.append(HERE, say("a"), metadata={"x": 1})
        before = await state_of(store)
        with pytest.raises(InvalidMessage):
            await store.replace(
                HERE, say("b", "x" * store.call_limits.message_bytes), archive_as="old"
            )
        assert await state_of(store) == before

    async def test_a_refused_fold_leaves_what_was_there(self, store: Store) -> None:
        await store.append(HERE, say("a", "b"))
        before = await state_of(store)
        with pytest.raises(InvalidMessage):
            await store.fold(HERE, [1], say("x" * store.call_limits.message_bytes))
        assert await state_of(store) == before

    @pytest.mark.parametrize(
        "value",
        [{1, 2}, float("nan"), float("inf"), object(), {1: "x"}, 2**64, "\ud800", b"bytes"],
        ids=["set", "NaN", "infinity", "object", "number as key", "beyond 64 bits", "surrogate",
             "bytes"],
    )  # fmt: skip
    async def test_metadata_json_cannot_hold_are_refused(self, store: Store, value: object) -> None:
        await store.append(HERE, say("a"))
        before = await state_of(store)
        with pytest.raises(InvalidInput):
            await store.append(HERE, say("b"), metadata={"fine": 1, "bad": value})
        with pytest.raises(InvalidInput):
            await store.annotate(HERE, {"fine": 1, "bad": value})
        assert await state_of(store) == before

    @pytest.mark.parametrize(
        "ttl",
        [timedelta(0), timedelta(seconds=-1), timedelta(days=365 * 101), timedelta.max],
        ids=["zero", "negative", "101 years", "endless"],
    )
    async def test_a_ttl_that_is_none_is_refused(self, store: Store, ttl: timedelta) -> None:
        with pytest.raises(InvalidInput):
            await store.append(HERE, say("a"), ttl=ttl)
        with pytest.raises(InvalidInput):
            await store.replace(HERE, say("a"), ttl=ttl)
        assert await store.load(HERE) is None

    @pytest.mark.parametrize(
        "label",
        ["", "x" * 1025, "a\ud800"],
        ids=["empty", "1025 characters", "a lone surrogate"],
    )
    async def test_an_archive_label_no_store_can_keep_is_refused(
        self, store: Store, label: str
    ) -> None:
        await store.append(HERE, say("a"))
        before = await state_of(store)
        with pytest.raises(InvalidInput):
            await store.replace(HERE, say("b"), archive_as=label)
        with pytest.raises(InvalidInput):
            await store.fold(HERE, [1], archive_as=label)
        assert await state_of(store) == before


class Aliasing:
    """What is stored is nobody's object but the store's."""

    async def test_changing_the_metadata_afterwards_changes_nothing(self, store: Store) -> None:
        metadata: dict[str, Any] = {"list": [1], "map": {"a": 1}}
        await store.append(HERE, [], metadata=metadata)
        metadata["list"].append(2)
        metadata["map"]["b"] = 2
        metadata["new"] = [1]
        assert (await loaded(store)).decoded_metadata() == {"list": [1], "map": {"a": 1}}

    async def test_changing_a_messages_metadata_afterwards_changes_nothing(
        self, store: Store
    ) -> None:
        tags = ["x"]
        await store.append(HERE, [NewRecord(Message("user", "a", metadata={"tags": tags}))])
        tags.append("y")
        assert (await loaded(store)).messages[0].metadata == {"tags": ["x"]}

    async def test_changing_the_list_of_records_afterwards_changes_nothing(
        self, store: Store
    ) -> None:
        new = say("a")
        await store.append(HERE, new)
        new.append(said("b"))
        assert texts(await store.load(HERE)) == ["a"]

    async def test_changing_what_load_returned_changes_nothing(self, store: Store) -> None:
        await store.append(HERE, say("a"), metadata={"x": 1})
        first = await loaded(store)
        if isinstance(first.metadata, dict):
            first.metadata["x"] = "2"
        assert (await loaded(store)).decoded_metadata() == {"x": 1}

    async def test_a_later_write_does_not_change_what_load_returned(self, store: Store) -> None:
        await store.append(HERE, say("a"), metadata={"x": 1})
        first = await loaded(store)
        await store.append(HERE, say("b"), metadata={"x": 2})
        assert texts(first) == ["a"]
        assert first.decoded_metadata() == {"x": 1}
        assert first.head.message_count == 1
