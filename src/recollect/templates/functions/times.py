"""Dates and times. The default zone is UTC; a time may also be given as a number or as text."""

from datetime import UTC, datetime, timedelta

from recollect.templates.dates import (
    MONTHS,
    WEEKDAYS,
    duration_text,
    format_time,
    in_zone,
    parse_duration,
    parse_time,
    read_time,
)
from recollect.templates.functions.signature import Function, anything, integer, text
from recollect.templates.rendering import Rendering


def _modified(change: str, time: datetime) -> datetime:
    return time + parse_duration(change)


def _ago(rendering: Rendering, time: datetime) -> str:
    return duration_text(round((rendering.now - time).total_seconds()))


def _rounded_duration(value: object) -> str:
    seconds = abs(parse_duration(value).total_seconds()) if isinstance(value, str) else 0
    for unit, size in _ROUND_UNITS_SECONDS.items():
        if seconds > size:
            return f"{int(seconds // size)}{unit}"
    return "0s"


_DAY_SECONDS = 86_400
_ROUND_UNITS_SECONDS = {
    "y": 365 * _DAY_SECONDS,
    "mo": 30 * _DAY_SECONDS,
    "d": _DAY_SECONDS,
    "h": 3600,
    "m": 60,
    "s": 1,
}

_IN_ZONE = Function(
    lambda layout, time, zone: format_time(in_zone(time, zone), layout), (text, read_time, text)
)
_MODIFY = Function(_modified, (text, read_time))

TIMES = {
    "now": Function(lambda r: r.now, needs_rendering=True),
    "date": Function(
        lambda layout, time: format_time(time.astimezone(UTC), layout), (text, read_time)
    ),
    "dateInZone": _IN_ZONE,
    "date_in_zone": _IN_ZONE,
    "dateModify": _MODIFY,
    "date_modify": _MODIFY,
    "htmlDate": Function(
        lambda time: format_time(time.astimezone(UTC), "2006-01-02"), (read_time,)
    ),
    "htmlDateInZone": Function(
        lambda time, zone: format_time(in_zone(time, zone), "2006-01-02"), (read_time, text)
    ),
    "toDate": Function(lambda layout, written: parse_time(written, layout), (text, text)),
    "unixEpoch": Function(lambda time: str(_unix(time)), (read_time,)),
    "ago": Function(_ago, (read_time,), needs_rendering=True),
    "duration": Function(duration_text, (integer,)),
    "durationRound": Function(_rounded_duration, (anything,)),
}


def _unix(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


TIME_METHODS = {
    "Format": Function(format_time, (read_time, text)),
    "UTC": Function(lambda t: t.astimezone(UTC), (read_time,)),
    "Unix": Function(_unix, (read_time,)),
    "UnixMilli": Function(
        lambda t: (t - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1), (read_time,)
    ),
    "Year": Function(lambda t: t.year, (read_time,)),
    "Month": Function(lambda t: MONTHS[t.month - 1], (read_time,)),
    "Day": Function(lambda t: t.day, (read_time,)),
    "Hour": Function(lambda t: t.hour, (read_time,)),
    "Minute": Function(lambda t: t.minute, (read_time,)),
    "Second": Function(lambda t: t.second, (read_time,)),
    "Nanosecond": Function(lambda t: t.microsecond * 1000, (read_time,)),
    "Weekday": Function(lambda t: WEEKDAYS[t.weekday()], (read_time,)),
    "YearDay": Function(lambda t: t.timetuple().tm_yday, (read_time,)),
}
