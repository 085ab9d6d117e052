"""`whence stats`: counts, errors, tokens, cost, durations and scores by group."""

from __future__ import annotations

import click

from whence.cli import output
from whence.cli.common import choices, command, open_reader
from whence.store.rows import TABLES


@command("stats")
@click.option(
    "--by",
    multiple=True,
    metavar="FIELD",
    help="A field of the table, or run.FIELD; may be given again.",
)
@click.option(
    "--window",
    default="24h",
    show_default=True,
    metavar="SPAN",
    help="How far to look back: 90s, 24h, 7d, all.",
)
@click.option(
    "--table",
    type=click.Choice(list(TABLES)),
    default="generations",
    show_default=True,
    help="What to count.",
)
@click.option(
    "--filter", "written", default="", metavar="FILTER", help="Rows of the table that satisfy this."
)
def stats(by: tuple[str, ...], window: str, table: str, written: str) -> None:
    """Show counts, tokens, cost and durations by group.

    Errors and scores too, where the table has them; the largest group first.

    \b
    whence stats --by model
    whence stats --table decisions --by name --window 7d
    whence stats --table scores --by name --by run.project --filter 'not passed'
    """  # noqa: D301 - click reads the character
    fields = by or (("model",) if table == "generations" else ())
    with open_reader() as reader:
        found = reader.stats(
            fields, None if window == "all" else window, table=table, filter=written
        )
    if choices().json:
        output.print_json(found.to_dict())
    else:
        head, body = found.shown()
        groups = len(found.by)
        columns = [
            output.Column(title)
            if place < groups
            else output.Column(title, right=True, leaves=_leaves(title, place - groups))
            for place, title in enumerate(head)
        ]
        output.print_table(columns, body)
        output.print_text(found.note())


def _leaves(title: str, number: int) -> int:
    """Return when a figure leaves: the rightmost first, but a cost before what is not in it."""
    return max(0, number - 2) if title == "unpriced_calls" else number
