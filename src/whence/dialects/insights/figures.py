"""Figures over many provenance records: the aggregation and the factor analysis of document 1.

Comes in: an open reader and a predicate over runs. Goes out: counts, means and shares, made by the
store; what is left to do here is to put groups together. What nobody stated does not count into a
mean.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence import _clock
from whence.dialects.insights import records, search
from whence.dialects.insights.words import ConfidenceLevel
from whence.dialects.shared.plain import as_dict, as_text
from whence.errors import ConfigError
from whence.query import restore
from whence.record import values
from whence.store.base import Measure, Order, Store
from whence.store.predicate import And, Compare, FieldRef, In, IsNull, Not, Predicate, Related

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from whence.query.reader import Reader
    from whence.store import rows as r

TOP_FACTORS = 10
RECENT_SAMPLES = 20
_HOUR_NS = 3_600_000_000_000
_HOURS_AT_ONCE = 200
"""How many hours are counted in one question; each is a column of its answer."""
_COUNT = Measure("n", "count")


class ProvenanceAggregation(msgspec.Struct, frozen=True, kw_only=True):
    """Figures over the provenance records of a stretch of time; its fields are keys as well."""

    total_records: int = 0
    """How many records."""
    records_by_type: dict[str, int] = {}
    """How many of each insight type, the most frequent first."""
    records_by_worker: dict[str, int] = {}
    """How many of each worker."""
    records_by_category: dict[str, int] = {}
    """How many of each category."""
    records_by_confidence: dict[str, int] = {}
    """How many of each confidence level, the highest level first."""
    avg_confidence_score: float | None = None
    """Mean of the confidence scores that were stated."""
    avg_quality_score: float | None = None
    """Mean of the quality scores that were stated."""
    avg_computation_time_ms: float | None = None
    """Mean length of the computations, in milliseconds."""
    validation_pass_rate: float | None = None
    """Share of the records that passed, 0 to 1."""
    avg_data_freshness_seconds: float | None = None
    """Mean over records of the mean age of their data, in seconds."""
    avg_records_analyzed: float | None = None
    """Mean over records of the sum of records used."""
    top_decision_factors: list[dict[str, Any]] = []
    """The ten most frequent factors: `name`, `count`, `avg_contribution`."""
    hourly_counts: list[dict[str, Any]] = []
    """Records for each hour (UTC) that has any: `hour` as `2026-11-01 10:00`, `count`."""

    def __getitem__(self, name: str) -> Any:
        if name not in self.__struct_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def keys(self) -> tuple[str, ...]:
        """Return the names of the figures."""
        return self.__struct_fields__

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready data."""
        return restore.to_plain(self, sparse=False)


def aggregate(reader: Reader, condition: Predicate) -> ProvenanceAggregation:
    """Return the figures over the runs that satisfy `condition`."""
    store = reader.store
    totals = _total(
        store,
        "runs",
        condition,
        _COUNT,
        Measure("ms", "avg", "duration_ms"),
        Measure("first", "min", "started_ns"),
        Measure("last", "max", "started_ns"),
    )
    total = totals.get("n")
    if not total:
        return ProvenanceAggregation()
    types, categories = _by_attributes(store, "runs", condition)
    insights = And((search.IS_INSIGHT, search.in_runs(condition)))
    levels = [Measure(one.value, "count", where=search.level_range(one)) for one in ConfidenceLevel]
    scores = (Measure("sure", "avg", "confidence"), Measure("good", "avg", "quality"))
    output = _total(store, "outputs", insights, *levels, *scores)
    freshness, analyzed = _means_of_sources(store, condition)
    return ProvenanceAggregation(
        total_records=total,
        records_by_type=_ranked(types),
        records_by_worker=_ranked(_counts(store, "runs", condition, "name")),
        records_by_category=_ranked(categories),
        records_by_confidence=_levels(store, condition, output),
        avg_confidence_score=output.get("sure"),
        avg_quality_score=output.get("good"),
        avg_computation_time_ms=totals["ms"],
        validation_pass_rate=store.count("runs", And((condition, search.PASSED))) / total,
        avg_data_freshness_seconds=freshness,
        avg_records_analyzed=analyzed,
        top_decision_factors=_top_factors(store, condition),
        hourly_counts=_hourly(store, condition, totals["first"], totals["last"]),
    )


def _levels(store: Store, condition: Predicate, stated: Mapping[str, Any]) -> dict[str, int]:
    has_score = search.of_insight(Not(IsNull(FieldRef("confidence"))))
    counts = {level.value: stated.get(level.value) or 0 for level in ConfidenceLevel}
    counts[ConfidenceLevel.of(None)] += store.count("runs", And((condition, Not(has_score))))
    return {level: count for level, count in counts.items() if count}


def _means_of_sources(store: Store, condition: Predicate) -> tuple[float | None, float | None]:
    """Return the means over records of their data's age and of the number of records used."""
    used = And((Compare(FieldRef("kept"), "=", value=True), search.in_runs(condition)))
    measures = (Measure("age", "avg", "freshness_s"), Measure("used", "sum", "records_used"))
    groups = store.aggregate("sources", used, ["run"], measures)
    return _mean(groups, "age"), _mean(groups, "used")


def _mean(groups: Sequence[Mapping[str, Any]], name: str) -> float | None:
    stated = [group[name] for group in groups if group[name] is not None]
    return sum(stated) / len(stated) if stated else None


def _top_factors(store: Store, condition: Predicate) -> list[dict[str, Any]]:
    measures = (_COUNT, Measure("contribution", "avg", "contribution"))
    groups = store.aggregate("factors", search.in_runs(condition), ["name"], measures)
    groups.sort(key=lambda group: (-group["n"], group["name"]))
    return [
        {
            "name": group["name"],
            "count": group["n"],
            "avg_contribution": group["contribution"],
        }
        for group in groups[:TOP_FACTORS]
    ]


def _hourly(
    store: Store, condition: Predicate, first_ns: int, last_ns: int
) -> list[dict[str, Any]]:
    hours = range(first_ns // _HOUR_NS, last_ns // _HOUR_NS + 1)
    counts: list[dict[str, Any]] = []
    for start in range(0, len(hours), _HOURS_AT_ONCE):
        some = hours[start : start + _HOURS_AT_ONCE]
        within = And((condition, _between(some[0], some[-1] + 1)))
        measures = [Measure(str(one), "count", where=_between(one, one + 1)) for one in some]
        found = _total(store, "runs", within, *measures)
        counts += [
            {"hour": f"{records.moment(one * _HOUR_NS):%Y-%m-%d %H:00}", "count": found[str(one)]}
            for one in some
            if found.get(str(one))
        ]
    return counts


def _between(first_hour: int, end_hour: int) -> Predicate:
    started = FieldRef("started_ns")
    first, end = first_hour * _HOUR_NS, end_hour * _HOUR_NS
    return And((Compare(started, ">=", first), Compare(started, "<", end)))


def analyze_factor(reader: Reader, factor_name: str, since_ns: int) -> dict[str, Any]:
    """Return how a factor was weighed since `since_ns` (Unix nanoseconds), in runs of any kind.

    Returns:
        `factor_name`, `occurrences`, `avg_contribution`, `avg_weight` (None where nobody stated
        any), `by_insight_type` and `by_category` (`unknown` for runs that state none), and
        `recent_samples`, the latest twenty.
    """
    store = reader.store
    name = Compare(FieldRef("name"), "=", factor_name)
    since = Compare(FieldRef("started_ns"), ">=", since_ns)
    # A factor is never older than its run, and its own time lets the store pass over what is older.
    condition = And((name, Compare(FieldRef("ts_ns"), ">=", since_ns), Related("runs", since)))
    measures = (
        _COUNT,
        Measure("contribution", "avg", "contribution"),
        Measure("weight", "avg", "weight"),
    )
    totals = _total(store, "factors", condition, *measures)
    types, categories = _by_attributes(store, "factors", condition, "unknown")
    return {
        "factor_name": factor_name,
        "occurrences": totals.get("n") or 0,
        "avg_contribution": totals.get("contribution"),
        "avg_weight": totals.get("weight"),
        "by_insight_type": _ranked(types),
        "by_category": _ranked(categories),
        "recent_samples": _samples(reader, store, condition),
    }


def _samples(reader: Reader, store: Store, condition: Predicate) -> list[dict[str, Any]]:
    found = cast(
        "list[r.FactorRow]", store.select("factors", condition, Order("ts_ns"), RECENT_SAMPLES)
    )
    ids = tuple(dict.fromkeys(row.run for row in found))
    runs = cast(
        "list[r.RunRow]", store.select("runs", In(FieldRef("id"), ids), Order("started_ns"))
    )
    by_id = {run.id: restore.restored(run, reader.blob) for run in runs}
    return [
        _sample(restore.restored(row, reader.blob), by_id[row.run])
        for row in found
        if row.run in by_id
    ]


def _sample(row: r.FactorRow, run: r.RunRow) -> dict[str, Any]:
    return {
        "provenance_id": run.external_id or run.id,
        "insight_type": records.type_of(run),
        "category": records.category_of(run),
        "raw_value": restore.to_json(row.raw_value),
        "normalized": row.normalized_value,
        "weight": row.weight,
        "contribution": row.contribution,
        "computed_at": records.moment(run.started_ns).isoformat(),
    }


def _by_attributes(
    store: Store, table: str, condition: Predicate, unsaid: str | None = None
) -> tuple[Counter[str], Counter[str]]:
    """Return how many rows there are for each insight type and category of their runs.

    The store groups by the attributes as a whole, of which there are few: the runs of this dialect
    have no others. Types and categories that nobody stated count as `unsaid`, or not at all.
    """
    types, categories = Counter[str](), Counter[str]()
    for attributes, count in _attribute_groups(store, table, condition):
        for name, counter in (("insight_type", types), ("category_key", categories)):
            said = as_text(attributes.get(name)) or unsaid
            if said is not None:
                counter[said] += count
    return types, categories


def _attribute_groups(
    store: Store, table: str, condition: Predicate
) -> list[tuple[dict[str, Any], int]]:
    field = "attributes" if table == "runs" else "run.attributes"
    if store.abilities.sql:
        groups = store.aggregate(table, condition, [field], [_COUNT])
        return [(_attributes(group[field]), group["n"]) for group in groups]
    counts = _counts(store, table, condition, "id" if table == "runs" else "run")
    runs = cast("list[r.RunRow]", store.select("runs", And(()), Order("started_ns")))
    return [(_attributes(run.attributes), counts[run.id]) for run in runs if run.id in counts]


def _attributes(given: Any) -> dict[str, Any]:
    """Return attributes as they were meant, from JSON text or what it decodes to."""
    return as_dict(values.restore(msgspec.json.decode(given) if isinstance(given, str) else given))


def _total(store: Store, table: str, condition: Predicate, *measures: Measure) -> dict[str, Any]:
    """Return figures over all rows that satisfy `condition`; nothing where there are none."""
    found = store.aggregate(table, condition, [], measures)
    return found[0] if found else {}


def _counts(store: Store, table: str, condition: Predicate, field: str) -> dict[str, int]:
    return {row[field]: row["n"] for row in store.aggregate(table, condition, [field], [_COUNT])}


def _ranked(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def since_ns(length: float, unit_ns: int, name: str) -> int:
    """Return the time that lies `length` units before now, Unix nanoseconds.

    Args:
        length: How many units.
        unit_ns: Length of a unit, in nanoseconds.
        name: What the caller calls the length, for the error.

    Raises:
        ConfigError: The length is no number above zero, or reaches back before 1970.
    """
    if type(length) in {int, float} and 0 < length < (now_ns := _clock.wall_ns()) / unit_ns:
        return now_ns - round(length * unit_ns)
    raise ConfigError(f"{name} is {length!r}; give a number above zero that ends after 1970")
