"""What the Redis store promises beyond the contract: topologies, faults, and how it is named."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.asyncio import RedisCluster as RedisClusterClient
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from recollect.errors import InvalidInput, OutcomeUnknown, StoreUnavailable, WrongLoop
from recollect.messages import Message
from recollect.stores.records import Conversation, ConversationId, NewRecord, Written
from recollect.stores.redis import RedisStore
from recollect.testing import (
    Damage,
    DurableStoreSuite,
    MakeStore,
    RaiseSchemaVersion,
    StoreSuite,
)
from tests.servers.redis_server import (
    GivenRedis,
    RedisCluster,
    RedisServer,
    SentinelTrio,
    free_port,
)
from tests.servers.relay import Relay

pytest_plugins = ["tests.servers.redis_fixtures"]

HERE = ConversationId("acme/chat", "c-1")

_prefixes = count()


def say(*texts: str) -> list[NewRecord]:
    return [NewRecord(Message("user", text), 1) for text in texts]


def texts(conversation: Conversation | None) -> list[str]:
    assert conversation is not None
    return [message.text for message in conversation.messages]


class TestRedisStoreOnACluster(StoreSuite):
    """Row 37 of specs/memory.md section 13, (C)."""

    @pytest.fixture
    def make_store(self, redis_cluster: RedisCluster) -> MakeStore:
        url = redis_cluster.nodes[0].url
        return lambda clock: RedisStore(
            url, cluster=True, prefix=f"redis-{next(_prefixes)}:", clock=clock
        )


class TestRedisStoreThatOutlivesItselfOnACluster(DurableStoreSuite):
    @pytest.fixture
    def reopen(self, redis_cluster: RedisCluster, prefix: str) -> MakeStore:
        url = redis_cluster.nodes[2].url
        return lambda clock: RedisStore(url, cluster=True, prefix=prefix, clock=clock)

    @pytest.fixture
    def damage(self, redis_cluster: RedisCluster, prefix: str) -> Damage:
        async def damage(conversation: ConversationId, seq: int) -> None:
            key = f"{prefix}{{{conversation.namespace}:{conversation.id}}}:messages"
            async with RedisClusterClient.from_url(redis_cluster.nodes[0].url) as client:
                items: list[Any] = await client.lrange(key, 0, -1)
                (place,) = (n for n, item in enumerate(items) if item.startswith(b"%d|" % seq))
                await client.lset(key, place, items[place].replace(b"{", b"", 1))

        return damage

    @pytest.fixture
    def raise_schema_version(self, redis_cluster: RedisCluster, prefix: str) -> RaiseSchemaVersion:
        async def raise_schema_version(number: int) -> None:
            async with RedisClusterClient.from_url(redis_cluster.nodes[0].url) as client:
                await client.set(f"{prefix}schema", number)

        return raise_schema_version


# ---- faults --------------------------------------------------------------------------------------


@pytest.fixture
def prefix() -> str:
    return f"redis-{next(_prefixes)}:"


@pytest.fixture
def store(redis_server: GivenRedis, prefix: str) -> RedisStore:
    return RedisStore(redis_server.url, prefix=prefix)


class TestBrokenWires:
    """A connection that breaks after a write was sent doubles nothing and loses nothing."""

    async def test_a_write_without_a_key_is_unknown_and_not_repeated(
        self, redis_server: GivenRedis, prefix: str
    ) -> None:
        async with (
            Relay(redis_server.host, redis_server.port) as relay,
            RedisStore(relay.instead_of(redis_server.url), prefix=prefix) as store,
        ):
            await store.append(HERE, say("a"))
            relay.drops_answers = True
            with pytest.raises(OutcomeUnknown):
                await store.append(HERE, say("b"))
            assert texts(await store.load(HERE)) == ["a", "b"]

    async def test_a_write_with_a_key_is_repeated_and_stored_once(
        self, redis_server: GivenRedis, prefix: str
    ) -> None:
        async with (
            Relay(redis_server.host, redis_server.port) as relay,
            RedisStore(relay.instead_of(redis_server.url), prefix=prefix) as store,
        ):
            await store.append(HERE, say("a"))
            relay.drops_answers = True
            done = await store.append(HERE, say("b"), key="k")
            assert isinstance(done, Written)
            assert texts(await store.load(HERE)) == ["a", "b"]

    async def test_a_client_that_repeats_commands_of_its_own_doubles_nothing(
        self, redis_server: GivenRedis, prefix: str
    ) -> None:
        async with Relay(redis_server.host, redis_server.port) as relay:
            client = Redis.from_url(relay.instead_of(redis_server.url), retry=Retry(NoBackoff(), 5))
            async with RedisStore(client=client, prefix=prefix) as store:
                await store.append(HERE, say("a"))
                relay.drops_answers = True
                with pytest.raises(OutcomeUnknown):
                    await store.append(HERE, say("b"))
                assert texts(await store.load(HERE)) == ["a", "b"]
            await client.aclose()

    async def test_a_server_that_is_not_there_is_unavailable(self) -> None:
        store = RedisStore(f"redis://:sesame@127.0.0.1:{free_port()}")
        with pytest.raises(StoreUnavailable) as caught:
            await store.open()
        assert "sesame" not in f"{caught.value!r} {store!r}"
        await store.close()


class TestScripts:
    async def test_scripts_that_the_server_has_forgotten_are_sent_again(
        self, store: RedisStore, redis_server: GivenRedis
    ) -> None:
        async with store:
            await store.append(HERE, say("a"))
            with redis_server.client() as client:
                client.script_flush()
            await asyncio.gather(*(store.append(HERE, say("b")) for _ in range(5)))
            assert len(texts(await store.load(HERE))) == 6

    async def test_a_server_without_memory_stores_nothing_halfway(self, folder: Path) -> None:
        with RedisServer(folder) as server, server.client() as client:
            async with RedisStore(server.url) as store:
                await store.append(HERE, say("a"), owner="ann")
                before = await store.load(HERE)
                client.config_set("maxmemory", 1)
                for write in (
                    store.append(HERE, say("b")),
                    store.replace(HERE, []),
                    store.replace(HERE, say("c"), archive_as="old"),
                    store.fold(HERE, [1]),
                    store.annotate(HERE, {"x": 1}, owner="bob"),
                    store.delete(HERE, key="k"),
                ):
                    with pytest.raises(StoreUnavailable, match="memory"):
                        await write
                assert await store.load(HERE) == before
                client.config_set("maxmemory", 0)
                await store.append(HERE, say("b"))
                assert texts(await store.load(HERE)) == ["a", "b"]


class TestTasks:
    async def test_a_cancelled_writer_disturbs_no_other(self, store: RedisStore) -> None:
        async with store:
            tasks = [
                asyncio.ensure_future(store.append(HERE, say(str(n)), key=str(n)))
                for n in range(60)
            ]
            await asyncio.sleep(0)
            for task in tasks[::3]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            kept = {str(n) for n, one in enumerate(done) if isinstance(one, Written)}
            assert len(kept) >= 40
            for n in range(0, 60, 3):
                await store.append(HERE, say(str(n)), key=str(n))
            found = texts(await store.load(HERE))
            assert sorted(found, key=int) == [str(n) for n in range(60)]

    async def test_a_store_belongs_to_one_loop(self, store: RedisStore) -> None:
        async with store:
            await store.append(HERE, say("a"))
            with pytest.raises(WrongLoop):
                await asyncio.to_thread(asyncio.run, store.append(HERE, say("b")))
            assert texts(await store.load(HERE)) == ["a"]

    async def test_many_tasks_need_no_more_connections(self, redis_server: GivenRedis) -> None:
        client = redis_server.async_client(max_connections=1)
        async with RedisStore(client=client, prefix=f"redis-{next(_prefixes)}:") as store:
            await asyncio.gather(*(store.append(HERE, say(str(n))) for n in range(200)))
            assert len(texts(await store.load(HERE))) == 200
        await client.aclose()


class TestReplicas:
    async def test_a_write_that_too_few_replicas_have_is_not_acknowledged(
        self, redis_server: GivenRedis, prefix: str
    ) -> None:
        patience = timedelta(seconds=2)
        async with RedisStore(
            redis_server.url, prefix=prefix, wait_replicas=1, timeout=patience
        ) as store:
            with pytest.raises(OutcomeUnknown, match="replicas"):
                await store.append(HERE, say("a"))
            with pytest.raises(StoreUnavailable, match="repeat"):
                await store.append(HERE, say("b"), key="k")
            assert texts(await store.load(HERE)) == ["a", "b"]


class TestClients:
    @pytest.mark.parametrize("decode_responses", [True, False])
    async def test_a_client_passed_in_is_used_and_left_open(
        self, redis_server: GivenRedis, prefix: str, decode_responses: bool
    ) -> None:
        client = redis_server.async_client(db=3, decode_responses=decode_responses)
        async with RedisStore(client=client, prefix=prefix) as store:
            await store.append(HERE, say("a"))
            assert texts(await store.load(HERE)) == ["a"]
            assert "/3" in (await store.ping()).location
        assert await client.exists(f"{prefix}schema")
        await client.aclose()

    async def test_a_cluster_client_passed_in_is_used_and_left_open(
        self, redis_cluster: RedisCluster, prefix: str
    ) -> None:
        client = RedisClusterClient(host="127.0.0.1", port=redis_cluster.nodes[1].port)
        async with RedisStore(client=client, prefix=prefix) as store:
            await store.append(HERE, say("a"))
            assert texts(await store.load(HERE)) == ["a"]
        assert await client.exists(f"{prefix}schema")
        await client.aclose()

    async def test_what_takes_several_steps_on_a_cluster_is_finished_before_it_is_closed(
        self, redis_cluster: RedisCluster, prefix: str
    ) -> None:
        store = await RedisStore(redis_cluster.nodes[0].url, cluster=True, prefix=prefix).open()
        for node in redis_cluster.nodes:
            node.pause()
        try:
            begun = asyncio.create_task(store.append(HERE, say("a")))  # of a new conversation
            await asyncio.sleep(0)
            closed = asyncio.create_task(store.close())
            await asyncio.sleep(0)
        finally:
            for node in redis_cluster.nodes:
                node.resume()
        await closed
        assert begun.done()
        assert isinstance(begun.result(), Written)
        assert store._place.connections == 0


class TestPasswords:
    async def test_a_password_opens_and_is_never_shown(self, folder: Path) -> None:
        with RedisServer(folder, "--requirepass", "sesame") as server:
            for user in (":sesame", "sesame", "default:sesame"):  # a token alone is a password
                async with RedisStore(f"redis://{user}@127.0.0.1:{server.port}") as store:
                    await store.append(HERE, say("a"))
                    assert "sesame" not in f"{await store.ping()!r} {store!r}"
            for url in (f"redis://:wrong@127.0.0.1:{server.port}", server.url):
                store = RedisStore(url)
                with pytest.raises(StoreUnavailable, match="password") as caught:
                    await store.open()
                assert "wrong" not in str(caught.value)
                await store.close()

    @pytest.mark.parametrize("url", ["http://:sesame@x", "redis://:sesame@x:y", "sesame"])
    def test_a_wrong_url_is_refused_without_quoting_it(self, url: str) -> None:
        with pytest.raises(InvalidInput) as caught:
            RedisStore(url)
        assert "sesame" not in str(caught.value)


# ---- servers that die ----------------------------------------------------------------------------


async def storm(store: RedisStore, disaster: Callable[[], Awaitable[None]]) -> None:
    """Write with and without keys through a disaster; insist that nothing is lost or doubled."""
    stop, progress = asyncio.Event(), asyncio.Event()
    acknowledged: dict[int, list[str]] = {n: [] for n in range(8)}
    doubtful: set[str] = set()

    async def write(writer: int) -> None:
        number = 0
        while not stop.is_set():
            text = f"{writer}.{number}"
            number += 1
            try:
                await keep_writing(writer, text)
            except OutcomeUnknown:
                doubtful.add(text)
            else:
                acknowledged[writer].append(text)
            progress.set()

    async def keep_writing(writer: int, text: str) -> None:
        while True:
            try:
                await store.append(HERE, say(text), key=text if writer % 2 else None)
            except StoreUnavailable:
                await asyncio.sleep(0)
            else:
                return

    async def happen() -> None:
        await until(progress, lambda: all(len(texts) > 20 for texts in acknowledged.values()))
        await disaster()
        before = {n: len(texts) for n, texts in acknowledged.items()}
        await until(progress, lambda: all(len(acknowledged[n]) > before[n] + 20 for n in before))
        stop.set()

    await asyncio.gather(happen(), *(write(n) for n in range(8)))
    found = await store.load(HERE)
    stored = texts(found)
    assert found is not None
    assert len(stored) == len(set(stored)) == found.head.message_count
    assert set(stored) - doubtful == {t for ts in acknowledged.values() for t in ts}
    for writer, own in acknowledged.items():
        kept = [t for t in stored if t.startswith(f"{writer}.") and t not in doubtful]
        assert kept == own


async def until(progress: asyncio.Event, is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(100):  # Sentinels that were held up wait for half a minute first
        while not is_so():
            progress.clear()
            await progress.wait()


class TestDisasters:
    """What was acknowledged is there, once and in order, whatever dies."""

    async def test_a_server_that_is_killed_and_restarted(self, folder: Path) -> None:
        options = ("--appendonly", "yes", "--appendfsync", "always")
        with RedisServer(folder, *options) as server:

            async def restart() -> None:
                server.kill()
                await asyncio.to_thread(server.start)

            async with RedisStore(server.url) as store:
                await storm(store, restart)

    async def test_a_master_that_sentinel_replaces(self, tmp_path: Path) -> None:
        with SentinelTrio(tmp_path, replaced_after=2) as trio:

            async def fail_over() -> None:
                trio.master.kill()

            async with RedisStore(
                sentinels=trio.addresses, service=trio.service, wait_replicas=1
            ) as store:
                await storm(store, fail_over)

    async def test_a_slot_that_moves_to_another_node(
        self, redis_cluster: RedisCluster, prefix: str
    ) -> None:
        url = redis_cluster.nodes[0].url
        async with RedisStore(url, cluster=True, prefix=prefix) as store:

            async def move() -> None:
                tag = f"{prefix}{{{HERE.namespace}:{HERE.id}}}"
                await asyncio.to_thread(redis_cluster.move_slot, tag)

            await storm(store, move)
