"""Nothing is imported twice and nothing is lost, whatever happens between two imports."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from otlpdata import chat, contents, request, span, write_lines

import whence
from whence.errors import StoreError
from whence.ingest import ledger, segments
from whence.ingest.importer import import_paths
from whence.ingest.sink import Sink
from whence.log import segment
from whence.log.home import Home
from whence.record.event import Event
from whence.record.run import RunStarted
from whence.store import compactor

IMPORT = """
import sys
from whence.ingest.importer import import_paths
import_paths(sys.argv[1], sys.argv[2:])
"""
FORK = """
import os, sys, threading
from pathlib import Path
from whence.errors import StoreError
from whence.ingest.sink import Sink
from whence.log.home import Home
from whence.record.event import Event

home, ts = Home(Path(sys.argv[1])), "2026-01-01T00:00:00.000000000Z"
begun = threading.Event()

def event(number):
    return Event(ts=ts, run="a" * 32, id=f"{number:016x}", message="m")

def work(sink):
    with sink.batch():
        sink.take(event(2))
        begun.set()
        waiting.wait(0.3)
        sink.take(event(3))

waiting = threading.Event()
with Sink(home) as sink:
    thread = threading.Thread(target=work, args=(sink,))
    thread.start()
    begun.wait()
    child = os.fork()
    if child:
        thread.join()
        with sink.batch():
            sink.take(event(4))
            child_in_batch = os.fork()
    else:
        try:
            with sink.batch():
                sink.take(event(5))
        except StoreError as error:
            print(error)
if not child:
    with Sink(home) as own, own.batch():
        own.take(event(6))
elif child_in_batch:
    assert os.waitpid(child, 0)[1] == 0 and os.waitpid(child_in_batch, 0)[1] == 0
"""


def traces(count, *, first=0, spans=8):
    """Return requests of one trace each, a root and its calls."""
    for number in range(first, first + count):
        trace = f"trace {number}"
        calls = [
            span(f"call {n}", "root", chat((n, 1)), trace=trace, at=(n, n + 1))
            for n in range(spans - 1)
        ]
        yield request(*calls, span("root", None, trace=trace, at=(0, 99)))


@pytest.fixture
def many(tmp_path):
    return write_lines(tmp_path / "many.jsonl", *traces(200))


def count(home):
    with whence.open(home) as store:
        return len(store.spans(limit=None)), len(store.generations(limit=None))


def test_a_ledger_that_is_gone_is_made_anew_from_the_log(home, many):
    """Without its ledger a home still knows what it has."""
    first = import_paths(home, [many])
    shutil.rmtree(home / "imported")

    second = import_paths(home, [many])

    assert (second.new, second.already_there) == (0, first.new)
    assert count(home) == (1600, 1400)


def test_a_damaged_ledger_is_made_anew_from_the_log(home, many):
    """A file that is no database is replaced."""
    import_paths(home, [many])
    ledger.path_of(Home(home)).write_bytes(b"this is not SQLite" * 100)

    assert import_paths(home, [many]).new == 0


def test_what_left_the_log_is_forgotten_and_can_come_again(home, many):
    """Where the log's segments are removed, the ledger does not claim that they are there."""
    first = import_paths(home, [many])
    for folder in ("log", "hot"):
        shutil.rmtree(home / folder)

    again = import_paths(home, [many])

    assert again.new == first.new
    assert count(home) == (1600, 1400)


def test_a_second_import_leaves_no_trace_in_the_log(home, many):
    """Where nothing is new, no segment is opened."""
    import_paths(home, [many])
    before = sorted(path.name for path in (home / "log").rglob("*"))

    import_paths(home, [many])

    assert sorted(path.name for path in (home / "log").rglob("*")) == before


def test_a_file_that_grew_gains_what_is_new(home, tmp_path):
    """Importing it again adds the new traces and says how many records were there."""
    path = write_lines(tmp_path / "log.jsonl", *traces(5))
    first = import_paths(home, [path])
    write_lines(path, *traces(8))

    second = import_paths(home, [path])

    assert second.already_there == first.new
    assert (second.runs, count(home)) == (8, (64, 56))


def test_an_import_killed_anywhere_is_completed_by_the_next(tmp_path, many):
    """After SIGKILL at a random moment the next import has each record exactly once."""
    whole = contents_of(tmp_path / "whole", many)
    rng = random.Random(1)  # noqa: S311 - no secret
    killed = 0
    for number in range(6):
        home = tmp_path / f"home {number}"
        with subprocess.Popen([sys.executable, "-c", IMPORT, str(home), str(many)]) as process:
            wait_for_segment(home, process)
            time.sleep(rng.random() * 0.15)
            process.send_signal(signal.SIGKILL)
        killed += process.returncode == -signal.SIGKILL

        import_paths(home, [many])

        assert contents(home) == whole
    assert killed


def contents_of(home, source):
    import_paths(home, [source])
    return contents(home)


def wait_for_segment(home, process):
    while process.poll() is None and not list((home / "log").rglob("*.jsonl")):
        time.sleep(0.001)


@pytest.mark.parametrize("whole_lines", [0, 1, 7, 700])
def test_a_batch_that_is_in_the_log_but_not_in_the_ledger_is_read_back(
    whole_lines, home, many, tmp_path
):
    """Killed after any line of a batch, also within one, an import is completed without doubles."""
    whole = contents_of(tmp_path / "whole", many)
    import_paths(home, [many])
    ledger.path_of(Home(home)).unlink()
    (path,) = (home / "log").rglob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:whole_lines]) + lines[whole_lines][:20])

    import_paths(home, [many])

    assert contents(home) == whole


def test_two_imports_of_one_source_at_once_are_one(home, many):
    """Processes that import the same file together write each record once."""
    processes = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", IMPORT, str(home), str(many)])
        for _ in range(3)
    ]
    codes = [process.wait(60) for process in processes]

    assert codes == [0, 0, 0]
    assert count(home) == (1600, 1400)


def test_a_long_import_sees_what_another_left_when_it_was_killed(home):
    """An open sink reads back the batch of a process that died before it could enter it."""
    with Sink(Home(home)) as mine:
        with mine.batch():
            mine.take(RunStarted(ts="2026-01-01T00:00:00.000000000Z", run="a" * 32, name="mine"))
        other = segments.Segments(Home(home))
        other.prepare()
        other.add(
            b'{"kind":"run_started","ts":"2026-01-01T00:00:00.000000000Z",'
            b'"run":"%s","name":"theirs"}' % (b"b" * 32)
        )
        other.write()
        other.close()

        with mine.batch():
            theirs = RunStarted(ts="2026-01-01T00:00:00.000000000Z", run="b" * 32, name="theirs")
            new = mine.take(theirs)

    assert new is False


def test_a_batch_that_fails_is_not_there(home):
    """An error inside a batch leaves neither lines nor knowledge of them; the next one works."""
    event = Event(ts="2026-01-01T00:00:00.000000000Z", run="a" * 32, id="1" * 16, message="x")
    with Sink(Home(home)) as sink:
        with contextlib.suppress(ZeroDivisionError), sink.batch():
            sink.take(event)
            raise ZeroDivisionError
        with sink.batch():
            assert sink.take(event)
        with sink.batch():
            assert not sink.take(event)

    with whence.open(home) as store:
        assert len(store.events(limit=None)) == 1


def test_a_full_disk_stops_the_import_and_the_next_completes_it(home, many):
    """What fits is kept, the error says so, and nothing is there twice afterwards."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(home), str(many)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    import_paths(home, [many])

    assert "StoreError" in done.stderr
    assert count(home) == (1600, 1400)


def test_a_home_that_cannot_be_written_is_refused(tmp_path, many):
    """The error names the file and is one of ours."""
    blocked = tmp_path / "file"
    blocked.write_text("no folder")

    with pytest.raises(StoreError, match="imported"):
        import_paths(blocked / "home", [many])


def test_readers_see_an_import_while_it_goes_on(home):
    """A batch is visible as soon as it is written, while the sink is open."""
    with Sink(Home(home)) as sink, whence.open(home) as store:
        with sink.batch():
            sink.take(RunStarted(ts="2026-01-01T00:00:00.000000000Z", run="a" * 32, name="live"))

        (run,) = store.runs(limit=None).items
        assert (run.name, run.status) == ("live", "running")


def test_memory_of_what_is_known_is_bounded(home, monkeypatch, tmp_path):
    """With room for few keys an import still finds everything that is there."""
    monkeypatch.setattr(ledger, "MEMORY_KEYS", 100)
    path = write_lines(tmp_path / "many.jsonl", *traces(60))
    first = import_paths(home, [path])

    second = import_paths(home, [path])

    assert (second.new, second.already_there) == (0, first.new)


def test_threads_of_one_process_may_import_at_once(home, tmp_path):
    """Each with a sink of its own."""
    paths = [write_lines(tmp_path / f"{n}.jsonl", *traces(20, first=20 * n)) for n in range(4)]
    threads = [threading.Thread(target=import_paths, args=(home, [path])) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert count(home) == (640, 560)
    assert os.path.exists(ledger.path_of(Home(home)))  # noqa: PTH110 - as a user would look


def test_an_import_is_archived_like_anything_else(home, many):
    """Compacting changes no row, and the next import finds everything there."""
    first = import_paths(home, [many])
    before = contents(home)

    compactor.compact(Home(home))

    assert contents(home) == before
    assert import_paths(home, [many]).already_there == first.new


def test_a_forked_child_leaves_its_parents_import_alone(home):
    """Forked while a thread imports, or within a batch: each record is there once, by its own."""
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(home)], capture_output=True, text=True, check=True
    )
    with whence.open(home) as store:
        ids = sorted(int(row.id, 16) for row in store.events(limit=None))

    assert ids == [2, 3, 4, 6]
    assert "forked" in done.stdout
    assert not any(
        segment.is_live(name.path_in(Home(home))) for name in segments.iter_imported(Home(home))
    )
    with Sink(Home(home)) as sink, sink.batch():
        assert sink.run("a" * 32).keys == {f"{number:016x}" for number in ids}
