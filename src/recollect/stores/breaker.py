"""A store that stops asking when the store behind it does not answer (issue 3, part 7).

A breaker is closed while calls go through. After ``max_failures`` failures in a row it opens: calls are
refused at once, with ``retry_after``. After ``reset_timeout`` it is half open: one call is let through,
and what becomes of it closes the breaker or opens it again. Only failures of the infrastructure count
(``StoreUnavailable``, ``OutcomeUnknown``, no answer in time); a refusal such as ``VersionConflict``
shows that the store answers. A call that shows neither (``InvalidInput``, a cancelled one) is as if it
had not been made.
"""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Literal, Self, TypeVar

from typing_extensions import override

from recollect.clock import Clock
from recollect.errors import (
    InvalidInput,
    KeyReused,
    LeaseLost,
    OutcomeUnknown,
    StoreUnavailable,
    VersionConflict,
)
from recollect.stores.base import Store
from recollect.stores.records import (
    Change,
    Conversation,
    ConversationId,
    Full,
    Head,
    Lease,
    Page,
    Search,
    Slice,
    StoreInfo,
    Swept,
    Totals,
    Written,
)
from recollect.telemetry import Telemetry

State = Literal["closed", "open", "half_open"]
T = TypeVar("T")

_LONG_SECONDS = 60.0  # for what walks through everything
_GRACE_SECONDS = 0.1  # for what is done but has not been taken up: the loop may have stood still
_FAILURES = (StoreUnavailable, OutcomeUnknown)
_ANSWERS = (KeyReused, VersionConflict, LeaseLost)


class BreakerStore(Store):
    """Keeps conversations in another store, as long as that one answers.

    It has the promises, clock and call limits of the store it wraps, opens and closes it, and may be
    used from any loop and thread that one may be used from. Each change of state is an event
    ``store.breaker`` with the label ``state``; while it is open, ``ping`` and all other calls raise
    StoreUnavailable, with ``retry_after`` (whole seconds until a call may go through) and ``breaker``
    in the details.

    Args:
        store: what is wrapped, not opened yet.
        max_failures: how many failures in a row open it.
        reset_timeout: how long it stays open.
        timeout: how long one call may take, its turn to wait for included. What takes longer is given
            up and counts as a failure; a write without a key that was given up is OutcomeUnknown.
            Opening, measuring and sweeping may take a minute at least.
        telemetry: is told of each change of state.
    """

    def __init__(
        self,
        store: Store,
        *,
        max_failures: int = 5,
        reset_timeout: timedelta = timedelta(seconds=30),
        timeout: timedelta = timedelta(seconds=5),
        telemetry: Telemetry | None = None,
    ) -> None:
        super().__init__(clock=store.clock, call_limits=store.call_limits)
        if max_failures < 1:
            raise InvalidInput(f"max_failures is {max_failures}: at least 1 opens a breaker")
        if timeout <= timedelta(0) or reset_timeout <= timedelta(0):
            raise InvalidInput("timeout and reset_timeout of a breaker are longer than nothing")
        self._store = store
        self._seconds = timeout.total_seconds()
        self._long_seconds = max(self._seconds, _LONG_SECONDS)
        self._breaker = _Breaker(
            store.clock, max_failures, reset_timeout.total_seconds(), telemetry or Telemetry()
        )
        self._given_up: set[asyncio.Task[Any]] = set()

    @property
    def state(self) -> State:
        """Whether calls go through now: ``closed``, ``open``, or ``half_open`` while one is tried."""
        return self._breaker.state

    # ---- writes ----------------------------------------------------------------------------------

    @override
    async def _append(self, change: Change) -> Written | Full:
        return await self._write(self._store._append(change), change)

    @override
    async def _replace(self, change: Change) -> Written | Full:
        return await self._write(self._store._replace(change), change)

    @override
    async def _fold(self, change: Change) -> Written | Full:
        return await self._write(self._store._fold(change), change)

    @override
    async def _annotate(self, change: Change) -> Head | None:
        return await self._write(self._store._annotate(change), change)

    @override
    async def _delete(self, change: Change) -> bool:
        return await self._write(self._store._delete(change), change)

    # ---- reads -----------------------------------------------------------------------------------

    @override
    async def _recall(
        self, conversation: ConversationId, key: str, now: datetime
    ) -> Written | None:
        return await self._call(self._store._recall(conversation, key, now))

    @override
    async def _load(
        self, conversation: ConversationId, part: Slice, now: datetime
    ) -> Conversation | None:
        return await self._call(self._store._load(conversation, part, now))

    @override
    async def _load_many(
        self, conversations: Sequence[ConversationId], part: Slice, now: datetime
    ) -> list[Conversation | None]:
        return await self._call(self._store._load_many(conversations, part, now))

    @override
    async def _find(self, search: Search) -> Page:
        return await self._call(self._store._find(search))

    @override
    async def _measure(self, namespace: str, owner: str | None, now: datetime) -> Totals:
        return await self._call(self._store._measure(namespace, owner, now), is_long=True)

    # ---- leases and upkeep -----------------------------------------------------------------------

    @override
    async def _lease(
        self, conversation: ConversationId, holder: str, ttl: timedelta, now: datetime
    ) -> Lease | None:
        return await self._call(self._store._lease(conversation, holder, ttl, now))

    @override
    async def _release(self, lease: Lease, now: datetime) -> bool:
        return await self._call(self._store._release(lease, now), may_repeat=False)

    @override
    async def _sweep(self, now: datetime, limit: int) -> Swept:
        return await self._call(self._store._sweep(now, limit), is_long=True)

    @override
    async def scrub(self, conversations: Sequence[ConversationId]) -> str:
        return await self._store.scrub(conversations)  # a whole file may be written anew

    @override
    async def ping(self) -> StoreInfo:
        return await self._call(self._store.ping())

    @override
    async def open(self) -> Self:
        await self._call(self._store.open(), is_long=True)
        return self

    @override
    async def close(self) -> None:
        await self._store.close()

    # ---- through the breaker ---------------------------------------------------------------------

    async def _write(self, call: Coroutine[Any, Any, T], change: Change) -> T:
        return await self._call(call, may_repeat=change.key is not None)

    async def _call(
        self, call: Coroutine[Any, Any, T], *, may_repeat: bool = True, is_long: bool = False
    ) -> T:
        try:
            era = self._breaker.admit()
        except StoreUnavailable:
            call.close()
            raise
        try:
            seconds = self._long_seconds if is_long else self._seconds
            result = await self._in_time(call, seconds, may_repeat=may_repeat)
        except _FAILURES:
            self._breaker.failed(era)
            raise
        except _ANSWERS:
            self._breaker.answered(era)
            raise
        except BaseException:
            self._breaker.withdrawn(era)
            raise
        self._breaker.answered(era)
        return result

    async def _in_time(
        self, call: Coroutine[Any, Any, T], seconds: float, *, may_repeat: bool
    ) -> T:
        """Wait for a call, but not for the end of one that is given up: that may take for ever."""
        task = asyncio.ensure_future(call)
        try:
            done, _ = await asyncio.wait((task,), timeout=seconds)
            if not done:
                done, _ = await asyncio.wait((task,), timeout=_GRACE_SECONDS)
        except asyncio.CancelledError:
            self._give_up(task)
            raise
        if done:
            return task.result()
        self._give_up(task)
        slow = f"the store did not answer within {seconds:g} s"
        if may_repeat:
            raise StoreUnavailable(f"{slow}: what was asked for may be repeated as it was")
        raise OutcomeUnknown(
            f"{slow}: the write was stored or not. Read before you repeat it, or give writes a key"
        )

    def _give_up(self, task: "asyncio.Task[Any]") -> None:
        self._given_up.add(task)
        task.add_done_callback(self._ended)
        task.cancel()

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._given_up.discard(task)
        if not task.cancelled():
            task.exception()  # nobody waits for it any more


class _Breaker:
    """The states and what leads from one to the next; of any thread.

    Each state begins an era. A call belongs to the era in which it was admitted: what becomes of it in
    a later one says nothing about that.
    """

    def __init__(
        self, clock: Clock, max_failures: int, reset_seconds: float, telemetry: Telemetry
    ) -> None:
        self.state: State = "closed"
        self._clock = clock
        self._max_failures = max_failures
        self._reset_seconds = reset_seconds
        self._telemetry = telemetry
        self._lock = threading.Lock()
        self._era = 0
        self._failures = 0  # in a row, while closed
        self._open_until = 0.0  # on the monotonic clock
        self._is_trying = False  # while half open

    def admit(self) -> int:
        """Let a call through and return its era.

        Raises:
            StoreUnavailable: it is open, or half open and another call is being tried.
        """
        with self._lock:
            if self.state == "closed":
                return self._era
            left = self._open_until - self._clock.monotonic()
            if self._is_trying or left > 0:
                raise StoreUnavailable(
                    "the store has failed again and again and is left alone for a while: try again "
                    "later, and see whether its server runs",
                    retry_after=max(ceil(left), 1),
                    breaker=self.state,
                )
            self._is_trying = True
            if self.state == "half_open":  # the call that was tried has shown nothing
                return self._era
            self._enter("half_open")
            era = self._era
        self._telemetry.emit("store.breaker", state="half_open")
        return era

    def answered(self, era: int) -> None:
        """Take note that the store answered."""
        with self._lock:
            if era != self._era:
                return
            self._failures = 0
            if self.state == "closed":
                return
            self._enter("closed")
        self._telemetry.emit("store.breaker", state="closed")

    def failed(self, era: int) -> None:
        """Take note that the store failed."""
        with self._lock:
            if era != self._era:
                return
            self._failures += 1
            if self.state == "closed" and self._failures < self._max_failures:
                return
            self._open_until = self._clock.monotonic() + self._reset_seconds
            self._enter("open")
        self._telemetry.emit("store.breaker", state="open")

    def withdrawn(self, era: int) -> None:
        """Take note of a call that showed nothing; another may be tried in its place."""
        with self._lock:
            if era == self._era:
                self._is_trying = False

    def _enter(self, state: State) -> None:
        self.state = state
        self._era += 1
        self._is_trying = state == "half_open"
