"""Looks at every file of a home and says what is wrong with it and what to do next; it changes nothing.

Comes in: a home. Goes out: an `Examination` with the figures (segments, records, blobs, disk use) and one `Finding` for everything a
person should know: lines that are no records, records that were lost, files that are missing, left over or damaged. It reads the whole
log once, while others may write to it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from whence.errors import NotFoundError, RecordError, StoreError
from whence.log import blobs, catalog, reader, resolve, segment
from whence.log.catalog import Catalog
from whence.log.home import Home
from whence.log.segment import SegmentName
from whence.record import codec
from whence.record.event import Foreign, Gap

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Worst first: data is unreadable or missing; something was lost or was changed by hand; nothing to worry about."""

Progress = Callable[[int, int], None]
"""Gets the number of bytes read so far and the number of bytes in all."""

_BLOB = re.compile(rb'"\$whence":\s*"blob",\s*"sha256":\s*"([0-9a-f]{64})"')
_FEW = 3
_FOLDERS = ("log", "hot", "blobs", "archive")


class Finding(msgspec.Struct, frozen=True):
    """One thing that a person should know."""

    severity: Severity
    """How bad it is."""
    kind: str
    """What sort of finding, one word with underscores, the same in every version."""
    message: str
    """What was found, in one sentence."""
    next_step: str
    """What to do about it."""
    where: list[str] = []
    """The files it is about, relative to the home."""


class SegmentFigures(msgspec.Struct, frozen=True):
    """What one segment holds."""

    name: str
    """`day/writer.n`."""
    live: bool
    """Whether its writer is still there."""
    hot: bool
    """Whether it has a marker that says it is not archived."""
    archived: bool
    """Whether the catalog names it."""
    size_bytes: int
    """Size of the file when it was examined."""
    records: int
    """How many records it holds."""
    torn_at: int | None = None
    """Byte offset of a torn tail."""
    torn_bytes: int = 0
    """Length of the torn tail."""
    foreign_lines: int = 0
    """How many lines are no records."""
    foreign_at: int | None = None
    """Byte offset of the first of them."""
    missing_lines: int = 0
    """How many sequence numbers are missing."""


class Loss(msgspec.Struct, frozen=True):
    """Records that gap records tell of."""

    run: str
    """The run they belonged to; empty when no run can be blamed."""
    reason: str
    """Why they could not be kept."""
    lost: int
    """How many."""


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What a home holds, and what is wrong with it."""

    home: str
    """The folder."""
    segments: list[SegmentFigures] = []
    """Every segment, in order."""
    writers_alive: list[str] = []
    """Names of the writers that hold a segment."""
    records: dict[str, int] = {}
    """Records by kind."""
    gaps: list[Loss] = []
    """Lost records by run and reason."""
    blobs: int = 0
    """How many blobs there are."""
    archive_version: int = 0
    """Version of the catalog; 0 without one."""
    archive_parts: int = 0
    """How many files the archive consists of."""
    disk_bytes: dict[str, int] = {}
    """Bytes by folder of the home."""
    findings: list[Finding] = []
    """What a person should know, worst first."""

    def worst(self) -> Severity | None:
        """Return the severity of the worst finding; None if there is none."""
        return self.findings[0].severity if self.findings else None


def examine(home: Home, *, deep: bool = False, progress: Progress | None = None) -> Examination:
    """Return what the home holds and what is wrong with it.

    Reads every segment once.

    Args:
        home: The home to look at.
        deep: Check the digest of every blob and every reference to an earlier line as well, which reads all blobs.
        progress: Called now and then.

    Raises:
        OSError: A folder or file cannot be read.
    """
    findings: list[Finding] = []
    archive = _read_catalog(home, findings)
    hot = {str(name) for name in segment.list_hot(home)}
    names = list(segment.iter_all(home))
    total = sum(_size(name.path_in(home)) for name in names)
    log = _LogFigures()
    figures: list[SegmentFigures] = []
    done = 0
    for name in names:
        figures.append(_examine_segment(home, name, hot, archive, log, deep=deep))
        done += figures[-1].size_bytes
        if progress is not None:
            progress(done, total)
    findings += _segment_findings(figures)
    findings += _marker_findings(home, figures, hot, archive)
    findings += _gap_findings(log)
    findings += _blob_findings(home, log.blobs, deep=deep)
    findings += _archive_findings(home, archive)
    findings += _stray_findings(home)
    return Examination(
        home=str(home.root),
        segments=figures,
        writers_alive=sorted({f.name[11:].rpartition(".")[0] for f in figures if f.live}),
        records=dict(log.kinds.most_common()),
        gaps=[Loss(run, reason, lost) for (run, reason), lost in log.lost.most_common()],
        blobs=len(blobs.iter_digests(home)),
        archive_version=archive.version,
        archive_parts=len(archive.parts),
        disk_bytes={folder: _folder_bytes(home.root / folder) for folder in _FOLDERS},
        findings=sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)),
    )


class _LogFigures:
    """What is counted over all segments."""

    def __init__(self) -> None:
        self.kinds: Counter[str] = Counter()
        self.lost: Counter[tuple[str, str]] = Counter()
        self.blobs: dict[str, str] = {}
        self.unresolved: Counter[str] = Counter()


def _examine_segment(
    home: Home, name: SegmentName, hot: set[str], archive: Catalog, log: _LogFigures, *, deep: bool
) -> SegmentFigures:
    path, text = name.path_in(home), str(name)
    # Asked first: a writer that dies while we read has left a tail that we take for its next line, and not the other way round.
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
        size_bytes=_size(path),
        records=records,
        torn_at=torn_at if torn_bytes and not live else None,
        torn_bytes=0 if live else torn_bytes,
        foreign_lines=foreign,
        foreign_at=foreign_at,
        # A lost line that was damaged is one of the foreign lines and is told once.
        missing_lines=max(0, missing - foreign),
    )


def _count(record: codec.AnyRecord, segment_name: str, content: bytes, log: _LogFigures) -> None:
    kind = record.foreign_kind if isinstance(record, Foreign) else str(record.__struct_config__.tag)
    log.kinds[kind] += 1
    if isinstance(record, Gap):
        log.lost[record.run, record.reason] += record.lost
    if b'"blob"' in content:
        for digest in _BLOB.findall(content):
            log.blobs.setdefault(digest.decode(), segment_name)


def _fetch(path: Path, offset: int) -> codec.AnyRecord | None:
    try:
        return codec.decode(reader.read_line(path, offset))
    except (RecordError, OSError):
        return None


def _segment_findings(figures: list[SegmentFigures]) -> Iterator[Finding]:
    for figure in figures:
        where = [_log_file(figure.name)]
        if figure.torn_bytes:
            yield Finding(
                "note",
                "torn_tail",
                f"segment {figure.name} ends with {figure.torn_bytes} bytes of a line that was never finished, "
                f"at byte {figure.torn_at}: its writer was killed while writing",
                "nothing: the record's call had not returned, and readers pass over it",
                where,
            )
        if figure.foreign_lines:
            yield Finding(
                "warning",
                "foreign_lines",
                f"{_number(figure.foreign_lines, 'line')} of segment {figure.name} cannot be read as records, "
                f"the first at byte {figure.foreign_at}",
                "look at the file there: something else wrote or changed it; readers pass over such lines",
                where,
            )
        if figure.missing_lines:
            yield Finding(
                "error",
                "missing_lines",
                f"{_number(figure.missing_lines, 'line')} of segment {figure.name} missing: its numbering has holes",
                "restore the file from a backup; whence never takes lines out of a segment",
                where,
            )


def _marker_findings(
    home: Home, figures: list[SegmentFigures], hot: set[str], archive: Catalog
) -> Iterator[Finding]:
    present = {figure.name for figure in figures}
    orphans = sorted(hot - present)
    if orphans:
        yield Finding(
            "note",
            "orphan_markers",
            f"{_number(len(orphans), 'marker')} in hot/ without a segment: {_some(orphans)}",
            "nothing: a process was killed between making the two, or its segment was removed by hand",
            [f"hot/{name.replace('/', '.')}" for name in orphans],
        )
    unseen = [f for f in figures if not f.hot and not f.archived and not f.live and f.records]
    if unseen:
        yield Finding(
            "error",
            "unseen_segments",
            f"{_number(len(unseen), 'segment')} neither marked as hot nor in the archive, so queries do not see them: "
            f"{_some([f.name for f in unseen])}",
            f"run `whence rebuild --home {home.root}` to take them in",
            [_log_file(f.name) for f in unseen],
        )
    gone = sorted(archive.segments - present)
    if gone:
        yield Finding(
            "warning",
            "archived_segments_gone",
            f"{_number(len(gone), 'archived segment')} no longer in the log: {_some(gone)}",
            "restore them from a backup, or do not rebuild: the archive alone holds their records now",
            [_log_file(name) for name in gone],
        )


def _gap_findings(log: _LogFigures) -> Iterator[Finding]:
    for (run, reason), lost in log.lost.most_common():
        whose = f"of run {run}" if run else "of no particular run"
        yield Finding(
            "warning",
            "lost_records",
            f"{_number(lost, 'record')} {whose} could not be kept: {reason}",
            "see to the cause (disk space, permissions, open files); `whence runs 'lost > 0'` lists the runs",
        )
    for name, count in log.unresolved.items():
        if count:
            yield Finding(
                "error",
                "broken_references",
                f"{_number(count, 'reference')} of segment {name} to an earlier line that does not hold the value",
                "restore the file from a backup; the values are shown as references until then",
                [_log_file(name)],
            )


def _blob_findings(home: Home, wanted: dict[str, str], *, deep: bool) -> Iterator[Finding]:
    present = blobs.iter_digests(home)
    missing = sorted(wanted.keys() - set(present))
    if missing:
        yield Finding(
            "error",
            "missing_blobs",
            f"{_number(len(missing), 'blob')} missing that records refer to: {_some([d[:12] for d in missing])} "
            f"(first named in segment {wanted[missing[0]]})",
            "restore blobs/ from a backup; the records keep their preview, size and digest",
            [_blob_file(digest) for digest in missing],
        )
    corrupt = [digest for digest in present if deep and not _is_sound(home, digest)]
    if corrupt:
        yield Finding(
            "error",
            "corrupt_blobs",
            f"{_number(len(corrupt), 'blob')} without the bytes of the name: {_some([d[:12] for d in corrupt])}",
            "restore them from a backup; they were changed after they were written",
            [_blob_file(digest) for digest in corrupt],
        )


def _is_sound(home: Home, digest: str) -> bool:
    try:
        with blobs.path_of(home, digest).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except (FileNotFoundError, NotFoundError):
        return True  # removed while we looked


def _read_catalog(home: Home, findings: list[Finding]) -> Catalog:
    try:
        return catalog.read(home)
    except StoreError as error:
        findings.append(
            Finding(
                "error",
                "damaged_catalog",
                str(error).partition(";")[0],
                f"run `whence rebuild --home {home.root}` to make the archive anew from the log",
                ["archive/CATALOG.json"],
            )
        )
        return Catalog()


def _archive_findings(home: Home, archive: Catalog) -> Iterator[Finding]:
    damaged = [
        part.file for part in archive.parts if _size(home.archive / part.file) != part.size_bytes
    ]
    if damaged:
        yield Finding(
            "error",
            "damaged_parts",
            f"{_number(len(damaged), 'file')} of the archive missing or of another size than the catalog says: {_some(damaged)}",
            f"run `whence rebuild --home {home.root}` to make the archive anew from the log",
            [f"archive/{file}" for file in damaged],
        )
    known = {part.file for part in archive.parts} | {home.catalog.name, home.lock.name}
    unknown = sorted(name for name in _listed(home.archive) if name not in known)
    if unknown:
        yield Finding(
            "note",
            "unlisted_parts",
            f"{_number(len(unknown), 'file')} in archive/ not in the catalog: {_some(unknown)}",
            "nothing: no query reads them; `whence compact` removes what a killed compaction left",
            [f"archive/{name}" for name in unknown],
        )


def _stray_findings(home: Home) -> Iterator[Finding]:
    strays = [
        f"log/{day}/{entry}"
        for day in _listed(home.log)
        for entry in _listed(home.log / day)
        if segment.parse_name(f"{day}/{entry.removesuffix('.jsonl')}") is None
    ]
    if strays:
        yield Finding(
            "note",
            "stray_files",
            f"{_number(len(strays), 'file')} in log/ not named like a segment: {_some(strays)}",
            "nothing: they are not read; remove them if you know what they are",
            strays,
        )
    halves = (
        [f"blobs/{p.parent.name}/{p.name}" for p in home.blobs.glob("??/*.tmp")]
        if home.blobs.is_dir()
        else []
    )
    if halves:
        yield Finding(
            "note",
            "unfinished_blobs",
            f"{_number(len(halves), 'blob')} never finished: {_some(halves)}",
            "nothing while a writer lives; remove them when none does",
            sorted(halves),
        )


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _folder_bytes(folder: Path) -> int:
    return sum(
        max(0, _size(Path(path, name)))
        for path, _, names in os.walk(folder, followlinks=False)
        for name in names
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _log_file(segment_name: str) -> str:
    return f"log/{segment_name}.jsonl"


def _blob_file(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"
