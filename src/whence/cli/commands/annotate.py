"""`whence annotate`: a remark about a run, output or record, which never edits what it is about."""

from __future__ import annotations

import click

from whence.cli import output
from whence.cli.common import choices, command, home_option, open_reader, refuse

REVIEW_STATUSES = ("approved", "pending_review", "rejected")
"""Where a review may stand. Another word would never be found by a command that looks for these."""


@command("annotate")
@click.argument("any_id", metavar="ID")
@click.option("--flag", metavar="REASON", help="Why it should be reviewed.")
@click.option("--status", type=click.Choice(REVIEW_STATUSES), help="Where the review stands.")
@click.option("--note", metavar="TEXT", help="Free text.")
@click.option("--by", metavar="NAME", help="Who says so.")
def annotate(
    any_id: str, flag: str | None, status: str | None, note: str | None, by: str | None
) -> None:
    """Add a remark about a run, span, output or record.

    The remark is a record of its own; what it is about stays as it is. Give at least one of --flag,
    --status and --note.
    """
    if flag is None and status is None and note is None:
        refuse("the remark says nothing; give --flag, --status or --note")
    with open_reader() as reader:
        remark = reader.annotate(any_id, flag=flag, status=status, note=note, by=by)
    if choices().json:
        output.print_json({"id": remark, "target": any_id})
    else:
        shown = f"whence why {output.text.printable(any_id)}{home_option()}"
        output.print_lines([f"noted as {remark}; `{shown}` shows it"])
