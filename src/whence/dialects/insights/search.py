"""Which provenance records are asked for, and where they stand: queries in, ids of runs out.

Comes in: a `ProvenanceQuery`. Goes out: a predicate over runs, how many runs satisfy it, and one
page of their ids in order. The store filters, sorts and sums; no record is made here. A record is a
run of kind `insight` that has ended, or whose process is gone.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from whence import _clock
from whence.dialects.insights.words import BROKEN_OFF, FLOORS, RUN_KIND, ConfidenceLevel, word
from whence.errors import ConfigError
from whence.store.base import Key, Measure, Order, Store, key_of
from whence.store.predicate import And, Compare, FieldRef, In, IsNull, Not, Or, Predicate, Related

SORTS = (
    "computed_at",
    "confidence_score",
    "quality_score",
    "computation_duration_ms",
    "total_records_analyzed",
)
"""What records may be sorted by."""
_OF_RUN = {"computed_at": "started_ns", "computation_duration_ms": "duration_ms"}
_OF_OUTPUT = {"confidence_score": "confidence", "quality_score": "quality"}
_LISTS = ("worker_names", "insight_types", "category_keys", "confidence_levels", "tags")
_NUMBERS = ("min_confidence", "min_quality")
_WHOLE = ("page", "page_size")
_TRUTHS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Words = Sequence[str] | str | None
Moment = dt.datetime | str | None

IS_INSIGHT = Compare(FieldRef("kind"), "=", RUN_KIND)
"""What holds of the output that is the insight, and of a run that is a record."""


class ProvenanceQuery(msgspec.Struct, kw_only=True):
    """Which provenance records, in which order, and which page of them.

    Raises:
        ConfigError: A value cannot be used.
    """

    worker_names: Words = None
    """Any of these workers; all if None."""
    insight_types: Words = None
    """Any of these types."""
    category_keys: Words = None
    """Any of these categories."""
    confidence_levels: Words = None
    """Any of these levels."""
    tags: Words = None
    """Records with any of these tags."""
    start_time: Moment = None
    """Computed then or later; a time without an offset is UTC."""
    end_time: Moment = None
    """Computed then or earlier."""
    min_confidence: float | None = None
    """The least confidence score; records without one are left out."""
    min_quality: float | None = None
    """The least quality score; records without one are left out."""
    validation_passed_only: bool = False
    """Leave out what was found wrong or was not computed to the end."""
    sort_by: str = "computed_at"
    """One of `SORTS`. Records without a value come last."""
    sort_desc: bool = True
    """Largest first."""
    page: int = 1
    """Which page, from 1."""
    page_size: int = 50
    """Most records of a page."""
    search: str | None = None
    """Text in the summary or the category, in any case."""
    statuses: Words = None
    """Any of the statuses `complete`, `failed`, `cancelled`, `incomplete`."""

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> ProvenanceQuery:
        """Return the query that the parameters of a URL stand for; lists are comma-separated.

        Args:
            params: The names of the fields to their texts; empty texts and other names are passed
                over.

        Raises:
            ConfigError: A value cannot be used.
        """
        fields: dict[str, Any] = {}
        for name in cls.__struct_fields__:
            text = params.get(name, "").strip()
            if text:
                fields[name] = _parse(name, text)
        return cls(**fields)


def _parse(name: str, text: str) -> Any:
    if name in _LISTS or name == "statuses":
        return [part for part in map(str.strip, text.split(",")) if part]
    try:
        if name in _NUMBERS:
            return float(text)
        if name in _WHOLE:
            return int(text)
        if name in {"validation_passed_only", "sort_desc"}:
            return _TRUTHS[text.lower()]
    except (ValueError, KeyError):
        message = (
            f"{name} is {text!r}; give a number"
            if name in _NUMBERS + _WHOLE
            else (f"{name} is {text!r}; give true or false")
        )
        raise ConfigError(message) from None
    return text


def check(query: ProvenanceQuery) -> None:
    """Accept a query whose values can be used.

    Raises:
        ConfigError: One cannot.
    """
    if query.sort_by not in SORTS:
        message = f"sort_by is {query.sort_by!r}; it has to be one of {', '.join(SORTS)}"
        raise ConfigError(message)
    for name in _WHOLE:
        number = getattr(query, name)
        if type(number) is not int or number < 1:
            raise ConfigError(f"{name} is {number!r}; give a whole number from 1")
    known = {level.value for level in ConfidenceLevel}
    for level in _words(query.confidence_levels):
        if level not in known:
            message = f"{level!r} is no confidence level; there are {', '.join(sorted(known))}"
            raise ConfigError(message)
    for moment in (query.start_time, query.end_time):
        if moment is not None:
            unix_ns(moment)


def where(query: ProvenanceQuery) -> Predicate:
    """Return what a run must satisfy to be a record that the query asks for."""
    terms: list[Predicate] = [IS_INSIGHT, Not(Compare(FieldRef("status"), "=", "running"))]
    for words, field in (
        (query.worker_names, FieldRef("name")),
        (query.insight_types, FieldRef("attributes", ("insight_type",))),
        (query.category_keys, FieldRef("attributes", ("category_key",))),
        (query.tags, FieldRef("tags")),
        (query.statuses, FieldRef("status")),
    ):
        if words is not None:
            terms.append(In(field, tuple(_words(words))))
    if query.confidence_levels is not None:
        terms.append(_in_levels({ConfidenceLevel(one) for one in _words(query.confidence_levels)}))
    if query.start_time is not None:
        terms.append(Compare(FieldRef("started_ns"), ">=", unix_ns(query.start_time)))
    if query.end_time is not None:
        # Times are shown in microseconds, so the last one asked for is all of it.
        terms.append(Compare(FieldRef("started_ns"), "<", unix_ns(query.end_time) + 1_000))
    for least, field in ((query.min_confidence, "confidence"), (query.min_quality, "quality")):
        if least is not None:
            terms.append(of_insight(Compare(FieldRef(field), ">=", float(least))))
    if query.validation_passed_only:
        terms.append(PASSED)
    if query.search:
        terms.append(_mentions(query.search))
    return And(tuple(terms))


def of_insight(condition: Predicate) -> Predicate:
    """Return that the insight of the run at hand satisfies `condition`."""
    return Related("outputs", And((IS_INSIGHT, condition)))


def in_runs(condition: Predicate) -> Predicate:
    """Return that the run of the row at hand satisfies `condition`."""
    return Related("runs", condition)


PASSED: Predicate = And(
    (
        Not(In(FieldRef("status"), BROKEN_OFF)),
        Not(of_insight(Compare(FieldRef("validation", ("passed",)), "=", value=False))),
    )
)
"""What holds of a run whose insight was computed to the end and not found wrong."""


def level_range(level: ConfidenceLevel) -> Predicate:
    """Return what holds of an output whose confidence is in a level."""
    levels = list(ConfidenceLevel)
    place = levels.index(level)
    terms: list[Predicate] = [Not(IsNull(FieldRef("confidence")))]
    if level in FLOORS:
        terms.append(Compare(FieldRef("confidence"), ">=", FLOORS[level]))
    if place:
        terms.append(Compare(FieldRef("confidence"), "<", FLOORS[levels[place - 1]]))
    return And(tuple(terms))


def _in_levels(levels: set[ConfidenceLevel]) -> Predicate:
    def has_any(some: set[ConfidenceLevel]) -> Predicate:
        return of_insight(Or(tuple(map(level_range, sorted(some)))))

    # Where nobody stated a score the level is medium: then none of the others is what is asked.
    # One condition on the insights is five times as fast as several joined by `or`.
    if ConfidenceLevel.of(None) in levels:
        return Not(has_any(set(ConfidenceLevel) - levels))
    return has_any(levels)


def _mentions(text: str) -> Predicate:
    # Stores ignore the case of A-Z only; of other letters the usual spellings are asked for.
    spellings = [text] if text.isascii() else [text, text.lower(), text.upper(), text.title()]
    return Or(
        tuple(
            term
            for one in dict.fromkeys(spellings)
            for term in (
                of_insight(Compare(FieldRef("summary"), "contains", one)),
                Compare(FieldRef("attributes", ("category_key",)), "contains", one),
            )
        )
    )


def _words(given: Words) -> list[str]:
    return [word(one) for one in ([given] if isinstance(given, str) else given or ())]


def unix_ns(moment: dt.datetime | str) -> int:
    """Return a time as Unix nanoseconds; one without an offset is UTC.

    Raises:
        ConfigError: The text is no time.
    """
    if isinstance(moment, dt.datetime):
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)
        return (aware - _EPOCH) // dt.timedelta(microseconds=1) * 1_000
    try:
        return _clock.parse_ns(moment)
    except ValueError as error:
        message = f"{moment!r} is no time ({error}); write one as in 2026-11-01T10:00:00Z"
        raise ConfigError(message) from error


def page_of_runs(store: Store, query: ProvenanceQuery) -> list[str]:
    """Return the ids of the runs on the page that is asked for, in order."""
    condition, skipped = where(query), (query.page - 1) * query.page_size
    wanted = skipped + query.page_size
    if query.sort_by in _OF_RUN:
        order = Order(_OF_RUN[query.sort_by], query.sort_desc)
        return [row.id for row in store.select("runs", condition, order, wanted)[skipped:]]
    if query.sort_by in _OF_OUTPUT:
        field = _OF_OUTPUT[query.sort_by]
        has_value = of_insight(Not(IsNull(FieldRef(field))))
        ranked = _by_output(store, condition, Order(field, query.sort_desc), wanted)
    else:
        used = And((Compare(FieldRef("kept"), "=", value=True), _USED))
        has_value = Related("sources", used)
        ranked = _by_records_used(store, And((used, in_runs(condition))), query.sort_desc)
    ids = [run_id for _, run_id in zip(range(wanted), ranked, strict=False)]
    if len(ids) < wanted:
        order = Order("started_ns", query.sort_desc)
        rest = And((condition, Not(has_value)))
        ids += [row.id for row in store.select("runs", rest, order, wanted - len(ids))]
    return ids[skipped:]


_USED = Not(IsNull(FieldRef("records_used")))


def _by_output(store: Store, condition: Predicate, order: Order, wanted: int) -> Iterator[str]:
    """Yield the runs that satisfy `condition` in the order of a number of their insights.

    A run with several insights, which only a program that writes no more than core records can
    make, stands where the first of them does.
    """
    stated = And((IS_INSIGHT, Not(IsNull(FieldRef(order.field))), in_runs(condition)))
    seen: set[str] = set()
    after: Key | None = None
    while True:
        found = store.select("outputs", stated, order, wanted, after)
        for row in found:
            if row.run not in seen:
                seen.add(row.run)
                yield row.run
        if len(found) < wanted:
            return
        after = key_of(found[-1], order)


def _by_records_used(store: Store, condition: Predicate, descending: bool) -> Iterator[str]:  # noqa: FBT001
    """Yield runs in the order of how many records their sources were taken from."""
    sums = store.aggregate("sources", condition, ["run"], [Measure("n", "sum", "records_used")])
    ranked = sorted(((row["n"], row["run"]) for row in sums), reverse=descending)
    return (run_id for _, run_id in ranked)
