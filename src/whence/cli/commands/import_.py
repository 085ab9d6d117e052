"""`whence import`: what other systems wrote, read into the home once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from whence.cli import figures, output
from whence.cli.common import choices, command, home_path
from whence.ingest.registry import FORMATS

if TYPE_CHECKING:
    from whence.ingest.report import Report

_SHOWN = 20
"""How many left-out things are named to a person."""
_NO_DIFFERENCE_USD = 1e-9


@command("import")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--as",
    "format_name",
    metavar="FORMAT",
    help="Read it as this, whatever it looks like: " + ", ".join(f.name for f in FORMATS) + ".",
)
@click.option(
    "--fail-on", type=click.Choice(["skipped"]), help="Exit with 1 if anything was left out."
)
def import_(paths: tuple[str, ...], format_name: str | None, fail_on: str | None) -> int:
    """Import files and folders that other systems wrote.

    The format of a file is found by looking at it; folders are walked. What the home has already is
    not imported again, so an import may be repeated, also after it was interrupted, and a file that
    grew gains what is new. The report says what the sources said, each model call once.
    """  # noqa: DOC201, DOC501 - it is what --help shows
    from whence import config  # noqa: PLC0415 - help does not need it
    from whence.errors import IngestError  # noqa: PLC0415
    from whence.ingest.importer import import_paths  # noqa: PLC0415

    with output.progress("importing") as advance:
        report = import_paths(
            home_path(),
            paths,
            format_name=format_name,
            durable=config.from_environment().durability != "process",
            progress=advance,
        )
    if report.format is None:
        raise IngestError(_nothing(report))
    if choices().json:
        output.print_json(report)
    else:
        _tell(report)
    return 1 if fail_on and report.skipped else 0


def _nothing(report: Report) -> str:
    first = report.skipped[0] if report.skipped else None
    named = f": {first.where}: {first.why}" if first else ""
    return f"there was nothing to import{named}"


def _tell(report: Report) -> None:
    stated, buckets = report.usage_stated, report.usage
    rows = [
        ["format", report.format or figures.NONE],
        ["runs", f"{report.runs:,} with {figures.counted(report.spans, 'span')}"],
        ["model calls", f"{report.generations:,}"],
        ["tool calls", f"{report.tool_calls:,} ({report.tool_errors:,} failed)"],
        ["errors", f"{report.errors:,}"],
    ]
    others = ("retrievals", "decisions", "scores", "retries")
    rows += [[name, f"{count:,}"] for name in others if (count := getattr(report, name))]
    for title, given in (("tokens stated", stated), ("tokens in buckets", buckets)):
        parts = [
            f"{name.replace('_', ' ')} {value:,}"
            for name in given.__struct_fields__
            if (value := getattr(given, name)) is not None
        ]
        rows.append([title, ", ".join(parts) or "nobody stated any"])
    rows.append(["cost", _cost(report)])
    rows.append(["new", f"{figures.counted(report.new, 'record')} written"])
    rows.append(["already there", figures.counted(report.already_there, "record")])
    output.print_facts(rows)
    if report.skipped:
        output.print_heading(f"left out: {len(report.skipped):,}")
        for skipped in report.skipped[:_SHOWN]:
            output.print_item("skipped", skipped.where, [skipped.why])
        if len(report.skipped) > _SHOWN:
            output.note(f"and {len(report.skipped) - _SHOWN:,} more; --json names them all")


def _cost(report: Report) -> str:
    declared, computed = report.cost_usd_declared, report.cost_usd_computed
    if declared is None:
        return "nobody stated any"
    said = f"${declared:.6g} declared"
    if computed is None:
        return f"{said}, no call states its own"
    difference = declared - computed
    if abs(difference) < _NO_DIFFERENCE_USD:
        return f"{said}, and the calls add up to it"
    more = "more" if difference > 0 else "less"
    return (
        f"{said}, the calls add up to ${computed:.6g}: ${abs(difference):.6g} {more} was declared"
    )
