"""`whence show`: one whole run as a tree."""

from __future__ import annotations

import click

from whence.cli import output
from whence.cli.common import choices, command, open_reader


@command("show")
@click.argument("any_id", metavar="ID")
def show(any_id: str) -> None:
    """Show one run as a tree.

    Spans inside spans, and in each what was recorded there, in order of time.
    ID is a run id or its first digits, an external id, or the id of anything in the run.
    """
    with open_reader() as reader:
        tree = reader.run(any_id)
    if choices().json:
        output.print_json(tree.to_dict())
    else:
        output.print_text(tree.to_text())
