"""A process may be killed at any moment: what it was told is recorded is there, and once.

`WHENCE_KILLS` sets how many kills the short test makes; the soak makes 300, or as many as it says.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from logs import paths
from tests.crash import harness

from whence.log import reader, segment
from whence.log.home import Home
from whence.store.base import Order, Store
from whence.store.compactor import compact
from whence.store.duckdb import DuckDBStore
from whence.store.memory import MemoryStore
from whence.store.predicate import ALWAYS
from whence.store.rows import TABLES, TIME_FIELD

if TYPE_CHECKING:
    from pathlib import Path

SHORT, LONG = 12, 300
THREADS = 3

WRITER = (
    harness.ACKNOWLEDGE
    + """
import sys, threading, time, uuid, whence
from whence.capture.state import current
from whence.log.home import Home
from whence.log.writer import Writer
from pathlib import Path

home, rotate_bytes, durability = sys.argv[1:]
whence.configure(home)
current.write_with(
    Writer(Home(Path(home)), rotate_bytes=int(rotate_bytes), durability=durability)
)

def work():
    me = uuid.uuid4().hex
    history = []
    with whence.run(me) as run:
        acknowledge(f"run {run.id}")
        number = 0
        while True:
            number += 1
            run.event(f"{me} {number}")
            acknowledge(f"event {me} {number}")
            with whence.tool("t", input=number) as tool:
                tool.set(output=f"{me} {number}")
            acknowledge(f"tool {me} {number}")
            history.append({"role": "user", "content": f"{me} {number} " + "x" * 600})
            output = "y" * (40_000 if number % 50 == 0 else 10)
            record = run.record_generation(messages=history[-20:], output=output)
            acknowledge(f"generation {record} {number}")
            time.sleep(0.002)  # hundreds of programs write what is read back at once
"""
    + f"""
threads = [threading.Thread(target=work) for _ in range({THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
)


COMPACTOR = (
    harness.ACKNOWLEDGE
    + """
import random, sys
from pathlib import Path
from whence.errors import ArchiveBusyError
from whence.log.home import Home
from whence.store import compactor

compactor.BATCH_BYTES = 100_000
home, rng = Home(Path(sys.argv[1])), random.Random()

def step(name):
    if rng.random() < 0.02:
        os._exit(9)

acknowledge("begun")
while True:
    try:
        acknowledge(f"compacted {compactor.compact(home, steps=step).records}")
    except ArchiveBusyError:
        continue
"""
)


def check(home: Home, victims: list, store: Store | None = None) -> int:
    """Assert that what was acknowledged is there once and whole, and return how much that was."""
    store = store or MemoryStore(home)
    assert store.problems() == []
    rows = {table: store.select(table, ALWAYS, Order(TIME_FIELD[table])) for table in TABLES}
    events = Counter(row.message for row in rows["events"])
    tools = Counter(row.output for row in rows["tool_calls"])
    generations = {row.id: row for row in rows["generations"]}
    runs = {row.id for row in rows["runs"]}
    assert set(events.values()) | set(tools.values()) <= {1}
    assert len(generations) == len(rows["generations"])

    acknowledged = 0
    for victim in victims:
        for line in victim.said:
            acknowledged += 1
            kind, _, what = line.partition(" ")
            if kind == "event":
                assert events[what] == 1
            elif kind == "tool":
                assert tools[what] == 1
            elif kind == "run":
                assert what in runs
            elif kind == "generation":
                record, _, number = what.partition(" ")
                messages = generations[record].messages
                assert len(messages) == min(20, int(number))
                assert messages[-1]["content"].split(" ")[1] == number
    # Phantoms: each thread can have written at most what it was just doing when it was killed.
    for table, kind in (("events", "event"), ("tool_calls", "tool"), ("generations", "generation")):
        said = sum(line.startswith(kind + " ") for victim in victims for line in victim.said)
        assert said <= len(rows[table]) <= said + THREADS * len(victims)
    assert not any(segment.is_live(path) for path in paths(home))
    assert rows["gaps"] == []
    return acknowledged


def run_kills(home: Path, kills: int, seed: int, durability: str = "process") -> int:
    place = Home(home)
    sources = [
        (WRITER, (str(home), str(64 << 20), durability)),
        (WRITER, (str(home), "30000", durability)),
    ]
    victims = harness.kill_at_random(sources, kills, random.Random(seed))  # noqa: S311 - no secret
    torn = sum(reader.torn_tail(path)[1] > 0 for path in paths(place))
    acknowledged = check(place, victims)
    assert acknowledged > kills
    assert torn <= len(victims)
    return acknowledged


@pytest.mark.parametrize("durability", ["process", "group"])
def test_killed_writers_lose_nothing_they_acknowledged(home, durability):
    """Two writers at a time, one of which rotates all the time."""
    run_kills(home, int(os.environ.get("WHENCE_KILLS", SHORT)) // 2, seed=1, durability=durability)


def run_kills_with_compactor(home: Path, kills: int, seed: int) -> int:
    """Kill writers and a compactor, and look at what the archive and the log say together."""
    place = Home(home)
    sources = [
        (WRITER, (str(home), "30000", "process")),
        (WRITER, (str(home), str(64 << 20), "process")),
        (COMPACTOR, (str(home),)),
    ]
    victims = harness.kill_at_random(sources, kills, random.Random(seed))  # noqa: S311 - no secret
    memory, duckdb = MemoryStore(place), DuckDBStore(place)
    acknowledged = check(place, victims, duckdb)
    compact(place)
    duckdb.refresh()
    for table in TABLES:
        order = Order(TIME_FIELD[table])
        assert duckdb.select(table, ALWAYS, order) == memory.select(table, ALWAYS, order)
    duckdb.close()
    return acknowledged


def test_a_killed_compactor_loses_and_doubles_nothing(home):
    """Writers and a compactor die at random, the compactor also between any two of its steps."""
    run_kills_with_compactor(home, int(os.environ.get("WHENCE_KILLS", SHORT)), seed=3)


@pytest.mark.soak
def test_many_killed_writers_and_compactors_lose_and_double_nothing(home):
    """The same, for as long as it is given."""
    run_kills_with_compactor(home, int(os.environ.get("WHENCE_KILLS", LONG)), seed=4)


@pytest.mark.soak
def test_many_killed_writers_lose_nothing_they_acknowledged(home):
    """The same, for as long as it is given."""
    run_kills(home, int(os.environ.get("WHENCE_KILLS", LONG)), seed=2)
