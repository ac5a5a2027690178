"""Our stores keep every promise of the contract: row 37 of specs/memory.md section 13."""

from datetime import timedelta
from itertools import count

import pytest

from recollect.stores.records import ConversationId
from recollect.stores.redis import RedisStore
from recollect.testing import (
    Damage,
    DurableStoreSuite,
    MakeStore,
    RaiseSchemaVersion,
    StoreSuite,
)
from tests.servers.redis_server import RedisServer

pytest_plugins = ["tests.servers.redis_fixtures"]

HERE = ConversationId("acme/chat", "c-1")
PATIENCE = timedelta(minutes=1)  # the machine may be busy

_prefixes = count()


class TestRedisStore(StoreSuite):
    @pytest.fixture
    def make_store(self, redis_server: RedisServer) -> MakeStore:
        return lambda clock: RedisStore(
            redis_server.url, prefix=f"t{next(_prefixes)}:", timeout=PATIENCE, clock=clock
        )


class TestRedisStoreOnAServer(DurableStoreSuite):
    @pytest.fixture
    def prefix(self) -> str:
        return f"t{next(_prefixes)}:"

    @pytest.fixture
    def reopen(self, redis_server: RedisServer, prefix: str) -> MakeStore:
        return lambda clock: RedisStore(
            redis_server.url, prefix=prefix, timeout=PATIENCE, clock=clock
        )

    @pytest.fixture
    def damage(self, redis_server: RedisServer, prefix: str) -> Damage:
        async def damage(conversation: ConversationId, seq: int) -> None:
            key = f"{prefix}{{{conversation.namespace}:{conversation.id}}}:messages"
            with redis_server.client() as client:
                items = client.lrange(key, 0, -1)
                (place,) = (n for n, i in enumerate(items) if i.startswith(b"%d|" % seq))
                client.lset(key, place, items[place].replace(b"{", b"", 1))

        return damage

    @pytest.fixture
    def raise_schema_version(self, redis_server: RedisServer, prefix: str) -> RaiseSchemaVersion:
        async def raise_schema_version(number: int) -> None:
            with redis_server.client() as client:
                client.set(f"{prefix}schema", number)

        return raise_schema_version
