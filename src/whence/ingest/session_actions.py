"""Reads `actions.jsonl`: the lines, whose session each is, and what they add up to.

Two sessions that began in one minute share a folder where the original tracker wrote them: their
lines alternate, and each counts its actions from 1. Lines are told apart by the ids of their
events, where a JSON manifest knows these, and by their numbers else.

Source: document 3 (hybrid sessions); which action counts where is that of its original writer.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from whence.ingest import session_parts as parts
from whence.ingest.session_manifest import (
    NotReadableError,
    items,
    json_value,
    mapping,
    mappings,
    number,
    text,
    time_ns,
    whole,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_MAX_LINE_BYTES = 64 << 20
_TOTALS = {
    "reads": "read",
    "searches": "search",
    "modifications": "modify",
    "executions": "execute",
    "queries": "query",
    "decisions": "decision",
    "transformations": "analyze",
}
_KEYS = frozenset(
    {
        "timestamp",
        "action_id",
        "type",
        "tool",
        "status",
        "duration_ms",
        "details",
        "files_affected",
        "read_only",
        "error",
        "context",
        "database_event_id",
        "entity_links",
    }
)


_OF_TOOL_CALL = frozenset({"call_id", "tool_name", "tool_type"})
_NAMELESS = "model"
_OF_MODEL_CALL = frozenset({"provider", "operation", "input_tokens", "output_tokens"})


def read(path: Path) -> tuple[list[parts.FolderAction], list[str]]:
    """Return the actions of a file and what of it could not be read.

    Raises:
        OSError: The file cannot be read.
    """
    found: list[parts.FolderAction] = []
    problems: list[str] = []
    with path.open("rb") as file:
        line_number = 0
        while line := file.readline(_MAX_LINE_BYTES):
            line_number += 1
            if not line.strip():
                continue
            try:
                value = json_value(line)
            except NotReadableError as error:
                torn = "" if line.endswith(b"\n") else " (the file ends in the middle of the line)"
                problems.append(f"{path.name}:{line_number}: {error}{torn}")
                continue
            if isinstance(value, dict):
                found.append(_action(mapping(value), line_number))
            else:
                problems.append(f"{path.name}:{line_number}: not an object")
    return found, problems


def _action(said: dict[str, Any], line: int) -> parts.FolderAction:
    read_only = said.get("read_only")
    error = said.get("error")
    return parts.FolderAction(
        line=line,
        number=whole(said.get("action_id")),
        ts_ns=time_ns(said.get("timestamp")),
        type=text(said.get("type")) or "",
        tool=text(said.get("tool")) or "",
        status=text(said.get("status")) or "",
        duration_ms=number(said.get("duration_ms")),
        details=mapping(said.get("details")),
        files=[str(file) for file in items(said.get("files_affected"))],
        read_only=read_only if isinstance(read_only, bool) else None,
        error=mapping(error) or ({"message": str(error)} if error else None),
        context=mapping(said.get("context")),
        event_id=text(said.get("database_event_id")),
        entity_links=mappings(said.get("entity_links")),
        extra={key: value for key, value in said.items() if key not in _KEYS},
    )


def apart(
    actions: Sequence[parts.FolderAction], session_of_event: Mapping[str, str]
) -> list[tuple[str | None, list[parts.FolderAction]]]:
    """Return the actions of each session that shares a file, in order of their first lines.

    Args:
        actions: The lines.
        session_of_event: Event id to the session that is known to have it.
    """
    known: dict[str, list[parts.FolderAction]] = {}
    others: list[list[parts.FolderAction]] = []
    for action in actions:
        session = session_of_event.get(action.event_id or "")
        if session is not None:
            known.setdefault(session, []).append(action)
            continue
        # The session that waits for this number; the latest of them, as sessions rather end than
        # stand still. A line without a number goes on with the session of the line before.
        place = _place(others, action.number)
        if place is None:
            others.append([action])
        else:
            others[place].append(action)
    groups: list[tuple[str | None, list[parts.FolderAction]]] = [
        *known.items(),
        *((None, group) for group in others),
    ]
    return sorted(groups, key=lambda group: group[1][0].line)


def _place(groups: list[list[parts.FolderAction]], action_id: int | None) -> int | None:
    if not groups:
        return None
    if action_id is None:
        return len(groups) - 1
    for place in range(len(groups) - 1, -1, -1):
        last = groups[place][-1].number
        if last is not None and last == action_id - 1:
            return place
    last = groups[-1][-1].number
    # Numbers may have holes; only one that goes back begins another session.
    return len(groups) - 1 if last is None or action_id > last else None


def computed(actions: Sequence[parts.FolderAction]) -> parts.Computed | None:
    """Return what actions add up to; None if there are none."""
    if not actions:
        return None
    types = Counter(action.type for action in actions)
    return parts.Computed(
        actions=len(actions),
        totals={name: types[kind] for name, kind in _TOTALS.items()},
        types=dict(types),
        statuses=dict(Counter(action.status for action in actions)),
        tools=dict(Counter(action.tool for action in actions)),
        cache_hits=sum(bool(action.details.get("cache_hit")) for action in actions),
        duration_ms=sum(action.duration_ms or 0 for action in actions),
    )


def decisions(actions: Sequence[parts.FolderAction]) -> list[parts.FolderDecision]:
    """Return the decisions that lines tell of."""
    return [
        parts.FolderDecision(
            name=text(action.details.get("decision_type")) or action.tool,
            chosen=action.details.get("branch_taken", action.details.get("user_input")),
            alternatives=items(action.details.get("options_considered")),
            why=text(action.details.get("reason")) or text(action.details.get("rationale")) or "",
            point=text(action.details.get("decision_point")) or action.tool,
            ts_ns=action.ts_ns,
            id=action.event_id,
            origin="actions.jsonl",
        )
        for action in actions
        if action.type == "decision"
    ]


def is_model_call(action: parts.FolderAction) -> bool:
    """Whether a line tells of a call of a model, in the words of whence's own export.

    Returns:
        True if it is marked so; or, as lines were before there was a mark, names a model and a
        provider, an operation or tokens, which no call of a tool does.
    """
    said = action.details
    if action.type != "query" or not said.keys().isdisjoint(_OF_TOOL_CALL):
        return False
    return said.get("call_type") == "model" or (
        "model" in said and not said.keys().isdisjoint(_OF_MODEL_CALL)
    )


def model_calls(actions: Sequence[parts.FolderAction]) -> list[parts.FolderModelCall]:
    """Return the calls of models that lines tell of."""
    found: list[parts.FolderModelCall] = []
    for action in filter(is_model_call, actions):
        said = action.details
        answered, provider = text(said.get("model")), text(said.get("provider"))
        stands_in = action.tool in {"", provider, _NAMELESS}  # for a model that nobody named
        asked = answered if answered is None or stands_in else action.tool
        used = mapping(said.get("usage"))
        counts = {name: said[name] for name in ("input_tokens", "output_tokens") if name in said}
        found.append(
            parts.FolderModelCall(
                model=asked,
                response_model=None if answered == asked else answered,
                provider=provider,
                operation=text(said.get("operation")),
                id=action.event_id,
                ts_ns=action.ts_ns,
                duration_ms=_duration_ms(action),
                usage=used or ({"stated": counts} if counts else {}),
                cost_usd=number(said.get("cost_usd")),
                cost_source=text(said.get("cost_source")),
                finish_reason=text(said.get("finish_reason")),
                status=action.status,
                error=action.error,
            )
        )
    return found


def _duration_ms(action: parts.FolderAction) -> float | None:
    """Return how long an action took; its details may say so beyond the whole milliseconds."""
    exact = number(action.details.get("duration_ms"))
    if exact is not None and action.duration_ms == round(exact):
        return exact
    return action.duration_ms


def tool_calls(actions: Sequence[parts.FolderAction]) -> list[parts.FolderToolCall]:
    """Return the calls of tools that lines tell of: queries, and all that names its `call_id`."""
    found: list[parts.FolderToolCall] = []
    for action in actions:
        said = action.details
        if (action.type != "query" and "call_id" not in said) or is_model_call(action):
            continue
        hit = said.get("cache_hit")
        error = action.error or {}
        found.append(
            parts.FolderToolCall(
                tool_name=text(said.get("tool_name")) or action.tool,
                tool_type=text(said.get("tool_type")),
                id=text(said.get("call_id")) or action.event_id,
                event_id=action.event_id,
                ts_ns=action.ts_ns,
                input=said.get("input", said.get("query", said.get("url"))),
                output=said.get("output"),
                duration_ms=_duration_ms(action),
                cache_hit=hit if isinstance(hit, bool) else None,
                success={"success": True, "failure": False}.get(action.status),
                error=text(error.get("message")),
            )
        )
    return found


def transformations(actions: Sequence[parts.FolderAction]) -> list[parts.FolderTransformation]:
    """Return the changes of data that lines tell of."""
    return [
        parts.FolderTransformation(
            name=action.tool,
            transformation_type=text(action.details.get("transformation_type")),
            id=action.event_id,
            method=text(action.details.get("method")),
            parameters=mapping(action.details.get("parameters")),
            ts_ns=action.ts_ns,
            duration_ms=_duration_ms(action),
        )
        for action in actions
        if action.type == "analyze"
    ]


def links(actions: Sequence[parts.FolderAction]) -> list[parts.FolderLink]:
    """Return the entities that lines name, each once, at the first line that does."""
    found: dict[tuple[str, str, str | None], parts.FolderLink] = {}
    for action in actions:
        for said in action.entity_links:
            key = (
                text(said.get("entity_table")) or "",
                text(said.get("entity_id")) or "",
                text(said.get("link_type")),
            )
            found.setdefault(
                key,
                parts.FolderLink(
                    entity_table=key[0], entity_id=key[1], link_type=key[2], ts_ns=action.ts_ns
                ),
            )
    return list(found.values())
