"""What a span says of documents, judgements and other spans: sources, scores and links.

Comes in: a span and its attributes, read. Goes out: records. A retriever's documents were kept; of
what a reranker was given, the documents it did not give back were dropped. A judgement on a span of
its own that has exactly one link is about the span at the other end. Source: OpenInference
specification (retrievers, rerankers, evaluations) and OpenTelemetry GenAI (retrieval, evaluation).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

from whence import _clock
from whence.ingest import keys, loose, semconv
from whence.ingest.reading import json_of
from whence.record.link import Link
from whence.record.score import Score
from whence.record.source import Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from whence.ingest.otel import Happening, SpanIn, Tie
    from whence.ingest.reading import Reading

_PASSED = {"pass": True, "passed": True, "fail": False, "failed": False}
_LOCATORS = ("source", "url", "link", "file_path", "path")
_CONTENTS = frozenset({"page_content", "content", "text"})
_LEFT_OUT = "the reranker did not give it back"


def text_of(value: Any) -> str | None:
    """Return a text, or a number as text; None for anything else and for nothing."""
    if isinstance(value, str):
        return value or None
    return str(value) if isinstance(value, (int, float)) else None


def number_of(value: Any) -> float | None:
    """Return a finite number; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0:
        return None
    return float(value)


def sources(span: SpanIn, read: Reading) -> Iterator[Source]:
    """Yield the documents of a span."""
    given = read.lists.get("documents") or _documents(read.fields.get("documents"))
    if not given and read.what == semconv.RETRIEVER:
        given = _documents_in(read.fields.get("output"))
    for number, document in enumerate(given):
        yield _source(span, "document", number, document, kept=True)
    returned = read.lists.get("documents_out", [])
    for number, document in enumerate(returned):
        yield _source(span, "document_out", number, document, kept=True)
    if returned:
        kept = {_identity(document) for document in returned}
        for number, document in enumerate(read.lists.get("documents_in", [])):
            if _identity(document) not in kept:
                yield _source(span, "document_in", number, document, kept=False)
    else:
        for number, document in enumerate(read.lists.get("documents_in", [])):
            yield _source(span, "document_in", number, document, kept=True)


def _documents(given: Any) -> list[Any]:
    return cast("list[Any]", given) if isinstance(given, list) else []


def _documents_in(answer: Any) -> list[Any]:
    """Return the documents that a retriever gave back as its output, as LangChain writes them."""
    found = json_of(answer)
    listed = loose.mapping(found).get("documents", found)
    return [
        {"content" if name == "page_content" else name: value for name, value in one.items()}
        for one in loose.mappings(listed)
        if not _CONTENTS.isdisjoint(one)
    ]


def _identity(document: Any) -> Any:
    fields = _fields(document)
    return fields.get("id") or _text_of_document(fields)


def _text_of_document(fields: dict[str, Any]) -> str:
    content = fields.get("content", fields.get("text"))
    return content if isinstance(content, str) else repr(content)


def _fields(document: Any) -> dict[str, Any]:
    if isinstance(document, dict):
        return cast("dict[str, Any]", document)
    return {"content": document}


def _source(span: SpanIn, role: str, number: int, document: Any, *, kept: bool) -> Source:
    fields = dict(_fields(document))
    about = loose.mapping(json_of(fields.get("metadata")))
    if about:  # attributes of a span hold no mapping, so OpenInference has it as JSON
        fields["metadata"] = about
    content = fields.get("content", fields.get("text"))
    digest = None
    if isinstance(content, str):
        digest = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
    locator = next((text for name in _LOCATORS if (text := text_of(about.get(name)))), None)
    score = number_of(fields.pop("score", None))
    key = text_of(fields.pop("id", None)) or locator or digest or str(number)
    return Source(
        ts=_clock.format_ns(span.ended_ns or span.begun_ns),
        run=span.trace,
        span=span.span,
        id=keys.record_id(span.trace, span.span, role, str(number)),
        source_type="document",
        source_key=key,
        scores=None if score is None else {"relevance": score},
        kept=kept,
        reason=None if kept else _LEFT_OUT,
        digest=digest,
        locator=locator,
        title=text_of(about.get("title")),
        attributes=fields or None,
    )


def scores(span: SpanIn, read: Reading) -> Iterator[Score]:
    """Yield the judgements that stand in the attributes of a span."""
    target = span.links[0].span if _is_carrier(span, read) else None
    for number, item in enumerate(read.lists.get("evaluations", [])):
        yield _score(span, "evaluation", number, item, target)
    for number, item in enumerate(read.lists.get("run_evaluations", [])):
        yield _score(span, "run_evaluation", number, item, span.trace)


def _is_carrier(span: SpanIn, read: Reading) -> bool:
    return read.what == semconv.EVALUATOR and len(span.links) == 1


def _score(span: SpanIn, role: str, number: int, item: Any, target: str | None) -> Score:
    fields = dict(_fields(item))
    label = text_of(fields.get("label"))
    known = {k: fields.pop(k, None) for k in ("name", "score", "explanation", "annotator_kind")}
    return Score(
        ts=_clock.format_ns(span.ended_ns or span.begun_ns),
        run=span.trace,
        span=span.span,
        id=keys.record_id(span.trace, span.span, role, str(number)),
        name=text_of(known["name"]) or "evaluation",
        value=number_of(known["score"]),
        target=target,
        passed=_PASSED.get((label or "").lower()),
        feedback=text_of(known["explanation"]) or "",
        by=text_of(known["annotator_kind"]),
        attributes=fields or None,
    )


def evaluation(run: str, span: str | None, event: Happening, number: str) -> Score:
    """Return the judgement that an evaluation event states.

    Args:
        run: The run it belongs to.
        span: The span it belongs to.
        event: The event, of a span or of the log.
        number: What tells it from other events of the span.
    """
    prefix = "gen_ai.evaluation."
    given = event.attributes
    label = text_of(given.get(f"{prefix}score.label"))
    named = ("name", "score.value", "explanation")
    rest = {name: v for name, v in given.items() if name.removeprefix(prefix) not in named}
    return Score(
        ts=_clock.format_ns(event.time_ns),
        run=run,
        span=span,
        id=keys.record_id(run, span or "", "evaluation_event", number),
        name=text_of(given.get(f"{prefix}name")) or "evaluation",
        value=number_of(given.get(f"{prefix}score.value")),
        passed=_PASSED.get((label or "").lower()),
        feedback=text_of(given.get(f"{prefix}explanation")) or "",
        attributes=rest or None,
    )


def links(span: SpanIn, given: Iterable[Tie]) -> Iterator[Link]:
    """Yield links of a span: what they name came before it."""
    for number, link in enumerate(given):
        if not keys.is_record_id(link.span) or link.span == span.span:
            continue
        attributes = dict(link.attributes)
        if link.trace != span.trace:
            attributes["source_run"] = link.trace
        yield Link(
            ts=_clock.format_ns(span.begun_ns),
            run=span.trace,
            span=span.span,
            id=keys.record_id(span.trace, span.span, "link", str(number)),
            link_kind="triggered_by",
            source=link.span,
            target=span.span,
            attributes=attributes or None,
        )
