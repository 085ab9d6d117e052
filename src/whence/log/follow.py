"""Follows what one writer appends, over all of its segments, while it writes.

Comes in: a home and the name of a writer. Goes out: its records in order, each once, references
resolved. Nothing waits for a follower and a follower holds no lock: what it has not read is in the
log, however far behind it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.errors import RecordError
from whence.log import reader, segment
from whence.log.reader import Problem
from whence.log.resolve import Resolver
from whence.record import codec

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.log.home import Home
    from whence.log.segment import SegmentName
    from whence.record.codec import AnyRecord


class Follower:
    """Where the reading of one writer's segments stands.

    Args:
        home: The home.
        writer: Name of the writer.
        containing: Pass over lines that do not hold these bytes, unread.
    """

    def __init__(self, home: Home, writer: str, *, containing: bytes = b"") -> None:
        self._home = home
        self._writer = writer
        self._name: SegmentName | None = None
        self._offset = 0
        self._resolver: Resolver | None = None
        self._containing = containing

    def iter_records(self) -> Iterator[tuple[str, int, AnyRecord] | Problem]:
        """Yield segment, offset and record for what was written since, and what is no record.

        Whoever stops in the middle goes on there the next time.

        Raises:
            OSError: A segment cannot be read.
        """
        while True:
            later = self._next()  # asked first: once there is a later segment, this one is whole
            if self._name is not None:
                yield from self._rest(self._name)
            if later is None:
                return
            self._go_to(later)

    def _rest(self, name: SegmentName) -> Iterator[tuple[str, int, AnyRecord] | Problem]:
        path, shown = name.path_in(self._home), str(name)
        for line in reader.iter_lines(path, self._offset):
            self._offset = line.offset + len(line.content) + 1
            if not line.content.strip() or self._containing not in line.content:
                continue
            try:
                record = codec.decode(line.content)
            except RecordError as error:
                yield Problem(shown, line.offset, str(error))
                continue
            if self._resolver is not None:
                record, _ = self._resolver.resolve(line.offset, record)
            yield shown, line.offset, record

    def _next(self) -> SegmentName | None:
        """Return the segment after the current one; None if there is none yet."""
        after, found = self._name, None
        try:
            days = [path for path in self._home.log.iterdir() if path.is_dir()]
        except FileNotFoundError:
            return None
        for day in days:
            if after is not None and day.name < after.day:
                continue
            for path in day.glob(f"{self._writer}.*.jsonl"):
                name = segment.parse_name(f"{day.name}/{path.name.removesuffix('.jsonl')}")
                if name is None or name.writer != self._writer:
                    continue
                if (after is None or name.n > after.n) and (found is None or name.n < found.n):
                    found = name
        return found

    def _go_to(self, name: SegmentName) -> None:
        self._name, self._offset = name, 0
        path = name.path_in(self._home)
        self._resolver = Resolver(lambda offset: _record_at(path, offset))


def _record_at(path: Path, offset: int) -> AnyRecord | None:
    """Return the record on a line; None if there is none."""
    if offset < 0:
        return None
    try:
        return codec.decode(reader.read_line(path, offset))
    except (RecordError, OSError):
        return None
