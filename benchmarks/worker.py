"""Runs one driver in a process of its own and prints one line of figures.

Needs the standard library and the driver's own packages.

`python -m benchmarks.worker '{"driver": ..., "mode": "capture"}'`. The fixture is made before and
frozen out of garbage collection, so that it does not make the recorder's collections slower;
collection itself stays on. Warm-up runs and a flush come first.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import time
import timeit
import urllib.request
from typing import Any

from benchmarks import workload

MARK = "FIGURES "
_SINGLES_AT_ONCE = 2_000


def main(job: dict[str, Any]) -> None:
    """Do what the job says and end without the recorder's own exit handlers."""
    driver = importlib.import_module(f"benchmarks.drivers.{job['driver']}").D()
    driver.setup(job["sink"], job["folder"], job["mode"] != "disabled")
    figures = (
        _disabled(driver, job["calls"]) if job["mode"] == "disabled" else _capture(driver, job)
    )
    print(MARK + json.dumps(figures), flush=True)
    os._exit(0)


def _disabled(driver: Any, count: int) -> dict[str, Any]:
    """Return nanoseconds of each call in the off state, the least of seven rounds."""
    found: dict[str, float] = {}
    for name, statement in driver.DISABLED.items():
        timer = timeit.Timer(statement, globals={"d": driver})
        found[name] = min(timer.repeat(7, count)) / count * 1e9
    return {"calls_ns": found}


def _capture(driver: Any, job: dict[str, Any]) -> dict[str, Any]:
    source = workload.load(job["workload"])
    runs = [source.gen_run(i, job["seed"]) for i in range(job["runs"])]
    warm = [source.gen_run(i, 99) for i in range(job["warm"])]
    if hasattr(driver, "prepare"):
        driver.prepare([*runs, *warm])
    gc.collect()
    gc.freeze()
    pause_s = driver.PACE_MS / 1e3
    for run in warm:
        driver.record_run(run)
        time.sleep(pause_s)
    driver.flush()
    gc.collect()
    stored = driver.stored_bytes()
    if driver.SENDS:
        _take_count(job["sink"])
    cpu, wall = [], []
    thread_ns, wall_ns, record = time.thread_time_ns, time.perf_counter_ns, driver.record_run
    process_began, thread_began = time.process_time_ns(), thread_ns()
    for run in runs:
        wall_began, cpu_began = wall_ns(), thread_ns()
        record(run)
        cpu.append(thread_ns() - cpu_began)
        wall.append(wall_ns() - wall_began)
        time.sleep(pause_s)
    pausing_ns = thread_ns() - thread_began - sum(cpu)  # pauses and clock readings are ours
    driver.flush()
    total_ns = time.process_time_ns() - process_began - pausing_ns
    records = workload.RECORDS_PER_RUN
    each = len(runs) * records * 1e3
    return {
        "caller_cpu_us": sum(cpu) / each,
        "caller_cpu_us_p50": sorted(cpu)[len(cpu) // 2] / records / 1e3,
        "total_cpu_us": total_ns / each,
        "wall_us": sum(wall) / each,
        **_kept(driver, job["sink"], stored, len(runs) * records),
        **_singles(driver, runs, job["singles"]),
    }


def _kept(driver: Any, sink: str, stored: int | None, records: int) -> dict[str, Any]:
    """Return bytes a record, and the share that arrived where records are sent to a sink."""
    if driver.SENDS:
        counted = _take_count(sink)
        size = counted["size_bytes"] / max(1, counted["spans"])
        return {"bytes_a_record": size, "arrived": counted["spans"] / records}
    after = driver.stored_bytes()
    if after is None or stored is None:
        return {}
    return {"bytes_a_record": (after - stored) / records}


def _take_count(sink: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{sink}/count", timeout=60) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def _singles(driver: Any, runs: list[dict[str, Any]], count: int) -> dict[str, Any]:
    """Return the wall time of single decisions; between batches the recorder may flush."""
    driver.open_single(runs[0])
    decisions = [d for run in runs[:20] for stage in run["stages"] for d in stage["decisions"]]
    record, clock = driver.record_single, time.perf_counter_ns
    taken: list[int] = []
    for number in range(count):
        decision = decisions[number % len(decisions)]
        began = clock()
        record(decision)
        taken.append(clock() - began)
        if number % _SINGLES_AT_ONCE == _SINGLES_AT_ONCE - 1:
            driver.flush()
    taken.sort()
    return {
        "single_us_p50": taken[count // 2] / 1e3,
        "single_us_p99": taken[count * 99 // 100] / 1e3,
    }


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
