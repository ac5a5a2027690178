"""One operation, asked for by name: on the memory of one key, or on all that a pattern names."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, cast

import msgspec

from recollect.errors import InvalidInput
from recollect.memory import keys, wildcards
from recollect.memory.health import store_health
from recollect.memory.memory import Json, Memory
from recollect.memory.modes import Mode
from recollect.memory.operations import (
    ClearConfig,
    FlushConfig,
    HealthConfig,
    Operation,
    ReadConfig,
    StatsConfig,
)
from recollect.memory.payload import messages_of
from recollect.memory.privacy import Redactor
from recollect.memory.resource import Resource
from recollect.memory.sections import Section
from recollect.memory.wildcards import BATCH_SIZE, DESTRUCTIVE, MAX_KEYS, Selection
from recollect.stores.base import Store
from recollect.stores.records import Head


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One operation to perform.

    Attributes:
        key: the logical key; a ``*`` in it makes it a pattern. None only for ``health`` of the store.
        payload: for write and append, as rendered.
        config: the operation's settings, as rendered.
        idempotency_key: the same key and body take effect once.
        mode: what the reference allows that led here.
        run_id: the run that asks, if one does; what belongs to runs alone is removed with them.
        max_keys: how many conversations a pattern may name (see ``wildcards``).
        batch_size: how many are looked up at a time.
    """

    operation: Operation
    memory_ref: str
    key: str | None
    payload: object = None
    config: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    mode: Mode = "read-write"
    run_id: str | None = None
    max_keys: int = MAX_KEYS
    batch_size: int = BATCH_SIZE


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the conversations of a resource are; ``at`` opens one that was found."""

    resource: Resource
    store: Store
    namespace: str
    redactor: Redactor
    at: Callable[[Head], Memory]


async def perform_one(
    memory: Memory, request: Request, config: Section | None, now: datetime
) -> Json:
    """Perform an operation on one conversation.

    Raises:
        RecollectError: it failed and changed nothing (see its own error).
    """
    once = request.idempotency_key
    if getattr(config, "pattern", None) is not None:
        raise InvalidInput(
            f"{request.operation}_config.pattern filters the keys that a '*' names, but the key "
            "names one: leave the pattern out"
        )
    match request.operation:
        case "write" | "append":
            keys.refuse_reserved(memory.key)
            messages = messages_of(request.payload, now)
            add = memory.write if request.operation == "write" else memory.append
            return await add(messages, idempotency_key=once)
        case "read":
            return await memory.read(_of_backup(cast("ReadConfig", config), memory.key))
        case "delete":
            return await memory.delete(idempotency_key=once)
        case "flush":
            return await _flush(memory, cast("FlushConfig", config), once)
        case "clear":
            return await memory.clear(cast("ClearConfig", config), idempotency_key=once)
        case "health":
            return await memory.health(cast("HealthConfig", config))
        case "stats":
            return await memory.stats(cast("StatsConfig", config))


def _of_backup(config: ReadConfig, key: str) -> ReadConfig:
    """A ``backup_key`` reads the batch that its clear put into the archive."""
    if keys.backed_up_id(key) is None:
        return config
    return config.model_copy(update={"source": "archive", "batch": key})


async def _flush(memory: Memory, config: FlushConfig, once: str | None) -> Json:
    """Flush; then what is left lives for ``flush_ttl``. A crash in between leaves the old deadline."""
    output = await memory.flush(config, idempotency_key=once)
    ttl = memory.resource.flush_ttl
    if ttl is not None and output["messages_flushed"] and not output["dry_run"]:
        key = None if once is None else f"{once}/ttl"
        await memory.store.annotate(memory.address, ttl=ttl, key=key)
    return output


# ---- several -------------------------------------------------------------------------------------


async def perform_each(
    place: Place, request: Request, config: Section | None, now: datetime
) -> Json:
    """Perform an operation on every conversation whose key matches; see ``wildcards.each``.

    With an idempotency key only conversations that were there at ``now`` are meant, so that doing it
    again means the same ones.

    Raises:
        InvalidInput: the operation needs one key. TooManyKeys: more match than may be changed.
        RecollectError: it failed for every key.
    """
    operation = request.operation
    if operation in {"write", "append"}:
        raise InvalidInput(
            f"{operation} needs one key: the '*' in {request.key!r} names several conversations"
        )
    if operation == "health":
        return await _health_of_each(place, request, cast("HealthConfig", config), now)
    selection = _selection(place, request, config, now)
    if isinstance(config, ReadConfig):
        _check_read(config)
    if isinstance(config, ClearConfig) and not config.confirm:
        raise InvalidInput(
            "confirm flag must be true to clear memory: clear_config: {confirm: true}"
        )
    found = await wildcards.find(place.store, place.namespace, selection)
    if operation in DESTRUCTIVE:
        wildcards.refuse_too_many(operation, found, selection)
    memories = [place.at(head) for head in found.heads]
    about = _about(place, request)
    if isinstance(config, ReadConfig):
        return await wildcards.read_all(memories, found.heads, config, more=found.more, about=about)
    output = await wildcards.each(operation, memories, _work(request, config, now), about=about)
    return output if operation in DESTRUCTIVE else {**output, "has_more": found.more}


async def _health_of_each(
    place: Place, request: Request, config: HealthConfig, now: datetime
) -> Json:
    report, _ = await store_health(place.store, config, place.namespace, None)
    about = {**_about(place, request), **report}
    if not report["healthy"]:
        return {**about, "success": True}
    found = await wildcards.find(
        place.store, place.namespace, _selection(place, request, config, now)
    )
    memories = [place.at(head) for head in found.heads]
    quick = HealthConfig(check_connectivity=False)
    output = await wildcards.each("health", memories, _work(request, quick, now), about=about)
    healthy = all(result.get("healthy") for result in output["results"])
    return {**output, "healthy": healthy, "has_more": found.more}


def _work(
    request: Request, config: Section | None, now: datetime
) -> Callable[[Memory], Awaitable[Json]]:
    one = config
    if one is not None and hasattr(one, "pattern"):
        one = one.model_copy(update={"pattern": None})
    return lambda memory: perform_one(memory, request, one, now)


def _selection(place: Place, request: Request, config: Section | None, now: datetime) -> Selection:
    texts = [cast("str", request.key)]
    if narrower := getattr(config, "pattern", None):
        texts.append(narrower)
    repeatable = request.operation in DESTRUCTIVE and request.idempotency_key is not None
    return Selection(
        patterns=tuple(keys.pattern_of(text, place.redactor) for text in texts),
        max_keys=getattr(config, "max_keys", None) or request.max_keys,
        batch_size=request.batch_size,
        created_until=now if repeatable else None,
    )


def _check_read(config: ReadConfig) -> None:
    if config.last is not None and (config.limit is not None or config.offset):
        raise InvalidInput("read_config: choose by last, or by limit and offset, not by both")
    if config.batch is not None:
        raise InvalidInput("read_config.batch is part of one archive: name one key, without '*'")


def _about(place: Place, request: Request) -> Json:
    return {
        "success": True,
        "operation": request.operation,
        "memory_ref": place.resource.id,
        "key": request.key,
    }
