"""The figures of an image dashboard: cost, latency, errors, models and users.

Comes in: a store and a window of time. Goes out: `ImageMetrics`. The store does the arithmetic, one
aggregation for each figure, so it makes no difference how many images there are. Counted are the
model calls whose operation is `image`, whoever recorded them; what a call was for is its name, and
who asked is the user of its run.

Source: document 1 (Nano Banana provenance), "Dashboard Metrics".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence.dialects.shared.home import reading
from whence.query import stats, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.query.reader import Reader

_IMAGES = 'operation = "image"'
_UNSAID = ""
"""What groups are called of which nobody said what they are."""
_DAY_NS = 86_400_000_000_000


class ImageFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of a group of image generations."""

    name: str | None
    """The asset type, model or user; None for those of which nobody said."""
    generations: int
    """How many calls."""
    failed: int
    """How many of them gave no image."""
    error_share: float | None
    """The share of them, 0 to 1; None of no calls."""
    cost_usd: float | None
    """Sum of the costs that are known."""
    cost_per_image_usd: float | None
    """That for each image that was generated; None if none was."""
    p50_ms: float | None
    """Half of the calls took at most this long from end to end, in milliseconds."""
    p95_ms: float | None
    """95 of 100 did."""
    p99_ms: float | None
    """99 of 100 did."""


class UserPattern(msgspec.Struct, frozen=True, kw_only=True):
    """How one user generates."""

    figures: ImageFigures
    """The user's figures; `name` is the user."""
    per_day: float | None
    """Generations a day over the window; None for all time."""
    asset_types: dict[str, int]
    """How many of each asset type, the favourite first."""


class ImageMetrics(msgspec.Struct, frozen=True, kw_only=True):
    """What a dashboard of image generation shows."""

    window: str | None
    """How far back it looks; None for all time."""
    total: ImageFigures
    """All generations together."""
    by_asset_type: list[ImageFigures]
    """Cost and latency for each asset type, the costliest first."""
    by_model: list[ImageFigures]
    """Models compared, the most used first."""
    errors: dict[str, int]
    """Failed calls by type of error, the most frequent first."""
    error_shares: dict[str, float]
    """The same as shares of all calls, 0 to 1."""
    users: list[UserPattern]
    """Users, the most active first."""

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready data."""
        return msgspec.to_builtins(self)


def image_metrics(
    window: str | None = "24h",
    *,
    filter: str = "",  # noqa: A002 - the word of the public API
    most_users: int | None = 100,
    store: Reader | None = None,
) -> ImageMetrics:
    """Return the figures of the image generations that a store holds.

    Args:
        window: How far to look back, as in `90s`, `24h`, `7d`; None for all time.
        filter: Which generations, in the filter language of the table `generations`.
        most_users: How many users to give, the most active first; None for all.
        store: What `whence.open` gave; the home this process records into if None.

    Raises:
        FilterError: The filter or the window is wrong.
        StoreError: The home cannot be opened.
    """
    if store is not None:
        return _compute(store, window, filter, most_users)
    with reading() as reader:
        return _compute(reader, window, filter, most_users)


def _compute(
    reader: Reader, window: str | None, extra: str, most_users: int | None
) -> ImageMetrics:
    tables.predicate("generations", extra)  # alone, so that an error points into the user's text
    where = f"{_IMAGES} and ({extra})" if extra.strip() else _IMAGES

    def groups(*by: str) -> Sequence[dict[str, Any]]:
        return reader.stats(by, window, filter=where).rows

    total = next(iter(groups()), None)
    count = total["count"] if total else 0
    failed = [row for row in groups("error_type") if row["errors"]]
    failed.sort(key=lambda row: (-row["errors"], row["error_type"] or ""))
    errors = {row["error_type"] or _UNSAID: row["errors"] for row in failed}
    days = None if window is None else stats.window_ns(window) / _DAY_NS
    return ImageMetrics(
        window=window,
        total=_figures(None, total) if total else _NONE,
        by_asset_type=sorted(
            (_figures(row["name"], row) for row in groups("name")),
            key=lambda one: (-(one.cost_usd or 0.0), -one.generations, one.name or ""),
        ),
        by_model=[_figures(row["model"], row) for row in groups("model")],
        errors=errors,
        error_shares={kind: number / count for kind, number in errors.items()},
        users=_users(groups("run.user"), groups("run.user", "name"), days, most_users),
    )


def _users(
    totals: Sequence[dict[str, Any]],
    by_asset: Sequence[dict[str, Any]],
    days: float | None,
    most: int | None,
) -> list[UserPattern]:
    assets: dict[Any, dict[str, int]] = {}
    for row in by_asset:  # the largest group first, so each user's favourite comes first
        assets.setdefault(row["run.user"], {})[row["name"] or _UNSAID] = row["count"]
    return [
        UserPattern(
            figures=_figures(row["run.user"], row),
            per_day=row["count"] / days if days else None,
            asset_types=assets.get(row["run.user"], {}),
        )
        for row in totals[:most]
    ]


def _figures(name: str | None, row: dict[str, Any]) -> ImageFigures:
    made, cost_usd = row["count"] - row["errors"], row["cost_usd"]
    return ImageFigures(
        name=name,
        generations=row["count"],
        failed=row["errors"],
        error_share=row["error_share"],
        cost_usd=cost_usd,
        cost_per_image_usd=None if cost_usd is None or not made else cost_usd / made,
        p50_ms=row["p50_duration_ms"],
        p95_ms=row["p95_duration_ms"],
        p99_ms=row["p99_duration_ms"],
    )


_NONE = ImageFigures(
    name=None,
    generations=0,
    failed=0,
    error_share=None,
    cost_usd=None,
    cost_per_image_usd=None,
    p50_ms=None,
    p95_ms=None,
    p99_ms=None,
)
