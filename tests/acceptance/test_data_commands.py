"""``recollect export``, ``import``, ``erase`` and ``migrate`` as a person meets them."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.acceptance.conftest import wait_until_asked
from tests.fake_openai import FakeOpenAI
from tests.files import files_with

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli
    from tests.conftest import ProjectFolder

pytest_plugins = ["tests.servers.postgres_server"]

WORKFLOW = """
id: chat
tasks:
  - {id: save, type: memory, operation: append, memory_ref: talk, payload: "{{ .text }}"}
  - {id: ask, provider: openai, model: gpt-4o, prompt: "{{ .text }}"}
"""
OTHER_MEMORY = 'resource: memory\nid: other\nkey: "x"\n'


def fill(cli: "Cli") -> None:
    for key in ("user:42", "user:7"):
        cli.ok("memory", "append", "talk", "--key", key, f"I am {key}")
        cli.ok("memory", "append", "talk", "--key", key, "and more")
    cli.ok("memory", "write", "talk", "--key", "user:42", "anew")


# ---- export and import ---------------------------------------------------------------------------


def test_a_project_moves_to_another_one(
    cli: "Cli", project: "ProjectFolder", tmp_path: Path
) -> None:
    fill(cli)
    done = cli.ok("export", "all.jsonl", "--json").json()
    assert done == {
        "file": "all.jsonl",
        "conversations": 2,
        "messages": 3,
        "archived": 2,
        "damaged": 0,
    }
    before = {key: cli.stored(key) for key in ("user:42", "user:7")}
    other = str(tmp_path / "other")
    cli.ok("init", other)
    (tmp_path / "other" / "memory" / "talk.yaml").write_text(
        (project.root / "memory" / "talk.yaml").read_text()
    )
    checked = cli.ok("import", "all.jsonl", "--dry-run", "--project", other, "--json").json()
    assert (checked["stored"], checked["dry_run"]) == (2, True)
    imported = cli.ok("import", "all.jsonl", "--project", other, "--json").json()
    assert (imported["stored"], imported["messages"], imported["archived"]) == (2, 3, 2)
    for key, contents in before.items():
        read = ("memory", "read", "talk", "--key", key, "--project", other, "--json")
        assert [m["content"] for m in cli.ok(*read).json()["messages"]] == contents
    archived = ("memory", "read", "talk", "--key", "user:42", "--archive", "--project", other)
    assert "I am user:42" in cli.ok(*archived).out
    again = cli.ok("import", "all.jsonl", "--project", other, "--json").json()
    assert (again["stored"], again["present"]) == (0, 2)


def test_what_was_used_meanwhile_is_kept_and_told(cli: "Cli") -> None:
    fill(cli)
    cli.ok("export", "all.jsonl")
    cli.ok("memory", "append", "talk", "--key", "user:42", "later")
    done = cli("import", "all.jsonl")
    assert done.code == 1
    assert "1 conversation of the file are there with another content" in done.err
    assert cli.stored("user:42") == ["anew", "later"]


def test_one_memory_is_exported_alone(cli: "Cli", project: "ProjectFolder") -> None:
    project.write("memory/other.yaml", OTHER_MEMORY)
    fill(cli)
    cli.ok("memory", "append", "other", "--key", "k", "elsewhere")
    assert cli.ok("export", "a.jsonl", "--json").json()["conversations"] == 3
    one = cli.ok("export", "b.jsonl", "--memory", "other", "--json").json()
    assert one["conversations"] == 1
    cli.refuses("export", "c.jsonl", "--memory", "othr", says=["'othr'", "'other'"])
    assert not (project.root / "c.jsonl").exists()


def test_a_memory_that_the_project_does_not_have_is_told(
    cli: "Cli", project: "ProjectFolder"
) -> None:
    file = project.write("memory/other.yaml", OTHER_MEMORY)
    cli.ok("memory", "append", "other", "--key", "k", "elsewhere")
    cli.ok("export", "all.jsonl")
    file.unlink()
    assert "no memory 'other'" in cli.ok("import", "all.jsonl").err


def test_a_bad_file_is_named_with_its_line_and_stores_nothing(
    cli: "Cli", project: "ProjectFolder"
) -> None:
    fill(cli)
    cli.ok("export", "all.jsonl")
    lines = (project.root / "all.jsonl").read_text().splitlines(keepends=True)
    project.root.joinpath("cut.jsonl").write_text("".join(lines[:-2]))
    wrong = "".join(lines).replace("anew", "axew")
    project.root.joinpath("wrong.jsonl").write_text(wrong)
    for key in ("user:42", "user:7"):
        cli.ok("memory", "delete", "talk", "--key", key)
    cli.refuses("import", "cut.jsonl", says=[f"cut.jsonl:{len(lines) - 1}: the file was cut"])
    cli.refuses("import", "wrong.jsonl", says=["wrong.jsonl:", "checksum"])
    cli.refuses("import", "gone.jsonl", says=["gone.jsonl", "No such file"])
    cli.refuses("import", "recollect.yaml", says=["recollect.yaml:1:", "not a line of an export"])
    cli.refuses("export", "all.jsonl", says=["there already"])
    assert cli.ok("export", "none.jsonl", "--json").json()["conversations"] == 0


# ---- erase ---------------------------------------------------------------------------------------


def test_erasing_asks_first_and_needs_yes_where_nobody_can_answer(cli: "Cli") -> None:
    fill(cli)
    cli.refuses("erase", "--user", "42", "--prefix", "user:42", says=["--yes"])
    assert cli.stored("user:42") == ["anew"]


def test_everything_of_a_user_leaves_the_project(cli: "Cli", project: "ProjectFolder") -> None:
    file = str(project.write("wf.yaml", WORKFLOW))
    for user in ("ada-4711", "bob"):
        run = ("run", file, "--mock-model", "-i", f"user_id={user}", "-i", f"text=I am {user}")
        cli.ok(*run)
    assert files_with("ada-4711", project.root / ".recollect")
    erase = ("erase", "--user", "ada-4711", "--prefix", "conv:ada-4711", "--yes", "--json")
    receipt = cli.ok(*erase).json()
    assert receipt["complete"] is True
    assert receipt["removed"]["conversations"] == 1
    assert receipt["removed"]["runs"] == 1
    traces = ["runs", "uses"]
    assert receipt["verified"] == {"conversations": 1, "walks": 4, "traces": traces, "found": 0}
    assert files_with("ada-4711", project.root / ".recollect") == []
    assert cli.stored("conv:bob") == ["I am bob"]
    (left,) = cli.ok("runs", "list", "--json").json()["runs"]
    assert cli.ok("runs", "show", left["run_id"], "--json").json()["input"]["user_id"] == "bob"
    assert cli.ok(*erase).json()["removed"]["conversations"] == 0


def test_what_a_removed_memory_keeps_is_erased_too(cli: "Cli", project: "ProjectFolder") -> None:
    """Its file is gone; the store still has what was said, live and in the archive."""
    file = project.write("memory/other.yaml", OTHER_MEMORY)
    for text in ("I am ada-4711", "ada-4711 again"):
        cli.ok("memory", "write", "other", "--key", "user:ada-4711", text)
    cli.ok("memory", "append", "other", "--key", "user:bob", "I am bob")
    file.unlink()
    erase = ("erase", "--user", "ada-4711", "--prefix", "user:ada-4711", "--yes")
    receipt = cli.ok(*erase, "--json").json()
    assert receipt["complete"] is True
    assert [name.rpartition("/")[2] for name in receipt["namespaces"]] == ["talk", "other"]
    assert (receipt["removed"]["conversations"], receipt["removed"]["archived"]) == (1, 1)
    assert (receipt["verified"]["conversations"], receipt["verified"]["walks"]) == (1, 8)
    assert files_with("ada-4711", project.root / ".recollect") == []
    assert "looked in what is in YAML no more, too: other" in cli.ok(*erase).err
    file.write_text(OTHER_MEMORY)
    assert cli.stored("user:bob", "other") == ["I am bob"]


def test_what_was_imported_into_a_memory_without_a_file_is_erased_too(
    cli: "Cli", project: "ProjectFolder", tmp_path: Path
) -> None:
    project.write("memory/other.yaml", OTHER_MEMORY)
    cli.ok("memory", "append", "other", "--key", "user:ada-4711", "elsewhere")
    cli.ok("export", "all.jsonl")
    there = str(tmp_path / "there")
    cli.ok("init", there)
    cli.ok("import", "all.jsonl", "--project", there)
    erase = ("erase", "--user", "ada-4711", "--prefix", "user:ada-4711", "--yes", "--json")
    assert cli.ok(*erase, "--project", there).json()["removed"]["conversations"] == 1
    assert files_with("ada-4711", tmp_path / "there" / ".recollect") == []


def test_what_an_ended_run_noted_of_the_user_goes_and_no_cleanup_of_others_is_lost(
    cli: "Cli", project: "ProjectFolder"
) -> None:
    """During the grace after a run, the store still says which conversation is to be deleted."""
    scratch = 'resource: memory\nid: talk\nkey: "u:{{ .user_id }}"\n'
    scratch += "cleanup: {scope: execution, grace: 1h}\n"
    project.write("memory/talk.yaml", scratch)
    file = str(project.write("wf.yaml", WORKFLOW))
    for user in ("ada-4711", "bob-4712"):
        cli.ok("run", file, "--mock-model", "-i", f"user_id={user}", "-i", "text=hello")
    erase = ("erase", "--user", "ada-4711", "--prefix", "u:ada-4711", "--yes", "--json")
    receipt = cli.ok(*erase).json()
    assert (receipt["complete"], receipt["removed"]["uses"]) == (True, 1)
    assert files_with("ada-4711", project.root / ".recollect") == []
    assert cli.stored("u:bob-4712") == ["hello"]
    assert files_with("bob-4712", project.root / ".recollect")


HIDING = """
resource: memory
id: talk
privacy_policy: {redact_patterns: ["preset:email"], strategy: STRATEGY}
"""


@pytest.mark.parametrize("strategy", ["redact", "mask", "hash", "drop"])
def test_what_is_kept_under_a_hidden_key_is_erased_by_the_key(
    cli: "Cli", project: "ProjectFolder", strategy: str
) -> None:
    """What goes on behind the hidden part is found where each address has a hash of its own."""
    project.write("memory/talk.yaml", HIDING.replace("STRATEGY", strategy))
    keys = ("u:ada@x.org", "u:ada@x.org:s1", "u:bob@x.org", "u:bob@x.org:s1")
    for key in keys:
        cli.ok("memory", "append", "talk", "--key", key, f"said {keys.index(key)}")
    erase = ("erase", "--user", "ada@x.org", "--prefix", "u:ada@x.org", "--yes")
    done = cli.ok(*erase)
    left = [cli.stored(key) for key in keys]
    assert left == [[], [] if strategy == "hash" else ["said 1"], ["said 2"], ["said 3"]]
    assert ("talk hides a part of --prefix" in done.err) == (strategy != "hash")
    receipt = cli.ok(*erase[:-1], "--prefix", keys[1], "--yes", "--json").json()
    assert receipt["removed"]["conversations"] == (0 if strategy == "hash" else 1)
    assert [cli.stored(key) for key in keys] == [[], [], ["said 2"], ["said 3"]]


def test_a_person_is_told_what_was_removed_and_what_to_try(cli: "Cli") -> None:
    fill(cli)
    done = cli.ok("erase", "--user", "42", "--yes")
    assert "0" in done.out
    assert "--prefix user:42" in done.err
    assert "complete" in done.err
    done = cli.ok("erase", "--user", "42", "--prefix", "user:42", "--yes")
    assert "conversations  1" in done.out
    cli.refuses("erase", "--user", "", "--yes", says=["needs a user"])


@contextmanager
def held(project: "ProjectFolder", user: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A run of that user in a process of its own, which waits for its model."""
    file = str(project.write("wf.yaml", WORKFLOW))
    asked = threading.Event()
    with FakeOpenAI(on_request=lambda _: asked.set()) as server:
        server.fail(silent=True)
        env = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "k"}
        inputs = ("-i", f"user_id={user}", "-i", f"text=I am {user}")
        with subprocess.Popen(
            [sys.executable, "-m", "recollect", "run", file, *inputs],
            env={**os.environ, **env},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                wait_until_asked(asked, process)
                yield process
            finally:
                process.kill()


def test_an_interrupted_run_of_the_user_is_dropped_and_those_of_others_are_not(
    cli: "Cli", project: "ProjectFolder"
) -> None:
    with held(project, "bob"), held(project, "ada-4711"):
        pass
    assert files_with("ada-4711", project.root / ".recollect" / "journal")
    erase = ("erase", "--user", "ada-4711", "--prefix", "conv:ada-4711", "--yes", "--json")
    assert cli.ok(*erase).json()["removed"]["runs"] == 1
    assert files_with("ada-4711", project.root / ".recollect") == []
    (resumed,) = cli.ok("runs", "resume", "--mock-model", "--json").json()["resumed"]
    assert resumed["input"]["user_id"] == "bob"
    assert list((project.root / ".recollect" / "journal").iterdir()) == []


def test_a_run_that_goes_on_is_counted_and_left_to_be_erased_later(
    cli: "Cli", project: "ProjectFolder"
) -> None:
    erase = ("erase", "--user", "ada-4711", "--prefix", "conv:ada-4711", "--yes", "--json")
    with held(project, "ada-4711"):
        done = cli(*erase)
        receipt = done.json()
        assert (done.code, receipt["complete"], receipt["verified"]["found"]) == (1, False, 1)
    assert cli.ok(*erase).json()["complete"] is True
    assert files_with("ada-4711", project.root / ".recollect") == []


# ---- migrate -------------------------------------------------------------------------------------


async def test_a_table_is_migrated_from_the_command_line(
    cli: "Cli", postgres_url: str, postgres_schema: str
) -> None:
    table = f"{postgres_schema}.talks"
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        f"CREATE TABLE {table} (conversation_id TEXT PRIMARY KEY, user_id TEXT, messages JSONB,"
        " metadata JSONB)"
    )
    talk = json.dumps([{"role": "user", "content": "hello"}])
    await connection.execute(f"INSERT INTO {table} VALUES ('c', 'ann', $1, NULL)", talk)
    await connection.close()

    def process(*args: str) -> Any:
        return cli.process("migrate", postgres_url, "--table", table, *args)

    dry = process()
    assert (dry.code, "nothing was changed. --apply renames" in dry.err) == (0, True)
    assert "conversations  1" in dry.out
    done = process("--apply", "--json")
    assert done.code == 0
    assert done.json() == {
        "table": table,
        "applied": True,
        "state": "done",
        "conversations": 1,
        "messages": 1,
        "unreadable": {},
        "unreadable_count": 0,
    }
    assert "is a view now" in process().err
    absent = cli.process("migrate", postgres_url, "--table", f"{postgres_schema}.none")
    assert (absent.code, "there is no table" in absent.err) == (2, True)


def test_only_postgres_is_migrated(cli: "Cli") -> None:
    cli.refuses("migrate", ".", says=["only tables in PostgreSQL"])
    cli.refuses("migrate", "redis://localhost", says=["only tables in PostgreSQL"])


@pytest.mark.parametrize("command", ["export", "import", "erase", "migrate"])
def test_every_command_explains_itself(cli: "Cli", command: str) -> None:
    assert "--json" in cli.ok(command, "--help").out
