"""One line about one record, for people who watch a log go by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from whence.query import text
from whence.record.codec import AnyRecord
from whence.record.decision import Decision, Factor
from whence.record.event import Event, Foreign, Gap
from whence.record.generation import Generation, ToolCall, Transformation
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted, Update
from whence.record.score import Annotation, Output, Score
from whence.record.source import Source
from whence.record.span import SpanEnded, SpanStarted

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
    """Return what a record says, in one printable line without its kind."""
    said = _SAID.get(type(record), _nothing)(record)
    return text.printable(" ".join(part for part in said if part))


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


def _nothing(_record: AnyRecord) -> list[str]:
    return []


def _value(value: Any) -> str:
    return text.printable(value, 80)


def _named(name: str, value: float | None) -> str:
    return "" if value is None else f"{name} {text.number(value)}"


def _took(duration_ns: int | None) -> str:
    return "" if duration_ns is None else text.duration(duration_ns / 1e6)


def _decision(record: Decision) -> list[str]:
    return [
        f"{record.name} = {_value(record.what)}",
        _named("confidence", record.confidence),
        f"because {record.why}" if record.why else "",
    ]


def _factor(record: Factor) -> list[str]:
    return [
        f"{record.name} = {_value(record.raw_value)}",
        _named("contribution", record.contribution),
        record.reasoning,
    ]


def _source(record: Source) -> list[str]:
    word = "kept" if record.kept else "dropped"
    return [
        word,
        f"{record.source_type} {record.title or record.source_key}",
        f"({record.reason})" if record.reason else "",
    ]


def _generation(record: Generation) -> list[str]:
    return [
        record.model or "",
        record.status,
        _took(record.duration_ns),
        text.money(record.cost_usd) if record.cost_usd is not None else "",
    ]


def _tool_call(record: ToolCall) -> list[str]:
    return [record.tool_name, record.status, _took(record.duration_ns)]


def _score(record: Score) -> list[str]:
    passed = "" if record.passed is None else "passed" if record.passed else "failed"
    limit = "" if record.threshold is None else f"(threshold {text.number(record.threshold)})"
    return [f"{record.name} = {_value(record.value)}", limit, passed, record.feedback or ""]


def _annotation(record: Annotation) -> list[str]:
    return [
        f"on {record.target}",
        f"flag: {record.flag}" if record.flag else "",
        f"status: {record.status}" if record.status else "",
        record.note or "",
    ]


_SAID: dict[type, Callable[[Any], list[str]]] = {
    RunStarted: lambda r: [r.name, f"({r.project})" if r.project else ""],
    RunEnded: lambda r: [r.status, _took(r.duration_ns)],
    SpanStarted: lambda r: [r.name],
    SpanEnded: lambda r: [r.status, _took(r.duration_ns)],
    Update: lambda r: [", ".join(r.tags or ()), ", ".join(r.attributes or ())],
    Decision: _decision,
    Factor: _factor,
    Source: _source,
    Generation: _generation,
    ToolCall: _tool_call,
    Transformation: lambda r: [r.name, r.method or ""],
    Score: _score,
    Output: lambda r: [r.output_id, r.summary],
    Link: lambda r: [f"{r.source} {r.link_kind} {r.target}"],
    Event: lambda r: [r.message],
    Annotation: _annotation,
    Gap: lambda r: [f"{r.lost} records lost: {r.reason}"],
}
