"""A run as a list of actions: what an agent did, in the words of session folders.

Comes in: the rows of one run, all at once or one by one. Goes out: one `Action` for its start and
end and for every tool call, model call, decision, transformation, score, source, output and event.
Unlike the original writer, which called everything a success, an action has the status that was
recorded. Source: document 3 (hybrid sessions); action types and schema of version 1.0.0.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from whence import _clock
from whence.exports import actionschema
from whence.exports.toolnames import (
    READ_ONLY_EVENTS,
    TYPE_OF_EVENT,
    TYPE_OF_TOOL,
    ActionType,
    ToolNames,
    names_of,
)
from whence.query import restore, text
from whence.record import codec
from whence.record.values import INT_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from whence.store import rows as r

Status = Literal["success", "failure", "partial", "skipped"]

_STATUS: dict[str, Status] = {
    "ok": "success",
    "success": "success",
    "complete": "success",
    "cached": "success",
    "failure": "failure",
    "partial": "partial",
    "incomplete": "partial",
    "running": "partial",
    "skipped": "skipped",
    "cancelled": "skipped",
}
_FILES = ("file_path", "path", "filename", "notebook_path")
"""Keys of a tool's input that name a file."""
_ASKED = ("command", "pattern", "glob", "url", "query")
"""Keys of a tool's input that say what was asked."""
_PREVIEW_CHARS = 2000
_SHOWN_LINKS = 5
_plain = actionschema.plain_text


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
    entity_links: list[dict[str, str]] = []
    """The last entities that the session was linked to by then."""

    def to_dict(self, number: int, context: Mapping[str, str]) -> dict[str, Any]:
        """Return a line of `actions.jsonl`, which satisfies the schema."""
        line: dict[str, Any] = {
            "timestamp": timestamp(self.ts_ns),
            "action_id": number,
            "type": self.type,
            "tool": _plain(self.tool),
            "status": self.status,
            "details": actionschema.fitted(self.details),
            "files_affected": [_plain(file) for file in self.files],
            "read_only": self.read_only,
        }
        if self.duration_ms is not None and abs(self.duration_ms) < INT_MAX:
            line["duration_ms"] = round(self.duration_ms)
        if context:
            line["context"] = {key: _plain(value) for key, value in context.items()}
        if self.error:
            line["error"] = {key: _plain(value) for key, value in self.error.items()}
        if self.entity_links:
            line["entity_links"] = [
                {key: _plain(value) for key, value in link.items()} for link in self.entity_links
            ]
        line["database_event_id"] = self.id
        return line

    def to_line(self, number: int, context: Mapping[str, str]) -> bytes:
        """Return a line of `actions.jsonl` with its line feed, in ASCII."""
        return json.dumps(restore.to_json(self.to_dict(number, context))).encode() + b"\n"


def actions_of(run: r.RunRow, rows: Mapping[str, Sequence[Any]]) -> list[Action]:
    """Return what was done in a run, in order of time, its start first and its end last."""
    names = names_of(run.attributes)
    done = [make(row, names) for table, make in MAKERS.items() for row in rows.get(table, ())]
    done.sort(key=lambda action: action.ts_ns)
    done = [started(run), *done, *([ended(run)] if run.ended_ns is not None else [])]
    return _with_links(done, rows.get("links", ()))


def _with_links(done: list[Action], links: Sequence[r.LinkRow]) -> list[Action]:
    """Return the actions with the entities that were linked before each."""
    waiting = [(row.ts_ns, link) for row in links if (link := entity_link(row)) is not None]
    if not waiting:
        return done
    made: list[Action] = []
    by_then: list[dict[str, str]] = []
    for action in done:
        while waiting and waiting[0][0] <= action.ts_ns:
            by_then.append(waiting.pop(0)[1])
        last = by_then[-_SHOWN_LINKS:]
        made.append(msgspec.structs.replace(action, entity_links=last) if last else action)
    return made


def entity_link(row: r.LinkRow) -> dict[str, str] | None:
    """Return table, id and type of the entity that a link names; None for any other link."""
    table = row.attributes.get("entity_table")
    if not isinstance(table, str):
        return None
    named = {
        "entity_table": table,
        "entity_id": row.attributes.get("entity_id") or row.target,
        "link_type": row.attributes.get("link_type") or row.kind,
    }
    return {key: _plain(value) for key, value in named.items()}


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


def agent_type_of(run: r.RunRow) -> str:
    """Return the run's attribute `agent_type`, else its kind, else its name."""
    given = run.attributes.get("agent_type")
    return given if isinstance(given, str) and given else run.kind or run.name


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
    return {key: _plain(value) for key, value in parts.items() if value}


def started(run: r.RunRow) -> Action:
    """Return the first action of a run."""
    details = {"agent_type": agent_type_of(run), "query": query_of(run)}
    return Action(
        run.started_ns, run.id, "execute", "AgentExecution", details=details, read_only=True
    )


def ended(run: r.RunRow) -> Action:
    """Return the last action of a run that has ended."""
    details = {
        "success": run.status == "complete",
        "run_status": run.status,
        "duration_ms": None if run.duration_ms is None else round(run.duration_ms),
        "cost_usd": run.cost_usd,
    }
    return Action(
        run.ended_ns or run.started_ns,
        f"{run.id}-end",
        "execute",
        "AgentExecution",
        status_of(run.status),
        run.duration_ms,
        details,
        error=error_of(run.error),
        read_only=True,
    )


def _tool_call(row: r.ToolCallRow, names: ToolNames) -> Action:
    given: Any = row.input
    asked = cast("dict[str, Any]", given if isinstance(given, dict) else {})
    files = [str(asked[key]) for key in _FILES if isinstance(asked.get(key), str)]
    details: dict[str, Any] = {
        "call_id": row.id,
        "tool_type": row.tool_type,
        "tool_name": row.tool_name,
        "cache_hit": row.cache_hit,
        "retry_count": row.retry_count,
        "duration_ms": row.duration_ms,
        "input": _preview(given),
        "output": _preview(row.output),
        "stage": row.stage,
    }
    details |= {key: asked[key] for key in _ASKED if isinstance(asked.get(key), str)}
    kind = TYPE_OF_TOOL.get(row.tool_name, "query")
    return Action(
        row.ts_ns,
        row.id,
        kind,
        names.tool_of_call(row.tool_type, row.tool_name),
        status_of(row.status),
        row.duration_ms,
        details | ({"file_path": files[0]} if files else {}),
        files,
        error_of(row.error),
        read_only=kind in {"read", "search"},
    )


def _generation(row: r.GenerationRow, _names: ToolNames) -> Action:
    used = None if row.usage is None else msgspec.to_builtins(row.usage)
    details: dict[str, Any] = {
        "call_type": "model",
        "operation": row.operation,
        "provider": row.provider,
        "model": row.response_model or row.model,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "usage": _preview(used),
        "cost_usd": row.cost_usd,
        "cost_source": row.cost_source,
        "finish_reason": row.finish_reason,
        "duration_ms": row.duration_ms,
        "stage": row.stage,
    }
    return Action(
        row.ts_ns,
        row.id,
        "query",
        row.model or row.provider or "model",
        status_of(row.status),
        row.duration_ms,
        details,
        error=error_of(row.error),
    )


def _decision(row: r.DecisionRow, names: ToolNames) -> Action:
    details: dict[str, Any] = {
        "decision_type": row.name,
        "decision_point": row.decision_point,
        "branch_taken": _preview(row.what),
        "options_considered": [str(option.get("name")) for option in row.options],
        "rationale": row.why,
        "reason": row.why,
        "confidence": row.confidence,
        "made_by": row.made_by,
        "stage": row.stage,
    }
    tool = names.tool_of(row.decision_point or row.name) if names.mapped else row.name
    return Action(row.ts_ns, row.id, "decision", tool, details=details)


def _transformation(row: r.TransformationRow, names: ToolNames) -> Action:
    details: dict[str, Any] = {
        "transformation_type": row.attributes.get("transformation_type") or row.method,
        "method": row.method,
        "parameters": _preview(row.parameters) if row.parameters else None,
        "input_size": row.input_size,
        "output_size": row.output_size,
        "duration_ms": row.duration_ms,
        "stage": row.stage,
    }
    tool = names.tool_of(row.name)
    return Action(row.ts_ns, row.id, "analyze", tool, "success", row.duration_ms, details)


def _score(row: r.ScoreRow, _names: ToolNames) -> Action:
    details: dict[str, Any] = {
        "score": row.name,
        "value": row.value,
        "threshold": row.threshold,
        "passed": row.passed,
        "feedback": row.feedback or None,
        "stage": row.stage,
    }
    return Action(row.ts_ns, row.id, "execute", "validation", details=details, read_only=True)


def _source(row: r.SourceRow, _names: ToolNames) -> Action:
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


def _output(row: r.OutputRow, _names: ToolNames) -> Action:
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


def _event(row: r.EventRow, names: ToolNames) -> Action:
    kind = row.data.get("event_type")
    if isinstance(kind, str) and kind != "log":
        return _typed_event(row, kind, names)
    details: dict[str, Any] = {
        "message": row.message,
        "level": row.level.upper(),
        "data": _preview(row.data) if row.data else None,
    }
    return Action(row.ts_ns, row.id, "read", f"log_{row.level}", details=details, read_only=True)


def _typed_event(row: r.EventRow, kind: str, names: ToolNames) -> Action:
    """Return the action of an event that said what type it is and what its details are."""
    given = row.data.get("details")
    said = cast("dict[str, Any]", given) if isinstance(given, dict) else {"details": given}
    details = {key: _preview(value) for key, value in said.items()}
    took = said.get("duration_ms")
    files = said.get("files_affected") or [said[key] for key in _FILES if said.get(key)]
    status = said.get("status")
    if not isinstance(status, str):
        status = "failure" if said.get("success") is False else None
    error = said.get("error")
    problem = cast("dict[str, Any]", error) if isinstance(error, dict) else {"message": error}
    return Action(
        row.ts_ns,
        row.id,
        TYPE_OF_EVENT.get(kind, "execute"),
        names.tool_of(row.message),
        status_of(status),
        took if codec.is_finite_number(took) else None,
        details,
        [str(file) for file in cast("list[Any]", files)] if isinstance(files, list) else [],
        error_of(problem if error else None),
        read_only=kind in READ_ONLY_EVENTS,
    )


def _preview(value: Any) -> Any:
    """Return a value as JSON can hold it, and as text with its beginning only where it is long."""
    plain = restore.to_json(value)
    shown = text.printable(plain)
    return plain if len(shown) <= _PREVIEW_CHARS else text.cut(shown, _PREVIEW_CHARS)


MAKERS: dict[str, Callable[[Any, ToolNames], Action]] = {
    "tool_calls": _tool_call,
    "generations": _generation,
    "decisions": _decision,
    "transformations": _transformation,
    "scores": _score,
    "sources": _source,
    "outputs": _output,
    "events": _event,
}
"""Table to what makes an action of one of its rows."""
