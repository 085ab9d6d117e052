"""Whole lines are read and nothing else, whatever state a crash left the file in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logs import body, messages, paths, records, write

from whence.log import reader
from whence.log.home import Home
from whence.log.reader import Problem
from whence.log.writer import Writer
from whence.store.memory import MemoryStore

GOOD = [b'{"v":1,"seq":%d,%b\n' % (n, body(f"m{n}")[1:]) for n in (1, 2, 3)]


def read(path, content):
    path.write_bytes(content)
    found = list(reader.iter_records(path, "s"))
    return (
        [item[1].message for item in found if not isinstance(item, Problem)],
        [item.offset for item in found if isinstance(item, Problem)],
    )


def test_a_log_cut_anywhere_reads_exactly_the_whole_records(tmp_path):
    """Every byte position of a file of three records."""
    whole = b"".join(GOOD)
    ends = [len(b"".join(GOOD[:n])) for n in range(4)]
    for cut in range(len(whole) + 1):
        expected = sum(end <= cut for end in ends[1:])
        content = whole[:cut]
        path = tmp_path / "log"
        assert read(path, content) == ([f"m{n + 1}" for n in range(expected)], [])
        assert reader.torn_tail(path) == (ends[expected], cut - ends[expected])


def test_every_crash_state_reads_what_was_synced_and_no_phantoms(tmp_path):
    """A synced prefix survives; behind it come whole or cut lines, or zeros."""
    lines = [b'{"v":1,"seq":%d,%b\n' % (n, body(f"m{n}")[1:]) for n in range(1, 21)]
    whole = b"".join(lines)
    ends = [len(b"".join(lines[:n])) for n in range(21)]
    names = [f"m{n}" for n in range(1, 21)]
    path = tmp_path / "log"
    # What was synced is a prefix of what is there, so a cut at every byte covers every synced part.
    for cut in range(len(whole) + 1):
        for zeros in (0, 512):
            found, _ = read(path, whole[:cut] + bytes(zeros))
            assert found == names[: sum(end <= cut for end in ends[1:])]
    # A hole: what came after the synced part was not written, though the file has its length.
    for synced in range(21):
        for hole in (1, len(lines[0]), 700):
            begin = ends[synced]
            left = whole[begin + hole :]
            found, _ = read(path, whole[:begin] + bytes(min(hole, len(whole) - begin)) + left)
            assert found[:synced] == names[:synced]
            assert set(found) <= set(names)
            assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("content", "expected", "problems"),
    [
        (GOOD[0] + b"not a record\n" + GOOD[1], ["m1", "m2"], 1),
        (GOOD[0].replace(b"\n", b"\r\n") + GOOD[1], ["m1", "m2"], 0),
        (GOOD[0] + bytes(4096), ["m1"], 0),
        (GOOD[0] + bytes(100) + b"\n" + GOOD[1], ["m1", "m2"], 1),
        (GOOD[0] + b'{"v":1,"kind":"event","message":"\xff\xfe"}\n' + GOOD[1], ["m1", "m2"], 1),
        (b"\n\n" + GOOD[0] + b"   \n" + GOOD[1], ["m1", "m2"], 0),
        (GOOD[0] + b'{"kind":"event"' + GOOD[1] + GOOD[2], ["m1", "m3"], 1),
        (GOOD[0] + b"[" * 100_000 + b"\n" + GOOD[1], ["m1", "m2"], 1),
        (b"", [], 0),
        (b"\n", [], 0),
    ],
    ids=[
        "foreign line",
        "carriage return",
        "zeros at the end",
        "zeros in a line",
        "bad UTF-8",
        "blank lines",
        "glued to a torn line",
        "nested deep",
        "empty",
        "one line break",
    ],
)
def test_a_damaged_log_gives_its_good_lines(tmp_path, content, expected, problems):
    """Bad lines are reported with their place and never become rows."""
    found, places = read(tmp_path / "log", content)

    assert found == expected
    assert len(places) == problems


@given(
    st.lists(st.sampled_from([*GOOD, b"junk\n", b"\n", b"\x00\n", b"\r\n", b"{}\n"]), max_size=12)
)
def test_good_lines_are_read_between_any_others(tmp_path_factory, lines):
    """In order, each as often as it stands there."""
    path = tmp_path_factory.mktemp("log") / "log"
    expected = [f"m{GOOD.index(line) + 1}" for line in lines if line in GOOD]

    assert read(path, b"".join(lines))[0] == expected


def test_a_line_of_20_megabytes_is_read(place):
    """Longer than any buffer, with others around it."""
    writer = Writer(place)
    for message in ("before", "x" * 20_000_000, "after"):
        write(writer, message)

    assert [len(message) for message in messages(place)] == [6, 20_000_000, 5]


def test_reading_goes_on_from_where_it_stopped(place):
    """A reader that follows sees each record once, also one it first saw half-written."""
    writer = Writer(place)
    write(writer, "a")
    store = MemoryStore(place)
    path = paths(place)[0]
    with path.open("ab") as file:
        line = b'{"v":1,"seq":2,%b\n' % body("b")[1:]
        file.write(line[:10])
        file.flush()
        store.refresh()
        assert len(store.projection.points["events"]) == 1
        file.write(line[10:])
    store.refresh()
    store.refresh()

    assert [row.message for row in store.projection.points["events"]] == ["a", "b"]
    assert store.problems() == []


def test_a_line_is_found_by_its_offset(place):
    """Only where a whole line begins."""
    writer = Writer(place)
    write(writer, "a")
    offset = write(writer, "b" * 200_000) & ((1 << 44) - 1)
    path = paths(place)[0]

    assert reader.read_line(path, offset).startswith(b'{"v":1,"seq":2')
    assert reader.read_line(path, path.stat().st_size) == b""


def test_a_foreign_writer_may_leave_out_what_only_we_need(tmp_path):
    """No `seq`, no id, another form of time: it is a record."""
    path = tmp_path / "log"
    path.write_bytes(
        b'{"v":1,"kind":"event","ts":"2026-01-01 00:00:00+01:00","run":"r","message":"m"}\n'
    )

    assert records(path)[0].message == "m"


@pytest.fixture
def place(home):
    return Home(home)
