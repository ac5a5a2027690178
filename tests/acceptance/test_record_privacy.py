"""After a run, what its memories must never keep is in no byte of the project's own files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recollect.project.app import open_app
from recollect.project.users import load_project
from recollect.workflows.runs import RunEnd
from tests.acceptance.test_data_commands import WORKFLOW as ASKING
from tests.acceptance.test_data_commands import held
from tests.files import files_with

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli
    from tests.conftest import ProjectFolder

MEMORY = """
resource: memory
id: talk
key: log
privacy_policy:
  non_persistable_message_types: [system, payment_info]
"""
WORKFLOW = """
id: note
tasks:
  - id: secret
    type: memory
    operation: append
    memory_ref: talk
    payload:
      role: user
      content: "Remember: {{ .text }}"
      metadata: {privacy: {do_not_persist: true}}
  - id: rules
    type: memory
    operation: append
    memory_ref: talk
    payload: {role: system, content: "{{ .rules }}"}
  - id: plain
    type: memory
    operation: append
    memory_ref: talk
    payload: "{{ .plain }}"
  - {id: pass, type: basic, outputs: {said: "I heard {{ .text }}", given: "{{ .messages }}"}}
outputs:
  said: "{{ .tasks.pass.output.said }}"
  given: "{{ .messages }}"
"""
INPUT = {
    "text": "xyzzy-one is the word",
    "rules": "xyzzy-two rules",
    "plain": "plugh-kept",
    "messages": [
        {"role": "system", "content": "xyzzy-three"},
        {"role": "user", "content": "xyzzy-four", "metadata": {"type": "payment_info"}},
        {"role": "user", "content": "plugh-too"},
    ],
}


@pytest.fixture
def noted(cli: "Cli", project: "ProjectFolder") -> Path:
    project.write("memory/talk.yaml", MEMORY)
    project.write("input.json", json.dumps(INPUT))
    return project.write("wf.yaml", WORKFLOW)


def test_what_is_not_to_be_kept_is_in_no_byte_after_the_run(
    cli: "Cli", project: "ProjectFolder", noted: Path
) -> None:
    done = cli.ok("run", str(noted), "--input-file", "input.json", "--json").json()
    assert done["output"]["said"] == "I heard xyzzy-one is the word"  # who asked is told
    assert files_with("xyzzy", project.root / ".recollect") == []
    assert files_with("plugh-kept", project.root / ".recollect")
    shown = cli.ok("runs", "show", done["run_id"], "--json").json()
    assert shown["input"] == {
        "text": "[REDACTED]",
        "rules": "[REDACTED]",
        "plain": "plugh-kept",
        "messages": [
            {"role": "system", "content": "[REDACTED]"},
            {"role": "user", "content": "[REDACTED]"},
            {"role": "user", "content": "plugh-too"},
        ],
    }
    assert shown["output"]["said"] == "I heard [REDACTED]"
    assert cli.stored("log") == ["plugh-kept"]


def test_a_run_that_fails_after_it_keeps_nothing_either(
    cli: "Cli", project: "ProjectFolder", noted: Path
) -> None:
    noted.write_text(WORKFLOW.replace('payload: "{{ .plain }}"', 'payload: "{{ .missing.x }}"'))
    assert cli("run", str(noted), "--input-file", "input.json").code == 1
    assert files_with("xyzzy", project.root / ".recollect") == []
    assert files_with("plugh", project.root / ".recollect")


@pytest.mark.parametrize("command", ["resume", "cancel"])
def test_a_run_that_another_process_ends_keeps_nothing_either(
    cli: "Cli", project: "ProjectFolder", command: str
) -> None:
    """Until its end its journal has what it was given; the process that ends it reads it there."""
    project.write("memory/talk.yaml", MEMORY.replace("[system", "[user, system"))
    with held(project, "xyzzy-4711"):
        pass
    assert ASKING.count("{{ .text }}") == 2
    assert files_with("I am xyzzy-4711", project.root / ".recollect" / "journal")
    if command == "resume":
        cli.ok("runs", "resume", "--mock-model")
    else:
        (run,) = cli.ok("runs", "list", "--json").json()["runs"]
        cli.ok("runs", "cancel", run["run_id"])
    (run,) = cli.ok("runs", "list", "--json").json()["runs"]
    shown = cli.ok("runs", "show", run["run_id"], "--json").json()
    assert shown["input"] == {"user_id": "[REDACTED]", "text": "[REDACTED]"}
    assert files_with("xyzzy", project.root / ".recollect") == []


async def test_a_run_whose_journal_cannot_be_read_keeps_nothing_that_was_said(
    project: "ProjectFolder",
) -> None:
    """Nobody knows then which of it a memory was not to keep."""
    task = {"status": "completed", "output": "said", "error": None}
    outcome = {"status": "completed", "output": "said", "tasks": {"t": task}, "error": None}
    end = RunEnd(run_id="r", request={"input": {"text": "said"}}, outcome=outcome)
    async with open_app(load_project(project.root, {})) as app:
        await app._finish(end)
        record = app.runs.get("r")
    assert (record.status, record.input, record.output, record.tasks) == (
        "completed",
        None,
        None,
        {},
    )


def test_a_run_that_cannot_be_redacted_ends_and_keeps_nothing_that_was_said(
    cli: "Cli", project: "ProjectFolder"
) -> None:
    """Each replacement forms a new match with what follows it, until redaction gives up."""
    policy = 'privacy_policy: {redact_patterns: ["aX"], default_redaction_string: "Xa"}\n'
    project.write("memory/talk.yaml", f"resource: memory\nid: talk\nkey: log\n{policy}")
    text = "tasks:\n  - {id: pass, type: basic, outputs: {said: '{{ .text }}'}}\n"
    file = str(project.write("wf.yaml", f"id: note\n{text}"))
    done = cli("run", file, "-i", f"text=xyzzy a{'X' * 1000}", "--json")
    assert (done.code, done.json()["status"]) == (0, "completed")
    assert files_with("xyzzy", project.root / ".recollect") == []
    (run,) = cli.ok("runs", "list", "--json").json()["runs"]
    shown = cli.ok("runs", "show", run["run_id"], "--json").json()
    assert (shown["status"], shown["input"], shown["tasks"]) == ("completed", None, {})
    assert shown["note"] == "its input and outputs were not kept: redaction could not finish"
