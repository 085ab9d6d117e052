"""Runs of a home as OTLP, into a file or to a receiver, with an account of what was left out.

Comes in: a reader and the ids of runs. Goes out: requests of a bounded size, and a report. A run
that is still going on is left out and counted: its spans have no end yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

import msgspec

from whence.errors import ExportError
from whence.exports.otlp import convert, encode, losses, send
from whence.exports.otlp.losses import LeftOut
from whence.log.replacing import writing

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from pathlib import Path

    from whence.exports.otlp.model import Options, SpanOut
    from whence.exports.otlp.send import Encoding, Target
    from whence.query.reader import Reader

REQUEST_SPANS = 500
"""Most spans in a request."""
REQUEST_BYTES = 4 << 20
"""About how large a request may become: collectors refuse large ones."""
PROTOBUF_SUFFIXES = frozenset({".pb", ".binpb", ".otlp", ".proto", ".bin"})
"""Names of files that hold protobuf."""
Progress = Callable[[int], None]
"""Gets how many runs were exported so far."""


class Report(msgspec.Struct):
    """What was exported, and what was not."""

    runs: int = 0
    """Runs that were exported."""
    spans: int = 0
    """Spans in their traces, those for runs and calls included."""
    made: int = 0
    """Spans that stand for a run, or for a call that had none of its own."""
    events: int = 0
    """Events of spans."""
    links: int = 0
    """Links of spans."""
    requests: int = 0
    """Requests written or sent."""
    running: list[str] = []
    """Ids of runs that are still going on, and were left out."""
    rejected: int = 0
    """Spans that the receiver says it did not take."""
    left_out: list[LeftOut] = []
    """What no convention has a place for."""


def write(
    reader: Reader,
    runs: Iterable[str],
    path: Path,
    options: Options,
    *,
    encoding: Encoding | None = None,
    advance: Progress | None = None,
) -> Report:
    """Write runs into a file: a request a line, or protobuf. The file is replaced when it is whole.

    Args:
        reader: The home.
        runs: Ids of runs.
        path: The file.
        options: Names and content.
        encoding: How; by the name of the file if None.
        advance: Called with the number of runs done.

    Raises:
        ExportError: The file cannot be written.
        MissingExtraError: Protobuf is asked for and opentelemetry-proto is not installed.

    Returns:
        What was exported.
    """
    if encoding is None:
        encoding = "protobuf" if path.suffix.lower() in PROTOBUF_SUFFIXES else "json"
    report = Report()
    try:
        with writing(path) as file:
            for spans in _batches(reader, runs, options, report, advance):
                _write_request(file, spans, encoding)
                report.requests += 1
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror or error}") from error
    return report


def _write_request(file: IO[bytes], spans: list[SpanOut], encoding: Encoding) -> None:
    if encoding == "protobuf":
        file.write(encode.to_protobuf(spans))
    else:
        file.write(encode.to_json(spans) + b"\n")


def post(
    reader: Reader,
    runs: Iterable[str],
    target: Target,
    options: Options,
    *,
    advance: Progress | None = None,
) -> Report:
    """Send runs to a receiver, each request until it is taken.

    Args:
        reader: The home.
        runs: Ids of runs.
        target: The receiver.
        options: Names and content.
        advance: Called with the number of runs done.

    Raises:
        ExportError: The receiver did not take a request; those before it were taken.
        MissingExtraError: Protobuf is asked for and opentelemetry-proto is not installed.

    Returns:
        What was exported.
    """
    report = Report()
    encoded = encode.to_protobuf if target.encoding == "protobuf" else encode.to_json
    for spans in _batches(reader, runs, options, report, advance):
        try:
            report.rejected += send.post(target, encoded(spans))
        except ExportError as error:
            raise ExportError(
                f"{error}; {report.requests} requests before it were taken, and sending again is "
                "safe where the receiver knows spans by their ids"
            ) from error
        report.requests += 1
    return report


def _batches(
    reader: Reader,
    runs: Iterable[str],
    options: Options,
    report: Report,
    advance: Progress | None,
) -> Generator[list[SpanOut]]:
    """Yield the spans of runs in pieces that fit into a request; the report is filled on the way.

    Yields:
        Spans of one request.
    """
    count: losses.Count = Counter()
    waiting: list[SpanOut] = []
    size = 0
    for number, any_id in enumerate(runs, start=1):
        for span in _spans(reader, any_id, options, report, count):
            waiting.append(span)
            size += _size(span)
            if len(waiting) >= REQUEST_SPANS or size >= REQUEST_BYTES:
                yield waiting
                waiting, size = [], 0
        if advance is not None:
            advance(number)
    if waiting:
        yield waiting
    report.left_out = losses.listed(count)


def _spans(
    reader: Reader, any_id: str, options: Options, report: Report, count: losses.Count
) -> Iterator[SpanOut]:
    tree = reader.run(any_id)
    if tree.run.status == "running":
        report.running.append(tree.run.id)
        return
    spans = convert.spans_of(tree, options)
    count.update(losses.of_tree(tree, options))
    report.runs += 1
    report.spans += len(spans)
    for span in spans:
        report.made += "whence.record" in span.attributes
        report.events += len(span.events)
        report.links += len(span.links)
        yield span


def _size(span: SpanOut) -> int:
    """Return about how many bytes a span takes: its texts, which are what is ever large."""
    size = 500
    for given in (span.attributes, *(event.attributes for event in span.events)):
        size += sum(len(v) if isinstance(v, str) else 20 for v in given.values())
    return size
