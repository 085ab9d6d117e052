"""A run as a session folder for people: `manifest.yaml`, `actions.jsonl` and `summary.md`.

Comes in: a run as a tree. Goes out: the three files as bytes (`render`), or in a folder on disk
(`write`). A folder is named after the minute in which the run began; two runs of one minute get
`-2`, `-3` behind it, and a run that is written again replaces its own folder. Recorded text is
escaped where a file gives characters a meaning, and never becomes part of a path.

Source: MicroGrowAgents `.claude/provenance/`, schema version 1.0.0, the agent-written form.
"""

from __future__ import annotations

import json
import re
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from whence import _clock, _extras
from whence._version import __version__
from whence.errors import ConfigError
from whence.exports import actions
from whence.query import restore, text

if TYPE_CHECKING:
    from pathlib import Path

    from whence.exports.actions import Action
    from whence.query.tree import RunTree
    from whence.store import rows as r

SCHEMA_VERSION = "1.0.0"
FILES = ("manifest.yaml", "actions.jsonl", "summary.md")
Rows = Mapping[str, Sequence[Any]]
_NAME = re.compile(r"\d{4}-\d\d-\d\d-\d\d-\d\d(-\d+)?")
_KEY_DECISIONS = 5
_SHOWN_ERRORS = 5
_ENTITY_TABLES = ("genome_annotations", "pathway_models", "media_formulations", "ingredients")


def name_of(run: r.RunRow) -> str:
    """Return the name of a run's folder, `YYYY-MM-DD-HH-mm` in UTC."""
    return re.sub(r"[T:]", "-", _clock.format_ns(run.started_ns)[:16])


def session_id(run: r.RunRow) -> str:
    """Return the run's id in the form of a UUID, which is how a session is known in a database."""
    try:
        return str(uuid.UUID(run.id))
    except ValueError:
        return run.id


def render(tree: RunTree, *, name: str | None = None) -> dict[str, bytes]:
    """Return the files of a run's session by names that begin with `sessions/`.

    Args:
        tree: The run.
        name: Name of its folder; after the minute it began if not given.

    Raises:
        ConfigError: The name is not one of a session folder.
        MissingExtraError: PyYAML is not installed.
    """
    run, rows = tree.run, tree.tables
    name = name_of(run) if name is None else name
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:80]!r} is not the name of a session folder; it has the form 2026-01-31-23-59-2"
        )
    done = actions.actions_of(run, rows)
    yaml: Any = _extras.require("yaml", "cli", "exporting sessions")
    manifest = yaml.safe_dump(
        restore.to_json(_manifest(run, rows, done, name)),
        sort_keys=False,
        allow_unicode=True,
        width=100,
    )
    context = _context(run)
    lines = [
        json.dumps(restore.to_json(action.to_dict(number, context))) + "\n"
        for number, action in enumerate(done, start=1)
    ]
    contents = (manifest, "".join(lines), _summary(run, done, name))
    return {
        f"sessions/{name}/{file}": content.encode("utf-8", "backslashreplace")
        for file, content in zip(FILES, contents, strict=True)
    }


def write(tree: RunTree, folder: Path) -> Path:
    """Return the folder of a run's session, which is written below `folder`.

    Raises:
        MissingExtraError: PyYAML is not installed.
        OSError: A file could not be written.
    """
    name = _claim(folder / "sessions", tree.run)
    for relative, content in render(tree, name=name).items():
        path = folder / relative
        beside = path.with_name(f"{path.name}.tmp")
        beside.write_bytes(content)
        beside.replace(path)
    return folder / "sessions" / name


def _claim(sessions: Path, run: r.RunRow) -> str:
    """Return the name of the run's folder, made now or when the run was written before."""
    first, number = name_of(run), 1
    mark = f"database_session_id: {session_id(run)}"
    while True:
        name = first if number == 1 else f"{first}-{number}"
        folder = sessions / name
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if mark in _read(folder / FILES[0]):
                return name
            number += 1
        else:
            # At once, so that another process which is looking for its place knows whose this is.
            (folder / FILES[0]).write_text(f"session:\n  {mark}\n", "utf-8")
            return name


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def _context(run: r.RunRow) -> dict[str, str]:
    git: dict[str, Any] = (run.environment or {}).get("git") or {}
    named = {"git_branch": git.get("branch"), "git_commit": git.get("commit")}
    return {key: str(value) for key, value in named.items() if value}


def _manifest(run: r.RunRow, rows: Rows, done: Sequence[Action], name: str) -> dict[str, Any]:
    environment = run.environment or {}
    git: dict[str, Any] = environment.get("git") or {}
    models = [row.model for row in rows.get("generations", ()) if row.model]
    query = actions.query_of(run)
    succeeded = None if run.status == "running" else run.status == "complete"
    return {
        "session": {
            "id": f"agent-session-{name}",
            "database_session_id": session_id(run),
            "date_started": actions.timestamp(run.started_ns),
            "date_ended": None if run.ended_ns is None else actions.timestamp(run.ended_ns),
            "duration_minutes": None
            if run.duration_ms is None
            else round(run.duration_ms / 60_000, 2),
            "model": models[0] if models else None,
            "user": run.user,
            "session_type": "agent_execution",
            "agent_type": run.kind or run.name,
        },
        "user_context": {
            "working_directory": environment.get("cwd"),
            "git_branch": git.get("branch"),
            "git_commit_before": git.get("commit"),
            "git_commit_after": None,
            "python_version": environment.get("python"),
            "project_status": run.project,
        },
        "agent_context": {
            "query": query,
            "kwargs": run.attributes,
            "parent_session_id": run.parent_run,
            "depth": 1 if run.parent_run else 0,
        },
        "goals": [query],
        "results": {
            "success": succeeded,
            "actions_performed": len(done),
            "files_analyzed": len(_files(done, "read", "search")),
            "files_created": len(_files(done, "create")),
            "files_modified": len(_files(done, "modify")),
            "api_calls_made": _count(done, "query"),
            "cache_hits": sum(bool(action.details.get("cache_hit")) for action in done),
            "notes": "",
        },
        "action_summary": _action_summary(done),
        "tool_usage": _tool_usage(done),
        "key_findings": [row.summary for row in rows.get("outputs", ()) if row.summary],
        "recommendations": [],
        "errors": [action.error["message"] for action in done if action.error],
        "warnings": _warnings(run, rows),
        "entity_links": _entity_links(rows),
        "metadata": {
            "created_by": f"whence {__version__}",
            "schema_version": SCHEMA_VERSION,
            "hybrid_storage": False,
            "run_id": run.id,
            "external_id": run.external_id,
            "file_session_dir": f"sessions/{name}",
        },
    }


def _count(done: Sequence[Action], kind: str) -> int:
    return sum(action.type == kind for action in done)


def _files(done: Sequence[Action], *kinds: str) -> list[str]:
    return list(
        dict.fromkeys(file for action in done if action.type in kinds for file in action.files)
    )


def _said(done: Sequence[Action], kind: str, key: str) -> list[str]:
    """Return what the actions of a kind say under a key of their details, each once."""
    values = (action.details.get(key) for action in done if action.type == kind)
    return list(dict.fromkeys(str(value) for value in values if value))


def _action_summary(done: Sequence[Action]) -> dict[str, Any]:
    queries = list(dict.fromkeys(action.tool for action in done if action.type == "query"))
    return {
        "reads": {"total": _count(done, "read"), "files": _files(done, "read")},
        "searches": {"total": _count(done, "search"), "patterns": _said(done, "search", "pattern")},
        "modifications": {"total": _count(done, "modify"), "files": _files(done, "modify")},
        "executions": {
            "total": _count(done, "execute"),
            "commands": _said(done, "execute", "command"),
        },
        "queries": {"total": len([a for a in done if a.type == "query"]), "apis": queries},
        "decisions": {
            "total": _count(done, "decision"),
            "key_decisions": _said(done, "decision", "decision_type")[:_KEY_DECISIONS],
        },
        "transformations": {
            "total": _count(done, "analyze"),
            "transformation_types": _said(done, "analyze", "transformation_type"),
        },
    }


def _tool_usage(done: Sequence[Action]) -> dict[str, Any]:
    usage: dict[str, Any] = {}
    for action in done:
        if action.type != "query":
            continue
        tool = usage.setdefault(action.tool, {"calls": 0, "cache_hits": 0, "failures": 0})
        tool["calls"] += 1
        tool["cache_hits"] += bool(action.details.get("cache_hit"))
        tool["failures"] += action.status == "failure"
    return usage


def _warnings(run: r.RunRow, rows: Rows) -> list[str]:
    warnings = [row.message for row in rows.get("events", ()) if row.level == "warning"]
    if run.lost:
        warnings.append(f"{run.lost} records of this run could not be kept")
    return warnings


def _entity_links(rows: Rows) -> dict[str, list[Any]]:
    """Return the entities that links name, by the table they are in."""
    links: dict[str, list[Any]] = {table: [] for table in _ENTITY_TABLES}
    for row in rows.get("links", ()):
        table = row.attributes.get("entity_table")
        if isinstance(table, str):
            entity = str(row.attributes.get("entity_id") or row.target)
            links.setdefault(table, []).append({"entity_id": entity, "link_type": row.kind})
    return links


def _summary(run: r.RunRow, done: Sequence[Action], name: str) -> str:
    duration_ms = run.duration_ms or 0
    mark = {"complete": "✓ Success", "running": "… Running"}.get(run.status, "✗ Failed")
    counts = Counter(action.type for action in done)
    tools = Counter(action.tool for action in done)
    queries = [action for action in done if action.type == "query"]
    hits = sum(bool(action.details.get("cache_hit")) for action in queries)
    failed = [action for action in done if action.status == "failure"]
    lines = [
        "# Agent Execution Summary",
        "",
        f"**Session:** {name}",
        f"**Agent:** {_inline(run.kind or run.name)}",
        f"**Duration:** {duration_ms:.0f}ms ({duration_ms / 1000:.2f}s)",
        f"**Status:** {mark}",
        "",
        "## Query",
        *_fenced(actions.query_of(run)),
        "",
        "## Results",
        f"- Total actions: {len(done)}",
        f"- Successful: {sum(action.status == 'success' for action in done)}",
        f"- Failed: {len(failed)}",
        f"- API calls: {len(queries)}",
        f"- Decisions: {counts['decision']}",
        f"- Analyses: {counts['analyze']}",
        "",
        "## Actions Performed",
        "",
        "### By Type",
        *(f"- **{kind}**: {count}" for kind, count in counts.most_common()),
        "",
        "### Tools Used",
        *(f"- **{_inline(tool)}**: {count} calls" for tool, count in sorted(tools.items())),
    ]
    if queries:
        lines += [
            "",
            "## API Call Summary",
            f"- Total API calls: {len(queries)}",
            f"- Cache hits: {hits}",
            f"- Cache misses: {len(queries) - hits}",
            f"- Cache hit rate: {hits / len(queries) * 100:.1f}%",
        ]
    errors = [action.error["message"] for action in done if action.error]
    if errors:
        lines += ["", "## Errors", *(f"- {_inline(error)}" for error in errors[:_SHOWN_ERRORS])]
    lines += ["", "---", f"*Generated by whence {__version__}; run {run.id}*", ""]
    return "\n".join(lines)


def _inline(value: str) -> str:
    """Return a text as markdown shows it on one line, without any of its own markup."""
    return re.sub(r"([\\`*\[\]<>!|#])", r"\\\1", text.printable(value, 300))


def _fenced(value: str) -> list[str]:
    """Return a text in a fence that is longer than any within it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", value)), default=0))
    return [fence, *(text.printable(line) for line in value.splitlines() or [""]), fence]
