"""How values are kept in rows: times, and the head of a conversation."""

from datetime import UTC, datetime, timedelta

import msgspec

from recollect.stores.records import ConversationId, Head

_EPOCH = datetime.fromtimestamp(0, UTC)
_SWEEP_STEP = 3_600_000_000


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def to_moment(micros: int) -> datetime:
    """Return the aware UTC time."""
    return _EPOCH + timedelta(0, 0, micros)


class HeadRow(msgspec.Struct):
    """A row of the table ``heads``, column by column; changed in place, then saved."""

    uid: int
    namespace: str
    name: str
    owner: str | None
    version: int
    message_count: int
    token_count: int
    archived_count: int
    stored_bytes: int
    next_seq: int
    fence: int
    lease_holder: str | None
    lease_until: int | None
    created_at: int
    updated_at: int
    expires_at: int | None
    folded_at: int | None
    sweep_at: int | None

    def lives_at(self, now: int) -> bool:
        """Tell whether the deadline has not come."""
        return self.expires_at is None or now < self.expires_at

    def is_leased_at(self, now: int) -> bool:
        """Tell whether somebody holds the lease."""
        return self.lease_until is not None and now < self.lease_until

    @property
    def sweep_due(self) -> int | None:
        """What ``sweep_at`` has to be for this deadline."""
        return None if self.expires_at is None else self.expires_at // _SWEEP_STEP * _SWEEP_STEP

    def head(self) -> Head:
        """The head as callers see it."""
        return Head(
            ConversationId(self.namespace, self.name),
            self.owner,
            self.uid,
            self.version,
            self.message_count,
            self.token_count,
            self.archived_count,
            self.next_seq,
            self.fence,
            to_moment(self.created_at),
            to_moment(self.updated_at),
            None if self.expires_at is None else to_moment(self.expires_at),
            None if self.folded_at is None else to_moment(self.folded_at),
        )
