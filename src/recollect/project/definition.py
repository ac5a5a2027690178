"""What ``recollect.yaml`` (or ``compozy.yaml``) says, checked."""

from pathlib import PurePosixPath
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from recollect.memory.sections import LATER, Section, TemplateText, Version
from recollect.memory.switch import MemorySwitch

FILE_NAMES = ("recollect.yaml", "compozy.yaml", "recollect.yml", "compozy.yml")


class Autoload(Section):
    """Which files are loaded by themselves.

    Attributes:
        enabled: nothing is loaded without it.
        strict: the first bad file stops everything; false reports it and goes on.
        include: globs below the project folder; ``**`` crosses folders.
        exclude: globs of paths or names to leave out.
    """

    refused = {"watch_enabled": LATER}

    enabled: bool = False
    strict: bool = True
    include: list[str] = []
    exclude: list[str] = []

    @field_validator("include", "exclude")
    @classmethod
    def _stay_inside(cls, patterns: list[str]) -> list[str]:
        for pattern in patterns:
            if not pattern.strip() or not PurePosixPath(pattern).parts:
                raise ValueError(
                    f'{pattern!r} matches no file: write something like "memory/*.yaml"'
                )
            if any("**" in part != "**" for part in pattern.split("/")):
                raise ValueError(f"{pattern[:60]!r}: ** stands alone between slashes")
            if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
                raise ValueError(
                    f"{pattern[:60]!r} leaves the project folder: patterns are relative to it"
                )
        return patterns

    @model_validator(mode="after")
    def _includes_something(self) -> Self:
        if self.enabled and not self.include:
            raise ValueError('include is empty: name patterns such as "memory/*.yaml"')
        return self


class WorkflowSource(Section):
    """A workflow file, relative to the project folder."""

    source: str = Field(min_length=1)


class ModelEntry(Section):
    """A model of the project; tasks that name the same provider and model get its settings.

    Attributes:
        api_key: may be a template over ``.env``, such as ``{{ .env.GROQ_API_KEY }}``.
        api_url: base URL of a server that speaks the provider's dialect.
        default: used by tasks that name no model; at most one.
    """

    refused = dict.fromkeys(("context_window", "max_tool_iterations", "rate_limit"), LATER)

    provider: str = Field(min_length=1)
    model: str = Field(min_length=1)
    api_key: str | None = None
    api_url: str | None = None
    organization: str | None = None
    default: bool = False
    params: dict[str, Any] = {}


class ProjectFile(Section):
    """The project file.

    Attributes:
        name: shown; the folder's name without one.
        store: URL of the store; ``RECOLLECT_STORE_URL`` wins over it.
        tenant: whose memories these are; may be a template over ``.env``. Tenants share a store and
            never see each other's memories. ``default`` without one.
        memory: switches all memories off.
        env: what templates see as ``.env``, beside the process's own and ``.env``.
    """

    refused = dict.fromkeys(
        ("tools", "mcps", "schemas", "triggers", "schedule", "monitoring", "features"), LATER
    ) | dict.fromkeys(
        (
            "config", "runtime", "mode", "server", "database", "temporal", "redis", "mcp_proxy",
            "limits", "llm", "rate_limit", "cli", "worker", "embedders", "vector_dbs",
            "knowledge_bases", "knowledge",
        ),
        "is a setting of the original that Recollect does not have (the store is set with store: URL)",
    )  # fmt: skip

    resource: Literal["project"] = "project"
    id: str | None = None
    name: str | None = Field(None, min_length=1)
    version: Version = ""
    description: str = ""
    author: dict[str, Any] | str | None = None
    store: str | None = Field(None, min_length=1)
    tenant: TemplateText | None = None
    memory: MemorySwitch = MemorySwitch()
    autoload: Autoload = Autoload()
    workflows: list[WorkflowSource] = []
    models: list[ModelEntry] = []
    memories: list[dict[str, Any]] = []
    agents: list[dict[str, Any]] = []
    env: dict[str, str] = {}

    @field_validator("models")
    @classmethod
    def _one_default(cls, models: list[ModelEntry]) -> list[ModelEntry]:
        if sum(model.default for model in models) > 1:
            raise ValueError("more than one model has default: true")
        return models
