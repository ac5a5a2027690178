# ruff: noqa: D102 - the name of a test is its sentence
"""Addresses: what is allowed is kept apart, what is not is refused alike."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from recollect.errors import InvalidConversationId
from recollect.stores.base import Store
from recollect.stores.records import ConversationId
from recollect.testing.promises.building import (
    BAD_NAMES,
    HOUR,
    NAMESPACE,
    ODD_NAMES,
    leased,
    say,
    texts,
    walk,
    written,
)

odd_name = pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)

CALLS: dict[str, Callable[[Store, ConversationId], Coroutine[Any, Any, object]]] = {
    "append": lambda store, one: store.append(one, say("x")),
    "replace": lambda store, one: store.replace(one, say("x")),
    "fold": lambda store, one: store.fold(one, [1]),
    "annotate": lambda store, one: store.annotate(one, {"x": 1}),
    "delete": lambda store, one: store.delete(one),
    "recall": lambda store, one: store.recall(one, "k"),
    "load": lambda store, one: store.load(one),
    "load_many": lambda store, one: store.load_many([one]),
    "lease": lambda store, one: store.lease(one, holder="w", ttl=HOUR),
}


class Addressing:
    """A conversation is found under its address and no other."""

    @odd_name
    async def test_an_odd_id_works_everywhere(self, store: Store, name: str) -> None:
        one = ConversationId(NAMESPACE, name)
        await store.append(one, say("a", "b", "c"), metadata={"x": 1}, owner=name, key=name)
        await store.fold(one, [1], say("s"), archive_as=name)
        lease = await leased(store, one, holder=name)
        assert lease.conversation == one
        found = await store.load(one)
        assert found is not None
        assert (found.head.conversation, found.head.owner) == (one, name)
        assert texts(found) == ["s", "b", "c"]
        assert texts(await store.load(one, source="archive", batch=name)) == ["a"]
        assert (await store.find(NAMESPACE, owner=name, prefix=name)).heads == (found.head,)
        assert (await store.measure(NAMESPACE, owner=name)).conversations == 1
        assert await store.delete(one) is True
        assert await store.load(one) is None

    @odd_name
    async def test_an_odd_namespace_works_everywhere(self, store: Store, name: str) -> None:
        one = ConversationId(name, "c-1")
        await store.append(one, say("a"))
        found = await store.load(one)
        assert found is not None
        assert found.head.conversation == one
        assert (await store.find(name)).heads == (found.head,)
        assert (await store.find(name, order="created")).heads == (found.head,)
        assert (await store.measure(name)).messages == 1
        assert (await store.find(NAMESPACE)).heads == ()

    async def test_odd_ids_are_all_different(self, store: Store) -> None:
        ids = [*ODD_NAMES.values(), "a", "A", "a ", " a", "\u00e9", "e\u0301", "E\u0301", "\u212b",
               "\u00c5", "\u1e9e", "ss", "\u00df", "I", "\u0131", "i", "x" * 511]  # fmt: skip
        for one in ids:
            await store.append(ConversationId(NAMESPACE, one), say(one))
        for one in ids:
            assert texts(await store.load(ConversationId(NAMESPACE, one))) == [one]
        pages = await walk(store, order="created", limit=7)
        assert [head.conversation.id for page in pages for head in page.heads] == ids

    async def test_namespace_and_id_do_not_run_together(self, store: Store) -> None:
        pairs = [("a", "b:c"), ("a:b", "c"), ("a/b", "c"), ("a", "b/c"), ("ab", "c"), ("a", "bc"),
                 ("a|b", "c"), ("a", "b|c"), ("a b", "c"), ("a", "b c")]  # fmt: skip
        for pair in pairs:
            done = written(await store.append(ConversationId(*pair), say(repr(pair))))
            assert done.head.version == 1
        for pair in pairs:
            assert texts(await store.load(ConversationId(*pair))) == [repr(pair)]
        assert [h.conversation.id for h in (await store.find("a", prefix="b:")).heads] == ["b:c"]

    async def test_namespaces_are_no_hierarchy(self, store: Store) -> None:
        for namespace in ("a", "a/b", "a%", "a_", "A"):
            await store.append(ConversationId(namespace, "c"), say(namespace))
        for namespace in ("a", "a/b", "a%", "a_", "A"):
            assert (await store.measure(namespace)).conversations == 1
            assert len((await store.find(namespace)).heads) == 1


class BadAddresses:
    """What no backend could keep is refused by all of them, by every call, with one error."""

    @pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
    @pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
    async def test_a_bad_id_is_refused_by(
        self,
        store: Store,
        call: Callable[[Store, ConversationId], Coroutine[Any, Any, object]],
        name: Any,
    ) -> None:
        with pytest.raises(InvalidConversationId):
            await call(store, ConversationId(NAMESPACE, name))

    @pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
    async def test_a_bad_namespace_is_refused_by_every_call(self, store: Store, name: Any) -> None:
        for call in CALLS.values():
            with pytest.raises(InvalidConversationId):
                await call(store, ConversationId(name, "c-1"))
        with pytest.raises(InvalidConversationId):
            await store.find(name)
        with pytest.raises(InvalidConversationId):
            await store.measure(name)

    @pytest.mark.parametrize("name", [n for n in BAD_NAMES if n != "None"])
    async def test_a_bad_owner_is_refused_by_writes(self, store: Store, name: str) -> None:
        one = ConversationId(NAMESPACE, "c-1")
        with pytest.raises(InvalidConversationId):
            await store.append(one, say("a"), owner=BAD_NAMES[name])
        with pytest.raises(InvalidConversationId):
            await store.annotate(one, owner=BAD_NAMES[name])
        assert await store.load(one) is None

    async def test_a_refused_write_stores_nothing(self, store: Store) -> None:
        with pytest.raises(InvalidConversationId):
            await store.append(ConversationId(NAMESPACE, ""), say("a"))
        assert (await store.find(NAMESPACE)).heads == ()
