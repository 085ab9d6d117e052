"""Figures of a table by group: how many, how many failed, tokens, cost, lengths, scores.

Comes in: a table, the fields to group by, a window of time, a filter. Goes out: `Stats`, a table of
one row a group, the largest first. Which figures a table has follows from its fields. The store
does the arithmetic; here it is decided what is asked.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.errors import FilterError
from whence.query import restore, tables, tabular, text
from whence.query.literals import UNIT_NS
from whence.store.base import Measure, Store
from whence.store.fields import Field, fields_of
from whence.store.predicate import And, Compare, FieldRef, In, IsNull, Predicate
from whence.store.rows import TIME_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WINDOW = re.compile(r"([0-9]{1,9})([smhdw])")
_FAILED: dict[str, Predicate] = {
    "runs": Compare(FieldRef("status"), "=", "failed"),
    "spans": Compare(FieldRef("status"), "=", "error"),
    "generations": Compare(FieldRef("status"), "=", "error"),
    "tool_calls": Compare(FieldRef("status"), "=", "error"),
    "events": In(FieldRef("level"), ("error", "critical", "fatal")),
}
"""Which rows of a table count as errors."""
_PASSED = Compare(FieldRef("passed"), "=", value=True)
_UNPRICED = IsNull(FieldRef("cost_usd"))
_KEPT = Compare(FieldRef("kept"), "=", value=True)
_SUMS = (
    "input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "unpriced_calls",
    "retry_count",
    "records_used",
    "lost",
)
_AVERAGES = ("confidence", "quality", "contribution")
_OWN: dict[str, tuple[Measure, ...]] = {
    "scores": (
        Measure("avg_value", "avg", "value"),
        Measure("min_value", "min", "value"),
        Measure("max_value", "max", "value"),
        Measure("pass_share", "share", where=_PASSED),
    ),
    "sources": (Measure("kept_share", "share", where=_KEPT),),
}
_SHOWN_ROWS = 50


class Stats(msgspec.Struct, frozen=True):
    """Figures by group; iterate over it for a dict a group."""

    table: str
    """The table they are taken of."""
    by: list[str]
    """The fields grouped by."""
    window: str | None
    """How far back they look; None for all time."""
    since_ns: int | None
    """The beginning of the window, Unix nanoseconds."""
    columns: dict[str, str]
    """Name and type of each column, groups first."""
    rows: list[dict[str, Any]]
    """One mapping a group, the largest group first."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one JSON-ready dict a group."""
        return [restore.to_json(row) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Return the figures with what they are of as JSON-ready data."""
        about = {
            "table": self.table,
            "by": self.by,
            "window": self.window,
            "since_ns": self.since_ns,
        }
        return {**about, "rows": self.to_dicts()}

    def to_arrow(self) -> Any:
        """Return a pyarrow table.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        return tabular.to_arrow(self.columns, self._cells())

    def to_pandas(self) -> Any:
        """Return a pandas data frame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return tabular.to_pandas(self.columns, self._cells())

    def to_polars(self) -> Any:
        """Return a polars data frame.

        Raises:
            MissingExtraError: polars is not installed.
        """
        return tabular.to_polars(self.columns, self._cells())

    def to_text(self) -> str:
        """Return the figures as a table for a terminal."""
        head, body = self.shown()
        right = frozenset(range(len(self.by), len(head)))
        return "\n".join([*text.table(head, body, right), self.note()])

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        head, body = self.shown()
        return tabular.to_html(head, body, self.note())

    def _cells(self) -> list[list[Any]]:
        return [[row[name] for name in self.columns] for row in self.rows]

    def shown(self) -> tuple[list[str], list[list[str]]]:
        """Return the head and the cells of the table that people see: first what groups go by.

        A figure that no group has says nothing and is not in it.
        """
        said = {
            name
            for name in self.columns
            if name in self.by or any(row[name] is not None for row in self.rows)
        }
        if not any(row.get("unpriced_calls") for row in self.rows):
            said.discard("unpriced_calls")
        names = [name for name in self.columns if name in said]
        body = [[_cell(name, row[name]) for name in names] for row in self.rows[:_SHOWN_ROWS]]
        return [name.removesuffix("_ms").removesuffix("_usd") for name in names], body

    def note(self) -> str:
        """Return how many groups there are, of what, and since when."""
        when = "of all time" if self.window is None else f"of the last {self.window}"
        return f"({len(self):,} {'group' if len(self) == 1 else 'groups'} of {self.table} {when})"


def compute(
    store: Store, table: str, by: str | Sequence[str], window: str | None, filter_text: str
) -> Stats:
    """Return the figures of `table` by group.

    Raises:
        StoreError: There is no such table.
        FilterError: The filter, a field or the window is wrong.
    """
    where = tables.predicate(table, filter_text)
    names = [by] if isinstance(by, str) else list(by)
    fields = {name: field for one in names for name, field in [_group_field(table, one)]}
    since_ns = None if window is None else _clock.wall_ns() - window_ns(window)
    if since_ns is not None:
        where = And((Compare(FieldRef(TIME_FIELD[table]), ">=", since_ns), where))
    measures = _measures(table)
    found = store.aggregate(table, where, list(fields), measures)
    if not fields and found and not found[0]["count"]:
        found = []  # a group of nothing is none, whatever the store makes of it
    ordered = sorted(
        found, key=lambda row: (-row["count"], *(_sortable(row[name]) for name in fields))
    )
    columns = {name: field.type for name, field in fields.items()}
    columns |= {measure.name: _type_of(table, measure) for measure in measures}
    return Stats(table, list(fields), window, since_ns, columns, ordered)


def window_ns(window: str) -> int:
    """Return the length of a window such as `24h` in nanoseconds.

    Raises:
        FilterError: It is no such text.
    """
    found = _WINDOW.fullmatch(str(window).strip())
    if found is None:
        raise FilterError(
            f"{window!r} is not a window; write a number and s, m, h, d or w, as in 24h",
            text=str(window),
        )
    return int(found[1]) * UNIT_NS[found[2]]


def _group_field(table: str, name: str) -> tuple[str, Field]:
    of_run = name.removeprefix("run.")
    if of_run != name and table != "runs":
        field = tables.scalar_field("runs", of_run, name, "grouped by")
        return f"run.{field.name}", field
    field = tables.scalar_field(table, of_run, name, "grouped by")
    return field.name, field


def _measures(table: str) -> list[Measure]:
    fields = fields_of(table)
    measures = [Measure("count", "count")]
    if table in _FAILED:
        measures += [
            Measure("errors", "count", where=_FAILED[table]),
            Measure("error_share", "share", where=_FAILED[table]),
        ]
    measures += [Measure(name, "sum", name) for name in _SUMS if name in fields]
    if table == "generations":
        measures.append(Measure("unpriced_calls", "count", where=_UNPRICED))
    measures += [Measure(f"avg_{name}", "avg", name) for name in _AVERAGES if name in fields]
    if "duration_ms" in fields:
        measures += [
            Measure(f"{function}_duration_ms", function, "duration_ms")
            for function in ("avg", "p50", "p95", "p99")
        ]
    return [*measures, *_OWN.get(table, ())]


def _type_of(table: str, measure: Measure) -> str:
    if measure.function == "count":
        return "integer"
    return (
        fields_of(table)[measure.field].type
        if measure.function == "sum" and measure.field
        else "number"
    )


def _sortable(value: Any) -> tuple[bool, str, Any]:
    return (
        value is None,
        "" if isinstance(value, str) else "number",
        value if value is not None else "",
    )


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if name.endswith("_ms"):
        return text.duration(value)
    if name.endswith("_usd"):
        return text.money(value)
    return text.share(value) if name.endswith("_share") else text.printable(value, 40)
