"""Classes of content: which message belongs where, and that no class outgrows its share."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.errors import MemoryLimitExceeded
from recollect.memory.budget import held_tokens
from recollect.memory.flushing.allocation import caps_of, class_of, plan_caps, touched
from recollect.memory.flushing.plan import plan_flush
from recollect.memory.memory import Memory
from recollect.memory.operations import FlushConfig, ReadConfig
from recollect.messages import Message, units
from recollect.stores.base import Store
from recollect.stores.records import Record
from tests.unit.memory.flushing_parts import (
    ALLOCATION,
    calling,
    chatter,
    conversations,
    records,
    resource,
    result,
    rules,
    said,
    sealed,
)

OpenMemory = Callable[..., Memory]
SHARES = {"system": 0.1, "short_term": 0.6, "long_term": 0.3}


def held(kept: list[Record] | tuple[Record, ...], class_: str, **shares: Any) -> int:
    allocation = resource(max_tokens=4000, token_allocation=shares or SHARES).token_allocation
    assert allocation is not None
    mine = [record for record in kept if class_of(record.message, allocation) == class_]
    return sum(held_tokens(1, record.tokens) for record in mine)


@pytest.mark.parametrize(
    ("message", "class_"),
    [
        (said("x", "system"), "system"),
        (said("x", "system", kind="summary"), "long_term"),
        (said("x"), "short_term"),
        (said("x", "tool"), "short_term"),
        (said("x", allocation="notes"), "notes"),
        (said("x", "system", allocation="notes"), "notes"),
        (said("x", allocation="unknown"), "short_term"),
        (said("x", allocation="system"), "short_term"),
        (said("x", allocation=["notes"]), "short_term"),
    ],
)
def test_the_class_of_a_message(message: Message, class_: str) -> None:
    allocation = resource(max_tokens=100, token_allocation=ALLOCATION).token_allocation
    assert allocation is not None
    assert class_of(message, allocation) == class_


def test_a_class_without_a_share_is_short_term() -> None:
    allocation = resource(max_tokens=100, token_allocation={"short_term": 1}).token_allocation
    assert allocation is not None
    assert class_of(said("x", "system"), allocation) == "short_term"
    assert class_of(said("x", "system", kind="summary"), allocation) == "short_term"


def test_caps_are_shares_of_the_limit_and_add_up_to_no_more() -> None:
    memory = resource(max_tokens=1001, token_allocation=ALLOCATION)
    assert {cap.name: cap.tokens for cap in caps_of(memory)} == {
        "system": 200,
        "long_term": 300,
        "notes": 200,
    }


@given(conversations(), st.integers(20, 300), st.booleans())
def test_whole_units_leave_a_class_until_it_fits(
    messages: list[Message], limit: int, heeds: bool
) -> None:
    policy = {"type": "priority" if heeds else "fifo"}
    block = {"priority": 3, "content_types": ["tool", "assistant"], "max_tokens": 30}
    memory = resource(
        max_tokens=limit,
        token_allocation=ALLOCATION,
        eviction_policy=policy,
        priority_blocks=[block] if heeds else [],
    )
    kept = records(*messages)
    plan = plan_caps(memory, caps_of(memory), kept)
    gone = {seq - 1 for seq in plan.remove}
    for unit in units(messages):
        assert gone.isdisjoint(unit.positions) or gone.issuperset(unit.positions)
        assert not unit.open or gone.isdisjoint(unit.positions)
    if plan.broken is None:
        left = [record for i, record in enumerate(kept) if i not in gone]
        for cap in caps_of(memory):
            mine = [record for record in left if cap.has(record.message)]
            assert sum(held_tokens(1, record.tokens) for record in mine) <= cap.tokens


def test_a_class_does_not_give_way_with_a_call_that_waits() -> None:
    block = {"priority": 3, "content_types": ["tool", "assistant"], "max_tokens": 40}
    memory = resource(priority_blocks=[block])
    kept = records(calling("a", "b"), result("a"), *[said("x", "assistant")] * 3)
    assert plan_caps(memory, caps_of(memory), kept).remove == (3,)


def test_a_class_gives_way_within_itself_the_oldest_first() -> None:
    memory = resource(max_tokens=200, token_allocation={"system": 0.1, "short_term": 0.9})
    kept = records(said("a", "system"), said("talk"), said("b", "system"))
    coming = [sealed(said("one two three four five six", "system"))]
    caps = touched(caps_of(memory), [coming[0].message])
    assert plan_caps(memory, caps, kept, coming).remove == (1,)


def test_a_flush_keeps_what_lives_on_a_share_of_its_own() -> None:
    memory = resource(type="token_based", max_tokens=200, token_allocation=SHARES)
    kept = records(said("fact", "system"), *chatter(15))
    plan = plan_flush(rules(memory), kept)
    assert 1 not in plan.remove
    assert plan.remove


def test_a_summary_fits_into_its_class() -> None:
    memory = resource(
        type="token_based",
        max_tokens=400,
        flushing={"type": "hybrid_summary", "summary_tokens": 300},
        token_allocation={"long_term": 0.1, "short_term": 0.9},
    )
    talk = [said(f"My friend Number{i} Smith lives in a very nice house") for i in range(30)]
    plan = plan_flush(rules(memory), records(*talk, tokens=None))
    assert plan.insert
    assert plan.insert[0].tokens + 4 <= 40


# ---- in a store: row 59 --------------------------------------------------------------------------


def turns(count: int) -> list[Message]:
    return [said(f"turn {i}: " + "words and more words " * 12) for i in range(count)]


async def test_row_59_shares_hold_whenever_an_append_returns(
    open_memory: OpenMemory, store: Store
) -> None:
    memory = open_memory(type="token_based", max_tokens=4000, token_allocation=SHARES)
    facts = [said(f"fact {i}: " + "is a fact " * 30, "system") for i in range(3)]
    summary = said("so far: " + "this was said " * 380, "system", kind="summary")
    for message in [*facts, summary, *turns(100)]:
        await memory.append([message])
        kept = (await store.load(memory.address)).records  # type: ignore[union-attr]
        assert held(kept, "system") <= 400
        assert held(kept, "long_term") <= 1200
        assert sum(held_tokens(1, record.tokens) for record in kept) <= 4000
    conversation = await store.load(memory.address)
    assert conversation is not None
    assert held(conversation.records, "long_term") > 1100
    assert held(conversation.records, "short_term") <= 2400
    assert [m.text for m in conversation.messages[:3]] == [fact.text for fact in facts]


async def test_row_59_short_term_borrows_what_is_free_and_gives_it_back(
    open_memory: OpenMemory, store: Store
) -> None:
    memory = open_memory(
        type="token_based",
        max_tokens=1000,
        token_allocation={"system": 0.4, "short_term": 0.6},
        flushing={"threshold": 1.0},
    )
    for message in turns(13):
        await memory.append([message])
    borrowed = (await store.load(memory.address)).records  # type: ignore[union-attr]
    assert held(borrowed, "short_term") > 600
    await memory.append([said("rule " * 380, "system")])
    kept = (await store.load(memory.address)).records  # type: ignore[union-attr]
    assert held(kept, "system") > 380
    assert held(kept, "short_term") <= 600


async def test_row_59_a_class_that_is_full_archives_its_oldest(open_memory: OpenMemory) -> None:
    memory = open_memory(type="token_based", max_tokens=400, token_allocation=SHARES)
    outputs = [await memory.append([said(f"rule {i} " + "so " * 10, "system")]) for i in range(5)]
    assert [output["messages_flushed"] for output in outputs] == [0, 0, 1, 1, 1]
    archive = await memory.read(ReadConfig(source="archive"))
    assert [m["content"][:6] for m in archive["messages"]] == ["rule 0", "rule 1", "rule 2"]


async def test_row_59_what_no_class_can_hold_is_refused_and_changes_nothing(
    open_memory: OpenMemory,
) -> None:
    memory = open_memory(type="token_based", max_tokens=400, token_allocation=SHARES)
    await memory.append([said("rule", "system")])
    before = await memory.read()
    for add in (memory.append, memory.write):
        with pytest.raises(MemoryLimitExceeded, match="'system', which holds at most 40 tokens"):
            await add([said("rule " * 60, "system")])
    assert await memory.read() == before


async def test_row_59_classes_hold_with_many_writers(open_memory: OpenMemory, store: Store) -> None:
    """Every reader at every moment sees the caps kept; nothing is lost."""
    memory = open_memory(type="token_based", max_tokens=1000, token_allocation=SHARES)
    await memory.append([said("start")])
    done = asyncio.Event()
    worst = 0

    async def watch() -> None:
        nonlocal worst
        while not done.is_set():
            conversation = await store.load(memory.address)
            assert conversation is not None
            worst = max(worst, held(conversation.records, "system"))
            await asyncio.sleep(0)

    async def writer(name: int) -> None:
        for i in range(10):
            role = "system" if i % 2 else "user"
            await memory.append([said(f"{name}-{i} some rule", role)])  # type: ignore[arg-type]

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(writer(name) for name in range(6)))
    done.set()
    await watching
    live, archive = (
        await store.load(memory.address),
        await store.load(memory.address, source="archive"),
    )
    assert live is not None
    texts = [m.text for m in live.messages] + [m.text for m in archive.messages if archive]  # type: ignore[union-attr]
    assert sorted(t for t in texts if t != "start") == sorted(
        f"{name}-{i} some rule" for name in range(6) for i in range(10)
    )
    assert 0 < worst <= 100


async def test_row_59_a_block_never_holds_more_than_its_tokens(
    open_memory: OpenMemory, store: Store
) -> None:
    memory = open_memory(
        max_messages=100,
        priority_blocks=[{"priority": 3, "content_types": ["note"], "max_tokens": 40}],
    )
    for i in range(20):
        await memory.append([said(f"note {i} of mine", type="note"), said("talk")])
        kept = (await store.load(memory.address)).records  # type: ignore[union-attr]
        notes = [record for record in kept if record.message.metadata.get("type") == "note"]
        assert 0 < sum(held_tokens(1, record.tokens) for record in notes) <= 40


async def test_an_append_to_a_class_takes_effect_once(open_memory: OpenMemory) -> None:
    memory = open_memory(type="token_based", max_tokens=400, token_allocation=SHARES)
    rules_ = [said(f"rule {i} " + "so " * 10, "system") for i in range(3)]
    for i, rule in enumerate(rules_):
        await memory.append([rule], idempotency_key=f"k{i}")
    before = await memory.read()
    archived = (await memory.stats())["archived_count"]
    await memory.append([rules_[2]], idempotency_key="k2")
    assert await memory.read() == before
    assert (await memory.stats())["archived_count"] == archived


async def test_disable_flush_keeps_a_full_class(open_memory: OpenMemory) -> None:
    memory = open_memory(
        type="token_based", max_tokens=400, token_allocation=SHARES, disable_flush=True
    )
    for _ in range(3):
        await memory.append([said("a rule of six words, no more", "system")])
    with pytest.raises(MemoryLimitExceeded):
        await memory.append([said("a rule of six words, no more", "system")])
    assert (await memory.stats())["archived_count"] == 0


async def test_a_forced_flush_leaves_classes_that_fit(open_memory: OpenMemory) -> None:
    memory = open_memory(type="token_based", max_tokens=4000, token_allocation=SHARES)
    await memory.append([said("rule", "system"), *chatter(10)])
    await memory.flush(FlushConfig(force=True))
    assert (await memory.read())["messages"][0]["content"] == "rule"
