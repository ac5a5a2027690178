"""The conversation of one run: loaded before, appended to after; a conversation is never replaced."""

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from recollect.agents.keeper import Keeper
from recollect.agents.recall import begins_anew, not_in, window
from recollect.agents.state import (
    CompletedOutcome,
    MemoryEvent,
    MemoryEventData,
    Outcome,
    RunConfig,
    RunState,
)
from recollect.errors import ConfigError
from recollect.memory.providers.types import ConversationMemory
from recollect.messages import Message


class KeptConversation:
    """Loads and stores for one run. Neither raises: failures are events, and stay in ``error``.

    Attributes:
        error: why the latest load or store failed.
        unstored: what a failed store did not keep.
    """

    def __init__(self, state: RunState, config: RunConfig) -> None:
        self._given = state
        self._memory = config.memory if config.conversation_id is not None else None
        self._id = config.conversation_id or ""
        self._on_event = config.on_event
        self._history: Sequence[Message] | None = None  # None: not known
        self._turns_before = 0
        self.error: Exception | None = None
        self.unstored: tuple[Message, ...] = ()

    # ---- load ------------------------------------------------------------------------------------

    async def load(self) -> list[Message]:
        """Return the window of history and behind it what was given, each message once."""
        given = self._given.messages
        memory = self._memory
        if memory is None:
            return list(given)
        await self._tell("load", "start")
        try:
            self._history = await self._read(Keeper(memory, self._id), memory.max_messages)
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            await self._fail("load", error)
            return list(given)
        shown = window(self._history, memory.max_messages, decided=self._given.approvals)
        await self._tell("load", "end", count=len(shown))
        return [*shown, *not_in(self._history, given)]

    async def _read(self, keeper: Keeper, needed: int | None = None) -> Sequence[Message]:
        """Return the history, or its end if that is all that is needed."""
        if needed is not None and not self._given.approvals:
            found, is_whole = await keeper.read_recent(needed)
            if found is None or is_whole or begins_anew(found.messages, self._given.messages):
                return self._taken(found)
        return self._taken(await keeper.read())

    def _taken(self, found: ConversationMemory | None) -> Sequence[Message]:
        if found is None:
            return ()
        turns = found.metadata.get("turn_count")
        self._turns_before = turns if isinstance(turns, int) else 0
        return found.messages

    # ---- store -----------------------------------------------------------------------------------

    async def store(self, final: RunState, outcome: Outcome | None = None) -> None:
        """Append what the history does not hold yet; ``outcome`` None is a cancelled run."""
        memory = self._memory
        if memory is None or not memory.auto_store:
            return
        if isinstance(outcome, CompletedOutcome) and not memory.store_on_completion:
            return
        keeper = Keeper(memory, self._id)
        added = not_in(await self._known_history(keeper), final.messages)
        if not added:
            return
        await self._tell("store", "start", count=len(added))
        try:
            await keeper.append(
                added,
                self._metadata(final),
                run_id=final.run_id,
                may_create=self._history is not None,
            )
        except Exception as error:  # noqa: BLE001 - a provider may raise anything
            self.unstored = tuple(added)
            await self._fail("store", error)
            return
        if not keeper.keeps_ttl:
            self.error = ConfigError(
                f"the messages are stored, but {keeper.name} takes no ttl with a write, so they may "
                "stay for longer: leave out MemoryConfig.ttl, and set it on the provider",
                field="ttl",
            )
        await self._tell("store", "end", count=len(added))

    async def _known_history(self, keeper: Keeper) -> Sequence[Message]:
        """Return the history; if loading failed, try again, lest messages are appended twice."""
        if self._history is not None:
            return self._history
        try:
            return await self._read(keeper)
        except Exception:  # noqa: BLE001 - told when loading failed; appending loses nothing
            return ()

    def _metadata(self, final: RunState) -> dict[str, Any]:
        """Return what is kept about the run; ``turn_count`` is the total of runs one after another."""
        user = user_of(final.context)
        return {
            **({} if user is None else {"user_id": user}),
            "trace_id": final.trace_id,
            "run_id": final.run_id,
            "agent_name": final.current_agent_name,
            "turn_count": self._turns_before + final.turn_count,
        }

    # ---- telling ---------------------------------------------------------------------------------

    async def _fail(self, operation: Literal["load", "store"], error: Exception) -> None:
        self.error = error
        await self._tell(operation, "fail", error=str(error) or type(error).__name__)

    async def _tell(
        self,
        operation: Literal["load", "store"],
        status: Literal["start", "end", "fail"],
        *,
        error: str | None = None,
        count: int | None = None,
    ) -> None:
        if self._on_event is None:
            return
        event = MemoryEvent(
            data=MemoryEventData(
                operation=operation,
                conversation_id=self._id,
                status=status,
                error=error,
                message_count=count,
            )
        )
        try:
            answer = self._on_event(event)
            if inspect.isawaitable(answer):
                await answer
        except Exception as raised:  # noqa: BLE001 - who listens cannot break a run
            asyncio.get_running_loop().call_exception_handler(
                {"message": "on_event raised an exception", "exception": raised}
            )


def user_of(context: Any) -> str | None:
    """Return whose conversation it is: ``user_id``, or else ``userId``, of the context."""
    for name in ("user_id", "userId"):
        user = getattr(context, name, None)
        if user is None and isinstance(context, Mapping):
            user = context.get(name)
        if user is not None and user != "":
            return str(user)
    return None
