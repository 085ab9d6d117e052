"""Text for people: anything a user recorded goes in, what a terminal may show safely comes out.

Recorded text is data. It may hold escape sequences that move the cursor, controls that reverse the
direction of writing, or line breaks that fake a line of ours; `printable` shows them instead of
obeying them. Everything that prints - the reading facade, the command line - passes through here.
Nothing here knows what a row is.
"""

from __future__ import annotations

import html
import math
import re
import textwrap
import unicodedata
from typing import TYPE_CHECKING, Any

from whence import _clock
from whence.record import codec, values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ELLIPSIS = "…"
_SPACE = re.compile(r"[ \t\r\n\f\v\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
_JOINER = "\u200d"
"""Holds the parts of one emoji together; it is harmless, and emoji fall apart without it."""
_WIDE = frozenset("WF")
_BYTES, _UNITS = 1 << 8, 1 << 16
_MICROCENT = 1e-6
_SECOND_MS = 1_000.0
_MINUTE_MS = 60_000.0
_HOUR_MS = 3_600_000.0
_CENT = 0.01
_LONGEST_FLOAT = 10
_BIG = 1_000


def printable(value: object, width: int | None = None) -> str:
    r"""Return `value` on one line; what a terminal would obey is an escape such as `\x1b`.

    White space of any kind becomes one space. Controls, bidirectional and other format characters,
    lone surrogates and unassigned characters become escapes.

    Args:
        value: A text, or anything else, which is shown as JSON where it has such a form.
        width: Most columns to take; longer text ends in an ellipsis. None for all of it.
    """
    text = value if isinstance(value, str) else _shown(value)
    if (
        width is not None and len(text) > 8 * width + 64
    ):  # a megabyte of text is not worth looking at for one line
        text = text[: 8 * width + 64] + ELLIPSIS
    if not (text.isascii() and text.isprintable() and "  " not in text):
        text = _SPACE.sub(" ", text).strip()
        text = escaped(text)
    else:
        text = text.strip()
    return text if width is None else cut(text, width)


def dot_id(name: str) -> str:
    r"""Return a name as a quoted Graphviz id, each name as another one.

    Graphviz reads `\"` in a quoted text as a quote and keeps a doubled backslash apart from a
    single one. A backslash of the name's own is doubled; one before `x`, `u` or `U` is an escape of
    ours for what does not print.
    """
    return '"' + "".join(_DOT_ESCAPES.get(char) or escaped(char) for char in name) + '"'


_DOT_ESCAPES = {"\\": "\\\\", '"': '\\"'}


def escaped(text: str) -> str:
    """Return `text` with an escape for each character that does not print, spaces as they are."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == _JOINER else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    return (
        f"\\x{code:02x}"
        if code < _BYTES
        else f"\\u{code:04x}"
        if code < _UNITS
        else f"\\U{code:08x}"
    )


def _shown(value: object) -> str:  # noqa: PLR0911 - one return a kind of value
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and value.bit_length() > 10_000:  # noqa: PLR2004 - CPython refuses longer conversions
        return hex(value)
    if isinstance(value, int):
        return str(value)  # as it was recorded; `number` is for figures of ours
    if isinstance(value, float):
        exact = repr(value)
        return exact if len(exact) <= _LONGEST_FLOAT else f"{value:.6g}"
    if values.is_marker(value):
        return _marker(value)
    try:
        return codec.encode_json(value).decode()
    except (TypeError, ValueError, RecursionError, UnicodeError):
        return ascii(value)


def _marker(marker: dict[str, Any]) -> str:
    form = marker[values.MARK]
    preview = (
        marker.get("preview") or marker.get("repr") or marker.get("value") or marker.get("why")
    )
    size = marker.get("size_bytes")
    about = f"{form} of {size:,} bytes" if isinstance(size, int) else str(form)
    return f"<{about}: {preview}>" if isinstance(preview, str) else f"<{about}>"


def columns(text: str) -> int:
    """Return how many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    return sum(
        2
        if unicodedata.east_asian_width(c) in _WIDE
        else 0
        if unicodedata.combining(c) or c == _JOINER
        else 1
        for c in text
    )


def cut(text: str, width: int) -> str:
    """Return `text` in at most `width` columns, ending in an ellipsis if something is missing."""
    if columns(text) <= width:
        return text
    taken = 0
    for place, character in enumerate(text):
        taken += columns(character)
        if taken > width - 1:
            return text[:place].rstrip() + ELLIPSIS
    return text


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return `text` filled with spaces to `width` columns, so that it stands left or `right`."""
    space = " " * (width - columns(text))
    return space + text if right else text + space


def wrapped(value: object, width: int, lines: int) -> list[str]:
    """Return `value` in at most `lines` lines; the last ends in an ellipsis if there is more."""
    text = printable(value, width * (lines + 1))
    broken = textwrap.wrap(text, width, break_on_hyphens=False) or [""]
    if len(broken) <= lines:
        return broken
    return [*broken[: lines - 1], cut(broken[lines - 1] + ELLIPSIS, width)]


def table(
    head: Sequence[str], body: Iterable[Sequence[str]], right: frozenset[int] = frozenset()
) -> list[str]:
    """Return the lines of a table of printable cells, its columns aligned.

    Args:
        head: Title of each column.
        body: Rows of cells.
        right: Places of the columns that are aligned right.
    """
    rows = [head, *body]
    widths = [max(columns(row[place]) for row in rows) for place in range(len(head))]
    return [
        "  ".join(
            pad(cell, widths[place], right=place in right) for place, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]


def number(value: float | None) -> str:
    """Return a number as people read it: `1,204`, `0.83`; `-` for None."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    if value.is_integer() and abs(value) < 1e15:  # noqa: PLR2004
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= _BIG else f"{value:.3g}"


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a count with its noun: `1 run`, `3 runs`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def share(value: float | None) -> str:
    """Return a number between 0 and 1, such as a confidence, as `0.83`; `-` for None."""
    return "-" if value is None else f"{value:.2f}"


def signed(value: float | None) -> str:
    """Return a difference with its sign: `+0.4`; `-` for None."""
    if value is None:
        return "-"
    return f"+{number(value)}" if value > 0 else number(value)


def duration(milliseconds: float | None) -> str:
    """Return a duration as people read it: `340 ms`, `12.4 s`, `3 min 20 s`; `-` for None."""
    if milliseconds is None:
        return "-"
    size = abs(milliseconds)
    sign = "-" if milliseconds < 0 else ""
    if size < 10:  # noqa: PLR2004
        return f"{sign}{size:.1f} ms"
    if size < _SECOND_MS:
        return f"{sign}{size:.0f} ms"
    if size < _MINUTE_MS:
        return f"{sign}{size / _SECOND_MS:.1f} s"
    whole, unit, big, small = (size / _SECOND_MS, 60, "min", "s")
    if size >= _HOUR_MS:
        whole, unit, big, small = (size / _MINUTE_MS, 60, "h", "min")
    return f"{sign}{int(whole // unit)} {big} {int(whole % unit)} {small}"


def money(usd: float | None) -> str:
    """Return an amount as people read it: `$0.0213`, `$12.40`; `-` for None."""
    if usd is None:
        return "-"
    sign, size = ("-" if usd < 0 else ""), abs(usd)
    if size == 0 or size >= 1:
        return f"{sign}${size:,.2f}"
    return (
        f"{sign}${size:.4f}"
        if size >= _CENT
        else f"{sign}${size:.2g}"
        if size < _MICROCENT
        else f"{sign}${size:.6f}"
    )


def cost(usd: float, calls: int, unpriced: int) -> str:
    """Return a sum of costs and what is not in it: `$0.0123 (3 of 10 calls unpriced)`."""
    return money(usd) + (
        f" ({unpriced:,} of {counted(calls, 'call')} unpriced)" if unpriced else ""
    )


def moment(unix_ns: int | None) -> str:
    """Return a time as `2026-01-31 23:59:59` UTC; `-` where nobody stated one."""
    if unix_ns is None or not _clock.is_dated(unix_ns):
        return "-"
    return _clock.format_ns(unix_ns)[:19].replace("T", " ")


def began(unix_ns: int) -> str:
    """Return when something began, or that its source has no times."""
    return f"began {moment(unix_ns)} UTC" if _clock.is_dated(unix_ns) else "undated"


def pre(text: str) -> str:
    """Return text as HTML that shows it as it is."""
    return f'<pre style="white-space:pre-wrap">{html.escape(text)}</pre>'
