"""Removing for good what nobody can see any more, a bounded number of rows at a time."""

from datetime import datetime

from recollect.stores.moments import to_micros
from recollect.stores.postgres.session import Session
from recollect.stores.records import Swept


async def sweep(session: Session, at: datetime, limit: int) -> Swept:
    """Bury expired conversations, then empty graves and drop old keys while ``limit`` lasts."""
    now, limit = to_micros(at), min(max(limit, 0), 2**62)
    conversations = await session.run("bury_expired", now=now, limit=limit)
    records, old_keys = await _empty_graves(session, limit - conversations)
    for statement in ("sweep_old_keys", "sweep_deleted"):
        left = max(limit - conversations - records - old_keys, 0)
        old_keys += await session.run(statement, now=now, limit=left)
    return Swept(conversations, records, old_keys)


async def _empty_graves(session: Session, limit: int) -> tuple[int, int]:
    """Return how many records and keys were removed."""
    records = old_keys = 0
    for row in await session.rows("graves", limit=max(limit, 0)):
        uid = row["uid"]
        for statement in ("sweep_messages", "sweep_archive"):
            left = limit - records - old_keys
            records += await session.run(statement, uid=uid, limit=left)
        old_keys += await session.run("sweep_keys", uid=uid, limit=limit - records - old_keys)
        if records + old_keys >= limit:
            break  # there may be more of it
        await session.run("remove_metadata", uid=uid)
        await session.run("delete_head", uid=uid)
    return records, old_keys
