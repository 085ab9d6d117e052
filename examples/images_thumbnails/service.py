"""An image service on loopback that speaks the Gemini API and draws what it is asked for.

It answers `generateContent` with a picture of the prompt, or, when the conversation holds a
picture already, with that one inverted. It lets no prompt in that names what its policy forbids,
takes a few requests at once and one more every while, and fails now and then.
"""

from __future__ import annotations

import base64
import http.server
import json
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from images_thumbnails import drawing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FORBIDDEN = re.compile(r"\b(exec|eval|debugger)\b", re.IGNORECASE)
"""What the policy lets no prompt ask for."""
AT_ONCE = 4
"""How many requests may come at once."""
REFILL_S = 0.05
"""After which time there may be one more, in seconds."""
FAULT_EVERY = 7
"""Every so many requests the service fails."""
_SIZES = {"16:9": (160, 90), "1:1": (96, 96), "9:16": (90, 160)}
_CHARS_PER_TOKEN = 4
_TOKENS_PER_IMAGE = 1290


class Service:
    """The state of the service: how much of its limit is left, and how often it was asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left = float(AT_ONCE)
        self._at_s = time.monotonic()
        self._asked = 0

    def answer(self, model: str, asked: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the status and the document that answer one request."""
        with self._lock:
            self._asked += 1
            number = self._asked
            now_s = time.monotonic()
            self._left = min(float(AT_ONCE), self._left + (now_s - self._at_s) / REFILL_S)
            self._at_s = now_s
            allowed = self._left >= 1
            self._left -= allowed
        if not allowed:
            retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "0.1s"}
            return _error(429, "RESOURCE_EXHAUSTED", "too many requests", [retry])
        if number % FAULT_EVERY == 0:
            return _error(503, "UNAVAILABLE", "the model is overloaded", [])
        return 200, generate(model, asked)


def generate(model: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the API's answer: a picture, or why there is none."""
    parts = [part for turn in asked["contents"] for part in turn["parts"]]
    prompt = asked["contents"][-1]["parts"][-1]["text"]
    usage = {"promptTokenCount": sum(len(p.get("text", "")) for p in parts) // _CHARS_PER_TOKEN}
    known = {"modelVersion": f"{model}-loopback", "usageMetadata": usage}
    if FORBIDDEN.search(prompt):
        return known | {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    config = asked["generationConfig"]
    earlier = [part["inlineData"]["data"] for part in parts if "inlineData" in part]
    if earlier:
        rows = drawing.invert(drawing.from_png(base64.urlsafe_b64decode(earlier[-1])))
    else:
        size = _SIZES.get(config["imageConfig"]["aspectRatio"], _SIZES["1:1"])
        rows = drawing.draw(prompt, config["seed"], *size)
    image = base64.b64encode(drawing.to_png(rows)).decode()
    usage["candidatesTokenCount"] = _TOKENS_PER_IMAGE
    content = {"role": "model", "parts": [{"inlineData": {"mimeType": "image/png", "data": image}}]}
    return known | {"candidates": [{"content": content, "finishReason": "STOP"}]}


def _error(
    code: int, status: str, message: str, details: list[dict[str, str]]
) -> tuple[int, dict[str, Any]]:
    said = {"code": code, "status": status, "message": message, "details": details}
    return code, {"error": said}


@contextmanager
def serving() -> Iterator[str]:
    """Serve on a free port of loopback and give the base URL for a client."""
    service = Service()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            model = self.path.rpartition("/")[2].partition(":")[0]
            status, document = service.answer(model, asked)
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
