# ruff: noqa: D102 - the name of a test is its sentence
"""Any history of calls: Hypothesis drives a store and the model side by side."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from recollect.clock import ManualClock
from recollect.errors import KeyReused, LeaseLost, VersionConflict
from recollect.messages import encode
from recollect.stores.base import Store
from recollect.stores.records import (
    Conversation,
    ConversationId,
    Head,
    Lease,
    Limits,
    NewRecord,
    Order,
    Written,
)
from recollect.testing.promises.building import (
    DAY,
    HOUR,
    NAMESPACE,
    SECOND,
    TICK,
    MakeStore,
    said,
    walk,
)
from recollect.testing.promises.model import Given, Line, Model, Said

CONVERSATIONS = [ConversationId(NAMESPACE, name) for name in ("a", "b")]
REFUSALS = (KeyReused, LeaseLost, VersionConflict)

# Few values, so that histories meet themselves again.
conversations = st.sampled_from([CONVERSATIONS[0], *CONVERSATIONS])
spoken = st.lists(st.tuples(st.sampled_from(["x", "y", "z\u20ac"]), st.integers(0, 5)), max_size=4)
metadata: st.SearchStrategy[dict[str, Any] | None] = st.none() | st.dictionaries(
    st.sampled_from(["m", "n"]), st.none() | st.integers(0, 2) | st.just({"q": []}), max_size=2
)
owners = st.none() | st.sampled_from(["ann", "bob"])
ttls = st.none() | st.sampled_from([60 * SECOND, HOUR, 8 * DAY])
labels = st.none() | st.sampled_from(["old", "older"])
keys = st.none() | st.sampled_from(["k1", "k2", "k3"])
delete_keys = st.none() | st.sampled_from(["d1", "d2"])
limits = st.sampled_from([Limits()] * 3) | st.builds(
    Limits,
    max_messages=st.none() | st.integers(0, 6),
    max_tokens=st.none() | st.integers(0, 15),
    message_overhead_tokens=st.integers(0, 2),
)
chances = st.integers(0, 8)  # small numbers choose something unusual
steps = st.sampled_from([TICK, SECOND, 30 * SECOND, 60 * SECOND, HOUR, 7 * DAY])


class History(RuleBasedStateMachine):
    """The same calls to a store and to the model; their answers and states must agree."""

    make_store: Callable[..., Store]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.latest = self.clock.now()
        self.ended = self.clock.now()  # the last moment at which something ended
        self.stepped_back = False
        self.model = Model()
        self.leases: list[Lease] = []
        self.keyed: list[tuple[str, tuple[Any, ...], Given]] = []
        self.store = self.run(type(self).make_store(self.clock).open())

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        """Await a call to the store."""
        return self.runner.run(call)

    def agree(self, call: Coroutine[Any, Any, Any], expect: Callable[[], Any]) -> None:
        """Make a call, ask the model, and insist on one answer or one refusal."""
        actual: Any
        try:
            actual = self.run(call)
        except REFUSALS as error:
            actual = type(error)
        if isinstance(actual, Written):
            self.model.new_generation = actual.head.generation
        expected: Any
        try:
            expected = expect()
        except REFUSALS as error:
            expected = type(error)
        assert actual == expected

    def some_lease(self, pick: int) -> Lease | None:
        """Return one of the leases given out so far; mostly none."""
        return self.leases[-pick] if 0 < pick <= min(3, len(self.leases)) else None

    # ---- writes ----------------------------------------------------------------------------------

    def write(self, kind: str, *args: Any, **given: Any) -> None:
        """Make one write; ``args`` are what its method takes by position, messages as ``Said``."""
        if given.get("key"):
            self.keyed.append((kind, args, given))
        now = self.clock.now()
        calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "append": lambda: self.store.append(args[0], _records(args[1]), **given),
            "replace": lambda: self.store.replace(args[0], _records(args[1]), **given),
            "fold": lambda: self.store.fold(args[0], args[1], _records(args[2]), **given),
            "annotate": lambda: self.store.annotate(*args, **given),
            "delete": lambda: self.store.delete(*args, **given),
        }
        expect = getattr(self.model, kind)
        if kind == "annotate":
            self.agree(calls[kind](), lambda: expect(now, args[0], {"metadata": args[1], **given}))
        else:
            self.agree(calls[kind](), lambda: expect(now, *args, given))

    @initialize(new=spoken, ttl=ttls)
    def begin(self, new: list[Said], ttl: timedelta | None) -> None:
        """Begin with one conversation."""
        self.write("append", CONVERSATIONS[0], new, ttl=ttl, key="k1")

    @rule(one=conversations, new=spoken, metadata=metadata, owner=owners, ttl=ttls, limits=limits,
          key=keys, lease=chances)  # fmt: skip
    def append(self, one: ConversationId, new: list[Said], lease: int, **given: Any) -> None:
        """Append."""
        self.write("append", one, new, **given, lease=self.some_lease(lease))

    @rule(one=conversations, new=spoken, metadata=metadata, owner=owners, ttl=ttls, limits=limits,
          key=keys, lease=chances, archive_as=labels, version=chances)  # fmt: skip
    def replace(
        self, one: ConversationId, new: list[Said], lease: int, version: int, **given: Any
    ) -> None:
        """Replace."""
        given["expect_version"] = self.some_version(one, version)
        self.write("replace", one, new, **given, lease=self.some_lease(lease))

    @precondition(lambda self: any(talk.live for talk in self.model.talks.values()))
    @rule(one=conversations, new=spoken, limits=limits, key=keys, lease=chances, archive_as=labels,
          seed=st.randoms(use_true_random=False), stale=chances)  # fmt: skip
    def fold(
        self, one: ConversationId, new: list[Said], lease: int, seed: Any, stale: int, **given: Any
    ) -> None:
        """Fold some live messages; now and then one that is not live."""
        live = [line.seq for line in talk.live] if (talk := self.model.talks.get(one)) else []
        remove = seed.sample(live, seed.randint(min(1, len(live)), len(live)))
        if not remove or stale == 1:
            remove = [*remove, 999]
        self.write("fold", one, remove, new[: len(remove)], **given, lease=self.some_lease(lease))

    @rule(one=conversations, metadata=metadata, owner=owners, ttl=ttls, key=keys)
    def annotate(self, one: ConversationId, metadata: Any, **given: Any) -> None:
        """Annotate."""
        self.write("annotate", one, metadata, **given)

    @rule(one=conversations, key=delete_keys, lease=chances, version=chances)
    def delete(self, one: ConversationId, key: str | None, lease: int, version: int) -> None:
        """Delete; keys of its own, as the contract leaves open what else they would do later."""
        expected = self.some_version(one, version)
        if self.model.living(self.clock.now(), one) is None:
            expected = None
        self.write("delete", one, key=key, lease=self.some_lease(lease), expect_version=expected)

    @precondition(lambda self: self.keyed)
    @rule(pick=st.integers(1, 4))
    def repeat(self, pick: int) -> None:
        """Make one of the last writes that had a key once more."""
        kind, args, given = self.keyed[-min(pick, len(self.keyed))]
        known = self.model.deletes.get((args[0], given["key"]))
        if (
            kind != "delete"
            or self.model.living(self.clock.now(), args[0]) is not None
            or (known is not None and self.clock.now() < known.until)
        ):
            self.write(kind, *args, **given)

    def some_version(self, one: ConversationId, pick: int) -> int | None:
        """Return the right version, a wrong one, or mostly none."""
        talk = self.model.living(self.clock.now(), one)
        right = talk.version if talk else 0
        return {1: right, 2: right, 3: right + 1}.get(pick)

    # ---- leases, time, upkeep --------------------------------------------------------------------

    @rule(
        one=conversations, holder=st.sampled_from(["v", "w"]), ttl=st.sampled_from([SECOND, HOUR])
    )
    def lease(self, one: ConversationId, holder: str, ttl: timedelta) -> None:
        """Take or renew a lease."""
        lease = self.run(self.store.lease(one, holder=holder, ttl=ttl))
        assert lease == self.model.lease(self.clock.now(), one, holder, ttl)
        if lease is not None:
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(pick=st.integers(1, 4))
    def release(self, pick: int) -> None:
        """Give back one of the leases given out so far."""
        lease = self.some_lease(pick) or self.leases[-1]
        self.agree(self.store.release(lease), lambda: self.model.release(self.clock.now(), lease))

    @rule(by=steps)
    def wait(self, by: timedelta) -> None:
        """Let time go by."""
        self.clock.advance(by)
        now = self.clock.now()
        self.latest = max(self.latest, now)
        self.ended = max([self.ended, *(end for end in self.model.deadlines() if end <= now)])

    @rule(by=st.sampled_from([SECOND, 20 * SECOND]))
    def step_back(self, by: timedelta) -> None:
        """Set the clock back a little, but never to before something ended."""
        target = max(self.clock.now() - by, self.latest - 20 * SECOND, self.ended)
        self.clock.advance(min(target - self.clock.now(), timedelta(0)))
        self.stepped_back = True

    @rule(limit=st.sampled_from([1, 3, 1000]))
    def sweep(self, limit: int) -> None:
        """Sweep: the invariant below sees that nothing visible changes."""
        self.run(self.store.sweep(limit=limit))

    # ---- reads -----------------------------------------------------------------------------------

    @rule(one=conversations, number=st.integers(0, 6), limit=st.none() | st.integers(0, 4),
          how=st.sampled_from(["last", "offset", "after"]), archive=st.booleans(),
          batch=labels)  # fmt: skip
    def load(
        self,
        one: ConversationId,
        number: int,
        limit: int | None,
        how: str,
        archive: bool,
        batch: str | None,
    ) -> None:
        """Read a slice."""
        chosen: dict[str, Any] = {how: number}
        if how != "last":
            chosen["limit"] = limit
        if archive:
            chosen |= {"source": "archive", "batch": batch}
        found: Conversation | None = self.run(self.store.load(one, **chosen))
        talk = self.model.living(self.clock.now(), one)
        assert (found is None) == (talk is None)
        if found is None or talk is None:
            return
        lines = talk.archive if archive else talk.live
        if archive and batch is not None:
            lines = [line for line in lines if line.batch == batch]
        if how == "last":
            lines = lines[len(lines) - min(number, len(lines)) :]
        elif how == "offset":
            lines = lines[number:]
        else:
            lines = [line for line in lines if line.seq > number]
        expected = lines if chosen.get("limit") is None else lines[:limit]
        assert _lines(found) == expected

    @rule(owner=owners, prefix=st.sampled_from([None, "a", "x"]), order=st.sampled_from(["active",
          "created"]), limit=st.integers(1, 3), since=st.none() | steps)  # fmt: skip
    def find(
        self,
        owner: str | None,
        prefix: str | None,
        order: Order,
        limit: int,
        since: timedelta | None,
    ) -> None:
        """Walk over all pages."""
        start = None if since is None else self.clock.now() - since
        pages = self.run(
            walk(self.store, order=order, limit=limit, owner=owner, prefix=prefix, since=start)
        )
        found: list[Head] = [head for page in pages for head in page.heads]
        expected = [
            head
            for head in self.model.heads(self.clock.now())
            if (owner is None or head.owner == owner)
            and (prefix is None or head.conversation.id.startswith(prefix))
            and (start is None or head.updated_at >= start)
        ]
        assert _sorted(found) == _sorted(expected)
        self.in_order(found, order)

    def in_order(self, heads: Sequence[Head], order: Order) -> None:
        """Insist on the order; ties may stand either way, and a clock that stepped back ties all."""
        if order == "active":
            times = [head.updated_at for head in heads]
            assert times == sorted(times, reverse=True)
        elif not self.stepped_back:
            times = [head.created_at for head in heads]
            assert times == sorted(times)

    @invariant()
    def everything_agrees(self) -> None:
        """Whatever was done: heads, live messages, archive, metadata and totals agree."""
        now = self.clock.now()
        live = self.run(self.store.load_many(CONVERSATIONS))
        size = 0
        for one, found in zip(CONVERSATIONS, live, strict=True):
            talk = self.model.living(now, one)
            archive = self.run(self.store.load(one, source="archive"))
            assert (found is None) == (archive is None) == (talk is None)
            if talk is not None:
                assert (found.head, _lines(found)) == (talk.head(), talk.live)
                assert (archive.head, _lines(archive)) == (talk.head(), talk.archive)
                assert found.decoded_metadata() == talk.metadata
                for key in ("k1", "k2", "k3"):
                    known = self.run(self.store.recall(one, key))
                    assert known == self.model.recall(now, one, key)
                size += sum(len(encode(m)) for m in found.messages + archive.messages)
        orders: list[Order] = ["active", "created"]
        for order in orders:
            heads = self.run(self.store.find(NAMESPACE, order=order)).heads
            assert _sorted(heads) == _sorted(self.model.heads(now))
            self.in_order(heads, order)
        totals = self.run(self.store.measure(NAMESPACE))
        assert totals.stored_bytes == size
        assert (totals.conversations, totals.messages, totals.tokens, totals.archived) == (
            (t := self.model.totals(now)).conversations,
            t.messages,
            t.tokens,
            t.archived,
        )
        assert (totals.oldest, totals.newest) == (t.oldest, t.newest)

    def teardown(self) -> None:
        """Close the store and its loop."""
        self.run(self.store.close())
        self.runner.close()


class Histories:
    """A store agrees with the model, whatever is done to it."""

    histories = 60
    """How many are tried, of up to 40 steps each; a wrapper of a store that is tried too needs fewer."""

    async def test_any_history_agrees_with_the_model(self, make_store: MakeStore) -> None:
        machine = type("History", (History,), {"make_store": staticmethod(make_store)})
        chosen = settings(
            max_examples=self.histories,
            stateful_step_count=40,
            deadline=None,
            derandomize=os.environ.get("CI") == "true",
            database=None,
            phases=(Phase.generate, Phase.shrink),
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        )
        await asyncio.to_thread(run_state_machine_as_test, machine, settings=chosen)


def _records(new: list[Said]) -> list[NewRecord]:
    return [said(text, tokens=tokens) for text, tokens in new]


def _lines(found: Conversation) -> list[Line]:
    return [Line(r.seq, r.message.text, r.tokens, r.batch) for r in found.records]


def _sorted(heads: Sequence[Head]) -> list[Head]:
    return sorted(heads, key=lambda head: head.conversation)
