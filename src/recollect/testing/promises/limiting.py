# ruff: noqa: D102 - the name of a test is its sentence
"""Hard limits: a write that would break one stores nothing."""

from typing import Any

import pytest

from recollect.errors import LeaseLost, VersionConflict
from recollect.stores.base import Store
from recollect.stores.records import Limits
from recollect.testing.promises.building import (
    HERE,
    HOUR,
    STORING,
    Write,
    full,
    head_of,
    leased,
    prepared,
    said,
    say,
    state_of,
    texts,
    written,
)

storing = pytest.mark.parametrize("write", STORING.values(), ids=STORING)

# Each kind of write: a limit that just fits, and the same one less by one. "one" to "three" and the
# message each of them stores have one token each.
JUST: dict[str, tuple[int, int]] = {"append": (4, 4), "replace": (1, 1), "fold": (2, 2)}


class Limiting:
    """``limits`` are kept by every write that stores messages."""

    @pytest.mark.parametrize("name", STORING)
    async def test_as_many_messages_as_allowed_are_stored(self, store: Store, name: str) -> None:
        await prepared(store)
        limits = Limits(max_messages=JUST[name][0])
        assert (written(await STORING[name](store, limits=limits))).head.version == 2  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", STORING)
    async def test_one_message_more_than_allowed_is_not(self, store: Store, name: str) -> None:
        await prepared(store)
        full(await STORING[name](store, limits=Limits(max_messages=JUST[name][0] - 1)))  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", STORING)
    async def test_as_many_tokens_as_allowed_are_stored(self, store: Store, name: str) -> None:
        await prepared(store)
        limits = Limits(max_tokens=JUST[name][1])
        assert (written(await STORING[name](store, limits=limits))).head.version == 2  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", STORING)
    async def test_one_token_more_than_allowed_is_not(self, store: Store, name: str) -> None:
        await prepared(store)
        full(await STORING[name](store, limits=Limits(max_tokens=JUST[name][1] - 1)))  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", STORING)
    async def test_the_overhead_of_each_message_counts(self, store: Store, name: str) -> None:
        await prepared(store)
        messages, tokens = JUST[name]
        total = tokens + 3 * messages
        tight = Limits(max_tokens=total - 1, message_overhead_tokens=3)
        full(await STORING[name](store, limits=tight))  # type: ignore[arg-type]
        fits = Limits(max_tokens=total, message_overhead_tokens=3)
        written(await STORING[name](store, limits=fits))  # type: ignore[arg-type]

    @storing
    async def test_full_stores_nothing(self, store: Store, write: Write) -> None:
        await prepared(store, metadata={"x": 1}, ttl=HOUR)
        before = await state_of(store)
        given: dict[str, Any] = {"limits": Limits(max_messages=0), "archive_as": "old"}
        if write is STORING["append"]:
            given = {"limits": Limits(max_messages=0), "metadata": {"y": 1}, "owner": "ann"}
        full(await write(store, **given))  # type: ignore[arg-type]
        assert await state_of(store) == before

    @storing
    async def test_full_tells_the_head_as_it_is(self, store: Store, write: Write) -> None:
        head = await prepared(store, owner="ann")
        result = full(await write(store, limits=Limits(max_tokens=0)))  # type: ignore[arg-type]
        assert result.head == head

    @pytest.mark.parametrize("name", ["append", "replace"])
    async def test_full_creates_no_conversation(self, store: Store, name: str) -> None:
        write = store.append if name == "append" else store.replace
        limits = Limits(max_messages=1)
        result = full(await write(HERE, say("a", "b"), metadata={"x": 1}, limits=limits))
        assert result.head is None
        assert await store.load(HERE) is None

    async def test_a_batch_over_the_limit_is_refused_whole(self, store: Store) -> None:
        await prepared(store)
        full(await store.append(HERE, say("a", "b", "c"), limits=Limits(max_messages=5)))
        assert (await head_of(store)).message_count == 3

    async def test_limits_of_one_call_do_not_bind_the_next(self, store: Store) -> None:
        await store.append(HERE, say("a"), limits=Limits(max_messages=1))
        await store.append(HERE, say("b"))
        assert texts(await store.load(HERE)) == ["a", "b"]

    async def test_a_fold_that_ends_over_the_limit_is_refused(self, store: Store) -> None:
        await store.append(HERE, say("a", "b", "c"))
        full(await store.fold(HERE, [1], [said("long", tokens=9)], limits=Limits(max_tokens=10)))
        written(await store.fold(HERE, [1], [said("long", tokens=8)], limits=Limits(max_tokens=10)))

    async def test_what_a_replace_takes_away_does_not_count(self, store: Store) -> None:
        await store.append(HERE, [said("a", tokens=100)])
        limits = Limits(max_messages=1, max_tokens=10)
        written(await store.replace(HERE, [said("b", tokens=10)], limits=limits))

    async def test_appending_nothing_to_an_overfull_conversation_is_refused(
        self, store: Store
    ) -> None:
        await prepared(store)
        full(await store.append(HERE, [], metadata={"x": 1}, limits=Limits(max_messages=2)))

    @storing
    async def test_a_lost_lease_goes_before_the_limits(self, store: Store, write: Write) -> None:
        await prepared(store)
        lease = await leased(store)
        await store.release(lease)
        with pytest.raises(LeaseLost):
            await write(store, lease=lease, limits=Limits(max_messages=0))

    async def test_a_version_conflict_goes_before_the_limits(self, store: Store) -> None:
        await prepared(store)
        with pytest.raises(VersionConflict):
            await store.replace(HERE, say("x"), expect_version=9, limits=Limits(max_messages=0))

    async def test_a_fold_of_what_is_gone_goes_before_the_limits(self, store: Store) -> None:
        await prepared(store)
        with pytest.raises(VersionConflict):
            await store.fold(HERE, [9], say("x"), limits=Limits(max_messages=0))
