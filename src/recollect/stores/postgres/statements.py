"""SQL by name, read from the ``.sql`` files of this package and made fit for one set of tables."""

import hashlib
import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recollect.errors import InvalidInput

_VALUE = re.compile(r"(?<![:\w]):([a-z_]+)")
_PART = re.compile(r"<([a-z_]+)>")
_NAME = re.compile(r"\{([a-z_]+)\}")
_LONGEST_NAME = 63  # bytes; the server cuts longer ones off
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)


def _read(file: str) -> dict[str, str]:
    text = Path(__file__).with_name(file).read_text("utf-8")
    parts = text.split("-- name: ")[1:]
    pairs = (part.partition("\n") for part in parts)
    return {name.strip(): _COMMENT.sub("", body).strip() for name, _, body in pairs}


_SCHEMA = _read("schema.sql")
_STATEMENTS = _read("statements.sql") | _read("view.sql") | _read("migration.sql")
_NAMES = tuple(_SCHEMA)
_FRAGMENTS = ("numbers", "head_row", "append_", "unless_", "appended", "read_head", "summary", "live",
              "last_", "archived", "listed", "clean_")  # fmt: skip

_SEED_TABLES = {"table": "", "migrating": "_migrating", "original": "_before_recollect"}
"""What has the name itself, our view or a table of the seed's shape, and where that is moved to."""


class Statement:
    """A statement with the names of its values, in the order the server numbers them."""

    def __init__(self, text: str) -> None:
        numbers: dict[str, int] = {}

        def number(found: re.Match[str]) -> str:
            return f"${numbers.setdefault(found[1], len(numbers) + 1)}"

        self.sql = _VALUE.sub(number, text)
        self._names = tuple(numbers)

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the values in order; more may be given than it takes."""
        return [values[name] for name in self._names]


class Statements:
    """All statements for the tables that begin with one name.

    Args:
        table_name: ``name`` or ``schema.name``; quoted, so that case and odd characters are kept.
    """

    def __init__(self, table_name: str) -> None:
        schema, dot, table = table_name.rpartition(".")
        if not table or (dot and not schema) or "\0" in table_name:
            raise InvalidInput(f"table_name is {table_name!r:.80}: write NAME or SCHEMA.NAME")
        longest = max(len(f"{table}_{name}".encode()) for name in _NAMES)
        if max(longest, len(schema.encode())) > _LONGEST_NAME:
            most = _LONGEST_NAME - longest + len(table.encode())
            raise InvalidInput(f"table_name {table_name!r:.80} is too long: at most {most} bytes")
        before = f"{_quoted(schema)}." if schema else ""
        self._names = {name: before + _quoted(f"{table}_{name}") for name in _NAMES}
        self._index_names = {name: _quoted(f"{table}_{name}") for name in _NAMES}
        self.schema_name = self._names["schema"]
        for name, suffix in _SEED_TABLES.items():
            self._names[name] = before + _quoted(table + suffix)
            self._names[f"{name}_alone"] = _quoted(table + suffix)
        self.seed_tables = {name: self._names[name] for name in _SEED_TABLES}
        digest = hashlib.sha256(f"recollect {self.schema_name}".encode()).digest()
        self.lock_number = int.from_bytes(digest[:8], "big", signed=True)
        self._statements = {
            name: Statement(self._filled(text, {}))
            for name, text in _STATEMENTS.items()
            if name == "append_together" or not name.startswith(_FRAGMENTS)
        }
        self._statements |= self._appends() | self._loads()

    def __getitem__(self, name: str) -> Statement:
        return self._statements[name]

    @property
    def table_names(self) -> list[str]:
        """The names of the tables, quoted."""
        tables = (name for name, text in _SCHEMA.items() if "CREATE TABLE" in text)
        return [self._names[name] for name in tables]

    def creation(self) -> str:
        """Return the script that creates tables and indexes."""
        return "\n".join(self._created(text) for text in _SCHEMA.values())

    def _created(self, text: str) -> str:
        what, on, rest = text.partition(" ON ")
        if not what.startswith(("CREATE INDEX", "CREATE UNIQUE")):
            return self._filled(text, {})
        return _NAME.sub(lambda found: self._index_names[found[1]], what) + self._filled(
            on + rest, {}
        )

    def _appends(self) -> dict[str, Statement]:
        """Return the appends: of one message or many, with or without key and metadata."""
        found = {}
        choices = itertools.product((False, True), repeat=4)
        for many, with_key, with_metadata, seen in choices:
            parts = ["<append_seen_head>" if seen else "<append_head>"]
            parts += ["<append_rows>" if many else "<append_row>"]
            parts += ["<append_key>"] * with_key + ["<append_metadata>"] * with_metadata
            text = f"WITH {', '.join(parts)} <appended>"
            without = {} if with_key else {"unless_known": "", "unless_deleted": ""}
            name = append_name(many=many, with_key=with_key, with_metadata=with_metadata, seen=seen)
            found[name] = Statement(self._filled(text, without))
        return found

    def _loads(self) -> dict[str, Statement]:
        """Return the reads of one conversation or many: its head, then a slice of its messages."""
        found = {}
        for name in ("live", "last_live", "archived", "last_archived"):
            nothing = "NULL, NULL::bigint[], NULL::bytea[], NULL::bytea[]"
            parts = {"slice": f"<{name}>", "uid": "(SELECT uid FROM h)", "nothing": nothing}
            found[f"load_{name}"] = Statement(self._filled("<read_head>", parts))
            parts |= {"uid": "h.uid", "nothing": f"{nothing}, h.uid, NULL::bytea"}
            found[f"load_many_{name}"] = Statement(self._filled("<read_heads>", parts))
        return found

    def _filled(self, text: str, parts: Mapping[str, str]) -> str:
        while _PART.search(text):
            text = _PART.sub(lambda found: parts.get(found[1], _STATEMENTS.get(found[1], "")), text)
        return _NAME.sub(lambda found: self._names[found[1]], text)


def append_name(*, many: bool, with_key: bool, with_metadata: bool, seen: bool) -> str:
    """Return the name of an append."""
    parts = ("_many" * many, "_keyed" * with_key, "_noted" * with_metadata, "_seen" * seen)
    return "append" + "".join(parts)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
