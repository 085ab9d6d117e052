"""Lines of format 0, which have no numbers and need no ids, are the same rows in every store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whence.log.home import Home
from whence.store.base import Order
from whence.store.compactor import compact
from whence.store.duckdb import DuckDBStore
from whence.store.memory import MemoryStore
from whence.store.predicate import ALWAYS
from whence.store.rows import TABLES, TIME_FIELD

if TYPE_CHECKING:
    from pathlib import Path

RUNS = ["019b76da8000700080000000000000aa", "019b76da8000700080000000000000bb"]
BEGIN_S = 1_767_225_600


def _write(folder: Path, lines: list[dict[str, Any]]) -> Home:
    home = Home(folder)
    day = home.log / "2026-01-01"
    day.mkdir(parents=True)
    home.hot.mkdir()
    (day / "old.1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (home.hot / "2026-01-01.old.1").touch()
    return home


def _decision(name: str, run: str = RUNS[0], after_s: float = 1, **more: object) -> dict[str, Any]:
    time = BEGIN_S + after_s
    return {"kind": "decision", "time": time, "run_id": run, "name": name, "what": "x", **more}


def _started(run: str) -> dict[str, Any]:
    return {"v": 0, "kind": "run_started", "time": BEGIN_S, "run_id": run, "name": "old"}


@pytest.mark.parametrize("is_archived", [False, True])
def test_records_without_an_id_are_told_apart(tmp_path: Path, *, is_archived: bool) -> None:
    """Three decisions of one moment are three rows with ids of their own, which find their run."""
    home = _write(tmp_path, [_started(RUNS[0]), *map(_decision, ("d0", "d1", "d2"))])
    memory = MemoryStore(home)
    if is_archived:
        compact(home)
    store = DuckDBStore(home)

    rows = store.select("decisions", ALWAYS, Order("ts_ns"), 10)
    assert {row.name for row in rows} == {"d0", "d1", "d2"}
    assert len({row.id for row in rows}) == 3
    assert rows == memory.select("decisions", ALWAYS, Order("ts_ns"), 10)
    assert [row.id for row in store.run_rows(RUNS[0])["decisions"]] == sorted(
        row.id for row in rows
    )
    assert {store.find_run(row.id) for row in rows} == {RUNS[0]}
    store.close()


_LINES = st.lists(
    st.builds(
        _decision,
        st.sampled_from(["a", "b"]),
        st.sampled_from(RUNS),
        st.sampled_from([1, 1.5, 2]),
        span_id=st.sampled_from([None, "9b76da8000000001"]),
    ).flatmap(
        lambda line: st.sampled_from([line, {**line, "v": 0}, {**line, "alternatives": ["y"]}])
    ),
    max_size=12,
)


@given(_LINES)
@settings(max_examples=12)
def test_every_store_gives_the_same_rows_of_an_old_log(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, Any]]
) -> None:
    """Hot or archived, whole or run by run, the rows are those of the memory store."""
    home = _write(tmp_path_factory.mktemp("old"), [*map(_started, RUNS), *lines])
    memory = MemoryStore(home)
    for step in (None, compact):
        if step is not None:
            step(home)
        store = DuckDBStore(home)
        for table in TABLES:
            order = Order(TIME_FIELD[table])
            for limit in (None, 5):
                expected = memory.select(table, ALWAYS, order, limit)
                assert store.select(table, ALWAYS, order, limit) == expected
                assert len({(row.run, row.id) for row in expected}) == len(expected)
        for run in RUNS:
            assert store.run_rows(run) == memory.run_rows(run)
        store.close()
