"""The sentences of the Python language reference that can be asked about, by topic.

Comes in: the text behind `help("topic")`. Goes out: whole sentences of prose, without code, lists
and headings.
"""

from __future__ import annotations

import re
from functools import cache
from pydoc_data import topics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORTEST, LONGEST = 40, 200
_END = re.compile(r"(?<=[a-z)\"*\]]\.)\s+(?=[A-Z])")
_CODE = re.compile(r"::|>>>|=|\+\+|\[\d|http|…")


@cache
def load(topic: str) -> Sequence[str]:
    """Return the sentences of a topic, in order."""
    paragraphs = re.split(r"\n\s*\n", topics.topics[topic])
    prose = [p for p in paragraphs if not p.startswith((" ", "*", "-", "|")) and "***" not in p]
    found = [s.strip() for p in prose for s in _END.split(" ".join(p.split()))]
    return tuple(
        s
        for s in found
        if SHORTEST <= len(s) <= LONGEST
        and s.endswith(".")
        and s[0].isupper()
        and not _CODE.search(s)
    )


def rich_topics(least: int) -> list[str]:
    """Return the topics that have at least so many sentences, the richest first."""
    counted = sorted((-len(load(topic)), topic) for topic in topics.topics)
    return [topic for count, topic in counted if -count >= least]
