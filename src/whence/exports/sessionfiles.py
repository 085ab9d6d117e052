"""The texts of a session's `manifest.yaml` and `summary.md`.

Comes in: the row of a run, what its actions add up to, and what else was found in it. Goes out: the
two files as text. Recorded text is escaped where a file gives characters a meaning. Nothing here
reads a store or touches a disk.

Source: document 3 (hybrid sessions), schema version 1.0.0, the form that agents write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from whence._version import __version__
from whence.exports import actions
from whence.exports.sessiontally import ENTITY_TABLES, SHOWN_ERRORS
from whence.query import restore, text

if TYPE_CHECKING:
    from whence.exports.sessiontally import Tally
    from whence.store import rows as r

SCHEMA_VERSION = "1.0.0"
_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What JSON lets stand and YAML does not, or takes for a line break."""


class Told(msgspec.Struct, frozen=True):
    """What a manifest says that neither the run nor its actions do."""

    model: str | None = None
    """The first model that was asked."""
    findings: Sequence[str] = ()
    """What came out, a sentence each."""
    warnings: Sequence[str] = ()
    """What was warned of."""
    links: Sequence[dict[str, str]] = ()
    """Entities: table, id and type of link."""
    sub_agents: list[str] | None = None
    """Types of the agents that were run inside; None if that is not known."""


def manifest(run: r.RunRow, tally: Tally, told: Told, name: str) -> dict[str, Any]:
    """Return the manifest of a session whose folder is called `name`."""
    environment = run.environment or {}
    git: dict[str, Any] = environment.get("git") or {}
    attributes = run.attributes
    kwargs = attributes.get("kwargs") if attributes.get("dialect") == "agents" else attributes
    query = actions.query_of(run)
    ended = run.ended_ns
    return {
        "session": {
            "id": f"agent-session-{name}",
            "database_session_id": run.id,
            "date_started": actions.timestamp(run.started_ns),
            "date_ended": None if ended is None else actions.timestamp(ended),
            "duration_minutes": None
            if run.duration_ms is None
            else round(run.duration_ms / 60_000, 2),
            "model": told.model,
            "user": run.user,
            "session_type": "agent_execution",
            "agent_type": actions.agent_type_of(run),
        },
        "user_context": {
            "working_directory": attributes.get("working_directory"),
            "git_branch": git.get("branch"),
            "git_commit_before": git.get("commit"),
            "git_commit_after": None,
            "python_version": environment.get("python"),
            "project_status": run.project,
        },
        "agent_context": {
            "query": query,
            "kwargs": kwargs,
            "parent_session_id": run.parent_run,
            "depth": attributes.get("depth", 1 if run.parent_run else 0),
        },
        "goals": [query],
        "results": {
            "success": None if run.status == "running" else run.status == "complete",
            "actions_performed": tally.total,
            "files_analyzed": len(tally.files("read", "search")),
            "files_created": len(tally.files("create")),
            "files_modified": len(tally.files("modify")),
            "api_calls_made": tally.types["query"],
            "cache_hits": tally.cache_hits,
            "notes": "",
        },
        "action_summary": tally.action_summary(),
        "tool_usage": tally.tool_usage(told.sub_agents),
        "key_findings": list(told.findings),
        "recommendations": [],
        "errors": tally.errors,
        "warnings": list(told.warnings),
        "entity_links": _by_table(told.links),
        "metadata": {
            "created_by": f"whence {__version__}",
            "schema_version": SCHEMA_VERSION,
            "hybrid_storage": attributes.get("db_path") is not None,
            "database_path": attributes.get("db_path"),
            "run_id": run.id,
            "external_id": run.external_id,
            "file_session_dir": f"sessions/{name}",
        },
    }


def _by_table(links: Sequence[dict[str, str]]) -> dict[str, list[Any]]:
    tables: dict[str, list[Any]] = {table: [] for table in ENTITY_TABLES}
    for link in links:
        named = {"entity_id": link["entity_id"], "link_type": link["link_type"]}
        known = tables.setdefault(link["entity_table"], [])
        if named not in known:
            known.append(named)
    return tables


def yaml_text(value: dict[str, Any]) -> str:
    """Return a mapping as YAML: laid out where PyYAML is installed, else as JSON, which is YAML."""
    plain = restore.to_json(value)
    try:
        import yaml  # noqa: PLC0415 - an optional package, and who records should not wait for it
    except ImportError:
        shown = json.dumps(plain, indent=2, ensure_ascii=False)
        return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", shown) + "\n"
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return yaml.dump(plain, Dumper=dumper, sort_keys=False, allow_unicode=True, width=100)


def summary(run: r.RunRow, tally: Tally, name: str) -> str:
    """Return the summary of a session for people, as markdown."""
    mark = {"complete": "✓ Success", "running": "… Running"}.get(run.status, "✗ Failed")
    took = "N/A"
    if run.duration_ms is not None:
        took = f"{run.duration_ms:.0f}ms ({run.duration_ms / 1000:.2f}s)"
    queries = tally.types["query"]
    lines = [
        "# Agent Execution Summary",
        "",
        f"**Session:** {name}",
        f"**Agent:** {_inline(actions.agent_type_of(run))}",
        f"**Duration:** {took}",
        f"**Status:** {mark}",
        "",
        "## Query",
        *_fenced(actions.query_of(run)),
        "",
        "## Results",
        f"- Total actions: {tally.total}",
        f"- Successful: {tally.statuses['success']}",
        f"- Failed: {tally.statuses['failure']}",
        f"- API calls: {queries}",
        f"- Decisions: {tally.types['decision']}",
        f"- Analyses: {tally.types['analyze']}",
        "",
        "## Actions Performed",
        "",
        "### By Type",
        *(f"- **{kind}**: {count}" for kind, count in tally.types.most_common()),
        "",
        "### Tools Used",
        *(f"- **{_inline(tool)}**: {count} calls" for tool, count in sorted(tally.tools.items())),
    ]
    if queries:
        hits = sum(tool["cache_hits"] for tool in tally.usage.values())
        lines += [
            "",
            "## API Call Summary",
            f"- Total API calls: {queries}",
            f"- Cache hits: {hits}",
            f"- Cache misses: {queries - hits}",
            f"- Cache hit rate: {hits / queries * 100:.1f}%",
        ]
    if tally.errors:
        shown = tally.errors[:SHOWN_ERRORS]
        lines += ["", "## Errors", *(f"- {_inline(error)}" for error in shown)]
    lines += ["", "---", f"*Generated by whence {__version__}; run {run.id}*", ""]
    return "\n".join(lines)


def _inline(value: str) -> str:
    """Return a text as markdown shows it on one line, without any of its own markup."""
    return re.sub(r"([\\`*\[\]<>!|#])", r"\\\1", text.printable(value, 300))


def _fenced(value: str) -> list[str]:
    """Return a text in a fence that is longer than any within it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"`+", value)), default=0))
    return [fence, *(text.printable(line) for line in value.splitlines() or [""]), fence]
