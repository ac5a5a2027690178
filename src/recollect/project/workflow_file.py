"""From a YAML document to a workflow: whole files, files with only tasks or agents, single tasks."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from recollect.errors import ConfigError, TemplateError, closest
from recollect.memory.registry import Registry
from recollect.project.validation import field_name, validate
from recollect.project.yaml_document import Document
from recollect.templates import is_template, parse
from recollect.workflows import conditions
from recollect.workflows.definition import WorkflowFile, task_type
from recollect.workflows.scope import RESERVED
from recollect.workflows.tasks import TASK_TYPES, TaskType
from recollect.workflows.workflow import Workflow, make_workflow

Path_ = tuple[str | int, ...]
_TASK_MARKS = ("operation", "memory_ref", "messages", "prompt")


def load_workflow(document: Document) -> Workflow:
    """Check a document and return its workflow; memories it names are checked by ``check_workflow``.

    The id is ``id``, else ``name`` as an id, else the file's name.

    Raises:
        ConfigError: it is no workflow; the text names file and line.
    """
    value = document.value
    if not isinstance(value, dict):
        raise ConfigError(
            "a workflow file is a mapping with tasks: [{id, type, ...}]",
            file=document.file,
            line=document.line_of(()),
        )
    kind = value.get("resource")
    if kind not in (None, "workflow"):
        raise ConfigError(
            f"the file defines a resource {str(kind)[:40]!r}, not a workflow: name a file with tasks",
            file=document.file,
            line=document.line_of(("resource",)),
        )
    if "tasks" not in value and any(mark in value for mark in _TASK_MARKS):
        return _single_task(document, value)
    if "tasks" not in value and "agents" not in value:
        raise ConfigError(
            "the file has no tasks: a workflow needs tasks: [{id, type, ...}]", file=document.file
        )
    file = validate(WorkflowFile, document)
    if not file.tasks and not file.agents:
        raise ConfigError(
            "tasks is empty: a workflow needs tasks: [{id, type, ...}]",
            file=document.file,
            line=document.line_of(("tasks",)),
        )
    tasks = [_task(document, ("tasks", i), raw) for i, raw in enumerate(file.tasks)]
    _refuse_doubles(document, tasks)
    return make_workflow(file, id_=file.id or _slug(file.name) or _stem(document), tasks=tasks)


def _single_task(document: Document, value: Mapping[str, Any]) -> Workflow:
    task = _task(document, (), value)
    return make_workflow(WorkflowFile(), id_=_stem(document), tasks=[task])


def _task(document: Document, path: Path_, raw: Mapping[str, Any]) -> TaskType:
    try:
        kind = task_type(raw)
    except ValueError as error:
        line = document.line_of((*path, "type")) or document.line_of((*path, "task"))
        raise ConfigError(str(error), file=document.file, line=line, field="type") from None
    if "task" in raw or raw.get("type") is None:
        _name_type(document, path, kind)
    return validate(TASK_TYPES[kind], document, at=path)


def _name_type(document: Document, path: Path_, kind: str) -> None:
    """``task: memory`` is an old way to say ``type: memory``; a missing type was recognised."""
    task: Any = document.value
    for step in path:
        task = task[step]
    task.pop("task", None)
    task["type"] = kind


def _refuse_doubles(document: Document, tasks: list[TaskType]) -> None:
    seen: dict[str, int] = {}
    for position, task in enumerate(tasks):
        if task.id in seen:
            raise ConfigError(
                f"the task id {task.id!r} is used twice: tasks[{seen[task.id]}] has it already",
                file=document.file,
                line=document.line_of(("tasks", position, "id")),
            )
        seen[task.id] = position


def _slug(name: str | None) -> str | None:
    if not name:
        return None
    slug = "".join(c if (c.isalnum() and c.isascii()) or c in "_-." else "-" for c in name.strip())
    return slug.strip("-.")[:100] or None


def _stem(document: Document) -> str:
    return _slug(Path(document.file).name.split(".")[0]) or "workflow"


# ---- checks that need the whole project ----------------------------------------------------------


def check_workflow(
    workflow: Workflow, document: Document, registry: Registry, notes: list[str]
) -> None:
    """Check what a workflow refers to; adds to ``notes`` what is legal but will surprise.

    Raises:
        ConfigError: a memory, template or transition is wrong; the text names file and line.
    """
    single = not isinstance(document.value, dict) or "tasks" not in document.value
    ids = [task.id for task in workflow.tasks]
    for position, task in enumerate(workflow.tasks):
        path: Path_ = () if single else ("tasks", position)
        _check_templates(document, path, task)
        _check_references(document, path, task, registry)
        notes.extend(f"{_at(document, path)}: task {task.id!r} {note}" for note in task.notes())
        notes.extend(_dangling(document, path, task, ids))
        if task.output in RESERVED:
            raise ConfigError(
                f"task {task.id!r}: output: {task.output} is a reserved name: choose another",
                file=document.file,
                line=document.line_of((*path, "output")),
            )
    if workflow.outputs is not None:
        _check_texts(document, ("outputs",), workflow.outputs)
    notes.extend(_unreached(document, workflow))


def _check_templates(document: Document, path: Path_, task: TaskType) -> None:
    raw: Any = document.value
    for step in path:
        raw = raw[step]
    _check_texts(document, path, raw)
    if task.condition is not None:
        _located(document, (*path, "condition"), lambda: conditions.check(str(task.condition)))


def _check_texts(document: Document, path: Path_, value: Any) -> None:
    for place, text in _texts(value, path):
        if is_template(text):
            _located(document, place, lambda text=text: parse(text))


def _texts(value: Any, path: Path_) -> Iterator[tuple[Path_, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _texts(item, (*path, name))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _texts(item, (*path, position))


def _located(document: Document, path: Path_, check: Any) -> None:
    try:
        check()
    except TemplateError as error:
        field = field_name(path)
        raise ConfigError(
            f"{field}: {error}", file=document.file, line=document.line_of(path), field=field
        ) from None


def _check_references(document: Document, path: Path_, task: TaskType, registry: Registry) -> None:
    for reference in task.references():
        line = document.line_of((*path, reference.field))
        resource = registry.get(
            reference.memory_ref,
            used_by=f"task {task.id!r}",
            file=Path(document.file),
            line=line,
        )
        if reference.needs_key and resource.key is None:
            raise ConfigError(
                f"task {task.id!r} has no key_template, and memory {resource.id!r} has no key: "
                "add one of them",
                file=document.file,
                line=line,
            )


def _dangling(document: Document, path: Path_, task: TaskType, ids: Sequence[str]) -> Iterator[str]:
    for field, target in (
        ("on_success", task.on_success.next),
        ("on_error", task.on_error.next if task.on_error else None),
    ):
        if target is not None and target not in ids:
            where = _at(document, (*path, field, "next"))
            yield (
                f"{where}: task {task.id!r}: {field}.next names {target!r}, which is no task of this "
                f"workflow: the run ends there.{closest(target, ids)}"
            )


def _unreached(document: Document, workflow: Workflow) -> Iterator[str]:
    """In graph mode a task that no transition reaches never runs: the commonest surprise."""
    if not workflow.is_graph or not workflow.tasks:
        return
    reached, waiting = set(), [workflow.tasks[0].id]
    by_id = {task.id: task for task in workflow.tasks}
    while waiting:
        task = by_id.get(waiting.pop())
        if task is None or task.id in reached:
            continue
        reached.add(task.id)
        nexts = (task.on_success.next, task.on_error.next if task.on_error else None)
        waiting.extend(target for target in nexts if target)
    never = [task.id for task in workflow.tasks if task.id not in reached]
    if never:
        yield (
            f"{document.file}: tasks no transition leads to, so they never run: {', '.join(never)}"
        )


def _at(document: Document, path: Path_) -> str:
    return f"{document.file}:{document.line_of(path)}"
