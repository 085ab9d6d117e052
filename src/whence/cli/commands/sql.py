"""`whence sql`: one read-only SELECT over the tables."""

from __future__ import annotations

import csv
import io
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from whence.cli import figures, output
from whence.cli.common import choices, command, open_reader, refuse

if TYPE_CHECKING:
    from whence.query.sqlresult import SqlResult

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula."""


@command("sql")
@click.argument("query")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "--max-rows",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Most rows to print.",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="Seconds.",
)
@click.option(
    "--memory",
    "memory_mb",
    type=click.IntRange(min=16),
    default=1024,
    show_default=True,
    help="Megabytes.",
)
def sql(query: str, *, as_csv: bool, max_rows: int, timeout_s: float, memory_mb: int) -> None:
    """Run one read-only SELECT.

    The tables are those of the reading API: runs, spans, decisions and so on. Anything but one
    SELECT is refused and not run. `-` reads the query from standard input.

    \b
    whence sql 'SELECT name, avg(confidence) FROM decisions GROUP BY name ORDER BY 2'
    """  # noqa: D301 - click reads the character
    if as_csv and choices().json:
        refuse("--csv and --json exclude each other; give one of them")
    with open_reader() as reader:
        result = reader.sql(
            sys.stdin.read() if query == "-" else query,
            timeout_s=timeout_s,
            memory_limit_mb=memory_mb,
            max_rows=max_rows,
        )
    if choices().json:
        fields: dict[str, Any] = {
            "columns": result.unique_columns(),
            "types": result.types,
            "rows": result.to_dicts(),
            "truncated": result.truncated,
        }
        output.print_json(fields)
        return
    if as_csv:
        _print_csv(result)
    else:
        columns = [
            output.Column(
                output.text.printable(name), right=_is_number(kind), whole=_is_whole(kind)
            )
            for name, kind in zip(result.unique_columns(), result.types, strict=True)
        ]
        output.print_table(columns, [[_shown(cell) for cell in row] for row in result.rows])
        output.note(f"({figures.counted(len(result), 'row')})")
    if result.truncated:
        output.note(
            f"there are more than these {max_rows:,} rows; raise --max-rows or narrow the query"
        )


def _is_number(kind: str) -> bool:
    return (
        kind.startswith(("DECIMAL", "DOUBLE", "FLOAT"))
        or kind.endswith("INT")
        or kind in {"INTEGER", "UINTEGER"}
    )


def _is_whole(kind: str) -> bool:
    """Return whether values of a type are never broken into lines: times, truths and ids."""
    return kind.startswith(("TIMESTAMP", "DATE", "TIME", "INTERVAL", "BOOLEAN", "UUID"))


def _shown(cell: Any) -> Any:
    """Return a cell as it is printed: numbers exact, since a query may be about the last digit."""
    if cell is None:
        return "NULL"
    return cast("Any", cell) if isinstance(cell, str | dict | list) else str(cell)


def _print_csv(result: SqlResult) -> None:
    """Print RFC 4180 with line feeds; what a spreadsheet would run gets an apostrophe in front.

    Source: CWE-1236.
    """
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([_safe(name) for name in result.unique_columns()])
    writer.writerows([[_csv_cell(cell) for cell in row] for row in result.rows])
    click.echo(lines.getvalue(), nl=False, color=True)


def _csv_cell(cell: Any) -> Any:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return _safe(cell)
    if isinstance(cell, dict | list):
        return _safe(output.json_text(cell))
    return cell


def _safe(content: str) -> str:
    shown = output.text.printable(content) if output.is_terminal() else content
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
