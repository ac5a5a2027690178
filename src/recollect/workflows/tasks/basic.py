"""``type: basic``: ask a model directly, or pass values through."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator
from typing_extensions import override

from recollect.agents.model_factory import check_settings
from recollect.agents.models import ModelSettings
from recollect.agents.reference import NOT_YET
from recollect.errors import ConfigError, InvalidInput
from recollect.memory.sections import Section
from recollect.messages import ROLES, Message
from recollect.templates import is_template, render_text, render_tree
from recollect.workflows.runtime import Runtime
from recollect.workflows.tasks.base import Json, TaskType, field

PARAMS = (
    "max_tokens", "temperature", "top_p", "top_k", "seed", "stop_words",
    "presence_penalty", "frequency_penalty",
)  # fmt: skip


class PromptMessage(Section):
    """A message to the model; one whose content renders to nothing is left out."""

    role: str = "user"
    content: Any

    @model_validator(mode="after")
    def _is_role(self) -> "PromptMessage":
        if self.role not in ROLES and not is_template(self.role):
            raise ValueError(f"role {self.role[:40]!r} must be one of {', '.join(sorted(ROLES))}")
        return self


class BasicTask(TaskType):
    """A model call, when it has ``messages`` or ``prompt``; otherwise it passes values through.

    Attributes:
        provider, model: whom to ask; ``model`` may be ``provider:model``. Without them the
            project's default model.
        messages: what to send, in order.
        prompt: short for one user message.
        params: max_tokens, temperature, top_p, top_k, seed, stop_words, penalties; each may also
            stand on the task itself.
    """

    refused = {
        **TaskType.refused,
        "agent": NOT_YET,
        "action": NOT_YET,
        "memory": NOT_YET,
        "max_iterations": NOT_YET,
        "model_config": "is called params",
        "api_key": "belongs into the environment (OPENAI_API_KEY, ...) or the project's models",
    }

    type: Literal["basic"] = "basic"
    provider: str | None = Field(None, min_length=1)
    model: str | None = Field(None, min_length=1)
    api_url: str | None = Field(None, min_length=1)
    messages: list[PromptMessage] | None = Field(None, min_length=1)
    prompt: str | None = Field(None, min_length=1)
    params: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather_params(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        loose = {name: value[name] for name in PARAMS if name in value}
        rest = {name: field for name, field in value.items() if name not in loose}
        return {**rest, "params": {**(rest.get("params") or {}), **loose}} if loose else value

    @model_validator(mode="after")
    def _does_something(self) -> "BasicTask":
        if self.messages and self.prompt:
            raise ValueError("messages and prompt exclude each other: keep one")
        if not self.asks and self.outputs is None and not self.with_:
            raise ValueError(
                "a basic task needs messages or prompt to ask a model, or outputs or with to pass "
                "values through"
            )
        if not self.asks and (self.provider or self.model or self.params):
            raise ValueError("a model without messages or prompt: say what to ask it")
        if self.asks and self.model and not is_template(f"{self.provider} {self.model}"):
            try:
                if self.provider or ":" in self.model:
                    check_settings(self._settings({**self.model_dump(), "params": self._fixed()}))
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return self

    @property
    def asks(self) -> bool:
        """Whether it calls a model."""
        return self.messages is not None or self.prompt is not None

    def _fixed(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.params.items()
            if not (isinstance(value, str) and is_template(value))
        }

    @override
    def render(self, scope: Mapping[str, Any], runtime: Runtime, now: datetime) -> Json:
        if not self.asks:
            with field("with"):
                return {"with": render_tree(self.with_, scope, now=now)}
        prompts = self.messages or [PromptMessage(content=self.prompt)]
        messages = []
        for position, prompt in enumerate(prompts):
            with field(f"messages[{position}].content" if self.messages else "prompt"):
                content = _content(prompt.content, scope, now)
            if content.strip():
                role = render_text(prompt.role, scope, now=now)
                messages.append({"role": role, "content": content})
        if not messages:
            raise InvalidInput("every message to the model is empty: check what its templates read")
        named = {"provider": self.provider, "model": self.model, "api_url": self.api_url}
        return {
            "messages": messages,
            "model": {
                **(runtime.default_model or {} if not (self.provider or self.model) else {}),
                **{
                    name: render_text(text, scope, now=now)
                    for name, text in named.items()
                    if text is not None
                },
                "params": {
                    **((runtime.default_model or {}).get("params", {})),
                    **render_tree(self.params, scope, now=now),  # type: ignore[dict-item]
                },
            },
        }

    @override
    async def execute(self, rendered: Json, runtime: Runtime, once: str) -> Any:
        if "messages" not in rendered:
            return rendered["with"]
        settings = self._settings(rendered["model"])
        messages = [Message(role=m["role"], content=m["content"]) for m in rendered["messages"]]
        answer = await runtime.open_model(settings).answer(messages)
        return {
            "content": answer.content,
            "role": "assistant",
            "provider": answer.provider,
            "model": answer.model,
            "usage": {
                "prompt_tokens": answer.usage.prompt_tokens,
                "completion_tokens": answer.usage.completion_tokens,
                "total_tokens": answer.usage.total_tokens,
            },
            **({"mock": True} if answer.mock else {}),
        }

    def _settings(self, model: Mapping[str, Any]) -> ModelSettings:
        provider, name = model.get("provider"), model.get("model")
        if name and not provider and ":" in name:
            provider, _, name = name.partition(":")
        if not provider or not name:
            raise ConfigError(
                f"task {self.id!r} names no model: give it provider and model, or the project a "
                "default model (models: [{provider, model, default: true}])"
            )
        return ModelSettings(
            provider=provider,
            model=name,
            base_url=model.get("api_url"),
            organization=model.get("organization"),
            params=model.get("params") or {},
        )


def _content(content: Any, scope: Mapping[str, Any], now: datetime) -> str:
    if isinstance(content, str):
        return render_text(content, scope, now=now)
    return render_text("{{ .value | toJson }}", {"value": render_tree(content, scope, now=now)})
