"""OpenAI's other calls: embeddings, images, speech, transcriptions, moderations, decisions.

Source: OpenAI API reference, the section of each.
"""

from __future__ import annotations

from typing import Any, cast

from whence.integrations.formats import base
from whence.integrations.formats.base import Fields, Json, mappings, text

_NOT_PARAMETERS = frozenset({"model", "input", "prompt", "image", "mask", "file"})
_MOST_SOUND_BYTES = 32 << 20


def _asked_input(body: Json) -> Fields:
    given = body.get("input")
    if given is None:
        given = body.get("prompt")
    found: list[dict[str, Any]] = []
    said = base.with_bytes(given, found)
    return {
        "messages": None if said is None else [{"role": "user", "content": said}],
        "parameters": base.rest(body, _NOT_PARAMETERS),
        "media": found or None,
    }


def _answered_embeddings(body: Json) -> Fields:
    vectors = [one.get("embedding") for one in mappings(body.get("data"))]
    sizes = [len(cast("list[Any]", one)) for one in vectors if isinstance(one, list)]
    said = {"vectors": len(vectors), "dimensions": sizes[0] if sizes else None}
    return {**_answered(body), "output": base.without_empty(said)}


def _answered_images(body: Json) -> Fields:
    found: list[dict[str, Any]] = []
    images = base.with_bytes(mappings(body.get("data")), found, "out")
    return {**_answered(body), "output": images or None, "media": found or None}


def _answered_text(body: Json) -> Fields:
    return {**_answered(body), "output": body.get("text")}


def _answered_moderation(body: Json) -> Fields:
    results = body.get("results")
    flagged = any(one.get("flagged") for one in mappings(results))
    return {**_answered(body), "output": results, "policy": {"flagged": flagged}}


def _answered_decision(body: Json) -> Fields:
    return {**_answered(body), "output": body.get("answers") or body.get("output")}


def _answered(body: Json) -> Fields:
    return {
        "response_id": text(body.get("id")),
        "response_model": text(body.get("model")),
        "usage": body.get("usage"),
        "cost_usd": base.cost_usd(body.get("usage")),
    }


def _heard(content: bytes, content_type: str) -> Fields:
    """Return spoken audio as media, or a transcription that came as plain text."""
    if content_type.startswith("text/"):
        return {"output": content.decode("utf-8", "replace")}
    kind = content_type.partition(";")[0].strip() or None
    if len(content) > _MOST_SOUND_BYTES:
        return {"output": {"mime_type": kind, "size_bytes": len(content)}}
    return {"media": [base.media(content, kind, "out")]}


class Parts:
    """Gathers the events of a streamed image, transcription or speech; the last holds the whole."""

    def __init__(self) -> None:
        self._ended: dict[str, Any] = {}
        self._texts: list[str] = []
        self.finished = False

    def add(self, event: Json) -> None:
        """Take one event."""
        kind = str(event.get("type"))
        if kind.endswith((".completed", ".done")):
            self._ended = dict(event)
            self.finished = True
        elif kind.endswith("text.delta"):
            self._texts.append(text(event.get("delta")) or "")

    def body(self) -> dict[str, Any]:
        """Return what came so far."""
        said = "".join(self._texts)
        body = {"text": said, **self._ended} if said or self._ended else {}
        if "b64_json" in body:
            image = {key: body[key] for key in ("b64_json", "output_format") if key in body}
            body["data"] = [image]
        return body


EMBEDDINGS = base.Form("embeddings", _asked_input, _answered_embeddings)
IMAGES = base.Form("image", _asked_input, _answered_images, Parts)
SPEECH = base.Form("speech", _asked_input, _answered_text, Parts, _heard)
TRANSCRIPTION = base.Form("transcription", _asked_input, _answered_text, Parts, _heard)
MODERATION = base.Form("moderation", _asked_input, _answered_moderation)
DECISION = base.Form("decision", _asked_input, _answered_decision)
