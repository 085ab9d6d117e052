"""One run becomes the spans of one trace.

Comes in: the rows of a run, as a tree or span by span. Goes out: spans. The run itself is the root
span, for a trace needs one; where the run came from OpenTelemetry its one outermost span is that
root already. A model or tool call is stated by the span that was made for it; a call that was
recorded in a span of another kind gets a span of its own, whose id is the record's. Whatever else
was recorded is an event or a link. What this takes from a run that its readers cannot tell, and
`whence import` shall, is said in attributes `whence.*`, which `ingest.own` takes back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence.exports.otlp import conventions, events, kept
from whence.exports.otlp import model as m
from whence.ingest import own, own_runs
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from whence.exports.otlp.model import LinkOut, Options, SpanOut
    from whence.query.tree import RunTree

Call = r.GenerationRow | r.ToolCallRow
_MS = 1_000_000


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
        return {m.clean(str(name)): m.plain(value) for name, value in environment.items()}
    known = {
        "service.name": run.project or "unknown_service",
        "whence.project": run.project,
        "openinference.project.name": run.project if options.openinference else None,
        "host.name": environment.get("host"),
        "process.pid": environment.get("pid"),
        own.ENVIRONMENT: environment,
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
    span.attributes[own.RECORD] = "run"
    span.version = place.version
    kept.put_status(span, run.status, run.error, records)
    _put_run(span, run, options)
    kept.put_user(span, run.attributes)
    calls = [one for one in records if isinstance(one, Call)]
    rest = [one for one in records if not isinstance(one, Call)]
    _put_records(span, rest, (None, run.id), options, known)
    return [span, *(of_call(call, place, place.root, options) for call in calls)]


def _put_run(span: SpanOut, run: r.RunRow, options: Options) -> None:
    """Put what is known of a run on its root span."""
    read = "failed" if span.status == m.ERROR else "complete"
    merged = own.RECORD not in span.attributes
    stated = {
        "session.id": run.session,
        "user.id": run.user,
        "gen_ai.conversation.id": run.conversation,
        "gen_ai.workflow.name": run.workflow,
        "whence.run.kind": run.kind,
        "whence.run.external_id": run.external_id,
        "whence.run.parent": run.parent_run,
        "whence.run.duration_ms": run.duration_ms,
        "whence.run.overhead_ms": run.overhead_ms,
        "whence.run.status": None if run.status == read else m.exact(run.status),
        "whence.run.ended": None if run.ended_ns is not None else False,
        "whence.run.lost": run.lost or None,
        "whence.run.tags" if merged else "tag.tags": run.tags or None,
    }
    if own_runs.project_of(span.resource) != run.project:
        stated["whence.run.project"] = m.exact(run.project)
    environment = own_runs.environment_of(span.resource)
    if environment != run.environment:
        stated["whence.run.environment"] = m.exact(run.environment)
    if merged:
        stated["whence.run.merged"] = True
        if run.attributes:
            stated["whence.run.attributes"] = m.exact(run.attributes)
        if run.ended_ns not in {None, span.ended_ns}:
            stated["whence.run.ended_ns"] = run.ended_ns
        if run.error != kept.error_read(span):
            stated["whence.run.error"] = m.exact(run.error)
    span.attributes |= {name: m.plain(v) for name, v in stated.items() if v is not None}
    if options.content and run.output is not None:
        if merged or not conventions.is_carried(run.output):
            span.attributes["whence.run.output"] = m.exact(run.output)
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
    documents: list[r.SourceRow] = []
    if isinstance(call, r.GenerationRow):
        span.attributes |= conventions.of_generation(call, options)
        span.kind = m.CLIENT
    elif isinstance(call, r.ToolCallRow):
        span.attributes |= conventions.of_tool_call(call, options)
    else:
        kind = row.kind if row.kind not in {"generation", "tool"} else "step"
        span.attributes |= conventions.of_span(kind, row.agent, options)
        if row.kind == "retrieval":
            documents = [one for one in records if isinstance(one, r.SourceRow) and one.kept]
            span.attributes |= conventions.of_documents(documents, options)
    span.attributes[own.SPAN_KIND] = m.clean(row.kind)
    if row.parent is not None and row.parent != parent:
        span.attributes["whence.span.parent"] = m.exact(row.parent)
    _put_fields(span, row, call, options)
    kept.put_status(
        span, "error" if call and call.status == "error" else row.status, row.error, records
    )
    _put_call(span, row, call)
    if run is not None:
        _put_run(span, run, options)
    kept.put_user(span, row.attributes, of_trace=True)
    others = [one for one in records if isinstance(one, Call) and one is not call]
    beside = {id(one) for one in (call, *others, *documents)}
    rest = [one for one in records if id(one) not in beside]
    targets = (row.id,) if run is None else (row.id, run.id)
    _put_records(span, rest, targets, options, known)
    # Beside a model call, not inside it: a model call inside another is the same one to readers.
    around = span.parent if isinstance(call, r.GenerationRow) and span.parent else span.span
    return [span, *(of_call(one, place, around, options) for one in others)]


def _put_call(span: SpanOut, row: r.SpanRow, call: Call | None) -> None:
    """Put on a span in what it differs from the call that it stands for."""
    read = "error" if span.status == m.ERROR else "ok"
    if row.status != read:
        span.attributes["whence.span.status"] = m.exact(row.status)
    if row.ended_ns is None:
        span.attributes["whence.span.ended"] = False
    if call is None:
        return
    word = f"whence.{events.NAMES[type(call)]}"
    if call.ts_ns != span.ended_ns:
        span.attributes[f"{word}.ts_ns"] = call.ts_ns
    if call.error != row.error:
        span.attributes[f"{word}.error"] = m.exact(call.error)


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
    span.attributes[own.RECORD] = "call"
    if call.span is not None:
        span.attributes[f"whence.{events.NAMES[type(call)]}.span"] = m.plain(call.span)
    kept.put_status(span, call.status, call.error, ())
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


def _put_fields(span: SpanOut, row: r.SpanRow, call: Call | None, options: Options) -> None:
    stated = {
        "whence.span.agent": row.agent,
        "whence.span.algorithm": row.algorithm,
        "whence.span.input_count": row.input_count,
        "whence.span.output_count": row.output_count,
        "whence.span.stage": m.exact(row.stage)
        if row.stage != (row.name if row.kind == "stage" else None)
        else None,
        "whence.span.duration_ms": row.duration_ms,
        "tag.tags": row.tags or None,
    }
    span.attributes |= {name: m.plain(v) for name, v in stated.items() if v is not None}
    if not options.content:
        return
    same: list[str] = []
    for name in ("input", "output"):
        value = getattr(row, name)
        if call is None and conventions.is_carried(value):
            span.attributes |= conventions.of_value(name, value)
        elif isinstance(call, r.ToolCallRow) and value is not None and value == getattr(call, name):
            same.append(name)
        elif value is not None:
            # The names of input and output say what went into a call and came out of it.
            span.attributes[f"whence.span.{name}"] = m.exact(value)
    if same:
        span.attributes["whence.span.same"] = same


def _put_records(
    span: SpanOut,
    records: Sequence[r.PointRow],
    targets: tuple[str | None, ...],
    options: Options,
    known: Container[str],
) -> None:
    """Put records on a span: links as links where they lead from a span to it, others as events.

    Args:
        span: The span.
        records: What was recorded in it.
        targets: Ids of what it stands for: its row, or None for the run's own, and its run.
        options: Names and content.
        known: Ids of the run's spans.
    """
    others: list[r.PointRow] = []
    own_id = targets[0]
    for record in records:
        link = None
        if isinstance(record, r.LinkRow) and record.target in targets:
            link = link_of(record, record.target, span.trace, known)
        if link is None:
            others.append(record)
            continue
        if record.span != own_id:
            link.attributes[own.PLACE] = m.plain(record.span or "")
        span.links.append(link)
    span.events = [*events.of_records(others, options, own_id), *span.events]


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
    made |= {f"whence.link.{name}": value for name, value in events.iter_fields(row)}
    made["whence.link.ts_ns"] = row.ts_ns
    return m.LinkOut(trace, span, made)


def _move_links(records: dict[str, list[r.PointRow]], at_run: list[r.PointRow], run: str) -> None:
    """Put each edge where it leads to, if that is a span of the run, or the run itself."""
    for place, here in [*records.items(), (run, at_run)]:
        moved = [
            one
            for one in here
            if isinstance(one, r.LinkRow)
            and one.target != place
            and (one.target in records or one.target == run)
        ]
        for link in moved:
            here.remove(link)
            records.get(link.target, at_run).append(link)
