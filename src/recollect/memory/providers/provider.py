"""Seed 004's provider over any store, written once: what differs between backends is the store."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from recollect.errors import (
    InvalidInput,
    MemoryConnectionError,
    MemoryError,  # noqa: A004  # seed 004's name
    MemoryNotFoundError,
    StoreError,
)
from recollect.memory.providers import regeneration
from recollect.memory.providers.deadline import within
from recollect.memory.providers.metadata import given, shown
from recollect.memory.providers.retention import Retention
from recollect.memory.providers.searching import find
from recollect.memory.providers.settings import seconds, whole, words
from recollect.memory.providers.statistics import (
    Asking,
    ResponseTimes,
    healthy,
    sums,
    told,
    unhealthy,
)
from recollect.memory.providers.types import (
    ConversationMemory,
    Failure,
    MemoryQuery,
    Result,
    Success,
    checked_messages,
)
from recollect.memory.providers.writing import Sweeping, clear_user, create
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.records import Conversation, ConversationId, Full, NewRecord, Written

HEALTH_TIMEOUT_SECONDS = 5.0

Write = Callable[..., Awaitable[Written | Full]]  # append or replace; Full needs limits, unset here

_MOST = 2**63 - 1
_DONE: Success[None] = Success(None)
_log = logging.getLogger(__name__)


class StoreProvider:
    """Keeps conversations in a store. It is a ``MemoryProvider``, and all of seed 004 besides.

    **Arguments** that are refused raise InvalidInput from every method, before the store is asked:
    an id that is empty, longer than 512 characters or has control characters, metadata that are no
    JSON, anything of a wrong type. **Writers** (``store_messages``, ``append_messages`` and the three
    about regeneration) answer a Result and do not raise when the store fails. **Readers** return
    plain values and raise MemoryConnectionError when the store cannot be reached, else
    MemoryStorageError. After ``close`` everything but ``health_check`` raises MemoryConnectionError.

    Each write is one atomic step: it happens whole or not at all, and appends of any number of
    writers all survive. After a MemoryConnectionError nothing was stored, so it may be repeated. When
    the ``cause`` of a MemoryStorageError is an OutcomeUnknown, the write may or may not have been
    stored: read before repeating it, or give writes a ``key``.

    Args:
        store: where; opened, or one that opens itself. ``close`` closes it.
        name: how errors and reports name the provider.
        namespace: what its conversations share with those of no other provider of the store.
        ttl: how long a conversation is kept after it was last written to; None keeps it for ever.
        retention: drops what is beyond limits; only for a store in this process.
    """

    def __init__(
        self,
        store: Store,
        *,
        name: str,
        namespace: str = "conversations",
        ttl: timedelta | None = None,
        retention: Retention | None = None,
    ) -> None:
        self.name = name
        self._store = store
        self._namespace = namespace
        self._ttl = ttl
        self._retention = retention
        self._sweeping = Sweeping(store)
        self._times = ResponseTimes(store.clock.monotonic)
        self._is_closed = False

    # ---- writers ---------------------------------------------------------------------------------

    async def store_messages(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        metadata: Mapping[str, Any] | None = None,
        *,
        ttl: float | timedelta | None = None,
        key: str | None = None,
    ) -> Result[None, MemoryError]:
        """Make these the messages of the conversation; creates a missing one, an empty one too.

        Metadata are merged by top-level name over the earlier ones. ``metadata["user_id"]`` says
        whom the conversation belongs to; without it, that stays as it is. ``ttl`` (seconds) stands in
        for the provider's. A write that comes again with the same ``key`` and body changes nothing.
        """
        return await self._write(
            "store_messages", self._store.replace, conversation_id, messages, metadata, ttl, key
        )

    async def append_messages(
        self,
        conversation_id: str,
        messages: Sequence[Message],
        metadata: Mapping[str, Any] | None = None,
        *,
        ttl: float | timedelta | None = None,
        key: str | None = None,
    ) -> Result[None, MemoryError]:
        """Add messages behind the existing ones; creates a missing conversation.

        Costs the same however long the conversation is. All else is as for ``store_messages``.
        """
        return await self._write(
            "append_messages", self._store.append, conversation_id, messages, metadata, ttl, key
        )

    async def _write(
        self,
        operation: str,
        write: Write,
        conversation_id: str,
        messages: Sequence[Message],
        metadata: Mapping[str, Any] | None,
        ttl: float | timedelta | None,
        key: str | None,
    ) -> Result[None, MemoryError]:
        address = self._address(conversation_id)
        records = [NewRecord(message) for message in checked_messages(messages)]
        asked = given(metadata)
        lifetime = self._ttl if ttl is None else _lifetime(ttl)
        start = self._times.monotonic()
        written: Written | Full | None = None
        try:
            if asked.created_at is not None:
                written = await create(self._store, address, records, asked, lifetime, key)
            written = written or await write(
                address,
                records,
                metadata=asked.stored,
                owner=asked.user_id,
                ttl=lifetime,
                key=key,
            )
            if self._retention is not None and isinstance(written, Written):
                await self._retention.wrote(written)
        except StoreError as error:
            return Failure(told(error, self.name, operation))
        self._times.took(self._times.monotonic() - start)
        if lifetime is not None:
            await self._sweeping.wrote()
        return _DONE

    async def delete_conversation(self, conversation_id: str) -> bool:
        """Remove the conversation with everything that belongs to it; tell whether it existed."""
        address = self._address(conversation_id)
        with Asking(self.name, "delete_conversation", self._times):
            existed = await self._store.delete(address)
        self._gone(address)
        return existed

    async def clear_user_conversations(self, user_id: str) -> int:
        """Remove all conversations of that user, and of nobody else; return how many there were."""
        self._check_open()
        words("user_id", user_id)
        with Asking(self.name, "clear_user_conversations", self._times):
            return await clear_user(self._store, self._namespace, user_id, self._gone)

    # ---- readers ---------------------------------------------------------------------------------

    async def get_conversation(
        self, conversation_id: str, *, last: int | None = None
    ) -> ConversationMemory | None:
        """Return the whole conversation, of one moment; None if there is none.

        With ``last``, only so many of its newest messages; ``total_messages`` counts all.
        """
        if last is not None:
            whole(0)("last", last)
        found = await self._load("get_conversation", conversation_id, last)
        return None if found is None else self._shown(found)

    async def get_recent_messages(self, conversation_id: str, limit: int = 50) -> list[Message]:
        """Return the last ``limit`` messages, oldest first; reads no others. 0 or less: none.

        Raises:
            MemoryNotFoundError: there is no such conversation.
        """
        whole(-_MOST)("limit", limit)
        found = await self._load("get_recent_messages", conversation_id, max(limit, 0))
        if found is None:
            raise self._missing(conversation_id)
        return [record.message for record in found.records]

    async def find_conversations(self, query: MemoryQuery) -> list[ConversationMemory]:
        """Return the conversations that match, the one last written to first."""
        self._check_open()
        if not isinstance(query, MemoryQuery):
            raise InvalidInput(f"query is a {type(query).__name__}: it must be a MemoryQuery")
        with Asking(self.name, "find_conversations", self._times):
            found = await find(self._store, self._namespace, query)
        return [self._shown(one) for one in found]

    async def get_stats(self, user_id: str | None = None) -> dict[str, Any]:
        """Sum up all conversations, or those of one user.

        Returns:
            ``total_conversations``, ``total_messages``, ``avg_messages_per_conversation``,
            ``total_storage_size`` (bytes of the messages as they are stored), and
            ``oldest_conversation``, ``newest_conversation``: when the first and the last one began,
            ISO 8601. For a user, ``user_conversations`` and ``user_messages`` too.
        """
        self._check_open()
        if user_id is not None:
            words("user_id", user_id)
        with Asking(self.name, "get_stats", self._times):
            totals = await self._store.measure(self._namespace, owner=user_id)
        return sums(totals, user_id)

    async def health_check(self) -> dict[str, Any]:
        """Ask the store for an answer within five seconds; never raises.

        Returns:
            ``healthy``, ``provider``, and if so ``message``, ``latency_ms``, ``details`` (where, how
            durable) and ``metrics``: ``active_connections`` (ours), ``memory_usage`` (bytes taken
            where the conversations are kept: by this process, the Redis server, the PostgreSQL
            tables, the SQLite file), ``avg_response_time`` (milliseconds, the last 100 calls). If
            not, ``error``.
        """
        start = self._times.monotonic()
        try:
            self._check_open()
            with Asking(self.name, "health_check", self._times):
                info = await within(HEALTH_TIMEOUT_SECONDS, self._store.ping())
        except TimeoutError:
            why = f"{self.name} did not answer within {HEALTH_TIMEOUT_SECONDS:g} s"
            return unhealthy(self.name, why)
        except MemoryError as error:
            return unhealthy(self.name, str(error))
        return healthy(self.name, info, self._times.monotonic() - start, self._times)

    async def close(self) -> None:
        """Finish what was acknowledged and let go of the store. Idempotent.

        A client, connection or pool that was passed in stays open.
        """
        self._is_closed = True
        with Asking(self.name, "close", self._times):
            await self._store.close()

    # ---- regeneration ----------------------------------------------------------------------------

    async def truncate_conversation_after(
        self, conversation_id: str, message_id: str
    ) -> Result[int, MemoryError]:
        """Remove that message and all after it; answers how many. An unknown message: none.

        The metadata then say ``regeneration_truncated``, ``truncated_at``, ``messages_removed``.
        """
        words("message_id", message_id)
        address = self._address(conversation_id)
        try:
            with Asking(self.name, "truncate_conversation_after", self._times):
                cut = await regeneration.truncate(self._store, address, message_id, self._ttl)
        except MemoryError as error:
            return Failure(error)
        if cut is None:
            return Failure(self._missing(conversation_id))
        if self._retention is not None:
            await self._retention.used(cut.head)
        return Success(cut.removed)

    async def get_conversation_until_message(
        self, conversation_id: str, message_id: str
    ) -> Result[ConversationMemory | None, MemoryError]:
        """Answer the conversation up to, without, that message; None if there is no such message.

        The copy's metadata say ``truncated_for_regeneration``, ``truncated_until_message``,
        ``original_message_count`` and ``truncated_message_count``. Nothing is stored.
        """
        words("message_id", message_id)
        self._check_open()
        try:
            found = await self._load("get_conversation_until_message", conversation_id, None)
        except MemoryError as error:
            return Failure(error)
        if found is None:
            return Success(None)
        return Success(regeneration.until(self._shown(found), message_id))

    async def mark_regeneration_point(
        self, conversation_id: str, message_id: str, regeneration_metadata: Mapping[str, Any]
    ) -> Result[None, MemoryError]:
        """Add ``{message_id, timestamp, **regeneration_metadata}`` to ``regeneration_points``.

        That list is in the conversation's metadata, beside ``last_regeneration`` and
        ``regeneration_count``; marks that are set at the same time all survive.
        """
        words("message_id", message_id)
        point = regeneration.point(message_id, regeneration_metadata, self._store.clock.now())
        address = self._address(conversation_id)
        try:
            with Asking(self.name, "mark_regeneration_point", self._times):
                head = await regeneration.mark(self._store, address, point, self._ttl)
        except MemoryError as error:
            return Failure(error)
        if head is None:
            return Failure(self._missing(conversation_id))
        if self._retention is not None:
            await self._retention.used(head)
        return _DONE

    # ---- what they share -------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self._is_closed:
            raise MemoryConnectionError(f"this {self.name} provider is closed", self.name)

    def _address(self, conversation_id: str) -> ConversationId:
        self._check_open()
        return ConversationId(self._namespace, conversation_id)

    async def _load(
        self, operation: str, conversation_id: str, last: int | None
    ) -> Conversation | None:
        address = self._address(conversation_id)
        with Asking(self.name, operation, self._times):
            found = await self._store.load(address, last=last)
        if found is not None and self._retention is not None:
            self._retention.read(address)
        if found is not None and found.damaged:
            _log.warning(
                "%s: %d messages of conversation %r cannot be read; they were left where they are",
                self.name,
                len(found.damaged),
                conversation_id,
            )
        return found

    def _shown(self, found: Conversation) -> ConversationMemory:
        head = found.head
        return ConversationMemory(head.conversation.id, head.owner, found.messages, shown(found))

    def _missing(self, conversation_id: str) -> MemoryNotFoundError:
        text = f"there is no conversation {conversation_id!r}"
        return MemoryNotFoundError(text, self.name, conversation_id)

    def _gone(self, address: ConversationId) -> None:
        if self._retention is not None:
            self._retention.deleted(address)


def _lifetime(ttl: float | timedelta) -> timedelta:
    if isinstance(ttl, timedelta):
        ttl = ttl.total_seconds()
    seconds(0.001)("ttl", ttl)
    return timedelta(seconds=ttl)
