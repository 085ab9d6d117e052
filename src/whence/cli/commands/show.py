"""`whence show`: one whole run as a tree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from whence.cli import figures, output
from whence.cli.common import choices, command, home_option, open_reader

if TYPE_CHECKING:
    from whence.query.tree import RunTree


@command("show")
@click.argument("any_id", metavar="ID")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=1_000,
    show_default=True,
    help="Most lines to show; 0 shows all. JSON is always whole.",
)
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="Levels of spans to show; all if not given.",
)
@click.option("--full", is_flag=True, help="Show long texts whole, as they are in a pipe.")
def show(any_id: str, *, limit: int, depth: int | None, full: bool) -> None:
    """Show one run as a tree.

    Spans inside spans, and in each what was recorded there, in order of time.
    ID is a run id or its first six digits or more, an external id, or the id of anything in the
    run. A line of a span ends with the span's id, which `whence why` takes.
    """
    from whence.query import find  # noqa: PLC0415 - help does not need it

    with open_reader() as reader:
        tree = reader.run(any_id)
        others = find.others(reader.store, any_id, tree.run.id)
    if choices().json:
        output.print_json(tree.to_dict())
    else:
        whole = full or not output.is_terminal()
        lines = tree.to_text(depth, full=whole).split("\n")
        shown = lines[:limit] if limit else lines
        output.print_text("\n".join(shown))
        _tell_rest(len(lines) - len(shown), _deeper(tree, depth), depth or 0)
    if others is not None:
        output.note(others.sentence(home_option()))


def _deeper(tree: RunTree, depth: int | None) -> int:
    """Return how many spans are deeper than that."""
    if depth is None:
        return 0
    level = tree.spans
    for _ in range(depth):
        level = [child for node in level for child in node.children]
    return sum(1 for node in level for _ in node.iter_spans())


def _tell_rest(lines: int, spans: int, depth: int) -> None:
    if spans:
        deeper = figures.counted(spans, "deeper span")
        output.note(f"{deeper} with what is in them: --depth {depth + 1} shows a level more")
    if lines > 0:
        output.note(f"{figures.counted(lines, 'more line')}: --limit 0 shows all")
