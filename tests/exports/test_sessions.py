"""A run as a session folder: valid, complete, and safe whatever was recorded."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import yaml

import whence
from whence.errors import ConfigError
from whence.exports import actions, sessions

SCHEMA = {
    "type": "object",
    "required": ["timestamp", "action_id", "type", "tool", "status"],
    "properties": {
        "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"},
        "action_id": {"type": "integer"},
        "type": {
            "enum": [
                "read",
                "search",
                "analyze",
                "modify",
                "create",
                "execute",
                "query",
                "decision",
            ]
        },
        "tool": {"type": "string"},
        "status": {"enum": ["success", "failure", "partial", "skipped"]},
        "duration_ms": {"type": "integer"},
        "read_only": {"type": "boolean"},
        "files_affected": {"type": "array", "items": {"type": "string"}},
        "error": {"type": "object", "additionalProperties": {"type": "string"}},
        "details": {
            "type": "object",
            "properties": {
                "file_path": {"type": "string"},
                "pattern": {"type": "string"},
                "command": {"type": "string"},
                "url": {"type": "string"},
                "query": {"type": "string"},
                "decision_type": {"type": "string"},
                "options_considered": {"type": "array", "items": {"type": "string"}},
                "rationale": {"type": "string"},
            },
        },
    },
}
"""What the original's metadata-schema.json (1.0.0) asks of an action."""


@pytest.fixture
def recorded(home):
    """A run that did one of everything, as a tree."""
    whence.configure(home=home)
    with whence.run("lookup", project="lab", kind="agent", query="Where is\n```it```?") as run:
        with whence.stage("find") as stage:
            stage.tool_call("Read", input={"file_path": "a.txt"}, output="text", duration_ms=2.4)
            stage.tool_call("Bash", input={"command": "ls"}, status="error", error=ValueError("no"))
            stage.tool_call("kegg", input={"id": 7}, cache_hit=True)
            stage.source("file", "b.txt", kept=False, reason="old")
            stage.record_generation(provider="p", model="m-1", output="yes", cost_usd=0.1)
        stage.decide("route", "left", why="shorter", confidence=0.8, options=["left", "right"])
        stage.transformation("merge", method="join", input_size=2, output_size=1)
        stage.score("good", 1, threshold=2, passed=False)
        run.event("half way", level="warning")
        run.output("r-1", kind="report", path="out/r.md", summary="It is here.")
    whence.flush()
    with whence.open(home) as reader:
        yield reader.run(run.id)


def rendered(tree):
    files = {name.rpartition("/")[2]: text.decode() for name, text in sessions.render(tree).items()}
    lines = [json.loads(line) for line in files["actions.jsonl"].splitlines()]
    return yaml.safe_load(files["manifest.yaml"]), lines, files["summary.md"]


def test_every_action_satisfies_the_schema_and_is_in_order(recorded):
    """Actions are numbered from one, start and end with the agent, and have the statuses that were
    recorded.
    """
    _, lines, _ = rendered(recorded)

    for line in lines:
        jsonschema.validate(line, SCHEMA)
    assert [line["action_id"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[0]["tool"] == lines[-1]["tool"] == "AgentExecution"
    by_tool = {line["tool"]: line for line in lines}
    assert (by_tool["Read"]["type"], by_tool["Read"]["duration_ms"]) == ("read", 2)
    assert (by_tool["Bash"]["type"], by_tool["Bash"]["status"]) == ("execute", "failure")
    assert by_tool["Bash"]["error"]["message"] == "no"
    assert by_tool["Bash"]["details"]["command"] == "ls"
    assert by_tool["kegg"]["type"] == "query"
    assert by_tool["file"]["status"] == "skipped"
    assert by_tool["route"]["details"]["options_considered"] == ["left", "right"]
    assert by_tool["merge"]["type"] == "analyze"
    assert by_tool["report"]["files_affected"] == ["out/r.md"]


def test_the_manifest_adds_up(recorded):
    """Totals are those of the actions, and the session can be found again in the log."""
    manifest, lines, _ = rendered(recorded)

    assert manifest["results"]["actions_performed"] == len(lines)
    assert manifest["results"]["success"] is True
    assert manifest["results"]["cache_hits"] == 1
    summary = manifest["action_summary"]
    assert summary["queries"] == {"total": 2, "apis": ["kegg", "m-1"]}
    assert summary["executions"]["commands"] == ["ls"]
    assert summary["decisions"] == {"total": 1, "key_decisions": ["route"]}
    assert summary["transformations"] == {"total": 1, "transformation_types": ["join"]}
    assert summary["reads"]["files"] == ["a.txt", "b.txt"]
    assert manifest["session"]["model"] == "m-1"
    assert manifest["session"]["session_type"] == "agent_execution"
    assert manifest["session"]["database_session_id"].replace("-", "") == recorded.run.id
    assert manifest["goals"] == ["Where is\n```it```?"]
    assert manifest["errors"] == ["no"]
    assert manifest["warnings"] == ["half way"]
    assert set(manifest) >= {
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
    }


def test_the_summary_keeps_the_query_in_its_fence(recorded):
    """A query with fences of its own is shown in a longer one."""
    _, _, summary = rendered(recorded)

    assert summary.startswith("# Agent Execution Summary\n")
    assert "````\nWhere is\n```it```?\n````" in summary
    assert "**Status:** ✓ Success" in summary
    assert "- Cache hit rate: 50.0%" in summary


def test_rendering_is_pure(recorded, tmp_path, monkeypatch):
    """Rendering twice gives the same bytes and touches no disk."""
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)

    assert sessions.render(recorded) == sessions.render(recorded)
    assert list(empty.iterdir()) == []


def test_two_sessions_of_a_minute_do_not_collide(home, tmp_path):
    """Each run has a folder of its own, and writing a run again replaces its own folder."""
    whence.configure(home=home)
    ids = []
    for name in ("one", "two", "three"):
        with whence.run(name) as run:
            ids.append(run.id)
    whence.flush()

    with whence.open(home) as reader:
        trees = [reader.run(any_id) for any_id in ids]
        first = [sessions.write(tree, tmp_path) for tree in trees]
        again = [sessions.write(tree, tmp_path) for tree in reversed(trees)]

    assert len(set(first)) == 3
    assert again == list(reversed(first))
    assert sorted(path.name for path in (tmp_path / "sessions").iterdir()) == sorted(
        p.name for p in first
    )
    manifest = yaml.safe_load((first[1] / "manifest.yaml").read_text())
    assert manifest["session"]["id"] == f"agent-session-{first[1].name}"
    assert [p.name for p in first[1].glob("*.tmp")] == []


def test_hostile_text_stays_text(home, tmp_path):
    """No recorded text becomes a path, a line, a YAML tag, markup or an escape."""
    nasty = (
        "../../etc\x1b]0;x\x07\n- !!python/object:os.system\u2028{}\n# Heading <b>\u202e[x]\ud800"
    )
    whence.configure(home=home)
    with whence.run(nasty, project=nasty, kind=nasty, query=nasty, number=float("nan")) as run:
        run.decide(nasty, {nasty: float("inf")}, why=nasty, options=[nasty])
        run.output(nasty, kind=nasty, path=nasty)
    whence.flush()

    with whence.open(home) as reader:
        folder = sessions.write(reader.run(run.id), tmp_path)

    assert folder.parent == tmp_path / "sessions"
    assert re.fullmatch(r"[\d-]+", folder.name)
    lines = (folder / "actions.jsonl").read_bytes()
    assert lines.isascii()
    assert len(lines.decode().splitlines()) == 4
    assert yaml.safe_load((folder / "manifest.yaml").read_text())["session"]["agent_type"]
    summary = (folder / "summary.md").read_text()
    assert "\x1b" not in summary
    assert "<b>" not in summary.split("## Results")[1]
    assert not re.search(r"^# Heading", summary.split("## Results")[1], re.MULTILINE)


def test_a_name_that_is_no_session_name_is_refused(recorded):
    """A folder's name cannot lead anywhere else."""
    with pytest.raises(ConfigError, match="session folder"):
        sessions.render(recorded, name="../escape")


@pytest.mark.parametrize(
    ("word", "status"),
    [
        (None, "success"),
        ("ok", "success"),
        ("complete", "success"),
        ("failed", "failure"),
        ("rate_limit_error", "failure"),
        ("Timeout", "failure"),
        ("incomplete", "partial"),
        ("cancelled", "skipped"),
        ("reviewed", "success"),
    ],
)
def test_statuses_are_those_four(word, status):
    """Whatever word was recorded becomes one of the four."""
    assert actions.status_of(word) == status
