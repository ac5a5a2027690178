"""Settings of the providers: what they take, what they refuse, what they never show (seed 004)."""

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest

from recollect.errors import InvalidInput
from recollect.memory import (
    ConversationMemory,
    Failure,
    InMemoryConfig,
    MemoryConfig,
    MemoryProviderConfig,
    MemoryQuery,
    PostgresConfig,
    RedisConfig,
    SQLiteConfig,
    Success,
    create_in_memory_provider,
)
from recollect.memory.providers.settings import without_secrets
from recollect.messages import Message

SECRET = "s3cr%t:@/?"


# ---- defaults and second names -------------------------------------------------------------------


def test_the_fields_and_their_defaults_are_those_of_seed_004() -> None:
    assert InMemoryConfig().shown() == {
        "type": "memory",
        "max_conversations": None,
        "max_messages": None,
        "max_messages_per_conversation": None,
        "ttl": None,
    }
    assert RedisConfig().shown() == {
        "type": "redis",
        "url": None,
        "host": "localhost",
        "port": 6379,
        "password": None,
        "db": 0,
        "key_prefix": "jaf:memory:",
        "ttl": None,
        "sentinel_hosts": None,
        "sentinel_service_name": "mymaster",
        "sentinel_password": None,
    }
    assert PostgresConfig().shown() == {
        "type": "postgres",
        "connection_string": None,
        "host": "localhost",
        "port": 5432,
        "database": "jaf_memory",
        "username": "postgres",
        "password": None,
        "ssl": False,
        "table_name": "conversations",
        "max_connections": 10,
        "pool_min_size": None,
        "pool_max_size": None,
        "pool_max_queries": None,
        "pool_max_inactive_connection_lifetime": None,
        "ttl": None,
    }


@pytest.mark.parametrize("name", ["max_messages", "max_messages_per_conversation"])
def test_two_names_mean_one_limit(name: str) -> None:
    config = InMemoryConfig(**{name: 5})  # type: ignore[arg-type]
    assert (config.max_messages, config.max_messages_per_conversation) == (5, 5)
    assert config == InMemoryConfig(max_messages=5, max_messages_per_conversation=5)


def test_two_names_with_different_values_are_refused() -> None:
    with pytest.raises(InvalidInput, match="max_messages is 5 and max_messages_per_conversation 6"):
        InMemoryConfig(max_messages=5, max_messages_per_conversation=6)


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        (InMemoryConfig, "max_mesages", "max_messages"),
        (SQLiteConfig, "pth", "path"),
        (RedisConfig, "passwort", "password"),
        (PostgresConfig, "user_name", "username"),
        (MemoryQuery, "userid", "user_id"),
        (MemoryConfig, "autostore", "auto_store"),
    ],
)
def test_a_misspelt_keyword_is_refused_naming_the_closest(
    kind: type[Any], wrong: str, right: str
) -> None:
    with pytest.raises(InvalidInput, match=rf"{kind.__name__} has no .*'{right}'\?"):
        kind(**{wrong: 1})


REFUSED: list[tuple[type[Any], str, list[Any]]] = [
    (InMemoryConfig, "type", ["redis", None]),
    (InMemoryConfig, "max_conversations", [0, -1, "5", 5.0, True]),
    (InMemoryConfig, "max_messages", [0, True]),
    (InMemoryConfig, "max_messages_per_conversation", [0]),
    (InMemoryConfig, "ttl", [0, -1, 0.5, "60", True, float("nan"), float("inf")]),
    (SQLiteConfig, "path", ["", None, 5]),
    (RedisConfig, "type", ["memory"]),
    (RedisConfig, "url", ["", "localhost:6379", "http://h", 5, "redis://h:port", "redis://[::1"]),
    (RedisConfig, "host", ["", None, 5]),
    (RedisConfig, "port", [0, 65536, "6379", True, None]),
    (RedisConfig, "password", ["", 5, b"x"]),
    (RedisConfig, "db", [-1, "0", None]),
    (RedisConfig, "key_prefix", ["", None, 5, "a\n", "x" * 501, "{a}"]),
    (RedisConfig, "ttl", [0, "60"]),
    (RedisConfig, "sentinel_hosts", ["", ":5", "a:b", "a:70000", 5, [], [5], ["a", ""]]),
    (RedisConfig, "sentinel_service_name", ["", 5]),
    (RedisConfig, "sentinel_password", ["", 5]),
    (PostgresConfig, "connection_string", ["", "mysql://h", "host=x", 5]),
    (PostgresConfig, "port", [0, 65536]),
    (PostgresConfig, "database", ["", None]),
    (PostgresConfig, "username", ["", 5]),
    (PostgresConfig, "password", ["", 5]),
    (PostgresConfig, "ssl", ["true", 1, None]),
    (PostgresConfig, "table_name", ["", None, 5, "a\0"]),
    (PostgresConfig, "max_connections", [0, "10", None]),
    (PostgresConfig, "pool_min_size", [-1, 11]),
    (PostgresConfig, "pool_max_size", [0]),
    (PostgresConfig, "pool_max_queries", [0]),
    (PostgresConfig, "pool_max_inactive_connection_lifetime", [-1, "5"]),
    (MemoryQuery, "conversation_id", ["", 5]),
    (MemoryQuery, "user_id", ["", 5]),
    (MemoryQuery, "trace_id", ["", 5]),
    (MemoryQuery, "limit", [-1, "5", True, 1.0]),
    (MemoryQuery, "offset", [-1, "5"]),
    (MemoryQuery, "since", ["2024-01-01", 5]),
    (MemoryQuery, "until", ["2024-01-01"]),
    (MemoryConfig, "provider", [None, "redis", Ellipsis, Failure("x")]),
    (MemoryConfig, "auto_store", [1, None]),
    (MemoryConfig, "max_messages", [0, "5", True]),
    (MemoryConfig, "ttl", [0, "60"]),
    (MemoryConfig, "compression_threshold", [0]),
    (MemoryConfig, "store_on_completion", ["yes"]),
]
NEEDED: dict[type[Any], dict[str, Any]] = {
    SQLiteConfig: {"path": "x.db"},
    MemoryConfig: {"provider": create_in_memory_provider()},
}


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [(kind, name, value) for kind, name, values in REFUSED for value in values],
    ids=str,
)
def test_a_value_that_cannot_be_is_refused_by_name(kind: type[Any], name: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=name):
        kind(**NEEDED.get(kind, {}) | {name: value})


def test_settings_do_not_change() -> None:
    for config in (InMemoryConfig(), RedisConfig(), PostgresConfig(), SQLiteConfig(path="x")):
        with pytest.raises(AttributeError):
            config.ttl = 5.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "config",
    [
        InMemoryConfig(max_messages=5),
        SQLiteConfig(path=Path("x.db")),
        RedisConfig(sentinel_hosts="a,b:1", password="p"),
        PostgresConfig(password="p"),
        MemoryQuery(limit=5),
    ],
    ids=lambda config: type(config).__name__,
)
def test_settings_are_equal_to_their_copies(config: Any) -> None:
    assert copy.deepcopy(config) == config
    assert pickle.loads(pickle.dumps(config)) == config


# ---- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        RedisConfig(password=SECRET),
        RedisConfig(url="redis://user:hush@h:1/2"),
        RedisConfig(url="redis://hush@h:1/2"),
        RedisConfig(url="unix://:hush@/tmp/s?password=hush"),
        PostgresConfig(password=SECRET),
        PostgresConfig(connection_string="postgresql://u:hush@h/db?password=hush&sslmode=require"),
    ],
    ids=range(6),
)
def test_a_secret_is_never_shown(config: MemoryProviderConfig) -> None:
    for text in (repr(config), str(config), f"{config.shown()}"):
        assert SECRET not in text
        assert "hush" not in text
        assert "***" in text


def test_the_rest_of_a_url_is_shown() -> None:
    assert "redis://***@h:1/2" in repr(RedisConfig(url="redis://user:hush@h:1/2"))
    assert "'redis://h:1/2'" in repr(RedisConfig(url="redis://h:1/2"))


@pytest.mark.parametrize("text", ["hush", "redis://[hush", "//[hush"])
def test_what_is_no_url_is_shown_without_a_word_of_it(text: str) -> None:
    assert without_secrets(text) == "***"


@pytest.mark.parametrize("url", ["hush://u:hush@h", "redis://u:hush@h:port", "u:hush@h"])
def test_a_refused_url_is_not_quoted(url: str) -> None:
    for kind, name in ((RedisConfig, "url"), (PostgresConfig, "connection_string")):
        with pytest.raises(InvalidInput, match=name) as caught:
            kind(**{name: url})  # type: ignore[arg-type]
        assert "hush" not in str(caught.value)


# ---- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({}, "redis://localhost:6379/0"),
        ({"host": "h", "port": 1, "db": 2, "password": "p"}, "redis://:p@h:1/2"),
        ({"password": SECRET}, "redis://:s3cr%25t%3A%40%2F%3F@localhost:6379/0"),
        ({"host": "::1"}, "redis://[::1]:6379/0"),
        ({"url": "redis://h:1/3", "host": "x", "port": 2, "db": 4}, "redis://h:1/3"),
        ({"url": "redis://h", "port": 2, "db": 4, "password": "p"}, "redis://:p@h:2/4"),
        ({"url": "redis://h/?db=3", "db": 4}, "redis://h:6379/?db=3"),
        ({"url": "redis://u:p%40@h/1", "password": "x"}, "redis://u:p%40@h:6379/1"),
        ({"url": "redis://auth-token@h:6380/0"}, "redis://:auth-token@h:6380/0"),
        ({"url": "redis://user@h:1/0", "password": "p"}, "redis://user:p@h:1/0"),
        ({"url": "rediss://h:1/0"}, "rediss://h:1/0"),
        ({"url": "unix:///tmp/s", "db": 2}, "unix:///tmp/s?db=2"),
        ({"url": "unix:///tmp/s?db=1", "db": 2, "password": "p"}, "unix://:p@/tmp/s?db=1"),
    ],
    ids=str,
)
def test_a_redis_url_wins_and_what_it_lacks_comes_from_the_settings(
    given: dict[str, Any], address: str
) -> None:
    assert RedisConfig(**given).address() == address


@pytest.mark.parametrize(
    "hosts", ["a:1,b", " a:1 , b:26379 ", ["a:1", "b"], ("a:1", "b:26379")], ids=str
)
def test_sentinels_have_a_usual_port(hosts: Any) -> None:
    config = RedisConfig(sentinel_hosts=hosts)
    assert config.sentinels() == [("a", 1), ("b", 26379)]
    assert config.sentinel_hosts == ("a:1", "b:26379")


PARTS = {"host": "localhost", "port": 5432, "database": "jaf_memory", "user": "postgres"}


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {"max_size": 10, **PARTS}),
        (
            {"host": "h", "port": 1, "database": "d", "username": "u", "password": "p"},
            {
                "max_size": 10,
                "host": "h",
                "port": 1,
                "database": "d",
                "user": "u",
                "password": "p",
            },
        ),
        ({"max_connections": 3}, {"max_size": 3, **PARTS}),
        ({"max_connections": 3, "pool_max_size": 4}, {"max_size": 4, **PARTS}),
        ({"pool_min_size": 0}, {"max_size": 10, "min_size": 0, **PARTS}),
        ({"pool_max_queries": 5}, {"max_size": 10, "max_queries": 5, **PARTS}),
        (
            {"pool_max_inactive_connection_lifetime": 0},
            {"max_size": 10, "max_inactive_connection_lifetime": 0, **PARTS},
        ),
        ({"ssl": True}, {"max_size": 10, "ssl": "require", **PARTS}),
        ({"connection_string": "postgresql://u:p@h/d", "password": "x"}, {"max_size": 10}),
        (
            {"connection_string": "postgresql://u@h/d", "password": "x"},
            {"max_size": 10, "password": "x"},
        ),
        (
            {"connection_string": "postgresql://h/d", "ssl": True},
            {"max_size": 10, "ssl": "require"},
        ),
        (
            {"connection_string": "postgresql://h/d?sslmode=verify-full", "ssl": True},
            {"max_size": 10},
        ),
    ],
    ids=str,
)
def test_a_connection_string_wins_over_the_parts(
    given: dict[str, Any], options: dict[str, Any]
) -> None:
    assert PostgresConfig(**given).options() == options


def test_several_hosts_are_left_to_the_driver() -> None:
    PostgresConfig(connection_string="postgresql://a:1,b:2/d")


# ---- values --------------------------------------------------------------------------------------


def test_a_conversation_takes_any_sequence_and_never_changes() -> None:
    messages, metadata = [Message("user", "a")], {"deep": {"x": [1]}}
    conversation = ConversationMemory("c", "u", messages, metadata)
    messages.clear()
    metadata["deep"]["x"].append(2)
    assert len(conversation.messages) == 1
    assert conversation.metadata == {"deep": {"x": [1]}}
    assert conversation.messages == tuple(conversation.messages)
    with pytest.raises(AttributeError):
        conversation.user_id = "x"  # type: ignore[misc]


def test_conversations_are_equal_by_all_four_fields() -> None:
    message = Message("user", "a")
    one = ConversationMemory("c", "u", [message], {"x": 1})
    assert one == ConversationMemory("c", "u", (message,), {"x": 1})
    assert pickle.loads(pickle.dumps(one)) == one
    for other in (
        ConversationMemory("d", "u", [message], {"x": 1}),
        ConversationMemory("c", "v", [message], {"x": 1}),
        ConversationMemory("c", "u", [], {"x": 1}),
        ConversationMemory("c", "u", [message], {"x": 2}),
    ):
        assert one != other


@pytest.mark.parametrize(
    "bad",
    [
        {"conversation_id": ""},
        {"conversation_id": 5},
        {"user_id": 5},
        {"messages": [{"role": "user"}]},
        {"messages": "text"},
        {"metadata": ["x"]},
        {"metadata": {"x": Ellipsis}},
    ],
    ids=str,
)
def test_what_is_no_conversation_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        ConversationMemory(**{"conversation_id": "c"} | bad)


def test_times_of_a_conversation_come_from_its_metadata() -> None:
    assert ConversationMemory("c").created_at is None
    assert ConversationMemory("c", metadata={"created_at": "soon"}).created_at is None
    found = ConversationMemory("c", metadata={"updated_at": "2024-01-15T10:00:00+00:00"}).updated_at
    assert found is not None
    assert found.isoformat() == "2024-01-15T10:00:00+00:00"


def test_a_result_is_one_or_the_other() -> None:
    assert Success(5).data == 5
    assert Failure("x").error == "x"
    assert Success(5) == Success(5)
    assert not isinstance(Failure("x"), Success)


def test_a_provider_inside_a_success_is_taken_out() -> None:
    provider = create_in_memory_provider()
    assert MemoryConfig(Success(provider)).provider is provider  # type: ignore[arg-type]


def test_two_methods_are_enough_for_a_run() -> None:
    class Small:
        async def get_conversation(self, conversation_id: str) -> None: ...
        async def store_messages(self, *args: object) -> None: ...

    small: Any = Small()
    assert MemoryConfig(small).provider is small
