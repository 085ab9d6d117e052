"""An erasure takes content out of old records, on record, and changes nothing else."""

from __future__ import annotations

import os
from functools import partial

import msgspec
import pytest
from homes import fill
from logs import all_records, paths, records

import whence
from whence import _clock
from whence.capture.context import current_scope
from whence.errors import ArchiveBusyError
from whence.log import blobs, catalog, doctor, segment
from whence.log.home import Home
from whence.log.writer import Writer
from whence.record import codec
from whence.record.generation import Generation
from whence.record.values import is_marker
from whence.store import erasure
from whence.store.base import Order
from whence.store.compactor import compact, rebuild
from whence.store.duckdb import DuckDBStore
from whence.store.memory import MemoryStore
from whence.store.predicate import ALWAYS
from whence.store.rows import TABLES, TIME_FIELD

FOREVER_NS = 2**62
STEPS = ("written", "recorded", "out of archive", "replaced")


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def place(home):
    return Home(home)


def silent(record):
    """What the tests take out: the reasoning of every model call."""
    if isinstance(record, Generation) and record.reasoning is not None:
        return msgspec.structs.replace(record, reasoning=None)
    return record


def erase(place, change=silent, before_ns=FOREVER_NS, **how):
    return erasure.erase(place, change, before_ns=before_ns, why="a test", **how)


def rows_of(store):
    """Return all rows by table, without what erasures tell of themselves."""
    found = {table: store.select(table, ALWAYS, Order(TIME_FIELD[table])) for table in TABLES}
    found["events"] = [row for row in found["events"] if not row.message.startswith("erasure")]
    store.close()
    return found


def without_reasoning(rows):
    changed = [msgspec.structs.replace(row, reasoning=None) for row in rows["generations"]]
    return {**rows, "generations": changed}


def filled(place, seed, state):
    """Fill a home with odd records; archive nothing, everything, or bit by bit."""
    pause = partial(compact, place) if state == "bit by bit" else None
    for writer in fill(place, seed, runs=20, pause=pause):
        writer.close()
    if state == "archived":
        compact(place)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("state", ["hot", "archived", "bit by bit"])
def test_nothing_but_the_content_is_gone(place, seed, state):
    """Of odd records of every kind, over many segments, both stores show the rest as it was."""
    filled(place, seed, state)
    expected = without_reasoning(rows_of(MemoryStore(place)))
    numbers = {path: [record.seq for record in records(path)] for path in paths(place)}

    report = erase(place)

    assert report.records > 0
    assert rows_of(MemoryStore(place)) == expected
    assert rows_of(DuckDBStore(place)) == expected
    assert {path: [record.seq for record in records(path)] for path in numbers} == numbers


def conversation(home, turns=12):
    """Record a run whose history is resent with every call, and return what was said."""
    whence.configure(home)
    token = current_scope.set(None)
    history = []
    with whence.run("talk") as run:
        for turn in range(turns):
            history.append({"role": "user", "content": f"turn {turn} " * 100})
            run.record_generation(
                model="m",
                messages=list(history),
                reasoning=f"Hm {turn}. " * 50,
                parameters={"tools": ["a tool"] * 300},
                prompt_template="A template. " * 200,
            )
        with whence.span("later", kind="step", input=["a tool"] * 300):
            pass
    current_scope.reset(token)
    whence.configure(home, enabled=False)
    return history


def test_references_are_made_anew(place):
    """Lines move; a history that was sent again stays small, and reads whole."""
    history = conversation(place.root)
    before = sum(path.stat().st_size for path in paths(place))

    report = erase(place)

    assert (report.records, report.old_bytes) == (12, before)
    assert report.new_bytes < before
    assert report.new_bytes < 3 * len(codec.encode_json(history)) + 20_000
    with whence.open(place.root) as store:
        assert store.problems() == []
        assert store.generations().items[0].messages == history
        assert {row.reasoning for row in store.generations()} == {None}
        assert store.run(store.runs().items[0].id).spans[0].row.input == ["a tool"] * 300


def test_what_is_younger_stays(place):
    """The moment divides the records of one segment."""
    writer = Writer(place)
    for second in range(4):
        ts_ns = _clock.parse_ns(f"2026-03-01T00:00:0{second}Z")
        record = Generation(
            ts=_clock.format_ns(ts_ns), run="1" * 32, id=f"{second:016x}", reasoning="Hm."
        )
        writer.append(codec.encode_json(record), ts_ns, record.run)
    writer.close()

    report = erase(place, before_ns=_clock.parse_ns("2026-03-01T00:00:02Z"))

    assert report.records == 2
    kept = [r.reasoning for r in all_records(place) if isinstance(r, Generation)]
    assert kept == [None, None, "Hm.", "Hm."]


def test_the_log_tells_of_it(place):
    """An event says what was done, to how many records, in which segments, before when."""
    conversation(place.root)

    report = erase(place, before_ns=FOREVER_NS)

    assert report.recorded
    with whence.open(place.root) as store:
        (event,) = store.events("level = 'warning'").items
    assert event.message == "erasure took content out of 12 records: a test"
    assert event.data["segments"] == report.segments
    assert event.data["before"] == report.before


def test_doing_it_again_changes_nothing(place):
    """What is gone is gone, and no second event says so."""
    conversation(place.root)
    erase(place)
    content = [path.read_bytes() for path in paths(place)]

    again = erase(place)

    assert (again.records, again.segments, again.recorded) == (0, [], False)
    assert [path.read_bytes() for path in paths(place)] == content


def test_a_dry_run_changes_nothing(place):
    """It says what would go."""
    conversation(place.root)
    compact(place)
    content = [path.read_bytes() for path in paths(place)]
    version = catalog.read(place).version

    report = erase(place, dry_run=True)

    assert (report.records, report.new_bytes, report.dry_run) == (12, None, True)
    assert [path.read_bytes() for path in paths(place)] == content
    assert catalog.read(place).version == version


def test_a_segment_that_is_still_written_is_left_for_later(place):
    """Its process would write on in a file that nobody reads."""
    conversation(place.root)
    whence.configure(place.root)
    with whence.run("now") as run:
        run.record_generation(reasoning="Hm.")

        report = erase(place)

    assert report.records == 12
    (kept,) = report.kept
    assert "still writes it" in kept.reason
    whence.configure(place.root, enabled=False)
    assert erase(place).records == 1


def test_blobs_that_only_it_referred_to_go(place):
    """One that another record refers to stays."""
    whence.configure(place.root)
    with whence.run("long") as run:
        run.record_generation(reasoning="only here " * 10_000, output="shared " * 10_000)
        run.event("shared", text="shared " * 10_000)
        run.record_generation(reasoning="shared " * 10_000)
    whence.configure(place.root, enabled=False)
    sizes = [blobs.path_of(place, one).stat().st_size for one in blobs.iter_digests(place)]
    assert len(sizes) == 2

    report = erase(place)

    assert (report.blobs, report.blob_bytes) == (1, 100_000)
    assert len(blobs.iter_digests(place)) == 1
    with whence.open(place.root) as store:
        assert store.generations().items[-1].output == "shared " * 10_000
    assert [found for found in doctor.examine(place).findings if found.severity == "error"] == []


def test_damaged_lines_and_torn_tails_stay_as_they_are(place):
    """They are no records, and nothing in them is touched."""
    conversation(place.root)
    (path,) = paths(place)
    damage = b'{"no": "record"}\n\nnot json\n'
    with path.open("r+b") as file:
        whole = file.read()
        file.seek(0)
        file.write(damage + whole + b'{"v":1,"seq":9')
    # Every reference of the segment leads elsewhere now, and says so before and after.
    problems = len(MemoryStore(place).problems())
    generations = MemoryStore(place).count("generations", ALWAYS)

    erase(place)

    assert path.read_bytes().startswith(damage)
    assert path.read_bytes().endswith(b'\n{"v":1,"seq":9')
    assert len(MemoryStore(place).problems()) == problems
    assert MemoryStore(place).count("generations", ALWAYS) == generations


def test_a_reference_that_led_nowhere_still_does(place):
    """A damaged value stays a marker and is not made up."""
    conversation(place.root, turns=3)
    (path,) = paths(place)
    path.write_bytes(path.read_bytes().replace(b"turn 0", b"turn X", 1))

    erase(place)

    with whence.open(place.root) as store:
        last = store.generations().items[0]
        assert any(is_marker(message, "same") for message in last.messages)
        assert store.problems()


@pytest.mark.parametrize("state", ["hot", "archived"])
@pytest.mark.parametrize("at", STEPS)
def test_cut_off_at_any_step_it_is_finished_by_doing_it_again(place, at, state):
    """In between, a reader finds every record, as it was or as it is to be."""
    filled(place, 5, state)
    before = rows_of(MemoryStore(place))

    def stop(step):
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        erase(place, steps=stop)

    between = rows_of(DuckDBStore(place))
    assert without_reasoning(between) == without_reasoning(before)
    erase(place)
    assert rows_of(DuckDBStore(place)) == without_reasoning(before)
    assert rows_of(MemoryStore(place)) == without_reasoning(before)
    assert not list(place.log.glob("*/*.erased"))
    rebuild(place)
    assert rows_of(DuckDBStore(place)) == without_reasoning(before)


def test_nothing_changes_while_another_process_changes_the_archive(place):
    """It holds the archive's lock for as long as it takes."""
    conversation(place.root)

    with catalog.locked(place), pytest.raises(ArchiveBusyError):
        erase(place)

    assert erase(place).records == 12


def test_a_reader_that_was_open_before_sees_it_with_its_next_question(place):
    """The archive has another version then."""
    conversation(place.root)
    compact(place)
    with whence.open(place.root) as store:
        assert store.generations().items[0].reasoning

        erase(place)

        assert {row.reasoning for row in store.generations()} == {None}


def test_the_file_keeps_who_may_read_it(place):
    """A log that is private stays so."""
    conversation(place.root)
    (path,) = paths(place)
    path.chmod(0o640)

    erase(place)

    assert path.stat().st_mode & 0o777 == 0o640
    assert segment.parse_name(f"{path.parent.name}/{path.stem}") is not None


def test_a_home_without_old_records_is_left_alone(place):
    """Also one that holds nothing at all."""
    assert erase(place).records == 0
    conversation(place.root)
    assert erase(place, before_ns=1).records == 0
    assert os.listdir(place.root / "log")  # noqa: PTH208 - names are all that is asked for
