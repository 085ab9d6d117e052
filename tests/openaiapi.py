"""A server on loopback that speaks OpenAI's two APIs; each request is kept for the test to look at.

It answers `/v1/chat/completions` and `/v1/responses` with what a test scripts, either replies in
order or a function of the request.
"""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CORPUS = Path("corpora", "provider-http", "openai.jsonl")


class Asked(NamedTuple):
    """What the server was asked."""

    path: str
    headers: dict[str, str]
    """By name in lower case."""
    body: dict[str, Any]


class Reply(NamedTuple):
    """What the server answers."""

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()


class Api:
    """Answers with the scripted replies, one a request, and with the last one from then on."""

    def __init__(self, replies: tuple[Any, ...], answer: Callable[[Asked], Any] | None) -> None:
        self.replies = replies
        self.answer = answer
        self.asked: list[Asked] = []
        self.url = ""
        self._lock = threading.Lock()

    def take(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            number = len(self.asked)
        scripted = self.replies[min(number, len(self.replies)) - 1] if self.replies else None
        given = self.answer(asked) if self.answer else scripted
        return given if isinstance(given, Reply) else Reply(200, given)


@contextmanager
def serving(*replies: Any, answer: Callable[[Asked], Any] | None = None) -> Iterator[Api]:
    """Serve replies (bodies, or `Reply`s) on loopback; `url` is the base URL for a client."""
    api = Api(replies, answer)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = api.take(Asked(self.path, headers, body))
            text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
            content = text.encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in reply.headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Be quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.005,), daemon=True)
        thread.start()
        api.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()


def chat_body(content: str | None = "Salut.", **more: Any) -> dict[str, Any]:
    """Return an answer of Chat Completions, in the shape of its reference; `more` replaces keys."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": content, "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 150, "completion_tokens": 75, "total_tokens": 225},
    } | more


def responses_body(
    content: str = "Je suis allé.", *summaries: str, reasoning: int | None = 500, **more: Any
) -> dict[str, Any]:
    """Return an answer of the Responses API with reasoning, in the shape of its reference."""
    thought = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text} for text in summaries],
    }
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": content, "annotations": []}],
    }
    stated = {"output_tokens_details": {"reasoning_tokens": reasoning}}
    details = {} if reasoning is None else stated
    return {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "model": "gpt-5-nano-2025-08-07",
        "output": [thought, message],
        "usage": {
            "input_tokens": 150,
            "input_tokens_details": {"cached_tokens": 100},
            "output_tokens": 575,
            "total_tokens": 725,
            **details,
        },
    } | more


def recorded_exchanges() -> list[dict[str, Any]]:
    """Return the recorded exchanges in the collection beside the project; none where it is not."""
    for folder in Path(__file__).resolve().parents:
        path = folder / "shared" / CORPUS
        if path.is_file():
            return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return []
