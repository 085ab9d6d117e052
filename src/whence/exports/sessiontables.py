"""The six tables of the session database, and connections in which they can be asked.

`TABLES` and `INDEXES` say what the tables are; `of_home`, `of_sessions` and `of_database` yield a
DuckDB connection in which each is a table or a view of its name, over the runs of a home, over
sessions read from folders, or in somebody's database. Whoever asks about sessions asks such a
connection and need not know where they are.

Source: document 3 (hybrid sessions); names of tables, columns and indexes are its original's. Two
things differ: there are no foreign keys, since a parent may have been recorded elsewhere, and ids
of records are unique together with their session only.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _extras
from whence.errors import StoreError
from whence.exports import sessionrows
from whence.store import columns
from whence.store.base import Order
from whence.store.duckdb import DuckDBStore
from whence.store.predicate import ALWAYS
from whence.store.rows import TIME_FIELD
from whence.store.views import REQUIREMENT_VIEWS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from duckdb import DuckDBPyConnection

    from whence.ingest.session_parts import FolderSession
    from whence.store.base import Store

TABLES: dict[str, dict[str, str]] = {
    "provenance_sessions": {
        "session_id": "VARCHAR",
        "agent_type": "VARCHAR",
        "agent_version": "VARCHAR",
        "query": "VARCHAR",
        "kwargs": "JSON",
        "user_context": "JSON",
        "start_time": "TIMESTAMP",
        "end_time": "TIMESTAMP",
        "duration_ms": "BIGINT",
        "success": "BOOLEAN",
        "result_summary": "JSON",
        "error_message": "VARCHAR",
        "python_version": "VARCHAR",
        "dependencies": "JSON",
        "db_path": "VARCHAR",
        "parent_session_id": "VARCHAR",
        "depth": "INTEGER",
        "created_at": "TIMESTAMP",
    },
    "provenance_events": {
        "event_id": "VARCHAR",
        "session_id": "VARCHAR",
        "event_type": "VARCHAR",
        "event_name": "VARCHAR",
        "timestamp": "TIMESTAMP",
        "sequence_number": "BIGINT",
        "details": "JSON",
        "duration_ms": "BIGINT",
        "related_event_id": "VARCHAR",
    },
    "provenance_tool_calls": {
        "call_id": "VARCHAR",
        "session_id": "VARCHAR",
        "event_id": "VARCHAR",
        "tool_type": "VARCHAR",
        "tool_name": "VARCHAR",
        "input_params": "JSON",
        "output_data": "JSON",
        "output_size_bytes": "BIGINT",
        "call_time": "TIMESTAMP",
        "duration_ms": "BIGINT",
        "cache_hit": "BOOLEAN",
        "cache_key": "VARCHAR",
        "cache_source": "VARCHAR",
        "rate_limit_delay_ms": "BIGINT",
        "retry_count": "BIGINT",
        "success": "BOOLEAN",
        "error_type": "VARCHAR",
        "error_message": "VARCHAR",
    },
    "provenance_decisions": {
        "decision_id": "VARCHAR",
        "session_id": "VARCHAR",
        "event_id": "VARCHAR",
        "decision_type": "VARCHAR",
        "decision_point": "VARCHAR",
        "input_values": "JSON",
        "condition_evaluated": "VARCHAR",
        "branch_taken": "VARCHAR",
        "branches_available": "JSON",
        "reason": "VARCHAR",
        "timestamp": "TIMESTAMP",
    },
    "provenance_transformations": {
        "transformation_id": "VARCHAR",
        "session_id": "VARCHAR",
        "event_id": "VARCHAR",
        "transformation_type": "VARCHAR",
        "transformation_name": "VARCHAR",
        "input_schema": "JSON",
        "input_sample": "JSON",
        "input_size": "BIGINT",
        "output_schema": "JSON",
        "output_sample": "JSON",
        "output_size": "BIGINT",
        "method": "VARCHAR",
        "parameters": "JSON",
        "timestamp": "TIMESTAMP",
        "duration_ms": "BIGINT",
    },
    "provenance_entity_links": {
        "link_id": "BIGINT",
        "session_id": "VARCHAR",
        "event_id": "VARCHAR",
        "entity_table": "VARCHAR",
        "entity_id": "VARCHAR",
        "link_type": "VARCHAR",
        "timestamp": "TIMESTAMP",
    },
}
"""Table to its columns and their types. The first column is the key, in all but sessions and links
together with the session.
"""

DEFAULTS: dict[tuple[str, str], str] = {
    ("provenance_sessions", "depth"): "0",
    ("provenance_sessions", "created_at"): "CURRENT_TIMESTAMP",
    ("provenance_tool_calls", "cache_hit"): "false",
    ("provenance_tool_calls", "retry_count"): "0",
}

INDEXES: dict[str, tuple[str, str]] = {
    "idx_prov_sessions_agent": ("provenance_sessions", "agent_type, created_at"),
    "idx_prov_events_session": ("provenance_events", "session_id, sequence_number"),
    "idx_prov_tools_session": ("provenance_tool_calls", "session_id, call_time"),
    "idx_prov_decisions_session": ("provenance_decisions", "session_id, timestamp"),
    "idx_prov_transformations_session": ("provenance_transformations", "session_id, timestamp"),
    "idx_prov_entity_links_entity": ("provenance_entity_links", "entity_table, entity_id"),
}
"""Index to its table and columns."""
_OWN_KEY = frozenset({"provenance_sessions", "provenance_entity_links"})


def key_of(table: str) -> list[str]:
    """Return the columns of a table's key."""
    first = next(iter(TABLES[table]))
    return [first] if table in _OWN_KEY else ["session_id", first]


def create_statement(table: str, name: str | None = None) -> str:
    """Return the statement that makes a table, under another name if one is given."""
    columns = [
        f"{column} {kind}"
        + (f" DEFAULT {default}" if (default := DEFAULTS.get((table, column))) else "")
        for column, kind in TABLES[table].items()
    ]
    key = ", ".join(key_of(table))
    return f"CREATE TABLE {name or table} ({', '.join(columns)}, PRIMARY KEY ({key}))"


def quoted(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


@contextmanager
def of_home(store: Store) -> Generator[DuckDBPyConnection]:
    """Yield a connection in which the tables are views over the runs of a home.

    The files of a home are read where they are; the rows of any other store are copied first.
    """
    with ExitStack() as stack:
        connection = stack.enter_context(_connected(":memory:"))
        if isinstance(store, DuckDBStore):
            tables = stack.enter_context(store.sql_tables())
            paths = {name: path.replace("'", "''") for name, path in tables.files.items()}
            for name, select in tables.sources.items():
                connection.execute(f"CREATE VIEW {name} AS {select.format(**paths)}")
        else:
            _copy(store, connection)
        for name, select in REQUIREMENT_VIEWS.items():
            if name in TABLES:
                connection.execute(f"CREATE VIEW {name} AS {select}")
        yield connection


def _copy(store: Store, connection: DuckDBPyConnection) -> None:
    with tempfile.TemporaryDirectory(prefix="whence-sessions-") as folder:
        for table, time in TIME_FIELD.items():
            path = Path(folder, f"{table}.jsonl")
            columns.write_lines(store.select(table, ALWAYS, Order(time)), path)
            connection.execute(columns.create_table(table, table))
            connection.execute(f"INSERT INTO {table} {columns.read_lines(table)}", [str(path)])


@contextmanager
def of_sessions(sessions: Iterable[FolderSession]) -> Generator[DuckDBPyConnection]:
    """Yield a connection in which the tables hold sessions that were read from folders."""
    with tempfile.TemporaryDirectory(prefix="whence-sessions-") as folder:
        files = {table: Path(folder, f"{table}.jsonl") for table in TABLES}
        writers = {table: path.open("wb") for table, path in files.items()}
        encode = msgspec.json.Encoder().encode
        try:
            for table, row in sessionrows.iter_rows(sessions):
                writers[table].write(encode(row) + b"\n")
        finally:
            for writer in writers.values():
                writer.close()
        with _connected(":memory:") as connection:
            for table, path in files.items():
                connection.execute(create_statement(table))
                connection.execute(f"INSERT OR IGNORE INTO {table} {_read(table)}", [str(path)])
            yield connection


def _read(table: str) -> str:
    kinds = ", ".join(f"'{name}': '{kind}'" for name, kind in TABLES[table].items())
    return (
        f"SELECT * FROM read_json(?, format = 'newline_delimited', columns = {{{kinds}}}, "
        f"maximum_object_size = {1 << 30})"
    )


@contextmanager
def of_database(path: Path) -> Generator[DuckDBPyConnection]:
    """Yield a connection to a database that has the tables; nothing can be changed through it.

    Raises:
        StoreError: It cannot be opened, or lacks one of the tables.
    """
    with _connected(str(path), read_only=True) as connection:
        found = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
        missing = [table for table in TABLES if (table,) not in found]
        if missing:
            raise StoreError(
                f"{path} has no table {missing[0]}; `whence init --duckdb {path}` makes it"
            )
        yield connection


@contextmanager
def _connected(path: str, *, read_only: bool = False) -> Generator[DuckDBPyConnection]:
    duckdb: Any = _extras.require("duckdb", "cli", "asking about sessions")
    try:
        connection = duckdb.connect(path, read_only=read_only)
    except duckdb.Error as error:
        raise StoreError(f"{path} cannot be opened: {first_line(error)}") from error
    try:
        yield connection
    except duckdb.Error as error:
        raise StoreError(f"the sessions cannot be read: {first_line(error)}") from error
    finally:
        connection.close()


def ask(
    connection: DuckDBPyConnection, text: str, parameters: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the rows of one of our own queries as dicts.

    Raises:
        StoreError: DuckDB could not answer.
    """
    duckdb: Any = _extras.require("duckdb", "cli", "asking about sessions")
    try:
        cursor = connection.execute(text, parameters)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    except duckdb.Error as error:
        raise StoreError(f"the sessions cannot be asked: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return the first line of what a driver says."""
    return str(error).partition("\n")[0]
