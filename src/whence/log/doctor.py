"""Looks at every file of a home and says what is wrong and what to do; it changes nothing.

Comes in: a home. Goes out: an `Examination` with the figures (segments, records, blobs, disk use)
and one `Finding` for everything a person should know: lines that are no records, records that were
lost, files that are missing, left over or damaged. It reads the whole log once, while others may
write to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from whence.errors import RecordError, StoreError
from whence.log import blobs, catalog, findings, reader, resolve, segment
from whence.log.catalog import Catalog
from whence.log.examination import (
    SEVERITIES,
    Examination,
    Finding,
    LogFigures,
    Loss,
    SegmentFigures,
)
from whence.record import codec, usage
from whence.record.event import Foreign, Gap
from whence.record.generation import Generation
from whence.record.run import RunEnded, RunStarted

if TYPE_CHECKING:
    from whence.log.home import Home
    from whence.log.segment import SegmentName

Progress = Callable[[int, int], None]
"""Gets the number of bytes read so far and the number of bytes in all."""

_BLOB = re.compile(rb'"\$whence":\s*"blob",\s*"sha256":\s*"([0-9a-f]{64})"')
_FOLDERS = ("log", "hot", "blobs", "archive")


def examine(home: Home, *, deep: bool = False, progress: Progress | None = None) -> Examination:
    """Return what the home holds and what is wrong with it.

    Reads every segment once.

    Args:
        home: The home to look at.
        deep: Check the digest of every blob and every reference to an earlier line as well, which
        reads all blobs.
        progress: Called now and then.

    Raises:
        OSError: A folder or file cannot be read.
    """
    found: list[Finding] = []
    archive = _read_catalog(home, found)
    hot = {str(name) for name in segment.list_hot(home)}
    names = list(segment.iter_all(home))
    total = sum(findings.size_of(name.path_in(home)) for name in names)
    log = LogFigures()
    figures: list[SegmentFigures] = []
    done = 0
    for name in names:
        figures.append(_examine_segment(home, name, hot, archive, log, deep=deep))
        done += figures[-1].size_bytes
        if progress is not None:
            progress(done, total)
    found += findings.of_home(home, figures, hot, archive, log, deep=deep)
    return Examination(
        home=str(home.root),
        segments=figures,
        writers_alive=sorted({segment.writer_of(f.name) for f in figures if f.live}),
        records=dict(log.kinds.most_common()),
        gaps=[Loss(run, reason, lost) for (run, reason), lost in log.lost.most_common()],
        blobs=len(blobs.iter_digests(home)),
        archive_version=archive.version,
        archive_parts=len(archive.parts),
        disk_bytes={folder: _folder_bytes(home.root / folder) for folder in _FOLDERS},
        findings=sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)),
    )


def _examine_segment(
    home: Home, name: SegmentName, hot: set[str], archive: Catalog, log: LogFigures, *, deep: bool
) -> SegmentFigures:
    path, text = name.path_in(home), str(name)
    # Asked first: a writer that dies while we read has left a tail that we take for its next line,
    # and not the other way round.
    live = segment.is_live(path)
    records = foreign = missing = expected = 0
    foreign_at: int | None = None
    resolver = resolve.Resolver(lambda offset: _fetch(path, offset))
    for line in reader.iter_lines(path):
        if not line.content.strip():
            continue
        try:
            record = codec.decode(line.content)
        except RecordError:
            foreign += 1
            foreign_at = line.offset if foreign_at is None else foreign_at
            continue
        records += 1
        missing += max(0, record.seq - expected - 1)
        expected = max(expected, record.seq)
        _count(record, text, line.content, log)
        if deep:
            log.unresolved[text] += len(resolver.resolve(line.offset, record)[1])
    torn_at, torn_bytes = reader.torn_tail(path)
    return SegmentFigures(
        name=text,
        live=live,
        hot=text in hot,
        archived=text in archive.segments,
        size_bytes=findings.size_of(path),
        records=records,
        torn_at=torn_at if torn_bytes and not live else None,
        torn_bytes=0 if live else torn_bytes,
        foreign_lines=foreign,
        foreign_at=foreign_at,
        # A lost line that was damaged is one of the foreign lines and is told once.
        missing_lines=max(0, missing - foreign),
    )


def _count(record: codec.AnyRecord, segment_name: str, content: bytes, log: LogFigures) -> None:
    kind = record.foreign_kind if isinstance(record, Foreign) else str(record.__struct_config__.tag)
    log.kinds[kind] += 1
    if isinstance(record, Gap):
        log.lost[record.run, record.reason] += record.lost
    elif isinstance(record, Generation):
        log.not_understood += usage.note_on(record.usage) is not None
    elif isinstance(record, RunStarted):
        log.begin(record.run, record.ts, segment.writer_of(segment_name))
    elif isinstance(record, RunEnded):
        log.end(record.run)
    if b'"blob"' in content:
        for digest in _BLOB.findall(content):
            log.blobs.setdefault(digest.decode(), segment_name)


def _fetch(path: Path, offset: int) -> codec.AnyRecord | None:
    try:
        return codec.decode(reader.read_line(path, offset))
    except (RecordError, OSError):
        return None


def _read_catalog(home: Home, found: list[Finding]) -> Catalog:
    try:
        return catalog.read(home)
    except StoreError as error:
        found.append(
            Finding(
                "error",
                "damaged_catalog",
                str(error).partition(";")[0],
                f"run `whence rebuild --home {home.root}` to make the archive anew from the log",
                ["archive/CATALOG.json"],
            )
        )
        return Catalog()


def _folder_bytes(folder: Path) -> int:
    return sum(
        max(0, findings.size_of(Path(path, name)))
        for path, _, names in os.walk(folder, followlinks=False)
        for name in names
    )
