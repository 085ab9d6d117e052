"""What model calls cost, and whom it is to be charged to.

By any field of a call, by hour, and call by call. Unknown costs are left out of every sum and
counted apart, never taken for zero. Source: document 2 (token provenance).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from whence.analysis.facts import HOUR_NS, REQUEST_LINKS, Call
from whence.analysis.patterns import DEFAULT, Thresholds
from whence.store.states import add_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.analysis.facts import Facts

Direction = Literal["increasing", "decreasing", "stable"]
RISE, FALL = 1.2, 0.8
"""From which ratio of the later to the earlier half on a cost increases or decreases."""
TOP = 10
FALLBACKS = {"user": "anonymous", "project": "default", "team_id": "default", "feature": "general"}
"""To whom is charged what names nobody."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What the calls of one group cost."""

    key: Any
    """The group's value; None for calls that have none."""
    request_count: int
    """How many calls."""
    counted: int
    """How many have a number of tokens."""
    total_tokens: int | None
    """Sum of the tokens that are known."""
    priced: int
    """How many have a cost."""
    total_cost_usd: float | None
    """Sum of the costs that are known."""

    @property
    def mean_cost_usd(self) -> float | None:
        """Cost a call, over the calls that have one."""
        return None if self.total_cost_usd is None else self.total_cost_usd / self.priced

    @property
    def mean_tokens(self) -> int | None:
        """Tokens a call, rounded down."""
        return None if self.total_tokens is None else self.total_tokens // self.counted

    @property
    def unpriced(self) -> int:
        """How many calls have no cost."""
        return self.request_count - self.priced


def by(facts: Facts, field: str) -> list[Share]:
    """Return costs by a field of a call, the dearest first.

    Calls that name no user, project, team or feature are charged to the fallback of that field.
    """
    made: dict[Any, Share] = {}
    for group in facts.groups((field,)):
        key = FALLBACKS.get(field) if group.key[0] is None else group.key[0]
        share = Share(
            key=key,
            request_count=group.calls,
            counted=group.counted,
            total_tokens=group.tokens,
            priced=group.priced,
            total_cost_usd=group.cost_usd,
        )
        # Somebody may go by the name of the fallback.
        made[key] = _together(made[key], share) if key in made else share
    return sorted(made.values(), key=lambda share: -(share.total_cost_usd or 0.0))


def _together(a: Share, b: Share) -> Share:
    return Share(
        key=a.key,
        request_count=a.request_count + b.request_count,
        counted=a.counted + b.counted,
        total_tokens=add_known(a.total_tokens, b.total_tokens),
        priced=a.priced + b.priced,
        total_cost_usd=add_known(a.total_cost_usd, b.total_cost_usd),
    )


def top_drivers(facts: Facts, most: int = TOP) -> list[Call]:
    """Return the calls that cost most."""
    return facts.costliest(most)


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """How costs go by hour."""

    hourly: list[tuple[int, float]]
    """Beginning of each hour in which something was spent, Unix nanoseconds, and US dollars."""
    direction: Direction
    """Where it goes."""
    peak_hour_ns: int | None
    """Beginning of the dearest hour, Unix nanoseconds."""
    mean_hourly_cost_usd: float | None
    """US dollars an hour, over these hours."""


def trend(facts: Facts) -> Trend:
    """Return costs by hour and whether they rise.

    The average of the later half of the hours is compared with that of the earlier half; with less
    than two hours it is stable.
    """
    sums = sorted(
        (group.key[0] * HOUR_NS, group.cost_usd)
        for group in facts.groups(("hour",))
        if group.cost_usd is not None
    )
    costs = [cost for _, cost in sums]
    return Trend(
        hourly=sums,
        direction=direction_of(costs),
        peak_hour_ns=max(sums, key=lambda one: one[1])[0] if sums else None,
        mean_hourly_cost_usd=_mean(costs) if costs else None,
    )


def direction_of(values: Sequence[float]) -> Direction:
    """Return where values go: the average of their later half against that of the earlier one."""
    half = len(values) // 2
    if not half:
        return "stable"
    earlier, later = _mean(values[:half]), _mean(values[half:])
    if later > earlier * RISE:
        return "increasing"
    return "decreasing" if later < earlier * FALL else "stable"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


class Bottleneck(msgspec.Struct, frozen=True, kw_only=True):
    """A request that many others wait for."""

    request: str
    """The request."""
    waiting: int
    """How many edges lead from it."""
    call: Call | None
    """Its call, None if it is only named by links."""


def bottlenecks(facts: Facts, limits: Thresholds = DEFAULT) -> list[Bottleneck]:
    """Return requests from which more edges lead than `limits.fan_out`, the most first."""
    counts = facts.fan_out(REQUEST_LINKS, limits.fan_out)
    worst = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[: limits.findings]
    calls = facts.named([request for request, _ in worst])
    return [
        Bottleneck(request=request, waiting=count, call=calls.get(request))
        for request, count in worst
    ]
