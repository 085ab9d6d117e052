"""Whether a difference or a slope may be chance: the tests, and their correction for being many.

Comes in: numbers. Goes out: estimates with intervals of 95 % and p-values. All of it is SciPy's and
statsmodels', which the extra `analysis` brings; here it is decided which test fits, and that none
is made where it would say nothing.

- Shares: Fisher's exact test, which holds for small numbers too; Newcombe's interval (1998, method
  10).
- Means: Welch's t-test, which does not ask for equal variances.
- Slopes: Theil's and Sen's, and Kendall's rank correlation; neither asks for a bell curve, and one
  odd day moves neither.
- Several at once: Holm's correction, which bounds the chance of any false alarm.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _extras

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95
ALPHA = 0.05
MIN_SAMPLE = 2
"""Fewest numbers that have a variance."""
_SAME = 1e-9
"""Numbers that differ by less than this share of them differ by how they were reckoned."""
MIN_POINTS = 4
"""Fewest points that a trend is asked of: of three, no order is rare enough to mean anything."""


class Estimate(msgspec.Struct, frozen=True):
    """A difference or slope with how sure it is; null where there is too little to say."""

    value: float | None
    """The estimate."""
    low: float | None = None
    """Lower end of its interval of 95 %."""
    high: float | None = None
    """Upper end of its interval of 95 %."""
    p_value: float | None = None
    """How likely something as large would be by chance."""
    test: str | None = None
    """Which test said so; null if none was made."""


def difference_of_shares(hits_a: int, of_a: int, hits_b: int, of_b: int) -> Estimate:
    """Return the share of b less that of a.

    Raises:
        MissingExtraError: SciPy or statsmodels is not installed.
    """
    if not of_a or not of_b:
        return Estimate(None)
    value = hits_b / of_b - hits_a / of_a
    table = [[hits_b, of_b - hits_b], [hits_a, of_a - hits_a]]
    p_value = _stats().fisher_exact(table).pvalue
    proportion = _extras.require("statsmodels.stats.proportion", "analysis", "comparing prompts")
    low, high = proportion.confint_proportions_2indep(
        hits_b, of_b, hits_a, of_a, method="newcomb", compare="diff", alpha=ALPHA
    )
    return Estimate(value, float(low), float(high), float(p_value), "Fisher's exact test")


def difference_of_means(a: Sequence[float], b: Sequence[float]) -> Estimate:
    """Return the mean of b less that of a.

    Raises:
        MissingExtraError: statsmodels is not installed.
    """
    if not a or not b:
        return Estimate(None)
    value = statistics.fmean(b) - statistics.fmean(a)
    # Without any variation a t-test divides by nothing, or by the error of the arithmetic.
    if min(len(a), len(b)) < MIN_SAMPLE or not (_varies(a) or _varies(b)):
        return Estimate(value)
    weights = _extras.require("statsmodels.stats.weightstats", "analysis", "comparing prompts")
    both = weights.CompareMeans(weights.DescrStatsW(b), weights.DescrStatsW(a))
    _, p_value, _ = both.ttest_ind(usevar="unequal")
    low, high = both.tconfint_diff(alpha=ALPHA, usevar="unequal")
    return Estimate(value, float(low), float(high), float(p_value), "Welch's t-test")


def _varies(values: Sequence[float]) -> bool:
    largest = max(abs(value) for value in values)
    return max(values) - min(values) > _SAME * largest


def slope(points: Sequence[tuple[float, float]]) -> Estimate:
    """Return the slope of the second number over the first.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    if len(points) < MIN_POINTS:
        return Estimate(None)
    x, y = [point[0] for point in points], [point[1] for point in points]
    if len(set(y)) == 1:
        return Estimate(0.0)
    stats = _stats()
    found = stats.theilslopes(y, x, CONFIDENCE)
    p_value = stats.kendalltau(x, y).pvalue
    return Estimate(
        float(found.slope),
        float(found.low_slope),
        float(found.high_slope),
        float(p_value),
        "Theil-Sen slope, Kendall's tau",
    )


def corrected(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p-values as they are when that many questions are asked at once (Holm).

    Raises:
        MissingExtraError: statsmodels is not installed.
    """
    known = [p for p in p_values if p is not None]
    if not known:
        return list(p_values)
    multitest = _extras.require("statsmodels.stats.multitest", "analysis", "comparing prompts")
    adjusted = iter(multitest.multipletests(known, alpha=ALPHA, method="holm")[1])
    return [None if p is None else float(next(adjusted)) for p in p_values]


def _stats() -> Any:
    return _extras.require("scipy.stats", "analysis", "a test of significance")
