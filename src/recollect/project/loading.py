"""Finds and checks a project's files; nothing is started and nothing is written.

Here: the project file and its memories, which is all that looking into a memory needs. Workflows and
agents, which use them, are loaded by ``users``.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from fnmatch import fnmatch
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from recollect.errors import ConfigError, closest
from recollect.memory.registry import Defined, Registry
from recollect.memory.resource import Resource
from recollect.project.definition import FILE_NAMES, ModelEntry, ProjectFile
from recollect.project.repair import flattened_error, is_flattened
from recollect.project.validation import validate
from recollect.project.yaml_document import Document, parse
from recollect.project.yaml_file import read_text

if TYPE_CHECKING:
    from recollect.project.users import LoadedAgent, LoadedWorkflow

_SCHEMES = {
    "sqlite": "sqlite", "memory": "memory", "redis": "redis", "rediss": "redis", "unix": "redis",
    "redis+cluster": "redis", "rediss+cluster": "redis",
    "redis+sentinel": "redis", "rediss+sentinel": "redis",
    "postgres": "postgres", "postgresql": "postgres",
}  # fmt: skip
"""Schemes of store URLs, and what ``persistence.type`` calls them."""

DATA_FOLDER = ".recollect"
DEFAULT_STORE = f"sqlite:///{DATA_FOLDER}/store.sqlite"
_EDITOR_FILES = (".#*", "*~", "*.bak", "*.swp", "*.tmp", "._*")
_OTHER_RESOURCES = frozenset(
    {"task", "tool", "mcp", "project", "schema", "model", "knowledge_base", "embedder", "vector_db"}
)


class Project(msgspec.Struct, kw_only=True):
    """A checked project.

    Attributes:
        file: the project file; None for a folder without one.
        workflows, agents: what uses the memories; filled by ``users.load_project``.
        notes: what is legal but will surprise; each begins with its file.
        document: the project file as read.
        users: autoloaded files of workflows and agents, not yet checked.
    """

    root: Path
    file: Path | None
    settings: ProjectFile
    store_url: str
    env: Mapping[str, str]
    registry: Registry = msgspec.field(default_factory=lambda: Registry({}, declared=False))
    workflows: dict[str, "LoadedWorkflow"] = msgspec.field(default_factory=dict)
    agents: dict[str, "LoadedAgent"] = msgspec.field(default_factory=dict)
    notes: list[str] = msgspec.field(default_factory=list)
    document: Document | None = None
    users: list[Document] = msgspec.field(default_factory=list)

    @property
    def name(self) -> str:
        """The name to show."""
        return self.settings.name or self.root.resolve().name

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
        if any(os.path.isfile(candidate / name) for name in FILE_NAMES):  # noqa: PTH113 - no error
            return candidate
    return folder


def load_memories(root: Path, env: Mapping[str, str] | None = None) -> Project:
    """Load the project in ``root`` with its memories, but without workflows and agents.

    Quicker, and possible while a workflow is being edited. ``users.load_project`` loads the rest.

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
    if project.data_folder.exists() and not project.data_folder.is_dir():
        raise ConfigError(
            "this must be a folder, for the project's data: move the file away",
            file=project.data_folder,
        )
    _Loader(project, document).load()
    return project


def read_yaml(file: Path) -> Document:
    """Read a YAML file; a de-indented snippet is answered by its repaired text."""
    text = read_text(file)
    if is_flattened(text):
        raise flattened_error(text, file=file)
    return parse(text, file=file)


def resource_kind(document: Document) -> str | None:
    """Return what a file says it defines: ``memory``, ``agent``, ...; None if it does not say."""
    kind = document.value.get("resource") if isinstance(document.value, dict) else None
    return None if kind is None else str(kind)


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
    from dotenv.parser import parse_stream  # noqa: PLC0415 - most projects have no such file

    values = {}
    for binding in parse_stream(StringIO(read_text(path).removeprefix("\ufeff"))):
        if binding.error:  # the line may hold a secret: it is not repeated
            raise ConfigError("write NAME=value", file=path, line=binding.original.line)
        if binding.key is not None and binding.value is not None:
            values[binding.key] = binding.value
    return values


class _Loader:
    """Loads what a project file declares and autoloads, in a fixed order."""

    def __init__(self, project: Project, document: Document | None) -> None:
        self._project = project
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
            self._memories,
            declared=settings.autoload.enabled or bool(settings.memories),
            project_file=self._project.file is not None,
        )
        self._project.document = self._document
        self._project.users = users
        self._note_stores()

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
        kind = resource_kind(document)
        self._project.notes.extend(document.warnings)
        if kind == "memory":
            self._memory(document, ())
        elif kind in {"agent", "workflow"}:
            users.append(document)
        elif kind not in _OTHER_RESOURCES:
            known = ("memory", "workflow", "agent")
            what = "has no resource field" if kind is None else f"has resource {kind[:40]!r}"
            raise ConfigError(
                f"an autoloaded file {what}: it must be one of {', '.join(known)}."
                + closest(kind or "", known),
                file=file,
                line=document.line_of(("resource",)),
            )

    def _memory(self, document: Document, path: tuple[str | int, ...]) -> None:
        resource = validate(Resource, document, at=path)
        if resource.flushing.summary_model:
            _check_summary_model(resource.flushing.summary_model, document, path)
        line = document.line_of((*path, "id"))
        entry = Defined(resource=resource, file=Path(document.file), line=line)
        other = self._memories.setdefault(resource.id.casefold(), entry)
        if other is not entry and (path or other.file.resolve() != entry.file.resolve()):
            raise ConfigError(
                f"DUPLICATE_CONFIG: memory {resource.id!r} is already defined in "
                f"{other.file}:{other.line}: rename one",
                file=document.file,
                line=line,
            )

    def _note_stores(self) -> None:
        scheme = _SCHEMES.get(self._project.store_url.partition(":")[0])
        if scheme is None:
            return  # opening it is refused with a better text
        kept = f"in the project's store ({scheme}), which is durable too"
        if scheme == "memory":
            kept = "only as long as the process lives, as the project's store (memory) is"
        for entry in self._memories.values():
            wanted = entry.resource.persistence.type
            if (
                wanted not in {"in_memory", scheme}
                and "persistence" in entry.resource.model_fields_set
            ):
                self._project.notes.append(
                    f"{entry.file}: memory {entry.resource.id!r} asks for {wanted}; it is kept "
                    f"{kept}"
                )


def _matching(root: Path, patterns: Iterable[str]) -> Iterable[Path]:
    for pattern in patterns:
        for path in _glob(root, pattern):
            if any(fnmatch(path.name, name) for name in _EDITOR_FILES):
                continue
            if path.is_symlink() and not os.path.exists(path):  # noqa: PTH110 - loops are no error
                raise ConfigError(
                    "autoload matches a link that leads nowhere: remove it, or restore its target",
                    file=path,
                )
            if path.is_file() and path.relative_to(root).parts[0] != DATA_FOLDER:
                check_inside(root, path)
                yield path


def check_inside(root: Path, path: Path) -> None:
    """Refuse a file that the project names but does not hold.

    Raises:
        ConfigError: the path, or the target of a link in it, leaves the project folder.
    """
    if not path.resolve().is_relative_to(root.resolve()):
        raise ConfigError("this leaves the project folder: copy the file into it", file=path)


def _glob(root: Path, pattern: str) -> list[Path]:
    """As Python 3.13 does: before it, a final ``**`` matched folders only."""
    full = f"{pattern}/*" if pattern.split("/")[-1] == "**" else pattern
    while True:
        # Before 3.12 it stops at a folder that goes away, as a run's does at its end: look again.
        with suppress(FileNotFoundError):
            return list(root.glob(full))


def _excluded(root: Path, patterns: Iterable[str]) -> Iterable[Path]:
    for pattern in patterns:
        yield from _glob(root, pattern)
        if "/" not in pattern:
            yield from _glob(root, f"**/{pattern}")


def _check_summary_model(name: str, document: Document, path: tuple[str | int, ...]) -> None:
    from recollect.agents.summarizer import summary_settings  # noqa: PLC0415 - few name a model

    try:
        summary_settings(name)
    except ConfigError as error:
        line = document.line_of((*path, "flushing", "summary_model"))
        raise ConfigError(
            f"flushing.summary_model: {error}", file=document.file, line=line
        ) from None
