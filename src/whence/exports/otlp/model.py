"""Spans on their way out, as plain data and apart from how they are written or sent.

Ids are lower-case hex as OpenTelemetry wants them, times Unix nanoseconds, attributes one mapping
of plain values. An id that OpenTelemetry cannot have (a foreign writer's) is replaced by one that
follows from it, so that what belongs together stays together.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal, cast

import msgspec

from whence import _ids
from whence.ingest import own
from whence.query import restore
from whence.record import codec, values

Convention = Literal["genai", "openinference", "both"]
CONVENTIONS: tuple[Convention, ...] = ("genai", "openinference", "both")

SCOPE = "whence"
"""Name of the instrumentation scope of what whence recorded itself."""
UNSET, OK, ERROR = 0, 1, 2
INTERNAL, CLIENT = 1, 3

_TRACE_CHARS, _SPAN_CHARS = 32, 16
_HEX = frozenset("0123456789abcdef")
_MAX_DEPTH = 32
"""From here on a value is text of JSON: protobuf refuses to read what is nested deeper than 100."""


class Options(msgspec.Struct, frozen=True):
    """How runs are put into spans."""

    convention: Convention = "both"
    """Which names attributes get."""
    content: bool = True
    """Whether prompts, answers, inputs and outputs are among them."""

    @property
    def genai(self) -> bool:
        """Whether the OpenTelemetry GenAI names are wanted."""
        return self.convention != "openinference"

    @property
    def openinference(self) -> bool:
        """Whether the OpenInference names are wanted."""
        return self.convention != "genai"


class EventOut(msgspec.Struct):
    """An event of a span."""

    name: str
    """What happened."""
    time_ns: int
    """When."""
    attributes: dict[str, Any]
    """Details."""


class LinkOut(msgspec.Struct):
    """A link to another span."""

    trace: str
    """Its trace id."""
    span: str
    """Its span id."""
    attributes: dict[str, Any]
    """Details."""


class SpanOut(msgspec.Struct):
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
    """When it ended."""
    attributes: dict[str, Any]
    """Its attributes."""
    resource: dict[str, Any]
    """Attributes of where it was recorded, shared by the spans of a run."""
    events: list[EventOut] = []
    """Its events."""
    links: list[LinkOut] = []
    """Its links."""
    status: int = UNSET
    """Unset, ok or error."""
    message: str = ""
    """What the status says."""
    kind: int = INTERNAL
    """As OTLP counts them: 1 internal, 2 server, 3 client, 4 producer, 5 consumer."""
    state: str = ""
    """W3C trace state."""
    scope: str = SCOPE
    """Name of the instrumentation."""
    version: str = ""
    """Its version."""


def trace_id(run: str) -> str:
    """Return the trace id of a run: its own id, where that is one."""
    return run if is_id(run, _TRACE_CHARS) else _digest(run, _TRACE_CHARS // 2)


def span_id(span: str) -> str:
    """Return the id of a span or of a record that becomes one: its own id, where that is one."""
    return span if is_id(span, _SPAN_CHARS) else _digest(span, _SPAN_CHARS // 2)


def root_id(run: str) -> str:
    """Return the id of the span that stands for a run."""
    return _ids.root_id(trace_id(run))


def is_id(text: str, chars: int) -> bool:
    """Whether a text is an id of OpenTelemetry: so many lower-case hex digits, not all 0."""
    return len(text) == chars and _HEX.issuperset(text) and text.strip("0") != ""


def is_trace_id(text: str) -> bool:
    """Whether a text is a trace id."""
    return is_id(text, _TRACE_CHARS)


def is_span_id(text: str) -> bool:
    """Whether a text is a span id."""
    return is_id(text, _SPAN_CHARS)


def _digest(text: str, size: int) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size).hexdigest()


def plain(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - one return a form
    """Return a value as attributes may have it: text, numbers, bytes, lists and mappings of them.

    Text that UTF-8 cannot hold is escaped, an integer beyond 64 bits is text.
    """
    if value is None or isinstance(value, (bool, float, bytes)):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, int):
        return value if values.INT_MIN <= value <= values.INT_MAX else str(value)
    if depth >= _MAX_DEPTH:
        return json_text(value)
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {clean(str(key)): plain(item, depth + 1) for key, item in items}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in cast("list[Any]", value)]
    return json_text(value)


def clean(text: str) -> str:
    """Return text that UTF-8 can hold."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def json_text(value: Any) -> str:
    """Return a value as JSON; what JSON has no form for as a marker (see `record.values`)."""
    return codec.encode_json(restore.to_json(value)).decode()


def flat(value: Any) -> Any:
    """Return a value for an attribute that must not be structured: what is becomes JSON."""
    if isinstance(value, (dict, list, tuple, msgspec.Struct)):
        return json_text(value)
    return plain(value)


def exact(value: Any) -> Any:
    """Return a value for an attribute from which `ingest.own.meant` tells exactly what it was.

    Texts and numbers are as they are, but for a text that could be taken for JSON, and for what an
    attribute cannot hold: those, and everything structured, are JSON.
    """
    if isinstance(value, str):
        return value if own.is_verbatim(value) and clean(value) == value else json_text(value)
    if isinstance(value, (bool, float)):
        return value
    if isinstance(value, int) and values.INT_MIN <= value <= values.INT_MAX:
        return value
    return json_text(value)
