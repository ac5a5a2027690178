"""Seed 004 as written: each of its Python snippets, run through ``compat/jaf``, on every backend.

A snippet runs as ``seed_004.py`` says; then the check of its number asserts that what it shows is so.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import FrozenInstanceError
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from recollect import Message
from recollect.memory import (
    MemoryConfig,
    MemoryConnectionError,
    MemoryError,  # noqa: A004  # seed 004's name
    MemoryNotFoundError,
    MemoryProvider,
    MemoryQuery,
    MemoryStorageError,
    StoreProvider,
    Success,
)
from tests.acceptance.seed_004 import (
    FILE,
    NUMBERS,
    OTHER,
    SESSION,
    USER,
    Servers,
    Snippet,
    snippet_after_its_run,
    turns,
)
from tests.servers.redis_server import GivenRedis

pytest_plugins = ["tests.servers.postgres_server", "tests.servers.redis_fixtures"]

ROOT = Path(__file__).parents[2]
JAF = ROOT / "compat" / "jaf" / "src"
SHA_256 = "5d5be33f308afae7e4f34859a53dad1f1b7d8fe74abc7d026347e24944b16289"  # of the snippets

Check = Callable[[Snippet], Awaitable[None]]
CHECKS: dict[int, Check] = {}


@pytest.fixture
def servers(redis_server: GivenRedis, postgres_url: str, postgres_schema: str) -> Servers:
    """The servers of the session, with a schema of the test's own."""
    return Servers(redis_server, _in_schema(postgres_url, postgres_schema))


@pytest.fixture(params=["memory", "sqlite", "redis", "postgres"])
def backend(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    redis_server: GivenRedis,
    postgres_url: str,
    postgres_schema: str,
) -> str:
    """Each backend; the environment asks for it (for the one in memory by saying nothing)."""
    for name in list(os.environ):
        if name.startswith(("JAF_", "RECOLLECT_")):
            monkeypatch.delenv(name)
    monkeypatch.syspath_prepend(JAF)
    kind: str = request.param
    settings = {
        "memory": {},
        "sqlite": {"SQLITE_PATH": str(tmp_path / "talks.db")},
        "redis": {"REDIS_URL": redis_server.url, "REDIS_KEY_PREFIX": f"{uuid.uuid4()}:"},
        "postgres": {"POSTGRES_CONNECTION_STRING": _in_schema(postgres_url, postgres_schema)},
    }[kind]
    if settings:
        monkeypatch.setenv("JAF_MEMORY_TYPE", kind)
    for name, value in settings.items():
        monkeypatch.setenv(f"JAF_{name}", value)
    return kind


def _in_schema(url: str, schema: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}search_path={schema}"


def test_the_snippets_are_those_of_the_document() -> None:
    assert list(range(1, 24)) == NUMBERS
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == SHA_256


@pytest.mark.parametrize("number", NUMBERS)
async def test_a_snippet_does_what_it_shows(number: int, backend: str, servers: Servers) -> None:
    async with snippet_after_its_run(number, backend, servers) as snippet:
        await CHECKS[number](snippet)


# ---- what must be so after each snippet ----------------------------------------------------------


def after(number: int) -> Callable[[Check], Check]:
    def register(check: Check) -> Check:
        assert number not in CHECKS
        CHECKS[number] = check
        return check

    return register


@after(1)
async def the_conversation_cannot_be_changed(snippet: Snippet) -> None:
    talk = snippet.names["conversation"]
    assert (talk.conversation_id, talk.user_id) == (SESSION, USER)
    said = [("user", "Hello!"), ("assistant", "Hi there! How can I help you?")]
    assert _said(talk.messages) == said
    assert talk.metadata == {"session_start": "2024-01-15T10:00:00Z"}
    for field in ("conversation_id", "user_id", "messages", "metadata"):
        with pytest.raises(FrozenInstanceError):
            setattr(talk, field, getattr(talk, field))
    with pytest.raises(TypeError):
        talk.messages[0] = talk.messages[1]
    with pytest.raises(TypeError):
        talk.metadata["session_start"] = "now"
    with pytest.raises(AttributeError):
        talk.messages[0].content = "Bye!"


@after(2)
async def the_class_is_a_provider(snippet: Snippet) -> None:
    made = snippet.names["MyCustomProvider"]()
    assert isinstance(made, MemoryProvider)
    assert MemoryConfig(provider=made).provider is made


@after(3)
async def the_limits_hold(snippet: Snippet) -> None:
    config, provider = snippet.names["config"], snippet.provider
    assert (config.max_conversations, config.max_messages) == (1000, 1000)
    await _works(provider, "memory")
    said = turns(1001)
    assert await provider.store_messages("long", said) == Success(None)
    assert _said(await provider.get_recent_messages("long", 2000)) == _said(said[1:])


@after(4)
async def both_ways_lead_to_redis(snippet: Snippet) -> None:
    config, _ = snippet.names.bound("config")
    assert (config.key_prefix, config.ttl) == ("jaf:memory:", 86400)
    for provider in await _two_that_work(snippet, "redis"):
        await provider.close()
    assert await snippet.names["redis_client"].ping(), "it is not ours to close"


@after(5)
async def both_ways_lead_to_postgres(snippet: Snippet) -> None:
    config, _ = snippet.names.bound("config")
    assert config.table_name == "conversations"
    for provider in await _two_that_work(snippet, "postgres"):
        await provider.close()
    assert await snippet.names["connection"].fetchval("SELECT 1") == 1, "it is not ours to close"


@after(6)
async def the_environment_says_which(snippet: Snippet) -> None:
    await _works(snippet.provider, snippet.backend)
    config = snippet.names["memory_config"]
    assert config.provider is snippet.provider
    assert (config.auto_store, config.max_messages, config.ttl) == (True, 1000, 86400)


@after(7)
async def the_environment_is_described_and_tried(snippet: Snippet) -> None:
    outlives = snippet.backend != "memory"
    assert snippet.names["result"]["healthy"] is True
    kind, persistence, verdict = snippet.printed.splitlines()
    assert kind == f"Provider type: {snippet.backend}"
    assert persistence == f"Persistence: {outlives}"
    assert verdict == f"✅ {snippet.names['result']['message']}"


@after(8)
async def the_run_is_stored(snippet: Snippet) -> None:
    assert snippet.names["result"].outcome.status == "completed"
    assert snippet.names["your_model_provider"].seen == [["user: Hello!"]]
    talk = await snippet.names["memory_provider"].get_conversation(SESSION)
    assert _said(talk.messages) == [("user", "Hello!"), ("assistant", "reply 1")]
    assert talk.user_id == USER


@after(9)
async def four_messages_come_back_in_order(snippet: Snippet) -> None:
    assert snippet.printed.splitlines() == [
        "Found 4 messages",
        "user: What's the weather like?",
        "assistant: I'd need your location to check the weather.",
        "user: I'm in New York",
        "assistant: It's currently 72°F and sunny in New York!",
    ]
    assert isinstance(snippet.names["result"], Success)
    metadata = snippet.names["conversation"].metadata
    assert (metadata["topic"], metadata["user_location"]) == ("weather", "unknown")


@after(10)
async def only_that_user_is_found_counted_and_cleared(snippet: Snippet) -> None:
    assert snippet.printed.splitlines() == [
        f"Conversation {SESSION}: 60 messages",
        "Total conversations: 1",
        "Total messages: 60",
        "Deleted 1 conversations",
    ]
    assert [talk.user_id for talk in snippet.names["conversations"]] == [USER]
    assert _said(snippet.names["recent_messages"]) == _said(turns(60)[-20:])
    await _only_the_other_is_left(snippet.provider)


@after(11)
async def the_metadata_come_back(snippet: Snippet) -> None:
    talk = await snippet.provider.get_conversation("support-ticket-456")
    assert talk is not None
    assert _said(talk.messages) == _said(turns(2))
    given = snippet.names["metadata"]
    assert {name: talk.metadata[name] for name in given} == given


@after(12)
async def a_store_succeeds_and_a_closed_provider_is_told_as_shown(snippet: Snippet) -> None:
    assert snippet.printed == "Messages stored successfully\n"
    for error in (MemoryConnectionError, MemoryNotFoundError, MemoryStorageError):
        assert snippet.names[error.__name__] is error
        assert issubclass(error, MemoryError)
    assert issubclass(MemoryError, Exception)
    provider = snippet.provider
    talk = await provider.get_conversation("one-more")
    assert talk is not None
    assert _said(talk.messages) == _said(turns(2))
    with pytest.raises(MemoryNotFoundError) as missing:
        await provider.get_recent_messages("no-such")
    assert missing.value.conversation_id == "no-such"
    await provider.close()
    await snippet.run()
    assert snippet.printed.startswith(f"Connection failed to {provider.name}: ")


@after(13)
async def the_settings_are_kept(snippet: Snippet) -> None:
    config = snippet.names["memory_config"]
    assert config.provider is snippet.provider
    assert (config.auto_store, config.max_messages, config.ttl) == (True, 1000, 2592000)
    assert config.compression_threshold == 100


@after(14)
async def the_monitor_reports_and_alerts_only_when_it_must(snippet: Snippet) -> None:
    verdict, *figures = snippet.printed.splitlines()
    assert re.fullmatch(r"✅ Memory provider healthy: .+ answered in .+ ms", verdict)
    assert [figure.partition(":")[0] for figure in figures] == [
        "   - Connections",
        "   - Memory usage",
        "   - Response time",
    ]
    assert "N/A" not in snippet.printed
    assert snippet.alerts == []
    await snippet.provider.close()
    await snippet.call("monitor_memory_health")
    assert snippet.printed.startswith("❌ Memory provider unhealthy: ")
    (alert,) = snippet.alerts
    assert re.fullmatch(r"Memory provider failure: .*closed", alert)


@after(15)
async def everything_is_counted_and_that_user_alone(snippet: Snippet) -> None:
    *counts, size, users, messages = snippet.printed.splitlines()
    assert counts == [
        "Total conversations: 2",
        "Total messages: 62",
        "Average messages per conversation: 31.0",
    ]
    assert re.fullmatch(r"Storage size: [1-9]\d* bytes", size)
    assert (users, messages) == ("User conversations: 1", "User messages: 60")


@after(16)
async def a_structured_id_names_a_conversation(snippet: Snippet) -> None:
    made = snippet.names["create_conversation_id"]("user-123", "chat", "2024-01-15T10:00:00Z")
    assert made == "user-123:chat:2024-01-15T10:00:00Z"
    assert await snippet.provider.store_messages(made, turns(2)) == Success(None)
    found = await snippet.provider.find_conversations(MemoryQuery(conversation_id=made))
    assert [talk.conversation_id for talk in found] == [made]


@after(17)
async def the_cleanup_removes_what_is_90_days_old_and_nothing_else(snippet: Snippet) -> None:
    await snippet.call("cleanup_old_conversations")
    left = await snippet.provider.find_conversations(MemoryQuery())
    assert {talk.conversation_id for talk in left} == {SESSION, OTHER}
    assert snippet.archived == []
    snippet.names["datetime"] = _In91Days
    await snippet.call("cleanup_old_conversations")
    assert await snippet.provider.find_conversations(MemoryQuery()) == []
    assert sorted(len(talk.messages) for talk in snippet.archived) == [2, 60]


class _In91Days(datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # it is called without
        return datetime.now() + timedelta(days=91)  # noqa: DTZ005  # as the snippet does


@after(18)
async def a_user_is_deleted_with_consent_and_nobody_else(snippet: Snippet) -> None:
    agree = snippet.names["verify_deletion_consent"]
    snippet.names["verify_deletion_consent"] = lambda user_id: False
    with pytest.raises(ValueError, match="requires verified consent"):
        await snippet.call("delete_user_data", USER)
    assert await snippet.provider.get_conversation(SESSION) is not None
    snippet.names["verify_deletion_consent"] = agree
    assert await snippet.call("delete_user_data", USER) == 1
    assert snippet.audit == [f"Deleted 1 conversations for user {USER}"]
    await _only_the_other_is_left(snippet.provider)
    assert await snippet.call("delete_user_data", USER) == 0


@after(19)
async def a_backup_brings_back_what_was_lost(snippet: Snippet) -> None:
    provider = snippet.provider
    before = await provider.get_conversation(SESSION)
    assert before is not None
    backup = await snippet.call("export_conversations", USER)
    assert (backup["user_id"], backup["conversation_count"]) == (USER, 1)
    assert [talk["conversation_id"] for talk in backup["conversations"]] == [SESSION]
    assert (await snippet.call("export_conversations"))["conversation_count"] == 2
    file = json.dumps(backup, default=str)
    assert await provider.delete_conversation(SESSION)
    for _ in range(2):  # an import that comes again changes nothing
        await snippet.call("import_conversations", json.loads(file))
        restored = await provider.get_conversation(SESSION)
        assert restored is not None
        assert restored.messages == before.messages
        assert _said(restored.messages) == _said(turns(60))
        assert restored.user_id == USER
        assert restored.created_at == before.created_at
    assert (await provider.get_stats())["total_conversations"] == 2


@after(20)
async def a_provider_that_works_has_no_issue(snippet: Snippet) -> None:
    assert snippet.names["result"]["healthy"] is True
    assert snippet.names["result"]["type"] == snippet.backend
    assert snippet.printed == ""


@after(21)
async def a_missing_conversation_is_none_and_was_timed(snippet: Snippet) -> None:
    assert snippet.names["conversation"] is None
    took = snippet.names["response_time"]
    assert snippet.printed == (f"Slow response: {took:.2f}ms\n" if took > 100 else "")


@after(22)
async def a_closed_provider_is_closed(snippet: Snippet) -> None:
    assert (await snippet.provider.health_check())["healthy"] is False
    with pytest.raises(MemoryConnectionError):
        await snippet.provider.get_conversation(SESSION)
    await snippet.run()  # closing once more does no harm


@after(23)
async def a_conversation_is_whole_or_missing(snippet: Snippet) -> None:
    assert await snippet.call("verify_conversation_integrity", SESSION) is True
    assert snippet.printed == ""
    assert await snippet.call("verify_conversation_integrity", "no-such") is False


async def _works(provider: StoreProvider, backend: str) -> None:
    """It keeps a conversation on that backend; nothing is left behind."""
    name = str(uuid.uuid4())
    report = await provider.health_check()
    assert report["details"]["backend"].removeprefix("in_") == backend
    assert await provider.store_messages(name, turns(2), {"user_id": USER}) == Success(None)
    try:
        found = await provider.get_conversation(name)
        assert found is not None
        assert (_said(found.messages), found.user_id) == (_said(turns(2)), USER)
    finally:
        assert await provider.delete_conversation(name)


async def _two_that_work(snippet: Snippet, backend: str) -> list[StoreProvider]:
    assert len(snippet.providers) == 2
    for provider in snippet.providers:
        await _works(provider, backend)
    return snippet.providers


async def _only_the_other_is_left(provider: StoreProvider) -> None:
    assert await provider.get_conversation(SESSION) is None
    (left,) = await provider.find_conversations(MemoryQuery())
    assert (left.conversation_id, left.user_id) == (OTHER, "someone-else")
    assert _said(left.messages) == _said(turns(2))


def _said(messages: Sequence[Message]) -> list[tuple[str, object]]:
    return [(message.role, message.content) for message in messages]


# ---- the distribution ----------------------------------------------------------------------------


def python(*args: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run Python where ``jaf`` can be imported, with no other setting in the environment."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("JAF_", "RECOLLECT_"))}
    return subprocess.run(
        [sys.executable, *args],
        env={**plain, "PYTHONPATH": str(JAF), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_jaf_has_every_name_it_says() -> None:
    """In the original, ``from jaf import *`` raised an AttributeError."""
    script = """
import jaf, jaf.core.types, jaf.memory, recollect.memory
from jaf import *
from jaf.core.types import *
from jaf.memory import *
assert set(recollect.memory.__all__) <= set(jaf.__all__), "the seed imports from both"
assert jaf.MemoryConfig is recollect.memory.MemoryConfig
assert jaf.Message is jaf.core.types.Message is recollect.Message
assert issubclass(jaf.MemoryError, Exception)
"""
    done = python("-c", script)
    assert done.returncode == 0, done.stderr


def test_jaf_loads_no_driver_and_no_heavy_library() -> None:
    """The original took 3.3 s and 4,063 modules."""
    script = "import jaf, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(python("-c", script).stdout.split())
    assert "recollect" in loaded
    assert not loaded & {"redis", "asyncpg", "pydantic", "pydantic_ai", "dbos", "tiktoken", "yaml"}
