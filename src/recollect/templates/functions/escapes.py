"""Escaping for HTML, JavaScript, URLs and memory keys. Nothing is escaped unless asked for."""

import re
from urllib.parse import quote_plus

from recollect.templates.functions.signature import Function, anything, text
from recollect.templates.printing import to_text
from recollect.templates.rendering import Rendering

_HTML = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}
)
_HTML_ATTRIBUTE = _HTML | str.maketrans(
    {"`": "&#96;", "=": "&#61;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}
)
_KEY_PATTERN = str.maketrans({"*": "%2A", "{": "%7B", "}": "%7D"})
_KEY = _KEY_PATTERN | str.maketrans({"%": "%25", ":": "%3A"})
_JAVASCRIPT = re.compile(r"[\\'\"<>&=\x00-\x1f]|[^\x00-\x7f]")


def escape_key_part(value: str) -> str:
    """Escape text that becomes a part of a memory key, so that it cannot reach other parts."""
    return value.translate(_KEY)


def escape_whole_key(value: str) -> str:
    """Escape text that is a whole memory key: patterns select nothing, all else is the author's.

    ``%`` stays, so that a key which an output showed leads to the same memory again.
    """
    return value.translate(_KEY_PATTERN)


def escape_javascript(value: str) -> str:
    """Escape text inside a JavaScript string."""

    def escaped(found: re.Match[str]) -> str:
        character = found[0]
        if character in "\\'\"":
            return "\\" + character
        if character > "\x7f" and character.isprintable():
            return character
        return f"\\u{ord(character):04X}"

    return _JAVASCRIPT.sub(escaped, value)


def _printed(rendering: Rendering, *values: object) -> str:
    return "".join(to_text(value, rendering) for value in values)


ESCAPES = {
    "html": Function(
        lambda r, *v: _printed(r, *v).translate(_HTML), rest=anything, needs_rendering=True
    ),
    "js": Function(
        lambda r, *v: escape_javascript(_printed(r, *v)), rest=anything, needs_rendering=True
    ),
    "urlquery": Function(
        lambda r, *v: quote_plus(_printed(r, *v)), rest=anything, needs_rendering=True
    ),
    "htmlEscape": Function(lambda t: t.translate(_HTML), (text,)),
    "htmlAttrEscape": Function(lambda t: t.translate(_HTML_ATTRIBUTE), (text,)),
    "jsEscape": Function(escape_javascript, (text,)),
    "keySafe": Function(escape_key_part, (text,)),
}
