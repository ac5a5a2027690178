"""What the commands promise: their outputs for people and for programs, files, and exit codes."""

import json
import os
import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import recollect

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli
    from tests.conftest import ProjectFolder
    from tests.fake_openai import FakeOpenAI

COMMANDS = [
    "", "init", "run", "validate", "render", "fmt", "memory", "memory read", "memory write",
    "memory append", "memory delete", "memory flush", "memory clear", "memory health",
    "memory stats", "runs", "runs list", "runs show", "runs resume", "runs cancel",
]  # fmt: skip
SHOW = "tasks: [{id: show, outputs: %s}]\n"


@pytest.fixture
def fresh(tmp_path: Path, cli: "Cli", monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder without anything in it, and the command line in it."""
    folder = tmp_path / "fresh"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def output(cli: "Cli", *args: str, stdin: str | bytes = b"") -> Any:
    return cli.ok("run", *args, "--json", stdin=stdin).json()["output"]


# ---- init ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [(), ("bot",), ("my bot's",)], ids=["here", "named", "odd name"])
def test_init_makes_a_project_whose_hints_run_as_printed_and_remember(
    fresh: Path, cli: "Cli", folder: tuple[str, ...]
) -> None:
    made = cli.ok("init", *folder)
    root = fresh.joinpath(*folder)
    assert [Path(line) for line in made.out.splitlines()] == [
        Path(*folder, name)
        for name in ("recollect.yaml", "workflow.yaml", "memory/conversation.yaml")
    ]
    run, read = (
        shlex.split(line)[1:] for line in made.err.splitlines() if line.startswith("  recollect ")
    )
    first = output(cli, *run[1:])
    assert first["remembered_messages"] == 2
    second = cli.ok(*run)
    assert 'You said earlier: \\"My name is Ada\\"' in second.out
    shown = cli.ok(*read)
    assert shown.out.count("     user  My name is Ada\n") == 2
    assert cli.ok("validate", *folder, "--strict").err == "valid\n"
    assert (root / ".recollect" / ".gitignore").read_text() == "*\n"


def test_init_never_overwrites(fresh: Path, cli: "Cli") -> None:
    cli.ok("init")
    (fresh / "workflow.yaml").write_text("mine")
    done = cli("init")
    assert (done.code, done.out) == (2, "")
    (fresh / "recollect.yaml").unlink()
    assert cli("init").code == 2
    assert (fresh / "workflow.yaml").read_text() == "mine"
    assert not (fresh / "recollect.yaml").exists()


# ---- run -----------------------------------------------------------------------------------------


def test_json_is_one_document_and_progress_is_for_people(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write(
        "wf.yaml",
        """
        tasks:
          - {id: first, with: {x: 1}}
          - {id: second, condition: "false", with: {x: 1}}
          - {id: third, operation: read, memory_ref: talk, key_template: "{{ .nope }}"}
        """,
    )
    done = cli("run", "wf.yaml", "--json")
    assert (done.code, done.err) == (1, "")
    result = done.json()
    assert set(result) == {"run_id", "status", "output", "tasks", "error"}
    assert list(result["tasks"]) == ["first", "second", "third"]
    assert all(set(task) == {"status", "output", "error"} for task in result["tasks"].values())
    assert [t["status"] for t in result["tasks"].values()] == ["completed", "skipped", "failed"]
    assert result["error"] == result["tasks"]["third"]["error"]
    assert set(result["error"]) == {"code", "message", "details"}
    person = cli("run", "wf.yaml")
    assert (person.code, person.out) == (1, "")
    told = [re.sub(r"[0-9.-]{4,}\S*", "…", line) for line in person.err.splitlines()]
    assert told[:3] == ["  ✓ first  … s", "  ✗ third: TEMPLATE_MISSING_KEY", "run … failed"]


def test_a_completed_run_prints_its_output_alone_on_stdout(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write("wf.yaml", "tasks: [{id: ask, prompt: hi, model: 'openai:gpt-4o'}]\n")
    done = cli.ok("run", "wf.yaml", "--mock-model")
    assert done.out.startswith("[mock model]")
    assert "✓ ask" in done.err
    result = cli.ok("run", "wf.yaml", "--mock-model", "--json").json()
    assert set(result) == {"run_id", "status", "output", "tasks"}
    assert (result["status"], result["output"]["role"]) == ("completed", "assistant")


def test_control_characters_of_an_answer_do_not_act_on_the_terminal(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write("wf.yaml", "tasks: [{id: ask, prompt: '{{ .x }}', model: 'mock:m'}]\n")
    assert "\\x1b[2J" in cli.ok("run", "wf.yaml", "--input", "x=\x1b[2J").out
    cli.ok("memory", "append", "talk", "--key", "k", "\x1b]0;title\x07")
    assert "\\x1b]0;title\\x07" in cli.ok("memory", "read", "talk", "--key", "k").out


def test_inputs_come_as_text_as_json_from_files_and_from_stdin(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    names = "{a: '{{ .a }}', b: '{{ .b }}', c: '{{ .c }}'}"
    project.write("wf.yaml", SHOW % names)
    project.write("in.json", '\ufeff{"a": 1, "b": [true, null], "c": "x"}')
    project.write("in.yaml", "a: 1\nb: [true, null]\nc: x\n")
    expected = {"a": 1, "b": [True, None], "c": "x"}
    given = ("--input", "a:=1", "-i", "b:=[true, null]", "-i", "c=x")
    assert output(cli, "wf.yaml", *given) == expected
    for name in ("in.json", "in.yaml"):
        assert output(cli, "wf.yaml", "--input-file", name) == expected
        text = (cli.root / name).read_bytes()
        assert output(cli, "wf.yaml", "--input-file", "-", stdin=text) == expected
    odd = ("--input", "a=x=y:=z", "--input", 'b:="{{ .c }}"', "--input", "c=")
    assert output(cli, "wf.yaml", *odd) == {"a": "x=y:=z", "b": "{{ .c }}", "c": ""}
    both = output(cli, "wf.yaml", "--input-file", "in.yaml", "--input", "a=2", "--input", "a=3")
    assert both == {**expected, "a": "3"}


def test_a_folder_runs_its_workflow_or_the_one_that_is_named(
    project: "ProjectFolder", cli: "Cli", monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("workflows/one.yaml", SHOW % "{which: one}")
    assert output(cli, ".") == {"which": "one"}
    assert output(cli, str(cli.root)) == {"which": "one"}
    assert output(cli, "recollect.yaml") == {"which": "one"}
    project.write("workflows/two.yaml", SHOW % "{which: two}")
    assert output(cli, ".", "--workflow", "two") == {"which": "two"}
    assert output(cli, "recollect.yaml", "-w", "one") == {"which": "one"}
    assert output(cli, "workflows/two.yaml") == {"which": "two"}
    assert output(cli, "workflows/two.yaml", "-w", "two") == {"which": "two"}
    monkeypatch.chdir("/")
    assert output(cli, str(cli.root / "workflows/two.yaml")) == {"which": "two"}


def test_a_project_is_found_from_a_folder_below_it_and_may_be_elsewhere(
    project: "ProjectFolder", cli: "Cli", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok("memory", "append", "talk", "--key", "k", "hi")
    task = "tasks: [{id: a, operation: read, memory_ref: talk, key_template: k}]\n"
    project.write("deep/er/wf.yaml", task)
    (tmp_path / "elsewhere.yaml").write_text(task)
    monkeypatch.chdir(cli.root / "deep" / "er")
    assert cli.stored() == ["hi"]
    assert output(cli, "wf.yaml")["count"] == 1
    assert cli.ok("runs", "list").out.count("\n") == 1
    monkeypatch.chdir(tmp_path)
    read = ("memory", "read", "talk", "--key", "k", "--json", "--project", "project")
    assert cli.ok(*read).json()["count"] == 1
    assert output(cli, "elsewhere.yaml", "--project", str(cli.root))["count"] == 1
    assert cli.ok("runs", "list", "--project", "project").out.count("\n") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere.yaml", "project"]


def test_a_folder_without_a_project_file_runs_what_needs_no_memory(fresh: Path, cli: "Cli") -> None:
    (fresh / "hello.yaml").write_text(SHOW % '{said: "{{ .word }}"}')
    assert output(cli, "hello.yaml", "-i", "word=hi") == {"said": "hi"}
    assert "no recollect.yaml here or above" in cli.ok("validate", "hello.yaml").err


def test_looking_makes_no_files(fresh: Path, cli: "Cli") -> None:
    assert cli.ok("runs", "list").err == "there are no runs yet\n"
    assert cli.ok("runs", "list", "--json").json() == {"runs": []}
    assert cli.ok("runs", "resume").err == "nothing to resume\n"
    assert cli("runs", "show", "x").code == 1
    assert cli("memory", "read", "talk", "--key", "k").code == 2
    cli.ok("validate")
    cli.ok("render", "x")
    assert list(fresh.iterdir()) == []


@pytest.mark.parametrize("pattern", ["memory/**", "memory/**/*.yaml", "./memory/*", "*/talk.yaml"])
def test_patterns_find_memories_however_they_are_written(
    project: "ProjectFolder", cli: "Cli", pattern: str
) -> None:
    project.write("memory/deeper/old.yaml.bak", "a: [")
    project.write("recollect.yaml", f"autoload: {{enabled: true, include: ['{pattern}']}}\n")
    assert cli.ok("validate", "--strict").out == "  memory  talk\n"


def test_excluded_files_and_the_projects_own_data_are_not_loaded(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write("memory/draft.yaml", "a: [")
    project.write(".recollect/odd.yaml", "a: [")
    patterns = "include: ['**/*.yaml'], exclude: [draft.yaml]"
    project.write("recollect.yaml", f"autoload: {{enabled: true, {patterns}}}\n")
    assert cli.ok("validate", "--strict").out == "  memory  talk\n"


def test_compozy_yaml_is_a_project_file_too(project: "ProjectFolder", cli: "Cli") -> None:
    (cli.root / "recollect.yaml").rename(cli.root / "compozy.yaml")
    cli.ok("memory", "append", "talk", "--key", "k", "hi")
    assert cli.stored() == ["hi"]


def test_templates_see_the_environment_the_file_env_and_the_projects_own_in_that_order(
    project: "ProjectFolder", cli: "Cli", monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ONE", "TWO", "THREE"):
        monkeypatch.setenv(name, "process")
    (cli.root / ".env").write_text(
        "\ufeff# a comment\nTWO='file' # odd\nexport THREE=\"file\"\nEMPTY\n"
    )
    text = (cli.root / "recollect.yaml").read_text()
    project.write("recollect.yaml", f"{text}env: {{THREE: project}}\n")
    project.write("wf.yaml", SHOW % '"{{ .env.ONE }} {{ .env.TWO }} {{ .env.THREE }}"')
    assert output(cli, "wf.yaml") == "process file project"


def test_the_key_of_a_model_may_stand_in_the_file_env(
    project: "ProjectFolder", cli: "Cli", fake_openai: "FakeOpenAI"
) -> None:
    project.write(".env", f"OPENAI_API_KEY=from-file\nOPENAI_BASE_URL={fake_openai.base_url}\n")
    project.write("wf.yaml", "tasks: [{id: ask, prompt: hi, model: 'openai:gpt-4o'}]\n")
    fake_openai.reply("hello")
    assert output(cli, "wf.yaml")["content"] == "hello"
    assert fake_openai.headers[0]["authorization"] == "Bearer from-file"


# ---- the store's URL -----------------------------------------------------------------------------


def test_the_store_of_the_environment_beats_that_of_the_project_file(
    project: "ProjectFolder", cli: "Cli", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (cli.root / "recollect.yaml").read_text()
    project.write("recollect.yaml", f"{text}store: sqlite:///data/own.sqlite\n")
    cli.ok("memory", "append", "talk", "--key", "k", "in the file's")
    monkeypatch.setenv("RECOLLECT_STORE_URL", f"sqlite:///{tmp_path}/absolute.sqlite")
    cli.ok("memory", "append", "talk", "--key", "k", "in the environment's")
    assert cli.stored() == ["in the environment's"]
    monkeypatch.delenv("RECOLLECT_STORE_URL")
    assert cli.stored() == ["in the file's"]
    for file in (cli.root / "data" / "own.sqlite", tmp_path / "absolute.sqlite"):
        assert file.read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_server_that_is_not_there_is_named_without_its_password(
    cli: "Cli", monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setenv("RECOLLECT_STORE_URL", f"{scheme}://u:swordfish@127.0.0.1:1/0")
    done = cli.refuses("memory", "stats", "talk", "-k", "k", says=["127.0.0.1"], code=1)
    assert "swordfish" not in done.err


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:swordfish@h/db", "no store has the scheme 'mysql'"),
        ("sqlit:///x", "Did you mean 'sqlite'?"),
        ("swordfish", "this is no URL of a store"),
        ("redis+sentinel://u:swordfish@/talks", "a redis+sentinel URL names each Sentinel"),
        ("redis+sentinel://:swordfish@a,:7/talks", "a redis+sentinel URL names each Sentinel"),
        ("redis+sentinel://:swordfish@a:b,c/talks", "a redis+sentinel URL names each Sentinel"),
    ],
)
def test_a_wrong_store_url_names_the_variable_and_what_may_stand_there(
    cli: "Cli", monkeypatch: pytest.MonkeyPatch, url: str, says: str
) -> None:
    monkeypatch.setenv("RECOLLECT_STORE_URL", url)
    known = "sqlite:///FILE (relative to the project)"
    done = cli.refuses(
        "memory", "stats", "talk", "-k", "k", says=["RECOLLECT_STORE_URL: ", says, known]
    )
    assert "swordfish" not in done.err
    cli.refuses("validate", says=["RECOLLECT_STORE_URL: "])


@pytest.mark.parametrize("way", ["store", "memory"])
def test_what_ends_with_the_process_is_said_when_it_is_written(
    project: "ProjectFolder", cli: "Cli", monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    if way == "store":
        monkeypatch.setenv("RECOLLECT_STORE_URL", "memory://")
    else:
        text = (cli.root / "memory/talk.yaml").read_text()
        project.write("memory/talk.yaml", f"{text}persistence: {{type: in_memory}}\n")
    done = cli.ok("memory", "append", "talk", "--key", "k", "hi")
    assert "lives in the process alone" in done.err
    assert cli.stored() == []


# ---- memory --------------------------------------------------------------------------------------

VOLATILE = {"message_id", "timestamp", "created_at", "last_updated", "last_flush"}
OPERATIONS: list[tuple[str, list[str], dict[str, Any]]] = [
    ("append", ["one"], {"payload": {"role": "user", "content": "one"}}),
    ("append", ["--payload", '["two", "three"]'], {"payload": ["two", "three"]}),
    ("read", [], {}),
    ("read", ["--limit", "1", "--offset", "1"], {"read_config": {"limit": 1, "offset": 1}}),
    ("read", ["--last", "2"], {"read_config": {"last": 2}}),
    ("stats", [], {}),
    ("stats", ["--by-role", "--include-content"],
     {"stats_config": {"group_by": "role", "include_content": True}}),
    ("stats", ["--no-prompt-cache"], {"stats_config": {"prompt_cache": False}}),
    ("health", ["--include-stats"], {"health_config": {"include_stats": True}}),
    ("flush", ["--dry-run", "--force"], {"flush_config": {"dry_run": True, "force": True}}),
    ("flush", ["--threshold", "0.5"], {"flush_config": {"threshold": 0.5}}),
    ("flush", ["--dry-run", "--force", "--strategy", "hybrid_summary"],
     {"flush_config": {"dry_run": True, "force": True, "strategy": "hybrid_summary"}}),
    ("flush", ["--strategy", "priority"], {"flush_config": {"strategy": "priority"}}),
    ("flush", ["--force"], {"flush_config": {"force": True}}),
    ("read", ["--archive"], {"read_config": {"source": "archive"}}),
    ("write", ["new", "--role", "assistant"], {"payload": {"role": "assistant", "content": "new"}}),
    ("clear", ["--confirm", "--backup"], {"clear_config": {"confirm": True, "backup": True}}),
    ("delete", [], {}),
    ("delete", [], {}),
]  # fmt: skip


def steady(value: Any) -> Any:
    """A value without what differs each time."""
    if isinstance(value, dict):
        return {name: steady(v) for name, v in value.items() if name not in VOLATILE}
    return [steady(item) for item in value] if isinstance(value, list) else value


def test_the_command_line_returns_what_a_task_returns(project: "ProjectFolder", cli: "Cli") -> None:
    project.write("memory/talk.yaml", "resource: memory\nid: talk\nmax_messages: 4\n")
    tasks = [
        {"id": f"t{n}", "type": "memory", "operation": operation, "memory_ref": "talk",
         "key_template": "task", **fields}
        for n, (operation, _, fields) in enumerate(OPERATIONS)
    ]  # fmt: skip
    project.write("wf.yaml", json.dumps({"tasks": tasks}))
    ran = cli.ok("run", "wf.yaml", "--json").json()["tasks"]
    for number, (operation, args, _) in enumerate(OPERATIONS):
        printed = cli.ok("memory", operation, "talk", "--key", "tusk", *args, "--json")
        expected = json.dumps(steady(ran[f"t{number}"]["output"])).replace("task", "tusk")
        assert steady(printed.json()) == json.loads(expected), operation
        assert printed.err == ""


def test_a_person_sees_messages_as_lines_and_reports_as_names_and_values(cli: "Cli") -> None:
    cli.ok("memory", "append", "talk", "--key", "k", "one")
    appended = cli.ok("memory", "append", "talk", "--key", "k", "two", "--role", "assistant")
    assert "messages_added  1\n" in appended.out
    assert cli.ok("memory", "read", "talk", "--key", "k").out == "     user  one\nassistant  two\n"
    part = cli.ok("memory", "read", "talk", "--key", "k", "--limit", "1")
    assert (part.out, part.err) == ("     user  one\n", "1 of 2 messages (from number 1)\n")
    nothing = cli.ok("memory", "read", "talk", "--key", "x")
    assert (nothing.out, nothing.err) == ("", "memory 'talk' holds nothing under the key 'x'\n")
    assert "healthy  yes\n" in cli.ok("memory", "health", "talk").out
    assert "message_count  2\n" in cli.ok("memory", "stats", "talk", "--key", "k").out


def test_a_payload_comes_as_text_from_stdin_as_json_or_from_a_file(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    append = ("memory", "append", "talk", "--key", "k")
    project.write("one.json", '\ufeff{"content": "from a file"}')
    cli.ok(*append, "as text")
    cli.ok(*append, "-", stdin="from stdin,\n{{ .not.rendered }}")
    cli.ok(*append, "--payload", '{"content": "as JSON", "metadata": {"n": 1}}')
    cli.ok(*append, "--payload-file", "one.json")
    cli.ok(*append, "--payload-file", "-", stdin='["a list", "on stdin"]')
    cli.ok(*append, "--", "--json")
    assert cli.stored() == [
        "as text", "from stdin,\n{{ .not.rendered }}", "as JSON", "from a file", "a list",
        "on stdin", "--json",
    ]  # fmt: skip


def test_repeating_with_an_idempotency_key_takes_effect_once(cli: "Cli") -> None:
    for operation in ("append", "append", "write", "write"):
        once = ("--idempotency-key", f"the-{operation}")
        cli.ok("memory", operation, "talk", "--key", "k", operation, *once)
    assert cli.stored() == ["write"]
    clear = (
        "memory",
        "clear",
        "talk",
        "--key",
        "k",
        "--confirm",
        "--idempotency-key",
        "c",
        "--json",
    )
    assert cli.ok(*clear).json()["messages_cleared"] == 1
    cli.ok("memory", "append", "talk", "--key", "k", "later")
    assert cli.ok(*clear).json()["messages_cleared"] == 1
    assert cli.stored() == ["later"]


# ---- validate, render, fmt -----------------------------------------------------------------------


def test_validate_checks_projects_workflows_agents_and_memories(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write("wf.yaml", SHOW % "{x: 1}")
    project.write("agents.yaml", "agents: [{id: helper, memory: talk, memory_key: k}]\n")
    project.write("agent.yaml", "resource: agent\nid: lone\n")
    project.write("workflows/main.yaml", SHOW % "{x: 1}")
    done = cli.ok("validate")
    assert (done.out, done.err) == ("  memory  talk\nworkflow  main\n", "valid\n")
    assert "workflow  wf\n" in cli.ok("validate", "wf.yaml").out
    assert "   agent  helper\n" in cli.ok("validate", "agents.yaml").out
    assert "   agent  lone\n" in cli.ok("validate", "agent.yaml").out
    for name in ("memory/talk.yaml", "recollect.yaml", str(cli.root)):
        assert cli.ok("validate", name, "--strict").err == "valid\n"
    report = cli.ok("validate", "wf.yaml", "--json").json()
    assert (report["valid"], report["project"], report["notes"]) == (True, "project", [])
    assert {"id": "wf", "tasks": ["show"]} in report["workflows"]
    assert [memory["id"] for memory in report["memories"]] == ["talk"]


def test_strict_counts_notes_as_errors(project: "ProjectFolder", cli: "Cli") -> None:
    project.write("wf.yaml", "tasks: [{id: a, with: {x: 1}, on_success: {next: b}}]\n")
    done = cli.ok("validate", "wf.yaml")
    assert "note: wf.yaml:1: task 'a': on_success.next names 'b'" in done.err
    strict = cli("validate", "wf.yaml", "--strict")
    assert (strict.code, strict.err.count("recollect: ")) == (2, 1)
    report = cli("validate", "wf.yaml", "--strict", "--json")
    assert (report.code, report.json()["valid"], len(report.json()["notes"])) == (2, False, 1)


def test_render_shows_text_or_values(cli: "Cli") -> None:
    assert cli.ok("render", "Hi {{ .name | upper }}", "-i", "name=Ada").out == "Hi ADA\n"
    assert cli.ok("render", "{{ .x }}", "-i", "x:=[1]").out == "[1]\n"
    assert cli.ok("render", "{{ .x }}", "-i", "x=1", "--json").json() == "1"
    from_file = cli.ok("render", "-", "--input-file", "memory/talk.yaml", stdin="{{ .id }}")
    assert from_file.out == "talk\n"
    assert cli.ok("render", "{{ .x }}", "-i", "x={{ .y }}").out == "{{ .y }}\n"


def test_fmt_shows_and_fixes_flattened_snippets_and_leaves_the_rest(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    good = project.write("good.yaml", "id:   a   # as I like it\n").read_text()
    flat = "id: a\ntype: memory\noperation: append\nmemory_ref: talk\nkey_template: k\npayload:\n"
    project.write("flat.yaml", f"{flat}role: user\ncontent: hi\n")
    shown = cli("fmt", "flat.yaml", "good.yaml")
    assert (shown.code, shown.err) == (1, "")
    assert "+  role: user" in shown.out
    assert "recollect fmt --fix" in cli("run", "flat.yaml").err
    fixed = cli.ok("fmt", "--fix", "flat.yaml", "good.yaml")
    assert (fixed.out, fixed.err) == ("", "repaired flat.yaml\n")
    assert cli.ok("fmt", "flat.yaml").out == ""
    assert (cli.root / "good.yaml").read_text() == good
    cli.ok("run", "flat.yaml")
    assert cli.stored() == ["hi"]


# ---- runs ----------------------------------------------------------------------------------------


def test_runs_are_listed_and_shown(project: "ProjectFolder", cli: "Cli") -> None:
    project.write("wf.yaml", SHOW % '{said: "{{ .word }}"}')
    done = cli.ok("run", "wf.yaml", "-i", "word=hi", "--json").json()
    failed = cli("run", "wf.yaml", "--json").json()
    listed = cli.ok("runs", "list").out.splitlines()
    assert [line.split()[:2] for line in listed] == [
        [failed["run_id"], "failed"], [done["run_id"], "completed"],
    ]  # fmt: skip
    entries = cli.ok("runs", "list", "--limit", "1", "--json").json()["runs"]
    assert [entry["run_id"] for entry in entries] == [failed["run_id"]]
    shown = cli.ok("runs", "show", done["run_id"], "--json").json()
    assert (shown["input"], shown["output"]) == ({"word": "hi"}, {"said": "hi"})
    person = cli.ok("runs", "show", failed["run_id"]).out
    assert "  status  failed" in person
    assert "show: failed" in person
    missing = cli("runs", "show", done["run_id"][:-1] + "x")
    assert (missing.code, f"Did you mean '{done['run_id']}'?" in missing.err) == (1, True)


# ---- the command itself --------------------------------------------------------------------------


def test_the_version_is_that_of_the_package(cli: "Cli") -> None:
    assert cli.ok("--version").out == f"recollect {recollect.__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_the_screen_with_one_line_for_each_thing(cli: "Cli", command: str) -> None:
    done = cli.ok(*command.split(), "--help")
    assert max(map(len, done.out.splitlines())) <= 80
    blocks = re.findall(r"^\w+:\n((?:  .+\n)+)", done.out, re.MULTILINE)
    listed = "".join(blocks).splitlines()
    assert listed
    for line in listed:
        assert not line.startswith("   "), "the text before it needed a second line"
        assert not line.endswith("..."), "the text was cut off"
    assert done.err == ""


def test_without_arguments_the_help_is_shown_as_an_error(cli: "Cli") -> None:
    for command in ([], ["memory"], ["runs"]):
        done = cli(*command)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith("Usage: recollect")


def test_the_command_runs_as_a_module_and_as_a_script(cli: "Cli") -> None:
    assert cli.process("--version").out == f"recollect {recollect.__version__}\n"
    script = Path(sys.executable).with_name("recollect")
    assert os.access(script, os.X_OK)
