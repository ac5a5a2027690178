"""Lengths of time as people write them, in YAML and in outputs."""

import re
from datetime import timedelta

_UNITS = {
    "ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3,
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
}  # fmt: skip
_PIECE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zµ]+)\s*(?:,|and\b)?")
_MAX_SECONDS = 100 * 365 * 86400.0


def parse_duration(value: object) -> timedelta:
    """Read ``24h``, ``1h30m``, ``500ms``, ``10 minutes``, ``30d``, ``2w``; a bare number is seconds.

    A timedelta stays what it is.

    Raises:
        ValueError: it is none of these, negative, or longer than a hundred years.
    """
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        shown = value if isinstance(value, bool) else type(value).__name__
        raise ValueError(f"{shown} is no duration: write something like 24h, 30m or 7d")
    seconds = float(value) if isinstance(value, int | float) else _seconds(value)
    if not 0 <= seconds <= _MAX_SECONDS:
        raise ValueError(f"{str(value)[:40]!r} is out of range: 0 to a hundred years")
    return timedelta(seconds=seconds)


def _seconds(text: str) -> float:
    stripped = text.strip().lower()
    if stripped.replace(".", "", 1).isdigit() and stripped.isascii():
        return float(stripped)
    total, end = 0.0, 0
    while end < len(stripped):
        piece = _PIECE.match(stripped, end)
        if piece is None or piece[2] not in _UNITS:
            raise ValueError(
                f"{text[:40]!r} is no duration: write something like 24h, 1h30m, 500ms or 7d"
            )
        total += float(piece[1]) * _UNITS[piece[2]]
        end = piece.end()
    if not stripped:
        raise ValueError("a duration is empty: write something like 24h")
    return total


def format_duration(length: timedelta) -> str:
    """Write the two largest units, without seconds from an hour up: ``23h45m``, ``6d``, ``1m30s``."""
    seconds = max(int(length.total_seconds()), 0)
    days, rest = divmod(seconds, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days}d{hours}h" if hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes}m" if minutes else f"{hours}h"
    if minutes:
        return f"{minutes}m{rest}s" if rest else f"{minutes}m"
    return f"{rest}s"
