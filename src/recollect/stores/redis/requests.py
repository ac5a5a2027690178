"""What the scripts are told: the arguments of each, in their order."""

from datetime import timedelta

from recollect.stores.base import KEY_RETENTION
from recollect.stores.moments import to_micros
from recollect.stores.records import Change, ConversationId, Lease, Slice
from recollect.stores.redis.lane import Command
from recollect.stores.redis.names import quote

_MICROSECOND = timedelta(microseconds=1)
_RETENTION = KEY_RETENTION // _MICROSECOND


def writing(change: Change, prefix: str, generation: bytes) -> Command:
    """Return the arguments of a write; ``prefix`` is that of the indexes it can reach."""
    now = to_micros(change.now)
    key, lease, limits, rows = change.key, change.lease, change.limits, change.rows
    metadata: list[str] = []
    for name, text in change.metadata.items():
        metadata += (name, text or "")
    size = 0
    items = []
    for row in rows:
        size += len(row.data)
        items.append(b"%d|%d|%b" % (row.tokens, now, row.data))
    return (
        now,
        "" if change.ttl is None else now + change.ttl // _MICROSECOND,
        change.owner or "",
        *((key.name, key.body_hash.hex(), now + _RETENTION) if key else ("", "", "")),
        *((lease.generation, lease.fence) if lease else ("", "")),
        _number(change.expect_version),
        _number(limits.max_messages),
        _number(limits.max_tokens),
        limits.message_overhead_tokens,
        change.archive_as or "",
        generation,
        prefix,
        quote(change.conversation.namespace),
        change.conversation.id,
        change.tokens,
        size,
        len(change.remove),
        len(metadata),
        *change.remove,
        *metadata,
        *items,
    )


def loading(part: Slice, now: int) -> Command:
    """Return the arguments of ``load``."""
    if part.last is not None:
        chosen: Command = ("last", part.last)
    elif part.after is not None:
        chosen = ("after", part.after)
    else:
        chosen = ("offset", part.offset)
    limit = -1 if part.limit is None else part.limit
    label = None if part.batch is None else part.batch.encode()
    batch = b"" if label is None else b"%d:%b" % (len(label), label)
    return (now, part.source, *chosen, limit, batch)


def plain_loading(part: Slice, key: str) -> list[Command] | None:
    """Return commands that give head, metadata and items; None if it takes a script to choose them."""
    if part.after is not None or part.batch is not None:
        return None
    first, last = part.offset, -1
    if part.last is not None:
        first = -part.last
    elif part.limit is not None:
        last = part.offset + part.limit - 1
    if 0 in {part.last, part.limit}:
        first, last = 1, 0  # nothing
    items = key + (":messages" if part.source == "live" else ":archive")
    return [("GET", key), ("HGETALL", f"{key}:metadata"), ("LRANGE", items, first, last)]


def leasing(holder: str, ttl: timedelta, now: int) -> Command:
    """Return the arguments of ``lease``."""
    return (now, holder, now + ttl // _MICROSECOND)


def releasing(lease: Lease, now: int) -> Command:
    """Return the arguments of ``release``."""
    return (now, lease.generation, lease.fence)


def sweeping(conversation: ConversationId, prefix: str, now: int) -> Command:
    """Return the arguments of ``sweep``."""
    return (now, prefix, quote(conversation.namespace), conversation.id)


def _number(value: int | None) -> int | str:
    return "" if value is None else value
