"""A server on loopback that speaks the Gemini API, and images that are really made.

It answers `generateContent` with what a test scripts, in the shape of the API's reference; each
request is kept for the test to look at.
"""

from __future__ import annotations

import base64
import http.server
import json
import struct
import threading
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Reply(NamedTuple):
    """What the server answers to one request."""

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0


class Received(NamedTuple):
    """What the server was asked."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    def images(self) -> list[bytes]:
        """Return every image that was sent, in order."""
        parts = [part for turn in self.body["contents"] for part in turn["parts"]]
        return [
            base64.urlsafe_b64decode(p["inlineData"]["data"]) for p in parts if "inlineData" in p
        ]


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


def image_reply(image: bytes, **more: Any) -> Reply:
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
    return Reply(200, body | more)


def refusal_reply(reason: str = "IMAGE_SAFETY") -> Reply:
    """Return the answer of a policy that lets no image out."""
    rating = {"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH", "blocked": True}
    candidate = {
        "content": {},
        "finishReason": reason,
        "finishMessage": "the image shows what it must not",
        "safetyRatings": [rating],
    }
    usage = {"promptTokenCount": 9, "totalTokenCount": 9}
    return Reply(
        200, {"candidates": [candidate], "usageMetadata": usage, "responseId": "r-refused"}
    )


def blocked_reply(reason: str = "PROHIBITED_CONTENT") -> Reply:
    """Return the answer of a policy that lets the prompt not in."""
    return Reply(200, {"promptFeedback": {"blockReason": reason}})


def error_reply(code: int, status: str, message: str, *details: dict[str, Any]) -> Reply:
    """Return an error of the API (google.rpc.Status in JSON)."""
    error = {"code": code, "message": message, "status": status, "details": list(details)}
    return Reply(code, {"error": error})


def rate_limit_reply(delay: str | None = None) -> Reply:
    """Return the answer to one request too many, with when to come back if `delay` says so."""
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}
    return error_reply(429, "RESOURCE_EXHAUSTED", "quota exceeded", *([info] if delay else []))


class GeminiServer:
    """Answers with the scripted replies, one a request, and with the last one from then on."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.received: list[Received] = []
        self.url = ""
        self._lock = threading.Lock()

    def take(self, received: Received) -> Reply:
        """Keep what was asked and return what to answer."""
        with self._lock:
            self.received.append(received)
            return self.replies[min(len(self.received), len(self.replies)) - 1]


@contextmanager
def serving(*replies: Reply) -> Iterator[GeminiServer]:
    """Serve the replies on loopback; `url` is the base URL to give to a client."""
    script = GeminiServer(*replies)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = script.take(Received(self.path, dict(self.headers), asked))
            time.sleep(reply.delay_s)
            body = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            content = body.encode()
            try:
                self.send_response(reply.status)
                self.send_header("Content-Type", "application/json; charset=UTF-8")
                self.send_header("Content-Length", str(len(content)))
                for name, value in reply.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # the client did not wait

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
