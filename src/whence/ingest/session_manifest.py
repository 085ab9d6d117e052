"""Reads the manifests of sessions: YAML of two dialects, and the JSON of a tracker.

Comes in: the text of one file. Goes out: fields for a `FolderSession`. A manifest is written by
people as often as by programs, so any key may be missing or hold anything: what is no text, number,
list or mapping where one belongs is taken for not said. A YAML file may refer to itself, so what is
taken from it is bounded.

Source: document 3 (hybrid sessions), both manifest forms of schema version 1.0.0.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import Any, cast

import msgspec

from whence import _clock, _extras
from whence.ingest import session_parts as parts

_MOST_NODES = 200_000
_MOST_DEPTH = 60
_KNOWN = frozenset(
    {
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
        "design_decisions",
    }
)
_ERROR_KEYS = frozenset({"message", "resolution", "timestamp"})
_DESIGN_KEYS = frozenset({"decision", "alternatives", "chosen", "rationale"})
_WORDS = "(decision|rationale|alternatives(?: considered)?)"
_SAID = re.compile(rf"\s*{_WORDS}\s*:\s*(.*)", re.IGNORECASE | re.DOTALL)
_BOLD = re.compile(rf"\s*(?:(?:[-*]|\d+[.)])\s+)?\*\*{_WORDS}:?\*\*\s*:?\s*(.*)", re.IGNORECASE)
_COMMA = re.compile(r",(?![^()]*\))")
"""A comma outside parentheses. It looks ahead at every comma, so long texts do without it."""
_LONG_CHARS = 4_000
_NAMELESS = "key decision"
Fields = dict[str, Any]


class NotReadableError(Exception):
    """A file that is no manifest; the message says why."""


def load_yaml(content: str) -> Fields:
    """Return a YAML manifest as plain data.

    Raises:
        NotReadableError: It is not YAML, holds no mapping, or grows beyond all bounds.
        MissingExtraError: PyYAML is not installed.
    """
    if content.lstrip()[:1] == "{":  # what is written where PyYAML is not installed is JSON
        return load_json(content)
    yaml: Any = _extras.require("yaml", "cli", "reading the manifest of a session")
    try:
        loaded = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise NotReadableError(f"not YAML: {' '.join(str(error).split())[:200]}") from None
    return _mapping_of(loaded)


def load_json(content: str | bytes) -> Fields:
    """Return a JSON manifest as plain data.

    Raises:
        NotReadableError: It is not JSON, or holds no mapping.
    """
    return _mapping_of(json_value(content))


def json_value(content: str | bytes) -> Any:
    """Return a JSON value, also one with the NaN and half surrogates that Python's json writes.

    Raises:
        NotReadableError: It is not JSON.
    """
    try:
        return msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise NotReadableError(f"not JSON: {error}") from None


def _mapping_of(loaded: Any) -> Fields:
    plain = _Copy().of(loaded, 0)
    if not isinstance(plain, dict):
        raise NotReadableError("not a mapping")
    return cast("Fields", plain)


class _Copy:
    """Copies loaded data with a bound: aliases let a small YAML file stand for a huge tree."""

    def __init__(self) -> None:
        self._left = _MOST_NODES

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _MOST_DEPTH:
            raise NotReadableError("larger or deeper than any manifest")
        if isinstance(value, dict):
            mapping = cast("dict[Any, Any]", value)
            return {
                key if isinstance(key, str) else str(key): self.of(item, depth + 1)
                for key, item in mapping.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.of(item, depth + 1) for item in cast("list[Any]", value)]
        if isinstance(value, (dt.datetime, dt.date)):
            return value.isoformat()
        return value


def yaml_fields(manifest: Fields) -> Fields:
    """Return the fields of a session that its YAML manifest states."""
    session, agent = mapping(manifest.get("session")), mapping(manifest.get("agent_context"))
    results, context = mapping(manifest.get("results")), mapping(manifest.get("user_context"))
    by_agent = "agent_context" in manifest or bool(session.get("agent_type"))
    success, outcome = _success(results.get("success"))
    errors = [_error(item) for item in items(manifest.get("errors"))]
    started_ns, ended_ns = time_ns(session.get("date_started")), time_ns(session.get("date_ended"))
    found: Fields = {
        "form": "agent" if by_agent else "claude",
        "id": text(session.get("id")),
        "database_session_id": text(session.get("database_session_id")),
        "session_type": text(session.get("session_type")),
        "agent_type": text(session.get("agent_type")),
        "model": text(session.get("model")),
        "user": text(session.get("user")),
        "query": text(agent.get("query")),
        "kwargs": mapping(agent.get("kwargs")),
        "parent_session_id": text(agent.get("parent_session_id")),
        "depth": whole(agent.get("depth")),
        "started_ns": started_ns,
        "ended_ns": ended_ns,
        "success": success,
        "outcome": outcome,
        "error_message": errors[0].message if errors and by_agent and success is False else None,
        "goals": [str(goal) for goal in items(manifest.get("goals"))],
        "key_findings": items(manifest.get("key_findings")),
        "recommendations": items(manifest.get("recommendations")),
        "errors": errors,
        "warnings": items(manifest.get("warnings")),
        "notes": text(results.get("notes")) or "",
        "user_context": context,
        "declared": _declared(manifest, session, results),
        "metadata": mapping(manifest.get("metadata")),
        "top_level_keys": list(manifest),
        "extra": {key: value for key, value in manifest.items() if key not in _KNOWN},
        "entity_links": _links(manifest.get("entity_links")),
        "decisions": _design_decisions(manifest.get("design_decisions")),
    }
    if not by_agent:  # an agent's are the types of its decisions, which its actions tell better
        summary = mapping(mapping(manifest.get("action_summary")).get("decisions"))
        found["decisions"] += key_decisions(items(summary.get("key_decisions")))
    return found


def _declared(manifest: Fields, session: Fields, results: Fields) -> parts.Declared:
    totals: dict[str, int] = {}
    for name, entry in mapping(manifest.get("action_summary")).items():
        total = whole(mapping(entry).get("total"))
        if total is not None:
            totals[name] = total
    minutes = number(session.get("duration_minutes"))
    return parts.Declared(
        actions=whole(results.get("actions_performed")),
        totals=totals,
        files_analyzed=whole(results.get("files_analyzed")),
        files_created=whole(results.get("files_created")),
        files_modified=whole(results.get("files_modified")),
        api_calls=whole(results.get("api_calls_made")),
        cache_hits=whole(results.get("cache_hits")),
        duration_ms=None if minutes is None else minutes * 60_000,
    )


def json_fields(manifest: Fields) -> Fields:
    """Return the fields of a session that its JSON manifest states."""
    session = mapping(manifest.get("session"))
    success, outcome = _success(session.get("success"))
    return {
        "database_session_id": text(session.get("session_id")),
        "agent_type": text(session.get("agent_type")),
        "query": text(session.get("query")),
        "kwargs": mapping(session.get("kwargs")),
        "parent_session_id": text(session.get("parent_session_id")),
        "depth": whole(session.get("depth")),
        "started_ns": time_ns(session.get("start_time")),
        "ended_ns": time_ns(session.get("end_time")),
        "success": success,
        "outcome": outcome,
        "error_message": text(session.get("error_message")),
        "result_summary": session.get("result_summary"),
        "environment": mapping(manifest.get("environment")) or mapping(session.get("environment")),
        "declared": parts.Declared(
            action_count=whole(session.get("action_count")),
            duration_ms=number(session.get("duration_ms")),
        ),
        "events": [
            parts.FolderEvent(
                id=text(event.get("event_id")),
                event_type=text(event.get("event_type")) or "",
                event_name=text(event.get("event_name")) or "",
                ts_ns=time_ns(event.get("timestamp")),
                number=whole(event.get("sequence_number")),
                details=mapping(event.get("details")),
            )
            for event in mappings(manifest.get("execution_trace"))
        ],
        "decisions": [_json_decision(one) for one in mappings(manifest.get("decisions"))],
        "tool_calls": [_json_call(one) for one in mappings(manifest.get("tool_calls"))],
        "transformations": [_json_change(o) for o in mappings(manifest.get("transformations"))],
        "entity_links": [
            parts.FolderLink(
                entity_table=text(link.get("entity_table")) or "",
                entity_id=text(link.get("entity_id")) or "",
                link_type=text(link.get("link_type")),
                ts_ns=time_ns(link.get("timestamp")),
            )
            for link in mappings(manifest.get("entity_links"))
        ],
    }


def _json_decision(said: Fields) -> parts.FolderDecision:
    return parts.FolderDecision(
        name=text(said.get("decision_type")) or text(said.get("decision_point")) or "decision",
        chosen=said.get("branch_taken"),
        alternatives=items(said.get("branches_available")),
        why=text(said.get("reason")) or "",
        point=text(said.get("decision_point")),
        inputs=mapping(said.get("input_values")),
        ts_ns=time_ns(said.get("timestamp")),
        id=text(said.get("decision_id")),
        origin="manifest.json",
        extra=_rest(
            said,
            "decision_type branch_taken branches_available reason decision_point input_values "
            "timestamp decision_id session_id",
        ),
    )


def _json_call(said: Fields) -> parts.FolderToolCall:
    cache_hit, success = said.get("cache_hit"), said.get("success")
    return parts.FolderToolCall(
        tool_name=text(said.get("tool_name")) or "",
        tool_type=text(said.get("tool_type")),
        id=text(said.get("call_id")),
        ts_ns=time_ns(said.get("call_time")),
        input=said.get("input_params"),
        output=said.get("output_data"),
        duration_ms=number(said.get("duration_ms")),
        cache_hit=cache_hit if isinstance(cache_hit, bool) else None,
        success=success if isinstance(success, bool) else None,
        error=text(said.get("error_message")),
        extra=_rest(
            said,
            "tool_name tool_type call_id call_time input_params output_data duration_ms cache_hit "
            "success error_message session_id",
        ),
    )


def _json_change(said: Fields) -> parts.FolderTransformation:
    return parts.FolderTransformation(
        name=text(said.get("transformation_name")) or "",
        transformation_type=text(said.get("transformation_type")),
        id=text(said.get("transformation_id")),
        method=text(said.get("method")),
        parameters=mapping(said.get("parameters")),
        input_schema=said.get("input_schema"),
        input_sample=said.get("input_sample"),
        output_schema=said.get("output_schema"),
        output_sample=said.get("output_sample"),
        ts_ns=time_ns(said.get("timestamp")),
        duration_ms=number(said.get("duration_ms")),
    )


def _rest(said: Fields, known: str) -> Fields:
    names = known.split()
    return {key: value for key, value in said.items() if key not in names}


def _success(said: Any) -> tuple[bool | None, str | None]:
    if said is None or isinstance(said, bool):
        return said, None
    return None, str(said)


def _error(item: Any) -> parts.FolderError:
    if not isinstance(item, dict):
        return parts.FolderError(message=str(item))
    said = cast("Fields", item)
    return parts.FolderError(
        message=text(said.get("message")) or text(said.get("error")) or "",
        resolution=text(said.get("resolution")),
        timestamp=text(said.get("timestamp")),
        structured=True,
        extra={key: value for key, value in said.items() if key not in _ERROR_KEYS},
    )


def _links(said: Any) -> list[parts.FolderLink]:
    """Return entities that are listed by table, as ids or as objects."""
    found: list[parts.FolderLink] = []
    for table, listed in mapping(said).items():
        for item in items(listed):
            one = mapping(item) or {"entity_id": item}
            entity = one.get("entity_id", one.get("id"))
            if entity is not None:
                link_type = text(one.get("link_type"))
                found.append(
                    parts.FolderLink(entity_table=table, entity_id=str(entity), link_type=link_type)
                )
    return found


def _design_decisions(said: Any) -> list[parts.FolderDecision]:
    found: list[parts.FolderDecision] = []
    for item in items(said):
        if not isinstance(item, dict):
            found.append(parts.FolderDecision(name=str(item), origin="design_decisions"))
            continue
        one = cast("Fields", item)
        found.append(
            parts.FolderDecision(
                name=text(one.get("decision")) or "decision",
                chosen=one.get("chosen"),
                alternatives=items(one.get("alternatives")),
                why=text(one.get("rationale")) or "",
                origin="design_decisions",
                extra={key: value for key, value in one.items() if key not in _DESIGN_KEYS},
            )
        )
    return found


def key_decisions(said: list[Any], origin: str = "key_decisions") -> list[parts.FolderDecision]:
    """Return decisions of a flat list in which `Decision:` and `Rationale:` take turns.

    A text that is neither is a decision without a reason. A rationale belongs to the decision
    before it, as do `Alternatives`, which are parted by commas.
    """
    found: list[parts.FolderDecision] = []
    for item in said:
        spoken = _SAID.fullmatch(item) if isinstance(item, str) else None
        kind = spoken[1].lower() if spoken else ""
        words = spoken[2].strip() if spoken else str(item)
        if kind in {"", "decision"}:
            found.append(parts.FolderDecision(name=_NAMELESS, chosen=words, origin=origin))
            continue
        if not found:
            found.append(parts.FolderDecision(name=_NAMELESS, origin=origin))
        last = found[-1]
        if kind == "rationale":
            why = f"{last.why}\n{words}".strip()
            found[-1] = msgspec.structs.replace(last, why=why)
        else:
            split = _COMMA.split(words) if len(words) <= _LONG_CHARS else words.split(",")
            listed = [part.strip() for part in split if part.strip()]
            found[-1] = msgspec.structs.replace(last, alternatives=[*last.alternatives, *listed])
    return found


def summary_decisions(summary: str) -> list[parts.FolderDecision]:
    """Return the decisions that a summary written by hand tells of in bold words."""
    said = [
        f"{match[1]}: {match[2]}"
        for line in summary.splitlines()
        if (match := _BOLD.fullmatch(line))
    ]
    return key_decisions(said, "summary.md")


def mapping(value: Any) -> Fields:
    """Return a mapping; an empty one for anything else."""
    return cast("Fields", value) if isinstance(value, dict) else {}


def items(value: Any) -> list[Any]:
    """Return a list; one of itself for a single value, an empty one for None."""
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def mappings(value: Any) -> list[Fields]:
    """Return the mappings among the items of a list."""
    return [cast("Fields", item) for item in items(value) if isinstance(item, dict)]


def text(value: Any) -> str | None:
    """Return a text or a number as text; None for anything else, and for an empty text."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return None


def whole(value: Any) -> int | None:
    """Return a whole number; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Any) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return value if value - value == 0 else None


def time_ns(value: Any) -> int | None:
    """Return a time as Unix nanoseconds; None for what is no time.

    A time without an offset is UTC: the original writer notes UTC, at times without its `Z`.
    """
    if not isinstance(value, str):
        return None
    try:
        return _clock.parse_ns(value)
    except (ValueError, OverflowError):
        return None
