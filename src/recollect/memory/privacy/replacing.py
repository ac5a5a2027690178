"""What stands in place of a match: one text, stars, or a keyed hash.

Settled is a match that is its own replacement; it stays, so replacing comes to an end.
"""

import hashlib
import hmac
from collections.abc import Callable
from typing import Final, Literal

from recollect.errors import ConfigError

DEFAULT_REPLACEMENT: Final = "[REDACTED]"

Strategy = Literal["redact", "mask", "hash", "drop"]
StandIn = Callable[[bytes], bytes]

_SHOWN: Final = 4
_SHOWN_FROM: Final = 9  # characters; of fewer, the last four would be half of it
_HASH_BYTES: Final = 8
_HASH_LETTERS: Final = "bcdfghjkmnpqrstv"  # no digits, which patterns look for; no vowels, no words


def stand_in(strategy: Strategy, replacement: str, hash_key: bytes | None) -> StandIn:
    """Return the function that gives a match's replacement.

    ``redact`` and ``drop``: ``replacement``. ``mask``: as many ``*`` as it has characters, and its last
    four where it has nine or more. ``hash``: ``[hash:…]`` of 16 letters, a HMAC-SHA-256 under
    ``hash_key`` cut to 64 bits: the same for the same text, and nothing to be tried out without the key.

    Raises:
        ConfigError: hash without a key, or a replacement that is no UTF-8.
    """
    if strategy == "mask":
        return _masked
    if strategy == "hash":
        if not hash_key:
            raise ConfigError("strategy hash needs the project's key: there is none")
        key = hash_key
        return lambda match: _hashed(match, key)
    try:
        fixed = replacement.encode()
    except UnicodeEncodeError:
        raise ConfigError("the replacement holds a lone surrogate: write it as UTF-8") from None
    return lambda match: fixed


def _masked(match: bytes) -> bytes:
    text = match.decode(errors="replace")
    shown = text[-_SHOWN:] if len(text) >= _SHOWN_FROM else ""
    return ("*" * (len(text) - len(shown)) + shown).encode()


def _hashed(match: bytes, key: bytes) -> bytes:
    digest = hmac.digest(key, match, hashlib.sha256)[:_HASH_BYTES]
    letters = "".join(_HASH_LETTERS[byte >> 4] + _HASH_LETTERS[byte & 15] for byte in digest)
    return f"[hash:{letters}]".encode()


def samples(strategy: Strategy, make: StandIn) -> list[str]:
    """Return replacements that no pattern may match, or redaction would not settle."""
    match strategy:
        case "mask":
            return []
        case "hash":
            return [make(b"%d" % n).decode() for n in range(64)]
        case _:
            return [make(b"").decode()]
