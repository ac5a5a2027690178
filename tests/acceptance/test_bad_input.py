"""Bad input: one clear message that names the thing and the way out, the right exit code, nothing
half stored, and never a traceback.

``cli.refuses`` runs each command twice, for a person and with ``--json``, and checks all of that.
"""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recollect.stores.sqlite import SqliteStore
from tests.acceptance.conftest import check_refusal, obeying_permissions, wait_until_asked

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cli
    from tests.conftest import ProjectFolder
    from tests.fake_openai import FakeOpenAI

APPEND = ("memory", "append", "talk", "--key", "k")
READ = ("memory", "read", "talk", "--key", "k")
MEMORY_TASK = "id: a, type: memory, memory_ref: talk"
WORKFLOW = f"tasks: [{{{MEMORY_TASK}, operation: append, key_template: k, payload: hi}}]\n"
SECRET = "swordfish"


def nothing_started(root: Path) -> bool:
    return not (root / ".recollect").exists()


# ---- YAML ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ["wf.yaml: the file is empty"]),
        ("tasks: [", ["wf.yaml:1: this is not YAML"]),
        ("tasks:\n  - id: a\n   type: x", ["wf.yaml:3: this is not YAML", "same column"]),
        ("a: b: c", ["wf.yaml:1: this is not YAML", "needs quotes"]),
        ("tasks:\n\t- id: a", ["wf.yaml:2: the line is indented with a tab"]),
        ("tasks:\n  - key: {{ .x }}", ['wf.yaml:2: put quotes around templates: write - key: "{{']),
        ("a: 1\n---\nb: 2", ["wf.yaml:2: a second document"]),
        ("a: !!python/object:os.system x", ["wf.yaml:1: the tag !!python", "refused"]),
        ("a: &a [*a]", ["wf.yaml:1: *a contains itself"]),
        ("id: a\nid: b", ["wf.yaml:2: 'id' is written twice, on line 1 and on line 2"]),
        ("just words", ["wf.yaml:1: a workflow file is a mapping with tasks"]),
        ("- 1", ["wf.yaml:1: a workflow file is a mapping with tasks"]),
        ("resource: workflow", ["wf.yaml: the file has no tasks"]),
        ("tasks: []", ["wf.yaml:1: tasks is empty"]),
        ("id: x\ntasks: 5", ["wf.yaml:2: tasks: must be a list, not 5"]),
        ("tasks: [5]", ["wf.yaml:1: tasks[0]: must be a map, not 5"]),
        ("tasks: [{}]", ["wf.yaml:1: tasks[0].id: is missing"]),
        ("tasks: [{id: a b, with: {x: 1}}]", ["tasks[0].id: 'a b' is no id: use letters"]),
        ("tasks: [{id: a}]", ["tasks[0]: a basic task needs messages or prompt"]),
        ("tasks: [{id: a, type: memry}]", ["unsupported task type: 'memry'", "mean 'memory'?"]),
        ("tasks: [{id: a, type: [x]}]", ["unsupported task type"]),
        ("tasks: [{id: a, type: router}]", ["'router' comes in a later version"]),
        ("tasks:\n- {id: a, with: {x: 1}}\n- {id: a, with: {x: 1}}", ["wf.yaml:3", "used twice"]),
        (f"tasks: [{{{MEMORY_TASK}, operation: reed}}]", ["memory operation 'reed'", "'read'?"]),
        (f"tasks: [{{{MEMORY_TASK}, operatoin: read}}]", ["field 'operatoin'", "'operation'?"]),
        (
            f"tasks: [{{{MEMORY_TASK}, operation: read, read_config: {{limt: 1}}}}]",
            ["mean 'limit'?"],
        ),
        (
            f"tasks: [{{{MEMORY_TASK}, operation: read, read_config: {{limit: 5000}}}}]",
            ["tasks[0].read_config: limit: must be less than or equal to 1000"],
        ),
        (
            "tasks:\n- id: a\n  operation: read\n  memory_ref: tlak",
            ["wf.yaml:4: Memory resource not found: 'tlak'", "Known memories: talk", "'talk'?"],
        ),
        (
            f"tasks: [{{{MEMORY_TASK}, operation: read, key_template: '{{{{ .x'}}]",
            ["wf.yaml:1: tasks[0].key_template: line 1, column 1", "}} is missing"],
        ),
        (
            f"tasks: [{{{MEMORY_TASK}, operation: read, key_template: '{{{{ uper .x }}}}'}}]",
            ["there is no function 'uper'", "Did you mean 'upper'?"],
        ),
        (
            "tasks: [{id: a, with: {x: 1}, condition: 'x >'}]",
            ["no CEL expression: line 1, column 4"],
        ),
        (
            "tasks: [{id: a, with: {x: 1}, timeout: soon}]",
            ["tasks[0].timeout: 'soon' is no duration"],
        ),
        ("tasks: [{id: a, with: {x: 1}, output: workflow}]", ["workflow is a reserved name"]),
        ("tasks: [{id: a, prompt: hi, model: 'opnai:x'}]", ["provider 'opnai'", "mean 'openai'?"]),
        ("tasks: [{id: a, agent: x}]", ["tasks[0].agent", "not in this version"]),
        ("agents: [{id: x}]", ["running an agent is not in this version"]),
        ("resource: memory\nid: x", ["wf.yaml:1: the file defines a resource 'memory'"]),
        ("resource: agent\nid: x", ["wf.yaml:1: the file defines a resource 'agent'"]),
        ("tasks: [{id: a, with: {x: 1}}]\noutputs: {y: '{{ .x'}", ["wf.yaml:2: outputs.y: line 1"]),
    ],
)
def test_a_wrong_workflow_is_refused_with_its_place_before_anything_starts(
    project: "ProjectFolder", cli: "Cli", text: str, says: list[str]
) -> None:
    project.write("wf.yaml", text)
    cli.refuses("run", "wf.yaml", says=says)
    assert nothing_started(cli.root)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff\xfet\x00", ["wf.yaml:1: byte 0xff", "save it as UTF-8"]),
        (b"a: 1\nb: \xe9t\xe9", ["wf.yaml:2: byte 0xe9"]),
        (b"a: \x00", ["wf.yaml:1: the character U+0000 may not stand in YAML"]),
        (b"a: " + b"x" * (10 * 1024 * 1024), ["larger than 10 MiB"]),
        (b"[" * 5000, ["nested deeper than 100 levels"]),
        (b"\n".join(b" " * i + b"a:" for i in range(500)), ["wf.yaml:101: nested deeper"]),
        (
            b"a: &a [x,x,x,x,x,x,x,x,x,x]\n"
            + b"".join(
                b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 10))
                for i in range(9)
            ),
            ["wf.yaml:5: the aliases of this file grow beyond 100,000 values"],
        ),
    ],
    ids=["utf16", "latin1", "nul", "10MB", "deep-flow", "deep-block", "bomb"],
)
def test_hostile_bytes_are_refused_quickly(cli: "Cli", data: bytes, says: list[str]) -> None:
    (cli.root / "wf.yaml").write_bytes(data)
    cli.refuses("run", "wf.yaml", says=says)
    assert nothing_started(cli.root)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_tokns: 5", ["memory/bad.yaml:3: max_tokns: unknown field", "mean 'max_tokens'?"]),
        ("max_tokens: many", ["bad.yaml:3: max_tokens: must be a whole number, not 'many'"]),
        ("max_tokens: 0", ["max_tokens: must be greater than 0"]),
        ("type: token_based", ["needs max_tokens, max_context_ratio or max_messages"]),
        ("type: lru", ["type: must be one of 'token_based'"]),
        ("flushing: {type: lru}", ["'lru' is not built", "use simple_fifo"]),
        ("flushing: {type: token_aware_lru}", ["'token_aware_lru' is not built"]),
        ("eviction_policy: {type: lru}", ["'lru' is not built", "use simple_fifo"]),
        ("flushing: {summary_tokens: 9}", ["summary_tokens belongs to type hybrid_summary"]),
        (
            "flushing: {type: hybrid_summary, summary_model: nobody:x}",
            ["bad.yaml:3: flushing.summary_model: ", "nobody"],
        ),
        ("token_allocation: {system: 0.5}", ["the shares add up to 0.5, not to 1"]),
        ("persistence: {type: mongo}", ["persistence.type: must be one of", "not 'mongo'"]),
        ("persistence: {ttl: soon}", ["persistence.ttl: 'soon' is no duration"]),
        ("privacy_policy: {redact_patterns: ['(']}", ["pattern 0: RE2 cannot read it"]),
        ("privacy_policy: {redact_patterns: ['(?=x)']}", ["no look-around"]),
        ("key: '{{ .x'", ["bad.yaml:3: key: line 1, column 1"]),
        ("description: 5", ["description: must be text, not 5 (put quotes around it)"]),
    ],
)
def test_a_wrong_memory_is_refused_with_its_place(
    project: "ProjectFolder", cli: "Cli", text: str, says: list[str]
) -> None:
    project.write("memory/bad.yaml", f"resource: memory\nid: bad\n{text}\n")
    cli.refuses(*READ, says=says)
    cli.refuses("validate", "memory/bad.yaml", says=says)
    assert nothing_started(cli.root)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ["recollect.yaml: the file is empty"]),
        ("42", ["recollect.yaml:1: must be a map, not 42"]),
        ("name: 5", ["recollect.yaml:1: name: must be text"]),
        ("autolaod: {}", ["recollect.yaml:1: autolaod: unknown field", "mean 'autoload'?"]),
        ("runtime: {}", ["'runtime' is refused"]),
        ("autoload: yes", ["autoload: must be a map, not 'yes'"]),
        ("autoload: {enabled: true}", ["include is empty"]),
        ("autoload: {enabled: true, include: ['../*.yaml']}", ["leaves the project folder"]),
        ("autoload: {enabled: true, include: ['/etc/*']}", ["leaves the project folder"]),
        ("autoload: {enabled: true, include: ['a**b']}", ["** stands alone between slashes"]),
        ("autoload: {enabled: true, include: ['./']}", ["'./' matches no file"]),
        ("autoload: {enabled: true, include: [x], exclude: ['']}", ["'' matches no file"]),
        ("memories: [{id: x}, {id: X}]", ["'X' is already defined in recollect.yaml:1"]),
        ("memories: [{id: 'a b'}]", ["memories[0].id: 'a b' is no id"]),
        ("env: {A: 5}", ["env.A: must be text"]),
        ("store: mysql://u:swordfish@h", ["recollect.yaml:1: store: no store has the scheme"]),
        ("store: nope", ["recollect.yaml:1: store: this is no URL of a store", "sqlite:///FILE"]),
        ("store: 'sqlite:///'", ["recollect.yaml:1: store:", "names no file"]),
        ("store: 'sqlite://u:swordfish@h/x'", ["recollect.yaml:1: store: a sqlite URL has three"]),
        ("store: 'http://[::1'", ["recollect.yaml:1: store: this is no URL"]),
        ("workflows: [{source: nope.yaml}]", ["recollect.yaml:1: workflows[0]", "no file 'nope.yaml'"]),
        ("workflows: [{source: ../outside.yaml}]", ["workflows[0]", "which it leaves"]),
        ("models: [{provider: a, model: b, default: true}, {provider: a, model: c, default: true}]",
         ["models: more than one model has default: true"]),
    ],
)  # fmt: skip
def test_a_wrong_project_file_is_refused_with_its_place(
    project: "ProjectFolder", cli: "Cli", text: str, says: list[str]
) -> None:
    (cli.root.parent / "outside.yaml").write_text(WORKFLOW)
    project.write("recollect.yaml", text)
    done = cli.refuses("validate", says=says)
    assert SECRET not in done.err
    assert nothing_started(cli.root)


@pytest.mark.parametrize(
    ("setup", "says"),
    [
        (
            lambda root: (root / "memory/again.yaml").write_text("resource: memory\nid: TALK\n"),
            ["memory/talk.yaml:2: ", "memory 'talk' is already defined in memory/again.yaml:2"],
        ),
        (
            lambda root: (root / "compozy.yaml").write_text("name: x\n"),
            ["has recollect.yaml and compozy.yaml: keep one"],
        ),
        (
            lambda root: (root / "memory/out.yaml").symlink_to("/etc/passwd"),
            ["memory/out.yaml: this leaves the project folder"],
        ),
        (
            lambda root: (root / "memory/gone.yaml").symlink_to("nowhere"),
            ["memory/gone.yaml: autoload matches a link that leads nowhere"],
        ),
        (
            lambda root: (root / "memory/loop.yaml").symlink_to("loop.yaml"),
            ["memory/loop.yaml: autoload matches a link that leads nowhere"],
        ),
        (
            lambda root: (root / "memory/odd.yaml").write_text("resource: [memory]\n"),
            ["memory/odd.yaml:1: an autoloaded file has resource"],
        ),
        (
            lambda root: (root / "memory/odd.yaml").write_text("id: x\n"),
            ["memory/odd.yaml:1: an autoloaded file has no resource field"],
        ),
        (
            lambda root: (root / ".recollect").write_text("x"),
            [".recollect: this must be a folder"],
        ),
        (lambda root: (root / ".env").write_bytes(b"A=1\nB=\xff"), [".env:2: byte 0xff"]),
        (
            lambda root: (root / ".env").write_text("A=1\nswordfish 'x\n"),
            [".env:2: write NAME=value"],
        ),
    ],
)
def test_a_project_that_is_not_one_is_refused(
    cli: "Cli", setup: Callable[[Path], Any], says: list[str]
) -> None:
    setup(cli.root)
    for command in (READ, (*APPEND, "hi"), ("validate",), ("runs", "list")):
        done = cli.refuses(*command, says=says)
        assert SECRET not in done.err


def test_workflows_found_through_a_link_may_not_leave_the_project(cli: "Cli") -> None:
    outside = cli.root.parent / "outside"
    outside.mkdir()
    (outside / "a.yaml").write_text(WORKFLOW)
    (cli.root / "workflows").symlink_to(outside)
    cli.refuses("validate", says=["workflows/a.yaml: this leaves the project folder"])


def test_which_workflow_is_meant_must_be_said(project: "ProjectFolder", cli: "Cli") -> None:
    cli.refuses("run", ".", says=[". has no workflow", "workflow.yaml", "name a file"])
    cli.refuses("run", "memory/talk.yaml", says=["defines a resource 'memory'"])
    cli.refuses("run", "nope.yaml", says=["there is no file or folder 'nope.yaml'"])
    cli.refuses("run", ".", "--workflow", "x", says=["no workflow 'x'. It has: none"])
    project.write("workflows/first.yaml", WORKFLOW)
    project.write("workflows/second.yaml", WORKFLOW)
    cli.refuses("run", ".", says=["several workflows", "--workflow: first, second"])
    cli.refuses("run", ".", "-w", "frist", says=["no workflow 'frist'", "Did you mean 'first'?"])
    cli.refuses("run", "workflows/first.yaml", "-w", "second", says=["is the workflow 'first'"])
    project.write("workflows/second.yaml", f"id: first\n{WORKFLOW}")
    cli.refuses("run", ".", says=["second.yaml:1", "'first' is already defined in workflows/first"])
    assert nothing_started(cli.root)


def test_memory_without_autoload_is_answered_by_how_to_turn_it_on(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write("recollect.yaml", "name: x\n")
    project.write("wf.yaml", WORKFLOW)
    says = ["Resource registry not provided", "autoload is off", "into recollect.yaml"]
    cli.refuses("run", "wf.yaml", says=["wf.yaml:1: ", *says])
    cli.refuses(*READ, says=says)
    (cli.root / "recollect.yaml").unlink()
    says = ["Resource registry not provided", "no recollect.yaml", "`recollect init`", "--project"]
    cli.refuses("run", "wf.yaml", says=says)
    cli.refuses(*READ, says=says)
    assert nothing_started(cli.root)


# ---- keys, payloads, limits ----------------------------------------------------------------------

GOOD_KEYS = [
    "a:b", "a/b", "../..", ".", "it's \"quoted\"", "100%", "%41", "%2A", "{x}", "{{ .x }}", "-k", " a ",
    "😀", "שלום", "e\u0301", "a\u2028b", "\ufeffa", "a\\b", "x" * 512, "'; DROP TABLE messages; --",
]  # fmt: skip


def test_each_odd_key_is_a_conversation_of_its_own(cli: "Cli") -> None:
    for number, key in enumerate(GOOD_KEYS):
        cli.ok("memory", "append", "talk", f"--key={key}", f"number {number}")
    found = [cli.ok("memory", "read", "talk", f"--key={key}", "--json").json() for key in GOOD_KEYS]
    assert [[m["content"] for m in read["messages"]] for read in found] == [
        [f"number {number}"] for number in range(len(GOOD_KEYS))
    ]


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "the key is empty"),
        ("  \n ", "the key is empty"),
        ("x" * 513, "has 513 characters: at most 512"),
        ("a\nb", "a line break (U+000A) at position 2"),
        ("a\tb", "a tab (U+0009) at position 2"),
        ("a\0", "a NUL (U+0000)"),
        ("\x1b[31m", "a control character (U+001B)"),
        ("ab\udcff", "not UTF-8 (U+DCFF) at position 3"),
    ],
)
def test_a_key_no_conversation_can_have_is_refused_by_every_operation(
    project: "ProjectFolder", cli: "Cli", key: str, says: str
) -> None:
    for operation in ("read", "delete", "stats", "flush", "health"):
        cli.refuses("memory", operation, "talk", f"--key={key}", says=[says])
    cli.refuses("memory", "clear", "talk", f"--key={key}", "--confirm", says=[says])
    for operation in ("append", "write"):
        cli.refuses("memory", operation, "talk", f"--key={key}", "hi", says=[says])


def test_keys_of_backups_are_not_written_to(cli: "Cli") -> None:
    for key in ("__x", "backup:x", "archive:x"):
        cli.refuses("memory", "append", "talk", "--key", key, "hi", says=["are reserved"])


def test_bytes_that_are_no_text_are_refused_as_arguments(cli: "Cli") -> None:
    done = cli.process("memory", "append", "talk", b"--key=a\xff", "hi")
    check_refusal(done, says=["the key holds bytes that are not UTF-8"], code=2)
    cli.refuses(*APPEND, "a\udcff", says=["CONTENT is not UTF-8"])
    cli.refuses(*APPEND, "-", stdin=b"a\xff", says=["stdin is not UTF-8 (byte 1)"])
    assert cli.stored() == []


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ("null", "--payload takes JSON"),
        ("7", "--payload takes JSON"),
        ("hello", "give plain text as CONTENT"),
        ("@file.json", "a file with --payload-file"),
        ('{"a"', "--payload is no JSON: Expecting ':' delimiter (line 1, column 5)"),
        ("[" * 20_000, "--payload is nested too deeply"),
        ("[" + "1" * 5000 + "]", "thousands of digits"),
        ('""', "content is empty or missing"),
        ("[]", "payload is an empty list"),
        ("{}", "payload is empty"),
        ("[7]", "message[0] is a number"),
        ("[null]", "message[0] is nothing"),
        ("[[]]", "message[0] is a list"),
        ('{"role": "king", "content": "swordfish"}', "role is 'king': it must be one of user,"),
        ('{"role": "user"}', "content is empty or missing"),
        ('[{"content": "swordfish"}, {"content": ""}]', "message[1]: content is empty"),
        ('{"content": "swordfish", "rol": "user"}', "unknown fields: rol"),
        ('{"content": "swordfish", "metadata": 3}', "metadata is a number, not a map"),
        ('{"content": "swordfish", "metadata": {"x": NaN}}', "metadata.x is nan"),
        ('{"content": "swordfish", "metadata": {"x": 1e999}}', "metadata.x is inf"),
        ('{"content": "swordfish", "metadata": {"x": %s}}' % ("9" * 30), "beyond 64 bits"),
        ('{"content": "swordfish", "metadata": {"x": %s}}' % ("[" * 60 + "]" * 60), "deeper than 50"),
        ('{"content": "swordfish", "timestamp": "soon"}', "timestamp is not a time"),
        ('{"content": "swordfish", "timestamp": -1}', "timestamp is out of range"),
        ('{"content": "swordfish", "tool_calls": [{}]}', "tool_calls"),
        ('{"content": "swordfish", "tool_call_id": 5}', "tool_call_id is"),
        ('{"content": "swordfish", "attachments": "x"}', "attachments is"),
        ('{"content": "a\\ud800"}', "lone surrogate"),
    ],
)  # fmt: skip
def test_a_payload_of_a_wrong_shape_is_refused_whole(cli: "Cli", payload: str, says: str) -> None:
    """Row 5 of specs/memory.md section 13: of a list with one bad message nothing is stored."""
    for operation in ("append", "write"):
        done = cli.refuses(
            "memory", operation, "talk", "--key", "k", "--payload", payload, says=[says]
        )
        assert SECRET not in done.err
    assert cli.stored() == []


def test_a_payload_comes_in_one_way(project: "ProjectFolder", cli: "Cli") -> None:
    project.write("broken.json", '{"content":\n "x')
    (cli.root / "latin1.json").write_bytes(b'"\xe9"')
    cli.refuses(*APPEND, says=["nothing to store: give CONTENT"])
    cli.refuses(*APPEND, "x", "--payload", '"y"', says=["give one of CONTENT, --payload and"])
    cli.refuses(*APPEND, "-", says=["content is empty"])
    cli.refuses(*APPEND, "x", "--role", "king", says=["role is 'king'"])
    cli.refuses(*APPEND, "--payload-file", "no.json", says=["no.json: there is no such file"])
    cli.refuses(*APPEND, "--payload-file", ".", says=[".: this is a folder"])
    cli.refuses(*APPEND, "--payload-file", "broken.json", says=["broken.json is no JSON", "line 2"])
    cli.refuses(*APPEND, "--payload-file", "latin1.json", says=["latin1.json:1: byte 0xe9"])
    cli.refuses(*APPEND, "--payload-file", "-", stdin="{", says=["stdin is no JSON"])
    cli.refuses(*APPEND, "x", "--idempotency-key", "", says=["the idempotency key is empty"])
    assert cli.stored() == []


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"content": "x" * (2**20 + 1)}, "message[0] has 1,048,"),
        ([{"content": "ok"}, {"content": "x" * (2**20 + 1)}], "message[1] has 1,048,"),
        ([{"content": "x"}] * 1001, "1001 messages in one call: at most 1000"),
        ([{"content": "x" * (2**20 - 200)}] * 5, "bytes in one call: at most 4,194,304"),
    ],
    ids=["one too long", "one of two too long", "too many", "too much"],
)
def test_messages_beyond_the_limits_of_a_call_are_refused_whole(
    project: "ProjectFolder", cli: "Cli", payload: Any, says: str
) -> None:
    project.write("long.json", json.dumps(payload))
    for operation in ("append", "write"):
        command = ("memory", operation, "talk", "--key", "k", "--payload-file", "long.json")
        done = cli.refuses(*command, says=[says])
        assert len(done.err) < 500
    assert cli.stored() == []


def test_messages_beyond_the_limits_of_a_memory_are_refused_whole(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write(
        "memory/talk.yaml",
        "resource: memory\nid: talk\ntype: token_based\nmax_tokens: 50\nmax_messages: 2\n"
        "disable_flush: true\n",
    )
    too_long = " ".join([SECRET] * 60)
    for operation in ("append", "write"):
        says = ["no room for 1 more message with", "of 50", "Nothing was stored. Shorten"]
        done = cli.refuses("memory", operation, "talk", "-k", "k", too_long, says=says, code=1)
        assert SECRET not in done.err
    cli.ok(*APPEND, "--payload", '["one", "two"]')
    cli.refuses(*APPEND, "three", says=["2 messages of 2", "Flush it, or raise"], code=1)
    assert cli.stored() == ["one", "two"]


def test_an_idempotency_key_is_for_one_change(cli: "Cli") -> None:
    once = ("--idempotency-key", "order-7")
    cli.ok(*APPEND, "one", *once)
    cli.refuses(*APPEND, "two", *once, says=["'order-7' was already used", "a new key"], code=1)
    assert cli.stored() == ["one"]


def test_wrong_settings_of_operations_name_the_option(cli: "Cli") -> None:
    """Row 4 of specs/memory.md section 13: a limit above 1000."""
    cli.refuses(*READ, "--limit", "1001", says=["'--limit'", "1000"])
    cli.refuses(*READ, "--limit", "few", says=["'--limit'", "integer"])
    cli.refuses(*READ, "--offset", "-1", says=["'--offset'"])
    cli.refuses(*READ, "--offset", str(10**30), says=["'--offset'"])
    cli.refuses(*READ, "--last", "0", says=["'--last'"])
    cli.refuses(*READ, "--last", "3", "--limit", "3", says=["--last, or by --limit"])
    cli.refuses("memory", "flush", "talk", "-k", "k", "--threshold", "7", says=["'--threshold'"])
    cli.refuses("memory", "flush", "talk", "-k", "k", "--threshold", "nan", says=["threshold"])
    flush = ("memory", "flush", "talk", "-k", "k", "--strategy")
    cli.refuses(*flush, "best", says=["strategy", "'simple_fifo'", "'priority'"])
    cli.refuses(*flush, "lru", says=["strategy 'lru' is not built", "use simple_fifo"])
    cli.refuses("memory", "clear", "talk", "-k", "k", says=["repeat with --confirm"])


def test_an_unknown_memory_is_answered_by_the_known_ones(cli: "Cli") -> None:
    says = ["Memory resource not found: 'tlak'", "Known memories: talk", "Did you mean 'talk'?"]
    for operation in ("read", "delete", "stats", "flush", "health", "clear"):
        options = ["--confirm"] if operation == "clear" else []
        cli.refuses("memory", operation, "tlak", "--key", "k", *options, says=says)
    cli.refuses("memory", "append", "tlak", "--key", "k", "hi", says=says)
    assert nothing_started(cli.root)


# ---- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("memory", "read", "talk"), "missing option '--key'"),
        (("memory", "read"), "missing argument 'REF'"),
        (("memory", "reed"), "no such command 'reed'. Did you mean 'read'?"),
        (("memry",), "no such command 'memry'. Did you mean 'memory'?"),
        (("run",), "missing argument 'FILE_OR_FOLDER'"),
        (("run", "a", "b"), "unexpected extra argument"),
        (("run", ".", "--mock"), "no such option: --mock"),
        (("runs", "list", "--limit", "0"), "'--limit'"),
        (("run", ".", "--project", "nowhere"), "there is no folder 'nowhere'"),
        (("validate", "nope"), "there is no file or folder 'nope'"),
        (("render", "{{ .x"), "line 1, column 1: the action is not closed"),
        (("render", "{{ .x }}"), ".x is missing"),
        (("render", "\udcff"), "TEMPLATE is not UTF-8"),
        (("render", "-"), "stdin is not UTF-8"),
    ],
)
def test_wrong_arguments_are_told_in_one_line_with_where_to_look(
    cli: "Cli", args: tuple[str, ...], says: str
) -> None:
    done = cli.refuses(*args, says=[says], stdin=b"\xff")
    assert done.err.count("\n") == 1
    assert nothing_started(cli.root)


def test_the_help_of_the_command_is_named_where_arguments_are_wrong(cli: "Cli") -> None:
    cli.refuses("memory", "read", "talk", says=["`recollect memory read --help` tells more"])


@pytest.mark.parametrize(
    ("args", "stdin", "says"),
    [
        (("--input", "x"), b"", "--input 'x' has the wrong form: write name=value"),
        (("--input", "=x"), b"", "has the wrong form"),
        (("--input", "x:={"), b"", "--input x is no JSON"),
        (("--input", "x:=" + "[" * 20_000), b"", "--input x is nested too deeply"),
        (("--input", "x:=" + "[" * 200 + "]" * 200), b"", "nested deeper than 100 levels"),
        (("--input", "x:=[NaN]"), b"", "the input 'x'[0] is nan, which JSON cannot hold"),
        (("--input", "x:=1e999"), b"", "the input 'x' is inf"),
        (("--input", 'x:={"a": "\\ud800"}'), b"", "the input 'x'.a is not UTF-8"),
        (("--input", "x=\udcff"), b"", "the input 'x' is not UTF-8"),
        (("--input", "\udcff=x"), b"", "--input is not UTF-8"),
        (("--input-file", "nope.json"), b"", "nope.json: there is no such file"),
        (("--input-file", "memory"), b"", "memory: this is a folder"),
        (("--input-file", "-"), b"\xff", "stdin is not UTF-8"),
        (("--input-file", "-"), b"[1]", "stdin:1: inputs are a map"),
        (("--input-file", "-"), b"a: [", "stdin:1: this is not YAML"),
        (("--input-file", "-"), b"a: .nan", "the input 'a' is nan"),
    ],
)
def test_wrong_inputs_are_refused_before_the_run(
    project: "ProjectFolder", cli: "Cli", args: tuple[str, ...], stdin: bytes, says: str
) -> None:
    project.write("wf.yaml", WORKFLOW)
    cli.refuses("run", "wf.yaml", *args, stdin=stdin, says=[says])
    assert nothing_started(cli.root)


def test_fmt_and_init_touch_nothing_they_cannot_do_whole(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    before = project.write("broken.yaml", "a: [").read_text()
    (cli.root / "latin1.yaml").write_bytes(b"\xe9")
    for args, says in (
        (("fmt", "--fix", "broken.yaml"), "broken.yaml:1: this is not YAML"),
        (("fmt", "--fix", "latin1.yaml"), "latin1.yaml:1: byte 0xe9"),
        (("fmt", "nope.yaml"), "nope.yaml: there is no such file"),
        (("fmt", "memory"), "memory: this is a folder"),
        (("init",), "recollect.yaml is there already: init never overwrites"),
        (("init", "broken.yaml"), "broken.yaml"),
        (("init", "broken.yaml/x"), "Not a directory: name a folder you can write to"),
    ):
        check_refusal(cli(*args), says=[says], code=2)
    assert (cli.root / "broken.yaml").read_text() == before
    (cli.root / "other").mkdir()
    (cli.root / "other" / "compozy.yaml").write_text("name: x\n")
    check_refusal(cli("init", "other"), says=["other/compozy.yaml is there already"], code=2)
    (cli.root / "half").mkdir()
    (cli.root / "half" / "memory").write_text("in the way")
    check_refusal(cli("init", "half"), says=["half/memory", "name a folder"], code=2)
    assert sorted(path.name for path in (cli.root / "half").iterdir()) == ["memory"]


# ---- runs that fail ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "says"),
    [
        ("key_template: 'c:{{ .who }}', payload: x",
         ["task 'a': key_template: line 1, column 6: .who is missing", "--input NAME=VALUE"]),
        ("key_template: '{{ .empty }}', payload: x", ["task 'a': key_template: the key is empty"]),
        ("key_template: 'c:{{ .lines }}', payload: x", ["key_template: the key holds a line break"]),
        ("key_template: c, payload: {content: '{{ .what }}'}", ["task 'a': payload: line 1"]),
        ("key_template: c, payload: {content: '{{ .lines }}', role: bot}", ["role is 'bot'"]),
        ("key_template: c", ["payload is required for append"]),
        ("key_template: c, payload: 5", ["task 'a': payload is a number"]),
        ("key_template: c, payload: x, condition: 'nobody == 1'", ["'nobody' is missing"]),
        ("key_template: c, payload: x, condition: '[1][5] == 1'", ["IndexError"]),
    ],
)  # fmt: skip
def test_a_failed_run_names_task_and_field_and_stores_nothing(
    project: "ProjectFolder", cli: "Cli", task: str, says: list[str]
) -> None:
    project.write("wf.yaml", f"tasks: [{{{MEMORY_TASK}, operation: append, {task}}}]\n")
    inputs = ("--input", "empty=", "--input", f"lines={SECRET}\nx")
    done = cli("run", "wf.yaml", *inputs)
    check_refusal(done, says=says, code=1)
    assert SECRET not in done.err
    assert cli.stored("c") == []


def test_a_memory_ref_from_a_template_may_be_unknown_at_run_time(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write(
        "wf.yaml", "tasks: [{id: a, operation: read, memory_ref: '{{ .m }}', key_template: k}]\n"
    )
    done = cli("run", "wf.yaml", "--input", "m=tlak", "--json")
    assert done.code == 1
    error = done.json()["error"]
    assert error["code"] == "MEMORY_RESOURCE_NOT_FOUND"
    assert error["details"]["available_resources"] == ["talk"]


def test_a_missing_model_key_names_the_variable_and_the_offline_model(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write("wf.yaml", "tasks: [{id: ask, prompt: hi, model: 'openai:gpt-4o'}]\n")
    done = cli("run", "wf.yaml")
    check_refusal(done, says=["task 'ask'", "OPENAI_API_KEY", "--mock-model"], code=1)
    failed = cli("run", "wf.yaml", "--json").json()
    assert (failed["status"], failed["tasks"]["ask"]["error"]["code"]) == ("failed", "LLM_AUTH")


def test_outputs_that_fail_name_the_output(project: "ProjectFolder", cli: "Cli") -> None:
    project.write("wf.yaml", "tasks: [{id: a, with: {x: 1}}]\noutputs: {y: '{{ .nope }}'}\n")
    check_refusal(cli("run", "wf.yaml"), says=["outputs.y: line 1, column 4: .nope is"], code=1)


# ---- the disk ------------------------------------------------------------------------------------


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def seal(root: Path) -> None:
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


def unseal(root: Path) -> None:
    root.chmod(0o755)
    for path in root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


@pytest.mark.parametrize("used", [False, True], ids=["new", "used"])
def test_a_read_only_folder_is_named_and_nothing_is_stored(
    project: "ProjectFolder", cli: "Cli", used: bool
) -> None:
    project.write("wf.yaml", WORKFLOW)
    if used:
        cli.ok(*APPEND, "before")
    before = files(cli.root)
    seal(cli.root)
    try:
        for command in ((*APPEND, "hi"), ("run", "wf.yaml")):
            done = cli.process(*command, preexec_fn=obeying_permissions())
            check_refusal(done, says=[".recollect/", "writ"], code=1)
        done = cli.process("init", "new", preexec_fn=obeying_permissions())
        check_refusal(done, says=["new: Permission denied: name a folder you can write to"], code=2)
        listed = cli.process("runs", "list", preexec_fn=obeying_permissions())
        assert (listed.code, listed.err) == (0, "there are no runs yet\n")
        assert files(cli.root) == before
    finally:
        unseal(cli.root)
    assert cli.stored() == (["before"] if used else [])


@pytest.mark.parametrize("size", [0, 100, 30_000, 100_000])
def test_a_full_disk_is_told_and_nothing_is_half_stored(
    project: "ProjectFolder", cli: "Cli", size: int
) -> None:
    """A limit on the size of files fails as a full disk does, and needs no disk to fill."""

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    project.write("wf.yaml", WORKFLOW)
    command = ("run", "wf.yaml") if size == 100_000 else (*APPEND, "hi")
    done = cli.process(*command, preexec_fn=fill)
    check_refusal(done, says=[".recollect/", "disk"], code=1)
    assert cli.stored() == []
    assert "running" not in cli.ok("runs", "resume").out + cli.ok("runs", "list").out
    cli.ok(*APPEND, "there is room again")
    assert cli.stored() == ["there is room again"]


def test_output_that_cannot_be_written_is_no_internal_error(cli: "Cli") -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            cli.command(*READ, "--json"), cwd=cli.root, stdout=full, stderr=-1, check=False
        )
    assert ended.returncode == 1
    assert ended.stderr == b"recollect: the output cannot be used: No space left on device\n"


def test_a_folder_that_was_removed_meanwhile_is_told(
    cli: "Cli", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for command in (READ, ("validate",), ("runs", "list")):
        check_refusal(cli(*command), says=["the current folder cannot be used"], code=1)
    monkeypatch.chdir(tmp_path)


def test_a_locked_database_is_told_and_nothing_is_stored(
    cli: "Cli", monkeypatch: pytest.MonkeyPatch
) -> None:
    cli.ok(*APPEND, "before")
    defaults = SqliteStore.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "lock_timeout", timedelta(seconds=0.1))  # it would be five
    other = sqlite3.connect(cli.root / ".recollect" / "store.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        done = cli(*APPEND, "hi")
    finally:
        other.close()
    check_refusal(done, says=["store.sqlite is locked by another program", "wait until"], code=1)
    assert cli.stored() == ["before"]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda data: b"hello" * 1000, "is not a SQLite database"),
        (lambda data: data[:4096] + os.urandom(len(data) - 4096), "is damaged: restore a backup"),
    ],
    ids=["another file", "random pages"],
)
def test_a_corrupt_database_is_told_and_stays_as_it_is(
    cli: "Cli", damage: Callable[[bytes], bytes], says: str
) -> None:
    cli.ok(*APPEND, "before")
    file = cli.root / ".recollect" / "store.sqlite"
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)
    for command in ((*APPEND, "hi"), READ):
        cli.refuses(*command, says=["store.sqlite", says], code=1)
    assert file.read_bytes() == damaged


def test_health_reports_a_store_that_cannot_be_opened(cli: "Cli") -> None:
    cli.ok(*APPEND, "before")
    (cli.root / ".recollect" / "store.sqlite").write_bytes(b"hello" * 1000)
    done = cli("memory", "health", "talk", "--json")
    report = done.json()
    assert (done.code, report["success"], report["healthy"]) == (1, True, False)
    assert report["store_status"] == "disconnected"
    assert "not a SQLite database" in report["error"]["message"]


def test_a_damaged_table_of_runs_is_told(project: "ProjectFolder", cli: "Cli") -> None:
    project.write("wf.yaml", WORKFLOW)
    cli.ok("memory", "stats", "talk", "--key", "k")
    (cli.root / ".recollect" / "runs.sqlite").write_bytes(b"hello" * 1000)
    for command in (("runs", "list"), ("runs", "show", "x"), ("run", "wf.yaml")):
        cli.refuses(*command, says=["runs.sqlite is damaged"], code=1)
    assert cli.stored() == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"id": 5}', '{"id": ""}', '{"id": "\\ud800"}', "[" * 100_000, "\ufffe"],
    ids=["empty", "half", "list", "no id", "number", "empty id", "surrogate", "deep", "odd"],
)
def test_a_damaged_project_id_is_not_replaced_by_another(cli: "Cli", text: str) -> None:
    cli.ok(*APPEND, "before")
    file = cli.root / ".recollect" / "project.json"
    file.write_text(text)
    for command in (READ, (*APPEND, "hi")):
        cli.refuses(*command, says=["project.json: the file does not hold", "from a backup"])
    assert file.read_text() == text


def test_a_journal_that_cannot_be_kept_stops_the_run_before_it_begins(
    project: "ProjectFolder", cli: "Cli"
) -> None:
    project.write("wf.yaml", WORKFLOW)
    cli.ok(*APPEND, "before")
    (cli.root / ".recollect" / "journal").write_text("in the way")
    cli.refuses("run", "wf.yaml", says=[".recollect/journal", "make the folder writable"], code=1)
    assert cli.stored() == ["before"]


# ---- endings -------------------------------------------------------------------------------------


def test_a_reader_that_has_gone_ends_the_command_without_a_word(cli: "Cli") -> None:
    """As in ``| head -0``, which may go before the command writes, or after it."""
    cli.ok(*APPEND, "hi")
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        ended = subprocess.run(
            cli.command(*READ, "--json"), cwd=cli.root, stdout=gone, stderr=-1, check=False
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize("close", [">&-", "2>&-", "<&-"])
def test_closed_streams_are_no_errors(cli: "Cli", close: str) -> None:
    cli.ok(*APPEND, "hi")
    words = " ".join([sys.executable, "-m", "recollect", *READ, "--json"])
    ended = subprocess.run(
        ["bash", "-c", f"{words} {close}"],
        cwd=cli.root,
        capture_output=True,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_ctrl_c_during_a_model_call_keeps_the_run(
    project: "ProjectFolder", cli: "Cli", fake_openai: "FakeOpenAI"
) -> None:
    project.write(
        "wf.yaml",
        """
        tasks:
          - {id: a, type: memory, operation: append, memory_ref: talk, key_template: k, payload: one}
          - {id: b, prompt: hi, model: "openai:gpt-4o"}
          - {id: c, type: memory, operation: append, memory_ref: talk, key_template: k, payload: two}
        """,
    )
    asked = threading.Event()
    fake_openai.fail(silent=True)
    fake_openai._on_request = lambda request: asked.set()
    env = {**os.environ, "OPENAI_API_KEY": "x", "OPENAI_BASE_URL": fake_openai.base_url}
    with cli.start("run", "wf.yaml", "--json", env=env) as process:
        wait_until_asked(asked, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(out)["error"]["code"] == "INTERRUPTED"
    message = "recollect: interrupted. A run that was going on is kept: `recollect runs resume` "
    assert err.decode() == f"{message}finishes it\n"
    assert cli.stored() == ["one"]
    resumed = cli.ok("runs", "resume", "--mock-model", "--json").json()["resumed"]
    assert [run["status"] for run in resumed] == ["completed"]
    assert cli.stored() == ["one", "two"]


def test_ctrl_c_while_waiting_for_a_payload_stores_nothing(cli: "Cli") -> None:
    pipe = cli.root / "payload"
    os.mkfifo(pipe)
    with (
        cli.start(*APPEND, "--payload-file", "payload") as process,
        pipe.open("wb"),  # waits until the command reads
    ):
        out, err = after_ctrl_c(process)
    assert (process.returncode, out, err) == (130, b"", b"recollect: interrupted\n")
    assert cli.stored() == []


def after_ctrl_c(process: "subprocess.Popen[bytes]") -> tuple[bytes, bytes]:
    """Press Ctrl-C, and again if nothing happens; return what the process has printed.

    Python does not see a signal that comes between its last look and the call that waits for input.
    """
    for _ in range(5):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=15)
    pytest.fail("Ctrl-C did not end it")
