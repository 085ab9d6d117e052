"""A loopback sink for OTLP over HTTP.

Answers at once, keeps the bodies, counts spans only when asked.

Started as `python -m benchmarks.sink` in the environment that has the peer's protobuf definitions;
prints its port. GET `/count` gives the number of spans and bytes so far and forgets them.
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_bodies: list[bytes] = []


def _count() -> dict[str, int]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - counting comes after measuring
        ExportTraceServiceRequest,
    )

    spans = 0
    for body in _bodies:
        request = ExportTraceServiceRequest.FromString(body)
        spans += sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
    found = {"spans": spans, "size_bytes": sum(map(len, _bodies))}
    _bodies.clear()
    return found


class _Handler(BaseHTTPRequestHandler):
    """Connections stay open, as with a collector."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Keep the body."""
        _bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(b"", "application/x-protobuf")

    def do_GET(self) -> None:
        """Tell what has come in."""
        self._answer(json.dumps(_count()).encode(), "application/json")

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing for each request."""


def main() -> None:
    """Serve until the process is ended."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
