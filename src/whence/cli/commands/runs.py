"""`whence runs`: the list of runs, latest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from whence.cli import figures, filtering, output
from whence.cli.common import choices, command, home_option, open_reader

if TYPE_CHECKING:
    from whence.query.page import Page
    from whence.store.rows import RunRow

SHORT_ID = 16
"""Digits of a run id that a terminal shows: the millisecond and 12 random bits. Every command takes
them for the whole.
"""


_STATUSES = ("running", "complete", "failed", "incomplete", "cancelled")


@command("runs")
@filtering.argument_or_option
@click.option("--project", metavar="NAME", help="Runs of this project.")
@click.option(
    "--status", metavar="WORD", help="running, complete, failed, incomplete or cancelled."
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Most runs to show."
)
@click.option("--after", metavar="CURSOR", help="Go on behind a page; `next` of its JSON.")
@click.option(
    "--order",
    metavar="FIELD",
    default="",
    help="A field; -FIELD for the largest first. Latest first if not given.",
)
def runs(
    written: str,
    *,
    by_option: str,
    project: str | None,
    status: str | None,
    limit: int,
    after: str | None,
    order: str,
) -> None:
    """List runs, latest first.

    FILTER is an expression of the filter language, for example:

    \b
    whence runs 'status = "failed" and started > now - 24h'
    whence runs 'decision.confidence < 0.6 and score("META-12") < 2'
    """  # noqa: D301 - click reads the character
    said = {"project": project, "status": status}
    parts = [
        f"{name} = {filtering.quote(value)}" for name, value in said.items() if value is not None
    ]
    whole = filtering.combined("runs", filtering.given_once(written, by_option), parts)
    with open_reader() as reader:
        page = reader.runs(whole, order=order, limit=limit, after=after)
    if choices().json:
        output.print_json({"items": page.to_dicts(), "next": page.next})
        return
    print_runs(page.items)
    if not page.items:
        output.note("no run satisfies this" if whole else "no runs yet")
        if status is not None and status not in _STATUSES:
            known = ", ".join(_STATUSES)
            output.note(f"a run is {known}, unless its program set another word")
    _tell_next(page)


def print_runs(rows: list[RunRow]) -> None:
    """Print runs as a table; columns in which no run has a value are left out."""
    zone, started = figures.times([row.started_ns for row in rows])
    short = output.is_terminal()
    table: list[tuple[output.Column, list[Any]]] = [
        (output.Column("id", whole=True), [row.id[:SHORT_ID] if short else row.id for row in rows]),
        (output.Column("name", cut=True, leaves=2), [row.name for row in rows]),
        (output.Column("project", cut=True, leaves=8), [row.project for row in rows]),
        (output.Column("external id", cut=True, leaves=7), [row.external_id for row in rows]),
        (output.Column("status", state=True), [row.status for row in rows]),
        (
            output.Column(f"started ({zone})" if zone else "started", whole=True, leaves=1),
            list(started),
        ),
        (
            output.Column("took", right=True, leaves=5),
            [_or_none(row.duration_ms, output.text.duration) for row in rows],
        ),
        (
            output.Column("decisions", right=True, leaves=9),
            [row.decisions or None for row in rows],
        ),
        (output.Column("calls", right=True, leaves=9), [row.generations or None for row in rows]),
        (
            output.Column("tokens", right=True, leaves=9),
            [_or_none(_total(row), figures.tokens) for row in rows],
        ),
        (
            output.Column("cost", right=True, leaves=4),
            [_or_none(row.cost_usd, output.text.money) for row in rows],
        ),
        (output.Column("unpriced", right=True, leaves=3), [_unpriced(row) for row in rows]),
        (output.Column("errors", right=True, leaves=3), [row.errors or None for row in rows]),
        (output.Column("lost", right=True, leaves=3), [row.lost or None for row in rows]),
        (
            output.Column("review", state=True, leaves=6),
            ["flagged" if row.flagged else None for row in rows],
        ),
    ]
    shown = [
        (column, cells) for column, cells in table if any(cell not in {None, ""} for cell in cells)
    ]
    if shown:
        output.print_table(
            [column for column, _ in shown], list(zip(*(cells for _, cells in shown), strict=True))
        )
    if any(row.unpriced_calls for row in rows):
        typed = f"whence costs{home_option()}"
        output.note(f"unpriced calls: `{typed}` computes what they cost, or says why it cannot")


def _or_none(value: float | None, form: Any) -> str | None:
    return None if value is None else form(value)


def _unpriced(row: RunRow) -> str | None:
    """Return how many calls are not in the cost, which is all of them where there is none."""
    if not row.unpriced_calls:
        return None
    return f"{row.unpriced_calls:,} of {row.generations:,}"


def _total(row: RunRow) -> int | None:
    if row.input_tokens is None and row.output_tokens is None:
        return None
    return (row.input_tokens or 0) + (row.output_tokens or 0)


def _tell_next(page: Page[RunRow]) -> None:
    if page.next:
        output.note(f"more: the same command with --after {page.next}{home_option()}")
