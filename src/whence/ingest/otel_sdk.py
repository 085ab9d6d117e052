"""Spans as an OpenTelemetry SDK prints them, and traces of any-agent, which hold a list of those.

Comes in: a JSON file: one span, a span a line, spans one after the other as the console exporter
prints them, a list of spans, or an object with `spans`. Goes out: the records of their traces. Ids
are decimal integers of up to 128 bits, or hex with or without
`0x`; times are Unix nanoseconds or RFC 3339. Source: `ReadableSpan.to_json` of opentelemetry-sdk;
any-agent `AgentTrace`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence import _clock
from whence.errors import IngestError
from whence.ingest import keys
from whence.ingest.base import Skipped
from whence.ingest.evidence import text_of
from whence.ingest.otel import STATUS_ERROR, Happening, Origin, SpanIn, Tie
from whence.ingest.traces import WINDOW_SPANS, Traces
from whence.record.run import Update

if TYPE_CHECKING:
    from collections.abc import Iterator

    from whence.ingest.base import Known, Source
    from whence.record.base import Record

_SIGNS = (
    re.compile(rb'"context"\s*:\s*\{'),
    re.compile(rb'"trace_id"\s*:'),
    re.compile(rb'"span_id"\s*:'),
)
_KINDS = {"server": 2, "client": 3, "producer": 4, "consumer": 5}
_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]+)")
_MAX_DIGITS = 40
_HUNDRED_YEARS_S = 100_000_000_000


def detect(source: Source) -> bool:
    """Return whether a file has a span's context near its beginning."""
    head = source.head
    return head.lstrip()[:1] in (b"{", b"[") and all(sign.search(head) for sign in _SIGNS)


def read(source: Source, known: Known) -> Iterator[Record | Skipped]:
    """Yield the records of a file.

    Raises:
        IngestError: The file is not JSON, or holds no spans.
    """
    traces = Traces(known)
    window: list[SpanIn] = []
    for where, item in _iter_documents(source):
        if isinstance(item, Skipped):
            yield item
            continue
        spans: list[SpanIn] = []
        for number, plain in enumerate(_spans_in(item)):
            span = _span(plain)
            if span is None:
                yield Skipped(f"{where}, span {number}", "it has no valid trace and span id")
            else:
                spans.append(span)
        window += spans
        yield from _rest(where, item, spans)
        if len(window) >= WINDOW_SPANS:
            yield from traces.records_of(window)
            window.clear()
    yield from traces.records_of(window)
    yield from traces.settle()


def _iter_documents(source: Source) -> Iterator[tuple[str, Any]]:
    try:
        yield source.name, _decoded(source.content())
    except IngestError as error:
        first = error
    else:
        return
    printed = _one_after_the_other(source.content())
    if printed:
        for number, item in enumerate(printed, start=1):
            yield f"{source.name}, document {number}", item
        return
    found = False
    for line in source.iter_lines():
        if isinstance(line, Skipped):
            yield line.where, line
            continue
        where = f"{source.name}:{line[0]}"
        try:
            item = _decoded(line[1])
        except IngestError as error:
            if not found:  # neither one document nor a document a line
                raise first from error
            yield where, Skipped(where, str(error))
            continue
        found = True
        yield where, item


def _one_after_the_other(content: bytes) -> list[Any]:
    """Return the documents of a file that holds several over many lines; nothing if it does not."""
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    if "\n}" not in text:  # a document a line is read line by line
        return []
    decoder, found, at = json.JSONDecoder(), list[Any](), 0
    try:
        while at < len(text):
            item, at = decoder.raw_decode(text, at)
            found.append(item)
            at = len(text) - len(text[at:].lstrip())
    except (ValueError, RecursionError):
        return []
    return found


def _decoded(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise IngestError(f"it is not JSON: {error}") from error


def _spans_in(item: Any) -> list[Any]:
    if isinstance(item, dict):
        plain = cast("dict[str, Any]", item)
        spans = plain.get("spans")
        return cast("list[Any]", spans) if isinstance(spans, list) else [plain]
    return cast("list[Any]", item) if isinstance(item, list) else []


def _rest(where: str, item: Any, spans: list[SpanIn]) -> Iterator[Record | Skipped]:
    """Yield what an any-agent trace has beside its spans: what the run as a whole gave back."""
    if not isinstance(item, dict) or "spans" not in item:
        return
    plain = cast("dict[str, Any]", item)
    taken = {"spans", "final_output"} if spans else {"spans"}
    if plain.get("final_output") is not None and spans:
        run = spans[0].trace
        yield Update(
            ts=_clock.format_ns(max(span.ended_ns for span in spans)),
            run=run,
            id=keys.record_id(run, "final_output"),
            output=plain["final_output"],
        )
    others = plain.keys() - taken
    if others:
        yield Skipped(where, f"left out: {', '.join(sorted(others))}")


def _span(given: Any) -> SpanIn | None:
    if not isinstance(given, dict):
        return None
    plain = cast("dict[str, Any]", given)
    context = _mapping(plain.get("context"))
    trace, span = _id(context.get("trace_id"), 32), _id(context.get("span_id"), 16)
    if not keys.is_run_id(trace) or not keys.is_record_id(span):
        return None
    parent = _mapping(plain.get("parent")).get("span_id", plain.get("parent_id"))
    parent_id = _id(parent, 16)
    status = _mapping(plain.get("status"))
    code = (text_of(status.get("status_code")) or "").rpartition(".")[2].lower()
    kind = (text_of(plain.get("kind")) or "").rpartition(".")[2].lower()
    return SpanIn(
        trace,
        span,
        parent_id if keys.is_record_id(parent_id) else "",
        text_of(plain.get("name")) or "",
        _time(plain.get("start_time")),
        _time(plain.get("end_time")),
        _mapping(plain.get("attributes")),
        Origin(_mapping(_mapping(plain.get("resource")).get("attributes"))),
        [_event(e) for e in _list(plain.get("events"))],
        [_link(e) for e in _list(plain.get("links"))],
        {"ok": 1, "error": STATUS_ERROR}.get(code, 0),
        text_of(status.get("description")) or "",
        _KINDS.get(kind, 0),
    )


def _event(given: dict[str, Any]) -> Happening:
    time_ns = _time(given.get("timestamp"))
    return Happening(text_of(given.get("name")) or "", time_ns, _mapping(given.get("attributes")))


def _link(given: dict[str, Any]) -> Tie:
    context = _mapping(given.get("context"))
    trace, span = _id(context.get("trace_id"), 32), _id(context.get("span_id"), 16)
    return Tie(trace, span, _mapping(given.get("attributes")))


def _mapping(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [cast("dict[str, Any]", item) for item in items if isinstance(item, dict)]


def _id(value: Any, chars: int) -> str:
    """Return an id as hex of that length; empty for what is none.

    A text is hex, as everywhere in OpenTelemetry; a number is the same id in decimal.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        text = f"{value:x}" if value.bit_length() <= 4 * chars else ""
        return text.rjust(chars, "0") if text else ""
    if isinstance(value, str) and len(value) <= _MAX_DIGITS:
        match = _HEX.fullmatch(value)
        if match is not None and len(match[1]) <= chars:
            return match[1].lower().rjust(chars, "0")
    return ""


def _time(value: Any) -> int:
    """Return Unix nanoseconds; 0 for what is no time."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if 0 <= value < 2**63 else 0
    if isinstance(value, float) and 0 <= value < _HUNDRED_YEARS_S:
        return round(value * 1_000_000_000)
    if isinstance(value, str):
        try:
            return max(0, _clock.parse_ns(value))
        except ValueError:
            return 0
    return 0
