"""A process may be killed at any moment: what it was told is recorded is there, and once.

`WHENCE_KILLS` sets how many kills the short test makes; the soak makes 300, or as many as it says.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from collections import Counter
from pathlib import Path

import pytest
from logs import paths

from whence.log import reader, segment
from whence.log.home import Home
from whence.store.memory import MemoryStore


def load_harness():
    """Return the module beside this one, which `importmode=importlib` does not put on the path."""
    path = Path(__file__).with_name("harness.py")
    spec = importlib.util.spec_from_file_location("crash_harness", path)
    module = sys.modules["crash_harness"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


harness = load_harness()
SHORT, LONG = 12, 300

WRITER = (
    harness.ACKNOWLEDGE
    + """
import sys, uuid, whence
from whence.capture.state import current
from whence.log.home import Home
from whence.log.writer import Writer
from pathlib import Path

home, rotate_bytes, durability = sys.argv[1:]
whence.configure(home)
current.writer = Writer(Home(Path(home)), rotate_bytes=int(rotate_bytes), durability=durability)
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
"""
)


def check(home: Home, victims: list) -> int:
    """Assert that what was acknowledged is there once and whole, and return how much that was."""
    store = MemoryStore(home)
    assert store.problems() == []
    rows = store._rows
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
            else:
                record, _, number = what.partition(" ")
                messages = generations[record].messages
                assert len(messages) == min(20, int(number))
                assert messages[-1]["content"].split(" ")[1] == number
    # Phantoms: each process can have written at most what it was just doing when it was killed.
    for table, kind in (("events", "event"), ("tool_calls", "tool"), ("generations", "generation")):
        said = sum(line.startswith(kind + " ") for victim in victims for line in victim.said)
        assert said <= len(rows[table]) <= said + len(victims)
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


@pytest.mark.soak
def test_many_killed_writers_lose_nothing_they_acknowledged(home):
    """The same, for as long as it is given."""
    run_kills(home, int(os.environ.get("WHENCE_KILLS", LONG)), seed=2)
