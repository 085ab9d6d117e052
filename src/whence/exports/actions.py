"""A run as a list of actions: what an agent did, in the words of session folders.

Comes in: the rows of one run. Goes out: one `Action` for its start and end and for every tool call,
model call, decision, transformation, score, source, output and event, in order of time. Unlike the
original writer, which called everything a success, an action has the status that was recorded.
Source: MicroGrowAgents `.claude/provenance/action-types.yaml` and `metadata-schema.json`, version
1.0.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from whence import _clock
from whence.query import restore, text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from whence.store import rows as r

ActionType = Literal[
    "read", "search", "analyze", "modify", "create", "execute", "query", "decision"
]
Status = Literal["success", "failure", "partial", "skipped"]

TYPE_OF_TOOL: dict[str, ActionType] = {
    "Read": "read",
    "Glob": "search",
    "Grep": "search",
    "Task": "analyze",
    "Edit": "modify",
    "NotebookEdit": "modify",
    "Write": "create",
    "Bash": "execute",
    "WebFetch": "query",
    "WebSearch": "query",
    "AskUserQuestion": "decision",
    "TodoWrite": "decision",
    "EnterPlanMode": "decision",
    "ExitPlanMode": "decision",
}
"""Tool to type of action; a tool that is not here is a `query`."""

_STATUS: dict[str, Status] = {
    "ok": "success",
    "success": "success",
    "complete": "success",
    "cached": "success",
    "partial": "partial",
    "incomplete": "partial",
    "running": "partial",
    "skipped": "skipped",
    "cancelled": "skipped",
}
_FILES = ("file_path", "path", "filename", "notebook_path")
"""Keys of a tool's input that name a file."""
_PREVIEW_CHARS = 2000


class Action(msgspec.Struct, frozen=True):
    """One thing that was done."""

    ts_ns: int
    """When, Unix nanoseconds."""
    id: str
    """Id of the record it stands for."""
    type: ActionType
    """What sort of action."""
    tool: str
    """What did it."""
    status: Status = "success"
    """How it went."""
    duration_ms: float | None = None
    """How long it took, in milliseconds."""
    details: dict[str, Any] = {}
    """What else is known; keys of the schema where it has one."""
    files: list[str] = []
    """Files it touched."""
    error: dict[str, str] | None = None
    """`message`, `code` and `stack` of what went wrong."""
    read_only: bool = False
    """Whether it changed nothing."""

    def to_dict(self, number: int, context: Mapping[str, str]) -> dict[str, Any]:
        """Return a line of `actions.jsonl`."""
        line: dict[str, Any] = {
            "timestamp": timestamp(self.ts_ns),
            "action_id": number,
            "type": self.type,
            "tool": self.tool,
            "status": self.status,
            "duration_ms": round(self.duration_ms or 0),
            "details": {key: value for key, value in self.details.items() if value is not None},
            "files_affected": self.files,
            "read_only": self.read_only,
        }
        if context:
            line["context"] = dict(context)
        if self.error:
            line["error"] = self.error
        line["database_event_id"] = self.id
        return line


def actions_of(run: r.RunRow, rows: Mapping[str, Sequence[Any]]) -> list[Action]:
    """Return what was done in a run, in order of time, its start first and its end last."""
    done = [make(row) for table, make in _MAKERS.items() for row in rows.get(table, ())]
    done.sort(key=lambda action: action.ts_ns)
    return [_start(run), *done, *([_end(run)] if run.ended_ns is not None else [])]


def timestamp(unix_ns: int) -> str:
    """Return a time in the form of session files: RFC 3339, UTC, microseconds."""
    return f"{_clock.format_ns(unix_ns)[:26]}Z"


def status_of(word: str | None) -> Status:
    """Return the status that a word means; an unknown one is a failure if it sounds like it."""
    if word is None:
        return "success"
    lowered = word.lower()
    return _STATUS.get(
        lowered, "failure" if any(w in lowered for w in ("err", "fail", "timeout")) else "success"
    )


def query_of(run: r.RunRow) -> str:
    """Return the run's attribute `query`, `question`, `prompt` or `input`, else its name."""
    for key in ("query", "question", "prompt", "input"):
        value = run.attributes.get(key)
        if isinstance(value, str) and value:
            return value
    return run.name


def error_of(error: dict[str, Any] | None) -> dict[str, str] | None:
    """Return an error in the words of session files."""
    if not error:
        return None
    stack = error.get("stack")
    frames = cast("list[Any]", stack) if isinstance(stack, list) else [stack or ""]
    parts: dict[str, Any] = {
        "message": error.get("message") or error.get("type") or "error",
        "code": error.get("type"),
        "stack": "\n".join(map(str, frames)),
    }
    return {key: str(value) for key, value in parts.items() if value}


def _start(run: r.RunRow) -> Action:
    details = {"agent_type": run.kind or run.name, "query": query_of(run)}
    return Action(
        run.started_ns, run.id, "execute", "AgentExecution", details=details, read_only=True
    )


def _end(run: r.RunRow) -> Action:
    return Action(
        run.ended_ns or run.started_ns,
        run.id,
        "execute",
        "AgentExecution",
        status_of(run.status),
        run.duration_ms,
        {"run_status": run.status, "cost_usd": run.cost_usd},
        error=error_of(run.error),
        read_only=True,
    )


def _tool_call(row: r.ToolCallRow) -> Action:
    given: Any = row.input
    asked = cast("dict[str, Any]", given if isinstance(given, dict) else {})
    files = [str(asked[key]) for key in _FILES if isinstance(asked.get(key), str)]
    details: dict[str, Any] = {
        "call_id": row.id,
        "tool_type": row.tool_type,
        "cache_hit": row.cache_hit,
        "retry_count": row.retry_count,
        "input": _preview(given),
        "output": _preview(row.output),
        "stage": row.stage,
    }
    details |= {
        key: asked[key]
        for key in ("command", "pattern", "url", "query")
        if isinstance(asked.get(key), str)
    }
    kind = TYPE_OF_TOOL.get(row.tool_name, "query")
    return Action(
        row.ts_ns,
        row.id,
        kind,
        row.tool_name,
        status_of(row.status),
        row.duration_ms,
        details | ({"file_path": files[0]} if files else {}),
        files,
        error_of(row.error),
        read_only=kind in {"read", "search"},
    )


def _generation(row: r.GenerationRow) -> Action:
    details: dict[str, Any] = {
        "operation": row.operation,
        "provider": row.provider,
        "model": row.response_model or row.model,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "cost_usd": row.cost_usd,
        "finish_reason": row.finish_reason,
        "stage": row.stage,
    }
    name = row.model or row.provider or "model"
    return Action(
        row.ts_ns,
        row.id,
        "query",
        name,
        status_of(row.status),
        row.duration_ms,
        details,
        error=error_of(row.error),
    )


def _decision(row: r.DecisionRow) -> Action:
    names = [str(option.get("name")) for option in row.options]
    details: dict[str, Any] = {
        "decision_type": row.name,
        "decision_point": row.decision_point,
        "branch_taken": _preview(row.what),
        "options_considered": names,
        "rationale": row.why,
        "reason": row.why,
        "confidence": row.confidence,
        "made_by": row.made_by,
        "stage": row.stage,
    }
    return Action(row.ts_ns, row.id, "decision", row.name, details=details)


def _transformation(row: r.TransformationRow) -> Action:
    details: dict[str, Any] = {
        "transformation_type": row.method,
        "parameters": _preview(row.parameters) if row.parameters else None,
        "input_size": row.input_size,
        "output_size": row.output_size,
        "stage": row.stage,
    }
    return Action(row.ts_ns, row.id, "analyze", row.name, "success", row.duration_ms, details)


def _score(row: r.ScoreRow) -> Action:
    details: dict[str, Any] = {
        "score": row.name,
        "value": row.value,
        "threshold": row.threshold,
        "passed": row.passed,
        "feedback": row.feedback or None,
        "stage": row.stage,
    }
    return Action(row.ts_ns, row.id, "execute", "validation", details=details, read_only=True)


def _source(row: r.SourceRow) -> Action:
    is_file = row.source_type == "file"
    details: dict[str, Any] = {
        "source_key": row.source_key,
        "title": row.title,
        "records_used": row.records_used,
        "reason": row.reason,
        "file_path": row.source_key if is_file else None,
        "stage": row.stage,
    }
    files = [row.source_key] if is_file else []
    status: Status = "success" if row.kept else "skipped"
    return Action(
        row.ts_ns, row.id, "read", row.source_type, status, None, details, files, read_only=True
    )


def _output(row: r.OutputRow) -> Action:
    details: dict[str, Any] = {
        "output_id": row.output_id,
        "file_path": row.path,
        "file_type": row.kind,
        "summary": row.summary or None,
        "stage": row.stage,
    }
    return Action(
        row.ts_ns, row.id, "create", row.kind, details=details, files=[row.path] if row.path else []
    )


def _event(row: r.EventRow) -> Action:
    details = {
        "message": row.message,
        "level": row.level.upper(),
        "data": _preview(row.data) if row.data else None,
    }
    return Action(row.ts_ns, row.id, "read", f"log_{row.level}", details=details, read_only=True)


def _preview(value: Any) -> Any:
    """Return a value as JSON can hold it, and as text with its beginning only where it is long."""
    plain = restore.to_json(value)
    shown = text.printable(plain)
    return plain if len(shown) <= _PREVIEW_CHARS else text.cut(shown, _PREVIEW_CHARS)


_MAKERS: dict[str, Callable[[Any], Action]] = {
    "tool_calls": _tool_call,
    "generations": _generation,
    "decisions": _decision,
    "transformations": _transformation,
    "scores": _score,
    "sources": _source,
    "outputs": _output,
    "events": _event,
}
