"""OTLP from files: one request, one request a line as the Collector writes them, or protobuf.

Comes in: a file, packed with gzip or not. Goes out: the records of its traces and logs. Metrics and
lines that hold no request are left out and named in the report. Spans of many lines are taken
together, so that their order in the file makes no difference.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from whence.errors import IngestError
from whence.ingest import logs, otlp_json, otlp_wire
from whence.ingest.base import Skipped
from whence.ingest.traces import WINDOW_SPANS, Traces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.otel import Request, SpanIn
    from whence.record.base import Record

_JSON = re.compile(rb'^\s*\{\s*"resource_?(?:[sS]pans|[lL]ogs|[mM]etrics)"')
_PROTOBUF_SUFFIXES = frozenset({".pb", ".binpb", ".otlp", ".proto", ".bin"})
_FIELD_1 = 0x0A
"""The first byte of every request: field 1, a message."""
_BOM = b"\xef\xbb\xbf"
_LOOKED_AT_LINES = 5
"""How many of the first lines may be something else in a file that is recognized."""
_MOST_REFUSED_LINES = 1_000
"""After how many lines that are none a file without any request is given up."""


def detect(source: Source) -> bool:
    """Return whether a file begins like an OTLP request, or one of its first lines does."""
    head = source.head.removeprefix(_BOM)
    lines = head.lstrip().split(b"\n", _LOOKED_AT_LINES)[:_LOOKED_AT_LINES]
    if _JSON.match(head) or any(map(_JSON.match, lines)):
        return True
    return head[:1] == bytes([_FIELD_1]) and bool(_PROTOBUF_SUFFIXES.intersection(source.suffixes))


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file.

    Raises:
        IngestError: The file as a whole is no OTLP.
    """
    traces = Traces(known)
    if source.head[:1] == bytes([_FIELD_1]) and not source.head.lstrip().startswith(b"{"):
        window: list[SpanIn] = []
        yield from _of_request(_of_protobuf(source.content()), window, source.name)
        yield from traces.records_of(window)
    else:
        yield from _of_json(source, traces)
    yield from traces.settle()


def _of_json(source: Source, traces: Traces) -> Iterator[Record | Skipped]:
    window: list[SpanIn] = []
    for found in _iter_requests(source):
        if isinstance(found, Skipped):
            yield found
            continue
        where, request = found
        yield from _of_request(request, window, where)
        if len(window) >= WINDOW_SPANS:
            yield from traces.records_of(window)
            window.clear()
    yield from traces.records_of(window)


def _iter_requests(source: Source) -> Iterator[tuple[str, Request] | Skipped]:
    """Yield where each request of a file stands, and the request.

    A first line that is none is damaged, or the beginning of one request over many lines: with the
    first line that is a request it turns out to be damaged.

    Yields:
        A `Skipped` for each line that is none.

    Raises:
        IngestError: Neither the first lines are requests nor is the file as a whole.
    """
    refused: list[Skipped] = []
    why_none = IngestError(f"{source.name} holds no request")
    has_any = False
    for line in source.iter_lines():
        found = line if isinstance(line, Skipped) else _of_line(source.name, *line)
        if has_any or not isinstance(found, Skipped):
            has_any = True
            yield from refused
            refused.clear()
            yield found
            continue
        if not refused:
            try:
                whole = otlp_json.of_json(source.content())
            except IngestError as error:
                why_none = error
            else:
                yield _unless_other(source.name, whole)
                return
        refused.append(found)
        if len(refused) >= _MOST_REFUSED_LINES:
            break
    if refused:
        raise why_none


def _of_line(name: str, number: int, content: bytes) -> tuple[str, Request] | Skipped:
    where = f"{name}:{number}"
    try:
        return _unless_other(where, otlp_json.of_json(content.removeprefix(_BOM)))
    except IngestError as error:
        return Skipped(where, str(error))


def _unless_other(where: str, request: Request) -> tuple[str, Request] | Skipped:
    if request.is_other:
        return Skipped(where, "it holds neither traces nor logs nor metrics")
    return where, request


def _of_protobuf(content: bytes) -> Request:
    """Return a protobuf request, of traces or else of logs.

    The two cannot be told apart by their bytes alone: spans have ids where log records have times.
    """
    try:
        request = otlp_wire.of_protobuf(content)
    except IngestError:
        return otlp_wire.of_protobuf(content, logs=True)
    request.spans = list(request.spans)
    if request.spans and not request.rejected_spans:
        return request
    as_logs = otlp_wire.of_protobuf(content, logs=True)
    as_logs.logs = list(as_logs.logs)
    return as_logs if as_logs.logs else request


def _of_request(request: Request, window: list[SpanIn], where: str) -> Iterator[Record | Skipped]:
    """Put the spans of a request into the window; yield the rest."""
    window += request.spans
    yield from logs.records_of(request.logs)
    if request.rejected_spans:
        yield Skipped(where, f"{request.rejected_spans} spans left out: {request.why}")
    if request.has_metrics:
        yield Skipped(where, "metrics are not imported")
