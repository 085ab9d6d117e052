"""One page of rows, and where the next one begins.

A page is an answer, not a live view: rows that are written later do not change it. `next` holds the
place of the page's last row in the order, so the next page goes on behind that row however many
rows came in between. Rows are restored already; the forms for other tools are made by
`whence.query.tabular`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from whence.query import restore, tabular, text
from whence.store.fields import fields_of
from whence.store.rows import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T", bound=Row)

_SHOWN_ROWS = 50
_SHOWN_FIELDS = 8
_CELL_COLUMNS = 40
_LEADING = {
    "runs": (
        "id",
        "name",
        "project",
        "status",
        "started_ns",
        "duration_ms",
        "cost_usd",
        "external_id",
    ),
    "spans": ("id", "name", "kind", "status", "started_ns", "duration_ms", "stage", "run"),
    "decisions": ("id", "name", "what", "confidence", "why", "made_by", "stage", "run"),
    "factors": ("id", "name", "raw_value", "weight", "contribution", "reasoning", "stage", "run"),
    "sources": ("id", "source_type", "source_key", "kept", "reason", "quality", "stage", "run"),
    "generations": (
        "id",
        "provider",
        "model",
        "status",
        "input_tokens",
        "output_tokens",
        "cost_usd",
        "run",
    ),
    "tool_calls": (
        "id",
        "tool_name",
        "status",
        "duration_ms",
        "retry_count",
        "error_type",
        "stage",
        "run",
    ),
    "transformations": (
        "id",
        "name",
        "method",
        "input_size",
        "output_size",
        "duration_ms",
        "stage",
        "run",
    ),
    "scores": ("id", "name", "value", "threshold", "passed", "iteration", "by", "run"),
    "outputs": ("id", "output_id", "kind", "summary", "confidence", "quality", "stage", "run"),
    "links": ("id", "kind", "source", "target", "confidence", "inferred", "run"),
    "events": ("id", "level", "message", "ts_ns", "stage", "run"),
    "annotations": ("id", "target", "flag", "status", "note", "by", "run"),
    "gaps": ("id", "lost", "reason", "since_ns", "run"),
}
"""The fields of each table that a person wants to see first."""


class Page(msgspec.Struct, Generic[T], frozen=True, repr_omit_defaults=True):
    """Some rows of a table in an order; iterate over it for its rows."""

    items: list[T]
    """The rows."""
    next: str | None = None
    """What to pass as `after` for the next page; None on the last one."""
    table: str = ""
    """Name of the table."""

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one JSON-ready dict a row, each with all fields of the table.

        What JSON has no form for is a marker value, see `whence.record.values`.
        """
        return [restore.to_plain(row, sparse=False) for row in self.items]

    def to_arrow(self) -> Any:
        """Return a pyarrow table, a column for each field; JSON fields are JSON text.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        return tabular.to_arrow(_columns(self.table), self._cells())

    def to_pandas(self) -> Any:
        """Return a pandas data frame with a column for each field; JSON fields hold Python objects.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return tabular.to_pandas(_columns(self.table), self._cells())

    def to_polars(self) -> Any:
        """Return a polars data frame, a column for each field; JSON fields are JSON text.

        Raises:
            MissingExtraError: polars is not installed.
        """
        return tabular.to_polars(_columns(self.table), self._cells())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_text(self) -> str:
        """Return the leading fields of the page's first rows as a table for a terminal."""
        head, body = self._shown()
        lines = text.table(
            head, [[text.printable(cell, _CELL_COLUMNS) for cell in row] for row in body]
        )
        return "\n".join([*lines, self._note()])

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        head, body = self._shown()
        return tabular.to_html(
            head, [[text.printable(cell, 200) for cell in row] for row in body], self._note()
        )

    def _cells(self) -> list[list[Any]]:
        names = list(_columns(self.table))
        return [[getattr(row, name) for name in names] for row in self.items]

    def _shown(self) -> tuple[list[str], list[list[Any]]]:
        head = list(_LEADING.get(self.table, list(_columns(self.table))[:_SHOWN_FIELDS]))
        body = [
            [_cell(name, getattr(row, name, None)) for name in head]
            for row in self.items[:_SHOWN_ROWS]
        ]
        return [_title(name) for name in head], body

    def _note(self) -> str:
        shown = min(len(self), _SHOWN_ROWS)
        count = (
            f"{len(self):,} {self.table}"
            if shown == len(self)
            else f"{shown} of {len(self):,} {self.table}"
        )
        return f"({count}, more behind `next`)" if self.next else f"({count})"


def _columns(table: str) -> dict[str, str]:
    return {name: field.type for name, field in fields_of(table).items()} if table else {}


def _title(name: str) -> str:
    return name.removesuffix("_ns")


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return ""
    if name.endswith("_ns"):
        return text.moment(value)
    if name.endswith("_ms"):
        return text.duration(value)
    return text.money(value) if name.endswith("_usd") else value
