# ruff: noqa: D102 - the name of a test is its sentence
"""Reads: load, load_many, measure; and that none of them writes."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import InvalidConversationId, InvalidInput
from recollect.messages import encode
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, NewRecord, Totals
from recollect.testing.promises.building import (
    ELSEWHERE,
    HERE,
    HOUR,
    NAMESPACE,
    SECOND,
    THERE,
    head_of,
    prepared,
    said,
    say,
    seqs,
    state_of,
    texts,
)

SLICES: dict[str, tuple[dict[str, Any], str]] = {
    "everything": ({}, "abcde"),
    "the last": ({"last": 2}, "de"),
    "the last of more than there are": ({"last": 9}, "abcde"),
    "the last none": ({"last": 0}, ""),
    "an offset": ({"offset": 3}, "de"),
    "an offset beyond the end": ({"offset": 9}, ""),
    "a limit": ({"limit": 2}, "ab"),
    "a limit of none": ({"limit": 0}, ""),
    "a limit beyond the end": ({"limit": 9}, "abcde"),
    "offset and limit": ({"offset": 1, "limit": 2}, "bc"),
    "offset and limit over the end": ({"offset": 4, "limit": 5}, "e"),
    "after the second": ({"after": 2}, "cde"),
    "after none": ({"after": 0}, "abcde"),
    "after the last": ({"after": 5}, ""),
    "after beyond the end": ({"after": 2**40}, ""),
    "after with a limit": ({"after": 1, "limit": 2}, "bc"),
}

READS: dict[str, Callable[[Store], Coroutine[Any, Any, object]]] = {
    "load": lambda store: store.load(HERE),
    "load last": lambda store: store.load(HERE, last=1),
    "load archive": lambda store: store.load(HERE, source="archive"),
    "load_many": lambda store: store.load_many([HERE, THERE, HERE]),
    "find": lambda store: store.find(NAMESPACE),
    "find created": lambda store: store.find(NAMESPACE, order="created"),
    "measure": lambda store: store.measure(NAMESPACE),
    "recall": lambda store: store.recall(HERE, "k"),
    "ping": lambda store: store.ping(),
}


class Loading:
    """``load`` returns a head and a slice, both of the same moment."""

    async def test_a_missing_conversation_is_none(self, store: Store) -> None:
        assert await store.load(HERE) is None
        assert await store.load(HERE, source="archive") is None

    @pytest.mark.parametrize(("part", "expected"), SLICES.values(), ids=SLICES)
    async def test_load_takes(self, store: Store, part: dict[str, Any], expected: str) -> None:
        await store.append(HERE, say(*"abcde"))
        assert texts(await store.load(HERE, **part)) == list(expected)

    @pytest.mark.parametrize(("part", "expected"), SLICES.values(), ids=SLICES)
    async def test_load_takes_from_the_archive(
        self, store: Store, part: dict[str, Any], expected: str
    ) -> None:
        await store.append(HERE, say(*"abcde"))
        await store.fold(HERE, [1, 2], archive_as="first")
        await store.replace(HERE, say("x", "y"), archive_as="second")
        assert texts(await store.load(HERE, source="archive", **part)) == list(expected)

    async def test_load_takes_from_one_batch(self, store: Store) -> None:
        await store.append(HERE, say(*"abcdef"))
        await store.fold(HERE, [1, 3, 5], archive_as="odd")
        await store.fold(HERE, [2, 4, 6], archive_as="even")
        even = {"source": "archive", "batch": "even"}
        assert texts(await store.load(HERE, **even, last=2)) == ["d", "f"]  # type: ignore[arg-type]
        assert texts(await store.load(HERE, **even, offset=1, limit=1)) == ["d"]  # type: ignore[arg-type]
        assert texts(await store.load(HERE, **even, after=2)) == ["d", "f"]  # type: ignore[arg-type]

    async def test_after_skips_the_gaps_that_folds_leave(self, store: Store) -> None:
        await store.append(HERE, say(*"abcdef"))
        await store.fold(HERE, [2, 3, 4], say("s"))
        assert texts(await store.load(HERE, after=2)) == ["e", "f"]
        assert texts(await store.load(HERE, after=3)) == ["e", "f"]
        assert texts(await store.load(HERE, after=1, limit=2)) == ["s", "e"]

    async def test_offset_counts_messages_not_seqs(self, store: Store) -> None:
        await store.append(HERE, say(*"abcdef"))
        await store.fold(HERE, [1, 2, 3])
        assert texts(await store.load(HERE, offset=1, limit=1)) == ["e"]
        assert texts(await store.load(HERE, last=2)) == ["e", "f"]

    async def test_after_orders_the_archive_as_archived(self, store: Store) -> None:
        await store.append(HERE, say(*"abcd"))
        await store.fold(HERE, [4], archive_as="x")
        await store.fold(HERE, [1, 3], archive_as="y")
        archive = await store.load(HERE, source="archive", after=1)
        assert texts(archive) == ["d", "c"]

    async def test_a_slice_comes_with_the_whole_head_and_metadata(self, store: Store) -> None:
        head = await prepared(store, metadata={"x": 1}, owner="ann")
        parts: list[dict[str, Any]] = [{"last": 1}, {"limit": 0}, {"after": 9}]
        for part in parts:
            found = await store.load(HERE, **part)
            assert found is not None
            assert (found.head, found.decoded_metadata()) == (head, {"x": 1})

    async def test_the_archive_comes_with_the_same_head_and_metadata(self, store: Store) -> None:
        await prepared(store, metadata={"x": 1})
        await store.fold(HERE, [1], archive_as="old")
        live, archive = await state_of(store)
        assert live is not None
        assert archive is not None
        assert (archive.head, archive.metadata) == (live.head, live.metadata)

    async def test_nothing_is_damaged_in_a_sound_store(self, store: Store) -> None:
        await prepared(store)
        await store.fold(HERE, [1], archive_as="old")
        live, archive = await state_of(store)
        assert live is not None
        assert archive is not None
        assert live.damaged == archive.damaged == ()

    @pytest.mark.parametrize(
        "part",
        [
            {"last": 1, "offset": 1},
            {"last": 1, "after": 1},
            {"after": 1, "offset": 1},
            {"last": 1, "limit": 1},
        ],
        ids=["last and offset", "last and after", "after and offset", "last and limit"],
    )
    async def test_two_ways_of_choosing_at_once_are_refused(
        self, store: Store, part: dict[str, int]
    ) -> None:
        await prepared(store)
        with pytest.raises(InvalidInput):
            await store.load(HERE, **part)  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["last", "offset", "limit", "after"])
    async def test_a_negative_number_is_refused(self, store: Store, name: str) -> None:
        await prepared(store)
        with pytest.raises(InvalidInput, match=name):
            await store.load(HERE, **{name: -1})  # type: ignore[arg-type]


class LoadingMany:
    """``load_many`` returns several, in the order asked."""

    async def test_conversations_come_in_the_order_asked_and_none_for_missing(
        self, store: Store
    ) -> None:
        await store.append(HERE, say("here"))
        await store.append(ELSEWHERE, say("elsewhere"))
        found = await store.load_many([ELSEWHERE, THERE, HERE])
        assert [c and c.head.conversation for c in found] == [ELSEWHERE, None, HERE]
        assert texts(found[0]) == ["elsewhere"]
        assert texts(found[2]) == ["here"]

    async def test_one_may_be_asked_for_twice(self, store: Store) -> None:
        await prepared(store)
        found = await store.load_many([HERE, HERE])
        assert [texts(c) for c in found] == [["one", "two", "three"]] * 2

    async def test_asking_for_none_gives_none(self, store: Store) -> None:
        assert await store.load_many([]) == []

    async def test_each_is_what_load_returns(self, store: Store) -> None:
        await prepared(store, metadata={"x": 1}, owner="ann", ttl=HOUR)
        await store.fold(HERE, [1], say("s"), archive_as="old")
        assert await store.load_many([HERE]) == [await store.load(HERE)]

    async def test_last_takes_the_newest_of_each(self, store: Store) -> None:
        await store.append(HERE, say("a", "b", "c"))
        await store.append(THERE, say("d"))
        found = await store.load_many([HERE, THERE], last=2)
        assert [texts(c) for c in found] == [["b", "c"], ["d"]]
        assert found == [await store.load(c, last=2) for c in (HERE, THERE)]

    async def test_last_none_gives_heads(self, store: Store) -> None:
        head = await prepared(store)
        found = (await store.load_many([HERE], last=0))[0]
        assert found is not None
        assert (found.head, found.records) == (head, ())

    async def test_many_can_be_asked_for_at_once(self, store: Store) -> None:
        ids = [ConversationId(NAMESPACE, f"c-{n}") for n in range(300)]
        for one in ids[::3]:
            await store.append(one, say(one.id))
        found = await store.load_many(ids)
        assert [c is not None for c in found] == [n % 3 == 0 for n in range(300)]
        assert all(texts(c) == [one.id] for one, c in zip(ids, found, strict=True) if c)

    async def test_a_negative_last_is_refused(self, store: Store) -> None:
        with pytest.raises(InvalidInput):
            await store.load_many([HERE], last=-1)

    async def test_one_bad_address_refuses_the_call(self, store: Store) -> None:
        with pytest.raises(InvalidConversationId):
            await store.load_many([HERE, ConversationId(NAMESPACE, "")])


class Measuring:
    """``measure`` sums up what a namespace, or one owner in it, has."""

    async def test_an_empty_namespace_has_nothing(self, store: Store) -> None:
        assert await store.measure(NAMESPACE) == Totals()

    async def test_sums_are_exact(self, store: Store, clock: ManualClock) -> None:
        first = clock.now()
        here = [said("one", tokens=3), said("zwei\u20ac", tokens=4)]
        await store.append(HERE, here)
        clock.advance(SECOND)
        there = [NewRecord(said("x" * 1000).message, 5)]
        await store.append(THERE, there)
        second = clock.now()
        clock.advance(SECOND)
        await store.append(HERE, [])
        assert await store.measure(NAMESPACE) == Totals(
            conversations=2,
            messages=3,
            tokens=12,
            archived=0,
            stored_bytes=sum(len(encode(new.message)) for new in [*here, *there]),
            oldest=first,
            newest=second,
        )

    async def test_archived_messages_count_apart_and_their_bytes_count(self, store: Store) -> None:
        first, second = said("one", tokens=3), said("two", tokens=4)
        await store.append(HERE, [first])
        await store.replace(HERE, [second], archive_as="old")
        found = await store.measure(NAMESPACE)
        assert (found.messages, found.tokens, found.archived) == (1, 4, 1)
        assert found.stored_bytes == len(encode(first.message)) + len(encode(second.message))

    async def test_dropped_messages_do_not_count(self, store: Store) -> None:
        last = said("left", tokens=2)
        await store.append(HERE, say("a", "b", "c"))
        await store.replace(HERE, [said("d"), last])
        await store.fold(HERE, [4])
        found = await store.measure(NAMESPACE)
        assert (found.messages, found.tokens, found.archived) == (1, 2, 0)
        assert found.stored_bytes == len(encode(last.message))

    async def test_one_owners_part_can_be_measured(self, store: Store) -> None:
        await store.append(HERE, say("a", "b"), owner="ann")
        await store.append(THERE, say("c"), owner="bob")
        assert (await store.measure(NAMESPACE, owner="ann")).messages == 2
        assert (await store.measure(NAMESPACE, owner="bob")).messages == 1
        assert await store.measure(NAMESPACE, owner="nobody") == Totals()

    async def test_other_namespaces_do_not_count(self, store: Store) -> None:
        await store.append(ELSEWHERE, say("a"))
        assert await store.measure(NAMESPACE) == Totals()

    async def test_deleted_conversations_do_not_count(self, store: Store) -> None:
        await prepared(store)
        await store.delete(HERE)
        assert await store.measure(NAMESPACE) == Totals()


class ReadsNeverWrite:
    """A read changes nothing at all: no version, no time, no deadline."""

    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    async def test_a_read_leaves_everything_as_it_was(
        self,
        store: Store,
        clock: ManualClock,
        read: Callable[[Store], Coroutine[Any, Any, object]],
    ) -> None:
        await prepared(store, ttl=HOUR, metadata={"x": 1}, owner="ann")
        await store.fold(HERE, [1], archive_as="old")
        before = await state_of(store)
        clock.advance(timedelta(minutes=59))
        await read(store)
        assert await state_of(store) == before

    @pytest.mark.parametrize("read", READS.values(), ids=READS)
    async def test_a_read_does_not_prolong_a_conversation(
        self,
        store: Store,
        clock: ManualClock,
        read: Callable[[Store], Coroutine[Any, Any, object]],
    ) -> None:
        await prepared(store, ttl=HOUR)
        clock.advance(HOUR - SECOND)
        await read(store)
        clock.advance(SECOND)
        assert await store.load(HERE) is None

    async def test_reading_a_missing_conversation_does_not_create_it(self, store: Store) -> None:
        for read in READS.values():
            await read(store)
        assert await store.load(HERE) is None
        assert (await store.find(NAMESPACE)).heads == ()
        done = await store.replace(HERE, say("a"), expect_version=0)
        assert seqs(await store.load(HERE)) == [1]
        assert done.head == await head_of(store)
