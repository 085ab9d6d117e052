"""The pages to be ranked: the Python language reference that every CPython ships.

In comes the text behind `help("try")`, out come pages with their words in order, and an index that
tells in how many pages a word stands and finds pages by words.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from pydoc_data import topics as _topics

_WORD = re.compile(r"[A-Za-z_][A-Za-z_]{2,}")
_CODE = re.compile(r'"([^"\n]{1,60})"')
_COMMON = """
    about all also and any are because been before but can does each example following for from has
    have how into its may more must not note one only other see should some such than that the
    their then there these they this used using value when where which will with you
"""


@dataclass(frozen=True)
class Page:
    """One page of the reference."""

    name: str
    """What `help` calls it."""
    words: tuple[str, ...]
    """Its words in lower case, in order, without the most common ones."""
    in_code: frozenset[str]
    """Those that are printed as code somewhere on it."""


@dataclass(frozen=True)
class Index:
    """All pages together."""

    pages: dict[str, Page]
    """Name to page."""
    spread: Counter[str]
    """Word to the number of pages it stands on."""
    counts: dict[str, Counter[str]]
    """Name of a page to how often each word stands on it."""

    def rarity(self, word: str) -> float:
        """Return how rare a word is, from 0 (on every page) to 1 (on one page)."""
        pages = len(self.pages)
        return math.log(pages / self.spread[word]) / math.log(pages) if pages > 1 else 1.0

    def search(self, words: list[str]) -> list[str]:
        """Return the names of pages, the one that the words fit best first."""

        def fit(name: str) -> float:
            length = len(self.pages[name].words)
            counts = self.counts[name]
            return sum(self.rarity(w) * counts[w] / (counts[w] + length / 200) for w in words)

        return sorted(self.pages, key=lambda name: (-fit(name), name))


def load() -> Index:
    """Return the index of all pages of the reference."""
    pages = {name: _page(name, text) for name, text in _topics.topics.items()}
    spread = Counter(word for page in pages.values() for word in set(page.words))
    return Index(pages, spread, {name: Counter(page.words) for name, page in pages.items()})


def _page(name: str, text: str) -> Page:
    common = set(_COMMON.split())
    words = tuple(word for word in _WORD.findall(text.lower()) if word not in common)
    code = " ".join(_CODE.findall(text)).lower()
    return Page(name, words, frozenset(_WORD.findall(code)))


def age_s() -> float:
    """Return the age of the reference's file in seconds."""
    return max(0.0, time.time() - Path(_topics.__file__).stat().st_mtime)  # noqa: TID251 - an example for users
