"""The indexes of a Cluster, which lie on other nodes than the conversations they name.

They may name more than there is, never less: entries are made before a conversation is created or
changes its owner, and taken away after it is gone, unless it has been entered again meanwhile. Last
activity follows behind the writes: at once behind the first, together behind those of the next moment.
"""

import asyncio
import contextlib

from recollect.errors import StoreError
from recollect.stores.base import KEY_RETENTION
from recollect.stores.moments import to_micros
from recollect.stores.records import Change, ConversationId
from recollect.stores.redis.heads import read_kept_head
from recollect.stores.redis.lane import Command
from recollect.stores.redis.names import Names
from recollect.stores.redis.runner import Runner

_TOGETHER = 0.05  # seconds whose writes go into the indexes together


class Entries:
    """Entries of conversations."""

    def __init__(self, runner: Runner, names: Names) -> None:
        self._runner = runner
        self._names = names
        self._active: dict[tuple[str, str], int] = {}
        self._following: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    async def enter(self, change: Change, answer: bytes) -> bytes:
        """Make the entries that a script found wanting; return the generation to use.

        The answer is ``In`` for a conversation that is to be created, and ``Io`` with generation and
        owner for one that exists.
        """
        namespace, name = change.conversation
        now = to_micros(change.now)
        is_new = answer.startswith(b"In")
        generation = candidate = b"-"
        if is_new:
            generation = candidate = await self._enter(change.conversation, now)
        else:
            generation = answer[2:].split(b"\n")[0]
        if change.owner:
            for order, score in (("created", generation), ("active", now)):
                key = self._names.index(order, namespace, change.owner)  # type: ignore[arg-type]
                await self._runner.command("walk", key, ("ZADD", key, score, name))
        await self._enter_due(change, now, is_new=is_new)
        return candidate

    async def _enter(self, conversation: ConversationId, now: int) -> bytes:
        namespace, name = conversation
        key = self._names.index("created", namespace, None)
        args = (name, now, self._names.index("active", namespace, None))
        generation: bytes = await self._runner.read("walk", "enter", key, args)
        return generation

    async def _enter_due(self, change: Change, now: int, *, is_new: bool) -> None:
        ends = []
        if change.ttl is not None:
            ends.append(to_micros(change.now + change.ttl))
        if change.key is not None:
            ends.append(to_micros(change.now + KEY_RETENTION))
        if ends:
            key, tag = self._names.due, self._names.tag(change.conversation)
            how: Command = () if is_new else ("LT",)
            await self._runner.command("walk", key, ("ZADD", key, *how, min(ends), tag))

    async def leave(self, conversation: ConversationId, generation: bytes, owner: str) -> None:
        """Take away the entries of a generation that is gone."""
        for one in {None, owner or None}:
            key = self._names.index("created", conversation.namespace, one)
            active = self._names.index("active", conversation.namespace, one)
            args = (conversation.id, generation, active)
            await self._runner.read("walk", "leave", key, args)

    async def leave_owner(self, change: Change, answer: bytes) -> None:
        """Take away the entries at a former owner, whom the answer ``Io`` named."""
        generation, _, former = answer[2:].partition(b"\n")
        owner = former.decode()
        if answer.startswith(b"Io") and owner and change.owner and owner != change.owner:
            key = self._names.index("created", change.conversation.namespace, owner)
            active = self._names.index("active", change.conversation.namespace, owner)
            args = (change.conversation.id, generation, active)
            await self._runner.read("walk", "leave", key, args)

    async def swept(
        self,
        conversation: ConversationId,
        now: int,
        answer: tuple[int, int, int, bytes, bytes, bytes],
    ) -> None:
        """Do what a sweep of one conversation leaves to be done."""
        is_gone, _, _, due, generation, owner = answer
        if is_gone:
            await self.leave(conversation, generation, owner.decode())
        key, tag = self._names.due, self._names.tag(conversation)
        command: Command = ("ZADD", key, due, tag) if due else ("ZREM", key, tag)
        await self._runner.command("walk", key, command)

    # ---- last activity ---------------------------------------------------------------------------

    def follow(self, conversation: ConversationId, packed_head: bytes) -> None:
        """Let the indexes know, soon, of a write."""
        kept = read_kept_head(conversation, packed_head)
        namespace, name = conversation
        for owner in {None, kept.owner or None}:
            self._active[self._names.index("active", namespace, owner), name] = kept.updated_at
        if self._following is None or self._following.done():
            self._following = asyncio.get_running_loop().create_task(self._follow())

    async def settle(self) -> None:
        """Wait until the indexes know of all writes."""
        while self._following is not None and not self._following.done():
            self._hurry.set()
            await asyncio.wait([self._following])

    async def _follow(self) -> None:
        self._hurry.clear()
        while self._active:
            active, self._active = self._active, {}
            asked: list[tuple[str, Command]] = [
                (key, ("ZADD", key, "XX", score, name)) for (key, name), score in active.items()
            ]
            try:
                await self._runner.commands("walk", asked)
            except StoreError:  # the next write of the conversation sets it right
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TOGETHER):
                    await self._hurry.wait()
