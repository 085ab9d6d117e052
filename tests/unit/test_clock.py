"""Timestamps are written with nanoseconds and read in any form of RFC 3339."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whence import _clock

_LAST_NS = 253_402_300_799_999_999_999


@given(st.integers(0, _LAST_NS))
@example(0)
@example(951_782_400_000_000_000)  # 29 February 2000
@example(_LAST_NS)
def test_a_time_reads_back_to_the_nanosecond(unix_ns):
    """Any time until the year 9999."""
    assert _clock.parse_ns(_clock.format_ns(unix_ns)) == unix_ns


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T12:00:00.000000000Z",
        "2026-03-01T12:00:00Z",
        "2026-03-01 12:00:00",
        "2026-03-01T13:30:00.0+01:30",
        "2026-03-01T12:00:00.000000Z",
    ],
)
def test_other_forms_of_a_time_are_the_same_time(text):
    """Fractions, offsets and a space for the T are the sender's choice."""
    assert _clock.parse_ns(text) == 1_772_366_400_000_000_000


def test_a_leap_second_is_the_second_after_it():
    """Unix time has no number for it."""
    leap, after = "2016-12-31T23:59:60.000000000Z", "2017-01-01T00:00:00.000000000Z"
    assert _clock.parse_ns(leap) == _clock.parse_ns(after)


@pytest.mark.parametrize(
    "text",
    [
        "2026-13-01T00:00:00.000000000Z",
        "2026-W01-1T00:00:00.000000000Z",
        "2026-03-01T12:00+01.000000000Z",
        "2026-03-01T12+01:00.000000000Z",
        "2026-02-30T00:00:00.000000000Z",
        "2026-02-03T00:00:00.00000000xZ",
        "2026-02-03T24:00:00.000000000Z",
        "yesterday",
        "",
    ],
)
def test_what_is_no_time_is_refused(text):
    """No other day is made of it."""
    with pytest.raises(ValueError, match=r"."):
        _clock.parse_ns(text)
