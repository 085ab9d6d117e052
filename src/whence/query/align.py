"""Two sequences of steps, aligned: which step of one run is the same step of another.

Comes in: the keys of two sequences. Goes out: pairs of places, in an order that respects both.
Steps that both runs took in the same order are matched by their longest common subsequence; what is
left over is matched by key, so that branches which ran in another order are compared and not
reported as missing. The rest stands alone.
"""

from __future__ import annotations

from collections import deque
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

Place = tuple[int | None, int | None]
"""A place in the first sequence and one in the second; None where a step is missing."""

_MAX_PRODUCT = 4_000_000
"""Beyond this many pairs of places, the middle is matched by key alone, since the exact way is
quadratic."""


def align(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[Place]:
    """Return the aligned places of two sequences, the first sequence's order leading."""
    begin = 0
    while begin < len(a) and begin < len(b) and a[begin] == b[begin]:
        begin += 1
    end = 0
    while end < min(len(a), len(b)) - begin and a[-1 - end] == b[-1 - end]:
        end += 1
    middle = _align_middle(a[begin : len(a) - end], b[begin : len(b) - end])
    pairs: list[Place] = [(place, place) for place in range(begin)]
    pairs += [
        (None if i is None else i + begin, None if j is None else j + begin) for i, j in middle
    ]
    pairs += [(len(a) - end + place, len(b) - end + place) for place in range(end)]
    return pairs


def _align_middle(a: Sequence[Hashable], b: Sequence[Hashable]) -> list[Place]:
    pairs: list[Place] = []
    if len(a) * len(b) > _MAX_PRODUCT:
        pairs += [(i, None) for i in range(len(a))]
        pairs += [(None, j) for j in range(len(b))]
    else:
        for tag, i1, i2, j1, j2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
            if tag == "equal":
                pairs += zip(range(i1, i2), range(j1, j2), strict=True)
            else:
                pairs += [(i, None) for i in range(i1, i2)]
                pairs += [(None, j) for j in range(j1, j2)]
    return _match_leftovers(pairs, a, b)


def _match_leftovers(
    pairs: list[Place], a: Sequence[Hashable], b: Sequence[Hashable]
) -> list[Place]:
    waiting: dict[Hashable, deque[int]] = {}
    for i, j in pairs:
        if i is None and j is not None:
            waiting.setdefault(b[j], deque()).append(j)
    matched: set[int] = set()
    merged: list[Place] = []
    for i, j in pairs:
        left = waiting.get(a[i]) if i is not None and j is None else None
        if left:
            j = left.popleft()  # noqa: PLW2901 - the pair is completed
            matched.add(j)
        merged.append((i, j))
    return [(i, j) for i, j in merged if i is not None or j not in matched]
