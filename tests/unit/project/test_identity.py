"""A project's id and secret are made once, by the first of many, and are kept."""

import threading
from pathlib import Path

import pytest

from recollect.errors import ConfigError, StoreUnavailable
from recollect.project.identity import project_hash_key, project_identity
from recollect.project.loading import Project
from recollect.project.users import load_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "recollect.yaml").write_text("name: demo\n")
    return load_project(tmp_path, {})


@pytest.mark.parametrize("of", [project_identity, project_hash_key])
def test_it_is_the_same_ever_after_and_of_no_other_project(
    of: "object", project: Project, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert callable(of)
    other = tmp_path_factory.mktemp("other")
    (other / "recollect.yaml").write_text("name: demo\n")
    assert of(project) == of(project) != of(load_project(other, {}))


def test_the_first_of_many_wins(project: Project) -> None:
    keys: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: keys.append(project_hash_key(project))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8
    assert len(set(keys)) == 1


def test_the_key_is_32_random_bytes_for_this_user_alone(project: Project) -> None:
    key = project_hash_key(project)
    file = project.data_folder / "hash.key"
    assert len(key) == 32
    assert key.hex() == file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert project_identity(project).encode() not in key
    assert {path.name for path in project.data_folder.iterdir()} == {
        ".gitignore",
        "hash.key",
        "project.json",
    }


def test_the_environment_wins_and_no_file_is_made(tmp_path: Path) -> None:
    (tmp_path / "recollect.yaml").write_text("name: demo\n")
    there = load_project(tmp_path, {"RECOLLECT_HASH_KEY": "0aF0" * 16})
    assert project_hash_key(there) == bytes.fromhex("0af0" * 16)
    assert not (there.data_folder / "hash.key").exists()
    own = project_hash_key(load_project(tmp_path, {"RECOLLECT_HASH_KEY": ""}))
    assert project_hash_key(there) == bytes.fromhex("0af0" * 16) != own


@pytest.mark.parametrize("given", ["swordfish", "0" * 63, "0" * 65, "g" * 64])
def test_a_wrong_variable_is_named_and_not_shown(tmp_path: Path, given: str) -> None:
    (tmp_path / "recollect.yaml").write_text("name: demo\n")
    with pytest.raises(ConfigError, match="RECOLLECT_HASH_KEY is not") as refused:
        project_hash_key(load_project(tmp_path, {"RECOLLECT_HASH_KEY": given}))
    assert given not in str(refused.value)


@pytest.mark.parametrize("content", ["", "abc", "g" * 64, "\ud83d"])
def test_a_damaged_key_is_refused_with_the_way_out(project: Project, content: str) -> None:
    project_hash_key(project)
    file = project.data_folder / "hash.key"
    file.write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(ConfigError, match=r"hash\.key: .*restore it from a backup"):
        project_hash_key(project)


def test_a_key_that_cannot_be_written_names_the_file(project: Project) -> None:
    project.data_folder.parent.joinpath(project.data_folder.name).write_text("a file")
    with pytest.raises(StoreUnavailable, match=r"hash\.key"):
        project_hash_key(project)
