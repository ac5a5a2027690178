"""Places for stores under test."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder of the test's own; in memory where the system has one, as syncing a disk takes most
    of the time of these tests and none of them cuts the power."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory, prefix="recollect-") as name:
        yield Path(name)
