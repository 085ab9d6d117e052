"""One line about one record, for people who watch a log go by."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from whence.query import text, treetext
from whence.query.treetext import failure
from whence.record.event import Event, Foreign, Gap
from whence.record.generation import Generation, ToolCall
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.score import Score
from whence.record.source import Source
from whence.record.span import SpanEnded, SpanStarted
from whence.store.project import Projection

if TYPE_CHECKING:
    from whence.record.codec import AnyRecord
    from whence.store.rows import PointRow

_WIDTH = 160
_UPDATED = ("status", "input", "output", "input_count", "output_count", "algorithm", "tags")

TABLE_OF_KIND = {
    "run_started": "runs",
    "run_ended": "runs",
    "span_started": "spans",
    "span_ended": "spans",
    "decision": "decisions",
    "factor": "factors",
    "source": "sources",
    "generation": "generations",
    "tool_call": "tool_calls",
    "transformation": "transformations",
    "score": "scores",
    "output": "outputs",
    "link": "links",
    "event": "events",
    "annotation": "annotations",
    "gap": "gaps",
}
"""Kind of record to the table in which it is, or becomes part of, a row."""


def kind_of(record: AnyRecord) -> str:
    """Return the kind of a record as it stands in the log."""
    return record.foreign_kind if isinstance(record, Foreign) else str(record.__struct_config__.tag)


def gist(record: AnyRecord) -> str:
    """Return what a record says, in one printable line."""
    match record:
        case RunStarted():
            said = [record.name, f"({record.project})" if record.project else ""]
        case RunEnded() | SpanEnded():
            problem = failure(record.error)
            said = [record.status, _took(record.duration_ns), problem]
        case SpanStarted():
            said = [record.span_kind, record.name]
        case Update():
            names = [name for name in _UPDATED if getattr(record, name) is not None]
            said = ["set", ", ".join([*(record.attributes or ()), *names]), *(record.tags or ())]
        case _:
            said = [_described(record)]
    return text.printable(" ".join(part for part in said if part))


def _described(record: AnyRecord) -> str:
    """Return what the row says that the record becomes."""
    table = TABLE_OF_KIND.get(kind_of(record))
    if table is None:
        return ""
    projection = Projection()
    projection.add(record, "", 0)
    return treetext.describe(cast("PointRow", projection.points[table][0]), _WIDTH)


def _took(duration_ns: int | None) -> str:
    return "" if duration_ns is None else text.duration(duration_ns / 1e6)


def state_of(record: AnyRecord) -> str:
    """Return the word in a record that says whether it went well; empty if it has none."""
    match record:
        case RunEnded() | SpanEnded() | Generation() | ToolCall():
            return record.status
        case Score():
            return "" if record.passed is None else "passed" if record.passed else "failed"
        case Source():
            return "kept" if record.kept else "dropped"
        case Event():
            return record.level
        case Gap():
            return "error"
        case _:
            return ""
