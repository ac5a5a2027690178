"""TLS and passwords: they work, and what is wrong with them is told in one error without a secret."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis import Redis

from recollect.errors import StoreUnavailable
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import ConversationId, NewRecord
from recollect.stores.redis import RedisStore
from tests.servers.certificates import Certificates, make_certificates
from tests.servers.redis_server import RedisServer
from tests.servers.secure import PASSWORD, DebianPostgres, secure_redis

HERE = ConversationId("acme/chat", "c-1")
WRONG = "wr0ng-password"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of an authority that has vouched for none of our servers."""
    return make_certificates(tmp_path_factory.mktemp("strangers"))


@pytest.fixture(scope="module")
def redis(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[RedisServer]:
    with secure_redis(tmp_path_factory.mktemp("redis"), certificates) as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[DebianPostgres]:
    with DebianPostgres() as server:
        yield server


async def works(store: Store) -> None:
    async with store:
        await store.append(HERE, [NewRecord(Message("user", "a"))], key="k")
        found = await store.load(HERE)
        assert found is not None
        assert PASSWORD not in f"{await store.ping()!r} {store!r}"


async def is_refused(store: Store, *why: str) -> None:
    """Insist on one clear error that shows no password, and nothing behind it does."""
    with pytest.raises(StoreUnavailable) as caught:
        await store.open()
    error: BaseException | None = caught.value
    assert [word for word in why if word not in str(error)] == []
    assert "127.0.0.1" in str(error)
    shown = f"{store!r} {caught.value.as_json()}"
    while error is not None:
        shown += f" {error!r}"
        error = error.__cause__ or error.__context__
    assert PASSWORD not in shown
    assert WRONG not in shown
    await store.close()


class TestRedis:
    @pytest_asyncio.fixture(autouse=True)
    async def until_all_are_gone(
        self, redis: RedisServer, certificates: Certificates
    ) -> AsyncIterator[None]:
        """Wait for the end of TLS connections, which the driver lets go of without waiting."""
        yield
        with Redis(
            port=redis.port, password=PASSWORD, ssl=True, ssl_ca_certs=str(certificates.authority)
        ) as client:
            async with asyncio.timeout(60):
                while client.info("clients")["connected_clients"] > 1:  # noqa: ASYNC110  # its word
                    await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)  # let our side hear of it

    def url(self, redis: RedisServer, authority: Path, password: str = PASSWORD) -> str:
        return f"rediss://:{password}@127.0.0.1:{redis.port}?ssl_ca_certs={authority}"

    async def test_a_trusted_server_with_the_right_password_works(
        self, redis: RedisServer, certificates: Certificates
    ) -> None:
        store = RedisStore(self.url(redis, certificates.authority))
        await works(store)

    async def test_a_wrong_password_is_told(
        self, redis: RedisServer, certificates: Certificates
    ) -> None:
        await is_refused(
            RedisStore(self.url(redis, certificates.authority, WRONG)), "password", "rediss://"
        )

    async def test_no_password_is_told(
        self, redis: RedisServer, certificates: Certificates
    ) -> None:
        url = f"rediss://127.0.0.1:{redis.port}?ssl_ca_certs={certificates.authority}"
        await is_refused(RedisStore(url), "password")

    async def test_an_untrusted_certificate_is_told(
        self, redis: RedisServer, strangers: Certificates
    ) -> None:
        for url in (self.url(redis, strangers.authority), redis.url):
            await is_refused(RedisStore(url), "certificate", "ssl_ca_certs")

    async def test_a_server_that_wants_tls_is_not_spoken_to_without(
        self, redis: RedisServer
    ) -> None:
        await is_refused(RedisStore(f"redis://:{PASSWORD}@127.0.0.1:{redis.port}"))

    async def test_a_server_without_tls_is_not_spoken_to_with_it(self, folder: Path) -> None:
        with RedisServer(folder) as plain:
            url = f"rediss://:{PASSWORD}@127.0.0.1:{plain.port}"
            await is_refused(RedisStore(url, timeout=timedelta(seconds=0.5)), "TLS")


class TestPostgres:
    def store(self, postgres: DebianPostgres, **given: Any) -> PostgresStore:
        given.setdefault("sslmode", "verify-full")
        given.setdefault("sslrootcert", postgres.certificates.authority)
        return PostgresStore(postgres.url(**given), table_name="secured")

    async def test_a_trusted_server_with_the_right_password_works(
        self, postgres: DebianPostgres
    ) -> None:
        await works(self.store(postgres))

    async def test_a_wrong_password_is_told(self, postgres: DebianPostgres) -> None:
        await is_refused(self.store(postgres, password=WRONG), "password")

    async def test_an_untrusted_certificate_is_told(
        self, postgres: DebianPostgres, strangers: Certificates
    ) -> None:
        store = self.store(postgres, sslrootcert=strangers.authority)
        await is_refused(store, "certificate", "sslrootcert")

    async def test_a_server_that_wants_tls_is_not_spoken_to_without(
        self, postgres: DebianPostgres
    ) -> None:
        await is_refused(self.store(postgres, sslmode="disable"), "user and password")

    async def test_a_missing_authority_is_told(self, postgres: DebianPostgres) -> None:
        await is_refused(self.store(postgres, sslrootcert="/nowhere.pem"))
