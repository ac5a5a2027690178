"""Seed 004 as written: each of its Python snippets, run through ``compat/jaf``, on every backend.

``seed_004/`` holds the document and the program that runs its snippets one by one and checks that what
each shows really held.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.redis_server import RedisServer

pytest_plugins = ["tests.servers.postgres_server", "tests.servers.redis_fixtures"]

ROOT = Path(__file__).parents[2]
JAF = ROOT / "compat" / "jaf" / "src"
SEED = Path(__file__).with_name("seed_004")
SNIPPETS = 23


def python(*args: str | Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run Python where ``jaf`` can be imported, with no other setting in the environment."""
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("JAF_", "RECOLLECT_"))}
    return subprocess.run(
        [sys.executable, *args],
        env={**plain, "PYTHONPATH": str(JAF), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("backend", ["memory", "sqlite", "redis", "postgres"])
def test_every_snippet_does_what_it_shows(
    backend: str, redis_server: RedisServer, postgres_url: str, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    done = python(
        SEED / "check.py.txt",
        SEED / "seed.md.txt",
        "--json",
        report,
        SEED_BACKEND=backend,
        SEED_REDIS_PORT=str(redis_server.port),
        SEED_REDIS_URL=f"{redis_server.url}/0",
        SEED_PG_DSN=postgres_url,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(report.read_text())
    assert len(rows) == SNIPPETS
    assert all(row["ran"] and "check" not in row for row in rows)


def test_jaf_has_every_name_it_says() -> None:
    """In the original, ``from jaf import *`` raised an AttributeError."""
    script = """
import jaf, jaf.core.types, jaf.memory, recollect.memory
from jaf import *
from jaf.core.types import *
from jaf.memory import *
assert set(recollect.memory.__all__) <= set(jaf.__all__), "the seed imports from both"
assert jaf.MemoryConfig is recollect.memory.MemoryConfig
assert jaf.Message is jaf.core.types.Message is recollect.Message
assert issubclass(jaf.MemoryError, Exception)
"""
    done = python("-c", script)
    assert done.returncode == 0, done.stderr


def test_jaf_loads_no_driver_and_no_heavy_library() -> None:
    """The original took 3.3 s and 4,063 modules."""
    script = "import jaf, sys; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(python("-c", script).stdout.split())
    assert "recollect" in loaded
    assert not loaded & {"redis", "asyncpg", "pydantic", "pydantic_ai", "dbos", "tiktoken", "yaml"}
