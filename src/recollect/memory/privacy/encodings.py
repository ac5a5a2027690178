r"""Behind what a match can hide: JSON's ``\uXXXX`` escapes, base64, data URLs."""

import base64
import binascii
import re
from typing import Final

_HEX: Final = rb"[0-9a-fA-F]"
_ESCAPE: Final = re.compile(  # \uXXXX, a pair of them for one character, or escaped once more
    rb"(?<!\\)\\++u(?:([dD][89abAB]%b{2})\\++u([dD][c-fC-F]%b{2})|(%b{4}))" % (_HEX, _HEX, _HEX)
)
_DATA_URL: Final = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_URL_SAFE: Final = str.maketrans("-_", "+/")


_CONTROL: Final = re.compile(rb"(?<!\\)\\++(?:[nrtbf]|u00[01]%b)" % _HEX)


def blanked(data: bytes) -> bytes:
    r"""Return the text with blanks for what writes a control character; the same object without one.

    To a pattern ``\n123`` is one word, though the text means a line break before it. The length stays,
    so that what is found here is at the same place there.
    """
    if b"\\" not in data:
        return data
    seen, count = _CONTROL.subn(lambda escape: b" " * len(escape[0]), data)
    return seen if count else data


def unescaped(data: bytes) -> bytes:
    """Return the text with its escaped characters written out; the same object if it has none."""
    if b"\\u" not in data:
        return data
    plain, count = _ESCAPE.subn(_character, data)
    return plain if count and plain != data else data


def _character(escape: re.Match[bytes]) -> bytes:
    """Return the character, unless JSON needs its escape or no text can hold it."""
    digits = (escape[1] or b"") + (escape[2] or b"") + (escape[3] or b"")
    try:
        char = bytes.fromhex(digits.decode()).decode("utf-16-be")
    except UnicodeDecodeError:
        return escape[0]
    return escape[0] if char < " " or char in '"\\' else char.encode()


def as_read(text: str) -> str | None:
    r"""Return JSON text with its short escapes as what they mean; None if it has ``\uXXXX``."""
    if "\\" not in text:
        return text
    return None if "\\u" in text else _SHORT.sub(_meant, text)


def _meant(escape: re.Match[str]) -> str:
    return _MEANT.get(escape[1], escape[1])


_SHORT: Final = re.compile(r"\\(.)")
_MEANT: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}


def is_data_url(url: object) -> bool:
    """Say whether a URL is its own content, in base64."""
    return isinstance(url, str) and _DATA_URL.match(url) is not None


def text_in_base64(payload: str) -> str | None:
    """Return the text that base64 holds, or None: it is binary.

    Raises:
        ValueError: it is no base64.
    """
    standard = "".join(payload.split()).translate(_URL_SAFE).rstrip("=")
    try:
        data = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def in_base64(text: str) -> str:
    """Return the text as base64."""
    return base64.b64encode(text.encode()).decode()
