"""`whence compact` and `whence rebuild`: from finished segments to the archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.cli import figures, output
from whence.cli.common import choices, command, existing_home

if TYPE_CHECKING:
    from whence.store.compactor import CompactReport


@command("compact")
def compact() -> None:
    """Turn finished segments into the archive.

    Readers and writers go on meanwhile. A segment is finished when its process has ended or moved
    on to the next one; others are left for the next time. One process at a time can do it.
    """
    from whence.store import compactor  # noqa: PLC0415 - help does not need it

    home = existing_home()
    with output.progress("compacting") as advance:
        report = compactor.compact(home, progress=advance)
    _tell(report, "nothing to compact: every finished segment is in the archive")


@command("rebuild")
def rebuild() -> None:
    """Make the archive again from the log.

    The log is the truth, so this loses nothing; use it when `whence doctor` finds the archive
    damaged. Archived segments that are no longer in the log are lost by it: doctor tells of those
    too.
    """
    from whence.store import compactor  # noqa: PLC0415 - help does not need it

    home = existing_home()
    with output.progress("rebuilding") as advance:
        report = compactor.rebuild(home, progress=advance)
    _tell(report, "the log has no finished segment, so the archive is empty")


def _tell(report: CompactReport, nothing: str) -> None:
    if choices().json:
        output.print_json(report)
        return
    if not report.segments:
        output.print_lines([nothing])
    else:
        records = figures.counted(report.records, "record")
        segments = figures.counted(report.segments, "segment")
        before, after = figures.size(report.log_bytes), figures.size(report.archive_bytes)
        output.print_lines(
            [f"archived {records} of {segments}: {before} of log became {after} of archive"]
        )
    if report.merged:
        output.print_lines(
            [f"merged {figures.counted(report.merged, 'small batch', 'small batches')}"]
        )
    if report.problems:
        lines = figures.counted(len(report.problems), "line")
        output.note(f"{lines} could not be read as records; `whence doctor` says where")
