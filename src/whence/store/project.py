"""Records become rows: the one place where it is decided what a run, span or point row is.

Comes in: records with their place in the log. Goes out: rows. Every store uses it, so that
replaying a log anywhere gives the same rows. A point record becomes one row. A run or span is
gathered from its start, updates and end in a `RunState` or `SpanState`; a state can be merged with
another one of the same id, because a run may be spread over segments of several processes. What a
state says does not depend on the order in which segments were read or states were merged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from whence import _clock
from whence.record import usage as usage_of
from whence.record.decision import Decision, Factor
from whence.record.event import Event, Foreign, Gap
from whence.record.generation import Generation, ToolCall, Transformation
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.score import Annotation, Output, Score
from whence.record.source import Source
from whence.record.span import SpanEnded, SpanStarted
from whence.store import rows as r

if TYPE_CHECKING:
    from whence.record.codec import AnyRecord

_parse = _clock.parse_ns
_End = TypeVar("_End", RunEnded, SpanEnded)
FindStart = Callable[[str, str, str], SpanStarted | None]
"""Gets run, span and the segment that asks.

Returns the span's start from an earlier segment of the same writer.
"""


class CallEnd(msgspec.Struct, frozen=True):
    """A call recorded in a span.

    If the span stands for it, it ends the span unless a `span_ended` says more.
    """

    ts: str
    id: str
    tool_name: str | None
    """Which tool; null for a model."""
    duration_ns: int | None
    status: str
    error: dict[str, Any] | None


class SpanState(msgspec.Struct):
    """What is known of a span so far."""

    id: str
    run: str
    writer: str = ""
    start: SpanStarted | None = None
    end: SpanEnded | None = None
    calls: list[CallEnd] = []
    """The latest call of each tool, and of a model, that may turn out to end it."""
    updates: list[Update] = []

    @property
    def call(self) -> CallEnd | None:
        """The call that the span stands for, as far as its start is known."""
        start = self.start
        return next((c for c in self.calls if start and _stands_for(start, c.tool_name)), None)

    @property
    def is_whole(self) -> bool:
        """Whether both its start and its end are known."""
        return self.start is not None and (self.end is not None or self.call is not None)

    @property
    def is_row(self) -> bool:
        """Whether more is known of it than that calls name it as theirs."""
        return self.start is not None or self.end is not None or bool(self.updates)


class RunState(msgspec.Struct):
    """What is known of a run so far, with its totals."""

    id: str
    writer: str = ""
    first_ns: int = 0
    start: RunStarted | None = None
    end: RunEnded | None = None
    updates: list[Update] = []
    places: dict[str, list[int]] = {}
    """Segment name to the offset of the run's first line and of its last one."""
    records: int = 0
    spans: int = 0
    decisions: int = 0
    generations: int = 0
    tool_calls: int = 0
    failed_calls: int = 0
    failed_spans: set[str] = set()
    """Spans whose `span_ended` says so."""
    failed_in: set[str] = set()
    """Spans in which a call failed: their own failure is not counted again."""
    lost: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    flagged: bool = False


class Projection:
    """Rows gathered from records.

    Feed it in the order of the log; a later call adds to what is there.

    Args:
        find_start: Finds a span's start in segments before the one given, for the few that began
            before a rotation.
    """

    def __init__(self, find_start: FindStart | None = None) -> None:
        self._find_start = find_start
        self._found_starts: dict[tuple[str, str, str], SpanStarted | None] = {}
        self.points: dict[str, list[r.Row]] = {table: [] for table in POINT_TABLES}
        self.runs: dict[str, RunState] = {}
        self.spans: dict[tuple[str, str], SpanState] = {}
        self.touched_runs: set[str] = set()
        self.touched_spans: set[tuple[str, str]] = set()

    def add(self, record: AnyRecord, segment: str, offset: int) -> None:
        """Take one record, its references resolved, from a line of `segment` (`day/writer.n`)."""
        run_id = record.run
        ts_ns = _timestamp(record)
        state = self._run_state(run_id, segment, ts_ns)
        place = state.places.get(segment)
        if place is None:
            state.places[segment] = [offset, offset]
        else:
            place[1] = offset
        state.records += 1
        if isinstance(record, (SpanStarted, SpanEnded)) or (
            isinstance(record, Update) and record.span
        ):
            self._add_span(record, state, segment)
        elif isinstance(record, RunStarted):
            if state.start is None or (state.start.id and not record.id):
                state.start = record
                state.writer = writer_of(segment)
        elif isinstance(record, RunEnded):
            state.end = _later(state.end, record)
        elif isinstance(record, Update):
            state.updates.append(record)
        elif not isinstance(record, Foreign):
            self._add_point(record, state, segment, ts_ns)

    def _run_state(self, run_id: str, segment: str, ts_ns: int) -> RunState:
        state = self.runs.get(run_id)
        if state is None:
            state = self.runs[run_id] = RunState(run_id, writer_of(segment), ts_ns)
        elif ts_ns < state.first_ns:
            state.first_ns = ts_ns
        self.touched_runs.add(run_id)
        return state

    def _add_span(
        self, record: SpanStarted | SpanEnded | Update, state: RunState, segment: str
    ) -> None:
        key = (record.run, record.span or "")
        span = self.spans.get(key)
        if span is None:
            span = self.spans[key] = SpanState(key[1], key[0], writer_of(segment))
        self.touched_spans.add(key)
        if isinstance(record, SpanStarted):
            if span.start is None:
                span.start = record
                span.writer = writer_of(segment)
                state.spans += 1
        elif isinstance(record, SpanEnded):
            if record.status == "error":
                state.failed_spans.add(key[1])
            span.end = _later(span.end, record)
        else:
            span.updates.append(record)

    def _add_point(self, record: AnyRecord, state: RunState, segment: str, ts_ns: int) -> None:
        build = _BUILDERS.get(type(record))
        if build is None:
            return
        if isinstance(record, (ToolCall, Generation)) and record.span:
            self._add_call(record, record.span, segment)
        if isinstance(record, ToolCall) and record.span and record.input is None:
            record = self._with_input(record, record.span, segment)
        table, make = build
        common = {
            "id": record.id or f"{segment}:{record.seq}",
            "run": record.run,
            "span": record.span,
            "stage": record.stage,
            "ts_ns": ts_ns,
            "extra": record.extra,
        }
        self.points[table].append(make(record, common))
        _count(state, record)

    def _add_call(self, record: ToolCall | Generation, span_id: str, segment: str) -> None:
        """Keep a call for the span it was recorded in, unless that is known to be no such span."""
        tool_name = record.tool_name if isinstance(record, ToolCall) else None
        key = (record.run, span_id)
        span = self.spans.get(key)
        if span is None:
            span = self.spans[key] = SpanState(span_id, record.run, writer_of(segment))
        elif span.start is not None and not _stands_for(span.start, tool_name):
            return
        call = CallEnd(
            record.ts, record.id, tool_name, record.duration_ns, record.status, record.error
        )
        span.calls = _latest_calls([*span.calls, call])
        self.touched_spans.add(key)

    def _with_input(self, record: ToolCall, span_id: str, segment: str) -> ToolCall:
        """Return a call with the input that only its span's start has.

        Only what the same writer recorded before is asked: it was read before in any case, so that
        the row does not depend on what else has been read.
        """
        start = self._start_of(record.run, span_id, segment)
        if start is None or not _stands_for(start, record.tool_name):
            return record
        return msgspec.structs.replace(record, input=start.input)

    def _start_of(self, run: str, span_id: str, segment: str) -> SpanStarted | None:
        key = (run, span_id)
        known = self.spans.get(key)
        if known is not None and known.start is not None:
            return known.start if known.writer == writer_of(segment) else None
        if self._find_start is None:
            return None
        asking = (run, span_id, writer_of(segment))
        if asking not in self._found_starts:
            self._found_starts[asking] = self._find_start(run, span_id, segment)
        return self._found_starts[asking]


def _stands_for(start: SpanStarted, tool_name: str | None) -> bool:
    """Whether a call of a tool, or of a model where None, is the one a span stands for."""
    if tool_name is None:
        return start.span_kind == "generation"
    return start.span_kind == "tool" and start.name == tool_name


def _latest_calls(calls: list[CallEnd]) -> list[CallEnd]:
    """Return the latest call of each tool and of a model."""
    by_tool: dict[str | None, CallEnd] = {}
    for call in calls:
        known = by_tool.get(call.tool_name)
        if known is None or (call.ts, call.id) > (known.ts, known.id):
            by_tool[call.tool_name] = call
    return list(by_tool.values())


def _later(a: _End | None, b: _End | None) -> _End | None:
    if a is None or b is None:
        return a or b
    return b if (not b.id, b.ts, b.seq) > (not a.id, a.ts, a.seq) else a


def _count(state: RunState, record: Any) -> None:
    if isinstance(record, Decision):
        state.decisions += 1
    elif isinstance(record, Generation):
        state.generations += 1
        _count_failure(state, record)
        state.input_tokens = add_known(state.input_tokens, usage_of.input_tokens(record.usage))
        state.output_tokens = add_known(state.output_tokens, usage_of.output_tokens(record.usage))
        state.cost_usd = add_known(state.cost_usd, record.cost_usd)
    elif isinstance(record, ToolCall):
        state.tool_calls += 1
        _count_failure(state, record)
    elif isinstance(record, Gap):
        state.lost += record.lost
    elif isinstance(record, Annotation):
        state.flagged = state.flagged or (record.flag is not None and record.target == record.run)


def _count_failure(state: RunState, record: ToolCall | Generation) -> None:
    if record.status == "error":
        state.failed_calls += 1
        if record.span:
            state.failed_in.add(record.span)


def add_known(total: Any, value: Any) -> Any:
    """Return the sum of two numbers of which either may be unknown; None if both are."""
    if value is None:
        return total
    return value if total is None else total + value


def writer_of(segment: str) -> str:
    """Return the writer's name in a segment name `day/writer.n`."""
    return segment.partition("/")[2].rpartition(".")[0]


def merge_runs(a: RunState, b: RunState) -> RunState:
    """Return what both states of one run say together."""
    first, second = (b, a) if _certainty(b.start) > _certainty(a.start) else (a, b)
    places = {name: list(place) for name, place in first.places.items()}
    for name, (begin, end) in second.places.items():
        known = places.get(name)
        places[name] = [begin, end] if known is None else [min(known[0], begin), max(known[1], end)]
    return RunState(
        id=a.id,
        writer=first.writer,
        first_ns=min(a.first_ns, b.first_ns),
        start=first.start,
        end=_later(first.end, second.end),
        updates=[*first.updates, *second.updates],
        places=places,
        records=a.records + b.records,
        spans=a.spans + b.spans,
        decisions=a.decisions + b.decisions,
        generations=a.generations + b.generations,
        tool_calls=a.tool_calls + b.tool_calls,
        failed_calls=a.failed_calls + b.failed_calls,
        failed_spans=a.failed_spans | b.failed_spans,
        failed_in=a.failed_in | b.failed_in,
        lost=a.lost + b.lost,
        input_tokens=add_known(a.input_tokens, b.input_tokens),
        output_tokens=add_known(a.output_tokens, b.output_tokens),
        cost_usd=add_known(a.cost_usd, b.cost_usd),
        flagged=a.flagged or b.flagged,
    )


def _certainty(start: RunStarted | None) -> int:
    """Return how much is known of a beginning: one that was only concluded has an id."""
    return 0 if start is None else 1 if start.id else 2


def merge_spans(a: SpanState, b: SpanState) -> SpanState:
    """Return what both states of one span say together."""
    first, second = (a, b) if a.start is not None or b.start is None else (b, a)
    return SpanState(
        id=a.id,
        run=a.run,
        writer=first.writer,
        start=first.start,
        end=_later(first.end, second.end),
        calls=_latest_calls([*first.calls, *second.calls]),
        updates=[*first.updates, *second.updates],
    )


def _update_order(update: Update) -> tuple[str, int, str]:
    return (update.ts, update.seq, update.id)


def run_row(state: RunState, *, live: bool) -> r.RunRow:
    """Return the row of a run.

    Args:
        state: What is known of it.
        live: Whether its writer is alive, which decides between `running` and `incomplete` for a
            run that did not end.
    """
    start, end = state.start, state.end
    updates = sorted(state.updates, key=_update_order)
    attributes, tags = _gather(start, updates)
    given: dict[str, Any] = {}
    for update in updates:
        given.update(update.fields or {})
    output = _last(updates, "output")
    error = end.error if end else None
    status = (end.status if end else None) or ("running" if live else "incomplete")

    def field(name: str) -> Any:
        value = given.get(name)
        return value if value is not None else getattr(start, name, None)

    return r.RunRow(
        id=state.id,
        run=state.id,
        name=start.name if start else "",
        kind=start.run_kind if start else None,
        project=start.project if start else None,
        status=status,
        started_ns=_parse(start.ts) if start else state.first_ns,
        ended_ns=_parse(end.ts) if end else None,
        duration_ms=_ms(end.duration_ns) if end else None,
        external_id=field("external_id"),
        parent_run=start.parent_run if start else None,
        workflow=field("workflow"),
        session=field("session"),
        conversation=field("conversation"),
        user=field("user"),
        tags=tags,
        attributes=attributes,
        environment=start.environment if start else None,
        output=output,
        error_type=error_type(error),
        error=error,
        overhead_ms=_ms(end.overhead_ns) if end else None,
        records=state.records,
        spans=state.spans,
        decisions=state.decisions,
        generations=state.generations,
        tool_calls=state.tool_calls,
        errors=state.failed_calls + len(state.failed_spans - state.failed_in),
        lost=state.lost,
        input_tokens=state.input_tokens,
        output_tokens=state.output_tokens,
        cost_usd=state.cost_usd,
        flagged=state.flagged,
    )


def span_row(state: SpanState, *, live: bool) -> r.SpanRow:
    """Return the row of a span; see `run_row`."""
    start, updates = state.start, sorted(state.updates, key=_update_order)
    end = state.end or state.call
    attributes, tags = _gather(start, updates)
    error = end.error if end else None
    ended_output = state.end.output if state.end else None
    output = ended_output if ended_output is not None else _last(updates, "output")
    given_status = _last(updates, "status")
    first = start or state.end or (updates[0] if updates else None)
    given_input = _last(updates, "input")
    return r.SpanRow(
        id=state.id,
        run=state.run,
        parent=start.parent if start else None,
        stage=first.stage if first else None,
        name=start.name if start else "",
        kind=start.span_kind if start else "custom",
        status=end.status if end else given_status or ("running" if live else "incomplete"),
        started_ns=_timestamp(first) if first else _parse(end.ts) if end else 0,
        ended_ns=_parse(end.ts) if end else None,
        duration_ms=_ms(end.duration_ns) if end else None,
        agent=start.agent if start else None,
        algorithm=_last(updates, "algorithm") or (start.algorithm if start else None),
        input_count=_or(_last(updates, "input_count"), start.input_count if start else None),
        output_count=_last(updates, "output_count"),
        tags=tags,
        attributes=attributes,
        input=_or(given_input, start.input if start else None),
        output=output,
        error_type=error_type(error),
        error=error,
    )


def _gather(
    start: RunStarted | SpanStarted | None, updates: list[Update]
) -> tuple[dict[str, Any], list[str]]:
    attributes: dict[str, Any] = dict(start.attributes or {}) if start else {}
    tags: dict[str, None] = dict.fromkeys(getattr(start, "tags", None) or ())
    for update in updates:
        attributes.update(update.attributes or {})
        tags.update(dict.fromkeys(update.tags or ()))
    return attributes, list(tags)


def _last(updates: list[Update], name: str) -> Any:
    for update in reversed(updates):
        value = getattr(update, name)
        if value is not None:
            return value
    return None


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1_000_000


def error_type(error: dict[str, Any] | None) -> str | None:
    """Return the class or code of a recorded error."""
    if not error:
        return None
    kind = error.get("type")
    return kind if isinstance(kind, str) else "error"


def _timestamp(record: AnyRecord) -> int:
    try:
        return _parse(record.ts)
    except ValueError:  # a foreign writer's line: it is kept, at the beginning of time
        return 0


def _decision(record: Decision, common: dict[str, Any]) -> r.Row:
    return r.DecisionRow(
        **common,
        name=record.name,
        what=record.what,
        why=record.why,
        confidence=record.confidence,
        options=[msgspec.to_builtins(option) for option in record.options or ()],
        factors=record.factors or [],
        inputs=record.inputs or {},
        made_by=record.made_by,
        decision_point=record.decision_point,
    )


def _factor(record: Factor, common: dict[str, Any]) -> r.Row:
    return r.FactorRow(
        **common,
        name=record.name,
        raw_value=record.raw_value,
        normalized_value=record.normalized_value,
        weight=record.weight,
        contribution=record.contribution,
        reasoning=record.reasoning,
        decision=record.decision,
    )


def _source(record: Source, common: dict[str, Any]) -> r.Row:
    return r.SourceRow(
        **common,
        source_type=record.source_type,
        source_key=record.source_key,
        title=record.title,
        records_used=record.records_used,
        freshness_s=record.freshness_s,
        quality=record.quality,
        scores=record.scores or {},
        kept=record.kept,
        reason=record.reason,
        sample_ids=record.sample_ids or [],
        digest=record.digest,
        locator=record.locator,
        attributes=record.attributes or {},
    )


def _generation(record: Generation, common: dict[str, Any]) -> r.Row:
    usage = record.usage
    return r.GenerationRow(
        **common,
        name=record.name,
        provider=record.provider,
        model=record.model,
        response_model=record.response_model,
        operation=record.operation,
        response_id=record.response_id,
        prompt_name=record.prompt_name,
        prompt_version=record.prompt_version,
        prompt_template=template if isinstance(template := record.prompt_template, str) else None,
        status=record.status,
        finish_reason=record.finish_reason,
        attempt=record.attempt,
        duration_ms=_ms(record.duration_ns),
        first_chunk_ms=_ms(record.first_chunk_ns),
        input_tokens=usage_of.input_tokens(usage),
        output_tokens=usage_of.output_tokens(usage),
        reasoning_tokens=usage.reasoning if usage else None,
        cache_read_tokens=usage.cache_read if usage else None,
        cost_usd=record.cost_usd,
        cost_source=record.cost_source,
        price=record.price,
        usage=usage,
        messages=record.messages or [],
        output=record.output,
        reasoning=record.reasoning,
        parameters=record.parameters or {},
        seed=record.seed,
        media=record.media or [],
        policy=record.policy,
        error_type=error_type(record.error),
        error=record.error,
        attributes=record.attributes or {},
    )


def _tool_call(record: ToolCall, common: dict[str, Any]) -> r.Row:
    return r.ToolCallRow(
        **common,
        tool_name=record.tool_name,
        tool_type=record.tool_type,
        status=record.status,
        duration_ms=_ms(record.duration_ns),
        cache_hit=record.cache_hit,
        cache_key=record.cache_key,
        retry_count=record.retry_count,
        rate_limit_delay_ms=record.rate_limit_delay_ms,
        input=record.input,
        output=record.output,
        error_type=error_type(record.error),
        error=record.error,
        attributes=record.attributes or {},
    )


def _transformation(record: Transformation, common: dict[str, Any]) -> r.Row:
    return r.TransformationRow(
        **common,
        name=record.name,
        method=record.method,
        parameters=record.parameters or {},
        input_schema=record.input_schema,
        output_schema=record.output_schema,
        input_sample=record.input_sample,
        output_sample=record.output_sample,
        input_size=record.input_size,
        output_size=record.output_size,
        duration_ms=_ms(record.duration_ns),
        attributes=record.attributes or {},
    )


def _score(record: Score, common: dict[str, Any]) -> r.Row:
    return r.ScoreRow(
        **common,
        name=record.name,
        value=record.value,
        target=record.target,
        scale=record.scale,
        threshold=record.threshold,
        passed=record.passed,
        feedback=record.feedback,
        by=record.by,
        iteration=record.iteration,
        attributes=record.attributes or {},
    )


def _output(record: Output, common: dict[str, Any]) -> r.Row:
    return r.OutputRow(
        **common,
        output_id=record.output_id,
        kind=record.output_kind,
        summary=record.summary,
        value=record.value,
        path=record.path,
        confidence=record.confidence,
        quality=record.quality,
        validation=record.validation,
        digest=record.digest,
        attributes=record.attributes or {},
    )


def _link(record: Link, common: dict[str, Any]) -> r.Row:
    return r.LinkRow(
        **common,
        kind=record.link_kind,
        source=record.source,
        target=record.target,
        confidence=record.confidence,
        inferred=record.inferred,
        attributes=record.attributes or {},
    )


def _event(record: Event, common: dict[str, Any]) -> r.Row:
    return r.EventRow(**common, message=record.message, level=record.level, data=record.data or {})


def _annotation(record: Annotation, common: dict[str, Any]) -> r.Row:
    return r.AnnotationRow(
        **common,
        target=record.target,
        flag=record.flag,
        status=record.status,
        note=record.note,
        by=record.by,
        attributes=record.attributes or {},
    )


def _gap(record: Gap, common: dict[str, Any]) -> r.Row:
    since = _parse(record.since) if record.since else None
    return r.GapRow(**common, lost=record.lost, reason=record.reason, since_ns=since)


_BUILDERS: dict[type, tuple[str, Callable[[Any, dict[str, Any]], r.Row]]] = {
    Decision: ("decisions", _decision),
    Factor: ("factors", _factor),
    Source: ("sources", _source),
    Generation: ("generations", _generation),
    ToolCall: ("tool_calls", _tool_call),
    Transformation: ("transformations", _transformation),
    Score: ("scores", _score),
    Output: ("outputs", _output),
    Link: ("links", _link),
    Event: ("events", _event),
    Annotation: ("annotations", _annotation),
    Gap: ("gaps", _gap),
}

POINT_TABLES = tuple(table for table, _ in _BUILDERS.values())
"""The tables whose rows stem from one record each."""
