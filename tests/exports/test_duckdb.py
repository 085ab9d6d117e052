"""Sessions in an application's own database: beside its tables, once, and joined with them."""

from __future__ import annotations

import duckdb
import pytest
from sessionfolders import line, write_by_hand, write_lines

import whence
from whence.errors import StoreError
from whence.exports import duckdb as export
from whence.exports import sessiontables
from whence.ingest.session_folders import iter_sessions

FOREIGN_TABLES = """
CREATE TABLE provenance_sessions (session_id VARCHAR PRIMARY KEY, agent_type VARCHAR NOT NULL,
    query TEXT NOT NULL, start_time TIMESTAMP NOT NULL, end_time TIMESTAMP, duration_ms INTEGER,
    success BOOLEAN, parent_session_id VARCHAR, depth INTEGER DEFAULT 0,
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
    FOREIGN KEY (parent_session_id) REFERENCES provenance_sessions(session_id));
CREATE TABLE provenance_tool_calls (call_id VARCHAR PRIMARY KEY, session_id VARCHAR NOT NULL,
    event_id VARCHAR NOT NULL, tool_type VARCHAR NOT NULL, tool_name VARCHAR NOT NULL,
    input_params JSON NOT NULL, call_time TIMESTAMP NOT NULL, success BOOLEAN NOT NULL,
    FOREIGN KEY (session_id) REFERENCES provenance_sessions(session_id));
INSERT INTO provenance_sessions (session_id, agent_type, query, start_time)
    VALUES ('theirs', 'Other', 'q', '2026-01-01');
"""
"""Two of the tables as another program may have made them: with keys, and columns that must not be
null."""


@pytest.fixture
def database(tmp_path):
    """A database of an application that has tables and rows of its own."""
    path = tmp_path / "application.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE ingredients (id VARCHAR PRIMARY KEY, name VARCHAR)")
        connection.execute("INSERT INTO ingredients VALUES ('CHEBI:1', 'water')")
        connection.execute("CREATE TABLE runs (n INTEGER)")
        connection.execute("INSERT INTO runs VALUES (7)")
    return path


@pytest.fixture
def recorded(home):
    """A home with a failed run, and a run inside another one, each with one of everything."""
    whence.configure(home)
    with whence.run("outer", project="lab", agent_type="Outer", query="what's 'new'?") as outer:
        outer.tool_call("kegg", input={"id": 1}, output="x" * 10, duration_ms=5)
        outer.decide("route", "left", why="near", options=["left", "right"])
        outer.transformation("merge", method="join", output_size=3)
        outer.event("half way")
        outer.link("entity", "CHEBI:1", entity_table="ingredients", link_type="read")
        with whence.run("inner") as inner:
            inner.tool_call("sql", status="error", error=ValueError("no"))
    whence.flush()
    yield home
    whence.configure(home, enabled=False)


def ask(path, query):
    with duckdb.connect(str(path), read_only=True) as connection:
        return connection.execute(query).fetchall()


def fill(home, path, ids=None):
    with whence.open(home) as reader, sessiontables.of_home(reader.store) as source:
        return export.fill(source, path, ids)


def test_tables_and_indexes_are_added_once(database):
    """Six of each; a second time makes none; the application's rows stay."""
    first = export.add_tables(database)
    second = export.add_tables(database)

    assert (len(first.tables), len(first.indexes), first.new) == (6, 6, False)
    assert (second.tables, second.indexes) == ([], [])
    names = ask(
        database,
        "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'provenance_%' ORDER BY 1",
    )
    assert [name for (name,) in names] == sorted(sessiontables.TABLES)
    assert ask(database, "SELECT count(*) FROM duckdb_indexes() WHERE index_name LIKE 'idx_prov%'")[
        0
    ] == (6,)
    assert ask(database, "FROM ingredients") == [("CHEBI:1", "water")]


@pytest.mark.parametrize("table", sessiontables.TABLES)
def test_the_columns_are_those_of_the_document(database, table):
    """In this order, by these names; the key cannot be null."""
    export.add_tables(database)

    query = "SELECT name, pk FROM pragma_table_info('{}')"
    found = ask(database, query.format(table))

    assert [name for name, _ in found] == list(sessiontables.TABLES[table])
    assert {name for name, key in found if key} == set(sessiontables.key_of(table))


def test_a_database_that_is_none_is_refused(tmp_path):
    """And left as it is."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but quite long enough to be looked at" * 10)

    with pytest.raises(StoreError, match=r"notes\.txt cannot be written"):
        export.add_tables(path)
    assert path.read_text().startswith("not a database")


def test_a_home_is_brought_in_and_joins_with_the_applications_tables(recorded, database):
    """Every kind of row arrives, with what the view of the same name says."""
    filled = fill(recorded, database)

    assert (filled.sessions_new, filled.rows["provenance_tool_calls"]) == (2, 2)
    joined = """
        SELECT s.agent_type, s.query, i.name, l.link_type FROM provenance_entity_links l
        JOIN ingredients i ON i.id = l.entity_id AND l.entity_table = 'ingredients'
        JOIN provenance_sessions s USING (session_id)"""
    assert ask(database, joined) == [("Outer", "what's 'new'?", "water", "read")]
    assert ask(
        database,
        "SELECT t.success, t.error_type, e.event_name FROM provenance_tool_calls t "
        "JOIN provenance_events e USING (session_id, event_id) ORDER BY t.success",
    ) == [(False, "ValueError", "sql"), (True, None, "kegg")]
    with whence.open(recorded) as reader:
        for table, columns in sessiontables.TABLES.items():
            names = ", ".join(columns)
            order = "session_id, " + sessiontables.key_of(table)[-1]
            query = f"SELECT {names} FROM {table} ORDER BY {order}"  # noqa: S608 - our own names
            assert ask(database, query) == reader.sql(query).rows
    assert ask(database, "FROM runs") == [(7,)]


def test_bringing_it_in_again_changes_nothing(recorded, database):
    """No row is written twice, and none is replaced."""
    fill(recorded, database)
    before = [ask(database, f"FROM {table} ORDER BY ALL") for table in sessiontables.TABLES]

    again = fill(recorded, database)

    assert (again.sessions_new, again.sessions_changed, again.sessions_unchanged) == (0, 0, 2)
    assert set(again.rows.values()) == {0}
    assert before == [ask(database, f"FROM {table} ORDER BY ALL") for table in sessiontables.TABLES]


def test_what_was_recorded_since_is_added(home, database):
    """A session that was running when it was brought in first is completed."""
    whence.configure(home)
    run = whence.run("slow", query="q").start()
    run.tool_call("one")
    whence.flush()
    first = fill(home, database)
    run.tool_call("two")
    run.link("entity", "e", entity_table="t", link_type="read")
    run.finish(ValueError("late"))
    whence.flush()

    second = fill(home, database)

    whence.configure(home, enabled=False)
    assert (first.sessions_new, second.sessions_new, second.sessions_changed) == (1, 0, 1)
    assert ask(database, "SELECT success, error_message FROM provenance_sessions") == [
        (False, "late")
    ]
    assert ask(database, "SELECT tool_name FROM provenance_tool_calls ORDER BY call_time") == [
        ("one",),
        ("two",),
    ]
    assert ask(database, "SELECT count(*) FROM provenance_entity_links") == [(1,)]


def test_only_chosen_sessions_are_brought_in(recorded, tmp_path):
    """A database that is not there is made."""
    with whence.open(recorded) as reader:
        (inner,) = reader.runs('name = "inner"').items

    fill(recorded, tmp_path / "new.duckdb", [inner.id])

    found = ask(tmp_path / "new.duckdb", "SELECT session_id, depth FROM provenance_sessions")
    assert found == [(inner.id, 1)]


def test_tables_of_another_program_are_filled_too(recorded, database):
    """With foreign keys, fewer columns, and columns that must not be null; its rows stay."""
    with duckdb.connect(str(database)) as connection:
        connection.execute(FOREIGN_TABLES)

    fill(recorded, database)
    again = fill(recorded, database)

    assert again.sessions_unchanged == 2
    found = ask(database, "SELECT session_id, parent_session_id FROM provenance_sessions")
    parents = dict(found)
    assert len(parents) == 3
    assert {parent for parent in parents.values() if parent} < set(parents)
    assert ask(database, "SELECT tool_type FROM provenance_tool_calls") == [("",), ("",)]


def test_folders_are_brought_in_like_a_home(tmp_path, database):
    """By hand and by agents; a folder that was copied gives its session once."""
    write_by_hand(tmp_path / "a")
    write_by_hand(tmp_path / "b")
    calls = [line(1, "execute", "AgentExecution"), line(2, "query", "DuckDB", status="failure")]
    write_lines(tmp_path / "a" / "sessions" / "2026-01-20-09-07" / "actions.jsonl", calls)
    sessions = [one for name in "ab" for one in iter_sessions(tmp_path / name)]

    for _ in range(2):
        with sessiontables.of_sessions(sessions) as source:
            filled = export.fill(source, database)

    assert filled.sessions_unchanged == 2
    assert ask(database, "SELECT tool_name, success FROM provenance_tool_calls") == [
        ("DuckDB", False)
    ]
    assert ask(database, "SELECT count(*) FROM provenance_decisions") == [(5,)]


def test_a_failure_leaves_the_database_as_it_was(recorded, database):
    """A table that cannot take the rows stops everything, and nothing was written."""
    export.add_tables(database)
    with duckdb.connect(str(database)) as connection:
        connection.execute("DROP TABLE provenance_decisions")
        connection.execute("CREATE TABLE provenance_decisions (decision_id INT, session_id INT)")
        connection.execute(
            "CREATE INDEX idx_prov_decisions_session ON provenance_decisions (session_id)"
        )

    with pytest.raises(StoreError, match="cannot be written"):
        fill(recorded, database)

    assert ask(database, "SELECT count(*) FROM provenance_sessions") == [(0,)]
