"""Writing events with a writer and reading them back, for the tests of the log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence import _clock
from whence.log import reader, segment
from whence.log.reader import Problem
from whence.record import codec
from whence.record.event import Event, Gap

if TYPE_CHECKING:
    from pathlib import Path

    from whence.log.home import Home
    from whence.log.writer import Writer
    from whence.record.codec import AnyRecord

RUN = "0" * 31 + "1"
TS = "2026-01-01T00:00:00.000000000Z"


def body(message: str, run: str = RUN) -> bytes:
    """Return an event as a writer takes it."""
    return codec.encode_json(Event(ts=TS, run=run, message=message))


def write(writer: Writer, message: str, run: str = RUN, now_ns: int | None = None) -> int:
    """Append an event now and return its place."""
    return writer.append(body(message, run), now_ns or _clock.wall_ns(), run)


def paths(home: Home) -> list[Path]:
    """Return the files of all segments, in order."""
    return [name.path_in(home) for name in segment.iter_all(home)]


def records(path: Path) -> list[AnyRecord]:
    """Return the records of one segment; problems are passed over."""
    found = reader.iter_records(path, "s")
    return [item[1] for item in found if not isinstance(item, Problem)]


def all_records(home: Home) -> list[AnyRecord]:
    """Return the records of all segments."""
    return [record for path in paths(home) for record in records(path)]


def messages(home: Home) -> list[str]:
    """Return the messages of all events."""
    return [record.message for record in all_records(home) if isinstance(record, Event)]


def gaps(home: Home) -> list[Gap]:
    """Return all gap records."""
    return [record for record in all_records(home) if isinstance(record, Gap)]
