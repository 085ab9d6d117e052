"""One span of OpenTelemetry becomes records: a span, and what the conventions say happened in it.

Comes in: a `SpanIn`, read by the table of conventions, and whether a model call that it states was
counted before. Goes out: records. A model call becomes a generation, a tool a tool call, a
retriever or reranker its documents with their scores (what a reranker left out is dropped
evidence), an evaluation a score, a handoff a decision, an event an event. Nothing is dropped: what
has no field stays an attribute of the span.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from whence import _clock
from whence.ingest import evidence, keys, messages, reading, semconv, usage
from whence.ingest.evidence import number_of, text_of
from whence.ingest.otel import SPAN_KINDS, STATUS_ERROR, Happening, SpanIn
from whence.ingest.report import decimal
from whence.record.decision import Decision
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.span import SpanEnded, SpanStarted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whence.ingest.reading import Reading
    from whence.record.base import Record

_MAX_NS = 2**63 - 1
_S = 1_000_000_000
_MS = 1_000_000
_ASKED = frozenset({semconv.TOOL, semconv.RETRIEVER})
"""What is asked something under names of its own."""


def records_of(span: SpanIn, read: Reading, same_call: str | None) -> list[Record]:
    """Return the records of a span, its start first and its end last.

    Args:
        span: The span.
        read: Its attributes.
        same_call: Id of the span whose model call this one states again; None if it states its own.
    """
    what, fields = read.what, read.fields
    kind = "custom" if what is None else semconv.SPAN_KIND[what]
    if what == semconv.TOOL and span.events:
        _take_tool_events(span, fields)
    call = None
    if what in semconv.CALLS:
        if same_call is None:
            call = Conversation(read)
        else:
            kind = "step"
            read.rest = {**span.attributes, "same_call_as": same_call}
    given = call.raw_input if call else _given(read) if what in _ASKED else fields.get("input")
    made: list[Record] = [
        SpanStarted(
            ts=_clock.format_ns(span.begun_ns),
            run=span.trace,
            span=span.span,
            name=span.name,
            span_kind=kind,
            parent=span.parent or None,
            agent=text_of(fields.get("agent")),
            input=given,
            attributes=_attributes(span, read),
        )
    ]
    said = messages.Said()
    if span.events:
        made += happenings(span, span.events, call, said)
    if read.lists or "documents" in fields or what == semconv.RETRIEVER:
        made += evidence.sources(span, read)
        made += evidence.scores(span, read)
    if span.links:
        made += evidence.links(span, span.links)
    if what == semconv.HANDOFF:
        made.append(_handoff(span, fields))
    if span.ended_ns:
        made += _ends(span, read, call, said)
    else:
        made.append(_running(span))
    return made


def _take_tool_events(span: SpanIn, fields: dict[str, Any]) -> None:
    """Take what went into a tool and came out from its events, where no attribute says it."""
    said, rest = messages.tool_parts(span.events)
    if said and fields.keys().isdisjoint(said):
        span.events = rest
        fields |= said


def running_id(span: SpanIn) -> str:
    """Return the id of the event that says that a span came before it had ended."""
    return keys.record_id(span.trace, span.span, "running")


def _running(span: SpanIn) -> Event:
    return Event(
        ts=_clock.format_ns(span.begun_ns),
        run=span.trace,
        span=span.span,
        id=running_id(span),
        message="exported while it was running",
        level="debug",
    )


def _given(read: Reading) -> Any:
    """Return what went into a tool, or a retriever."""
    fields = read.fields
    given = fields.get("tool_input" if read.what == semconv.TOOL else "input")
    query = fields.get("query") if read.what == semconv.RETRIEVER else None
    if query is None or given is None:
        return query if given is None else given
    read.rest[semconv.FIELDS["query"][0]] = query
    return given


def failed(span: SpanIn) -> bool:
    """Whether a span says that it failed: by its status, or by the level of a platform."""
    return span.status == STATUS_ERROR or span.attributes.get(semconv.LEVEL) == semconv.FAILED


def _ends(
    span: SpanIn, read: Reading, call: Conversation | None, said: messages.Said
) -> list[Record]:
    """Return what ends a span: its call, its end, or both."""
    error = error_of(span, read.fields) if failed(span) else None
    if call is not None:
        return [generation(span, read, call, said, error)]
    ended = SpanEnded(
        ts=_clock.format_ns(span.ended_ns),
        run=span.trace,
        span=span.span,
        status="error" if error else "ok",
        duration_ns=duration_of(span.begun_ns, span.ended_ns),
        output=read.fields.get("output"),
        error=error,
    )
    if read.what != semconv.TOOL:
        return [ended]
    tool_name = text_of(read.fields.get("tool_name")) or span.name
    tool_call = _tool_call(span, read.fields, tool_name, error)
    return [tool_call] if tool_name == span.name else [tool_call, ended]


def _attributes(span: SpanIn, read: Reading) -> dict[str, Any] | None:
    made = {**span.origin.labels, **read.rest}
    if span.kind in SPAN_KINDS:
        made["otel.span_kind"] = SPAN_KINDS[span.kind]
    if span.state:
        made["otel.trace_state"] = span.state
    if span.dropped:
        made["otel.dropped_count"] = span.dropped
    return made or None


def duration_of(begun_ns: int, ended_ns: int) -> int | None:
    """Return the length of a span in nanoseconds; None where its times cannot be true."""
    length = ended_ns - begun_ns
    return length if 0 <= length <= _MAX_NS and begun_ns else None


def error_of(span: SpanIn, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the error of a failed span: its exception, its error type, its status message."""
    exception: dict[str, Any] = {}
    for event in span.events:
        if event.name == "exception":
            exception = event.attributes
    made = {
        "type": exception.get("exception.type") or fields.get("error_type") or "error",
        "message": exception.get("exception.message")
        or span.message
        or fields.get("error_message")
        or "",
    }
    stack = exception.get("exception.stacktrace")
    return {**made, "stack": stack} if stack else made


class Conversation:
    """What was sent in a model call and what came back, as far as its span says."""

    def __init__(self, read: Reading) -> None:
        self.sent = messages.find_sent(read)
        self.answered = messages.find_answered(read)
        given, query = read.fields.get("input"), read.fields.get("query")
        self.raw_input = given if self.sent else None
        """The request as sent, where the messages are stated apart from it."""
        self.raw_output = read.fields.get("output") if self.answered else None
        """The answer as it came, where the messages are stated apart from it."""
        if not self.sent:
            self.sent = _as_list(query if given is None else given)
        if not self.answered:
            self.answered = _as_list(read.fields.get("output"))


def generation(
    span: SpanIn,
    read: Reading,
    call: Conversation,
    said: messages.Said,
    error: dict[str, Any] | None,
) -> Generation:
    """Return the model call that a span stands for.

    Args:
        span: The span.
        read: Its attributes.
        call: What they say was said.
        said: What its events say was said.
        error: How it failed; None if it did not.
    """
    fields = read.fields
    answered = call.answered or said.answered
    cost_usd = _cost(fields)
    others = {
        "output.value": call.raw_output,
        "cost_in_usd": fields.get("cost_in"),
        "cost_out_usd": fields.get("cost_out"),
    }
    attributes = {name: value for name, value in others.items() if value is not None}
    operation = text_of(fields.get("operation"))
    return Generation(
        ts=_clock.format_ns(span.ended_ns),
        run=span.trace,
        span=span.span,
        id=keys.record_id(span.trace, span.span, "generation"),
        name=span.name,
        provider=text_of(fields.get("provider")),
        model=text_of(fields.get("model", fields.get("response_model"))),
        response_model=text_of(fields.get("response_model")),
        operation=operation or semconv.OPERATION[read.what or semconv.LLM],
        response_id=text_of(fields.get("response_id")),
        prompt_name=text_of(fields.get("prompt_name")),
        prompt_version=text_of(fields.get("prompt_version")),
        prompt_template=text_of(fields.get("prompt_template")),
        messages=call.sent or said.sent or None,
        output=answered or None,
        parameters=_parameters(read) or None,
        usage=usage.of_figures(reading.figures(read), read.stated) if read.stated else None,
        reasoning=text_of(fields.get("thoughts")) or messages.reasoning(answered),
        finish_reason=_finish_reason(fields.get("finish_reason")) or said.finish_reason,
        first_chunk_ns=_first_chunk(span, fields, said),
        duration_ns=duration_of(span.begun_ns, span.ended_ns),
        cost_usd=cost_usd,
        cost_source=None if cost_usd is None else "declared",
        seed=_whole(fields.get("seed")),
        status="error" if error else "ok",
        error=error,
        attributes=attributes or None,
    )


def _parameters(read: Reading) -> dict[str, Any]:
    made = read.parameters
    invocation = read.fields.get("invocation")
    if isinstance(invocation, dict):
        made = {**cast("dict[str, Any]", invocation), **made}
    elif invocation is not None:
        made["invocation"] = invocation
    tools = read.lists.get("tools") or read.fields.get("tools")
    if tools is not None:
        made["tools"] = tools
    query = read.fields.get("query")
    return made if query is None else {**made, "query": query}


def tool_call_id(span: SpanIn) -> str:
    """Return the id of the tool call that a span stands for, if it does."""
    return keys.record_id(span.trace, span.span, "tool_call")


def _tool_call(
    span: SpanIn, fields: dict[str, Any], tool_name: str, error: dict[str, Any] | None
) -> ToolCall:
    return ToolCall(
        ts=_clock.format_ns(span.ended_ns),
        run=span.trace,
        span=span.span,
        id=tool_call_id(span),
        tool_name=tool_name,
        tool_type=text_of(fields.get("tool_type")),
        input=fields.get("tool_input"),
        output=fields.get("tool_output"),
        duration_ns=duration_of(span.begun_ns, span.ended_ns),
        status="error" if error else "ok",
        error=error,
    )


def _handoff(span: SpanIn, fields: dict[str, Any]) -> Decision:
    return Decision(
        ts=_clock.format_ns(span.ended_ns or span.begun_ns),
        run=span.trace,
        span=span.span,
        id=keys.record_id(span.trace, span.span, "handoff"),
        name="handoff",
        what=fields.get("to_agent"),
        made_by=text_of(fields.get("from_agent")),
    )


def happenings(
    span: SpanIn,
    given: Iterable[Happening],
    call: Conversation | None = None,
    said: messages.Said | None = None,
) -> Iterator[Record]:
    """Yield events of a span.

    Events that are alike and say nothing but their time, as the chunks of a stream do, become one.

    Args:
        span: The span.
        given: The events.
        call: What was said in the call that the span stands for, if it does.
        said: Gets what they say of the conversation.
    """
    bare: dict[str, list[int]] = {}
    said = said or messages.Said()
    for number, event in enumerate(given):
        if event.name in semconv.CHUNKS and not said.first_chunk_ns:
            said.first_chunk_ns = event.time_ns
        if event.name == semconv.EVALUATION_EVENT:
            yield evidence.evaluation(span.trace, span.span, event, str(number))
        elif call is not None and messages.take_event(
            said, event, sent=not call.sent, answered=not call.answered
        ):
            continue
        elif event.attributes:
            yield _event(span, event, str(number))
        else:
            bare.setdefault(event.name, []).append(event.time_ns)
    for name, times_ns in bare.items():
        data = None if len(times_ns) == 1 else {"count": len(times_ns), "times_ns": times_ns}
        yield _event(span, Happening(name, times_ns[0], {}), "all", data)


def _event(
    span: SpanIn, event: Happening, number: str, data: dict[str, Any] | None = None
) -> Event:
    return Event(
        ts=_clock.format_ns(event.time_ns or span.begun_ns),
        run=span.trace,
        span=span.span,
        id=keys.record_id(span.trace, span.span, "event", event.name, number),
        message=event.name,
        level="error" if event.name == "exception" else "info",
        data=event.attributes or data,
    )


def _finish_reason(given: Any) -> str | None:
    """Return why the model stopped; of several choices each reason once."""
    if isinstance(given, list):
        reasons = [text for item in cast("list[Any]", given) if (text := text_of(item))]
        return ", ".join(dict.fromkeys(reasons)) or None
    return text_of(given)


def _first_chunk(span: SpanIn, fields: dict[str, Any], said: messages.Said) -> int | None:
    """Return the time to the first chunk in nanoseconds, as stated or as an event tells."""
    for name, unit in (("first_chunk_s", _S), ("first_chunk_ms", _MS)):
        stated = number_of(fields.get(name))
        if stated is None or not 0 <= stated * unit <= _MAX_NS:
            continue
        whole_ns = duration_of(span.begun_ns, span.ended_ns) or 0
        # Strands states milliseconds under a name that the conventions have for seconds.
        is_in_ms = stated.is_integer() and stated * _MS <= whole_ns < stated * unit
        return round(stated * (_MS if is_in_ms else unit))
    length = said.first_chunk_ns - span.begun_ns
    return length if said.first_chunk_ns and 0 <= length <= _MAX_NS else None


def _cost(fields: dict[str, Any]) -> float | None:
    """Return what a call cost in US dollars, as stated whole or in two parts."""
    total = decimal(fields.get("cost"))
    if total is not None:
        return float(total)
    parts = [d for name in ("cost_in", "cost_out") if (d := decimal(fields.get(name))) is not None]
    return float(sum(parts)) if parts else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int and abs(value) <= _MAX_NS else None


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return cast("list[Any]", value) if isinstance(value, list) else [value]
