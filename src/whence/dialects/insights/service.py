"""The questions of document 1 (intelligence provenance): each endpoint of its API is one method.

Comes in: a query, an id, a stretch of time. Goes out: records and figures, with `to_dict` or as
dicts that JSON holds as they are. Reads the configured home, or one that is named; it writes
nothing and keeps nothing but an open reader.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec

from whence.dialects.insights import figures, records, search
from whence.dialects.insights.records import ProvenanceRecord
from whence.dialects.insights.search import ProvenanceQuery
from whence.dialects.shared import home
from whence.query import restore
from whence.record import values
from whence.store.predicate import And, Compare, FieldRef

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from whence.query.reader import Reader
    from whence.store import rows as r

DEFAULT_HOURS = 24
DEFAULT_DAYS = 7
_HOUR_NS = 3_600_000_000_000
_TABLES = ("runs", "spans", "sources", "factors", "outputs")


class ProvenancePage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of provenance records."""

    records: list[ProvenanceRecord]
    """The records, in order."""
    total: int
    """How many records satisfy the query."""
    page: int
    """Which page it is, from 1."""
    page_size: int
    """Most records of a page."""
    total_pages: int
    """How many pages there are."""

    def to_dict(self) -> dict[str, Any]:
        """Return the page as JSON-ready data."""
        about = restore.to_plain(msgspec.structs.replace(self, records=[]), sparse=False)
        return {**about, "records": [record.to_dict() for record in self.records]}


class ProvenanceService:
    """Answers questions about provenance records; any thread may ask.

    Args:
        reader: An open reader to ask, from one thread at a time; the configured home if None.
    """

    def __init__(self, reader: Reader | None = None) -> None:
        self._reader = reader

    @contextlib.contextmanager
    def _reading(self) -> Generator[Reader]:
        if self._reader is not None:
            yield self._reader
            return
        with home.reading() as reader:
            yield reader

    def query(self, query: ProvenanceQuery | None = None) -> tuple[list[ProvenanceRecord], int]:
        """Return one page of records, and how many satisfy the query on all pages.

        Raises:
            ConfigError: The query has a value that cannot be used.
            StoreError: The home cannot be read.
        """
        found = self.page(query)
        return found.records, found.total

    def page(self, query: ProvenanceQuery | None = None) -> ProvenancePage:
        """Return one page of records with its place among all pages.

        Raises:
            ConfigError: The query has a value that cannot be used.
            StoreError: The home cannot be read.
        """
        asked = query or ProvenanceQuery()
        search.check(asked)
        with self._reading() as reader:
            store = reader.store
            total = store.count("runs", search.where(asked))
            runs = search.page_of_runs(store, asked) if total else []
            found = [load(reader, run_id) for run_id in runs]
        return ProvenancePage(
            records=[record for record in found if record is not None],
            total=total,
            page=asked.page,
            page_size=asked.page_size,
            total_pages=-(-total // asked.page_size),
        )

    def get(self, any_id: str) -> ProvenanceRecord | None:
        """Return the record of an id, or None.

        Args:
            any_id: A provenance id, a run id, the id of an insight, or the id of anything in the
                run; the run may be of any kind.

        Raises:
            StoreError: The home cannot be read.
        """
        with self._reading() as reader:
            run_id = reader.store.find_run(any_id)
            return None if run_id is None else load(reader, run_id, any_id)

    def reasoning(self, any_id: str) -> dict[str, Any] | None:
        """Return the reasoning behind an insight as JSON-ready data, or None for an unknown id.

        Returns:
            `provenance_id`, `insight_type`, `insight_summary`, `computed_at`; `confidence` with
            `score` and `level`; `data_lineage` with `sources`, `total_records` and
            `avg_freshness_seconds`; `decision_factors` with `primary`, `all_factors` and
            `factor_breakdown`, the contribution in percent and the reasoning of each factor;
            `reasoning_chain`; `validation` with `passed` and `errors`.

        Raises:
            StoreError: The home cannot be read.
        """
        record = self.get(any_id)
        return None if record is None else reasoning_of(record)

    def aggregate(
        self, hours: float | None = None, query: ProvenanceQuery | None = None
    ) -> figures.ProvenanceAggregation:
        """Return the figures over the records of the last hours.

        Args:
            hours: How many hours to look back; where it is None the query's own times hold, and 24
                hours if it has none.
            query: Which records to count; its order and page do not matter.

        Raises:
            ConfigError: `hours` or the query has a value that cannot be used.
            StoreError: The home cannot be read.
        """
        asked = query or ProvenanceQuery()
        search.check(asked)
        condition = search.where(asked)
        if hours is not None or (asked.start_time is None and asked.end_time is None):
            length = DEFAULT_HOURS if hours is None else hours
            since_ns = figures.since_ns(length, _HOUR_NS, "hours")
            condition = And((Compare(FieldRef("started_ns"), ">=", since_ns), condition))
        with self._reading() as reader:
            return figures.aggregate(reader, condition)

    def factor(self, factor_name: str, days: float = DEFAULT_DAYS) -> dict[str, Any]:
        """Return how a factor was weighed in the last days; see `figures.analyze_factor`.

        Raises:
            ConfigError: `days` is no number above zero.
            StoreError: The home cannot be read.
        """
        since_ns = figures.since_ns(days, 24 * _HOUR_NS, "days")
        with self._reading() as reader:
            return figures.analyze_factor(reader, factor_name, since_ns)


_default = ProvenanceService()


def get_provenance_service() -> ProvenanceService:
    """Return the service of the home that this process records into, the same one every time."""
    return _default


def load(reader: Reader, run_id: str, output_id: str | None = None) -> ProvenanceRecord | None:
    """Return the record that a run is, or None if the run is not there any more.

    Args:
        reader: An open reader.
        run_id: The run.
        output_id: Which of its outputs is the insight; see `records.from_rows`.

    Raises:
        StoreError: The home cannot be read.
    """
    rows = reader.store.run_rows(run_id)
    if not rows.get("runs"):
        return None
    restored: Mapping[str, Sequence[r.Row]] = {
        table: [_restored(reader, row) for row in rows.get(table, ())] for table in _TABLES
    }
    return records.from_rows(restored, output_id)


def _restored(reader: Reader, row: r.Row) -> r.Row:
    """Return a row as it was meant, an insight's value whole even where it is in a blob.

    Bytes stay where they are: a page of images would be a page of megabytes. Their marker names
    the blob.
    """

    def blob(marker: Mapping[str, Any]) -> Any:
        is_binary = marker.get("encoding") == "bytes"
        return dict(marker) if is_binary else restore.blob_value(marker, reader.blob)

    made = restore.restored(row, reader.blob)
    value = getattr(row, "value", None)
    if isinstance(value, (dict, list)) and restore.has_marker(value):
        return msgspec.structs.replace(made, value=values.restore(value, blob))
    return made


def reasoning_of(record: ProvenanceRecord) -> dict[str, Any]:
    """Return the reasoning behind a record; see `ProvenanceService.reasoning`."""
    plain = record.to_dict()
    factors = plain["decision_factors"]
    steps = [
        {"step": step["step_number"], **{k: v for k, v in step.items() if k != "step_number"}}
        for step in plain["reasoning_chain"]
    ]
    return {
        **{
            name: plain[name]
            for name in ("provenance_id", "insight_type", "insight_summary", "computed_at")
        },
        "confidence": {"score": plain["confidence_score"], "level": plain["confidence_level"]},
        "data_lineage": {
            "sources": plain["data_sources"],
            "total_records": plain["total_records_analyzed"],
            "avg_freshness_seconds": plain["data_freshness_avg_seconds"],
        },
        "decision_factors": {
            "primary": plain["primary_factor"],
            "all_factors": factors,
            "factor_breakdown": {
                factor["factor_name"]: {
                    "contribution_pct": _percent(factor["contribution"]),
                    "reasoning": factor["reasoning"],
                }
                for factor in factors
            },
        },
        "reasoning_chain": steps,
        "validation": {
            "passed": plain["validation_passed"],
            "errors": plain["validation_errors"],
        },
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else round(share * 100, 1)
