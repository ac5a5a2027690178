"""Finds and checks all files of a project; nothing is started and nothing is written."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from dotenv import dotenv_values

from recollect.agents.reference import Agent
from recollect.errors import ConfigError, closest
from recollect.memory.registry import Defined, Registry
from recollect.memory.resource import Resource
from recollect.project.definition import FILE_NAMES, ModelEntry, ProjectFile
from recollect.project.repair import flattened_error, is_flattened
from recollect.project.workflow_file import check_workflow, load_workflow
from recollect.project.yaml_file import Document, parse, read_text, validate
from recollect.workflows.workflow import Workflow

DATA_FOLDER = ".recollect"
DEFAULT_STORE = f"sqlite:///{DATA_FOLDER}/store.sqlite"
_EDITOR_FILES = (".#*", "*~", "*.bak", "*.swp", "*.tmp", "._*")
_OTHER_RESOURCES = frozenset(
    {"task", "tool", "mcp", "project", "schema", "model", "knowledge_base", "embedder", "vector_db"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedWorkflow:
    """A workflow and its file."""

    workflow: Workflow
    document: Document


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedAgent:
    """An agent and its place."""

    agent: Agent
    document: Document
    path: tuple[str | int, ...]


@dataclass(slots=True, kw_only=True)
class Project:
    """A checked project.

    Attributes:
        file: the project file; None for a folder without one.
        notes: what is legal but will surprise; each begins with its file.
    """

    root: Path
    file: Path | None
    settings: ProjectFile
    store_url: str
    env: Mapping[str, str]
    registry: Registry = field(default_factory=lambda: Registry({}, declared=False))
    workflows: dict[str, LoadedWorkflow] = field(default_factory=dict)
    agents: dict[str, LoadedAgent] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The name to show."""
        return self.settings.name or self.root.name

    @property
    def data_folder(self) -> Path:
        """Where the project's data live."""
        return self.root / DATA_FOLDER

    @property
    def default_model(self) -> ModelEntry | None:
        """The model of tasks that name none."""
        return next((model for model in self.settings.models if model.default), None)


def find_root(start: Path) -> Path:
    """Return the nearest folder, from ``start`` upwards, with a project file; else ``start``'s own."""
    folder = start if start.is_dir() else start.parent
    for candidate in (folder, *folder.resolve().parents):
        if any((candidate / name).is_file() for name in FILE_NAMES):
            return candidate
    return folder


def load_project(
    root: Path, env: Mapping[str, str] | None = None, *, only_memories: bool = False
) -> Project:
    """Load the project in ``root`` with everything it refers to.

    ``only_memories`` leaves workflows and agents alone: enough to look into a memory, quicker, and
    possible while a workflow is being edited.

    Raises:
        ConfigError: a file is wrong; the text names file and line.
    """
    if not root.is_dir():
        raise ConfigError(f"there is no folder {str(root)!r}: give the folder of a project")
    process_env = dict(os.environ if env is None else env)
    file, document = _project_document(root)
    settings = ProjectFile() if document is None else validate(ProjectFile, document)
    project = Project(
        root=root,
        file=file,
        settings=settings,
        store_url=process_env.get("RECOLLECT_STORE_URL") or settings.store or DEFAULT_STORE,
        env={**process_env, **_dotenv(root), **settings.env},
    )
    _Loader(project, document, only_memories=only_memories).load()
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


def read_yaml(file: Path) -> Document:
    """Read a YAML file; a de-indented snippet is answered by its repaired text."""
    text = read_text(file)
    if is_flattened(text):
        raise flattened_error(text, file=file)
    return parse(text, file=file)


def _project_document(root: Path) -> tuple[Path | None, Document | None]:
    found = [root / name for name in FILE_NAMES if (root / name).is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ConfigError(f"the folder has {names}: keep one project file", file=root)
    if not found:
        return None, None
    return found[0], read_yaml(found[0])


def _dotenv(root: Path) -> dict[str, str]:
    path = root / ".env"
    if not path.is_file():
        return {}
    try:
        values = dotenv_values(path, interpolate=False, encoding="utf-8")
    except UnicodeDecodeError:
        raise ConfigError("the file is not UTF-8: save it as UTF-8", file=path) from None
    return {name: value for name, value in values.items() if value is not None}


class _Loader:
    """Loads everything below a project file, in a fixed order, and checks it as a whole."""

    def __init__(self, project: Project, document: Document | None, *, only_memories: bool) -> None:
        self._project = project
        self._only_memories = only_memories
        self._document = document
        self._memories: dict[str, Defined] = {}

    def load(self) -> None:
        settings = self._project.settings
        if self._document is not None:
            self._project.notes.extend(self._document.warnings)
            for position in range(len(settings.memories)):
                self._memory(self._document, ("memories", position))
        users: list[Document] = []
        for file in self._autoloaded():
            self._tolerating(file, users)
        self._project.registry = Registry(
            self._memories, declared=settings.autoload.enabled or bool(settings.memories)
        )
        self._note_stores()
        if not self._only_memories:
            self._load_users(users)

    def _load_users(self, autoloaded: list[Document]) -> None:
        """Load what uses memories, now that all of them are known."""
        settings = self._project.settings
        if self._document is not None:
            for position in range(len(settings.agents)):
                _load_agent(self._project, self._document, ("agents", position))
        for position, source in enumerate(settings.workflows):
            _load_workflow(self._project, self._listed(source.source, position))
        for document in autoloaded:
            if document.value.get("resource") == "agent":  # type: ignore[union-attr]
                _load_agent(self._project, document, ())
            elif not self._is_listed(document):
                _load_workflow(self._project, document)
        self._conventional()
        for loaded in self._project.workflows.values():
            check_workflow(
                loaded.workflow, loaded.document, self._project.registry, self._project.notes
            )
        _check_agents(self._project)

    def _is_listed(self, document: Document) -> bool:
        """The same file may be both listed and autoloaded."""
        file = Path(document.file).resolve()
        return any(
            Path(loaded.document.file).resolve() == file
            for loaded in self._project.workflows.values()
        )

    def _listed(self, source: str, position: int) -> Document:
        file = self._project.root / source
        assert self._document is not None  # noqa: S101 - settings came from it
        if not file.is_file():
            raise ConfigError(
                f"workflows[{position}]: there is no file {source!r} below the project folder",
                file=self._document.file,
                line=self._document.line_of(("workflows", position, "source")),
            )
        return read_yaml(file)

    def _conventional(self) -> None:
        """Without any workflow named, take ``workflows/*.yaml`` and ``workflow.yaml``."""
        if self._project.workflows:
            return
        root = self._project.root
        for file in sorted([*root.glob("workflows/*.y*ml"), *root.glob("workflow.y*ml")]):
            _load_workflow(self._project, read_yaml(file))

    def _autoloaded(self) -> list[Path]:
        autoload = self._project.settings.autoload
        if not autoload.enabled:
            return []
        root = self._project.root
        files = set(_matching(root, autoload.include)) - set(_excluded(root, autoload.exclude))
        if self._project.file:
            files.discard(self._project.file)
        if not files:
            patterns = ", ".join(autoload.include)
            self._project.notes.append(
                f"{self._project.file}: autoload matches no file: {patterns} below {root}"
            )
        return sorted(files)

    def _tolerating(self, file: Path, users: list[Document]) -> None:
        try:
            self._autoload(file, users)
        except ConfigError as error:
            if self._project.settings.autoload.strict:
                raise
            self._project.notes.append(f"skipped (autoload.strict is false): {error}")

    def _autoload(self, file: Path, users: list[Document]) -> None:
        document = read_yaml(file)
        kind = document.value.get("resource") if isinstance(document.value, dict) else None
        self._project.notes.extend(document.warnings)
        if kind == "memory":
            self._memory(document, ())
        elif kind in {"agent", "workflow"}:
            users.append(document)
        elif kind not in _OTHER_RESOURCES:
            known = ("memory", "workflow", "agent")
            what = "has no resource field" if kind is None else f"has resource {str(kind)[:40]!r}"
            raise ConfigError(
                f"an autoloaded file {what}: it must be one of {', '.join(known)}."
                + closest(str(kind), known),
                file=file,
                line=document.line_of(("resource",)),
            )

    def _memory(self, document: Document, path: tuple[str | int, ...]) -> None:
        resource = validate(Resource, document, at=path)
        line = document.line_of((*path, "id"))
        entry = Defined(resource=resource, file=Path(document.file), line=line)
        other = self._memories.setdefault(resource.id.casefold(), entry)
        if other is not entry and other.file.resolve() != entry.file.resolve():
            raise ConfigError(
                f"DUPLICATE_CONFIG: memory {resource.id!r} is already defined in "
                f"{other.file}:{other.line}: rename one",
                file=document.file,
                line=line,
            )

    def _note_stores(self) -> None:
        scheme = self._project.store_url.partition(":")[0]
        for entry in self._memories.values():
            wanted = entry.resource.persistence.type
            if (
                wanted not in {"in_memory", scheme}
                and "persistence" in entry.resource.model_fields_set
            ):
                self._project.notes.append(
                    f"{entry.file}: memory {entry.resource.id!r} asks for {wanted}; it is kept in "
                    f"the project's store ({scheme}), which is durable too"
                )


def _matching(root: Path, patterns: Iterable[str]) -> Iterable[Path]:
    base = root.resolve()
    for pattern in patterns:
        for path in root.glob(pattern):
            if not path.is_file() or any(fnmatch(path.name, name) for name in _EDITOR_FILES):
                continue
            if not path.resolve().is_relative_to(base):
                raise ConfigError(
                    "autoload matches a link that leaves the project folder: copy the file into it",
                    file=path,
                )
            yield path


def _excluded(root: Path, patterns: Iterable[str]) -> Iterable[Path]:
    for pattern in patterns:
        yield from root.glob(pattern)
        if "/" not in pattern:
            yield from root.glob(f"**/{pattern}")


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
