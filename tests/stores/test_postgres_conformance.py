"""The PostgreSQL store keeps every promise of the contract."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest

from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId
from recollect.testing import (
    Damage,
    DurableStoreSuite,
    MakeStore,
    RaiseSchemaVersion,
    StoreSuite,
)

pytest_plugins = ["tests.servers.postgres_server"]

Execute = Callable[..., Awaitable[Any]]


class TestPostgresStore(StoreSuite):
    @pytest.fixture
    def make_store(self, postgres_url: str, postgres_table: Callable[[], str]) -> MakeStore:
        return lambda clock: PostgresStore(postgres_url, table_name=postgres_table(), clock=clock)


class TestPostgresStoreOnDisk(DurableStoreSuite):
    @pytest.fixture
    def reopen(self, postgres_url: str, postgres_schema: str) -> MakeStore:
        name = f"{postgres_schema}.talks"
        return lambda clock: PostgresStore(postgres_url, table_name=name, clock=clock)

    @pytest.fixture
    def execute(self, postgres_url: str, postgres_schema: str) -> Execute:
        async def execute(sql: str, *values: object) -> str:
            connection = await asyncpg.connect(postgres_url)
            try:
                await connection.execute(f"SET search_path TO {postgres_schema}")
                return str(await connection.execute(sql, *values))
            finally:
                await connection.close()

        return execute

    @pytest.fixture
    def damage(self, execute: Execute) -> Damage:
        async def damage(conversation: ConversationId, seq: int) -> None:
            changed = await execute(
                "UPDATE talks_messages SET data = substr(data, 2) WHERE seq = $1 AND uid = "
                "(SELECT uid FROM talks_heads WHERE namespace = $2 AND name = $3)",
                seq,
                *conversation,
            )
            assert changed == "UPDATE 1"

        return damage

    @pytest.fixture
    def raise_schema_version(self, execute: Execute) -> RaiseSchemaVersion:
        async def raise_schema_version(number: int) -> None:
            await execute("UPDATE talks_schema SET version = $1", number)

        return raise_schema_version
