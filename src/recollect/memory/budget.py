"""How much a memory may hold, and how full it is (specs/memory.md §5.3)."""

from math import floor

from recollect.memory.counting.tokens import MESSAGE_OVERHEAD_TOKENS
from recollect.memory.counting.windows import context_window
from recollect.memory.resource import Resource
from recollect.stores.records import Head, Limits

DEFAULT_CONTEXT_TOKENS = 4096
"""The context window of a model that is not known and not given by ``context_length``."""


def context_length(resource: Resource) -> int:
    """Return the context window in tokens: as given, or that of the model."""
    if resource.context_length:
        return resource.context_length
    provider = resource.token_provider
    known = context_window(provider.provider, provider.model or resource.model)
    return known or DEFAULT_CONTEXT_TOKENS


def token_limit(resource: Resource) -> int | None:
    """Return the smaller of ``max_tokens`` and the share of the context window; None without both."""
    if resource.max_context_ratio is None:
        return resource.max_tokens
    share = max(floor(context_length(resource) * resource.max_context_ratio), 1)
    return share if resource.max_tokens is None else min(share, resource.max_tokens)


def limits_of(resource: Resource) -> Limits:
    """Return the hard limits of a resource; they hold whenever a write returns."""
    return Limits(
        max_messages=resource.max_messages,
        max_tokens=token_limit(resource),
        message_overhead_tokens=MESSAGE_OVERHEAD_TOKENS,
    )


def held_tokens(message_count: int, token_count: int) -> int:
    """Return the tokens that count against a token limit: the messages and their overhead."""
    return token_count + MESSAGE_OVERHEAD_TOKENS * message_count


def is_due(limits: Limits, messages: int, tokens: int, share: float) -> bool:
    """Tell whether a memory this full has reached a share (0-1) of one of its limits."""
    return bool(
        (limits.max_tokens and held_tokens(messages, tokens) >= share * limits.max_tokens)
        or (limits.max_messages and messages >= share * limits.max_messages)
    )


def utilization(resource: Resource, head: Head | None) -> float | None:
    """Return the fullest limit's share in use, 0-1, rounded to 4 places; None without limits."""
    limits = limits_of(resource)
    messages = head.message_count if head else 0
    tokens = held_tokens(messages, head.token_count if head else 0)
    shares = [
        used / limit
        for used, limit in ((tokens, limits.max_tokens), (messages, limits.max_messages))
        if limit
    ]
    return round(max(shares), 4) if shares else None
