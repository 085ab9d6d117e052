"""Traces as the home itself has them: rows that follow from the log, for any run of anybody.

Comes in: questions. Goes out: rows of the view `traces` over the store of the configured home, in
which a run stands the moment it is recorded, whoever recorded it. A list looks for its runs first
and at what these recorded then, so that a home of a million records answers in a tenth of a second.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence import _extras
from whence.dialects.research.history import LISTED, ROUND_FIGURES, Row
from whence.dialects.shared.home import reading
from whence.errors import NotFoundError, StoreError
from whence.exports.research_shape import iso
from whence.query import find
from whence.store.traceviews import GAP, LAST_SCORES, TRACE_COLUMNS, traces

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from whence.query.reader import Reader
    from whence.store.duckdb import DuckDBStore

_NEWEST = "ORDER BY started_ns DESC, id DESC LIMIT ?"
_NAME = "coalesce(attributes->>'$.project_name', project)"
_OVERALL = LAST_SCORES.replace("{of}", " WHERE name = 'overall'")


class EmbeddedHistory:
    """See `whence.dialects.research.history.History`."""

    def complete_with(self, column: str, value: str, limit: int) -> list[Row]:
        """Return complete traces with an intent or domain."""
        where = f"attributes->>'$.{_known(column)}' = ? AND status = 'complete'"
        return self._list(f"SELECT * FROM runs WHERE {where}", [value], limit)

    def of_project(self, project_name: str, limit: int) -> list[Row]:
        """Return all traces of a project."""
        return self._list(f"SELECT * FROM runs WHERE {_NAME} = ?", [project_name], limit)

    def low_scoring(self, principle: str, threshold: float, limit: int) -> list[Row]:
        """Return complete traces in which a principle scored low."""
        verdicts = LAST_SCORES.replace("{of}", " WHERE name = ?")
        return self._list(
            f"SELECT r.* FROM runs r JOIN ({verdicts}) s ON s.run = r.id "
            "WHERE r.status = 'complete' AND s.last.value < ?",
            [principle, float(threshold)],
            limit,
        )

    def gate_failures(self, limit: int) -> list[Row]:
        """Return complete traces that failed the gate."""
        return self._list(
            f"SELECT r.* FROM runs r JOIN ({_OVERALL}) s ON s.run = r.id "
            "WHERE r.status = 'complete' AND NOT s.last.passed",
            [],
            limit,
        )

    def flagged(self, limit: int) -> list[Row]:
        """Return traces that are flagged for review."""
        return self._list("SELECT * FROM runs WHERE flagged", [], limit)

    def find(self, trace_id: str) -> Row | None:
        """Return one trace by any id that stands for its run."""
        with reading() as reader:
            try:
                run_id = find.find_run(reader.store, trace_id)
            except NotFoundError:
                return None
            rows = _traces(reader, "SELECT * FROM runs WHERE id = ?", [run_id], TRACE_COLUMNS)
        if not rows:
            return None
        scores = rows[0]["principle_scores"]
        return rows[0] | {"principle_scores": msgspec.json.decode(scores or "{}")}

    def patterns(self, min_runs: int) -> list[Row]:
        """Return which principles fail most."""
        of = " WHERE name <> 'overall' AND run IN (SELECT id FROM runs WHERE status = 'complete')"
        text = (
            f"SELECT name, count(*) FILTER (WHERE {GAP}) AS failed, avg(last.value), count(*) "
            f"FROM ({LAST_SCORES.replace('{of}', of)}) GROUP BY name "
            "HAVING failed >= ? AND failed > 0 ORDER BY failed DESC, name"
        )
        names = ("principle_id", "fail_count", "avg_score", "total_runs")
        with reading() as reader:
            return _rows(reader, text, [min_runs], names)

    def summary(self) -> Row:
        """Return counts and averages over all traces."""
        complete = "FILTER (WHERE status = 'complete')"
        text = f"""
            SELECT count(*), count(*) {complete},
                count(*) FILTER (WHERE status = 'failed'),
                count(*) FILTER (WHERE status = 'incomplete'),
                count(*) FILTER (WHERE quality_gate_passed),
                count(*) FILTER (WHERE NOT quality_gate_passed),
                avg(overall_quality_score) {complete}, avg(duration_seconds) {complete},
                avg(synthesis_cost_usd) {complete}
            FROM ({traces()})"""
        with reading() as reader:
            rows = _rows(reader, text, [], ROUND_FIGURES)
        none = {name: None if name.startswith("avg") else 0 for name in ROUND_FIGURES}
        return rows[0] if rows else none

    def recent_failures(self, principles: Sequence[str], since_ns: int) -> Mapping[str, int]:
        """Return how often principles failed since a time."""
        of = (
            " WHERE name IN (SELECT unnest(?)) AND run IN "
            "(SELECT id FROM runs WHERE status = 'complete' AND started_ns >= ?)"
        )
        verdicts = LAST_SCORES.replace("{of}", of)
        text = f"SELECT name, count(*) FROM ({verdicts}) WHERE {GAP} GROUP BY name"
        with reading() as reader:
            found = _rows(reader, text, [list(principles), since_ns], ("name", "count"))
        return {row["name"]: row["count"] for row in found}

    def average(self, column: str | None = None, value: str | None = None) -> float | None:
        """Return a mean overall score."""
        where, parameters = "", list[Any]()
        if column is not None:
            where, parameters = f" AND r.attributes->>'$.{_known(column)}' = ?", [value]
        text = (
            f"SELECT avg(s.last.value) FROM ({_OVERALL}) s JOIN runs r ON r.id = s.run "
            f"WHERE r.status = 'complete'{where}"
        )
        with reading() as reader:
            found = _rows(reader, text, parameters, ("mean",))
        return cast("float | None", found[0]["mean"]) if found else None

    def previous(self, project_name: str, trace_id: str, before: str) -> Row | None:
        """Return the complete trace of a project before this one."""
        found = self._list(
            f"SELECT * FROM runs WHERE {_NAME} = ? AND status = 'complete' "
            "AND external_id IS DISTINCT FROM ? "
            "AND started_ns < epoch_ns(CAST(? AS TIMESTAMPTZ))",
            [project_name, trace_id, before],
            1,
        )
        return found[0] if found else None

    def flag(self, trace_id: str, reason: str) -> None:
        """Flag a trace by a remark in the log."""
        with reading() as reader:
            reader.annotate(trace_id, flag=reason, by="calibration")

    def note(self, trace_id: str, text: str) -> None:
        """Do nothing: the remark that the calibration makes has its notes."""

    def save(self, row: Row) -> None:
        """Do nothing: the row follows from the log."""

    @staticmethod
    def _list(chosen: str, parameters: Sequence[Any], limit: int) -> list[Row]:
        with reading() as reader:
            return _traces(reader, f"{chosen} {_NEWEST}", [*parameters, max(0, limit)], LISTED)


def _traces(
    reader: Reader, chosen: str, parameters: Sequence[Any], columns: Sequence[str]
) -> list[Row]:
    text = (
        f"WITH chosen AS MATERIALIZED ({chosen}) SELECT {', '.join(columns)} "
        f"FROM ({traces(chosen=True)}) ORDER BY started_at DESC, id DESC"
    )
    return _rows(reader, text, parameters, columns)


def _rows(reader: Reader, text: str, parameters: Sequence[Any], names: Sequence[str]) -> list[Row]:
    """Return what a statement gives by column; nothing where the home does not exist yet.

    Raises:
        StoreError: The store takes no SQL.
    """
    store = reader.store
    if not store.abilities.sql:
        if reader.home is not None and not reader.home.root.exists():
            return []
        _extras.require("duckdb", "cli", "asking about traces")
        raise StoreError("this store takes no SQL; open the home with DuckDB")
    found = cast("DuckDBStore", store).ask(text, parameters)
    return [dict(zip(names, map(_plain, values), strict=True)) for values in found]


def _plain(value: Any) -> Any:
    if isinstance(value, dt.datetime):  # DuckDB's timestamps are in UTC and do not say so
        moment = value.replace(tzinfo=dt.UTC) - dt.datetime.fromtimestamp(0, dt.UTC)
        return iso(moment // dt.timedelta(microseconds=1) * 1_000)
    return value


def _known(column: str) -> str:
    if column not in {"intent", "domain"}:
        raise StoreError(f"traces are not listed by {column!r}; use intent or domain")
    return column
