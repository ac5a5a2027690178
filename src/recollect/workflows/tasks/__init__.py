"""One file per task type: its fields, how its input is rendered once, and how it is executed.

A task type is a model (a subclass of ``Task``) with three methods: ``references`` for load-time
checks, ``render`` (scope -> plain JSON, recorded before anything happens) and ``execute`` (that JSON ->
output; may be called again with the same ``once`` after a crash).
"""

from recollect.workflows.tasks.base import Reference, TaskType
from recollect.workflows.tasks.basic import BasicTask
from recollect.workflows.tasks.memory import MemoryTask

TASK_TYPES: dict[str, type[TaskType]] = {"memory": MemoryTask, "basic": BasicTask}

__all__ = ["TASK_TYPES", "BasicTask", "MemoryTask", "Reference", "TaskType"]
