"""Sweeping in PostgreSQL keeps to its limit, whatever the planner takes the tables for."""

from datetime import timedelta

import asyncpg  # type: ignore[import-untyped]  # it has no types

from recollect.clock import ManualClock
from recollect.messages import Message
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId, NewRecord

pytest_plugins = ["tests.servers.postgres_server"]

HOUR = timedelta(hours=1)
SAY = [NewRecord(Message("user", "a"))]


async def test_it_keeps_to_its_limit_where_the_server_expects_no_rows(
    postgres_url: str, postgres_schema: str
) -> None:
    """A table that was analysed while it was empty is taken for one of a row."""
    clock = ManualClock()
    connection = await asyncpg.connect(postgres_url)
    async with PostgresStore(
        postgres_url, table_name=f"{postgres_schema}.talks", clock=clock
    ) as store:
        for n in range(200):
            await store.append(ConversationId("n", f"old-{n}"), SAY)
        heads = f"{postgres_schema}.talks_heads"
        await connection.execute(f"DELETE FROM {heads}")
        await connection.execute(f"ANALYZE {heads}")
        await connection.close()
        for n in range(40):
            await store.append(ConversationId("n", f"new-{n}"), SAY, ttl=HOUR)
        clock.advance(HOUR)
        swept = [await store.sweep(limit=5) for _ in range(20)]
        assert max(one.conversations for one in swept) == 5
        assert sum(one.conversations for one in swept) == 40
