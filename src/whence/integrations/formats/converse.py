"""Amazon Bedrock's Converse API. Source: Bedrock API reference, "Converse" and "ConverseStream"."""

from __future__ import annotations

from typing import Any

from whence.integrations.formats import base
from whence.integrations.formats.base import Fields, Json, mapping, mappings, text

_NOT_PARAMETERS = frozenset({"model", "messages", "system"})


def _asked(body: Json) -> Fields:
    system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
    return {
        "messages": [*system, *mappings(body.get("messages"))] or None,
        "parameters": base.rest(body, _NOT_PARAMETERS),
    }


def _answered(body: Json) -> Fields:
    blocks = mappings(mapping(mapping(body.get("output")).get("message")).get("content"))
    thoughts = [mapping(mapping(b.get("reasoningContent")).get("reasoningText")) for b in blocks]
    kept: list[Json] = [block for block in blocks if "reasoningContent" not in block]
    said: Any = [dict(block) for block in kept]
    if kept and all(list(block) == ["text"] for block in kept):
        said = "".join(text(block["text"]) or "" for block in kept)
    calls = [mapping(block.get("toolUse")) for block in kept if "toolUse" in block]
    return {
        "finish_reason": text(body.get("stopReason")),
        "output": said or None,
        "reasoning": "".join(text(one.get("text")) or "" for one in thoughts) or None,
        "usage": body.get("usage"),
        "tool_calls": [
            base.without_empty({"id": call.get("toolUseId"), "name": call.get("name")})
            for call in calls
        ]
        or None,
    }


CONVERSE = base.Form("chat", _asked, _answered)
