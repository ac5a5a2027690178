"""One question to a model: whom to ask, and its answer as a message."""

import inspect
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import msgspec

from recollect.agents.state import Agent, ModelProvider, RunConfig, RunState
from recollect.errors import ConfigError, InvalidMessage, ModelError
from recollect.messages import Message, ToolCall, ToolCallFunction

if TYPE_CHECKING:
    from recollect.agents.models import Model


def find_agent(state: RunState, config: RunConfig) -> Agent:
    """Return the agent whose turn it is.

    Raises:
        ConfigError: no agent has its name.
    """
    agent = config.agent_registry.get(state.current_agent_name)
    if agent is None:
        known = ", ".join(sorted(config.agent_registry)) or "none"
        raise ConfigError(
            f"no agent is named {state.current_agent_name!r}; the registry has: {known}"
        )
    return agent


async def ask(state: RunState, agent: Agent, config: RunConfig) -> Message:
    """Ask the model once.

    Returns:
        An assistant message with text, calls, or both. A call without an id is given one.

    Raises:
        ConfigError: there is no such model.
        ModelError: the answer is none.
        Exception: whatever a model provider raises.
    """
    model = _model_provider(config.model_provider)
    return _as_message(await model.get_completion(state, agent, config))


def _model_provider(given: "ModelProvider | Model | str") -> ModelProvider:
    if isinstance(given, str):
        # Late, since most bring a model provider.
        from recollect.agents.model_factory import open_model  # noqa: PLC0415 - see above
        from recollect.agents.models import ModelSettings  # noqa: PLC0415 - see above

        provider, _, model = given.partition(":")
        settings = ModelSettings(provider=provider, model=model or provider)
        return _TextModel(open_model(settings, env=os.environ))
    if hasattr(given, "get_completion"):
        return cast(ModelProvider, given)
    if hasattr(given, "answer"):
        return _TextModel(given)
    raise ConfigError(
        f"the model provider is a {type(given).__name__}: it needs `async def get_completion(state, "
        'agent, config)`, or name a model, such as "mock" or "openai:gpt-4o-mini"'
    )


@dataclass(frozen=True, slots=True)
class _TextModel:
    """Asks a model of ours, which answers with text only."""

    model: "Model"

    async def get_completion(self, state: RunState, agent: Agent, config: RunConfig) -> Any:
        """Put the agent's instructions before the messages."""
        if agent.tools:
            raise ConfigError(
                f"agent {agent.name!r} has tools, which models that are given by name cannot call: "
                "give a model provider of your own"
            )
        instructions = await instructions_of(agent, state)
        told = [Message("system", instructions)] if instructions else []
        answer = await self.model.answer([*told, *state.messages])
        return {"message": {"content": answer.content}}


async def instructions_of(agent: Agent, state: RunState) -> str:
    """Return what the agent is told, made from the state where it is a function."""
    if isinstance(agent.instructions, str):
        return agent.instructions
    made = agent.instructions(state)
    return await made if inspect.isawaitable(made) else made


# ---- its answer ----------------------------------------------------------------------------------


def _as_message(answer: object) -> Message:
    said = _get(answer, "message")
    if said is None:
        raise ModelError('the model provider answered without a "message"')
    content = _get(said, "content")
    calls = _get(said, "tool_calls")
    if not content and not calls:
        raise ModelError("the model answered with neither text nor calls of tools")
    try:
        return Message(
            role="assistant",
            content=cast(Any, content if content is not None else ""),
            tool_calls=_calls(calls) if calls else None,
        )
    except InvalidMessage as error:
        raise ModelError(f"the model's answer is no message: {error}") from None


def _calls(given: object) -> tuple[ToolCall, ...]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise InvalidMessage(f"tool_calls is a {type(given).__name__}, not a list")
    return tuple(call if isinstance(call, ToolCall) else _call(call) for call in given)


def _call(given: object) -> ToolCall:
    function = _get(given, "function")
    name = _get(function, "name")
    if not isinstance(name, str) or not name:
        raise InvalidMessage("a call names no function")
    arguments = _get(function, "arguments")
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode(arguments or {}).decode()
    return ToolCall(
        str(_get(given, "id") or f"call_{secrets.token_hex(8)}"),
        ToolCallFunction(name, arguments),
    )


def _get(thing: object, name: str) -> Any:
    """Read what clients of models give as a mapping or as an object."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)
