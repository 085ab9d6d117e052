"""`whence graph`: what a thing came from and what came from it."""

from __future__ import annotations

import click

from whence.cli import output
from whence.cli.common import choices, command, open_reader, refuse


@command("graph")
@click.argument("any_id", metavar="ID")
@click.option("--dot", is_flag=True, help="Print DOT, for Graphviz.")
@click.option(
    "--direction",
    type=click.Choice(["ancestors", "descendants", "both"]),
    default="both",
    show_default=True,
    help="Which way to go.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many links to follow; all if not given.",
)
def graph(any_id: str, direction: str, depth: int | None, *, dot: bool) -> None:
    """Show what a thing came from and what came from it.

    Links are followed in both directions, or in one.
    ID is whatever links name: the id of a run, span, record or output, an external id, or an id of
    your own.
    """
    if dot and choices().json:
        refuse("--dot and --json exclude each other; give one of them")
    with open_reader() as reader:
        lineage = reader.lineage(any_id, direction, depth)  # type: ignore[arg-type] - click checked the word
    if choices().json:
        output.print_json(lineage.to_dict())
    elif dot:
        output.print_text(lineage.to_dot().rstrip("\n"))
    else:
        output.print_text(lineage.to_text())
