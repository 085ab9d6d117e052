"""A run's tree as lines of text: a line a span and a line a record, in order of time.

Comes in: a `RunTree`. Goes out: lines. `describe` says in one line what a record is, and is used
wherever one is named, `label` what a row is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from whence import _clock
from whence.query import text
from whence.query.brevity import SHORT, Cuts
from whence.store import rows as r
from whence.store.failures import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from whence.query.tree import RunTree, SpanNode

_WIDTH = 110
_LABEL_COLUMNS = 70
_DEEPEST = 40
"""Deeper nesting is not indented further."""
_SUBJECT_FIRST = frozenset({"generated", "supports", "contradicts", "entity"})
"""Kinds of links that read from the earlier to the later; the others say what the later is to the
earlier."""
COSTS = "whence costs"
"""Who remarks about stored costs are by."""


def lines_of(tree: RunTree, depth: int | None = None, cuts: Cuts = SHORT) -> list[str]:
    """Return the lines of a tree.

    Args:
        tree: The tree.
        depth: How many levels of spans to show; None for all. A span of the last level says how
            many it holds.
        cuts: What of long texts is cut.
    """
    run, stored = tree.run, stored_costs(tree.annotations)
    shown = [f"run {text.printable(run.name or '(no name)', 60)}", run.status, *_figures(run)]
    lines = [f"{text.printable('  '.join(shown))}  {run.id}"]
    if run.external_id:
        lines[0] += f"  {text.printable(run.external_id, 60)}"
    if run.error:
        lines.append(f"  error {text.printable(_problem(run.error, cuts), cuts.columns(_WIDTH))}")
    if run.lost:
        lines.append(f"  {run.lost:,} records are known to be lost")
    if run.ended_ns is None and run.status in {"running", "incomplete"}:
        lines.append(f"  {_no_end(tree)}")
    lines += [f"  {said}" for said in unpriced(tree.generations, stored)]
    names = _names_of(tree)
    # What is still to be written, last first: a run may nest deeper than the stack.
    stack: list[tuple[int, SpanNode | r.PointRow]] = [
        (1, item) for item in reversed(_inside(tree.spans, tree.records))
    ]
    while stack:
        level, item = stack.pop()
        indent = "  " * min(level, _DEEPEST)
        if isinstance(item, r.PointRow):
            said = describe(item, cuts=cuts, cost_usd=stored.get(item.id))
            if isinstance(item, r.LinkRow):
                said = _link(item, names, cuts)
            elif isinstance(item, r.AnnotationRow) and item.target in names:
                said = f"on {about(names[item.target], cuts)}: {said}"
            lines.append(f"{indent}{said}")
            continue
        hidden = [] if depth is None or level < depth else item.children
        below = sum(1 for child in hidden for _ in child.iter_spans())
        held = f"  (+ {text.counted(below, 'span')})" if below else ""
        lines.append(f"{indent}{_span_line(item.row, cuts)}{held}  {item.row.id}")
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


def _names_of(tree: RunTree) -> dict[str, r.Row]:
    """Return what links of the run and remarks may name, by each of the ids it goes by."""
    if not tree.links and not tree.annotations:
        return {}
    rows: list[r.Row] = [node.row for node in tree.iter_spans()]
    names = {row.id: row for row in [*rows, *tree.iter_records()]}
    names |= {output.output_id: output for output in tree.outputs}
    run = tree.run
    return {**names, run.id: run, **({run.external_id: run} if run.external_id else {})}


def _link(row: r.LinkRow, names: dict[str, r.Row], cuts: Cuts) -> str:
    """Return a link as a sentence, its ends named; by their ids too if both have one name."""
    ends = [
        label(names[end], cuts) if end in names else text.printable(end, 60)
        for end in (row.source, row.target)
    ]
    if ends[0] == ends[1] and row.source != row.target:
        ends = [f"{end} {one}" for end, one in zip(ends, (row.source, row.target), strict=True)]
    inferred = " (inferred)" if row.inferred else ""
    return f"link {phrase(row.kind, *ends)}{inferred}"


def phrase(kind: str, source: str, target: str) -> str:
    """Return an edge as a sentence, the ends named by their labels: `round 2 retry of round 1`."""
    said = text.printable(kind.replace("_", " "), 40)
    return f"{source} {said} {target}" if kind in _SUBJECT_FIRST else f"{target} {said} {source}"


def label(row: r.Row, cuts: Cuts = SHORT) -> str:
    """Return what a thing is, on one printable line."""
    width = cuts.columns(_LABEL_COLUMNS)
    match row:
        case r.RunRow():
            name = row.external_id or row.name or row.id
            return text.printable(f"run {name} ({row.status})", width)
        case r.SpanRow():
            return text.printable(f"{row.kind} {row.name or row.id}", width)
        case r.OutputRow():
            return text.printable(f"{row.kind} {row.output_id}", width)
        case r.PointRow():
            return describe(row, _LABEL_COLUMNS, cuts)
        case _:
            return text.printable(row.id, width)


def about(row: r.Row, cuts: Cuts = SHORT) -> str:
    """Return what a remark is about: a model call by its model and id, anything else by name."""
    if not isinstance(row, r.GenerationRow):
        return label(row, cuts)
    model = row.response_model or row.model or row.provider or "a model"
    purpose = f" for {row.name}" if row.name else ""
    said = text.printable(f"the call of {model}{purpose}", cuts.columns(_LABEL_COLUMNS))
    return f"{said} {row.id}"


def stored_costs(remarks: Iterable[r.AnnotationRow]) -> dict[str, float]:
    """Return what `whence costs --reprice` stored, by the id of the call; the latest one counts."""
    costs: dict[str, float] = {}
    for remark in sorted(remarks, key=lambda row: (row.ts_ns, row.id)):
        if remark.by == COSTS:
            usd = stored_cost(remark)
            if usd is None:
                costs.pop(remark.target, None)
            else:
                costs[remark.target] = usd
    return costs


def stored_cost(remark: r.AnnotationRow) -> float | None:
    """Return the cost that a remark of `whence costs` says; None if it says none."""
    cost: object = remark.attributes.get("cost")
    usd: object = cast("dict[str, Any]", cost).get("cost_usd") if isinstance(cost, dict) else None
    return usd if isinstance(usd, (int, float)) and not isinstance(usd, bool) else None


def unpriced(calls: Iterable[r.GenerationRow], stored: Mapping[str, float]) -> list[str]:
    """Return lines about calls without a cost: what was stored of it, and where to ask for it."""
    costs = [stored.get(row.id) for row in calls if row.cost_usd is None]
    computed = [usd for usd in costs if usd is not None]
    lines: list[str] = []
    if computed:
        said = text.counted(len(computed), "model call has a cost", "model calls have a cost")
        lines.append(f"{said} stored by `{COSTS}` only: {text.money(sum(computed))}")
    if len(costs) > len(computed):
        said = text.counted(len(costs) - len(computed), "model call has", "model calls have")
        lines.append(f"{said} no price: `{COSTS}` computes it, or says why not")
    return lines


def _span_line(row: r.SpanRow, cuts: Cuts) -> str:
    parts = [f"{row.kind} {text.printable(row.name or '(no name)', 60)}"]
    if row.status != "ok":
        parts.append(row.status)
    parts += _figures(row)
    if row.error:
        parts.append(_problem(row.error, cuts))
    return text.printable(", ".join(parts), cuts.columns(_WIDTH))


def _figures(row: r.RunRow | r.SpanRow) -> list[str]:
    figures = [] if row.duration_ms is None else [text.duration(row.duration_ms)]
    if isinstance(row, r.RunRow):
        if row.cost_usd is not None:
            figures.append(text.cost(row.cost_usd, row.generations, row.unpriced_calls))
        figures += [] if row.input_tokens is None else [tokens(row.input_tokens, row.output_tokens)]
    return figures


def _problem(error: dict[str, object], cuts: Cuts = SHORT) -> str:
    said = text.printable(error.get("message") or "", cuts.columns(200))
    return f"{error.get('type') or 'error'}: {said}"


def tokens(given: int | None, got: int | None) -> str:
    """Return tokens in and out: `1,204 → 310 tokens`."""
    return f"{text.number(given)} → {text.number(got)} tokens"


def describe(
    row: r.PointRow, width: int = _WIDTH, cuts: Cuts = SHORT, *, cost_usd: float | None = None
) -> str:
    """Return in one line what was recorded.

    Args:
        row: The record.
        width: How many columns it may take.
        cuts: What is cut.
        cost_usd: What was stored about the cost of a model call that has none of its own.
    """
    parts = _parts(row, cuts, cost_usd)
    return text.printable(" ".join(part for part in parts if part), cuts.columns(width))


def _parts(row: r.PointRow, cuts: Cuts, cost_usd: float | None) -> list[str]:  # noqa: C901, PLR0911, PLR0912 - one case a table
    width = cuts.columns(80)
    match row:
        case r.DecisionRow():
            sure = "" if row.confidence is None else f"(confidence {text.share(row.confidence)})"
            why = f"because {text.printable(row.why, width)}" if row.why else ""
            return [f"decided {row.name}:", text.printable(row.what, width), sure, why]
        case r.FactorRow():
            return [f"weighed {row.name}:", factor(row)]
        case r.SourceRow():
            reason = f"({text.printable(row.reason, width)})" if row.reason else ""
            return [
                "kept" if row.kept else "dropped",
                row.source_type,
                text.printable(row.title or row.source_key, width),
                reason,
                ", ".join(source_figures(row)),
            ]
        case r.GenerationRow():
            model = row.model or row.provider or "a model"
            return ["called", model, *call_figures(row, cost_usd, cuts)]
        case r.ToolCallRow():
            took = "" if row.duration_ms is None else f"({text.duration(row.duration_ms)})"
            return [
                f"used {row.tool_name}",
                "" if row.status == "ok" else row.status,
                took,
                failure(row.error, cuts),
                given(row.input, cuts) if row.status == FAILED else "",
            ]
        case r.TransformationRow():
            sizes = (
                ""
                if row.input_size is None
                else f"{text.number(row.input_size)} → {text.number(row.output_size)}"
            )
            return [f"changed {row.name}", row.method or "", sizes]
        case r.ScoreRow():
            return [f"scored {row.name}:", score(row), text.printable(row.feedback, width)]
        case r.OutputRow():
            return [
                f"output {row.kind} {text.printable(row.output_id, 60)}",
                validation(row, cuts),
                text.printable(row.summary, width),
            ]
        case r.LinkRow():
            return [
                f"link {row.source} {row.kind} {row.target}",
                "(inferred)" if row.inferred else "",
            ]
        case r.EventRow():
            return [row.level, row.message, details(row, cuts)]
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


def call_figures(
    row: r.GenerationRow, stored_usd: float | None = None, cuts: Cuts = SHORT
) -> list[str]:
    """Return what is known of a model call: tokens, cost, length, how it ended.

    Args:
        row: The call.
        stored_usd: The cost that `whence costs --reprice` stored for it, where it has none.
        cuts: What is cut.
    """
    parts: list[str] = []
    if row.input_tokens is not None or row.output_tokens is not None:
        parts.append(tokens(row.input_tokens, row.output_tokens))
    if row.usage_note:
        parts.append("usage not understood")
    if row.cost_usd is not None:
        parts.append(text.money(row.cost_usd))
    else:
        parts.append("no price" if stored_usd is None else f"{text.money(stored_usd)} computed")
    if row.duration_ms is not None:
        parts.append(text.duration(row.duration_ms))
    if row.attempt is not None and row.attempt > 1:
        parts.append(f"attempt {row.attempt}")
    if row.finish_reason:
        parts.append(row.finish_reason)
    if row.status != "ok":
        parts += [row.status, failure(row.error, cuts)]
    return parts


def source_figures(row: r.SourceRow) -> list[str]:
    """Return how good a source was held to be: its quality, and its scores by name."""
    parts = [] if row.quality is None else [f"quality {text.share(row.quality)}"]
    for name, value in row.scores.items():
        known = isinstance(value, (int, float)) and not isinstance(value, bool)
        said = text.number(value) if known else text.printable(value, 20)
        parts.append(f"{text.printable(name, 20)} {said}")
    return parts


def validation(row: r.OutputRow, cuts: Cuts = SHORT) -> str:
    """Return how a result was validated: `validation failed: no title`; empty if nobody said."""
    if not row.validation:
        return ""
    passed, errors = row.validation.get("passed"), row.validation.get("errors")
    said: object = errors
    if isinstance(errors, list):
        said = "; ".join(text.printable(error) for error in cast("list[object]", errors))
    if not isinstance(passed, bool):
        said, verdict = row.validation, ""
    else:
        verdict = " passed" if passed else " failed"
    about = f": {text.printable(said, cuts.columns(80))}" if said else ""
    return f"validation{verdict}{about}"


def details(row: r.EventRow, cuts: Cuts = SHORT) -> str:
    """Return the data of an event; empty if it has none."""
    return text.printable(row.data, cuts.columns(60)) if row.data else ""


def given(value: Any, cuts: Cuts = SHORT) -> str:
    """Return what something was called with; empty if nobody said."""
    return "" if value is None else f"given {text.printable(value, cuts.columns(60))}"


def failure(error: dict[str, object] | None, cuts: Cuts = SHORT) -> str:
    """Return type and message of a recorded error; empty if there is none."""
    return _problem(error, cuts) if error else ""


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
    value = score_value(row)
    return f"{value} ({', '.join(parts)})" if parts else value


def score_value(row: r.ScoreRow) -> str:
    """Return the value of a score; one that is no number is among its attributes."""
    if row.value is None and row.attributes.get("value") is not None:
        return text.printable(row.attributes["value"], 40)
    return text.number(row.value)
