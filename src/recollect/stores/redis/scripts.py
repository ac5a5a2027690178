"""Lua by name, read from the ``.lua`` files of this package."""

import hashlib
from pathlib import Path
from typing import NamedTuple

_PARTS = {
    "append": ("quick", "head", "index", "writing", "append"),
    "replace": ("head", "index", "writing", "replace"),
    "fold": ("head", "index", "writing", "fold"),
    "annotate": ("head", "index", "writing", "annotate"),
    "delete": ("head", "index", "writing", "delete"),
    "load": ("load_quick", "head", "load"),
    "recall": ("head", "recall"),
    "lease": ("head", "lease"),
    "release": ("head", "release"),
    "sweep": ("head", "index", "sweep"),
    "enter": ("enter",),
    "leave": ("leave",),
}


class Script(NamedTuple):
    """A script and what the server calls it."""

    text: bytes
    sha: bytes


def _script(parts: tuple[str, ...]) -> Script:
    text = b"\n".join(Path(__file__).with_name(f"{part}.lua").read_bytes() for part in parts)
    sha = hashlib.sha1(text, usedforsecurity=False).hexdigest()
    return Script(text, sha.encode())


SCRIPTS = {name: _script(parts) for name, parts in _PARTS.items()}
