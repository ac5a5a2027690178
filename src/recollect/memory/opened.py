"""A resource opened at one key: what all operations share.

Messages are redacted, counted and only then stored, on every path: ``admitted`` is the one way in.
"""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Literal

import msgspec

from recollect.durations import format_duration
from recollect.errors import MemoryLimitExceeded
from recollect.memory.admission import Admitted, admit, admit_now
from recollect.memory.budget import held_tokens, limits_of
from recollect.memory.counting.tokens import Counting
from recollect.memory.flushing.stock import Rules, Size
from recollect.memory.flushing.summary import Summarizer
from recollect.memory.leases import held
from recollect.memory.modes import Mode, check_allowed
from recollect.memory.operations import Operation
from recollect.memory.privacy import Redactor
from recollect.memory.resource import Resource
from recollect.memory.sections import StrategyName
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.records import ConversationId, Head, Lease, NewRecord, Written
from recollect.telemetry import Telemetry

Json = dict[str, Any]


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation as its resource wants it kept.

    Attributes:
        key: the logical key, as outputs show it.
        address: where the store keeps it.
        counter: made when something is counted, because its tables take time to load.
        summarizer: writes summaries in place of the rules; None if the resource names no model.
        flushing: conversations that this process flushes by threshold right now; shared by all
            memories of a project, so that a crowd of appends plans one flush.
        mode: what may be done here, as the reference says that led here.
    """

    resource: Resource
    store: Store
    key: str
    address: ConversationId
    redactor: Redactor
    counter: Counting
    telemetry: Telemetry = msgspec.field(default_factory=Telemetry)
    summarizer: Summarizer | None = None
    flushing: set[ConversationId] = msgspec.field(default_factory=set)
    mode: Mode = "read-write"

    def allow(self, operation: Operation) -> None:
        """Refuse what the mode does not allow: see ``modes``."""
        check_allowed(self.mode, operation, self.resource.id)

    async def admitted(self, messages: Sequence[Message]) -> Admitted:
        """Apply the privacy policy and count.

        Raises:
            PrivacyError: redaction could not finish.
        """
        return await admit(
            messages,
            self.redactor,
            self.counter,
            self.store.call_limits,
            telemetry=self.telemetry,
            memory_id=self.resource.id,
        )

    def sealed(self, message: Message) -> NewRecord | None:
        """Return a message of our own making ready to be stored; None if the policy drops it."""
        limits = self.store.call_limits
        return next(iter(admit_now([message], self.redactor, self.counter, limits).records), None)

    def rules(self, asked: StrategyName | None = None) -> Rules:
        """Return what a plan needs; ``asked`` is the strategy of one call."""
        return Rules(
            resource=self.resource, count=self.counter().count, seal=self.sealed, asked=asked
        )

    async def head(self) -> Head | None:
        """Return the head; None for a missing conversation."""
        conversation = await self.store.load(self.address, last=0)
        return conversation.head if conversation else None

    async def recall(self, idempotency_key: str | None) -> Written | None:
        """Return what a write with this key did before."""
        if idempotency_key is None:
            return None
        return await self.store.recall(self.address, idempotency_key)

    def held(
        self, holder: str, ttl: timedelta, *, wait: timedelta
    ) -> AbstractAsyncContextManager[Lease | None]:
        """Hold the lease of the conversation for this kind of work: see ``leases.held``."""
        return held(
            self.store,
            self.address,
            holder=holder,
            ttl=ttl,
            wait=wait,
            memory_id=self.resource.id,
            telemetry=self.telemetry,
        )

    def ttl(self, operation: Literal["append", "write", "clear"]) -> timedelta | None:
        """Return how long data live after this operation; None keeps them."""
        resource = self.resource
        own = {"append": resource.append_ttl, "write": None, "clear": resource.clear_ttl}
        return own[operation] or resource.persistence.ttl

    def ttl_remaining(self, head: Head | None) -> str | None:
        """Return in words how long the conversation still lives."""
        if head is None:
            return None
        if head.expires_at is None:
            return "never"
        return format_duration(max(head.expires_at - self.store.clock.now(), timedelta(0)))

    def output(self, operation: str, head: Head | None, **fields: Any) -> Json:
        """Return the output of an operation; ``head`` is the state right after it."""
        return {
            "success": True,
            "operation": operation,
            "memory_ref": self.resource.id,
            "key": self.key,
            "message_count": head.message_count if head else 0,
            "token_count": head.token_count if head else 0,
            **fields,
        }

    def privacy_report(self, admitted: Admitted) -> Json:
        """Say what the privacy policy did; a silent drop would look like a lost message."""
        report: Json = {"dropped_by_policy": admitted.dropped, "redactions": admitted.redactions}
        if admitted.dropped:
            kinds = ", ".join(self.resource.privacy_policy.non_persistable_message_types)
            report["warning"] = (
                f"{admitted.dropped} of the messages were not stored by the privacy policy of "
                f"{self.resource.id!r}{f' (not kept: {kinds})' if kinds else ''}: "
                f"{admitted.explanation}"
            )
        return report

    def over_limit(self, room: Size, head: Head | None) -> MemoryLimitExceeded:
        """Return the error of messages that do not fit."""
        resource, limits = self.resource, limits_of(self.resource)
        held = held_tokens(head.message_count, head.token_count) if head else 0
        new = "1 more message" if room.messages == 1 else f"{room.messages} more messages"
        too_long = limits.broken_by(room.messages, room.tokens)
        return MemoryLimitExceeded(
            f"memory {resource.id!r} has no room for {new} with {room.held} tokens: it holds "
            f"{held} tokens"
            f"{f' of {limits.max_tokens}' if limits.max_tokens else ''} and "
            f"{head.message_count if head else 0} messages"
            f"{f' of {resource.max_messages}' if resource.max_messages else ''}. Nothing was stored. "
            + ("Flush it" if resource.disable_flush and not too_long else "Shorten the messages")
            + ", or raise the limits of the resource",
            memory_ref=resource.id,
            current_tokens=held,
            max_tokens=limits.max_tokens,
            current_messages=head.message_count if head else 0,
            max_messages=resource.max_messages,
            suggested_action="flush",
        )

    def over_cap(self, name: str, tokens: int) -> MemoryLimitExceeded:
        """Return the error of messages that do not fit into their class."""
        return MemoryLimitExceeded(
            f"memory {self.resource.id!r} has no room in the class {name!r}, which holds at most "
            f"{tokens} tokens. Nothing was stored. Shorten the messages, or give the class more",
            memory_ref=self.resource.id,
            allocation=name,
            max_tokens=tokens,
            suggested_action="shorten",
        )


def size_of(admitted: Admitted) -> Size:
    """Return what admitted messages need."""
    return Size(len(admitted.records), sum(record.tokens for record in admitted.records))


def iso(moment: Any) -> str:
    """Return a time as outputs show it."""
    return str(moment.isoformat().replace("+00:00", "Z"))
