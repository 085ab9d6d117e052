"""Events, links and documents of whence's own OTLP export become the records they came from.

Comes in: a span of such an export. Goes out: decisions, factors, sources, scores, outputs, links,
log lines and the rest, each with its id, time and place. What is not exactly such a record is what
it would be on any other span: an event stays an event, a link a link, a document a document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence import _clock
from whence.ingest import evidence, loose, own, spans
from whence.ingest.otel import STATUS_ERROR
from whence.ingest.reading import json_of
from whence.record.decision import Decision, Factor
from whence.record.event import Event, Gap
from whence.record.generation import Transformation
from whence.record.link import Link
from whence.record.score import Annotation, Output, Score
from whence.record.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.otel import Happening, SpanIn, Tie
    from whence.ingest.reading import Reading
    from whence.record.base import Record

_EVENT = "whence.event."
_SCORE = "whence.score."
_LINK = "whence.link."
_EVALUATION = "gen_ai.evaluation."
_EVALUATION_NAMES = ("name", "score.value", "score.label", "explanation")
_PASSED = {"pass": True, "fail": False}
_KINDS: dict[str, type[Record]] = {
    "whence.decision": Decision,
    "whence.factor": Factor,
    "whence.source": Source,
    "whence.transformation": Transformation,
    "whence.output": Output,
    "whence.link": Link,
    "whence.annotation": Annotation,
}
_STACK_NAMES = frozenset({"exception.type", "exception.message", "exception.stacktrace"})
_PARENT_RUN = {"whence.link.kind": "parent_run"}
_DOCUMENT_FIELDS = (
    "records_used",
    "freshness_s",
    "quality",
    "reason",
    "sample_ids",
    "digest",
    "title",
    "source_type",
    "attributes",
)
_METADATA = frozenset({*_DOCUMENT_FIELDS, "source", "scores", "whence"})
_DOCUMENT = frozenset({"id", "score", "content", "metadata"})


def of_events(span: SpanIn, place: str | None) -> Iterator[Record]:
    """Yield the records that the events of a span state.

    Args:
        span: The span.
        place: Id of the span that they were made in; None for the run.
    """
    others: list[Happening] = []
    for event in span.events:
        made = _of_event(span, event, place)
        if made is not None:
            yield made
        elif span.status != STATUS_ERROR or not is_stack(event):
            others.append(event)
    for record in spans.happenings(span, others):
        yield msgspec.structs.replace(record, span=place)


def is_stack(event: Happening) -> bool:
    """Whether an event is nothing but the error of its span."""
    return event.name == "exception" and event.attributes.keys() <= _STACK_NAMES


def _of_event(span: SpanIn, event: Happening, place: str | None) -> Record | None:
    given = event.attributes
    where = {"ts": _clock.format_ns(event.time_ns), "run": span.trace, "span": place}
    if f"{_EVENT}id" in given:
        return _log_line(event, where)
    if f"{_SCORE}id" in given:
        return _score(given, where)
    if event.name == "whence.gap":
        return _gap(given, where)
    kind = _KINDS.get(event.name)
    return None if kind is None else own.record(kind, f"{event.name}.", given, where)


def _log_line(event: Happening, where: dict[str, Any]) -> Record | None:
    stated = {n: v for n, v in event.attributes.items() if n.startswith(_EVENT) or n == own.PLACE}
    data = own.meant(stated.pop(f"{_EVENT}data", None))
    if data is None:
        data = {n: v for n, v in event.attributes.items() if n not in stated}
    stated[f"{_EVENT}message"] = event.name
    made = own.record(Event, _EVENT, stated, where)
    if not isinstance(made, Event) or not isinstance(data, dict):
        return None
    return msgspec.structs.replace(made, data=cast("dict[str, Any]", data) or None)


def _score(given: dict[str, Any], where: dict[str, Any]) -> Record | None:
    stated = {n: v for n, v in given.items() if not n.startswith(_EVALUATION)}
    others = {n.removeprefix(_EVALUATION): v for n, v in given.items() if n not in stated}
    if not others.keys() <= set(_EVALUATION_NAMES):
        return None
    for name, value in (
        ("name", others.get("name")),
        ("value", others.get("score.value")),
        ("feedback", others.get("explanation")),
    ):
        if value is not None:
            stated[f"{_SCORE}{name}"] = value
    label = others.get("score.label")
    if label is not None:
        if label not in _PASSED:
            return None
        stated[f"{_SCORE}passed"] = _PASSED[label]
    return own.record(Score, _SCORE, stated, where)


def _gap(given: dict[str, Any], where: dict[str, Any]) -> Record | None:
    stated = dict(given)
    since_ns = stated.pop("whence.gap.since_ns", None)
    if since_ns is not None:
        if not own.is_time(since_ns):
            return None
        stated["whence.gap.since"] = _clock.format_ns(since_ns)
    return own.record(Gap, "whence.gap.", stated, where)


def of_links(span: SpanIn, place: str | None) -> Iterator[Record]:
    """Yield the records that the links of a span state.

    Args:
        span: The span.
        place: Id of the span that they were made in; None for the run.
    """
    is_root = not span.parent and isinstance(span.attributes.get("whence.run.parent"), str)
    others: list[Tie] = []
    for tie in span.links:
        made = _of_link(span, tie, place)
        if made is not None:
            yield made
        elif not (is_root and tie.attributes == _PARENT_RUN):
            others.append(tie)
    for record in evidence.links(span, others):
        yield msgspec.structs.replace(record, span=place, target=place or span.trace)


def _of_link(span: SpanIn, tie: Tie, place: str | None) -> Record | None:
    stated = {n: v for n, v in tie.attributes.items() if n.startswith(_LINK) or n == own.PLACE}
    ts_ns = stated.pop(f"{_LINK}ts_ns", span.begun_ns)
    if not own.is_time(ts_ns):
        return None
    where = {"ts": _clock.format_ns(ts_ns), "run": span.trace, "span": place}
    made = own.record(Link, _LINK, stated, where)
    if not isinstance(made, Link):
        return None
    named = (made.attributes or {}).keys()
    return made if tie.attributes.keys() - stated.keys() <= {f"{_LINK}ts_ns", *named} else None


def of_documents(span: SpanIn, read: Reading) -> Iterator[Record]:
    """Yield the sources that the documents of a retrieval state."""
    whole = read.fields.get("documents")
    if not isinstance(whole, list):
        whole = read.lists.get("documents", [])
    made = [_document(span, one) for one in cast("list[Any]", whole)]
    if all(one is not None for one in made):
        yield from cast("list[Record]", made)
    else:
        yield from evidence.sources(span, read)


def _document(span: SpanIn, document: Any) -> Record | None:
    given = loose.mapping(own.restored(document))
    stated = loose.mapping(own.restored(json_of(given.get("metadata"))))
    place = loose.mapping(stated.get("whence"))
    if not own.is_time(place.get("ts_ns")):
        return None
    if not (given.keys() <= _DOCUMENT and stated.keys() <= _METADATA):
        return None
    prefix = "whence.source."
    fields = {f"{prefix}{name}": stated[name] for name in _DOCUMENT_FIELDS if name in stated}
    fields[f"{prefix}id"] = place.get("id")
    fields[f"{prefix}source_key"] = given.get("id")
    if "stage" in place:
        fields[f"{prefix}stage"] = place["stage"]
    if "source" in stated:
        fields[f"{prefix}locator"] = stated["source"]
    scores, about = loose.mapping(stated.get("scores")), loose.mapping(stated.get("attributes"))
    if "score" in given:
        scores = {**scores, "relevance": given["score"]}
    if scores:
        fields[f"{prefix}scores"] = scores
    if "content" in given:
        fields[f"{prefix}attributes"] = {**about, "content": given["content"]}
    where = {"ts": _clock.format_ns(place["ts_ns"]), "run": span.trace, "span": span.span}
    return own.record(Source, prefix, fields, where)
