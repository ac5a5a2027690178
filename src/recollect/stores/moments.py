"""Times as stores keep them: whole microseconds since 1970."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime.fromtimestamp(0, UTC)


def to_micros(moment: datetime) -> int:
    """Return microseconds since 1970."""
    since = moment - EPOCH
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def to_moment(micros: int) -> datetime:
    """Return the aware UTC time.

    Raises:
        OverflowError: no calendar has it.
    """
    return EPOCH + timedelta(0, 0, micros)
