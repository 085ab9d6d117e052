"""`whence why`: the reasoning chain behind an output or a run."""

from __future__ import annotations

import click

from whence.cli import output
from whence.cli.common import choices, command, home_option, open_reader


@command("why")
@click.argument("any_id", metavar="ID")
@click.option("--full", is_flag=True, help="Show all of it, with long texts and lists whole.")
def why(any_id: str, *, full: bool) -> None:
    """Show what led to an output, a run, a span or a decision.

    Decisions with the options not taken, evidence kept and dropped, factors, model calls, scores
    and retries, in order. ID is the id of an output, run, span or record, or an external id.
    """
    from whence.query import find  # noqa: PLC0415 - help does not need it

    with open_reader() as reader:
        chain = reader.why(any_id)
        others = find.others(reader.store, any_id, chain.run.id)
    if choices().json:
        output.print_json(chain.to_dict())
    else:
        # As in tables: a terminal cuts what is long, a pipe has every text whole.
        output.print_text(chain.to_text(full=full, whole_texts=not output.is_terminal()))
    if others is not None:
        output.note(others.sentence(home_option()))
