"""Appends that wait for the same conversation go together.

The server holds a conversation's row until its commit is on the disk, so writers of one conversation
would each wait for a sync of their own. The first goes at once; what comes meanwhile shares the next.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from recollect.errors import OutcomeUnknown
from recollect.stores.postgres.appending import how_many_fit
from recollect.stores.records import Change, ConversationId, Full, Written

Alone = Callable[[Change], Awaitable[Written | Full]]
Together = Callable[[Sequence[Change]], Awaitable[list[Written] | None]]


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


class Lines:
    """One line for each conversation that is being appended to."""

    def __init__(self, alone: Alone, together: Together) -> None:
        self._alone = alone
        self._together = together
        self._lines: dict[ConversationId, list[_Waiting]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def append(self, change: Change) -> Written | Full:
        """Append now, or when what is under way for that conversation is done.

        A caller that is cancelled leaves the line, or stops its own append; what was sent together
        with others goes on to its end.
        """
        conversation = change.conversation
        line = self._lines.get(conversation)
        if line is not None:
            waiting = _Waiting(change)
            line.append(waiting)
            return await waiting.future
        self._lines[conversation] = []
        try:
            return await self._alone(change)
        finally:
            self._begin_next(conversation)

    def _begin_next(self, conversation: ConversationId) -> None:
        if not self._lines[conversation]:
            del self._lines[conversation]
            return
        task = asyncio.create_task(self._work_off(conversation))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait for all that was begun here and not in a caller."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _work_off(self, conversation: ConversationId) -> None:
        while line := [
            waiting for waiting in self._lines[conversation] if not waiting.future.done()
        ]:
            count = how_many_fit([waiting.change for waiting in line])
            self._lines[conversation] = line[count:]
            await self._send(line[:count])
        del self._lines[conversation]

    async def _send(self, group: list[_Waiting]) -> None:
        if len(group) > 1:
            try:
                results = await self._together([waiting.change for waiting in group])
            except OutcomeUnknown as error:  # a repetition might store them twice
                for waiting in group:
                    waiting.fail(OutcomeUnknown(error.message))
                return
            except Exception:  # noqa: BLE001  # each finds out for itself what is wrong
                results = None
            if results is not None:
                for waiting, result in zip(group, results, strict=True):
                    waiting.succeed(result)
                return
        for waiting in group:
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
