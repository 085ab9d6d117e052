"""Traces, observations and scores of Langfuse: its API's answers, its table and scheduled exports.

Comes in: a trace with its observations and scores, pages and lists of traces, observations or
scores, as JSON, JSON Lines, CSV or Parquet. Goes out: a run a trace, however many files tell of it:
observations become spans and model calls, scores scores, comments remarks. What a trace declares of
its cost stands beside what its calls add up to.

The table export has scores in columns of their own, without ids and averaged; they are imported as
such, so import either these or the scores themselves.

Source: see `langfuse_rows`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence import _clock
from whence.ingest import (
    documents,
    json_files,
    judgements,
    keys,
    langfuse_rows,
    loose,
    stated,
    tables,
)
from whence.ingest.base import Skipped
from whence.ingest.platforms import Runs, Told
from whence.record.event import Event
from whence.record.score import Annotation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.ingest.loose import Fields
    from whence.record.base import Record

_FORMAT = "langfuse"
_SIGNS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            {"htmlPath", "timestamp"},
            {"parentObservationId", "startTime"},
            {"traceId", "startTime", "type"},
            {"observations", "scores", "timestamp"},
            {"bookmarked", "timestamp"},
            {"traceId", "dataType"},
            {"subject", "dataType"},
            {"parent_observation_id", "start_time"},
            {"trace_id", "start_time", "type"},
            {"trace_id", "data_type"},
        ),
    )
)
"""Keys that a row of Langfuse has and others do not."""
_PAGES = (b'"htmlPath"', b'"parentObservationId"', b'"traceId"', b'"dataType"')
"""Keys of which a page of the API has one near its beginning."""
_LEVELS = {"DEBUG": "debug", "DEFAULT": "info", "WARNING": "warning", "ERROR": "error"}


def detect(source: Source) -> bool:
    """Return whether a file begins with a row of Langfuse."""
    if tables.is_parquet(source):
        words = {word.decode() for word in tables.column_names(source)}
        return any(signs <= words for signs in _SIGNS)
    if source.suffixes[-1:] == (".csv",):
        return any(signs <= set(tables.header(source)) for signs in _SIGNS)
    found = json_files.peek(source).keys
    if found >= {"data", "meta"}:
        return any(sign in source.head for sign in _PAGES)
    return any(signs <= found for signs in _SIGNS)


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file, and what was left out.

    Raises:
        IngestError: The file as a whole cannot be read.
        OSError: It cannot be read.
    """
    reading = _Reading(known)
    is_text = source.suffixes[-1:] == (".csv",)
    for item in _iter_rows(source, is_text=is_text):
        if isinstance(item, Skipped):
            yield item
            continue
        where, plain = item
        row = langfuse_rows.normal(plain, is_text=is_text)
        match langfuse_rows.what_it_is(row):
            case "trace":
                yield from reading.trace(where, row)
            case "observation":
                yield from reading.observation(where, row)
            case "score":
                yield reading.score(where, row)
            case _:
                yield Skipped(where, "it is no trace, observation or score of Langfuse")
    yield from reading.runs.settle()


def _iter_rows(source: Source, *, is_text: bool) -> Iterator[tuple[str, Fields] | Skipped]:
    if tables.is_parquet(source):
        return tables.iter_parquet(source)
    return tables.iter_csv(source) if is_text else documents.iter_objects(source, "data")


class _Reading:
    """One file while it is read."""

    def __init__(self, known: Known) -> None:
        self.runs = Runs(known)
        self._told: set[str] = set()

    def trace(self, where: str, row: Fields) -> Iterator[Record | Skipped]:
        """Yield what a trace says, with the observations and scores in it."""
        trace_id = loose.name(row.get("id")) or ""
        run = stated.run_id(_FORMAT, trace_id)
        self._told.add(run)
        yield from self.runs.tell(run, _told(row, trace_id))
        ts_ns = stated.time_ns(row.get("timestamp"))
        yield from _comments(row, run, None, ts_ns)
        for number, inner in enumerate(loose.mappings(row.get("observations")), start=1):
            one = {"traceId": trace_id, **langfuse_rows.normal(inner)}
            yield from self.observation(f"{where}, observation {number}", one)
        for number, inner in enumerate(loose.mappings(row.get("scores")), start=1):
            one = {"traceId": trace_id, **langfuse_rows.normal(inner)}
            yield self.score(f"{where}, score {number}", one)
        yield from _columns(row, run, None, ts_ns)

    def observation(self, where: str, row: Fields) -> Iterator[Record | Skipped]:
        """Yield what an observation says."""
        trace_id, known_as = loose.name(row.get("traceId")), loose.name(row.get("id"))
        if trace_id is None or known_as is None:
            yield Skipped(where, "it has no id, or names no trace")
            return
        run = stated.run_id(_FORMAT, trace_id)
        span = stated.span_id(run, known_as)
        begun_ns = stated.time_ns(row.get("startTime"))
        if run not in self._told:
            self._told.add(run)
            yield from self.runs.tell(run, _told_by_observation(row, trace_id))
        if (loose.text(row.get("type")) or "").upper() == "EVENT":
            yield _event(row, run, span, begun_ns)
        else:
            yield from self.runs.add(langfuse_rows.span_of(row, run, span))
        yield from _comments(row, run, span, begun_ns)
        if "traceTimestamp" in row:  # a row of the table export, where other columns are scores
            yield from _columns(row, run, span, begun_ns)

    def score(self, where: str, row: Fields) -> Record | Skipped:
        """Return a score, or why it is none of a trace."""
        subject = loose.mapping(row.get("subject"))
        kind = loose.text(subject.get("kind"))
        trace = row.get("traceId") or subject.get("traceId")
        observation = row.get("observationId")
        if kind == "trace":
            trace = subject.get("id")
        elif kind == "observation":
            observation = subject.get("id")
        trace_id, known_as = loose.name(trace), loose.name(row.get("id"))
        if trace_id is None:
            return Skipped(where, "it is a score of no trace")
        run = stated.run_id(_FORMAT, trace_id)
        span = loose.name(observation)
        place: Fields = {
            "run": run,
            "span": None if span is None else stated.span_id(run, span),
            "id": keys.record_id(run, "score", known_as or json_files.fingerprint(row)),
        }
        data_type = loose.text(row.get("dataType"))
        value, label = row.get("value"), loose.name(row.get("stringValue"))
        verdict: Any = stated.number(value)
        if verdict is None:
            verdict = value
        if data_type == "BOOLEAN" and isinstance(verdict, (int, float)):
            verdict = bool(verdict)
        elif data_type in {"CATEGORICAL", "TEXT", "CORRECTION"} and label is not None:
            verdict = label  # the number beside it is the category's place, or nothing
        source = loose.text(row.get("source"))
        others = ("environment", "metadata", "configId", "queueId", "datasetRunId", "sessionId")
        return judgements.score(
            place,
            stated.time_ns(row.get("timestamp")) or stated.time_ns(row.get("createdAt")),
            loose.name(row.get("name")),
            verdict,
            feedback=loose.text(row.get("comment")),
            by=loose.name(row.get("author"))
            or loose.name(row.get("authorUserId"))
            or (None if source is None else source.lower()),
            attributes={"source": source, "data_type": data_type}
            | {name: row[name] for name in others if row.get(name) not in (None, {})},
        )


def _told(row: Fields, trace_id: str) -> Told:
    begun_ns = stated.time_ns(row.get("timestamp"))
    latency_ns = loose.length_ns(langfuse_rows.number(row.get("latency")))
    attributes = {
        name: row[name] for name in langfuse_rows.ABOUT_TRACE & row.keys() if row[name] != {}
    }
    if row.get("input") is not None:
        attributes["input"] = row["input"]
    tokens = {
        name: count
        for name in ("inputTokens", "outputTokens", "totalTokens")
        if (count := langfuse_rows.number(row.get(name))) is not None
    }
    declared = {"cost_usd": langfuse_rows.cost_usd(row), "usage": tokens or None}
    declared = {name: value for name, value in declared.items() if value is not None}
    return Told(
        known_as=trace_id,
        name=loose.name(row.get("name")),
        project=loose.name(row.get("projectId")),
        session=loose.name(row.get("sessionId")),
        user=loose.name(row.get("userId")),
        tags=_tags(row),
        begun_ns=begun_ns,
        ended_ns=None if begun_ns is None or latency_ns is None else begun_ns + latency_ns,
        attributes=dict(sorted(attributes.items())) | ({"declared": declared} if declared else {}),
        output=row.get("output"),
    )


def _told_by_observation(row: Fields, trace_id: str) -> Told:
    """Return what an observation says of its trace, in the exports that have no row for it."""
    return Told(
        known_as=trace_id,
        name=loose.name(row.get("traceName")),
        project=loose.name(row.get("projectId")),
        session=loose.name(row.get("sessionId")),
        user=loose.name(row.get("userId")),
        tags=_tags(row),
        seen_ns=stated.time_ns(row.get("startTime")),
        begun_ns=stated.time_ns(row.get("traceTimestamp")),
    )


def _tags(row: Fields) -> list[str]:
    return [tag for one in loose.sequence(row.get("tags")) if (tag := loose.name(one)) is not None]


def _event(row: Fields, run: str, span: str, begun_ns: int | None) -> Event:
    parent = langfuse_rows.parent_of(row)
    said = {name: row.get(name) for name in ("input", "output", "metadata", "statusMessage")}
    return Event(
        ts=_clock.format_ns(begun_ns or 0),
        run=run,
        span=stated.span_id(run, parent) if parent else None,
        id=span,
        message=loose.name(row.get("name")) or "event",
        level=_LEVELS.get(loose.text(row.get("level")) or "", "info"),
        data={name: value for name, value in said.items() if value not in (None, {})} or None,
    )


def _comments(row: Fields, run: str, span: str | None, ts_ns: int | None) -> Iterator[Record]:
    for number, one in enumerate(loose.mappings(row.get("comments"))):
        comment = langfuse_rows.normal(one)
        known_as = loose.name(comment.get("id")) or str(number)
        yield Annotation(
            ts=_clock.format_ns(stated.time_ns(comment.get("createdAt")) or ts_ns or 0),
            run=run,
            span=span,
            id=keys.record_id(run, span or "", "comment", known_as),
            target=span or run,
            note=loose.text(comment.get("content")),
            by=loose.name(comment.get("authorUserId")),
        )


def _columns(row: Fields, run: str, span: str | None, ts_ns: int | None) -> Iterator[Record]:
    """Yield the scores of a table export: columns of no other meaning that hold a list."""
    for name in row.keys() - langfuse_rows.FIELDS:
        for number, value in enumerate(loose.sequence(row[name])):
            if not isinstance(value, (int, float, str)):
                continue
            place: Fields = {
                "run": run,
                "span": span,
                "id": keys.record_id(run, span or "", "column", name, str(number)),
            }
            averaged = {"averaged": True} if not isinstance(value, str) else None
            yield judgements.score(place, ts_ns, name, value, attributes=averaged)
