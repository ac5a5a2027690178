"""The values of a YAML document: what a scalar means, and how an error shows a value.

``yaml_document`` tells the dialect.
"""

import math
import re
from collections.abc import Mapping
from typing import TypeAlias

Value: TypeAlias = "bool | int | float | str | list[Value] | dict[str, Value] | None"

MAX_SHOWN = 60

_WORDS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,999})")  # beyond, Python refuses to convert: text
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF = re.compile(r"([-+]?)\.(inf|Inf|INF)")


def resolve(text: str) -> Value:
    """Return what a plain scalar means: its text, if it means nothing else."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not text.lstrip("+-").isdigit():
        return float(text)
    if found := _INF.fullmatch(text):
        return -math.inf if found[1] == "-" else math.inf
    return math.nan if text in (".nan", ".NaN", ".NAN") else text


def shown(value: object) -> str:
    """Write a value as errors show it, a long one cut."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a map" if isinstance(value, dict) else "a list"
    return cut(repr(value))


def cut(text: str) -> str:
    """Shorten a text to what fits into an error."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."
