"""A disk that fails costs records, not the program: each one is counted and told of."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time

import pytest
from logs import RUN, gaps, messages, paths, records, write

from whence import _clock
from whence.log.home import Home
from whence.log.reader import Problem, iter_records
from whence.log.writer import Writer

TMPFS_BYTES = 1 << 20
HOUR_NS = 3_600_000_000_000
MOUNT, UMOUNT = shutil.which("mount"), shutil.which("umount")


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of one MiB."""
    if os.geteuid() != 0 or MOUNT is None or UMOUNT is None:
        pytest.skip("mounting a small file system needs root")
    mount = tmp_path / "disk"
    mount.mkdir()
    command = [MOUNT, "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(mount)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no small file system could be mounted: {made.stderr.strip()}")
    yield mount
    subprocess.run([UMOUNT, "--lazy", str(mount)], check=True)


def assert_exact(writer: Writer, home: Home, offered: int) -> None:
    """Offered is stored plus lost, and the gap records tell of each lost one."""
    assert writer.written + writer.lost == offered
    assert len(messages(home)) == writer.written
    assert sum(gap.lost for gap in gaps(home)) == writer.lost


def lost_after_the_cure(writer: Writer) -> int:
    """Write until a record is kept, which one is that is written a second after the cure or later.

    Returns:
        The number of records that were not.
    """
    cured = began = time.monotonic()
    lost = 0
    while write(writer, "cured") < 0:
        lost += 1
        assert began - cured < 1
        began = time.monotonic()
    return lost


@pytest.mark.parametrize("durability", ["process", "group", "record"])
def test_a_full_disk_loses_only_what_did_not_fit(small_disk, durability):
    """No exception, no half line, an exact count, and records again within a second of the cure."""
    home = Home(small_disk / "home")
    ballast = small_disk / "ballast"
    writer = Writer(home, durability=durability)
    offered = 0
    ballast.write_bytes(bytes(TMPFS_BYTES // 2))
    while offered < 1000:
        offered += 1
        write(writer, f"{offered:06d}" + "x" * 2000, run=f"{offered % 3:032x}")
    assert 0 < writer.lost < offered
    assert "No space left" in writer.last_reason

    ballast.unlink()
    offered += lost_after_the_cure(writer)
    offered += 1
    writer.close()

    assert_exact(writer, home, offered)
    assert {gap.run for gap in gaps(home)} == {f"{n:032x}" for n in range(3)}
    for path in paths(home):
        assert path.read_bytes().endswith(b"\n")
        assert not [item for item in iter_records(path, "s") if isinstance(item, Problem)]
        assert [r.seq for r in records(path)] == list(range(1, len(records(path)) + 1))


def test_a_disk_that_fills_and_empties_again_and_again_stays_exact(small_disk):
    """Short writes are repaired each time, with rotation in between."""
    home = Home(small_disk / "home")
    ballast = small_disk / "ballast"
    writer = Writer(home, rotate_bytes=30_000)
    offered = 0
    for turn in range(12):
        disk = os.statvfs(small_disk)
        ballast.write_bytes(bytes(max(0, disk.f_bavail * disk.f_frsize - 12_288 * (turn % 3 + 1))))
        for _ in range(60):
            offered += 1
            write(writer, "x" * (400 + 997 * offered % 1000))
        ballast.unlink()
    time.sleep(0.11)
    assert write(writer, "the end") >= 0
    writer.close()

    assert writer.lost > 0
    assert_exact(writer, home, offered + 1)


@pytest.fixture
def no_descriptors():
    """A function that takes every file descriptor there is, and gives them back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = []

    def take():
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        while True:
            try:
                held.append(os.open("/dev/null", os.O_RDONLY))
            except OSError:
                return

    def give():
        while held:
            os.close(held.pop())
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    yield take, give
    give()


def test_without_file_descriptors_records_are_counted(home, no_descriptors):
    """EMFILE at the first record: the log begins when descriptors are free."""
    take, give = no_descriptors
    place = Home(home)
    writer = Writer(place)
    take()
    for _ in range(50):
        assert write(writer, "lost") < 0
    give()
    offered = 50
    offered += lost_after_the_cure(writer)
    writer.close()

    assert_exact(writer, place, offered + 1)
    assert "Too many open files" in gaps(place)[0].reason


def test_rotation_needs_no_further_descriptor(home, no_descriptors):
    """A writer that has a segment keeps writing, rotation included, when no descriptor is left."""
    take, give = no_descriptors
    place = Home(home)
    writer = Writer(place, rotate_bytes=500)
    write(writer, "before")
    take()
    for _ in range(50):
        write(writer, "x" * 100)
    give()

    assert len(paths(place)) > 10
    assert_exact(writer, place, 51)
    assert writer.lost == 0


def test_a_home_that_cannot_be_made_costs_the_records_only(tmp_path):
    """A file stands where the home should be; when it is gone, records are kept."""
    blocker = tmp_path / "blocked"
    blocker.write_text("in the way")
    place = Home(blocker / "home")
    writer = Writer(place)
    for _ in range(10):
        assert write(writer, "lost") < 0
    writer.flush()
    blocker.unlink()
    time.sleep(0.11)
    assert write(writer, "kept") >= 0
    writer.close()

    assert_exact(writer, place, 11)
    assert gaps(place)[0].since is not None


def test_a_clock_that_is_set_back_does_not_prolong_the_wait(tmp_path):
    """A disk that failed is tried again soon, whatever the clock says meanwhile."""
    blocker = tmp_path / "blocked"
    blocker.write_text("in the way")
    place = Home(blocker / "home")
    writer = Writer(place)
    assert write(writer, "lost") < 0
    blocker.unlink()
    assert write(writer, "kept", now_ns=_clock.wall_ns() - HOUR_NS) >= 0
    writer.close()

    assert_exact(writer, place, 2)


def test_a_home_that_is_deleted_is_noticed_though_the_clock_is_set_back(home):
    """The writer looks once a second of any clock."""
    place = Home(home)
    writer = Writer(place)
    now_ns = _clock.wall_ns()
    write(writer, "deleted", now_ns=now_ns)
    shutil.rmtree(home)
    assert write(writer, "kept", now_ns=now_ns - HOUR_NS) >= 0
    writer.close()

    assert messages(place) == ["kept"]
    assert_exact(writer, place, 2)


def test_a_descriptor_that_the_program_closed_costs_one_record(home):
    """Daemons close all descriptors they find; the next record finds another segment."""
    place = Home(home)
    writer = Writer(place)
    write(writer, "before")
    os.close(writer._fd)
    assert write(writer, "lost") < 0
    assert write(writer, "after") >= 0
    writer.close()

    assert messages(place) == ["before", "after"]
    assert_exact(writer, place, 3)


def test_a_descriptor_that_became_another_file_is_left_alone(home, tmp_path):
    """Within a second no line goes to the program's own file any more, and those are counted."""
    place = Home(home)
    writer = Writer(place)
    now_ns = _clock.wall_ns()
    write(writer, "before", now_ns=now_ns)
    with (tmp_path / "theirs").open("wb", buffering=0) as theirs:
        number = writer._fd
        os.dup2(theirs.fileno(), number)
        write(writer, "in the wrong file", now_ns=now_ns)
        size = os.fstat(number).st_size
        write(writer, "after", now_ns=now_ns + 1_000_000_000)
        writer.close()
        assert os.fstat(number).st_size == size
        os.close(number)

    assert messages(place) == ["before", "after"]
    assert_exact(writer, place, 3)


def test_a_read_only_disk_costs_the_records_only(small_disk):
    """Made read-only under the writer, and writable again."""
    place = Home(small_disk / "home")
    writer = Writer(place, rotate_bytes=500)
    write(writer, "before")
    writer.close()
    subprocess.run([MOUNT, "-o", "remount,ro", str(small_disk)], check=True)
    try:
        for _ in range(20):
            write(writer, "x" * 100)
    finally:
        subprocess.run([MOUNT, "-o", "remount,rw", str(small_disk)], check=True)
    time.sleep(0.11)
    write(writer, "after")
    writer.close()

    assert writer.lost == 20
    assert_exact(writer, place, 22)


def test_a_home_that_is_deleted_is_noticed(home):
    """What the deleted file held counts as lost, and within a second records are kept again."""
    place = Home(home)
    writer = Writer(place)
    offered = 0
    for _ in range(5):
        offered += 1
        write(writer, "deleted")
    shutil.rmtree(home)
    deleted = time.monotonic()
    while not messages(place):
        offered += 1
        began = time.monotonic()
        write(writer, "unseen or kept")
        assert began - deleted < 1.5 or messages(place)
        time.sleep(0.01)
    writer.close()

    assert_exact(writer, place, offered)
    assert gaps(place)[0].run == ""


def test_a_home_deleted_at_the_end_is_noticed_by_the_flush(home):
    """The report does not claim records that nobody can read."""
    writer = Writer(Home(home))
    write(writer, "deleted")
    shutil.rmtree(home)
    writer.flush()

    assert (writer.written, writer.lost) == (0, 1)


def test_a_path_that_is_no_unicode_is_told_of(tmp_path):
    """The reason of a gap names the folder, which may have any bytes in its name."""
    blocker = tmp_path / os.fsdecode(b"\xff\xfe")
    blocker.write_text("in the way")
    place = Home(blocker / "home")
    writer = Writer(place)
    write(writer, "lost")
    blocker.unlink()
    time.sleep(0.11)
    write(writer, "kept")

    assert messages(place) == ["kept"]
    assert "\\udcff" in gaps(place)[0].reason


def test_losses_are_counted_by_run(home):
    """Each run learns what it lost."""
    home.write_text("in the way")
    place = Home(home)
    writer = Writer(place)
    for run in "aab":
        write(writer, "lost", run=run * 32)
    home.unlink()
    time.sleep(0.11)
    write(writer, "kept", run=RUN)

    assert {gap.run: gap.lost for gap in gaps(place)} == {"a" * 32: 2, "b" * 32: 1}
