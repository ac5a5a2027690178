"""What callers give a store, checked once for all backends: what passes here, each of them can keep."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NoReturn

import msgspec

from recollect.errors import InvalidConversationId, InvalidInput, InvalidMessage
from recollect.frozen import check_text, freeze
from recollect.messages import body, encode
from recollect.stores.records import (
    CallLimits,
    Change,
    ConversationId,
    Key,
    NewRecord,
    Order,
    Row,
    Search,
    Slice,
    Source,
)

MAX_PAGE = 1000

_UNUSABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST = 512  # characters of an address
_NO_TIME = timedelta(0)
_MAX_TTL = timedelta(days=365 * 100)
_body_encoder = msgspec.json.Encoder(order="sorted")

# ---- addresses and names -------------------------------------------------------------------------


def conversation_of(conversation: ConversationId) -> ConversationId:
    """Refuse an address that no backend could keep."""
    try:
        return _known_conversation(conversation)
    except TypeError:  # not even hashable
        raise InvalidConversationId("a conversation is a ConversationId of two texts") from None


@lru_cache(maxsize=4096)  # a conversation is written to many times
def _known_conversation(conversation: ConversationId) -> ConversationId:
    namespace, name = conversation
    checked_address(namespace, "namespace")
    checked_address(name, "conversation id")
    return conversation


def checked_address(text: str, what: str) -> str:
    """Refuse what no backend could keep as an address."""
    if type(text) is str and 0 < len(text) <= _LONGEST and text.isascii() and text.isprintable():
        return text  # the usual one, without a search
    if not isinstance(text, str):
        _refuse_address(what, f"is a {type(text).__name__}, not text")
    if not text:
        _refuse_address(what, "is empty")
    if len(text) > _LONGEST:
        _refuse_address(what, f"has {len(text)} characters: at most {_LONGEST} are allowed")
    bad = _UNUSABLE.search(text)
    if bad:
        kind = "lone surrogate" if "\ud800" <= bad.group() <= "\udfff" else "control character"
        _refuse_address(what, f"has a {kind} (U+{ord(bad.group()):04X}) at {bad.start()}")
    return text


def _refuse_address(what: str, why: str) -> NoReturn:
    raise InvalidConversationId(f"the {what} {why}")


def checked_label(archive_as: str | None) -> str | None:
    """Refuse a label of the archive that no backend could keep."""
    if archive_as is None:
        return None
    if not isinstance(archive_as, str):
        raise InvalidInput(f"an archive label is text, not a {type(archive_as).__name__}")
    if not 0 < len(archive_as) <= 1024:
        raise InvalidInput("an archive label has 1 to 1024 characters")
    check_text(archive_as, "an archive label")
    return archive_as


# ---- times ---------------------------------------------------------------------------------------


def checked_ttl(ttl: timedelta) -> timedelta:
    """Refuse a time to live that is none, or too long for a date."""
    if not _NO_TIME < ttl <= _MAX_TTL:
        raise InvalidInput("a ttl is longer than nothing and shorter than a hundred years")
    return ttl


def dated(change: Change, at: datetime) -> Change:
    """Return the change as one of the past."""
    if at.tzinfo is None:
        raise InvalidInput("at has no time zone: give it one, such as UTC")
    if at > change.now:
        raise InvalidInput("at lies in the future: a write is made now, or was made before")
    return msgspec.structs.replace(change, now=at.astimezone(UTC))


# ---- contents ------------------------------------------------------------------------------------


def rows_of(records: Sequence[NewRecord], limits: CallLimits) -> tuple[list[Row], int]:
    """Encode the messages; return them with the sum of their tokens."""
    if len(records) > limits.call_messages:
        raise InvalidMessage(
            f"{len(records)} messages in one call: at most {limits.call_messages} are allowed"
        )
    rows: list[Row] = []
    total = tokens = 0
    for record in records:
        message = record.message
        data = encode(message)
        total += len(data)
        tokens += record.tokens
        rows.append(Row(message, record.tokens, data))
    if total > limits.message_bytes:
        for i, row in enumerate(rows):
            if len(row.data) > limits.message_bytes:
                raise InvalidMessage(
                    f"message[{i}] has {len(row.data):,} bytes: at most {limits.message_bytes:,} "
                    "are allowed"
                )
    if total > limits.call_bytes:
        raise InvalidMessage(
            f"{total:,} bytes in one call: at most {limits.call_bytes:,} are allowed"
        )
    return rows, tokens


def metadata_texts(metadata: Mapping[str, Any]) -> dict[str, str | None]:
    """Return each top-level value as JSON text; None where a name is to be removed."""
    frozen = freeze(metadata)
    return {
        name: None if value is None else _body_encoder.encode(value).decode()
        for name, value in frozen.items()
    }


def key_of(
    name: str,
    kind: str,
    records: Sequence[NewRecord],
    metadata: Mapping[str, str | None],
) -> Key:
    """Return the key with the hash of what comes with it; see the contract on bodies."""
    bodies = [body(record.message) for record in records]
    text = _body_encoder.encode((kind, bodies, metadata))
    return Key(checked_address(name, "idempotency key"), hashlib.sha256(text).digest())


# ---- what is asked for ---------------------------------------------------------------------------


def slice_of(
    last: int | None,
    offset: int,
    limit: int | None,
    after: int | None,
    source: Source,
    batch: str | None,
) -> Slice:
    """Return which records are wanted; refuse two ways of choosing them."""
    if (last is not None) + (after is not None) + (offset != 0) > 1:
        raise InvalidInput("choose by last, by offset, or by after: not by two at once")
    if last is not None and limit is not None:
        raise InvalidInput("choose by last or by limit, not by both")
    for name, number in (("last", last), ("offset", offset), ("limit", limit), ("after", after)):
        if number is not None and number < 0:
            raise InvalidInput(f"{name} is {number}: it cannot be negative")
    if source not in {"live", "archive"}:
        raise InvalidInput(f"source is {source!r:.40}: it must be live or archive")
    if batch is not None and source == "live":
        raise InvalidInput("a batch is part of the archive: ask with source='archive'")
    return Slice(
        last=last,
        offset=offset,
        limit=limit,
        after=after,
        source=source,
        batch=checked_label(batch) if batch else batch,
    )


def search_of(
    namespace: str,
    now: datetime,
    *,
    owner: str | None,
    since: datetime | None,
    until: datetime | None,
    prefix: str | None,
    order: Order,
    cursor: str | None,
    limit: int,
) -> Search:
    """Return which heads are wanted."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit is {limit}: a page holds 1 to {MAX_PAGE} conversations")
    if order not in {"active", "created"}:
        raise InvalidInput(f"order is {order!r:.40}: it must be active or created")
    for name, moment in (("since", since), ("until", until)):
        if moment is not None and moment.tzinfo is None:
            raise InvalidInput(f"{name} has no time zone: give it one, such as UTC")
    return Search(
        namespace=checked_address(namespace, "namespace"),
        now=now,
        owner=owner if owner is None else checked_address(owner, "owner"),
        since=since,
        until=until,
        prefix=checked_address(prefix, "prefix") if prefix else None,
        order=order,
        cursor=cursor,
        limit=limit,
    )
