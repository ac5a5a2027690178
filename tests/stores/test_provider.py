"""A conversation means the same in all four providers (seed 004)."""

import asyncio
import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recollect.clock import ManualClock
from recollect.errors import (
    InvalidInput,
    KeyReused,
    MemoryConnectionError,
    MemoryNotFoundError,
    MemoryStorageError,
)
from recollect.memory import (
    ConversationMemory,
    Failure,
    MemoryProvider,
    MemoryQuery,
    StoreProvider,
    Success,
)
from recollect.messages import Message
from recollect.stores.records import Swept
from tests.stores.backends import BACKENDS, Make
from tests.stores.providers import PLUGINS, OpenProvider, said, texts

pytest_plugins = PLUGINS

HOUR = timedelta(hours=1)
each_backend = pytest.mark.parametrize("backend", BACKENDS)


async def got(provider: StoreProvider, conversation_id: str = "c") -> ConversationMemory:
    found = await provider.get_conversation(conversation_id)
    assert found is not None
    return found


async def metadata_of(provider: StoreProvider) -> dict[str, Any]:
    return dict((await got(provider)).metadata)


# ---- messages ------------------------------------------------------------------------------------


async def test_it_is_a_memory_provider(provider: StoreProvider) -> None:
    assert isinstance(provider, MemoryProvider)


async def test_what_is_stored_comes_back(provider: StoreProvider) -> None:
    messages = [
        Message("system", "be brief"),
        Message("user", "Grüße 👋 \0"),
        Message(
            "assistant",
            "",
            tool_calls=({"id": "t1", "function": {"name": "look", "arguments": "{}"}},),  # type: ignore[arg-type]
        ),
        Message("tool", "42", tool_call_id="t1", metadata={"n": {"x": [1, None]}}),
        Message("user", [{"type": "text", "text": "see"}], message_id="m-1"),  # type: ignore[arg-type]
        Message("user", "a file", attachments=[{"kind": "file", "url": "https://x"}]),  # type: ignore[arg-type]
    ]
    assert await provider.store_messages("c", messages) == Success(None)
    assert (await got(provider)).messages == tuple(messages)


async def test_storing_replaces_and_appending_adds(provider: StoreProvider) -> None:
    await provider.store_messages("c", said("a", "b"))
    await provider.append_messages("c", said("c"))
    assert texts(await got(provider)) == ["a", "b", "c"]
    await provider.store_messages("c", said("d"))
    assert texts(await got(provider)) == ["d"]


async def test_appending_creates_a_missing_conversation(provider: StoreProvider) -> None:
    assert await provider.append_messages("c", said("a"), {"user_id": "u"}) == Success(None)
    assert (texts(await got(provider)), (await got(provider)).user_id) == (["a"], "u")


async def test_an_empty_conversation_can_be_stored(provider: StoreProvider) -> None:
    assert await provider.store_messages("c", []) == Success(None)
    assert (await got(provider)).messages == ()


async def test_there_is_nothing_where_nothing_was_stored(provider: StoreProvider) -> None:
    assert await provider.get_conversation("c") is None
    with pytest.raises(MemoryNotFoundError) as caught:
        await provider.get_recent_messages("c")
    assert caught.value.conversation_id == "c"
    assert caught.value.provider == provider.name


@pytest.mark.parametrize(
    ("limit", "expected"), [(2, "cd"), (4, "abcd"), (9, "abcd"), (0, ""), (-3, "")]
)
async def test_recent_messages_are_the_last_ones_oldest_first(
    provider: StoreProvider, limit: int, expected: str
) -> None:
    await provider.store_messages("c", said(*"abcd"))
    found = await provider.get_recent_messages("c", limit)
    assert isinstance(found, list)
    assert [message.text for message in found] == list(expected)


async def test_fifty_recent_messages_are_usual(provider: StoreProvider) -> None:
    await provider.store_messages("c", said(*map(str, range(60))))
    found = await provider.get_recent_messages("c")
    assert [message.text for message in found] == [str(n) for n in range(10, 60)]


async def test_the_end_of_a_conversation_can_be_read_alone(provider: StoreProvider) -> None:
    await provider.store_messages("c", said(*"abcd"), {"user_id": "u"})
    found = await provider.get_conversation("c", last=2)
    assert found is not None
    assert texts(found) == ["c", "d"]
    assert (found.user_id, found.metadata["total_messages"]) == ("u", 4)
    for bad in (-1, "2", True):
        with pytest.raises(InvalidInput, match="last"):
            await provider.get_conversation("c", last=bad)  # type: ignore[arg-type]


async def test_appends_at_the_same_time_all_survive(provider: StoreProvider) -> None:
    await asyncio.gather(
        *(provider.append_messages("c", said(str(n)), {f"from-{n}": n}) for n in range(50))
    )
    found = await got(provider)
    assert sorted(texts(found), key=int) == [str(n) for n in range(50)]
    assert {name: value for name, value in found.metadata.items() if name.startswith("from-")} == {
        f"from-{n}": n for n in range(50)
    }


async def test_deleting_tells_whether_it_existed(provider: StoreProvider) -> None:
    await provider.store_messages("c", said("a"))
    assert await provider.delete_conversation("c") is True
    assert await provider.delete_conversation("c") is False
    assert await provider.get_conversation("c") is None


async def test_thousands_of_messages_are_stored_in_one_call(provider: StoreProvider) -> None:
    many = said(*map(str, range(5_000)))
    assert await provider.store_messages("c", many) == Success(None)
    assert (await got(provider)).messages == tuple(many)


async def test_a_write_that_comes_twice_with_a_key_happens_once(provider: StoreProvider) -> None:
    for _ in range(2):
        assert await provider.append_messages("c", said("a"), key="k") == Success(None)
    for _ in range(2):
        old = {"created_at": "2024-01-15T10:00:00+00:00"}
        assert await provider.append_messages("c", said("b"), old, key="k2") == Success(None)
        assert await provider.append_messages("new", said("b"), old, key="k2") == Success(None)
    assert texts(await got(provider)) == ["a", "b"]
    assert texts(await got(provider, "new")) == ["b"]
    other = await provider.append_messages("c", said("x"), key="k")
    assert isinstance(other, Failure)
    assert isinstance(other.error, MemoryStorageError)
    assert other.error.operation == "append_messages"
    assert isinstance(other.error.cause, KeyReused)


# ---- metadata ------------------------------------------------------------------------------------

RICH: Mapping[str, Any] = {
    "session_info": {"ip_address": "192.168.1.1", "session_start": "2024-01-15T10:00:00Z"},
    "notification_settings": {"email": True, "sms": False, "volume": 0.5, "none": None},
    "list": [1, [2, {"x": None}], "…"],
    "nothing": None,
    "empty": {},
    "odd": {"$value": None},
    "latitude_at": "2024-01-15T10:00:00",
    "": "no name",
    "Grüße:{}*%": "👋",
}


async def test_metadata_come_back_exactly(provider: StoreProvider) -> None:
    await provider.store_messages("c", said("a"), RICH)
    found = await metadata_of(provider)
    assert {name: found[name] for name in RICH} == RICH
    assert set(found) == {*RICH, "created_at", "updated_at", "last_activity", "total_messages"}
    assert json.loads(json.dumps(found)) == found


async def test_metadata_merge_by_name_and_the_callers_are_untouched(
    provider: StoreProvider,
) -> None:
    given: dict[str, Any] = {"b": {"y": 2}, "c": None, "user_id": "u"}
    await provider.store_messages("c", said("a"), {"a": 1, "b": {"x": 1}, "c": 3})
    await provider.append_messages("c", [], given)
    found = await metadata_of(provider)
    assert [found[name] for name in "abc"] == [1, {"y": 2}, None]
    assert given == {"b": {"y": 2}, "c": None, "user_id": "u"}


async def test_times_in_metadata_become_iso_text(provider: StoreProvider) -> None:
    moment = datetime(2024, 1, 15, 10, tzinfo=UTC)
    await provider.store_messages("c", [], {"when": moment, "deep": [{"day": date(2024, 1, 15)}]})
    found = await metadata_of(provider)
    assert (found["when"], found["deep"]) == (moment.isoformat(), [{"day": "2024-01-15"}])


async def test_the_user_stays_until_another_is_given(provider: StoreProvider) -> None:
    await provider.store_messages("c", said("a"), {"user_id": "u"})
    await provider.store_messages("c", said("b"), {"user_id": None})
    await provider.append_messages("c", said("c"))
    found = await got(provider)
    assert (found.user_id, found.metadata["user_id"]) == ("u", "u")
    await provider.append_messages("c", [], {"user_id": "v"})
    assert (await got(provider)).user_id == "v"


@each_backend
async def test_a_conversation_knows_its_times_and_count(make: Make, backend: str) -> None:
    clock = ManualClock()
    async with make(backend, clock=clock) as store:
        provider = StoreProvider(store, name="P")
        start = clock.now()
        await provider.store_messages("c", said("a"))
        clock.advance(HOUR)
        await provider.store_messages("c", said("b", "c"), {"total_messages": 9, "updated_at": "x"})
        found = await got(provider)
        assert found.metadata == {
            "created_at": start.isoformat(),
            "updated_at": (start + HOUR).isoformat(),
            "last_activity": (start + HOUR).isoformat(),
            "total_messages": 2,
        }
        assert (found.created_at, found.updated_at) == (start, start + HOUR)
        assert found.last_activity == found.updated_at


@pytest.mark.parametrize("writer", ["store_messages", "append_messages"])
@pytest.mark.parametrize(
    "given", ["2024-01-15T12:00:00+02:00", "2024-01-15 10:00:00+00:00", "a datetime"]
)
async def test_a_given_time_of_creation_holds_for_a_new_conversation_only(
    provider: StoreProvider, writer: str, given: str
) -> None:
    moment = datetime(2024, 1, 15, 10, tzinfo=UTC)
    value = moment if given == "a datetime" else given
    write = getattr(provider, writer)
    assert await write("c", said("a"), {"created_at": value, "x": 1}) == Success(None)
    assert await write("c", said("b"), {"created_at": "1999-01-01", "x": 2}) == Success(None)
    found = await got(provider)
    assert found.created_at == moment
    assert found.metadata["x"] == 2
    assert texts(found) == (["b"] if writer == "store_messages" else ["a", "b"])
    await provider.delete_conversation("c")
    await write("c", said("c"))
    assert (await got(provider)).created_at != moment


async def test_of_two_that_create_it_at_once_neither_is_lost(provider: StoreProvider) -> None:
    writes = (
        provider.append_messages("c", said(str(n)), {"created_at": f"20{n}-01-01"})
        for n in range(10, 20)
    )
    await asyncio.gather(*writes)
    found = await got(provider)
    assert sorted(texts(found)) == [str(n) for n in range(10, 20)]
    assert found.created_at is not None
    assert 2009 <= found.created_at.year < 2020


async def test_what_was_handed_out_never_changes_nor_reaches_the_store(
    provider: StoreProvider,
) -> None:
    await provider.store_messages("c", said("a"), {"deep": {"list": [1]}})
    before = await got(provider)
    with pytest.raises(TypeError):
        before.metadata["deep"]["list"].append(2)
    with pytest.raises(TypeError):
        before.metadata["new"] = 1  # type: ignore[index]
    (await provider.get_recent_messages("c")).clear()
    await provider.append_messages("c", said("b"), {"deep": 0})
    assert (len(before.messages), before.metadata["deep"]) == (1, {"list": [1]})
    assert len((await got(provider)).messages) == 2


async def test_a_backup_through_json_text_restores_it(provider: StoreProvider) -> None:
    await provider.store_messages("c", said("a", "b"), {"user_id": "u", "n": None})
    before = await got(provider)
    backup = json.loads(
        json.dumps(
            {"messages": [m.dict() for m in before.messages], "metadata": before.metadata},
            default=str,
        )
    )
    await provider.delete_conversation("c")
    messages = [Message(**plain) for plain in backup["messages"]]
    assert await provider.store_messages("c", messages, backup["metadata"]) == Success(None)
    after = await got(provider)
    assert (after.messages, after.user_id) == (before.messages, "u")
    assert after.created_at == before.created_at
    assert after.metadata["n"] is None


# ---- lifetimes -----------------------------------------------------------------------------------


@each_backend
async def test_a_conversation_ends_when_its_ttl_has_passed_since_the_last_write(
    make: Make, backend: str
) -> None:
    clock = ManualClock()
    async with make(backend, clock=clock) as store:
        provider = StoreProvider(store, name="P", ttl=HOUR)
        await provider.store_messages("c", said("a"))
        clock.advance(HOUR * 0.9)
        await provider.append_messages("c", said("b"))
        clock.advance(HOUR * 0.9)
        assert texts(await got(provider)) == ["a", "b"]  # reading does not renew it
        clock.advance(HOUR * 0.1)
        assert await provider.get_conversation("c") is None


@each_backend
async def test_a_write_may_have_a_ttl_of_its_own(make: Make, backend: str) -> None:
    clock = ManualClock()
    async with make(backend, clock=clock) as store:
        provider = StoreProvider(store, name="P", ttl=HOUR)
        await provider.append_messages("c", said("a"), ttl=60)
        await provider.store_messages("d", said("a"), ttl=timedelta(hours=2))
        clock.advance(HOUR)
        assert await provider.get_conversation("c") is None
        assert texts(await got(provider, "d")) == ["a"]


@each_backend
async def test_what_has_expired_is_removed_for_good_by_later_writes(
    make: Make, backend: str
) -> None:
    clock = ManualClock()
    async with make(backend, clock=clock) as store:
        provider = StoreProvider(store, name="P", ttl=HOUR)
        await provider.store_messages("old", said(*"abc"))
        clock.advance(HOUR)
        for _ in range(100):
            await provider.append_messages("new", said("a"))
        assert await store.sweep() == Swept()


async def test_the_ttl_of_the_settings_is_used(open_provider: OpenProvider) -> None:
    for backend in BACKENDS:
        provider = await open_provider(backend, ttl=HOUR.total_seconds())
        await provider.store_messages("c", said("a"))
        stored = await provider._store.load(provider._address("c"), last=0)
        assert stored is not None
        assert stored.head.expires_at == stored.head.updated_at + HOUR
        await provider.close()


# ---- closing -------------------------------------------------------------------------------------


async def test_closing_twice_is_fine_and_later_use_is_refused(provider: StoreProvider) -> None:
    await provider.store_messages("c", said("a"))
    await provider.close()
    await provider.close()
    for use in (
        lambda: provider.store_messages("c", said("b")),
        lambda: provider.append_messages("c", said("b")),
        lambda: provider.get_conversation("c"),
        lambda: provider.get_recent_messages("c"),
        lambda: provider.find_conversations(MemoryQuery()),
        lambda: provider.delete_conversation("c"),
        lambda: provider.clear_user_conversations("u"),
        provider.get_stats,
        lambda: provider.truncate_conversation_after("c", "m"),
        lambda: provider.get_conversation_until_message("c", "m"),
        lambda: provider.mark_regeneration_point("c", "m", {}),
    ):
        with pytest.raises(MemoryConnectionError, match="closed") as caught:
            await use()
        assert caught.value.provider == provider.name
    report = await provider.health_check()
    assert (report["healthy"], "closed" in report["error"]) == (False, True)


@pytest.mark.parametrize("backend", ["sqlite", "redis", "postgres"])
async def test_what_one_provider_stored_another_finds(
    open_provider: OpenProvider, backend: str
) -> None:
    first = await open_provider(backend)
    await first.store_messages("c", said("a"), {"user_id": "u"})
    await first.close()
    second = await open_provider(backend)
    assert texts(await got(second)) == ["a"]
    assert (await second.get_stats("u"))["user_conversations"] == 1
    await second.close()


async def test_a_damaged_message_is_left_out_left_in_place_and_told(
    open_provider: OpenProvider, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    provider = await open_provider("sqlite")
    await provider.store_messages("c", said("secret", "b"))
    await provider.close()
    with closing(sqlite3.connect(folder / "provider.db")) as db, db:
        db.execute("UPDATE messages SET data = substr(data, 2) WHERE seq = 1")
    provider = await open_provider("sqlite")
    found = await got(provider)
    assert texts(found) == ["b"]
    assert found.metadata["total_messages"] == 2
    assert "1 messages of conversation 'c' cannot be read" in caplog.text
    assert "secret" not in caplog.text
    await provider.close()


# ---- regeneration --------------------------------------------------------------------------------


async def test_truncating_removes_a_message_and_all_after_it(provider: StoreProvider) -> None:
    messages = said(*"abcd")
    await provider.store_messages("c", messages, {"x": 1})
    result = await provider.truncate_conversation_after("c", messages[1].message_id)
    assert result == Success(3)
    found = await got(provider)
    assert texts(found) == ["a"]
    assert found.metadata["regeneration_truncated"] is True
    assert (found.metadata["messages_removed"], found.metadata["total_messages"]) == (3, 1)
    assert datetime.fromisoformat(found.metadata["truncated_at"]).tzinfo is not None
    assert found.metadata["x"] == 1


async def test_truncating_at_an_unknown_message_removes_nothing(provider: StoreProvider) -> None:
    await provider.store_messages("c", said("a"))
    assert await provider.truncate_conversation_after("c", "no such") == Success(0)
    assert "regeneration_truncated" not in (await got(provider)).metadata
    missing = await provider.truncate_conversation_after("no such", "m")
    assert isinstance(missing, Failure)
    assert isinstance(missing.error, MemoryNotFoundError)


async def test_truncating_leaves_what_is_appended_meanwhile(provider: StoreProvider) -> None:
    messages = said(*"abcd")
    await provider.store_messages("c", messages)
    result, _ = await asyncio.gather(
        provider.truncate_conversation_after("c", messages[2].message_id),
        asyncio.gather(*(provider.append_messages("c", said(f"new {n}")) for n in range(10))),
    )
    assert isinstance(result, Success)
    found = texts(await got(provider))
    assert found[:2] == ["a", "b"]
    assert len(found) == 2 + 10 - (result.data - 2)


async def test_a_conversation_until_a_message_is_a_copy(provider: StoreProvider) -> None:
    messages = said(*"abc")
    await provider.store_messages("c", messages)
    result = await provider.get_conversation_until_message("c", messages[2].message_id)
    assert isinstance(result, Success)
    assert texts(result.data) == ["a", "b"]
    assert result.data is not None
    note = {
        "truncated_for_regeneration": True,
        "truncated_until_message": messages[2].message_id,
        "original_message_count": 3,
        "truncated_message_count": 2,
    }
    assert note.items() <= result.data.metadata.items()
    assert texts(await got(provider)) == ["a", "b", "c"]
    assert await provider.get_conversation_until_message("c", "no such") == Success(None)
    assert await provider.get_conversation_until_message("no such", "m") == Success(None)


async def test_marks_set_at_the_same_time_all_survive(provider: StoreProvider) -> None:
    await provider.store_messages("c", said("a"))
    results = await asyncio.gather(
        *(provider.mark_regeneration_point("c", f"m{n}", {"why": n}) for n in range(10))
    )
    assert set(results) == {Success(None)}
    found = (await got(provider)).metadata
    points = found["regeneration_points"]
    assert sorted((p["message_id"], p["why"]) for p in points) == [(f"m{n}", n) for n in range(10)]
    assert found["regeneration_count"] == 10
    assert found["last_regeneration"] == points[-1]["timestamp"]
    missing = await provider.mark_regeneration_point("no such", "m", {})
    assert isinstance(missing, Failure)
    assert isinstance(missing.error, MemoryNotFoundError)


@each_backend
async def test_marks_and_cuts_keep_the_lifetime_a_conversation_was_given(
    make: Make, backend: str
) -> None:
    clock = ManualClock()
    async with make(backend, clock=clock) as store:
        provider = StoreProvider(store, name="P")
        message = said("a")
        for conversation_id in "cd":
            await provider.store_messages(conversation_id, message, ttl=HOUR)
        clock.advance(HOUR / 2)
        await provider.mark_regeneration_point("c", "m", {})
        await provider.truncate_conversation_after("d", message[0].message_id)
        clock.advance(HOUR / 2)
        assert await provider.get_conversation("c") is None
        assert await provider.get_conversation("d") is None


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "conversation_id",
    ["user-123:chat:2024-01-15T10:00:00Z", "ein Gespräch 👋", "*", "[a]", "a{b}", "%", "x" * 512],
)
async def test_an_id_is_any_text(provider: StoreProvider, conversation_id: str) -> None:
    await provider.store_messages(conversation_id, said("a"), {"user_id": conversation_id})
    assert texts(await got(provider, conversation_id)) == ["a"]
    query = MemoryQuery(conversation_id=conversation_id, user_id=conversation_id)
    assert [c.conversation_id for c in await provider.find_conversations(query)] == [
        conversation_id
    ]
    assert await provider.clear_user_conversations(conversation_id) == 1


BAD_IDS = {"empty": "", "long": "x" * 513, "control": "a\n", "NUL": "\0", "surrogate": "\ud800"}
WRONG_TYPES: dict[str, Any] = {"none": None, "number": 5, "bytes": b"c", "list": ["c"]}


@pytest.mark.parametrize(
    "bad", [*BAD_IDS.values(), *WRONG_TYPES.values()], ids=[*BAD_IDS, *WRONG_TYPES]
)
async def test_a_bad_id_is_refused_alike_by_all(provider: StoreProvider, bad: Any) -> None:
    for use in (
        lambda: provider.store_messages(bad, said("a")),
        lambda: provider.append_messages(bad, said("a")),
        lambda: provider.get_conversation(bad),
        lambda: provider.get_recent_messages(bad),
        lambda: provider.delete_conversation(bad),
        lambda: provider.truncate_conversation_after(bad, "m"),
        lambda: provider.get_conversation_until_message(bad, "m"),
        lambda: provider.mark_regeneration_point(bad, "m", {}),
        lambda: provider.store_messages("c", said("a"), {"user_id": bad or ""}),
    ):
        with pytest.raises(InvalidInput):
            await use()
    assert await provider.find_conversations(MemoryQuery()) == []


@pytest.mark.parametrize(
    "bad",
    [
        {"f": {1, 2}},
        {"deep": [{"x": Ellipsis}]},
        {"nan": float("nan")},
        {1: "x"},
        {"big": 2**64},
        {"surrogate": "\ud800"},
        ["not", "a", "mapping"],
        "text",
        5,
        {"created_at": "yesterday"},
        {"created_at": 5},
    ],
    ids=str,
)
async def test_metadata_that_are_no_json_are_refused_and_nothing_is_stored(
    provider: StoreProvider, bad: Any
) -> None:
    for write in (provider.store_messages, provider.append_messages):
        with pytest.raises(InvalidInput):
            await write("c", said("secret"), bad)
    assert await provider.get_conversation("c") is None
    await provider.store_messages("d", said("a"))
    with pytest.raises(InvalidInput):
        await provider.append_messages("d", said("b"), bad)
    assert texts(await got(provider, "d")) == ["a"]


@pytest.mark.parametrize("bad", [None, "text", 5, {"role": "user"}, [{"role": "user"}], [None]])
async def test_what_is_no_message_is_refused(provider: StoreProvider, bad: Any) -> None:
    for write in (provider.store_messages, provider.append_messages):
        with pytest.raises(InvalidInput, match="messages"):
            await write("c", bad)
    assert await provider.get_conversation("c") is None


@pytest.mark.parametrize("limit", [True, "5", 5.0, None])
async def test_a_limit_that_is_no_number_is_refused(provider: StoreProvider, limit: Any) -> None:
    await provider.store_messages("c", said("a"))
    with pytest.raises(InvalidInput, match="limit"):
        await provider.get_recent_messages("c", limit)


@pytest.mark.parametrize("ttl", [0, -1, "60", True, float("nan"), float("inf"), timedelta(0)])
async def test_a_ttl_that_is_no_time_is_refused(provider: StoreProvider, ttl: Any) -> None:
    with pytest.raises(InvalidInput, match="ttl"):
        await provider.append_messages("c", said("a"), ttl=ttl)
    assert await provider.get_conversation("c") is None


async def test_a_message_that_is_too_large_is_refused(provider: StoreProvider) -> None:
    with pytest.raises(InvalidInput, match="bytes"):
        await provider.append_messages("c", [*said("a"), *said("x" * 1024 * 1024)])
    assert await provider.get_conversation("c") is None


async def test_other_arguments_of_a_wrong_type_are_refused(provider: StoreProvider) -> None:
    bad: Any = 5
    for use in (
        lambda: provider.find_conversations({"user_id": "u"}),  # type: ignore[arg-type]
        lambda: provider.clear_user_conversations(bad),
        lambda: provider.clear_user_conversations(""),
        lambda: provider.get_stats(bad),
        lambda: provider.get_stats(""),
        lambda: provider.truncate_conversation_after("c", bad),
        lambda: provider.get_conversation_until_message("c", bad),
        lambda: provider.mark_regeneration_point("c", bad, {}),
        lambda: provider.mark_regeneration_point("c", "m", bad),
        lambda: provider.mark_regeneration_point("c", "m", {"x": Ellipsis}),
        lambda: provider.append_messages("c", said("a"), key=bad),
    ):
        with pytest.raises(InvalidInput):
            await use()
