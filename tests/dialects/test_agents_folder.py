"""The folder of a session: valid, complete, live, and safe whatever was recorded."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import documents
import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import whence
from whence.agents import ProvenanceTracker, iter_sessions
from whence.exports import sessionfiles, sessions

COMMON = {"README.md", "action-types.yaml", "manifest-template.yaml", "metadata-schema.json"}
HOSTILE = "../../etc\x1b]0;x\x07\n- !!python/object:os.system\u2028{}\n# H <b>\u202e[x]\ud800`"


@pytest.fixture
def tracker(recording, tmp_path):
    """A tracker with a folder of the test's own."""
    del recording
    return ProvenanceTracker(tmp_path / "provenance")


def do_everything(tracker, text="plain"):
    """Record one of everything in a session and return its id and folder."""
    session_id = tracker.start_session("TestAgent", f"query {text}", {"test": text})
    path = tracker.current_session.path
    tracker.record_event("lifecycle", "agent_start", {"message": text})
    tracker.record_event("log", "log_info", {"message": text, "level": "INFO"})
    tracker.record_event("log", "log_warning", {"message": f"hot {text}", "level": "WARNING"})
    tracker.record_event("custom", "built", {"file_path": 5, "exit_code": "x", "success": False})
    tracker.record_event("tool_call", "open_file", {"file_path": "a.txt", "bytes_read": 7})
    tracker.record_decision("route", "query_type", {"q": text}, "a", ["a", "b"], text)
    tracker.record_tool_call("api", "kegg_lookup", {"id": 7}, {"x": text}, 12.4, cache_hit=True)
    tracker.record_tool_call("files", "Read", {"file_path": f"{text}.txt"})
    tracker.record_tool_call("shell", "Bash", {"command": "ls"}, error=ValueError(text))
    tracker.link_entity("ingredients", f"CHEBI:{text}", "read")
    tracker.record_transformation("aggregation", "merge", [1], {"a": 1}, "join", {"k": text}, 3)
    tracker.end_session(result={"answer": text})
    return session_id, path


def lines_of(path):
    return [json.loads(line) for line in (path / "actions.jsonl").read_text().splitlines()]


def check_valid(folder, line):
    """Check a line against the schema that lies in its folder, formats included."""
    schema = json.loads((folder / "metadata-schema.json").read_text())
    jsonschema.validate(line, schema, jsonschema.Draft7Validator)
    assert datetime.fromisoformat(line["timestamp"]).utcoffset().total_seconds() == 0


def test_a_folder_has_its_common_files_and_three_of_each_session(tracker):
    """README, template, action types, schema, `indices`; manifest, actions, summary."""
    _, path = do_everything(tracker)

    assert {child.name for child in tracker.folder.iterdir()} == COMMON | {"sessions", "indices"}
    assert path.parent == tracker.folder / "sessions"
    assert {child.name for child in path.iterdir()} == {
        "manifest.yaml",
        "actions.jsonl",
        "summary.md",
    }
    types = yaml.safe_load((tracker.folder / "action-types.yaml").read_text())
    schema = json.loads((tracker.folder / "metadata-schema.json").read_text())
    assert list(types["action_types"]) == schema["properties"]["type"]["enum"]
    assert set(types["categories"]) == {"exploration", "implementation", "planning", "validation"}
    jsonschema.Draft7Validator.check_schema(schema)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_the_lines_of_the_readme_run(tracker):
    """Every command that the folder's README gives for its files answers about them."""
    do_everything(tracker)
    (commands, _) = documents.blocks(tracker.folder / "README.md", "bash")

    for command in commands.split("\n\n"):
        done = subprocess.run(
            [shutil.which("bash"), "-eo", "pipefail", "-c", command],
            cwd=tracker.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        assert done.stdout


def test_what_a_person_changed_in_the_common_files_stays(tracker):
    """They are written once, where they are missing."""
    tracker.folder.mkdir()
    (tracker.folder / "README.md").write_text("ours")

    do_everything(tracker)

    assert (tracker.folder / "README.md").read_text() == "ours"


def test_every_line_is_valid_and_says_what_happened(tracker):
    """Types, tools, statuses and details are those of the taxonomy."""
    _, path = do_everything(tracker)
    lines = lines_of(path)

    for line in lines:
        check_valid(tracker.folder, line)
    assert [(one["type"], one["tool"], one["status"]) for one in lines] == [
        ("execute", "AgentExecution", "success"),
        ("execute", "AgentExecution", "success"),
        ("read", "log_info", "success"),
        ("read", "log_warning", "success"),
        ("execute", "built", "failure"),
        ("query", "open_file", "success"),
        ("decision", "query_type", "success"),
        ("query", "KEGGPathwayAPI", "success"),
        ("read", "Read", "success"),
        ("execute", "Bash", "failure"),
        ("analyze", "merge", "success"),
        ("execute", "AgentExecution", "success"),
    ]
    assert lines[4]["details"]["exit_code_stated"] == "x"
    assert lines[5]["files_affected"] == ["a.txt"]
    assert lines[6]["details"]["options_considered"] == ["a", "b"]
    assert (lines[7]["duration_ms"], lines[7]["details"]["cache_hit"]) == (12, True)
    assert "duration_ms" not in lines[8]
    assert lines[9]["error"]["code"] == "ValueError"
    assert lines[10]["entity_links"] == [
        {"entity_table": "ingredients", "entity_id": "CHEBI:plain", "link_type": "read"}
    ]
    assert lines[11]["details"]["success"] is True


def test_the_manifest_is_that_of_the_document(tracker):
    """Every key of the agent's form, with totals that are those of the lines."""
    session_id, path = do_everything(tracker)

    manifest = yaml.safe_load((path / "manifest.yaml").read_text())
    assert list(manifest) == [
        "session",
        "user_context",
        "agent_context",
        "goals",
        "results",
        "action_summary",
        "tool_usage",
        "key_findings",
        "recommendations",
        "errors",
        "warnings",
        "entity_links",
        "metadata",
    ]
    assert manifest["session"]["id"] == f"agent-session-{path.name}"
    assert manifest["session"]["database_session_id"] == session_id
    assert manifest["session"]["session_type"] == "agent_execution"
    assert manifest["session"]["agent_type"] == "TestAgent"
    assert manifest["agent_context"] == {
        "query": "query plain",
        "kwargs": {"test": "plain"},
        "parent_session_id": None,
        "depth": 0,
    }
    assert manifest["goals"] == ["query plain"]
    assert manifest["results"]["success"] is True
    assert manifest["results"]["actions_performed"] == 12
    assert (manifest["results"]["api_calls_made"], manifest["results"]["cache_hits"]) == (2, 1)
    assert {name: one["total"] for name, one in manifest["action_summary"].items()} == {
        "reads": 3,
        "searches": 0,
        "modifications": 0,
        "executions": 5,
        "queries": 2,
        "decisions": 1,
        "transformations": 1,
    }
    assert manifest["action_summary"]["executions"]["commands"] == ["ls"]
    assert manifest["tool_usage"]["sub_agents"] == {"calls": 0, "agent_types": []}
    assert manifest["tool_usage"]["KEGGPathwayAPI"]["cache_hits"] == 1
    assert manifest["errors"] == ["plain"]
    assert manifest["warnings"] == ["hot plain"]
    assert manifest["entity_links"]["ingredients"] == [
        {"entity_id": "CHEBI:plain", "link_type": "read"}
    ]
    assert manifest["metadata"]["schema_version"] == "1.0.0"
    assert manifest["user_context"]["working_directory"] == str(Path.cwd())


def test_actions_are_on_the_disk_while_the_session_goes_on(tracker):
    """Whoever reads the file sees every action that was recorded, before the session has ended."""
    tracker.start_session("Live", "q")
    path = tracker.current_session.path
    for number in range(1, 4):
        tracker.record_event("log", "log_info", {"message": str(number)})

        assert len(lines_of(path)) == number + 1
    tracker.end_session()


@pytest.mark.parametrize("text", ["plain", HOSTILE], ids=["plain", "hostile"])
def test_what_is_written_is_read_back(tracker, text):
    """The reader finds the session with everything in it, and the same counts twice."""
    session_id, path = do_everything(tracker, text)

    (one,) = iter_sessions(tracker.folder)
    assert (one.database_session_id, one.folder, one.form) == (session_id, path.name, "agent")
    assert (one.agent_type, one.success, one.depth, one.problems) == ("TestAgent", True, 0, [])
    assert one.computed.totals == one.declared.totals
    assert one.computed.actions == one.declared.actions == 12
    assert [(d.name, d.point, d.chosen) for d in one.decisions] == [("route", "query_type", "a")]
    assert [(c.tool_name, c.success) for c in one.tool_calls if c.tool_type] == [
        ("kegg_lookup", True),
        ("Read", True),
        ("Bash", False),
    ]
    assert [k.entity_table for k in one.entity_links] == ["ingredients"]
    assert one.ended_ns > one.started_ns


def test_the_log_renders_the_same_folder_again(tracker, recording):
    """What `whence export sessions` writes has the same lines, and the same place."""
    session_id, path = do_everything(tracker)
    tracker.start_session("Other", "q")
    tracker.end_session()
    live = lines_of(path)
    before = yaml.safe_load((path / "manifest.yaml").read_text())

    whence.flush()
    with whence.open(recording) as store:
        again = sessions.write(store.run(session_id), tracker.folder)

    assert again == path
    untimed = [{**line, "timestamp": "", "duration_ms": 0} for line in lines_of(path)]
    for line in (*untimed, *live):
        line["details"].pop("duration_ms", None)
        line.get("error", {}).pop("stack", None)
    assert untimed == [{**line, "timestamp": "", "duration_ms": 0} for line in live]
    after = yaml.safe_load((path / "manifest.yaml").read_text())
    for key in ("agent_context", "results", "action_summary", "entity_links", "warnings"):
        assert after[key] == before[key]


def test_sessions_of_one_minute_do_not_collide_between_processes(tracker, recording):
    """Two processes and two sessions each: four folders, each with its own lines."""
    program = (
        "import sys, whence\n"
        "from whence.agents import ProvenanceTracker\n"
        "whence.configure(sys.argv[1])\n"
        "tracker = ProvenanceTracker(sys.argv[2])\n"
        "for name in 'ab':\n"
        "    tracker.start_session(name, 'q')\n"
        "    tracker.end_session()\n"
    )
    command = [sys.executable, "-c", program, str(recording), str(tracker.folder)]

    started = [subprocess.Popen(command) for _ in range(2)]
    assert [one.wait(60) for one in started] == [0, 0]

    found = list(iter_sessions(tracker.folder))
    assert len(found) == len({one.database_session_id for one in found}) == 4
    assert all(len(one.actions) == 2 for one in found)
    assert sorted(one.agent_type for one in found) == ["a", "a", "b", "b"]


def test_hostile_text_stays_text(tracker):
    """No recorded text becomes a path, a line, a YAML tag, markup or an escape."""
    _, path = do_everything(tracker, HOSTILE)

    assert {child.name for child in tracker.folder.parent.iterdir()} == {"home", "provenance"}
    assert (path / "actions.jsonl").read_bytes().isascii()
    assert len(lines_of(path)) == 12
    for line in lines_of(path):
        check_valid(tracker.folder, line)
    summary = (path / "summary.md").read_text()
    assert "\x1b" not in summary
    assert "<b>" not in summary.split("## Results")[1]


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
names = st.sampled_from(
    [
        "file_path",
        "bytes_read",
        "options_considered",
        "command",
        "error",
        "duration_ms",
        "status",
        "success",
        "files_affected",
        "level",
        "message",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["log", "lifecycle", "tool_call", "decision", "other"]) | st.text(),
    name=st.text(),
    details=st.dictionaries(names | st.text(), values, max_size=4),
)
@example(kind="other", name="", details={"duration_ms": 2**63})
def test_any_event_is_a_valid_line(tracker, kind, name, details):
    """Whatever its details are, the line satisfies the schema."""
    tracker.start_session("Any", "q")
    path = tracker.current_session.path
    tracker.record_event(kind, name, details)
    tracker.record_tool_call(kind, name, details, details, details.get("duration_ms"))
    tracker.record_decision(kind, name, details, details, list(details.values()), name)
    tracker.end_session(result=details)

    lines = lines_of(path)
    assert len(lines) == 5
    for line in lines:
        check_valid(tracker.folder, line)


def test_redacted_text_reaches_no_file(home, tmp_path):
    """What the log does not hold the session's folder does not hold."""
    whence.configure(home, redact=lambda text: text.replace("secret", "***"))
    try:
        tracker = ProvenanceTracker(tmp_path / "p")
        session_id = tracker.start_session("Agent secret", "my secret", {"k": ["secret"]})
        path = tracker.current_session.path
        tracker.record_event("log", "log_warning", {"message": "a secret", "at": "secret"})
        tracker.record_tool_call("api", "n", {"a": "secret"}, b"secret", error="secret thing")
        tracker.record_decision("d", "secret", {"a": "secret"}, "secret", ["secret"], "secret")
        tracker.link_entity("secret", "secret", "secret")
        tracker.end_session(success=False, result={"r": "secret"}, error=ValueError("secret"))
    finally:
        whence.configure(home, enabled=False)

    for file in path.iterdir():
        assert "secret" not in file.read_text(), file.name
    assert "***" in (path / "summary.md").read_text()
    with whence.open(home) as store:
        assert "secret" not in json.dumps(store.run(session_id).to_dict(), default=str)


def test_withheld_content_reaches_no_file(home, tmp_path):
    """With `capture_content` off, inputs, outputs and samples are withheld in the folder too."""
    whence.configure(home, capture_content=False)
    try:
        tracker = ProvenanceTracker(tmp_path / "p")
        tracker.start_session("Agent", "q")
        path = tracker.current_session.path
        tracker.record_tool_call("api", "n", {"a": "secret"}, "secret")
        tracker.record_transformation("t", "n", ["secret"], ["secret"], "m")
        tracker.end_session(result={"r": "secret"})
    finally:
        whence.configure(home, enabled=False)

    assert "secret" not in "".join(file.read_text() for file in path.iterdir())


def test_a_folder_that_cannot_be_written_stops_nobody(recording, tmp_path, capsys):
    """The log has the session, and standard error says how to get the folder."""
    (tmp_path / "file").write_text("in the way")
    tracker = ProvenanceTracker(tmp_path / "file")

    session_id = tracker.start_session("Agent", "q")
    tracker.record_tool_call("api", "n", {"a": 1})
    tracker.end_session()

    assert f"whence export sessions {session_id}" in capsys.readouterr().err
    whence.flush()
    with whence.open(recording) as store:
        assert store.run(session_id).run.tool_calls == 1


def test_a_forked_child_leaves_its_parents_folder_alone(tracker):
    """The child's records are in the log; the parent's lines are numbered through."""
    tracker.start_session("Agent", "q")
    path = tracker.current_session.path
    child = os.fork()
    if child == 0:
        tracker.record_event("log", "log_info", {"message": "child"})
        tracker.end_session()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    tracker.record_event("log", "log_info", {"message": "parent"})
    tracker.end_session()

    assert [line["action_id"] for line in lines_of(path)] == [1, 2, 3]
    assert "parent" in (path / "actions.jsonl").read_text()
    assert "date_ended: null" not in (path / "manifest.yaml").read_text()


def test_without_pyyaml_the_manifest_is_json_which_is_yaml(monkeypatch):
    """Every YAML reader takes it, whatever the texts are."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    manifest = {"a": ["é\x7f\x85\u2028\ufeff😀", None, True], "b": {"c": 1.5}}

    text = sessionfiles.yaml_text(manifest)

    monkeypatch.undo()
    assert text.startswith("{")
    assert yaml.safe_load(text) == manifest


def test_tools_are_named_by_registration(tracker):
    """A later pattern goes before an earlier one; parts joined by `+` have to be there all."""
    tracker.register_tool("weather", "WeatherAPI")
    tracker.register_tool("weather+tide", "TideAPI")
    tracker.start_session("Agent", "q")
    path = tracker.current_session.path
    tracker.record_tool_call("api", "Weather_now", {})
    tracker.record_tool_call("api", "tide_weather", {})
    tracker.record_tool_call("database", "anything", {})
    tracker.record_tool_call("api", "unheard_of", {})
    tracker.end_session()

    tools = [line["tool"] for line in lines_of(path)[1:-1]]
    assert tools == ["WeatherAPI", "TideAPI", "DuckDB", "api.unheard_of"]
    (one,) = iter_sessions(path)
    assert one.tool_calls[0].tool_name == "Weather_now"


def test_registered_names_are_kept_with_the_run(tracker, recording):
    """Whoever renders the run later names its tools alike, without the registration."""
    tracker.register_tool("weather", "WeatherAPI")
    session_id = tracker.start_session("Agent", "q")
    tracker.record_tool_call("api", "weather", {})
    tracker.end_session()

    whence.flush()
    with whence.open(recording) as store:
        files = sessions.render(store.run(session_id))
    (actions,) = [content for name, content in files.items() if name.endswith(".jsonl")]
    assert json.loads(actions.splitlines()[1])["tool"] == "WeatherAPI"
