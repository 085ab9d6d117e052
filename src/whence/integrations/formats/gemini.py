"""Gemini's API, at Google AI and Vertex: content, embeddings, images.

Field names are written in camel case by the services and in snake case by some proxies; both are
read. Source: Gemini API reference, "generateContent", "embedContent" and Vertex "predict".
"""

from __future__ import annotations

from typing import Any, cast

from whence.integrations.formats import base
from whence.integrations.formats.base import Fields, Json, mapping, mappings, text

_NOT_PARAMETERS = frozenset(
    {"model", "contents", "systemInstruction", "system_instruction", "content", "requests"}
)


def either(given: Json, camel: str) -> Any:
    """Return a field by its name in camel case, or else in snake case."""
    value = given.get(camel)
    if value is not None:
        return value
    snake = "".join(f"_{char.lower()}" if char.isupper() else char for char in camel)
    return given.get(snake)


def asked(body: Json) -> Fields:
    """Return what a request says."""
    found: list[dict[str, Any]] = []
    messages = base.with_bytes(body.get("contents"), found)
    system = either(body, "systemInstruction")
    if system and isinstance(messages, list):
        said = mapping(base.with_bytes(system, found)) or {"parts": [{"text": system}]}
        messages = [{**said, "role": "system"}, *cast("list[Any]", messages)]
    return {
        "messages": messages,
        "parameters": base.rest(body, _NOT_PARAMETERS),
        "seed": mapping(either(body, "generationConfig")).get("seed"),
        "media": found or None,
    }


def answered(body: Json) -> Fields:
    """Return what an answer says."""
    candidates = mappings(body.get("candidates"))
    found: list[dict[str, Any]] = []
    parts = [mappings(mapping(one.get("content")).get("parts")) for one in candidates]
    outputs = [_said(own, found) for own in parts]
    thoughts = [text(part.get("text")) for own in parts for part in own if part.get("thought")]
    blocked = text(either(mapping(either(body, "promptFeedback")), "blockReason"))
    reasons = [either(one, "finishReason") for one in candidates]
    if blocked:
        reasons.append(f"blocked:{blocked}")
    return {
        "response_id": text(either(body, "responseId")),
        "response_model": text(either(body, "modelVersion")),
        "finish_reason": base.joined(reasons),
        "output": outputs[0] if len(outputs) == 1 else outputs or None,
        "reasoning": "".join(one for one in thoughts if one) or None,
        "usage": _usage(body),
        "media": found or None,
        "policy": _policy(body, candidates),
        "tool_calls": [_named(call) for own in parts for call in _calls(own)] or None,
        "citations": [
            dict(said)
            for one in candidates
            for name in ("groundingMetadata", "citationMetadata", "urlContextMetadata")
            if (said := mapping(either(one, name)))
        ]
        or None,
        "error": base.error_of(None, body) if body.get("error") else None,
    }


def _usage(body: Json) -> Any:
    """Return the usage if it states a count: a blocked answer names only a kind of traffic."""
    usage = either(body, "usageMetadata")
    stated = mapping(usage)
    return usage if any("oken" in key for key in stated) else None


def _said(parts: list[Json], found: list[dict[str, Any]]) -> Any:
    """Return the text of a candidate, or its parts if they are more than text."""
    kept = [
        {key: value for key, value in part.items() if key != "thoughtSignature"}
        for part in parts
        if not part.get("thought")
    ]
    kept = [part for part in kept if part]
    if not kept:
        return None
    if all(part.keys() == {"text"} for part in kept):
        return "".join(text(part["text"]) or "" for part in kept)
    return base.with_bytes(kept, found, "out")


def _calls(parts: list[Json]) -> list[Json]:
    return [call for part in parts if (call := mapping(either(part, "functionCall")))]


def _named(call: Json) -> dict[str, Any]:
    return base.without_empty({"id": call.get("id"), "name": call.get("name")})


def _policy(body: Json, candidates: list[Json]) -> dict[str, Any] | None:
    ratings = [either(one, "safetyRatings") for one in candidates]
    said = {
        "prompt_feedback": either(body, "promptFeedback"),
        "safety_ratings": [one for one in ratings if one],
        "finish_message": base.joined([either(one, "finishMessage") for one in candidates]),
    }
    return base.without_empty(said) or None


class Chunks:
    """Gathers the chunks of streamed content."""

    def __init__(self) -> None:
        self._said: dict[str, Any] = {}
        self._candidates: dict[int, dict[str, Any]] = {}
        self._parts: dict[int, list[Json]] = {}
        self.finished = False

    def add(self, event: Json) -> None:
        """Take one chunk."""
        for key, value in event.items():
            if key != "candidates" and value is not None:
                self._said[key] = value
        for candidate in mappings(event.get("candidates")):
            at = base.place(candidate.get("index"))
            parts = mappings(mapping(candidate.get("content")).get("parts"))
            self._parts.setdefault(at, []).extend(parts)
            others = {key: value for key, value in candidate.items() if key != "content"}
            self._candidates.setdefault(at, {}).update(others)
            if either(candidate, "finishReason"):
                self.finished = True
        if either(mapping(either(event, "promptFeedback")), "blockReason"):
            self.finished = True

    def body(self) -> dict[str, Any]:
        """Return the content so far."""
        if not self._said and not self._candidates:
            return {}
        made = [
            {**others, "content": {"parts": _joined(self._parts[at]), "role": "model"}}
            for at, others in self._candidates.items()
        ]
        return {**self._said, "candidates": made}


def _joined(parts: list[Json]) -> list[dict[str, Any]]:
    """Return parts with neighbouring pieces of text made one."""
    made: list[dict[str, Any]] = []
    texts: list[str] = []
    for part in parts:
        piece = part.get("text")
        same = bool(made) and made[-1].get("thought") == part.get("thought")
        if isinstance(piece, str) and texts and same:
            texts.append(piece)
            made[-1].update({key: value for key, value in part.items() if key != "text"})
            made[-1]["text"] = texts
        else:
            texts = [piece] if isinstance(piece, str) else []
            made.append(dict(part))
    for part in made:
        if isinstance(part.get("text"), list):
            part["text"] = "".join(cast("list[str]", part["text"]))
    return made


def _asked_embedding(body: Json) -> Fields:
    inner = mappings(body.get("requests"))
    contents = [one.get("content") for one in inner] or [body.get("content")]
    instances = mappings(body.get("instances"))
    said = [one for one in contents if one] or [dict(one) for one in instances]
    return {
        "messages": said or None,
        "parameters": base.rest(body, _NOT_PARAMETERS | {"instances"}),
    }


def _answered_embedding(body: Json) -> Fields:
    listed = mappings(body.get("embeddings")) or mappings(body.get("predictions"))
    single = [mapping(body.get("embedding"))] if body.get("embedding") else []
    vectors = [one.get("values") or mapping(one.get("embeddings")).get("values") for one in listed]
    vectors += [one.get("values") for one in single]
    sizes = [len(cast("list[Any]", one)) for one in vectors if isinstance(one, list)]
    return {
        "usage": _usage(body) or body.get("metadata"),
        "output": base.without_empty(
            {"vectors": len(sizes), "dimensions": sizes[0] if sizes else None}
        ),
    }


def _asked_prediction(body: Json) -> Fields:
    found: list[dict[str, Any]] = []
    said = base.with_bytes(mappings(body.get("instances")), found)
    return {
        "messages": said or None,
        "parameters": dict(mapping(body.get("parameters"))) or None,
        "media": found or None,
    }


def _answered_prediction(body: Json) -> Fields:
    found: list[dict[str, Any]] = []
    predictions = mappings(body.get("predictions"))
    output = base.with_bytes(predictions, found, "out")
    reasons = [one.get("raiFilteredReason") for one in predictions]
    said = base.joined(reasons)
    return {
        "output": output or None,
        "media": found or None,
        "policy": {"filtered": said} if said else None,
    }


CONTENT = base.Form("chat", asked, answered, Chunks)
EMBEDDING = base.Form("embeddings", _asked_embedding, _answered_embedding)
PREDICTION = base.Form("image", _asked_prediction, _answered_prediction)
