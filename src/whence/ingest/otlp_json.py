"""Decodes OTLP requests for traces and logs in JSON.

Comes in: the bytes of a request, or one line of a file of them. Goes out: a `Request`, as from
protobuf. Source: OTLP 1.9, "JSON Protobuf Encoding": ids are hex (base64 is taken as well, which
some exporters write), integers may be texts, enums may be names, null stands for what is not
stated, keys may be snake_case, and unknown ones are passed over. Half surrogates and bytes that are
no UTF-8 are taken as by `json_files`: one cut emoji must not cost the request it is in.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence.errors import IngestError
from whence.ingest import json_files, keys
from whence.ingest.otel import Happening, LogIn, Origin, Request, SpanIn, Tie

if TYPE_CHECKING:
    from collections.abc import Iterator

_BASE64_CHARS = {24: 16, 12: 8}
"""Length of an id in base64 to its length in bytes."""
_SHOWN_CHARS = 200
_SNAKE = re.compile(rb'"resource_(?:spans|logs|metrics)"')
_ENUMS = {
    name: number
    for prefix, names in (
        ("SPAN_KIND_", ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")),
        ("STATUS_CODE_", ("UNSET", "OK", "ERROR")),
    )
    for number, end in enumerate(names)
    for name in (prefix + end,)
} | {
    f"SEVERITY_NUMBER_{word}{n or ''}": 4 * level + max(n, 1)
    for level, word in enumerate(("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"))
    for n in (0, 2, 3, 4)
}
_Whole = int | str | float


class _Camel(msgspec.Struct, rename="camel", gc=False):
    pass


class _Value(_Camel):
    string_value: str | None = None
    int_value: _Whole | None = None
    double_value: float | str | None = None
    bool_value: bool | None = None
    array_value: _Array | None = None
    kvlist_value: _Map | None = None
    bytes_value: str | None = None


class _Pair(_Camel):
    key: str | None = None
    value: _Value | None = None


class _Array(_Camel):
    values: list[_Value | None] | None = None


class _Map(_Camel):
    values: list[_Pair] | None = None


class _Scope(_Camel):
    name: str | None = None
    version: str | None = None


class _Resource(_Camel):
    attributes: list[_Pair] | None = None


class _Event(_Camel):
    name: str | None = None
    time_unix_nano: _Whole | None = None
    attributes: list[_Pair] | None = None


class _Link(_Camel):
    trace_id: str | None = None
    span_id: str | None = None
    attributes: list[_Pair] | None = None


class _Status(_Camel):
    code: int | str | None = None
    message: str | None = None


class _Span(_Camel):
    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    name: str | None = None
    kind: int | str | None = None
    start_time_unix_nano: _Whole | None = None
    end_time_unix_nano: _Whole | None = None
    attributes: list[_Pair] | None = None
    events: list[_Event] | None = None
    links: list[_Link] | None = None
    status: _Status | None = None
    trace_state: str | None = None
    dropped_attributes_count: _Whole | None = None
    dropped_events_count: _Whole | None = None
    dropped_links_count: _Whole | None = None


class _Log(_Camel):
    trace_id: str | None = None
    span_id: str | None = None
    time_unix_nano: _Whole | None = None
    observed_time_unix_nano: _Whole | None = None
    severity_number: int | str | None = None
    severity_text: str | None = None
    event_name: str | None = None
    body: _Value | None = None
    attributes: list[_Pair] | None = None


class _ScopeSpans(_Camel):
    scope: _Scope | None = None
    instrumentation_library: _Scope | None = None
    """What `scope` was called before OTLP 0.19."""
    spans: list[_Span] | None = None


class _ScopeLogs(_Camel):
    scope: _Scope | None = None
    log_records: list[_Log] | None = None


class _ResourceSpans(_Camel):
    resource: _Resource | None = None
    scope_spans: list[_ScopeSpans] | None = None
    instrumentation_library_spans: list[_ScopeSpans] | None = None
    """What `scope_spans` were called before OTLP 0.19."""


class _ResourceLogs(_Camel):
    resource: _Resource | None = None
    scope_logs: list[_ScopeLogs] | None = None


class _Body(_Camel):
    resource_spans: list[_ResourceSpans] | None = None
    resource_logs: list[_ResourceLogs] | None = None
    resource_metrics: list[Any] | None = None


_NOTHING = _Body()
_decoder = msgspec.json.Decoder(_Body)


def of_json(content: bytes) -> Request:
    """Return what a JSON request holds.

    Raises:
        IngestError: It is not JSON, no such message, or nested too deep.
    """
    try:
        if _SNAKE.search(content):
            body = _converted(_camel(json_files.decoded(content)))
        else:
            body = _decoded(content)
    except RecursionError as error:
        raise IngestError("the body is nested too deep") from error
    except (msgspec.MsgspecError, ValueError, IngestError) as error:
        raise IngestError(f"the body is not an OTLP message in JSON: {error}") from error
    request = Request(has_metrics=bool(body.resource_metrics))
    request.is_other = body == _NOTHING and content.strip() != b"{}"
    request.spans = _iter_spans(body, request)
    request.logs = _iter_logs(body)
    return request


def _decoded(content: bytes) -> _Body:
    try:
        return _decoder.decode(content)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeError):
        return _converted(json_files.decoded(content))


def _converted(value: Any) -> _Body:
    return msgspec.convert(value, _Body, strict=True)


def _camel(value: Any) -> Any:
    if isinstance(value, dict):
        plain = cast("dict[str, Any]", value)
        return {re.sub(r"_([a-z])", lambda m: m[1].upper(), k): _camel(v) for k, v in plain.items()}
    if isinstance(value, list):
        return [_camel(item) for item in cast("list[Any]", value)]
    return value


def _iter_spans(body: _Body, request: Request) -> Iterator[SpanIn]:
    for of_resource in body.resource_spans or ():
        resource = _attributes(of_resource.resource.attributes if of_resource.resource else None)
        for of_scope in of_resource.scope_spans or of_resource.instrumentation_library_spans or ():
            origin = _origin(resource, of_scope.scope or of_scope.instrumentation_library)
            for span in of_scope.spans or ():
                made = _span(span, origin)
                if made is None:
                    request.rejected_spans += 1
                    request.why = (
                        f"span {(span.name or '')[:_SHOWN_CHARS]!r} has no valid trace and span id"
                    )
                else:
                    yield made


def _span(s: _Span, origin: Origin) -> SpanIn | None:
    trace, span = _id(s.trace_id or ""), _id(s.span_id or "")
    if not keys.is_run_id(trace) or not keys.is_record_id(span):
        return None
    parent = _id(s.parent_span_id or "")
    status = s.status
    return SpanIn(
        trace,
        span,
        parent if keys.is_record_id(parent) else "",
        s.name or "",
        _time(s.start_time_unix_nano or 0),
        _time(s.end_time_unix_nano or 0),
        _attributes(s.attributes),
        origin,
        [
            Happening(e.name or "", _time(e.time_unix_nano or 0), _attributes(e.attributes))
            for e in s.events or ()
        ],
        [
            Tie(_id(x.trace_id or ""), _id(x.span_id or ""), _attributes(x.attributes))
            for x in s.links or ()
        ],
        _enum(status.code or 0) if status else 0,
        (status.message or "") if status else "",
        _enum(s.kind or 0),
        s.trace_state or "",
        sum(
            _enum(count)
            for count in (s.dropped_attributes_count, s.dropped_events_count, s.dropped_links_count)
            if count
        ),
    )


def _iter_logs(body: _Body) -> Iterator[LogIn]:
    for of_resource in body.resource_logs or ():
        resource = _attributes(of_resource.resource.attributes if of_resource.resource else None)
        for of_scope in of_resource.scope_logs or ():
            origin = _origin(resource, of_scope.scope)
            for log in of_scope.log_records or ():
                trace, span = _id(log.trace_id or ""), _id(log.span_id or "")
                yield LogIn(
                    trace if keys.is_run_id(trace) else "",
                    span if keys.is_record_id(span) else "",
                    _time(log.time_unix_nano or 0) or _time(log.observed_time_unix_nano or 0),
                    log.event_name or "",
                    _enum(log.severity_number or 0),
                    log.severity_text or "",
                    _value(log.body),
                    _attributes(log.attributes),
                    origin,
                )


def _origin(resource: dict[str, Any], scope: _Scope | None) -> Origin:
    if scope is None:
        return Origin(resource)
    return Origin(resource, scope.name or "", scope.version or "")


def _id(text: str) -> str:
    """Return an id in lower-case hex, also if it was written in base64."""
    size = _BASE64_CHARS.get(len(text))
    if size is None:
        return text.lower()
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return raw.hex() if len(raw) == size else ""


def _time(given: _Whole) -> int:
    number = _whole(given)
    return number if isinstance(number, int) and 0 <= number < 2**64 else 0


def _whole(given: _Whole) -> int | str | float:
    """Return an integer written as text or with a point as an integer; anything else as it is."""
    if isinstance(given, str):
        try:
            return int(given) if len(given) <= 20 else given  # noqa: PLR2004 - digits of 64 bits and a sign
        except ValueError:
            return given
    return int(given) if isinstance(given, float) and given.is_integer() else given


def _enum(given: _Whole) -> int:
    if isinstance(given, int):
        return given
    number = _whole(given)
    if isinstance(number, int):
        return number
    return _ENUMS.get(given, 0) if isinstance(given, str) else 0


def _attributes(pairs: list[_Pair] | None) -> dict[str, Any]:
    if not pairs:
        return {}
    made: dict[str, Any] = {}
    for pair in pairs:
        key, value = pair.key or "", pair.value
        if value is None:
            made[key] = None
            continue
        text = value.string_value
        made[key] = _value(value) if text is None else text
    return made


def _value(value: _Value | None) -> Any:  # noqa: PLR0911 - one return a form
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return _whole(value.int_value)
    if value.bool_value is not None:
        return value.bool_value
    if value.double_value is not None:
        return _double(value.double_value)
    if value.array_value is not None:
        return [_value(item) for item in value.array_value.values or ()]
    if value.kvlist_value is not None:
        return {pair.key or "": _value(pair.value) for pair in value.kvlist_value.values or ()}
    if value.bytes_value is not None:
        try:
            return base64.b64decode(value.bytes_value, validate=True)
        except (binascii.Error, ValueError):
            return value.bytes_value
    return None


def _double(given: float | str) -> float | str:
    try:
        return float(given)  # JSON has no NaN, so OTLP writes it as text
    except ValueError:
        return given
