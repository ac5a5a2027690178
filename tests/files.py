"""What the files below a folder hold, also while living processes write and remove them."""

import os
from collections.abc import Iterator
from pathlib import Path


def read_files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield each file with its bytes; what is removed meanwhile is left out."""
    for parent, _, names in os.walk(folder):
        for name in names:
            file = Path(parent, name)
            try:
                yield file, file.read_bytes()
            except FileNotFoundError:
                continue


def files_with(text: str, folder: Path) -> list[Path]:
    """Return the files that hold a text.

    Raises:
        AssertionError: there is no file at all, so that nothing is shown by finding none.
    """
    found = [(file, text.encode() in data) for file, data in read_files(folder)]
    assert found
    return [file for file, holds in found if holds]


def all_bytes(folder: Path) -> bytes:
    """Return what all files hold, one after the other."""
    return b"".join(data for _, data in read_files(folder))
