"""Durations as people write them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollect.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    "text", ["", "h", "5 parsecs", "1h-5m", "-5m", "1e3", "٣h", "nan", "9999999d"]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|out of range"):
        parse_duration(text)


@pytest.mark.parametrize("value", [True, [], {}, None])
def test_what_is_neither_text_nor_number_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="no duration"):
        parse_duration(value)


def test_a_timedelta_stays_what_it_is() -> None:
    assert parse_duration(timedelta(hours=1)) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(hours=23, minutes=45, seconds=30), "23h45m"),
        (timedelta(days=6), "6d"),
        (timedelta(days=1, hours=2), "1d2h"),
        (timedelta(minutes=1, seconds=30), "1m30s"),
        (timedelta(seconds=5), "5s"),
        (timedelta(seconds=-5), "0s"),
        (timedelta(hours=2), "2h"),
        (timedelta(minutes=2), "2m"),
    ],
)
def test_the_two_largest_units_are_shown(length: timedelta, text: str) -> None:
    assert format_duration(length) == text


@given(st.integers(0, 10**7))
def test_what_is_shown_can_be_read_again(seconds: int) -> None:
    shown = format_duration(timedelta(seconds=seconds))
    assert format_duration(parse_duration(shown)) == shown
