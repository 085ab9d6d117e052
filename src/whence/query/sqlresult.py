"""The rows of a SQL query with their names and types, and the ways out of it into other tools.

Values are Python's: a DECIMAL is a `Decimal`, a TIMESTAMP a `datetime`, a STRUCT a dict, a LIST or
ARRAY a list. Where Python has no exact value they are DuckDB's text: INTERVAL, the nanosecond
types, BIGNUM, and dates outside the years 1 to 9999. The columnar forms need an optional package
and import it when asked for. Nothing here knows how the rows were made.
"""

from __future__ import annotations

import html
from typing import Any

import msgspec

from whence import _extras
from whence.query import sqlarrow, text

_SHOWN_ROWS = 50


class SqlResult(msgspec.Struct, frozen=True):
    """A query's result; iterate over it for its rows."""

    columns: list[str]
    """Column names in order; a query may give two columns the same name."""
    types: list[str]
    """DuckDB type of each column, such as `BIGINT` or `STRUCT(a INTEGER)[]`."""
    rows: list[tuple[Any, ...]]
    """Rows in the query's order."""
    truncated: bool = False
    """Whether the query had more rows than were asked for."""

    def __str__(self) -> str:
        shown = [
            [text.printable(str(value), 60) for value in row] for row in self.rows[:_SHOWN_ROWS]
        ]
        more = len(self.rows) - len(shown)
        lines = text.table([text.printable(name, 60) for name in self.columns], shown)
        if more or self.truncated:
            lines.append(
                f"({more} more rows{', and those over the limit' if self.truncated else ''})"
            )
        return "\n".join(lines)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Any:
        return iter(self.rows)

    def unique_columns(self) -> list[str]:
        """Return the column names with `_1`, `_2` behind repeated ones."""
        taken: set[str] = set()
        names: list[str] = []
        for column in self.columns:
            name, count = column, 0
            while name in taken or (count and name in self.columns):
                count += 1
                name = f"{column}_{count}"
            taken.add(name)
            names.append(name)
        return names

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dict per row."""
        names = self.unique_columns()
        return [dict(zip(names, row, strict=True)) for row in self.rows]

    def to_arrow(self) -> Any:
        """Return a pyarrow table; columns with values that their type has no room for are text.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        return sqlarrow.table(self.unique_columns(), self.types, self.rows)

    def to_pandas(self) -> Any:
        """Return a pandas data frame.

        Raises:
            MissingExtraError: pandas or pyarrow is not installed.
        """
        _extras.require("pandas", "", "to_pandas()")
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Return a polars data frame.

        Raises:
            MissingExtraError: polars or pyarrow is not installed.
        """
        module: Any = _extras.require("polars", "", "to_polars()")
        return module.from_arrow(self.to_arrow())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def _repr_html_(self) -> str:
        head = "".join(
            f'<th title="{html.escape(kind)}">{html.escape(name)}</th>'
            for name, kind in zip(self.columns, self.types, strict=True)
        )
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_shown(cell))}</td>" for cell in row) + "</tr>"
            for row in self.rows[:_SHOWN_ROWS]
        )
        more = ", more in the store" if self.truncated else ""
        note = f"{min(len(self), _SHOWN_ROWS):,} of {len(self):,} rows{more}"
        return (
            f"<table><caption>{note}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )


def _shown(cell: object) -> str:
    return "NULL" if cell is None else str(cell)
