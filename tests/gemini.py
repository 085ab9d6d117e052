"""A server on loopback that speaks the Gemini API, and images that are really made.

It answers `generateContent` with what a test scripts, in the shape of the API's reference; each
request is kept for the test to look at.
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING, Any

import loopback
from loopback import Answer, Repeating

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from loopback import Asked


def png(width: int = 8, height: int = 8, colour: tuple[int, int, int] = (200, 40, 40)) -> bytes:
    """Return a PNG of one colour (ISO/IEC 15948: signature, IHDR, IDAT, IEND)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    rows = (b"\0" + bytes(colour) * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def image_reply(image: bytes, **more: Any) -> Answer:
    """Return the answer that brings `image`; `more` is put into its body."""
    part = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(image).decode()}}
    usage = {
        "promptTokenCount": 9,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 9}],
        "candidatesTokenCount": 1290,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
        "totalTokenCount": 1299,
        "serviceTier": "standard",
    }
    body = {
        "candidates": [
            {"content": {"role": "model", "parts": [part]}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": usage,
        "modelVersion": "gemini-3-pro-image-preview-11-2025",
        "responseId": "k0lDaayLFJLF8eEP",
    }
    return Answer(body | more)


def refusal_reply(reason: str = "IMAGE_SAFETY") -> Answer:
    """Return the answer of a policy that lets no image out."""
    rating = {"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}
    candidate = {
        "content": {},
        "finishReason": reason,
        "finishMessage": "the image shows what it must not",
        "safetyRatings": [rating],
    }
    usage = {"promptTokenCount": 9, "totalTokenCount": 9}
    return Answer({"candidates": [candidate], "usageMetadata": usage, "responseId": "r-refused"})


def blocked_reply(reason: str = "PROHIBITED_CONTENT") -> Answer:
    """Return the answer of a policy that lets the prompt not in."""
    return Answer({"promptFeedback": {"blockReason": reason}})


def error_reply(code: int, status: str, message: str, *details: dict[str, Any]) -> Answer:
    """Return an error of the API (google.rpc.Status in JSON)."""
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return Answer({"error": error}, code)


def rate_limit_reply(delay: str | None = None) -> Answer:
    """Return the answer to one request too many, with when to come back if `delay` says so."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    return error_reply(429, "RESOURCE_EXHAUSTED", "quota exceeded", *([info] if delay else []))


def sent_images(asked: Asked) -> list[bytes]:
    """Return every image that was sent, in order."""
    parts = [part for turn in asked.body["contents"] for part in turn["parts"]]
    return [base64.urlsafe_b64decode(p["inlineData"]["data"]) for p in parts if "inlineData" in p]


def serving(*answers: Answer) -> AbstractContextManager[Repeating]:
    """Serve answers on loopback; `url` is the base URL to give to a client."""
    return loopback.serving(Repeating(*answers))
