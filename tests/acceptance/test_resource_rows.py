"""Rows of specs/memory.md §13 about resources that no other module shows, on real parts.

Rows marked (C) there are shown on a Redis Cluster too.
"""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from recollect.memory.operations import OPERATIONS
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.project.app import App, open_app
from recollect.project.users import add_workflow_file
from recollect.stores.base import Store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.redis import RedisStore
from tests.files import all_bytes
from tests.servers.redis_server import RedisCluster, RedisServer

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli
    from tests.conftest import ProjectFolder

pytest_plugins = ["tests.servers.redis_fixtures"]

ROOT = Path(__file__).parents[2]
BLOCKS = ROOT / "tests" / "unit" / "project" / "seed_blocks"
SEED_RESOURCE = BLOCKS / "000_9_resource.yaml"
DRIVER = Path(__file__).with_name("crash_driver.py")
MEMORY, KEY = "conversation_memory", "conv:u1:s1"
SECRET = "sesame"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server with a password and files, ours to stop."""
    kept = ("--appendonly", "yes", "--appendfsync", "always")
    with RedisServer(tmp_path / "redis", "--requirepass", SECRET, *kept) as started:
        started.url = f"redis://:{SECRET}@{started.host}:{started.port}"
        yield started


# ---- row 14: files ---------------------------------------------------------------------------------


def test_row_14_resources_come_from_files_that_are_there(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    """A file added, removed, broken, or there twice: the next command knows."""
    cli.refuses(
        "memory",
        "read",
        MEMORY,
        "-k",
        KEY,
        says=["Memory resource not found", "Known memories: talk"],
    )
    added = project.write("memory/chat.yaml", SEED_RESOURCE.read_text())
    cli.ok("memory", "append", MEMORY, "-k", KEY, "hello")
    assert cli.stored(KEY, MEMORY) == ["hello"]
    twin = project.write("memory/twin.yaml", SEED_RESOURCE.read_text())
    says = ["DUPLICATE_CONFIG", f"memory '{MEMORY}'", "memory/chat.yaml:", "memory/twin.yaml:"]
    for command in (("validate",), ("memory", "read", MEMORY, "-k", KEY)):
        cli.refuses(*command, says=says)
    twin.write_text("resource: memory\nid: twin\nmax_tokens: lots\n")
    for command in (("validate",), ("memory", "read", MEMORY, "-k", KEY)):
        cli.refuses(*command, says=["memory/twin.yaml:3: max_tokens"])
    twin.unlink()
    assert cli.stored(KEY, MEMORY) == ["hello"]
    content = added.read_text()
    added.unlink()
    cli.refuses("memory", "read", MEMORY, "-k", KEY, says=["Memory resource not found"])
    added.write_text(content)
    assert cli.stored(KEY, MEMORY) == ["hello"]


# ---- rows 27 and 29: a Redis that is not there -----------------------------------------------------


def test_row_27_a_redis_that_is_stopped_is_told_clearly_and_without_the_password(
    project: "ProjectFolder", cli: "Cli", server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = ("memory", "append", "talk", "-k", "k")
    address = f"redis://{server.host}:{server.port}"
    monkeypatch.setenv("RECOLLECT_STORE_URL", server.url)
    cli.ok(*append, "before")
    server.kill()
    for command in ((*append, "lost"), ("memory", "read", "talk", "-k", "k")):
        done = cli.refuses(*command, says=[f"{address} cannot be reached", "start it"], code=1)
        document = cli(*command, "--json")
        error = document.json()["error"]
        assert error["code"] == "MEMORY_PERSISTENCE_ERROR"
        assert error["details"]["retry_after"] > 0
        assert SECRET not in done.out + done.err + document.out + document.err
    server.start()
    monkeypatch.setenv("RECOLLECT_STORE_URL", f"redis://:open-wide@{server.host}:{server.port}")
    done = cli.refuses(*append, "lost", says=[address, "password", "correct the URL"], code=1)
    assert "open-wide" not in done.out + done.err
    monkeypatch.setenv("RECOLLECT_STORE_URL", server.url)
    cli.ok(*append, "after")
    assert "lost" not in cli.stored()


MENDING = """
tasks:
  - {id: save, type: memory, operation: append, memory_ref: talk, payload: hello,
     on_error: {next: mend}}
  - {id: mend, outputs: {code: "{{ .error.code }}", again: "{{ .error.details.retry_after }}"}}
"""


async def test_row_29_a_redis_that_goes_away_leads_to_on_error(
    project: "ProjectFolder", server: RedisServer
) -> None:
    """Row 27 too: the error that a task sees says when to come again, and no password."""
    file = project.write("wf.yaml", MENDING)
    loaded = project.load({"RECOLLECT_STORE_URL": server.url})
    workflow = add_workflow_file(loaded, file).workflow
    async with open_app(loaded) as app:
        assert (await app.run(workflow, {"user_id": "u"}, on_found=print)).output["success"]
        server.kill()
        result = await app.run(workflow, {"user_id": "u"}, on_found=print)
        assert result.status == "completed"
        assert result.output["code"] == "MEMORY_PERSISTENCE_ERROR"
        assert float(result.output["again"]) > 0
        assert SECRET not in json.dumps(result.as_json())
        server.start()
        assert (await app.run(workflow, {"user_id": "u"}, on_found=print)).output["success"]


# ---- rows 17-21 at once: row 45 --------------------------------------------------------------------


async def test_row_45_what_the_autoloaded_file_says_holds(
    project: "ProjectFolder", server: RedisServer
) -> None:
    """Seed 000's file, then the same with other limits and another pattern."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[App]:
        async with open_app(project.load({"RECOLLECT_STORE_URL": server.url})) as app:
            yield app

    async def appended(app: App, payload: Any) -> dict[str, Any]:
        return await app.memory("append", MEMORY, KEY, payload=payload)

    text = SEED_RESOURCE.read_text()
    file = project.write("memory/chat.yaml", text)
    async with opened() as app:
        for n in range(150):
            output = await appended(app, f"{n}: mail jane.doe@example.com. " + "word " * (n % 60))
            assert output["redactions"] == 1
            assert output["token_count"] <= 4000
            assert output["message_count"] <= 100
        output = await appended(
            app, [{"role": "system", "content": "hidden rule"}, {"content": "x"}]
        )
        assert (output["messages_added"], output["dropped_by_policy"]) == (1, 1)
        assert (await app.memory("stats", MEMORY, KEY))["token_method"] == "tiktoken:cl100k_base"
        shown = await app.memory("read", MEMORY, KEY)
    assert {m["role"] for m in shown["messages"]} == {"user"}
    stored = all_bytes(server.folder)  # all commands that the server has carried out
    assert b"mail [REDACTED]" in stored
    for hidden in (b"jane.doe", b"hidden rule"):
        assert hidden not in stored

    for old, new in (
        ("max_messages: 100", "max_messages: 5"),
        ("gpt-3.5-turbo", "gpt-4o"),
        ("- system", "- tool"),
        (r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b", r"order \d+"),
    ):
        assert old in text
        text = text.replace(old, new)
    file.write_text(text)
    async with opened() as app:
        output = await appended(
            app, [{"role": "system", "content": "rule for order 7, jane@x.org"}]
        )
        assert (output["messages_added"], output["dropped_by_policy"]) == (1, 0)
        assert output["message_count"] <= 5
        assert (await app.memory("stats", MEMORY, KEY))["token_method"] == "tiktoken:o200k_base"
        shown = await app.memory("read", MEMORY, KEY, config={"last": 1})
    assert shown["messages"][0]["content"] == "rule for [REDACTED], jane@x.org"


# ---- rows 35, 36, 43, 47: workflows ----------------------------------------------------------------

SNIPPETS = (
    "1_write",
    "3_append",
    "2_read",
    "8_stats",
    "6_health",
    "5_flush",
    "7_clear",
    "4_delete",
)


def test_rows_35_and_43_the_eight_snippets_of_seed_000_run_in_one_workflow(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    """As written there, with the lines that a task needs; templates are rendered, outputs shaped."""
    tasks = ""
    for snippet in SNIPPETS:
        text = (BLOCKS / f"000_{snippet}.yaml").read_text()
        name = snippet.partition("_")[2]
        task = f"id: {name}\ntype: memory\nmemory_ref: {MEMORY}\n{text}"
        if name == "read":
            task += "\noutputs: {seen: '{{ .output.count }}', said: '{{ .output.messages }}'}\n"
        tasks += "\n  -" + indent(task, "    ").removeprefix("   ")
    project.write("memory/chat.yaml", SEED_RESOURCE.read_text())
    project.write("wf.yaml", f"tasks:{tasks}")
    inputs = ("user_id=u1", "session_id=s1", "ai_response=Hello human")
    done = cli.ok("run", "wf.yaml", "--json", *(word for i in inputs for word in ("-i", i)))
    ended = done.json()["tasks"]
    assert {task["status"] for task in ended.values()} == {"completed"}
    out = {name: task["output"] for name, task in ended.items()}
    assert set(out) == set(OPERATIONS)
    assert set(out["read"]) == {"seen", "said"}
    said = [(message["role"], message["content"]) for message in out["read"]["said"]]
    assert (said, out["read"]["seen"]) == ([("user", "Hello AI"), ("assistant", "Hello human")], 2)
    assert out["read"]["said"][0]["metadata"] == {"user_id": "u1"}
    shown: dict[str, dict[str, Any]] = {
        "write": {"messages_written": 1, "message_count": 1},
        "append": {"messages_added": 1, "total_count": 2},
        "stats": {"message_count": 2, "token_limit": 4000},
        "health": {"healthy": True, "store_status": "connected"},
        "flush": {"messages_flushed": 0, "remaining_messages": 2, "summary_created": False},
        "clear": {"messages_cleared": 2, "backup_created": True},
        "delete": {"deleted": True},
    }
    for operation, expected in shown.items():
        about = {"success": True, "operation": operation, "key": KEY, "memory_ref": MEMORY}
        assert out[operation] | about | expected == out[operation]
    assert "messages" not in out["stats"]
    assert out["health"]["memory_stats"]["total_messages"] == 2
    assert out["clear"]["backup_key"]


REMEMBERING = """
tasks:
  - {id: save, type: memory, operation: append, memory_ref: talk, payload: "{{ .text }}"}
  - {id: read, type: memory, operation: read, memory_ref: talk}
outputs: {count: "{{ .tasks.read.output.count }}"}
"""


def test_row_36_the_next_process_sees_what_a_killed_one_said(
    project: "ProjectFolder", cli: "Cli", server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed at its very end, and then the server too."""
    monkeypatch.setenv("RECOLLECT_STORE_URL", server.url)
    file = project.write("wf.yaml", REMEMBERING)
    command = [sys.executable, str(DRIVER), str(project.root), str(file), "1", "run.ended"]
    killed = subprocess.run(command, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    server.kill()
    server.start()
    done = cli.process("run", "wf.yaml", "-i", "user_id=u1", "-i", "text=again", "--json")
    assert done.code == 0, done
    assert done.json()["output"] == {"count": 2}
    assert cli.stored("conv:u1") == ["hello", "again"]


def test_row_47_the_steps_of_the_migration_work_in_a_new_project(
    tmp_path: Path, cli: "Cli", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seed 002's three blocks, with the payload that it leaves out."""
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    monkeypatch.chdir(fresh)

    def take(block: str, name: str, more: str = "") -> None:
        target = fresh / name
        target.parent.mkdir(exist_ok=True)
        target.write_text((BLOCKS / block).read_text() + more)

    take("002_11_autoload.yaml", "compozy.yaml")
    take("002_9_resource.yaml", "memory/conversation.yaml")
    take("002_13_migration.yaml", "migrated.yaml", '    payload: "{{ .state }}"\n')
    cli.ok("validate")
    given = ("-i", "user_id=u1", "-i", "session_id=s1")
    for state in ("first", "second"):
        done = cli.ok("run", "migrated.yaml", *given, "-i", f"state={state}", "--json")
        assert done.json()["output"]["key"] == KEY
    assert cli.stored(KEY, MEMORY) == ["second"]


# ---- Redis, one and many: rows 37 and 49 -----------------------------------------------------------


def memories_on(store: Store) -> Memories:
    resource = Resource.model_validate({"resource": "memory", "id": "talk", "max_messages": 100})
    registry = Registry({"talk": Defined(resource=resource, file=Path("m.yaml"))})
    return Memories(registry, durable=store, scratch=store, project_id="demo")


async def perform(memories: Memories, operation: Any, key: str = "k", **more: Any) -> Any:
    request = Request(operation=operation, memory_ref="talk", key=key, **more)
    return await memories.perform(request, now=memories.durable.clock.now())


STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("append", {"payload": [f"m{n}" for n in range(20)]}),
    ("read", {"config": {"limit": 5, "offset": 10}}),
    ("flush", {"config": {"force": True, "threshold": 0.1}}),
    ("stats", {"config": {"group_by": "role"}}),
    ("clear", {"config": {"confirm": True, "backup": True}}),
    ("write", {"payload": "new"}),
    ("health", {}),
    ("read", {"config": {"source": "archive"}}),
    ("delete", {}),
    ("read", {}),
)
CHANGING = {"message_id", "timestamp", "created_at", "last_updated", "last_flush", "backup_key"}
ITS_OWN = {"store", "location", "durability"}


def comparable(output: Any) -> Any:
    """An output without ids and times, and without what tells one store from another."""
    if isinstance(output, dict):
        return {k: comparable(v) for k, v in output.items() if k not in CHANGING | ITS_OWN}
    return [comparable(item) for item in output] if isinstance(output, list) else output


async def test_row_37_the_operations_are_the_same_on_one_redis_a_cluster_and_in_memory(
    server: RedisServer, redis_cluster: RedisCluster
) -> None:
    """(C). All promises of the stores: tests/stores/test_conformance.py and its neighbours."""
    assert {operation for operation, _ in STEPS} == set(OPERATIONS)
    stores: dict[str, Store] = {
        "in memory": InMemoryStore(),
        "redis": RedisStore(server.url),
        "cluster": RedisStore(redis_cluster.nodes[1].url, cluster=True, prefix="row37:"),
    }
    told: dict[str, list[Any]] = {}
    for name, store in stores.items():
        async with store:
            memories = memories_on(store)
            told[name] = [comparable(await perform(memories, step, **more)) for step, more in STEPS]
    assert told["in memory"][2]["messages_flushed"] > 0
    assert told["redis"] == told["in memory"]
    assert told["cluster"] == told["in memory"]


TASKS = 200
LANES = 3  # connections to a server: for writes, reads and walks


@pytest.mark.parametrize("kind", ["one", "cluster"])
async def test_row_49_connections_do_not_grow_with_operations(
    kind: str, server: RedisServer, redis_cluster: RedisCluster
) -> None:
    """(C). 200 memories at once, all operations on each: three connections to a server, made once."""
    nodes = [server] if kind == "one" else redis_cluster.nodes
    with ExitStack() as stack:
        clients = [stack.enter_context(node.client()) for node in nodes]
        open_before, made_before = open_now(clients), made_so_far(clients)
        async with RedisStore(nodes[0].url, cluster=kind == "cluster", prefix="row49:") as store:
            memories = memories_on(store)

            async def use(n: int) -> None:
                for step, more in STEPS:
                    await perform(memories, step, f"k{n}", **more)

            await asyncio.gather(*(use(n) for n in range(TASKS)))
            now = zip(open_now(clients), open_before, strict=True)
            assert all(0 < count - before <= LANES for count, before in now)
        made = zip(made_so_far(clients), made_before, strict=True)
        assert all(count - before <= LANES for count, before in made)


def open_now(clients: Sequence[Redis]) -> list[int]:
    """How many connections each server has."""
    return [len(client.client_list(_type="normal")) for client in clients]


def made_so_far(clients: Sequence[Redis]) -> list[int]:
    """How many connections each server has ever had."""
    return [client.info("stats")["total_connections_received"] for client in clients]


# ---- what the benchmark measures: rows 65 and 66 ---------------------------------------------------


def measured(part: str) -> dict[str, tuple[float, str]]:
    """The numbers of a part of the benchmark, in its smallest form: what -> (value, unit)."""
    command = [sys.executable, "-m", "benchmarks.memory_overhead", "--rounds", "1", "--json"]
    done = subprocess.run(
        [*command, "--only", part], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return {row["what"]: (row["value"], row["unit"]) for row in json.loads(done.stdout)}


def test_row_65_the_benchmark_measures_every_operation() -> None:
    """How long they take is not asserted here: the machine may be busy. ``--check`` does that."""
    rows = measured("operations")
    for store in ("in memory", "SQLite", "Redis"):
        for operation in OPERATIONS:
            value, unit = rows.pop(f"{operation}, 1 at once, 100 messages, {store}, p95")
            assert unit == "ms"
            assert value > 0
    assert not rows


def test_row_66_an_open_memory_takes_less_than_ten_megabytes() -> None:
    rows = measured("open")
    for store in ("in memory", "SQLite"):
        for memories, messages in ((200, 1), (20, 100)):
            what = f"{memories} open memories, {messages} messages in each, {store}"
            each, unit = rows.pop(f"{what}, each")
            assert unit == "kB"
            assert each < 10_000
            process, unit = rows.pop(f"{what}, the process")
            assert unit == "MB"
            assert 0 < process < 10 * 1_000
    assert not rows
