"""Gemini's Interactions API: steps of a model or an agent, each a thought, a call or an output.

Source: Gemini API reference, "Interactions".
"""

from __future__ import annotations

from typing import Any

from whence.integrations.formats import base
from whence.integrations.formats.base import Fields, Json, mapping, mappings, text

_NOT_PARAMETERS = frozenset({"model", "agent", "input", "system_instruction"})


def _asked(body: Json) -> Fields:
    found: list[dict[str, Any]] = []
    given = body.get("input")
    said: list[Any] = [*base.items(given)] if isinstance(given, list) else [given]
    messages = [
        base.with_bytes(one, found)
        if not isinstance(one, str)
        else {"role": "user", "content": one}
        for one in said
        if one is not None
    ]
    if text(body.get("system_instruction")):
        messages = [{"role": "system", "content": body["system_instruction"]}, *messages]
    return {
        "messages": messages or None,
        "parameters": base.rest(body, _NOT_PARAMETERS),
        "agent": text(body.get("agent")),
        "media": found or None,
    }


def _answered(body: Json) -> Fields:
    steps = mappings(body.get("steps"))
    found: list[dict[str, Any]] = []
    said = [part for step in steps for part in mappings(step.get("content"))]
    told = [part for step in steps for part in mappings(step.get("summary"))]
    called = [step for step in steps if step.get("type") == "function_call"]
    kept = [step for step in steps if step.get("type") != "thought"]
    output: Any = base.with_bytes(kept, found, "out") or None
    if kept and all(step.get("type") == "model_output" for step in kept) and not found:
        output = "".join(text(part.get("text")) or "" for part in said)
    return {
        "response_id": text(body.get("id")),
        "response_model": text(body.get("model")),
        "finish_reason": text(body.get("status")),
        "output": output,
        "reasoning": "".join(text(part.get("text")) or "" for part in told) or None,
        "usage": body.get("usage"),
        "media": found or None,
        "tool_calls": [
            base.without_empty({"id": step.get("id"), "name": step.get("name")}) for step in called
        ]
        or None,
        "error": base.error_of(None, body) if body.get("error") else None,
    }


class Events:
    """Gathers the events of a streamed interaction."""

    def __init__(self) -> None:
        self._said: dict[str, Any] = {}
        self._steps: dict[int, dict[str, Any]] = {}
        self._texts: dict[tuple[int, str], list[str]] = {}
        self.finished = False

    def add(self, event: Json) -> None:
        """Take one event."""
        kind = event.get("event_type") or event.get("type")
        place = base.place(event.get("index"))
        if "interaction" in event:
            self._said.update(base.without_empty(mapping(event["interaction"])))
            self.finished = kind == "interaction.completed"
        elif kind == "step.start":
            self._steps[place] = dict(mapping(event.get("step")))
        elif kind == "step.delta":
            delta = mapping(event.get("delta"))
            inner = mapping(delta.get("content"))
            piece = text(delta.get("text")) or text(inner.get("text"))
            field = "summary" if delta.get("type") == "thought_summary" else "content"
            if piece:
                self._texts.setdefault((place, field), []).append(piece)
        elif kind == "error":
            self._said["error"] = event.get("error")
        else:
            self._said.update(
                {key: event[key] for key in ("status", "usage") if event.get(key) is not None}
            )

    def body(self) -> dict[str, Any]:
        """Return the interaction so far."""
        if self._said.get("steps"):
            return self._said
        steps = {place: dict(step) for place, step in self._steps.items()}
        for (place, field), pieces in self._texts.items():
            step = steps.setdefault(place, {"type": "model_output"})
            before = mappings(step.get(field))
            step[field] = [*before, {"type": "text", "text": "".join(pieces)}]
        return {**self._said, "steps": list(steps.values())} if self._said or steps else {}


INTERACTION = base.Form("chat", _asked, _answered, Events)
