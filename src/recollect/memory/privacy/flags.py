"""What a message says of its own privacy, in ``metadata.privacy``.

``do_not_persist: true`` keeps the message out of the store. ``sensitive_fields`` names fields of the
metadata whose values are replaced whole: ``card``, ``user.ssn`` (in a list: of each of its items).
``redaction_applied`` is set by us where that happened. Other fields are the caller's own. Source:
specs/memory.md §7.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from recollect.errors import PrivacyError, closest

_KNOWN: Final = ("do_not_persist", "sensitive_fields", "redaction_applied", "privacy_level")
_STAND_IN: Final = re.compile(r"\[hash:[bcdfghjkmnpqrstv]{16}\]")
Replace = Callable[[Any], Any]


class Flags(NamedTuple):
    """What ``metadata.privacy`` asks for."""

    do_not_persist: bool = False
    sensitive_fields: tuple[str, ...] = ()


_NONE: Final = Flags()


def flags_of(metadata: Mapping[str, Any]) -> Flags:
    """Read the flags; a ``privacy`` that is no map is the caller's own.

    Raises:
        PrivacyError: a flag is written wrongly, so that it is not known what may be stored.
    """
    given = metadata.get("privacy")
    if not isinstance(given, Mapping):
        return _NONE
    for name in given:
        if name not in _KNOWN and (hint := closest(name, _KNOWN)):
            raise PrivacyError(
                f"metadata.privacy has an unknown flag, so nothing was stored.{hint}"
            )
    drop, fields = given.get("do_not_persist", False), given.get("sensitive_fields", ())
    if not isinstance(drop, bool):
        raise PrivacyError(
            "metadata.privacy.do_not_persist is neither true nor false, so nothing was stored"
        )
    if not isinstance(fields, Sequence) or isinstance(fields, str):
        raise PrivacyError(
            "metadata.privacy.sensitive_fields is no list of names, so nothing was stored"
        )
    if not all(isinstance(field, str) for field in fields):
        raise PrivacyError(
            "metadata.privacy.sensitive_fields names a field by something other than text, so "
            "nothing was stored"
        )
    return Flags(drop, tuple(fields))


def without_sensitive(
    metadata: Mapping[str, Any], fields: Sequence[str], replace: Callable[[str], str]
) -> tuple[dict[str, Any], int]:
    """Return the metadata with those fields replaced, and how many values that were.

    A field that is not there is nothing to hide. A value that was replaced before stays.
    """
    count = 0

    def hidden(value: Any) -> Any:
        nonlocal count
        text = value if isinstance(value, str) else _as_json(value)
        if value is None or _STAND_IN.fullmatch(text) or (new := replace(text)) == value:
            return value
        count += 1
        return new

    safe: Any = metadata
    for field in fields:
        safe = _replaced_at(safe, field, hidden)
    if not count:
        return dict(metadata), 0
    return {**safe, "privacy": {**safe["privacy"], "redaction_applied": True}}, count


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _replaced_at(value: Any, field: str, hidden: Replace) -> Any:
    """Return the data with what is at a dotted path hidden; a name may hold dots itself."""
    if isinstance(value, list | tuple):
        return [_replaced_at(item, field, hidden) for item in value]
    if not isinstance(value, Mapping):
        return value
    safe = dict(value)
    for name, item in value.items():
        if name == field:
            safe[name] = hidden(item)
        elif field.startswith(f"{name}."):
            safe[name] = _replaced_at(item, field.removeprefix(f"{name}."), hidden)
    return safe
