"""A server on loopback that answers what a test scripts, for the real client libraries to talk to.

Answers are given out in order; each request is kept. An answer may come in pieces, be cut off, or
be compressed, as a provider's would.
"""

from __future__ import annotations

import gzip
import http.server
import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

P = TypeVar("P", bound="Provider")

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
    delay_s: float = 0.0
    """How long it takes to answer."""


class Asked(NamedTuple):
    """What the server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    """By name in lower case."""
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)


class Provider:
    """The running server: gives each answer once, in order."""

    keeps_open = True
    """Whether a connection may be used again."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []
        self._lock = threading.Lock()

    def will_say(self, *answers: Answer | Any) -> None:
        """Script the next answers; what is no Answer is the body of one."""
        self.answers += [one if isinstance(one, Answer) else Answer(one) for one in answers]

    def take(self, asked: Asked) -> Answer:
        """Keep what was asked and return what to answer."""
        with self._lock:
            self.asked.append(asked)
            return self.next_answer(asked)

    def next_answer(self, _asked: Asked) -> Answer:
        """Return what to answer."""
        if not self.answers:
            return Answer({"error": {"message": "nothing was scripted"}}, 418)
        return self.answers.pop(0)


class Repeating(Provider):
    """Gives the last answer again and again, or what a function makes of each request.

    It closes each connection, since a client that is not closed would leave it open.
    """

    keeps_open = False

    def __init__(
        self, *answers: Answer | Any, answer: Callable[[Asked], Any] | None = None
    ) -> None:
        super().__init__()
        self.will_say(*answers)
        self._answer = answer

    def next_answer(self, asked: Asked) -> Answer:
        """Return what to answer."""
        if self._answer is not None:
            given = self._answer(asked)
            return given if isinstance(given, Answer) else Answer(given)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


def events(*said: Any, end: bool = False) -> str:
    """Return a stream of events whose data are the given objects."""
    text = "".join(f"data: {json.dumps(one)}\n\n" for one in said)
    return text + "data: [DONE]\n\n" if end else text


def named_events(*said: dict[str, Any]) -> str:
    """Return a stream of events that are named after their type."""
    return "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in said)


@contextmanager
def serving(provider: P) -> Iterator[P]:
    """Run the server; `url` says where."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.provider = provider
    provider.url = f"http://127.0.0.1:{server.server_port}{provider.url}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def provider() -> AbstractContextManager[Provider]:
    """Run a server that gives each answer once."""
    return serving(Provider())


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def _answer(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        content = self.rfile.read(length)
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            content = self._unchunked()
        headers = {key.lower(): value for key, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, content)
        try:
            self._send(self.server.provider.take(asked))
        except OSError:  # the client went away, which is what some tests are about
            self.close_connection = True

    do_POST = do_GET = do_DELETE = _answer  # noqa: N815 - the names are those of the base class

    def _unchunked(self) -> bytes:
        made = b""
        while size := int(self.rfile.readline(), 16):
            made += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return made

    def _send(self, answer: Answer) -> None:
        time.sleep(answer.delay_s)
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
        if not self.server.provider.keeps_open:
            self.send_header("connection", "close")
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
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
