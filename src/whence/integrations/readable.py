"""Finished spans of an OpenTelemetry SDK as the importers take them.

Comes in: a `ReadableSpan`. Goes out: a `SpanIn`. Where content is not to be recorded, or texts are
to be redacted, that is done here, before anything is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from whence.ingest import semconv
from whence.ingest.otel import Happening, Origin, SpanIn, Tie

_FIELDS_WITH_CONTENT = (
    "instructions",
    "messages",
    "answers",
    "input",
    "output",
    "tool_input",
    "tool_output",
    "query",
    "documents",
    "prompt_template",
)
_LISTS_WITH_CONTENT = frozenset(
    {"messages", "answers", "embeddings", "documents", "documents_in", "documents_out"}
)
_CONTENT = frozenset(name for field in _FIELDS_WITH_CONTENT for name in semconv.FIELDS[field])
_CONTENT_PREFIXES = tuple(
    prefix for prefix, name in semconv.LISTS.items() if name in _LISTS_WITH_CONTENT
)
_CONTENT_EVENTS = ("gen_ai.content.", "gen_ai.choice")
_WITHHELD = "withheld: it could not be redacted"

Redact = Callable[[str, str], Any]
"""Gets a text and the name it stands under, returns the text to keep."""


def span_in(span: Any, *, content: bool = True, redact: Redact | None = None) -> SpanIn:
    """Return a span of the SDK as the importers take it.

    Args:
        span: A `ReadableSpan` that has ended.
        content: Whether prompts, answers, inputs and outputs are kept.
        redact: What every text goes through; where it raises, the text is withheld.
    """
    context, parent, scope = span.context, span.parent, span.instrumentation_scope
    resource = _plain(dict(span.resource.attributes))
    origin = Origin(
        resource, (scope.name if scope else "") or "", (scope.version if scope else "") or ""
    )

    def attributes(given: Any) -> dict[str, Any]:
        made = cast("dict[str, Any]", _plain(given or {}))
        if not content:
            made = {name: value for name, value in made.items() if not _is_content(name)}
        if redact is not None:
            made = {name: _redacted(value, name, redact) for name, value in made.items()}
        return made

    events = [
        Happening(event.name, event.timestamp or 0, attributes(event.attributes))
        for event in span.events or ()
        if content or not _carries_content(event.name)
    ]
    message = span.status.description or ""
    return SpanIn(
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
        f"{parent.span_id:016x}" if parent is not None else "",
        span.name,
        span.start_time or 0,
        span.end_time or 0,
        attributes(span.attributes),
        origin,
        events,
        [
            Tie(
                f"{link.context.trace_id:032x}",
                f"{link.context.span_id:016x}",
                attributes(link.attributes),
            )
            for link in span.links or ()
        ],
        span.status.status_code.value,
        message if redact is None else str(_redacted(message, "status", redact)),
        span.kind.value + 1,
        context.trace_state.to_header() if context.trace_state else "",
        span.dropped_attributes + span.dropped_events + span.dropped_links,
    )


def _is_content(name: str) -> bool:
    return name in _CONTENT or name.startswith(_CONTENT_PREFIXES)


def _carries_content(event: str) -> bool:
    return event.startswith(_CONTENT_EVENTS) or (
        event.startswith("gen_ai.") and event.endswith(".message")
    )


def _plain(value: Any) -> Any:
    """Return an attribute's value as plain data: the SDK freezes lists and mappings."""
    if value is None or isinstance(value, (str, bool, int, float, bytes)):
        return value
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(name): _plain(item) for name, item in items}
    if isinstance(value, Sequence):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    return str(value)


def _redacted(value: Any, name: str, redact: Redact) -> Any:
    if isinstance(value, str):
        try:
            return redact(value, name)
        except Exception:  # noqa: BLE001 - the user's function may do anything; the text must not get out
            return _WITHHELD
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value).items()
        return {key: _redacted(item, f"{name}.{key}", redact) for key, item in items}
    if isinstance(value, list):
        return [_redacted(item, name, redact) for item in cast("list[Any]", value)]
    return value
