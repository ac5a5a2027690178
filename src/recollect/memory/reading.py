"""``read``, ``view``, ``stats`` and ``health``. Nothing here writes."""

from collections import Counter as Tally
from typing import Any

from recollect.errors import InvalidInput
from recollect.memory.budget import held_tokens, limits_of, utilization
from recollect.memory.flushing.stock import Stock
from recollect.memory.health import store_health
from recollect.memory.opened import Json, Opened, iso
from recollect.memory.operations import READ_CAP, HealthConfig, ReadConfig, StatsConfig
from recollect.memory.planning import made_of, unread
from recollect.memory.view import View, view_of
from recollect.messages import to_json
from recollect.stores.records import Conversation

NEAR_LIMIT_RATIO = 0.85
STATS_CONTENT_CAP = 100


async def read(memory: Opened, config: ReadConfig | None = None) -> Json:
    """Return stored messages, oldest first; a missing conversation is an empty one."""
    config = config or ReadConfig()
    if config.last is not None and (config.limit is not None or config.offset):
        raise InvalidInput("read_config: choose by last, or by limit and offset, not by both")
    paged = config.limit is not None or config.offset > 0
    conversation = await memory.store.load(
        memory.address,
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
    return memory.output(
        "read",
        head,
        messages=[to_json(record.message) for record in records],
        count=len(records),
        total_count=total,
        offset=offset,
        limit=config.limit or config.last or READ_CAP,
        has_more=(offset + len(records) < total) if paged else len(records) < total,
        **({"damaged": len(conversation.damaged)} if conversation and conversation.damaged else {}),
    )


def _total(config: ReadConfig, conversation: Conversation | None) -> int:
    if conversation is None:
        return 0
    if config.source == "live":
        return conversation.head.message_count
    return len(conversation.records) if config.batch else conversation.head.archived_count


async def view(
    memory: Opened, budget_tokens: int | None = None, *, last: int | None = None
) -> View:
    """Return the messages as a prompt: whole units, the newest, valid to send as they are.

    At most ``budget_tokens``, overhead included; without it the whole memory, which its own limits keep
    small. ``last`` looks at the newest so many messages only: such a window slides with every message,
    so that a prompt cache is of little use; prefer a budget.
    """
    conversation = await memory.store.load(memory.address, last=last)
    records = conversation.records if conversation else ()
    return view_of(records, memory.counter(), budget_tokens=budget_tokens)


async def stats(memory: Opened, config: StatsConfig | None = None) -> Json:
    """Return counts, limits and times, and what a prompt cache can use; content only when asked for.

    ``prefix_stable_tokens`` is what the beginning of the prompt costs that stays until the next flush;
    ``next_flush`` is what that would take away now, and what of the prefix behind it a cache has to
    read anew. In a memory without limits, which is never flushed by itself, that is None. The two take
    reading messages and planning; without them (``prompt_cache``) only the head is read.
    """
    config = config or StatsConfig()
    limits = limits_of(memory.resource)
    conversation = await memory.store.load(memory.address, last=_needed(memory, config))
    head = conversation.head if conversation else None
    messages = head.message_count if head else 0
    tokens = head.token_count if head else 0
    output = memory.output(
        "stats",
        head,
        token_limit=limits.max_tokens,
        message_limit=limits.max_messages,
        held_tokens=held_tokens(messages, tokens),
        utilization=utilization(memory.resource, head),
        avg_tokens_per_message=round(tokens / messages, 2) if messages else 0,
        archived_count=head.archived_count if head else 0,
        created_at=iso(head.created_at) if head else None,
        last_updated=iso(head.updated_at) if head else None,
        last_flush=iso(head.folded_at) if head and head.folded_at else None,
        ttl_remaining=memory.ttl_remaining(head),
        actual_strategy=memory.rules().strategy,
        token_method=memory.counter().method,
    )
    if config.prompt_cache:
        output["prefix_stable_tokens"] = _stable_tokens(memory, conversation)
        output["next_flush"] = await _next_flush(memory, conversation)
    if config.include_content:
        recent = conversation.messages[-STATS_CONTENT_CAP:] if conversation else ()
        output["messages"] = [to_json(message) for message in recent]
    if config.group_by == "role":
        roles = Tally(m.role for m in conversation.messages) if conversation else Tally[str]()
        output["role_distribution"] = dict(sorted(roles.items()))
    return output


def _needed(memory: Opened, config: StatsConfig) -> int | None:
    """Return how many of the newest messages stats are made of; None for all."""
    if config.group_by == "role" or (config.prompt_cache and _is_limited(memory)):
        return None
    if config.prompt_cache:
        return READ_CAP
    return STATS_CONTENT_CAP if config.include_content else 0


def _is_limited(memory: Opened) -> bool:
    limits = limits_of(memory.resource)
    return bool(limits.max_tokens or limits.max_messages)


def _stable_tokens(memory: Opened, conversation: Conversation | None) -> int:
    """Of a long memory without limits only the newest messages are looked at for open calls."""
    if conversation is None:
        return 0
    older = unread(conversation).held
    return older + view_of(conversation.records, memory.counter()).stable_tokens


async def _next_flush(memory: Opened, conversation: Conversation | None) -> Json | None:
    if not _is_limited(memory):
        return None
    records = conversation.records if conversation else ()
    rest = {"unread": unread(conversation)} if conversation else {}
    plan = (await made_of(Stock(memory.rules(), records, **rest))).plan
    return {
        "messages": len(plan.remove),
        "tokens_freed": plan.freed_tokens,
        "tokens_invalidated": plan.invalidated_tokens,
        "strategy": plan.strategy,
    }


async def health(memory: Opened, config: HealthConfig | None = None) -> Json:
    """Report whether the memory can be used; a failing store is reported, not raised."""
    output, head = await store_health(
        memory.store, config, memory.address.namespace, memory.address
    )
    used = utilization(memory.resource, head)
    near = used is not None and used >= NEAR_LIMIT_RATIO
    fields: dict[str, Any] = {
        **output,
        "usage_percent": None if used is None else round(used * 100, 2),
        "actual_strategy": memory.rules().strategy,
        "last_flush": iso(head.folded_at) if head and head.folded_at else None,
        "recommendations": ["flush: the memory is nearly full"] if near else [],
    }
    return memory.output("health", head, **fields)
