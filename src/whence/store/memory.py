"""The reference store: every row in plain Python, answered by looking at all of them.

It defines what the right answer is; every other store is tested against it. It reads the log itself
and needs no package, so it also serves small homes where DuckDB is not installed.
"""

from __future__ import annotations

import math
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any

from whence.log import segment
from whence.store import match
from whence.store.base import Abilities, Key, Measure, Order, key_of
from whence.store.load import Tail, start_finder
from whence.store.pointrows import POINT_TABLES
from whence.store.predicate import ALWAYS, Predicate
from whence.store.project import Projection
from whence.store.rows import TABLES, TIME_FIELD, Row, RunRow
from whence.store.staterows import run_row, span_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from whence.log.home import Home
    from whence.log.reader import Problem


class MemoryStore:
    """All rows of a home, or of records handed in, in memory."""

    abilities = Abilities(annotate=True, blobs=True)

    def __init__(self, home: Home | None = None) -> None:
        self.home = home
        self._projection = Projection(start_finder(home) if home else None)
        self._tails: dict[str, Tail] = {}
        self._problems: list[Problem] = []
        self._rows: dict[str, list[Row]] = {table: [] for table in TABLES}
        self._by_run: dict[str, dict[str, list[Row]]] = {}
        self._live: frozenset[str] = frozenset()
        self.refresh()

    @property
    def projection(self) -> Projection:
        """What the rows are made of; records added to it show after `refresh`."""
        return self._projection

    def refresh(self) -> None:
        """Read what every segment has gained."""
        if self.home is not None:
            for name in segment.iter_all(self.home):
                tail = self._tails.setdefault(str(name), Tail(self.home, name))
                tail.read_into(self._projection, self._problems)
            self._live = frozenset(t.name.writer for t in self._tails.values() if t.check_live())
        projection, live = self._projection, self._live
        rows: dict[str, list[Row]] = {
            table: list(projection.points[table]) for table in POINT_TABLES
        }
        rows["runs"] = [run_row(s, live=s.writer in live) for s in projection.runs.values() if s.id]
        rows["spans"] = [
            span_row(s, live=s.writer in live) for s in projection.spans.values() if s.is_row
        ]
        self._rows = {table: rows[table] for table in TABLES}
        self._by_run = {}
        for table, items in self._rows.items():
            for row in items:
                self._by_run.setdefault(row.run, {}).setdefault(table, []).append(row)

    def run_of(self, row: Row) -> RunRow | None:
        """Return the run of a row."""
        runs = self._by_run.get(row.run, {}).get("runs")
        return runs[0] if runs and isinstance(runs[0], RunRow) else None

    def rows_in_run(self, table: str, run_id: str) -> Sequence[Row]:
        """Return the rows of a table in one run, in order of arrival."""
        return self._by_run.get(run_id, {}).get(table, ())

    def select(
        self,
        table: str,
        where: Predicate,
        order: Order,
        limit: int | None = None,
        after: Key | None = None,
    ) -> list[Row]:
        """Return matching rows in order. See `Store.select`."""
        chosen = self._matching(table, where)
        compare = _comparison(order)
        chosen.sort(key=cmp_to_key(lambda a, b: compare(key_of(a, order), key_of(b, order))))
        if after is not None:
            chosen = [row for row in chosen if compare(key_of(row, order), after) > 0]
        return chosen[:limit]

    def _matching(self, table: str, where: Predicate) -> list[Row]:
        if where == ALWAYS:
            return list(self._rows[table])
        holds = match.compile_predicate(where, table, self)
        return [row for row in self._rows[table] if holds(row)]

    def count(self, table: str, where: Predicate) -> int:
        """Return how many rows match."""
        return len(self._matching(table, where))

    def aggregate(
        self, table: str, where: Predicate, by: Sequence[str], measures: Sequence[Measure]
    ) -> list[dict[str, Any]]:
        """Return the measures for each group. See `Store.aggregate`."""
        groups: dict[tuple[Any, ...], list[Row]] = {}
        for row in self._matching(table, where):
            groups.setdefault(tuple(self._group_value(row, name) for name in by), []).append(row)
        return [
            dict(zip(by, key, strict=True))
            | {m.name: self._measure(m, table, rows) for m in measures}
            for key, rows in groups.items()
        ]

    def _group_value(self, row: Row, name: str) -> Any:
        if name.startswith("run."):
            return getattr(self.run_of(row), name[4:], None)
        return getattr(row, name)

    def _measure(self, measure: Measure, table: str, rows: list[Row]) -> Any:
        if measure.where is not None:
            holds = match.compile_predicate(measure.where, table, self)
            hits = sum(map(holds, rows))
            return hits if measure.function == "count" else hits / len(rows)
        if measure.function == "count":
            return len(rows)
        values = sorted(
            value
            for row in rows
            if (value := getattr(row, measure.field or "")) is not None and value == value  # noqa: PLR0124
        )
        return _figure(measure.function, values)

    def find_run(self, any_id: str) -> str | None:
        """Return the run that an id names; the latest if several match the same kind of id."""
        if any_id in self._by_run and any_id:
            return any_id
        for table, name in (("runs", "external_id"), ("outputs", "output_id")):
            found = [row for row in self._rows[table] if getattr(row, name) == any_id]
            if found:
                return max(found, key=lambda row: (getattr(row, TIME_FIELD[table]), row.run)).run
        for table in TABLES:
            found = [row.run for row in self._rows[table] if row.id == any_id]
            if found:
                return max(found)
        return None

    def run_rows(self, run_id: str) -> Mapping[str, Sequence[Row]]:
        """Return all rows of a run by table, in order of time."""
        tables = self._by_run.get(run_id, {})
        return {
            table: sorted(
                tables.get(table, ()),
                key=lambda row, t=table: (getattr(row, TIME_FIELD[t]), row.id),
            )
            for table in TABLES
        }

    def edges(self, ids: Sequence[str], *, forward: bool) -> list[Row]:
        """Return the links that start or end at any of `ids`."""
        wanted, name = set(ids), "source" if forward else "target"
        return [row for row in self._rows["links"] if getattr(row, name) in wanted]

    def problems(self) -> list[Problem]:
        """Return what could not be read."""
        return list(self._problems)

    def close(self) -> None:
        """Forget everything."""
        self._rows = {table: [] for table in TABLES}
        self._by_run = {}


def _comparison(order: Order) -> Any:
    sign = -1 if order.descending else 1

    def compare(a: Key, b: Key) -> int:
        if (a.value is None) != (b.value is None):
            return 1 if a.value is None else -1
        if a.value is not None and a.value != b.value:
            return sign if a.value > b.value else -sign  # type: ignore[operator] - one field, one type
        left, right = (a.run, a.id), (b.run, b.id)
        return 0 if left == right else sign if left > right else -sign

    return compare


def _figure(function: str, values: list[float]) -> float | int | None:
    if not values:
        return None
    if function == "sum":
        return math.fsum(values) if any(isinstance(v, float) for v in values) else sum(values)
    if function == "avg":
        return math.fsum(values) / len(values)
    if function == "min":
        return values[0]
    if function == "max":
        return values[-1]
    return quantile(values, int(function[1:]) / 100)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the quantile of sorted values by linear interpolation (Hyndman and Fan, 1996, type 7.

    SQL's PERCENTILE_CONT).
    """
    place = (len(ordered) - 1) * share
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
