"""SQL by name, read from the ``.sql`` files of this package."""

from pathlib import Path


def read_statements(file: str) -> dict[str, str]:
    """Return name -> statement, in the order of the file; each begins with ``-- name: NAME``."""
    text = Path(__file__).with_name(file).read_text("utf-8")
    parts = text.split("-- name: ")[1:]
    return {name.strip(): body.strip() for name, _, body in (p.partition("\n") for p in parts)}


SQL = read_statements("statements.sql")
SCHEMA = read_statements("schema.sql")
