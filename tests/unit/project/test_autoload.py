"""Which files a project loads by itself."""

import threading
from pathlib import Path

from recollect.project.loading import load_memories

PROJECT = "autoload: {enabled: true, include: ['**/*.yaml'], exclude: ['*.tmp']}\n"


def test_runs_may_end_while_a_project_is_loaded(tmp_path: Path) -> None:
    """Their folders go away while files are looked for below the project folder."""
    (tmp_path / "recollect.yaml").write_text(PROJECT)
    (tmp_path / "memory.yaml").write_text("resource: memory\nid: talk\n")
    journals = tmp_path / ".recollect" / "journal"
    journals.mkdir(parents=True)
    done = threading.Event()

    def begin_and_end() -> None:
        while not done.is_set():
            for number in range(20):
                (journals / f"{number}").mkdir()
            for number in range(20):
                (journals / f"{number}").rmdir()

    runs = threading.Thread(target=begin_and_end)
    runs.start()
    try:
        for _ in range(100):
            loaded = load_memories(tmp_path, {}).registry.resources
            assert [resource.id for resource in loaded] == ["talk"]
    finally:
        done.set()
        runs.join()
