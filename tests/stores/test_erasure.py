"""An erasure: everything of one user is gone from every backend, nothing of anybody else's is."""

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest
import pytest_asyncio
from typing_extensions import override

from recollect.clock import ManualClock
from recollect.errors import InvalidInput, OutcomeUnknown, StoreUnavailable
from recollect.memory.data.erasure import Carries, Extent, count_user, erase_user
from recollect.messages import Message
from recollect.stores.base import Store
from recollect.stores.in_memory import InMemoryStore
from recollect.stores.postgres import PostgresStore
from recollect.stores.records import Change, ConversationId, NewRecord
from recollect.stores.redis import RedisStore
from recollect.stores.sqlite import SqliteStore
from tests.files import read_files
from tests.servers.redis_server import RedisCluster, RedisServer
from tests.stores.backends import BACKENDS, Make

pytest_plugins = [
    "tests.servers.postgres_server",
    "tests.servers.redis_fixtures",
    "tests.stores.backend_fixtures",
]

CHAT, NOTES = "acme/chat", "acme/notes"
BOTH = Extent(namespaces=[CHAT, NOTES])
START = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ANN = "ann-4711"  # stands in everything that is hers: ids, texts, names, keys, labels, holders


def say(text: str) -> NewRecord:
    return NewRecord(Message("user", text), 3)


async def filled(store: Store, clock: ManualClock, user: str) -> None:
    """Leave everything a user can leave: in two namespaces, archived, expired, deleted, leased."""
    for namespace in (CHAT, NOTES):
        for number in range(3):
            here = ConversationId(namespace, f"{user}:{number}")
            note = {f"{user} name": {"of": f"{user} value"}}
            texts = [say(f"{user} says {n} " + f"{user} " * 40 * n) for n in range(9)]
            await store.append(here, texts, owner=user, metadata=note, key=f"{user} key")
            await store.fold(here, [1, 2], [say(f"{user} summary")], archive_as=f"{user} batch")
            await store.lease(here, holder=f"{user} holder", ttl=DAY)
    expired = ConversationId(CHAT, f"{user} expired")
    await store.append(expired, [say(f"{user} once")], owner=user, ttl=DAY, key=f"{user} key")
    again = ConversationId(CHAT, f"{user}:1")
    await store.delete(again, key=f"{user} delete")
    await store.append(again, [say(f"{user} is back")], owner=user)
    clock.advance(2 * DAY)
    overwritten = ConversationId(NOTES, f"{user}:2")
    await store.append(overwritten, [say(f"{user} short")], owner=user, ttl=DAY)
    clock.advance(DAY)
    await store.append(overwritten, [say(f"{user} anew")], owner=user)


async def everything(store: Store, user: str) -> list[Any]:
    found: list[Any] = []
    for namespace in (CHAT, NOTES):
        for head in (await store.find(namespace, owner=user, order="created")).heads:
            live = await store.load(head.conversation)
            found.append((head, live, await store.load(head.conversation, source="archive")))
    return found


@pytest.mark.parametrize("backend", BACKENDS)
async def test_everything_of_a_user_goes_and_nothing_of_others(backend: str, make: Make) -> None:
    clock = ManualClock(START)
    async with make(backend, clock=clock) as store:
        for user in (ANN, "ann", "bob"):
            await filled(store, clock, user)
        others = [await everything(store, user) for user in ("ann", "bob")]
        counted = await count_user(store, ANN, BOTH)
        receipt = await erase_user(store, ANN, BOTH)
        assert await everything(store, ANN) == []
        assert [await everything(store, user) for user in ("ann", "bob")] == others
        assert receipt.is_complete
        assert receipt.rounds == 2
        assert receipt.removed == {
            "conversations": 6,
            "messages": 34,
            "archived": 8,
            "metadata": 4,
            "tokens": 102,
            "leases": 4,
        }
        assert counted == {"conversations": 6, "messages": 34, "archived": 8}
        assert receipt.verified.conversations == 6
        assert (await erase_user(store, ANN, BOTH)).removed["conversations"] == 0


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_receipt_names_nobody_but_the_user_and_proves_to_who_knows(
    backend: str, make: Make
) -> None:
    clock = ManualClock(START)
    async with make(backend, clock=clock) as store:
        await filled(store, clock, "bob")
        await store.append(ConversationId(CHAT, "room 7"), [say("text")], owner="bob")
        receipt = await erase_user(store, "bob", BOTH)
    text = json.dumps(receipt.as_json())
    assert "room" not in text
    assert text.count("bob") == 1
    digest = hashlib.sha256(f"{receipt.salt}{CHAT}\0room 7".encode()).hexdigest()
    assert digest in receipt.hashes
    assert len(receipt.hashes) == 7


@pytest.mark.parametrize("backend", BACKENDS)
async def test_a_prefix_finds_what_has_no_owner_and_leaves_what_has_another(
    backend: str, make: Make
) -> None:
    extent = Extent(namespaces=[CHAT], prefixes=["user:42"])
    async with make(backend) as store:
        for name, owner in (
            ("user:42", None),
            ("user:42:s1", "42"),
            ("user:42:shared", "bob"),
            ("user:4", None),
            ("chat", "42"),
        ):
            await store.append(ConversationId(CHAT, name), [say("x")], owner=owner)
        assert (await count_user(store, "42", extent))["conversations"] == 3
        receipt = await erase_user(store, "42", extent)
        left = [head.conversation.id for head in (await store.find(CHAT)).heads]
    assert sorted(left) == ["user:4", "user:42:shared"]
    assert (receipt.removed["conversations"], receipt.of_others) == (3, 1)
    assert receipt.is_complete


# ---- bytes ---------------------------------------------------------------------------------------

Look = Callable[[], Awaitable[list[str]]]


@dataclass
class Medium:
    """A store, and where its bytes still name the user."""

    store: Store
    look: Look


async def of_sqlite(path: Path) -> list[str]:
    files = dict(read_files(path.parent))
    assert path in files
    return [file.name for file, data in files.items() if ANN.encode() in data]


async def of_redis(server: RedisServer, prefix: str) -> list[str]:
    found = []
    with server.client() as client:
        for key in client.scan_iter(match=f"{prefix}*", count=1000):
            value = client.dump(key) or b""
            kind = client.type(key)
            parts: Any = {
                b"string": lambda k: [client.get(k)],
                b"list": lambda k: client.lrange(k, 0, -1),
                b"hash": lambda k: [x for pair in client.hgetall(k).items() for x in pair],
                b"zset": lambda k: client.zrange(k, 0, -1),
                b"set": client.smembers,
            }[kind](key)
            if any(ANN.encode() in part for part in (key, value, *parts)):
                found.append(key.decode())
    return found


async def of_postgres(url: str, schema: str) -> list[str]:
    connection = await asyncpg.connect(url)
    try:
        names = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace($1)"
            " AND relkind IN ('r', 'v')",
            schema,
        )
        assert len(names) > 6
        found = []
        for (name,) in names:
            rows = await connection.fetch(f'SELECT * FROM {schema}."{name}"')
            values = [value for row in rows for value in row.values()]
            if any(
                ANN.encode() in (v if isinstance(v, bytes) else str(v).encode()) for v in values
            ):
                found.append(name)
        return found
    finally:
        await connection.close()


@pytest_asyncio.fixture(params=["memory", "sqlite", "redis", "cluster", "postgres"])
async def medium(
    request: pytest.FixtureRequest,
    folder: Path,
    redis_server: RedisServer,
    redis_cluster: RedisCluster,
    postgres_url: str,
    postgres_schema: str,
    clock: ManualClock,
) -> AsyncIterator[Medium]:
    prefix = f"erasure-{folder.name}:"
    path = folder / "erasure.db"
    look: Look
    store: Store
    match request.param:
        case "memory":
            memory = InMemoryStore(clock=clock)
            store = memory

            async def look() -> list[str]:
                held = (memory._namespaces, memory._deleted)
                return [ANN] if ANN in repr([_all_of(one) for one in held]) else []

        case "sqlite":
            store, look = SqliteStore(path, clock=clock), lambda: of_sqlite(path)
        case "redis":
            store = RedisStore(redis_server.url, prefix=prefix, clock=clock)
            look = lambda: of_redis(redis_server, prefix)  # noqa: E731
        case "cluster":
            url = redis_cluster.nodes[0].url
            store = RedisStore(url, cluster=True, prefix=prefix, clock=clock)

            async def look() -> list[str]:
                found = [await of_redis(node, prefix) for node in redis_cluster.nodes]
                return [name for names in found for name in names]

        case _:
            name = f"{postgres_schema}.talks"
            store = PostgresStore(postgres_url, table_name=name, clock=clock)
            look = lambda: of_postgres(postgres_url, postgres_schema)  # noqa: E731
    async with store:
        yield Medium(store, look)


def _all_of(value: Any) -> Any:
    """Everything below a value, objects with slots too."""
    if isinstance(value, dict):
        return [(repr(key), _all_of(inner)) for key, inner in value.items()]
    if hasattr(value, "__slots__"):
        return [_all_of(getattr(value, name)) for name in value.__slots__ if hasattr(value, name)]
    return repr(value)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


async def test_no_byte_names_the_user_afterwards(medium: Medium, clock: ManualClock) -> None:
    users = [f"u{n}" for n in range(6)]
    for user in (*users[:3], ANN, *users[3:]):  # hers lie between those of others
        await filled(medium.store, clock, user)
    fresh = ConversationId(CHAT, f"{ANN} fresh")  # nothing of it is due to be swept for long
    for _ in range(2):
        await medium.store.append(fresh, [say(ANN)], owner=ANN, ttl=30 * DAY, key=f"{ANN} key")
        await medium.store.delete(fresh, key=f"{ANN} delete")
    await medium.store.append(fresh, [say(ANN)], owner=ANN, ttl=30 * DAY, key=f"{ANN} key 2")
    assert await medium.look()
    receipt = await erase_user(medium.store, ANN, BOTH)
    assert receipt.is_complete
    assert await medium.look() == []
    for user in users:
        assert len(await everything(medium.store, user)) == 6


@pytest.mark.parametrize("seed", range(3))
async def test_sqlite_leaves_no_traces_of_rows_that_it_moved(seed: int, folder: Path) -> None:
    path = folder / "moved.db"
    chance = random.Random(seed)
    async with SqliteStore(path, synchronous="NORMAL") as store:
        for number in range(1500):
            user = chance.choice([ANN, "bob"])
            here = ConversationId(CHAT, f"{user}-{chance.randrange(400)}")
            note = {f"{user}{chance.randrange(999)}": user * chance.randrange(30)}
            records = [say(f"{user} " * chance.choice([1, 9, 30]))]
            await store.append(here, records, owner=user, metadata=note, key=f"{user}{number}")
            if number % 3 == 0:  # so that pages with her rows are joined
                await store.delete(ConversationId(CHAT, f"bob-{chance.randrange(400)}"))
        others = await store.measure(CHAT, owner="bob")
        await erase_user(store, ANN, Extent(namespaces=[CHAT]))
        assert await of_sqlite(path) == []
        assert await store.measure(CHAT) == others


@pytest.mark.parametrize("backend", BACKENDS)
async def test_the_receipt_says_what_the_medium_may_keep(backend: str, make: Make) -> None:
    async with make(backend) as store:
        receipt = await erase_user(store, ANN, BOTH)
    words = {"redis": "BGREWRITEAOF", "postgres": "VACUUM"}
    assert words.get(backend, "") in receipt.medium
    assert bool(receipt.medium) == (backend in words)


# ---- while others write --------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
async def test_whoever_writes_meanwhile_leaves_nothing_behind(backend: str, make: Make) -> None:
    async with make(backend) as store:
        for number in range(4):
            await store.append(ConversationId(CHAT, f"c{number}"), [say(ANN)], owner=ANN)
        erased = asyncio.Event()
        written = 0

        async def write(number: int) -> None:
            nonlocal written
            for n in range(40):
                name = f"c{number if n % 2 else number + 10 * n}"
                await store.append(ConversationId(CHAT, name), [say(f"{n}")], owner=ANN)
                written += 1
            erased.set()

        writers = [asyncio.create_task(write(number)) for number in range(4)]
        await asyncio.sleep(0)
        receipt = await erase_user(store, ANN, BOTH)
        await asyncio.gather(*writers)
        receipt = await erase_user(store, ANN, BOTH) if not receipt.is_complete else receipt
        left = (await store.find(CHAT, owner=ANN, limit=1000)).heads
        # what was written after the erasure was verified is not its business; a second one takes it
        last = await erase_user(store, ANN, BOTH)
        assert last.removed["conversations"] == len(left)
        assert last.is_complete
        assert (await store.measure(CHAT)).conversations == 0


class Stubborn(InMemoryStore):
    """Somebody writes again right after each delete, without naming the owner, so many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    @override
    async def _delete(self, change: Change) -> bool:
        existed = await super()._delete(change)
        if self.times:
            self.times -= 1
            await self.append(change.conversation, [say("again")])
        return existed


async def test_it_is_gone_through_until_nothing_new_is_found() -> None:
    store = Stubborn(5)
    await store.append(ConversationId(CHAT, "c"), [say("x")], owner=ANN)
    receipt = await erase_user(store, ANN, BOTH)
    assert receipt.is_complete
    assert (receipt.rounds, receipt.removed["conversations"], len(receipt.hashes)) == (6, 6, 1)
    assert await store.load(ConversationId(CHAT, "c")) is None


async def test_a_receipt_says_when_it_was_not_enough() -> None:
    store = Stubborn(1000)
    await store.append(ConversationId(CHAT, "c"), [say("x")], owner=ANN)
    receipt = await erase_user(store, ANN, BOTH)
    assert not receipt.is_complete
    assert receipt.verified.found == 1


class Handed(InMemoryStore):
    """The conversation passes to another user between the look at it and its deletion."""

    @override
    async def _delete(self, change: Change) -> bool:
        if change.expect_version == 1:
            await self.append(change.conversation, [say("mine now")], owner="bob")
        return await super()._delete(change)


async def test_what_has_just_become_anothers_stays() -> None:
    store = Handed()
    await store.append(ConversationId(CHAT, "c"), [say("x")], owner=ANN)
    receipt = await erase_user(store, ANN, BOTH)
    assert receipt.is_complete
    found = await store.load(ConversationId(CHAT, "c"))
    assert found is not None
    assert found.head.owner == "bob"


class Shaky(InMemoryStore):
    """Loses the answer to its first delete."""

    lost = False

    @override
    async def _delete(self, change: Change) -> bool:
        existed = await super()._delete(change)
        if not self.lost:
            self.lost = True
            raise OutcomeUnknown("the connection broke")
        return existed


async def test_a_delete_whose_answer_is_lost_is_looked_at_and_counted_once() -> None:
    store = Shaky()
    await store.append(ConversationId(CHAT, "c"), [say("x")], owner=ANN)
    receipt = await erase_user(store, ANN, BOTH)
    assert (receipt.is_complete, receipt.removed["conversations"]) == (True, 1)


class Deaf(InMemoryStore):
    """Says that it deletes, and does not."""

    @override
    async def _delete(self, change: Change) -> bool:
        return True


async def test_the_verification_believes_nobody() -> None:
    store = Deaf()
    await store.append(ConversationId(CHAT, "c"), [say("x")], owner=ANN)
    receipt = await erase_user(store, ANN, BOTH)
    assert (receipt.is_complete, receipt.verified.found) == (False, 1)


async def test_a_store_that_fails_fails_the_erasure_and_the_next_one_ends_it() -> None:
    class Failing(InMemoryStore):
        fails = True

        @override
        async def _delete(self, change: Change) -> bool:
            if self.fails and change.conversation.id == "c1":
                raise StoreUnavailable("the disk is full")
            return await super()._delete(change)

    store = Failing()
    for name in ("c0", "c1", "c2"):
        await store.append(ConversationId(CHAT, name), [say("x")], owner=ANN)
    with pytest.raises(StoreUnavailable):
        await erase_user(store, ANN, BOTH)
    store.fails = False
    assert (await erase_user(store, ANN, BOTH)).removed["conversations"] == 2


# ---- what is beside the store --------------------------------------------------------------------


class Notes:
    """Traces that come back so many times."""

    kind = "notes"

    def __init__(self, *texts: str, returning: int = 0) -> None:
        self.texts = list(texts)
        self.returning = returning

    async def erase(self, carries: Carries) -> int:
        meant = [text for text in self.texts if carries(text)]
        if self.returning:
            self.returning -= 1
        else:
            self.texts = [text for text in self.texts if text not in meant]
        return len(meant)

    async def count(self, carries: Carries) -> int:
        return sum(map(carries, self.texts))


async def test_traces_are_erased_and_verified_with_the_rest() -> None:
    store = InMemoryStore()
    await store.append(ConversationId(CHAT, "room 7"), [say("x")], owner="ann")
    notes = Notes("ann", "conv:ann:1", "room 7", "in room 70", "joanne")
    receipt = await erase_user(store, "ann", BOTH, traces=[notes])
    assert notes.texts == ["in room 70", "joanne"]
    assert (receipt.removed["notes"], receipt.verified.traces) == (3, ("notes",))
    assert receipt.is_complete
    stubborn = Notes("ann", returning=1000)
    assert not (await erase_user(store, "ann", BOTH, traces=[stubborn])).is_complete


@pytest.mark.parametrize(
    ("text", "is_hers"),
    [
        ("ann", True),
        ("conv:ann:s1", True),
        ("ask ann.", True),
        ("(ann), she said", True),
        ("anna", False),
        ("joann", False),
        ("ann-2", False),
        ("ann@example.com", False),
        ("x.ann", False),
        ("ann.example", False),
        ("ANN", False),
    ],
)
def test_a_user_is_named_as_a_whole(text: str, is_hers: bool) -> None:
    assert Carries("ann")(text) is is_hers


def test_a_user_is_found_in_keys_where_odd_characters_are_escaped() -> None:
    assert Carries("a:b")("conv:a%3Ab:s1")


@pytest.mark.parametrize(
    ("user", "extent"),
    [
        ("", BOTH),
        ("ann", Extent(namespaces=[])),
        ("ann", Extent(namespaces=[CHAT], prefixes=[""])),
    ],
)
async def test_what_would_erase_too_much_or_nothing_is_refused(user: str, extent: Extent) -> None:
    with pytest.raises(InvalidInput, match="needs a user"):
        await erase_user(InMemoryStore(), user, extent)
