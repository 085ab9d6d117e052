"""Retention removes whole old days, never what is in use, and says so in the log."""

from __future__ import annotations

import os

import pytest

from whence import _clock
from whence.errors import ArchiveBusyError, ConfigError
from whence.log import blobs, catalog, reader, retention, segment
from whence.log.home import Home
from whence.log.segment import SegmentName
from whence.log.writer import Writer
from whence.record import codec
from whence.record.event import Event

NOW_NS = _clock.parse_ns("2026-03-31T12:00:00Z")


@pytest.fixture
def place(home):
    return Home(home)


def add_day(place, day, *, hot=False, marker=None, writer="w-1-ab"):
    """Make one finished segment of one event on `day` and return its name."""
    name = SegmentName(day, writer, 1)
    os.close(segment.create(place, name))
    data = {"value": marker} if marker else None
    record = Event(v=1, seq=1, ts=f"{day}T08:00:00Z", run="r", message="m", data=data)
    name.path_in(place).write_bytes(codec.encode(record) + b"\n")
    if not hot:
        (place.hot / name.marker).unlink()
    return str(name)


def add_blob(place, content, day):
    marker = blobs.put(place, content, "bytes")
    written_s = _clock.parse_ns(f"{day}T08:00:00Z") / 1e9
    os.utime(blobs.path_of(place, marker["sha256"]), (written_s, written_s))
    return marker


def retain(place, keep_days=30, *, dropped=None, **settings):
    dropped = [] if dropped is None else dropped
    return retention.retain(
        place,
        keep_days=keep_days,
        now_ns=NOW_NS,
        drop_archived=lambda _, names: dropped.extend(names),
        **settings,
    )


def names(place):
    return [str(name) for name in segment.iter_all(place)]


def test_the_plan_counts_today_and_whole_days(place):
    """Keeping two days on the 31st keeps the 31st and the 30th."""
    for day in ("2026-03-28", "2026-03-29", "2026-03-30", "2026-03-31"):
        add_day(place, day)

    plan = retention.plan(place, 2, NOW_NS)

    assert plan.cutoff == "2026-03-30"
    assert [day.day for day in plan.days] == ["2026-03-28", "2026-03-29"]


def test_keeping_no_day_is_refused(place):
    """The day that is being written cannot be removed."""
    with pytest.raises(ConfigError, match="keep at least 1"):
        retention.plan(place, 0, NOW_NS)


def test_a_day_with_a_live_or_unarchived_segment_stays_whole(place):
    """One segment in use keeps its neighbours of the same day, and the reason is given."""
    add_day(place, "2026-01-01")
    add_day(place, "2026-01-01", hot=True, writer="w-2-cd")
    add_day(place, "2026-01-02")
    fd = segment.create(place, SegmentName("2026-01-02", "w-3-ef", 1))

    plan = retention.plan(place, 30, NOW_NS)
    os.close(fd)

    assert plan.days == []
    assert "not archived" in plan.kept[0].reason
    assert "w-3-ef" in plan.kept[1].reason


def test_old_days_go_archive_first_and_the_log_says_so(place):
    """Rows leave the archive before segments leave the log, and an event tells what went."""
    old = add_day(place, "2026-01-01")
    young = add_day(place, "2026-03-30")
    there = []

    report = retention.retain(
        place,
        keep_days=30,
        now_ns=NOW_NS,
        drop_archived=lambda _, n: there.extend([*n, *names(place)]),
    )

    assert there == [old, old, young]
    assert old not in names(place)
    assert young in names(place)
    assert not (place.log / "2026-01-01").exists()
    assert (report.segments, report.recorded) == (1, True)
    [event] = [
        record
        for name in segment.iter_all(place)
        if name.day == "2026-03-31"
        for _, record in reader.iter_records(name.path_in(place), str(name))
    ]
    assert event.data["segments"] == [old]


def test_a_dry_run_changes_nothing_and_tells_the_same(place):
    """What a dry run reports is what the real one does."""
    add_day(place, "2026-01-01", marker=add_blob(place, b"old", "2026-01-01"))
    before = sorted(place.root.rglob("*"))

    dry = retain(place, dry_run=True)
    after = sorted(place.root.rglob("*"))
    real = retain(place)

    assert after == before
    assert (
        (dry.days, dry.blobs, dry.blob_bytes)
        == (real.days, real.blobs, real.blob_bytes)
        != ([], 0, 0)
    )


def test_blobs_go_with_the_last_record_that_refers_to_them(place):
    """A blob that a remaining record refers to stays; one that only removed records knew goes."""
    shared = add_blob(place, b"shared", "2026-01-01")
    lonely = add_blob(place, b"lonely", "2026-01-01")
    add_day(place, "2026-01-01", marker=shared)
    add_day(place, "2026-01-02", marker=lonely)
    add_day(place, "2026-03-30", marker=shared)

    report = retain(place)

    assert blobs.iter_digests(place) == [shared["sha256"]]
    assert (report.blobs, report.blob_bytes) == (1, 6)


def test_a_young_blob_that_nothing_refers_to_yet_stays(place):
    """Its record may be on its way."""
    marker = add_blob(place, b"young", "2026-03-31")
    forgotten = add_blob(place, b"forgotten", "2026-01-01")
    add_day(place, "2026-03-30")

    retain(place)

    assert blobs.iter_digests(place) == [marker["sha256"]]
    assert forgotten["sha256"] not in blobs.iter_digests(place)


def test_a_blob_that_a_live_writer_takes_up_again_meanwhile_comes_back(place):
    """A writer that found the blob in place just before it went still finds it afterwards."""
    marker = add_blob(place, b"again", "2026-01-01")
    add_day(place, "2026-01-01", marker=marker)
    writer = Writer(place)

    def drop(_home, _names):
        record = Event(ts="2026-03-31T12:00:00Z", run="r", message="m", data={"value": marker})
        writer.append(codec.encode_json(record), NOW_NS, "r")

    retention.retain(place, keep_days=30, now_ns=NOW_NS, drop_archived=drop)
    writer.close()

    assert blobs.get(place, marker["sha256"]) == b"again"


def test_nothing_is_removed_while_the_archive_is_busy(place):
    """Whoever changes the archive keeps retention out."""
    old = add_day(place, "2026-01-01")

    with catalog.locked(place), pytest.raises(ArchiveBusyError):
        retain(place)

    assert names(place) == [old]


def test_a_removal_that_was_cut_short_is_finished_by_the_next(place):
    """After the archive let go of the rows and the process died, the segments go with the next
    call.
    """
    old = add_day(place, "2026-01-01")

    def die(_home, _names):
        raise OSError(5, "killed")

    with pytest.raises(OSError, match="killed"):
        retention.retain(place, keep_days=30, now_ns=NOW_NS, drop_archived=die)
    retain(place)

    assert old not in names(place)


def test_nothing_to_remove_leaves_no_trace(place):
    """A home in which everything is young stays as it is, without an event."""
    add_day(place, "2026-03-30")
    before = sorted(place.root.rglob("*"))

    report = retain(place)

    assert sorted(place.root.rglob("*")) == before
    assert not report.recorded
