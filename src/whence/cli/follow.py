"""Reads the newest records of a log, and then those that are being written, in order of time.

Comes in: a home. Goes out: batches of `(segment, record)`. Every segment is followed on its own
from where it was left; what follows its last line break is left for the next look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from whence import _clock
from whence.errors import RecordError
from whence.log import reader, segment
from whence.log.reader import Problem
from whence.record import codec
from whence.record.codec import AnyRecord
from whence.store.load import iter_resolved

if TYPE_CHECKING:
    from pathlib import Path

    from whence.log.home import Home
    from whence.log.segment import SegmentName

BLOCK_BYTES = 1 << 18
_BATCH = 256

Keep = Callable[[list[AnyRecord]], list[AnyRecord]]
"""Returns those of a batch that are wanted."""


class Follower:
    """How far each segment of a home has been read."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._offsets: dict[SegmentName, int] = {}
        for name in segment.iter_all(home):
            self._offsets[name] = reader.torn_tail(name.path_in(home))[0]

    def read_new(self) -> list[AnyRecord]:
        """Return the records written since the last call or the start, in order of time."""
        found: list[AnyRecord] = []
        for name in segment.list_hot(self._home):
            self._offsets.setdefault(name, 0)
        for name, offset in self._offsets.items():
            path = name.path_in(self._home)
            if not path.exists() or path.stat().st_size <= offset:
                continue
            for item in iter_resolved(path, str(name), offset):
                if not isinstance(item, Problem):
                    _, record, self._offsets[name] = item
                    found.append(record)
        return sorted(found, key=_time)


def _time(record: AnyRecord) -> str:
    return record.ts


def last_records(home: Home, count: int, keep: Keep) -> list[AnyRecord]:
    """Return the last `count` wanted records of the log in order of time.

    Reads segments from their ends, the youngest first, and stops where nothing younger can follow.
    """
    paths = [
        (path.stat().st_mtime_ns, path)
        for name in segment.iter_all(home)
        if (path := name.path_in(home))
    ]
    found: list[AnyRecord] = []
    if count <= 0:
        return found
    for written_ns, path in sorted(paths, reverse=True):
        if len(found) == count and written_ns < _clock.parse_ns(found[0].ts):
            break
        newest: list[AnyRecord] = []
        for batch in _iter_batches_backward(path):
            newest += keep(batch)
            if len(newest) >= count:
                break
        found = sorted([*found, *newest], key=_time)[-count:]
    return found


def _iter_batches_backward(path: Path) -> Iterator[list[AnyRecord]]:
    batch: list[AnyRecord] = []
    for line in iter_lines_backward(path):
        try:
            batch.append(codec.decode(line))
        except RecordError:
            continue
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def iter_lines_backward(path: Path) -> Iterator[bytes]:
    """Yield the whole lines of a file from the last to the first."""
    with path.open("rb", buffering=0) as file:
        end = reader.torn_tail(path)[0]
        rest = b""
        while end > 0:
            begin = max(0, end - BLOCK_BYTES)
            file.seek(begin)
            block = b""
            while len(block) < end - begin and (more := file.read(end - begin - len(block))):
                block += more
            lines = (block + rest).split(b"\n")
            rest = lines[0]
            yield from (line for line in reversed(lines[1:]) if line.strip())
            end = begin
        if rest.strip():
            yield rest
