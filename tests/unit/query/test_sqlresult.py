"""A query's result goes into other tools with its types."""

import datetime as dt
import decimal
import importlib.util

import pyarrow as pa
import pytest

from whence.query import sqlarrow
from whence.query.sqlresult import SqlResult

TYPES = {
    "BIGINT": pa.int64(),
    "HUGEINT": pa.int64(),
    "DECIMAL(18,3)": pa.decimal128(18, 3),
    "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC"),
    "INTERVAL": pa.string(),
    "TIME WITH TIME ZONE": pa.string(),
    "ENUM('a', 'b, [)')": pa.string(),
    "UNION(a INTEGER, b VARCHAR)": pa.string(),
    "INTEGER[]": pa.list_(pa.int32()),
    "INTEGER[3][]": pa.list_(pa.list_(pa.int32(), 3)),
    "MAP(VARCHAR, DECIMAL(4,1)[])": pa.map_(pa.string(), pa.list_(pa.decimal128(4, 1))),
    'STRUCT(a INTEGER, "q""x (y" VARCHAR, t TIMESTAMP WITH TIME ZONE)': pa.struct(
        [
            ("a", pa.int32()),
            ('q"x (y', pa.string()),
            ("t", pa.timestamp("us", "UTC")),
        ]
    ),
    "STRUCT(a ENUM('x', 'y')[], b MAP(INTEGER, STRUCT(c BLOB)))": pa.struct(
        [
            ("a", pa.list_(pa.string())),
            ("b", pa.map_(pa.int32(), pa.struct([("c", pa.binary())]))),
        ]
    ),
}


@pytest.mark.parametrize("name", TYPES)
def test_duckdb_type_has_its_arrow_type(name):
    """A type text of DuckDB gives the Arrow type with the same values; others are text."""
    assert sqlarrow.arrow_type(pa, name) == TYPES[name]


def result():
    return SqlResult(
        columns=["id", "id", "m", "at", "big"],
        types=["INTEGER", "INTEGER", "MAP(INTEGER, VARCHAR)[]", "TIMESTAMP", "HUGEINT"],
        rows=[
            (1, 2, [{1: "a"}], dt.datetime(2024, 1, 2), 2**100),  # noqa: DTZ001
            (None, 3, None, None, -1),
        ],
    )


def test_columns_become_arrow():
    """Maps, repeated names and integers beyond 64 bits reach Arrow as they are."""
    table = result().to_arrow()

    assert table.column_names == ["id", "id_1", "m", "at", "big"]
    assert table["m"].to_pylist() == [[[(1, "a")]], None]
    assert table["big"].to_pylist() == [decimal.Decimal(2**100), decimal.Decimal(-1)]


def test_column_with_a_value_without_room_is_text():
    """A column where one value does not fit its Arrow type is text as a whole."""
    odd = SqlResult(["d"], ["DATE"], [(dt.date(2024, 1, 2),), ("200000-01-01",), (None,)])

    assert odd.to_arrow()["d"].to_pylist() == ["2024-01-02", "200000-01-01", None]


@pytest.mark.parametrize(
    ("largest", "kind"),
    [(2**63 - 1, pa.int64()), (2**63, pa.decimal128(38, 0)), (2**127 - 1, pa.string())],
)
def test_huge_integers_take_the_smallest_exact_type(largest, kind):
    """A HUGEINT is a 64 bit integer where all values fit, else a decimal, else text."""
    table = SqlResult(["n"], ["HUGEINT"], [(largest,), (None,)]).to_arrow()

    assert table.schema.field("n").type == kind
    assert int(table["n"].to_pylist()[0]) == largest


def test_other_tools_take_the_result():
    """pandas, polars and anything that speaks Arrow's C stream take a result."""
    assert result().to_pandas()["id_1"].tolist() == [2, 3]
    assert result().to_polars()["id_1"].to_list() == [2, 3]
    assert pa.RecordBatchReader.from_stream(result()).read_all().num_rows == 2
    assert len(result()) == 2
    assert [row[1] for row in result()] == [2, 3]


def test_notebook_form_is_escaped():
    """Names, types and values cannot bring markup into a notebook."""
    bad = "<img src=x onerror=alert(1)>"
    shown = SqlResult(
        [bad], [f'STRUCT("{bad}" INTEGER)'], [(bad,), ([bad],), (None,)]
    )._repr_html_()

    assert "<img" not in shown
    assert 'title="STRUCT(&quot;' in shown
    assert shown.count("&lt;img") == 4


def test_optional_packages_are_installed_for_these_tests():
    """The columnar tests above run against the real packages."""
    assert all(importlib.util.find_spec(name) for name in ("pandas", "polars", "pyarrow"))
