"""The same questions about sessions go to a home, to folders and to a database."""

from __future__ import annotations

import json
import os

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sessionfolders import corpus, line, write_by_hand, write_lines

import whence
from whence import agents
from whence.agents import ProvenanceQueries, ProvenanceTracker
from whence.dialects.agents.queries import similarity, words_of
from whence.errors import ConfigError, IngestError, NotFoundError, StoreError
from whence.exports import duckdb as export
from whence.exports import sessiontables

QUERIES = [
    ("Search", "find the growth medium of E. coli", True),
    ("Search", "what is the growth medium for E. coli?", False),
    ("Search", "find the pathway of glucose", True),
    ("Answer", "find the growth medium of E. coli", True),
]


@pytest.fixture
def folder(recording, tmp_path):
    """Four sessions in a home and in a folder, one of them inside another."""
    del recording
    tracker = ProvenanceTracker(tmp_path / "provenance")
    for number, (agent, query, success) in enumerate(QUERIES):
        tracker.start_session(agent, query)
        tracker.record_tool_call("api", "kegg", {"n": number}, duration_ms=10 * (number + 1))
        tracker.record_tool_call("api", "cache", {}, duration_ms=1, cache_hit=True)
        tracker.record_decision("route", "start", {}, "left" if success else "right", [], "")
        tracker.record_transformation("sort", "rank", duration_ms=100)
        tracker.link_entity("media", "M9" if success else "LB", "read")
        tracker.end_session(success=success, error=None if success else "no medium")
    tracker.start_session("Outer", "all")
    tracker.start_session("Inner", "part")
    tracker.end_session()
    tracker.end_session()
    whence.flush()
    return tracker.folder


@pytest.fixture(params=["home", "folder", "database", "reader", "configured"])
def queries(request, folder, recording, tmp_path):
    """The sessions, opened in each way."""
    if request.param == "reader":
        with whence.open(recording) as reader, ProvenanceQueries(reader) as asked:
            yield asked
        return
    source = {"home": recording, "folder": folder, "configured": None}.get(request.param)
    if request.param == "database":
        source = tmp_path / "sessions.duckdb"
        with whence.open(recording) as reader, sessiontables.of_home(reader.store) as tables:
            export.fill(tables, source)
    with ProvenanceQueries(source) as asked:
        yield asked


def test_sessions_are_counted_wherever_they_are(queries):
    """Every question has the same answer from a home, a folder and a database."""
    assert queries.totals() == {
        "provenance_sessions": 6,
        "provenance_events": 28,
        "provenance_tool_calls": 8,
        "provenance_decisions": 4,
        "provenance_transformations": 4,
        "provenance_entity_links": 4,
    }
    agents_found = {row["agent_type"]: row for row in queries.agent_statistics()}
    search = agents_found["Search"]
    assert (search["executions"], search["successful"], search["failed"]) == (3, 2, 1)
    assert search["min_duration_ms"] <= search["avg_duration_ms"] <= search["max_duration_ms"]
    assert [row["executions"] for row in queries.agent_statistics("Answer")] == [1]

    tools = {row["tool_name"]: row for row in queries.tool_statistics()}
    assert (tools["kegg"]["call_count"], tools["kegg"]["avg_duration_ms"]) == (4, 25)
    assert (tools["cache"]["cache_hits"], tools["kegg"]["cache_misses"]) == (4, 4)

    assert [
        (row["agent_type"], row["decision_type"], row["branch_taken"], row["count"])
        for row in queries.decision_patterns()
    ] == [
        ("Search", "route", "left", 2),
        ("Answer", "route", "left", 1),
        ("Search", "route", "right", 1),
    ]
    usage = [(row["entity_id"], row["sessions"]) for row in queries.entity_usage()]
    assert usage == [("M9", 3), ("LB", 1)]
    assert [row["agent_type"] for row in queries.entity_sessions("media", "LB")] == ["Search"]


def test_bottlenecks_are_where_the_time_went(queries):
    """Tools and transformations by the time they took in all."""
    found = queries.bottlenecks()

    assert [(row["name"], row["calls"], row["total_duration_ms"]) for row in found] == [
        ("rank", 4, 400),
        ("api.kegg", 4, 100),
        ("api.cache", 4, 4),
    ]
    slowest = queries.session_trace(found[1]["slowest_session"])
    assert slowest["session"]["agent_type"] == "Answer"


def test_queries_that_ask_alike_are_found(queries):
    """By the words that mean something, the most alike first."""
    found = queries.similar_queries("growth medium of E. coli", least=0.5)

    assert [row["similarity"] for row in found] == sorted(
        (row["similarity"] for row in found), reverse=True
    )
    assert {row["query"] for row in found} == {QUERIES[0][1], QUERIES[1][1]}
    (again,) = queries.repeated_queries()
    assert (again["sessions"], again["failed"]) == (3, 1)
    assert again["agent_types"] == ["Answer", "Search"]


def test_failures_and_days_and_hierarchies(queries):
    """What went wrong, when, and what was inside what."""
    assert [(row["error_message"], row["sessions"]) for row in queries.failures()] == [
        ("no medium", 1)
    ]
    assert sum(row["executions"] for row in queries.performance_over_time()) == 6
    (outer,) = [row for row in queries.recent_sessions() if row["agent_type"] == "Outer"]
    tree = queries.session_hierarchy(outer["session_id"])
    assert [(row["agent_type"], row["level"], row["depth"]) for row in tree] == [
        ("Outer", 0, 0),
        ("Inner", 1, 1),
    ]
    assert len(queries.recent_sessions("Search", limit=2)) == 2


def test_a_trace_has_everything_of_a_session(queries):
    """And a session that is not there is an error."""
    (one,) = queries.recent_sessions("Answer")
    trace = queries.session_trace(one["session_id"])

    assert trace["session"]["query"] == QUERIES[3][1]
    assert [row["event_type"] for row in trace["events"]] == [
        "lifecycle",
        "tool_call",
        "tool_call",
        "decision",
        "transformation",
        "lifecycle",
    ]
    assert [row["sequence_number"] for row in trace["events"]] == [1, 2, 3, 4, 5, 6]
    assert [row["entity_id"] for row in trace["entity_links"]] == ["M9"]
    with pytest.raises(NotFoundError, match="whence sessions"):
        queries.session_trace("'; DROP TABLE provenance_sessions")


def test_a_window_leaves_older_sessions_out(tmp_path):
    """Seven days is the default of statistics; None is all time, and nonsense is refused."""
    write_by_hand(tmp_path)
    with ProvenanceQueries(tmp_path) as queries:
        assert queries.agent_statistics() == []
        (row,) = queries.agent_statistics(days=None)
        assert (row["agent_type"], row["successful"], row["failed"]) == ("design_review", 0, 0)
        for days in (-1, float("nan"), 1e9):
            with pytest.raises(ConfigError, match="days"):
                queries.tool_statistics(days=days)


def test_folders_of_several_projects_are_asked_together(tmp_path):
    """A session that was copied from one to the other counts once."""
    write_by_hand(tmp_path / "a")
    write_by_hand(tmp_path / "b")
    path = tmp_path / "b" / "sessions" / "2026-01-20-09-07" / "actions.jsonl"
    write_lines(path, [line(1, "query", "DuckDB", duration_ms=5)])

    with ProvenanceQueries(folders=[tmp_path / "a", tmp_path / "b"]) as queries:
        assert queries.totals()["provenance_sessions"] == 2
        assert [row["tool_name"] for row in queries.tool_statistics(days=None)] == ["DuckDB"]


def test_what_cannot_be_asked_is_refused(tmp_path):
    """No folder, no database, and a database without the tables."""
    with pytest.raises(StoreError):
        ProvenanceQueries(tmp_path / "nowhere")
    with pytest.raises(IngestError):
        ProvenanceQueries(folders=[tmp_path])
    duckdb.connect(str(tmp_path / "x.duckdb")).close()
    with pytest.raises(StoreError, match="whence init --duckdb"):
        ProvenanceQueries(tmp_path / "x.duckdb")


def test_a_process_that_recorded_nothing_yet_has_no_sessions(home):
    """The configured home need not exist."""
    whence.configure(home)
    try:
        with ProvenanceQueries() as queries:
            assert queries.recent_sessions() == []
            assert agents.report(queries).to_dict()["agents"] == []
    finally:
        whence.configure(home, enabled=False)


def test_a_report_has_every_section_as_data_and_as_markdown(folder):
    """And recorded text is no markup in it."""
    tracker = ProvenanceTracker(folder)
    tracker.start_session("| evil | <b>", "# heading\n| a | b |\x1b[31m")
    tracker.end_session(success=False, error="`x` | *y*")

    with ProvenanceQueries(folder) as queries:
        report = agents.report(queries, days=1)

    data = report.to_dict()
    assert {name for name, value in data.items() if value} >= {
        "agents",
        "tools",
        "decisions",
        "bottlenecks",
        "slowest_sessions",
        "failures",
        "repeated_queries",
        "entities",
        "days_of_agents",
    }
    json.dumps(data)
    text = report.to_markdown()
    assert "\x1b" not in text
    assert "<b>" not in text
    for table in text.split("\n## ")[1:]:
        rows = [row for row in table.splitlines() if row.startswith("|")]
        assert len({row.replace("\\|", "").count("|") for row in rows}) <= 1


def test_indices_add_up_and_say_what_was_declared(folder):
    """One file a question, made anew each time, next to what they are about."""
    write_by_hand(folder)

    found = agents.index_sessions(folder)
    again = agents.index_sessions(folder / "sessions")

    assert (found.sessions, found.actions) == (again.sessions, again.actions) == (7, 28)
    assert {os.path.relpath(file, folder) for file in found.files} == {
        f"indices/{name}"
        for name in (
            "sessions.jsonl",
            "totals.json",
            "tools.json",
            "files.json",
            "decisions.json",
            "entities.json",
            "errors.json",
        )
    }
    indices = folder / "indices"
    totals = json.loads((indices / "totals.json").read_text())
    assert (totals["sessions"], totals["sessions_with_actions"]) == (7, 6)
    assert (totals["actions"], totals["actions_declared"]) == (28, 28 + 47)
    assert totals["types"]["query"] == 8
    tools = json.loads((indices / "tools.json").read_text())
    assert tools["KEGGPathwayAPI"]["actions"] == tools["KEGGPathwayAPI"]["sessions"] == 4
    entities = json.loads((indices / "entities.json").read_text())
    assert len(entities["media"]["M9"]) == 3
    sessions = [json.loads(one) for one in (indices / "sessions.jsonl").read_text().splitlines()]
    assert sum(one["success"] == "partial" for one in sessions) == 1


def test_there_is_nothing_to_index_in_an_empty_folder(tmp_path):
    """The message names a folder that has sessions."""
    with pytest.raises(IngestError, match="no sessions"):
        agents.index_sessions(tmp_path)


def test_a_corpus_of_another_tracker_is_asked_like_ours():
    """Failed calls are known from its JSON manifests, and every event and decision is there."""
    with ProvenanceQueries(corpus("claude-provenance-upstream-writer")) as queries:
        totals = queries.totals()
        tools = queries.tool_statistics(days=None)

    assert totals["provenance_sessions"] == 6
    assert totals["provenance_tool_calls"] == 47
    assert totals["provenance_events"] == 188
    assert sum(row["failed"] for row in tools) == 7


words = st.text(max_size=30)


@given(words, words)
def test_similarity_is_a_share(a, b):
    """It is symmetric, from 0 to 1, and 1 for the same words."""
    one, other = words_of(a), words_of(b)

    assert 0 <= similarity(one, other) == similarity(other, one) <= 1
    assert similarity(one, one) == (1 if one else 0)
