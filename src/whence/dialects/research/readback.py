"""What this process wrote of a run, read back from its own segments while the run is fresh.

Comes in: a mark of where the log stood when the run began. Goes out: the run as a tree, as every
reader will see it, redaction included. Only what was written since the mark is looked at, so this
takes a few milliseconds where opening a store would take a hundred. What other processes recorded
in the run is not there; a store has it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from whence import _clock
from whence.capture.state import current as state
from whence.errors import RecordError
from whence.log import blobs, reader, segment
from whence.log.home import Home
from whence.log.segment import SegmentName
from whence.query import restore, tree
from whence.record import codec, values
from whence.store import load
from whence.store.pointrows import POINT_TABLES
from whence.store.rows import TABLES, TIME_FIELD
from whence.store.staterows import run_row, span_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from whence.query.tree import RunTree
    from whence.store.rows import Row


class Mark(msgspec.Struct, frozen=True):
    """Where the segments of this process ended."""

    home: Home
    """The home they are in."""
    sizes: dict[SegmentName, int]
    """Segment to its bytes."""


def mark() -> Mark:
    """Return where the log of this process stands now."""
    home = Home(state.load().home)
    return Mark(home, {name: _size(home, name) for name in _own_segments(home)})


def value_getter(home: Home) -> Callable[[Any], Any]:
    """Return a function that puts recorded values back, those in blobs included."""

    def get(value: Any) -> Any:
        return values.restore(value, lambda marker: restore.blob_value(marker, _blob_of(home)))

    return get


def read(since: Mark, run_id: str) -> RunTree | None:
    """Return the run as this process has written it; None if its start is not in the log.

    Raises:
        OSError: A segment cannot be read.
    """
    places = {str(name): [begin, end] for name, begin, end in _stretches(since)}
    projection = load.read_run(since.home, run_id, places)
    run = projection.runs.get(run_id)
    if run is None or run.start is None:
        return None
    rows: dict[str, list[Row]] = {table: list(projection.points[table]) for table in POINT_TABLES}
    rows["runs"] = [run_row(run, live=True)]
    rows["spans"] = [span_row(one, live=True) for one in projection.spans.values() if one.is_row]
    for table, of_table in rows.items():
        of_table.sort(key=lambda row, name=TIME_FIELD[table]: (getattr(row, name), row.id))
    return tree.build({table: rows[table] for table in TABLES}, _blob_of(since.home))


def has_generation(since: Mark, run_id: str, stage: str, from_ns: int) -> bool:
    """Whether this process recorded a model call in a stage of the run from a time on.

    Returns:
        True if it did so itself, or code that it called.

    Raises:
        OSError: A segment cannot be read.
    """
    wanted = run_id.encode()
    for name, begin, _ in _stretches(since):
        for line in reader.iter_lines(name.path_in(since.home), begin):
            if b'"kind":"generation"' not in line.content or wanted not in line.content:
                continue
            try:
                record = codec.decode(line.content)
            except RecordError:  # a line that merely quotes the words; reading tells of it
                continue
            is_there = record.run == run_id and record.stage == stage
            if is_there and _clock.parse_ns(record.ts) >= from_ns:
                return True
    return False


def _stretches(since: Mark) -> Iterator[tuple[SegmentName, int, int]]:
    """Yield the segments that may hold what was written since the mark, from where, and their end.

    A segment that was archived meanwhile has no marker any more; its number is between the others.
    """
    home = since.home
    names = {*since.sizes, *_own_segments(home)}
    days = {name.day for name in names}
    numbers: dict[str, set[int]] = {}
    for name in names:
        numbers.setdefault(name.writer, set()).add(name.n)
    for writer, known in numbers.items():
        missing = set(range(min(known), max(known))) - known
        names |= {segment.SegmentName(day, writer, n) for n in missing for day in days}
    for name in sorted(names):
        begin, end = since.sizes.get(name, 0), _size(home, name)
        if end > begin:
            yield name, begin, end


def _own_segments(home: Home) -> list[SegmentName]:
    own = f"-{os.getpid()}-"
    try:
        return [name for name in segment.list_hot(home) if own in name.writer]
    except OSError:  # a home that cannot be read: whoever reads the run finds nothing of it
        return []


def _size(home: Home, name: SegmentName) -> int:
    try:
        return name.path_in(home).stat().st_size
    except OSError:
        return 0


def _blob_of(home: Home) -> restore.GetBlob:
    return lambda digest: blobs.get(home, digest)
