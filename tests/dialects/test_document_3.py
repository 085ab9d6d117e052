"""The examples of document 3 (hybrid sessions) run, with only paths, imports and ids changed.

Its `just` recipes are shell functions here that call whence; everything else is run as it stands.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import documents
import duckdb
import pytest
import yaml

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT = documents.find_document(3)
ORIGIN, OURS = "microgrowagents.agents", "ours"

AGENTS = """
from whence.agents import BaseAgent

class YourAgent(BaseAgent):
    def run(self, query, **kwargs):
        self.log("Processing test query")
        self.tracker.record_decision(
            decision_type="route", decision_point="query_type", input_values={"query": query},
            branch_taken="test_mode", branches_available=["test_mode", "production_mode"],
            reason="Running in test mode",
        )
        self.tracker.record_tool_call("database", "genome_lookup", {"id": 1}, {"rows": 2}, 12)
        return {"status": "success"}
"""

RECIPES = """
set -eo pipefail
whence() { %(python)s -m whence "$@"; }
just() {
    case "$1" in
        init-provenance) whence init --duckdb data/processed/microgrow.duckdb ;;
        show-sessions) whence sessions --limit 10 ;;
        provenance-stats) whence stats --table runs --by name --window all ;;
        query-provenance)
            whence export duckdb --into data/processed/microgrow.duckdb
            %(python)s -c 'import duckdb, sys
print(duckdb.connect("data/processed/microgrow.duckdb").execute(sys.argv[1]).fetchall())' "$2" ;;
    esac
}
uv() {
    %(python)s -c 'from ours import YourAgent
YourAgent().execute("Test provenance tracking")
print("done")'
}
"""

DATABASE_COMMANDS = """
just init-provenance
just show-sessions
just provenance-stats
just query-provenance "SELECT * FROM provenance_sessions WHERE agent_type = 'YourAgent'"
just query-provenance "SELECT table_name FROM duckdb_tables() WHERE table_name LIKE 'provenance_%'"
"""
FILE_COMMANDS = """
cat .claude/provenance/sessions/*/actions.jsonl | jq -r '.type' | sort | uniq -c
jq 'select(.type == "query")' .claude/provenance/sessions/*/actions.jsonl
ls -lt .claude/provenance/sessions/
cat .claude/provenance/sessions/SESSION/summary.md
"""
USAGE = """
from microgrowagents.agents import YourAgent

agent = YourAgent(enable_provenance=True)
result = agent.execute("your query")

agent = YourAgent(enable_provenance=False)
result = agent.run("your query")
"""


@pytest.fixture
def project(tmp_path):
    """A project in which an agent was executed twice, and a database of its own."""
    here = tmp_path / "MicroGrowAgents"
    (here / "data" / "processed").mkdir(parents=True)
    (here / "ours.py").write_text(AGENTS)
    with duckdb.connect(str(here / "data/processed/microgrow.duckdb")) as connection:
        connection.execute("CREATE TABLE genome_annotations (id INTEGER)")
    run_python(here, USAGE + USAGE)
    return here


def run_python(project: Path, code: str) -> None:
    code = code.replace(ORIGIN, OURS)
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, cwd=project, env=environment(), check=True, timeout=60)


def run_shell(project: Path, code: str) -> str:
    """Run commands in a project, its latest session for the document's, and return their output."""
    sessions = sorted((project / ".claude/provenance/sessions").iterdir())
    changed = (
        code.replace("2026-01-11-07-08", sessions[0].name)
        .replace("SESSION_ID", sessions[0].name)
        .replace("SESSION", sessions[0].name)
        .replace("'TestAgent'", "'YourAgent'")
        .replace("/path/to/", f"{project.parent}/")
    )
    script = RECIPES % {"python": sys.executable} + changed
    done = subprocess.run(
        [shutil.which("bash"), "-c", script],
        cwd=project,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "WHENCE_HOME"}
    return {**kept, "PYTHONPATH": "."}


def lines_of(project: Path) -> list[dict]:
    files = sorted((project / ".claude/provenance/sessions").glob("*/actions.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


needs_jq = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
needs_document = pytest.mark.skipif(DOCUMENT is None, reason="the document is not here")


def test_agents_are_used_as_the_document_says(project):
    """Executing records a session in both places; running without provenance records none."""
    folders = sorted((project / ".claude/provenance/sessions").iterdir())
    assert len(folders) == 2
    for folder in folders:
        manifest = yaml.safe_load((folder / "manifest.yaml").read_text())
        assert manifest["session"]["agent_type"] == "YourAgent"
        assert manifest["results"]["actions_performed"] == 5
        assert manifest["results"]["success"] is True
    assert (project / ".whence" / "log").is_dir()


def test_the_database_has_what_the_folders_have(project):
    """The recipes make the tables, list the sessions, and answer SQL; other tables stay."""
    said = run_shell(project, DATABASE_COMMANDS)

    assert "6 tables and 6 indexes made" in said
    assert said.count("your query") >= 4
    for name in ("sessions", "events", "tool_calls", "decisions", "transformations"):
        assert f"provenance_{name}" in said
    with duckdb.connect(str(project / "data/processed/microgrow.duckdb")) as connection:
        count = connection.execute("SELECT count(*) FROM provenance_events").fetchone()
        assert count == (len(lines_of(project)),) == (10,)
        assert connection.execute("SELECT count(*) FROM genome_annotations").fetchone() == (0,)


@needs_jq
def test_the_files_answer_jq(project):
    """Types are counted and queries found; the summary is for people."""
    said = run_shell(project, FILE_COMMANDS)

    assert "2 decision" in said
    assert '"NCBIGenomeAPI"' in said
    assert "# Agent Execution Summary" in said


def test_sessions_of_another_project_are_copied_in_and_asked_together(project, tmp_path):
    """By files alone, and by whence: the copy is a session like any other."""
    other = tmp_path / "PFASCommunityAgents"
    shutil.copytree(project, other, ignore=shutil.ignore_patterns(".whence", "data"))
    (copied, _) = sorted((other / ".claude/provenance/sessions").iterdir())
    for file in copied.iterdir():
        text = file.read_text().replace("YourAgent", "PfasAgent")
        manifest_id = yaml.safe_load((copied / "manifest.yaml").read_text())["session"]
        file.write_text(text.replace(manifest_id["database_session_id"], "pfas-1"))
    target = project / ".claude/provenance/sessions" / f"{copied.name}-99"
    shutil.copytree(copied, target)

    listed = json.loads(run_shell(project, "whence sessions --folder .claude/provenance --json"))
    both = json.loads(
        run_shell(project, "whence report --folder . --folder ../PFASCommunityAgents --json")
    )

    assert len(lines_of(project)) == 15
    assert sorted(row["agent_type"] for row in listed["items"]) == [
        "PfasAgent",
        "YourAgent",
        "YourAgent",
    ]
    assert {row["agent_type"]: row["executions"] for row in both["agents"]} == {
        "PfasAgent": 1,
        "YourAgent": 2,
    }


@needs_document
def test_the_python_of_the_document_runs(project):
    """Both ways of using an agent, as written."""
    (code,) = documents.blocks(DOCUMENT, "python")

    run_python(project, code)

    assert len(list((project / ".claude/provenance/sessions").iterdir())) == 3


@needs_document
@needs_jq
@pytest.mark.parametrize("place", range(6))
def test_the_commands_of_the_document_run(project, tmp_path, place):
    """Each block of shell commands succeeds in a project that has sessions."""
    other = tmp_path / "PFASCommunityAgents"
    shutil.copytree(project, other)
    blocks = documents.blocks(DOCUMENT, "bash")
    assert len(blocks) == 6
    code = blocks[place]
    # The brace form names projects that lie side by side.
    said = run_shell(project, f"cd ..\n{code}" if code.startswith("# Tool usage") else code)

    assert said.strip() or code.startswith("cp ")


@needs_document
def test_the_folder_is_that_of_the_document(project):
    """Each file that its tree shows below `.claude/provenance` is there."""
    tree = next(code for code in documents.blocks(DOCUMENT, "") if ".claude/provenance/" in code)
    shown = [line.split("#")[0] for line in tree.split("src/")[0].splitlines()]
    names = {line.strip("│├└─ ").rstrip("/ ") for line in shown} - {"", ".claude/provenance"}
    folder = project / ".claude" / "provenance"
    there = {path.name for path in folder.rglob("*")}

    assert {name for name in names if not name.startswith("2026-")} <= there
