"""What the user said of a run or span, and how it ended, so that both can be told again.

Comes in: attributes, a status and an error. Goes out: a span that has them where any reader looks
for them, and under names of whence's own what a reader would take for something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.exports.otlp import model as m
from whence.ingest import own
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whence.exports.otlp.model import SpanOut

_KINDS = {"server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUS = {"ok": m.OK, "complete": m.OK, "error": m.ERROR, "failed": m.ERROR}


def put_user(span: SpanOut, given: dict[str, Any], *, of_trace: bool = False) -> None:
    """Put attributes of the user's on a span, where it has all others.

    One whose name is taken, or whose value an attribute cannot hold, is kept under another name.

    Args:
        span: The span.
        given: The attributes.
        of_trace: Whether they may say how the span came, which then stands where it stood.
    """
    listed: list[str] = []
    version = ""
    for key, value in given.items():
        name = m.clean(str(key))
        if of_trace and name == "otel.scope.name" and isinstance(value, str):
            span.scope, span.version = value, ""
        elif of_trace and name == "otel.scope.version" and isinstance(value, str):
            version = value
        elif of_trace and name == "otel.span_kind" and value in _KINDS:
            span.kind = _KINDS[value]
        elif of_trace and name == "otel.trace_state" and isinstance(value, str):
            span.state = value
        elif not of_trace or name != "service.name" or value != span.resource.get(name):
            _put_one(span, name, value, listed)
            continue
        listed.append(name)
    if version and "otel.scope.name" in listed:
        span.version = version
    elif version:
        _put_one(span, "otel.scope.version", version, listed)
    if listed:
        span.attributes[own.LISTED] = listed


def _put_one(span: SpanOut, name: str, value: Any, listed: list[str]) -> None:
    written = m.plain(value)
    if name in span.attributes or written != value:
        span.attributes[f"{own.ATTRIBUTE}{name}"] = m.exact(value)
    if name not in span.attributes:
        span.attributes[name] = written
        if own.is_ours(name):
            listed.append(name)


def put_status(
    span: SpanOut, status: str, error: dict[str, Any] | None, records: Iterable[r.PointRow]
) -> None:
    """Put status and error on a span that has no events yet."""
    span.status = _STATUS.get(status, m.UNSET)
    if error:
        kind, message = error.get("type"), error.get("message")
        span.attributes["error.type"] = m.clean(kind) if isinstance(kind, str) else "error"
        span.message = m.clean(message) if isinstance(message, str) else ""
        told = any(isinstance(one, r.EventRow) and one.message == "exception" for one in records)
        if isinstance(error.get("stack"), str) and not told:
            about = {
                "exception.type": span.attributes["error.type"],
                "exception.message": span.message,
                "exception.stacktrace": m.clean(error["stack"]),
            }
            span.events.append(m.EventOut("exception", span.ended_ns, about))
    if error_read(span) != error:
        span.attributes["whence.error"] = m.exact(error)


def error_read(span: SpanOut) -> dict[str, Any] | None:
    """Return the error that `whence import` reads from a span; `ingest.own_spans` has its rules."""
    if "whence.error" in span.attributes:
        return own.meant(span.attributes["whence.error"])
    if span.status != m.ERROR:
        return None
    error = {"type": span.attributes.get("error.type", "error"), "message": span.message}
    for event in span.events:
        if event.name == "exception":
            error["stack"] = event.attributes["exception.stacktrace"]
    return error
