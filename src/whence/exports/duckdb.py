"""Brings sessions into an application's own DuckDB database, beside its tables.

`add_tables` makes the six tables and six indexes where they are missing and touches nothing else;
`fill` brings the sessions of a connection of `sessiontables` into them, so that they join with the
application's tables. Doing either twice changes nothing. Sessions that others wrote into the tables
stay. Tables that were made by the original, with its foreign keys and columns that must not be
null, are filled as well.

Source: document 3 (hybrid sessions).
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _extras
from whence.errors import StoreError
from whence.exports import sessiontables
from whence.exports.sessiontables import INDEXES, TABLES, first_line, quoted

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from duckdb import DuckDBPyConnection

_TARGET = "whence_target"
_CHILDREN = tuple(table for table in TABLES if table != "provenance_sessions")
_INDEXED = frozenset({"session_id", "agent_type", "created_at", "parent_session_id"})
"""Columns of sessions that are never updated: DuckDB would delete and insert the row, which its
foreign keys forbid."""


class Added(msgspec.Struct, frozen=True):
    """What `add_tables` did."""

    path: str
    """The database."""
    new: bool
    """Whether the file was not there."""
    tables: list[str]
    """Tables that were made."""
    indexes: list[str]
    """Indexes that were made."""


class Filled(msgspec.Struct, frozen=True):
    """What `fill` did."""

    path: str
    """The database."""
    sessions_new: int
    """Sessions that were not there."""
    sessions_changed: int
    """Sessions of which there is more than before."""
    sessions_unchanged: int
    """Sessions that were there as they are."""
    rows: dict[str, int]
    """Table to the rows that were written."""


def add_tables(path: str | Path) -> Added:
    """Return the tables and indexes that a database lacked and that are made now.

    The file is made too, if it is not there.

    Raises:
        StoreError: The file is no DuckDB database, or another process has it open.
        MissingExtraError: DuckDB is not installed.
    """
    duckdb: Any = _extras.require("duckdb", "cli", "writing to a DuckDB database")
    with duckdb.connect(":memory:") as connection, _attached(connection, Path(path)) as added:
        return added


@contextmanager
def _attached(connection: DuckDBPyConnection, file: Path) -> Generator[Added]:
    """Attach a database that has the tables and indexes, for the time of the block.

    Yields:
        What had to be made.

    Raises:
        StoreError: DuckDB refuses something.
    """
    duckdb: Any = _extras.require("duckdb", "cli", "writing to a DuckDB database")
    new = not file.exists()
    try:
        connection.execute(f"ATTACH {quoted(str(file))} AS {_TARGET}")
        try:
            yield _add(connection, file, new=new)
        finally:
            connection.execute(f"DETACH {_TARGET}")
    except duckdb.Error as error:
        message = (
            f"{file} cannot be written: {first_line(error)}; is it a DuckDB database, and does no "
            "other process have it open?"
        )
        raise StoreError(message) from error


def _add(connection: DuckDBPyConnection, file: Path, *, new: bool) -> Added:
    found = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = $target UNION ALL "
        "SELECT view_name FROM duckdb_views() WHERE database_name = $target UNION ALL "
        "SELECT index_name FROM duckdb_indexes() WHERE database_name = $target",
        {"target": _TARGET},
    ).fetchall()
    known = {name for (name,) in found}
    tables = [table for table in TABLES if table not in known]
    indexes = [name for name in INDEXES if name not in known]
    for table in tables:
        connection.execute(sessiontables.create_statement(table, f"{_TARGET}.main.{table}"))
    for name in indexes:
        table, columns = INDEXES[name]
        connection.execute(f"CREATE INDEX {name} ON {_TARGET}.main.{table} ({columns})")
    return Added(str(file), new, tables, indexes)


def fill(
    source: DuckDBPyConnection, path: str | Path, session_ids: Sequence[str] | None = None
) -> Filled:
    """Bring the sessions of a connection into a database, in one transaction.

    Args:
        source: A connection of `sessiontables`. It is used up: the database is attached to it.
        path: The database; made if it is not there, tables and indexes too.
        session_ids: Which sessions; all if None.

    Returns:
        What was written.

    Raises:
        StoreError: The database cannot be written; it is as it was before.
        MissingExtraError: DuckDB is not installed.
    """
    with _attached(source, Path(path)):
        source.execute("BEGIN")
        try:
            filled = _fill(source, str(path), session_ids)
        except BaseException:
            source.execute("ROLLBACK")
            raise
        source.execute("COMMIT")
        return filled


def _fill(connection: DuckDBPyConnection, path: str, session_ids: Sequence[str] | None) -> Filled:
    run = connection.execute
    columns = {table: _columns(connection, table) for table in TABLES}
    chosen = "" if session_ids is None else " WHERE session_id IN (SELECT unnest(?))"
    parameters = [] if session_ids is None else [list(session_ids)]
    run(f"CREATE TEMP TABLE these AS SELECT * FROM provenance_sessions{chosen}", parameters)
    run(_CHANGED)
    counts = dict(run("SELECT news, count(*) FROM changed GROUP BY news").fetchall())
    written = {"provenance_sessions": _write_sessions(connection, columns["provenance_sessions"])}
    for table in _CHILDREN:
        target = f"{_TARGET}.main.{table}"
        run(f"DELETE FROM {target} WHERE session_id IN (SELECT session_id FROM changed)")
        given = columns[table]
        values = dict(given)
        if table == "provenance_entity_links":
            last = run(f"SELECT coalesce(max(link_id), 0) FROM {target}").fetchone()
            number = "row_number() OVER (ORDER BY s.timestamp, s.session_id, s.link_id)"
            values["link_id"] = f"{last[0] if last else 0} + {number}"
        made = run(
            f"INSERT INTO {target} ({', '.join(given)}) SELECT {', '.join(values.values())} "
            f"FROM {table} s WHERE s.session_id IN (SELECT session_id FROM changed)"
        ).fetchone()
        written[table] = made[0] if made else 0
    total = run("SELECT count(*) FROM these").fetchone()
    return Filled(
        path,
        sessions_new=counts.get(True, 0),
        sessions_changed=counts.get(False, 0),
        sessions_unchanged=(total[0] if total else 0) - sum(counts.values()),
        rows=written,
    )


_COUNTS = "SELECT session_id, count(*) AS n FROM {} GROUP BY session_id"
_CHANGED = f"""
    CREATE TEMP TABLE changed AS
    SELECT s.session_id, t.session_id IS NULL AS news
    FROM these s
        LEFT JOIN {_TARGET}.main.provenance_sessions t ON t.session_id = s.session_id
        LEFT JOIN ({_COUNTS.format("provenance_events")}) e ON e.session_id = s.session_id
        LEFT JOIN ({_COUNTS.format("provenance_entity_links")}) l ON l.session_id = s.session_id
        LEFT JOIN ({_COUNTS.format(f"{_TARGET}.main.provenance_events")}) te
            ON te.session_id = s.session_id
        LEFT JOIN ({_COUNTS.format(f"{_TARGET}.main.provenance_entity_links")}) tl
            ON tl.session_id = s.session_id
    WHERE t.session_id IS NULL OR (t.success IS NULL AND s.success IS NOT NULL)
        OR (t.end_time IS NULL AND s.end_time IS NOT NULL)
        OR coalesce(e.n, 0) > coalesce(te.n, 0) OR coalesce(l.n, 0) > coalesce(tl.n, 0)"""
"""Records are never edited, so a session changes by ending and by having more events or links. One
that is told of in two places, a home and a folder, stays as the more complete one tells it."""


def _columns(connection: DuckDBPyConnection, table: str) -> dict[str, str]:
    """Return the columns of a table that are there, each with the expression that fills it.

    A column that must not be null, in tables of another's making, gets an empty value where nobody
    stated one.

    Raises:
        StoreError: A column of the key is missing.
    """
    found = connection.execute(
        "SELECT column_name, is_nullable, data_type FROM duckdb_columns() "
        "WHERE database_name = ? AND schema_name = 'main' AND table_name = ?",
        [_TARGET, table],
    ).fetchall()
    known = {name: (nullable, kind) for name, nullable, kind in found}
    missing = [name for name in sessiontables.key_of(table) if name not in known]
    if missing:
        raise StoreError(f"the table {table} that is there has no column {missing[0]}")
    made: dict[str, str] = {}
    for name in TABLES[table]:
        if name not in known:
            continue
        nullable, kind = known[name]
        empty = {"VARCHAR": "''", "JSON": "'null'::JSON"}.get(kind)
        made[name] = f"s.{name}" if nullable or not empty else f"coalesce(s.{name}, {empty})"
    return made


def _write_sessions(connection: DuckDBPyConnection, columns: dict[str, str]) -> int:
    run = connection.execute
    target = f"{_TARGET}.main.provenance_sessions"
    updates = ", ".join(
        f"{name} = {value}" for name, value in columns.items() if name not in _INDEXED
    )
    run(
        f"UPDATE {target} SET {updates} FROM these s, changed c "
        "WHERE provenance_sessions.session_id = s.session_id AND c.session_id = s.session_id "
        "AND NOT c.news"
    )
    names, values = ", ".join(columns), ", ".join(columns.values())
    insert = (
        f"INSERT INTO {target} ({names}) SELECT {values} FROM these s "
        "JOIN changed c ON c.session_id = s.session_id AND c.news "
        f"WHERE s.session_id NOT IN (SELECT session_id FROM {target})"
    )
    # Parents first: where there is a foreign key, each statement may only name sessions that are
    # there. A session whose parent was recorded elsewhere comes with the rest.
    total = 0
    there = f"SELECT session_id FROM {target}"
    while True:
        made = run(
            f"{insert} AND (s.parent_session_id IS NULL OR s.parent_session_id IN ({there}))"
        ).fetchone()
        if made is None or not made[0]:
            break
        total += made[0]
    has_key = run(
        "SELECT count(*) FROM duckdb_constraints() WHERE database_name = ? "
        "AND table_name = 'provenance_sessions' AND constraint_type = 'FOREIGN KEY'",
        [_TARGET],
    ).fetchone()
    if has_key and has_key[0]:
        alone = {**columns, "parent_session_id": "NULL"}
        insert = insert.replace(values, ", ".join(alone.values()))
    made = run(insert).fetchone()
    return total + (made[0] if made else 0)
