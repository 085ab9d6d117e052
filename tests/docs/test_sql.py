"""The page of SQL is true: each table and view is there, with the columns and types it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import whence
from whence.store.columns import column_types
from whence.store.fields import fields_of
from whence.store.rows import TABLES
from whence.store.views import REQUIREMENT_VIEWS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "sql.md").read_text("utf-8")
COLUMN = re.compile(r"^\| `(\w+)` \| ([A-Z\[\]]+) \| ([^|]*) \| \S[^|]* \|$", re.MULTILINE)
UNIT_OF = {"_ms": "milliseconds", "_seconds": "seconds", "_usd": "US dollars", "_bytes": "bytes"}


def sections():
    """Return the body of each view's section by name."""
    parts = re.split(r"^### (\w+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """Return what a home says of its own tables: columns and types in order, by table."""
    found = {}
    with whence.open(tmp_path_factory.mktemp("home")) as store:
        for table, column, kind in store.sql(
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "ORDER BY table_name, ordinal_position"
        ).rows:
            found.setdefault(table, []).append((column, kind))
    return found


def test_every_table_and_view_of_a_home_is_on_the_page(described):
    """The page names what SQL may name, and nothing else."""
    assert set(described) == {*TABLES, *REQUIREMENT_VIEWS}
    assert set(sections()) == set(REQUIREMENT_VIEWS)
    tables = PAGE.split("## Tables", 1)[1].split("## Views", 1)[0]
    assert all(f"`{table}`" in tables for table in TABLES)


@pytest.mark.parametrize("view", REQUIREMENT_VIEWS)
def test_the_columns_of_a_view_are_those_on_the_page(described, view):
    """Names, order and types; a name that carries a unit has it in its column of units."""
    stated = COLUMN.findall(sections()[view])

    assert [(name, kind) for name, kind, _ in stated] == described[view]
    for name, kind, unit in stated:
        expected = next((unit for end, unit in UNIT_OF.items() if name.endswith(end)), None)
        assert unit == (expected or ("UTC" if kind == "TIMESTAMP" else unit)), name


@pytest.mark.parametrize("table", TABLES)
def test_the_columns_of_a_table_are_its_fields_in_the_types_of_the_page(described, table):
    """Each type of a field becomes the type of a column that the page says."""
    stated = dict(re.findall(r"^\| (\w+) \| ([A-Z\[\]]+)(?::[^|]*)? \|$", PAGE, re.MULTILINE))

    assert described[table] == list(column_types(table).items())
    assert described[table] == [(f.name, stated[f.type]) for f in fields_of(table).values()]
