"""Files that processes make once: the first one counts, on any file system, after any crash."""

import os
from pathlib import Path
from typing import Any

import pytest

from recollect.errors import InvalidInput
from recollect.memory.data.new_file import publish
from recollect.memory.data.transfer import export_file
from recollect.project.identity import project_identity
from recollect.project.users import load_project
from recollect.stores.in_memory import InMemoryStore


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> str:
    """On a file system without hard links, another process names its file just before us."""
    text = '{"id": "prj_of_another"}'

    def no_link(_: Path, path: Path) -> None:
        path.write_text(text)
        raise PermissionError(1, "no hard links", str(path))

    monkeypatch.setattr(os, "link", no_link)
    return text


def names_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


def test_a_project_has_the_id_of_who_was_faster(tmp_path: Path, faster: str) -> None:
    (tmp_path / "recollect.yaml").write_text("name: demo\n")
    assert project_identity(load_project(tmp_path, {})) in faster


async def test_an_export_overwrites_no_file_that_was_made_meanwhile(
    tmp_path: Path, faster: str
) -> None:
    path = tmp_path / "export.jsonl"
    async with InMemoryStore() as store:
        with pytest.raises(InvalidInput, match="made by somebody else meanwhile"):
            await export_file(store, path, ["ns"])
    assert path.read_text() == faster
    assert names_in(tmp_path) == ["export.jsonl"]


def test_a_file_without_hard_links_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: Any) -> None:
        raise PermissionError(1, "no hard links")

    monkeypatch.setattr(os, "link", no_link)
    draft, path = tmp_path / "draft", tmp_path / "file"
    draft.write_text("whole")
    publish(draft, path)
    assert path.read_text() == "whole"


def test_the_name_is_on_the_disk_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A crash of the machine would take it back, while what is kept under the id is on a server."""
    synced: list[tuple[int, bool]] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        found = os.fstat(descriptor)
        synced.append((found.st_ino, (tmp_path / ".recollect" / "project.json").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    (tmp_path / "recollect.yaml").write_text("name: demo\n")
    project_identity(load_project(tmp_path, {}))
    folders = [tmp_path / ".recollect", tmp_path]
    assert synced[1:] == [(folder.stat().st_ino, True) for folder in folders]
