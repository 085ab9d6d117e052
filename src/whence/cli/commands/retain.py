"""`whence retain`: removes old days of the log, its archive and its blobs."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import click

from whence.cli import figures, output
from whence.cli.common import choices, command, existing_home

if TYPE_CHECKING:
    from whence.log.home import Home
    from whence.log.retention import RetainReport

_KEEP = re.compile(r"(\d{1,6})\s*(d|days?|w|weeks?)?")


class Days(click.ParamType[int]):
    """A number of days: `30`, `30d`, `4w`."""

    name = "days"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number of days."""
        match = _KEEP.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a number of days or weeks such as 30d or 4w", param, ctx)
        return int(match[1]) * (7 if (match[2] or "").startswith("w") else 1)


@command("retain")
@click.option(
    "--keep", type=Days(), required=True, help="How many days to keep, today included: 30d, 4w."
)
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def retain(keep: int, *, dry_run: bool, yes: bool) -> int:
    """Remove whole days that are older than what is to be kept.

    Days are UTC days. A day goes with everything recorded on it: its segments, its rows in the
    archive, and the blobs that nothing else refers to. A day that still has a live or unarchived
    segment stays; `whence compact` archives. The removal is recorded as an event.
    """  # noqa: DOC201 - it is what --help shows
    home = existing_home()
    planned = _retain(home, keep, dry_run=True)
    if dry_run or not (planned.days or planned.blobs):
        _tell(planned)
        return 0
    if not yes and not _agrees(planned):
        output.note("nothing was removed; say --yes to remove without being asked")
        return 2
    report = _retain(home, keep, dry_run=False)
    _compact_rest(home)
    _tell(report)
    if not report.recorded:
        output.note("the removal could not be recorded in the log: see `whence doctor`")
    return 0


def _retain(home: Home, keep: int, *, dry_run: bool) -> RetainReport:
    from whence.log import retention  # noqa: PLC0415 - help does not need it
    from whence.store import compactor  # noqa: PLC0415

    return retention.retain(
        home, keep_days=keep, dry_run=dry_run, drop_archived=compactor.drop_segments
    )


def _compact_rest(home: Home) -> None:
    """Archive again what shared a part of the archive with what went."""
    from whence.store import compactor  # noqa: PLC0415 - help does not need it

    with output.progress("compacting") as advance:
        compactor.compact(home, progress=advance)


def _agrees(planned: RetainReport) -> bool:
    if not sys.stdin.isatty():
        return False
    output.note(_sentence(planned, "this removes"))
    return click.confirm("Remove them?", err=True)


def _tell(report: RetainReport) -> None:
    if choices().json:
        fields: dict[str, Any] = {
            "dry_run": report.dry_run,
            "cutoff": report.cutoff,
            "segments": report.segments,
            "segment_bytes": report.segment_bytes,
            "blobs": report.blobs,
            "blob_bytes": report.blob_bytes,
            "recorded": report.recorded,
            "days": report.days,
            "kept": report.kept,
        }
        output.print_json(fields)
        return
    if report.days or report.blobs:
        output.print_lines([_sentence(report, "would remove" if report.dry_run else "removed")])
        columns = [
            output.Column("day (UTC)", whole=True),
            output.Column("segments", right=True),
            output.Column("size", right=True),
        ]
        output.print_table(
            columns, [[d.day, len(d.segments), figures.size(d.size_bytes)] for d in report.days]
        )
    elif report.kept:
        output.print_lines([f"nothing goes: what is older than {report.cutoff} has to stay"])
    else:
        output.print_lines([f"nothing is older than {report.cutoff}, the first day that is kept"])
    for day in report.kept:
        output.note(f"{day.day} stays: {day.reason}")


def _sentence(report: RetainReport, verb: str) -> str:
    segments, days = figures.counted(report.segments, "segment"), len(report.days)
    blobs, blob_size = figures.counted(report.blobs, "blob"), figures.size(report.blob_bytes)
    return (
        f"{verb} {segments} ({figures.size(report.segment_bytes)}) of "
        f"{figures.counted(days, 'day')} and {blobs} ({blob_size}); "
        f"everything from {report.cutoff} on stays"
    )
