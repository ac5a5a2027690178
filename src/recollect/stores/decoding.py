"""Rows read back: messages from their JSON, times from microseconds, damages from what is neither."""

from collections.abc import Sequence
from typing import Any

from recollect.messages import Message, decode_all
from recollect.stores.moments import EPOCH, to_moment
from recollect.stores.records import Damage, Record


def decode_rows(
    rows: Sequence[Sequence[Any]],
) -> tuple[tuple[Record, ...], tuple[Damage, ...]]:
    """Decode rows of seq, tokens, stored_at, data, batch, ...; the unreadable become damages.

    ``stored_at`` is in microseconds since 1970.
    """
    records: list[Record] = []
    damaged: list[Damage] = []
    micros, moment = 0, EPOCH
    messages = decode_all([row[3] for row in rows])
    for row, message in zip(rows, messages, strict=True):
        stored_at = row[2]
        if stored_at != micros:  # what was stored together has one time
            try:
                micros, moment = stored_at, to_moment(stored_at)
            except OverflowError:
                damaged.append(Damage(row[0], "its time is not as Recollect left it"))
                continue
        if isinstance(message, Message):
            records.append(Record(row[0], row[1], moment, message, row[4]))
        else:
            damaged.append(Damage(row[0], str(message)))
    return tuple(records), tuple(damaged)
