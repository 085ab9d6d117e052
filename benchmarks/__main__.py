"""Run benchmarks by name, print their tables, and keep the figures as JSON.

Each result is kept with the machine it was measured on and the load before and after, so that a
disturbed figure can be told from a bad one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import archive, capture, imports, ingest, log, loop, query, tables
from benchmarks.harness import ROOT, Bench, Load, Machine, load, machine

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS: dict[str, ModuleType] = {
    "imports": imports,
    "capture": capture,
    "log": log,
    "loop": loop,
    "ingest": ingest,
    "archive": archive,
    "query": query,
}
BUSY_LOAD = 0.5
"""Above this load before a benchmark, somebody else is using the machine."""


class Result(msgspec.Struct, frozen=True):
    """What one benchmark found, and when."""

    benchmark: str
    took_s: float
    load: Load
    figures: Any


class Session(msgspec.Struct, frozen=True):
    """All results of one session: the content of a results file."""

    date: str
    quick: bool
    machine: Machine
    results: list[Result]


def main(arguments: list[str]) -> int:
    """Measure what was asked for and return the exit code."""
    given = _parse(arguments)
    bench = Bench(
        work=given.work.resolve(),
        workload=str(given.workload.resolve()) if given.workload else "",
        peers=not given.no_peers,
    )
    bench.work.mkdir(parents=True, exist_ok=True)
    for name in given.names or BENCHMARKS:
        result = _run(name, bench, quick=given.quick)
        print(tables.show(result.figures))
        print(f"\nload average {result.load.before:.2f} before and {result.load.after:.2f} after\n")
        _keep(result, given.results, quick=given.quick)
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure whence.")
    parser.add_argument(
        "names",
        nargs="*",
        choices=[[], *BENCHMARKS],
        metavar="NAME",
        help=f"of {', '.join(BENCHMARKS)}",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--no-peers", action="store_true", help="install nothing")
    parser.add_argument(
        "--workload", type=Path, metavar="PATH", help="a folder whose workload.py to use"
    )
    parser.add_argument(
        "--work", type=Path, default=ROOT / "benchmarks" / ".work", help="folder for scratch files"
    )
    parser.add_argument(
        "--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder for results"
    )
    return parser.parse_args(arguments)


def _run(name: str, bench: Bench, *, quick: bool) -> Result:
    module = BENCHMARKS[name]
    before = load()
    busy = f"; the machine is busy, load average {before:.2f}" if before > BUSY_LOAD else ""
    print(f"== {name}{busy}", flush=True)
    began = time.perf_counter_ns()
    figures = module.measure(bench, module.QUICK if quick else module.FULL)
    took_s = (time.perf_counter_ns() - began) / 1e9
    return Result(name, took_s, Load(before, load()), figures)


def _keep(result: Result, folder: Path, *, quick: bool) -> None:
    """Put a result into the file of the day.

    It takes the place of an earlier one of the same benchmark on the same machine. A quick result
    is no record of anything: its file stays out of version control.
    """
    folder.mkdir(parents=True, exist_ok=True)
    date = time.strftime("%Y-%m-%d", time.gmtime())
    path = folder / f"{date}{'.local' if quick else ''}.json"
    here = machine()
    results = [result]
    if path.exists():
        earlier = msgspec.json.decode(path.read_bytes(), type=Session)
        if earlier.machine == here:
            results = [*(r for r in earlier.results if r.benchmark != result.benchmark), result]
    text = msgspec.json.encode(Session(date, quick, here, results))
    path.write_bytes(msgspec.json.format(text, indent=1) + b"\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
