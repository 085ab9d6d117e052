"""An erasure that is killed anywhere leaves a home that reads, and the next one finishes it."""

from __future__ import annotations

import os
import random
import time

import msgspec
import pytest
from homes import fill
from tests.crash.harness import kill, start, wait_until_said

from whence.log.home import Home
from whence.record.generation import Generation
from whence.store import erasure
from whence.store.base import Order
from whence.store.compactor import compact
from whence.store.duckdb import DuckDBStore
from whence.store.memory import MemoryStore
from whence.store.predicate import ALWAYS
from whence.store.rows import TABLES, TIME_FIELD

KILLS = int(os.environ.get("WHENCE_KILLS", "7"))
ERASES = """
import sys
from pathlib import Path
import msgspec
from whence.log.home import Home
from whence.record.generation import Generation
from whence.store import erasure
def silent(record):
    if isinstance(record, Generation) and record.reasoning is not None:
        return msgspec.structs.replace(record, reasoning=None)
    return record
print("begins", flush=True)
erasure.erase(Home(Path(sys.argv[1])), silent, before_ns=2**62, why="a test")
print("done", flush=True)
"""


def silent(record):
    if isinstance(record, Generation) and record.reasoning is not None:
        return msgspec.structs.replace(record, reasoning=None)
    return record


def rows_of(store):
    """Return all rows by table, without what erasures tell of themselves."""
    assert store.problems() == []
    found = {table: store.select(table, ALWAYS, Order(TIME_FIELD[table])) for table in TABLES}
    found["events"] = [row for row in found["events"] if not row.message.startswith("erasure")]
    store.close()
    return found


def without_reasoning(rows):
    changed = [msgspec.structs.replace(row, reasoning=None) for row in rows["generations"]]
    return {**rows, "generations": changed}


@pytest.mark.parametrize("archived", [False, True])
def test_an_erasure_that_is_killed_is_finished_by_the_next(home, archived):
    """Each row is as it was or as it should be after any kill, and all are so in the end."""
    rng = random.Random(7)  # noqa: S311 - no secret
    place = Home(home)
    for writer in fill(place, 7, runs=15, writers=4):
        writer.close()
    if archived:
        compact(place)
    expected = without_reasoning(rows_of(MemoryStore(place)))

    kills = 0
    for attempt in range(KILLS):
        victim = start(ERASES, str(home))
        wait_until_said(victim, 1)
        time.sleep(rng.uniform(0.5, 1) * 0.004 * 2**attempt)
        kill(victim)
        for open_store in (MemoryStore, DuckDBStore):
            assert without_reasoning(rows_of(open_store(place))) == expected
        kills += len(victim.said) < 2
        if len(victim.said) == 2:
            break
    assert kills

    erasure.erase(place, silent, before_ns=2**62, why="a test")
    assert rows_of(MemoryStore(place)) == expected
    assert rows_of(DuckDBStore(place)) == expected
    assert not list(home.rglob("*.erased"))
