"""What a workflow file says, checked. One model per task type is in ``tasks``.

Fields of the original that are not ours, or not ours yet, are refused by name.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, field_serializer, field_validator, model_validator

from recollect.agents.reference import Agent
from recollect.durations import parse_duration
from recollect.errors import closest
from recollect.memory.sections import LATER, Duration, Id, Section, Version

TASK_TYPES_LATER = ("router", "parallel", "collection", "composite", "aggregate", "signal", "wait")
MAX_TASK_EXECUTIONS = 10_000


class RetryPolicy(Section):
    """How often, and after which pauses, a task that failed for a passing reason is tried again."""

    initial_interval: Duration = timedelta(seconds=1)
    backoff_coefficient: float = Field(2.0, ge=1)
    maximum_interval: Duration = timedelta(minutes=1)
    maximum_attempts: int = Field(3, ge=1, le=100)

    @field_serializer("initial_interval", "maximum_interval")
    def _seconds(self, value: timedelta) -> float:
        return value.total_seconds()


class TaskConfig(Section):
    """Settings of one task."""

    refused = {
        "start_to_close_timeout": "is called timeout, beside config",
        "schedule_to_start_timeout": "is not needed: tasks start at once",
        "schedule_to_close_timeout": "is called timeout, beside config",
        "heartbeat_timeout": "is not needed: tasks run in this process",
        "on_error": "belongs beside config",
    }

    retry_policy: RetryPolicy | None = None


class OnSuccess(Section):
    """Where to go after a success; ``with`` is merged into the next task's ``with``."""

    next: str | None = None
    with_: dict[str, Any] = Field(default={}, alias="with")


class OnError(Section):
    """Where to go after the last attempt failed; ``continue`` takes ``default_output`` as success."""

    next: str | None = None
    with_: dict[str, Any] = Field(default={}, alias="with")
    continue_: bool = Field(default=False, alias="continue")
    default_output: Any = None

    @model_validator(mode="after")
    def _one_way(self) -> "OnError":
        if self.next and self.continue_:
            raise ValueError("next and continue exclude each other: keep one")
        if self.default_output is not None and not self.continue_:
            raise ValueError("default_output needs continue: true")
        return self


class Task(Section):
    """What every task has, whatever its type.

    Attributes:
        with_: values for this task's templates, as ``.with.x`` and ``.input.x``.
        output: name under which later templates find the output, as ``.name``.
        outputs: replaces the output; its templates see the raw one as ``.output``.
        condition: a template, or CEL without braces; false skips the task.
        sleep: how long to wait before the task, unless it is the first.
        timeout: how long one execution may take, all attempts together.
        retries: further attempts after the first, for failures that may pass.
        final: the run ends after this task.
    """

    refused = {
        "input": f"(a schema) {LATER}",
        "tool": LATER,
        "tools": LATER,
        "attachments": LATER,
        "knowledge": "is not supported",
    }

    id: Id
    description: str = ""
    with_: dict[str, Any] = Field(default={}, alias="with")
    output: str | None = None
    outputs: Any = None
    on_success: OnSuccess = OnSuccess()
    on_error: OnError | None = None
    condition: str | None = None
    sleep: str | int | float | None = None
    timeout: Duration | None = None
    retries: int | None = Field(None, ge=0, le=99)
    final: bool = False
    env: dict[str, str] = {}
    config: TaskConfig = TaskConfig()

    @field_validator("output", mode="before")
    @classmethod
    def _is_a_name(cls, value: object) -> object:
        if isinstance(value, Mapping):
            raise ValueError(f"an output schema {LATER}: give a name")
        if isinstance(value, str) and not value.isidentifier():
            raise ValueError(
                f"{value[:40]!r} is no name: use letters, digits and _, or outputs for templates"
            )
        return value

    @field_validator("sleep")
    @classmethod
    def _is_a_duration(cls, value: str | int | float | None) -> str | int | float | None:
        if value is not None and not (isinstance(value, str) and "{{" in value):
            parse_duration(value)
        return value

    @field_serializer("timeout")
    def _seconds(self, value: timedelta | None) -> float | None:
        return value.total_seconds() if value else None

    @property
    def retry_policy(self) -> RetryPolicy:
        """The policy in force: ``retries`` beats ``config.retry_policy``."""
        policy = self.config.retry_policy or RetryPolicy()
        if self.retries is None:
            return policy
        return policy.model_copy(update={"maximum_attempts": self.retries + 1})


class WorkflowConfig(Section):
    """Settings of a workflow.

    Attributes:
        flow: ``list`` runs the tasks in order, ``graph`` follows the transitions; without it a
            workflow in which any task names a ``next`` is a graph.
        max_task_executions: a run that loops is ended after so many.
    """

    refused = {
        "input": f"(a schema) {LATER}",
        "on_error": f"on workflows {LATER}: give tasks an on_error",
        "start_to_close_timeout": LATER,
        "schedule_to_start_timeout": LATER,
        "schedule_to_close_timeout": LATER,
        "heartbeat_timeout": LATER,
    }

    flow: Literal["list", "graph"] | None = None
    env: dict[str, str] = {}
    retry_policy: RetryPolicy | None = None
    max_task_executions: int = Field(MAX_TASK_EXECUTIONS, ge=1, le=1_000_000)


class WorkflowFile(Section):
    """A workflow file before its tasks are known by type; ``tasks`` are checked one by one."""

    refused = dict.fromkeys(
        ("tools", "mcps", "schemas", "triggers", "schedule", "resources"), LATER
    ) | dict.fromkeys(("knowledge", "knowledge_bases"), "is not supported")

    resource: Literal["workflow"] = "workflow"
    id: Id | None = None
    name: str | None = None
    version: Version = ""
    description: str = ""
    author: dict[str, Any] | str | None = None
    config: WorkflowConfig = WorkflowConfig()
    tasks: list[dict[str, Any]] = []
    agents: list[Agent] = []
    outputs: dict[str, Any] | None = None


def task_type(raw: Mapping[str, Any]) -> str:
    """Return the type a task is meant to have: named, or recognised by its fields.

    Raises:
        ValueError: the type is unknown, or comes later.
    """
    named = raw.get("type") or raw.get("task")
    if named is None:
        return "memory" if "operation" in raw and "memory_ref" in raw else "basic"
    if named in ("memory", "basic"):
        return str(named)
    if named in TASK_TYPES_LATER:
        raise ValueError(f"the task type {named!r} {LATER}; this one has memory and basic")
    known = ("memory", "basic", *TASK_TYPES_LATER)
    raise ValueError(
        f"unsupported task type: {str(named)[:40]!r}. It must be one of {', '.join(known)}."
        + closest(str(named), known)
    )
