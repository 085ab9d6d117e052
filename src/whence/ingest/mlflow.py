"""Traces of MLflow: the JSON of `Trace.to_json`, lists and lines of it, and its data frames.

Comes in: traces of schema 2 or 3, with their spans or without. Goes out: a run a trace, under the
name that MLflow gives it and with its experiment as the project; what the spans say; feedback as
scores, and what was expected as a remark. MLflow writes every attribute as JSON, and what it knows
of a model call under names of its own, which are brought to those of the conventions.

Source: mlflow/mlflow, `entities/trace.py`, `entities/span.py`, `entities/assessment.py`,
`tracing/constant.py` of versions 2.14 to 3.17.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from whence import _clock
from whence.errors import IngestError
from whence.ingest import (
    bundles,
    calls,
    documents,
    json_files,
    judgements,
    keys,
    loose,
    stated,
)
from whence.ingest.base import Skipped
from whence.ingest.otel import STATUS_ERROR, Happening, Origin, SpanIn, Tie
from whence.ingest.platforms import Runs, Told
from whence.record.score import Annotation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_FORMAT = "mlflow"
_TYPE = "mlflow.spanType"
_SHAPES = ({"info", "data"}, {"trace_id", "trace"}, {"request_id", "trace"}, {"traces"}, {"spans"})
_SHAPES_OF_INFO = ({"trace_id", "trace_location"}, {"request_id", "request_metadata"})
_MODELS = frozenset({"LLM", "CHAT_MODEL", "EMBEDDING", "RERANKER"})
_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]+)")
_PREFIX = "tr-"
_OWN = "mlflow."


def detect(source: Source) -> bool:
    """Return whether a file begins with a trace of MLflow."""
    if b"mlflow" not in source.head:
        return False
    found = json_files.peek(source).keys
    return any(found >= shape for shape in (*_SHAPES, *_SHAPES_OF_INFO))


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file, and what was left out.

    Raises:
        IngestError: The file as a whole is no JSON.
        OSError: It cannot be read.
    """
    runs = Runs(known)
    for item in documents.iter_objects(source, "traces"):
        if isinstance(item, Skipped):
            yield item
            continue
        where, document = item
        try:
            info, given = _parts(document)
        except IngestError as error:
            yield Skipped(where, f"its trace is not JSON: {error}")
            continue
        read = [_span(plain) for plain in given]
        spans = [span for span in read if span is not None]
        if len(spans) < len(read):
            yield Skipped(where, f"{len(read) - len(spans)} spans have no valid trace and span id")
        known_as = loose.name(info.get("trace_id")) or loose.name(info.get("request_id"))
        if known_as is not None:
            run = stated.run_id(_FORMAT, known_as.removeprefix(_PREFIX))
            run = spans[0].trace if spans else run
            yield from runs.tell(run, _told(info, known_as, _answer(spans)))
            yield from _assessments(run, info)
        elif not spans:
            yield Skipped(where, "it is no trace of MLflow")
        for span in spans:
            yield from runs.add(span)
    yield from runs.settle()


def _parts(document: Fields) -> tuple[Fields, list[Fields]]:
    """Return the info and the spans of a trace, however it was saved."""
    packed = document.get("trace")
    if isinstance(packed, str):
        document = loose.mapping(json_files.decoded(packed.encode("utf-8", "surrogatepass")))
    elif isinstance(packed, dict):
        document = loose.mapping(document["trace"])
    info, data = document.get("info", document), document.get("data", document)
    if isinstance(data, str):
        data = json_files.decoded(data.encode("utf-8", "surrogatepass"))
    return loose.mapping(info), loose.mappings(loose.mapping(data).get("spans"))


def _told(info: Fields, known_as: str, output: Any) -> Told:
    metadata = {**_pairs(info.get("request_metadata")), **_pairs(info.get("trace_metadata"))}
    tags = _pairs(info.get("tags"))
    begun_ns = stated.time_ns(info.get("request_time", info.get("timestamp_ms")))
    length_ns = next(
        (
            length
            for name in ("execution_duration_ms", "execution_duration", "execution_time_ms")
            if (length := stated.length_ns(info.get(name))) is not None
        ),
        None,
    )
    location = loose.mapping(info.get("trace_location"))
    experiment = loose.name(
        loose.mapping(location.get("mlflow_experiment")).get("experiment_id")
    ) or loose.name(info.get("experiment_id"))
    state = loose.text(info.get("state")) or loose.text(info.get("status"))
    cost = loose.mapping(_value(metadata.get("mlflow.trace.cost")))
    declared = {
        "cost_usd": loose.amount(cost.get("total_cost")),
        "usage": loose.mapping(_value(metadata.get("mlflow.trace.tokenUsage"))) or None,
    }
    declared = {name: value for name, value in declared.items() if value is not None}
    others = {"state": state, "client_request_id": info.get("client_request_id")}
    attributes = {name: value for name, value in others.items() if value is not None}
    return Told(
        known_as=known_as,
        name=loose.name(tags.get("mlflow.traceName")),
        project=None if experiment is None else f"experiment {experiment}",
        session=loose.name(metadata.get("mlflow.trace.session")),
        user=loose.name(metadata.get("mlflow.trace.user")),
        tags=[f"{key}:{value}" for key, value in tags.items() if not key.startswith(_OWN)],
        begun_ns=begun_ns,
        ended_ns=None if begun_ns is None or length_ns is None else begun_ns + length_ns,
        status={"OK": "complete", "ERROR": "failed"}.get(state or ""),
        attributes=attributes
        | {name: _value(value) for name, value in (*metadata.items(), *tags.items())}
        | ({"declared": declared} if declared else {}),
        output=output,
    )


def _pairs(given: Any) -> Fields:
    """Return a mapping, also one that the API wrote as a list of `key` and `value`."""
    pairs = {
        key: item.get("value")
        for item in loose.mappings(given)
        if (key := loose.name(item.get("key"))) is not None
    }
    return pairs or loose.mapping(given)


def _answer(spans: list[SpanIn]) -> Any:
    """Return what the root of a trace gave back."""
    root = next((span for span in spans if not span.parent), None)
    return None if root is None else root.attributes.get("mlflow.spanOutputs")


def _span(plain: Fields) -> SpanIn | None:
    context = loose.mapping(plain.get("context")) or plain
    trace, span = _id(context.get("trace_id"), 16), _id(context.get("span_id"), 8)
    if not keys.is_run_id(trace) or not keys.is_record_id(span):
        return None
    parent = _id(plain.get("parent_span_id", plain.get("parent_id")), 8)
    status = loose.mapping(plain.get("status"))
    code = loose.name(status.get("code", plain.get("status_code"))) or ""
    message = loose.text(status.get("message", plain.get("status_message")))
    attributes = {
        name: _value(value) for name, value in loose.mapping(plain.get("attributes")).items()
    }
    name = loose.name(plain.get("name")) or ""
    return SpanIn(
        trace,
        span,
        parent if keys.is_record_id(parent) else "",
        name,
        _time(plain, "start_time_unix_nano", "start_time") or 0,
        _time(plain, "end_time_unix_nano", "end_time") or 0,
        _translated(name, attributes),
        Origin({}),
        [
            Happening(
                loose.name(event.get("name")) or "",
                _time(event, "time_unix_nano", "timestamp") or 0,
                loose.mapping(event.get("attributes")),
            )
            for event in loose.mappings(plain.get("events"))
        ],
        [
            Tie(_id(link.get("trace_id"), 16), _id(link.get("span_id"), 8), {})
            for link in loose.mappings(plain.get("links"))
        ],
        STATUS_ERROR if code.rpartition("_")[2].upper() == "ERROR" else 0,
        message or "",
    )


def _time(plain: Fields, *names: str) -> int | None:
    return next((t for name in names if (t := stated.time_ns(plain.get(name)))), None)


def _id(value: Any, size: int) -> str:
    """Return an id as hex, also if it was written in base64; empty for what is none."""
    text = (loose.text(value) or "").removeprefix(_PREFIX)
    match = _HEX.fullmatch(text) if len(text) <= 2 * size + 2 else None
    if match is not None and len(match[1]) <= 2 * size:
        return match[1].lower().rjust(2 * size, "0")
    if len(text) > 2 * size:
        return ""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return raw.hex() if len(raw) == size else ""


def _value(value: Any) -> Any:
    """Return an attribute as data; one that is no JSON as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json_files.decoded(value.encode("utf-8", "surrogatepass"))
    except IngestError:
        return value


def _translated(name: str, attributes: Fields) -> Fields:
    """Return the attributes of a span under the names of the conventions, where they have one."""
    made = dict(attributes)
    kind = loose.text(made.get(_TYPE)) or ""
    given, answer = made.get("mlflow.spanInputs"), made.get("mlflow.spanOutputs")
    said: Fields = {}
    if kind in _MODELS:
        said |= calls.of_request(given) | calls.of_answer(answer)
        said["gen_ai.request.model"] = made.get("mlflow.llm.model") or said.get(
            "gen_ai.request.model"
        )
        said["gen_ai.provider.name"] = made.get("mlflow.llm.provider")
        said |= bundles.of_mlflow(made.get("mlflow.chat.tokenUsage"))
        said |= bundles.cost_of_mlflow(made.get("mlflow.llm.cost"))
        said["gen_ai.tool.definitions"] = made.get("mlflow.chat.tools") or said.get(
            "gen_ai.tool.definitions"
        )
    elif kind == "TOOL":
        said = {
            "gen_ai.tool.name": name,
            "gen_ai.tool.call.arguments": made.pop("mlflow.spanInputs", None),
            "gen_ai.tool.call.result": made.pop("mlflow.spanOutputs", None),
        }
    elif kind == "RETRIEVER":
        found = [_document(one) for one in loose.mappings(answer)]
        said = {"gen_ai.retrieval.documents": found or None}
        if isinstance(given, dict) and isinstance(query := loose.mapping(given).get("query"), str):
            said["gen_ai.retrieval.query.text"] = query
    for attribute, value in said.items():
        if value is not None:
            made.setdefault(attribute, value)
    return made


def _document(given: Fields) -> Fields:
    """Return a document of a retriever in the form of the conventions."""
    about = loose.mapping(given.get("metadata"))
    uri = about.get("doc_uri")
    made = {
        "content": given.get("page_content", given.get("content")),
        "id": given.get("id", uri),
        "score": given.get("score", about.get("score", about.get("similarity_score"))),
        "metadata": about if uri is None else {"source": uri, **about},
    }
    return {name: value for name, value in made.items() if value is not None}


def _assessments(run: str, info: Fields) -> Iterator[Record | Skipped]:
    for number, one in enumerate(loose.mappings(info.get("assessments"))):
        name = loose.name(one.get("assessment_name", one.get("name")))
        known_as = loose.name(one.get("assessment_id")) or f"{number} {name}"
        span = _id(one.get("span_id"), 8)
        source = loose.mapping(one.get("source"))
        sort = (loose.text(source.get("source_type")) or "").lower() or None
        place: Fields = {
            "run": run,
            "span": span if keys.is_record_id(span) else None,
            "id": keys.record_id(run, "assessment", known_as),
        }
        ts_ns = _time(one, "create_time", "create_time_ms", "last_update_time")
        by = loose.name(source.get("source_id")) or sort
        valid = one.get("valid")
        others: Fields = {
            "source_type": sort,
            "metadata": one.get("metadata") or None,
            "valid": None if valid is True else valid,
            "overrides": one.get("overrides"),
        }
        rationale = loose.text(one.get("rationale"))
        if isinstance(one.get("feedback"), dict):
            feedback = loose.mapping(one["feedback"])
            error = loose.mapping(feedback.get("error"))
            wrong = loose.text(error.get("error_message"))
            yield judgements.score(
                place,
                ts_ns,
                name,
                feedback.get("value"),
                feedback=rationale or wrong,
                by=by,
                attributes={**others, "error": error or None},
            )
            continue
        expected = _expected(loose.mapping(one.get("expectation")))
        issue = loose.name(loose.mapping(one.get("issue")).get("issue_name"))
        shown = f"{name or 'expected'}: {expected}" if issue is None else rationale
        yield Annotation(
            ts=_clock.format_ns(ts_ns or 0),
            run=run,
            span=place["span"],
            id=place["id"],
            target=place["span"] or run,
            flag=issue,
            note=shown,
            by=by,
            attributes={
                name: value
                for name, value in {**others, "name": name, "expected": expected}.items()
                if value is not None
            },
        )


def _expected(expectation: Fields) -> Any:
    packed = loose.mapping(expectation.get("serialized_value")).get("value")
    return expectation.get("value") if packed is None else _value(packed)
