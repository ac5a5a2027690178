"""Loads what uses memories: workflows and agents, and checks them against the project."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from recollect.agents.reference import Agent
from recollect.errors import ConfigError
from recollect.memory.resource import Resource
from recollect.project.loading import Project, check_inside, load_memories, read_yaml, resource_kind
from recollect.project.validation import validate
from recollect.project.workflow_file import check_workflow, load_workflow
from recollect.project.yaml_document import Document
from recollect.workflows.workflow import Workflow


class LoadedWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow and its file."""

    workflow: Workflow
    document: Document


class LoadedAgent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent and its place."""

    agent: Agent
    document: Document
    path: tuple[str | int, ...]


def load_project(root: Path, env: Mapping[str, str] | None = None) -> Project:
    """Load the project in ``root`` with everything it refers to.

    Raises:
        ConfigError: a file is wrong; the text names file and line.
    """
    project = load_memories(root, env)
    _load_agents_of_project(project)
    for position, source in enumerate(project.settings.workflows):
        _load_workflow(project, _listed(project, source.source, position))
    for document in project.users:
        if resource_kind(document) == "agent":
            _load_agent(project, document, ())
        elif not _is_loaded(project, document):
            _load_workflow(project, document)
    _load_conventional(project)
    for loaded in project.workflows.values():
        check_workflow(loaded.workflow, loaded.document, project.registry, project.notes)
    _check_agents(project)
    return project


def add_workflow_file(project: Project, file: Path) -> LoadedWorkflow:
    """Load one more workflow file into a project, as ``recollect run FILE`` does; checks it too."""
    for loaded in project.workflows.values():
        if Path(loaded.document.file).resolve() == file.resolve():
            return loaded
    document = read_yaml(file)
    loaded = _load_workflow(project, document)
    check_workflow(loaded.workflow, document, project.registry, project.notes)
    _check_agents(project)
    return loaded


def check_file(project: Project, file: Path) -> None:
    """Check one file of any kind as a part of the project, whether or not it belongs to it.

    Raises:
        ConfigError: and names file and line.
    """
    document = read_yaml(file)
    match resource_kind(document):
        case "memory":
            validate(Resource, document)
        case "agent":
            if not any(
                Path(a.document.file).resolve() == file.resolve() for a in project.agents.values()
            ):
                _load_agent(project, document, ())
                _check_agents(project)
        case _:
            add_workflow_file(project, file)


def _load_agents_of_project(project: Project) -> None:
    if project.document is not None:
        for position in range(len(project.settings.agents)):
            _load_agent(project, project.document, ("agents", position))


def _is_loaded(project: Project, document: Document) -> bool:
    """The same file may be both listed and autoloaded."""
    file = Path(document.file).resolve()
    return any(
        Path(loaded.document.file).resolve() == file for loaded in project.workflows.values()
    )


def _listed(project: Project, source: str, position: int) -> Document:
    file = project.root / source
    inside = file.resolve().is_relative_to(project.root.resolve())
    if not inside or not file.is_file():
        place = ("workflows", position, "source")
        raise ConfigError(
            f"workflows[{position}]: there is no file {source!r} in the project folder"
            + ("" if inside else ", which it leaves: copy the file into it"),
            file=project.file,
            line=project.document.line_of(place) if project.document else None,
        )
    return read_yaml(file)


def _load_conventional(project: Project) -> None:
    """Without any workflow named, take ``workflows/*.yaml`` and ``workflow.yaml``."""
    if project.workflows:
        return
    for file in sorted(
        [*project.root.glob("workflows/*.y*ml"), *project.root.glob("workflow.y*ml")]
    ):
        check_inside(project.root, file)
        _load_workflow(project, read_yaml(file))


def _load_workflow(project: Project, document: Document) -> LoadedWorkflow:
    workflow = load_workflow(document)
    project.notes.extend(document.warnings)
    loaded = LoadedWorkflow(workflow=workflow, document=document)
    other = project.workflows.setdefault(workflow.id, loaded)
    if other is not loaded:
        raise ConfigError(
            f"DUPLICATE_CONFIG: workflow {workflow.id!r} is already defined in "
            f"{other.document.file}: give one of them another id",
            file=document.file,
            line=document.line_of(("id",)),
        )
    for position in range(len(workflow.agents)):
        _load_agent(project, document, ("agents", position))
    return loaded


def _load_agent(project: Project, document: Document, path: tuple[str | int, ...]) -> None:
    agent = validate(Agent, document, at=path)
    loaded = LoadedAgent(agent=agent, document=document, path=path)
    other = project.agents.setdefault(agent.id, loaded)
    if other is not loaded:
        raise ConfigError(
            f"DUPLICATE_CONFIG: agent {agent.id!r} is already defined in {other.document.file}: "
            "rename one",
            file=document.file,
            line=document.line_of((*path, "id")),
        )


def _check_agents(project: Project) -> None:
    for loaded in project.agents.values():
        agent, document = loaded.agent, loaded.document
        line = document.line_of((*loaded.path, "memories")) or document.line_of(loaded.path)
        for reference in agent.references():
            resource = project.registry.get(
                reference.id, used_by=f"agent {agent.id!r}", file=Path(document.file), line=line
            )
            if reference.key is None and resource.key is None:
                raise ConfigError(
                    f"agent {agent.id!r} uses memory {reference.id!r} without a key: add "
                    "memory_key to the agent, or key to the resource",
                    file=document.file,
                    line=line,
                )
