"""Session folders of any project become runs that can be asked like recorded ones."""

from __future__ import annotations

import contextvars
import json
import shutil
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from otlpdata import contents
from sessionfolders import line, write_by_hand, write_lines
from trajectorydata import expected

import whence
from whence.agents import ProvenanceTracker
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths

HAND = "claude-session-2026-01-10-21-16-00"
MANIFEST = {
    "manifest_version": "1.0",
    "session": {
        "session_id": "ef048ecd-95a3-4a4e-a065-431a6d18368e",
        "agent_type": "Tester",
        "query": "does it work?",
        "kwargs": {"n": 1},
        "start_time": "2026-01-11T07:08:00.000000",
        "end_time": "2026-01-11T07:08:03.000000",
        "duration_ms": 3000,
        "success": False,
        "error_message": "it does not",
        "result_summary": {"n": 2},
        "action_count": 4,
    },
    "execution_trace": [
        {
            "event_id": f"e{number}",
            "event_type": kind,
            "event_name": name,
            "timestamp": f"2026-01-11T07:08:0{number}.000000",
            "sequence_number": number,
            "details": details,
        }
        for number, (kind, name, details) in enumerate(
            [
                ("lifecycle", "agent_start", {}),
                ("decision", "way", {"branch_taken": "a"}),
                ("tool_call", "api.get", {"call_id": "c1"}),
                ("log", "log_warning", {"message": "slow", "level": "WARNING"}),
                ("lifecycle", "agent_end", {"success": False}),
            ]
        )
    ],
    "decisions": [
        {
            "decision_id": "d1",
            "decision_type": "route",
            "decision_point": "way",
            "branch_taken": "a",
            "branches_available": ["a", "b"],
            "reason": "shorter",
            "timestamp": "2026-01-11T07:08:01.000000",
        }
    ],
    "tool_calls": [
        {
            "call_id": "c1",
            "tool_name": "get",
            "tool_type": "api",
            "call_time": "2026-01-11T07:08:02.000000",
            "success": False,
            "error_message": "404",
            "duration_ms": 7,
        }
    ],
    "entity_links": [{"entity_table": "users", "entity_id": "u/1", "link_type": "read"}],
}


@pytest.fixture
def asked(home):
    """Import paths and return the store."""

    def run(*paths):
        report = import_paths(home, paths)
        assert report.skipped == []
        return whence.open(home)

    return run


def test_a_session_by_hand_keeps_what_it_declares(asked, tmp_path):
    """Goals, findings, errors, decisions with what was not taken, and keys that nobody knows."""
    write_by_hand(tmp_path / "in")

    with asked(tmp_path / "in") as store:
        run = store.run(HAND)
        said = run.run.attributes
        assert (run.run.status, said["outcome"]) == ("incomplete", "partial")
        assert said["declared"]["actions"] == 47
        assert said["goals"] == ["Track what is done", "Say why"]
        assert said["extra"]["critical_corrections"][0]["issue"] == "wrong sum"
        assert {output.kind: output.summary for output in run.outputs} == {
            "finding": "it was there already",
            "recommendation": "look again",
        }
        assert {event.message for event in run.events} == {"a text", "an object"}
        where = next(one for one in run.decisions if one.name == "where to keep it")
        assert (where.what, where.why) == ("a file", "people read it")
        assert [(o["name"], o.get("chosen", False)) for o in where.options] == [
            ("a file", True),
            ("a table", False),
        ]
        assert "not a table" in str(store.why(HAND))


def test_lines_alone_are_a_session(asked, tmp_path):
    """Queries are tool calls, decisions decisions, and the rest events; files are kept."""
    folder = tmp_path / "in" / "sessions" / "2026-01-20-09-07"
    write_lines(
        folder / "actions.jsonl",
        [
            line(1, "execute", "AgentExecution", details={"agent_type": "A", "query": "q"}),
            line(2, "query", "DuckDB", status="failure", error={"message": "no table"}),
            line(3, "decision", "way", details={"branch_taken": "x", "reason": "r"}),
            line(4, "modify", "Edit", files_affected=["a.py"]),
            line(5, "execute", "AgentExecution", details={"success": True}),
        ],
    )

    with asked(tmp_path / "in") as store:
        (run,) = store.runs(limit=None)
        tree = store.run(run.id)
        assert (run.name, run.kind, run.started_ns) == ("A", "agent", tree.run.started_ns)
        assert [(call.tool_name, call.status) for call in tree.tool_calls] == [("DuckDB", "error")]
        assert [(one.decision_point, one.what) for one in tree.decisions] == [("way", "x")]
        assert [(e.message, e.data["files"]) for e in tree.events] == [("Edit", ["a.py"])]


def test_a_json_manifest_alone_is_a_session(asked, tmp_path):
    """It is a file and no folder; what failed is told nowhere else."""
    path = tmp_path / "ef048ecd.json"
    path.write_text(json.dumps(MANIFEST), "utf-8")

    with asked(path) as store:
        run = store.run("ef048ecd-95a3-4a4e-a065-431a6d18368e")
        assert (run.run.status, run.run.error["message"]) == ("failed", "it does not")
        assert run.run.output == {"n": 2}
        assert run.tool_calls[0].error == {"type": "error", "message": "404"}
        assert [option["name"] for option in run.decisions[0].options] == ["a", "b"]
        assert [(event.message, event.level) for event in run.events] == [("slow", "warning")]
        assert run.links[0].target == "u/1"
        (count,) = store.sql("SELECT count(*) FROM provenance_events").to_dicts()
        assert list(count.values()) == [5]


def test_a_session_that_goes_on_gains_only_what_is_new(home, tmp_path):
    """Also while it is read, when its last line is half written."""
    actions = tmp_path / "in" / "sessions" / "2026-01-20-09-07" / "actions.jsonl"
    done = [
        line(1, "execute", "AgentExecution", database_event_id="e1"),
        line(2, "query", "DuckDB", database_event_id="e2"),
    ]
    write_lines(actions, done)
    with actions.open("a") as file:
        file.write('{"timestamp": "2026')
    first = import_paths(home, [tmp_path / "in"])
    write_lines(actions, [*done, line(3, "query", "DuckDB", database_event_id="e3")])

    second = import_paths(home, [tmp_path / "in"])

    assert (first.tool_calls, len(first.skipped)) == (1, 1)
    assert (second.tool_calls, second.skipped) == (2, [])
    # The call, and what the session says of itself, which counts its lines.
    assert second.new == 2


def test_sessions_are_found_in_a_project_beside_other_files(home, tmp_path):
    """Folders that are merely called so are walked like any other."""
    write_by_hand(tmp_path / "project" / ".claude" / "provenance")
    (tmp_path / "project" / "sessions" / "x").mkdir(parents=True)
    (tmp_path / "project" / "sessions" / "x" / "summary.md").write_text("# a summary")

    report = import_paths(home, [tmp_path / "project"])

    assert (report.format, report.runs) == ("sessions", 1)
    assert [skipped.where.rpartition("/")[2] for skipped in report.skipped] == ["summary.md"]


def recorded_live(home, folder):
    """Record a session with a failed call and a decision, and return its id."""
    whence.configure(home)
    tracker = ProvenanceTracker(folder)
    session = tracker.start_session("Finder", "where?")
    tracker.record_tool_call("api", "get", {"q": 1}, error="404")
    tracker.record_decision("route", "way", branch_taken="a", branches_available=["a", "b"])
    tracker.end_session(success=False, error="lost")
    whence.configure(home, enabled=False)
    return session


def test_what_was_recorded_live_comes_back_from_its_folder(home, tmp_path):
    """In another home, under the same id."""
    session = contextvars.copy_context().run(recorded_live, tmp_path / "live", tmp_path / "folder")

    import_paths(home, [tmp_path / "folder"])

    with whence.open(home) as store:
        run = store.run(session)
        assert (run.run.name, run.run.status) == ("Finder", "failed")
        assert run.run.id != session
        assert [(call.tool_name, call.status) for call in run.tool_calls] == [("get", "error")]
        assert [one.what for one in run.decisions] == ["a"]


def test_what_was_recorded_live_is_there_already_in_its_own_home(home, tmp_path):
    """The folder that a tracker wrote beside the log says nothing new."""
    session = contextvars.copy_context().run(recorded_live, home, tmp_path / "folder")

    report = import_paths(home, [tmp_path / "folder"])

    assert (report.new, report.runs, report.skipped) == (0, 1, [])
    with whence.open(home) as store:
        assert [run.id for run in store.runs()] == [store.run(session).run.id]


def test_a_parent_is_found_whichever_comes_first(home, tmp_path):
    """Sessions name the one that started them."""
    inner = json.loads(json.dumps(MANIFEST))
    inner["session"] |= {
        "session_id": "00000000-0000-4000-8000-000000000001",
        "parent_session_id": MANIFEST["session"]["session_id"],
    }
    for number, manifest in enumerate((inner, MANIFEST)):
        (tmp_path / f"{number}.json").write_text(json.dumps(manifest), "utf-8")

    import_paths(home, [tmp_path / "0.json", tmp_path / "1.json"])

    with whence.open(home) as store:
        child = store.run("00000000-0000-4000-8000-000000000001").run
        assert child.parent_run == store.run(MANIFEST["session"]["session_id"]).run.id


@given(
    value=st.sampled_from([None, 5, "x", [1], {"a": 1}, 1e300, "0001-01-01", "../..", "\x00<b>"]),
    place=st.sampled_from(["session", "execution_trace", "decisions", "tool_calls"]),
    key=st.sampled_from(["session_id", "start_time", "timestamp", "details", "duration_ms", "x"]),
)
def test_odd_manifests_are_read_as_far_as_they_go(value, place, key, tmp_path_factory):
    """Nothing ends an import or makes it unrepeatable."""
    folder = tmp_path_factory.mktemp("odd")
    manifest = json.loads(json.dumps(MANIFEST))
    one = manifest[place] if place == "session" else manifest[place][0]
    one[key] = value
    path = folder / "m.json"
    path.write_text(json.dumps(manifest), "utf-8")

    first = import_paths(folder / "home", [path], format_name="session-manifest")
    second = import_paths(folder / "home", [path], format_name="session-manifest")

    assert first.new > 0 or first.skipped
    assert (second.new, second.already_there) == (0, first.new)
    shutil.rmtree(folder)


def test_a_manifest_that_was_cut_is_named(home, tmp_path):
    """It is no JSON any more."""
    path = tmp_path / "m.json"
    path.write_text(json.dumps(MANIFEST)[:900], "utf-8")
    found = registry.find_format(Source(path))
    assert found is not None

    report = import_paths(home, [path])

    assert (report.runs, len(report.skipped)) == (0, 1)


def test_the_published_sessions_have_exactly_their_totals(home):
    """Declared and counted stand apart, and a second import changes nothing."""
    folder, want = expected("claude-provenance")

    report = import_paths(home, [folder])
    before = contents(home)
    again = import_paths(home, [folder])

    sessions = {name: one for name, one in want.items() if "dir" in one}
    (recorded,) = (one for name, one in want.items() if name.startswith("json:"))
    assert report.runs == len(sessions)
    assert report.tool_calls == recorded["tool_calls"]
    assert (again.new, again.already_there) == (0, report.new)
    assert contents(home) == before
    with whence.open(home) as store:
        for name, one in sessions.items():
            tree = store.run(one["database_session_id"] or name)
            said = tree.run.attributes
            assert said["session_id"] == name
            assert said["declared"]["actions"] == one["declared_actions_performed"]
            assert said["declared"]["totals"] == one["declared_totals"]
            assert (tree.run.status == "complete") is one["success"]
            assert sorted(said["top_level_keys"]) == one["top_level_keys"]
            assert len(said.get("goals", [])) == one["goals"]
            kinds = Counter(output.kind for output in tree.outputs)
            assert kinds["finding"] == one["key_findings"]
            assert kinds["recommendation"] == one["recommendations"]
        tree = store.run("ef048ecd-95a3-4a4e-a065-431a6d18368e")
        (wanted,) = recorded["decisions"]
        (decision,) = tree.decisions
        assert (decision.name, decision.decision_point) == (wanted["type"], wanted["point"])
        assert decision.what == wanted["taken"]
        assert [option["name"] for option in decision.options] == wanted["available"]
        assert tree.run.duration_ms == recorded["duration_ms"]
        assert events_of(store)[tree.run.id] == recorded["events"]


def events_of(store):
    """Return how many events each session has, in the words of its own tables."""
    rows = store.sql("SELECT session_id, count(*) AS n FROM provenance_events GROUP BY 1")
    return {row["session_id"]: row["n"] for row in rows.to_dicts()}


def test_the_sessions_of_the_tracker_have_exactly_their_totals(home):
    """Every action is there once, failed calls as such, also of two sessions in one folder."""
    folder, want = expected("claude-provenance-upstream-writer")
    manifests = want["json_manifests"]

    report = import_paths(home, [folder])
    before = contents(home)
    again = import_paths(home, [folder])

    assert report.runs == len(manifests)
    assert report.tool_calls == sum(one["tool_calls"] for one in manifests.values())
    assert report.tool_errors == sum(one["tool_calls_failed"] for one in manifests.values())
    assert report.decisions == sum(one["decisions"] for one in manifests.values())
    assert (again.new, again.already_there) == (0, report.new)
    assert contents(home) == before
    with whence.open(home) as store:
        events = events_of(store)
        by_folder = {}
        for name, one in manifests.items():
            tree = store.run(name)
            by_folder.setdefault(tree.run.attributes["folder"], []).append(tree)
            assert tree.run.attributes["declared"]["action_count"] == one["action_count"]
            assert tree.run.duration_ms == one["duration_ms"]
            assert (tree.run.status == "complete") is one["success"]
            assert len(tree.decisions) == one["decisions"]
            assert len(tree.tool_calls) == one["tool_calls"]
            assert len(tree.transformations) == one["transformations"]
            assert len(tree.links) == one["entity_links"]
            assert events[tree.run.id] == one["events"]
        for name, one in want["sessions"].items():
            counted = [tree.run.attributes["computed"] for tree in by_folder[name]]
            assert sum(each["actions"] for each in counted) == one["lines_in_actions_jsonl"]
            for key in ("types", "tools"):
                assert sum((Counter(each[key]) for each in counted), Counter()) == one[key]
            assert sum(each["duration_ms"] for each in counted) == one["sum_duration_ms"]
        assert sum(events.values()) == sum(
            one["lines_in_actions_jsonl"] for one in want["sessions"].values()
        )
