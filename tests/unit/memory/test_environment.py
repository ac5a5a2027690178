"""Every variable of seed 004 has its effect, under both prefixes."""

import os
import re
from pathlib import Path
from typing import Any

import pytest

from recollect.errors import InvalidInput, MemoryConnectionError
from recollect.memory import (
    StoreProvider,
    create_memory_provider_from_env,
    get_memory_provider_info,
    test_memory_provider_connection,
)
from recollect.memory.providers.environment import KINDS, config_from_environment
from recollect.messages import Message

# variable -> (type, field, text, value)
SEED: dict[str, tuple[str, str, str, Any]] = {
    "MEMORY_TYPE": ("redis", "type", "redis", "redis"),
    "MEMORY_MAX_CONVERSATIONS": ("memory", "max_conversations", "7", 7),
    "MEMORY_MAX_MESSAGES": ("memory", "max_messages", "7", 7),
    "REDIS_URL": ("redis", "url", "redis://h:1/2", "redis://h:1/2"),
    "REDIS_HOST": ("redis", "host", "h", "h"),
    "REDIS_PORT": ("redis", "port", "7", 7),
    "REDIS_PASSWORD": ("redis", "password", "a # b", "a # b"),
    "REDIS_DB": ("redis", "db", "7", 7),
    "REDIS_KEY_PREFIX": ("redis", "key_prefix", "p:", "p:"),
    "REDIS_TTL": ("redis", "ttl", "86400", 86400),
    "REDIS_SENTINEL_HOSTS": ("redis", "sentinel_hosts", "a:1,b", ("a:1", "b:26379")),
    "REDIS_SENTINEL_SERVICE_NAME": ("redis", "sentinel_service_name", "s", "s"),
    "POSTGRES_CONNECTION_STRING": (
        "postgres",
        "connection_string",
        "postgresql://u:p@h/d",
        "postgresql://u:p@h/d",
    ),
    "POSTGRES_HOST": ("postgres", "host", "h", "h"),
    "POSTGRES_PORT": ("postgres", "port", "7", 7),
    "POSTGRES_DATABASE": ("postgres", "database", "d", "d"),
    "POSTGRES_USERNAME": ("postgres", "username", "u", "u"),
    "POSTGRES_PASSWORD": ("postgres", "password", "p", "p"),
    "POSTGRES_SSL": ("postgres", "ssl", "true", True),
    "POSTGRES_TABLE_NAME": ("postgres", "table_name", "t", "t"),
    "POSTGRES_MAX_CONNECTIONS": ("postgres", "max_connections", "7", 7),
    "POSTGRES_POOL_MIN_SIZE": ("postgres", "pool_min_size", "2", 2),
    "POSTGRES_POOL_MAX_SIZE": ("postgres", "pool_max_size", "7", 7),
    "POSTGRES_POOL_MAX_QUERIES": ("postgres", "pool_max_queries", "7", 7),
    "POSTGRES_POOL_MAX_INACTIVE_CONNECTION_LIFETIME": (
        "postgres",
        "pool_max_inactive_connection_lifetime",
        "7.5",
        7.5,
    ),
}
OURS = {
    "SQLITE_PATH": ("sqlite", "path", "x.db", "x.db"),
    "REDIS_SENTINEL_PASSWORD": ("redis", "sentinel_password", "p", "p"),
}
SECOND = {
    "REDIS_PREFIX": "REDIS_KEY_PREFIX",
    "POSTGRES_DB": "POSTGRES_DATABASE",
    "POSTGRES_USER": "POSTGRES_USERNAME",
    "POSTGRES_TABLE": "POSTGRES_TABLE_NAME",
}
FIELDS = SEED | OURS | {second: SEED[first] for second, first in SECOND.items()}

Environ = pytest.MonkeyPatch
each_prefix = pytest.mark.parametrize("prefix", ["JAF_", "RECOLLECT_"])


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> Environ:
    for name in list(os.environ):
        if name.startswith(("JAF_", "RECOLLECT_")):
            monkeypatch.delenv(name)
    return monkeypatch


def configured(environ: Environ, kind: str, **variables: str) -> Any:
    environ.setenv("JAF_MEMORY_TYPE", kind)
    if kind == "sqlite":
        environ.setenv("JAF_SQLITE_PATH", "other.db")
    for name, value in variables.items():
        environ.setenv(name, value)
    return config_from_environment()


# ---- every variable ------------------------------------------------------------------------------


def test_there_are_the_25_variables_of_the_seed() -> None:
    assert len(SEED) == 25


def test_no_other_variable_is_read() -> None:
    read = {
        name
        for kind in KINDS.values()
        for variable in kind.variables
        for name in (variable.name, *variable.others)
    }
    assert read | {"MEMORY_TYPE"} == set(FIELDS)


def test_every_variable_has_its_row_in_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "providers.md").read_text(encoding="utf-8")
    table = page.partition("| variable | is |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == {*SEED, *OURS}
    assert set(re.findall(r"second name `(\w+)`", table)) == set(SECOND)


@each_prefix
@pytest.mark.parametrize("name", FIELDS)
def test_a_variable_has_its_effect(environ: Environ, prefix: str, name: str) -> None:
    kind, field, text, value = FIELDS[name]
    without = configured(environ, "memory" if name == "MEMORY_TYPE" else kind)
    assert getattr(without, field) != value
    environ.setenv(prefix + name, text)
    assert getattr(config_from_environment(), field) == value


@pytest.mark.parametrize("name", FIELDS)
def test_ours_wins_and_an_empty_one_counts_as_unset(environ: Environ, name: str) -> None:
    kind, field, text, value = FIELDS[name]
    other = {"MEMORY_TYPE": "memory", "POSTGRES_SSL": "false"}.get(name, text.replace("7", "8"))
    configured(environ, kind, **{f"JAF_{name}": text, f"RECOLLECT_{name}": ""})
    assert getattr(config_from_environment(), field) == value
    environ.setenv(f"JAF_{name}", other)
    environ.setenv(f"RECOLLECT_{name}", text)
    assert getattr(config_from_environment(), field) == value


@pytest.mark.parametrize("second", SECOND)
def test_the_name_of_the_seed_wins_over_the_one_the_original_read(
    environ: Environ, second: str
) -> None:
    kind, field, text, value = FIELDS[second]
    config = configured(
        environ, kind, **{f"RECOLLECT_{second}": "x", f"JAF_{SECOND[second]}": text}
    )
    assert getattr(config, field) == value


def test_with_none_set_the_provider_is_in_memory() -> None:
    assert config_from_environment().type == "memory"


def test_a_project_s_store_is_another_matter(environ: Environ) -> None:
    environ.setenv("RECOLLECT_STORE_URL", "redis://h")
    assert config_from_environment().type == "memory"


# ---- how values are read -------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["2592000  # 30 days", " 2592000 ", "2592000\t#x", "2592000.0"])
def test_a_number_may_carry_a_comment(environ: Environ, text: str) -> None:
    assert configured(environ, "redis", JAF_REDIS_TTL=text).ttl == 2592000


def test_a_comment_alone_counts_as_unset(environ: Environ) -> None:
    assert configured(environ, "redis", JAF_REDIS_TTL="# 30 days").ttl is None


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "Yes", "on", "true # always"])
def test_these_words_mean_yes(environ: Environ, text: str) -> None:
    assert configured(environ, "postgres", JAF_POSTGRES_SSL=text).ssl is True


@pytest.mark.parametrize("text", ["false", "0", "NO", "off # never"])
def test_these_words_mean_no(environ: Environ, text: str) -> None:
    assert configured(environ, "postgres", JAF_POSTGRES_SSL=text).ssl is False


@pytest.mark.parametrize("text", ["Redis", " redis # the fast one", "REDIS"])
def test_the_type_is_read_in_any_case(environ: Environ, text: str) -> None:
    assert configured(environ, text).type == "redis"


@each_prefix
@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("MEMORY_TYPE", "rediss", "unsupported memory type.* redis, postgres.*'redis'"),
        ("MEMORY_MAX_CONVERSATIONS", "many", "is 'many': expected a whole number"),
        ("MEMORY_MAX_CONVERSATIONS", "0", "is 0: it must be at least 1"),
        ("MEMORY_MAX_MESSAGES", "1.5", "is '1.5': expected a whole number"),
        ("REDIS_PORT", "70000", "is 70000: it must be 1 to 65535"),
        ("REDIS_DB", "-1", "is -1: it must be at least 0"),
        ("REDIS_TTL", "1 day", "is '1 day': expected a number of seconds"),
        ("REDIS_TTL", "inf", "is inf: it must be 1 to"),
        ("REDIS_TTL", "0", "is 0: it must be 1 to"),
        ("REDIS_SENTINEL_HOSTS", "a:b", "HOST"),
        ("REDIS_URL", "u:hush@h", "is no URL that begins with one of redis://"),
        ("POSTGRES_CONNECTION_STRING", "u:hush@h", "postgresql://"),
        ("POSTGRES_SSL", "maybe", "is 'maybe': expected true"),
        ("POSTGRES_MAX_CONNECTIONS", "ten", "is 'ten': expected a whole number"),
        ("POSTGRES_POOL_MAX_SIZE", "0", "at least 1"),
        ("POSTGRES_POOL_MAX_INACTIVE_CONNECTION_LIFETIME", "x", "a number of seconds"),
    ],
)
def test_a_bad_value_names_the_variable_and_what_was_expected(
    environ: Environ, prefix: str, name: str, text: str, expected: str
) -> None:
    kind = FIELDS[name][0]
    with pytest.raises(MemoryConnectionError, match=f"^{prefix}{name} .*{expected}") as caught:
        configured(environ, kind, **{prefix + name: text})
    assert caught.value.provider == "Factory"
    assert "hush" not in str(caught.value)


def test_settings_that_do_not_go_together_name_their_variables(environ: Environ) -> None:
    variables = {"JAF_POSTGRES_POOL_MIN_SIZE": "5", "RECOLLECT_POSTGRES_POOL_MAX_SIZE": "2"}
    with pytest.raises(MemoryConnectionError) as caught:
        configured(environ, "postgres", **variables)
    for name in variables:
        assert name in str(caught.value)


def test_sqlite_needs_a_file(environ: Environ) -> None:
    environ.setenv("JAF_MEMORY_TYPE", "sqlite")
    with pytest.raises(MemoryConnectionError, match="RECOLLECT_SQLITE_PATH"):
        config_from_environment()


# ---- info ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "persistence"),
    [("memory", False), ("sqlite", True), ("redis", True), ("postgres", True)],
)
def test_info_tells_type_and_persistence_and_no_secret(
    environ: Environ, kind: str, persistence: bool
) -> None:
    secrets = {f"JAF_{name}_PASSWORD": "hush" for name in ("REDIS", "POSTGRES")}
    urls = {"JAF_REDIS_URL": "redis://:hush@nowhere.invalid"}
    configured(environ, kind, **secrets, **urls)
    info = get_memory_provider_info()
    assert (info["type"], info["persistence"]) == (kind, persistence)
    assert info["description"]
    assert info["config"]["type"] == kind
    assert "hush" not in str(info)


# ---- making and testing --------------------------------------------------------------------------


async def test_a_provider_is_made_and_obeys_the_variables(environ: Environ) -> None:
    environ.setenv("JAF_MEMORY_MAX_MESSAGES", "2")
    environ.setenv("JAF_MEMORY_MAX_CONVERSATIONS", "1")
    provider = await create_memory_provider_from_env()
    assert isinstance(provider, StoreProvider)
    for conversation_id in "cd":
        messages = [Message("user", text) for text in "xyz"]
        await provider.store_messages(conversation_id, messages)
    stats = await provider.get_stats()
    assert (stats["total_conversations"], stats["total_messages"]) == (1, 2)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that does not answer within seconds is unwell; here the machine may be busy."""
    monkeypatch.setattr("recollect.memory.providers.factories.TEST_TIMEOUT_SECONDS", 60.0)
    monkeypatch.setattr("recollect.memory.providers.provider.HEALTH_TIMEOUT_SECONDS", 60.0)


@pytest.mark.usefixtures("unhurried")
async def test_sqlite_is_where_the_variable_says(environ: Environ, tmp_path: Path) -> None:
    environ.setenv("RECOLLECT_MEMORY_TYPE", "sqlite")
    environ.setenv("RECOLLECT_SQLITE_PATH", str(tmp_path / "new" / "talks.db"))
    assert (await test_memory_provider_connection())["healthy"] is True
    assert (tmp_path / "new" / "talks.db").exists()


@pytest.mark.usefixtures("unhurried")
async def test_the_connection_test_reports_and_never_raises(environ: Environ) -> None:
    report = await test_memory_provider_connection()
    assert (report["healthy"], report["type"], report["provider"]) == (True, "memory", "InMemory")
    assert report["message"]
    assert report["latency_ms"] >= 0
    for variables in (
        {"JAF_MEMORY_TYPE": "rediss"},
        {"JAF_MEMORY_TYPE": "redis", "JAF_REDIS_PORT": "x"},
        {"JAF_MEMORY_TYPE": "redis", "JAF_REDIS_PORT": "1"},
        {"JAF_MEMORY_TYPE": "postgres", "JAF_POSTGRES_PORT": "1"},
        {"JAF_MEMORY_TYPE": "postgres", "JAF_POSTGRES_TABLE_NAME": "x" * 99},
        {"JAF_MEMORY_TYPE": "sqlite", "JAF_SQLITE_PATH": "/dev/null/x.db"},
    ):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            report = await test_memory_provider_connection()
        assert report["healthy"] is False
        assert report["error"]


def test_pytest_does_not_take_the_connection_test_for_a_test() -> None:
    assert test_memory_provider_connection.__test__ is False  # type: ignore[attr-defined]


async def test_unknown_external_clients_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"'postgresql'.*'postgres'\?"):
        await create_memory_provider_from_env({"postgresql": object()})
