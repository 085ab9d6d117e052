"""`whence migrate`: changes to databases of the user's own. One sub-command a change."""

from __future__ import annotations

import click

from whence.cli import output
from whence.cli.common import choices, command, refuse, with_shared_options


@with_shared_options
@click.group("migrate")
def migrate() -> None:
    """Change databases of your own so that they can hold traces."""


@command("trace-column")
@click.option("--table", required=True, metavar="NAME", help="The table that gets the column.")
@click.option("--schema", metavar="NAME", help="The schema of the table.")
@click.option("--apply", "is_applied", is_flag=True, help="Apply it rather than print it.")
@click.option("--url", metavar="URL", help="The PostgreSQL to apply it to.")
def trace_column(table: str, schema: str | None, *, is_applied: bool, url: str | None) -> None:
    """Print the SQL that adds the column generation_trace and its four indexes, or apply it.

    It may be run again. `--url ''` is the database that PGHOST and its like name.
    """
    from whence.dialects.generations import migration  # noqa: PLC0415 - help does not need it

    if is_applied != (url is not None):
        refuse("give --apply and --url together; without both, the SQL is printed")
    sql = migration.trace_column_migration(table, schema=schema)
    if url is None:
        if choices().json:
            output.print_json({"table": table, "sql": sql})
        else:
            output.print_lines([sql.rstrip("\n")])
        return
    done = migration.apply_migration(table, url, schema=schema)
    if choices().json:
        output.print_json(
            {"sql": sql, **{name: getattr(done, name) for name in done.__struct_fields__}}
        )
        return
    column = "added" if done.column_added else "was there"
    added, kept = len(done.indexes_added), len(done.indexes_kept)
    output.print_lines(
        [f"{done.table}.generation_trace {column}; {added} indexes added, {kept} were there"]
    )


migrate.add_command(trace_column)
