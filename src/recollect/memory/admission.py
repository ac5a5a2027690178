"""The way in: what is to be stored is redacted, then counted; nothing else is stored.

Small messages are admitted where they are, in some 50 µs. Large ones, and the first of a process, which
loads the tables of tokens, are admitted in a thread: RE2 and tiktoken let other threads run, so the
event loop goes on meanwhile.
"""

import asyncio
import sys
import threading
from collections import Counter as Tally
from collections.abc import Sequence
from typing import Final

import msgspec

from recollect.memory.counting.tokens import Counter, Counting, message_tokens
from recollect.memory.privacy import Redactor
from recollect.messages import Message, encode
from recollect.stores.records import CallLimits, NewRecord
from recollect.telemetry import Telemetry

IN_PLACE_BYTES: Final = 16 * 1024
"""Messages of a call that are larger together are admitted in a thread; this much takes 1-2 ms."""

_WHY: Final[dict[str, str]] = {
    "type": "for the role or type",
    "flag": "for do_not_persist",
    "match": "for a match",
}


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """Messages after the privacy policy, with what they cost.

    Attributes:
        records: what may be stored, in the order given.
        redactions: how many matches were replaced.
        reasons: of each message that is not stored, why (``privacy.Screened``).
    """

    records: tuple[NewRecord, ...]
    redactions: int
    reasons: tuple[str, ...] = ()

    @property
    def dropped(self) -> int:
        """How many of the messages are not stored."""
        return len(self.reasons)

    @property
    def explanation(self) -> str:
        """Why messages are not stored, in words; a silent drop would look like a lost message."""
        parts = [f"{count} {_WHY[reason]}" for reason, count in Tally(self.reasons).items()]
        return " and ".join(parts)


async def admit(
    messages: Sequence[Message],
    redactor: Redactor,
    counting: Counting,
    limits: CallLimits,
    *,
    telemetry: Telemetry | None = None,
    memory_id: str = "",
) -> Admitted:
    """Apply the privacy policy and count, without keeping the event loop.

    A cancelled call changes nothing; its thread comes to its end unheard. Work in a thread is an event
    ``memory.worker`` with ``change`` 1 when it begins and -1 when it ends.

    Raises:
        PrivacyError: redaction could not finish; nothing of the messages may be stored.
    """
    if counting.is_loaded and _is_small(messages):
        return admit_now(messages, redactor, counting, limits)
    telemetry = telemetry or Telemetry()
    telemetry.emit("memory.worker", memory_id=memory_id, change=1)
    try:
        with _taking_turns:
            return await asyncio.to_thread(admit_now, messages, redactor, counting, limits)
    finally:
        telemetry.emit("memory.worker", memory_id=memory_id, change=-1)


class _TakingTurns:
    """While it is entered, threads of Python take turns after half a millisecond, not after five.

    The event loop waits for its turn several times in an append, each time it comes back from the
    system; beside a large message that would add up to more than anybody should wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._usual = 0.0

    def __enter__(self) -> None:
        with self._lock:
            self._entered += 1
            if self._entered == 1:
                self._usual = sys.getswitchinterval()
                sys.setswitchinterval(min(self._usual, _TURN_SECONDS))

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entered -= 1
            if self._entered == 0:
                sys.setswitchinterval(self._usual)


_TURN_SECONDS: Final = 0.0005
_taking_turns: Final = _TakingTurns()  # of the process, as the interval is


def admit_now(
    messages: Sequence[Message], redactor: Redactor, counting: Counting, limits: CallLimits
) -> Admitted:
    """Apply the privacy policy and count, here and now: for messages of our own making.

    Raises:
        PrivacyError: as for ``admit``.
    """
    kept: list[Message] = []
    reasons: list[str] = []
    redactions = 0
    for message in messages:
        screened = redactor.screen(message)
        if screened.message is None:
            reasons.append(screened.reason or "match")
        else:
            kept.append(screened.message)
            redactions += screened.redactions
    counter = None if _will_be_refused(kept, limits) else counting()
    return Admitted(
        records=tuple(NewRecord(message, _tokens(counter, message)) for message in kept),
        redactions=redactions,
        reasons=tuple(reasons),
    )


def _tokens(counter: Counter | None, message: Message) -> int:
    return message_tokens(counter, message) if counter else 0


def _is_small(messages: Sequence[Message]) -> bool:
    """Whether they are no more than ``IN_PLACE_BYTES`` together, all that they carry included."""
    total = 0
    for message in messages:
        total += len(message.content) if isinstance(message.content, str) else 0
        if total > IN_PLACE_BYTES:
            return False
    return sum(len(encode(message)) for message in messages) <= IN_PLACE_BYTES


def _will_be_refused(messages: Sequence[Message], limits: CallLimits) -> bool:
    """Whether they are surely too much for one call: counting tokens of that takes seconds."""
    lengths = [len(message.text) for message in messages]  # bytes are never fewer
    return (
        len(lengths) > limits.call_messages
        or max(lengths, default=0) > limits.message_bytes
        or sum(lengths) > limits.call_bytes
    )
