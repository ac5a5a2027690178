"""A project moves to a server by changing one URL."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from recollect.errors import StoreUnavailable
from recollect.memory import RedisConfig, create_redis_provider
from recollect.messages import Message
from recollect.project.app import open_app
from recollect.project.users import add_workflow_file, load_project
from recollect.stores.factory import make_store
from recollect.stores.records import ConversationId, NewRecord
from tests.servers.redis_server import RedisCluster, RedisServer, SentinelTrio

if TYPE_CHECKING:
    from tests.conftest import ProjectFolder

pytest_plugins = ["tests.servers.postgres_server", "tests.servers.redis_fixtures"]

WORKFLOW = """
tasks:
  - {id: save, type: memory, operation: append, memory_ref: talk, payload: "{{ .text }}"}
  - {id: read, type: memory, operation: read, memory_ref: talk}
"""


async def remembers(project: "ProjectFolder", url: str) -> None:
    file = project.write("wf.yaml", WORKFLOW)
    for text, stored in (("one", ["one"]), ("two", ["one", "two"])):
        loaded = load_project(project.root, {"RECOLLECT_STORE_URL": url})
        workflow = add_workflow_file(loaded, file).workflow
        async with open_app(loaded) as app:
            result = await app.run(workflow, {"user_id": "u1", "text": text}, on_found=print)
            health = await app.memory("health", "talk", "conv:u1")
        assert [m["content"] for m in result.output["messages"]] == stored
        assert health["healthy"] is True


async def test_a_project_remembers_on_redis(
    project: "ProjectFolder", redis_server: RedisServer
) -> None:
    await remembers(project, redis_server.url)


async def test_a_project_remembers_on_a_cluster(
    project: "ProjectFolder", redis_cluster: RedisCluster
) -> None:
    """Rows 37 and 49 of specs/memory.md section 13, (C)."""
    url = redis_cluster.nodes[2].url
    await remembers(project, url.replace("redis:", "redis+cluster:"))


async def test_a_project_remembers_behind_sentinels(
    project: "ProjectFolder", tmp_path: Path
) -> None:
    with SentinelTrio(tmp_path / "trio") as trio:
        hosts = ",".join(f"{host}:{port}" for host, port in trio.addresses)
        await remembers(project, f"redis+sentinel://{hosts}/{trio.service}/3")
        with trio.master.client(db=3) as client:
            assert client.dbsize() > 1


async def test_sentinels_that_ask_for_a_password_get_their_own(
    project: "ProjectFolder", tmp_path: Path
) -> None:
    with SentinelTrio(tmp_path / "trio", sentinel_password="s3cr&t") as trio:
        hosts = ",".join(f"{host}:{port}" for host, port in trio.addresses)
        url = f"redis+sentinel://{hosts}/{trio.service}"
        await remembers(project, f"{url}?sentinel_password=s3cr%26t")
        for wrong in (url, f"{url}?sentinel_password=guessed"):
            with pytest.raises(StoreUnavailable) as refused:
                await make_store(wrong, folder=Path()).open()
            assert "guessed" not in str(refused.value)
        config = RedisConfig(
            sentinel_hosts=hosts, sentinel_service_name=trio.service, sentinel_password="s3cr&t"
        )
        assert "s3cr" not in repr(config)
        provider = await create_redis_provider(config)
        assert (await provider.health_check())["healthy"] is True
        await provider.close()


async def test_a_node_of_a_cluster_is_told_from_a_lone_server(
    redis_cluster: RedisCluster,
) -> None:
    refusals = []
    for node in redis_cluster.nodes:
        store = make_store(node.url, folder=Path())
        for key in "abcdefgh":
            try:
                await store.append(ConversationId("n", key), [NewRecord(Message("user", "x"))])
            except StoreUnavailable as refused:
                refusals.append(str(refused))
        await store.close()
    assert refusals
    for text in refusals:
        assert "is a node of a Cluster" in text
        assert "redis+cluster://" in text


async def test_a_project_remembers_on_postgres(project: "ProjectFolder", postgres_url: str) -> None:
    await remembers(project, postgres_url)
