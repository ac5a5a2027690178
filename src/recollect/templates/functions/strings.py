"""Text: case, trimming, cutting, joining, encoding, paths."""

import base64
import binascii
import hashlib
import posixpath
import re
import zlib
from collections.abc import Callable, Sequence
from functools import partial

from recollect.templates.functions.signature import (
    Function,
    anything,
    items,
    text,
    whole,
)
from recollect.templates.printing import is_container, own_text, quoted, to_text
from recollect.templates.rendering import Refusal, Rendering, check_size


def _texts(rendering: Rendering, value: object) -> list[str]:
    """What join and sortAlpha see: the items without nil, or one value alone."""
    alone = not is_container(value) or isinstance(value, dict) or own_text(value) is not None
    listed = [value] if alone else items(value)
    return [to_text(item, rendering) for item in listed if item is not None]


def _joined(separator: str, parts: Sequence[str]) -> str:
    check_size(sum(map(len, parts)) + len(separator) * (len(parts) - 1))
    return separator.join(parts)


def _print(rendering: Rendering, *values: object) -> str:
    parts: list[str] = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            parts.append(" ")
        parts.append("<nil>" if value is None else to_text(value, rendering))
    return _joined("", parts)


def _println(rendering: Rendering, *values: object) -> str:
    shown = ["<nil>" if value is None else to_text(value, rendering) for value in values]
    return _joined(" ", shown) + "\n"


def _cat(rendering: Rendering, *values: object) -> str:
    return _joined(" ", _texts(rendering, list(values)))


def _quote(rendering: Rendering, *values: object) -> str:
    return _joined(" ", [quoted(each) for each in _texts(rendering, list(values))])


def _squote(rendering: Rendering, *values: object) -> str:
    return _joined(" ", [f"'{each}'" for each in _texts(rendering, list(values))])


def _replace(old: str, new: str, written: str) -> str:
    check_size(len(written) + written.count(old) * (len(new) - len(old)))
    return written.replace(old, new)


def _repeat(count: int, written: str) -> str:
    if count < 0:
        raise Refusal("argument 1 must not be negative")
    check_size(count * len(written))
    return written * count


def _indent(spaces: int, written: str) -> str:
    check_size(len(written) + max(spaces, 0) * (written.count("\n") + 1))
    pad = " " * spaces
    return pad + written.replace("\n", "\n" + pad)


def _substr(start: int, end: int, written: str) -> str:
    if start < 0:
        return written[: max(end, 0)]
    return written[start:] if end < 0 else written[start:end]


def _trunc(length: int, written: str) -> str:
    return written[:length] if length >= 0 else written[length:]


def _abbrev(width: int, written: str, offset: int = 0) -> str:
    size, kept = len(written), width - 3
    if width < 4 or size <= width:
        return written
    offset = min(offset, size)
    if size - offset < kept:
        offset = size - kept
    if offset <= 4:
        return written[:kept] + "..."
    if offset + kept < size:
        return "..." + _abbrev(kept, written[offset:])
    return "..." + written[size - kept :]


def _abbrev_both(left: int, width: int, written: str) -> str:
    return written if left > 0 and width < 7 else _abbrev(width, written, left)


def _wrap(width: int, separator: str, written: str, *, cuts_words: bool) -> str:
    width, lines, at = max(width, 1), [], 0
    while len(written) - at > width:
        if written[at] == " ":
            at += 1
            continue
        stop = written.rfind(" ", at, at + width + 1)
        if stop < 0 and cuts_words:
            lines.append(written[at : at + width])
            at += width
            continue
        if stop < 0:
            stop = written.find(" ", at + width)
        if stop < 0:
            break
        lines.append(written[at:stop])
        at = stop + 1
    return _joined(separator, [*lines, written[at:]])


_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[-_\s]")


def _camel(written: str) -> str:
    body = written.lstrip("-_ ")
    words = re.split(r"[-_\s]", body)
    return written[: len(written) - len(body)] + "".join(
        word.capitalize() if word else "_" for word in words
    )


def _split(separator: str, written: str, most: int = -1) -> dict[str, object]:
    parts = list(written) if not separator else written.split(separator, max(most - 1, -1))
    return {f"_{number}": part for number, part in enumerate(parts)}


def _decoder(decode: Callable[[bytes], bytes]) -> Function:
    def decoded(written: str) -> str:
        try:
            return decode(written.encode()).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Refusal("argument 1 is not an encoded text") from None

    return Function(decoded, (text,))


def _capitals(written: str) -> str:
    return re.sub(r"(?<!\w)\w", lambda word: word[0].upper(), written)


def _uncapitals(written: str) -> str:
    return re.sub(r"(?<!\S)\S", lambda word: word[0].lower(), written)


def _extension(path: str) -> str:
    dot = path.rfind(".")
    return path[dot:] if dot > path.rfind("/") else ""


def _base(path: str) -> str:
    return (posixpath.basename(path.rstrip("/")) or "/") if path else "."


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _directory(path: str) -> str:
    return _clean(path[: path.rfind("/") + 1])


def _hashed(name: str) -> Function:
    return Function(lambda t: hashlib.new(name, t.encode()).hexdigest(), (text,))


STRINGS = {
    "print": Function(_print, rest=anything, needs_rendering=True),
    "println": Function(_println, rest=anything, needs_rendering=True),
    "toString": Function(lambda r, v: to_text(v, r), (anything,), needs_rendering=True),
    "upper": Function(str.upper, (text,)),
    "lower": Function(str.lower, (text,)),
    "title": Function(_capitals, (text,)),
    "untitle": Function(_uncapitals, (text,)),
    "swapcase": Function(str.swapcase, (text,)),
    "trim": Function(str.strip, (text,)),
    "trimAll": Function(lambda cut, t: t.strip(cut) if cut else t, (text, text)),
    "trimPrefix": Function(lambda cut, t: t.removeprefix(cut), (text, text)),
    "trimSuffix": Function(lambda cut, t: t.removesuffix(cut), (text, text)),
    "nospace": Function(lambda t: "".join(t.split()), (text,)),
    "contains": Function(lambda part, t: part in t, (text, text)),
    "hasPrefix": Function(lambda part, t: t.startswith(part), (text, text)),
    "hasSuffix": Function(lambda part, t: t.endswith(part), (text, text)),
    "replace": Function(_replace, (text, text, text)),
    "repeat": Function(_repeat, (whole, text)),
    "indent": Function(_indent, (whole, text)),
    "nindent": Function(lambda n, t: "\n" + _indent(n, t), (whole, text)),
    "substr": Function(_substr, (whole, whole, text)),
    "trunc": Function(_trunc, (whole, text)),
    "abbrev": Function(_abbrev, (whole, text)),
    "abbrevboth": Function(_abbrev_both, (whole, whole, text)),
    "initials": Function(lambda t: "".join(word[0] for word in t.split()), (text,)),
    "wrap": Function(lambda n, t: _wrap(n, "\n", t, cuts_words=False), (whole, text)),
    "wrapWith": Function(
        lambda n, end, t: _wrap(n, end or "\n", t, cuts_words=True), (whole, text, text)
    ),
    "plural": Function(lambda one, many, n: one if n == 1 else many, (text, text, whole)),
    "snakecase": Function(lambda t: _WORD_ENDS.sub("_", t).lower(), (text,)),
    "kebabcase": Function(lambda t: _WORD_ENDS.sub("-", t).lower(), (text,)),
    "camelcase": Function(_camel, (text,)),
    "cat": Function(_cat, rest=anything, needs_rendering=True),
    "quote": Function(_quote, rest=anything, needs_rendering=True),
    "squote": Function(_squote, rest=anything, needs_rendering=True),
    "join": Function(
        lambda r, end, v: _joined(end, _texts(r, v)), (text, anything), needs_rendering=True
    ),
    "sortAlpha": Function(lambda r, v: sorted(_texts(r, v)), (anything,), needs_rendering=True),
    "toStrings": Function(_texts, (anything,), needs_rendering=True),
    "split": Function(_split, (text, text)),
    "splitn": Function(lambda end, most, t: _split(end, t, most), (text, whole, text)),
    "splitList": Function(lambda end, t: t.split(end) if end else list(t), (text, text)),
    "b64enc": Function(lambda t: base64.b64encode(t.encode()).decode(), (text,)),
    "b64dec": _decoder(partial(base64.b64decode, validate=True)),
    "b32enc": Function(lambda t: base64.b32encode(t.encode()).decode(), (text,)),
    "b32dec": _decoder(base64.b32decode),
    "sha1sum": _hashed("sha1"),
    "sha256sum": _hashed("sha256"),
    "adler32sum": Function(lambda t: str(zlib.adler32(t.encode())), (text,)),
    "base": Function(_base, (text,)),
    "dir": Function(_directory, (text,)),
    "ext": Function(_extension, (text,)),
    "clean": Function(_clean, (text,)),
    "isAbs": Function(lambda t: t.startswith("/"), (text,)),
}
