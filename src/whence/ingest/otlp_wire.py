"""Decodes OTLP requests for traces and logs in protobuf, and unpacks gzip within a limit.

Comes in: the bytes of a request. Goes out: a `Request`. Spans without a valid id are counted and
left out, as OTLP's partial success has it; a request that is malformed as a whole raises. Source:
OTLP 1.9 (opentelemetry-proto, docs/specification.md).
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from whence import _extras
from whence.errors import IngestError
from whence.ingest.otel import Happening, LogIn, Origin, Request, SpanIn, Tie

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SHOWN_CHARS = 200
_TRACE_BYTES = 16
_SPAN_BYTES = 8
_NO_IDS = (bytes(_TRACE_BYTES), bytes(_SPAN_BYTES))


class TooLargeError(IngestError):
    """A request unpacks to more than is allowed."""


def unpacked(content: bytes, limit_bytes: int) -> bytes:
    """Return the content of a gzip body, reading no more than `limit_bytes` of it.

    Raises:
        TooLargeError: It would be longer.
        IngestError: It is damaged.
    """
    parts: list[bytes] = []
    room = limit_bytes
    try:
        while content:  # a gzip file may have several members
            member = zlib.decompressobj(wbits=31)
            part = member.decompress(content, room + 1)
            room -= len(part)
            if room < 0 or (member.unconsumed_tail and not member.eof):
                raise TooLargeError(f"the body unpacks to more than {limit_bytes >> 20} MiB")
            if not member.eof:
                raise IngestError("the gzip body ends in the middle")
            parts.append(part)
            content = member.unused_data.lstrip(b"\0")
    except zlib.error as error:
        raise IngestError(f"the body is not gzip: {error}") from error
    return b"".join(parts)


def of_protobuf(content: bytes, *, logs: bool = False) -> Request:
    """Return what a protobuf request for traces, or for logs, holds.

    Raises:
        IngestError: It is no such message, or nested too deep.
        MissingExtraError: opentelemetry-proto is not installed.
    """
    module = (
        "opentelemetry.proto.collector.logs.v1.logs_service_pb2"
        if logs
        else "opentelemetry.proto.collector.trace.v1.trace_service_pb2"
    )
    pb2: Any = _extras.require(module, "server", "reading OTLP protobuf")
    message = pb2.ExportLogsServiceRequest() if logs else pb2.ExportTraceServiceRequest()
    from google.protobuf.message import DecodeError  # noqa: PLC0415 # pyright: ignore[reportMissingTypeStubs]

    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise IngestError(f"the body is not an OTLP protobuf message: {error}") from error
    request = Request()
    if logs:
        request.logs = _iter_logs(message)
    else:
        request.spans = _iter_spans(message, request)
    return request


def _iter_spans(message: Any, request: Request) -> Iterator[SpanIn]:
    for of_resource in message.resource_spans:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_spans:
            origin = Origin(resource, of_scope.scope.name, of_scope.scope.version)
            for s in of_scope.spans:
                trace, span = _hex(s.trace_id, _TRACE_BYTES), _hex(s.span_id, _SPAN_BYTES)
                if not trace or not span:
                    request.rejected_spans += 1
                    request.why = f"span {s.name[:_SHOWN_CHARS]!r} has no valid trace and span id"
                    continue
                made = SpanIn(
                    trace,
                    span,
                    _hex(s.parent_span_id, _SPAN_BYTES),
                    s.name,
                    s.start_time_unix_nano,
                    s.end_time_unix_nano,
                    _attributes(s.attributes),
                    origin,
                    kind=s.kind,
                    state=s.trace_state,
                )
                if s.events:
                    made.events = [
                        Happening(e.name, e.time_unix_nano, _attributes(e.attributes))
                        for e in s.events
                    ]
                if s.links:
                    made.links = [
                        Tie(x.trace_id.hex(), x.span_id.hex(), _attributes(x.attributes))
                        for x in s.links
                    ]
                status = s.status
                made.status, made.message = status.code, status.message
                made.dropped = (
                    s.dropped_attributes_count + s.dropped_events_count + s.dropped_links_count
                )
                yield made


def _iter_logs(message: Any) -> Iterator[LogIn]:
    for of_resource in message.resource_logs:
        resource = _attributes(of_resource.resource.attributes)
        for of_scope in of_resource.scope_logs:
            origin = Origin(resource, of_scope.scope.name, of_scope.scope.version)
            for record in of_scope.log_records:
                yield LogIn(
                    _hex(record.trace_id, _TRACE_BYTES),
                    _hex(record.span_id, _SPAN_BYTES),
                    record.time_unix_nano or record.observed_time_unix_nano,
                    record.event_name,
                    record.severity_number,
                    record.severity_text,
                    _value(record.body),
                    _attributes(record.attributes),
                    origin,
                )


def _hex(number: bytes, size: int) -> str:
    """Return an id in hex; an empty text for one that is none."""
    return number.hex() if len(number) == size and number not in _NO_IDS else ""


def _attributes(given: Iterable[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for pair in given:
        value = pair.value
        text = value.string_value  # what most are; asking for the name of the field costs more
        made[pair.key] = text or _value(value)
    return made


def _value(value: Any) -> Any:
    name = value.WhichOneof("value")
    if name is None:
        return None
    if name == "array_value":
        return [_value(item) for item in value.array_value.values]
    if name == "kvlist_value":
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, name)
