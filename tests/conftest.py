"""Projects made of YAML texts, and runs of their workflows through the real engine."""

import gc
import os
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from recollect.project.app import RunResult, open_app
from recollect.project.loading import Project
from recollect.project.users import add_workflow_file, load_project
from tests.fake_openai import FakeOpenAI

settings.register_profile("unhurried", deadline=None)  # the machine may be busy
settings.load_profile("unhurried")

AUTOLOAD = 'autoload: {enabled: true, include: ["memory/*.yaml"]}\n'
MEMORY = 'resource: memory\nid: talk\nkey: "conv:{{.user_id}}"\n'


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests wait half of their time, for disks and programs."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Twelve thousand tests stay to the end: spare each later collection the walk through them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module", autouse=True)
def _left_open() -> Iterator[None]:
    """A file or database left open warns in the module that left it, not in whichever runs later."""
    yield
    gc.collect()


class ProjectFolder:
    """A project below a temporary folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("recollect.yaml", AUTOLOAD)
        self.write("memory/talk.yaml", MEMORY)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def load(self, env: Mapping[str, str] | None = None) -> Project:
        return load_project(self.root, env or {})

    async def run(
        self,
        workflow: str,
        input_: Mapping[str, Any] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        mock_model: bool = True,
    ) -> RunResult:
        file = self.write("wf.yaml", workflow)
        project = self.load(env)
        chosen = add_workflow_file(project, file).workflow
        async with open_app(project, mock_model=mock_model) as app:
            return await app.run(chosen, input_ or {}, on_found=lambda run_id: None)

    async def memory(self, operation: str, key: str, **options: Any) -> dict[str, Any]:
        async with open_app(self.load()) as app:
            return await app.memory(operation, "talk", key, **options)

    async def contents(self, key: str) -> list[str]:
        return [m["content"] for m in (await self.memory("read", key))["messages"]]


@pytest.fixture
def project(tmp_path: Path) -> ProjectFolder:
    return ProjectFolder(tmp_path / "project")


@pytest.fixture
def fake_openai() -> Iterator[FakeOpenAI]:
    """A local server that speaks OpenAI's dialect."""
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of the test's own, for stores.

    In memory where the system has one: syncing a disk would take most of the time of these tests,
    and none of them cuts the power.
    """
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="recollect-") as name:
        yield Path(name)
