"""What a project is told from others by: its id and its secret, each made once and kept in a file.

Neither is derived from a path or a title, so moving or renaming a project loses nothing. Machines that
share a store share both files; the secret may come from the environment instead.
"""

import json
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from recollect.errors import ConfigError, StoreUnavailable
from recollect.memory.data.new_file import publish
from recollect.project.loading import Project

_IDENTITY: Final = re.compile("[A-Za-z0-9_.-]{1,100}")
_HASH_KEY: Final = re.compile("[0-9A-Fa-f]{64}")

HASH_KEY_VARIABLE: Final = "RECOLLECT_HASH_KEY"
"""Holds the secret as ``.recollect/hash.key`` does; where it is set, that file is not looked at."""


def project_identity(project: Project) -> str:
    """Return the project's own id, kept in ``.recollect/project.json``.

    Raises:
        StoreUnavailable: the file cannot be read or written. ConfigError: it is not ours.
    """
    path = project.data_folder / "project.json"
    text = _once(path, lambda: json.dumps({"id": f"prj_{secrets.token_hex(8)}"}))
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    identity = data.get("id") if isinstance(data, dict) else None
    if not isinstance(identity, str) or not _IDENTITY.fullmatch(identity):
        raise ConfigError(
            "the file does not hold the project's id: restore it from a backup, because memories "
            "are kept under that id; if there are none yet, delete it",
            file=path,
        )
    return identity


def project_hash_key(project: Project) -> bytes:
    """Return the secret of ``strategy: hash`` and of keys that a policy hides: 32 bytes.

    It is what ``RECOLLECT_HASH_KEY`` says (64 hexadecimal digits), else kept in ``.recollect/hash.key``.
    It is no part of the id, because the id is in the store: who can read the store could try out
    what a hash stands for.

    Raises:
        StoreUnavailable: as for ``project_identity``. ConfigError: the variable or the file is damaged.
    """
    if given := project.env.get(HASH_KEY_VARIABLE, "").strip():
        if not _HASH_KEY.fullmatch(given):
            raise ConfigError(
                f"{HASH_KEY_VARIABLE} is not a secret of 64 hexadecimal digits: set it to what "
                ".recollect/hash.key holds on the first machine, or leave it out"
            )
        return bytes.fromhex(given)
    path = project.data_folder / "hash.key"
    text = _once(path, lambda: secrets.token_hex(32)).strip()
    if not _HASH_KEY.fullmatch(text):
        raise ConfigError(
            "the file does not hold the project's key: restore it from a backup, because without "
            "it equal texts get other hashes than before; if there are none yet, delete it",
            file=path,
        )
    return bytes.fromhex(text)


def _once(path: Path, make: Callable[[], str]) -> str:
    """Return what the file holds; of several that write it at once, the first wins."""
    try:
        if not path.exists():
            _write(path, make())
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise StoreUnavailable(
            f"{path}: {error.strerror or type(error).__name__}: this user must be able to write to "
            "the folder, and its disk must have room"
        ) from None


def _write(path: Path, text: str) -> None:
    """Create the file whole or not at all, for this user alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    (path.parent / ".gitignore").write_text("*\n", encoding="utf-8")
    draft = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)
