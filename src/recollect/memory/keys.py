"""From a key to the address of a conversation, so that different keys never meet.

A *logical* key is what outputs show (``conv:u1:s1``). The address adds the namespace (tenant, project,
resource) and replaces what the privacy policy hides by a keyed hash, because an id is stored as well.

A ``*`` that its author wrote makes a key a *pattern*, which names all keys it matches. In values it is
escaped before they get into a key, so no value ever selects anything (issue 4, part 6).
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import quote

import msgspec

from recollect.errors import ConfigError, InvalidConversationId
from recollect.memory.privacy import Redactor
from recollect.stores.records import ConversationId
from recollect.templates import escape_whole_key, render_key

MAX_KEY_CHARACTERS = 512
DEFAULT_TENANT = "default"
BACKUP_PREFIX = "backup:"
_ODD = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROLS = {"\n": "a line break", "\r": "a line break", "\t": "a tab", "\0": "a NUL"}
_HIDDEN_KEY = b"key of a conversation\0"  # so that it is never the hash that stands for a match
RESERVED_PREFIXES = ("__", BACKUP_PREFIX, "archive:")


def namespace_of(project_id: str, resource_id: str, tenant: str = DEFAULT_TENANT) -> str:
    """Return the namespace of a resource; no two (tenant, project, resource) share one."""
    return "/".join(quote(part, safe="") for part in (tenant, project_id, resource_id))


def rendered_key(template: str, scope: Mapping[str, object], now: datetime) -> str:
    """Render a template of one key; values in it are escaped: ``a:b`` never looks like two parts.

    Raises:
        TemplateError: it cannot be rendered. InvalidConversationId: see ``checked_key``.
    """
    return checked_key(render_key(template, scope, now=now))


def rendered_pattern(template: str, scope: Mapping[str, object], now: datetime) -> str:
    """Render a template that may hold a ``*``; one in a value is escaped and selects nothing.

    Raises:
        TemplateError, InvalidConversationId: as ``rendered_key``, but for the ``*``.
    """
    return _checked(render_key(template, scope, now=now))


def explicit_key(text: str) -> str:
    """Return a key as a program gives it, or as an output showed it; ``*{}`` select nothing."""
    return checked_key(escape_whole_key(text))


def typed_pattern(text: str) -> str:
    """Return a key as a person wrote it: its ``*`` are meant."""
    return _checked("*".join(map(escape_whole_key, text.split("*"))))


def is_pattern(key: str) -> bool:
    """Tell whether a key names several."""
    return "*" in key


class Pattern(msgspec.Struct, frozen=True):
    """Which keys are meant: ``*`` stands for any characters, ``:`` and none included."""

    text: str

    @property
    def prefix(self) -> str:
        """What every key that matches begins with."""
        return self.text.partition("*")[0]

    def matches(self, key: str) -> bool:
        """Compare in linear time, whatever the pattern is."""
        first, *middle = self.text.split("*")
        if not middle:
            return key == first
        last = middle.pop()
        if len(key) < len(first) + len(last) or not key.startswith(first) or not key.endswith(last):
            return False
        at, end = len(first), len(key) - len(last)
        for part in middle:
            found = key.find(part, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True


def pattern_of(key: str, redactor: Redactor) -> Pattern:
    """Return the pattern that a key with ``*`` is.

    Raises:
        InvalidConversationId: the privacy policy hides a part of it. What is stored in its place is
            the same for many keys: it would match those of others.
    """
    if redactor.redact_text(key)[1]:
        raise InvalidConversationId(
            "the key has a '*', and a part that the privacy policy hides: several keys cannot be "
            "chosen by what is not stored. Name one key, or choose by another part"
        )
    return Pattern(key)


def checked_key(key: str) -> str:
    """Refuse keys that no conversation can have.

    Raises:
        InvalidConversationId: empty, longer than 512 characters, with characters no store takes, or
            with a ``*``.
    """
    if is_pattern(_checked(key)):
        raise InvalidConversationId(
            "the key has a '*', which names several conversations: here it must be one"
        )
    return key


def _checked(key: str) -> str:
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


def address_of(
    namespace: str, key: str, redactor: Redactor, secret: Callable[[], bytes] | None = None
) -> ConversationId:
    """Return where a key's conversation is kept.

    A key in which the privacy policy finds something is kept under its redacted form and a keyed hash
    of the whole (HMAC-SHA-256, 128 bits of it), so that the same key leads to the same place, the
    hidden part is stored nowhere, and nobody without the secret can try out what it was. ``secret``
    gives the project's; it is asked only for such a key.

    Raises:
        ConfigError: there is something to hide and no secret: a plain hash could be guessed.
    """
    redacted, hits = redactor.redact_text(key)
    if not hits:
        return ConversationId(namespace, redacted)
    if secret is None:
        raise ConfigError(
            "the privacy policy hides a part of the key, and there is no secret to hash it with: open "
            "the memory through its project, or give Memories a hash_key"
        )
    digest = hmac.digest(secret(), _HIDDEN_KEY + key.encode(errors="surrogatepass"), hashlib.sha256)
    shown = redacted[: MAX_KEY_CHARACTERS - 33]
    return ConversationId(namespace, f"{shown}-{digest[:16].hex()}")


def hidden_prefixes(
    prefix: str, redactor: Redactor, secret: Callable[[], bytes] | None
) -> list[str]:
    """Return how ids begin that are kept for keys with this beginning, a part of which is hidden.

    That of the key that is the prefix itself, and, where each match has a hash of its own (strategy
    ``hash``), those of all keys below it. Of other strategies those below look like those of everybody:
    they cannot be told. Without a match none is hidden, and the list is empty.
    """
    redacted, hits = redactor.redact_text(prefix)
    if not hits:
        return []
    below = [redacted] if redactor.strategy == "hash" else []
    return [*below, address_of("", prefix, redactor, secret).id]


def backup_label(address_id: str, version: int) -> str:
    """Return the label of the backup that clearing this version makes; it is never taken twice."""
    return f"{BACKUP_PREFIX}{address_id}:v{version}"


def backed_up_id(backup_key: str) -> str | None:
    """Return the id a ``backup_key`` was made from; None if it is none."""
    if not backup_key.startswith(BACKUP_PREFIX):
        return None
    original, _, _ = backup_key.removeprefix(BACKUP_PREFIX).rpartition(":")
    return original or None
