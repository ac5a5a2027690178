"""Rows of specs/memory.md §13 about keys and life time, on seed 000's resource file and a real Redis."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import pytest

from recollect.errors import ConfigError, InvalidInput
from recollect.project.app import App, open_app
from recollect.project.users import add_workflow_file, load_project
from tests.servers.redis_server import RedisServer

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli
    from tests.conftest import ProjectFolder

RESOURCE = r"""
resource: memory
id: conversation_memory
description: Conversation history with token management
key: "conv:{{.user_id}}:{{.session_id}}"
type: token_based
max_tokens: 4000
max_messages: 100
persistence:
    type: redis
    ttl: 24h
token_provider:
    provider: openai
    model: gpt-3.5-turbo
privacy_policy:
    redact_patterns:
        - '\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b'
    non_persistable_message_types:
        - system
"""
MEMORY = "conversation_memory"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(
        tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always"
    ) as started:
        yield started


class F:
    """The fixture of §13: project ``demo``, seed 000's resource, Redis."""

    def __init__(self, folder: "ProjectFolder", url: str) -> None:
        self.folder, self.url = folder, url

    def open(self) -> Any:
        return open_app(load_project(self.folder.root, {"RECOLLECT_STORE_URL": self.url}))

    async def __call__(self, operation: str, key: str | None, **more: Any) -> dict[str, Any]:
        async with self.open() as app:
            return await self.ask(app, operation, key, **more)

    @staticmethod
    async def ask(app: App, operation: str, key: str | None, **more: Any) -> dict[str, Any]:
        return await app.memory(operation, more.pop("ref", MEMORY), key, **more)

    async def contents(self, key: str, **more: Any) -> list[str]:
        return [m["content"] for m in (await self("read", key, **more))["messages"]]

    async def run(self, workflow: str, **input_: Any) -> Any:
        file = self.folder.write("wf.yaml", workflow)
        loaded = load_project(self.folder.root, {"RECOLLECT_STORE_URL": self.url})
        chosen = add_workflow_file(loaded, file).workflow
        async with open_app(loaded, mock_model=True) as app:
            return await app.run(chosen, input_, on_found=print)


async def test_machines_that_share_a_store_and_the_secret_meet_under_a_hidden_key(
    project: "ProjectFolder", server: RedisServer, tmp_path: Path
) -> None:
    """The second has the same ``project.json`` and, from its environment, the same secret."""
    project.write(f"memory/{MEMORY}.yaml", RESOURCE)
    other = tmp_path / "second machine"
    shutil.copytree(project.root, other)
    key = "conv:jane.doe@example.com:s1"

    async def contents(root: Path, env: dict[str, str], say: str | None = None) -> list[str]:
        loaded = load_project(root, {"RECOLLECT_STORE_URL": server.url, **env})
        async with open_app(loaded) as app:
            if say:
                await app.memory("append", MEMORY, key, payload=say)
            found = await app.memory("read", MEMORY, key)
        return [message["content"] for message in found["messages"]]

    assert await contents(project.root, {}, "hello") == ["hello"]
    (other / ".recollect").mkdir()
    shutil.copy(project.root / ".recollect" / "project.json", other / ".recollect")
    secret = (project.root / ".recollect" / "hash.key").read_text()
    assert await contents(other, {"RECOLLECT_HASH_KEY": secret}) == ["hello"]
    assert await contents(other, {"RECOLLECT_HASH_KEY": "0" * 64}) == []
    assert not (other / ".recollect" / "hash.key").exists()


@pytest.fixture
def f(project: "ProjectFolder", server: RedisServer) -> F:
    project.write(
        "recollect.yaml", 'name: demo\nautoload: {enabled: true, include: ["memory/*"]}\n'
    )
    project.write("memory/conversation.yaml", RESOURCE)
    return F(project, server.url)


def physical(server: RedisServer, key: str) -> list[bytes]:
    with server.client() as client:
        found: Any = client.keys("*")
        return [name for name in found if f"{key}}}" in unquote(name.decode())]


async def test_row_6_delete(f: F, server: RedisServer) -> None:
    """Key gone, others intact, idempotent."""
    await f("append", "conv:u1:s1", payload="one")
    await f("append", "conv:u1:s2", payload="two")
    await f("write", "conv:u1:s1", payload="new")
    assert physical(server, "conv:u1:s1")
    assert (await f("delete", "conv:u1:s1"))["deleted"] is True
    assert (await f("read", "conv:u1:s1"))["total_count"] == 0
    assert (await f("read", "conv:u1:s1", config={"source": "archive"}))["total_count"] == 0
    assert physical(server, "conv:u1:s1") == []
    assert (await f("delete", "conv:u1:s1"))["deleted"] is False
    assert await f.contents("conv:u1:s2") == ["two"]


async def test_row_10_health_and_stats(
    f: F, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Works without a key; a stopped Redis is reported within a second, not raised."""
    await f("append", "conv:u1:s1", payload="one")
    async with f.open() as app:
        with monkeypatch.context() as unhurried:  # a server that works may be slow for once
            unhurried.setattr("recollect.memory.health.HEALTH_TIMEOUT_SECONDS", 30.0)
            output = await f.ask(app, "health", None, config={"include_stats": True})
        assert (output["healthy"], output["store_status"]) == (True, "connected")
        assert output["memory_stats"]["total_keys"] == 1
        assert output["memory_stats"]["total_messages"] == 1
        server.pause()
        try:
            start = app.clock.monotonic()
            for key in (None, "conv:u1:s1", "conv:*"):
                output = await app.memory("health", MEMORY, key, wildcards=True)
                assert (output["success"], output["healthy"]) == (True, False)
                assert output["store_status"] == "disconnected"
            assert app.clock.monotonic() - start < 3 * 4  # the store itself would wait 3 * 5
        finally:
            server.resume()


@pytest.mark.parametrize("config", [None, {}, {"confirm": False}, {"backup": True}])
async def test_row_11_clear_needs_to_be_confirmed(f: F, config: Any) -> None:
    await f("append", "conv:u1:s1", payload="one")
    with pytest.raises(InvalidInput, match="confirm flag must be true"):
        await f("clear", "conv:u1:s1", config=config)
    assert await f.contents("conv:u1:s1") == ["one"]


async def test_row_12_a_backup_is_read_and_restored(f: F) -> None:
    before = [
        {"role": "user", "content": "one", "metadata": {"n": 1}},
        {"role": "assistant", "content": "two"},
    ]
    await f("append", "conv:u1:s1", payload=before)
    stored = (await f("read", "conv:u1:s1"))["messages"]
    config = {"confirm": True, "backup": True}
    first = await f("clear", "conv:u1:s1", config=config)
    assert (first["messages_cleared"], first["backup_created"]) == (2, True)
    assert await f.contents("conv:u1:s1") == []
    backup = (await f("read", first["backup_key"]))["messages"]
    assert backup == stored
    await f("write", "conv:u1:s1", payload=backup)
    assert (await f("read", "conv:u1:s1"))["messages"] == stored
    second = await f("clear", "conv:u1:s1", config=config)
    assert second["backup_key"] != first["backup_key"]
    empty = await f("clear", "conv:u1:s1", config=config)
    assert (empty["backup_created"], empty.get("backup_key")) == (False, None)


MIGRATION = """
tasks:
  - id: write_conversation
    type: memory
    operation: write
    memory_ref: conversation_memory
    payload: {role: user, content: "hello"}
"""


async def test_row_15_the_key_of_the_resource(f: F) -> None:
    result = await f.run(MIGRATION, user_id="u1", session_id="s1")
    assert result.output["key"] == "conv:u1:s1"
    assert await f.contents("conv:u1:s1") == ["hello"]
    failed = await f.run(MIGRATION.partition("    payload")[0], user_id="u1", session_id="s1")
    assert failed.status == "failed"
    assert "payload is required for write" in failed.error["message"]


async def test_row_16_ttl_after_every_write_and_survival(f: F, server: RedisServer) -> None:
    """The deadline is in the head (design.md §4, invariant 10); Redis's own expiry is only the broom."""
    for operation, more in (
        ("write", {"payload": "a"}),
        ("append", {"payload": ["b", "c"]}),
        ("flush", {"config": {"force": True}}),
        ("append", {"payload": "d"}),
    ):
        await f(operation, "conv:u1:s1", **more)
        assert (await f("stats", "conv:u1:s1"))["ttl_remaining"] in {"1d", "23h59m"}
    before = await f.contents("conv:u1:s1")
    server.kill()
    server.start()
    assert await f.contents("conv:u1:s1") == before


async def test_row_28_hierarchical_keys_are_independent(f: F) -> None:
    keys = ("org:o1", "org:o1:dept:d1", "org:o1:dept:d1:user:u1", "org:o1:dept:d2:user:u1")
    for key in keys:
        await f("append", key, payload=f"in {key}")
    for key in keys:
        assert await f.contents(key) == [f"in {key}"]
    await f("delete", "org:o1:dept:d1")
    assert [bool(await f.contents(key)) for key in keys] == [True, False, True, True]
    async with f.open() as app:
        output = await app.memory("delete", MEMORY, "org:o1:dept:*", wildcards=True)
    assert output["keys"] == ["org:o1:dept:d1:user:u1", "org:o1:dept:d2:user:u1"]
    assert [bool(await f.contents(key)) for key in keys] == [True, False, False, False]


HYPHENS = """
tasks:
  - {id: save-it, type: memory, operation: append, memory_ref: customer-support-context,
     key_template: "support-{{ .workflow.input.conversationId }}", payload: "hi"}
  - {id: read-it, type: memory, operation: read, memory_ref: customer-support-context,
     key_template: "support-{{ .workflow.input.conversationId }}"}
outputs: {count: "{{ .tasks.read-it.output.count }}"}
"""
AGENT = """
resource: agent
id: simple-agent
memory: customer-support-context
memory_key: "support-{{ .workflow.input.conversationId }}"
"""


async def test_row_68_hyphenated_ids(f: F) -> None:
    """In a task, an agent and the command's way in."""
    f.folder.write("memory/support.yaml", "resource: memory\nid: customer-support-context\n")
    f.folder.write("memory/agent.yaml", AGENT)
    assert (await f.run(HYPHENS, conversationId="c-1")).output == {"count": 1}
    assert await f.contents("support-c-1", ref="customer-support-context") == ["hi"]
    f.folder.write("memory/agent.yaml", AGENT.replace("customer-support", "customer-suport"))
    with pytest.raises(ConfigError, match="Memory resource not found"):
        f.open()


# ---- tenants: row 39 -----------------------------------------------------------------------------


async def test_row_39_tenants_share_a_store_and_see_nothing_of_each_other(f: F) -> None:
    project_file = f.folder.root / "recollect.yaml"
    plain = project_file.read_text()
    await f("append", "k", payload="of nobody in particular")
    for tenant in ("acme", "umbrella"):
        project_file.write_text(f"{plain}tenant: {tenant}\n")
        assert await f.contents("k") == []
        await f("append", "k", payload=f"of {tenant}")
    project_file.write_text(f"{plain}tenant: acme\n")
    assert await f.contents("k") == ["of acme"]
    async with f.open() as app:
        assert (await app.memory("delete", MEMORY, "*", wildcards=True))["keys"] == ["k"]
    project_file.write_text(plain)
    assert await f.contents("k") == ["of nobody in particular"]


@pytest.mark.parametrize("key", ["*", "{x}", "../k", "k:*", "default/p/m"])
async def test_row_39_no_crafted_value_reaches_another_conversation(f: F, key: str) -> None:
    await f("append", "victim", payload="secret")
    workflow = """
    tasks:
      - {id: look, type: memory, operation: read, memory_ref: conversation_memory,
         key_template: "{{ .key }}"}
      - {id: part, type: memory, operation: delete, memory_ref: conversation_memory,
         key_template: "user:{{ .key }}"}
    outputs: {count: "{{ .tasks.look.output.count }}", gone: "{{ .tasks.part.output.deleted }}"}
    """
    result = await f.run(workflow, key=key)
    assert result.output == {"count": 0, "gone": False}
    assert await f.contents("victim") == ["secret"]


def test_a_tenant_may_come_from_the_environment(project: "ProjectFolder", cli: "Cli") -> None:
    text = (project.root / "recollect.yaml").read_text()
    project.write("recollect.yaml", text + "tenant: '{{ .env.CUSTOMER }}'\n")
    project.write(".env", "CUSTOMER=acme\n")
    cli.ok("memory", "append", "talk", "--key", "k", "of acme")
    project.write(".env", "CUSTOMER=umbrella\n")
    assert cli.stored() == []
    project.write(".env", "CUSTOMER=a/b\n")
    cli.refuses("memory", "read", "talk", "--key", "k", says=["tenant is 'a/b'", "recollect.yaml:"])


# ---- the command line and tasks ------------------------------------------------------------------


def test_the_command_line_reads_and_deletes_several(cli: "Cli") -> None:
    for key in ("conv:1:a", "conv:1:b", "conv:2:a"):
        cli.ok("memory", "append", "talk", "--key", key, f"in {key}")
    shown = cli.ok("memory", "read", "talk", "--key", "conv:1:*")
    assert [line.strip() for line in shown.out.splitlines()] == [
        "conv:1:a", "user  in conv:1:a", "conv:1:b", "user  in conv:1:b",
    ]  # fmt: skip
    cli.refuses(
        "memory", "delete", "talk", "--key", "conv:*", "--max-keys", "2",
        says=["more than 2 conversations", "none was changed"],
    )  # fmt: skip
    assert (
        cli.ok("memory", "delete", "talk", "--key", "conv:1:*", "--json").json()["deleted_keys"]
        == 2
    )
    assert cli.stored("conv:2:a") == ["in conv:2:a"]
    cli.refuses("memory", "append", "talk", "--key", "conv:*", "x", says=["needs one key"])


def test_a_task_that_writes_to_several_is_refused_when_it_is_loaded(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    task = (
        "id: a\ntype: memory\noperation: {}\nmemory_ref: talk\npayload: x\n"
        "key_template: 'user:{{{{ .u }}}}:*'\n"
    )
    for operation in ("write", "append"):
        project.write("wf.yaml", task.format(operation))
        cli.refuses("validate", "wf.yaml", says=["needs one key", "wf.yaml:"])
    project.write("memory/talk.yaml", "resource: memory\nid: talk\nkey: 'user:*'\n")
    cli.refuses("validate", says=["a '*' names several conversations", "talk.yaml:3"])


def test_a_task_reads_and_clears_several(project: "ProjectFolder", cli: "Cli") -> None:
    project.write(
        "wf.yaml",
        """
        tasks:
          - {id: a, type: memory, operation: append, memory_ref: talk, key_template: "u:{{.u}}:a",
             payload: one}
          - {id: b, type: memory, operation: append, memory_ref: talk, key_template: "u:{{.u}}:b",
             payload: two}
          - {id: other, type: memory, operation: append, memory_ref: talk, key_template: "u:x:a",
             payload: three}
          - {id: read, type: memory, operation: read, memory_ref: talk, key_template: "u:{{.u}}:*",
             read_config: {pattern: "*:{{.last}}"}}
          - {id: clear, type: memory, operation: clear, memory_ref: talk,
             key_template: "u:{{.u}}:*", clear_config: {confirm: true}, max_keys: 5, batch_size: 1}
        outputs:
          read: "{{ .tasks.read.output.keys }}"
          cleared: "{{ .tasks.clear.output.messages_cleared }}"
        """,
    )
    done = cli.ok("run", "wf.yaml", "-i", "u=1*", "-i", "last=a", "--json")
    assert done.json()["output"] == {"read": ["u:1%2A:a"], "cleared": 2}
    assert cli.stored("u:x:a") == ["three"]
    done = cli.ok("run", "wf.yaml", "-i", "u=2", "-i", "last=*", "--json")
    assert done.json()["output"]["read"] == []


def test_row_50_memory_switched_off_and_on_again(project: "ProjectFolder", cli: "Cli") -> None:
    """Workflows load and run; nothing is lost."""
    workflow = """
    tasks:
      - {id: save, type: memory, operation: append, memory_ref: talk, payload: "{{ .text }}"}
      - {id: read, type: memory, operation: read, memory_ref: talk, output: history}
      - {id: count, with: {seen: "{{ len .history.messages }}"}, outputs: {seen: "{{ .with.seen }}"}}
    """
    project.write("wf.yaml", workflow)
    on = (project.root / "recollect.yaml").read_text()

    def run(code: int = 0) -> Any:
        done = cli("run", "wf.yaml", "-i", "user_id=u", "-i", "text=hello", "--json")
        assert done.code == code, done
        return json.loads(done.out)

    run()
    project.write("recollect.yaml", f"{on}memory: {{enabled: false}}\n")
    skipped = run()["tasks"]
    assert (skipped["save"]["output"]["skipped"], skipped["read"]["output"]["count"]) == (True, 0)
    project.write("recollect.yaml", f"{on}memory: {{enabled: false, when_disabled: error}}\n")
    assert run(1)["error"]["code"] == "MEMORY_DISABLED"
    project.write("recollect.yaml", on)
    project.write(
        "memory/talk.yaml", 'resource: memory\nid: talk\nkey: "conv:{{.user_id}}"\nenabled: false\n'
    )
    assert run()["tasks"]["save"]["output"]["skipped"] is True
    project.write("memory/talk.yaml", 'resource: memory\nid: talk\nkey: "conv:{{.user_id}}"\n')
    assert cli.stored("conv:u") == ["hello"]
