"""From a key to the address of a conversation, so that different keys never meet.

A *logical* key is what outputs show (``conv:u1:s1``). The address adds the namespace (tenant, project,
resource) and replaces what the privacy policy hides by a hash, because an id is stored as well.
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from recollect.errors import InvalidConversationId
from recollect.memory.privacy import Redactor
from recollect.stores.records import ConversationId
from recollect.templates import escape_whole_key, render_key

MAX_KEY_CHARACTERS = 512
BACKUP_PREFIX = "backup:"
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROLS = {"\n": "a line break", "\r": "a line break", "\t": "a tab", "\0": "a NUL"}
RESERVED_PREFIXES = ("__", BACKUP_PREFIX, "archive:")


def namespace_of(project_id: str, resource_id: str, tenant: str = "default") -> str:
    """Return the namespace of a resource; no two (tenant, project, resource) share one."""
    return "/".join(quote(part, safe="") for part in (tenant, project_id, resource_id))


def rendered_key(template: str, scope: Mapping[str, object], now: datetime) -> str:
    """Render a key template; values in it are escaped, so ``a:b`` never looks like two parts.

    Raises:
        TemplateError: it cannot be rendered. InvalidConversationId: see ``checked_key``.
    """
    key = render_key(template, scope, now=now)
    if "*" in key:
        raise InvalidConversationId(
            "the key template holds a '*': keys that match several conversations come in a later "
            "version"
        )
    return checked_key(key)


def explicit_key(text: str) -> str:
    """Return a key as somebody typed it, or as an output showed it; ``*{}`` select nothing."""
    return checked_key(escape_whole_key(text))


def checked_key(key: str) -> str:
    """Refuse keys that no conversation can have.

    Raises:
        InvalidConversationId: empty, longer than 512 characters, or with characters no store takes.
    """
    if not key.strip():
        raise InvalidConversationId(
            "the key is empty: it names the conversation, such as user:42. If a template makes it, "
            "check the values it reads"
        )
    if odd := _ODD.search(key):
        raise InvalidConversationId(
            f"the key holds {_described(odd[0])} at position {odd.start() + 1}: leave it out, or "
            "replace it"
        )
    if len(key) > MAX_KEY_CHARACTERS:
        raise InvalidConversationId(
            f"the key has {len(key):,} characters: at most {MAX_KEY_CHARACTERS} are allowed"
        )
    return key


def _described(character: str) -> str:
    code = f"U+{ord(character):04X}"
    if "\ud800" <= character <= "\udfff":
        return f"bytes that are not UTF-8 ({code})"
    return f"{_CONTROLS.get(character, 'a control character')} ({code})"


def refuse_reserved(key: str) -> None:
    """Refuse to write under a prefix that backups and archives use.

    Raises:
        InvalidConversationId: it begins with one of them.
    """
    for prefix in RESERVED_PREFIXES:
        if key.startswith(prefix):
            raise InvalidConversationId(
                f"keys that begin with {prefix!r} are reserved: use another"
            )


def address_of(namespace: str, key: str, redactor: Redactor) -> ConversationId:
    """Return where a key's conversation is kept.

    A key in which the privacy policy finds something is kept under its redacted form and a hash of
    the whole, so that the same key leads to the same place and the hidden part is stored nowhere.
    """
    redacted, hits = redactor.redact_text(key)
    if hits:
        digest = hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()[:32]
        redacted = f"{redacted[: MAX_KEY_CHARACTERS - 33]}-{digest}"
    return ConversationId(namespace, redacted)


def backup_label(address_id: str, version: int) -> str:
    """Return the label of the backup that clearing this version makes; it is never taken twice."""
    return f"{BACKUP_PREFIX}{address_id}:v{version}"


def backed_up_id(backup_key: str) -> str | None:
    """Return the id a ``backup_key`` was made from; None if it is none."""
    if not backup_key.startswith(BACKUP_PREFIX):
        return None
    original, _, _ = backup_key.removeprefix(BACKUP_PREFIX).rpartition(":")
    return original or None
