"""Records that a span has no attributes for, as events of the span.

Log lines are events under their own name; judgements are `gen_ai.evaluation.result`, which the
conventions know; everything else that was recorded (decisions with their options, factors, sources,
transformations, outputs, remarks, losses) is an event `whence.<kind>` with the fields of its row
under `whence.<kind>.<field>`: any backend shows them, and nothing is dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.exports.otlp.model import EventOut, Options, flat, plain
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Iterable

EVALUATION = "gen_ai.evaluation.result"
NAMES: dict[type[r.PointRow], str] = {
    r.DecisionRow: "decision",
    r.FactorRow: "factor",
    r.SourceRow: "source",
    r.GenerationRow: "generation",
    r.ToolCallRow: "tool_call",
    r.TransformationRow: "transformation",
    r.ScoreRow: "score",
    r.OutputRow: "output",
    r.LinkRow: "link",
    r.EventRow: "event",
    r.AnnotationRow: "annotation",
    r.GapRow: "gap",
}
"""Kind of row to its word in names."""

CONTENT: dict[type[r.PointRow], frozenset[str]] = {
    r.DecisionRow: frozenset({"what", "inputs"}),
    r.TransformationRow: frozenset({"input_sample", "output_sample"}),
    r.OutputRow: frozenset({"value"}),
    r.SourceRow: frozenset({"attributes"}),
}
"""Fields that hold what went in or came out."""
_ENVELOPE = frozenset({"run", "span", "ts_ns", "extra"})


def of_records(records: Iterable[r.PointRow], options: Options) -> list[EventOut]:
    """Return the events that stand for records, in the order given."""
    return [_of_record(record, options) for record in records]


def _of_record(record: r.PointRow, options: Options) -> EventOut:
    if isinstance(record, r.EventRow):
        return _of_event(record)
    if isinstance(record, r.ScoreRow):
        return _of_score(record)
    word = NAMES[type(record)]
    hidden = frozenset[str]() if options.content else CONTENT.get(type(record), frozenset())
    made = {
        f"whence.{word}.{name}": flat(value)
        for name, value in _fields(record)
        if name not in hidden
    }
    return EventOut(f"whence.{word}", record.ts_ns, made)


def _fields(record: r.PointRow) -> list[tuple[str, Any]]:
    """Return the fields of a row that say something."""
    named = [(name, getattr(record, name)) for name in record.__struct_fields__]
    return [
        (name, value)
        for name, value in named
        if name not in _ENVELOPE and value is not None and value not in ("", [], {})
    ]


def _of_event(row: r.EventRow) -> EventOut:
    made = {plain(str(name)): plain(value) for name, value in row.data.items()}
    made["whence.event.id"] = row.id
    if row.level != "info":
        made["whence.event.level"] = plain(row.level)
    return EventOut(plain(row.message), row.ts_ns, made)


def _of_score(row: r.ScoreRow) -> EventOut:
    stated: dict[str, Any] = {
        "gen_ai.evaluation.name": row.name,
        "gen_ai.evaluation.score.value": row.value,
        "gen_ai.evaluation.score.label": {True: "pass", False: "fail"}.get(row.passed),  # pyright: ignore[reportArgumentType, reportCallIssue]
        "gen_ai.evaluation.explanation": row.feedback or None,
    }
    known = {"name", "value", "passed", "feedback"}
    stated |= {f"whence.score.{n}": flat(v) for n, v in _fields(row) if n not in known}
    made = {name: plain(value) for name, value in stated.items() if value is not None}
    return EventOut(EVALUATION, row.ts_ns, made)
