"""The metadata of a provider's conversations: what the caller gave, and what the provider adds.

Readers find beside the caller's names ``created_at``, ``updated_at``, ``last_activity`` (ISO 8601,
UTC), ``total_messages`` and, when it is known, ``user_id``. Writers heed ``user_id``, and
``created_at`` where it creates the conversation (a backup is imported); the other three are ignored,
so that what was read may be stored again.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from recollect.errors import InvalidInput
from recollect.frozen import FrozenDict, freeze
from recollect.memory.providers.types import checked_metadata
from recollect.stores.records import Conversation

_ADDED = frozenset({"created_at", "updated_at", "last_activity", "total_messages", "user_id"})
_WRAPPED = "$value"


class Given(NamedTuple):
    """What a caller's metadata ask for.

    ``stored`` are the names to be merged; ``user_id`` None leaves the stored one; ``created_at`` is
    ISO 8601 text.
    """

    stored: Mapping[str, Any]
    user_id: str | None = None
    created_at: str | None = None


NOTHING = Given({})


def given(metadata: Mapping[str, Any] | None) -> Given:
    """Take a caller's metadata apart; they are only looked at.

    Raises:
        InvalidInput: they are no mapping, or hold what JSON has no place for; the text names where.
    """
    if metadata is None:
        return NOTHING
    frozen = freeze(checked_metadata(metadata))
    stored = {name: _wrapped(value) for name, value in frozen.items() if name not in _ADDED}
    return Given(stored, _user(frozen.get("user_id")), _created(frozen.get("created_at")))


def shown(conversation: Conversation) -> FrozenDict:
    """Return what a reader is given."""
    head = conversation.head
    found = {name: _unwrapped(value) for name, value in conversation.decoded_metadata().items()}
    found.setdefault("created_at", head.created_at.isoformat())
    found["updated_at"] = found["last_activity"] = head.updated_at.isoformat()
    found["total_messages"] = head.message_count
    if head.owner is not None:
        found["user_id"] = head.owner
    frozen: FrozenDict = freeze(found)
    return frozen


def trace_of(conversation: Conversation) -> object:
    """Return the ``trace_id`` of its metadata, None without one."""
    return conversation.decoded_metadata().get("trace_id")


def _wrapped(value: Any) -> Any:
    """Hide None, which a store takes for the removal of a name."""
    if value is None or (isinstance(value, Mapping) and set(value) == {_WRAPPED}):
        return {_WRAPPED: value}
    return value


def _unwrapped(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {_WRAPPED}:
        return value[_WRAPPED]
    return value


def _user(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise InvalidInput(f"metadata.user_id is a {type(value).__name__}, not text")


def _created(value: object) -> str | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidInput(
            "metadata.created_at is no time: the name is the provider's, give a datetime or ISO "
            "8601 text, or use another name"
        )
    return moment.astimezone(UTC).isoformat()  # one without a zone is local time
