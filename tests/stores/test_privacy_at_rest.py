"""Row 20 of memory.md §13: what a policy hides is in no byte of a store, and in no log.

Every operation that persists is used once; then all that the store keeps is read, not through it.
"""

import base64
import hashlib
import json
import logging
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import asyncpg  # type: ignore[import-untyped]  # it has no types
import pytest
import redis.asyncio

from recollect.errors import MemoryLimitExceeded
from recollect.memory.registry import Defined, Memories, Registry, Request
from recollect.memory.resource import Resource
from recollect.stores.base import Store
from recollect.stores.factory import make_store, postgres_store, redis_store
from recollect.stores.in_memory import InMemoryStore
from recollect.telemetry import Telemetry
from tests.files import read_files
from tests.servers.redis_server import RedisServer

pytest_plugins = ["tests.servers.postgres_server", "tests.servers.redis_fixtures"]

SEED = r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b"
MAIL, CARD, SECRET = "jane.doe@example.com", "4111 1111 1111 1111", "hunter2-hunter2"
NOW = datetime(2026, 11, 21, tzinfo=UTC)
KEY = f"conv:{MAIL}:s1"

Bytes = AsyncIterator[bytes]


def resource(strategy: str, **fields: Any) -> dict[str, Any]:
    return {
        "resource": "memory",
        "id": "talk",
        "max_tokens": 600,
        "max_messages": 20,
        "privacy_policy": {
            "redact_patterns": [SEED, "preset:card"],
            "strategy": strategy,
            "non_persistable_message_types": ["system"],
        },
        **fields,
    }


def messages(n: int) -> list[dict[str, Any]]:
    """Private data in every place that a message has."""
    arguments = json.dumps({"to": MAIL, "deep": {"cards": [CARD]}}).replace("@", "\\u0040")
    return [
        {"role": "user", "content": f"I am {MAIL}, order {n}", "metadata": {MAIL: [{"c": CARD}]}},
        {"role": "system", "content": f"never stored: {SECRET}"},
        {
            "role": "user",
            "content": SECRET,
            "metadata": {"privacy": {"do_not_persist": True}},
        },
        {
            "role": "user",
            "content": "and my word",
            "metadata": {"privacy": {"sensitive_fields": ["word"]}, "word": SECRET},
        },
        {
            "role": "assistant",
            "content": [{"type": "text", "text": f"card {CARD}"}],
            "tool_calls": [{"id": f"c{n}", "function": {"name": "send", "arguments": arguments}}],
        },
        {"role": "tool", "tool_call_id": f"c{n}", "content": json.dumps({"sent": MAIL})},
    ]


async def use(store: Store, strategy: str, flushing: str) -> list[tuple[str, dict[str, Any]]]:
    """Perform operations of every kind; return the events that were emitted meanwhile."""
    events: list[tuple[str, dict[str, Any]]] = []
    telemetry = Telemetry()
    telemetry.listen(lambda event, /, **labels: events.append((event, labels)))
    made = Resource.model_validate(resource(strategy, flushing={"type": flushing}))
    memories = Memories(
        Registry({"talk": Defined(resource=made, file=Path("m.yaml"))}),
        durable=store,
        scratch=InMemoryStore(),
        project_id="demo",
        hash_key=lambda: b"k" * 32,
        telemetry=telemetry,
    )

    async def do(operation: Any, payload: Any = None, **config: Any) -> dict[str, Any]:
        request = Request(
            operation=operation, memory_ref="talk", key=KEY, payload=payload, config=config
        )
        return dict(await memories.perform(request, now=NOW))

    for n in range(8):
        await do("append", messages(n))
    assert (await do("flush", force=True))["messages_flushed"] > 0
    await do("write", messages(8))
    long = "word " * 2_000 + ("" if strategy == "drop" else MAIL)
    with pytest.raises(MemoryLimitExceeded):
        await do("append", {"role": "user", "content": long})
    await do("clear", confirm=True, backup=True)
    await do("append", messages(9))
    read = await do("read")
    stats = await do("stats", include_content=True)
    assert MAIL not in json.dumps([read["messages"], stats.get("messages")])
    return events


FORBIDDEN = [
    text.encode(encoding)
    for private in (MAIL, CARD, CARD.replace(" ", ""), SECRET)
    for text in (private, private.replace("@", "\\u0040"))
    for encoding in ("utf-8", "utf-16-le")
] + [base64.b64encode(private.encode()).rstrip(b"=")[:-1] for private in (MAIL, CARD, SECRET)]
# nor a hash that could be found from a guess; of the key all stores keep an address
FORBIDDEN += [hashlib.sha256(guess.encode()).hexdigest()[:16].encode() for guess in (KEY, MAIL)]

STRATEGIES = pytest.mark.parametrize("strategy", ["redact", "mask", "hash", "drop"])
FLUSHING = pytest.mark.parametrize("flushing", ["simple_fifo", "hybrid_summary"])


async def check(found: Bytes, events: Any, log: pytest.LogCaptureFixture, *, sees: bytes) -> None:
    data = b"\n".join([piece async for piece in found])
    assert sees in data
    for private in FORBIDDEN:
        assert private not in data
    emitted = f"{events}{log.text}"
    assert not any(private in emitted for private in (MAIL, CARD, SECRET))


@pytest.fixture(autouse=True)
def everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


@STRATEGIES
@FLUSHING
async def test_nothing_private_is_in_the_files_of_sqlite(
    tmp_path: Path, strategy: str, flushing: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def written() -> Bytes:
        for _, data in read_files(tmp_path):
            yield data

    async with make_store("sqlite:///all.db", folder=tmp_path) as store:
        events = await use(store, strategy, flushing)
        await check(written(), events, caplog, sees=b"and my word")  # the WAL included
    await check(written(), events, caplog, sees=b"and my word")


@STRATEGIES
async def test_nothing_private_is_in_redis(
    redis_server: RedisServer, strategy: str, caplog: pytest.LogCaptureFixture
) -> None:
    prefix = f"privacy-{secrets.token_hex(4)}:"

    async def held() -> Bytes:
        async with redis.asyncio.Redis.from_url(redis_server.url) as client:
            async for key in client.scan_iter(match=f"*{prefix}*"):
                yield key
                yield repr(await VALUES[cast(bytes, await client.type(key))](client, key)).encode()

    async with redis_store(redis_server.url, prefix=prefix) as store:
        events = await use(store, strategy, "hybrid_summary")
    await check(held(), events, caplog, sees=b"and my word")


VALUES: dict[bytes, Any] = {
    b"string": lambda client, key: client.get(key),
    b"list": lambda client, key: client.lrange(key, 0, -1),
    b"hash": lambda client, key: client.hgetall(key),
    b"set": lambda client, key: client.smembers(key),
    b"zset": lambda client, key: client.zrange(key, 0, -1),
}


@STRATEGIES
async def test_nothing_private_is_in_postgres(
    postgres_url: str, postgres_schema: str, strategy: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def held() -> Bytes:
        connection = await asyncpg.connect(postgres_url)
        try:
            tables = await connection.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = $1", postgres_schema
            )
            for (table,) in tables:
                for row in await connection.fetch(f'SELECT * FROM {postgres_schema}."{table}"'):
                    yield repr(tuple(row)).encode()
        finally:
            await connection.close()

    async with postgres_store(postgres_url, table_name=f"{postgres_schema}.talks") as store:
        events = await use(store, strategy, "hybrid_summary")
    await check(held(), events, caplog, sees=b"and my word")
