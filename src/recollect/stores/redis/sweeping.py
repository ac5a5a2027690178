"""Removing for good what nobody can see any more, a bounded number of rows at a time."""

from recollect.stores.records import Swept
from recollect.stores.redis.entries import Entries
from recollect.stores.redis.names import Names, conversation_of
from recollect.stores.redis.requests import sweeping
from recollect.stores.redis.runner import Runner

_GROUP = 50


async def sweep(
    runner: Runner, names: Names, entries: Entries | None, now: int, limit: int
) -> Swept:
    """Look at what is due, the longest due first, while ``limit`` lasts."""
    conversations = records = keys = 0
    prefix = "" if entries else names.prefix
    while (left := limit - conversations - records - keys) > 0:
        size = min(left, _GROUP)
        due = ("ZRANGEBYSCORE", names.due, "-inf", now, "LIMIT", 0, size)
        tags: list[bytes] = await runner.command("walk", names.due, due)
        if not tags:
            break
        ids = [conversation_of(tag.decode()) for tag in tags]
        asked = [(names.head(one), sweeping(one, prefix, now)) for one in ids]
        answers = await runner.read_many("walk", "sweep", asked)
        for one, answer in zip(ids, answers, strict=True):
            conversations += answer[0]
            records += answer[1]
            keys += answer[2]
            if entries:
                await entries.swept(one, now, answer)
    return Swept(conversations, records, keys)
