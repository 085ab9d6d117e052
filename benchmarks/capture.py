"""What recording costs the program that records.

CPU and time a record, by recorder and durability, and a verb while switched off.

All recorders say the same runs, each through its own API in a process of its own, one after the
other and round again, so that a disturbance hits all of them. CPU of the caller is the thread's
time around `record_run`; total CPU is the process's from the first record to the end of the flush,
exporter threads included. One record here is one of the 33 of the workload: whence writes 47 lines
for them, since it says when a span starts and not only that it has ended.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import TYPE_CHECKING

import msgspec

from benchmarks import peers, worker
from benchmarks.harness import Bench, Spread, spread
from benchmarks.peers import PeerMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator

OTEL = "otel"


class Recorder(msgspec.Struct, frozen=True):
    """A driver and how it is run."""

    name: str
    driver: str
    environment: str = ""
    """Name of the peer's environment; ours if empty."""
    settings: dict[str, str] = {}
    """Variables of whence in its environment."""
    runs_share: float = 1.0
    """Share of the runs it is given, for slow ones."""
    disabled: bool = False
    """Whether its off state is measured."""


RECORDERS = (
    Recorder("whence, process", "whence_sdk", disabled=True),
    Recorder("whence, in Python alone", "whence_sdk", settings={"WHENCE_COMPILED": "0"}),
    Recorder("whence, group", "whence_sdk", settings={"WHENCE_DURABILITY": "group"}),
    Recorder(
        "whence, record", "whence_sdk", settings={"WHENCE_DURABILITY": "record"}, runs_share=0.1
    ),
    Recorder("opentelemetry-sdk + OTLP", OTEL, OTEL, disabled=True),
    Recorder("stdlib logging + json", "stdlib_json", disabled=True),
    Recorder("msgspec + 1 write a record", "limit_msgspec"),
    Recorder("writes alone", "limit_write"),
)


class Sizes(msgspec.Struct, frozen=True):
    """How much is measured."""

    runs: int
    warm: int
    singles: int
    disabled_calls: int
    repetitions: int


FULL = Sizes(runs=300, warm=30, singles=20_000, disabled_calls=400_000, repetitions=5)
QUICK = Sizes(runs=30, warm=5, singles=2_000, disabled_calls=40_000, repetitions=2)
TINY = Sizes(runs=2, warm=1, singles=20, disabled_calls=100, repetitions=1)


class WorkerFigures(msgspec.Struct, frozen=True):
    """What one process measured; times are microseconds a record."""

    caller_cpu_us: float
    caller_cpu_us_p50: float
    total_cpu_us: float
    wall_us: float
    single_us_p50: float
    single_us_p99: float
    bytes_a_record: float | None = None
    arrived: float | None = None


class Cost(msgspec.Struct, frozen=True):
    """What one recorder costs, in microseconds a record."""

    recorder: str
    caller_cpu_us: Spread
    total_cpu_us: Spread
    wall_us: Spread
    single_us_p50: float
    """Median wall time of one decision."""
    single_us_p99: float
    """The slowest of a hundred decisions."""
    bytes_a_record: float | None
    """Written or sent."""
    arrived: float | None
    """Share of the records that reached the sink; None for files."""


class Disabled(msgspec.Struct, frozen=True):
    """What one call costs while recording is switched off."""

    recorder: str
    call: str
    took_ns: float


class Figures(msgspec.Struct, frozen=True):
    """The cost of recording."""

    sizes: Sizes
    costs: list[Cost]
    disabled: list[Disabled]
    left_out: list[str]
    """Peers that were not measured, and why."""


def measure(bench: Bench, sizes: Sizes, recorders: tuple[Recorder, ...] = RECORDERS) -> Figures:
    """Return what each recorder costs."""
    pythons: dict[str, str] = {"": bench.python}
    left_out: list[str] = []
    for name in {recorder.environment for recorder in recorders} - {""}:
        try:
            pythons[name] = peers.python_of(bench, name)
        except PeerMissingError as error:
            left_out.append(str(error))
    wanted = [recorder for recorder in recorders if recorder.environment in pythons]
    found: dict[str, list[WorkerFigures]] = {recorder.name: [] for recorder in wanted}
    with _sink(bench, pythons.get(OTEL)) as sink:
        for repetition in range(sizes.repetitions):
            for recorder in wanted:
                terms = {"workload": bench.workload, "sink": sink, "seed": repetition + 1}
                figures = _once(bench, recorder, pythons, sizes, terms)
                found[recorder.name].append(figures)
        disabled = [
            line
            for recorder in wanted
            if recorder.disabled
            for line in _disabled(bench, recorder, pythons, sizes.disabled_calls)
        ]
    costs = [_cost(recorder.name, found[recorder.name]) for recorder in wanted]
    return Figures(sizes, costs, disabled, left_out)


def _once(
    bench: Bench,
    recorder: Recorder,
    pythons: dict[str, str],
    sizes: Sizes,
    terms: dict[str, object],
) -> WorkerFigures:
    job = {
        **terms,
        "runs": max(1, int(sizes.runs * recorder.runs_share)),
        "warm": sizes.warm,
        "singles": max(1, int(sizes.singles * recorder.runs_share)),
    }
    text = _work(bench, recorder, pythons, {**job, "mode": "capture"})
    return msgspec.json.decode(text, type=WorkerFigures)


def _disabled(
    bench: Bench, recorder: Recorder, pythons: dict[str, str], count: int
) -> Iterator[Disabled]:
    text = _work(bench, recorder, pythons, {"mode": "disabled", "sink": "", "calls": count})
    calls = msgspec.json.decode(text, type=dict[str, dict[str, float]])["calls_ns"]
    for call, took_ns in calls.items():
        yield Disabled(recorder.name.partition(",")[0], call, took_ns)


def _work(bench: Bench, recorder: Recorder, pythons: dict[str, str], job: dict[str, object]) -> str:
    """Return the figures of one worker process as JSON.

    Raises:
        RuntimeError: It failed.
    """
    folder = bench.fresh("capture")
    environment = {**bench.environment(), **recorder.settings}
    whole = {**job, "driver": recorder.driver, "folder": str(folder)}
    done = subprocess.run(
        [pythons[recorder.environment], "-m", "benchmarks.worker", json.dumps(whole)],
        env=environment,
        cwd=bench.work,
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith(worker.MARK):
            return line.removeprefix(worker.MARK)
    raise RuntimeError(f"the worker of {recorder.name} failed: {done.stderr[-2000:]}")


@contextlib.contextmanager
def _sink(bench: Bench, python: str | None) -> Iterator[str]:
    """Run the sink while inside.

    Yields:
        Its URL; empty without the environment that can decode what it gets.
    """
    if python is None:
        yield ""
        return
    with subprocess.Popen(
        [python, "-m", "benchmarks.sink"],
        env=bench.environment(),
        cwd=bench.work,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield f"http://127.0.0.1:{int(line)}"
        finally:
            process.terminate()


def _cost(name: str, found: list[WorkerFigures]) -> Cost:
    sizes = [figures.bytes_a_record for figures in found if figures.bytes_a_record is not None]
    return Cost(
        recorder=name,
        caller_cpu_us=spread(figures.caller_cpu_us for figures in found),
        total_cpu_us=spread(figures.total_cpu_us for figures in found),
        wall_us=spread(figures.wall_us for figures in found),
        single_us_p50=spread(figures.single_us_p50 for figures in found).median,
        single_us_p99=spread(figures.single_us_p99 for figures in found).median,
        bytes_a_record=spread(sizes).median if sizes else None,
        arrived=min((f.arrived for f in found if f.arrived is not None), default=None),
    )
