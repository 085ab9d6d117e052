"""Spans as objects of an OpenTelemetry SDK, for the exporters and providers that a program has.

Comes in: spans. Goes out: `ReadableSpan`s with the same ids. A provider makes ids of its own for
spans that are started through it, so finished ones are handed to its processors instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence import _extras
from whence.exports.otlp import model as m

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.exports.otlp.model import SpanOut


def readable(spans: Sequence[SpanOut], resource: Any = None) -> list[Any]:
    """Return spans as the SDK has them.

    Args:
        spans: The spans.
        resource: A resource of the SDK that theirs is added to; None for theirs alone.

    Raises:
        MissingExtraError: opentelemetry-sdk is not installed.
    """
    trace: Any = _extras.require("opentelemetry.trace", "otel", "handing spans to an exporter")
    sdk: Any = _extras.require("opentelemetry.sdk.trace", "otel", "handing spans to an exporter")
    resources: Any = _extras.require("opentelemetry.sdk.resources", "otel", "handing spans over")
    scopes: Any = _extras.require("opentelemetry.sdk.util.instrumentation", "otel", "handing over")
    made_resources: dict[int, Any] = {}

    def context(trace_id: str, span_id: str, state: str = "") -> Any:
        flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
        states = trace.TraceState.from_header([state]) if state else None
        return trace.SpanContext(int(trace_id, 16), int(span_id, 16), False, flags, states)  # noqa: FBT003 - not remote

    def one(span: SpanOut) -> Any:
        of_run = made_resources.get(id(span.resource))
        if of_run is None:
            own = resources.Resource(span.resource)
            of_run = own if resource is None else own.merge(resource)
            made_resources[id(span.resource)] = of_run
        code = (trace.StatusCode.UNSET, trace.StatusCode.OK, trace.StatusCode.ERROR)[span.status]
        described = span.message if span.status == m.ERROR else None
        return sdk.ReadableSpan(
            name=span.name,
            context=context(span.trace, span.span, span.state),
            parent=context(span.trace, span.parent) if span.parent else None,
            resource=of_run,
            attributes=span.attributes,
            events=[sdk.Event(e.name, e.attributes, e.time_ns) for e in span.events],
            links=[trace.Link(context(x.trace, x.span), x.attributes) for x in span.links],
            kind=trace.SpanKind(span.kind - 1),
            status=trace.Status(code, described),
            start_time=span.begun_ns,
            end_time=span.ended_ns,
            instrumentation_scope=scopes.InstrumentationScope(span.scope, span.version),
        )

    return [one(span) for span in spans]
