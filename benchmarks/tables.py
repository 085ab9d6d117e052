"""Figures as plain tables, with the ratios that say whether they are good.

To the limit, to the peer, to the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks import archive, capture, imports, ingest, log, loop, query

Cells = Sequence[Any]


def show(figures: Any) -> str:
    """Return the tables of what one benchmark found."""
    return _SHOW[type(figures)](figures)


def table(title: str, header: Cells, rows: Iterable[Cells]) -> str:
    """Return a table as Markdown that also reads well on a terminal; numbers stand on the right."""
    body = [[_text(cell) for cell in row] for row in rows]
    lines = [[str(cell) for cell in header], *body]
    widths = [max(len(line[at]) for line in lines) for at in range(len(header))]
    left = [all(not _is_number(row[at]) for row in body) for at in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if to_left else cell.rjust(width)
            for cell, width, to_left in zip(cells, widths, left, strict=True)
        )
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join(
        "-" * (width + 2) if to_left else "-" * (width + 1) + ":"
        for width, to_left in zip(widths, left, strict=True)
    )
    return "\n".join([title, "", line(lines[0]), rule + "|", *map(line, body)])


def _text(cell: Any) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "NO"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        digits = len(str(int(abs(cell))))
        return f"{cell:,.{max(0, 3 - digits)}f}"
    return str(cell)


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text == "-" or (text.startswith("-") and text[1:2].isdigit())


def _times(value: float, other: float) -> str:
    return f"{value / other:.1f}x" if other else "-"


def _capture(figures: capture.Figures) -> str:
    base = next((c for c in figures.costs if c.recorder.startswith("whence")), figures.costs[0])
    rows = [
        (
            c.recorder,
            c.caller_cpu_us.median,
            f"{c.caller_cpu_us.least:.2f}-{c.caller_cpu_us.most:.2f}",
            _times(c.caller_cpu_us.median, base.caller_cpu_us.median),
            c.total_cpu_us.median,
            _times(c.total_cpu_us.median, base.total_cpu_us.median),
            c.wall_us.median,
            c.single_us_p50,
            c.single_us_p99,
            c.bytes_a_record,
        )
        for c in figures.costs
    ]
    header = (
        "recorder",
        "caller CPU",
        "range",
        "ratio",
        "total CPU",
        "ratio",
        "wall",
        "decision p50",
        "p99",
        "bytes",
    )
    title = "Recording, microseconds a record (33 records a run); ratios are to the first line"
    shown = [table(title, header, rows)]
    calls = [(d.recorder, d.call, d.took_ns) for d in figures.disabled]
    if calls:
        shown.append(table("Switched off, nanoseconds a call", ("recorder", "call", "ns"), calls))
    return "\n\n".join([*shown, *figures.left_out])


def _imports(figures: imports.Figures) -> str:
    base = figures.imports[0]
    rows = [
        (
            i.statement,
            i.took_ms.median,
            f"{i.took_ms.least:.1f}-{i.took_ms.most:.1f}",
            _times(i.took_ms.median, base.took_ms.median),
            i.modules,
            i.modules - base.modules,
        )
        for i in figures.imports
    ]
    header = ("statement", "ms", "range", "ratio", "modules", "more")
    return table("Importing in a fresh process; ratios are to the first line", header, rows)


def _log(figures: log.Figures) -> str:
    rows = [
        (
            p.name,
            p.read_by,
            p.records_a_second,
            p.lost,
            p.append_us_p99,
            p.append_ms_most,
            p.delay_ms_p50,
            p.delay_ms_p99,
            p.poll_ms_p50,
            p.poll_ms_most,
        )
        for p in figures.phases
    ]
    header = (
        "phase",
        "read by",
        "records/s",
        "lost",
        "record us p99",
        "ms most",
        "seen after ms p50",
        "p99",
        "poll ms p50",
        "most",
    )
    return table(f"The log: {figures.sizes.writers} processes write, one reads", header, rows)


def _archive(figures: archive.Figures) -> str:
    rows = [
        (
            a.records,
            a.raw_bytes,
            a.log_bytes,
            a.archive_bytes,
            _times(a.raw_bytes, a.archive_bytes),
            a.compaction_s,
            a.records_a_second,
            a.lines_a_second,
            a.peak_mb,
        )
        for a in figures.archives
    ]
    header = (
        "records",
        "raw B",
        "log B",
        "archive B",
        "smaller",
        "compacted in s",
        "records/s",
        "lines/s",
        "peak MB",
    )
    return table("Archiving, bytes a record", header, rows)


def _query(figures: query.Figures) -> str:
    shown: list[str] = []
    for kind in ("wide", "narrow"):
        found = [latency for latency in figures.latencies if latency.kind == kind]
        sizes = sorted({latency.records for latency in found})
        by = {(latency.question, latency.records): latency for latency in found}
        header = ["question"]
        for size in sizes:
            header += [f"{size:,} p50", "p95"]
        header += ["growth"] if len(sizes) > 1 else []
        rows: list[list[Any]] = []
        for question in dict.fromkeys(latency.question for latency in found):
            row: list[Any] = [question]
            for size in sizes:
                row += [by[question, size].p50_ms, by[question, size].p95_ms]
            if len(sizes) > 1:
                row.append(_times(by[question, sizes[-1]].p50_ms, by[question, sizes[0]].p50_ms))
            rows.append(row)
        if rows:
            bound = f", the last {query.WINDOW} of four weeks" if kind == "narrow" else ""
            shown.append(table(f"Asking {kind} homes, milliseconds{bound}", header, rows))
    opened = [
        (label, s.median, figures.load_average[label]) for label, s in figures.opening_ms.items()
    ]
    shown.append(table("Opening a reader", ("home", "ms", "load average"), opened))
    return "\n\n".join(shown)


def _loop(figures: loop.Figures) -> str:
    rows = [
        (
            item.turns,
            item.history_bytes,
            _times(item.sent_bytes, item.history_bytes),
            item.log_bytes,
            _times(item.log_bytes, item.history_bytes),
            item.archive_bytes,
            _times(item.archive_bytes, item.history_bytes),
            item.whole,
        )
        for item in figures.loops
    ]
    header = ("turns", "history B", "sent", "log B", "ratio", "archive B", "ratio", "whole")
    title = "An agent loop that resends its history; ratios are to the final history"
    return table(title, header, rows)


def _ingest(figures: ingest.Figures) -> str:
    limit = figures.ways[0].spans_a_second.median
    rows = [
        (
            way.name,
            round(way.spans_a_second.median),
            round(way.spans_a_second.least),
            round(way.spans_a_second.most),
            _times(limit, way.spans_a_second.median),
            way.kept or None,
        )
        for way in figures.ways
    ]
    header = ("way in", "spans/s", "least", "most", "of the limit", "kept")
    sent = figures.request_bytes / figures.spans
    stored = figures.log_bytes / figures.spans
    title = (
        f"{figures.spans:,} spans of OpenTelemetry, {sent:,.0f} B each as sent, "
        f"{stored:,.0f} B in the log"
    )
    return table(title, header, rows)


_SHOW: dict[type, Any] = {
    capture.Figures: _capture,
    imports.Figures: _imports,
    log.Figures: _log,
    archive.Figures: _archive,
    query.Figures: _query,
    loop.Figures: _loop,
    ingest.Figures: _ingest,
}
