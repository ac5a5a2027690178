"""A loaded workflow: its tasks by type, and which follows which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile, islice
from typing import Any

from recollect.agents.reference import Agent
from recollect.workflows.definition import RetryPolicy, WorkflowConfig, WorkflowFile, task_type
from recollect.workflows.tasks import TASK_TYPES, TaskType


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow whose every part was checked.

    Attributes:
        is_graph: transitions decide what follows; otherwise the order of the list.
    """

    id: str
    name: str
    version: str
    description: str
    config: WorkflowConfig
    tasks: tuple[TaskType, ...]
    agents: tuple[Agent, ...]
    outputs: Mapping[str, Any] | None

    @property
    def is_graph(self) -> bool:
        """Whether transitions decide what follows."""
        if self.config.flow is not None:
            return self.config.flow == "graph"
        return any(
            task.on_success.next or (task.on_error and task.on_error.next) for task in self.tasks
        )

    @property
    def first(self) -> TaskType | None:
        """The task a run begins with."""
        return self.tasks[0] if self.tasks else None

    def task(self, id_: str) -> TaskType | None:
        """Return a task by id; None for a transition that leads out of the workflow."""
        return next((task for task in self.tasks if task.id == id_), None)

    def after(self, task: TaskType) -> TaskType | None:
        """Return what follows a success; None ends the run."""
        if task.final:
            return None
        if self.is_graph:
            return self.task(task.on_success.next) if task.on_success.next else None
        following = dropwhile(lambda other: other is not task, self.tasks)
        return next(islice(following, 1, None), None)

    def retry_policy(self, task: TaskType) -> RetryPolicy:
        """Return the policy of a task: its own, else the workflow's, else the default."""
        if task.retries is None and task.config.retry_policy is None and self.config.retry_policy:
            return self.config.retry_policy
        return task.retry_policy

    def to_json(self) -> dict[str, Any]:
        """Return all that a run needs, so that it ends with the definition it began with."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "config": self.config.model_dump(mode="json", by_alias=True, exclude_unset=True),
            "tasks": [
                task.model_dump(mode="json", by_alias=True, exclude_unset=True)
                | {"type": task_type(task.model_dump())}
                for task in self.tasks
            ],
            "outputs": self.outputs,
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Workflow":
        """Read back what ``to_json`` wrote."""
        return Workflow(
            id=data["id"],
            name=data["name"],
            version=data["version"],
            description=data["description"],
            config=WorkflowConfig.model_validate(data["config"]),
            tasks=tuple(TASK_TYPES[task["type"]].model_validate(task) for task in data["tasks"]),
            agents=(),
            outputs=data["outputs"],
        )


def make_workflow(file: WorkflowFile, *, id_: str, tasks: Sequence[TaskType]) -> Workflow:
    """Put a checked file and its checked tasks together."""
    return Workflow(
        id=id_,
        name=file.name or id_,
        version=file.version,
        description=file.description,
        config=file.config,
        tasks=tuple(tasks),
        agents=tuple(file.agents),
        outputs=file.outputs,
    )
