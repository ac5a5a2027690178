"""A memory: a resource opened at one key. Its eight operations, over one conversation of a store.

Every operation returns plain JSON with ``success``, ``operation``, ``memory_ref`` and ``key``;
``message_count`` and ``token_count`` are of the live messages right after it. Messages are redacted,
counted and only then stored, on every path.
"""

import asyncio
import random
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from recollect.durations import format_duration
from recollect.errors import (
    FlushPending,
    InvalidInput,
    MemoryLimitExceeded,
    VersionConflict,
)
from recollect.memory.budget import held_tokens, limits_of, utilization
from recollect.memory.flush import FlushPlan, Room, is_due, plan_flush
from recollect.memory.health import store_health
from recollect.memory.keys import backup_label
from recollect.memory.operations import (
    READ_CAP,
    ClearConfig,
    FlushConfig,
    HealthConfig,
    ReadConfig,
    StatsConfig,
)
from recollect.memory.privacy import Redactor
from recollect.memory.resource import Resource
from recollect.memory.tokens import Counter, message_tokens
from recollect.messages import Message, to_json
from recollect.stores.base import Store
from recollect.stores.records import (
    Conversation,
    ConversationId,
    Full,
    Head,
    Lease,
    NewRecord,
    Written,
)

Json = dict[str, Any]

NEAR_LIMIT_RATIO = 0.85
STATS_CONTENT_CAP = 100
_MAX_ROUNDS = 100


class Admitted(msgspec.Struct, frozen=True, kw_only=True):
    """Messages after the privacy policy, with what they cost."""

    records: tuple[NewRecord, ...]
    dropped: int
    redactions: int

    @property
    def room(self) -> Room:
        """What they need."""
        return Room(messages=len(self.records), tokens=sum(r.tokens for r in self.records))


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation as its resource wants it kept.

    Attributes:
        key: the logical key, as outputs show it.
        address: where the store keeps it.
        counter: made when something is counted, because its tables take time to load.
    """

    resource: Resource
    store: Store
    key: str
    address: ConversationId
    redactor: Redactor
    counter: Callable[[], Counter]

    # ---- adding ----------------------------------------------------------------------------------

    async def append(
        self, messages: Sequence[Message], *, idempotency_key: str | None = None
    ) -> Json:
        """Add messages after the existing ones, all or none; makes room when limits ask for it.

        Raises:
            MemoryLimitExceeded: they do not fit even after a flush; nothing was stored.
            PrivacyError: redaction could not finish; nothing was stored.
            FlushPending: other writers kept filling the memory meanwhile; repeat.
        """
        admitted = self._admit(messages)
        if not admitted.records:
            head = await self._head()
            return self._output("append", head, messages_added=0, **_report(admitted, self))
        flushed = 0
        for _ in range(_MAX_ROUNDS):
            result = await self.store.append(
                self.address,
                admitted.records,
                ttl=self.resource.persistence.ttl,
                limits=limits_of(self.resource),
                key=idempotency_key,
            )
            if isinstance(result, Written):
                return self._output(
                    "append",
                    result.head,
                    messages_added=len(admitted.records),
                    total_count=result.head.message_count,
                    messages_flushed=flushed,
                    **_report(admitted, self),
                )
            flushed += await self._make_room(admitted.room, result.head)
        raise FlushPending("other writers keep filling this memory: try again")

    async def write(
        self, messages: Sequence[Message], *, idempotency_key: str | None = None
    ) -> Json:
        """Make the content exactly these messages, in one step; the former ones are archived.

        When the privacy policy keeps none of them, the existing content stays.

        Raises:
            MemoryLimitExceeded: they are over the limits by themselves; nothing changed.
            PrivacyError: as append.
        """
        admitted = self._admit(messages)
        if not admitted.records:
            head = await self._head()
            return self._output(
                "write", head, messages_written=0, replaced_count=0, **_report(admitted, self)
            )
        result = await self.store.replace(
            self.address,
            admitted.records,
            ttl=self.resource.persistence.ttl,
            limits=limits_of(self.resource),
            archive_as="write",
            key=idempotency_key,
        )
        if isinstance(result, Full):
            raise self._over_limit(admitted.room, None)
        return self._output(
            "write",
            result.head,
            messages_written=len(admitted.records),
            replaced_count=result.removed,
            **_report(admitted, self),
        )

    def _admit(self, messages: Sequence[Message]) -> Admitted:
        kept: list[Message] = []
        redactions = 0
        for message in messages:
            if self.redactor.persistable(message):
                safe, hits = self.redactor.redact(message)
                redactions += hits
                kept.append(safe)
        counter = None if self._will_be_refused(kept) else self.counter()
        records = (
            NewRecord(message, message_tokens(counter, message) if counter else 0)
            for message in kept
        )
        return Admitted(
            records=tuple(records), dropped=len(messages) - len(kept), redactions=redactions
        )

    def _will_be_refused(self, messages: Sequence[Message]) -> bool:
        """Whether they are surely too much for one call: counting tokens of that takes seconds."""
        limits = self.store.call_limits
        lengths = [len(message.text) for message in messages]  # bytes are never fewer
        return (
            len(lengths) > limits.call_messages
            or max(lengths, default=0) > limits.message_bytes
            or sum(lengths) > limits.call_bytes
        )

    async def _make_room(self, room: Room, head: Head | None) -> int:
        """Archive the oldest units so that ``room`` fits; returns how many messages went.

        0 says that somebody else changed the conversation first: the caller tries again.
        """
        limits = limits_of(self.resource)
        if self.resource.disable_flush or limits.broken_by(room.messages, room.tokens):
            raise self._over_limit(room, head)
        conversation = await self.store.load(self.address)
        if conversation is None:
            return 0
        head = conversation.head
        if not limits.broken_by(head.message_count + room.messages, head.token_count + room.tokens):
            return 0  # somebody else made room
        plan = plan_flush(self.resource, conversation.records, room)
        if not plan.remove or limits.broken_by(
            plan.messages + room.messages, plan.tokens + room.tokens
        ):
            raise self._over_limit(room, head)
        try:
            await self.store.fold(self.address, plan.remove, archive_as="flush")
        except VersionConflict:
            await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311 - jitter, not a secret
            return 0
        return len(plan.remove)

    def _over_limit(self, room: Room, head: Head | None) -> MemoryLimitExceeded:
        resource = self.resource
        held = held_tokens(head.message_count, head.token_count) if head else 0
        new = "1 more message" if room.messages == 1 else f"{room.messages} more messages"
        too_long = limits_of(resource).broken_by(room.messages, room.tokens)
        return MemoryLimitExceeded(
            f"memory {resource.id!r} has no room for {new} with "
            f"{held_tokens(room.messages, room.tokens)} tokens: it holds {held} tokens"
            f"{f' of {resource.max_tokens}' if resource.max_tokens else ''} and "
            f"{head.message_count if head else 0} messages"
            f"{f' of {resource.max_messages}' if resource.max_messages else ''}. Nothing was stored. "
            + ("Flush it" if resource.disable_flush and not too_long else "Shorten the messages")
            + ", or raise the limits of the resource",
            memory_ref=resource.id,
            current_tokens=held,
            max_tokens=resource.max_tokens,
            current_messages=head.message_count if head else 0,
            max_messages=resource.max_messages,
            suggested_action="flush",
        )

    # ---- reading ---------------------------------------------------------------------------------

    async def read(self, config: ReadConfig | None = None) -> Json:
        """Return stored messages, oldest first; a missing conversation is an empty one."""
        config = config or ReadConfig()
        if config.last is not None and (config.limit is not None or config.offset):
            raise InvalidInput("read_config: choose by last, or by limit and offset, not by both")
        paged = config.limit is not None or config.offset > 0
        conversation = await self.store.load(
            self.address,
            last=None if paged else config.last or READ_CAP,
            offset=config.offset,
            limit=(config.limit or READ_CAP) if paged else None,
            source=config.source,
            batch=config.batch,
        )
        head = conversation.head if conversation else None
        records = conversation.records if conversation else ()
        total = _total(config, conversation)
        offset = config.offset if paged else max(total - len(records), 0)
        return self._output(
            "read",
            head,
            messages=[to_json(record.message) for record in records],
            count=len(records),
            total_count=total,
            offset=offset,
            limit=config.limit or config.last or READ_CAP,
            has_more=(offset + len(records) < total) if paged else len(records) < total,
            **(
                {"damaged": len(conversation.damaged)}
                if conversation and conversation.damaged
                else {}
            ),
        )

    async def stats(self, config: StatsConfig | None = None) -> Json:
        """Return counts, limits and times; message content only when asked for."""
        config = config or StatsConfig()
        conversation = await self.store.load(self.address, last=0)
        head = conversation.head if conversation else None
        messages = head.message_count if head else 0
        tokens = head.token_count if head else 0
        output = self._output(
            "stats",
            head,
            token_limit=self.resource.max_tokens,
            message_limit=self.resource.max_messages,
            held_tokens=held_tokens(messages, tokens),
            utilization=utilization(self.resource, head),
            avg_tokens_per_message=round(tokens / messages, 2) if messages else 0,
            archived_count=head.archived_count if head else 0,
            created_at=_iso(head.created_at) if head else None,
            last_updated=_iso(head.updated_at) if head else None,
            last_flush=_iso(head.folded_at) if head and head.folded_at else None,
            ttl_remaining=self._ttl_remaining(head),
            actual_strategy="simple_fifo",
            token_method=self.counter().method,
        )
        if config.include_content:
            recent = await self.store.load(self.address, last=STATS_CONTENT_CAP)
            output["messages"] = [to_json(m) for m in recent.messages] if recent else []
        if config.group_by == "role":
            everything = await self.store.load(self.address)
            roles = Tally(m.role for m in everything.messages) if everything else Tally[str]()
            output["role_distribution"] = dict(sorted(roles.items()))
        return output

    async def health(self, config: HealthConfig | None = None) -> Json:
        """Report whether the memory can be used; a failing store is reported, not raised."""
        output, head = await store_health(self.store, config, self.address.namespace, self.address)
        used = utilization(self.resource, head)
        near = used is not None and used >= NEAR_LIMIT_RATIO
        return self._output(
            "health",
            head,
            **output,
            usage_percent=None if used is None else round(used * 100, 2),
            actual_strategy="simple_fifo",
            last_flush=_iso(head.folded_at) if head and head.folded_at else None,
            recommendations=["flush: the memory is nearly full"] if near else [],
        )

    # ---- removing --------------------------------------------------------------------------------

    async def delete(self, *, idempotency_key: str | None = None) -> Json:
        """Remove everything under this key, archive included; ``deleted`` tells if there was any."""
        deleted = await self.store.delete(self.address, key=idempotency_key)
        return self._output("delete", None, deleted=deleted)

    async def clear(
        self, config: ClearConfig | None = None, *, idempotency_key: str | None = None
    ) -> Json:
        """Remove all messages but keep the conversation; with ``backup`` they stay in the archive.

        Raises:
            InvalidInput: ``confirm`` is not true; nothing changed.
        """
        config = config or ClearConfig()
        if not config.confirm:
            raise InvalidInput(
                "confirm flag must be true to clear memory: clear_config: {confirm: true}"
            )
        for _ in range(_MAX_ROUNDS):
            known = await self._recall(idempotency_key)
            if known is not None:
                return self._cleared(known, config)
            head = await self._head()
            if head is None or not head.message_count:
                return self._output("clear", head, messages_cleared=0, backup_created=False)
            try:
                result = await self.store.replace(
                    self.address,
                    (),
                    ttl=self.resource.persistence.ttl,
                    expect_version=head.version,
                    archive_as=self._backup_label(head.version) if config.backup else None,
                    key=idempotency_key,
                )
            except VersionConflict:
                await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311 - jitter
                continue
            if isinstance(result, Written):
                return self._cleared(result, config)
        raise FlushPending("other writers keep changing this memory: try again")

    def _cleared(self, written: Written, config: ClearConfig) -> Json:
        backup = self._backup_label(written.head.version - 1) if config.backup else None
        return self._output(
            "clear",
            written.head,
            messages_cleared=written.removed,
            backup_created=backup is not None,
            backup_key=backup,
        )

    def _backup_label(self, version: int) -> str:
        return backup_label(self.address.id, version)

    async def flush(
        self, config: FlushConfig | None = None, *, idempotency_key: str | None = None
    ) -> Json:
        """Archive the oldest messages when a limit's threshold is reached, or when forced.

        ``dry_run`` reports exactly what the flush would do at this moment.

        Raises:
            FlushPending: somebody else is flushing this memory.
        """
        config = config or FlushConfig()
        known = await self._recall(idempotency_key)
        if known is not None:
            return self._flushed(known.head, known.removed, 0)
        if config.dry_run:
            head, plan = await self._flush_plan(config)
            remaining = plan.messages if plan else head.message_count if head else 0
            gone = len(plan.remove) if plan else 0
            return self._output(
                "flush",
                head,
                dry_run=True,
                would_flush=bool(gone),
                messages_flushed=gone,
                remaining_messages=remaining,
                tokens_freed=plan.freed_tokens if plan else 0,
                summary_created=False,
                actual_strategy="simple_fifo",
            )
        if await self._head() is None:
            return self._flushed(None, 0, 0)
        return await self._flush_under_lease(config, idempotency_key)

    async def _flush_under_lease(self, config: FlushConfig, idempotency_key: str | None) -> Json:
        lease = await self.store.lease(
            self.address,
            holder=f"flush-{random.getrandbits(64):016x}",
            ttl=self.resource.locking.flush_ttl,
        )
        if lease is None:
            raise FlushPending(f"memory {self.resource.id!r} is being flushed already: try again")
        try:
            return await self._flush_with(lease, config, idempotency_key)
        finally:
            await asyncio.shield(self.store.release(lease))

    async def _flush_with(
        self, lease: Lease, config: FlushConfig, idempotency_key: str | None
    ) -> Json:
        for _ in range(_MAX_ROUNDS):
            head, plan = await self._flush_plan(config)
            if plan is None or not plan.remove:
                return self._flushed(head, 0, 0)
            try:
                result = await self.store.fold(
                    self.address,
                    plan.remove,
                    archive_as="flush",
                    key=idempotency_key,
                    lease=lease,
                )
            except VersionConflict:
                await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311 - jitter
                continue
            return self._flushed(result.head, len(plan.remove), plan.freed_tokens)
        raise FlushPending("other writers keep changing this memory: try again")

    async def _flush_plan(self, config: FlushConfig) -> tuple[Head | None, FlushPlan | None]:
        conversation = await self.store.load(self.address)
        if conversation is None:
            return None, None
        head = conversation.head
        due = is_due(self.resource, head.message_count, head.token_count, config.threshold)
        if not due and not config.force:
            return head, None
        return head, plan_flush(self.resource, conversation.records)

    def _flushed(self, head: Head | None, gone: int, freed: int) -> Json:
        return self._output(
            "flush",
            head,
            dry_run=False,
            messages_flushed=gone,
            remaining_messages=head.message_count if head else 0,
            tokens_freed=freed,
            summary_created=False,
            actual_strategy="simple_fifo",
        )

    # ---- shared ----------------------------------------------------------------------------------

    async def _recall(self, idempotency_key: str | None) -> Written | None:
        if idempotency_key is None:
            return None
        return await self.store.recall(self.address, idempotency_key)

    async def _head(self) -> Head | None:
        conversation = await self.store.load(self.address, last=0)
        return conversation.head if conversation else None

    def _ttl_remaining(self, head: Head | None) -> str | None:
        if head is None:
            return None
        if head.expires_at is None:
            return "never"
        return format_duration(max(head.expires_at - self.store.clock.now(), timedelta(0)))

    def _output(self, operation: str, head: Head | None, **fields: Any) -> Json:
        return {
            "success": True,
            "operation": operation,
            "memory_ref": self.resource.id,
            "key": self.key,
            "message_count": head.message_count if head else 0,
            "token_count": head.token_count if head else 0,
            **fields,
        }


def _total(config: ReadConfig, conversation: Conversation | None) -> int:
    if conversation is None:
        return 0
    if config.source == "live":
        return conversation.head.message_count
    return len(conversation.records) if config.batch else conversation.head.archived_count


def _report(admitted: Admitted, memory: Memory) -> Json:
    """What the privacy policy did; a silent drop would look like a lost message."""
    report: Json = {"dropped_by_policy": admitted.dropped, "redactions": admitted.redactions}
    if admitted.dropped:
        kinds = ", ".join(memory.resource.privacy_policy.non_persistable_message_types)
        report["warning"] = (
            f"{admitted.dropped} of the messages were not stored: the privacy policy of "
            f"{memory.resource.id!r} does not keep {kinds}"
        )
    return report


def _iso(moment: Any) -> str:
    return str(moment.isoformat().replace("+00:00", "Z"))
