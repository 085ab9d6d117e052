"""Spans and log records of OpenTelemetry, as plain data and apart from how they were sent.

Every decoder (`otlp_wire`, `otel_sdk`) gives these; `spans` and `logs` turn them into records. Ids
are lower-case hex, times Unix nanoseconds, attributes one flat mapping of plain values.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

STATUS_ERROR = 2
SPAN_KINDS = {2: "server", 3: "client", 4: "producer", 5: "consumer"}
"""The kinds of spans that say more than `internal`."""


class Origin(msgspec.Struct):
    """What spans of one exporter and instrumentation share."""

    resource: dict[str, Any]
    """Attributes of the resource: service, host, process."""
    scope: str = ""
    """Name of the instrumentation."""
    version: str = ""
    """Its version."""
    labels: dict[str, Any] = {}
    """What of this every record of its spans says."""

    def __post_init__(self) -> None:
        service = self.resource.get("service.name")
        if not isinstance(service, str) or service.startswith("unknown_service"):
            service = ""
        given = {
            "otel.scope.name": self.scope,
            "otel.scope.version": self.version,
            "service.name": service,
        }
        self.labels = {name: value for name, value in given.items() if value}


class Happening(msgspec.Struct, frozen=True, gc=False):
    """An event of a span."""

    name: str
    """What happened."""
    time_ns: int
    """When."""
    attributes: dict[str, Any]
    """Details."""


class Tie(msgspec.Struct, frozen=True, gc=False):
    """A link of a span to another one."""

    trace: str
    """Trace id of the other."""
    span: str
    """Span id of the other."""
    attributes: dict[str, Any]
    """Details."""


class SpanIn(msgspec.Struct, gc=False):
    """One span."""

    trace: str
    """Trace id, 32 hex digits."""
    span: str
    """Span id, 16 hex digits."""
    parent: str
    """Id of the parent span; empty for a root."""
    name: str
    """Its name."""
    begun_ns: int
    """When it began."""
    ended_ns: int
    """When it ended; 0 if it has not."""
    attributes: dict[str, Any]
    """Its attributes."""
    origin: Origin
    """Where it comes from."""
    events: list[Happening] = []
    """Its events."""
    links: list[Tie] = []
    """Its links."""
    status: int = 0
    """0 unset, 1 ok, 2 error."""
    message: str = ""
    """What the status says."""
    kind: int = 0
    """Internal, server, client, producer or consumer."""
    state: str = ""
    """W3C trace state."""
    dropped: int = 0
    """How many attributes, events and links the SDK left out."""


class LogIn(msgspec.Struct, gc=False):
    """One log record."""

    trace: str
    """Trace id; empty if it belongs to none."""
    span: str
    """Span id; empty if it belongs to none."""
    time_ns: int
    """When it happened, or else when it was seen; 0 if neither is known."""
    event: str
    """Name of the event; empty for a plain log line."""
    severity: int
    """1 to 24; 0 if unknown."""
    severity_text: str
    """The source's own word for it."""
    body: Any
    """What was logged."""
    attributes: dict[str, Any]
    """Details."""
    origin: Origin
    """Where it comes from."""


class Request(msgspec.Struct):
    """What one request, or one line of a file, holds.

    Spans and logs are decoded as they are gone through: a small body may hold very many.
    """

    spans: Iterable[SpanIn] = ()
    """Spans, to be gone through once."""
    logs: Iterable[LogIn] = ()
    """Log records, to be gone through once."""
    rejected_spans: int = 0
    """Spans that are none for want of an id, of those gone through."""
    why: str = ""
    """Why the last of them was rejected."""
    has_metrics: bool = False
    """Whether it holds metrics, which are not imported."""
    is_other: bool = False
    """Whether it says something, and nothing that a request says."""
