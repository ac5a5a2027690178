# ruff: noqa: D102 - the name of a test is its sentence
"""Idempotency keys: a write that is sent twice happens once."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import (
    InvalidConversationId,
    InvalidMessage,
    KeyReused,
    LeaseLost,
    VersionConflict,
)
from recollect.messages import Attachment, ContentPart, Message, ToolCall, ToolCallFunction
from recollect.stores.base import KEY_RETENTION, Store
from recollect.stores.records import Full, Head, Limits, NewRecord, Written
from recollect.testing.promises.building import (
    BAD_NAMES,
    CHANGING,
    DAY,
    ELSEWHERE,
    HERE,
    HOUR,
    ODD_NAMES,
    SECOND,
    STORING,
    THERE,
    TICK,
    WRITES,
    Outcome,
    Write,
    annotate_it,
    append_one,
    full,
    head_of,
    leased,
    loaded,
    prepared,
    said,
    say,
    state_of,
    texts,
    written,
)

every_write = pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
changing = pytest.mark.parametrize("write", CHANGING.values(), ids=CHANGING)
storing = pytest.mark.parametrize("write", STORING.values(), ids=STORING)

CALL = ToolCall("call-1", ToolCallFunction("weather", "{}"))
OTHER_BODIES: dict[str, Message] = {
    "text": Message("user", "hello!"),
    "text by a blank": Message("user", "hello "),
    "role": Message("system", "hello"),
    "parts": Message("user", (ContentPart("text", "hello"),)),
    "attachments": Message("user", "hello", (Attachment("file", url="http://x/y"),)),
    "tool call id": Message("user", "hello", tool_call_id="call-1"),
    "tool calls": Message("user", "hello", tool_calls=(CALL,)),
    "metadata": Message("user", "hello", metadata={"lang": "en"}),
}
SAME_BODIES: dict[str, Callable[[], NewRecord]] = {
    "an id of its own": lambda: NewRecord(Message("user", "hello", message_id="m-2"), 1),
    "another timestamp": lambda: NewRecord(
        Message("user", "hello", timestamp=datetime(2000, 1, 1, tzinfo=UTC)), 1
    ),
    "other tokens": lambda: said("hello", tokens=99),
    "empty metadata": lambda: NewRecord(Message("user", "hello", metadata={}), 1),
}


def first_result(outcome: Outcome) -> Outcome:
    """Return what the second call must return, given what the first returned."""
    if isinstance(outcome, Written):
        return Written(outcome.head, outcome.first_seq, outcome.removed, replayed=True)
    return outcome


class Replays:
    """The same key and body return the first result again and change nothing."""

    @every_write
    async def test_a_repeated_write_returns_the_first_result(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store)
        first = await write(store, key="k")
        clock.advance(SECOND)
        assert await write(store, key="k") == first_result(first)

    @every_write
    async def test_a_repeated_write_changes_nothing(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store)
        await write(store, key="k")
        before = await state_of(store)
        clock.advance(SECOND)
        await write(store, key="k")
        assert await state_of(store) == before

    @changing
    async def test_the_first_result_is_returned_after_later_writes_too(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store)
        first = await write(store, key="k")
        clock.advance(SECOND)
        await store.append(HERE, say("later"), metadata={"later": True}, owner="ann")
        before = await state_of(store)
        assert await write(store, key="k") == first_result(first)
        assert await state_of(store) == before

    async def test_a_first_write_can_be_repeated(self, store: Store) -> None:
        first = await store.append(HERE, say("a"), key="k")
        assert await store.append(HERE, say("a"), key="k") == first_result(first)
        assert texts(await store.load(HERE)) == ["a"]

    async def test_a_write_of_no_messages_can_be_repeated(self, store: Store) -> None:
        first = await store.append(HERE, [], metadata={"x": 1}, key="k")
        await store.append(HERE, [], metadata={"x": 2})
        assert await store.append(HERE, [], metadata={"x": 1}, key="k") == first_result(first)
        assert (await loaded(store)).decoded_metadata() == {"x": 2}

    @pytest.mark.parametrize("again", SAME_BODIES.values(), ids=SAME_BODIES)
    async def test_ids_timestamps_and_tokens_do_not_count(
        self, store: Store, again: Callable[[], NewRecord]
    ) -> None:
        await store.append(HERE, say("hello"), key="k")
        assert written(await store.append(HERE, [again()], key="k")).replayed is True
        assert (await head_of(store)).message_count == 1

    async def test_order_of_names_in_metadata_does_not_count(self, store: Store) -> None:
        first, second = {"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1}
        await store.append(HERE, [_with(first)], metadata=first, key="k")
        again = await store.append(HERE, [_with(second)], metadata=second, key="k")
        assert written(again).replayed is True

    async def test_what_is_not_of_the_body_does_not_count(self, store: Store) -> None:
        await prepared(store)
        await store.replace(HERE, say("x"), key="k", owner="ann", ttl=HOUR, archive_as="a")
        again = await store.replace(
            HERE, say("x"), key="k", owner="bob", ttl=DAY, archive_as="b", expect_version=77
        )
        assert written(again).replayed is True
        assert (await head_of(store)).owner == "ann"

    async def test_the_choice_of_messages_to_fold_does_not_count(self, store: Store) -> None:
        await prepared(store)
        first = await store.fold(HERE, [1], say("s"), key="k")
        assert await store.fold(HERE, [2, 3], say("s"), key="k") == first_result(first)
        assert texts(await store.load(HERE)) == ["s", "two", "three"]

    @storing
    async def test_a_known_key_goes_before_a_lost_lease(self, store: Store, write: Write) -> None:
        await prepared(store)
        lease = await leased(store)
        first = await write(store, key="k", lease=lease)
        await store.release(lease)
        assert await write(store, key="k", lease=lease) == first_result(first)

    async def test_a_known_key_goes_before_the_version(self, store: Store) -> None:
        version = (await prepared(store)).version
        first = await annotate_it(store, key="k", expect_version=version)
        assert await annotate_it(store, key="k", expect_version=version) == first

    @storing
    async def test_a_known_key_goes_before_the_limits(self, store: Store, write: Write) -> None:
        await prepared(store)
        first = await write(store, key="k")
        again = await write(store, key="k", limits=Limits(max_messages=0))
        assert again == first_result(first)

    @pytest.mark.parametrize("twins", [2, 10])
    async def test_twins_at_the_same_time_are_stored_once(self, store: Store, twins: int) -> None:
        results = await asyncio.gather(
            *(store.append(HERE, say("a", "b"), key="k") for _ in range(twins))
        )
        assert sorted(written(r).replayed for r in results) == [False] + [True] * (twins - 1)
        assert len({written(r).first_seq for r in results}) == 1
        assert texts(await store.load(HERE)) == ["a", "b"]

    async def test_twins_with_different_bodies_store_one_and_refuse_the_other(
        self, store: Store
    ) -> None:
        results = await asyncio.gather(
            store.append(HERE, say("a"), key="k"),
            store.append(HERE, say("b"), key="k"),
            return_exceptions=True,
        )
        assert sorted(type(r).__name__ for r in results) == ["KeyReused", "Written"]
        assert (await head_of(store)).message_count == 1


class OtherBodies:
    """The same key with another body is refused, and changes nothing."""

    @pytest.mark.parametrize("other", OTHER_BODIES.values(), ids=OTHER_BODIES)
    async def test_another_message_is_refused(self, store: Store, other: Message) -> None:
        await store.append(HERE, say("hello"), key="k")
        before = await state_of(store)
        with pytest.raises(KeyReused):
            await store.append(HERE, [NewRecord(other, 1)], key="k")
        assert await state_of(store) == before

    @pytest.mark.parametrize(
        "others",
        [["ab"], ["b", "a"], ["a"], ["a", "b", "c"], []],
        ids=["joined", "turned", "fewer", "more", "none"],
    )
    async def test_other_messages_are_refused(self, store: Store, others: list[str]) -> None:
        await store.append(HERE, say("a", "b"), key="k")
        with pytest.raises(KeyReused):
            await store.append(HERE, say(*others), key="k")
        assert texts(await store.load(HERE)) == ["a", "b"]

    @pytest.mark.parametrize(
        "metadata",
        [None, {}, {"x": 2}, {"x": None}, {"x": 1, "y": 1}, {"x": "1"}],
        ids=["none", "empty", "another value", "removed", "one more", "as text"],
    )
    async def test_other_conversation_metadata_are_refused(
        self, store: Store, metadata: dict[str, Any] | None
    ) -> None:
        await store.append(HERE, say("a"), metadata={"x": 1}, key="k")
        with pytest.raises(KeyReused):
            await store.append(HERE, say("a"), metadata=metadata, key="k")
        assert (await loaded(store)).decoded_metadata() == {"x": 1}

    @changing
    async def test_another_kind_of_write_is_refused(self, store: Store, write: Write) -> None:
        await prepared(store)
        await write(store, key="k")
        before = await state_of(store)
        for other in WRITES.values():
            if other is not write:
                with pytest.raises(KeyReused):
                    await other(store, key="k")
        assert await state_of(store) == before

    async def test_the_same_messages_by_another_kind_of_write_are_refused(
        self, store: Store
    ) -> None:
        await store.append(HERE, say("a"), key="k")
        with pytest.raises(KeyReused):
            await store.replace(HERE, say("a"), key="k")

    async def test_the_error_names_the_key(self, store: Store) -> None:
        await store.append(HERE, say("secret"), key="order-66")
        with pytest.raises(KeyReused, match="order-66") as caught:
            await store.append(HERE, say("hidden"), key="order-66")
        assert "secret" not in str(caught.value)
        assert "hidden" not in str(caught.value)


class KeyScope:
    """A key belongs to one conversation."""

    @pytest.mark.parametrize("other", [THERE, ELSEWHERE], ids=["other id", "other namespace"])
    async def test_another_conversation_has_keys_of_its_own(self, store: Store, other: Any) -> None:
        await store.append(HERE, say("a"), key="k")
        assert written(await store.append(other, say("a"), key="k")).replayed is False
        assert written(await store.append(THERE, say("a"), key="k2")).replayed is False
        assert texts(await store.load(HERE)) == ["a"]
        assert texts(await store.load(other))[:1] == ["a"]

    async def test_a_keyed_delete_concerns_one_conversation(self, store: Store) -> None:
        for one in (HERE, THERE, ELSEWHERE):
            await store.append(one, say("a"))
        assert await store.delete(HERE, key="k") is True
        assert await store.delete(ELSEWHERE, key="k") is True
        assert await store.load(THERE) is not None

    async def test_parts_of_an_address_do_not_run_together(self, store: Store) -> None:
        first = HERE._replace(id="a:b")
        second = HERE._replace(id="a")
        await store.append(first, say("x"), key="k")
        assert written(await store.append(second, say("x"), key="b:k")).replayed is False
        third, fourth = HERE._replace(id="a|b"), HERE._replace(id="a/b")
        assert written(await store.append(third, say("x"), key="k")).replayed is False
        assert written(await store.append(fourth, say("x"), key="k")).replayed is False

    @pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
    async def test_a_key_may_be_any_name(self, store: Store, name: str) -> None:
        await store.append(HERE, say("a"), key=name)
        assert written(await store.append(HERE, say("a"), key=name)).replayed is True

    @pytest.mark.parametrize("other", ["K", "k ", " k", "k%", "\u212a", "k\u0301", "_", "*"])
    async def test_keys_are_compared_character_by_character(self, store: Store, other: str) -> None:
        await store.append(HERE, say("a"), key="k")
        assert written(await store.append(HERE, say("a"), key=other)).replayed is False

    @pytest.mark.parametrize("name", [n for n in BAD_NAMES if n != "None"])
    async def test_a_bad_key_is_refused_and_nothing_is_stored(
        self, store: Store, name: str
    ) -> None:
        with pytest.raises(InvalidConversationId):
            await store.append(HERE, say("a"), key=BAD_NAMES[name])
        with pytest.raises(InvalidConversationId):
            await store.delete(HERE, key=BAD_NAMES[name])
        assert await store.load(HERE) is None


class KeyLife:
    """How long a key is known."""

    @changing
    async def test_a_key_survives_fold_replace_and_clear(self, store: Store, write: Write) -> None:
        await prepared(store)
        first = await write(store, key="k")
        await store.replace(HERE, say("x", "y"), archive_as="old")
        seq = (await loaded(store)).records[0].seq
        await store.fold(HERE, [seq], archive_as="old")
        await store.replace(HERE, [])
        await store.sweep()
        assert await write(store, key="k") == first_result(first)
        assert texts(await store.load(HERE)) == []

    @changing
    async def test_without_a_deadline_a_key_is_known_for_seven_days(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store)
        first = await write(store, key="k")
        clock.advance(KEY_RETENTION - TICK)
        await store.sweep()
        assert await write(store, key="k") == first_result(first)

    async def test_after_seven_days_a_key_is_unknown(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.append(HERE, say("a"), key="k")
        clock.advance(KEY_RETENTION)
        assert written(await store.append(HERE, say("b"), key="k")).replayed is False
        assert texts(await store.load(HERE)) == ["a", "b"]

    async def test_a_replay_does_not_prolong_a_key(self, store: Store, clock: ManualClock) -> None:
        await store.append(HERE, say("a"), key="k")
        clock.advance(KEY_RETENTION - SECOND)
        assert written(await store.append(HERE, say("a"), key="k")).replayed is True
        clock.advance(SECOND)
        assert written(await store.append(HERE, say("a"), key="k")).replayed is False

    async def test_a_key_that_ended_can_be_used_anew(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.append(HERE, say("a"), key="k")
        clock.advance(KEY_RETENTION)
        await store.append(HERE, say("b"), key="k")
        clock.advance(KEY_RETENTION - TICK)
        assert written(await store.append(HERE, say("b"), key="k")).replayed is True

    async def test_with_a_deadline_a_key_is_known_until_then(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.append(HERE, say("a"), key="k", ttl=30 * DAY)
        clock.advance(30 * DAY - TICK)
        await store.sweep()
        assert written(await store.append(HERE, say("a"), key="k")).replayed is True

    async def test_a_key_outlives_the_deadline_there_was_when_the_conversation_does(
        self, store: Store, clock: ManualClock
    ) -> None:
        await store.append(HERE, say("a"), key="k", ttl=HOUR)
        await store.append(HERE, say("b"), ttl=30 * DAY)
        clock.advance(KEY_RETENTION - TICK)
        assert written(await store.append(HERE, say("a"), key="k", ttl=DAY)).replayed is True
        clock.advance(TICK)
        assert written(await store.append(HERE, say("a"), key="k", ttl=DAY)).replayed is False

    async def test_a_key_of_a_delete_fits_no_other_write(self, store: Store) -> None:
        await store.append(HERE, say("a"))
        await store.delete(HERE, key="k")
        with pytest.raises(KeyReused):
            await store.append(HERE, say("a"), key="k")
        assert await store.load(HERE) is None

    async def test_the_key_of_a_fold_lives_until_the_deadline_that_fold_left(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store, ttl=30 * DAY)
        first = await store.fold(HERE, [1], key="k")
        clock.advance(30 * DAY - TICK)
        assert await store.fold(HERE, [1], key="k") == first_result(first)

    async def test_a_key_ends_with_delete(self, store: Store) -> None:
        await store.append(HERE, say("a"), key="k")
        await store.delete(HERE)
        done = written(await store.append(HERE, say("a"), key="k"))
        assert (done.replayed, done.head.version) == (False, 1)

    async def test_a_key_ends_with_delete_for_another_body_too(self, store: Store) -> None:
        await store.append(HERE, say("a"), key="k")
        await store.delete(HERE)
        await store.append(HERE, say("x"))
        assert written(await store.append(HERE, say("b"), key="k")).replayed is False

    async def test_many_keys_are_known_at_the_same_time(self, store: Store) -> None:
        for n in range(100):
            await store.append(HERE, say(str(n)), key=f"k-{n}")
        for n in range(100):
            done = written(await store.append(HERE, say(str(n)), key=f"k-{n}"))
            assert (done.replayed, done.first_seq) == (True, n + 1)


class KeyedDeletes:
    """The record of a keyed delete outlives the conversation."""

    async def test_a_repeated_delete_says_that_it_existed(self, store: Store) -> None:
        await prepared(store)
        assert await store.delete(HERE, key="k") is True
        assert await store.delete(HERE, key="k") is True

    async def test_a_repeated_delete_spares_a_conversation_that_exists_again(
        self, store: Store
    ) -> None:
        await prepared(store)
        await store.delete(HERE, key="k")
        await store.append(HERE, say("again"))
        assert await store.delete(HERE, key="k") is True
        assert texts(await store.load(HERE)) == ["again"]

    async def test_a_delete_of_nothing_is_remembered_too(self, store: Store) -> None:
        assert await store.delete(HERE, key="k") is False
        await store.append(HERE, say("later"))
        assert await store.delete(HERE, key="k") is False
        assert texts(await store.load(HERE)) == ["later"]

    async def test_another_key_deletes(self, store: Store) -> None:
        await prepared(store)
        await store.delete(HERE, key="k")
        await store.append(HERE, say("again"))
        assert await store.delete(HERE, key="k2") is True
        assert await store.load(HERE) is None

    async def test_it_is_known_for_seven_days(self, store: Store, clock: ManualClock) -> None:
        await prepared(store, ttl=HOUR)
        await store.delete(HERE, key="k")
        clock.advance(KEY_RETENTION - TICK)
        await store.sweep()
        await store.append(HERE, say("again"))
        assert await store.delete(HERE, key="k") is True
        assert await store.load(HERE) is not None

    async def test_after_seven_days_it_deletes_again(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        await store.delete(HERE, key="k")
        await store.append(HERE, say("again"))
        clock.advance(KEY_RETENTION)
        assert await store.delete(HERE, key="k") is True
        assert await store.load(HERE) is None

    async def test_it_outlives_the_expiry_of_a_later_generation(
        self, store: Store, clock: ManualClock
    ) -> None:
        await prepared(store)
        await store.delete(HERE, key="k")
        await store.append(HERE, say("again"), ttl=HOUR)
        clock.advance(HOUR)
        await store.sweep()
        await store.append(HERE, say("once more"))
        assert await store.delete(HERE, key="k") is True
        assert texts(await store.load(HERE)) == ["once more"]

    async def test_a_known_delete_goes_before_lease_and_version(self, store: Store) -> None:
        version = (await prepared(store)).version
        lease = await leased(store)
        assert await store.delete(HERE, key="k", lease=lease, expect_version=version) is True
        assert await store.delete(HERE, key="k", lease=lease, expect_version=version) is True

    async def test_a_key_of_a_living_conversation_is_refused(self, store: Store) -> None:
        await store.append(HERE, say("a"), key="k")
        with pytest.raises(KeyReused):
            await store.delete(HERE, key="k")
        assert await store.load(HERE) is not None


class Recalling:
    """``recall`` tells what a write with a key did, before it is planned again."""

    @storing
    async def test_it_returns_what_the_write_returns_when_repeated(
        self, store: Store, clock: ManualClock, write: Write
    ) -> None:
        await prepared(store)
        first = await write(store, key="k")
        clock.advance(SECOND)
        await store.append(HERE, say("later"))
        assert await store.recall(HERE, "k") == first_result(first)

    async def test_an_unknown_key_is_none(self, store: Store) -> None:
        assert await store.recall(HERE, "k") is None
        await store.append(HERE, say("a"), key="k2")
        assert await store.recall(HERE, "k") is None

    async def test_each_conversation_has_keys_of_its_own(self, store: Store) -> None:
        await store.append(HERE, say("a"), key="k")
        await store.append(THERE, say("a"))
        assert await store.recall(THERE, "k") is None
        assert await store.recall(ELSEWHERE, "k") is None

    async def test_a_write_that_did_not_happen_is_none(self, store: Store) -> None:
        await prepared(store)
        full(await store.append(HERE, say("a"), key="k", limits=Limits(max_messages=1)))
        assert await store.recall(HERE, "k") is None

    @pytest.mark.parametrize("name", ["annotate", "delete"])
    async def test_other_writes_are_not_recalled(self, store: Store, name: str) -> None:
        await prepared(store)
        await WRITES[name](store, key="k")
        assert await store.recall(HERE, "k") is None

    async def test_after_delete_it_is_none(self, store: Store) -> None:
        await store.append(HERE, say("a"), key="k")
        await store.delete(HERE)
        assert await store.recall(HERE, "k") is None
        await store.append(HERE, say("b"))
        assert await store.recall(HERE, "k") is None

    async def test_after_seven_days_it_is_none(self, store: Store, clock: ManualClock) -> None:
        await store.append(HERE, say("a"), key="k")
        clock.advance(KEY_RETENTION - TICK)
        assert await store.recall(HERE, "k") is not None
        clock.advance(TICK)
        assert await store.recall(HERE, "k") is None

    async def test_after_expiry_it_is_none(self, store: Store, clock: ManualClock) -> None:
        await store.append(HERE, say("a"), key="k", ttl=HOUR)
        clock.advance(HOUR)
        assert await store.recall(HERE, "k") is None
        await store.append(HERE, say("b"))
        assert await store.recall(HERE, "k") is None

    @pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
    async def test_a_bad_key_is_refused(self, store: Store, name: Any) -> None:
        with pytest.raises(InvalidConversationId):
            await store.recall(HERE, name)


class UnusedKeys:
    """A write that did not happen uses up no key."""

    @storing
    async def test_full_uses_no_key(self, store: Store, write: Write) -> None:
        await prepared(store)
        assert isinstance(await write(store, key="k", limits=Limits(max_tokens=0)), Full)
        done = await write(store, key="k")
        assert isinstance(done, Written)
        assert done.replayed is False

    async def test_full_leaves_the_key_free_for_another_body(self, store: Store) -> None:
        full(await store.append(HERE, say("a", "b"), key="k", limits=Limits(max_messages=1)))
        assert written(await store.append(HERE, say("c"), key="k")).replayed is False

    @pytest.mark.parametrize("name", ["replace", "annotate", "delete"])
    async def test_a_version_conflict_uses_no_key(self, store: Store, name: str) -> None:
        version = (await prepared(store)).version
        with pytest.raises(VersionConflict):
            await WRITES[name](store, key="k", expect_version=version + 1)
        done = await WRITES[name](store, key="k", expect_version=version)
        assert done is not False
        if isinstance(done, Written):
            assert done.replayed is False
        elif isinstance(done, Head):
            assert done.version == version + 1
        else:
            assert await store.load(HERE) is None

    async def test_a_conflict_of_a_fold_uses_no_key(self, store: Store) -> None:
        await prepared(store)
        with pytest.raises(VersionConflict):
            await store.fold(HERE, [9], say("s"), key="k")
        assert written(await store.append(HERE, say("x"), key="k")).replayed is False

    async def test_a_lost_lease_uses_no_key(self, store: Store) -> None:
        await prepared(store)
        lease = await leased(store)
        await store.release(lease)
        with pytest.raises(LeaseLost):
            await append_one(store, key="k", lease=lease)
        assert written(await store.append(HERE, say("four"), key="k")).replayed is False

    async def test_a_refused_message_uses_no_key(self, store: Store) -> None:
        await prepared(store)
        with pytest.raises(InvalidMessage):
            await store.append(HERE, say("x" * store.call_limits.message_bytes), key="k")
        assert written(await store.append(HERE, say("a"), key="k")).replayed is False

    async def test_annotate_of_a_missing_conversation_uses_no_key(self, store: Store) -> None:
        assert await annotate_it(store, key="k") is None
        await prepared(store)
        head = await annotate_it(store, key="k")
        assert isinstance(head, Head)
        assert head.version == 2


def _with(metadata: dict[str, Any]) -> NewRecord:
    return NewRecord(Message("user", "hello", metadata=metadata))
