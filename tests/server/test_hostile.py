"""A server that is sent anything answers clearly, stays small and alive, and keeps what it had."""

from __future__ import annotations

import gzip
import socket
import time
import zlib
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlpdata import request, span
from receiver import JSON, PROTOBUF, started

import whence
from whence.server.body import MAX_BYTES

DEEP = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"attributes":[{"key":"a","value":' + (
    b'{"arrayValue":{"values":[' * 10_000
)


def bomb():
    """Return half a megabyte that unpacks to half a gigabyte."""
    packer = zlib.compressobj(1, wbits=31)
    mebibyte = bytes(1 << 20)
    return b"".join(packer.compress(mebibyte) for _ in range(512)) + packer.flush()


def deep_protobuf(levels):
    """Return a request whose attribute is nested so deep, built from the inside."""
    value = b"\x0a\x01x"
    for _ in range(levels):
        inner = b"\x0a" + varint(len(value)) + value
        value = b"\x2a" + varint(len(inner)) + inner
    pair = b"\x0a\x01a\x12" + varint(len(value)) + value
    made = b"\x4a" + varint(len(pair)) + pair
    for field in (0x12, 0x12, 0x0A):
        made = bytes([field]) + varint(len(made)) + made
    return made


def varint(number):
    made = b""
    while number > 0x7F:
        made += bytes([number & 0x7F | 0x80])
        number >>= 7
    return made + bytes([number])


def many_spans():
    """Return a packed request of a few kilobytes that holds hundreds of thousands of spans."""
    message = ExportTraceServiceRequest()
    spans = message.resource_spans.add().scope_spans.add().spans
    for _ in range(300_000):
        spans.add(trace_id=b"\1" * 16, span_id=b"\1" * 8, name="x")
    return gzip.compress(message.SerializeToString())


ATTACKS = [
    pytest.param(b"\xff" * 100, PROTOBUF, {}, 400, id="bytes that are no protobuf"),
    pytest.param(b"\x0a\xff\xff\xff\xff\x0f", PROTOBUF, {}, 400, id="a length of four gigabytes"),
    pytest.param(deep_protobuf(10_000), PROTOBUF, {}, 400, id="protobuf nested 10,000 deep"),
    pytest.param(b"{", JSON, {}, 400, id="half a JSON"),
    pytest.param(b"[]", JSON, {}, 400, id="JSON of another kind"),
    pytest.param(DEEP, JSON, {}, 400, id="JSON nested 10,000 deep"),
    pytest.param(b'{"resourceSpans":' + b"9" * 100_000 + b"}", JSON, {}, 400, id="a long number"),
    pytest.param(b"x", JSON, {"Content_Encoding": "gzip"}, 400, id="no gzip"),
    pytest.param(gzip.compress(b"{}")[:9], JSON, {"Content_Encoding": "gzip"}, 400, id="torn gzip"),
    pytest.param(bomb(), JSON, {"Content_Encoding": "gzip"}, 413, id="an archive bomb"),
    pytest.param(b"{}", JSON, {"Content_Encoding": "br"}, 415, id="another packing"),
    pytest.param(b"{}", "text/plain", {}, 415, id="a form of a web page"),
    pytest.param(b"{}", "", {}, 415, id="no type"),
    pytest.param(bytes(MAX_BYTES + 1), PROTOBUF, {}, 413, id="a long body"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """One home for all attacks: what is there at the end has survived every one of them."""
    return tmp_path_factory.mktemp("hostile") / "home"


@pytest.fixture(scope="module")
def server(home):
    with started(home) as running:
        yield running


@pytest.fixture(autouse=True)
def unharmed(server, home):
    """Before and after each attack the server takes a span, and both are there."""
    assert server.send(request(span("before", None)))[0] == 200
    yield
    assert server.send(request(span("after", None)))[0] == 200
    with whence.open(home) as store:
        names = {row.name for row in store.spans(limit=None)}
    assert {"before", "after"} <= names
    assert "evil" not in names
    assert peak_mib(server) < 450


def peak_mib(server):
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.parametrize(("body", "media", "headers", "status"), ATTACKS)
def test_a_bad_request_is_refused_in_words(body, media, headers, status, server):
    """The status says whose fault it is, and the body says what to do."""
    answer, _, said = server.send(body, media=media, **headers)

    assert answer == status
    assert len(said) > 10


def test_a_claimed_gigabyte_is_refused_before_it_is_sent(server):
    """A length beyond the limit is answered at once."""
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(5)
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1073741824\r\n\r\n{"
        )

        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_cut_off_at_the_limit(server):
    """Chunks are counted as they come."""
    host, port = server.address.split(":")
    chunk = b"%x\r\n%b\r\n" % (1 << 20, bytes(1 << 20))
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(10)
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        try:
            for _ in range(MAX_BYTES // (1 << 20) + 20):
                connection.sendall(chunk)
        except OSError:
            pass  # it has answered and closed

        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_sender_that_goes_away_leaves_nothing_behind(server, home):
    """Half a request is no request."""
    host, port = server.address.split(":")
    with whence.open(home) as store:
        before = len(store.spans(limit=None))
    for _ in range(20):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\n"
                b"Content-Type: application/json\r\nContent-Length: 4000000\r\n\r\n{"
            )
    time.sleep(0.2)

    with whence.open(home) as store:
        assert len(store.spans(limit=None)) == before


def test_a_small_body_of_very_many_spans_is_taken_in_little_memory(server):
    """Spans are decoded as they are written; see the limit that every test here checks."""
    assert server.send(many_spans(), media=PROTOBUF, Content_Encoding="gzip")[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost:80@evil", "10.0.0.1", "", "[::2]:1"],
)
def test_a_name_that_was_made_to_lead_here_is_refused(host, server):
    """DNS rebinding: the Host has to be a loopback name."""
    answer, _, _ = server.send(request(span("evil", None)), Host=host)

    assert answer in {400, 421}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:4318", "[::1]:9", "LOCALHOST:1"])
def test_loopback_names_are_let_in(host, server):
    """With and without a port."""
    assert server.send(method="GET", path="/healthz", Host=host)[0] == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example"]
)
def test_a_page_of_another_site_is_refused(origin, server):
    """A browser says where a request comes from, and only this machine's pages may send."""
    assert server.send(request(span("evil", None)), Origin=origin)[0] == 403


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_other_methods_are_not_taken(method, server):
    """Neither is a browser's question whether it may send."""
    assert server.send(method=method)[0] in {405, 204}


def test_paths_that_lead_elsewhere_lead_nowhere(server):
    """No file is served."""
    for path in ("/../../etc/passwd", "/v1/%2e%2e/healthz", "//healthz", "/v1/metrics"):
        assert server.send(path=path)[0] in {404, 405}
