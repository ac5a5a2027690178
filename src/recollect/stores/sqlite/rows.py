"""How a head is kept in SQLite."""

from recollect.stores.tables import StoredHead

_SWEEP_STEP = 3_600_000_000


class HeadRow(StoredHead):
    """A row of the table ``heads``, with when sweep has to look at it."""

    sweep_at: int | None

    @property
    def sweep_due(self) -> int | None:
        """What ``sweep_at`` has to be for this deadline."""
        return None if self.expires_at is None else self.expires_at // _SWEEP_STEP * _SWEEP_STEP
