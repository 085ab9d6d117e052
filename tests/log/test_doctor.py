"""`examine` finds what is wrong with a home, and nothing when nothing is."""

from __future__ import annotations

import signal
import subprocess
import sys

import msgspec
import pytest

from whence import _clock
from whence.log import blobs, catalog, doctor
from whence.log.catalog import Batch, Catalog, Part
from whence.log.home import Home
from whence.log.writer import Writer
from whence.record import codec, usage
from whence.record.event import Event, Gap
from whence.record.generation import Generation
from whence.record.run import RunEnded, RunStarted
from whence.record.values import MARK
from whence.store.compactor import compact

RUN = "0" * 31 + "1"
KILLED = """
import os, sys, time
from pathlib import Path
from whence.log.home import Home
from whence.log.writer import Writer
writer = Writer(Home(Path(sys.argv[1])))
body = b'{"kind":"event","ts":"2026-01-01T00:00:00Z","run":"r","message":"m"}'
writer.append(body, time.time_ns(), "r")
os.write(writer._fd, b'{"v":1,"seq":2,"kind":"ev')
print("written", flush=True)
time.sleep(60)
"""


@pytest.fixture
def place(home):
    return Home(home)


def write(place, *records):
    """Write records as one process would, and return the segment's path."""
    writer = Writer(place)
    for record in records:
        writer.append(codec.encode_json(record), _clock.wall_ns(), record.run)
    writer.close()
    return max(place.log.glob("*/*.jsonl"), key=lambda path: path.stat().st_mtime_ns)


def event(message="hello", **data):
    return Event(ts=_clock.format_ns(_clock.wall_ns()), run=RUN, message=message, data=data or None)


def kinds(examination):
    return [finding.kind for finding in examination.findings]


def archive(place, *segments, parts=()):
    place.archive.mkdir(parents=True, exist_ok=True)
    batch = Batch(1, list(segments), 0, 0, 1)
    catalog.commit(place, Catalog(version=1, batches=[batch], parts=list(parts)))
    for name in segments:
        (place.hot / name.replace("/", ".")).unlink(missing_ok=True)


def name_of(path):
    return f"{path.parent.name}/{path.name.removesuffix('.jsonl')}"


def test_an_empty_home_is_fine(place):
    """A folder that does not exist yet holds nothing and has nothing wrong with it."""
    found = doctor.examine(place)

    assert (found.segments, found.findings, found.worst()) == ([], [], None)


HOUR_NS = 3_600_000_000_000


def begun(run, ago_ns, **fields):
    now_ns = _clock.wall_ns()
    ts = _clock.format_ns(ago_ns if ago_ns < HOUR_NS // 2 else now_ns - ago_ns)
    return RunStarted(ts=ts, run=run, name="x", **fields)


def test_runs_that_never_ended_are_noted_once_their_process_is_gone(place):
    """Older than an hour, begun by a writer that is gone, with a time that is one."""
    ended = RunEnded(ts=_clock.format_ns(_clock.wall_ns()), run="b" * 32, status="complete")
    write(place, ended)  # read before the run's beginning: another process ended it
    write(
        place,
        begun("a" * 32, 2 * HOUR_NS),
        begun("b" * 32, 2 * HOUR_NS),
        begun("c" * 32, HOUR_NS // 2),
        begun("d" * 32, 1_000),  # imported without times: of no age
        begun("e" * 32, 3 * HOUR_NS),
        msgspec.structs.replace(ended, run="e" * 32),
    )
    (found,) = doctor.examine(place).findings
    assert (found.severity, found.kind) == ("note", "unended_runs")
    assert found.message.startswith("1 run ")
    assert "a" * 32 in found.message

    writer = Writer(place)
    record = begun("f" * 32, 2 * HOUR_NS)
    writer.append(codec.encode_json(record), _clock.wall_ns(), record.run)
    writer.flush()
    assert "f" * 32 not in doctor.examine(place).findings[0].message  # its process is alive
    writer.close()
    assert "2 runs" in doctor.examine(place).findings[0].message


def test_a_usage_that_says_nothing_is_noted(place):
    """It is kept, and nobody would miss its tokens otherwise."""
    ts = _clock.format_ns(_clock.wall_ns())
    stated = ({"value": "1,200 tokens"}, {"prompt_tokens": 3}, {"prompt_tokens": None}, {})
    calls = [Generation(ts=ts, run=RUN, usage=usage.from_stated(one)) for one in stated]
    write(place, *calls, Generation(ts=ts, run=RUN))

    (found,) = doctor.examine(place).findings
    assert (found.severity, found.kind) == ("note", "usage_not_understood")
    assert found.message.startswith("1 model call ")


def test_a_sound_log_has_figures_and_no_findings(place):
    """Records are counted by kind and bytes by folder."""
    path = write(place, event(), event("again"))

    found = doctor.examine(place, deep=True)

    assert found.findings == []
    assert found.records == {"event": 2}
    assert found.disk_bytes["log"] == path.stat().st_size
    assert found.segments[0].hot
    assert not found.segments[0].live


def test_a_killed_writer_leaves_a_torn_tail_that_is_located(place):
    """While the writer lives its half line is no finding; once it is dead it is a note with offset
    and length.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(place.root)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "written\n"
    alive = doctor.examine(place)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()

    dead = doctor.examine(place)

    assert (kinds(alive), len(alive.writers_alive)) == ([], 1)
    assert (kinds(dead), dead.worst(), dead.writers_alive) == (["torn_tail"], "note", [])
    assert dead.segments[0].torn_bytes == 25
    assert dead.segments[0].torn_at == dead.segments[0].size_bytes - 25


def test_lines_of_others_and_missing_lines_are_told_apart(place):
    """A line that is no record is foreign; a hole in the numbering is a missing line."""
    path = write(place, event("a"), event("b"), event("c"))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2] + b"printed by mistake\n")

    found = doctor.examine(place)

    figures = found.segments[0]
    assert kinds(found) == ["foreign_lines"]
    assert (figures.records, figures.foreign_lines) == (2, 1)
    assert figures.foreign_at == len(lines[0] + lines[2])
    path.write_bytes(lines[0] + lines[2])
    assert kinds(doctor.examine(place)) == ["missing_lines"]


def test_losses_are_summed_by_run_and_reason(place):
    """Gap records become one finding for each run and reason."""
    gap = Gap(ts="2026-01-01T00:00:00Z", run=RUN, lost=3, reason="disk full")
    write(place, event(), gap, gap)

    found = doctor.examine(place)

    assert found.gaps == [doctor.Loss(RUN, "disk full", 6)]
    assert "6 records of 1 run" in found.findings[0].message
    assert found.worst() == "warning"


def test_blobs_are_checked_for_presence_and_with_deep_for_their_bytes(place):
    """A missing blob is found at once, a changed one when digests are asked for."""
    marker = blobs.put(place, b"x" * 40_000, "text")
    write(place, event(value=marker))
    path = blobs.path_of(place, marker["sha256"])

    path.write_bytes(b"changed")
    assert kinds(doctor.examine(place)) == []
    assert kinds(doctor.examine(place, deep=True)) == ["corrupt_blobs"]
    path.unlink()
    assert kinds(doctor.examine(place)) == ["missing_blobs"]


def test_text_that_looks_like_a_blob_reference_is_none(place):
    """What a user wrote inside a text does not count as a reference."""
    write(place, event(f'{{"{MARK}":"blob","sha256":"{"a" * 64}"}}'))

    assert doctor.examine(place).findings == []


def test_markers_catalog_and_log_are_held_against_each_other(place):
    """A marker without a segment, a segment nobody lists and an archived segment that is gone are
    each found.
    """
    first, second = write(place, event()), write(place, event())
    archive(place, name_of(first))
    (place.hot / name_of(second).replace("/", ".")).unlink()
    (place.hot / "2026-01-01.nobody-1-ab.1").touch()
    first.unlink()

    assert kinds(doctor.examine(place)) == [
        "unseen_segments",
        "archived_segments_gone",
        "orphan_markers",
    ]


def test_the_archive_is_held_against_its_catalog(place):
    """A part that is missing or cut is an error, a file that the catalog does not name is a
    note.
    """
    path = write(place, event())
    archive(place, name_of(path), parts=[Part("events-1.parquet", "events", 1, 4, 1)])
    assert kinds(doctor.examine(place)) == ["damaged_parts"]

    (place.archive / "events-1.parquet").write_bytes(b"PAR1")
    (place.archive / "events-0.parquet").write_bytes(b"left over")
    assert kinds(doctor.examine(place)) == ["unlisted_parts"]

    place.catalog.write_text("{")
    found = doctor.examine(place)
    assert "damaged_catalog" in kinds(found)
    assert "whence rebuild" in found.findings[0].next_step


def test_files_that_do_not_belong_are_named(place):
    """Strays in the log and unfinished blobs are notes."""
    path = write(place, event())
    (path.parent / "notes.txt").write_text("mine")
    folder = place.blobs / "ab"
    folder.mkdir(parents=True)
    (folder / f"ab{'0' * 62}.1.2.tmp").write_text("half")

    assert sorted(kinds(doctor.examine(place))) == ["stray_files", "unfinished_blobs"]


def test_progress_ends_with_everything_read(place):
    """The last call reports as many bytes read as there are."""
    write(place, event())
    write(place, event())
    calls = []

    doctor.examine(place, progress=lambda done, total: calls.append((done, total)))

    assert len(calls) == 2
    assert calls[-1][0] == calls[-1][1]


def test_examining_changes_nothing(place):
    """No file appears, goes or changes."""
    path = write(place, event())
    path.with_name("stray").touch()
    before = [(p, p.stat().st_mtime_ns) for p in sorted(place.root.rglob("*"))]

    doctor.examine(place, deep=True)

    assert [(p, p.stat().st_mtime_ns) for p in sorted(place.root.rglob("*"))] == before


def test_records_that_only_the_archive_has_are_an_error(place):
    """A segment cut after it was archived is told apart from one whose writer was killed."""
    path = write(place, event(), event(), event())
    compact(place)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-2]))
    found = doctor.examine(place)

    assert kinds(found) == ["shortened_segments"]
    assert "2 records" in found.findings[0].message
    assert "do not run `whence rebuild`" in found.findings[0].next_step
