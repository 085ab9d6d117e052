"""OpenAI's Responses API, and the providers that copy it.

A streamed answer ends with an event that holds the whole of it; where the stream is cut, the items
and texts that came are put together. Source: OpenAI API reference, "Responses" and "Streaming
events".
"""

from __future__ import annotations

from typing import Any

from whence.integrations.formats import base
from whence.integrations.formats.base import Fields, Json, mapping, mappings, text

_NOT_PARAMETERS = frozenset({"model", "input", "instructions"})
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_ONGOING = frozenset({"queued", "in_progress"})
_TEXT_DELTAS = {
    "response.output_text.delta": ("content", "output_text"),
    "response.refusal.delta": ("content", "refusal"),
    "response.reasoning_text.delta": ("content", "reasoning_text"),
    "response.reasoning_summary_text.delta": ("summary", "summary_text"),
}
_ARGUMENT_DELTAS = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}
_CALLS = frozenset({"function_call", "custom_tool_call"})


def asked(body: Json) -> Fields:
    """Return what a request says."""
    found: list[dict[str, Any]] = []
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    messages = base.with_bytes(items if isinstance(items, list) else [], found)
    if text(body.get("instructions")):
        messages = [{"role": "system", "content": body["instructions"]}, *messages]
    return {
        "messages": messages or None,
        "parameters": base.rest(body, _NOT_PARAMETERS),
        "media": found or None,
    }


def answered(body: Json) -> Fields:
    """Return what an answer says."""
    items = mappings(body.get("output"))
    found: list[dict[str, Any]] = []
    usage = body.get("usage")
    error = body.get("error")
    return {
        "response_id": text(body.get("id")),
        "response_model": text(body.get("model")),
        "finish_reason": finish_reason(body),
        "output": _said(items, found),
        "reasoning": _reasoning(items),
        "usage": usage,
        "cost_usd": base.cost_usd(usage),
        "media": found or None,
        "policy": _policy(body, items),
        "tool_calls": [_named(item) for item in items if text(item.get("type")) in _CALLS] or None,
        "citations": [
            note
            for item in items
            for part in mappings(item.get("content"))
            for note in mappings(part.get("annotations"))
        ]
        or None,
        "service_tier": text(body.get("service_tier")),
        "error": base.error_of(None, body) if error else None,
    }


def finish_reason(body: Json) -> str | None:
    """Return why an answer ended: its status, or what made it incomplete."""
    return text(mapping(body.get("incomplete_details")).get("reason")) or text(body.get("status"))


def is_ongoing(body: Json) -> bool:
    """Whether the provider still works on a response that was asked for in the background."""
    return text(body.get("status")) in _ONGOING


def _said(items: list[Json], found: list[dict[str, Any]]) -> Any:
    """Return the text of an answer, or its items if they are more than messages."""
    kept = [item for item in items if item.get("type") != "reasoning"]
    if not kept:
        return None
    if all(item.get("type") == "message" for item in kept):
        parts = [part for item in kept for part in mappings(item.get("content"))]
        if all(part.get("type") == "output_text" for part in parts):
            return "".join(text(part.get("text")) or "" for part in parts)
    return base.with_bytes(kept, found, "out")


def _reasoning(items: list[Json]) -> str | None:
    """Return the reasoning text, or else the summaries of it."""
    thoughts = [item for item in items if item.get("type") == "reasoning"]
    for field in ("content", "summary"):
        parts = [part for item in thoughts for part in mappings(item.get(field))]
        said = [text(part.get("text")) for part in parts]
        if any(said):
            return "\n\n".join(one for one in said if one)
    return None


def _policy(body: Json, items: list[Json]) -> dict[str, Any] | None:
    parts = [part for item in items for part in mappings(item.get("content"))]
    said = {
        "refusal": base.joined([part.get("refusal") for part in parts]),
        "moderation": body.get("moderation"),
        "content_filters": body.get("content_filters"),
    }
    return base.without_empty(said) or None


def _named(item: Json) -> dict[str, Any]:
    return base.without_empty({"id": item.get("call_id"), "name": item.get("name")})


class Events:
    """Gathers the events of a streamed response."""

    def __init__(self) -> None:
        self._response: dict[str, Any] = {}
        self._items: dict[int, dict[str, Any]] = {}
        self._texts: dict[tuple[int, str, int, str], list[str]] = {}
        self._arguments: dict[tuple[int, str], list[str]] = {}
        self._error: Any = None
        self._ended: dict[str, Any] | None = None

    @property
    def finished(self) -> bool:
        """Whether the provider said that the answer is complete."""
        return self._ended is not None

    def add(self, event: Json) -> None:
        """Take one event."""
        kind = text(event.get("type"))
        place = base.place(event.get("output_index"))
        if kind in _TERMINAL:
            self._ended = dict(mapping(event.get("response")))
        elif kind in _TEXT_DELTAS:
            field, part = _TEXT_DELTAS[kind]
            index = base.place(
                event.get("summary_index" if field == "summary" else "content_index")
            )
            delta = text(event.get("delta"))
            self._texts.setdefault((place, field, index, part), []).append(delta or "")
        elif kind in _ARGUMENT_DELTAS:
            delta = text(event.get("delta"))
            self._arguments.setdefault((place, _ARGUMENT_DELTAS[kind]), []).append(delta or "")
        elif kind in {"response.output_item.added", "response.output_item.done"}:
            self._items[place] = dict(mapping(event.get("item")))
        elif kind == "error" or (kind is None and event.get("error")):
            self._error = event.get("error") or {
                "type": event.get("code") or "error",
                "message": event.get("message"),
            }
        elif "response" in event:
            self._response.update(mapping(event["response"]))

    def body(self) -> dict[str, Any]:
        """Return the response, or as much of it as came."""
        body = self._ended if self._ended is not None else self._so_far()
        if self._ended is not None and not self._ended.get("output"):
            # Gateways and OpenAI's own for Codex leave out of the last event what came before.
            body = {**body, "output": self._so_far().get("output", [])}
        return {**body, "error": self._error} if self._error else body

    def _so_far(self) -> dict[str, Any]:
        items = {place: dict(item) for place, item in self._items.items()}
        for (place, field, _, part), pieces in self._texts.items():
            item = items.setdefault(place, {"type": "message"})
            if item.get("status") != "completed" or not item.get(field):
                whole = {"type": part, "refusal" if part == "refusal" else "text": "".join(pieces)}
                item[field] = [*mappings(item.get(field)), whole]
        for (place, field), pieces in self._arguments.items():
            item = items.setdefault(place, {})
            if not item.get(field):
                item[field] = "".join(pieces)
        if not items and not self._response:
            return {}
        return {**self._response, "output": list(items.values())}


RESPONSES = base.Form("chat", asked, answered, Events, ends=True)
COMPACT = base.Form("compact", asked, answered)
