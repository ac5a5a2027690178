"""Classes of content that never hold more than their share (specs/memory.md §5.7).

The classes of ``token_allocation`` share the token limit. ``short_term`` has no cap of its own: it uses
what the others leave, and gives it back when they grow, because the whole has its limit. A class
without a share has none to keep: what belongs to it counts as ``short_term``. A priority block with
``max_tokens`` is a cap too. Tokens here include the overhead of each message.
"""

from collections.abc import Callable, Sequence
from math import floor

import msgspec

from recollect.memory.budget import held_tokens, limits_of
from recollect.memory.flushing.priority import CRITICAL, heeds_importance, is_summary, priority_of
from recollect.memory.resource import Resource
from recollect.memory.sections import PriorityBlock, TokenAllocation
from recollect.messages import Message, units
from recollect.stores.records import NewRecord, Record

SHORT_TERM = "short_term"


class Cap(msgspec.Struct, frozen=True, kw_only=True):
    """A class of messages and the tokens that they hold at most."""

    name: str
    tokens: int
    has: Callable[[Message], bool]


class CapPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What has to leave so that new messages keep every cap.

    Attributes:
        remove: seqs, ascending.
        broken: a cap that cannot be kept, because the rest of its class must stay; None if all can.
    """

    remove: tuple[int, ...] = ()
    broken: Cap | None = None


def class_of(message: Message, allocation: TokenAllocation) -> str:
    """Return the class of a message; ``metadata.allocation`` chooses one of ``user_defined``."""
    chosen = message.metadata.get("allocation")
    if isinstance(chosen, str) and allocation.user_defined.get(chosen):
        return chosen
    if is_summary(message):
        return "long_term" if allocation.long_term else SHORT_TERM
    if message.role == "system" and allocation.system:
        return "system"
    return SHORT_TERM


def caps_of(resource: Resource) -> tuple[Cap, ...]:
    """Return every class that has a cap; empty for most resources."""
    caps = [
        _block_cap(block, block.max_tokens)
        for block in resource.priority_blocks
        if block.max_tokens
    ]
    allocation, limit = resource.token_allocation, limits_of(resource).max_tokens
    if allocation is not None and limit is not None:
        shares = {
            "system": allocation.system,
            "long_term": allocation.long_term,
            **allocation.user_defined,
        }
        caps += [
            _class_cap(name, floor(share * limit + 1e-9), allocation)
            for name, share in shares.items()
            if share
        ]
    return tuple(caps)


def _block_cap(block: PriorityBlock, tokens: int) -> Cap:
    return Cap(
        name=f"priority block {block.priority}",
        tokens=tokens,
        has=lambda message: (
            message.metadata.get("type") in block.content_types
            or message.role in block.content_types
        ),
    )


def _class_cap(name: str, tokens: int, allocation: TokenAllocation) -> Cap:
    return Cap(name=name, tokens=tokens, has=lambda message: class_of(message, allocation) == name)


def touched(caps: Sequence[Cap], messages: Sequence[Message]) -> tuple[Cap, ...]:
    """Return the caps that these messages count against."""
    return tuple(cap for cap in caps if any(cap.has(message) for message in messages))


def is_reserved(message: Message, resource: Resource) -> bool:
    """Tell whether a message lives on the share of a class of its own, beside ``short_term``."""
    allocation = resource.token_allocation
    return allocation is not None and class_of(message, allocation) != SHORT_TERM


def plan_caps(
    resource: Resource,
    caps: Sequence[Cap],
    records: Sequence[Record],
    coming: Sequence[NewRecord] = (),
) -> CapPlan:
    """Plan what of ``records`` has to leave so that ``coming`` fits below the caps.

    A class that is too large gives way within itself, in whole units: the oldest first, the least
    important first where importance is heeded. Open units and then the critical stay.
    """
    messages = [record.message for record in records]
    heeds = heeds_importance(resource)
    gone: set[int] = set()
    free = [
        unit.positions
        for unit in units(messages)
        if not unit.open and not (heeds and _rank(unit.positions, messages, resource) == CRITICAL)
    ]
    if heeds:
        free.sort(key=lambda positions: -_rank(positions, messages, resource))
    for cap in caps:
        mine = [i for i, message in enumerate(messages) if cap.has(message)]
        need = sum(_cost(record) for record in coming if cap.has(record.message)) - cap.tokens
        need += sum(_cost(records[i]) for i in mine if i not in gone)
        for positions in free:
            if need <= 0:
                break
            if gone.issuperset(positions) or not set(mine).intersection(positions):
                continue
            need -= sum(_cost(records[i]) for i in positions if i in mine)
            gone.update(positions)
        if need > 0:
            return CapPlan(broken=cap)
    return CapPlan(remove=tuple(sorted(records[i].seq for i in gone)))


def _rank(positions: Sequence[int], messages: Sequence[Message], resource: Resource) -> int:
    return min(priority_of(messages[i], resource) for i in positions)


def _cost(record: Record | NewRecord) -> int:
    return held_tokens(1, record.tokens)
