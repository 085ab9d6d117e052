"""What the writer promises: a record whose call returned is in the file, whole and once."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from logs import RUN, all_records, body, messages, paths, records, write

from whence import _clock
from whence.log import segment
from whence.log.home import Home
from whence.log.writer import NOT_WRITTEN, REFUSED, Writer, split_place

NS = 1_000_000_000
DAY_NS = 86_400 * NS


@pytest.fixture
def place(home):
    return Home(home)


def test_a_record_is_in_the_file_when_the_call_returns(place):
    """No flush, no close: the line is there, and its place points at it."""
    writer = Writer(place)
    for number in range(3):
        offset = split_place(write(writer, f"m{number}"))[1]
        line = paths(place)[0].read_bytes()[offset:]
        assert line == b'{"v":1,"seq":%d,%b\n' % (number + 1, body(f"m{number}")[1:])
    assert writer.written == 3


def test_nothing_is_on_the_disk_before_the_first_record(place):
    """A writer that writes nothing leaves nothing behind."""
    Writer(place).close()

    assert not place.root.exists()


def test_a_full_segment_is_followed_by_another(place):
    """Rotation keeps every record, numbers each segment from 1 and forgets no marker."""
    writer = Writer(place, rotate_bytes=1000)
    for number in range(50):
        write(writer, f"m{number}")

    assert messages(place) == [f"m{number}" for number in range(50)]
    assert len(paths(place)) > 3
    assert all(path.stat().st_size < 1200 for path in paths(place))
    for path in paths(place):
        assert [r.seq for r in records(path)] == list(range(1, len(records(path)) + 1))
    assert segment.list_hot(place) == list(segment.iter_all(place))


def test_a_new_day_begins_a_new_segment(place):
    """A segment holds records of one UTC day, whose folder it is in."""
    writer = Writer(place)
    noon = 20_000 * DAY_NS + DAY_NS // 2
    write(writer, "today", now_ns=noon)
    write(writer, "last", now_ns=20_001 * DAY_NS - 1)
    write(writer, "tomorrow", now_ns=20_001 * DAY_NS)

    assert [(n.day, n.n) for n in segment.iter_all(place)] == [("2024-10-04", 1), ("2024-10-05", 2)]
    assert messages(place) == ["today", "last", "tomorrow"]


def test_a_clock_that_jumps_back_does_no_harm(place):
    """Records stay in the order they were written."""
    writer = Writer(place)
    for number, now_ns in enumerate((5 * DAY_NS, 4 * DAY_NS, 6 * DAY_NS, 1)):
        write(writer, str(number), now_ns=now_ns)

    assert messages(place) == ["0", "1", "2", "3"]


def test_a_record_that_refers_to_a_left_segment_is_refused(place):
    """It would refer to bytes of another file."""
    writer = Writer(place, rotate_bytes=10)
    first = split_place(write(writer, "a"))[0]

    assert writer.append(body("b"), _clock.wall_ns(), RUN, serial=first) == REFUSED
    assert messages(place) == ["a"]


def test_a_segment_is_live_until_its_writer_leaves_it(place):
    """Rotation and closing give it up; a later record opens a new one."""
    writer = Writer(place, rotate_bytes=10)
    write(writer, "a")
    write(writer, "b")
    assert [segment.is_live(path) for path in paths(place)] == [False, True]

    writer.close()
    assert not any(map(segment.is_live, paths(place)))

    write(writer, "c")
    assert [segment.is_live(path) for path in paths(place)] == [False, False, True]


def test_a_segment_is_never_seen_unlocked_while_its_writer_lives(place):
    """Whoever looks while segments are born finds none that seems to be dead and then grows."""
    stop = threading.Event()
    dead: dict[str, int] = {}

    def look():
        while not stop.is_set():
            for path in paths(place):
                if not segment.is_live(path):
                    dead.setdefault(str(path), path.stat().st_size)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        writer = Writer(place, rotate_bytes=1)
        for number in range(300):
            write(writer, str(number))
    finally:
        stop.set()
        watcher.join()

    assert [p for p, size in dead.items() if Path(p).stat().st_size != size] == []
    assert writer.lost == 0
    assert len(messages(place)) == 300


@pytest.mark.parametrize("durability", ["process", "group", "record"])
def test_every_durability_keeps_every_record(place, durability):
    """They differ in what a power failure may take, not in what is written."""
    writer = Writer(place, durability=durability, rotate_bytes=5_000)
    for number in range(200):
        write(writer, str(number))
    until = time.monotonic() + 20
    while writer._unsynced and time.monotonic() < until:  # a group is synced by a thread
        time.sleep(0.01)
    assert writer._unsynced == 0
    writer.close()

    assert messages(place) == list(map(str, range(200)))


def test_a_closed_writer_leaves_no_thread_behind(place):
    """The syncing thread ends, also when the writer is closed and used again."""
    writer = Writer(place, durability="group")
    for _ in range(20):
        write(writer, "a")
        writer.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(
        t.name == "whence-sync" for t in threading.enumerate()
    ):
        time.sleep(0.01)

    assert not [t for t in threading.enumerate() if t.name == "whence-sync"]


def test_threads_share_a_writer(place):
    """32 threads, rotation in between: every record once, in each thread's own order."""
    writer = Writer(place, rotate_bytes=20_000)

    def work(thread):
        for number in range(100):
            assert write(writer, f"{thread}:{number}") >= 0

    threads = [threading.Thread(target=work, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = messages(place)
    assert len(found) == len(set(found)) == writer.written == 3200
    for thread in range(32):
        mine = [int(m.partition(":")[2]) for m in found if m.startswith(f"{thread}:")]
        assert mine == list(range(100))


def test_a_forked_child_has_its_own_segment(place):
    """Parent and child write on, none into the other's file, and the parent's lock stays."""
    program = """
import os, sys
from pathlib import Path
import whence
whence.configure(Path(sys.argv[1]))
with whence.run("r") as run:
    run.event("before")
    pid = os.fork()
    run.event("child" if pid == 0 else "parent")
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    run.event("after")
"""
    subprocess.run([sys.executable, "-c", program, str(place.root)], check=True, timeout=30)

    assert sorted(messages(place)) == ["after", "before", "child", "parent"]
    assert len(paths(place)) == 2
    for path in paths(place):
        assert [r.seq for r in records(path)] == list(range(1, len(records(path)) + 1))


def test_a_signal_handler_may_record(place):
    """A handler that runs in the middle of a write adds its record and loses none."""
    writer = Writer(place)
    count = 0

    def handler(_signal, _frame):
        nonlocal count
        count += 1
        write(writer, "from the handler")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for number in range(20_000):
            write(writer, str(number))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    writer.flush()

    found = messages(place)
    assert count > 0
    assert found.count("from the handler") == count
    assert len(found) == 20_000 + count
    assert [r.seq for r in all_records(place)] == list(range(1, len(found) + 1))


def test_a_finalizer_may_record(place):
    """Objects whose `__del__` records are collected while records are written."""
    writer = Writer(place)

    class Recorder:
        def __init__(self):
            self.me = self

        def __del__(self):
            write(writer, "finalized")

    threshold = gc.get_threshold()
    gc.set_threshold(5, 2, 2)
    try:
        for number in range(500):
            Recorder()
            write(writer, str(number))
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    writer.flush()

    assert messages(place).count("finalized") == 500
    assert len(messages(place)) == 1000


def test_a_record_from_within_a_write_is_not_lost_at_the_end(place):
    """It waits for the next write, or for the flush."""
    writer = Writer(place)
    write(writer, "first")
    writer._busy = True
    assert write(writer, "within") == NOT_WRITTEN
    writer._busy = False
    writer.close()

    assert messages(place) == ["first", "within"]


def is_in_append(frame) -> bool:
    if "/whence/" not in frame.f_code.co_filename:
        return False  # in a finalizer or hook of somebody else, where it would be lost
    while frame is not None:
        if frame.f_code.co_qualname.startswith("Writer.append"):
            return True
        frame = frame.f_back
    return False


def test_an_interrupt_leaves_whole_lines_and_a_working_writer(place):
    """An exception from a signal may strike anywhere in a write: what was acknowledged is there."""
    writer = Writer(place)
    acknowledged = []
    interrupts = 0

    def interrupt(_signal, frame):
        if is_in_append(frame):
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0003)
    number = 0
    try:
        while interrupts < 100:
            number += 1
            try:
                where = write(writer, str(number))
            except KeyboardInterrupt:
                interrupts += 1
            else:
                acknowledged.append((number, where))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert write(writer, "the end") >= 0

    found = messages(place)
    assert len(found) == len(set(found))
    assert {str(number) for number, where in acknowledged if where >= 0} <= set(found)
    assert found[-1] == "the end"
    for path in paths(place):  # a segment that was interrupted at its birth is empty
        assert path.read_bytes()[-1:] in {b"", b"\n"}
