"""From the log into a projection.

Whole records only, references resolved, each segment once and from where it was left.

Comes in: a home. Goes out: records handed to a `Projection`, and what could not be read. It knows
nothing of any store's tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.errors import RecordError
from whence.log import reader, segment
from whence.log.reader import Problem
from whence.log.resolve import Resolver
from whence.record import codec
from whence.record.span import SpanStarted
from whence.store.project import FindStart, Projection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.log.home import Home
    from whence.log.segment import SegmentName
    from whence.record.codec import AnyRecord


class Tail:
    """How far one segment has been read."""

    def __init__(self, home: Home, name: SegmentName) -> None:
        self.name = name
        self.path = name.path_in(home)
        self.offset = 0
        self.live = True

    def read_into(self, projection: Projection, problems: list[Problem]) -> int:
        """Hand over the records written since the last call and return their number.

        Returns:
            The number of records.

        Raises:
            OSError: The file cannot be read.
        """
        count = 0
        name = str(self.name)
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return 0
        for item in iter_resolved(self.path, name, self.offset, size):
            if isinstance(item, Problem):
                if item.offset >= self.offset:
                    problems.append(item)
                continue
            offset, record, end = item
            projection.add(record, name, offset)
            self.offset = end
            count += 1
        return count

    def has_grown(self) -> bool:
        """Whether the segment is longer than what was read."""
        try:
            return self.path.stat().st_size > self.offset
        except FileNotFoundError:
            return False

    def check_live(self) -> bool:
        """Return whether the writer lives.

        A dead writer stays dead, so that is asked only until it is.
        """
        if self.live:
            self.live = segment.is_live(self.path)
        return self.live


def iter_resolved(
    path: Path, name: str, start: int = 0, stop: int | None = None
) -> Iterator[tuple[int, AnyRecord, int] | Problem]:
    """Yield `(offset, record, end)` with references put back, and problems; see `iter_lines`.

    Raises:
        OSError: The file cannot be read.
    """
    resolver = resolver_of(path)
    for line in reader.iter_lines(path, start, stop):
        if not line.content.strip():
            continue
        try:
            record = codec.decode(line.content)
        except RecordError as error:
            yield Problem(name, line.offset, str(error))
            continue
        record, complaints = resolver.resolve(line.offset, record)
        for complaint in complaints:
            yield Problem(name, line.offset, complaint)
        yield line.offset, record, line.offset + len(line.content) + 1


def resolver_of(path: Path) -> Resolver:
    """Return a resolver for the segment at `path`."""

    def fetch(offset: int) -> AnyRecord | None:
        try:
            return codec.decode(reader.read_line(path, offset))
        except (RecordError, OSError):
            return None

    return Resolver(fetch)


def start_finder(home: Home) -> FindStart:
    """Return a function that finds a span's start in earlier segments of the same writer."""

    def find(run: str, span: str, asking: str) -> SpanStarted | None:
        name = segment.parse_name(asking)
        if name is None:
            return None
        earlier = [
            other
            for other in segment.iter_all(home)
            if other.writer == name.writer and other.n < name.n
        ]
        for other in reversed(earlier):
            path = other.path_in(home)
            for line in reader.iter_lines(path):
                if span.encode() not in line.content or b'"span_started"' not in line.content:
                    continue
                try:
                    record = codec.decode(line.content)
                except RecordError:  # reported by whoever reads that segment
                    continue
                if isinstance(record, SpanStarted) and (record.run, record.span) == (run, span):
                    found, _ = resolver_of(path).resolve(line.offset, record)
                    return found if isinstance(found, SpanStarted) else record
        return None

    return find


def read_run(home: Home, run_id: str, places: dict[str, list[int]]) -> Projection:
    """Return the projection of one run, read from the stretches of the log where it stands.

    Args:
        home: The home.
        run_id: The run.
        places: Segment name to the offsets of its first and last line.
    """
    projection = Projection(start_finder(home))
    wanted = run_id.encode()
    known = {
        parsed: place
        for name, place in places.items()
        if (parsed := segment.parse_name(name)) is not None
    }
    for parsed in sorted(known):
        name, (begin, end) = str(parsed), known[parsed]
        path = parsed.path_in(home)
        if not path.exists():
            continue
        _read_stretch(path, name, begin, end, wanted, run_id, projection)
    return projection


def _read_stretch(  # noqa: PLR0917 - private, and called in one place
    path: Path, name: str, begin: int, end: int, wanted: bytes, run_id: str, projection: Projection
) -> None:
    resolver = resolver_of(path)
    for line in reader.iter_lines(path, begin, end + 1):
        if wanted not in line.content:
            continue
        try:
            record = codec.decode(line.content)
        except RecordError:
            continue
        if record.run != run_id:
            continue
        record, _ = resolver.resolve(line.offset, record)
        projection.add(record, name, line.offset)
