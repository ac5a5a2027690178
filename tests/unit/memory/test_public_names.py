"""The library's face loads what is used, and nothing before."""

import subprocess
import sys

import pytest

import recollect.memory


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize("name", recollect.memory.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(recollect.memory, name).__name__ if name != "MemoryProviderConfig" else True
    assert name in dir(recollect.memory)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such"):
        recollect.memory.no_such  # noqa: B018


HEAVY = {"redis", "asyncpg", "sqlite3", "pydantic", "dbos", "sqlalchemy", "tiktoken", "re2", "yaml"}


def test_the_names_load_no_driver_engine_or_model_library() -> None:
    script = "from recollect.memory import *; import sys; print(*sys.modules)"
    loaded = {name.partition(".")[0] for name in run(script).split()}
    assert "recollect" in loaded
    assert not HEAVY & loaded


def test_the_package_is_imported_within_a_fifth_of_a_second() -> None:
    script = "from time import perf_counter as t; s = t(); import recollect.memory; print(t() - s)"
    assert min(float(run(script)) for _ in range(5)) <= 0.2
