"""Every YAML block of the seeds that is a whole file, as written (specs/workflows.md section 2.10)."""

import base64
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from recollect.agents.reference import MemoryReference
from recollect.errors import ConfigError
from recollect.project.app import open_app
from recollect.project.users import add_workflow_file
from tests.files import all_bytes

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder
    from tests.fake_openai import FakeOpenAI

BLOCKS = Path(__file__).parents[1] / "unit" / "project" / "seed_blocks"


def block(name: str) -> Path:
    (found,) = BLOCKS.glob(name)
    return found


def use(project: "ProjectFolder", name: str, target: str) -> Path:
    path = project.root / target
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(block(name), path)
    return path


def encodings(text: str) -> list[bytes]:
    """The ways a text may hide in a file: raw, JSON-escaped, UTF-16, and base64 at each offset."""
    escaped = "".join(f"\\u{ord(c):04x}" for c in text)
    forms = [text.encode(), json.dumps(text)[1:-1].replace("@", "\\u0040").encode()]
    forms += [escaped.encode(), text.encode("utf-16-le"), text.encode().hex().encode()]
    for shift in range(3):
        whole = base64.b64encode(b"x" * shift + text.encode())
        forms.append(whole[4 if shift else 0 : -4])
    return forms


async def run(project: "ProjectFolder", file: Path, input_: dict[str, Any], **env: str) -> Any:
    loaded = project.load(env)
    workflow = add_workflow_file(loaded, file).workflow
    async with open_app(loaded, mock_model=not env) as app:
        return await app.run(workflow, input_, on_found=lambda run_id: None)


async def test_the_complete_example_remembers_and_hides_the_address(
    project: "ProjectFolder", fake_openai: "FakeOpenAI"
) -> None:
    """Seed 000, workflow and resource verbatim, twice, against an OpenAI-compatible server.

    Rows 22, 23 and 24 of specs/memory.md section 13.
    """
    use(project, "000_*resource*.yaml", "memory/conversation.yaml")
    workflow = use(project, "000_10*.yaml", "chatbot.yaml")
    env = {"OPENAI_BASE_URL": fake_openai.base_url, "OPENAI_API_KEY": "test"}
    address = "jane.doe.unique@example.com"
    input_ = {"user_id": "u1", "session_id": "s1"}
    fake_openai.reply(f"Nice to meet you, {address}", "You are Jane")
    first = await run(project, workflow, {**input_, "user_message": f"I am Jane, {address}"}, **env)
    second = await run(project, workflow, {**input_, "user_message": "Who am I?"}, **env)
    assert (first.status, second.status) == ("completed", "completed")
    sent = fake_openai.requests[1]["messages"]
    assert [message["role"] for message in sent] == ["system", "assistant", "user"]
    assert "I am Jane" in sent[1]["content"]
    assert "Nice to meet you" in sent[1]["content"]
    assert [m["role"] for m in fake_openai.requests[0]["messages"]] == ["system", "user"]
    async with open_app(project.load()) as app:
        read = await app.memory("read", "conversation_memory", "conv:u1:s1")
    assert [m["role"] for m in read["messages"]] == ["user", "assistant", "user", "assistant"]
    assert read["messages"][0]["content"] == "I am Jane, [REDACTED]"
    stored = all_bytes(project.root / ".recollect")
    assert b"I am Jane" in stored
    for form in encodings(address):
        assert form not in stored


@pytest.mark.parametrize("seed", ["000_0*", "002_0*"])
async def test_the_first_snippet_runs(project: "ProjectFolder", seed: str) -> None:
    """Rows 1, 2 and 42 of specs/memory.md section 13."""
    use(project, "000_*resource*.yaml", "memory/conversation.yaml")
    file = use(project, f"{seed}.yaml", "write.yaml")
    result = await run(
        project, file, {"user_id": "user123", "session_id": "sess456", "user_message": "Hello"}
    )
    output = result.output
    assert (output["success"], output["operation"]) == (True, "write")
    assert output["key"] == "conv:user123:sess456"
    assert output["message_count"] == 1


@pytest.mark.parametrize(
    ("number", "memory", "input_", "key", "content"),
    [
        (
            1,
            "user_session",
            {"name": "Ada", "email": "a@b.c", "preferences": {"b": [1], "a": "x"}},
            "user:u1:profile",
            'User Profile:\nName: Ada\nEmail: a@b.c\nPreferences: {"a":"x","b":[1]}\nCreated: ',
        ),
        (
            2,
            "conversation_memory",
            {"session_id": "s1", "message_id": "m1", "message": "Hi"},
            "conversation:s1:m1",
            "Hi",
        ),
        (3, "user_sessions", {"session_id": "s1"}, "session:u1:s1:", "Session started"),
    ],
)
@pytest.mark.parametrize("form", ["intended", "repaired"])
async def test_the_snippets_of_seed_001_run_in_their_intended_form(
    project: "ProjectFolder",
    number: int,
    memory: str,
    input_: dict[str, Any],
    key: str,
    content: str,
    form: str,
) -> None:
    """Rows 30, 31, 33 and 34 of specs/memory.md section 13."""
    from recollect.project.repair import fix_file

    project.write("memory/m.yaml", f"resource: memory\nid: {memory}\n")
    if form == "intended":
        (intended,) = (b for b in BLOCKS.glob(f"001_{number}_*.yaml") if ".flat" not in b.name)
        file = project.root / "task.yaml"
        shutil.copy(intended, file)
    else:
        file = use(project, f"001_{number}_*.flat.yaml", "task.yaml")
        with pytest.raises(ConfigError, match="recollect fmt --fix"):
            add_workflow_file(project.load(), file)
        assert fix_file(file)
    result = await run(project, file, {"user_id": "u1", **input_})
    assert result.status == "completed"
    assert result.output["key"].startswith(key)
    async with open_app(project.load()) as app:
        read = await app.memory("read", memory, result.output["key"])
    (message,) = read["messages"]
    assert message["content"].startswith(content)
    if number == 2:
        assert message["metadata"] == {"user_id": "u1", "session_id": "s1"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", message["timestamp"])
    if number == 3:
        assert re.fullmatch(r"session:u1:s1:\d{4}-\d\d-\d\d", result.output["key"])


def test_the_project_file_of_seed_002_is_a_whole_project(project: "ProjectFolder") -> None:
    (project.root / "recollect.yaml").unlink()
    use(project, "002_11*.yaml", "compozy.yaml")
    loaded = project.load()
    assert [resource.id for resource in loaded.registry.resources] == ["talk"]
    assert loaded.name == "project"


def test_the_resource_stub_of_seed_002_has_defaults(project: "ProjectFolder") -> None:
    use(project, "002_12*.yaml", "memory/stub.yaml")
    ids = [resource.id for resource in project.load().registry.resources]
    assert ids == ["conversation_memory", "talk"]


async def test_the_migration_block_of_seed_002_loads_with_its_second_half(
    project: "ProjectFolder",
) -> None:
    """It has no payload: loading notes it, running says so."""
    resource = "resource: memory\nid: conversation_memory\nkey: 'c:{{.user_id}}'\n"
    project.write("memory/c.yaml", resource)
    file = use(project, "002_13*.yaml", "migration.yaml")
    loaded = project.load()
    workflow = add_workflow_file(loaded, file).workflow
    assert [task.id for task in workflow.tasks] == ["save_state"]
    assert any("payload" in note for note in loaded.notes)
    assert any("'tasks'" in note for note in loaded.notes)
    result = await run(project, file, {"user_id": "u1"})
    assert result.status == "failed"
    assert "payload is required for write" in result.error["message"]


@pytest.mark.parametrize(
    ("seed", "references"),
    [
        ("003_0*", [("customer-support-context", "read-write", "support-")]),
        (
            "003_1*",
            [
                ("customer-support-context", "read-write", "support-"),
                ("user-preferences", "read-write", "support-"),
            ],
        ),
        (
            "003_2*",
            [
                ("customer-support-context", "read-write", "support-"),
                ("user-preferences", "read-only", "prefs-"),
            ],
        ),
    ],
)
async def test_the_agents_of_seed_003_load_and_their_references_resolve(
    project: "ProjectFolder", seed: str, references: list[tuple[str, str, str]]
) -> None:
    for id_ in ("customer-support-context", "user-preferences"):
        project.write(f"memory/{id_}.yaml", f"resource: memory\nid: {id_}\n")
    file = use(project, f"{seed}.yaml", "agents.yaml")
    loaded = project.load()
    (agent,) = add_workflow_file(loaded, file).workflow.agents
    found: tuple[MemoryReference, ...] = agent.references()
    for reference, (id_, mode, prefix) in zip(found, references, strict=True):
        assert (reference.id, reference.mode) == (id_, mode)
        assert reference.key is not None
        assert reference.key.startswith(prefix)


def test_an_agent_with_an_unknown_memory_is_refused(project: "ProjectFolder") -> None:
    file = use(project, "003_0*.yaml", "agents.yaml")
    with pytest.raises(ConfigError, match="Memory resource not found: 'customer-support-context'"):
        add_workflow_file(project.load(), file)
