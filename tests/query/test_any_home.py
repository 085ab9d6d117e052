"""Whatever a log holds, every answer is given, prints and is JSON, the same by each store."""

from __future__ import annotations

import json

import pytest
from homes import fill

from whence.log.home import Home
from whence.query.reader import open_store
from whence.store.rows import TABLES


@pytest.mark.parametrize("seed", range(3))
def test_every_answer_holds_on_odd_homes(home, seed):
    """Runs, reasons, comparisons, lineages and figures of random lawful records."""
    writers = fill(Home(home), seed, runs=6)
    with open_store(home, memory=True) as memory, open_store(home) as duckdb:
        runs = [row.id for row in memory.runs(limit=None)]
        for one, other in zip(runs, [*runs[1:], runs[0]], strict=True):
            answers = [
                (store.run(one), store.why(one), store.compare(one, other), store.lineage(one))
                for store in (memory, duckdb)
            ]
            for ours, theirs in zip(*answers, strict=True):
                assert json.dumps(ours.to_dict(), allow_nan=False) == json.dumps(theirs.to_dict())
                assert all(line.isprintable() for line in str(ours).split("\n"))
        for table in TABLES:
            page, same = memory.rows(table, limit=None), duckdb.rows(table, limit=None)
            assert page.to_dicts() == same.to_dicts()
            assert page.to_arrow().num_rows == page.to_polars().height == len(page.to_pandas())
            assert repr(page) == repr(same)
            memory.stats(by=("run.project",), window=None, table=table)
    for writer in writers:
        writer.close()
