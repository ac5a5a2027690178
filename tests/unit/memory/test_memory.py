"""The eight operations, over every store (rows of specs/memory.md section 13 are named)."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import (
    FlushPending,
    InvalidInput,
    KeyReused,
    MemoryLimitExceeded,
    MemoryResourceNotFound,
    RegistryNotProvided,
)
from recollect.memory.budget import held_tokens
from recollect.memory.memory import Memory
from recollect.memory.operations import (
    ClearConfig,
    FlushConfig,
    HealthConfig,
    ReadConfig,
    StatsConfig,
)
from recollect.memory.registry import Memories, Registry, Request
from recollect.messages import Message, ToolCall, ToolCallFunction
from recollect.stores.base import Store

OpenMemory = Callable[..., Memory]
EMAIL = r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b"


def user(text: str, **fields: Any) -> Message:
    return Message(role="user", content=text, **fields)


def contents(output: dict[str, Any]) -> list[str]:
    return [message["content"] for message in output["messages"]]


# ---- write, append, read -------------------------------------------------------------------------


async def test_write_makes_the_content_exactly_the_payload(open_memory: OpenMemory) -> None:
    """Row 3."""
    memory = open_memory()
    await memory.write([user("one"), user("two")])
    output = await memory.write([user("three", metadata={"a": {"b": [1]}})])
    assert (output["messages_written"], output["replaced_count"]) == (1, 2)
    read = await memory.read()
    assert contents(read) == ["three"]
    assert read["messages"][0]["metadata"] == {"a": {"b": [1]}}


async def test_what_a_write_replaced_is_in_the_archive(open_memory: OpenMemory) -> None:
    memory = open_memory()
    await memory.write([user("one")])
    await memory.write([user("two")])
    assert contents(await memory.read(ReadConfig(source="archive"))) == ["one"]


async def test_append_adds_in_order_and_creates_what_is_missing(open_memory: OpenMemory) -> None:
    """Row 5."""
    memory = open_memory()
    output = await memory.append([user("one"), user("two")])
    assert (output["messages_added"], output["total_count"]) == (2, 2)
    assert (await memory.append([user("three")]))["total_count"] == 3
    assert contents(await memory.read()) == ["one", "two", "three"]


async def test_every_output_names_the_operation_the_memory_and_the_key(
    open_memory: OpenMemory,
) -> None:
    memory = open_memory()
    for output in (
        await memory.append([user("x")]),
        await memory.write([user("x")]),
        await memory.read(),
        await memory.stats(),
        await memory.health(),
        await memory.flush(),
        await memory.clear(ClearConfig(confirm=True)),
        await memory.delete(),
    ):
        assert output["success"] is True
        assert output["memory_ref"] == "talk"
        assert output["key"] == "conv:u1:s1"
        assert output["operation"]


async def test_read_pages_from_the_oldest(open_memory: OpenMemory) -> None:
    """Row 4."""
    memory = open_memory()
    await memory.append([user(str(i)) for i in range(25)])
    page = await memory.read(ReadConfig(limit=10, offset=20))
    assert contents(page) == ["20", "21", "22", "23", "24"]
    assert (page["count"], page["total_count"], page["has_more"]) == (5, 25, False)
    assert (await memory.read(ReadConfig(limit=10, offset=10)))["has_more"] is True
    assert contents(await memory.read(ReadConfig(offset=30))) == []


async def test_a_read_without_limit_keeps_the_newest_thousand(open_memory: OpenMemory) -> None:
    memory = open_memory()
    await memory.append([user(str(i)) for i in range(1000)])
    await memory.append([user(str(i)) for i in range(1000, 1005)])
    read = await memory.read()
    assert (read["count"], read["total_count"], read["offset"]) == (1000, 1005, 5)
    assert contents(read)[-1] == "1004"


async def test_the_newest_can_be_asked_for(open_memory: OpenMemory) -> None:
    memory = open_memory()
    await memory.append([user(str(i)) for i in range(5)])
    assert contents(await memory.read(ReadConfig(last=2))) == ["3", "4"]
    with pytest.raises(InvalidInput, match="not by both"):
        await memory.read(ReadConfig(last=2, offset=1))


async def test_a_missing_key_reads_as_an_empty_conversation(open_memory: OpenMemory) -> None:
    read = await open_memory().read()
    assert (read["messages"], read["total_count"], read["success"]) == ([], 0, True)


# ---- limits --------------------------------------------------------------------------------------


async def test_limits_hold_whenever_an_append_returns(open_memory: OpenMemory) -> None:
    """Rows 17 and 18."""
    memory = open_memory(type="token_based", max_tokens=400, max_messages=12)
    for i in range(60):
        output = await memory.append([user(f"message number {i} " + "word " * (i % 23))])
        assert output["message_count"] <= 12
        assert held_tokens(output["message_count"], output["token_count"]) <= 400
    read = await memory.read()
    archived = await memory.read(ReadConfig(source="archive"))
    assert len(contents(archived)) + len(contents(read)) == 60
    assert contents(read)[-1].startswith("message number 59")


async def test_limits_hold_and_nothing_is_lost_with_many_writers(open_memory: OpenMemory) -> None:
    memory = open_memory(type="message_count_based", max_messages=7)

    async def writer(name: int) -> None:
        for i in range(10):
            output = await memory.append([user(f"{name}.{i}")])
            assert output["message_count"] <= 7

    await asyncio.gather(*(writer(name) for name in range(6)))
    live = contents(await memory.read())
    archive = contents(await memory.read(ReadConfig(source="archive", limit=1000)))
    everything = archive + live
    assert sorted(everything) == sorted(f"{n}.{i}" for n in range(6) for i in range(10))
    for name in range(6):
        mine = [text for text in everything if text.startswith(f"{name}.")]
        assert mine == [f"{name}.{i}" for i in range(10)]


async def test_a_message_beyond_the_limits_is_refused_and_nothing_changes(
    open_memory: OpenMemory,
) -> None:
    memory = open_memory(type="token_based", max_tokens=50)
    await memory.append([user("first")])
    with pytest.raises(MemoryLimitExceeded) as refused:
        await memory.append([user("word " * 100)])
    assert refused.value.details["max_tokens"] == 50
    assert "word" not in str(refused.value)
    with pytest.raises(MemoryLimitExceeded):
        await memory.write([user("word " * 100)])
    assert contents(await memory.read()) == ["first"]


async def test_without_automatic_flush_a_full_memory_refuses(open_memory: OpenMemory) -> None:
    memory = open_memory(type="message_count_based", max_messages=2, disable_flush=True)
    await memory.append([user("a"), user("b")])
    with pytest.raises(MemoryLimitExceeded, match="Flush it"):
        await memory.append([user("c")])
    assert contents(await memory.read()) == ["a", "b"]


async def test_an_open_tool_call_is_never_flushed_to_make_room(open_memory: OpenMemory) -> None:
    memory = open_memory(type="message_count_based", max_messages=3)
    call = Message(role="assistant", tool_calls=(ToolCall("c1", ToolCallFunction("f")),))
    await memory.append([call])
    for i in range(5):
        await memory.append([Message(role="assistant", content=str(i))])
    assert (await memory.read())["messages"][0]["tool_calls"][0]["id"] == "c1"


async def test_tokens_are_counted_exactly_for_openai(open_memory: OpenMemory) -> None:
    """Row 19."""
    memory = open_memory(token_provider={"provider": "openai", "model": "gpt-3.5-turbo"})
    output = await memory.append([user("hello world")])
    assert output["token_count"] == 2
    assert (await memory.stats())["token_method"] == "tiktoken:cl100k_base"


# ---- flush ---------------------------------------------------------------------------------------


async def test_flush_is_gated_by_the_threshold_and_archives(open_memory: OpenMemory) -> None:
    """Row 7."""
    memory = open_memory(type="message_count_based", max_messages=10, disable_flush=True)
    await memory.append([user(str(i)) for i in range(7)])
    assert (await memory.flush())["messages_flushed"] == 0
    await memory.append([user("7")])
    output = await memory.flush()
    assert (output["messages_flushed"], output["remaining_messages"]) == (3, 5)
    assert contents(await memory.read(ReadConfig(source="archive"))) == ["0", "1", "2"]
    assert contents(await memory.read()) == ["3", "4", "5", "6", "7"]
    assert (await memory.stats())["last_flush"] is not None


async def test_a_dry_run_equals_the_flush_and_changes_nothing(open_memory: OpenMemory) -> None:
    """Row 8."""
    memory = open_memory(type="message_count_based", max_messages=10, disable_flush=True)
    await memory.append([user(str(i)) for i in range(9)])
    before = await memory.read()
    dry = await memory.flush(FlushConfig(dry_run=True))
    assert await memory.read() == before
    real = await memory.flush()
    assert dry["would_flush"] is True
    for name in ("messages_flushed", "remaining_messages", "tokens_freed"):
        assert dry[name] == real[name]


async def test_force_flushes_below_the_threshold(open_memory: OpenMemory) -> None:
    """Row 9."""
    memory = open_memory(type="message_count_based", max_messages=100)
    await memory.append([user(str(i)) for i in range(10)])
    assert (await memory.flush())["messages_flushed"] == 0
    assert (await memory.flush(FlushConfig(force=True)))["messages_flushed"] == 1


async def test_one_call_may_set_its_own_threshold(open_memory: OpenMemory) -> None:
    memory = open_memory(type="message_count_based", max_messages=10)
    await memory.append([user(str(i)) for i in range(6)])
    assert (await memory.flush(FlushConfig(threshold=0.5)))["messages_flushed"] == 1


async def test_a_second_flush_at_the_same_time_is_told_so(
    open_memory: OpenMemory, store: Store
) -> None:
    memory = open_memory(type="message_count_based", max_messages=10, disable_flush=True)
    await memory.append([user(str(i)) for i in range(9)])
    assert await store.lease(memory.address, holder="other", ttl=timedelta(seconds=30))
    with pytest.raises(FlushPending):
        await memory.flush()
    assert len(contents(await memory.read())) == 9


async def test_flushing_an_empty_memory_does_nothing(open_memory: OpenMemory) -> None:
    output = await open_memory().flush(FlushConfig(force=True))
    assert (output["messages_flushed"], output["remaining_messages"]) == (0, 0)


# ---- clear, delete -------------------------------------------------------------------------------


async def test_clear_needs_confirmation(open_memory: OpenMemory) -> None:
    """Row 11."""
    memory = open_memory()
    await memory.append([user("x")])
    for config in (None, ClearConfig(confirm=False)):
        with pytest.raises(InvalidInput, match="confirm flag must be true to clear memory"):
            await memory.clear(config)
    assert contents(await memory.read()) == ["x"]


async def test_a_backup_can_be_read_by_its_key_and_restored(
    open_memory: OpenMemory, make_memories: Callable[..., Memories], clock: ManualClock
) -> None:
    """Row 12."""
    memory = open_memory()
    await memory.append([user("a"), user("b")])
    before = (await memory.read())["messages"]
    output = await memory.clear(ClearConfig(confirm=True, backup=True))
    assert (output["messages_cleared"], output["backup_created"]) == (2, True)
    assert (await memory.read())["messages"] == []
    request = Request(operation="read", memory_ref="talk", key=output["backup_key"])
    backup = await make_memories({"id": "talk"}).perform(request, now=clock.now())
    assert backup["messages"] == before
    restored = [Message(**message) for message in backup["messages"]]
    await memory.write(restored)
    assert (await memory.read())["messages"] == before


async def test_clearing_without_backup_keeps_nothing(open_memory: OpenMemory) -> None:
    memory = open_memory()
    await memory.append([user("a")])
    output = await memory.clear(ClearConfig(confirm=True))
    assert (output["messages_cleared"], output["backup_created"]) == (1, False)
    assert contents(await memory.read(ReadConfig(source="archive"))) == []


async def test_clearing_nothing_says_so(open_memory: OpenMemory) -> None:
    output = await open_memory().clear(ClearConfig(confirm=True, backup=True))
    assert (output["messages_cleared"], output["backup_created"]) == (0, False)


async def test_two_backups_of_a_day_are_two(open_memory: OpenMemory) -> None:
    memory = open_memory()
    keys = []
    for text in ("a", "b"):
        await memory.append([user(text)])
        keys.append((await memory.clear(ClearConfig(confirm=True, backup=True)))["backup_key"])
    assert len(set(keys)) == 2


async def test_delete_leaves_nothing_and_is_idempotent(open_memory: OpenMemory) -> None:
    """Row 6."""
    memory, other = open_memory(), open_memory(key="conv:u2:s1")
    await memory.append([user("x")])
    await other.append([user("y")])
    assert (await memory.delete())["deleted"] is True
    assert (await memory.delete())["deleted"] is False
    assert (await memory.read(ReadConfig(source="archive")))["messages"] == []
    assert contents(await other.read()) == ["y"]


# ---- health and stats ----------------------------------------------------------------------------


async def test_health_reports_and_a_closed_store_is_not_raised(
    open_memory: OpenMemory, store: Store
) -> None:
    """Row 10."""
    memory = open_memory(type="message_count_based", max_messages=10, disable_flush=True)
    await memory.append([user(str(i)) for i in range(9)])
    output = await memory.health(HealthConfig(include_stats=True))
    assert output["healthy"] is True
    assert output["store_status"] == "connected"
    assert output["usage_percent"] == 90
    assert output["recommendations"]
    assert output["memory_stats"]["total_messages"] == 9
    await store.close()
    output = await memory.health()
    assert (output["success"], output["healthy"]) == (True, False)
    assert output["error"]["code"] == "MEMORY_PERSISTENCE_ERROR"


async def test_health_of_the_whole_store_needs_no_key(
    make_memories: Callable[..., Memories], clock: ManualClock
) -> None:
    request = Request(operation="health", memory_ref="talk", key=None)
    output = await make_memories({"id": "talk"}).perform(request, now=clock.now())
    assert (output["healthy"], output["key"]) == (True, None)


async def test_stats_count_and_show_content_only_when_asked(
    open_memory: OpenMemory, clock: ManualClock
) -> None:
    """Row 13."""
    memory = open_memory(type="token_based", max_tokens=100, persistence={"ttl": "24h"})
    await memory.append([user("hello world"), Message(role="assistant", content="hello world")])
    clock.advance(timedelta(minutes=15))
    output = await memory.stats()
    assert (output["message_count"], output["token_count"], output["token_limit"]) == (2, 4, 100)
    assert output["utilization"] == round(held_tokens(2, 4) / 100, 4)
    assert output["ttl_remaining"] == "23h45m"
    assert "messages" not in output
    assert contents(await memory.stats(StatsConfig(include_content=True))) == ["hello world"] * 2
    by_role = await memory.stats(StatsConfig(group_by="role"))
    assert by_role["role_distribution"] == {"assistant": 1, "user": 1}


async def test_stats_of_a_missing_key_are_zero(open_memory: OpenMemory) -> None:
    output = await open_memory().stats()
    assert (output["message_count"], output["ttl_remaining"], output["last_flush"]) == (
        0,
        None,
        None,
    )


async def test_the_ttl_runs_from_the_last_write(
    open_memory: OpenMemory, clock: ManualClock
) -> None:
    """Row 16."""
    memory = open_memory(persistence={"ttl": "24h"})
    await memory.append([user("a")])
    clock.advance(timedelta(hours=23))
    await memory.append([user("b")])
    clock.advance(timedelta(hours=23))
    assert contents(await memory.read()) == ["a", "b"]
    clock.advance(timedelta(hours=1))
    assert contents(await memory.read()) == []


# ---- privacy -------------------------------------------------------------------------------------


def private(open_memory: OpenMemory, **fields: Any) -> Memory:
    policy = {"redact_patterns": [EMAIL], "non_persistable_message_types": ["system"]}
    return open_memory(privacy_policy=policy, **fields)


async def test_nothing_unredacted_is_stored_on_any_path(open_memory: OpenMemory) -> None:
    """Row 20."""
    memory = private(open_memory, type="message_count_based", max_messages=3)
    mail = "Contact jane.doe@example.com now"
    call = ToolCall("c", ToolCallFunction("mail", '{"to": "jane.doe\\u0040example.com"}'))
    message = Message(
        role="assistant",
        content=mail,
        tool_calls=(call,),
        metadata={"jane.doe@example.com": ["x", mail]},
    )
    output = await memory.append([message, user(mail)])
    assert output["redactions"] >= 4
    await memory.write([user(mail)])
    for i in range(5):
        await memory.append([user(f"{mail} {i}")])
    await memory.clear(ClearConfig(confirm=True, backup=True))
    everything = await memory.store.load(memory.address, source="archive")
    live = await memory.store.load(memory.address)
    assert everything is not None
    assert live is not None
    assert "jane.doe" not in str(everything) + str(live)
    assert "Contact [REDACTED] now" in str(everything)


async def test_system_messages_are_dropped_and_reported(open_memory: OpenMemory) -> None:
    """Row 21."""
    memory = private(open_memory)
    output = await memory.append([Message(role="system", content="rules"), user("hi")])
    assert (output["messages_added"], output["dropped_by_policy"]) == (1, 1)
    assert "system" in output["warning"]
    assert contents(await memory.read()) == ["hi"]


async def test_a_write_that_the_policy_drops_whole_keeps_what_was_there(
    open_memory: OpenMemory,
) -> None:
    memory = private(open_memory)
    await memory.write([user("hi")])
    output = await memory.write([Message(role="system", content="rules")])
    assert (output["success"], output["messages_written"]) == (True, 0)
    assert output["dropped_by_policy"] == 1
    assert contents(await memory.read()) == ["hi"]


async def test_an_address_in_a_key_is_kept_nowhere(open_memory: OpenMemory) -> None:
    memory = private(open_memory, key="conv:jane.doe@example.com")
    await memory.append([user("hi")])
    assert memory.key == "conv:jane.doe@example.com"
    assert "jane.doe" not in memory.address.id
    assert contents(await private(open_memory, key="conv:jane.doe@example.com").read()) == ["hi"]


# ---- doing it twice ------------------------------------------------------------------------------


async def test_every_mutation_takes_effect_once_per_key(open_memory: OpenMemory) -> None:
    memory = open_memory(type="message_count_based", max_messages=10, disable_flush=True)
    first = await memory.append([user("a")], idempotency_key="k1")
    assert await memory.append([user("a")], idempotency_key="k1") == first
    with pytest.raises(KeyReused):
        await memory.append([user("b")], idempotency_key="k1")
    await memory.append([user(str(i)) for i in range(8)], idempotency_key="k2")
    flushed = await memory.flush(idempotency_key="k3")
    assert flushed["messages_flushed"] > 0
    again = await memory.flush(idempotency_key="k3")
    assert again["messages_flushed"] == flushed["messages_flushed"]
    cleared = await memory.clear(ClearConfig(confirm=True, backup=True), idempotency_key="k4")
    await memory.append([user("later")])
    assert (await memory.clear(ClearConfig(confirm=True, backup=True), idempotency_key="k4"))[
        "backup_key"
    ] == cleared["backup_key"]
    assert contents(await memory.read()) == ["later"]
    assert (await memory.delete(idempotency_key="k5"))["deleted"] is True
    await memory.append([user("anew")])
    assert (await memory.delete(idempotency_key="k5"))["deleted"] is True
    assert contents(await memory.read()) == ["anew"]


async def test_an_append_that_made_room_is_not_repeated(open_memory: OpenMemory) -> None:
    memory = open_memory(type="message_count_based", max_messages=4)
    await memory.append([user(str(i)) for i in range(4)])
    first = await memory.append([user("new")], idempotency_key="k")
    again = await memory.append([user("new")], idempotency_key="k")
    assert again["total_count"] == first["total_count"]
    assert contents(await memory.read()).count("new") == 1


# ---- registry ------------------------------------------------------------------------------------


async def test_ids_are_found_without_case(make_memories: Callable[..., Memories]) -> None:
    assert make_memories({"id": "Talk"}).open("tALK", "k").resource.id == "Talk"


async def test_an_unknown_memory_lists_the_known_ones(
    make_memories: Callable[..., Memories],
) -> None:
    """Row 25."""
    with pytest.raises(MemoryResourceNotFound) as error:
        make_memories({"id": "conversation_memory"}).open("conversation_memry", "k")
    assert str(error.value).startswith("Memory resource not found")
    assert "Did you mean 'conversation_memory'?" in str(error.value)


def test_without_a_registry_memory_is_refused() -> None:
    """Row 26."""
    with pytest.raises(RegistryNotProvided, match="Resource registry not provided"):
        Registry({}, declared=False).get("x", used_by="task 'a'")


async def test_one_key_in_two_resources_is_two_conversations(
    make_memories: Callable[..., Memories],
) -> None:
    memories = make_memories({"id": "a"}, {"id": "b"})
    await memories.open("a", "k").append([user("in a")])
    assert contents(await memories.open("b", "k").read()) == []


async def test_one_key_in_two_projects_is_two_conversations(
    make_memories: Callable[..., Memories],
) -> None:
    await make_memories({"id": "a"}, project_id="p1").open("a", "k").append([user("in p1")])
    other = make_memories({"id": "a"}, project_id="p2").open("a", "k")
    assert contents(await other.read()) == []


async def test_write_and_append_without_payload_say_so(
    make_memories: Callable[..., Memories], clock: ManualClock
) -> None:
    for operation in ("write", "append"):
        request = Request(operation=operation, memory_ref="m", key="k")
        with pytest.raises(InvalidInput, match="payload is missing"):
            await make_memories({"id": "m"}).perform(request, now=clock.now())
