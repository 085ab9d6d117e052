"""The `indices/` of a provenance folder: what all its sessions add up to, in small JSON files.

Comes in: a folder of sessions, of any project or of several. Goes out: one file a question, so that
`jq` answers about thousands of sessions without reading them. The files can be deleted and made
again; what a manifest declares and what its actions add up to stand side by side.

Source: document 3 (hybrid sessions), next steps.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.errors import IngestError
from whence.exports import sessionfolders
from whence.ingest import session_folders
from whence.log.replacing import replace
from whence.query import restore

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from whence.ingest.session_parts import FolderSession

_MOST_FILES = 10_000


class Indexed(msgspec.Struct, frozen=True):
    """What was indexed."""

    folder: str
    """The folder that has the indices now."""
    sessions: int
    """How many sessions there are."""
    actions: int
    """How many actions, by their lines."""
    files: list[str]
    """The files that were written."""
    problems: list[str]
    """What could not be read, in a sentence each."""


def index_sessions(folder: str | os.PathLike[str] = sessionfolders.DEFAULT) -> Indexed:
    """Return what was found in a provenance folder, the indices of which are written.

    Raises:
        IngestError: There are no sessions at the path.
        OSError: A file could not be written.
        MissingExtraError: PyYAML is not installed.
    """
    path = Path(folder)
    sessions = session_folders.find_sessions(path)
    if sessions is None:
        raise IngestError(
            f"there are no sessions at {path}; name a folder like {sessionfolders.DEFAULT}"
        )
    totals = _Totals(session_folders.iter_sessions(path))
    indices = sessions.parent / "indices"
    indices.mkdir(exist_ok=True)
    written: list[str] = []
    for name, content in totals.files().items():
        replace(indices / name, content)
        written.append(str(indices / name))
    return Indexed(
        str(sessions.parent),
        len(totals.sessions),
        totals.actions,
        written,
        totals.problems,
    )


class _Totals:
    """What sessions add up to."""

    def __init__(self, sessions: Iterable[FolderSession]) -> None:
        self.sessions: list[dict[str, Any]] = []
        self.actions = 0
        self.problems: list[str] = []
        self._types: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._tools: dict[str, Counter[str]] = defaultdict(Counter)
        self._files: dict[str, Counter[str]] = defaultdict(Counter)
        self._decisions: Counter[tuple[str, str]] = Counter()
        self._entities: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        self._errors: Counter[str] = Counter()
        for session in sessions:
            self._add(session)

    def _add(self, session: FolderSession) -> None:
        self.sessions.append(_entry(session))
        self.problems += [f"{session.where}: {problem}" for problem in session.problems]
        self.actions += len(session.actions)
        used: set[str] = set()
        for action in session.actions:
            self._types[action.type] += 1
            self._statuses[action.status] += 1
            tool = self._tools[action.tool]
            tool["actions"] += 1
            tool[action.status or "unknown"] += 1
            tool["cache_hits"] += bool(action.details.get("cache_hit"))
            tool["duration_ms"] += round(action.duration_ms or 0)
            used.add(action.tool)
            for file in action.files:
                if file in self._files or len(self._files) < _MOST_FILES:
                    self._files[file][action.type] += 1
        for name in used:
            self._tools[name]["sessions"] += 1
        for decision in session.decisions:
            self._decisions[decision.name, str(decision.chosen)] += 1
        for link in session.entity_links:
            known = self._entities[link.entity_table][link.entity_id]
            if session.id not in known:
                known.append(session.id)
        self._errors.update(error.message for error in session.errors)

    def files(self) -> dict[str, bytes]:
        """Return the files by name."""
        decisions = [
            {"decision": name, "chosen": chosen, "count": count}
            for (name, chosen), count in self._decisions.most_common()
        ]
        totals: dict[str, Any] = {
            "indexed_at": f"{_clock.format_ns(_clock.wall_ns())[:19]}Z",
            "sessions": len(self.sessions),
            "sessions_with_actions": sum(entry["actions"] is not None for entry in self.sessions),
            "actions": self.actions,
            "actions_declared": sum(entry["actions_declared"] or 0 for entry in self.sessions),
            "types": dict(self._types.most_common()),
            "statuses": dict(self._statuses.most_common()),
        }
        tools = sorted(self._tools.items(), key=lambda item: (-item[1]["actions"], item[0]))
        files = sorted(self._files.items(), key=lambda item: (-item[1].total(), item[0]))
        made: dict[str, Any] = {
            "totals.json": totals,
            "tools.json": dict(tools),
            "files.json": dict(files),
            "decisions.json": decisions,
            "entities.json": self._entities,
            "errors.json": dict(self._errors.most_common()),
        }
        lines = "".join(_json(entry, None) + "\n" for entry in self.sessions)
        return {"sessions.jsonl": lines.encode()} | {
            name: (_json(content, 2) + "\n").encode() for name, content in made.items()
        }


def _json(value: Any, indent: int | None) -> str:
    return json.dumps(restore.to_json(value), indent=indent)


def _entry(session: FolderSession) -> dict[str, Any]:
    """Return one line of `sessions.jsonl`."""
    computed = session.computed
    return {
        "id": session.id,
        "database_session_id": session.database_session_id,
        "folder": session.folder,
        "form": session.form,
        "session_type": session.session_type,
        "agent_type": session.agent_type,
        "query": session.query,
        "goals": session.goals,
        "started": _time(session.started_ns),
        "ended": _time(session.ended_ns),
        "duration_ms": session.duration_ms,
        "success": session.success if session.outcome is None else session.outcome,
        "parent_session_id": session.parent_session_id,
        "depth": session.depth,
        "actions_declared": session.declared.actions,
        "totals_declared": session.declared.totals,
        "actions": None if computed is None else computed.actions,
        "totals": None if computed is None else computed.totals,
        "decisions": len(session.decisions),
        "tool_calls": len(session.tool_calls),
        "errors": len(session.errors),
    }


def _time(unix_ns: int | None) -> str | None:
    return None if unix_ns is None else f"{_clock.format_ns(unix_ns)[:26]}Z"
