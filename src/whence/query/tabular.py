"""Columns and rows into the tables of other tools: Arrow, pandas, polars, HTML.

Comes in: the type of each column (as in `whence.store.fields`) and rows of cells. Goes out: a table
of the optional package, which is imported when it is asked for. Typed columns stay typed even when
every cell is null. JSON cells become JSON text where columns have one type each, and stay Python
objects in pandas.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from whence import _extras
from whence.query import restore
from whence.record import codec

Columns = Mapping[str, str]
"""Column name to type: `text`, `integer`, `number`, `boolean`, `tags` or `json`."""

_INT64 = range(-(2**63), 2**63)
_PANDAS = {"text": "object", "integer": "Int64", "number": "Float64", "boolean": "boolean"}


def to_arrow(columns: Columns, rows: Sequence[Sequence[Any]]) -> Any:
    """Return a pyarrow table.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pa: Any = _extras.require("pyarrow", "", "to_arrow()")
    types = {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "tags": pa.list_(pa.string()),
        "json": pa.string(),
    }
    arrays = [
        pa.array(_column(rows, place, kind), type=types[kind])
        for place, kind in enumerate(columns.values())
    ]
    return pa.table(arrays, names=list(columns))


def to_polars(columns: Columns, rows: Sequence[Sequence[Any]]) -> Any:
    """Return a polars data frame.

    Raises:
        MissingExtraError: polars is not installed.
    """
    pl: Any = _extras.require("polars", "", "to_polars()")
    types = {
        "text": pl.String,
        "integer": pl.Int64,
        "number": pl.Float64,
        "boolean": pl.Boolean,
        "tags": pl.List(pl.String),
        "json": pl.String,
    }
    data = {name: _column(rows, place, kind) for place, (name, kind) in enumerate(columns.items())}
    return pl.DataFrame(data, schema={name: types[kind] for name, kind in columns.items()})


def to_pandas(columns: Columns, rows: Sequence[Sequence[Any]]) -> Any:
    """Return a pandas data frame; numbers and booleans are of pandas' nullable types.

    Raises:
        MissingExtraError: pandas is not installed.
    """
    pd: Any = _extras.require("pandas", "", "to_pandas()")
    data: dict[str, Any] = {}
    for place, (name, kind) in enumerate(columns.items()):
        cells = [row[place] for row in rows]
        if kind in _PANDAS and kind != "text":
            cells = _column(rows, place, kind)
        data[name] = pd.Series(cells, dtype=_PANDAS.get(kind, "object"))
    return pd.DataFrame(data, columns=list(columns))


def _column(rows: Sequence[Sequence[Any]], place: int, kind: str) -> list[Any]:
    cells = [row[place] for row in rows]
    match kind:
        case "json":
            return [None if cell is None else json_text(cell) for cell in cells]
        case "text":
            return [None if cell is None else _unicode(cell) for cell in cells]
        case "tags":
            return [None if cell is None else [_unicode(item) for item in cell] for cell in cells]
        case "integer":
            return [cell if isinstance(cell, int) and cell in _INT64 else None for cell in cells]
        case "number":
            return [None if cell is None else float(cell) for cell in cells]
        case _:
            return cells


def json_text(value: Any) -> str:
    """Return a value as JSON text, with marker values for what JSON has no form for."""
    return codec.encode_json(
        restore.to_json(msgspec.to_builtins(value) if isinstance(value, msgspec.Struct) else value)
    ).decode()


def _unicode(text: Any) -> str:
    # Columns hold UTF-8, which a lone surrogate has no form in.
    return str(text).encode("utf-8", "backslashreplace").decode()


def to_html(head: Sequence[str], body: Sequence[Sequence[str]], caption: str = "") -> str:
    """Return an HTML table with every cell escaped, so that recorded text never becomes markup."""
    titles = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in body
    )
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{titles}</tr></thead><tbody>{rows}</tbody></table>"
    )
