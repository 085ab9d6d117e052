"""How much of what is long is shown: the one place where a text for people is told to be brief.

Comes in: how many columns, lines or items a place has. Goes out: that number, or no limit where
everything was asked for. What is cut ends in an ellipsis, what is left out is counted; both is done
by whoever prints.
"""

from __future__ import annotations

import sys

import msgspec


class Cuts(msgspec.Struct, frozen=True):
    """What is cut."""

    texts: bool = True
    """Whether long texts are cut."""
    lists: bool = True
    """Whether long lists are."""

    def columns(self, columns: int) -> int | None:
        """Return how many columns a text may take; None for any number."""
        return columns if self.texts else None

    def lines(self, lines: int) -> int:
        """Return how many lines a text may take."""
        return lines if self.texts else sys.maxsize

    def items(self, items: int) -> int:
        """Return how many items of a list are shown."""
        return items if self.lists else sys.maxsize


SHORT = Cuts()
"""Everything long is cut, as fits a terminal."""


def of(*, full: bool, whole_texts: bool) -> Cuts:
    """Return what is cut when everything, or when every text is wanted whole."""
    return Cuts(texts=not (full or whole_texts), lists=not full)
