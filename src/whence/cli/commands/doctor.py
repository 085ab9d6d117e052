"""`whence doctor`: is everything there, is everything readable, and what is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from whence.cli import figures, output
from whence.cli.common import choices, command, existing_home

if TYPE_CHECKING:
    from whence.log.doctor import Examination, Finding

_FAIL_ON = ("error", "warning", "note")


@command("doctor")
@click.option(
    "--deep", is_flag=True, help="Check the bytes of every blob and every reference as well."
)
@click.option(
    "--fail-on",
    type=click.Choice(_FAIL_ON),
    help="Exit with 1 on a finding that is at least this bad.",
)
def doctor(*, deep: bool, fail_on: str | None) -> int:
    """Check log, archive and blobs, and say what to do.

    Reads the whole log and changes nothing. An error means that records cannot be read or are
    missing, a warning that some were lost or changed by hand, a note is nothing to worry about.
    """  # noqa: DOC201 - it is what --help shows
    from whence.log.doctor import examine  # noqa: PLC0415 - help does not need it

    home = existing_home()
    with output.progress("examining") as advance:
        found = examine(home, deep=deep, progress=advance)
    if choices().json:
        output.print_json(found)
    else:
        _tell(found)
    if fail_on is None:
        return 0
    bad = _FAIL_ON[: _FAIL_ON.index(fail_on) + 1]
    return 1 if any(finding.severity in bad for finding in found.findings) else 0


def _tell(found: Examination) -> None:
    live = sum(segment.live for segment in found.segments)
    records = sum(found.records.values())
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in found.records.items())
    hot = sum(segment.hot for segment in found.segments)
    sizes = {folder: figures.size(size) for folder, size in found.disk_bytes.items()}
    segments = figures.counted(len(found.segments), "segment")
    parts = figures.counted(found.archive_parts, "file")
    rows = [
        ["home", found.home],
        ["log", f"{segments} ({live} being written, {hot} not archived yet), {sizes['log']}"],
        ["records", f"{records:,}" + (f" ({kinds})" if kinds else "")],
        ["archive", f"{parts}, version {found.archive_version}, {sizes['archive']}"],
        ["blobs", f"{figures.counted(found.blobs, 'blob')}, {sizes['blobs']}"],
        ["writers", ", ".join(found.writers_alive) or "none alive"],
    ]
    if found.gaps:
        rows.append(["lost", figures.counted(sum(loss.lost for loss in found.gaps), "record")])
    output.print_facts(rows)
    output.print_heading(_verdict(found))
    for finding in found.findings:
        _tell_finding(finding)


def _verdict(found: Examination) -> str:
    counts = {
        severity: sum(f.severity == severity for f in found.findings) for severity in _FAIL_ON
    }
    said = [figures.counted(count, severity) for severity, count in counts.items() if count]
    if not said:
        return "fine: nothing is wrong"
    return ("fine, with " if not counts["error"] and not counts["warning"] else "") + ", ".join(
        said
    )


def _tell_finding(finding: Finding) -> None:
    output.print_item(finding.severity, finding.message, [f"next: {finding.next_step}"])
