"""An archive that is damaged or gone is told with the next step, never passed over."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from homes import fill

import whence
from whence.errors import StoreError
from whence.log import segment
from whence.log.home import Home
from whence.query.reader import open_store
from whence.store.base import Order
from whence.store.compactor import compact, rebuild
from whence.store.duckdb import DuckDBStore
from whence.store.memory import MemoryStore
from whence.store.predicate import ALWAYS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def archived(tmp_path: Path) -> Home:
    """Return a home whose log is archived."""
    home = Home(tmp_path)
    for writer in fill(home, seed=5, runs=8):
        writer.close()
    compact(home)
    return home


def _spoil(home: Home, table: str, how: str) -> Path:
    (path,) = home.archive.glob(f"{table}-*.parquet")
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:50] if how == "cut" else b"x" * path.stat().st_size)
    return path


@pytest.mark.parametrize("how", ["deleted", "cut"])
@pytest.mark.parametrize("table", ["runs", "decisions", "parts"])
def test_a_part_that_cannot_be_read_is_named_when_a_store_is_opened(
    archived: Home, table: str, how: str
) -> None:
    """The error is ours, names the file, and what it proposes helps."""
    path = _spoil(archived, table, how)

    for _ in range(2):
        with pytest.raises(StoreError, match="whence rebuild") as caught:
            DuckDBStore(archived)
        assert str(path) in str(caught.value)
    rebuild(archived)
    DuckDBStore(archived).close()


@pytest.mark.parametrize("how", ["deleted", "cut"])
def test_a_part_that_goes_while_a_store_is_open_is_named(archived: Home, how: str) -> None:
    """Rows, whole runs and SQL all say which file it is; rebuilding brings the open store back."""
    with open_store(archived.root) as reader:
        run = reader.runs(limit=1).items[0]
        path = _spoil(archived, "runs", how)
        for ask in (
            lambda: reader.sql("SELECT count(*) FROM runs"),
            lambda: reader.runs(order="name"),
        ):
            with pytest.raises(StoreError, match="whence rebuild") as caught:
                ask()
            assert str(path) in str(caught.value)
        rebuild(archived)
        assert reader.run(run.id).run == run


def test_bytes_that_are_no_parquet_are_an_error_of_ours(archived: Home) -> None:
    """A part of the right size that DuckDB cannot read is not taken for a defect of whence."""
    _spoil(archived, "runs", "scribbled")

    with pytest.raises(StoreError):
        DuckDBStore(archived)


def test_an_archive_that_was_deleted_is_missed(archived: Home) -> None:
    """The log is whole, so that no run may be missing without a word; two commands restore it."""
    expected = MemoryStore(archived).select("runs", ALWAYS, Order("started_ns"))
    for restore in (rebuild, compact):
        shutil.rmtree(archived.archive)
        with pytest.raises(StoreError, match=r"archive.* is gone.*whence rebuild"):
            DuckDBStore(archived)
        restore(archived)
        store = DuckDBStore(archived)
        assert store.select("runs", ALWAYS, Order("started_ns")) == expected
        store.close()


def test_a_store_that_is_open_misses_its_archive(archived: Home) -> None:
    """Deleting the archive below a reader is told at its next question."""
    with open_store(archived.root) as reader:
        shutil.rmtree(archived.archive)
        with pytest.raises(StoreError, match="whence rebuild"):
            reader.runs()


def test_a_home_that_was_never_archived_has_nothing_to_miss(tmp_path: Path) -> None:
    """Live segments, empty ones and markers without a segment are no sign of a lost archive."""
    home = Home(tmp_path)
    writers = fill(home, seed=6, runs=4)
    (home.hot / "2026-01-01.gone.1").touch()
    day = home.log / "2026-01-02"
    day.mkdir()
    (day / "empty.1.jsonl").touch()

    assert segment.first_unmarked(home) is None
    with whence.open(tmp_path) as reader:
        assert reader.count("runs") == 4
    for writer in writers:
        writer.close()
