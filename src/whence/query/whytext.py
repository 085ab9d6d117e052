"""How a reasoning chain reads: a short markdown document, everything in it printable.

Comes in: a `Why`. Goes out: lines: what it is about and its figures, the stages one after the other
(`whence.query.stagetext`), then what it came from, how it was judged and what is missing. What is
long is cut and counted; `Why` has it whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.query import stagetext, text, treetext
from whence.query.brevity import SHORT, Cuts
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.query.chain import Stage
    from whence.query.why import Why

_NAME = 28
_FIRST_STAGES = 10
_LAST_STAGES = 30
_ANCESTORS = 12
_REMARKS = 12
_UNSURE = 0.6
"""Below this confidence a chain says what it was least sure of."""


def lines_of(why: Why, cuts: Cuts = SHORT) -> list[str]:
    """Return the lines of a chain."""
    told = {row.id for row in why.outputs}
    stored = treetext.stored_costs(why.remarks)
    found = [(stage, stagetext.lines_of(stage, told, stored, cuts)) for stage in why.stages]
    numbered = list(enumerate((one for one in found if _is_shown(*one)), 1))
    skipped = numbered[_FIRST_STAGES:-_LAST_STAGES] if cuts.lists else []
    lines = [*_head(why, cuts), *treetext.unpriced(why.generations, stored)]
    for place, (stage, below) in numbered:
        if not skipped or place <= _FIRST_STAGES or place > len(numbered) - _LAST_STAGES:
            head = text.pad(f"## {place}. {stagetext.name_of(stage)}", 48)
            figures = " · ".join(stagetext.figures_of(stage))
            lines += ["", f"{head}  {figures}".rstrip(), *below]
        elif place == skipped[0][0]:
            lines += ["", f"and {text.counted(len(skipped), 'more stage')} in between"]
    lines += _empty([stage for stage, below in found if not _is_shown(stage, below)], cuts)
    for title, part in (
        ("Came from", _ancestors(why, cuts)),
        ("Judged afterwards", stagetext.scores(why.verdicts, cuts)),
        ("Remarks", _remarks(why, cuts)),
        ("Known to be missing", [_gap(one, cuts) for one in why.gaps]),
    ):
        if part:
            lines += ["", f"## {title}", *part]
    return lines


def _head(why: Why, cuts: Cuts) -> list[str]:
    run, subject = why.run, why.subject
    lines = [f"# Why {_title(subject)}"]
    facts: list[str] = []
    if isinstance(subject, r.OutputRow):
        if subject.summary:
            lines += text.wrapped(subject.summary, stagetext.WIDTH, cuts.lines(2))
        facts = [text.printable(subject.kind, _NAME)]
        facts += (
            [] if subject.confidence is None else [f"confidence {text.share(subject.confidence)}"]
        )
        facts += [] if subject.quality is None else [f"quality {text.share(subject.quality)}"]
        facts += [f"recorded {text.moment(subject.ts_ns)} UTC"]
        facts += [text.printable(subject.path, cuts.columns(60))] if subject.path else []
        checked = treetext.validation(subject, cuts)
        facts += [checked] if checked else []
    elif isinstance(subject, r.SpanRow):
        facts = [
            subject.status,
            text.duration(subject.duration_ms),
            text.began(subject.started_ns),
        ]
    elif isinstance(subject, r.PointRow):
        facts = [treetext.describe(subject, stagetext.WIDTH, cuts)]
    if facts:
        lines.append(" · ".join(facts))
    name = text.printable(run.name or "(no name)", 40)
    project = f" of {text.printable(run.project, 30)}" if run.project else ""
    known_as = f"{text.printable(run.external_id, 40)} = {run.id}" if run.external_id else run.id
    lines.append(f"run {name}{project} · {run.status} · {text.began(run.started_ns)} · {known_as}")
    if run.error:
        said = text.printable(treetext.failure(run.error, cuts), cuts.columns(stagetext.WIDTH))
        lines.append(f"the run ended in {said}")
    if isinstance(subject, r.RunRow):
        lines += [stagetext.output(output, cuts) for output in why.outputs]
    return [*lines, *_summary(why, cuts)]


def _is_shown(stage: Stage, below: Sequence[str]) -> bool:
    return bool(below) or stage.status not in {None, "", "ok"}


def _empty(stages: Sequence[Stage], cuts: Cuts) -> list[str]:
    """Return the line that names the stages in which nothing was recorded."""
    names = [stagetext.name_of(stage) for stage in stages if stage.span is not None]
    if not names:
        return []
    head = f"Nothing was recorded in {text.counted(len(names), 'stage')}: "
    return ["", *stagetext.listed(head, ", ".join(names), cuts)]


def _title(subject: r.Row) -> str:
    match subject:
        case r.OutputRow():
            return text.printable(subject.output_id, 80)
        case r.RunRow():
            return f"run {text.printable(subject.external_id or subject.name or subject.id, 80)}"
        case r.SpanRow():
            return text.printable(f"{subject.kind} {subject.name or subject.id}", 80)
        case r.PointRow():
            return text.printable(getattr(subject, "name", None) or subject.id, 80)
        case _:
            return subject.id


def _summary(why: Why, cuts: Cuts) -> list[str]:
    totals = why.totals
    parts = [text.counted(totals.decisions, "decision")] if totals.decisions else []
    sources = totals.sources_kept + totals.sources_dropped
    parts += (
        [f"{totals.sources_kept:,} of {text.counted(sources, 'source')} kept"] if sources else []
    )
    parts += [text.counted(totals.generations, "model call")] if totals.generations else []
    parts += [text.counted(totals.tool_calls, "tool call")] if totals.tool_calls else []
    parts += (
        ["1 retry" if totals.retries == 1 else f"{totals.retries:,} retries"]
        if totals.retries
        else []
    )
    parts += [text.counted(totals.errors, "error")] if totals.errors else []
    if totals.input_tokens is not None:
        parts.append(treetext.tokens(totals.input_tokens, totals.output_tokens))
    if totals.cost_usd is not None:
        parts.append(text.cost(totals.cost_usd, totals.generations, totals.unpriced_calls))
    parts += [] if totals.duration_ms is None else [text.duration(totals.duration_ms)]
    lines = [" · ".join(parts)] if parts else []
    sure = [choice.decision for choice in why.decisions if choice.decision.confidence is not None]
    least = min(sure, key=lambda row: row.confidence or 0.0, default=None)
    if least is not None and (least.confidence or 0.0) < _UNSURE:
        lines.append(
            f"least sure of {text.printable(least.name, _NAME)} ({text.share(least.confidence)})"
        )
    flags = [text.printable(one.flag, cuts.columns(80)) for one in why.flags]
    return [*lines, *(f"flagged for review: {flag}" for flag in flags[:1])]


def _ancestors(why: Why, cuts: Cuts) -> list[str]:
    lines: list[str] = []
    shown = stagetext.first(why.ancestors, cuts.items(_ANCESTORS))
    for one in shown:
        target = "this" if one.edge.target in {why.id, why.subject.id} else one.target_label
        said = treetext.phrase(one.edge.kind, one.label, target)
        sure = (
            ""
            if one.edge.confidence is None
            else f" (confidence {text.share(one.edge.confidence)})"
        )
        inferred = " (inferred)" if one.edge.inferred else ""
        elsewhere = f"  {one.run}" if one.run and one.run != why.run.id else ""
        lines.append(f"{'  ' * (one.distance - 1)}- {said}{sure}{inferred}{elsewhere}")
    return [*lines, *stagetext.more(why.ancestors, len(shown), "link")]


def _remarks(why: Why, cuts: Cuts) -> list[str]:
    """Return a line a remark; one about a thing in the chain names it.

    Of stored costs the latest counts, and one that says what the call says already is left out.
    """
    calls = {call.id: call for call in why.generations}
    latest = {one.target: one.id for one in why.remarks if one.by == treetext.COSTS}
    told = [
        one
        for one in why.remarks
        if one.by != treetext.COSTS
        or (latest[one.target] == one.id and not _is_known(one, calls.get(one.target)))
    ]
    named = {row.id: row for stage in why.stages for row in _rows_of(stage)}
    named = {key: row for key, row in named.items() if key != why.subject.id}
    shown = stagetext.first(told, cuts.items(_REMARKS))
    lines = [_remark(one, named.get(one.target), cuts) for one in shown]
    return [*lines, *stagetext.more(told, len(shown), "remark")]


def _is_known(remark: r.AnnotationRow, call: r.GenerationRow | None) -> bool:
    usd = treetext.stored_cost(remark)
    return call is not None and usd is not None and call.cost_usd == usd


def _rows_of(stage: Stage) -> list[r.Row]:
    return [
        *([stage.span] if stage.span else []),
        *stage.failures,
        *(choice.decision for choice in stage.decisions),
        *stage.evidence.kept,
        *stage.evidence.dropped,
        *stage.generations,
        *stage.tool_calls,
        *stage.outputs,
        *stage.scores,
    ]


def _remark(remark: r.AnnotationRow, about: r.Row | None, cuts: Cuts) -> str:
    said = [f"flagged: {remark.flag}"] if remark.flag else []
    said += [remark.status] if remark.status else []
    said += [remark.note] if remark.note else []
    by = f" (by {text.printable(remark.by, 30)}, {text.moment(remark.ts_ns)})" if remark.by else ""
    name = f"on {treetext.about(about, cuts)}: " if about else ""
    return f"- {name}{text.printable('; '.join(said), cuts.columns(stagetext.WIDTH))}{by}"


def _gap(gap: r.GapRow, cuts: Cuts) -> str:
    whose = "" if gap.run else " (of some run at that time)"
    reason = text.printable(gap.reason, cuts.columns(80))
    return f"- {text.counted(gap.lost, 'record')} lost: {reason}{whose}"
