"""A follower gives what one writer appended, each record once, however it is interrupted."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from whence import _clock
from whence.log.follow import Follower
from whence.log.home import Home
from whence.log.reader import Problem
from whence.log.writer import Writer
from whence.record import codec
from whence.record.event import Event

RUN = "0" * 31 + "1"


def append(writer, number):
    ts = _clock.format_ns(_clock.wall_ns())
    record = Event(ts=ts, run=RUN, id=f"{number + 1:016x}", message=f"event {number}")
    writer.append(codec.encode_json(record), _clock.wall_ns(), RUN)


def messages(found):
    return [one[2].message for one in found]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=12))
def test_every_record_comes_once_and_in_order(tmp_path_factory, turns):
    """Whatever is written and read in turn, over many segments, nothing is missing or doubled."""
    home = Home(tmp_path_factory.mktemp("home"))
    writer, other = Writer(home, rotate_bytes=400), Writer(home)
    follower = Follower(home, writer.name)
    numbers, found = itertools.count(), []
    for written, read in turns:
        for _ in range(written):
            append(writer, next(numbers))
            append(other, 0)
        found += itertools.islice(follower.iter_records(), read)
    found += follower.iter_records()
    writer.close()
    other.close()

    assert messages(found) == [f"event {n}" for n in range(next(numbers))]


def test_a_line_that_is_not_whole_is_waited_for(home):
    """A torn tail is not given; once its line break is there, it is."""
    place = Home(home)
    writer = Writer(place)
    append(writer, 0)
    follower = Follower(place, writer.name)
    assert messages(follower.iter_records()) == ["event 0"]
    (path,) = place.log.rglob("*.jsonl")
    whole = path.read_bytes()

    with path.open("ab") as file:
        file.write(whole[:20])
        file.flush()
        assert list(follower.iter_records()) == []
        file.write(whole[20:])
    assert messages(follower.iter_records()) == ["event 0"]
    writer.close()


def test_what_is_no_record_is_a_problem_and_the_rest_goes_on(home):
    """A foreign line is told of, and what follows it comes."""
    place = Home(home)
    writer = Writer(place)
    append(writer, 0)
    (path,) = place.log.rglob("*.jsonl")
    with path.open("ab") as file:
        file.write(b"not a record\n")
    append(writer, 1)
    found = list(Follower(place, writer.name).iter_records())
    writer.close()

    assert [type(one) is Problem for one in found] == [False, True, False]


def test_lines_without_what_is_looked_for_are_not_given(home):
    """Only lines that contain it are decoded at all."""
    place = Home(home)
    writer = Writer(place)
    for number in range(12):
        append(writer, number)
    found = Follower(place, writer.name, containing=b"event 1").iter_records()

    assert messages(found) == ["event 1", "event 10", "event 11"]
    writer.close()


def test_a_home_without_a_log_gives_nothing(home):
    """There may be no record yet."""
    assert list(Follower(Home(home), "nobody").iter_records()) == []
