"""Appends that have to wait go together.

The server holds a conversation's row until its commit is on the disk, so writers of one conversation
would each wait for a sync of their own. And with every connection at work, writers of many conversations
would each wait for a round trip of its own. The first go at once; what comes meanwhile shares the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from recollect.errors import OutcomeUnknown
from recollect.stores.postgres.appending import Room
from recollect.stores.records import Change, ConversationId, Full, Written

Alone = Callable[[Change], Awaitable[Written | Full]]
Together = Callable[[Sequence[Sequence[Change]]], Awaitable[Sequence[Sequence[Written] | None]]]

_MOST_LINES = 64  # in one statement, which looks for a message's line among all


class _Waiting:
    """An append that has not been sent, or not been answered."""

    __slots__ = ("change", "future")

    def __init__(self, change: Change) -> None:
        self.change = change
        self.future: asyncio.Future[Written | Full] = asyncio.get_running_loop().create_future()

    def succeed(self, result: Written | Full) -> None:
        """Answer, unless the caller has gone."""
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, error: Exception) -> None:
        """Answer with an error, unless the caller has gone."""
        if not self.future.done():
            self.future.set_exception(error)


_Line = list[_Waiting]


class Lines:
    """One line for each conversation that is being appended to.

    Args:
        alone: appends.
        together: appends all that wait in several lines; None for a line it could not append.
        is_known: whether a conversation is probably there, as ``together`` needs it.
        most: how many may be sending at once.
    """

    def __init__(
        self,
        alone: Alone,
        together: Together,
        *,
        is_known: Callable[[ConversationId], bool],
        most: Callable[[], int],
    ) -> None:
        self._alone = alone
        self._together = together
        self._is_known = is_known
        self._most = most
        self._sending = 0
        self._lines: dict[ConversationId, _Line] = {}
        self._next: dict[ConversationId, None] = {}  # who waits there, waits for nobody before
        self._tasks: set[asyncio.Task[None]] = set()

    async def append(self, change: Change) -> Written | Full:
        """Append now, or when what is under way for that conversation, or any other, is done.

        A caller that is cancelled leaves the line, or stops its own append; what was sent together
        with others goes on to its end.
        """
        conversation = change.conversation
        line = self._lines.get(conversation)
        if line is None and self._sending < self._most():
            self._lines[conversation] = []
            self._sending += 1
            try:
                return await self._alone(change)
            finally:
                self._sent([conversation])
        if line is None:
            line = self._lines[conversation] = []
            self._next[conversation] = None
        waiting = _Waiting(change)
        line.append(waiting)
        return await waiting.future

    def _sent(self, conversations: Iterable[ConversationId]) -> None:
        self._sending -= 1
        for conversation in conversations:
            if self._lines[conversation]:
                self._next[conversation] = None
            else:
                del self._lines[conversation]
        while self._next and self._sending < self._most():
            self._sending += 1
            task = asyncio.create_task(self._send(self._next_group()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next_group(self) -> dict[ConversationId, _Line]:
        """Take from the lines what may share a statement, those who came first before others."""
        group: dict[ConversationId, _Line] = {}
        room = Room()
        for conversation in list(self._next):
            if group and not self._is_known(conversation):
                continue
            line = [one for one in self._lines[conversation] if not one.future.done()]
            count = room.take([one.change for one in line], is_first=not group)
            if line and not count:
                break
            del self._next[conversation]
            self._lines[conversation] = line[count:]
            group[conversation] = line[:count]
            if len(group) == _MOST_LINES or not self._is_known(conversation):
                break
        return group

    async def finish(self) -> None:
        """Wait for all that was begun here and not in a caller."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _send(self, group: Mapping[ConversationId, _Line]) -> None:
        lines = [line for line in group.values() if line]
        try:
            if sum(map(len, lines)) > 1:
                lines = await self._send_together(lines)
            await asyncio.gather(*map(self._send_in_turn, lines))
        finally:
            self._sent(group)

    async def _send_together(self, lines: Sequence[_Line]) -> list[_Line]:
        """Return the lines that have to be sent one by one."""
        try:
            results = await self._together([[one.change for one in line] for line in lines])
        except OutcomeUnknown as error:  # a repetition might store them twice
            for line in lines:
                for waiting in line:
                    waiting.fail(OutcomeUnknown(error.message))
            return []
        except Exception:  # noqa: BLE001  # each finds out for itself what is wrong
            return list(lines)
        for line, written in zip(lines, results, strict=True):
            for waiting, result in zip(line, written or (), strict=False):
                waiting.succeed(result)
        return [line for line, written in zip(lines, results, strict=True) if written is None]

    async def _send_in_turn(self, line: _Line) -> None:
        for waiting in line:
            await self._send_alone(waiting)

    async def _send_alone(self, waiting: _Waiting) -> None:
        if waiting.future.done():
            return
        try:
            result = await self._alone(waiting.change)
        except Exception as error:  # noqa: BLE001  # whatever it is, the caller must hear of it
            waiting.fail(error)
        else:
            waiting.succeed(result)
