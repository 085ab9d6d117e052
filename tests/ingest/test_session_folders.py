"""Session folders of any project are read in place, whatever they lack."""

from __future__ import annotations

import json
from collections import Counter

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sessionfolders import corpus, line, write_by_hand, write_lines

from whence.errors import IngestError
from whence.exports.actionschema import FOLDER
from whence.ingest import session_manifest
from whence.ingest.session_folders import iter_sessions

WRONG_TYPES = """
session: 5
goals: {a: 1}
results: [1]
action_summary: {reads: 3, x: {total: yes}}
errors: {message: 1}
entity_links: [1]
design_decisions: {decision: [1]}
"""


def read(path):
    return list(iter_sessions(path))


@pytest.mark.parametrize("named", ["folder", "project", "sessions", "session", "loose"])
def test_a_session_is_found_from_any_path_that_names_it(tmp_path, named):
    """The provenance folder, its project, `sessions`, the session, or a folder of copied ones."""
    root = tmp_path / ".claude" / "provenance"
    session = write_by_hand(root)
    write_by_hand(tmp_path / "loose", "x")
    paths = {
        "folder": root,
        "project": tmp_path,
        "sessions": root / "sessions",
        "session": session,
        "loose": tmp_path / "loose" / "sessions",
    }

    assert [one.id for one in read(paths[named])] == ["claude-session-2026-01-10-21-16-00"]


def test_a_path_without_sessions_is_refused(tmp_path):
    """The message says what could be named."""
    with pytest.raises(IngestError, match=r"\.claude/provenance"):
        read(tmp_path)


def test_a_manifest_by_hand_keeps_everything(tmp_path):
    """Goals, findings, both forms of errors, and the keys that nobody knows."""
    (one,) = read(write_by_hand(tmp_path))

    assert (one.form, one.session_type, one.model, one.user) == (
        "claude",
        "design_review",
        "claude-sonnet-4-5",
        "ada",
    )
    assert (one.success, one.outcome, one.notes) == (None, "partial", "half of it")
    assert one.goals == ["Track what is done", "Say why"]
    assert one.key_findings == ["it was there already"]
    assert one.recommendations == ["look again"]
    assert [(error.message, error.structured) for error in one.errors] == [
        ("a text", False),
        ("an object", True),
    ]
    assert (one.errors[1].resolution, one.errors[1].extra) == ("done again", {"cost": 3})
    assert set(one.extra) == {"critical_corrections", "files_created"}
    assert one.metadata["retroactive"] is True
    assert one.ended_ns - one.started_ns == 29 * 60 * 10**9


def test_declared_and_computed_counts_are_kept_apart(tmp_path):
    """A manifest may say 47 where its totals add up to 35 and its lines to one."""
    session = write_by_hand(tmp_path)
    (before,) = read(tmp_path)
    write_lines(session / "actions.jsonl", [line(1, "read", "Read", duration_ms=7)])

    (after,) = read(tmp_path)

    assert (before.declared.actions, sum(before.declared.totals.values())) == (47, 35)
    assert before.computed is None
    assert after.declared == before.declared
    assert (after.computed.actions, after.computed.totals["reads"]) == (1, 1)
    assert after.computed.duration_ms == 7


def test_decisions_of_every_place_are_found_once(tmp_path):
    """Design decisions with alternatives, key decisions with their rationale, and the summary's."""
    (one,) = read(write_by_hand(tmp_path))

    assert [(d.origin, d.name, d.chosen, d.why) for d in one.decisions] == [
        ("design_decisions", "where to keep it", "a file", "people read it"),
        ("key_decisions", "key decision", "use JSONL", "it can be appended"),
        ("key_decisions", "key decision", "kept the old reader", ""),
        ("key_decisions", "key decision", "no database", "one dependency less"),
        ("summary.md", "key decision", "ignore the logs in git", "they grow"),
    ]
    assert one.decisions[0].alternatives == ["a file", "a table"]
    assert one.decisions[0].extra == {"user_input": "yes", "cost": "low"}
    assert one.decisions[-1].alternatives == ["keep all (bloat, slow)", "keep none"]


def test_an_agents_lines_tell_what_no_manifest_does(tmp_path):
    """Without any manifest, actions give agent, query, calls, decisions, links and times."""
    start = line(
        1, "execute", "AgentExecution", details={"agent_type": "Search", "query": "where?"}
    )
    lines = [
        start,
        line(
            2,
            "query",
            "DuckDB",
            status="failure",
            error={"message": "locked"},
            duration_ms=30,
            details={"call_id": "c-1", "cache_hit": True},
        ),
        line(3, "decision", "AgentRouter", details={"branch_taken": "a", "reason": "near"}),
        line(
            4,
            "analyze",
            "merge",
            duration_ms=None,
            entity_links=[{"entity_table": "t", "entity_id": "7", "link_type": "read"}] * 2,
        ),
    ]
    write_lines(tmp_path / "sessions" / "2026-01-20-09-07" / "actions.jsonl", lines)

    (one,) = read(tmp_path)

    assert (one.form, one.id, one.agent_type, one.query) == (
        "actions",
        "2026-01-20-09-07",
        "Search",
        "where?",
    )
    (call,) = one.tool_calls
    assert (call.id, call.tool_name, call.success, call.error) == ("c-1", "DuckDB", False, "locked")
    assert (call.cache_hit, call.duration_ms) == (True, 30)
    assert [(d.chosen, d.why, d.point) for d in one.decisions] == [("a", "near", "AgentRouter")]
    assert [(t.name, t.duration_ms) for t in one.transformations] == [("merge", None)]
    assert [(k.entity_table, k.entity_id) for k in one.entity_links] == [("t", "7")]
    assert one.started_ns == one.actions[0].ts_ns


def test_sessions_that_share_a_folder_are_told_apart_by_their_numbers(tmp_path):
    """Lines of two trackers alternate; each counts from one, and a hole begins nothing new."""
    numbers = [1, 1, 2, 2, 3, 4, 3, 6]
    lines = [
        line(number, "read", f"log_{place}", database_event_id=f"e-{place}")
        for place, number in enumerate(numbers)
    ]
    session = tmp_path / "sessions" / "2026-01-20-09-07"
    write_lines(session / "actions.jsonl", lines)
    (session / "manifest.yaml").write_text("session: {id: late}\nagent_context: {}\n")

    found = read(tmp_path)

    assert Counter(len(one.actions) for one in found).total() == 2
    assert sorted(action.line for one in found for action in one.actions) == list(range(1, 9))
    for one in found:
        given = [action.number for action in one.actions]
        assert given == sorted(given)
    assert [one.id for one in found] == ["2026-01-20-09-07#1", "late"]


def test_a_json_manifest_completes_its_session_and_stands_alone_without_one(tmp_path):
    """Failed calls are only in it; what it names is not met twice."""
    session = write_by_hand(tmp_path)
    text = (session / "manifest.yaml").read_text()
    (session / "manifest.yaml").write_text(text.replace('user: "ada"', "database_session_id: s-1"))
    for name in ("s-1", "s-2"):
        manifest = {
            "manifest_version": "1.0",
            "session": {"session_id": name, "agent_type": "A", "action_count": 4, "success": True},
            "execution_trace": [{"event_id": "e", "event_type": "log", "event_name": "log_info"}],
            "tool_calls": [{"tool_name": "t", "success": False, "error_message": "no"}],
            "decisions": [],
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(manifest))
    (tmp_path / "metadata-schema.json").write_text("{}")
    (tmp_path / "other.json").write_text('["session"]')

    by_hand, alone = read(tmp_path)

    assert (by_hand.database_session_id, by_hand.tool_calls[0].success) == ("s-1", False)
    assert (by_hand.declared.actions, by_hand.declared.action_count) == (47, 4)
    assert by_hand.outcome == "partial"
    assert (alone.id, alone.form, alone.success, len(alone.events)) == ("s-2", "json", True, 1)
    assert read(tmp_path / "s-2.json")[0] == alone


def test_what_cannot_be_read_is_told_and_the_rest_is_read(tmp_path):
    """A broken manifest, a torn line and a line of something else leave the good lines."""
    session = tmp_path / "sessions" / "2026-01-20-09-07"
    write_lines(session / "actions.jsonl", [line(1, "read", "Read")])
    with (session / "actions.jsonl").open("a") as file:
        file.write('[1]\n{"action_id": 2, "details": {"n": NaN, "s": "\\ud800"}}\n{"torn": ')
    (session / "manifest.yaml").write_text("a: [b\nc")

    (one,) = read(tmp_path)

    assert [action.number for action in one.actions] == [1, 2]
    assert len(one.problems) == 3
    assert "manifest.yaml: not YAML" in one.problems[0]
    assert "ends in the middle" in one.problems[2]


@pytest.mark.parametrize(
    "content",
    [
        "&a [*a, *a]",
        "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
        + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]\n"
            for i in range(8)
        ),
        "x: !!python/object/apply:os.system ['true']",
        "- 1",
        WRONG_TYPES,
        "session: {date_started: '2026-13-45', duration_minutes: .nan, id: 1e999}",
        "?? : [",
        "\x00",
    ],
    ids=["ring", "bomb", "tag", "list", "types", "values", "syntax", "nul"],
)
def test_a_hostile_manifest_harms_nobody(tmp_path, content):
    """It may refer to itself, name Python objects, or have any type anywhere."""
    session = tmp_path / "sessions" / "s"
    session.mkdir(parents=True)
    (session / "manifest.yaml").write_text(content)

    (one,) = read(tmp_path)

    assert one.folder == "s"
    assert one.started_ns is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
keys = st.sampled_from(
    [
        "session",
        "results",
        "errors",
        "goals",
        "action_summary",
        "agent_context",
        "entity_links",
        "design_decisions",
        "execution_trace",
        "tool_calls",
        "decisions",
        "transformations",
    ]
)


@given(st.dictionaries(keys, json_values))
def test_any_mapping_is_a_manifest(manifest):
    """Whatever stands under the keys, fields come out, from the YAML and from the JSON reader."""
    fields = session_manifest.yaml_fields(manifest)

    assert fields["form"] in {"agent", "claude"}
    assert session_manifest.json_fields(manifest)["declared"].actions is None


def test_the_template_is_a_manifest_without_a_time():
    """The template that every folder carries is read like any manifest."""
    content = (FOLDER / "manifest-template.yaml").read_text()
    fields = session_manifest.yaml_fields(session_manifest.load_yaml(content))

    assert (fields["form"], fields["success"], fields["started_ns"]) == ("claude", None, None)


@pytest.mark.parametrize("name", ["claude-provenance", "claude-provenance-upstream-writer"])
def test_the_corpora_give_their_totals(name):
    """Every figure that was computed independently from the raw files is the reader's too."""
    folder = corpus(name)
    expected = json.loads((folder / "expected.json").read_text())
    found = read(folder)
    by_folder = {}
    for one in found:
        by_folder.setdefault(one.folder, []).append(one)
    manifests = {one.database_session_id: one for one in found if one.events}
    by_id = {one.id: one for one in found}

    for key, want in {**expected, **expected.get("sessions", {})}.items():
        if key.startswith("json:"):
            check_json(manifests[key[5:]], want)
        elif "dir" in want:
            check_manifest(by_id[key], want)
        elif "lines_in_actions_jsonl" in want:
            check_lines(by_folder[key], want)
    for key, want in expected.get("json_manifests", {}).items():
        check_json(manifests[key], want)
    assert len(found) == {"claude-provenance": 2, "claude-provenance-upstream-writer": 6}[name]
    assert not any(one.problems for one in found)


def check_json(one, want):
    """Compare a session with what its JSON manifest adds up to."""
    assert one.declared.action_count == want["action_count"]
    assert one.declared.duration_ms == want["duration_ms"]
    assert len(one.events) == want["events"]
    assert len(one.tool_calls) == want["tool_calls"]
    if "events_by_type" in want:
        assert Counter(event.event_type for event in one.events) == want["events_by_type"]
        assert [
            {"available": d.alternatives, "point": d.point, "taken": d.chosen, "type": d.name}
            for d in one.decisions
        ] == want["decisions"]
        return
    assert len(one.decisions) == want["decisions"]
    assert len(one.transformations) == want["transformations"]
    assert len(one.entity_links) == want["entity_links"]
    assert sum(call.success is False for call in one.tool_calls) == want["tool_calls_failed"]
    assert one.success is want["success"]


def check_manifest(one, want):
    """Compare a session with what its YAML manifest states."""
    assert (one.computed is not None) == want["actions_jsonl_present"]
    assert bool(one.summary) == want["summary_md_present"]
    for field in ("agent_type", "database_session_id", "model", "session_type", "success"):
        assert getattr(one, field) == want[field], field
    assert one.declared.actions == want["declared_actions_performed"]
    assert one.declared.totals == want["declared_totals"]
    assert sum(one.declared.totals.values()) == want["sum_of_declared_totals"]
    assert one.declared.files_created == want["files_created_declared"]
    assert one.declared.files_modified == want["files_modified_declared"]
    assert len(one.extra.get("files_created", [])) == want["files_created_listed"]
    assert len(one.extra.get("critical_corrections", [])) == want["critical_corrections"]
    assert len(one.goals) == want["goals"]
    assert len(one.key_findings) == want["key_findings"]
    assert len(one.recommendations) == want["recommendations"]
    assert len(one.errors) == want["errors"]
    assert len(one.warnings) == want["warnings"]
    assert sorted(one.top_level_keys) == want["top_level_keys"]
    assert [d for d in one.decisions if d.origin == "design_decisions"] == want["design_decisions"]
    assert one.user_context["git_commit_before"] == want["git_commit_before"]


def check_lines(sessions, want):
    """Compare the sessions of one folder with what its lines add up to."""
    actions = [action for one in sessions for action in one.actions]
    assert len(actions) == want["lines_in_actions_jsonl"]
    assert Counter(action.type for action in actions) == want["types"]
    assert Counter(action.tool for action in actions) == want["tools"]
    assert Counter(action.status for action in actions) == want["status"]
    assert sum(action.duration_ms or 0 for action in actions) == want["sum_duration_ms"]
    assert sum(bool(action.entity_links) for action in actions) == want["with_entity_links"]
    assert sum(one.computed.cache_hits for one in sessions) == want["cache_hits"]
    assert len(sessions) == want["agent_starts"]
    (stated,) = [one for one in sessions if one.id == want["session_id"]]
    assert stated.declared.actions == want["declared_actions_performed"]
    assert stated.database_session_id == want["database_session_id"]
    assert [error.message for error in stated.errors] == want["errors"]
    assert stated.success is want["success"]


def test_manifests_without_pyyaml_are_json_and_read_alike(tmp_path):
    """JSON is YAML, and a manifest that was written as JSON needs no YAML reader."""
    session = tmp_path / "sessions" / "s"
    session.mkdir(parents=True)
    text = json.dumps({"session": {"id": "x"}, "agent_context": {"query": "q"}})
    (session / "manifest.yaml").write_text(text)

    (one,) = read(tmp_path)

    assert (one.id, one.query, yaml.safe_load(text)["session"]["id"]) == ("x", "q", "x")
