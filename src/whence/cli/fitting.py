"""What of a table fits into a terminal: how wide its columns are, and which are left out.

Comes in: columns, printable cells, and how wide the terminal is. Goes out: a layout, or nothing
where no table fits and each row has to be shown as a record. Numbers, ids, states and times are
never cut. Text makes room first, down to a width at which it can still be told apart; then whole
columns leave in the order that they state. Nothing here prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from whence.query import text

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP_COLUMNS = 2
"""Columns of the terminal between two columns of a table."""

_CUT_COLUMNS = 10
"""What a text that is shortened keeps at least."""

_WRAPPED_COLUMNS = 16
"""What a text that is broken into lines keeps at least."""

_WORD_COLUMNS = 32
"""The longest word that is not broken: an id."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    title: str
    """What stands above it."""
    right: bool = False
    """Whether it is aligned right, as numbers are; it is never broken or cut."""
    state: bool = False
    """Whether its words have colours; it is never broken or cut."""
    dim: bool = False
    """Whether it stands back."""
    whole: bool = False
    """Whether it is never broken or cut, as ids and times are."""
    cut: bool = False
    """Whether a terminal that is too narrow cuts it rather than breaking it into lines."""
    leaves: int = 0
    """When it is left out of a terminal that is too narrow: the highest first, 0 for never."""


class Layout(msgspec.Struct, frozen=True):
    """A table that fits."""

    places: tuple[int, ...]
    """Places of the columns that are shown."""
    widths: tuple[int, ...]
    """How wide each of them is."""
    left_out: tuple[str, ...]
    """Titles of the others, from left to right."""


def fit(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> Layout | None:
    """Return how a table is shown in `width` columns of a terminal.

    None where the columns that never leave are too wide together. Of columns that leave at the same
    time the rightmost goes first.
    """
    cells = [[row[place] for row in rows] for place in range(len(columns))]
    most = [_widest([column.title, *cells[place]]) for place, column in enumerate(columns)]
    least = [_least(column, cells[place]) for place, column in enumerate(columns)]
    places = list(range(len(columns)))
    leaving = sorted(
        (place for place in places if columns[place].leaves),
        key=lambda place: (columns[place].leaves, place),
    )
    while (spare := width - _total([least[place] for place in places])) < 0:
        if not leaving:
            return None
        places.remove(leaving.pop())
    widths = _grown([least[place] for place in places], [most[place] for place in places], spare)
    left_out = [column.title for place, column in enumerate(columns) if place not in places]
    return Layout(tuple(places), tuple(widths), tuple(left_out))


def _widest(texts: Sequence[str]) -> int:
    return max((text.columns(one) for one in texts), default=0)


def _least(column: Column, cells: Sequence[str]) -> int:
    """Return how narrow a column may get; a title of a query's making may be broken, too."""
    title = min(text.columns(column.title), _WORD_COLUMNS)
    widest = _widest(cells)
    if column.cut:
        return max(title, min(widest, _CUT_COLUMNS))
    if column.whole or column.right or column.state:
        return max(title, widest)
    word = min(_widest([word for cell in cells for word in cell.split(" ")]), _WORD_COLUMNS)
    title_word = min(_widest(column.title.split(" ")), _WORD_COLUMNS)
    return max(title_word, word, min(widest, _WRAPPED_COLUMNS))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP_COLUMNS * (len(widths) - 1)


def _grown(least: Sequence[int], most: Sequence[int], spare: int) -> list[int]:
    """Return widths between least and most: what is spare goes to all that want it alike."""
    widths = list(least)
    while spare > 0:
        hungry = [place for place, width in enumerate(widths) if width < most[place]]
        if not hungry:
            break
        share = max(1, spare // len(hungry))
        for place in hungry:
            more = min(share, most[place] - widths[place], spare)
            widths[place] += more
            spare -= more
    return widths
