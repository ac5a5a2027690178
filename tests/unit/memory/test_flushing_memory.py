"""Flushing a memory, over every store (rows of specs/memory.md section 13 are named)."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from recollect.clock import ManualClock
from recollect.errors import FlushPending, MemoryLimitExceeded, PrivacyError
from recollect.memory.budget import held_tokens
from recollect.memory.memory import Memory
from recollect.memory.operations import FlushConfig, ReadConfig, StatsConfig
from recollect.messages import Message, encode
from recollect.stores.base import Store
from recollect.telemetry import Label, Telemetry
from tests.unit.memory.flushing_parts import calling, result, said

OpenMemory = Callable[..., Memory]
ARCHIVE = ReadConfig(source="archive")
SEED = {"type": "token_based", "max_tokens": 4000, "max_messages": 100}
STRATEGIES = ("simple_fifo", "priority", "hybrid_summary")


def contents(output: dict[str, Any]) -> list[str]:
    return [message["content"] for message in output["messages"]]


def talk(count: int, words: int = 20) -> list[Message]:
    return [
        said(f"{i} My name is Ana Lopez. " + "and so on " * words, "user" if i % 2 else "assistant")
        for i in range(count)
    ]


async def held(memory: Memory) -> int:
    output = await memory.stats()
    return held_tokens(output["message_count"], output["token_count"])


# ---- the operation: rows 7, 8, 9 -----------------------------------------------------------------


async def test_row_7_flush_archives_the_old_at_the_threshold(open_memory: OpenMemory) -> None:
    memory = open_memory(**SEED, disable_flush=True)
    sent: list[str] = []
    while await held(memory) < 3200:
        assert (await memory.flush())["messages_flushed"] == 0
        message = said(f"{len(sent)} " + "word " * 70)
        await memory.append([message])
        sent.append(message.text)
    output = await memory.flush()
    assert output["messages_flushed"] == output["archived"] > 0
    assert await held(memory) <= 2000
    live, archive = contents(await memory.read()), contents(await memory.read(ARCHIVE))
    assert archive + live == sent
    assert output["remaining_messages"] == output["message_count"] == len(live)
    assert output["remaining_tokens"] == output["token_count"]
    assert output["actual_strategy"] == "simple_fifo"
    assert output["summary_created"] is False


async def test_row_7_an_append_over_the_threshold_flushes_by_itself(
    open_memory: OpenMemory,
) -> None:
    memory = open_memory(**SEED)
    sent, flushes = [], 0
    for i in range(60):
        message = said(f"{i} " + "word " * 70)
        output = await memory.append([message])
        sent.append(message.text)
        flushes += output["messages_flushed"] > 0
        assert output["message_count"] == (await memory.stats())["message_count"]
        assert await held(memory) < 3200
    assert 1 <= flushes <= 3  # few and large
    assert contents(await memory.read(ARCHIVE)) + contents(await memory.read()) == sent


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("force", [False, True])
async def test_row_8_a_dry_run_equals_the_flush_and_changes_nothing(
    open_memory: OpenMemory, store: Store, strategy: str, force: bool
) -> None:
    memory = open_memory(
        **{**SEED, "max_tokens": 1000}, disable_flush=True, flushing={"type": strategy}
    )
    await memory.append([said("Be kind.", "system"), *talk(9 if force else 13)])
    before = await store.load(memory.address)
    dry = await memory.flush(FlushConfig(dry_run=True, force=force))
    assert before == await store.load(memory.address)
    real = await memory.flush(FlushConfig(force=force))
    assert dry["would_flush"] is True
    assert dry["messages_flushed"] > 0
    changed = {"dry_run", "would_flush", "message_count", "token_count"}
    assert {k: v for k, v in dry.items() if k not in changed} == {
        k: v for k, v in real.items() if k not in changed
    }
    assert real["actual_strategy"] == strategy
    assert real["remaining_messages"] == real["message_count"]


async def test_row_8_a_dry_run_below_the_threshold_says_no(open_memory: OpenMemory) -> None:
    memory = open_memory(**SEED)
    await memory.append(talk(2))
    dry = await memory.flush(FlushConfig(dry_run=True))
    assert (dry["would_flush"], dry["messages_flushed"]) == (False, 0)


async def test_row_9_force_flushes_below_the_threshold(open_memory: OpenMemory) -> None:
    memory = open_memory(**SEED)
    await memory.append(talk(10))
    assert (await memory.flush())["messages_flushed"] == 0
    assert (await memory.flush(FlushConfig(force=True)))["messages_flushed"] > 0


async def test_one_call_may_have_its_own_strategy_and_threshold(open_memory: OpenMemory) -> None:
    memory = open_memory(**{**SEED, "max_messages": 20})
    await memory.append([said("Be kind.", "system"), *talk(11)])
    assert (await memory.flush())["messages_flushed"] == 0
    output = await memory.flush(FlushConfig(threshold=0.5, strategy="hybrid_summary"))
    assert output["actual_strategy"] == "hybrid_summary"
    assert output["summary_created"] is True
    assert contents(await memory.read())[0] == "Be kind."
    assert (await memory.stats())["actual_strategy"] == "simple_fifo"


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_flush_takes_effect_once_per_key(open_memory: OpenMemory, strategy: str) -> None:
    """Its output is the same again, though the memory has gone on and flushed again meanwhile."""
    memory = open_memory(**SEED, flushing={"type": strategy})
    await memory.append(talk(20))
    force = FlushConfig(force=True)
    firsts = {}
    for key in ("k1", "k2", "k3"):
        firsts[key] = await memory.flush(force, idempotency_key=key)
        before = await memory.read()
        assert await memory.flush(force, idempotency_key=key) == firsts[key]
        assert await memory.read() == before
        facts = [said(f"My {key} budget for {n} is {n}00 euros. " * 3) for n in range(12)]
        await memory.append([*facts, *talk(20)])
    for key, first in firsts.items():
        assert first["tokens_freed"] > 0
        assert await memory.flush(force, idempotency_key=key) == first


async def test_a_flush_that_fell_back_says_so_again(open_memory: OpenMemory) -> None:
    memory = open_memory(**SEED, flushing={"type": "hybrid_summary", "summary_tokens": 1})
    await memory.append([said("hm"), said("hm"), said("hm"), said("hm")])
    force = FlushConfig(force=True)
    first = await memory.flush(force, idempotency_key="k")
    assert (first["summary_created"], first["actual_strategy"]) == (False, "simple_fifo")
    assert first["messages_flushed"] > 0
    assert await memory.flush(force, idempotency_key="k") == first


async def test_a_dry_run_has_no_use_for_a_key(open_memory: OpenMemory) -> None:
    memory = open_memory(**SEED)
    await memory.append(talk(20))
    await memory.flush(FlushConfig(force=True), idempotency_key="k")
    dry_run = FlushConfig(force=True, dry_run=True)
    assert await memory.flush(dry_run, idempotency_key="k") == await memory.flush(dry_run)


async def test_what_was_freed_is_not_made_up_when_it_cannot_be_read(
    open_memory: OpenMemory, store: Store
) -> None:
    """A write took the key; what the archive holds then is not what a flush moved."""
    memory = open_memory(**SEED)
    await memory.append(talk(20))
    await memory.write([said("anew")], idempotency_key="k")
    again = await memory.flush(FlushConfig(force=True), idempotency_key="k")
    assert again["tokens_freed"] is None


async def test_twins_with_one_key_flush_once(open_memory: OpenMemory) -> None:
    memory = open_memory(**SEED, flushing={"type": "hybrid_summary"})
    await memory.append(talk(20))

    async def flush() -> int:
        while True:
            try:
                config = FlushConfig(force=True)
                output = await memory.flush(config, idempotency_key="k")
            except FlushPending:
                continue
            return int(output["messages_flushed"])

    gone = await asyncio.gather(*(flush() for _ in range(5)))
    assert len(set(gone)) == 1
    assert (await memory.stats())["archived_count"] == gone[0]


# ---- hard limits: rows 17, 18 --------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_row_17_never_above_max_tokens_when_an_append_returns(
    open_memory: OpenMemory, strategy: str
) -> None:
    memory = open_memory(**SEED, flushing={"type": strategy})
    dice = random.Random(17)
    sent: set[str] = set()
    for i in range(300):
        words = dice.choice([1, 5, 30, 200, 900, 3000])
        message = said(f"{i} {dice.choice(['error', 'fine'])} " + "word " * words)
        output = await memory.append([message])
        sent.add(message.text)
        assert held_tokens(output["message_count"], output["token_count"]) <= 4000
    kept = {*contents(await memory.read()), *contents(await memory.read(ARCHIVE))}
    assert kept >= sent


async def test_row_17_a_share_of_the_context_window_is_a_hard_limit(
    open_memory: OpenMemory,
) -> None:
    memory = open_memory(type="token_based", max_context_ratio=0.1, model="gpt-4")
    stats = await memory.stats()
    assert stats["token_limit"] == 819
    for message in talk(40):
        output = await memory.append([message])
        assert held_tokens(output["message_count"], output["token_count"]) <= 819


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_row_18_never_above_max_messages(open_memory: OpenMemory, strategy: str) -> None:
    memory = open_memory(**SEED, flushing={"type": strategy})
    for i in range(500):
        output = await memory.append([said(f"short {i}")])
        assert output["total_count"] <= 100
        assert output["message_count"] <= 100
    assert contents(await memory.read())[-1] == "short 499"


async def test_limits_hold_with_many_writers_and_flushes(
    open_memory: OpenMemory, store: Store
) -> None:
    memory = open_memory(
        type="token_based", max_tokens=600, max_messages=30, flushing={"type": "hybrid_summary"}
    )

    async def writer(name: int) -> None:
        for i in range(25):
            output = await memory.append([said(f"w{name} {i} My cat is called Tom Jones {i}")])
            assert held_tokens(output["message_count"], output["token_count"]) <= 600
            if i % 5 == name:
                with suppress(FlushPending):
                    await memory.flush(FlushConfig(force=True))

    await asyncio.gather(*(writer(name) for name in range(5)))
    live, archive = (
        await store.load(memory.address),
        await store.load(memory.address, source="archive"),
    )
    assert live is not None
    assert archive is not None
    both = [m for m in (*archive.messages, *live.messages) if m.metadata.get("kind") != "summary"]
    assert sorted(m.text.split()[:2] for m in both) == sorted(
        [f"w{name}", str(i)] for name in range(5) for i in range(25)
    )
    assert live.head.token_count == sum(record.tokens for record in live.records)


async def test_what_can_never_fit_is_refused_and_nothing_changes(open_memory: OpenMemory) -> None:
    memory = open_memory(**{**SEED, "max_tokens": 100}, flushing={"type": "priority"})
    await memory.append([said("rule " * 60, "system")])
    with pytest.raises(MemoryLimitExceeded):  # what is critical is not taken away for it
        await memory.append([said("word " * 60)])
    assert contents(await memory.read()) == ["rule " * 60]


# ---- strategies in a memory: rows 56, 57, 58 -----------------------------------------------------


async def test_row_56_the_oldest_leave_first(open_memory: OpenMemory) -> None:
    memory = open_memory(type="token_based", max_tokens=1000)
    sent = [message.text for message in talk(40)]
    for message in talk(40):
        await memory.append([message])
    archive, live = contents(await memory.read(ARCHIVE)), contents(await memory.read())
    assert archive
    assert archive + live == sent


async def test_row_57_critical_messages_survive_every_flush(open_memory: OpenMemory) -> None:
    memory = open_memory(
        type="token_based",
        max_tokens=600,
        flushing={"type": "priority"},
        eviction_policy={"type": "priority", "protected_roles": ["tool"]},
    )
    dice = random.Random(57)
    critical: list[str] = []
    for i in range(200):
        message = said(f"{i} an error now and then" if i % 7 == 0 else f"{i} talk and talk")
        if i % 40 == 0:
            message = said(f"{i} rule", "system")
        elif i % 50 == 0:
            message = said(f"{i} never forget", priority=0)
        elif i % 60 == 0:
            message = said(f"{i} protected", "tool", priority=dice.randint(1, 9))
        if message.role in {"system", "tool"} or message.metadata.get("priority") == 0:
            critical.append(message.text)
        await memory.append([message])
    live = contents(await memory.read())
    assert [text for text in live if text in critical] == critical
    assert len(contents(await memory.read(ARCHIVE))) > 100


async def test_row_58_facts_survive_five_flushes_and_fifo_loses_them(
    open_memory: OpenMemory,
) -> None:
    facts = ["Ana Lopez", "XK42-9", "2026-04-12", "peanuts"]
    known = {}
    for strategy in ("simple_fifo", "hybrid_summary"):
        memory = open_memory(
            f"chat-{strategy}",
            type="token_based",
            max_tokens=800,
            flushing={"type": strategy, **({"summary_tokens": 120} if "h" in strategy else {})},
        )
        await memory.append([said("Call me Ana Lopez. The code is XK42-9.")])
        await memory.append([said("Noted.", "assistant"), said("We fly on 2026-04-12.")])
        await memory.append([said("I'm allergic to peanuts.")])
        flushes = 0
        for i in range(200):
            line = f"and what about the other thing we had in mind, {i}?"
            output = await memory.append([said(line, "user" if i % 2 else "assistant")])
            flushes += output["messages_flushed"] > 0
        assert flushes >= 5
        view = await memory.view()
        prompt = "\n".join(message.text for message in view.messages)
        known[strategy] = sum(fact in prompt for fact in facts)
    assert known == {"simple_fifo": 0, "hybrid_summary": 4}


async def test_row_58_a_summary_stands_first_and_its_originals_are_archived(
    open_memory: OpenMemory, store: Store
) -> None:
    memory = open_memory(max_messages=20, disable_flush=True, flushing={"type": "hybrid_summary"})
    sent = talk(18)
    await memory.append(sent)
    output = await memory.flush()
    assert output["summary_created"] is True
    live = await store.load(memory.address)
    assert live is not None
    assert live.records[0].seq == 1
    summary = live.messages[0]
    assert summary.metadata["summarized_count"] == output["messages_flushed"]
    assert contents(await memory.read(ARCHIVE)) == [m.text for m in sent[: output["archived"]]]
    assert list(live.messages[1:]) == sent[output["archived"] :]


async def test_the_archive_expires_with_the_conversation(
    open_memory: OpenMemory, clock: ManualClock
) -> None:
    memory = open_memory(max_messages=10, persistence={"ttl": "1h"})
    await memory.append(talk(9))
    assert contents(await memory.read(ARCHIVE))
    clock.advance(timedelta(hours=1))
    assert contents(await memory.read(ARCHIVE)) == []


# ---- privacy, models -----------------------------------------------------------------------------


EMAIL = r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b"


async def test_a_summary_is_redacted_before_it_is_stored(
    open_memory: OpenMemory, store: Store
) -> None:
    """The messages were stored before the policy was given the pattern."""
    fields: dict[str, Any] = {
        "max_messages": 40, "disable_flush": True, "flushing": {"type": "hybrid_summary"}
    }  # fmt: skip
    await open_memory(**fields).append([said("My address is ana@example.com."), *talk(20)])
    careful = open_memory(**fields, privacy_policy={"redact_patterns": [EMAIL]})
    assert (await careful.flush(FlushConfig(force=True)))["summary_created"] is True
    live = await store.load(careful.address)
    assert live is not None
    assert "My address is [REDACTED]" in live.messages[0].text
    assert all(b"ana@example.com" not in encode(message) for message in live.messages)


async def test_a_summary_that_redaction_makes_too_long_is_not_stored(
    open_memory: OpenMemory,
) -> None:
    fields: dict[str, Any] = {
        "max_messages": 40,
        "disable_flush": True,
        "flushing": {"type": "hybrid_summary", "summary_tokens": 100},
    }
    lines = [said(f"{i} My address is ana{i}@example.com. " + "so " * 60) for i in range(20)]
    await open_memory(**fields).append(lines)
    policy = {"redact_patterns": [EMAIL], "default_redaction_string": "hidden " * 15}
    careful = open_memory(**fields, privacy_policy=policy)
    output = await careful.flush(FlushConfig(force=True))
    assert (output["actual_strategy"], output["summary_created"]) == ("simple_fifo", False)


@pytest.mark.parametrize(
    ("kinds", "role"), [(["system"], "assistant"), (["system", "assistant"], "user")]
)
async def test_a_summary_has_a_role_that_the_memory_keeps(
    open_memory: OpenMemory, kinds: list[str], role: str
) -> None:
    memory = open_memory(
        max_messages=40,
        flushing={"type": "hybrid_summary"},
        privacy_policy={"non_persistable_message_types": kinds},
    )
    await memory.append([said(f"{i} My name is Ana Lopez. " + "so " * 30) for i in range(20)])
    await memory.flush(FlushConfig(force=True))
    assert (await memory.read())["messages"][0]["role"] == role


class Scribe:
    """A summarizer of which the tests decide what it writes, and which remembers being asked."""

    def __init__(self, store: Store, memory: Memory, text: str = "Ana wants tea.") -> None:
        self._store, self._memory = store, memory
        self.text = text
        self.error: Exception | None = None
        self.meanwhile: list[Message] = []
        self.asked: list[tuple[int, str, int]] = []

    async def summarize(self, messages: Sequence[Message], *, earlier: str, max_tokens: int) -> str:
        self.asked.append((len(messages), earlier, max_tokens))
        lease = await self._store.lease(
            self._memory.address, holder="probe", ttl=timedelta(seconds=5)
        )
        assert lease is not None, "a model was asked under a lease"
        await self._store.release(lease)
        await self._store.append(
            self._memory.address, [r for m in self.meanwhile if (r := self._memory.sealed(m))]
        )
        if self.error:
            raise self.error
        return self.text


def with_model(open_memory: OpenMemory, store: Store, **fields: Any) -> tuple[Memory, Scribe]:
    memory = open_memory(
        max_messages=20,
        disable_flush=True,
        flushing={"type": "hybrid_summary", "summary_model": "mock:x"},
        **fields,
    )
    scribe = Scribe(store, memory)
    return msgspec.structs.replace(memory, summarizer=scribe), scribe


async def test_a_model_writes_the_summary_outside_any_lease(
    open_memory: OpenMemory, store: Store
) -> None:
    memory, scribe = with_model(open_memory, store)
    scribe.meanwhile = [said("meanwhile")]
    await memory.append(talk(18))
    output = await memory.flush()
    assert output["summary_created"] is True
    read = contents(await memory.read())
    assert read[0].endswith("Ana wants tea.")
    assert read[-1] == "meanwhile"
    assert scribe.asked == [(output["messages_flushed"], "", 500)]
    assert output["token_count"] == (await memory.stats())["token_count"]
    scribe.text, scribe.meanwhile = "Ana wants tea and cake.", []
    await memory.flush(FlushConfig(force=True))
    assert scribe.asked[1][1].endswith("Ana wants tea.")
    assert contents(await memory.read())[0].endswith("tea and cake.")


async def test_a_dry_run_with_a_model_equals_the_flush(
    open_memory: OpenMemory, store: Store
) -> None:
    memory, _ = with_model(open_memory, store)
    await memory.append(talk(18))
    dry = await memory.flush(FlushConfig(dry_run=True))
    real = await memory.flush()
    for name in ("messages_flushed", "remaining_messages", "remaining_tokens", "tokens_freed"):
        assert dry[name] == real[name]


@pytest.mark.parametrize("failure", [RuntimeError("no"), TimeoutError(), PrivacyError("no")])
async def test_the_rules_summarise_when_the_model_fails(
    open_memory: OpenMemory, store: Store, failure: Exception
) -> None:
    memory, scribe = with_model(open_memory, store)
    scribe.error = failure
    await memory.append(talk(18))
    assert (await memory.flush())["summary_created"] is True
    assert "My name is Ana Lopez." in contents(await memory.read())[0]


async def test_the_rules_summarise_when_the_model_says_nothing(
    open_memory: OpenMemory, store: Store
) -> None:
    memory, scribe = with_model(open_memory, store)
    scribe.text = " "
    await memory.append(talk(18))
    await memory.flush()
    assert "My name is Ana Lopez." in contents(await memory.read())[0]


# ---- by threshold --------------------------------------------------------------------------------


async def test_a_crash_after_the_append_leaves_the_flush_to_the_next_one(
    open_memory: OpenMemory, store: Store
) -> None:
    memory = open_memory(max_messages=10)
    admitted = await memory.admitted(talk(9))
    await store.append(memory.address, admitted.records)  # and there the process died
    output = await memory.append([said("next")])
    assert output["messages_flushed"] > 0
    assert output["message_count"] == 5


async def test_disable_flush_leaves_the_threshold_alone(open_memory: OpenMemory) -> None:
    memory = open_memory(max_messages=10, disable_flush=True)
    assert (await memory.append(talk(9)))["messages_flushed"] == 0


async def test_another_holder_delays_a_flush_by_threshold_only(
    open_memory: OpenMemory, store: Store
) -> None:
    memory = open_memory(max_messages=10)
    await memory.append(talk(1))
    lease = await store.lease(memory.address, holder="other", ttl=timedelta(seconds=30))
    assert lease is not None
    assert (await memory.append(talk(8)))["messages_flushed"] == 0
    await store.release(lease)
    assert (await memory.append(talk(1)))["messages_flushed"] == 5


async def test_a_dead_holder_does_not_keep_appends_from_making_room(
    open_memory: OpenMemory, store: Store
) -> None:
    memory = open_memory(max_messages=10)
    await memory.append(talk(7))
    assert await store.lease(memory.address, holder="dead", ttl=timedelta(minutes=5))
    for i in range(6):
        output = await memory.append([said(f"new {i}")])
        assert output["message_count"] <= 10


async def test_a_flush_that_fails_does_not_fail_the_append_before_it(
    open_memory: OpenMemory, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = open_memory(max_messages=10)
    told: list[dict[str, Any]] = []
    telemetry = Telemetry()

    def listen(event: str, /, **labels: Label) -> None:
        told.append({"event": event, **labels})

    telemetry.listen(listen)
    memory = msgspec.structs.replace(memory, telemetry=telemetry)

    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("disk")

    with monkeypatch.context() as patch:
        patch.setattr(store, "fold", fail)
        output = await memory.append(talk(9))
    assert output["message_count"] == 9
    assert [t["status"] for t in told if t["event"] == "memory.flush"] == ["failure"]
    assert (await memory.append(talk(1)))["messages_flushed"] > 0


async def test_only_if_saves_waits_for_the_hard_limit(open_memory: OpenMemory) -> None:
    """Half of what is behind the flushed half has to be read anew: that saves nothing."""
    memory = open_memory(max_messages=10, flushing={"only_if_saves": True})
    counts = [(await memory.append([said(f"same {i}")]))["message_count"] for i in range(12)]
    assert counts == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 6, 7]
    assert (await memory.flush(FlushConfig(threshold=0.5)))["messages_flushed"] == 0
    assert (await memory.flush(FlushConfig(force=True)))["messages_flushed"] > 0


async def test_only_if_saves_flushes_when_it_does(open_memory: OpenMemory) -> None:
    memory = open_memory(
        max_messages=10, flushing={"only_if_saves": True, "target_utilization": 0.3}
    )
    counts = [(await memory.append([said(f"same {i}")]))["message_count"] for i in range(8)]
    assert counts == [1, 2, 3, 4, 5, 6, 7, 3]


async def test_a_crowd_of_appends_plans_one_flush(open_memory: OpenMemory, store: Store) -> None:
    memory, scribe = with_model(open_memory, store)
    memory = msgspec.structs.replace(
        memory, resource=memory.resource.model_copy(update={"disable_flush": False})
    )
    await memory.append(talk(15))
    await asyncio.gather(*(memory.append(talk(1)) for _ in range(4)))
    assert len(scribe.asked) == 1


# ---- what a prompt cache can use -----------------------------------------------------------------


async def test_the_view_is_byte_stable_between_flushes(open_memory: OpenMemory) -> None:
    memory = open_memory(max_messages=50, flushing={"type": "hybrid_summary"})
    before: list[bytes] = []
    broken = 0
    for message in talk(200):
        output = await memory.append([message])
        now = [encode(sent) for sent in (await memory.view()).messages]
        if now[: len(before)] != before:
            broken += 1
            assert output["messages_flushed"] > 0
        before = now
    assert 0 < broken <= 15


async def test_stats_tell_the_stable_prefix_and_what_the_next_flush_costs(
    open_memory: OpenMemory, store: Store
) -> None:
    memory = open_memory(max_messages=20, disable_flush=True)
    await memory.append([*talk(16), calling("a", "b"), result("a")])
    stats = await memory.stats()
    records = (await store.load(memory.address)).records  # type: ignore[union-attr]
    assert stats["prefix_stable_tokens"] == sum(r.tokens + 4 for r in records[:16])
    flushed = await memory.flush()
    assert stats["next_flush"] == {
        "messages": flushed["messages_flushed"],
        "tokens_freed": flushed["tokens_freed"],
        "tokens_invalidated": sum(r.tokens + 4 for r in records[flushed["messages_flushed"] :]),
        "strategy": "simple_fifo",
    }


async def test_stats_without_the_prompt_cache_read_the_head_alone(
    open_memory: OpenMemory, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = open_memory(max_messages=20, disable_flush=True)
    await memory.append([*talk(16), calling("a", "b"), result("a")])
    whole = await memory.stats()
    asked = loads(store, monkeypatch)
    counts = await memory.stats(StatsConfig(prompt_cache=False))
    assert asked == [0]
    assert counts == {k: whole[k] for k in whole if k not in {"prefix_stable_tokens", "next_flush"}}


@pytest.mark.parametrize(
    ("config", "needed"),
    [
        (StatsConfig(), None),
        (StatsConfig(prompt_cache=False, include_content=True), 100),
        (StatsConfig(prompt_cache=False, group_by="role"), None),
        (StatsConfig(include_content=True, group_by="role"), None),
    ],
)
async def test_stats_read_once_and_what_they_need(
    open_memory: OpenMemory,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    config: StatsConfig,
    needed: int | None,
) -> None:
    memory = open_memory(max_messages=200, disable_flush=True)
    await memory.append(talk(150))
    asked = loads(store, monkeypatch)
    output = await memory.stats(config)
    assert asked == [needed]
    assert output["message_count"] == 150
    if config.include_content:
        assert len(output["messages"]) == 100
    if config.group_by:
        assert sum(output["role_distribution"].values()) == 150


def loads(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """Note how many of the newest messages are asked of the store from now on."""
    asked: list[int | None] = []
    load = store.load

    async def noting(*args: Any, last: int | None = None, **options: Any) -> Any:
        asked.append(last)
        return await load(*args, last=last, **options)

    monkeypatch.setattr(store, "load", noting)
    return asked


async def test_stats_without_limits_name_no_next_flush(open_memory: OpenMemory) -> None:
    memory = open_memory()
    await memory.append(talk(3))
    stats = await memory.stats()
    assert stats["next_flush"] is None
    assert stats["prefix_stable_tokens"] == held_tokens(3, stats["token_count"])


async def test_a_view_is_as_small_as_asked(open_memory: OpenMemory) -> None:
    memory = open_memory()
    await memory.append(talk(30))
    view = await memory.view(500)
    assert 0 < view.tokens <= 500
    assert view.messages[-1].text == talk(30)[-1].text
    assert len((await memory.view(last=3)).messages) == 3
    assert (await open_memory("nobody").view()).messages == ()
