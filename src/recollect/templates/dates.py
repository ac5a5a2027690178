"""Go's reference layouts (``2006-01-02 15:04:05``), durations and time zones."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

from recollect.templates.printing import aware, describe
from recollect.templates.rendering import Refusal

MONTHS = (  # noqa: SIM905  # reads better as a sentence
    "January February March April May June July August September October November December"
).split()
WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905

_LAYOUT = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|002|0[1-6]|15|1|2006|2|__2|_(?!2006)2|[345]|PM|pm"
    r"|[-Z]07:00:00|[-Z]070000|[-Z]07:00|[-Z]0700|[-Z]07|[.,](?:0+|9+)(?![0-9])"
)
_FORMATS: dict[str, Callable[[datetime], str]] = {
    "2006": lambda t: f"{t.year:04}",
    "06": lambda t: f"{t.year % 100:02}",
    "01": lambda t: f"{t.month:02}",
    "1": lambda t: f"{t.month}",
    "Jan": lambda t: MONTHS[t.month - 1][:3],
    "January": lambda t: MONTHS[t.month - 1],
    "02": lambda t: f"{t.day:02}",
    "_2": lambda t: f"{t.day:2}",
    "2": lambda t: f"{t.day}",
    "002": lambda t: f"{t.timetuple().tm_yday:03}",
    "__2": lambda t: f"{t.timetuple().tm_yday:3}",
    "15": lambda t: f"{t.hour:02}",
    "03": lambda t: f"{t.hour % 12 or 12:02}",
    "3": lambda t: f"{t.hour % 12 or 12}",
    "04": lambda t: f"{t.minute:02}",
    "4": lambda t: f"{t.minute}",
    "05": lambda t: f"{t.second:02}",
    "5": lambda t: f"{t.second}",
    "PM": lambda t: "PM" if t.hour >= 12 else "AM",
    "pm": lambda t: "pm" if t.hour >= 12 else "am",
    "Mon": lambda t: WEEKDAYS[t.weekday()][:3],
    "Monday": lambda t: WEEKDAYS[t.weekday()],
}


def format_time(time: datetime, layout: str) -> str:
    """Write a time by a Go layout."""

    def written(piece: re.Match[str]) -> str:
        if known := _FORMATS.get(piece[0]):
            return known(time)
        if piece[0] == "MST":
            return _zone_name(time)
        if piece[0][0] in ".,":
            return _fraction(time, piece[0])
        return _offset(time, piece[0])

    return _LAYOUT.sub(written, layout)


def _fraction(time: datetime, piece: str) -> str:
    digits = f"{time.microsecond:06}".ljust(len(piece) - 1, "0")[: len(piece) - 1]
    if piece[1] == "9":
        digits = digits.rstrip("0")
    return piece[0] + digits if digits else ""


def _offset(time: datetime, piece: str) -> str:
    seconds = round((time.utcoffset() or timedelta()).total_seconds())
    if piece[0] == "Z" and seconds == 0:
        return "Z"
    minutes, second = divmod(abs(seconds), 60)
    parts = [f"{minutes // 60:02}", f"{minutes % 60:02}", f"{second:02}"]
    count = len(piece.replace(":", "")) // 2
    return ("-" if seconds < 0 else "+") + (":" if ":" in piece else "").join(parts[:count])


def _zone_name(time: datetime) -> str:
    name = time.tzname() or "UTC"
    if not name.startswith(("UTC+", "UTC-")):
        return name
    return _offset(time, "-07" if name.endswith(":00") else "-0700")


def seems_concrete(layout: str) -> bool:
    """Tell a layout that looks like a date somebody meant literally, such as ``2024-12-31``."""
    years = re.findall(r"(?<![0-9])(?:19|20)[0-9]{2}(?![0-9])", layout)
    return bool(set(years) - {"2006"}) or not _LAYOUT.search(layout)


_DIGITS = {
    **dict.fromkeys(("01", "02", "03", "04", "05", "06"), re.compile(r"[0-9]{2}")),
    **dict.fromkeys(("1", "2", "3", "4", "5", "15"), re.compile(r"[0-9]{1,2}")),
    "_2": re.compile(r" ?[0-9]{1,2}"),
    "__2": re.compile(r" {0,2}[0-9]{1,3}"),
    "002": re.compile(r"[0-9]{3}"),
    "2006": re.compile(r"[0-9]{4}"),
}
_PARTS = {
    **dict.fromkeys(("2006", "06"), "year"),
    **dict.fromkeys(("01", "1", "Jan", "January"), "month"),
    **dict.fromkeys(("02", "_2", "2"), "day"),
    **dict.fromkeys(("002", "__2"), "day of the year"),
    **dict.fromkeys(("15", "03", "3"), "hour"),
    **dict.fromkeys(("04", "4"), "minute"),
    **dict.fromkeys(("05", "5"), "second"),
}
_NAMES = re.compile(r"[A-Za-z]+")
_WRITTEN_FRACTION = re.compile(r"[.,]([0-9]+)")
_WRITTEN_OFFSET = re.compile(r"Z|([+-])([0-9]{2}):?([0-9]{2})?:?([0-9]{2})?")


def parse_time(written: str, layout: str) -> datetime:
    """Read a time by a Go layout; without a zone it is UTC.

    Raises:
        Refusal: the text does not follow the layout, or is no date.
    """
    reader = _Reader(written)
    at = 0
    for piece in _LAYOUT.finditer(layout):
        reader.skip(layout[at : piece.start()])
        reader.read(piece[0])
        at = piece.end()
    reader.skip(layout[at:])
    if reader.at != len(written):
        raise Refusal("the text does not follow the layout")
    try:
        return reader.time()
    except ValueError:
        raise Refusal("there is no such date or time") from None


class _Reader:
    """Reads a text piece by piece, greedily, as Go does: no text makes it slow."""

    def __init__(self, written: str) -> None:
        self._written = written
        self.at = 0
        self._parts: dict[str, int] = {}
        self._afternoon: bool | None = None
        self._zone: tzinfo = UTC

    def skip(self, literal: str) -> None:
        if not self._written.startswith(literal, self.at):
            raise Refusal("the text does not follow the layout")
        self.at += len(literal)

    def read(self, piece: str) -> None:
        if digits := _DIGITS.get(piece):
            self._parts[_PARTS[piece]] = int(self._take(digits)[0])
            if piece == "06":
                self._parts["year"] += 1900 if self._parts["year"] >= 69 else 2000
            if piece in {"05", "5"} and _WRITTEN_FRACTION.match(self._written, self.at):
                self.read(".9")
        elif piece in {"PM", "pm"}:
            self._afternoon = self._name(["am", "pm"]) == 1
        elif piece.startswith("Jan"):
            self._parts["month"] = 1 + self._name(MONTHS, short=piece == "Jan")
        elif piece.startswith("Mon"):
            self._name(WEEKDAYS, short=piece == "Mon")
        elif piece == "MST":
            self._take(_NAMES)
        elif piece[0] in ".,":
            found = _WRITTEN_FRACTION.match(self._written, self.at)
            if found:
                self.at = found.end()
                self._parts["microsecond"] = int(found[1][:6].ljust(6, "0"))
        else:
            self._zone = _zone_of(self._take(_WRITTEN_OFFSET))

    def time(self) -> datetime:
        parts = {"year": 1, "month": 1, "day": 1, **self._parts}
        days = parts.pop("day of the year", 1) - 1
        if self._afternoon is not None and parts.get("hour", 0) <= 12:
            parts["hour"] = parts.get("hour", 0) % 12 + 12 * self._afternoon
        return datetime(**parts, tzinfo=self._zone) + timedelta(days=days)

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self._written, self.at)
        if not found:
            raise Refusal("the text does not follow the layout")
        self.at = found.end()
        return found

    def _name(self, names: list[str], *, short: bool = False) -> int:
        known = [(name[:3] if short else name).lower() for name in names]
        for number, name in enumerate(known):
            if self._written[self.at : self.at + len(name)].lower() == name:
                self.at += len(name)
                return number
        raise Refusal("the text does not follow the layout")


def _zone_of(found: re.Match[str]) -> tzinfo:
    if found[0] == "Z":
        return UTC
    offset = timedelta(hours=int(found[2]), minutes=int(found[3] or 0), seconds=int(found[4] or 0))
    if offset >= timedelta(days=1):
        raise Refusal("the offset from UTC is a day or more")
    return timezone(-offset if found[1] == "-" else offset)


_ISO = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})?)?"
)


def read_time(value: object) -> datetime:
    """Take a time as functions do: a time, seconds since 1970, or RFC 3339 text.

    ``YYYY-MM-DD`` and ``YYYY-MM-DD HH:MM[:SS]`` are text of UTC.

    Raises:
        Refusal: the value is none of these.
    """
    if isinstance(value, datetime):
        return aware(value)
    try:
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            return datetime.fromtimestamp(float(value), UTC)
        if isinstance(value, str) and _ISO.fullmatch(value):
            return aware(datetime.fromisoformat(value.upper().replace(",", ".")))
    except (ValueError, OverflowError, OSError):
        raise Refusal("is out of the range of times") from None
    if isinstance(value, str):
        raise Refusal("is a text but not a time: RFC 3339 or YYYY-MM-DD[ HH:MM[:SS]]")
    raise Refusal(f"must be a time, not {describe(value)}")


def in_zone(time: datetime, zone: str) -> datetime:
    """Move a time to a named zone; ``""``, ``UTC`` and ``Local`` are UTC."""
    if zone in {"", "UTC", "Local"}:
        return time.astimezone(UTC)
    try:
        return time.astimezone(ZoneInfo(zone))
    except (KeyError, ValueError, OSError):
        raise Refusal("the time zone is not known: use a name such as Europe/Berlin") from None


_UNITS_MICROSECONDS = {
    "ns": Decimal("0.001"),
    "us": Decimal(1),
    "µs": Decimal(1),
    "μs": Decimal(1),
    "ms": Decimal(1_000),
    "s": Decimal(1_000_000),
    "m": Decimal(60_000_000),
    "h": Decimal(3_600_000_000),
}
_STEP = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")


def parse_duration(written: str) -> timedelta:
    """Read a Go duration: ``-24h``, ``+2h30m``, ``1.5s``.

    Raises:
        Refusal: it is none.
    """
    sign, body = (-1, written[1:]) if written.startswith("-") else (1, written.removeprefix("+"))
    steps = _STEP.findall(body)
    if body != "0" and (not steps or "".join(map("".join, steps)) != body):
        raise Refusal("the duration must look like 2h30m, with the units h, m, s, ms")
    total = sum(Decimal(number) * _UNITS_MICROSECONDS[unit] for number, unit in steps)
    return timedelta(microseconds=sign * int(total))


def duration_text(seconds: int) -> str:
    """Write seconds as Go writes a duration: ``1h0m5s``."""
    minutes, second = divmod(abs(seconds), 60)
    hours, minute = divmod(minutes, 60)
    text = f"{second}s"
    if minutes:
        text = f"{minute}m{text}"
    if hours:
        text = f"{hours}h{text}"
    return f"-{text}" if seconds < 0 else text
