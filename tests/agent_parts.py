"""What users of the agent loop bring: models, providers and tools of their own, for tests of it."""

from collections.abc import Callable
from typing import Any

from recollect import (
    Agent,
    Message,
    RunConfig,
    RunState,
    Tool,
)
from recollect.memory import ConversationMemory, MemoryConfig, MemoryProvider, Result, Success
from recollect.messages import ToolCall, ToolCallFunction

Answer = str | dict[str, Any] | Exception | Callable[[RunState], Any]


class ScriptedModel:
    """Gives its answers one after another, and keeps what it was sent."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.seen: list[list[str]] = []
        self.states: list[RunState] = []

    async def get_completion(self, state: RunState, agent: Agent, config: RunConfig) -> Any:
        self.states.append(state)
        self.seen.append([f"{m.role}: {m.text}" for m in state.messages])
        answer = self._answers.pop(0) if self._answers else f"reply {len(self.seen)}"
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer = answer(state)
        return {"message": {"content": answer}} if isinstance(answer, str) else answer


def asks(*calls: tuple[str, str, str], content: str | None = None) -> dict[str, Any]:
    """An answer that calls tools: (id, name, arguments as JSON text)."""
    return {
        "message": {
            "content": content,
            "tool_calls": [
                {"id": id_, "type": "function", "function": {"name": name, "arguments": arguments}}
                for id_, name, arguments in calls
            ],
        }
    }


def calling(*ids: str, message_id: str = "") -> Message:
    """An assistant message that calls ``look`` once per id."""
    calls = tuple(ToolCall(id_, ToolCallFunction("look")) for id_ in ids)
    return Message("assistant", tool_calls=calls, message_id=message_id)


def result(call_id: str, content: str = "found") -> Message:
    """The message that answers a call."""
    return Message("tool", content, tool_call_id=call_id)


def said(*texts: str) -> list[Message]:
    """What users said."""
    return [Message(role="user", content=text) for text in texts]


def state(*messages: str | Message, context: Any = None, **others: Any) -> RunState:
    """A state of the agent ``Bot``; texts are said by the user."""
    made = [m if isinstance(m, Message) else Message("user", m) for m in messages]
    return RunState(messages=made, current_agent_name="Bot", context=context, **others)


def config(
    model: Any,
    *,
    tools: "tuple[Tool, ...]" = (),
    provider: MemoryProvider | None = None,
    conversation_id: str | None = "c-1",
    memory: dict[str, Any] | None = None,
    **others: Any,
) -> RunConfig:
    """Settings with the agent ``Bot``; ``memory`` is for the memory's."""
    return RunConfig(
        agent_registry={"Bot": Agent(name="Bot", instructions=lambda state: "Help.", tools=tools)},
        model_provider=model,
        memory=MemoryConfig(provider=provider, **(memory or {})) if provider else None,
        conversation_id=conversation_id,
        **others,
    )


def lines(messages: Any) -> list[str]:
    """Messages as ``role: text``."""
    return [f"{m.role}: {m.text}" for m in messages]


class SixMethods:
    """A provider as seed 004 shows it, and no more: plain values, writers answer a Result."""

    def __init__(self) -> None:
        self.kept: dict[str, list[Message]] = {}
        self.metadata: dict[str, dict[str, Any]] = {}
        self.replaced = 0

    async def store_messages(
        self,
        conversation_id: str,
        messages: list[Message],
        metadata: dict[str, Any] | None = None,
    ) -> Result:
        self.replaced += 1
        self.kept[conversation_id] = list(messages)
        self.metadata[conversation_id] = dict(metadata or {})
        return Success(None)

    async def get_conversation(self, conversation_id: str) -> ConversationMemory | None:
        if conversation_id not in self.kept:
            return None
        metadata = self.metadata[conversation_id]
        return ConversationMemory(
            conversation_id, metadata.get("user_id"), self.kept[conversation_id], metadata
        )

    async def append_messages(
        self,
        conversation_id: str,
        messages: list[Message],
        metadata: dict[str, Any] | None = None,
    ) -> Result:
        self.kept.setdefault(conversation_id, []).extend(messages)
        self.metadata.setdefault(conversation_id, {}).update(metadata or {})
        return Success(None)

    async def get_recent_messages(self, conversation_id: str, limit: int = 50) -> list[Message]:
        return self.kept[conversation_id][-limit:]

    async def delete_conversation(self, conversation_id: str) -> bool:
        return self.kept.pop(conversation_id, None) is not None

    async def health_check(self) -> dict[str, Any]:
        return {"healthy": True}
