"""A span of whence's own OTLP export becomes the span, or the call, that it was.

Comes in: a `SpanIn` with `whence.span.kind`. Goes out: records. What the conventions say of it is
read by the table of conventions as on any other span; what they have no name for is in `whence.*`
attributes, and those that say nothing that fits stay attributes of the span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence import _clock
from whence.ingest import keys, loose, messages, own, own_points, reading, semconv, spans
from whence.ingest.otel import SPAN_KINDS, STATUS_ERROR, SpanIn
from whence.ingest.own import Stated
from whence.ingest.reading import Reading, json_of
from whence.record.generation import Generation, ToolCall, Usage
from whence.record.run import Update
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.record.base import Record

_GENERATION = "whence.generation."
_TOOL = "whence.tool_call."
_WHAT = {"retrieval": semconv.RETRIEVER, "agent": semconv.AGENT}
_BUCKETS = ("input_uncached", "cache_read", "cache_write", "output_visible", "reasoning")


class OwnSpan:
    """A span of an export, with what is read of it."""

    def __init__(self, span: SpanIn) -> None:
        given = span.attributes
        self.span = span
        self.stated = Stated(given)
        self.kind = self.stated.text(own.SPAN_KIND)
        self.error = _error(span, self.stated)
        self.call: str | None = None
        """What names of the call that the span stands for begin with."""
        for prefix in (_GENERATION, _TOOL):
            if own.is_id(given.get(f"{prefix}id")):
                self.call = prefix
        what = {_GENERATION: semconv.LLM, _TOOL: semconv.TOOL}.get(self.call or "")
        what = what or _WHAT.get(self.kind or "", semconv.CHAIN)
        self.read = reading.read(self.stated.of_conventions(), what)

    @property
    def is_call(self) -> bool:
        """Whether it stands for nothing but a call."""
        given = self.span.attributes
        return given.get(own.RECORD) == "call" and given.get(f"{self.call}id") == self.span.span

    def value(self, name: str) -> Any:
        """Return a value that has a name in the conventions."""
        return own.restored(self.read.fields.get(name))


def records_of(it: OwnSpan, parent: str) -> list[Record]:
    """Return the records of a span.

    Args:
        it: The span.
        parent: Id of the span around it; empty for none.
    """
    if it.is_call:
        return [_own_call(it)]
    span, stated = it.span, it.stated
    ended = stated.get("whence.span.ended", own.is_truth, absent=True) is not False
    made: list[Record] = list(points_of(it, span.span))
    call = _call(it, span.span) if it.call else None
    if call is not None:
        made.append(call)
    return [*_span(it, parent, call, ended=ended and bool(span.ended_ns)), *made]


def points_of(it: OwnSpan, place: str | None) -> Iterator[Record]:
    """Yield what was recorded in a span, or in the run that it stands for.

    Args:
        it: The span.
        place: Id of the span; None for the run.
    """
    span = it.span
    yield from own_points.of_events(span, place)
    yield from own_points.of_links(span, place)
    if it.read.what == semconv.RETRIEVER:
        yield from own_points.of_documents(span, it.read)


def _span(
    it: OwnSpan, parent: str, call: Generation | ToolCall | None, *, ended: bool
) -> Iterator[Record]:
    """Yield start and end of a span, and what became known between them."""
    span, stated = it.span, it.stated
    values = {name: _value(it, name, call) for name in ("input", "output")}
    changes = {
        "tags": stated.get("tag.tags", own.is_texts),
        "output_count": stated.get("whence.span.output_count", own.is_whole),
    }
    status = "error" if span.status == STATUS_ERROR else "ok"
    told = stated.get("whence.span.status", own.is_text, status)
    status = told if isinstance(told, str) else status
    length_ms = stated.get("whence.span.duration_ms", own.is_ms, None)
    if not ended:
        changes |= {"output": values["output"], "status": status}
    if it.kind == "tool":  # a call without an input would take the one that its span begins with
        changes["input"] = values.pop("input")
    start = SpanStarted(
        ts=_clock.format_ns(span.begun_ns),
        run=span.trace,
        span=span.span,
        stage=_or_none(stated.get("whence.span.stage", own.is_text, _stage(it))),
        name=span.name,
        span_kind=it.kind if isinstance(it.kind, str) else "custom",
        parent=_or_none(stated.get("whence.span.parent", own.is_text, parent or None)),
        agent=_or_none(stated.text("whence.span.agent")),
        input=values.get("input"),
        input_count=_or_none(stated.get("whence.span.input_count", own.is_whole)),
        algorithm=_or_none(stated.text("whence.span.algorithm")),
    )
    stated.take(own.RECORD, "whence.span.same")
    yield msgspec.structs.replace(start, attributes=stated.of_user(_apart(span)) or None)
    known = {name: v for name, v in changes.items() if v is not msgspec.UNSET and v is not None}
    if known:
        yield Update(
            ts=_clock.format_ns(span.ended_ns or span.begun_ns),
            run=span.trace,
            span=span.span,
            id=keys.record_id(span.trace, span.span, "stated"),
            **known,
        )
    if ended:
        yield SpanEnded(
            ts=_clock.format_ns(span.ended_ns),
            run=span.trace,
            span=span.span,
            status=status,
            duration_ns=spans.duration_of(span.begun_ns, span.ended_ns)
            if length_ms is msgspec.UNSET
            else own.length_ns(length_ms),
            output=values["output"],
            error=it.error,
        )


def _stage(it: OwnSpan) -> str | None:
    return it.span.name if it.kind == "stage" else None


def _or_none(value: Any) -> Any:
    return None if value is msgspec.UNSET else value


def _value(it: OwnSpan, name: str, call: Generation | ToolCall | None) -> Any:
    """Return the input or output of a span, apart from what its call has."""
    stated = it.stated.get(f"whence.span.{name}", own.anything)
    if stated is not msgspec.UNSET:
        return stated
    if call is None:
        return it.value(name)
    same = it.span.attributes.get("whence.span.same")
    if isinstance(call, ToolCall) and isinstance(same, list) and name in same:
        return getattr(call, name)
    return None


def _apart(span: SpanIn) -> dict[str, Any]:
    """Return what a span is said to be apart from its attributes."""
    made = dict(span.origin.labels)
    if span.kind in SPAN_KINDS:
        made["otel.span_kind"] = SPAN_KINDS[span.kind]
    if span.state:
        made["otel.trace_state"] = span.state
    return made


def _error(span: SpanIn, stated: Stated) -> dict[str, Any] | None:
    """Return the error of a span as it was recorded."""
    error: dict[str, Any] | None = None
    if span.status == STATUS_ERROR:
        kind = span.attributes.get("error.type")
        error = {"type": kind if isinstance(kind, str) else "error", "message": span.message}
        for event in span.events:
            stack = event.attributes.get("exception.stacktrace")
            if own_points.is_stack(event) and isinstance(stack, str):
                error["stack"] = stack
    exact = stated.get("whence.error", own.is_mapping, error)
    return error if exact is msgspec.UNSET else exact


def _own_call(it: OwnSpan) -> Record:
    """Return the call that a span of its own stands for."""
    place = it.stated.text(f"{it.call}span")
    call = _call(it, place if own.is_id(place) else None)
    it.stated.take(own.RECORD)
    left = it.stated.of_user({})
    if not left:
        return call
    return msgspec.structs.replace(call, attributes={**left, **(call.attributes or {})})


def _call(it: OwnSpan, place: str | None) -> Generation | ToolCall:
    call = _generation(it) if it.call == _GENERATION else _tool_call(it)
    changes: dict[str, Any] = {"span": place, "id": it.stated.text(f"{it.call}id")}
    for name, check, absent in (
        ("ts_ns", own.is_time, msgspec.UNSET),
        ("stage", own.is_text, None),
        ("duration_ms", own.is_ms, None),
        ("status", own.is_text, msgspec.UNSET),
        ("error", own.is_mapping, it.error),
        ("attributes", own.is_mapping, None),
    ):
        value = it.stated.get(f"{it.call}{name}", check, absent)
        if value is msgspec.UNSET:
            continue
        if name == "ts_ns":
            changes["ts"] = _clock.format_ns(it.span.ended_ns if value is None else value)
        elif name == "duration_ms":
            changes["duration_ns"] = own.length_ns(value)
        elif name != "status" or value is not None:
            changes[name] = value
    return msgspec.structs.replace(call, **changes)


def _tool_call(it: OwnSpan) -> ToolCall:
    stated, read = it.stated, it.read
    name = read.fields.get("tool_name")
    kind = read.fields.get("tool_type")
    made: dict[str, Any] = {
        "cache_hit": stated.get(f"{_TOOL}cache_hit", own.is_truth),
        "cache_key": stated.text(f"{_TOOL}cache_key"),
        "retry_count": stated.get(f"{_TOOL}retry_count", own.is_whole),
        "rate_limit_delay_ms": stated.get(f"{_TOOL}rate_limit_delay_ms", own.is_number),
    }
    for value in ("input", "output"):
        exact = stated.get(f"{_TOOL}{value}", own.anything)
        made[value] = it.value(f"tool_{value}") if exact is msgspec.UNSET else exact
    return ToolCall(
        ts=_clock.format_ns(it.span.ended_ns),
        run=it.span.trace,
        tool_name=name if isinstance(name, str) else it.span.name,
        tool_type=kind if isinstance(kind, str) else None,
        **{name: v for name, v in made.items() if v is not msgspec.UNSET},
    )


def _generation(it: OwnSpan) -> Generation:
    read, stated, span = it.read, it.stated, it.span
    conversation = spans.Conversation(read)
    made = spans.generation(span, read, conversation, messages.Said(), it.error)
    changes: dict[str, Any] = {
        "name": stated.text(f"{_GENERATION}name"),
        "model": _text(read, "model"),
        "messages": own.restored(made.messages),
        "output": own.restored(made.output),
        "parameters": _parameters(read, stated) or None,
        "usage": _usage(made.usage, stated),
        "seed": seed if own.is_whole(seed := read.fields.get("seed")) else None,
        "attributes": None,
    }
    for name in ("provider", "response_model", "response_id", "prompt_name", "prompt_version"):
        changes[name] = _text(read, name)
    changes["prompt_template"] = _text(read, "prompt_template")
    if changes["messages"] and stated.get(own.FORM, lambda form: form == own.CHAT) == own.CHAT:
        changes["messages"] = messages.of_parts(changes["messages"])
    reasons = loose.sequence(read.fields.get("finish_reason"))
    if len(reasons) == 1 and isinstance(reasons[0], str):
        changes["finish_reason"] = reasons[0]
    for name, check, absent in (
        ("operation", own.is_text, msgspec.UNSET),
        ("output", own.anything, msgspec.UNSET),
        ("reasoning", own.anything, msgspec.UNSET),
        ("attempt", own.is_whole, None),
        ("cost_source", own.is_text, None),
        ("price", own.is_mapping, None),
        ("media", own.is_mappings, None),
        ("policy", own.is_mapping, None),
    ):
        changes[name] = stated.get(f"{_GENERATION}{name}", check, absent)
    first_ms = stated.get(f"{_GENERATION}first_chunk_ms", own.is_ms, None)
    if first_ms is not msgspec.UNSET:
        changes["first_chunk_ns"] = own.length_ns(first_ms)
    if changes["output"] is msgspec.UNSET:
        changes["output"] = own.restored(made.output)
    known = {name: value for name, value in changes.items() if value is not msgspec.UNSET}
    return msgspec.structs.replace(made, **known)


def _text(read: Reading, name: str) -> Any:
    """Return a text as it was stated, an empty one too; UNSET for what is none."""
    value = read.fields.get(name)
    return value if value is None or isinstance(value, str) else msgspec.UNSET


def _parameters(read: Reading, stated: Stated) -> dict[str, Any]:
    given = loose.mapping(read.fields.get("invocation"))
    made = own.restored({**given, **read.parameters, **stated.parameters()})
    tools = read.fields.get("tools")
    if tools is None and "tools" in read.lists:
        tools = [json_of(loose.mapping(one).get("json_schema", one)) for one in read.lists["tools"]]
    return made if tools is None else {**made, "tools": own.restored(tools)}


def _usage(read: Usage | None, stated: Stated) -> Usage | None:
    """Return the tokens in the buckets that were recorded."""
    buckets = stated.get("whence.usage.buckets", own.is_mapping, None)
    counts = loose.mapping(buckets)
    verbatim = stated.get("whence.usage.stated", own.is_mapping, None)
    modalities = stated.get("whence.usage.modalities", own.is_mapping, None)
    if not counts.keys() <= set(_BUCKETS) or not all(map(own.is_whole, counts.values())):
        return read
    if not all(map(own.is_whole, loose.mapping(modalities).values())):
        modalities = None
    if buckets is None or buckets is msgspec.UNSET:
        return read
    return Usage(**counts, stated=_or_none(verbatim), modalities=_or_none(modalities))
