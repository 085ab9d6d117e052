"""Takes content out of records that are old enough: the one change that the log allows, on record.

Comes in: a home, a moment, and a function from a record to the record as it may stay. Goes out: an
`ErasureReport`; the segments that held such records are written anew without that content, an event
in the log says so, blobs that nothing refers to any more are gone, and the archive is made again
from what changed. Records are neither removed nor added, and keep their ids, order and numbers.

A segment is written beside its place, read back, and compared record by record with what was meant,
before anything changes. Then its rows leave the archive, and it takes the old one's place: whoever
is cut off in between leaves a home that reads as before or as after, and doing it again finishes
it. A segment that a process still writes is left for later. It lives in the store layer for the
same reason as the compactor: it has to know log and archive.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock, _ids
from whence.errors import RecordError, StoreError
from whence.log import blobs, reader, retention, segment
from whence.log import catalog as catalogs
from whence.log.lines import VALUE_BYTES
from whence.log.reader import Problem
from whence.log.resend import Fragment, Seen
from whence.log.resolve import FIELDS, REFERRING
from whence.record import codec
from whence.record.base import FORMAT_VERSION
from whence.record.event import Event
from whence.store import compactor, load

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from whence.log.home import Home
    from whence.log.segment import SegmentName
    from whence.record.codec import AnyRecord

Change = Callable[["AnyRecord"], "AnyRecord"]
"""Returns the record as it may stay: the very same one where nothing is to be taken out."""

_SUFFIX = ".erased"


class KeptSegment(msgspec.Struct, frozen=True):
    """A segment that is old enough and stays as it is for now."""

    segment: str
    """Its name."""
    reason: str
    """Why, and what to do about it."""


class ErasureReport(msgspec.Struct, frozen=True):
    """What was taken out, or would be."""

    dry_run: bool
    """Whether nothing was changed."""
    before: str
    """The moment: records from it on are left alone. RFC 3339, UTC."""
    records: int
    """How many records lost content."""
    segments: list[str]
    """The segments they were in."""
    kept: list[KeptSegment]
    """Segments that may hold more and were left alone."""
    old_bytes: int
    """Size of these segments before."""
    new_bytes: int | None
    """Their size afterwards; null where nothing was changed."""
    blobs: int
    """How many blobs went with it."""
    blob_bytes: int
    """Their size."""
    recorded: bool
    """Whether the log tells of it."""


def erase(
    home: Home,
    change: Change,
    *,
    before_ns: int,
    why: str,
    dry_run: bool = False,
    steps: Callable[[str], None] | None = None,
) -> ErasureReport:
    """Return what was taken out of the records that are older than a moment.

    Args:
        home: The home.
        change: What a record is to lose. It is asked more than once about each, and has to answer
            the same.
        before_ns: The moment, Unix nanoseconds.
        why: What is done and why, for the event in the log.
        dry_run: Change nothing and say what would go.
        steps: Called with the name of each step as it is reached; the crash tests stop the process
            there.

    Raises:
        ArchiveBusyError: Another process is changing the archive.
        StoreError: A segment would not read back as was meant; nothing was changed.
        MissingExtraError: DuckDB is not installed and there is an archive to be made again.
        OSError: The disk refuses; doing it again finishes it.
    """
    step = steps or _no_step
    before = _clock.format_ns(before_ns)
    concerned, records, kept = _look(home, change, before)
    paths = [name.path_in(home) for name in concerned]
    report = ErasureReport(
        dry_run=dry_run,
        before=before,
        records=records,
        segments=[str(name) for name in concerned],
        kept=kept,
        old_bytes=sum(path.stat().st_size for path in paths),
        new_bytes=None,
        blobs=0,
        blob_bytes=0,
        recorded=False,
    )
    if dry_run or not concerned:
        return report
    with catalogs.locked(home):
        _remove_leftovers(home)
        for path in paths:
            _write_anew(path, change, before)
            step("written")
            _check(path, change, before)
        released = retention.digests_in(paths)
        event = _event(report, why)
        recorded = retention.record_event(home, event, _clock.wall_ns())
        step("recorded")
        _take_out_of_archive(home, concerned)
        step("out of archive")
        for path in paths:
            path.with_suffix(_SUFFIX).rename(path)
            _sync(path.parent)
            step("replaced")
        gone, gone_bytes = _remove_blobs(home, released)
    if home.catalog.exists():
        compactor.compact(home)
    return msgspec.structs.replace(
        report,
        new_bytes=sum(path.stat().st_size for path in paths),
        blobs=gone,
        blob_bytes=gone_bytes,
        recorded=recorded,
    )


def _no_step(_name: str) -> None:
    """Go on."""


def _look(
    home: Home, change: Change, before: str
) -> tuple[list[SegmentName], int, list[KeptSegment]]:
    """Return the segments to write anew, how many records change, and the segments left alone."""
    concerned: list[SegmentName] = []
    kept: list[KeptSegment] = []
    records = 0
    for name in segment.iter_all(home):
        if name.day > before[:10]:
            continue
        path = name.path_in(home)
        found = sum(
            1
            for item in load.iter_resolved(path, str(name))
            if not isinstance(item, Problem) and _changed(item[1], change, before) is not item[1]
        )
        if not found:
            continue
        if segment.is_live(path):
            reason = f"process {name.writer} still writes it; try again when it has ended"
            kept.append(KeptSegment(str(name), reason))
            continue
        concerned.append(name)
        records += found
    return concerned, records, kept


def _changed(record: AnyRecord, change: Change, before: str) -> AnyRecord:
    return change(record) if record.ts < before else record


def _write_anew(path: Path, change: Change, before: str) -> None:
    """Write the segment beside its place, without what it is to lose.

    Lines that hold no references stay byte for byte, damaged ones too; references are made anew,
    since lines move.
    """
    resolver = load.resolver_of(path)
    seen = Seen(None, 0)
    offset = 0
    with path.with_suffix(_SUFFIX).open("wb") as file:
        for line in reader.iter_lines(path):
            content, fragments = line.content, list[Fragment]()
            record = _decoded(content)
            if record is not None:
                whole, broken = resolver.resolve(line.offset, record)
                fitting = _changed(whole, change, before)
                if broken:  # what leads nowhere is for no other line to lead to
                    content = codec.encode(fitting)
                elif fitting is not record or isinstance(record, REFERRING):
                    content = _encoded(fitting, seen, fragments)
            file.write(content + b"\n")
            if fragments:
                seen.remember(offset, fragments)
            offset += len(content) + 1
        begin, length = reader.torn_tail(path)
        if length:
            with path.open("rb") as old:
                old.seek(begin)
                file.write(old.read(length))
        file.flush()
        os.fsync(file.fileno())
    shutil.copymode(path, path.with_suffix(_SUFFIX))


def _decoded(content: bytes) -> AnyRecord | None:
    try:
        return codec.decode(content) if content.strip() else None
    except RecordError:
        return None


def _encoded(record: AnyRecord, seen: Seen, fragments: list[Fragment]) -> bytes:
    """Return the line of a record, referring to what the lines before it hold."""
    if record.extra:
        return codec.encode(record)
    written: dict[str, Any] = {}
    for name in FIELDS:
        value = getattr(record, name, None)
        if value is None or (type(value) is str and len(value) < VALUE_BYTES):
            continue
        if name == "messages":
            texts = [codec.encode_json(message) for message in value]
            written[name] = seen.texts(texts, fragments)
        else:
            written[name] = seen.value((name,), codec.encode_json(value), fragments)
    plain = msgspec.structs.replace(record, v=0, seq=0, **written)
    return b'{"v":%d,"seq":%d,%b' % (FORMAT_VERSION, record.seq, codec.encode_json(plain)[1:])


def _check(path: Path, change: Change, before: str) -> None:
    """Compare what was written with what was meant, record by record."""
    meant = _iter_meant(path, change, before)
    made = _iter_meant(path.with_suffix(_SUFFIX), lambda record: record, before)
    ended = "end"
    place = 0
    while True:
        one, other = next(meant, ended), next(made, ended)
        if one != other:
            raise StoreError(
                f"{path} would not read back as it should at record {place}, so that nothing was "
                "changed. This is a defect of whence: please report it"
            )
        if one is ended:
            return
        place += 1


def _iter_meant(path: Path, change: Change, before: str) -> Iterator[AnyRecord | str]:
    """Yield each record as it may stay, and what is wrong with what is none."""
    for item in load.iter_resolved(path, path.name):
        if isinstance(item, Problem):
            yield "problem"
        else:
            yield msgspec.structs.replace(_changed(item[1], change, before), v=FORMAT_VERSION)


def _event(report: ErasureReport, why: str) -> bytes:
    now_ns = _clock.wall_ns()
    return codec.encode_json(
        Event(
            ts=_clock.format_ns(now_ns),
            run="",
            id=_ids.new_id(),
            message=f"erasure took content out of {report.records} records: {why}",
            level="warning",
            data={
                "why": why,
                "before": report.before,
                "records": report.records,
                "segments": report.segments,
            },
        )
    )


def _take_out_of_archive(home: Home, names: Sequence[SegmentName]) -> None:
    """Make the segments hot, and with them all that share a batch of the archive with them.

    The markers come first: a segment that is hot and archived reads as archived.
    """
    gone = {str(name) for name in names}
    catalog = catalogs.read(home)
    hit = [batch for batch in catalog.batches if gone & set(batch.segments)]
    if not hit:
        return
    home.hot.mkdir(parents=True, exist_ok=True)
    for name in (name for batch in hit for name in batch.segments):
        parsed = segment.parse_name(name)
        if parsed is not None and parsed.path_in(home).exists():
            (home.hot / parsed.marker).touch()
    numbers = {batch.number for batch in hit}
    after = msgspec.structs.replace(
        catalog,
        version=catalog.version + 1,
        batches=[batch for batch in catalog.batches if batch.number not in numbers],
        parts=[part for part in catalog.parts if part.batch not in numbers],
    )
    catalogs.commit(home, after)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _remove_blobs(home: Home, released: set[str]) -> tuple[int, int]:
    """Return how many blobs only the erased content referred to, and their size; they go."""
    present = [digest for digest in blobs.iter_digests(home) if digest in released]
    if not present:
        return 0, 0
    wanted = retention.digests_in(name.path_in(home) for name in segment.iter_all(home))
    going = [digest for digest in present if digest not in wanted]
    size = sum(blobs.path_of(home, digest).stat().st_size for digest in going)
    retention.remove_blobs(home, going)
    return len(going), size


def _remove_leftovers(home: Home) -> None:
    """Remove what an erasure that was cut off wrote beside the segments."""
    for path in home.log.glob(f"*/*{_SUFFIX}"):
        path.unlink(missing_ok=True)
