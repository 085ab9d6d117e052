"""From figures to findings: what is wrong, in one sentence, and what to do about it.

Comes in: what was counted, and the folders of a home. Goes out: findings, in no order. The bytes
of blobs are the only content that is read here, and only when a deep look is asked for.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from whence import _clock
from whence.errors import NotFoundError
from whence.log import blobs, catalog, segment
from whence.log.examination import Finding, LogFigures, SegmentFigures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.log.catalog import Catalog
    from whence.log.home import Home

_FEW = 3
LONG_NS = 3_600_000_000_000
"""How long ago a run has to have begun for its missing end to be worth a word."""


def of_home(
    home: Home,
    figures: list[SegmentFigures],
    hot: set[str],
    archive: Catalog,
    log: LogFigures,
    *,
    deep: bool,
) -> Iterator[Finding]:
    """Yield what is to be said about a home, given what its log holds."""
    yield from _segment_findings(figures)
    yield from _marker_findings(home, figures, hot, archive)
    yield from _gap_findings(log)
    yield from _run_findings(figures, log)
    yield from _usage_findings(log)
    yield from _blob_findings(home, log.blobs, deep=deep)
    yield from _archive_findings(home, archive)
    yield from _shortened_findings(figures, archive)
    yield from _stray_findings(home)


def _segment_findings(figures: list[SegmentFigures]) -> Iterator[Finding]:
    for figure in figures:
        where = [_log_file(figure.name)]
        if figure.torn_bytes:
            yield Finding(
                "note",
                "torn_tail",
                f"segment {figure.name} ends with {figure.torn_bytes} bytes of an unfinished line "
                f"at byte {figure.torn_at}: its writer was killed while writing",
                "nothing: the record's call had not returned, and readers pass over it",
                where,
            )
        if figure.foreign_lines:
            yield Finding(
                "warning",
                "foreign_lines",
                f"{_number(figure.foreign_lines, 'line')} of segment {figure.name} cannot be read "
                f"as records, the first at byte {figure.foreign_at}",
                "look there: something else wrote to the file; readers pass over such lines",
                where,
            )
        if figure.missing_lines:
            yield Finding(
                "error",
                "missing_lines",
                f"{_number(figure.missing_lines, 'line')} missing from segment {figure.name}: its "
                "numbering has holes",
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
            "nothing: a process was killed between making the two, or the segment was removed",
            [f"hot/{name.replace('/', '.')}" for name in orphans],
        )
    unseen = [f for f in figures if not f.hot and not f.archived and not f.live and f.records]
    if unseen:
        yield Finding(
            "error",
            "unseen_segments",
            f"{_number(len(unseen), 'segment')} neither marked as hot nor in the archive, so that "
            f"queries do not see them: {_some([f.name for f in unseen])}",
            f"run `whence rebuild --home {home.root}` to take them in",
            [_log_file(f.name) for f in unseen],
        )
    gone = sorted(archive.segments - present)
    if gone:
        yield Finding(
            "warning",
            "archived_segments_gone",
            f"{_number(len(gone), 'archived segment')} no longer in the log: {_some(gone)}",
            "restore them from a backup, or never rebuild: only the archive has their records now",
            [_log_file(name) for name in gone],
        )


def _gap_findings(log: LogFigures) -> Iterator[Finding]:
    by_reason: dict[str, list[tuple[str, int]]] = {}
    for (run, reason), lost in log.lost.most_common():
        by_reason.setdefault(reason, []).append((run, lost))
    for reason, losses in by_reason.items():
        runs = sorted({run for run, _ in losses if run})
        count = sum(lost for _, lost in losses)
        whose = f" of {_number(len(runs), 'run')} ({_some(runs)})" if runs else ""
        yield Finding(
            "warning",
            "lost_records",
            f"{_number(count, 'record')}{whose} could not be kept: {reason}",
            "see to the cause: disk space, permissions, open files; `whence runs 'lost > 0'` lists "
            "the runs",
        )
    for name, count in log.unresolved.items():
        if count:
            yield Finding(
                "error",
                "broken_references",
                f"{_number(count, 'reference')} in segment {name} to a line that does not hold the "
                "value",
                "restore the file from a backup; the values are shown as references until then",
                [_log_file(name)],
            )


def _run_findings(figures: list[SegmentFigures], log: LogFigures) -> Iterator[Finding]:
    alive = {segment.writer_of(figure.name) for figure in figures if figure.live}
    now_ns = _clock.wall_ns()
    dead = [
        run
        for run, begun in log.begun.items()
        if begun.writer not in alive and (age := _age_ns(begun.ts, now_ns)) and age > LONG_NS
    ]
    if dead:
        yield Finding(
            "note",
            "unended_runs",
            f"{_number(len(dead), 'run')} began more than an hour ago and never ended, and whose "
            f"process is gone: {_some(dead)}",
            "nothing: the status stays `incomplete`; `whence show ID` says when the last record "
            "was made",
        )


def _age_ns(ts: str, now_ns: int) -> int | None:
    """Return how long ago something was; None where its source has no times."""
    try:
        began_ns = _clock.parse_ns(ts)
    except ValueError:  # a foreign writer's line
        return None
    return now_ns - began_ns if _clock.is_dated(began_ns) else None


def _usage_findings(log: LogFigures) -> Iterator[Finding]:
    if log.not_understood:
        yield Finding(
            "note",
            "usage_not_understood",
            f"{_number(log.not_understood, 'model call')} with a usage that gives no tokens: it "
            "was stated in a form that is not known",
            "record usage as the provider's own object, or under the names input_uncached, "
            "cache_read, cache_write, output_visible and reasoning; `whence sql 'SELECT id, run, "
            "usage FROM generations WHERE usage_note IS NOT NULL'` lists the calls",
        )


def _blob_findings(home: Home, wanted: dict[str, str], *, deep: bool) -> Iterator[Finding]:
    present = blobs.iter_digests(home)
    missing = sorted(wanted.keys() - set(present))
    if missing:
        yield Finding(
            "error",
            "missing_blobs",
            f"{_number(len(missing), 'blob')} missing that records refer to: "
            f"{_some([d[:12] for d in missing])} (see segment {wanted[missing[0]]})",
            "restore blobs/ from a backup; the records keep their preview, size and digest",
            [_blob_file(digest) for digest in missing],
        )
    corrupt = [digest for digest in present if deep and not _is_sound(home, digest)]
    if corrupt:
        yield Finding(
            "error",
            "corrupt_blobs",
            f"{_number(len(corrupt), 'blob')} without the bytes of the name: "
            f"{_some([d[:12] for d in corrupt])}",
            "restore them from a backup; they were changed after they were written",
            [_blob_file(digest) for digest in corrupt],
        )


def _is_sound(home: Home, digest: str) -> bool:
    try:
        with blobs.path_of(home, digest).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except (FileNotFoundError, NotFoundError):
        return True  # removed while we looked


def _archive_findings(home: Home, archive: Catalog) -> Iterator[Finding]:
    damaged = catalog.damaged_files(home, archive)
    if damaged:
        yield Finding(
            "error",
            "damaged_parts",
            f"{_number(len(damaged), 'file')} of the archive missing or of another size than the "
            f"catalog says: {_some(damaged)}",
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


def _shortened_findings(figures: list[SegmentFigures], archive: Catalog) -> Iterator[Finding]:
    """Yield where segments hold fewer records than the archive took in from them."""
    held = {figure.name: figure.records for figure in figures}
    for batch in archive.batches:
        lacking = batch.records - sum(held.get(name, 0) for name in batch.segments)
        if lacking > 0 and held.keys() >= set(batch.segments):
            yield Finding(
                "error",
                "shortened_segments",
                f"{_number(lacking, 'record')} that the archive has are gone from the segments "
                f"they came from: {_some(batch.segments)}",
                "restore these files from a backup, and do not run `whence rebuild` before: the "
                "new archive would be as short as the log",
                [_log_file(name) for name in batch.segments],
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
        return sorted(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, -1 if it is not there."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return ", ".join(names[:_FEW]) + more


def _log_file(segment_name: str) -> str:
    return f"log/{segment_name}.jsonl"


def _blob_file(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"
