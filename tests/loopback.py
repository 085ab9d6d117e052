"""A server on loopback that answers what a test scripts, for the real client libraries to talk to.

Answers are given out in order; each request is kept. An answer may come in pieces, be cut off, or
be compressed, as a provider's would.
"""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SSE = "text/event-stream; charset=utf-8"


class Answer(NamedTuple):
    """What the server says to one request."""

    body: Any
    """JSON-ready data, a text of a stream, or bytes."""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    kind: str = ""
    """The content type; by the body if empty."""
    packed: bool = False
    """Whether it is compressed."""
    cut_after: int | None = None
    """After how many bytes the connection breaks."""
    wait: threading.Event | None = None
    """What to wait for after the first event of a stream."""


class Asked(NamedTuple):
    """What the server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


class Provider:
    """The running server."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []

    def will_say(self, *answers: Answer | Any) -> None:
        """Script the next answers; what is no Answer is the body of one."""
        self.answers += [one if isinstance(one, Answer) else Answer(one) for one in answers]


def events(*said: Any, end: bool = False) -> str:
    """Return a stream of events whose data are the given objects."""
    text = "".join(f"data: {json.dumps(one)}\n\n" for one in said)
    return text + "data: [DONE]\n\n" if end else text


def named_events(*said: dict[str, Any]) -> str:
    """Return a stream of events that are named after their type."""
    return "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in said)


@contextmanager
def provider() -> Iterator[Provider]:
    """Run the server."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.provider = Provider(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        content = self.rfile.read(length)
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            content = self._unchunked()
        place = self.server.provider
        headers = {key.lower(): value for key, value in self.headers.items()}
        place.asked.append(Asked(self.command, self.path, headers, content))
        if not place.answers:
            self._send(Answer({"error": {"message": "nothing was scripted"}}, 418))
            return
        self._send(place.answers.pop(0))

    do_POST = do_GET = do_DELETE = _answer  # noqa: N815 - the names are those of the base class

    def _unchunked(self) -> bytes:
        made = b""
        while size := int(self.rfile.readline(), 16):
            made += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return made

    def _send(self, answer: Answer) -> None:
        body, kind = answer.body, answer.kind
        if isinstance(body, str):
            content, kind = body.encode(), kind or SSE
        elif isinstance(body, bytes):
            content, kind = body, kind or "application/octet-stream"
        else:
            content, kind = json.dumps(body).encode(), kind or "application/json"
        if answer.packed:
            content = gzip.compress(content)
        self.send_response(answer.status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(content)))
        if answer.packed:
            self.send_header("content-encoding", "gzip")
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if answer.wait is not None:
            first, between, rest = content.partition(b"\n\n")
            self.wfile.write(first + between)
            self.wfile.flush()
            answer.wait.wait(20)
            content = rest
        if answer.cut_after is not None:
            content = content[: answer.cut_after]
            self.close_connection = True
        try:
            self.wfile.write(content)
        except OSError:  # the client went away, which is what some tests are about
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
