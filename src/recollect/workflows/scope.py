"""What a template of a task can see.

Two dialects in one scope: ``.workflow.input.user_id`` and ``.tasks.read.output.count``, and flat names
(``.user_id``, ``.conversation_history``). Lowest first: ``timestamp``, the input, aliases of outputs;
the reserved roots win over all of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

RESERVED = (
    "workflow", "tasks", "task", "env", "input", "with", "output", "error", "project",
    "agents", "tools", "trigger",
)  # fmt: skip


class Transcript(dict[str, Any]):
    """The output of a memory read; as text one ``role: content`` line per message."""

    def __str__(self) -> str:
        return "\n".join(f"{m.get('role')}: {content_text(m)}" for m in self.get("messages", ()))


class Answer(dict[str, Any]):
    """The output of a model; as text its content."""

    def __str__(self) -> str:
        return str(self.get("content", ""))


def content_text(message: Mapping[str, Any]) -> str:
    """Return the content of a message in JSON form as text; of typed parts, the text ones."""
    content = message.get("content", "")
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part.get("text"))


def speaking(output: Any) -> Any:
    """Give a recorded output back the text form it had: recognised by its shape."""
    if not isinstance(output, Mapping):
        return output
    if output.get("operation") == "read" and "messages" in output:
        return Transcript(output)
    if "content" in output and output.get("role") == "assistant":
        return Answer(output)
    return output


@dataclass(slots=True, kw_only=True)
class Progress:
    """A run between two tasks; everything in it is JSON and comes from recorded steps.

    Attributes:
        tasks: id -> {status, output, error} of the last execution.
        aliases: name -> output, from ``output:``.
        visits: id -> how often it was executed.
    """

    run_id: str
    workflow: Mapping[str, Any]
    project: Mapping[str, Any]
    input: Mapping[str, Any]
    tasks: dict[str, dict[str, Any]] = field(default_factory=dict)
    aliases: dict[str, Any] = field(default_factory=dict)
    visits: dict[str, int] = field(default_factory=dict)
    executions: int = 0


def base_scope(progress: Progress, env: Mapping[str, str], now: datetime) -> dict[str, Any]:
    """Return the scope of the whole run at this point, without any task's own values."""
    tasks = {
        id_: {**record, "output": speaking(record.get("output"))}
        for id_, record in progress.tasks.items()
    }
    return {
        "timestamp": now.isoformat().replace("+00:00", "Z"),
        **progress.input,
        **{name: speaking(output) for name, output in progress.aliases.items()},
        "workflow": {
            **progress.workflow,
            "exec_id": progress.run_id,
            "input": progress.input,
            "status": "running",
        },
        "tasks": tasks,
        "env": dict(env),
        "project": dict(progress.project),
        "input": dict(progress.input),
        "with": {},
        "agents": {},
        "tools": {},
        "trigger": {},
    }


def task_scope(
    base: Mapping[str, Any],
    *,
    task: Mapping[str, Any],
    with_: Mapping[str, Any],
    error: Mapping[str, Any] | None,
    env: Mapping[str, str],
) -> dict[str, Any]:
    """Add a task's own values: ``.with``, ``.input`` (with falling back to the input), ``.error``."""
    scope = {
        **base,
        "task": dict(task),
        "with": dict(with_),
        "input": {**base["input"], **with_},
        "env": {**base["env"], **env},
    }
    if error is not None:
        scope["error"] = dict(error)
    return scope
