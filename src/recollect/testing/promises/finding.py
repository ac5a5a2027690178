# ruff: noqa: D102 - the name of a test is its sentence
"""``find``: order, filters, and walks over pages."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import InvalidInput
from recollect.stores.arguments import MAX_PAGE
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, Order
from recollect.testing.promises.building import (
    ELSEWHERE,
    HERE,
    HOUR,
    NAMESPACE,
    SECOND,
    THERE,
    TICK,
    head_of,
    names,
    prepared,
    say,
    walk,
)

both_orders = pytest.mark.parametrize("order", ["active", "created"])


async def created(store: Store, clock: ManualClock, *ids: str, **given: Any) -> None:
    """Create conversations with these ids, a second apart."""
    for one in ids:
        await store.append(ConversationId(NAMESPACE, one), say(one), **given)
        clock.advance(SECOND)


def at(name: str) -> ConversationId:
    """Return the address of that id."""
    return ConversationId(NAMESPACE, name)


class Ordering:
    """``active`` is by last activity, newest first; ``created`` is oldest first."""

    @both_orders
    async def test_nothing_found_is_an_empty_page(self, store: Store, order: Order) -> None:
        page = await store.find(NAMESPACE, order=order)
        assert (page.heads, page.cursor) == ((), None)

    async def test_active_is_by_last_activity_newest_first(
        self, store: Store, clock: ManualClock
    ) -> None:
        await created(store, clock, "a", "b", "c")
        await store.append(at("a"), say("again"))
        assert names(await walk(store, order="active", limit=10)) == ["a", "c", "b"]

    @pytest.mark.parametrize("how", ["append", "replace", "fold", "annotate"])
    async def test_every_write_is_activity(
        self, store: Store, clock: ManualClock, how: str
    ) -> None:
        await created(store, clock, "a", "b")
        writes = {
            "append": lambda: store.append(at("a"), say("x")),
            "replace": lambda: store.replace(at("a"), say("x")),
            "fold": lambda: store.fold(at("a"), [1], say("x")),
            "annotate": lambda: store.annotate(at("a"), {"x": 1}),
        }
        await writes[how]()  # type: ignore[no-untyped-call]
        assert names(await walk(store, order="active")) == ["a", "b"]

    async def test_created_is_oldest_first_whatever_was_written_since(
        self, store: Store, clock: ManualClock
    ) -> None:
        await created(store, clock, "b", "a", "c")
        await store.append(at("b"), say("again"))
        assert names(await walk(store, order="created", limit=10)) == ["b", "a", "c"]

    async def test_created_again_is_created_now(self, store: Store, clock: ManualClock) -> None:
        await created(store, clock, "a", "b")
        await store.delete(at("a"))
        await created(store, clock, "a")
        assert names(await walk(store, order="created")) == ["b", "a"]

    async def test_the_default_is_by_activity(self, store: Store, clock: ManualClock) -> None:
        await created(store, clock, "a", "b")
        assert names([await store.find(NAMESPACE)]) == ["b", "a"]

    @both_orders
    async def test_heads_are_those_that_load_returns(
        self, store: Store, clock: ManualClock, order: Order
    ) -> None:
        await prepared(store, owner="ann", metadata={"x": 1}, ttl=HOUR)
        await store.fold(HERE, [1, 2], say("s"), archive_as="old")
        await store.lease(HERE, holder="w", ttl=HOUR)
        clock.advance(SECOND)
        page = await store.find(NAMESPACE, order=order)
        assert page.heads == (await head_of(store),)


class Paging:
    """A page has at most ``limit`` heads; its cursor asks for the next."""

    @both_orders
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    async def test_pages_make_up_the_whole(
        self, store: Store, clock: ManualClock, order: Order, limit: int
    ) -> None:
        await created(store, clock, *"abcdefg")
        pages = await walk(store, order=order, limit=limit)
        assert names(pages) == sorted("abcdefg", reverse=order == "active")
        assert [len(page.heads) for page in pages[:-1]] == [limit] * (len(pages) - 1)

    @both_orders
    async def test_ties_are_met_once_across_pages(
        self, store: Store, clock: ManualClock, order: Order
    ) -> None:
        for name in "dbaecf":
            await store.append(at(name), say(name))
        pages = await walk(store, order=order, limit=2)
        assert sorted(names(pages)) == list("abcdef")

    @both_orders
    async def test_ties_have_one_order_for_every_page_size(
        self, store: Store, order: Order
    ) -> None:
        for name in "dbaecf":
            await store.append(at(name), say(name))
        whole = names(await walk(store, order=order, limit=10))
        for limit in (1, 2, 4, 5):
            assert names(await walk(store, order=order, limit=limit)) == whole

    @both_orders
    async def test_the_last_page_has_no_cursor(
        self, store: Store, clock: ManualClock, order: Order
    ) -> None:
        await created(store, clock, "a", "b")
        assert (await store.find(NAMESPACE, order=order, limit=3)).cursor is None
        assert (await store.find(NAMESPACE, order=order, limit=2)).cursor is None
        assert (await store.find(NAMESPACE, order=order, limit=1)).cursor is not None

    @both_orders
    async def test_filters_hold_on_every_page(
        self, store: Store, clock: ManualClock, order: Order
    ) -> None:
        await created(store, clock, "a1", "b1", "a2", owner="ann")
        await created(store, clock, "a3", owner="bob")
        await created(store, clock, "a4", "b2", "a5", owner="ann")
        pages = await walk(store, order=order, limit=1, owner="ann", prefix="a")
        assert sorted(names(pages)) == ["a1", "a2", "a4", "a5"]

    @both_orders
    @pytest.mark.parametrize("limit", [0, -1, MAX_PAGE + 1])
    async def test_a_limit_out_of_range_is_refused(
        self, store: Store, order: Order, limit: int
    ) -> None:
        with pytest.raises(InvalidInput, match=str(limit)):
            await store.find(NAMESPACE, order=order, limit=limit)

    async def test_the_largest_page_is_allowed(self, store: Store, clock: ManualClock) -> None:
        await created(store, clock, "a")
        assert names([await store.find(NAMESPACE, limit=MAX_PAGE)]) == ["a"]

    @both_orders
    @pytest.mark.parametrize(
        "cursor",
        ["", "x", "0", "e30=", "!!!!", "\u20ac", "a\x00b", "\ud800", "active", "2026-01-01", "x" * 5000],
        ids=["empty", "a letter", "a number", "base64", "punctuation", "wide", "NUL", "surrogate",
             "an order", "a date", "long"],
    )  # fmt: skip
    async def test_a_cursor_from_elsewhere_is_refused(
        self, store: Store, clock: ManualClock, order: Order, cursor: str
    ) -> None:
        await created(store, clock, "a", "b")
        with pytest.raises(InvalidInput):
            await store.find(NAMESPACE, order=order, cursor=cursor)

    @both_orders
    async def test_a_cursor_of_the_other_order_is_refused(
        self, store: Store, clock: ManualClock, order: Order
    ) -> None:
        await created(store, clock, "a", "b")
        other: Order = "created" if order == "active" else "active"
        cursor = (await store.find(NAMESPACE, order=other, limit=1)).cursor
        with pytest.raises(InvalidInput):
            await store.find(NAMESPACE, order=order, cursor=cursor)

    @both_orders
    @pytest.mark.parametrize("owner", [None, "bob"])
    async def test_a_cursor_of_another_owners_walk_is_refused(
        self, store: Store, clock: ManualClock, order: Order, owner: str | None
    ) -> None:
        await created(store, clock, "a", "b", owner="ann")
        cursor = (await store.find(NAMESPACE, order=order, limit=1, owner="ann")).cursor
        with pytest.raises(InvalidInput, match="another walk"):
            await store.find(NAMESPACE, order=order, cursor=cursor, owner=owner)

    @both_orders
    async def test_a_cursor_of_another_namespace_is_refused(
        self, store: Store, clock: ManualClock, order: Order
    ) -> None:
        await created(store, clock, "a", "b")
        cursor = (await store.find(NAMESPACE, order=order, limit=1)).cursor
        with pytest.raises(InvalidInput, match="another walk"):
            await store.find("elsewhere", order=order, cursor=cursor)


class Walking:
    """A walk in ``created`` order meets what exists throughout exactly once."""

    async def test_conversations_written_meanwhile_are_met_once(
        self, store: Store, clock: ManualClock
    ) -> None:
        await created(store, clock, *"abcdef")
        met: list[str] = []
        cursor = None
        while True:
            page = await store.find(NAMESPACE, order="created", limit=2, cursor=cursor)
            met += names([page])
            for name in "fa":
                await store.append(at(name), say("meanwhile"))
                clock.advance(SECOND)
            cursor = page.cursor
            if cursor is None:
                break
        assert met == list("abcdef")

    async def test_conversations_deleted_meanwhile_skip_no_other(
        self, store: Store, clock: ManualClock
    ) -> None:
        await created(store, clock, *"abcdefgh")
        first = await store.find(NAMESPACE, order="created", limit=3)
        for name in "abcd":  # met and unmet ones, and the very one the cursor stands on
            await store.delete(at(name))
        rest = await store.find(NAMESPACE, order="created", cursor=first.cursor)
        assert names([first, rest]) == list("abcefgh")

    async def test_conversations_created_meanwhile_disturb_no_other(
        self, store: Store, clock: ManualClock
    ) -> None:
        await created(store, clock, *"mnop")
        first = await store.find(NAMESPACE, order="created", limit=2)
        await created(store, clock, "a", "z", "mm")
        rest = await store.find(NAMESPACE, order="created", cursor=first.cursor)
        met = names([first, rest])
        assert [name for name in met if name in "mnop"] == list("mnop")

    async def test_conversations_created_anew_meanwhile_are_met_in_their_new_place(
        self, store: Store, clock: ManualClock
    ) -> None:
        await created(store, clock, *"abcd")
        first = await store.find(NAMESPACE, order="created", limit=2)
        await store.delete(at("c"))
        await created(store, clock, "c")
        rest = await store.find(NAMESPACE, order="created", cursor=first.cursor)
        assert names([first, rest]) == ["a", "b", "d", "c"]

    async def test_ties_deleted_meanwhile_skip_no_other(self, store: Store) -> None:
        for name in "abcdef":
            await store.append(at(name), say(name))
        first = await store.find(NAMESPACE, order="created", limit=3)
        await store.delete(first.heads[-1].conversation)
        rest = await store.find(NAMESPACE, order="created", cursor=first.cursor)
        assert sorted(names([first, rest])) == list("abcdef")

    async def test_sweeping_meanwhile_skips_no_other(
        self, store: Store, clock: ManualClock
    ) -> None:
        await created(store, clock, "a", "b", ttl=HOUR)
        await created(store, clock, "c", "d")
        first = await store.find(NAMESPACE, order="created", limit=2)
        clock.advance(HOUR)
        await store.sweep()
        rest = await store.find(NAMESPACE, order="created", cursor=first.cursor)
        assert names([first, rest]) == ["a", "b", "c", "d"]

    async def test_an_active_walk_meets_what_is_left_alone_once(
        self, store: Store, clock: ManualClock
    ) -> None:
        await created(store, clock, *"abcdef")
        first = await store.find(NAMESPACE, limit=2)
        await store.append(at("f"), say("met already, written again"))
        rest = await store.find(NAMESPACE, cursor=first.cursor)
        met = names([first, rest])
        assert [name for name in met if name != "f"] == ["e", "d", "c", "b", "a"]


class Filtering:
    """Owner, time and prefix narrow what is found."""

    @both_orders
    async def test_only_the_namespace_asked_for(self, store: Store, order: Order) -> None:
        await store.append(HERE, say("a"))
        await store.append(ELSEWHERE, say("b"))
        page = await store.find(ELSEWHERE.namespace, order=order)
        assert [head.conversation for head in page.heads] == [ELSEWHERE]

    @both_orders
    async def test_only_the_owner_asked_for(self, store: Store, order: Order) -> None:
        await store.append(HERE, say("a"), owner="ann")
        await store.append(THERE, say("b"), owner="bob")
        await store.append(at("nobody's"), say("c"))
        assert names([await store.find(NAMESPACE, owner="ann", order=order)]) == [HERE.id]

    @both_orders
    @pytest.mark.parametrize("write", ["append", "replace", "annotate"])
    async def test_a_change_of_owner_moves_the_conversation(
        self, store: Store, order: Order, write: str
    ) -> None:
        await prepared(store, owner="ann")
        if write == "append":
            await store.append(HERE, say("x"), owner="bob")
        elif write == "replace":
            await store.replace(HERE, say("x"), owner="bob")
        else:
            await store.annotate(HERE, owner="bob")
        assert names([await store.find(NAMESPACE, owner="ann", order=order)]) == []
        assert names([await store.find(NAMESPACE, owner="bob", order=order)]) == [HERE.id]

    @pytest.mark.parametrize("owner", ["a%", "_nn", "ANN", "an", "ann ", "*"])
    async def test_an_owner_is_compared_character_by_character(
        self, store: Store, owner: str
    ) -> None:
        await store.append(HERE, say("a"), owner="ann")
        assert names([await store.find(NAMESPACE, owner=owner)]) == []

    @both_orders
    async def test_since_and_until_are_inclusive_and_compare_last_activity(
        self, store: Store, clock: ManualClock, order: Order
    ) -> None:
        await created(store, clock, "a")
        moment = clock.now()
        await store.append(at("a"), say("again"))
        found = [HERE.id, "a"]
        for since, until, expected in [
            (moment, None, ["a"]),
            (None, moment, ["a"]),
            (moment, moment, ["a"]),
            (moment + TICK, None, []),
            (None, moment - TICK, []),
        ]:
            page = await store.find(NAMESPACE, since=since, until=until, order=order)
            assert [n for n in names([page]) if n in found] == expected, (since, until)

    @both_orders
    async def test_since_and_until_cut_a_range(
        self, store: Store, clock: ManualClock, order: Order
    ) -> None:
        start = clock.now()
        await created(store, clock, *"abcde")
        pages = await walk(
            store, order=order, since=start + SECOND, until=start + 3 * SECOND, limit=1
        )
        assert sorted(names(pages)) == ["b", "c", "d"]

    async def test_a_time_of_another_zone_is_the_same_moment(
        self, store: Store, clock: ManualClock
    ) -> None:
        await created(store, clock, "a")
        zone = timezone(timedelta(hours=-11))
        moment = (await head_of(store, at("a"))).updated_at.astimezone(zone)
        assert names([await store.find(NAMESPACE, since=moment, until=moment)]) == ["a"]
        assert names([await store.find(NAMESPACE, since=moment + TICK)]) == []

    @pytest.mark.parametrize("name", ["since", "until"])
    async def test_a_naive_time_is_refused(self, store: Store, name: str) -> None:
        naive = datetime(2026, 1, 1)  # noqa: DTZ001
        with pytest.raises(InvalidInput, match=name):
            await store.find(NAMESPACE, **{name: naive})  # type: ignore[arg-type]

    @both_orders
    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("user:", ["user:1", "user:2"]),
            ("user:1", ["user:1"]),
            ("User:", []),
            ("%", ["%x"]),
            ("_", ["_x"]),
            ("*", ["*x"]),
            ("?", []),
            ("[", ["[x"]),
            ("\\", ["\\x"]),
            ("us%", []),
            ("u_er", []),
            ("u*", []),
            ("'", []),
            ("\u00e9", ["\u00e9t\u00e9"]),
            ("e", ["e\u0301te"]),
            ("\U0001f9d1", ["\U0001f9d1\u200d\U0001f680"]),
            ("\U0010ffff", ["\U0010ffffx"]),
            ("", None),
        ],
        ids=lambda value: ascii(value) if isinstance(value, str) else "",
    )
    async def test_a_prefix_is_compared_character_by_character(
        self, store: Store, order: Order, prefix: str, expected: list[str] | None
    ) -> None:
        ids = ["user:1", "user:2", "usher", "%x", "_x", "*x", "[x", "\\x", "\u00e9t\u00e9",
               "e\u0301te", "\U0001f9d1\u200d\U0001f680", "\U0010ffffx"]  # fmt: skip
        for one in ids:
            await store.append(at(one), say("x"))
        found = names([await store.find(NAMESPACE, prefix=prefix, order=order)])
        assert sorted(found) == sorted(ids if expected is None else expected)

    async def test_a_prefix_no_id_can_have_is_refused_or_finds_nothing(self, store: Store) -> None:
        await prepared(store)
        for prefix in ("a\ud800", "\x00", "x" * 600):
            try:
                page = await store.find(NAMESPACE, prefix=prefix)
            except InvalidInput:
                continue
            assert page.heads == ()

    async def test_expired_conversations_take_no_place_on_a_page(
        self, store: Store, clock: ManualClock
    ) -> None:
        await created(store, clock, "a", "b", ttl=HOUR)
        await created(store, clock, "c", "d")
        clock.advance(HOUR)
        page = await store.find(NAMESPACE, order="created", limit=2)
        assert names([page]) == ["c", "d"]
