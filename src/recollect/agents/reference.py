"""How an agent names its memories: three forms of YAML, one list of references (seed 003).

    memory: support                       one memory, key in memory_key
    memory: true, memories: [a, b]        several with one key
    memories: [{id, mode, key}]           full control

``memory: [..]`` with ids or {id, mode, key} is read like the third form.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from recollect.memory.modes import Mode
from recollect.memory.sections import Id, Section, TemplateText, Version

NOT_YET = "running an agent is not in this version: it comes with the agent loop"


class MemoryReference(Section):
    """A memory that an agent uses.

    Attributes:
        id: of the resource.
        key: template; None takes the resource's own key.
        mode: ``read-only`` memories are recalled and never written by this agent, to ``append-only``
            ones it adds and does nothing else.
    """

    id: str = Field(min_length=1)
    key: TemplateText | None = None
    mode: Mode = "read-write"


class Agent(Section):
    """An agent as YAML describes it; it loads and its references resolve, it does not run yet."""

    resource: Literal["agent"] = "agent"
    id: Id
    description: str = ""
    version: Version = ""
    model: str | dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    instructions: str = ""
    actions: list[dict[str, Any]] = []
    memory: bool | str | list[str | MemoryReference] | None = None
    memories: list[str | MemoryReference] | None = None
    memory_key: TemplateText | None = None

    refused = dict.fromkeys(
        ("tools", "mcps", "max_iterations", "env", "with", "attachments"),
        "comes with the agent loop, in a later version",
    ) | {"knowledge": "is not supported"}

    @model_validator(mode="after")
    def _resolves(self) -> Self:
        seen = set()
        for reference in self.references():
            if (reference.id, reference.key) in seen:
                raise ValueError(f"memory {reference.id!r} is named twice with the same key")
            seen.add((reference.id, reference.key))
        return self

    def references(self) -> tuple[MemoryReference, ...]:
        """Return the memories of this agent, in the order written.

        Raises:
            ValueError: the fields contradict each other; the text says which.
        """
        if isinstance(self.memory, str):
            return self._one(self.memory)
        if isinstance(self.memory, list):
            if self.memories is not None:
                raise ValueError("memory is a list: put all of them there, without memories")
            return self._several(self.memory)
        if self.memories is None:
            if self.memory:
                raise ValueError("memory: true needs memories: [id, ...]")
            return ()
        if self.memory is None and any(isinstance(item, str) for item in self.memories):
            raise ValueError(
                "memories holds plain ids: add memory: true, or give each {id, mode, key}"
            )
        if self.memory is False:
            raise ValueError("memory: false and memories contradict each other: keep one")
        return self._several(self.memories)

    def _one(self, ref: str) -> tuple[MemoryReference, ...]:
        if not ref:
            raise ValueError("memory is empty: name a memory")
        if self.memories is not None:
            raise ValueError("memory names one memory: for several write memory: true")
        return (MemoryReference(id=ref, key=self.memory_key),)

    def _several(self, items: list[str | MemoryReference]) -> tuple[MemoryReference, ...]:
        if not items:
            raise ValueError("the list of memories is empty")
        return tuple(
            MemoryReference(id=item, key=self.memory_key) if isinstance(item, str) else item
            for item in items
        )


def references_json(agent: Agent) -> list[Mapping[str, Any]]:
    """Return the references as plain JSON, for listings."""
    return [reference.model_dump() for reference in agent.references()]
