"""Spans and annotations of Phoenix: answers of its API, its JSON Lines, and its data frames.

Comes in: spans as `GET /v1/projects/{id}/spans` answers them, as Phoenix writes them to JSON Lines,
or as rows of the spans data frame (JSON, JSON Lines, Parquet), with evaluations in columns of their
own; annotations of spans, traces and documents, as the API answers them or as rows. Goes out: the
records of their traces, annotations as scores. Attributes may be nested, flat or both; they are
brought to the flat names of OpenInference.

An annotation names its span and no trace. Its trace is told by the spans of the same file, and else
by those in the files beside it.

Source: Arize-ai/phoenix 20, `server/api/routers/v1/spans.py`, `trace/trace_dataset.py`; and
arize-phoenix-client 3.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from whence.errors import IngestError
from whence.ingest import documents, json_files, judgements, keys, loose, otlp_json, stated, tables
from whence.ingest.base import Skipped, Source
from whence.ingest.otel import STATUS_ERROR, Happening, Origin, SpanIn
from whence.ingest.platforms import Runs, Told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from whence.ingest.base import Known
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_FORMAT = "phoenix"
_KIND = "openinference.span.kind"
_UNKNOWN = "UNKNOWN"
_ATTRIBUTES, _CONTEXT, _EVAL = "attributes.", "context.", "eval."
_WHOLE = frozenset(
    {
        "metadata",
        "input.value",
        "output.value",
        "llm.invocation_parameters",
        "llm.prompt_template.variables",
        "tool.parameters",
        "tool.json_schema",
        "tag.tags",
        "embedding.vector",
    }
)
"""Attributes whose value is not taken apart."""
_MAX_DEPTH = 12
_MOST_BESIDE = 200
"""Files beside one of annotations that are looked at for their spans."""
_MAX_BESIDE_BYTES = 1 << 30
_RESULT = ("label", "score", "explanation")
_Traces = dict[str, tuple[str, int]]
"""Id of a span, as the source has it, to its run and when it ended."""


def detect(source: Source) -> bool:
    """Return whether a file begins with a span or an annotation of Phoenix."""
    if tables.is_parquet(source):
        words = tables.column_names(source)
        return {b"context.span_id", b"context.trace_id"} <= words or (
            b"annotator_kind" in words and b"span_id" in words
        )
    found = json_files.peek(source).keys
    head = source.head
    if found <= {"data", "next_cursor"} and "data" in found:
        signs = (b'"span_kind"', b'"annotator_kind"', b'"start_time_unix_nano"')
        return any(sign in head for sign in signs)
    if found >= {"context", "span_kind"} or found >= {"annotator_kind"}:
        return True
    return {"context.span_id", "context.trace_id"} <= found


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file, and what was left out.

    Raises:
        IngestError: The file as a whole cannot be read.
        OSError: It cannot be read.
    """
    runs = Runs(known)
    traces: _Traces = {}
    told: set[str] = set()
    waiting: list[tuple[str, Fields]] = []
    for item in _iter_rows(source):
        if isinstance(item, Skipped):
            yield item
            continue
        where, row = item
        if _is_annotation(row):
            waiting.append((where, row))
            continue
        for span, plain in _spans(row):
            if span is None:
                yield Skipped(where, "it has no trace and span id")
                continue
            known_as = _trace_of(plain) or _trace_of(row)
            if known_as != span.trace and span.trace not in told:
                told.add(span.trace)
                yield from runs.tell(span.trace, Told(known_as=known_as, seen_ns=span.begun_ns))
            traces[_span_of(plain)] = (span.trace, span.ended_ns or span.begun_ns)
            yield from runs.add(span)
            yield from _evaluations(span, plain)
    yield from runs.settle()
    yield from _annotations(source, waiting, traces)


def _iter_rows(source: Source) -> Iterator[tuple[str, Fields] | Skipped]:
    if tables.is_parquet(source):
        yield from tables.iter_parquet(source)
        return
    for item in documents.iter_objects(source, "data"):
        if isinstance(item, Skipped) or not _is_by_column(item[1]):
            yield item
            continue
        where, columns = item
        for key in loose.mapping(columns.get("name") or columns.get("context.span_id")):
            cells = {name: loose.mapping(column).get(key) for name, column in columns.items()}
            yield f"{where}, row {key}", {"context.span_id": key, **cells}


def _is_by_column(row: Fields) -> bool:
    """Whether an object is a whole data frame, column by column, as pandas writes it by default."""
    return isinstance(row.get("context.trace_id"), dict)


def _is_annotation(row: Fields) -> bool:
    return "annotator_kind" in row or "annotation_name" in row


def _spans(row: Fields) -> Iterator[tuple[SpanIn | None, Fields]]:
    """Yield the spans of a row: itself, or those of a trace with spans inside."""
    inner = loose.mappings(row.get("spans"))
    if inner and "trace_id" in row:
        for plain in inner:
            yield _span({**plain, "trace_id": row["trace_id"]}), plain
    elif "start_time_unix_nano" in row:
        packed = msgspec.json.encode({"resource_spans": [{"scope_spans": [{"spans": [row]}]}]})
        try:
            yield next(iter(otlp_json.of_json(packed).spans), None), row
        except IngestError:
            yield None, row
    else:
        yield _span(row), row


def _span_of(plain: Fields) -> str:
    return _id_of(plain, "span_id")


def _trace_of(plain: Fields) -> str:
    return _id_of(plain, "trace_id")


def _id_of(plain: Fields, name: str) -> str:
    """Return an id of a span as the source has it: in its context, a column, or the span."""
    context = loose.mapping(plain.get("context"))
    return loose.name(context.get(name, plain.get(f"{_CONTEXT}{name}", plain.get(name)))) or ""


def _span(plain: Fields) -> SpanIn | None:
    trace, span = _trace_of(plain), _span_of(plain)
    if not trace or not span:
        return None
    run = stated.run_id(_FORMAT, trace)
    parent = loose.name(plain.get("parent_id")) or ""
    attributes = _attributes(plain)
    kind = loose.text(plain.get("span_kind"))
    if kind is not None and kind.upper() != _UNKNOWN:
        attributes.setdefault(_KIND, kind)
    return SpanIn(
        run,
        stated.span_id(run, span),
        stated.span_id(run, parent) if parent else "",
        loose.name(plain.get("name")) or "",
        stated.time_ns(plain.get("start_time")) or 0,
        stated.time_ns(plain.get("end_time")) or 0,
        attributes,
        Origin({}),
        _events(plain.get("events")),
        status=STATUS_ERROR if plain.get("status_code") == "ERROR" else 0,
        message=loose.text(plain.get("status_message")) or "",
    )


def _attributes(plain: Fields) -> Fields:
    """Return the attributes of a span under flat names."""
    made: Fields = {}
    for name, value in loose.mapping(plain.get("attributes")).items():
        _flatten(made, name, value, 0)
    for name, value in plain.items():
        if name.startswith(_ATTRIBUTES) and value is not None:
            _flatten(made, name.removeprefix(_ATTRIBUTES), value, 0)
    return made


def _flatten(made: Fields, name: str, value: Any, depth: int) -> None:
    if name in _WHOLE or depth > _MAX_DEPTH:
        made[name] = value
    elif isinstance(value, dict) and value:
        for key, inner in loose.mapping(value).items():
            _flatten(made, f"{name}.{key}", inner, depth + 1)
    elif isinstance(value, list) and loose.mappings(value):
        for number, inner in enumerate(loose.sequence(value)):
            _flatten(made, f"{name}.{number}", inner, depth + 1)
    elif value is not None:
        made[name] = value


def _events(given: Any) -> list[Happening]:
    if isinstance(given, str):
        try:
            given = json_files.decoded(given.encode("utf-8", "surrogatepass"))
        except IngestError:
            return []
    return [
        Happening(
            loose.name(event.get("name")) or "",
            stated.time_ns(event.get("timestamp")) or 0,
            loose.mapping(event.get("attributes")),
        )
        for event in loose.mappings(given)
    ]


def _evaluations(span: SpanIn, plain: Fields) -> Iterator[Record]:
    """Yield the evaluations that stand in columns of their own, `eval.<name>.<part>`."""
    found: dict[str, Fields] = {}
    for name, value in plain.items():
        if name.startswith(_EVAL) and value is not None:
            named, _, part = name.removeprefix(_EVAL).rpartition(".")
            if named and part in _RESULT:
                found.setdefault(named, {})[part] = value
    for named, result in found.items():
        place: Fields = {
            "run": span.trace,
            "span": span.span,
            "id": keys.record_id(span.trace, span.span, "eval", named),
        }
        yield _score(place, span.ended_ns or span.begun_ns, named, result, {})


def _score(
    place: Fields, ts_ns: int | None, name: str | None, result: Fields, about: Fields
) -> Record:
    score = result.get("score")
    return judgements.score(
        place,
        ts_ns,
        name,
        result.get("label") if score is None else score,
        label=loose.name(result.get("label")),
        feedback=loose.text(result.get("explanation")),
        by=about.pop("by", None),
        target=about.pop("target", None),
        attributes=about,
    )


def _annotations(
    source: Source, waiting: list[tuple[str, Fields]], traces: _Traces
) -> Iterator[Record | Skipped]:
    """Yield the scores that annotations are; their spans may be in the files beside."""
    wanted = {_annotated(row) for _, row in waiting if loose.name(row.get("trace_id")) is None}
    missing = {span for span in wanted if span and span not in traces}
    if missing:
        _look_beside(source.path, missing, traces)
    for where, row in waiting:
        span, trace = _annotated(row), loose.name(row.get("trace_id"))
        run, ended_ns = traces.get(span, (None, 0))
        run = run if trace is None else stated.run_id(_FORMAT, trace)
        if run is None:
            about = "a session" if "session_id" in row else f"span {span[:40]!r}"
            beside = "" if "session_id" in row else ", which is neither here nor in a file beside"
            yield Skipped(where, f"it is about {about}{beside}")
            continue
        yield _annotation(run, stated.span_id(run, span) if span else None, row, ended_ns)


def _annotated(row: Fields) -> str:
    return loose.name(row.get("span_id")) or ""


def _annotation(run: str, span: str | None, row: Fields, ended_ns: int) -> Record:
    name = loose.name(row.get("annotation_name")) or loose.name(row.get("name"))
    inner = loose.mapping(row.get("result"))  # or a column for each of its parts
    result = {part: inner.get(part, row.get(f"result.{part}", row.get(part))) for part in _RESULT}
    kind = loose.text(row.get("annotator_kind"))
    position = loose.count(row.get("document_position"))
    known_as = loose.name(row.get("id")) or repr((name, kind, row.get("identifier"), position))
    about: Fields = {
        "by": None if kind is None else kind.lower(),
        "user": row.get("user_id"),
        "identifier": row.get("identifier") or None,
        "metadata": row.get("metadata") or None,
        "source": row.get("source"),
        "document_position": position,
    }
    if position is not None and span is not None:
        about["target"] = keys.record_id(run, span, "document", str(position))
    place: Fields = {"run": run, "span": span, "id": keys.record_id(run, "annotation", known_as)}
    ts_ns = stated.time_ns(row.get("created_at")) or stated.time_ns(row.get("updated_at"))
    return _score(place, ts_ns or ended_ns, name, result, about)


def _is_beside(other: Path, path: Path) -> bool:
    return other != path and other.is_file() and not other.is_symlink()


def _look_beside(path: Path, missing: set[str], traces: _Traces) -> None:
    """Find the traces of spans in the files beside one of annotations."""
    beside = sorted(other for other in path.parent.iterdir() if _is_beside(other, path))
    for other in beside[:_MOST_BESIDE]:
        if not missing:
            return
        try:
            if other.stat().st_size > _MAX_BESIDE_BYTES or not detect(found := Source(other)):
                continue
            for item in _iter_rows(found):
                if isinstance(item, Skipped) or _is_annotation(item[1]):
                    continue
                for span, plain in _spans(item[1]):
                    known_as = _span_of(plain)
                    if span is not None and known_as in missing:
                        traces[known_as] = (span.trace, span.ended_ns or span.begun_ns)
                        missing.discard(known_as)
        except (IngestError, OSError):
            continue  # that file says so when it is imported itself
