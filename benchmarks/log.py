"""The log under load.

Several processes write, one reads. How much is stored, how soon it is seen, and whether anybody
waits.

At full speed every writer records as fast as it can; in a paced phase each records a given number a
second, which is what shows the delay of a reader that keeps up. Every hundredth record, or tenth
if paced, is a beat; its delay is from the time it carries until the reader's poll that shows it is
done. The reader is either a loop over `log.reader` or a `DuckDBStore` that is refreshed.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

import whence
from benchmarks.harness import Bench, quantile
from whence import _clock  # noqa: PLC2701 - the one reader of the clock
from whence.log import reader, segment
from whence.log.home import Home
from whence.record import codec
from whence.record.event import Event
from whence.store.base import Order
from whence.store.duckdb import DuckDBStore
from whence.store.predicate import And, Compare, FieldRef

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier
    from pathlib import Path

FULL_SPEED_BEAT, PACED_BEAT = 100, 10
BEAT_LEVEL = "beat"
FULL_SPEED_POLL_S, PACED_POLL_S = 0.02, 0.01
START_TIMEOUT_S = 60
NONE, LOG_READER, STORE = "none", "log.reader", "DuckDBStore"
Poll = Callable[[], list[int]]
"""Looks at the log once and returns the delay of each beat that is new, in nanoseconds."""


FULL_SPEED = "full speed"


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured."""

    writers: int
    seconds: float
    paces: tuple[int, ...]
    """Records that each writer makes in a second of each paced phase."""
    repetitions: int


FULL = Sizes(writers=4, seconds=4.0, paces=(500, 12_500, 50_000), repetitions=3)
QUICK = Sizes(writers=4, seconds=1.0, paces=(500,), repetitions=1)
TINY = Sizes(writers=1, seconds=0.1, paces=(500,), repetitions=1)


class Phase(msgspec.Struct, frozen=True):
    """What happened in one phase."""

    name: str
    """`full speed`, or how many records are made a second."""
    read_by: str
    writers: int
    stored: int
    """Whole records in the log at the end."""
    lost: int
    """Records that were acknowledged and are not there."""
    records_a_second: float
    append_us_p99: float
    """The slowest of a hundred records, as its writer saw it."""
    append_ms_most: float
    """The slowest of the beats, which alone are timed: it would show a writer that has to wait."""
    delay_ms_p50: float | None
    """From the time in a record until a poll shows it; None without a reader."""
    delay_ms_p99: float | None
    poll_ms_p50: float | None
    poll_ms_most: float | None
    """The longest poll: what a reader that has to wait would show."""


class Figures(msgspec.Struct, frozen=True):
    """The log under load."""

    sizes: Sizes
    phases: list[Phase]


class _Written(msgspec.Struct, frozen=True):
    """What one writer did."""

    count: int
    began_ns: int
    ended_ns: int
    taken_ns: list[int]


class _Read(msgspec.Struct, frozen=True):
    """What the reader saw."""

    delays_ms: list[float]
    polls_ms: list[float]


def measure(bench: Bench, sizes: Sizes) -> Figures:
    """Return how the log behaves at full speed and paced, for each reader."""
    phases: list[Phase] = []
    for _ in range(sizes.repetitions):
        phases.extend(_phase(bench, sizes, by, None) for by in (NONE, LOG_READER, STORE))
    for pace in sizes.paces:
        phases.extend(_phase(bench, sizes, by, pace) for by in (LOG_READER, STORE))
    return Figures(sizes, _median(phases))


def _median(phases: list[Phase]) -> list[Phase]:
    """Return the phase with the median throughput of each name and reader."""
    by: dict[tuple[str, str], list[Phase]] = {}
    for phase in phases:
        by.setdefault((phase.name, phase.read_by), []).append(phase)
    groups = [sorted(group, key=lambda phase: phase.records_a_second) for group in by.values()]
    return [group[len(group) // 2] for group in groups]


def _phase(bench: Bench, sizes: Sizes, read_by: str, pace: int | None) -> Phase:
    home = Home(bench.fresh("log") / "home")
    home.root.mkdir()
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(sizes.writers + 1), context.Queue()
    writers = [
        context.Process(target=write, args=(home.root, sizes.seconds, pace, barrier, results))
        for _ in range(sizes.writers)
    ]
    for process in writers:
        process.start()
    poll = _POLLS[read_by](home)
    barrier.wait(START_TIMEOUT_S)
    read = _read(poll, PACED_POLL_S if pace else FULL_SPEED_POLL_S, sizes.seconds)
    written = [
        msgspec.json.decode(results.get(timeout=START_TIMEOUT_S), type=_Written) for _ in writers
    ]
    for process in writers:
        process.join()
    stored = sum(
        sum(1 for _ in reader.iter_lines(name.path_in(home))) for name in segment.iter_all(home)
    )
    count = sum(w.count for w in written)
    elapsed_s = (max(w.ended_ns for w in written) - min(w.began_ns for w in written)) / 1e9
    taken = [t for w in written for t in w.taken_ns]
    return Phase(
        name=f"{pace * sizes.writers:,} a second" if pace else FULL_SPEED,
        read_by=read_by,
        writers=sizes.writers,
        stored=stored,
        lost=count + 2 * sizes.writers - stored,
        records_a_second=count / elapsed_s,
        append_us_p99=quantile(taken, 0.99) / 1e3,
        append_ms_most=max(taken) / 1e6,
        delay_ms_p50=quantile(read.delays_ms, 0.5) if read.delays_ms else None,
        delay_ms_p99=quantile(read.delays_ms, 0.99) if read.delays_ms else None,
        poll_ms_p50=quantile(read.polls_ms, 0.5) if read_by != NONE else None,
        poll_ms_most=max(read.polls_ms) if read_by != NONE else None,
    )


def write(root: Path, seconds: float, pace: int | None, barrier: Barrier, results: Any) -> None:
    """Record events in one run for some seconds, as fast as possible or `pace` a second.

    Runs in a process of its own.

    Raises:
        SystemExit: The disk failed, so that figures would mean nothing.
    """
    whence.configure(root)
    taken: list[int] = []
    clock = time.perf_counter_ns
    with whence.run("writer") as run:
        event = run.event
        barrier.wait(START_TIMEOUT_S)
        began = clock()
        until, count = began + int(seconds * 1e9), 0
        beat = PACED_BEAT if pace else FULL_SPEED_BEAT
        while clock() < until:
            for _ in range(beat - 1):
                event("went on", step=count)
            before = clock()
            event("went on", level=BEAT_LEVEL)
            taken.append(clock() - before)
            count += beat
            if pace:
                time.sleep(max(0.0, (began + count * 1e9 / pace - clock()) / 1e9))
        ended = clock()
    report = whence.flush()
    if report.lost:
        raise SystemExit(f"the disk failed, and figures would mean nothing: {report.why}")
    results.put(msgspec.json.encode(_Written(count, began, ended, taken)))


def _read(poll: Poll, pause_s: float, seconds: float) -> _Read:
    """Poll for some seconds and return what was seen."""
    found = _Read([], [])
    until = time.perf_counter_ns() + int(seconds * 1e9)
    while time.perf_counter_ns() < until:
        began = time.perf_counter_ns()
        delays = poll()
        found.polls_ms.append((time.perf_counter_ns() - began) / 1e6)
        found.delays_ms.extend(delay / 1e6 for delay in delays)
        time.sleep(pause_s)
    return found


def _see_nothing(_home: Home) -> Poll:
    return list[int]


class _LogPoll:
    """Follows every segment with `log.reader`."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._offsets: dict[str, int] = {}

    def __call__(self) -> list[int]:
        """Return the delay of each new beat, in nanoseconds."""
        found: list[int] = []
        for name in segment.list_hot(self._home):
            path, key = name.path_in(self._home), str(name)
            if not path.exists():
                continue
            offset = self._offsets.get(key, 0)
            stamps: list[str] = []
            for line in reader.iter_lines(path, offset):
                offset = line.offset + len(line.content) + 1
                record = codec.decode(line.content)
                if isinstance(record, Event) and record.level == BEAT_LEVEL:
                    stamps.append(record.ts)
            self._offsets[key] = offset
            seen = _clock.wall_ns()
            found += [seen - _clock.parse_ns(stamp) for stamp in stamps]
        return found


class _StorePoll:
    """Refreshes a store and asks it for the beats that are new."""

    def __init__(self, home: Home) -> None:
        self._store = DuckDBStore(home)
        self._latest: dict[str, int] = {}

    def __call__(self) -> list[int]:
        """Return the delay of each new beat, in nanoseconds."""
        self._store.refresh()
        seen = _clock.wall_ns()
        since = min(self._latest.values(), default=0)
        beats = And(
            (
                Compare(FieldRef("level"), "=", BEAT_LEVEL),
                Compare(FieldRef("ts_ns"), ">", since),
            )
        )
        rows: list[Any] = list(
            self._store.select("events", beats, Order("ts_ns", descending=False))
        )
        new = [row for row in rows if row.ts_ns > self._latest.get(row.run, 0)]
        for row in new:
            self._latest[row.run] = row.ts_ns
        return [seen - row.ts_ns for row in new]


_POLLS: dict[str, Callable[[Home], Poll]] = {
    NONE: _see_nothing,
    LOG_READER: _LogPoll,
    STORE: _StorePoll,
}
