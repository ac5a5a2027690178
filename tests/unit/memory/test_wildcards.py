"""Keys with a ``*``: specs/memory.md §2.5, and rows 6, 11, 12 and 39 of §13 for several keys."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import InvalidConversationId, InvalidInput, StoreUnavailable, TooManyKeys
from recollect.memory import wildcards
from recollect.memory.keys import Pattern
from recollect.memory.registry import Memories, Request
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, NewRecord

Make = Callable[..., Memories]
SECOND = timedelta(seconds=1)


class Talk:
    """The memory ``talk`` of a project, asked by name."""

    def __init__(self, memories: Memories, clock: ManualClock) -> None:
        self.memories, self.clock = memories, clock

    async def __call__(self, operation: str, key: str, **options: Any) -> dict[str, Any]:
        ref = options.pop("ref", "talk")
        request = Request(operation=operation, memory_ref=ref, key=key, **options)  # type: ignore[arg-type]
        return await self.memories.perform(request, now=self.clock.now())

    async def say(self, *keys: str, ref: str = "talk") -> None:
        for key in keys:
            await self("append", key, payload=f"in {key}", ref=ref)
            self.clock.advance(SECOND)

    async def contents(self, key: str) -> list[str]:
        return [m["content"] for m in (await self("read", key))["messages"]]


@pytest.fixture
def talk(make_memories: Make, clock: ManualClock) -> Talk:
    return Talk(make_memories({"id": "talk"}, {"id": "other"}), clock)


# ---- which keys ----------------------------------------------------------------------------------


async def test_only_keys_that_match_are_meant(talk: Talk) -> None:
    await talk.say("user:2:a", "user:1:b", "user:1:a", "user:10:a", "x:user:1:a")
    assert (await talk("read", "user:1:*"))["keys"] == ["user:1:a", "user:1:b"]
    assert (await talk("read", "*:a"))["keys"] == [
        "user:10:a",
        "user:1:a",
        "user:2:a",
        "x:user:1:a",
    ]


async def test_other_memories_and_projects_are_never_meant(
    talk: Talk, make_memories: Make, clock: ManualClock
) -> None:
    """Row 39."""
    await talk.say("a")
    await talk.say("b", ref="other")
    neighbour = Talk(make_memories({"id": "talk"}, project_id="demo2"), clock)
    await neighbour.say("c")
    assert (await talk("read", "*"))["keys"] == ["a"]
    assert (await talk("delete", "*"))["deleted_keys"] == 1
    assert await neighbour.contents("c") == ["in c"]
    assert (await talk("read", "b", ref="other"))["count"] == 1


async def test_a_further_pattern_chooses_among_them(talk: Talk) -> None:
    await talk.say("user:1:a", "user:1:b")
    output = await talk("read", "user:*", config={"pattern": "*:b"})
    assert output["keys"] == ["user:1:b"]
    cleared = await talk("clear", "user:*", config={"confirm": True, "pattern": "*:b"})
    assert cleared["keys"] == ["user:1:b"]
    assert await talk.contents("user:1:a") == ["in user:1:a"]


async def test_a_further_pattern_needs_several_keys(talk: Talk) -> None:
    with pytest.raises(InvalidInput, match="leave the pattern out"):
        await talk("read", "user:1:a", config={"pattern": "*"})


async def test_small_batches_find_the_same(talk: Talk) -> None:
    await talk.say(*(f"k{number}" for number in range(7)))
    for batch_size in (1, 3, 10_000):
        output = await talk("read", "k*", batch_size=batch_size)
        assert output["keys"] == [f"k{number}" for number in range(7)]


@pytest.mark.parametrize("operation", ["write", "append"])
async def test_what_adds_needs_one_key(talk: Talk, operation: str) -> None:
    with pytest.raises(InvalidInput, match="needs one key"):
        await talk(operation, "user:*", payload="x")
    assert (await talk("read", "*"))["keys"] == []


async def test_opening_needs_one_key(talk: Talk) -> None:
    with pytest.raises(InvalidConversationId, match="must be one"):
        talk.memories.open("talk", "user:*")


async def test_a_hidden_key_is_found_in_its_stored_form(
    make_memories: Make, clock: ManualClock
) -> None:
    policy = {"redact_patterns": [r"[a-z]+@[a-z.]+"]}
    talk = Talk(make_memories({"id": "talk", "privacy_policy": policy}), clock)
    await talk.say("user:ada@x.org:a")
    (key,) = (await talk("read", "user:*"))["keys"]
    assert "ada" not in key
    assert await talk.contents(key) == ["in user:[REDACTED]:a"]
    with pytest.raises(InvalidConversationId, match="hides"):
        await talk("delete", "user:ada@x.org:*")


# ---- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["delete", "flush", "clear"])
async def test_more_than_max_keys_are_not_changed(talk: Talk, operation: str) -> None:
    await talk.say("a1", "a2", "a3")
    config = {"clear": {"confirm": True}, "flush": {"force": True}}.get(operation)
    with pytest.raises(TooManyKeys, match="more than 2 conversations") as caught:
        await talk(operation, "a*", max_keys=2, config=config)
    assert caught.value.code == "SAFETY_LIMIT_EXCEEDED"
    assert (await talk("read", "a*"))["total_count"] == 3
    await talk(operation, "a*", max_keys=3, config=config)


async def test_a_flush_may_have_its_own_max_keys(talk: Talk) -> None:
    await talk.say("a1", "a2")
    with pytest.raises(TooManyKeys):
        await talk("flush", "a*", config={"max_keys": 1})
    await talk("flush", "a*", max_keys=2, config={"max_keys": 0})


async def test_a_read_of_more_says_so(talk: Talk) -> None:
    await talk.say("a2", "a1", "a3")
    output = await talk("read", "a*", max_keys=2)
    assert (output["keys"], output["has_more"]) == (["a1", "a2"], True)
    assert (await talk("stats", "a*", max_keys=2))["has_more"] is True
    assert (await talk("stats", "a*", max_keys=3))["has_more"] is False


# ---- reading -------------------------------------------------------------------------------------


async def spoken(talk: Talk) -> None:
    for key, count in (("b", 2), ("a", 3), ("c", 1)):
        for number in range(count):
            await talk("append", key, payload=f"{key}{number}")


@pytest.mark.parametrize(
    ("config", "read", "has_more"),
    [
        ({}, "a0 a1 a2 b0 b1 c0", False),
        ({"limit": 4}, "a0 a1 a2 b0", True),
        ({"limit": 2, "offset": 2}, "a2 b0", True),
        ({"offset": 4}, "b1 c0", False),
        ({"offset": 9}, "", False),
        ({"last": 1}, "a2 b1 c0", True),
        ({"last": 9}, "a0 a1 a2 b0 b1 c0", False),
    ],
)
async def test_messages_come_by_key_then_time(
    talk: Talk, config: dict[str, int], read: str, has_more: bool
) -> None:
    await spoken(talk)
    output = await talk("read", "*", config=config)
    assert [m["content"] for m in output["messages"]] == read.split()
    assert (output["count"], output["total_count"]) == (len(read.split()), 6)
    assert output["has_more"] is has_more
    assert output["keys"] == ["a", "b", "c"]
    counts = {result["key"]: result["count"] for result in output["results"]}
    assert sum(counts.values()) == output["count"]


async def test_the_archive_of_several_is_read(talk: Talk) -> None:
    await talk.say("a", "b")
    await talk("write", "a", payload="new")
    output = await talk("read", "*", config={"source": "archive"})
    assert [m["content"] for m in output["messages"]] == ["in a"]
    with pytest.raises(InvalidInput, match="one archive"):
        await talk("read", "*", config={"source": "archive", "batch": "write"})


async def test_last_and_limit_exclude_each_other(talk: Talk) -> None:
    with pytest.raises(InvalidInput, match="not by both"):
        await talk("read", "*", config={"last": 1, "limit": 1})


async def test_a_pattern_that_nothing_matches_is_empty(talk: Talk) -> None:
    for operation in ("read", "delete", "flush", "stats", "health"):
        output = await talk(operation, "nothing:*")
        assert (output["success"], output["keys"]) == (True, [])


# ---- changing ------------------------------------------------------------------------------------


async def test_all_are_deleted_and_no_other(talk: Talk) -> None:
    await talk.say("a1", "a2", "b")
    output = await talk("delete", "a*")
    assert (output["deleted"], output["deleted_keys"]) == (True, 2)
    assert (await talk("read", "*"))["keys"] == ["b"]
    assert (await talk("delete", "a*"))["deleted"] is False


async def test_all_are_cleared_when_that_is_confirmed(talk: Talk) -> None:
    await talk.say("a1", "a2")
    for key in ("a*", "nothing:*"):
        with pytest.raises(InvalidInput, match="confirm"):
            await talk("clear", key)
    output = await talk("clear", "a*", config={"confirm": True, "backup": True})
    assert (output["messages_cleared"], output["backup_created"]) == (2, True)
    backups = [result["backup_key"] for result in output["results"]]
    assert [await talk.contents(key) for key in backups] == [["in a1"], ["in a2"]]
    assert await talk.contents("a1") == []


async def test_a_flush_tells_how_many_keys_it_changed(talk: Talk) -> None:
    await talk.say("a1", "a1", "a1", "a2")
    dry = await talk("flush", "a*", config={"force": True, "dry_run": True})
    done = await talk("flush", "a*", config={"force": True})
    assert dry["would_flush"] is True
    for name in ("messages_flushed", "remaining_messages", "flushed_keys", "remaining_keys"):
        assert dry[name] == done[name], name
    assert done["messages_flushed"] > 0
    assert done["flushed_keys"] + done["remaining_keys"] == 2


async def test_a_flush_that_is_done_again_tells_the_same(talk: Talk) -> None:
    await talk.say("a1", "a1", "a1", "a2")
    once: dict[str, Any] = {"config": {"force": True}, "idempotency_key": "run/1"}
    first = await talk("flush", "a*", **once)
    assert first["messages_flushed"] > 0
    assert first["tokens_freed"] > 0
    assert await talk("flush", "a*", **once) == first


async def test_a_total_that_is_not_known_is_not_made_up(talk: Talk) -> None:
    await talk.say("a1", "a2")
    await talk("write", "a1", payload="anew", idempotency_key="taken")
    output = await talk("flush", "a*", config={"force": True}, idempotency_key="taken")
    assert [result["tokens_freed"] for result in output["results"]] == [None, 0]
    assert output["tokens_freed"] is None


async def test_stats_and_health_add_up(talk: Talk) -> None:
    await talk.say("a1", "a1", "a2")
    stats = await talk("stats", "a*")
    assert (stats["message_count"], [r["message_count"] for r in stats["results"]]) == (3, [2, 1])
    health = await talk("health", "a*")
    assert (health["healthy"], health["store_status"], health["message_count"]) == (
        True, "connected", 3,
    )  # fmt: skip


async def test_doing_it_again_with_its_key_means_the_same_conversations(talk: Talk) -> None:
    """A crash may let a task delete twice: what was made meanwhile was not meant."""
    await talk.say("a1")
    request = Request(operation="delete", memory_ref="talk", key="a*", idempotency_key="run/1")
    now = talk.clock.now()
    talk.clock.advance(SECOND)
    await talk.memories.perform(request, now=now)
    await talk.say("a1", "a2")
    await talk.memories.perform(request, now=now)
    assert (await talk("read", "a*"))["keys"] == ["a1", "a2"]


# ---- some fail -----------------------------------------------------------------------------------


async def damaged_memories(talk: Talk, *keys: str) -> list[Any]:
    await talk.say(*keys)
    return [talk.memories.open("talk", key) for key in keys]


async def test_a_key_that_fails_stops_no_other(talk: Talk) -> None:
    memories = await damaged_memories(talk, "a", "b", "c")

    async def work(memory: Any) -> dict[str, Any]:
        if memory.key == "b":
            raise StoreUnavailable("no answer")
        return await memory.delete()  # type: ignore[no-any-return]

    output = await wildcards.each("delete", memories, work, about={"operation": "delete"})
    assert (output["success"], output["failed_keys"], output["deleted_keys"]) == (False, 1, 2)
    assert [result["success"] for result in output["results"]] == [True, False, True]
    assert output["results"][1]["error"]["code"] == "MEMORY_PERSISTENCE_ERROR"
    assert (await talk("read", "*"))["keys"] == ["b"]


async def test_when_all_fail_so_does_the_operation(talk: Talk) -> None:
    memories = await damaged_memories(talk, "a", "b")

    async def work(memory: Any) -> dict[str, Any]:
        raise StoreUnavailable("no answer")

    with pytest.raises(StoreUnavailable):
        await wildcards.each("delete", memories, work, about={})


async def test_conversations_of_other_namespaces_are_never_found(store: Store) -> None:
    for namespace in ("n", "n/x", "m"):
        await store.append(ConversationId(namespace, "k"), [NewRecord(Message("user", "x"))])
    selection = wildcards.Selection(patterns=(Pattern("*"),))
    found = await wildcards.find(store, "n", selection)
    assert [head.conversation for head in found.heads] == [ConversationId("n", "k")]
