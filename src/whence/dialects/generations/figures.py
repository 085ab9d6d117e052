"""What traces say when there are many: how many tokens a thing takes, and how good things are.

Comes in: an open reader. Goes out: `TraceStats`, the artifacts by model and prompt version, and how
many stand at which status. The store does the arithmetic. One that takes no SQL, as small homes
read into memory do, hands its rows over and the same figures are taken here.
"""

from __future__ import annotations

import statistics
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.dialects.generations import review
from whence.dialects.generations.traces import DIALECT
from whence.dialects.shared import asking
from whence.dialects.shared.plain import as_text
from whence.query import text
from whence.query.stats import window_ns
from whence.store.predicate import And, Compare, FieldRef, IsNull, Not, Or, Predicate

if TYPE_CHECKING:
    from whence.query.reader import Reader
    from whence.store.rows import OutputRow

_IS_OURS = asking.equals("attributes.dialect", DIALECT)
_STATUS = FieldRef("attributes", ("generation_trace", "quality_status"))
_SAYS_STATUS = Or((Not(IsNull(FieldRef("status"))), Not(IsNull(FieldRef("flag")))))
_AT_ONCE = 200
_KEYS = {
    "tokens": ("total_tokens",),
    "reasoning_tokens": ("total_reasoning_tokens", "reasoning_tokens"),
    "duration_ms": ("total_generation_time_ms", "generation_time_ms"),
}
"""Figure to its key in nested and flat traces."""


class TraceGroup(msgspec.Struct, frozen=True):
    """The artifacts of one model and prompt version; a figure nobody stated is null."""

    model: str | None
    """The model, as the trace says it."""
    prompt_version: str | None
    """The version of the prompts."""
    artifacts: int
    """How many artifacts."""
    sum_tokens: int | None
    """All their tokens."""
    avg_tokens: float | None
    """Tokens of one, on average over those that state them."""
    sum_reasoning_tokens: int | None
    """All their reasoning tokens."""
    avg_reasoning_tokens: float | None
    """Reasoning tokens of one, on average over those that state them."""
    avg_duration_ms: float | None
    """Milliseconds to make one, on average."""


class TraceStats(msgspec.Struct, frozen=True):
    """Figures of all artifacts, or of those of a window of time."""

    window: str | None
    """How far they look back; null for all time."""
    artifacts: int
    """How many artifacts."""
    by_status: dict[str, int]
    """How many stand at which quality status now, reviews included."""
    groups: list[TraceGroup]
    """Figures by model and prompt version, the largest group first."""

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready data."""
        return msgspec.to_builtins(self)

    def to_text(self) -> str:
        """Return the figures as text for a terminal."""
        statuses = ", ".join(f"{n:,} {text.printable(word)}" for word, n in self.by_status.items())
        when = "" if self.window is None else f" of the last {self.window}"
        head = f"{self.artifacts:,} artifacts{when}" + (f": {statuses}" if statuses else "")
        if not self.groups:
            return head
        titles = [
            "model",
            "prompt",
            "artifacts",
            "tokens",
            "avg tokens",
            "avg reasoning",
            "avg time",
        ]
        body = [
            [
                text.printable(group.model, 40),
                text.printable(group.prompt_version, 20),
                f"{group.artifacts:,}",
                _shown(group.sum_tokens),
                _shown(group.avg_tokens),
                _shown(group.avg_reasoning_tokens),
                "-" if group.avg_duration_ms is None else text.duration(group.avg_duration_ms),
            ]
            for group in self.groups
        ]
        return "\n".join([head, "", *text.table(titles, body, frozenset(range(2, len(titles))))])

    def __str__(self) -> str:
        return self.to_text()


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:,.0f}"


def trace_stats(reader: Reader, window: str | None = None) -> TraceStats:
    """Return the figures of all artifacts.

    Args:
        reader: An open reader.
        window: How far to look back, as in `24h`, `7d`; None for all time.

    Raises:
        FilterError: The window is none.
    """
    since_ns = 0 if window is None else _clock.wall_ns() - window_ns(window)
    group_up = _by_sql if reader.store.abilities.sql else _by_rows
    groups = group_up(reader, since_ns)
    groups.sort(key=lambda g: (-g.artifacts, g.model or "", g.prompt_version or ""))
    return TraceStats(
        window=window,
        artifacts=sum(group.artifacts for group in groups),
        by_status=_statuses(reader, since_ns),
        groups=groups,
    )


def _by_sql(reader: Reader, since_ns: int) -> list[TraceGroup]:
    def column(figure: str) -> str:
        paths = [f"attributes->>'$.generation_trace.{key}'" for key in _KEYS[figure]]
        return f"TRY_CAST(coalesce({', '.join(paths)}) AS DOUBLE) AS {figure}"

    columns = ", ".join(map(column, _KEYS))
    found = reader.sql(
        f"WITH one AS (SELECT attributes->>'$.generation_trace.model' AS model, "  # noqa: S608 - names are our own, the number is a number
        f"attributes->>'$.generation_trace.prompt_version' AS prompt_version, {columns} "
        f"FROM outputs WHERE attributes->>'$.dialect' = '{DIALECT}' AND ts_ns >= {int(since_ns)}) "
        "SELECT model, prompt_version, count(*) AS artifacts, "
        "CAST(sum(tokens) AS BIGINT) AS sum_tokens, avg(tokens) AS avg_tokens, "
        "CAST(sum(reasoning_tokens) AS BIGINT) AS sum_reasoning_tokens, "
        "avg(reasoning_tokens) AS avg_reasoning_tokens, avg(duration_ms) AS avg_duration_ms "
        "FROM one GROUP BY ALL"
    )
    return [TraceGroup(**row) for row in found.to_dicts()]


def _by_rows(reader: Reader, since_ns: int) -> list[TraceGroup]:
    groups: dict[tuple[str | None, str | None], list[OutputRow]] = {}
    for row in asking.iter_rows(reader, "outputs", _since(since_ns, _IS_OURS)):
        trace = review.trace_of(row)
        key = (as_text(trace.get("model")), as_text(trace.get("prompt_version")))
        groups.setdefault(key, []).append(row)
    return [
        TraceGroup(
            model=model,
            prompt_version=version,
            artifacts=len(rows),
            sum_tokens=_sum(rows, "tokens"),
            avg_tokens=_mean(rows, "tokens"),
            sum_reasoning_tokens=_sum(rows, "reasoning_tokens"),
            avg_reasoning_tokens=_mean(rows, "reasoning_tokens"),
            avg_duration_ms=_mean(rows, "duration_ms"),
        )
        for (model, version), rows in groups.items()
    ]


def figure_of(output: OutputRow, figure: str) -> float | None:
    """Return `tokens`, `reasoning_tokens` or `duration_ms` of an artifact; None if nobody said."""
    trace = review.trace_of(output)
    for key in _KEYS[figure]:
        value = trace.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value
    return None


def _known(rows: list[OutputRow], figure: str) -> list[float]:
    return [value for row in rows if (value := figure_of(row, figure)) is not None]


def _sum(rows: list[OutputRow], figure: str) -> int | None:
    known = _known(rows, figure)
    return int(sum(known)) if known else None


def _mean(rows: list[OutputRow], figure: str) -> float | None:
    known = _known(rows, figure)
    return statistics.fmean(known) if known else None


def _since(since_ns: int, where: Predicate) -> Predicate:
    return And((Compare(FieldRef("ts_ns"), ">=", since_ns), where)) if since_ns else where


def _statuses(reader: Reader, since_ns: int) -> dict[str, int]:
    """Return how many artifacts stand at which status now.

    As they were recorded, the store counts them; only those that somebody said something about
    since are looked at one by one.
    """
    ours = _since(since_ns, _IS_OURS)
    counts: Counter[str] = Counter()
    for word in review.QUALITY_STATUSES:
        counts[word] = reader.store.count("outputs", And((ours, Compare(_STATUS, "=", word))))
    targets: dict[str, None] = {}
    for remark in asking.iter_rows(reader, "annotations", _SAYS_STATUS):
        targets[remark.target] = None
    names = list(targets)
    for start in range(0, len(names), _AT_ONCE):
        for issue in review.look_up(reader, names[start : start + _AT_ONCE]):
            recorded = as_text(issue.trace.get("quality_status"))
            if recorded is None or (issue.created_ns or 0) < since_ns:
                continue
            counts[recorded] -= 1
            counts[issue.state.status or recorded] += 1
    return {word: count for word, count in counts.items() if count > 0}
