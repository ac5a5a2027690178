import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from recollect.errors import ConfigError
from recollect.project.yaml_file import read, read_text

BLOCKS = Path(__file__).parent / "seed_blocks"


@contextmanager
def an_ordinary_user() -> Iterator[None]:
    """Root may read and write everything, so these tests step down while they look."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder any user may enter: pytest's own belong to one user."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


# --- files ----------------------------------------------------------------------------------------


def test_reading_a_file_gives_its_value_and_name(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("\ufeffname: Zoë\r\nage: 3\r\n".encode())
    document = read(path)
    assert document.value == {"name": "Zoë", "age": 3}
    assert document.file == path
    assert document.line_of(["age"]) == 2


def test_the_text_of_a_file_is_given_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\n")
    assert read_text(path) == "\ufeffa: 1\r\n"


def test_a_file_that_is_not_utf_8_names_the_byte_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert str(caught.value) == (
        f"{path}:2: byte 0xe9 at byte offset 11 is not UTF-8: save it as UTF-8"
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: there is no such file"):
        read(tmp_path / "gone.yaml")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="this is a folder"):
        read(tmp_path)


def test_a_path_that_cannot_exist_is_a_config_error(tmp_path: Path) -> None:
    for name in ("x" * 300, "a\0b"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read(tmp_path / name)


def test_a_file_without_permission_is_named(open_folder: Path) -> None:
    path = open_folder / "a.yaml"
    path.write_text("a: 1")
    path.chmod(0o000)
    with an_ordinary_user(), pytest.raises(ConfigError, match=r"a\.yaml: permission denied"):
        read(path)


def test_a_file_over_ten_mebibytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"#" * (10 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError, match="larger than 10 MiB"):
        read(path)


# --- the seeds ------------------------------------------------------------------------------------


def seed_names() -> list[str]:
    return sorted(path.name for path in BLOCKS.glob("*.yaml") if ".flat." not in path.name)


def test_all_blocks_of_the_seeds_are_here() -> None:
    counts = {seed: sum(name.startswith(seed) for name in seed_names()) for seed in SEEDS}
    assert counts == SEEDS


SEEDS = {"000": 11, "001": 3, "002": 14, "003": 3}


@pytest.mark.parametrize("name", seed_names())
def test_every_block_of_the_seeds_is_read(name: str) -> None:
    document = read(BLOCKS / name)
    assert isinstance(document.value, dict)
    assert bool(document.warnings) == (name == "002_13_migration.yaml")


def test_the_migration_block_means_its_second_half() -> None:
    document = read(BLOCKS / "002_13_migration.yaml")
    assert document.value == {
        "tasks": [
            {
                "id": "save_state",
                "type": "memory",
                "operation": "write",
                "memory_ref": "conversation_memory",
            }
        ]
    }
    assert "on line 2 and on line 8" in document.warnings[0]


def test_the_resource_block_keeps_its_pattern_and_version_like_values() -> None:
    value: Any = read(BLOCKS / "000_9_resource.yaml").value
    assert value["privacy_policy"]["redact_patterns"] == [
        r"\b[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Z|a-z]{2,}\b"
    ]
    assert value["persistence"] == {"type": "redis", "ttl": "24h"}
    assert value["max_tokens"] == 4000
    complete: Any = read(BLOCKS / "000_10_complete.yaml").value
    assert complete["version"] == "1.0.0"
    assert [message["role"] for message in complete["tasks"][2]["payload"]] == ["user", "assistant"]
