"""The library's agents answer from what is really there, and each answer is a session."""

from __future__ import annotations

import json
from collections import Counter

import duckdb
import pytest
from agents_library import __main__ as program
from agents_library import agents, library

import whence
from whence.agents import ProvenanceTracker, iter_sessions
from whence.capture.context import current_scope


@pytest.fixture
def recording(home):
    """Record into a home of the test's own; nothing is recorded afterwards."""
    token = current_scope.set(None)
    whence.configure(home)
    yield home
    current_scope.reset(token)
    whence.configure(home, enabled=False)


def test_answers_are_those_of_the_library(recording, tmp_path):
    """A module that is named is read; one that is not is found by its words; else it fails."""
    del recording
    librarian = agents.Librarian(tracker=ProvenanceTracker(tmp_path))

    read = librarian.execute("What does `textwrap` offer?")
    assert read["module"] == "textwrap"
    assert read["members"] == len(library.load("textwrap").members) > 3
    assert "dedent" in library.load("textwrap").members
    assert librarian.execute("Where is a heap queue?")["module"] == "heapq"
    for question in ("What does `flux_capacitor` offer?", "Where are unicorns bred?"):
        with pytest.raises(LookupError):
            librarian.execute(question)


def test_the_program_leaves_a_session_for_every_execution(recording, tmp_path, capsys):
    """Two for each question, the inner one with the outer as its parent; failures are both's."""
    folder, database = tmp_path / "provenance", tmp_path / "library.duckdb"
    words = ["--home", str(recording), "--folder", str(folder), "--duckdb", str(database)]

    assert program.main(words) == 0
    assert program.main([*words, "Where is a heap queue?"]) == 0

    sessions = list(iter_sessions(folder))
    assert len(sessions) == 2 * len(program.QUESTIONS) + 2
    outer = {one.database_session_id for one in sessions if one.agent_type == "Librarian"}
    inner = [one for one in sessions if one.agent_type != "Librarian"]
    assert {one.parent_session_id for one in inner} == outer
    assert {one.depth for one in inner} == {1}
    assert Counter(one.success for one in sessions) == {True: 14, False: 4}
    found = [one for one in sessions if one.agent_type == "Finder"]
    hits = [call.cache_hit for one in found for call in one.tool_calls]
    assert hits.count(False) <= 1 < hits.count(True)
    totals = json.loads((folder / "indices" / "totals.json").read_text())
    assert (totals["sessions"], totals["actions"]) == (
        len(sessions),
        sum(len(one.actions) for one in sessions),
    )
    with duckdb.connect(str(database), read_only=True) as connection:
        rows = connection.execute(
            "SELECT count(DISTINCT session_id), (SELECT count(*) FROM modules) "
            "FROM provenance_sessions"
        ).fetchone()
    assert rows == (len(sessions), len(library.names()))
    said = capsys.readouterr().out
    assert "Librarian" in said
    assert "Most time went on " in said  # the index, where no other test made it before
