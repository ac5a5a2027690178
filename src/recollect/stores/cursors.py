"""Cursors of ``find``: where a walk stands, readable only by the walk that made them."""

import base64
import binascii
from typing import TypeVar

import msgspec

from recollect.errors import InvalidInput
from recollect.stores.records import Search

Place = TypeVar("Place", int, str)


def write_cursor(search: Search, score: int, name: int | str) -> str:
    """Return where this walk goes on after a conversation, which score and name tell from others."""
    cursor = (search.order, search.namespace, search.owner, score, name)
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode()


def read_cursor(search: Search, names: type[Place]) -> tuple[int, Place] | None:
    """Return score and name of the last conversation that this walk has met; None at its beginning.

    Raises:
        InvalidInput: the cursor is none, or that of another walk.
    """
    if search.cursor is None:
        return None
    kind = tuple[str, str, str | None, int, names]  # type: ignore[valid-type]
    try:
        data = base64.b64decode(search.cursor, altchars=b"-_", validate=True)
        order, namespace, owner, score, name = msgspec.json.decode(data, type=kind)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidInput("the cursor is not one that find returned: start without one") from None
    if (order, namespace, owner) != (search.order, search.namespace, search.owner):
        raise InvalidInput("the cursor belongs to another walk: start without one")
    return score, name
