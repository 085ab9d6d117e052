"""What of a run no convention has a place for, counted.

Comes in: a run. Goes out: counts by table or field, each with what became of it: kept as an event
or attribute that only whence gives a meaning (`event`, `attribute`), carried in the convention's
form and not as it was recorded (`form`), or not in the trace (`nothing`). `whence import` takes the
first two back: what is not counted under `form` or `nothing` comes back from the trace as it was; a
test holds this to the truth.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from whence.exports.otlp import conventions, convert, messages
from whence.exports.otlp.events import CONTENT, NAMES, said
from whence.record import usage as usage_of
from whence.record.values import is_marker
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from whence.exports.otlp.model import Options
    from whence.query.tree import RunTree

Kept = Literal["event", "attribute", "form", "nothing"]
Count = Counter[tuple[str, Kept]]

SLACK_MS = 0.002
"""Lengths that differ by less are the same: a difference of times is exact to a nanosecond, a
number of milliseconds is not."""
_RUN_FIELDS = ("external_id", "parent_run", "overhead_ms", "attributes", "environment")
_SPAN_FIELDS = ("algorithm", "input_count", "output_count", "tags", "stage")
_GENERATION_FIELDS = ("attempt", "price", "media", "policy", "attributes", "stage")
_TOOL_FIELDS = (
    "cache_hit",
    "cache_key",
    "retry_count",
    "rate_limit_delay_ms",
    "attributes",
    "stage",
)
_SCORE_FIELDS = ("target", "scale", "threshold", "by", "iteration", "stage", "attributes")
_SOURCE_FIELDS = (
    "records_used",
    "freshness_s",
    "quality",
    "reason",
    "sample_ids",
    "stage",
    "attributes",
)
_LINK_FIELDS = ("confidence", "inferred", "stage")
_EVENT_ONLY = tuple(
    kind
    for kind in NAMES
    if kind not in {r.GenerationRow, r.ToolCallRow, r.ScoreRow, r.EventRow, r.SourceRow, r.LinkRow}
)
_CONTENT_OF_CALLS = ("messages", "output", "reasoning", "prompt_template", "input")
_TABLE = {kind: table for table, kind in r.TABLES.items()}
_TEXTS: dict[type[r.Row], tuple[str, ...]] = {
    r.RunRow: ("project", "session", "conversation", "user", "workflow"),
    r.GenerationRow: (
        "provider",
        "model",
        "response_model",
        "response_id",
        "finish_reason",
        "prompt_name",
        "prompt_version",
        "prompt_template",
    ),
    r.ToolCallRow: ("tool_type",),
}
"""Fields with a name in the conventions that hold a text."""


class LeftOut(msgspec.Struct, frozen=True):
    """Something that no convention has a place for."""

    what: str
    """A table, or a field of one: `decisions`, `generations.price`."""
    count: int
    """How many rows it concerns."""
    kept: Kept
    """What became of it: `event`, `attribute`, `form` or `nothing`."""


def listed(count: Count) -> list[LeftOut]:
    """Return counts as a list, by name."""
    return [LeftOut(what, n, kept) for (what, kept), n in sorted(count.items()) if n]


def of_tree(tree: RunTree, options: Options) -> Count:
    """Return what of a run a trace has no place for."""
    count: Count = Counter()
    merged = convert.merged_root(tree)
    kind_read = _root_kind(tree.run, options)
    for node in tree.iter_spans():
        call = convert.call_of(node.row, node.records)
        if node.row.id == merged:
            kind_read = _kind_read(node.row.kind, call, options)
        _of_span(node.row, call, count, options)
        _of_sources(node.row.kind, node.records, count, options)
        for record in node.records:
            if isinstance(record, convert.Call):
                host = node.row if record is call else None
                _of_call(record, host, count, options)
    for record in tree.records:
        if isinstance(record, convert.Call):
            _of_call(record, None, count, options)
    _of_run(tree.run, count, options, kind_read)
    for rows in tree.tables.values():
        for row in rows:
            _of_blobs(row, count)
    _of_sources("", tree.records, count, options)
    for row in tree.iter_records():
        _of_record(row, count, options)
    _of_links(tree, count)
    return count


def _add(count: Count, table: str, names: Iterable[str], kept: Kept) -> None:
    for name in names:
        count[f"{table}.{name}", kept] += 1


def _of_empty(row: r.Row, count: Count) -> None:
    """Count texts that are empty: to most readers of a trace nobody stated them."""
    for name in _TEXTS.get(type(row), ()):
        if getattr(row, name) == "":
            count[f"{_TABLE[type(row)]}.{name}", "attribute"] += 1


def _of_blobs(row: r.Row, count: Count) -> None:
    """Count values that the row only refers to: the blobs stay where they are."""
    waiting: list[Any] = [getattr(row, name) for name in row.__struct_fields__]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        elif isinstance(value, dict):
            inner = cast("dict[Any, Any]", value)
            if is_marker(inner, "blob"):
                count["blobs", "nothing"] += 1
            waiting += inner.values()


def _root_kind(run: r.RunRow, options: Options) -> str:
    """Return the kind by which a reader knows the root span that is made for a run."""
    if not options.openinference:
        return "custom"
    return "agent" if run.kind == "agent" else "step"


def _of_run(run: r.RunRow, count: Count, options: Options, kind_read: str) -> None:
    _add(count, "runs", said(run, _RUN_FIELDS), "attribute")
    if run.kind != (None if kind_read == "custom" else kind_read):
        count["runs.kind", "attribute"] += 1
    if run.status not in {"complete", "failed"}:
        count["runs.status", "attribute"] += 1
    if run.output is not None:
        count["runs.output", "attribute" if options.content else "nothing"] += 1
    _of_length("runs", run, count)
    _of_error("runs", run.status, run.error, count)
    _of_empty(run, count)
    _of_id("runs.id", run.id, count, convert.m.is_trace_id)


def _of_id(what: str, any_id: str, count: Count, is_id: Callable[[str], bool]) -> None:
    """Count an id that OpenTelemetry cannot have."""
    if not is_id(any_id):
        count[what, "form"] += 1


def _of_length(table: str, row: r.RunRow | r.SpanRow, count: Count) -> None:
    if row.ended_ns is None:
        count[f"{table}.ended_ns", "attribute"] += 1  # to others, the last that was heard of it
        count[f"{table}.duration_ms", "attribute"] += 1
        return
    length_ms = (row.ended_ns - row.started_ns) / 1_000_000
    if row.duration_ms is None or abs(length_ms - row.duration_ms) > SLACK_MS:
        count[f"{table}.duration_ms", "attribute"] += 1


def _of_error(table: str, status: str, error: dict[str, Any] | None, count: Count) -> None:
    """Count an error that is read otherwise: a failure has a type and a message to readers."""
    read: dict[str, Any] | None = None
    if status in {"failed", "error"}:
        given = error or {}
        read = {"type": given.get("type") or "error", "message": given.get("message") or ""}
        if given.get("stack"):
            read["stack"] = given["stack"]
    if error != read:
        count[f"{table}.error", "attribute"] += 1


def _of_span(row: r.SpanRow, call: convert.Call | None, count: Count, options: Options) -> None:
    _add(count, "spans", said(row, _SPAN_FIELDS), "attribute")
    if _kind_read(row.kind, call, options) != row.kind:
        count["spans.kind", "attribute"] += 1
    if row.status not in {"ok", "error"}:
        count["spans.status", "form" if row.status == "running" else "attribute"] += 1
    if row.agent is not None and (call is not None or not _is_ai(row.kind, options)):
        count["spans.agent", "attribute"] += 1
    _of_length("spans", row, count)
    _of_error("spans", row.status, row.error, count)
    if row.parent is not None and not convert.m.is_span_id(row.parent):
        count["spans.parent", "attribute"] += 1
    _of_id("spans.id", row.id, count, convert.m.is_span_id)
    _of_span_values(row, call, count, options)


def _of_span_values(
    row: r.SpanRow, call: convert.Call | None, count: Count, options: Options
) -> None:
    if call is None:
        _of_values("spans", row, ("input", "output"), count, options)
        return
    for name in said(row, ("input", "output")):
        if not options.content:
            count[f"spans.{name}", "nothing"] += 1
        else:
            count[f"spans.{name}", "attribute"] += 1


def _is_ai(kind: str, options: Options) -> bool:
    return options.openinference or kind == "agent"


def _kind_read(kind: str, call: convert.Call | None, options: Options) -> str:
    """Return the kind by which a reader of the conventions knows a span."""
    if call is not None:
        return "tool" if isinstance(call, r.ToolCallRow) else "generation"
    if kind in {"agent", "retrieval"}:
        return kind
    if options.openinference:
        return kind if kind in {"evaluation", "guardrail"} else "step"
    return "custom"


def _of_call(call: convert.Call, host: r.SpanRow | None, count: Count, options: Options) -> None:
    table = _TABLE[type(call)]
    if host is None:
        count[f"{table}.span", "attribute"] += 1  # the call gets a span of its own
    if isinstance(call, r.ToolCallRow):
        _add(count, table, said(call, _TOOL_FIELDS), "attribute")
        _of_values(table, call, ("input", "output"), count, options)
    else:
        _of_generation(call, count, options)
        if call.name != (convert.name_of(call) if host is None else host.name):
            count["generations.name", "attribute"] += 1
    if call.status not in {"ok", "error"}:
        count[f"{table}.status", "attribute"] += 1
    _of_error(table, call.status, call.error, count)
    _of_empty(call, count)
    if host is not None:
        _of_host(call, host, table, count)
    elif call.duration_ms is None:
        count[f"{table}.duration_ms", "attribute"] += 1


def _of_host(call: convert.Call, host: r.SpanRow, table: str, count: Count) -> None:
    ended_ns = host.ended_ns
    if ended_ns is None or ended_ns != call.ts_ns:
        count[f"{table}.ts_ns", "attribute"] += 1
    length_ms = None if ended_ns is None else (ended_ns - host.started_ns) / 1_000_000
    if (
        call.duration_ms is None
        or length_ms is None
        or abs(length_ms - call.duration_ms) > SLACK_MS
    ):
        count[f"{table}.duration_ms", "attribute"] += 1


def _of_values(
    table: str, row: r.Row, names: Iterable[str], count: Count, options: Options
) -> None:
    for name in names:
        value = getattr(row, name)
        if value is None:
            continue
        if not options.content:
            count[f"{table}.{name}", "nothing"] += 1
        elif not conventions.is_carried(value):
            count[f"{table}.{name}", "attribute"] += 1


def _of_generation(call: r.GenerationRow, count: Count, options: Options) -> None:
    _add(count, "generations", said(call, _GENERATION_FIELDS), "attribute")
    if conventions.operation_of(call) != call.operation:
        count["generations.operation", "attribute"] += 1
    if call.model is None and call.response_model is not None:
        count["generations.model", "attribute"] += 1
    if call.cost_source != (None if call.cost_usd is None else "declared"):
        count["generations.cost_source", "attribute"] += 1
    usage = call.usage
    if usage is not None:
        if usage.modalities:
            count["generations.usage.modalities", "attribute"] += 1
        if usage_of.input_tokens(usage) is None and usage_of.output_tokens(usage) is None:
            count["generations.usage", "attribute"] += 1
        if usage.stated != conventions.of_usage(
            msgspec.structs.replace(usage, stated=None, modalities=None), options
        ):
            count["generations.usage.stated", "attribute"] += 1
    named = conventions.NAMED & call.parameters.keys()
    if named or (options.openinference and "tools" in call.parameters):
        count["generations.parameters", "attribute"] += 1
    _of_conversation(call, count, options)


def _of_conversation(call: r.GenerationRow, count: Count, options: Options) -> None:
    if not options.content:
        _add(count, "generations", said(call, _CONTENT_OF_CALLS[:-1]), "nothing")
        return
    sent = call.messages
    kept = (
        messages.sent_as_parts(sent) == sent
        if options.genai
        else all(map(messages.is_simple, sent))
    )
    if not kept:
        is_chat = options.genai and messages.is_chat(sent)
        count["generations.messages", "attribute" if is_chat else "form"] += 1
    for name, value in messages.answer_read(call, options).items():
        if value != getattr(call, name):
            count[f"generations.{name}", "attribute"] += 1


def _of_sources(kind: str, records: Iterable[r.PointRow], count: Count, options: Options) -> None:
    for row in records:
        if not isinstance(row, r.SourceRow):
            continue
        if kind != "retrieval" or not row.kept:
            count["sources", "event"] += 1
            _of_hidden(row, count, options)
            continue
        _add(count, "sources", said(row, _SOURCE_FIELDS), "attribute")
        if row.source_type != "document":
            count["sources.source_type", "attribute"] += 1
        if row.scores.keys() - {"relevance"}:
            count["sources.scores", "attribute"] += 1
        if row.digest is not None:
            count["sources.digest", "attribute"] += 1
        if options.openinference:  # its readers get a document's metadata as a text
            _add(count, "sources", said(row, ("title", "locator")), "attribute")
        if not options.content and "content" in row.attributes:
            count["sources.attributes", "nothing"] += 1


def _of_record(row: r.PointRow, count: Count, options: Options) -> None:
    table = _TABLE[type(row)]
    if isinstance(row, _EVENT_ONLY):
        count[table, "event"] += 1
        _of_hidden(row, count, options)
    elif isinstance(row, r.ScoreRow):
        _add(count, "scores", said(row, _SCORE_FIELDS), "attribute")
        if not row.name:
            count["scores.name", "attribute"] += 1
    elif isinstance(row, r.EventRow):
        _add(count, "events", said(row, ["stage"]), "attribute")
        if row.level != _level_read(row):
            count["events.level", "attribute"] += 1
    if row.extra:
        count[f"{table}.extra", "nothing"] += 1
    _of_id(f"{table}.id", row.id, count, convert.m.is_span_id)


def _of_hidden(row: r.PointRow, count: Count, options: Options) -> None:
    """Count what is left out of an event where content is."""
    if not options.content:
        table = _TABLE[type(row)]
        _add(count, table, said(row, CONTENT.get(type(row), ())), "nothing")


def _level_read(row: r.EventRow) -> str:
    return "error" if row.message == "exception" else "info"


def _of_links(tree: RunTree, count: Count) -> None:
    known = {node.row.id for node in tree.iter_spans()}
    trace = convert.m.trace_id(tree.run.id)
    for row in tree.links:
        own = row.target if row.target in known or row.target == tree.run.id else ""
        if not own or convert.link_of(row, own, trace, known) is None:
            count["links", "event"] += 1
            continue
        _add(count, "links", said(row, _LINK_FIELDS), "attribute")
        if row.kind != "triggered_by":
            count["links.kind", "attribute"] += 1
