"""`whence costs`: what model calls cost, declared and computed, and costing them again."""

from __future__ import annotations

import click

from whence import config
from whence.cli import output
from whence.cli.common import choices, command, open_reader, refuse

UNPRICED = 1
"""Exit code of `--fail-on unpriced`."""


@command("costs")
@click.option(
    "--by",
    multiple=True,
    metavar="FIELD",
    help="A field of generations, run.FIELD or day; may be given again.  [default: model]",
)
@click.option(
    "--window",
    default="all",
    show_default=True,
    metavar="SPAN",
    help="How far to look back: 90s, 24h, 7d, all.",
)
@click.option(
    "--filter", "written", default="", metavar="FILTER", help="Generations that satisfy this."
)
@click.option(
    "--prices",
    "book",
    type=click.Path(),
    metavar="FILE",
    help="A price book; else WHENCE_PRICES, else prices.yaml or prices.toml in the home.",
)
@click.option(
    "--reprice", is_flag=True, help="Store what calls cost by the prices at hand, then show."
)
@click.option(
    "--fail-on",
    type=click.Choice(["unpriced"]),
    help="Exit with 1 if there are calls without any cost.",
)
def costs(
    by: tuple[str, ...],
    window: str,
    written: str,
    book: str | None,
    fail_on: str | None,
    *,
    reprice: bool,
) -> int:
    """Show what model calls cost by group, the dearest first.

    Costs that were declared and costs that are computed from tokens and prices stand side by side;
    the difference is computed less declared, over the calls that have both. Calls that have neither
    are counted, with the reason.

    \b
    whence costs --by model --by day --window 30d
    whence costs --by run.project
    whence costs --reprice
    """  # noqa: D301, DOC201 - click reads the character; what is returned is the exit code
    from whence.analysis import costing, repricing  # noqa: PLC0415 - help does not need it
    from whence.prices import pricing  # noqa: PLC0415

    span = None if window == "all" else window
    with open_reader() as reader:
        if reader.home is None and reprice:
            refuse("costs are stored where the log is: name a home with --home")
        home = reader.home.root if reader.home is not None else None
        prices = pricing.load(home, config.price_book(book))
        done = None
        if reprice:
            counted = reader.stats((), span, table="generations", filter=written).rows
            total = sum(row["count"] for row in counted)
            with output.progress("costing", unit="calls") as advance:
                done = repricing.reprice(
                    reader,
                    prices,
                    window=span,
                    filter=written,
                    progress=lambda calls: advance(calls, total),
                )
        found = costing.costs(reader, prices, by=by or ("model",), window=span, filter=written)
    if choices().json:
        said = found.to_dict()
        if done is not None:
            said["repriced"] = {"calls": done.calls, "written": done.written}
        output.print_json(said)
    else:
        if done is not None:
            output.print_lines(
                [f"{done.written:,} of {done.calls:,} costs were new and are stored"]
            )
        head, body = found.shown()
        columns = [  # a cost never stands without how many calls are not in it
            output.Column(title, right=place >= len(found.by), leaves=int(title == "difference"))
            for place, title in enumerate(head)
        ]
        output.print_table(columns, body)
        for remark in found.remarks():
            output.print_text(remark)
    return UNPRICED if fail_on and found.total.unpriced_calls else 0
