"""Homes of known size.

Wide ones, recorded from the workload through the public API, and narrow ones, written as segments
in bulk.

A wide home holds runs of the workload; from 3,030 distinct ones on their text repeats, with new
ids, times and segments. At its end stands a hundred of small runs, linked in chains of ten. A
narrow home holds linked runs of 33 small rows spread over four weeks that end now; several
processes write its segments, one `write` a mebibyte, every line encoded from a real record.
"""


# ruff: noqa: S311 - what is measured is no secret

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
import os
import random
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import workload
from benchmarks.harness import Bench, run_module
from whence import _clock, _ids  # noqa: PLC2701 - the project's one clock and one maker of ids
from whence.log import segment
from whence.log.home import Home
from whence.record import codec
from whence.record.decision import Decision
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall, Usage
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Score
from whence.record.span import SpanEnded, SpanStarted
from whence.store import compactor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.record.base import Record

WIDE, NARROW = "wide", "narrow"
DISTINCT_RUNS = 3_030
CHAIN_RUNS = 10
CHAINED_RUNS = 100
FAILING, RARE = 0.03, 0.01
"""Share of narrow runs that fail, and of their decisions with a rare reason."""
NARROW_SPAN_NS = 28 * 86_400_000_000_000
SEGMENT_BYTES = 64 << 20
WRITE_BYTES = 1 << 20
_STAMP = "benchmarks.json"
_WORDS = ("accept", "reject", "defer", "retry", "merge", "split", "keep", "drop")
_MODELS = ("model-small", "model-large", "model-fast", "model-open")
_STAGES = ("collection", "synthesis")


class Made(msgspec.Struct, frozen=True):
    """What a home holds and what making it took."""

    kind: str
    records: int
    log_bytes: int
    raw_bytes: int
    """The same content as compact JSON, one mapping a record; 0 where that was not counted."""
    log_lines: int
    archive_bytes: int
    compaction_s: float
    compaction_peak_mb: float


def ensure(bench: Bench, kind: str, records: int, *, fresh: bool = False) -> tuple[Home, Made]:
    """Return an archived home of this kind and size, made now unless an earlier session did."""
    root = bench.work / "homes" / f"{kind}-{records}"
    stamp = root / _STAMP
    if fresh or not stamp.exists():
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        stamp.write_bytes(msgspec.json.encode(_make(bench, kind, records, Home(root))))
    return Home(root), msgspec.json.decode(stamp.read_bytes(), type=Made)


def _make(bench: Bench, kind: str, records: int, home: Home) -> Made:
    runs = max(1, records // workload.RECORDS_PER_RUN)
    if kind == WIDE:
        raw_bytes = int(
            run_module(bench, "benchmarks.homes", str(home.root), str(runs), bench.workload)
        )
    else:
        raw_bytes = 0
        _write_narrow(home, runs)
    log_bytes = size_of(home.log) + size_of(home.blobs)
    with _one_process() as pool:  # of its own, so that its memory is what compacting takes
        report, took_s, peak_mb = pool.submit(_compact, home).result()
    return Made(
        kind=kind,
        records=runs * workload.RECORDS_PER_RUN,
        log_bytes=log_bytes,
        raw_bytes=raw_bytes,
        log_lines=report.records,
        archive_bytes=size_of(home.archive),
        compaction_s=took_s,
        compaction_peak_mb=peak_mb,
    )


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _one_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def _compact(home: Home) -> tuple[compactor.CompactReport, float, float]:
    began = time.perf_counter_ns()
    report = compactor.compact(home)
    took_s = (time.perf_counter_ns() - began) / 1e9
    return report, took_s, _peak_mb()


def _peak_mb() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
    return int(line.split()[1]) / 1024


def record_wide(root: str, runs: int, workload_folder: str) -> int:
    """Record runs of the workload with links between them; return their size as compact JSON."""
    import whence  # noqa: PLC0415 - only the process that records
    from benchmarks.drivers.whence_sdk import D  # noqa: PLC0415

    source = workload.load(workload_folder)
    driver = D()
    driver.setup("", root)
    distinct = [source.gen_run(i, 3) for i in range(min(runs, DISTINCT_RUNS))]
    sizes = [
        sum(len(json.dumps(r, separators=(",", ":"))) for r in source.flat_records(run))
        for run in distinct
    ]
    raw_bytes = 0
    for number in range(runs):
        driver.record_run(distinct[number % len(distinct)])
        raw_bytes += sizes[number % len(distinct)]
    before = ""
    for number in range(CHAINED_RUNS):
        with whence.run("publish", external_id=f"report-{number}") as publishing:
            if number % CHAIN_RUNS:
                publishing.link("derived_from", publishing, source=before)
            before = publishing.id
    return raw_bytes


def _write_narrow(home: Home, runs: int) -> None:
    shares = max(1, min(os.cpu_count() or 1, runs // 1_000))
    end_ns = _clock.wall_ns()
    step_ns = NARROW_SPAN_NS // runs
    bounds = [runs * share // shares for share in range(shares + 1)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(shares, mp_context=context) as pool:
        jobs = [
            pool.submit(write_segments, home, low, high, end_ns - (runs - low) * step_ns, step_ns)
            for low, high in itertools.pairwise(bounds)
        ]
        for job in jobs:
            job.result()


def write_segments(home: Home, low: int, high: int, start_ns: int, step_ns: int) -> None:
    """Write the runs `low` to `high` as segments of one writer, the first of them at `start_ns`."""
    writer = segment.new_writer_name()
    fd, serial, size, seq = -1, 0, SEGMENT_BYTES, 0
    pending = bytearray()
    for number in range(low, high):
        now_ns = start_ns + (number - low) * step_ns
        if size >= SEGMENT_BYTES:
            fd, serial = _next_segment(
                home, fd, pending, segment.SegmentName(segment.today(now_ns), writer, serial + 1)
            )
            size = seq = 0
        began = len(pending)
        for record in _narrow_run(number, now_ns):
            seq += 1
            pending += b'{"v":1,"seq":%d,%b\n' % (seq, codec.encode_json(record)[1:])
        size += len(pending) - began
        if len(pending) >= WRITE_BYTES:
            _write_all(fd, pending)
    _write_all(fd, pending)
    os.close(fd)


def _next_segment(
    home: Home, fd: int, pending: bytearray, name: segment.SegmentName
) -> tuple[int, int]:
    if fd >= 0:
        _write_all(fd, pending)
        os.close(fd)
    return segment.create(home, name), name.n


def _write_all(fd: int, pending: bytearray) -> None:
    view = memoryview(pending)
    while view:
        view = view[os.write(fd, view) :]
    view.release()
    pending.clear()


def narrow_run_id(number: int) -> str:
    """Return the id of a narrow run: in order of time, with a tail that does not compress."""
    return f"{number:012x}{hashlib.blake2b(number.to_bytes(8, 'big'), digest_size=10).hexdigest()}"


def _narrow_run(number: int, now_ns: int) -> Iterator[Record]:
    """Yield the records of one small run.

    33 rows, of which three are timed and so take two lines.
    """
    rng = random.Random(number)
    draw = rng.random
    run = narrow_run_id(number)
    count = 0

    def envelope(span: str | None = None, stage: str | None = None) -> dict[str, Any]:
        nonlocal count
        count += 1
        return {
            "ts": _clock.format_ns(now_ns + count * 1_000_000),
            "run": run,
            "span": span,
            "id": _ids.new_id(),
            "stage": stage,
        }

    yield RunStarted(
        **{**envelope(), "id": ""},
        name="triage",
        project=f"project-{number % 20:02d}",
        external_id=f"ticket-{number}",
        attributes={"release": f"2026.{number % 12}.{number // 12 % 30}", "tries": number % 4},
    )
    if number % CHAIN_RUNS:
        yield Link(
            **envelope(), link_kind="derived_from", source=narrow_run_id(number - 1), target=run
        )
    else:
        yield Event(**envelope(), message="first of its chain")
    for stage in _STAGES:
        span = _ids.new_id()
        yield SpanStarted(**{**envelope(span, stage), "id": ""}, name=stage, span_kind="stage")
        for _ in range(5):
            yield Decision(
                **envelope(span, stage),
                name=_WORDS[int(draw() * 8)] + "?",
                what=_WORDS[int(draw() * 8)],
                why=f"the margin of {draw():.4f} was " + _enough(draw()),
                confidence=round(0.4 + 0.6 * draw(), 3),
                inputs={"candidates": int(draw() * 50)},
            )
        for name in ("grounding", "coverage", "clarity", "cost"):
            yield Score(
                **envelope(span, stage), name=name, value=round(3 * draw(), 2), threshold=1.0
            )
        yield Generation(
            **envelope(span, stage),
            provider="example",
            model=_MODELS[int(draw() * 4)],
            duration_ns=int(draw() * 4e9),
            cost_usd=round(draw() / 100, 6),
            usage=Usage(input_uncached=int(draw() * 4_000), output_visible=int(draw() * 600)),
        )
        yield ToolCall(
            **envelope(span, stage), tool_name="search", duration_ns=int(draw() * 1e9), status="ok"
        )
        for level in ("info", "debug", "warning"):
            yield Event(**envelope(span, stage), message="went on", level=level)
        yield SpanEnded(
            **{**envelope(span, stage), "id": ""}, status="ok", duration_ns=int(draw() * 9e9)
        )
    yield Decision(
        **envelope(), name="outcome", what=_WORDS[int(draw() * 8)], confidence=round(draw(), 3)
    )
    status = "failed" if draw() < FAILING else "complete"
    yield RunEnded(**{**envelope(), "id": ""}, status=status, duration_ns=int(draw() * 2e10))


def _enough(drawn: float) -> str:
    return "too narrow" if drawn < RARE else "wide enough"


if __name__ == "__main__":
    import sys

    print(record_wide(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
