"""How long questions take, asked as a user asks them.

Through `whence.open` and the filter language, at growing sizes.

Every question is asked of a reader that is open already and has its pages in the cache; it looks
for new records each time, as always. `cold` is a whole process: `whence runs` from nothing to its
last line. Wide homes are asked without a bound in time, narrow ones with one, as whoever has ten
million records asks.
"""

# ruff: noqa: S311 - what is measured is no secret

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

import whence
from benchmarks import homes
from benchmarks.harness import Bench, Spread, load, milliseconds, quantile, spread
from whence.query import tables
from whence.store.base import Measure

if TYPE_CHECKING:
    from whence.log.home import Home
    from whence.query.reader import Reader

LIMIT = 50
WINDOW = "24h"


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured."""

    wide: tuple[int, ...]
    narrow: tuple[int, ...]
    repetitions: int
    cold_repetitions: int


FULL = Sizes(wide=(100_000, 1_000_000), narrow=(10_000_000,), repetitions=25, cold_repetitions=5)
QUICK = Sizes(wide=(20_000,), narrow=(50_000,), repetitions=5, cold_repetitions=1)
TINY = Sizes(wide=(330,), narrow=(3_300,), repetitions=1, cold_repetitions=1)


class Latency(msgspec.Struct, frozen=True):
    """How long one question took on one home."""

    question: str
    kind: str
    """`wide` or `narrow`."""
    records: int
    p50_ms: float
    p95_ms: float
    rows: int
    """Rows of the answer."""


class Figures(msgspec.Struct, frozen=True):
    """How long questions take."""

    sizes: Sizes
    latencies: list[Latency]
    opening_ms: dict[str, Spread]
    """Home to how long opening a reader took, without loading Python."""
    load_average: dict[str, float]
    """Home to the load of the machine while it was asked."""


Question = Callable[[], object]


def measure(bench: Bench, sizes: Sizes) -> Figures:
    """Return the latency of each question at each size."""
    latencies: list[Latency] = []
    opening: dict[str, Spread] = {}
    loads: dict[str, float] = {}
    asked = [(homes.WIDE, n) for n in sizes.wide] + [(homes.NARROW, n) for n in sizes.narrow]
    for kind, records in asked:
        home, made = homes.ensure(bench, kind, records)
        label = f"{kind} {made.records}"
        loads[label] = load()
        opening[label] = spread(milliseconds(lambda root=home.root: _open(root), warm=1, repeat=3))
        with whence.open(home.root) as reader:
            questions = _wide(reader) if kind == homes.WIDE else _narrow(reader, made.records)
            for name, question in questions.items():
                rows = _size(question())
                taken = milliseconds(question, warm=1, repeat=sizes.repetitions)
                latencies.append(_latency(name, kind, made.records, taken, rows))
        taken = [_cold(bench, home) for _ in range(sizes.cold_repetitions)]
        latencies.append(_latency("cold `whence runs`", kind, made.records, taken, 20))
    return Figures(sizes, latencies, opening, loads)


def _latency(name: str, kind: str, records: int, taken: list[float], rows: int) -> Latency:
    return Latency(name, kind, records, quantile(taken, 0.5), quantile(taken, 0.95), rows)


def _open(root: object) -> None:
    with whence.open(root):  # pyright: ignore[reportArgumentType]
        pass


def _size(answer: object) -> int:
    items = getattr(answer, "items", getattr(answer, "nodes", answer))
    return len(items) if hasattr(items, "__len__") else 1  # pyright: ignore[reportArgumentType]


def _lists(reader: Reader, bound: Callable[[str], str]) -> dict[str, Question]:
    return {
        f"list {LIMIT} of {table}": lambda table=table: reader.rows(
            table, bound(table), limit=LIMIT
        )
        for table in ("runs", "spans", "decisions", "generations")
    }


def _by(reader: Reader, table: str, field: str, filter_text: str = "") -> list[dict[str, Any]]:
    """Return count and 95th percentile of the duration for each value of a field."""
    where = tables.predicate(table, filter_text)
    measures = [Measure("n", "count"), Measure("p95_ms", "p95", "duration_ms")]
    return reader.store.aggregate(table, where, [field], measures)


def _wide(reader: Reader) -> dict[str, Question]:
    rng = random.Random(1)
    ids = [row.id for row in reader.runs('name = "research_pipeline"', limit=2_000).items]
    decisions = [row.id for row in reader.decisions(limit=500).items]
    chained = [f"report-{10 * n + 9}" for n in range(10)]
    return {
        **_lists(reader, lambda _table: ""),
        "one run": lambda: reader.run(rng.choice(ids)),
        "one run by a decision's id": lambda: reader.run(rng.choice(decisions)),
        "runs by an attribute": lambda: reader.runs('attributes.release = "2026.3.4"', limit=LIMIT),
        "decisions by an input": lambda: reader.decisions("inputs.candidates = 7", limit=LIMIT),
        "decisions by confidence": lambda: reader.decisions("confidence < 0.401", limit=LIMIT),
        "runs with such a decision": lambda: reader.runs(
            "decision.confidence < 0.401", limit=LIMIT
        ),
        "decisions whose reason contains": lambda: reader.decisions(
            'why ~ "coroutine"', limit=LIMIT
        ),
        "generations by model, p95": lambda: _by(reader, "generations", "model"),
        "stats by model": lambda: reader.stats(("model",), None),
        "spans by name, p95": lambda: _by(reader, "spans", "name"),
        "ancestors, one step": lambda: reader.lineage(rng.choice(chained), "ancestors", 1),
        "ancestors, nine steps": lambda: reader.lineage(rng.choice(chained), "ancestors"),
        "why": lambda: reader.why(rng.choice(ids)),
    }


def _narrow(reader: Reader, records: int) -> dict[str, Question]:
    rng = random.Random(1)
    runs = records // 33
    recent = range(max(0, runs - 10_000), runs)

    def since(table: str) -> str:
        return f"{'started' if table in {'runs', 'spans'} else 'ts'} > now - {WINDOW}"

    def any_run() -> str:
        return homes.narrow_run_id(rng.choice(recent))

    def end_of_chain() -> str:
        number = rng.choice(recent) // homes.CHAIN_RUNS * homes.CHAIN_RUNS - 1
        return homes.narrow_run_id(max(number, recent.start))

    decisions = [row.id for row in reader.decisions(limit=500).items]
    return {
        **_lists(reader, since),
        "one run": lambda: reader.run(any_run()),
        "one run by a decision's id": lambda: reader.run(rng.choice(decisions)),
        "runs by an attribute": lambda: reader.runs(
            f'{since("runs")} and attributes.release = "2026.3.4"', limit=LIMIT
        ),
        "runs by external id": lambda: reader.runs(
            f'external_id = "ticket-{rng.choice(recent)}"', limit=LIMIT
        ),
        "decisions by an input": lambda: reader.decisions(
            f"{since('decisions')} and inputs.candidates = 7", limit=LIMIT
        ),
        "decisions by confidence": lambda: reader.decisions(
            f"{since('decisions')} and confidence < 0.41", limit=LIMIT
        ),
        "decisions whose reason contains": lambda: reader.decisions(
            f'{since("decisions")} and why ~ "too narrow"', limit=LIMIT
        ),
        "generations by model, p95": lambda: _by(
            reader, "generations", "model", since("generations")
        ),
        "spans by name, p95": lambda: _by(reader, "spans", "name", since("spans")),
        "stats by model": lambda: reader.stats(("model",), WINDOW),
        "all generations by model, p95": lambda: _by(reader, "generations", "model"),
        "ancestors, one step": lambda: reader.lineage(end_of_chain(), "ancestors", 1),
        "ancestors, nine steps": lambda: reader.lineage(end_of_chain(), "ancestors"),
    }


def _cold(bench: Bench, home: Home) -> float:
    """Return how long `whence runs` took, in milliseconds."""
    began = time.perf_counter_ns()
    subprocess.run(
        [bench.python, "-m", "whence", "runs", "--home", str(home.root)],
        env=bench.environment(),
        cwd=bench.work,
        capture_output=True,
        check=True,
    )
    return (time.perf_counter_ns() - began) / 1e6
