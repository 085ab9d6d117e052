"""A run's tree as lines of text: a line a span and a line a record, in order of time.

Comes in: a `RunTree`. Goes out: lines. `describe` says in one line what a record is, and is used
wherever one is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence import _clock
from whence.query import text
from whence.store import rows as r

if TYPE_CHECKING:
    from whence.query.tree import RunTree, SpanNode

_WIDTH = 110
_DEEPEST = 40
"""Deeper nesting is not indented further."""


def lines_of(tree: RunTree, depth: int | None = None) -> list[str]:
    """Return the lines of a tree.

    Args:
        tree: The tree.
        depth: How many levels of spans to show; None for all. A span of the last level says how
            many it holds.
    """
    run = tree.run
    shown = [f"run {text.printable(run.name or '(no name)', 60)}", run.status, *_figures(run)]
    lines = [f"{text.printable('  '.join(shown))}  {run.id}"]
    if run.external_id:
        lines[0] += f"  {text.printable(run.external_id, 60)}"
    if run.error:
        lines.append(f"  error {text.printable(_problem(run.error), _WIDTH)}")
    if run.lost:
        lines.append(f"  {run.lost:,} records are known to be lost")
    if run.ended_ns is None and run.status in {"running", "incomplete"}:
        lines.append(f"  {_no_end(tree)}")
    # What is still to be written, last first: a run may nest deeper than the stack.
    stack: list[tuple[int, SpanNode | r.PointRow]] = [
        (1, item) for item in reversed(_inside(tree.spans, tree.records))
    ]
    while stack:
        level, item = stack.pop()
        indent = "  " * min(level, _DEEPEST)
        if isinstance(item, r.PointRow):
            lines.append(f"{indent}{describe(item)}")
            continue
        hidden = [] if depth is None or level < depth else item.children
        below = sum(1 for child in hidden for _ in child.iter_spans())
        held = f"  (+ {text.counted(below, 'span')})" if below else ""
        lines.append(f"{indent}{_span_line(item.row)}{held}")
        inside = _inside([] if hidden else item.children, item.records)
        stack.extend((level + 1, inner) for inner in reversed(inside))
    return lines


def _no_end(tree: RunTree) -> str:
    """Say since when a run without an end is silent, and which process was to end it."""
    run = tree.run
    last_ns = run.started_ns
    spans, records = list(tree.spans), list(tree.records)
    while spans:
        span = spans.pop()
        last_ns = max(last_ns, span.row.started_ns, span.row.ended_ns or 0)
        spans += span.children
        records += span.records
    last_ns = max([last_ns, *(record.ts_ns for record in records)])
    where = run.environment or {}
    pid, host = where.get("pid"), where.get("host")
    process = "" if pid is None else f", of process {text.printable(pid, 20)}"
    machine = "" if host is None else f" on {text.printable(host, 60)}"
    last = f"; its last record is from {text.moment(last_ns)}" if _clock.is_dated(last_ns) else ""
    return f"it has no end{last}{process}{machine}"


def _inside(spans: list[SpanNode], records: list[r.PointRow]) -> list[SpanNode | r.PointRow]:
    items: list[SpanNode | r.PointRow] = [*spans, *records]
    return sorted(
        items, key=lambda item: item.ts_ns if isinstance(item, r.PointRow) else item.row.started_ns
    )


def _span_line(row: r.SpanRow) -> str:
    parts = [f"{row.kind} {text.printable(row.name or '(no name)', 60)}"]
    if row.status != "ok":
        parts.append(row.status)
    parts += _figures(row)
    if row.error:
        parts.append(_problem(row.error))
    return text.printable(", ".join(parts), _WIDTH)


def _figures(row: r.RunRow | r.SpanRow) -> list[str]:
    figures = [] if row.duration_ms is None else [text.duration(row.duration_ms)]
    if isinstance(row, r.RunRow):
        if row.cost_usd is not None:
            figures.append(text.cost(row.cost_usd, row.generations, row.unpriced_calls))
        figures += [] if row.input_tokens is None else [tokens(row.input_tokens, row.output_tokens)]
    return figures


def _problem(error: dict[str, object]) -> str:
    return f"{error.get('type') or 'error'}: {text.printable(error.get('message') or '', 200)}"


def tokens(given: int | None, got: int | None) -> str:
    """Return tokens in and out: `1,204 → 310 tokens`."""
    return f"{text.number(given)} → {text.number(got)} tokens"


def describe(row: r.PointRow, width: int = _WIDTH) -> str:
    """Return in one line what was recorded."""
    return text.printable(" ".join(part for part in _parts(row) if part), width)


def _parts(row: r.PointRow) -> list[str]:  # noqa: C901, PLR0911, PLR0912 - one case a table
    match row:
        case r.DecisionRow():
            sure = "" if row.confidence is None else f"(confidence {text.share(row.confidence)})"
            why = f"because {text.printable(row.why, 80)}" if row.why else ""
            return [f"decided {row.name}:", text.printable(row.what, 80), sure, why]
        case r.FactorRow():
            return [f"weighed {row.name}:", factor(row)]
        case r.SourceRow():
            reason = f"({text.printable(row.reason, 80)})" if row.reason else ""
            return [
                "kept" if row.kept else "dropped",
                row.source_type,
                text.printable(row.title or row.source_key, 80),
                reason,
            ]
        case r.GenerationRow():
            return ["called", row.model or row.provider or "a model", *call_figures(row)]
        case r.ToolCallRow():
            took = "" if row.duration_ms is None else f"({text.duration(row.duration_ms)})"
            return [
                f"used {row.tool_name}",
                "" if row.status == "ok" else row.status,
                took,
                failure(row.error),
            ]
        case r.TransformationRow():
            sizes = (
                ""
                if row.input_size is None
                else f"{text.number(row.input_size)} → {text.number(row.output_size)}"
            )
            return [f"changed {row.name}", row.method or "", sizes]
        case r.ScoreRow():
            return [f"scored {row.name}:", score(row), text.printable(row.feedback, 80)]
        case r.OutputRow():
            return [
                f"output {row.kind} {text.printable(row.output_id, 60)}",
                text.printable(row.summary, 80),
            ]
        case r.LinkRow():
            return [
                f"link {row.source} {row.kind} {row.target}",
                "(inferred)" if row.inferred else "",
            ]
        case r.EventRow():
            return [row.level, row.message]
        case r.AnnotationRow():
            by = f"(by {row.by})" if row.by else ""
            return [
                f"flagged: {row.flag}" if row.flag else "remark:",
                row.status or "",
                row.note or "",
                by,
            ]
        case r.GapRow():
            return [f"{row.lost:,} records lost:", row.reason]
        case _:
            return [type(row).__name__, row.id]


def call_figures(row: r.GenerationRow) -> list[str]:
    """Return what is known of a model call: tokens, cost, length, how it ended."""
    parts: list[str] = []
    if row.input_tokens is not None or row.output_tokens is not None:
        parts.append(tokens(row.input_tokens, row.output_tokens))
    if row.usage_note:
        parts.append("usage not understood")
    if row.cost_usd is not None:
        parts.append(text.money(row.cost_usd))
    if row.duration_ms is not None:
        parts.append(text.duration(row.duration_ms))
    if row.attempt is not None and row.attempt > 1:
        parts.append(f"attempt {row.attempt}")
    if row.finish_reason:
        parts.append(row.finish_reason)
    if row.status != "ok":
        parts += [row.status, failure(row.error)]
    return parts


def failure(error: dict[str, object] | None) -> str:
    """Return type and message of a recorded error; empty if there is none."""
    return _problem(error) if error else ""


def factor(row: r.FactorRow) -> str:
    """Return the figures of a factor: `0.8 x 0.5 = +0.4`, or its raw value."""
    weighed = row.contribution is not None
    if weighed and row.normalized_value is not None and row.weight is not None:
        product = f"{text.number(row.normalized_value)} x {text.number(row.weight)}"
        return f"{product} = {text.signed(row.contribution)}"
    if weighed:
        return text.signed(row.contribution)
    raw = text.printable(row.raw_value, 40)
    return raw if row.weight is None else f"weight {text.number(row.weight)} of {raw}"


def score(row: r.ScoreRow) -> str:
    """Return the figures of a score: `2 (needs 3, failed)`."""
    parts = [] if row.threshold is None else [f"needs {text.number(row.threshold)}"]
    parts += [] if row.passed is None else ["passed" if row.passed else "failed"]
    return f"{text.number(row.value)} ({', '.join(parts)})" if parts else text.number(row.value)
