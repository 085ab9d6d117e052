"""One run becomes the spans of one trace.

Comes in: the rows of a run, as a tree or span by span. Goes out: spans. The run itself is the root
span, for a trace needs one; where the run came from OpenTelemetry its one outermost span is that
root already. A model or tool call is stated by the span that was made for it; a call that was
recorded in a span of another kind gets a span of its own, whose id is the record's. Whatever else
was recorded is an event or a link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence.exports.otlp import conventions, events
from whence.exports.otlp import model as m
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from whence.exports.otlp.model import LinkOut, Options, SpanOut
    from whence.query.tree import RunTree

Call = r.GenerationRow | r.ToolCallRow
_MS = 1_000_000
_KINDS = {"server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUS = {"ok": m.OK, "complete": m.OK, "error": m.ERROR, "failed": m.ERROR}
_PROJECT = ("whence.project", "openinference.project.name", "project.name", "service.name")
_ERROR_FIELDS = frozenset({"type", "message", "stack"})


class Place(msgspec.Struct, frozen=True):
    """Where the spans of a run go."""

    run: str
    """Id of the run."""
    resource: dict[str, Any]
    """What its spans share."""
    version: str = ""
    """Version of whence that recorded it, where it did."""
    merged: str = ""
    """Id of the span that is the run's root itself; empty if the run gets a span of its own."""

    @property
    def trace(self) -> str:
        """The trace id."""
        return m.trace_id(self.run)

    @property
    def root(self) -> str:
        """The id of the root span."""
        return m.span_id(self.merged) if self.merged else m.root_id(self.run)


def spans_of(tree: RunTree, options: Options) -> list[SpanOut]:
    """Return the spans of a run, the root first.

    Args:
        tree: The run, restored.
        options: Names and content.
    """
    run = tree.run
    place = place_of(run, options, merged=merged_root(tree))
    nodes = list(tree.iter_spans())
    known = {node.row.id for node in nodes}
    records = {node.row.id: list(node.records) for node in nodes}
    at_run = list(tree.records)
    _move_links(records, at_run, run.id)
    made: list[SpanOut] = []
    for node in nodes:
        row = node.row
        here = records[row.id]
        if row.id == place.merged:
            made[:0] = of_span(row, [*here, *at_run], place, options, known, run=run)
        else:
            made += of_span(row, here, place, options, known)
    if not place.merged:
        made[:0] = of_run(run, at_run, place, options, known)
    return made


def place_of(run: r.RunRow, options: Options, *, merged: str = "") -> Place:
    """Return where the spans of a run go."""
    environment = run.environment or {}
    version = environment.get("whence")
    return Place(
        run.id, _resource(run, options), version if isinstance(version, str) else "", merged
    )


def merged_root(tree: RunTree) -> str:
    """Return the id of the span that is the run itself, as in a run that came from a trace.

    Empty if there is none: what whence recorded itself has runs apart from spans.
    """
    if len(tree.spans) != 1 or "whence" in (tree.run.environment or {}):
        return ""
    row = tree.spans[0].row
    same = row.name == tree.run.name and row.started_ns == tree.run.started_ns
    return row.id if same and not row.parent else ""


def _resource(run: r.RunRow, options: Options) -> dict[str, Any]:
    environment = run.environment or {}
    if "whence" not in environment and environment:
        made = {m.clean(str(name)): m.plain(value) for name, value in environment.items()}
        stated = next((made[name] for name in _PROJECT if name in made), None)
        if run.project is not None and stated != run.project:
            made["whence.project"] = m.plain(run.project)
        return made
    known = {
        "service.name": run.project or "unknown_service",
        "whence.project": run.project,
        "openinference.project.name": run.project if options.openinference else None,
        "host.name": environment.get("host"),
        "process.pid": environment.get("pid"),
        "whence.environment": environment or None,
    }
    return {name: m.plain(value) for name, value in known.items() if value is not None}


def of_run(
    run: r.RunRow,
    records: Sequence[r.PointRow],
    place: Place,
    options: Options,
    known: Container[str],
) -> list[SpanOut]:
    """Return the root span of a run, and a span for each call that was recorded in no span."""
    ended_ns = _end(run.started_ns, run.ended_ns, records)
    span = _new(place, place.root, "", m.clean(run.name), (run.started_ns, ended_ns))
    kind = "agent" if run.kind == "agent" else "step"
    if options.openinference:
        span.attributes["openinference.span.kind"] = "AGENT" if kind == "agent" else "CHAIN"
    span.attributes["whence.record"] = "run"
    span.version = place.version
    _put_user(span, run.attributes)
    _put_run(span, run, options)
    _put_status(span, run.status, run.error, records)
    calls = [one for one in records if isinstance(one, Call)]
    rest = [one for one in records if not isinstance(one, Call)]
    _put_records(span, rest, run.id, options, known)
    return [span, *(of_call(call, place, place.root, options) for call in calls)]


def _put_run(span: SpanOut, run: r.RunRow, options: Options) -> None:
    stated = {
        "session.id": run.session,
        "user.id": run.user,
        "gen_ai.conversation.id": run.conversation,
        "gen_ai.workflow.name": run.workflow,
        "tag.tags": run.tags or None,
        "whence.run.kind": run.kind,
        "whence.run.external_id": run.external_id,
        "whence.run.parent": run.parent_run,
        "whence.run.duration_ms": run.duration_ms,
        "whence.run.overhead_ms": run.overhead_ms,
        "whence.run.status": None if run.status in {"complete", "failed"} else run.status,
        "whence.run.lost": run.lost or None,
    }
    span.attributes |= {name: m.plain(v) for name, v in stated.items() if v is not None}
    if options.content and run.output is not None:
        if "output.value" in span.attributes or "whence.record" not in span.attributes:
            span.attributes["whence.run.output"] = m.json_text(run.output)
        else:
            span.attributes |= conventions.of_value("output", run.output)
    if run.parent_run:
        parent = m.trace_id(run.parent_run)
        about = {"whence.link.kind": "parent_run"}
        span.links.append(m.LinkOut(parent, m.root_id(run.parent_run), about))


def of_span(
    row: r.SpanRow,
    records: Sequence[r.PointRow],
    place: Place,
    options: Options,
    known: Container[str],
    *,
    run: r.RunRow | None = None,
) -> list[SpanOut]:
    """Return the span of a row, and a span for each call in it that it does not stand for.

    Args:
        row: The span.
        records: What was recorded in it.
        place: Where its run goes.
        options: Names and content.
        known: Ids of the run's spans.
        run: The run, if the span is the run's root itself.
    """
    call = call_of(row, records)
    parent = "" if run is not None else m.span_id(row.parent) if row.parent else place.root
    ended_ns = _end(row.started_ns, row.ended_ns, records)
    span = _new(place, m.span_id(row.id), parent, m.clean(row.name), (row.started_ns, ended_ns))
    span.version = place.version
    _put_user(span, row.attributes)
    documents: list[r.SourceRow] = []
    if isinstance(call, r.GenerationRow):
        _put(span, conventions.of_generation(call, options))
        span.kind = m.CLIENT if span.kind == m.INTERNAL else span.kind
    elif isinstance(call, r.ToolCallRow):
        _put(span, conventions.of_tool_call(call, options))
    else:
        kind = row.kind if row.kind not in {"generation", "tool"} else "step"
        _put(span, conventions.of_span(kind, row.agent, options))
        span.attributes["whence.span.kind"] = m.clean(row.kind)
        if row.kind == "retrieval":
            documents = [one for one in records if isinstance(one, r.SourceRow) and one.kept]
            _put(span, conventions.of_documents(documents, options))
    _put_fields(span, row, call, options)
    if run is not None:
        _put_run(span, run, options)
    _put_status(
        span, "error" if call and call.status == "error" else row.status, row.error, records
    )
    others = [one for one in records if isinstance(one, Call) and one is not call]
    beside = {id(one) for one in (call, *others, *documents)}
    rest = [one for one in records if id(one) not in beside]
    _put_records(span, rest, row.id, options, known)
    # Beside a model call, not inside it: a model call inside another is the same one to readers.
    around = span.parent if isinstance(call, r.GenerationRow) and span.parent else span.span
    return [span, *(of_call(one, place, around, options) for one in others)]


def call_of(row: r.SpanRow, records: Iterable[r.PointRow]) -> Call | None:
    """Return the call that a span stands for: the latest of the kind it was made for."""
    if row.kind == "generation":
        found: list[Call] = [one for one in records if isinstance(one, r.GenerationRow)]
    elif row.kind == "tool":
        tools = [one for one in records if isinstance(one, r.ToolCallRow)]
        named: list[Call] = [one for one in tools if one.tool_name == row.name]
        found = named or (list(tools) if len(tools) == 1 else [])
    else:
        return None
    return max(found, key=lambda one: (one.ts_ns, one.id)) if found else None


def of_call(call: Call, place: Place, parent: str, options: Options) -> SpanOut:
    """Return the span of a call that has none of its own."""
    begun_ns = call.ts_ns - round((call.duration_ms or 0) * _MS)
    span = _new(place, m.span_id(call.id), parent, name_of(call), (begun_ns, call.ts_ns))
    span.version = place.version
    if isinstance(call, r.GenerationRow):
        span.attributes = conventions.of_generation(call, options)
        span.kind = m.CLIENT
    else:
        span.attributes = conventions.of_tool_call(call, options)
    span.attributes["whence.record"] = "call"
    _put_status(span, call.status, call.error, ())
    return span


def name_of(call: Call) -> str:
    """Return the name of the span that a call gets where it has none of its own."""
    if isinstance(call, r.ToolCallRow):
        return m.clean(call.tool_name)
    return m.clean(call.name or f"{conventions.operation_of(call)} {call.model or ''}".rstrip())


def _new(place: Place, span: str, parent: str, name: str, times_ns: tuple[int, int]) -> SpanOut:
    begun_ns, ended_ns = (max(0, one) for one in times_ns)
    return m.SpanOut(place.trace, span, parent, name, begun_ns, ended_ns, {}, place.resource)


def _end(started_ns: int, ended_ns: int | None, records: Sequence[r.PointRow]) -> int:
    """Return when a thing ended; of one that did not, when something was last heard of it."""
    if ended_ns is not None:
        return ended_ns
    return max([started_ns, *(record.ts_ns for record in records)])


def _put_user(span: SpanOut, given: dict[str, Any]) -> None:
    """Put attributes of the user's on a span, and those that came from a trace where they were."""
    for name, value in given.items():
        if name == "otel.scope.name" and isinstance(value, str):
            span.scope, span.version = value, ""
        elif name == "otel.span_kind" and value in _KINDS:
            span.kind = _KINDS[value]
        elif name == "otel.trace_state" and isinstance(value, str):
            span.state = value
        elif name != "service.name" or value != span.resource.get(name):
            span.attributes[m.clean(str(name))] = m.plain(value)
    version = span.attributes.pop("otel.scope.version", "") if "otel.scope.name" in given else ""
    span.version = version if isinstance(version, str) and version else span.version


def _put(span: SpanOut, given: dict[str, Any]) -> None:
    """Put attributes on a span; what the user said under such a name is kept under another."""
    for name, value in given.items():
        if name in span.attributes and span.attributes[name] != value:
            span.attributes[f"whence.attribute.{name}"] = span.attributes[name]
        span.attributes[name] = value


def _put_fields(span: SpanOut, row: r.SpanRow, call: Call | None, options: Options) -> None:
    stated = {
        "whence.span.algorithm": row.algorithm,
        "whence.span.input_count": row.input_count,
        "whence.span.output_count": row.output_count,
        "whence.span.stage": row.stage if row.stage != row.name else None,
        "whence.span.duration_ms": row.duration_ms,
        "tag.tags": row.tags or None,
        "whence.span.status": None if row.status in {"ok", "error"} else row.status,
    }
    _put(span, {name: m.plain(v) for name, v in stated.items() if v is not None})
    if not options.content:
        return
    if call is None:
        _put(span, conventions.of_value("input", row.input))
        _put(span, conventions.of_value("output", row.output))
        return
    # The names of input and output say what went into the call and came out of it.
    for name in ("input", "output"):
        value = getattr(row, name)
        if value is not None and not (
            isinstance(call, r.ToolCallRow) and value == getattr(call, name)
        ):
            span.attributes[f"whence.span.{name}"] = m.json_text(value)


def _put_status(
    span: SpanOut, status: str, error: dict[str, Any] | None, records: Iterable[r.PointRow]
) -> None:
    span.status = _STATUS.get(status, m.UNSET)
    if not error:
        return
    kind, message = error.get("type"), error.get("message")
    span.attributes["error.type"] = m.clean(kind) if isinstance(kind, str) else "error"
    span.message = m.clean(message) if isinstance(message, str) else ""
    if not error.keys() <= _ERROR_FIELDS:
        span.attributes["whence.error"] = m.json_text(error)
    told = any(isinstance(one, r.EventRow) and one.message == "exception" for one in records)
    if isinstance(error.get("stack"), str) and not told:
        about = {
            "exception.type": span.attributes["error.type"],
            "exception.message": span.message,
            "exception.stacktrace": m.clean(error["stack"]),
        }
        span.events.append(m.EventOut("exception", span.ended_ns, about))


def _put_records(
    span: SpanOut,
    records: Sequence[r.PointRow],
    own_id: str,
    options: Options,
    known: Container[str],
) -> None:
    """Put records on a span: links as links where they lead from a span to it, others as events."""
    others: list[r.PointRow] = []
    for record in records:
        link = link_of(record, own_id, span.trace, known) if isinstance(record, r.LinkRow) else None
        if link is None:
            others.append(record)
        else:
            span.links.append(link)
    span.events = [*events.of_records(others, options), *span.events]


def link_of(row: r.LinkRow, own_id: str, trace: str, known: Container[str]) -> LinkOut | None:
    """Return the link of a span that an edge is; None if it does not lead from a span to this one.

    Args:
        row: The edge.
        own_id: Id of the span's row, or of the run for its root.
        trace: Trace id of the run.
        known: Ids of the run's spans.
    """
    if row.target != own_id:
        return None
    other = row.attributes.get("source_run")
    if isinstance(other, str) and m.is_trace_id(other) and m.is_span_id(row.source):
        trace, span = other, row.source
    elif row.source in known:
        span = m.span_id(row.source)
    elif m.is_trace_id(row.source) and row.source != trace:
        trace, span = row.source, m.root_id(row.source)
    else:
        return None
    about = {name: v for name, v in row.attributes.items() if name != "source_run"}
    made = {m.clean(str(name)): m.plain(value) for name, value in about.items()}
    stated = {"kind": row.kind, "confidence": row.confidence, "inferred": row.inferred or None}
    made |= {f"whence.link.{name}": m.plain(v) for name, v in stated.items() if v is not None}
    return m.LinkOut(trace, span, made)


def _move_links(records: dict[str, list[r.PointRow]], at_run: list[r.PointRow], run: str) -> None:
    """Put each edge where it leads to, if that is a span of the run, or the run itself."""
    for own, here in [*records.items(), (run, at_run)]:
        moved = [
            one
            for one in here
            if isinstance(one, r.LinkRow)
            and one.target != own
            and (one.target in records or one.target == run)
        ]
        for link in moved:
            here.remove(link)
            records.get(link.target, at_run).append(link)
