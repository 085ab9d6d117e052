"""Where tokens and cost are going: what model calls took in each hour, day or week, and the slope.

Comes in: an open reader, a window, a filter. Goes out: a `Trend` of one point a bucket of time. The
store adds up each bucket. Buckets before the first call are left out, since nothing was recorded
then; later ones without a call took nothing. The bucket at hand is shown and not counted into the
slope: it is not over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.dialects.generations import significance
from whence.dialects.generations.significance import Estimate
from whence.errors import FilterError
from whence.query import tables, text
from whence.query.literals import UNIT_NS
from whence.query.stats import window_ns
from whence.store.base import Measure
from whence.store.predicate import And, Compare, FieldRef, IsNull, Not

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.query.reader import Reader

BUCKETS_NS = {"hour": UNIT_NS["h"], "day": UNIT_NS["d"], "week": UNIT_NS["w"]}
MAX_BUCKETS = 400
_MONDAY_NS = 4 * UNIT_NS["d"]
"""From the beginning of Unix time, a Thursday, to the first Monday."""
_STATED = Not(IsNull(FieldRef("input_tokens")))
_PRICED = Not(IsNull(FieldRef("cost_usd")))
_MEASURES = (
    Measure("calls", "count"),
    Measure("stated", "count", where=_STATED),
    Measure("priced", "count", where=_PRICED),
    *(
        Measure(name, "sum", name)
        for name in ("input_tokens", "output_tokens", "reasoning_tokens", "cost_usd")
    ),
)


class TrendPoint(msgspec.Struct, frozen=True):
    """What the model calls of one bucket took; null where nobody said."""

    begin_ns: int
    """Its beginning, Unix nanoseconds."""
    begin: str
    """The same as text, UTC."""
    is_over: bool
    """Whether it is over."""
    calls: int
    """How many calls."""
    stated: int
    """How many of them state their tokens."""
    priced: int
    """How many of them have a cost."""
    input_tokens: int | None
    """Their input tokens."""
    output_tokens: int | None
    """Their output tokens."""
    reasoning_tokens: int | None
    """Their reasoning tokens."""
    cost_usd: float | None
    """Their cost in US dollars, as far as it is known."""

    @property
    def unpriced_calls(self) -> int:
        """How many of them are in no cost."""
        return self.calls - self.priced

    @property
    def tokens(self) -> int | None:
        """Input and output tokens; 0 in a bucket without calls."""
        if not self.calls:
            return 0
        known = [n for n in (self.input_tokens, self.output_tokens) if n is not None]
        return sum(known) if known else None

    @property
    def tokens_per_call(self) -> float | None:
        """Tokens of one call, on average over those that state them."""
        return None if not self.stated or self.tokens is None else self.tokens / self.stated


class Slope(msgspec.Struct, frozen=True):
    """How one figure changes from bucket to bucket."""

    figure: str
    """`tokens`, `tokens_per_call` or `cost_usd`."""
    estimate: Estimate
    """By how much, a bucket."""
    p_corrected: float | None
    """The p-value, corrected for asking about all figures at once."""
    direction: str
    """`rising` or `falling` where that is significant at 5 %, else `unclear`."""


class Trend(msgspec.Struct, frozen=True):
    """Model calls over time."""

    bucket: str
    """`hour`, `day` or `week`."""
    points: list[TrendPoint]
    """One a bucket, the oldest first."""
    slopes: list[Slope] = []
    """How the figures change, when that was asked for."""

    def to_dict(self) -> dict[str, Any]:
        """Return the trend as JSON-ready data."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        for point, said in zip(self.points, plain["points"], strict=True):
            said |= {
                "tokens": point.tokens,
                "tokens_per_call": point.tokens_per_call,
                "unpriced_calls": point.unpriced_calls,
            }
        return plain

    def to_text(self) -> str:
        """Return the trend as a table for a terminal."""
        if not self.points:
            return "no model calls in this time"
        titles = [self.bucket, "calls", "tokens", "reasoning", "a call", "cost"]
        body = [
            [
                point.begin + ("" if point.is_over else " (so far)"),
                f"{point.calls:,}",
                _shown(point.tokens),
                _shown(point.reasoning_tokens),
                _shown(point.tokens_per_call),
                _cost(point),
            ]
            for point in self.points
        ]
        lines = text.table(titles, body, frozenset(range(1, len(titles))))
        return "\n".join([*lines, *(_sentence(slope, self.bucket) for slope in self.slopes)])

    def __str__(self) -> str:
        return self.to_text()


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:,.0f}"


def _cost(point: TrendPoint) -> str:
    if point.cost_usd is None:
        return "-"
    return text.cost(point.cost_usd, point.calls, point.unpriced_calls)


def _sentence(slope: Slope, bucket: str) -> str:
    found = slope.estimate
    if found.value is None or found.low is None or found.p_value is None:
        return f"{slope.figure}: too few {bucket}s that differ to speak of a trend"
    return (
        f"{slope.figure}: {slope.direction}, {found.value:+,.4g} a {bucket} "
        f"(95 % between {found.low:+,.4g} and {found.high:+,.4g}, p = {slope.p_corrected:.2g})"
    )


def token_trend(
    reader: Reader,
    window: str = "30d",
    *,
    bucket: str = "day",
    filter: str = "",  # noqa: A002 - the word of the public API
    test: bool = False,
) -> Trend:
    """Return what model calls took over time.

    Args:
        reader: An open reader.
        window: How far to look back, as in `30d`.
        bucket: `hour`, `day` or `week`, in UTC; weeks begin on Monday.
        filter: Which generations count, in the filter language.
        test: Say also whether tokens and cost are rising or falling, for which the extra
            `analysis` is needed.

    Raises:
        FilterError: The window, the bucket or the filter is wrong.
        MissingExtraError: SciPy or statsmodels is needed and not installed.
    """
    if bucket not in BUCKETS_NS:
        raise FilterError(f"bucket is {bucket!r}; it has to be one of {', '.join(BUCKETS_NS)}")
    length_ns = BUCKETS_NS[bucket]
    now_ns = _clock.wall_ns()
    first_ns = _begin_of(now_ns - window_ns(window), bucket)
    count = (now_ns - first_ns) // length_ns + 1
    if count > MAX_BUCKETS:
        raise FilterError(
            f"{window} has {count:,} {bucket}s; ask for a longer bucket or a shorter window, "
            f"at most {MAX_BUCKETS} buckets"
        )
    where = tables.predicate("generations", filter)
    points: list[TrendPoint] = []
    for begin_ns in range(first_ns, now_ns + 1, length_ns):
        end_ns = begin_ns + length_ns
        inside = (
            Compare(FieldRef("ts_ns"), ">=", begin_ns),
            Compare(FieldRef("ts_ns"), "<", end_ns),
        )
        found = reader.store.aggregate("generations", And((*inside, where)), [], _MEASURES)
        figures = found[0] if found else {}
        if figures.get("calls") or points:
            points.append(_point(begin_ns, end_ns <= now_ns, bucket, figures))
    return Trend(bucket, points, _slopes(points) if test else [])


def _begin_of(moment_ns: int, bucket: str) -> int:
    shift = _MONDAY_NS if bucket == "week" else 0
    length_ns = BUCKETS_NS[bucket]
    return max(0, (moment_ns - shift) // length_ns * length_ns + shift)


def _point(begin_ns: int, is_over: bool, bucket: str, figures: dict[str, Any]) -> TrendPoint:  # noqa: FBT001 - private, and called in one place
    moment = _clock.format_ns(begin_ns)
    return TrendPoint(
        begin_ns=begin_ns,
        begin=moment[:13].replace("T", " ") + "h" if bucket == "hour" else moment[:10],
        is_over=is_over,
        calls=figures.get("calls", 0),
        stated=figures.get("stated", 0),
        priced=figures.get("priced", 0),
        input_tokens=figures.get("input_tokens"),
        output_tokens=figures.get("output_tokens"),
        reasoning_tokens=figures.get("reasoning_tokens"),
        cost_usd=figures.get("cost_usd"),
    )


def _slopes(points: Sequence[TrendPoint]) -> list[Slope]:
    over = [point for point in points if point.is_over]
    priced = [point for point in over if point.cost_usd is not None or not point.calls]
    series: dict[str, list[tuple[float, float]]] = {
        "tokens": _series(over, "tokens"),
        "tokens_per_call": _series(over, "tokens_per_call"),
        # A bucket without calls cost nothing; one whose calls have no known cost is left out.
        "cost_usd": [(n, p.cost_usd or 0.0) for n, p in enumerate(over) if p in priced]
        if any(point.priced for point in over)
        else [],
    }
    estimates = {figure: significance.slope(found) for figure, found in series.items()}
    corrected = significance.corrected([found.p_value for found in estimates.values()])
    return [
        Slope(figure, found, p, _direction(found, p))
        for (figure, found), p in zip(estimates.items(), corrected, strict=True)
    ]


def _series(points: Sequence[TrendPoint], figure: str) -> list[tuple[float, float]]:
    return [
        (place, value)
        for place, point in enumerate(points)
        if (value := getattr(point, figure)) is not None
    ]


def _direction(found: Estimate, p_corrected: float | None) -> str:
    if p_corrected is None or found.value is None or p_corrected >= significance.ALPHA:
        return "unclear"
    return "rising" if found.value > 0 else "falling"
