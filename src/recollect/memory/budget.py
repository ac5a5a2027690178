"""How much a memory may hold, and how full it is."""

from recollect.memory.resource import Resource
from recollect.memory.tokens import MESSAGE_OVERHEAD_TOKENS
from recollect.stores.records import Head, Limits


def limits_of(resource: Resource) -> Limits:
    """Return the hard limits of a resource; they hold whenever a write returns."""
    return Limits(
        max_messages=resource.max_messages,
        max_tokens=resource.max_tokens,
        message_overhead_tokens=MESSAGE_OVERHEAD_TOKENS,
    )


def held_tokens(message_count: int, token_count: int) -> int:
    """Return the tokens that count against ``max_tokens``: the messages and their overhead."""
    return token_count + MESSAGE_OVERHEAD_TOKENS * message_count


def utilization(resource: Resource, head: Head | None) -> float | None:
    """Return the fullest limit's share in use, 0-1, rounded to 4 places; None without limits."""
    messages = head.message_count if head else 0
    tokens = held_tokens(messages, head.token_count if head else 0)
    shares = [
        used / limit
        for used, limit in ((tokens, resource.max_tokens), (messages, resource.max_messages))
        if limit
    ]
    return round(max(shares), 4) if shares else None
