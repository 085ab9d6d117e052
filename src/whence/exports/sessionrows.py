"""Sessions that were read from folders as rows of the session database.

Comes in: parsed sessions. Goes out: table and row, with the columns of `sessiontables`. What no
file states is null. Ids that the files lack are made of the session's and a number, so that the
same folder gives the same rows wherever and whenever it is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence import _clock
from whence.query import restore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whence.ingest.session_parts import FolderSession

Row = tuple[str, dict[str, Any]]
_EVENT_OF_ACTION = {
    "query": "tool_call",
    "decision": "decision",
    "analyze": "transformation",
    "execute": "lifecycle",
    "read": "log",
}
"""Type of an action to the type of the event it most likely was."""


def iter_rows(sessions: Iterable[FolderSession]) -> Iterator[Row]:
    """Yield table and row for everything in the sessions.

    A session that is met twice, as when folders were copied, gives its rows once.
    """
    met: set[str] = set()
    links = 0
    for session in sessions:
        session_id = session.database_session_id or session.id
        if session_id in met:
            continue
        met.add(session_id)
        yield "provenance_sessions", _session(session, session_id)
        yield from _numbered("provenance_events", _events(session), session_id)
        yield from _numbered("provenance_tool_calls", _tool_calls(session), session_id)
        yield from _numbered("provenance_decisions", _decisions(session), session_id)
        yield from _numbered("provenance_transformations", _transformations(session), session_id)
        for link in session.entity_links:
            links += 1
            yield (
                "provenance_entity_links",
                {
                    "link_id": links,
                    "session_id": session_id,
                    "entity_table": link.entity_table,
                    "entity_id": link.entity_id,
                    "link_type": link.link_type,
                    "timestamp": _time(link.ts_ns or session.started_ns),
                },
            )


def _numbered(table: str, rows: Iterable[dict[str, Any]], session_id: str) -> Iterator[Row]:
    """Yield rows with the session's id, and with an id of their own where they have none."""
    for number, row in enumerate(rows, start=1):
        key = next(iter(row))
        own = row[key] or f"{session_id}-{table.removeprefix('provenance_')}-{number}"
        yield table, {**restore.to_json(row), key: own, "session_id": session_id}


def _time(unix_ns: int | None) -> str | None:
    return None if unix_ns is None else _clock.format_ns(unix_ns)[:26]


def _session(session: FolderSession, session_id: str) -> dict[str, Any]:
    context, environment = session.user_context, session.environment
    took = session.duration_ms
    if session.started_ns is not None and session.ended_ns is not None and took is None:
        took = (session.ended_ns - session.started_ns) / 1e6
    query = session.query
    if query is None and session.goals:
        query = "; ".join(session.goals)
    message = session.error_message
    if message is None and session.errors:
        message = session.errors[0].message
    python = environment.get("python_version") or context.get("python_version")
    row: dict[str, Any] = {
        "session_id": session_id,
        "agent_type": session.agent_type or session.session_type,
        "query": query,
        "kwargs": session.kwargs,
        "user_context": context,
        "start_time": _time(session.started_ns),
        "end_time": _time(session.ended_ns),
        "duration_ms": None if took is None else round(took),
        "success": session.success,
        "result_summary": session.result_summary,
        "error_message": message,
        "python_version": None if python is None else str(python),
        "dependencies": environment.get("dependencies"),
        "db_path": session.metadata.get("database_path"),
        "parent_session_id": session.parent_session_id,
        "depth": session.depth,
        "created_at": _time(session.started_ns),
    }
    return restore.to_json(row)


def _events(session: FolderSession) -> Iterator[dict[str, Any]]:
    if session.events:
        for event in session.events:
            yield {
                "event_id": event.id,
                "event_type": event.event_type,
                "event_name": event.event_name,
                "timestamp": _time(event.ts_ns),
                "sequence_number": event.number,
                "details": event.details,
                "duration_ms": _whole(event.details.get("duration_ms")),
            }
        return
    for action in session.actions:
        yield {
            "event_id": action.event_id,
            "event_type": _EVENT_OF_ACTION.get(action.type, action.type),
            "event_name": action.tool,
            "timestamp": _time(action.ts_ns),
            "sequence_number": action.number,
            "details": action.details,
            "duration_ms": _whole(action.duration_ms),
        }


def _tool_calls(session: FolderSession) -> Iterator[dict[str, Any]]:
    for call in session.tool_calls:
        yield {
            "call_id": call.id,
            "event_id": call.event_id,
            "tool_type": call.tool_type,
            "tool_name": call.tool_name,
            "input_params": call.input,
            "output_data": call.output,
            "call_time": _time(call.ts_ns),
            "duration_ms": _whole(call.duration_ms),
            "cache_hit": bool(call.cache_hit),
            "success": call.success,
            "error_message": call.error,
        }


def _decisions(session: FolderSession) -> Iterator[dict[str, Any]]:
    for decision in session.decisions:
        taken = decision.chosen
        yield {
            "decision_id": decision.id,
            "decision_type": decision.name,
            "decision_point": decision.point,
            "input_values": decision.inputs,
            "branch_taken": taken if taken is None or isinstance(taken, str) else str(taken),
            "branches_available": decision.alternatives,
            "reason": decision.why,
            "timestamp": _time(decision.ts_ns or session.started_ns),
        }


def _transformations(session: FolderSession) -> Iterator[dict[str, Any]]:
    for change in session.transformations:
        yield {
            "transformation_id": change.id,
            "transformation_type": change.transformation_type,
            "transformation_name": change.name,
            "input_schema": change.input_schema,
            "input_sample": change.input_sample,
            "output_schema": change.output_schema,
            "output_sample": change.output_sample,
            "method": change.method,
            "parameters": change.parameters,
            "timestamp": _time(change.ts_ns),
            "duration_ms": _whole(change.duration_ms),
        }


def _whole(value: Any) -> int | None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return round(value) if number and value - value == 0 else None
