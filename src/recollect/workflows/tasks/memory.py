"""``type: memory``: one of the eight operations on a memory."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator
from typing_extensions import override

from recollect.errors import InvalidInput, TemplateError
from recollect.memory import keys
from recollect.memory.operations import CONFIGS, checked_config, checked_operation
from recollect.memory.registry import Request
from recollect.memory.wildcards import BATCH_SIZE, LARGEST_BATCH, MAX_KEYS, MOST_KEYS
from recollect.templates import is_template, parse, render, render_text, render_tree
from recollect.workflows.runtime import Runtime
from recollect.workflows.scope import Answer, Transcript
from recollect.workflows.tasks.base import Json, Reference, TaskType, field

_WRITES = ("write", "append")


class MemoryTask(TaskType):
    """A memory task.

    Attributes:
        operation: read, write, append, delete, flush, health, clear or stats.
        memory_ref: id of the resource; may be a template.
        key_template: key of the conversation; without it the resource's own.
        payload: for write and append: a message, a list of messages, or a text.
        read_config, flush_config, clear_config, health_config, stats_config: the operation's own.
        max_keys: how many conversations a key with a ``*`` may name (1-50,000).
        batch_size: how many of them are looked up at a time (1-10,000).
    """

    refused = {
        **TaskType.refused,
        "agent": "has no place in a memory task",
        "action": "has no place in a memory task",
        "prompt": "has no place in a memory task",
    }

    type: Literal["memory"] = "memory"
    operation: str
    memory_ref: str = Field(min_length=1)
    key_template: str | None = Field(None, min_length=1)
    payload: Any = None
    read_config: dict[str, Any] | None = None
    flush_config: dict[str, Any] | None = None
    clear_config: dict[str, Any] | None = None
    health_config: dict[str, Any] | None = None
    stats_config: dict[str, Any] | None = None
    max_keys: int = Field(MAX_KEYS, ge=1, le=MOST_KEYS)
    batch_size: int = Field(BATCH_SIZE, ge=1, le=LARGEST_BATCH)

    @field_validator("operation")
    @classmethod
    def _is_known(cls, operation: str) -> str:
        try:
            return checked_operation(operation)
        except InvalidInput as error:
            raise ValueError(str(error)) from None

    @field_validator(*(f"{name}_config" for name in CONFIGS))
    @classmethod
    def _is_right(cls, config: dict[str, Any] | None, info: Any) -> dict[str, Any] | None:
        """Check settings at load, unless a template decides them at run time."""
        if config is not None and not any(
            isinstance(value, str) and is_template(value) for value in config.values()
        ):
            operation = checked_operation(info.field_name.removesuffix("_config"))
            try:
                checked_config(operation, config)
            except InvalidInput as error:
                raise ValueError(str(error).partition(": ")[2]) from None
        return config

    @model_validator(mode="after")
    def _writes_to_one_key(self) -> Self:
        if self.operation in _WRITES and self.key_template is not None:
            try:
                several = parse(self.key_template).has_text("*")
            except TemplateError:
                return self  # it is told with its line, by the check of all templates
            if several:
                raise ValueError(
                    f"key_template: {self.operation} needs one key, but a '*' names several "
                    "conversations"
                )
        return self

    @override
    def references(self) -> tuple[Reference, ...]:
        if is_template(self.memory_ref):
            return ()
        needs_key = self.key_template is None and self.operation != "health"
        return (Reference(memory_ref=self.memory_ref, field="memory_ref", needs_key=needs_key),)

    @override
    def notes(self) -> tuple[str, ...]:
        notes = []
        if self.operation in _WRITES and self.payload is None:
            notes.append(f"has no payload: {self.operation} will fail")
        if self.operation not in _WRITES and self.payload is not None:
            notes.append(f"has a payload, which {self.operation} does not use")
        notes += [
            f"has a {name}_config, which {self.operation} does not use"
            for name in CONFIGS
            if name != self.operation and getattr(self, f"{name}_config") is not None
        ]
        return tuple(notes)

    @override
    def render(self, scope: Mapping[str, Any], runtime: Runtime, now: datetime) -> Json:
        with field("memory_ref"):
            ref = render_text(self.memory_ref, scope, now=now)
        resource = runtime.memories.registry.get(ref, used_by=f"task {self.id!r}")
        template = self.key_template or resource.key
        with field("key_template" if self.key_template else f"key of memory {resource.id!r}"):
            key = None if template is None else self._key(template, scope, now)
        with field("payload"):
            payload = _payload(self.payload, scope, now)
        name = f"{self.operation}_config"
        with field(name):
            config = _config(getattr(self, name, None), scope, now)
        return {
            "operation": self.operation,
            "memory_ref": ref,
            "key": key,
            "payload": payload,
            "config": config,
            "now": now.isoformat(),
            "run_id": scope["workflow"]["exec_id"],
        }

    def _key(self, template: str, scope: Mapping[str, Any], now: datetime) -> str:
        if self.operation in _WRITES:
            return keys.rendered_key(template, scope, now)
        return keys.rendered_pattern(template, scope, now)

    @override
    async def execute(self, rendered: Json, runtime: Runtime, once: str) -> Any:
        operation = checked_operation(rendered["operation"])
        if operation in _WRITES and rendered["payload"] is None:
            raise InvalidInput(
                f"payload is required for {operation}: give a message {{role, content}}, a list "
                "of messages, or a text"
            )
        request = Request(
            operation=operation,
            memory_ref=rendered["memory_ref"],
            key=rendered["key"],
            payload=rendered["payload"],
            config=rendered["config"],
            idempotency_key=once,
            run_id=rendered.get("run_id"),
            max_keys=self.max_keys,
            batch_size=self.batch_size,
        )
        now = datetime.fromisoformat(rendered["now"])
        return await runtime.memories.perform(request, now=now, used_by=f"task {self.id!r}")


def _config(config: Any, scope: Mapping[str, Any], now: datetime) -> Any:
    """Render settings; in a pattern of keys, values are escaped as in a key."""
    if config is None:
        return None
    plain = {name: value for name, value in config.items() if name != "pattern"}
    rendered = cast("Json", render_tree(plain, scope, now=now))
    pattern = config.get("pattern")
    if isinstance(pattern, str):
        rendered["pattern"] = keys.rendered_pattern(pattern, scope, now)
    elif pattern is not None:
        rendered["pattern"] = pattern
    return rendered


def _payload(value: Any, scope: Mapping[str, Any], now: datetime) -> Any:
    """Render a payload: contents always become text, what an output stands for becomes messages."""
    if isinstance(value, str):
        return _as_messages(render(value, scope, now=now))
    if isinstance(value, list):
        return [_payload(item, scope, now) for item in value]
    if not isinstance(value, Mapping):
        return value
    rendered = {
        name: render_tree(field, scope, now=now)
        for name, field in value.items()
        if name != "content" or not isinstance(field, str)
    }
    if isinstance(value.get("content"), str):
        rendered["content"] = render_text(value["content"], scope, now=now)
    return rendered


def _as_messages(value: Any) -> Any:
    if isinstance(value, Transcript):
        return [dict(message) for message in value["messages"]]
    if isinstance(value, Answer):
        return {"role": "assistant", "content": value["content"]}
    return value
