"""Spans become OTLP requests: JSON, or protobuf.

Comes in: spans. Goes out: the bytes of `ExportTraceServiceRequest`. Spans of one resource and
instrumentation stand together. Source: OTLP 1.9 (opentelemetry-proto); "JSON Protobuf Encoding":
ids are hex, 64-bit integers text, enums numbers.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

from whence import _extras
from whence.record import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from whence.exports.otlp.model import SpanOut

_MAX_NS = 2**64 - 1


def to_json(spans: Sequence[SpanOut]) -> bytes:
    """Return spans as one request in JSON, on one line without its break."""
    of_resources: list[dict[str, Any]] = []
    for resource, scopes in _grouped(spans):
        of_scopes = [
            {
                "scope": {"name": name, "version": version} if version else {"name": name},
                "spans": [_span_json(span) for span in group],
            }
            for (name, version), group in scopes.items()
        ]
        about = {"attributes": _attributes_json(resource)}
        of_resources.append({"resource": about, "scopeSpans": of_scopes})
    return codec.encode_json({"resourceSpans": of_resources})


def _grouped(
    spans: Iterable[SpanOut],
) -> list[tuple[dict[str, Any], dict[tuple[str, str], list[SpanOut]]]]:
    """Return spans by resource and instrumentation, each in order of appearance."""
    made: dict[bytes, tuple[dict[str, Any], dict[tuple[str, str], list[SpanOut]]]] = {}
    keys: dict[int, bytes] = {}
    for span in spans:
        key = keys.get(id(span.resource))
        if key is None:
            key = keys[id(span.resource)] = codec.encode_json(_attributes_json(span.resource))
        scopes = made.setdefault(key, (span.resource, {}))[1]
        scopes.setdefault((span.scope, span.version), []).append(span)
    return list(made.values())


def _span_json(span: SpanOut) -> dict[str, Any]:
    made: dict[str, Any] = {
        "traceId": span.trace,
        "spanId": span.span,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": _time(span.begun_ns),
        "endTimeUnixNano": _time(span.ended_ns),
        "attributes": _attributes_json(span.attributes),
        "status": {"code": span.status, "message": span.message}
        if span.message
        else {"code": span.status},
    }
    if span.parent:
        made["parentSpanId"] = span.parent
    if span.state:
        made["traceState"] = span.state
    if span.events:
        made["events"] = [
            {
                "name": event.name,
                "timeUnixNano": _time(event.time_ns),
                "attributes": _attributes_json(event.attributes),
            }
            for event in span.events
        ]
    if span.links:
        made["links"] = [
            {
                "traceId": link.trace,
                "spanId": link.span,
                "attributes": _attributes_json(link.attributes),
            }
            for link in span.links
        ]
    return made


def _time(unix_ns: int) -> str:
    return str(min(max(0, unix_ns), _MAX_NS))


def _attributes_json(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value_json(value)} for name, value in given.items()]


def _value_json(value: Any) -> dict[str, Any]:  # noqa: PLR0911 - one return a type
    if value is None:
        return {}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if value - value == 0 else _odd_float(value)}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes_json(cast("dict[str, Any]", value))}}
    return {"arrayValue": {"values": [_value_json(item) for item in cast("list[Any]", value)]}}


def _odd_float(value: float) -> str:
    """Return the word of protobuf's JSON for a number that JSON has none for."""
    return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"  # noqa: PLR0124


def to_protobuf(spans: Sequence[SpanOut]) -> bytes:
    """Return spans as one request in protobuf; requests in a row are one request too.

    Raises:
        MissingExtraError: opentelemetry-proto is not installed.
    """
    pb2: Any = _extras.require(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2",
        "otel",
        "writing OTLP protobuf",
    )
    request = pb2.ExportTraceServiceRequest()
    for resource, scopes in _grouped(spans):
        of_resource = request.resource_spans.add()
        _fill(of_resource.resource.attributes.add, resource)
        for (name, version), group in scopes.items():
            of_scope = of_resource.scope_spans.add()
            of_scope.scope.name, of_scope.scope.version = name, version
            for span in group:
                _fill_span(of_scope.spans.add(), span)
    return request.SerializeToString()


def _fill_span(made: Any, span: SpanOut) -> None:
    made.trace_id, made.span_id = bytes.fromhex(span.trace), bytes.fromhex(span.span)
    made.parent_span_id = bytes.fromhex(span.parent)
    made.name, made.kind, made.trace_state = span.name, span.kind, span.state
    made.start_time_unix_nano = int(_time(span.begun_ns))
    made.end_time_unix_nano = int(_time(span.ended_ns))
    made.status.code, made.status.message = span.status, span.message
    _fill(made.attributes.add, span.attributes)
    for event in span.events:
        one = made.events.add()
        one.name, one.time_unix_nano = event.name, int(_time(event.time_ns))
        _fill(one.attributes.add, event.attributes)
    for link in span.links:
        one = made.links.add()
        one.trace_id, one.span_id = bytes.fromhex(link.trace), bytes.fromhex(link.span)
        _fill(one.attributes.add, link.attributes)


def _fill(add: Callable[[], Any], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        pair = add()
        pair.key = name
        _fill_value(pair.value, value)


def _fill_value(made: Any, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool):
        made.bool_value = value
    elif isinstance(value, str):
        made.string_value = value
    elif isinstance(value, int):
        made.int_value = value
    elif isinstance(value, float):
        made.double_value = value
    elif isinstance(value, bytes):
        made.bytes_value = value
    elif isinstance(value, dict):
        made.kvlist_value.SetInParent()  # an empty mapping is one all the same
        _fill(made.kvlist_value.values.add, cast("dict[str, Any]", value))
    else:
        made.array_value.SetInParent()
        for item in cast("list[Any]", value):
            _fill_value(made.array_value.values.add(), item)
