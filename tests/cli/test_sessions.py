"""`init`, `sessions`, `report`, `index-sessions` and `export duckdb` as a user types them."""

from __future__ import annotations

import asyncio
import json

import duckdb
import pytest
import yaml
from sessionfolders import write_by_hand

import whence
from whence.agents import ProvenanceTracker

HOSTILE = "\x1b[31mred\x07\u202egnp.exe\n2026 fake line[bold] | <b>"
"""Colours, a bell, reversed text, a line of its own, markup of three kinds."""


@pytest.fixture
def agents(home, tmp_path):
    """A home and a folder with two sessions; what they hold is out to get the terminal."""
    whence.configure(home)
    tracker = ProvenanceTracker(tmp_path / "provenance")
    tracker.start_session("Search", "where is it?")
    tracker.record_tool_call("api", HOSTILE, {"q": HOSTILE}, duration_ms=5)
    tracker.record_decision(HOSTILE, HOSTILE, {}, HOSTILE, [HOSTILE], HOSTILE)
    tracker.link_entity(HOSTILE, HOSTILE, HOSTILE)
    tracker.end_session()
    tracker.start_session(HOSTILE, HOSTILE)
    tracker.end_session(success=False, error=HOSTILE)
    whence.flush()
    yield tracker
    whence.configure(home, enabled=False)


def test_init_makes_what_is_missing_and_nothing_twice(ask, ask_json, home, tmp_path):
    """A home, a folder with its common files, tables in a database that keeps its own."""
    database = tmp_path / "application.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("CREATE TABLE own AS SELECT 42 AS n")
    words = ("init", "--duckdb", str(database), "--folder", str(tmp_path / "p"))

    first, second = ask_json(*words), ask_json(*words)

    assert first["home"] == {"path": str(home), "new": True}
    assert (len(first["duckdb"]["tables"]), len(first["duckdb"]["indexes"])) == (6, 6)
    assert len(first["folder"]["files"]) == 4
    assert second["home"]["new"] is False
    assert second["duckdb"]["tables"] == second["duckdb"]["indexes"] == []
    assert second["folder"]["files"] == []
    with duckdb.connect(str(database)) as connection:
        assert connection.execute("FROM own").fetchall() == [(42,)]
    assert "0 tables and 0 indexes made" in ask(*words).stdout
    assert ask("runs").exit_code == 0


def test_the_folder_of_a_database_is_made(ask, agents, tmp_path):
    """By `init`, and by an export that nobody prepared."""
    made, filled = tmp_path / "data" / "a.duckdb", tmp_path / "other" / "b.duckdb"

    assert ask("init", "--duckdb", str(made)).exit_code == 0
    assert ask("export", "duckdb", "--into", str(filled)).exit_code == 0
    folder = str(agents.folder)
    beside = tmp_path / "third" / "c.duckdb"
    assert ask("export", "duckdb", "--into", str(beside), "--folder", folder).exit_code == 0
    assert made.is_file()
    assert filled.is_file()
    assert beside.is_file()


def test_init_refuses_what_is_no_database(ask, tmp_path):
    """One sentence, with the file's name."""
    path = tmp_path / "notes.txt"
    path.write_text("x" * 5000)

    result = ask("init", "--duckdb", str(path))

    assert result.exit_code == 2
    assert "notes.txt cannot be written" in result.stderr
    assert "Traceback" not in result.stderr


def test_sessions_are_listed_from_the_home_and_from_folders(ask, ask_json, agents):
    """The same sessions either way; an agent narrows the list."""
    for where in ((), ("--folder", str(agents.folder))):
        items = ask_json("sessions", *where)["items"]

        assert [item["agent_type"] for item in items] == [HOSTILE, "Search"]
        assert [item["success"] for item in items] == [False, True]
        assert items[0]["start_time"].endswith("Z")
        assert len(ask_json("sessions", "--agent", "Search", *where)["items"]) == 1
        shown = ask("sessions", *where)
        assert "where is it?" in shown.stdout
        assert "\x1b" not in shown.stdout
    assert ask_json("sessions", "--limit", "1")["items"][0]["query"] == HOSTILE


def test_a_session_that_was_cancelled_did_not_fail(ask, ask_json, home):
    """People read the run's own word; JSON keeps the original's true, false and null."""
    whence.configure(home)
    for error in (asyncio.CancelledError(), ValueError("no wind")):
        with pytest.raises(type(error)), whence.run("weather"):
            raise error
    whence.configure(home, enabled=False)

    _, failed, cancelled = ask("sessions").stdout.splitlines()
    assert " failed " in failed
    assert " cancelled " in cancelled
    assert "failed" not in cancelled
    assert [item["success"] for item in ask_json("sessions")["items"]] == [False, False]


def test_a_report_without_a_place_names_the_path_that_was_given(ask, agents, tmp_path, monkeypatch):
    """Not the file beside it that people never hear of."""
    assert agents.folder.is_dir()
    monkeypatch.chdir(tmp_path)

    result = ask("report", "--to", "nowhere/r.md")

    assert result.exit_code == 2
    assert "cannot use nowhere/r.md: No such file" in result.stderr


def test_a_report_is_markdown_or_json(ask, ask_json, agents, tmp_path):
    """Over the home or over folders, on standard output or in a file."""
    write_by_hand(tmp_path / "hand")

    shown = ask("report", "--days", "1").stdout
    data = ask_json("report", "--folder", str(agents.folder), "--folder", str(tmp_path / "hand"))

    assert shown.startswith("# Agent performance\n")
    assert "\x1b" not in shown
    assert {row["agent_type"] for row in data["agents"]} == {"Search", HOSTILE, "design_review"}
    assert data["entities"][0]["sessions"] == 1
    written = ask("report", "--to", str(tmp_path / "report.md"))
    assert (written.exit_code, written.stdout) == (0, "")
    assert "## Tools" in (tmp_path / "report.md").read_text()


@pytest.mark.usefixtures("agents")
def test_a_report_finds_what_was_asked_alike_and_who_touched_an_entity(ask_json):
    """Each is a list of sessions."""
    alike = ask_json("report", "--similar", "it is where")
    touched = ask_json("report", "--entity", HOSTILE, HOSTILE)

    assert [row["query"] for row in alike["similar_queries"]] == ["where is it?"]
    assert [row["agent_type"] for row in touched["entity_sessions"]] == ["Search"]


def test_indices_are_written(ask, ask_json, agents):
    """What cannot be read is told, and the rest is indexed."""
    broken = agents.folder / "sessions" / "2026-01-01-00-00"
    broken.mkdir()
    (broken / "manifest.yaml").write_text("a: [")

    found = ask_json("index-sessions", str(agents.folder))
    said = ask("index-sessions", str(agents.folder))

    assert (found["sessions"], found["actions"]) == (3, 6)
    assert "not YAML" in said.stdout
    assert "indexed 3 sessions with 6 actions" in said.stderr
    assert json.loads((agents.folder / "indices" / "totals.json").read_text())["sessions"] == 3


def test_an_export_fills_a_database_once(ask, ask_json, agents, tmp_path):
    """From the home, from chosen runs of it, and from folders."""
    path = str(tmp_path / "x.duckdb")

    first = ask_json("export", "duckdb", "--into", path, "--filter", 'name = "Search"')
    second = ask_json("export", "duckdb", "--into", path)
    third = ask_json("export", "duckdb", "--into", path, "--folder", str(agents.folder))

    assert (first["sessions_new"], second["sessions_new"]) == (1, 1)
    assert (third["sessions_new"], third["sessions_unchanged"]) == (0, 2)
    with duckdb.connect(path, read_only=True) as connection:
        found = connection.execute("SELECT tool_name FROM provenance_tool_calls").fetchall()
    assert found == [(HOSTILE,)]
    wrong = ask("export", "duckdb", "--into", path, "--folder", path, "--filter", "x")
    assert wrong.exit_code == 2


def test_the_views_of_the_sql_command_have_the_same_rows(ask_json, agents):
    """`provenance_*` are tables of `whence sql`; events are numbered from one in each session."""
    found = ask_json(
        "sql",
        "SELECT event_name, sequence_number FROM provenance_events e JOIN provenance_sessions s "
        "USING (session_id) WHERE s.agent_type = 'Search' ORDER BY sequence_number",
    )

    names = [row["event_name"] for row in found["rows"]]
    assert names == ["agent_start", f"api.{HOSTILE}", HOSTILE, "agent_end"]
    assert [row["sequence_number"] for row in found["rows"]] == [1, 2, 3, 4]
    folder = min((agents.folder / "sessions").iterdir())
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
    assert manifest["results"]["actions_performed"] == len(names)
