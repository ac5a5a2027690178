"""The store on PostgreSQL with fsync on, beside one prepared ``INSERT`` through a pool.

The raw line is one ``INSERT`` of ready-made bytes into a table with the key (conversation, seq), or one
``SELECT`` of them, through an asyncpg pool that runs no reset query.
"""

from itertools import count
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types

from benchmarks import measures
from benchmarks.lines import Bare, Ours, seeded
from benchmarks.order import Opening
from benchmarks.report import Report
from benchmarks.targets import POSTGRES
from benchmarks.traffic import Wire
from recollect.stores.postgres import PostgresStore
from tests.servers.postgres_server import PostgresServer, running_server

RAW_TABLE = """CREATE TABLE raw (conversation bigint, seq bigint, data bytea,
    PRIMARY KEY (conversation, seq))"""
RAW_INSERT = "INSERT INTO raw VALUES ($1, $2, $3)"
RAW_LAST = "SELECT data FROM raw WHERE conversation = $1 ORDER BY seq DESC LIMIT $2"
RAW_ALL = "SELECT data FROM raw WHERE conversation = $1 ORDER BY seq"
TABLES = ("heads", "messages", "metadata", "archive", "keys", "deleted")


class QuietConnection(asyncpg.Connection):  # type: ignore[misc]
    """One that is not reset when it goes back, as ours is not."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class Table(Bare):
    """A bare table behind a pool."""

    def __init__(self, pool: Any, seqs: "count[int] | None" = None) -> None:
        super().__init__()
        self.pool = pool
        self.seqs = seqs or count(1_000_000)

    async def seed(self, rounds: int) -> None:
        await self.pool.execute(RAW_TABLE)
        for conversation, size in seeded(rounds):
            rows = [(conversation, seq, self.data) for seq in range(size)]
            await self.pool.copy_records_to_table("raw", records=rows)

    async def add(self, conversation: int) -> None:
        await self.pool.execute(RAW_INSERT, conversation, next(self.seqs), self.data)

    async def last(self, conversation: int) -> object:
        return await self.pool.fetch(RAW_LAST, conversation, 50)

    async def all(self, conversation: int) -> object:
        return await self.pool.fetch(RAW_ALL, conversation)


async def measure(report: Report, rounds: int, wanted: set[str], folder: str | None) -> None:
    """Run the lines of this store."""
    with running_server(fsync=True, folder=folder) as server:
        async with asyncpg.create_pool(server.url, connection_class=QuietConnection) as pool:
            raw = Table(pool)
            async with PostgresStore(server.url) as store:
                run = measures.Run("PostgreSQL", raw, Ours(store), POSTGRES, rounds, report)
                await prepare(run, raw, wanted)
                opening = Opening("postgres", server.url)
                await measures.measure(run, wanted - {"moved"}, {}, opening)
                if "moved" in wanted:
                    await measure_moved(run, raw, server)


async def prepare(run: measures.Run, raw: Table, wanted: set[str]) -> None:
    await raw.seed(run.rounds)
    await run.ours.seed(run.rounds)
    await raw.pool.execute("VACUUM ANALYZE")
    if "stored" in wanted:
        stored = await stored_bytes(raw.pool, "raw")
        names = (f"conversations_{name}" for name in TABLES)
        ours = sum([await stored_bytes(raw.pool, name) for name in names])
        messages = (await run.ours.store.measure("bench")).messages
        measures.report_stored(run, ours, stored, messages)
    for _ in range(3):  # until all connections know all statements
        await raw.append_64(0, 0)
        await run.ours.append_64(0, 0)


async def measure_moved(run: measures.Run, raw: Table, server: PostgresServer) -> None:
    """The server's log, and what passes between it and its clients."""

    async def logged() -> int:
        place = await raw.pool.fetchval("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(place)

    await measures.traffic(run, {"WAL": logged})
    (socket,) = server.socket_folder.glob(".s.PGSQL.*[0-9]")
    async with Wire(socket) as wire:
        url = f"postgresql://postgres@127.0.0.1:{wire.port}/postgres"
        async with (
            asyncpg.create_pool(
                url, connection_class=QuietConnection, min_size=1, max_size=1
            ) as pool,
            PostgresStore(url) as store,
        ):
            through = run._replace(raw=Table(pool, raw.seqs), ours=Ours(store))
            await measures.traffic(through, {"client": wire.count})


async def stored_bytes(pool: Any, table: str) -> int:
    return int(await pool.fetchval("SELECT pg_total_relation_size($1::regclass)", table))
