"""`whence show`: one whole run as a tree."""

from __future__ import annotations

import click

from whence.cli import output
from whence.cli.common import choices, command, open_reader


@command("show")
@click.argument("any_id", metavar="ID")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=1_000,
    show_default=True,
    help="Most lines to show; 0 shows all. JSON is always whole.",
)
def show(any_id: str, *, limit: int) -> None:
    """Show one run as a tree.

    Spans inside spans, and in each what was recorded there, in order of time.
    ID is a run id or its first digits, an external id, or the id of anything in the run.
    """
    with open_reader() as reader:
        tree = reader.run(any_id)
    if choices().json:
        output.print_json(tree.to_dict())
    else:
        lines = tree.to_text().split("\n")
        shown = lines[:limit] if limit else lines
        output.print_text("\n".join(shown))
        if len(shown) < len(lines):
            output.note(f"{len(lines) - len(shown):,} more lines; --limit 0 shows all")
