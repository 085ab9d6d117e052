"""Session folders as other programs write them, and the corpora of such, where they are at hand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from otlpdata import find_corpus

if TYPE_CHECKING:
    from pathlib import Path

BY_HAND = """---
session:
  id: "claude-session-2026-01-10-21-16-00"
  date_started: "2026-01-10T21:16:00Z"
  date_ended: 2026-01-10T21:45:00Z
  duration_minutes: 29
  model: "claude-sonnet-4-5"
  user: "ada"
  session_type: "design_review"
user_context: {working_directory: /somewhere, git_branch: null, python_version: "3.11.7"}
goals:
  - "Track what is done"
  - "Say why"
results: {success: partial, actions_performed: 47, files_created: 7, notes: "half of it"}
action_summary:
  reads: {total: 10, files: [a.py]}
  executions: {total: 20, commands: []}
  decisions:
    total: 5
    key_decisions:
      - "Decision: use JSONL"
      - "Rationale: it can be appended"
      - "kept the old reader"
      - "Decision: no database"
      - "Rationale: one dependency less"
key_findings: ["it was there already"]
recommendations: ["look again"]
errors:
  - "a text"
  - {message: "an object", resolution: "done again", timestamp: "2026-01-10T21:20:00Z", cost: 3}
warnings: []
design_decisions:
  - {decision: "where to keep it", alternatives: ["a file", "a table"], chosen: "a file",
     rationale: "people read it", user_input: "yes", cost: "low"}
critical_corrections:
  - {issue: "wrong sum", severity: "high", original: 5, corrected: 6}
files_created: [a.md, b.md]
metadata: {created_by: "by hand", schema_version: "1.0.0", retroactive: true}
"""
"""A manifest in the dialect of people, with every oddity that was seen."""

SUMMARY = """# Claude Code Session: tracking

## Decisions Made

1. **Decision**: Use JSONL
   - **Rationale**: said elsewhere
2. **Decision**: ignore the logs in git
   - **Rationale**: they grow
   - **Alternatives considered**: keep all (bloat, slow), keep none
"""


def write_by_hand(folder: Path, name: str = "2026-01-10-21-16") -> Path:
    """Write a session of a person: a manifest and a summary, no actions."""
    session = folder / "sessions" / name
    session.mkdir(parents=True)
    (session / "manifest.yaml").write_text(BY_HAND, "utf-8")
    (session / "summary.md").write_text(SUMMARY, "utf-8")
    return session


def line(number: int, kind: str, tool: str, /, **others: object) -> dict[str, object]:
    """Return one action as the original tracker writes it."""
    return {
        "timestamp": f"2026-01-20T09:07:{number:02d}.000100Z",
        "action_id": number,
        "type": kind,
        "tool": tool,
        "status": "success",
        "duration_ms": 0,
        "details": {},
        "files_affected": [],
        "read_only": False,
        **others,
    }


def write_lines(path: Path, lines: list[dict[str, object]]) -> None:
    """Write actions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), "utf-8")


def corpus(name: str) -> Path:
    """Return a corpus of session folders; the test is skipped where it is not at hand."""
    found = find_corpus(name)
    if found is None:
        pytest.skip("the corpora are not here")
    return found
