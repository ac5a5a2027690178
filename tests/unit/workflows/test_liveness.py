"""Who holds a journal; looking at it keeps nobody from claiming it."""

import fcntl
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from recollect.workflows import liveness


def test_a_folder_is_held_until_it_is_released(tmp_path: Path) -> None:
    claim = liveness.claim_new(tmp_path)
    assert liveness.is_held(claim.folder)
    assert liveness.holder(claim.folder) == os.getpid()
    assert liveness.claim(claim.folder) is None
    claim.release()
    assert not liveness.is_held(claim.folder)
    again = liveness.claim(claim.folder)
    assert again is not None
    again.remove()
    assert (liveness.is_held(claim.folder), liveness.holder(claim.folder)) == (False, None)
    assert liveness.claim(claim.folder) is None


def test_whoever_looks_keeps_nobody_from_claiming(tmp_path: Path) -> None:
    claim = liveness.claim_new(tmp_path)
    claim.release()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            liveness.is_held(claim.folder)

    lookers = [threading.Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(300):
            again = liveness.claim(claim.folder)
            assert again is not None
            again.release()
    finally:
        done.set()
        for looker in lookers:
            looker.join()


def test_who_looks_for_long_is_waited_for(tmp_path: Path) -> None:
    """It is held up between taking the lock and giving it back."""
    claim = liveness.claim_new(tmp_path)
    claim.release()
    look = os.open(claim.folder / "lock", os.O_RDONLY)
    fcntl.flock(look, fcntl.LOCK_SH)
    end = threading.Timer(0.3, os.close, (look,))
    end.start()
    again = liveness.claim(claim.folder)
    end.join()
    assert again is not None
    again.release()


def test_a_folder_is_removed_though_others_put_files_in_it(tmp_path: Path) -> None:
    """SQLite does, for whoever reads the journal at this moment."""
    claim = liveness.claim_new(tmp_path)
    begun = threading.Event()

    def read() -> None:
        for number in range(3000):
            with suppress(FileNotFoundError):
                (claim.folder / f"{number}").touch()
            begun.set()

    reader = threading.Thread(target=read)
    reader.start()
    begun.wait()
    claim.remove()
    reader.join()
    assert list(tmp_path.iterdir()) == []


def test_a_journal_goes_before_the_files_that_sqlite_keeps_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads it meanwhile finds it gone; without them it could not be read."""
    claim = liveness.claim_new(tmp_path)
    names = ["journal.sqlite", "journal.sqlite-shm", "journal.sqlite-wal"]
    for name in names:
        (claim.folder / name).touch()
    gone: list[str] = []
    listed, unlink = Path.iterdir, Path.unlink

    def note(file: Path, missing_ok: bool = False) -> None:
        gone.append(file.name)
        unlink(file, missing_ok)

    monkeypatch.setattr(Path, "unlink", note)
    monkeypatch.setattr(Path, "iterdir", lambda folder: sorted(listed(folder), reverse=True))
    claim.remove()
    assert gone == [*names, "lock"]
