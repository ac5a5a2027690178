"""How important a message is: 0 critical, 1 high, 2 medium, 3 low, 4 and more lowest.

Rules: specs/memory.md §5.6. Keywords count as whole words, in any case.
"""

import re
from functools import lru_cache

from recollect.memory.resource import Resource
from recollect.messages import Message

CRITICAL, HIGH, MEDIUM, LOW = 0, 1, 2, 3

DEFAULT_KEYWORDS = (
    "error",
    "critical",
    "important",
    "warning",
    "failed",
    "exception",
    "issue",
    "problem",
    "urgent",
    "key",
    "essential",
    "required",
)


def heeds_importance(resource: Resource) -> bool:
    """Tell whether every flush of this memory looks at importance."""
    return bool(
        resource.flushing.type == "priority"
        or resource.eviction_policy.type == "priority"
        or resource.priority_blocks
    )


def priority_of(message: Message, resource: Resource) -> int:
    """Return the importance of a message, the smaller the more important.

    In this order: a protected role; ``metadata.priority``; a block that names its ``metadata.type`` or
    role; a summary is high; its role and keywords.
    """
    policy = resource.eviction_policy
    if message.role in policy.protected_roles:
        return CRITICAL
    given = message.metadata.get("priority")
    if isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        return given
    if resource.priority_blocks:
        block = _block_priority(message, resource)
        if block is not None:
            return block
    if is_summary(message):
        return HIGH
    if message.role == "system":
        return CRITICAL
    if message.role == "tool":
        return LOW
    words = DEFAULT_KEYWORDS if policy.priority_keywords is None else policy.priority_keywords
    return HIGH if words and _words(words).search(message.text) else MEDIUM


def _block_priority(message: Message, resource: Resource) -> int | None:
    """The kind says more than the role, so a block that names it wins."""
    for name in (message.metadata.get("type"), message.role):
        for block in resource.priority_blocks:
            if name in block.content_types:
                return block.priority
    return None


def is_summary(message: Message) -> bool:
    """Tell whether a message stands for others that were summarised."""
    return message.metadata.get("kind") == "summary"


@lru_cache(maxsize=64)
def _words(keywords: tuple[str, ...]) -> re.Pattern[str]:
    either = "|".join(re.escape(word) for word in keywords)
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
