"""The store on Redis, beside the barest commands on the same server; and an append on a Cluster.

The raw line is one ``RPUSH`` of ready-made bytes through redis-py's asyncio client, the raw reads one
``LRANGE``; the raw crowds are as many tasks with the client's pool. On a Cluster the raw client is one
of the node that has the slot.
"""

import tempfile
from pathlib import Path

from redis.asyncio import Redis
from redis.crc import key_slot

from benchmarks import measures
from benchmarks.lines import SIZES, Bare, Line, Ours, sample, seeded
from benchmarks.order import Opening
from benchmarks.report import Report
from benchmarks.targets import CLUSTER, REDIS
from recollect.stores.redis import RedisStore
from tests.servers.redis_server import RedisCluster, RedisServer


class Lists(Bare):
    """A bare list a conversation, on one server or on the nodes of a Cluster in order of their slots."""

    def __init__(self, *clients: Redis) -> None:
        super().__init__()
        self.clients = clients
        self.keys: dict[int, tuple[str, Redis]] = {}

    def at(self, conversation: int) -> tuple[str, Redis]:
        if conversation not in self.keys:
            key = f"raw:{conversation}"
            node = key_slot(key.encode()) * len(self.clients) // 16384
            self.keys[conversation] = key, self.clients[node]
        return self.keys[conversation]

    async def seed(self, rounds: int) -> None:
        for conversation, size in seeded(rounds):
            key, client = self.at(conversation)
            for first in range(0, size, 1_000):
                await client.rpush(key, *[self.data] * min(1_000, size - first))

    async def add(self, conversation: int) -> None:
        key, client = self.at(conversation)
        await client.rpush(key, self.data)

    async def last(self, conversation: int) -> object:
        key, client = self.at(conversation)
        return await client.lrange(key, -50, -1)

    async def all(self, conversation: int) -> object:
        key, client = self.at(conversation)
        return await client.lrange(key, 0, -1)


async def measure(report: Report, rounds: int, wanted: set[str]) -> None:
    """Run the lines of this store."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder)) as server:
        client = Redis(host="127.0.0.1", port=server.port)
        raw = Lists(client)
        async with RedisStore(server.url) as store:
            run = measures.Run("Redis", raw, Ours(store), REDIS, rounds, report)
            before = await used(client)
            await raw.seed(rounds)
            raw_bytes = await used(client) - before
            await run.ours.seed(rounds)
            our_bytes = await used(client) - before - raw_bytes
            if "stored" in wanted:
                messages = (await store.measure("bench")).messages
                measures.report_stored(run, our_bytes, raw_bytes, messages)

            async def passed() -> int:
                info = await client.info("stats")
                return int(info["total_net_input_bytes"] + info["total_net_output_bytes"])

            opening = Opening("redis", server.url)
            await measures.measure(run, wanted, {"net": passed}, opening)
        await client.aclose()


async def measure_cluster(report: Report, rounds: int, wanted: set[str]) -> None:
    """Run the append on a Cluster."""
    if "append" not in wanted:
        return
    with tempfile.TemporaryDirectory() as folder, RedisCluster(Path(folder)) as cluster:
        clients = [Redis(host="127.0.0.1", port=node.port) for node in cluster.nodes]
        raw = Lists(*clients)
        async with RedisStore(cluster.nodes[0].url, cluster=True) as store:
            ours = Ours(store)
            await raw.seed(rounds)
            await ours.seed(rounds)
            lines: dict[str, Line] = {"raw": raw.append, "ours": ours.append}
            samples = await sample(rounds, SIZES, lines)
            measures.report_appends(report, samples, "Redis Cluster append", "ours", CLUSTER)
        for client in clients:
            await client.aclose()


async def used(client: Redis) -> int:
    return int((await client.info("memory"))["used_memory_dataset"])
