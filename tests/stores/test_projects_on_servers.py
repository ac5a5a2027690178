"""A project moves to a server by changing one URL."""

from typing import TYPE_CHECKING

from recollect.project.app import open_app
from recollect.project.users import add_workflow_file, load_project
from tests.servers.redis_server import RedisServer

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


async def test_a_project_remembers_on_postgres(project: "ProjectFolder", postgres_url: str) -> None:
    await remembers(project, postgres_url)
