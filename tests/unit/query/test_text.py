"""Text for people: nothing in it is obeyed, and it fits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.query import text


@given(st.text(), st.none() | st.integers(1, 40))
def test_what_is_printable_prints_on_one_line_and_fits(value, width):
    """Whatever comes in, only printable characters come out, on one line, in the width."""
    shown = text.printable(value, width)

    assert shown.replace("\u200d", "").isprintable()
    assert width is None or text.columns(shown) <= width


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("  two\n lines\t ", "two lines"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\u202eb\u2066c\u200f", "a\\u202eb\\u2066c\\u200f"),
        ("\ud800", "\\ud800"),
        ("\U000e0001", "\\U000e0001"),
        ("a\u2028b\u0085c", "a b c"),
        ("👩\u200d💻", "👩\u200d💻"),
        (None, "-"),
        (True, "yes"),
        (1204, "1204"),
        (0.625, "0.625"),
        (0.12345678901234, "0.123457"),
        (math.nan, "nan"),
        (["a", 1], '["a",1]'),
        (
            {"$whence": "blob", "size_bytes": 40_000, "preview": "x\x1b"},
            "<blob of 40,000 bytes: x\\x1b>",
        ),
        pytest.param(10**5000, None, id="longer than CPython writes"),
        ({1: object()}, None),
    ],
)
def test_values_show_as_people_read_them(value, shown):
    """Controls are escapes, white space is one space, values are JSON."""
    found = text.printable(value, 200)

    assert found.isprintable() or "\u200d" in found
    assert shown is None or found == shown


def test_wide_characters_count_twice():
    """Alignment holds for East Asian text and combining marks."""
    assert text.columns("漢字") == 4
    assert text.columns("e\u0301") == 1
    assert text.cut("漢字漢字", 5) == "漢字…"
    assert text.pad("漢", 4) == "漢  "
    assert text.pad("7", 3, right=True) == "  7"


def test_long_text_is_wrapped_and_cut():
    """The last line says that there is more."""
    assert text.wrapped("one two three four five", 9, 2) == ["one two", "three…"]
    assert text.wrapped("one", 9, 2) == ["one"]
    assert text.wrapped("", 9, 2) == [""]
    assert len(text.wrapped("x" * 1_000_000, 50, 3)) == 3


@pytest.mark.parametrize(
    ("milliseconds", "shown"),
    [
        (None, "-"),
        (0, "0.0 ms"),
        (9.94, "9.9 ms"),
        (340, "340 ms"),
        (12_400, "12.4 s"),
        (200_000, "3 min 20 s"),
        (7_260_000, "2 h 1 min"),
        (-340, "-340 ms"),
    ],
)
def test_durations(milliseconds, shown):
    """Each size in its unit."""
    assert text.duration(milliseconds) == shown


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        (None, "-"),
        (0, "$0.00"),
        (12.4, "$12.40"),
        (0.0213, "$0.0213"),
        (0.00031, "$0.000310"),
        (1e-9, "$1e-09"),
        (-2, "-$2.00"),
    ],
)
def test_amounts(usd, shown):
    """Unknown is not zero, and small amounts keep their digits."""
    assert text.money(usd) == shown


def test_numbers_and_differences():
    """Thousands are grouped; differences have a sign."""
    assert [text.number(n) for n in (None, 1204, 0.8346, 2.0, 12345.678, math.inf)] == [
        "-",
        "1,204",
        "0.835",
        "2",
        "12,345.68",
        "inf",
    ]
    assert [text.signed(n) for n in (None, 0.4, -0.4, 0)] == ["-", "+0.4", "-0.4", "0"]
    assert text.share(0.8346) == "0.83"
