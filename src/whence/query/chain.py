"""The stages of a reasoning chain: records sorted into the steps they belong to.

Comes in: the part of a run that belongs to a chain (`whence.query.scope`). Goes out: `Stage`s. A
record belongs to the nearest span of kind `stage` around it, else to the outermost span, else to
the run itself. What is recorded between two stages stands between them, so that a decision to try
again is read where it was made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from whence.query import restore, taken
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from whence.query.scope import Scope
    from whence.query.tree import SpanNode

N = TypeVar("N", int, float)
_NOTED_LEVELS = frozenset({"warning", "error", "critical", "fatal"})
_ENDLESS = frozenset({"running", "incomplete"})
_CALLS = frozenset({"tool", "generation", "retrieval"})


class Choice(msgspec.Struct, frozen=True):
    """One decision with what stood against it and what weighed on it."""

    decision: r.DecisionRow
    """The decision."""
    not_taken: list[dict[str, Any]]
    """The options that were not taken: `name`, and `probability`, `score` and `reason_rejected`
    where they were said."""
    factors: list[r.FactorRow]
    """What weighed on it, the largest contribution first."""


class Evidence(msgspec.Struct, frozen=True):
    """The sources of a stage."""

    kept: list[r.SourceRow]
    """Those that were used: those that the output names first, then the best."""
    dropped: list[r.SourceRow]
    """Those that were not, the best first."""
    cited: list[str]
    """Ids of the sources that the output is linked to."""
    records_used: int | None
    """Sum of the records used, where it was said."""
    reasons: dict[str, int]
    """How many were dropped for each reason, the most frequent first."""


class Stage(msgspec.Struct, frozen=True):
    """One part of a chain."""

    name: str
    """Name of the stage and of the spans around it: `round 2 / collection`."""
    span: r.SpanRow | None
    """The span; None for what was recorded at the run itself."""
    started_ns: int
    """When it began, Unix nanoseconds."""
    duration_ms: float | None
    """Its length; None where it stands between other stages, or has not ended."""
    status: str | None
    """Status of the span."""
    decisions: list[Choice]
    """What was decided, in order."""
    factors: list[r.FactorRow]
    """What was weighed for no decision in particular, the largest contribution first."""
    evidence: Evidence
    """Sources kept and dropped."""
    generations: list[r.GenerationRow]
    """Model calls, in order."""
    tool_calls: list[r.ToolCallRow]
    """Tool calls, in order."""
    transformations: list[r.TransformationRow]
    """Changes of data, in order."""
    scores: list[r.ScoreRow]
    """Judgements, in order; a retry loop has one for each iteration."""
    outputs: list[r.OutputRow]
    """What it produced on the way, in order."""
    events: list[r.EventRow]
    """Warnings and errors that were logged, in order."""
    failures: list[r.SpanRow]
    """Spans in it that ended in error, in order."""
    unfinished: list[r.SpanRow]
    """Spans in it that have no end, in order: they still run, or their process died in them."""

    @property
    def cost_usd(self) -> float | None:
        """Sum of the costs that are known."""
        return known_sum(row.cost_usd for row in self.generations)


def to_dict(stage: Stage) -> dict[str, Any]:
    """Return a stage as JSON-ready data."""
    plain = restore.to_plain(stage)
    cost = stage.cost_usd
    return plain if cost is None else {**plain, "cost_usd": cost}


def known_sum(values: Iterable[N | None]) -> N | None:
    """Return the sum of the values that are known; None if none is."""
    known = [value for value in values if value is not None]
    return cast("N", sum(known)) if known else None


def stages_of(part: Scope, subject: r.Row, cited: set[str]) -> list[Stage]:
    """Return the stages of a chain in order.

    Args:
        part: What belongs to the chain.
        subject: The thing it leads to, which is not listed among its own reasons unless it is a
            decision.
        cited: Ids of what the thing is linked to.
    """
    homes = {key: _home(part.path(key)) for key in part.spans}
    holders = list(dict.fromkeys(home.row.id for home in homes.values()))
    starts = sorted((part.spans[key].row.started_ns, key) for key in holders)
    failed = _by_home(homes, (node.row for node in part.spans.values() if _has_failed(node.row)))
    endless = _by_home(homes, _unfinished(part, homes, subject))
    whole = {
        key for key in holders if part.spans[key].row.kind == "stage" or not _holds_stage(part, key)
    }
    groups: dict[tuple[str | None, int], list[r.PointRow]] = {
        (key, 0): [] for key in holders if key in whole or key in failed or key in endless
    }
    for record in part.records:
        if record is subject and not isinstance(record, r.DecisionRow):
            continue
        home = homes.get(record.span or "")
        holder = home.row.id if home else None
        # What stands beside stages is read after the last stage that had begun.
        place = 0 if holder in whole else bisect_right(starts, (record.ts_ns, "~"))
        groups.setdefault((holder, place), []).append(record)
    stages = [
        _stage(
            part,
            holder,
            records,
            cited,
            *(found.get(holder or "", []) if place == 0 else [] for found in (failed, endless)),
        )
        for (holder, place), records in groups.items()
    ]
    return sorted(
        (stage for stage in stages if _says_something(stage)), key=lambda stage: stage.started_ns
    )


def _home(path: Sequence[SpanNode]) -> SpanNode:
    return next((node for node in reversed(path) if node.row.kind == "stage"), path[0])


def _holds_stage(part: Scope, key: str) -> bool:
    return any(
        node.row.kind == "stage" and node.row.id != key for node in part.spans[key].iter_spans()
    )


def _by_home(homes: dict[str, SpanNode], spans: Iterable[r.SpanRow]) -> dict[str, list[r.SpanRow]]:
    found: dict[str, list[r.SpanRow]] = {}
    for span in spans:
        found.setdefault(homes[span.id].row.id, []).append(span)
    return found


def _has_failed(span: r.SpanRow) -> bool:
    return span.status == "error"


def _unfinished(part: Scope, homes: dict[str, SpanNode], subject: r.Row) -> Iterable[r.SpanRow]:
    """Yield the spans without an end, but for those whose own heading says so.

    Spans around the thing that was asked about had not ended when it was made in any case.
    """
    around = {node.row.id for node in part.path(getattr(subject, "span", None))}
    for key, node in part.spans.items():
        span = node.row
        has_heading = homes[key].row.id == key and span.kind not in _CALLS
        if span.ended_ns is None and span.status in _ENDLESS and not (has_heading or key in around):
            yield span


def _stage(  # noqa: PLR0917 - private, and called in one place
    part: Scope,
    holder: str | None,
    records: list[r.PointRow],
    cited: set[str],
    failures: list[r.SpanRow],
    unfinished: list[r.SpanRow],
) -> Stage:
    span = part.spans[holder].row if holder else None
    is_between = span is None or (_holds_stage(part, span.id) and span.kind != "stage")
    sources = [row for row in records if isinstance(row, r.SourceRow)]
    factors = [row for row in records if isinstance(row, r.FactorRow)]
    decisions = [row for row in records if isinstance(row, r.DecisionRow)]
    known = {row.id for row in decisions}
    path = (
        " / ".join(node.row.name for node in part.path(holder) if node.row.name) if holder else ""
    )
    return Stage(
        name=path,
        span=span,
        started_ns=records[0].ts_ns if records and is_between else span.started_ns if span else 0,
        duration_ms=None if span is None or is_between else span.duration_ms,
        status=span.status if span else None,
        decisions=[_choice(row, factors) for row in decisions],
        factors=_weightiest([row for row in factors if row.decision not in known]),
        evidence=evidence(sources, cited),
        generations=[row for row in records if isinstance(row, r.GenerationRow)],
        tool_calls=[row for row in records if isinstance(row, r.ToolCallRow)],
        transformations=[row for row in records if isinstance(row, r.TransformationRow)],
        scores=[row for row in records if isinstance(row, r.ScoreRow)],
        outputs=[row for row in records if isinstance(row, r.OutputRow)],
        events=[
            row
            for row in records
            if isinstance(row, r.EventRow) and row.level.lower() in _NOTED_LEVELS
        ],
        failures=failures,
        unfinished=unfinished,
    )


def _says_something(stage: Stage) -> bool:
    found = (
        stage.decisions,
        stage.factors,
        stage.evidence.kept,
        stage.evidence.dropped,
        stage.generations,
        stage.tool_calls,
        stage.transformations,
        stage.scores,
        stage.outputs,
        stage.events,
        stage.failures,
        stage.unfinished,
    )
    return any(found) or (stage.span is not None and stage.span.kind == "stage")


def _choice(row: r.DecisionRow, factors: Sequence[r.FactorRow]) -> Choice:
    own = [_inline_factor(row, place, given) for place, given in enumerate(row.factors)]
    weighed = _weightiest([*own, *(one for one in factors if one.decision == row.id)])
    return Choice(row, taken.not_taken(row), weighed)


def _inline_factor(row: r.DecisionRow, place: int, given: dict[str, Any]) -> r.FactorRow:
    """Return a factor that was given with its decision as the row it would have been by itself."""
    return r.FactorRow(
        id=f"{row.id}#{place}",
        run=row.run,
        span=row.span,
        stage=row.stage,
        ts_ns=row.ts_ns,
        name=str(given.get("name", "")),
        raw_value=given.get("raw_value"),
        normalized_value=_number(given.get("normalized_value")),
        weight=_number(given.get("weight")),
        contribution=_number(given.get("contribution")),
        reasoning=str(given.get("reasoning") or ""),
        decision=row.id,
    )


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _weightiest(factors: list[r.FactorRow]) -> list[r.FactorRow]:
    return sorted(factors, key=lambda row: -abs(row.contribution or 0.0))


def evidence(sources: Sequence[r.SourceRow], cited: set[str] | None = None) -> Evidence:
    """Return sources sorted into kept and dropped, the best first."""
    named = cited or set()
    ordered = sorted(sources, key=lambda row: (row.id not in named, -_worth(row)))
    dropped = [row for row in ordered if not row.kept]
    reasons = Counter(row.reason or "no reason given" for row in dropped)
    return Evidence(
        kept=[row for row in ordered if row.kept],
        dropped=dropped,
        cited=[row.id for row in ordered if row.id in named],
        records_used=known_sum(row.records_used for row in ordered if row.kept),
        reasons=dict(reasons.most_common()),
    )


def _worth(row: r.SourceRow) -> float:
    """Return how good a source was held to be: its quality, else a score; -1 if unknown."""
    if row.quality is not None:
        return row.quality
    numbers = {name: value for name, value in row.scores.items() if _number(value) is not None}
    overall = next(
        (
            numbers[name]
            for name in ("composite", "overall", "total", "relevance")
            if name in numbers
        ),
        None,
    )
    if overall is not None:
        return float(overall)
    return sum(map(float, numbers.values())) / len(numbers) if numbers else -1.0
