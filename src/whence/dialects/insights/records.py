"""Provenance records as document 1 (intelligence provenance) has them, made from the rows of a run.

Comes in: the rows of one run, whoever wrote it. Goes out: a frozen `ProvenanceRecord`. What nobody
stated is None, and sums and means are taken over what was stated; that is where this differs from
the document's origin, which writes 0. Nothing is looked up here.
"""

from __future__ import annotations

import datetime as dt
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.dialects.insights.words import (
    BROKEN_OFF,
    RUN_KIND,
    ConfidenceLevel,
    InsightType,
)
from whence.dialects.shared.plain import as_dict, as_text, as_texts
from whence.query import restore
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ALGORITHM_VERSION = "1.0"
"""Version of an algorithm of which nobody said one."""


class DataSource(msgspec.Struct, frozen=True, kw_only=True):
    """Where data came from."""

    source_type: str
    """What sort of source."""
    source_key: str
    """Which one."""
    records_used: int | None = None
    """How many of its records were used."""
    freshness_seconds: float | None = None
    """Age of the data when used, in seconds."""
    quality_score: float | None = None
    """How good it was held to be, 0 to 1."""
    sample_ids: list[str] = []
    """Ids of some of the records."""


class DecisionFactor(msgspec.Struct, frozen=True, kw_only=True):
    """One weighted consideration."""

    factor_name: str
    """What was weighed."""
    raw_value: Any = None
    """As it was measured: a number, text or boolean."""
    normalized_value: float | None = None
    """The same, brought to 0..1."""
    weight: float | None = None
    """How much it counts, 0 to 1."""
    contribution: float | None = None
    """Normalized value x weight."""
    reasoning: str = ""
    """Why, in a sentence."""


class ReasoningStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step of the reasoning."""

    step_number: int
    """Its place, from 1."""
    operation: str
    """What was done."""
    description: str = ""
    """The same in a sentence."""
    input_count: int | None = None
    """How many items went in."""
    output_count: int | None = None
    """How many came out."""
    algorithm: str = "default"
    """The method used."""
    parameters: dict[str, Any] = {}
    """Settings of the method."""
    duration_ms: float | None = None
    """How long it took, in milliseconds."""


class ProvenanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """How one insight came to be."""

    provenance_id: str
    """Its id: the external id of the run, or the run's own id where it has none."""
    worker_name: str
    """What computed it."""
    execution_id: str | None = None
    """The execution it was part of."""
    insight_type: InsightType | None = None
    """What sort of insight."""
    category_key: str | None = None
    """What it is about."""
    computed_at: dt.datetime
    """When its computation began, UTC."""
    computation_duration_ms: float | None = None
    """How long that took, in milliseconds."""
    insight_id: str | None = None
    """The user's id of the insight."""
    insight_summary: str = ""
    """One sentence for people."""
    insight_value: Any = None
    """The insight itself."""
    confidence_score: float | None = None
    """How sure it is, 0 to 1."""
    confidence_level: ConfidenceLevel = ConfidenceLevel.MEDIUM
    """The range that the score is in; medium where there is none."""
    quality_score: float | None = None
    """How good it is, 0 to 1."""
    data_sources: list[DataSource] = []
    """Where data came from."""
    total_records_analyzed: int | None = None
    """Sum of the records used over the sources that state them."""
    data_freshness_avg_seconds: float | None = None
    """Mean age of the data over the sources that state it, in seconds."""
    decision_factors: list[DecisionFactor] = []
    """What weighed on it."""
    primary_factor: str | None = None
    """The factor that contributed most, the first of equals."""
    reasoning_chain: list[ReasoningStep] = []
    """The steps, in order."""
    algorithm_version: str = ALGORITHM_VERSION
    """Version of the worker's algorithm."""
    validation_passed: bool = True
    """False if it was found wrong, or was not computed to the end."""
    validation_errors: list[str] = []
    """What is wrong with it."""
    tags: list[str] = []
    """Labels."""
    run_id: str
    """The run that is this record; `whence show` tells all of it."""
    status: str
    """`complete`, `failed`, `cancelled`, `incomplete` or `running`."""
    error: str | None = None
    """The exception that ended its computation: class and message."""
    metadata: dict[str, Any] = {}
    """Whatever else was said about it."""

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready data, the time in ISO 8601."""
        lists = ("data_sources", "decision_factors", "reasoning_chain")
        parts = {name: [_plain(one) for one in getattr(self, name)] for name in lists}
        return {**_plain(self), **parts, "computed_at": self.computed_at.isoformat()}


def _plain(struct: msgspec.Struct) -> dict[str, Any]:
    return {
        name: one.value if isinstance(one, Enum) else one
        for name, one in restore.to_plain(struct, sparse=False).items()
    }


def from_rows(
    rows: Mapping[str, Sequence[r.Row]], output_id: str | None = None
) -> ProvenanceRecord:
    """Return the record that a run is.

    Args:
        rows: The restored rows of the run by table, in order of time.
        output_id: Which of its outputs is the insight; the last one of kind `insight` if None, or
            else the last one.
    """
    run = cast("r.RunRow", rows["runs"][0])
    provenance_id = run.external_id or run.id
    sources = [one for one in cast("list[r.SourceRow]", rows["sources"]) if one.kept]
    factors = [_factor(one) for one in cast("list[r.FactorRow]", rows["factors"])]
    output = _find_output(cast("list[r.OutputRow]", rows["outputs"]), output_id)
    of_output = output or r.OutputRow(id="", run=run.id, ts_ns=run.started_ns, output_id="")
    errors = _validation_errors(run, of_output)
    return ProvenanceRecord(
        provenance_id=provenance_id,
        worker_name=run.name,
        execution_id=run.workflow,
        insight_type=type_of(run),
        category_key=category_of(run),
        computed_at=moment(run.started_ns),
        computation_duration_ms=run.duration_ms,
        # Where no insight was set, its confidence and the like stand under the record's own id.
        insight_id=of_output.output_id if of_output.output_id not in {"", provenance_id} else None,
        insight_summary=of_output.summary,
        insight_value=of_output.value,
        confidence_score=of_output.confidence,
        confidence_level=ConfidenceLevel.of(of_output.confidence),
        quality_score=of_output.quality,
        data_sources=[_source(one) for one in sources],
        total_records_analyzed=_sum(one.records_used for one in sources),
        data_freshness_avg_seconds=_mean([one.freshness_s for one in sources]),
        decision_factors=factors,
        primary_factor=_primary(factors),
        reasoning_chain=_steps(cast("list[r.SpanRow]", rows["spans"])),
        algorithm_version=as_text(run.attributes.get("algorithm_version")) or ALGORITHM_VERSION,
        validation_passed=run.status not in BROKEN_OFF
        and (of_output.validation or {}).get("passed") is not False,
        validation_errors=errors,
        tags=run.tags,
        run_id=run.id,
        status=run.status,
        error=_error(run),
        metadata=as_dict(of_output.attributes.get("metadata")),
    )


def moment(unix_ns: int) -> dt.datetime:
    """Return a time in UTC, its nanoseconds cut to microseconds."""
    return _EPOCH + dt.timedelta(microseconds=unix_ns // 1000)


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def type_of(run: r.RunRow) -> InsightType | None:
    """Return what sort of insight a run computes, if it says so."""
    said = as_text(run.attributes.get("insight_type"))
    return InsightType(said) if said else None


def category_of(run: r.RunRow) -> str | None:
    """Return what the insight of a run is about, if it says so."""
    return as_text(run.attributes.get("category_key"))


def _find_output(outputs: Sequence[r.OutputRow], output_id: str | None) -> r.OutputRow | None:
    latest = list(reversed(outputs))
    named = [one for one in latest if output_id in {one.id, one.output_id}]
    insights = [one for one in latest if one.kind == RUN_KIND]
    return next(iter(named or insights or latest), None)


def _source(row: r.SourceRow) -> DataSource:
    return DataSource(
        source_type=row.source_type,
        source_key=row.source_key,
        records_used=row.records_used,
        freshness_seconds=row.freshness_s,
        quality_score=row.quality,
        sample_ids=row.sample_ids,
    )


def _factor(row: r.FactorRow) -> DecisionFactor:
    raw = row.raw_value
    return DecisionFactor(
        factor_name=row.name,
        raw_value=raw if raw is None or isinstance(raw, (int, float, str)) else str(raw),
        normalized_value=row.normalized_value,
        weight=row.weight,
        contribution=row.contribution,
        reasoning=row.reasoning,
    )


def _primary(factors: Iterable[DecisionFactor]) -> str | None:
    weighed = [one for one in factors if one.contribution is not None]
    best = max(weighed, key=lambda one: one.contribution or 0.0, default=None)
    return None if best is None else best.factor_name


def _steps(spans: Sequence[r.SpanRow]) -> list[ReasoningStep]:
    """Return the spans that are numbered steps; of a run without any, its outermost spans."""
    numbered = [one for one in spans if type(one.attributes.get("step_number")) is int]
    chain = sorted(numbered, key=lambda one: one.attributes["step_number"])
    return [
        _step(number, one)
        for number, one in enumerate(chain or [one for one in spans if one.parent is None], 1)
    ]


def _step(number: int, span: r.SpanRow) -> ReasoningStep:
    return ReasoningStep(
        step_number=span.attributes.get("step_number", number),
        operation=span.name,
        description=as_text(span.attributes.get("description")) or "",
        input_count=span.input_count,
        output_count=span.output_count,
        algorithm=span.algorithm or "default",
        parameters=as_dict(span.attributes.get("parameters")),
        duration_ms=span.duration_ms,
    )


def _error(run: r.RunRow) -> str | None:
    if run.error is None:
        return None
    return f"{run.error_type}: {run.error.get('message', '')}".removesuffix(": ")


def _validation_errors(run: r.RunRow, output: r.OutputRow) -> list[str]:
    """Return what was found wrong, and how the run ended if it broke off."""
    errors = as_texts((output.validation or {}).get("errors"))
    if run.status in BROKEN_OFF:
        errors.append(_error(run) or f"the computation was {run.status}")
    return errors


def _sum(numbers: Iterable[int | None]) -> int | None:
    stated = [number for number in numbers if number is not None]
    return sum(stated) if stated else None


def _mean(numbers: Iterable[float | None]) -> float | None:
    stated = [number for number in numbers if number is not None]
    return sum(stated) / len(stated) if stated else None
