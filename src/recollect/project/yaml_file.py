"""YAML files on disk: their text, and the document in it."""

from pathlib import Path

from recollect.errors import ConfigError
from recollect.project.yaml_document import Document, parse

MAX_BYTES = 10 * 1024 * 1024


def read(path: Path) -> Document:
    """Read one YAML file.

    Raises:
        ConfigError: as `read_text` and `parse` do.
    """
    return parse(read_text(path), file=path)


def read_text(path: Path) -> str:
    """Return the text of a file exactly as it is: line ends and a byte order mark stay.

    Raises:
        ConfigError: The file is missing, a folder, not readable, over 10 MiB, or not UTF-8.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError("there is no such file", file=path) from None
    except IsADirectoryError:
        raise ConfigError("this is a folder, not a YAML file", file=path) from None
    except PermissionError as error:
        raise ConfigError(
            "permission denied: make the file readable for the user who runs recollect", file=path
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read: {error}", file=path) from error
    if len(data) > MAX_BYTES:
        raise ConfigError("is larger than 10 MiB: split it into several files", file=path)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"byte 0x{data[error.start]:02x} at byte offset {error.start} is not UTF-8: "
            "save it as UTF-8",
            file=path,
            line=data.count(b"\n", 0, error.start) + 1,
        ) from error
