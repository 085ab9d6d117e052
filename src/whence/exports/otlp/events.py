"""Records that a span has no attributes for, as events of the span.

Log lines are events under their own name; judgements are `gen_ai.evaluation.result`, which the
conventions know; everything else that was recorded (decisions with their options, factors, sources,
transformations, outputs, remarks, losses) is an event `whence.<kind>` with the fields of its row
under `whence.<kind>.<field>`: any backend shows them, nothing is dropped, and `whence import` makes
the same records of them (`ingest.own_points`).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import msgspec

from whence.exports.otlp.model import EventOut, Options, exact, plain
from whence.ingest import own
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


def of_records(
    records: Iterable[r.PointRow], options: Options, place: str | None = None
) -> list[EventOut]:
    """Return the events that stand for records, in the order given.

    Args:
        records: The records.
        options: Names and content.
        place: Id of the span whose events they become; None for the run's own.
    """
    made: list[EventOut] = []
    for record in records:
        event = _of_record(record, options)
        if record.span != place:
            event.attributes[own.PLACE] = plain(record.span or "")
        made.append(event)
    return made


def _of_record(record: r.PointRow, options: Options) -> EventOut:
    if isinstance(record, r.EventRow):
        return _of_event(record)
    if isinstance(record, r.ScoreRow):
        return _of_score(record)
    word = NAMES[type(record)]
    hidden = frozenset[str]() if options.content else CONTENT.get(type(record), frozenset())
    made = {f"whence.{word}.{n}": v for n, v in iter_fields(record) if n not in hidden}
    return EventOut(f"whence.{word}", record.ts_ns, made)


def iter_fields(record: r.PointRow) -> Iterator[tuple[str, Any]]:
    """Yield name and written value of the fields of a row that say something."""
    for name, default, is_text in _fields_of(type(record)):
        value = getattr(record, name)
        if name not in _ENVELOPE and value != default:
            yield name, plain(value) if is_text else exact(value)


@functools.cache
def _fields_of(kind: type[r.Row]) -> list[tuple[str, Any, bool]]:
    """Return the fields of a kind of row: name, default, and whether it holds texts alone."""
    made: list[tuple[str, Any, bool]] = []
    for field in msgspec.structs.fields(kind):
        factory = field.default_factory
        default = field.default if factory is msgspec.NODEFAULT else factory()
        made.append((field.name, default, field.type in {str, str | None}))
    return made


def said(row: r.Row, names: Iterable[str]) -> Iterator[str]:
    """Yield those of some fields in which a row says something."""
    defaults = {name: default for name, default, _ in _fields_of(type(row))}
    for name in names:
        if getattr(row, name) != defaults[name]:
            yield name


def _of_event(row: r.EventRow) -> EventOut:
    made = {plain(str(name)): plain(value) for name, value in row.data.items()}
    if made != row.data or any(name.startswith("whence.") for name in made):
        made = {name: value for name, value in made.items() if not name.startswith("whence.")}
        made["whence.event.data"] = exact(row.data)
    made["whence.event.id"] = row.id
    if row.level != "info":
        made["whence.event.level"] = plain(row.level)
    if row.stage is not None:
        made["whence.event.stage"] = plain(row.stage)
    return EventOut(plain(row.message), row.ts_ns, made)


def _of_score(row: r.ScoreRow) -> EventOut:
    stated: dict[str, Any] = {
        "gen_ai.evaluation.name": row.name,
        "gen_ai.evaluation.score.value": row.value,
        "gen_ai.evaluation.score.label": {True: "pass", False: "fail"}.get(row.passed),  # pyright: ignore[reportArgumentType, reportCallIssue]
        "gen_ai.evaluation.explanation": row.feedback or None,
    }
    known = {"name", "value", "passed", "feedback"}
    stated |= {f"whence.score.{n}": v for n, v in iter_fields(row) if n not in known}
    made = {name: plain(value) for name, value in stated.items() if value is not None}
    return EventOut(EVALUATION, row.ts_ns, made)
