"""A table of the seed's shape (seed 004, the original's too) becomes conversations of ours.

Every row is read and checked before anything is changed. Then the table is moved aside, so that nobody
writes to it any more, its rows are restored one by one as an import would, all are compared, and only
then is it put away. Killed at any moment, the same call goes on.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from recollect.errors import ConfigError, InvalidInput, MigrationNeeded, StoreCorrupt
from recollect.memory.data.copying import Part, Whole, restore
from recollect.memory.data.export_format import Begin, Digest, Kept
from recollect.memory.keys import checked_key
from recollect.memory.providers import metadata
from recollect.messages import Message, encode
from recollect.stores.records import ConversationId, NewRecord

if TYPE_CHECKING:
    from recollect.stores.postgres.seed_table import SeedRow, SeedSource

State = Literal["waiting", "begun", "done", "absent"]
Progress = Callable[[int, int], None]
"""Told of (conversations, messages) so far, after each conversation."""

_MOST_NAMED = 20
_FIELDS = {"role", "content", "attachments", "tool_call_id", "tool_calls", "message_id", "timestamp",
           "metadata"}  # fmt: skip
_LATER_NAMES = ("updated_at", "last_activity")
_UNKNOWN_TIME = datetime(2000, 1, 1, tzinfo=UTC)  # only while a table without times is checked
_encoder = msgspec.json.Encoder(order="sorted")


def _unheard(conversations: int, messages: int) -> None:
    """Listen to no progress."""


@dataclass(slots=True, kw_only=True)
class Survey:
    """What is in a table, before or after a migration.

    Attributes:
        state: of the migration: not begun, begun, ended, or nothing to migrate.
        unreadable: rows that cannot be brought over, by conversation id, with the reason; at most 20.
    """

    state: State
    conversations: int = 0
    messages: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    unreadable_count: int = 0

    def count(self, whole: Whole) -> None:
        """Take note of a row."""
        self.conversations += 1
        self.messages += sum(1 for _ in whole.parts())

    def refuse(self, row: "SeedRow", error: InvalidInput) -> None:
        """Take note of a row that cannot be read."""
        self.unreadable_count += 1
        if len(self.unreadable) < _MOST_NAMED:
            self.unreadable[row.conversation_id[:80]] = str(error)


async def survey(
    source: "SeedSource", namespace: str, *, on_progress: Progress = _unheard
) -> Survey:
    """Read and check every row; change nothing."""
    while True:
        state = await _state(source)
        try:
            return await _surveyed(source, state, namespace, on_progress)
        except StoreCorrupt:
            if await _state(source) == state:
                raise
            # another process has moved the table meanwhile: look where it is now


async def _surveyed(
    source: "SeedSource", state: State, namespace: str, on_progress: Progress
) -> Survey:
    found = Survey(state=state)
    if state in {"waiting", "begun"}:
        async for row in source.rows(moved=state == "begun"):
            try:
                found.count(whole_of(row, namespace))
            except InvalidInput as error:
                found.refuse(row, error)
            on_progress(found.conversations, found.messages)
    return found


async def _state(source: "SeedSource") -> State:
    seen = await source.look()
    if seen.is_begun:
        return "begun"
    if seen.is_there and seen.was_done:
        raise ConfigError(
            f"{source.names['original']} is there from an earlier migration, and "
            f"{source.names['table']} is a table of another library again: rename or drop the first"
        )
    if seen.is_there:
        return "waiting"
    return "done" if seen.was_done else "absent"


async def migrate(
    source: "SeedSource", namespace: str, *, on_progress: Progress = _unheard
) -> Survey:
    """Bring a table over; returns what was brought. Does nothing if there is nothing to bring.

    Raises:
        InvalidInput: rows cannot be read: nothing was changed.
        MigrationNeeded: it could not be ended; the text says why, and the next call goes on.
        StoreError: the database failed; the next call goes on.
    """
    found = await survey(source, namespace)
    if found.unreadable_count:
        names = ", ".join(map(repr, list(found.unreadable)[:3]))
        raise InvalidInput(
            f"{found.unreadable_count} rows cannot be brought over (such as {names}), so nothing was "
            "changed: mend or remove them; without --apply each is named with the reason"
        )
    if found.state in {"done", "absent"}:
        return found
    try:
        return await _brought_over(source, namespace, on_progress)
    except StoreCorrupt:
        if await _state(source) != "done":
            raise
        return Survey(state="done")  # another process has put the table away meanwhile


async def _brought_over(source: "SeedSource", namespace: str, on_progress: Progress) -> Survey:
    store = await source.begin()
    done = Survey(state="done")
    async for row in source.rows(moved=True):
        whole = whole_of(row, namespace)
        if await restore(store, whole) == "kept":
            raise MigrationNeeded(
                f"there is another conversation {row.conversation_id!r:.80} in {namespace!r} "
                "already: delete it, or choose another namespace, and do this again"
            )
        done.count(whole)
        on_progress(done.conversations, done.messages)
    verified = 0
    async for row in source.rows(moved=True):
        outcome = await restore(store, whole_of(row, namespace), dry_run=True)
        verified += outcome == "present"
    if verified != done.conversations:
        raise StoreCorrupt(
            f"{done.conversations} rows were brought over, but only {verified} are found again as "
            f"they were: {source.names['migrating']} still has them all, do this again"
        )
    await source.finish()
    return done


# ---- one row -------------------------------------------------------------------------------------


def whole_of(row: "SeedRow", namespace: str) -> Whole:
    """Return the conversation that a row holds; the same one each time.

    Raises:
        InvalidInput: it holds something that no conversation can; the text never quotes it.
    """
    name = checked_key(row.conversation_id)
    given = _decoded(row.metadata, "metadata")
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise InvalidInput("the metadata is no JSON object")
    kept = metadata.given({**given, "created_at": _time_text(given.get("created_at"))})
    created_at, updated_at = _times(row, _time(kept.created_at), given)
    owner = row.user_id or kept.user_id or None
    parts = [
        Part(NewRecord(message), created_at, None)
        for message in _messages(row.messages, name, created_at)
    ]
    stored = {key: msgspec.Raw(_encoder.encode(value)) for key, value in kept.stored.items()}
    begin = Begin(namespace, name, owner, created_at, updated_at, None, stored)
    digest = Digest(begin)
    for part in parts:
        digest.add(Kept(0, 0, created_at, msgspec.Raw(encode(part.record.message))))

    def begun() -> Iterator[Part]:
        return iter(parts)

    return Whole(
        conversation=ConversationId(namespace, name),
        owner=owner,
        created_at=created_at,
        updated_at=updated_at,
        expires_at=None,
        metadata=kept.stored,
        digest=digest.text(),
        parts=begun,
    )


def _times(
    row: "SeedRow", created_at: datetime | None, given: Mapping[str, Any]
) -> tuple[datetime, datetime]:
    """Return creation and last activity.

    The metadata know better than the columns, which the original never moves or does not have.
    """
    noted = [_time(_time_text(given.get(name))) for name in _LATER_NAMES]
    later = [moment for moment in noted if moment] or [row.updated_at or _UNKNOWN_TIME]
    created_at = created_at or min([row.created_at or _UNKNOWN_TIME, *later])
    return created_at, max([created_at, *later])


def _messages(text: str, name: str, created_at: datetime) -> list[Message]:
    found = _decoded(text, "messages")
    if found is None:
        return []
    if not isinstance(found, list):
        raise InvalidInput("the messages are no JSON list")
    return [_message(value, f"{name}\0{number}", created_at) for number, value in enumerate(found)]


def _message(value: object, place: str, created_at: datetime) -> Message:
    """Return a message; what it lacks is made from its place, so that it is the same each time."""
    if not isinstance(value, Mapping):
        raise InvalidInput("a message is no JSON object")
    fields = {key: item for key, item in value.items() if key in _FIELDS and item is not None}
    if "role" not in fields:
        raise InvalidInput("a message has no role")
    if not fields.get("message_id"):
        digest = hashlib.sha256(place.encode()).hexdigest()[:8]
        fields["message_id"] = f"msg_{int(created_at.timestamp() * 1000)}_{digest}"
    fields["timestamp"] = _time(_time_text(fields.get("timestamp"))) or created_at
    return Message(**fields)


def _decoded(text: str | None, what: str) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise InvalidInput(f"the {what} cannot be read as JSON") from None


def _time_text(value: object) -> str | None:
    """Return the text if it is a time; what else a table has there does not count."""
    return value if isinstance(value, str) and _time(value) else None


def _time(text: str | None) -> datetime | None:
    """Return the moment; a time without a zone is local, as the original wrote it."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC) if text else None
    except (ValueError, OverflowError):
        return None
