"""`whence why`: the reasoning chain behind an output or a run."""

from __future__ import annotations

import click

from whence.cli import output
from whence.cli.common import choices, command, open_reader


@command("why")
@click.argument("any_id", metavar="ID")
def why(any_id: str) -> None:
    """Show what led to an output, a run, a span or a decision.

    Decisions with the options not taken, evidence kept and dropped, factors, model calls, scores
    and retries, in order. ID is the id of an output, run, span or record, or an external id.
    """
    with open_reader() as reader:
        chain = reader.why(any_id)
    if choices().json:
        output.print_json(chain.to_dict())
    else:
        output.print_text(chain.to_text())
