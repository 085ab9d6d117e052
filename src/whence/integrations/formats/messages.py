"""Anthropic's Messages API, at Anthropic, Bedrock and Vertex.

Source: Anthropic API reference, "Messages" and "Streaming messages".
"""

from __future__ import annotations

from typing import Any, cast

from whence.integrations.formats import base
from whence.integrations.formats.base import Fields, Json, mapping, mappings, text
from whence.integrations.formats.chat import Pieces, joined_pieces

_NOT_PARAMETERS = frozenset({"model", "messages", "system"})
_THOUGHTS = frozenset({"thinking", "redacted_thinking"})
_DELTAS = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "input",
    "compaction_delta": "content",
}


def asked(body: Json) -> Fields:
    """Return what a request says."""
    found: list[dict[str, Any]] = []
    messages = base.with_bytes(body.get("messages"), found)
    if body.get("system") and isinstance(messages, list):
        system = base.with_bytes(body["system"], found)
        messages = [{"role": "system", "content": system}, *cast("list[Any]", messages)]
    return {
        "messages": messages,
        "parameters": base.rest(body, _NOT_PARAMETERS),
        "media": found or None,
    }


def answered(body: Json) -> Fields:
    """Return what an answer says."""
    blocks = mappings(body.get("content"))
    found: list[dict[str, Any]] = []
    thoughts = [
        text(block.get("thinking")) for block in blocks if text(block.get("type")) in _THOUGHTS
    ]
    reason = text(body.get("stop_reason"))
    details = base.without_empty(mapping(body.get("stop_details")))
    usage = mapping(body.get("usage"))
    return {
        "response_id": text(body.get("id")),
        "response_model": text(body.get("model")),
        "finish_reason": reason,
        "output": _said(blocks, found),
        "reasoning": "\n\n".join(one for one in thoughts if one) or None,
        "usage": body.get("usage"),
        "media": found or None,
        "policy": {"refused": True, **details} if reason == "refusal" else None,
        "tool_calls": [
            base.without_empty({"id": block.get("id"), "name": block.get("name")})
            for block in blocks
            if block.get("type") == "tool_use"
        ]
        or None,
        "citations": [note for block in blocks for note in mappings(block.get("citations"))]
        or None,
        "service_tier": text(usage.get("service_tier")),
        "error": base.error_of(None, body) if body.get("error") else None,
    }


def _said(blocks: list[Json], found: list[dict[str, Any]]) -> Any:
    """Return the text of an answer, or its blocks if they are more than text."""
    kept = [block for block in blocks if text(block.get("type")) not in _THOUGHTS]
    if not kept:
        return None
    if all(block.get("type") == "text" for block in kept):
        return "".join(text(block.get("text")) or "" for block in kept)
    return base.with_bytes(kept, found, "out")


class Events:
    """Gathers the events of a streamed message."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, Any] = {}
        self._error: Any = None
        self.finished = False

    def add(self, event: Json) -> None:
        """Take one event."""
        match event.get("type"):
            case "message_start":
                message = mapping(event.get("message"))
                self._message = dict(message)
                self._usage = dict(mapping(message.get("usage")))
            case "content_block_start":
                self._blocks[base.place(event.get("index"))] = dict(
                    mapping(event.get("content_block"))
                )
            case "content_block_delta":
                self._add_delta(event)
            case "message_delta":
                self._message.update(base.without_empty(mapping(event.get("delta"))))
                # Counts are cumulative, and those that are not repeated still hold.
                told = mapping(event.get("usage")).items()
                self._usage.update({key: value for key, value in told if value is not None})
            case "message_stop":
                self.finished = True
            case "error":
                self._error = event.get("error")
            case _:
                return

    def _add_delta(self, event: Json) -> None:
        block = self._blocks.setdefault(base.place(event.get("index")), {})
        delta = mapping(event.get("delta"))
        kind = text(delta.get("type"))
        if kind == "citations_delta":
            block["citations"] = [*mappings(block.get("citations")), delta.get("citation")]
        elif kind in _DELTAS:
            name = _DELTAS[kind]
            piece = delta.get("partial_json" if kind == "input_json_delta" else name)
            before = block.get(name)
            if not isinstance(before, Pieces):
                before = block[name] = Pieces([before] if isinstance(before, str) else [])
            before.append(text(piece) or "")

    def body(self) -> dict[str, Any]:
        """Return the message so far."""
        if not self._message and not self._blocks and not self._error:
            return {}
        blocks = [_whole(block) for block in self._blocks.values()]
        made = {**self._message, "content": blocks, "usage": self._usage or None}
        return {**made, "error": self._error} if self._error else made


def _whole(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block with its pieces joined, and the input of a tool as data if it is whole."""
    made: dict[str, Any] = joined_pieces(block)
    if isinstance(block.get("input"), Pieces):
        made["input"] = base.data_of(made["input"])
    return made


MESSAGES = base.Form("chat", asked, answered, Events, ends=True)
