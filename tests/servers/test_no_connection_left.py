"""A server that has no connection left says so; callers who may wait for a connection wait."""

import asyncio
import contextlib
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest

from recollect.errors import StoreUnavailable
from recollect.messages import Message
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId, NewRecord
from recollect.stores.redis import RedisStore
from tests.servers.redis_server import RedisServer
from tests.servers.secure import DebianPostgres

IDS = [ConversationId("acme/chat", str(number)) for number in range(60)]
ONE = [NewRecord(Message("user", "a"), 1)]


async def test_a_redis_that_takes_no_more_clients(folder: Path) -> None:
    with RedisServer(folder) as server, server.client() as settings:
        settings.config_set("maxclients", 4)
        async with contextlib.AsyncExitStack() as others:
            for _ in range(3):  # and the one for the settings
                other = await others.enter_async_context(server.async_client())
                await other.ping()
            with pytest.raises(StoreUnavailable, match="maxclients"):
                await RedisStore(server.url).append(IDS[0], ONE)
        settings.config_set("maxclients", 8)
        store = RedisStore(server.url)  # opened by sixty at once
        try:
            await asyncio.gather(*(store.append(one, ONE) for one in IDS))
            assert (await store.measure("acme/chat")).messages == len(IDS)
        finally:
            await store.close()


async def test_a_postgres_that_takes_no_more_connections() -> None:
    settings = ("max_connections = 5", "superuser_reserved_connections = 0", "max_wal_senders = 0")
    with DebianPostgres(settings) as server:
        url = server.url(sslmode="require")
        others = [await asyncpg.connect(url) for _ in range(5)]
        store = PostgresStore(url, options={"min_size": 1, "max_size": 3})
        with pytest.raises(StoreUnavailable, match="no connection left"):
            await store.open()
        for other in others:
            await other.close()
        try:
            await asyncio.gather(*(store.append(one, ONE) for one in IDS))  # three at a time
            assert (await store.measure("acme/chat")).messages == len(IDS)
        finally:
            await store.close()
