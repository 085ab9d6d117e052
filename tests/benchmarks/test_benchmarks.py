"""Every benchmark runs in its tiniest size and says what it should; no time is judged."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from benchmarks import __main__ as program
from benchmarks import (
    archive,
    capture,
    homes,
    imports,
    ingest,
    log,
    loop,
    query,
    tables,
    workload,
)
from benchmarks.harness import ROOT, Bench

import whence

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A session that works in a folder of the test's own and installs nothing."""
    return Bench(work=tmp_path, peers=False)


def test_a_run_of_the_workload_has_its_records_and_sizes() -> None:
    """A run is 33 records of the promised sizes, and is the same each time it is made."""
    run = workload.gen_run(3)
    assert run == workload.gen_run(3)
    assert run != workload.gen_run(4)
    records = workload.flat_records(run)
    assert len(records) == workload.RECORDS_PER_RUN
    kinds = [record["kind"] for record in records]
    assert [kinds.count(kind) for kind in ("run", "stage", "decision", "tool", "llm")] == [
        1,
        5,
        20,
        6,
        1,
    ]
    tools = [record for record in records if record["kind"] == "tool"]
    assert {(len(t["input"]), len(t["output"])) for t in tools} == {(500, 2_048)}
    call = next(record for record in records if record["kind"] == "llm")
    assert [len(call[key]) for key in ("system", "user", "completion")] == [4_096, 8_192, 2_048]


def test_another_workload_is_taken_from_a_folder(tmp_path: Path) -> None:
    """A folder with a `workload.py` replaces the workload."""
    (tmp_path / "workload.py").write_text("def gen_run(i, seed=0): return {'index': i}\n")
    assert workload.load(str(tmp_path)).gen_run(7) == {"index": 7}
    assert workload.load("") is workload


def test_capture_gives_a_cost_for_each_recorder(bench: Bench) -> None:
    """Each recorder that needs no installation is measured; the others are named with a reason."""
    figures = capture.measure(bench, capture.TINY)
    measured = [cost.recorder for cost in figures.costs]
    assert measured == [r.name for r in capture.RECORDERS if not r.environment]
    assert [line.split()[0] for line in figures.left_out] == ["otel"]
    assert all(cost.caller_cpu_us.least > 0 for cost in figures.costs)
    assert {line.recorder for line in figures.disabled} == {"whence", "stdlib logging + json"}
    assert "whence, process" in tables.show(figures)


def test_imports_gives_modules_and_times(bench: Bench) -> None:
    """Each statement is timed in a fresh process; whence loads msgspec and something more."""
    figures = imports.measure(bench, imports.TINY, imports.STATEMENTS[:2])
    assert figures.imports[1].modules > figures.imports[0].modules > 0
    assert "import whence" in tables.show(figures)


def test_log_stores_what_was_acknowledged(bench: Bench) -> None:
    """No phase loses a record, and readers see beats."""
    figures = log.measure(bench, log.TINY)
    assert [phase.lost for phase in figures.phases] == [0] * len(figures.phases)
    assert {phase.read_by for phase in figures.phases} == {log.NONE, log.LOG_READER, log.STORE}
    assert all(p.delay_ms_p50 is not None for p in figures.phases if p.name != "full speed")
    assert "full speed" in tables.show(figures)


def test_archive_is_smaller_than_the_log(bench: Bench) -> None:
    """A wide home is made, archived and measured."""
    (archived,) = archive.measure(bench, archive.TINY).archives
    assert archived.records == archive.TINY.wide[0]
    assert 0 < archived.archive_bytes < archived.log_bytes


@pytest.mark.parametrize("kind", [homes.WIDE, homes.NARROW])
def test_queries_are_answered(bench: Bench, kind: str) -> None:
    """Every question has an answer on a small home of each kind, and a latency in the table."""
    wide = query.TINY.wide if kind == homes.WIDE else ()
    narrow = query.TINY.narrow if kind == homes.NARROW else ()
    sizes = query.Sizes(wide, narrow, repetitions=1, cold_repetitions=1)
    figures = query.measure(bench, sizes)
    rows = {latency.question: latency.rows for latency in figures.latencies}
    assert rows["list 50 of runs"] > 0
    assert rows["ancestors, nine steps"] > 1
    assert "one run" in tables.show(figures)


def test_a_narrow_home_holds_the_records_it_says(bench: Bench) -> None:
    """Segments that were written in bulk are read as what they say.

    33 rows a run, each run whole.
    """
    home, made = homes.ensure(bench, homes.NARROW, 330)
    with whence.open(home.root) as reader:
        held = sum(
            reader.count(table) for table in ("runs", "spans", "decisions", "scores", "links")
        )
        held += sum(reader.count(table) for table in ("events", "generations", "tool_calls"))
        assert held == made.records == 330
        assert reader.count("runs", 'status in ("complete", "failed")') == 10
        assert not reader.problems()


def test_a_resent_history_is_read_back_whole(bench: Bench) -> None:
    """An agent loop is stored in less than was sent, and every message is read back."""
    (found,) = loop.measure(bench, loop.TINY).loops
    assert found.whole
    assert found.log_bytes < found.sent_bytes
    assert "history B" in tables.show(loop.Figures(loop.TINY, [found]))


def test_what_is_sent_is_kept_whichever_way_it_came(bench: Bench) -> None:
    """Every span of every request is in the home, written directly or over HTTP."""
    figures = ingest.measure(bench, ingest.TINY)
    assert [way.kept for way in figures.ways] == [0, figures.spans, figures.spans]
    assert figures.spans == 13 * workload.RECORDS_PER_RUN
    assert "decode and write" in tables.show(figures)


def test_the_program_prints_a_table_and_keeps_the_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--quick imports` prints a table and writes a results file that the next time updates."""
    monkeypatch.setattr(imports, "QUICK", imports.TINY)
    arguments = [
        "imports",
        "--quick",
        "--work",
        str(tmp_path),
        "--results",
        str(tmp_path / "results"),
    ]
    assert program.main(arguments) == 0
    assert program.main(arguments) == 0
    assert "import msgspec" in capsys.readouterr().out
    (file,) = (tmp_path / "results").iterdir()
    assert file.name.endswith(".local.json")
    assert file.read_text().count('"benchmark"') == 1


def test_the_driver_stands_alone(tmp_path: Path) -> None:
    """Copied into another bench, the whence driver takes its base class and records its runs."""
    drivers = tmp_path / "drivers"
    drivers.mkdir()
    (drivers / "base.py").write_text("class Driver:\n    FOREIGN = True\n")
    source = ROOT / "benchmarks" / "drivers" / "whence_sdk.py"
    (drivers / "whence_sdk.py").write_text(source.read_text())
    script = (
        "import importlib.util as u, sys\n"
        "s = u.spec_from_file_location('workload', sys.argv[1]); w = u.module_from_spec(s)\n"
        "s.loader.exec_module(w)\n"
        "from drivers.whence_sdk import D\n"
        "d = D(); d.setup('', sys.argv[2], True)\n"
        "d.record_run(w.gen_run(0)); d.minimal(); d.flush()\n"
        "print(D.FOREIGN, d.recovered(sys.argv[2]), d.size() > 40_000)\n"
    )
    paths = [str(tmp_path), str(ROOT / "src")]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            str(ROOT / "benchmarks" / "workload.py"),
            str(tmp_path / "home"),
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    # The smallest span outside a run has a run of its own, so two records beside the 33.
    assert done.stdout.split() == ["True", "35", "True"], done.stderr
