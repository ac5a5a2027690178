"""What a flush would do to a memory as it is now, by who asks for it; a model may write the summary."""

import asyncio
import logging

import msgspec

from recollect.memory.budget import is_due, limits_of
from recollect.memory.flushing.plan import FlushPlan, plan_of, replanned
from recollect.memory.flushing.stock import Size, Stock
from recollect.memory.flushing.summary import from_model, longest_summary, parts
from recollect.memory.opened import Opened
from recollect.memory.operations import FlushConfig
from recollect.stores.records import Conversation, Head

_log = logging.getLogger(__name__)


class Made(msgspec.Struct, frozen=True):
    """A plan and what it was made from."""

    plan: FlushPlan
    stock: Stock


def is_asked(memory: Opened, config: FlushConfig, head: Head) -> bool:
    """Tell whether ``flush`` has anything to look for."""
    usual = memory.resource.flushing.threshold
    share = usual if config.threshold is None else config.threshold
    limits = limits_of(memory.resource)
    return config.force or is_due(limits, head.message_count, head.token_count, share)


async def asked_plan(
    memory: Opened, config: FlushConfig, conversation: Conversation | None
) -> Made | None:
    """Plan what ``flush`` does; None if that is nothing."""
    if conversation is None or not is_asked(memory, config, conversation.head):
        return None
    rules = memory.rules(config.strategy)
    made = await made_of(Stock(rules, conversation.records, unread=unread(conversation)))
    saves = config.force or not memory.resource.flushing.only_if_saves or made.plan.saves
    return made if made.plan.remove and saves else None


async def threshold_plan(memory: Opened, conversation: Conversation | None) -> Made | None:
    """Plan what an append over the threshold sets off; None if that is nothing."""
    if conversation is None:
        return None
    flushing = memory.resource.flushing
    stock = Stock(memory.rules(), conversation.records, unread=unread(conversation))
    if not stock.is_above(flushing.threshold):
        return None
    made = await made_of(stock)
    saves = not flushing.only_if_saves or made.plan.saves
    return made if made.plan.remove and saves else None


async def room_plan(memory: Opened, room: Size, conversation: Conversation | None) -> Made | None:
    """Plan to make room; None if somebody else did.

    Raises:
        MemoryLimitExceeded: there is nothing that may go.
    """
    if conversation is None:
        return None
    head, limits = conversation.head, limits_of(memory.resource)
    if not limits.broken_by(head.message_count + room.messages, head.token_count + room.tokens):
        return None
    made = await made_of(Stock(memory.rules(), conversation.records, room, unread(conversation)))
    plan = made.plan
    if not plan.remove or limits.broken_by(
        plan.messages + room.messages, plan.tokens + room.tokens
    ):
        raise memory.over_limit(room, head)
    return made


async def made_of(stock: Stock) -> Made:
    """Plan; beside the event loop when much text has to be read for it."""
    if stock.rules.strategy == "hybrid_summary":
        return Made(await asyncio.to_thread(plan_of, stock), stock)
    return Made(plan_of(stock), stock)


async def with_model(memory: Opened, made: Made | None) -> Made | None:
    """Let the model write the summary of a plan; that of the rules stays if it cannot."""
    if made is None or memory.summarizer is None or not made.plan.insert:
        return made
    gone = set(made.plan.remove)
    records = [record for record in made.stock.records if record.seq in gone]
    talk, earlier = parts(records)
    rules = made.stock.rules
    try:
        text = await memory.summarizer.summarize(
            talk, earlier="\n".join(earlier), max_tokens=longest_summary(rules)
        )
        record = from_model(rules, text, records)
    except Exception as error:  # noqa: BLE001 - whatever a model does, the rules can summarise
        _log.warning(
            "memory %s: the model wrote no summary (%s); the rules did",
            memory.resource.id,
            type(error).__name__,
        )
        return made
    return made if record is None else Made(replanned(made.plan, record), made.stock)


def unread(conversation: Conversation) -> Size:
    """What counts but cannot be read: damaged records."""
    head, records = conversation.head, conversation.records
    return Size(
        head.message_count - len(records),
        head.token_count - sum(record.tokens for record in records),
    )
