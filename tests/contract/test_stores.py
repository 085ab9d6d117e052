"""Every store gives the rows that the memory store gives, for any question.

Hot, archived, half of each, and archived bit by bit while runs were going on.
"""

from __future__ import annotations

import math
import random
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from homes import fill
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import predicates

from whence.errors import StoreError
from whence.log import catalog as catalogs
from whence.log import segment
from whence.log.home import Home
from whence.store import fields
from whence.store.base import Measure, Order, Store, key_of
from whence.store.compactor import compact, rebuild
from whence.store.duckdb import DuckDBStore
from whence.store.memory import MemoryStore
from whence.store.predicate import ALWAYS, Compare, FieldRef
from whence.store.rows import TABLES, TIME_FIELD, Row

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE_NAMES = sorted(TABLES)


@pytest.fixture(scope="module", params=["hot", "archived", "mixed", "bit by bit"])
def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Store, Store]]:
    """The memory store and DuckDB over the same home.

    Nothing archived, everything, the first half with live writers on top, or every segment soon
    after it ended.
    """
    home = Home(Path(tmp_path_factory.mktemp("home")))
    pause = partial(compact, home) if request.param == "bit by bit" else None
    writers = fill(home, seed=7, runs=30, pause=pause)
    if request.param in ("archived", "mixed"):
        for writer in writers:
            writer.close()
        compact(home)
    if request.param == "mixed":
        writers = fill(home, seed=8, runs=10)
        writers[0].close()
        compact(home)
    memory, duckdb = MemoryStore(home), DuckDBStore(home)
    yield memory, duckdb
    duckdb.close()
    for writer in writers:
        writer.close()


def _order(table: str) -> Order:
    return Order(TIME_FIELD[table])


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_all_rows_are_the_same(stores: tuple[Store, Store], table: str) -> None:
    """Without a filter every row of every table comes back, equal field by field."""
    memory, other = stores
    expected = memory.select(table, ALWAYS, _order(table))

    assert expected
    assert other.select(table, ALWAYS, _order(table)) == expected


@settings(max_examples=150)
@given(data=st.data())
def test_any_filter_gives_the_same_rows(stores: tuple[Store, Store], data: st.DataObject) -> None:
    """Whatever is asked, the rows are those of the memory store."""
    memory, other = stores
    table = data.draw(st.sampled_from(TABLE_NAMES))
    predicate = data.draw(predicates(table))
    limit = data.draw(st.sampled_from((None, 1, 5, 50)))

    assert other.select(table, predicate, _order(table), limit) == memory.select(
        table, predicate, _order(table), limit
    )


@pytest.mark.parametrize("number", [2.0**127, -(2.0**127), 2.0**128, 1e300])
@pytest.mark.parametrize("operator", ["=", "<", "<=", ">", ">="])
def test_numbers_past_every_integer_compare(
    stores: tuple[Store, Store], number: float, operator: str
) -> None:
    """A literal that no integer type holds is larger or smaller than every integer."""
    memory, other = stores
    predicate = Compare(FieldRef("output"), operator, number)

    assert other.count("runs", predicate) == memory.count("runs", predicate)


@settings(max_examples=40)
@given(data=st.data())
def test_pages_in_any_order_join_to_the_whole(
    stores: tuple[Store, Store], data: st.DataObject
) -> None:
    """Page by page, by any field and direction, each row comes once and in order."""
    memory, other = stores
    table = data.draw(st.sampled_from(TABLE_NAMES))
    orderable = [f.name for f in fields.fields_of(table).values() if f.type not in ("json", "tags")]
    order = Order(data.draw(st.sampled_from(orderable)), data.draw(st.booleans()))
    size = data.draw(st.sampled_from((1, 3, 7))) if table != "events" else 7
    expected = memory.select(table, ALWAYS, order)
    rows: list[Row] = []
    while page := other.select(
        table, ALWAYS, order, size, key_of(rows[-1], order) if rows else None
    ):
        rows += page

    assert rows == expected


@settings(max_examples=40)
@given(data=st.data())
def test_figures_are_the_same(stores: tuple[Store, Store], data: st.DataObject) -> None:
    """Counts, sums, means and quantiles by any field agree to the last bits of a float."""
    memory, other = stores
    table = data.draw(st.sampled_from(TABLE_NAMES))
    known = fields.fields_of(table).values()
    scalars = [f.name for f in known if f.type in ("text", "boolean")]
    by = data.draw(st.lists(st.sampled_from(scalars), max_size=2, unique=True))
    numbers = [
        f.name
        for f in known
        if f.type in ("integer", "number") and not f.is_time and f.name != "seed"
    ]
    measures = [
        Measure("n", "count"),
        Measure("hits", "count", where=data.draw(predicates(table, 2))),
    ]
    for name in numbers:
        measures += [
            Measure(f"{fn}_{name}", fn, name) for fn in ("sum", "avg", "min", "max", "p50", "p95")
        ]
    got = {_group(row, by): row for row in other.aggregate(table, ALWAYS, by, measures)}
    expected = {_group(row, by): row for row in memory.aggregate(table, ALWAYS, by, measures)}

    assert got.keys() == expected.keys()
    for key, row in expected.items():
        for measure in measures:
            assert _close(got[key][measure.name], row[measure.name]), (key, measure)


def _group(row: dict[str, Any], by: list[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in by)


def _close(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)


def test_a_run_is_whole_wherever_it_stands(stores: tuple[Store, Store]) -> None:
    """All rows of a run, read by themselves, are the same, and any of their ids finds the run."""
    memory, other = stores
    for place, run in enumerate(memory.select("runs", ALWAYS, _order("runs"))):
        expected = memory.run_rows(run.id)

        assert other.run_rows(run.id) == expected
        for rows in expected.values() if place % 4 == 0 else ():  # each takes all tables
            for row in rows[:1]:
                assert other.find_run(row.id) == memory.find_run(row.id)


def test_links_are_followed_both_ways(stores: tuple[Store, Store]) -> None:
    """The edges at any set of things are the same."""
    memory, other = stores
    links: list[Any] = list(memory.select("links", ALWAYS, _order("links")))
    ends = [link.source for link in links[:3]] + [link.target for link in links[:3]]
    for forward in (True, False):
        got = sorted(row.id for row in other.edges(ends, forward=forward))

        assert got == sorted(row.id for row in memory.edges(ends, forward=forward))


def test_rebuilding_changes_no_row(tmp_path: Path) -> None:
    """An archive thrown away and made anew from the log gives the rows it gave before."""
    home = Home(tmp_path)
    for writer in fill(home, seed=3, runs=10):
        writer.close()
    compact(home)
    before = _all_rows(home)
    for path in home.archive.glob("*.parquet"):
        path.unlink()
    rebuild(home)

    assert not segment.list_hot(home)
    assert _all_rows(home) == before


def test_an_archive_with_other_columns_is_made_anew(tmp_path: Path) -> None:
    """The archive of a version with other columns is refused with the next step, which helps."""
    home = Home(tmp_path)
    for writer in fill(home, seed=4, runs=6):
        writer.close()
    compact(home)
    before = _all_rows(home)
    old = catalogs.read(home)
    catalogs.commit(home, msgspec.structs.replace(old, columns="of another version"))
    with pytest.raises(StoreError, match="whence compact"):
        DuckDBStore(home)
    compact(home)

    assert _all_rows(home) == before


def test_compacting_in_many_small_steps_merges_and_changes_no_row(tmp_path: Path) -> None:
    """Parts of many small compactions are merged into few, and every row stays."""
    home = Home(tmp_path)
    for seed in range(10):
        for writer in fill(home, seed=seed, runs=2, writers=1):
            writer.close()
        compact(home)
    parts = list(home.archive.glob("runs-*.parquet"))
    memory = MemoryStore(home)

    assert len(parts) < 10
    for table in TABLES:
        assert _all_rows(home)[table] == memory.select(table, ALWAYS, _order(table))


@pytest.mark.parametrize("seed", range(6))
def test_a_store_that_looks_on_sees_what_a_new_one_sees(tmp_path: Path, seed: int) -> None:
    """Read again and again while runs are written and archived, a store ends with the same rows."""
    home = Home(tmp_path)
    store = DuckDBStore(home)
    rng = random.Random(seed)  # noqa: S311 - no secret

    def look() -> None:
        if rng.random() < 0.5:
            compact(home)
        store.refresh()

    writers = fill(home, seed, runs=8, pause=look)
    memory = MemoryStore(home)
    store.refresh()

    for table in TABLES:
        expected = memory.select(table, ALWAYS, _order(table))
        assert store.select(table, ALWAYS, _order(table)) == expected
    for run in memory.select("runs", ALWAYS, _order("runs")):
        assert store.run_rows(run.id) == memory.run_rows(run.id)
    store.close()
    for writer in writers:
        writer.close()


def _all_rows(home: Home) -> dict[str, list[Row]]:
    store = DuckDBStore(home)
    try:
        return {table: store.select(table, ALWAYS, _order(table)) for table in TABLES}
    finally:
        store.close()
