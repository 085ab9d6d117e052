"""`whence init`: a home, a provenance folder, and the tables of sessions in somebody's database."""

from __future__ import annotations

from pathlib import Path

import click

from whence.cli import figures, output
from whence.cli.common import choices, command, home_path


@command("init")
@click.option(
    "--duckdb",
    "database",
    metavar="FILE",
    help="Add the six tables and six indexes of sessions to this DuckDB database.",
)
@click.option(
    "--folder",
    metavar="DIR",
    help="Make this provenance folder with its README, template, action types and schema.",
)
def init(database: str | None, folder: str | None) -> None:
    """Make what recording and asking about sessions need, where it is missing.

    A home is made in any case. What is there already stays as it is, so doing it twice changes
    nothing; a database keeps its tables and their rows.

    \b
    whence init
    whence init --duckdb data/application.duckdb
    whence init --folder .claude/provenance
    """  # noqa: D301 - click reads the character
    from whence.exports import duckdb, sessionfolders  # noqa: PLC0415 - help does not need them

    home = home_path()
    new_home = not home.is_dir()
    home.mkdir(parents=True, exist_ok=True)
    files = sessionfolders.prepare(Path(folder)) if folder is not None else []
    added = None
    if database is not None:
        Path(database).parent.mkdir(parents=True, exist_ok=True)
        added = duckdb.add_tables(database)
    if choices().json:
        output.print_json(
            {
                "home": {"path": str(home), "new": new_home},
                "duckdb": added,
                "folder": None
                if folder is None
                else {"path": folder, "files": [path.name for path in files]},
            }
        )
        return
    facts = [["home", f"{home} ({'made' if new_home else 'was there'})"]]
    if folder is not None:
        facts.append(["folder", f"{folder} ({figures.counted(len(files), 'file')} made)"])
    if added is not None:
        tables = figures.counted(len(added.tables), "table")
        indexes = figures.counted(len(added.indexes), "index", "indexes")
        facts.append(["database", f"{added.path} ({tables} and {indexes} made)"])
    output.print_facts(facts)
    if database is not None:
        output.note(f"next: whence export duckdb --into {database}")
