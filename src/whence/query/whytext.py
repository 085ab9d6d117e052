"""How a reasoning chain reads: a short markdown document, everything in it printable.

Comes in: a `Why`. Goes out: lines. Each stage says in this order what it decided and instead of
what, what weighed, which evidence it used and dropped, what it called, and how it was judged. What
is long is cut and counted; `Why` has it whole.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from whence.query import chain, text, treetext
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from whence.query.chain import Choice, Evidence, Stage
    from whence.query.why import Why

T = TypeVar("T")
_WIDTH = 100
_NAME = 28
_FIRST_STAGES = 10
_LAST_STAGES = 30
_CHOICES = 12
_OPTIONS = 4
_FACTORS = 5
_KEPT = 5
_DROPPED = 3
_CALLS = 4
_SCORES = 6
_LISTED_SINGLY = 3
"""With more scores than this, those that passed at once share a line."""
_ANCESTORS = 12
_UNSURE = 0.6
"""Below this confidence a chain says what it was least sure of."""


def lines_of(why: Why) -> list[str]:
    """Return the lines of a chain."""
    lines = _head(why)
    numbered = list(enumerate(why.stages, 1))
    skipped = numbered[_FIRST_STAGES:-_LAST_STAGES]
    for place, stage in numbered:
        if not skipped or place <= _FIRST_STAGES or place > len(numbered) - _LAST_STAGES:
            lines += ["", *_stage(place, stage, why)]
        elif place == skipped[0][0]:
            lines += ["", f"and {_counted(len(skipped), 'more stage')} in between"]
    for title, part in (
        ("Came from", _ancestors(why)),
        ("Judged afterwards", _scores(why.verdicts)),
        ("Remarks", [_remark(one) for one in why.remarks]),
        ("Known to be missing", [_gap(one) for one in why.gaps]),
    ):
        if part:
            lines += ["", f"## {title}", *part]
    return lines


def _head(why: Why) -> list[str]:
    run, subject = why.run, why.subject
    lines = [f"# Why {_title(subject)}"]
    facts: list[str] = []
    if isinstance(subject, r.OutputRow):
        if subject.summary:
            lines += text.wrapped(subject.summary, _WIDTH, 2)
        facts = [text.printable(subject.kind, _NAME)]
        facts += (
            [] if subject.confidence is None else [f"confidence {text.share(subject.confidence)}"]
        )
        facts += [] if subject.quality is None else [f"quality {text.share(subject.quality)}"]
        facts += [f"recorded {text.moment(subject.ts_ns)} UTC"]
        facts += [text.printable(subject.path, 60)] if subject.path else []
    elif isinstance(subject, r.SpanRow):
        facts = [
            subject.status,
            text.duration(subject.duration_ms),
            f"began {text.moment(subject.started_ns)} UTC",
        ]
    elif isinstance(subject, r.PointRow):
        facts = [treetext.describe(subject, _WIDTH)]
    if facts:
        lines.append(" · ".join(facts))
    name = text.printable(run.name or "(no name)", 40)
    project = f" of {text.printable(run.project, 30)}" if run.project else ""
    known_as = f"{text.printable(run.external_id, 40)} = {run.id}" if run.external_id else run.id
    lines.append(
        f"run {name}{project} · {run.status} · began {text.moment(run.started_ns)} UTC · {known_as}"
    )
    if run.error:
        lines.append(f"the run ended in {text.printable(treetext.failure(run.error), _WIDTH)}")
    if isinstance(subject, r.RunRow):
        lines += [_output(output) for output in why.outputs]
    return [*lines, *_summary(why)]


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


def _summary(why: Why) -> list[str]:
    totals = why.totals
    parts = [_counted(totals.decisions, "decision")] if totals.decisions else []
    sources = totals.sources_kept + totals.sources_dropped
    parts += [f"{totals.sources_kept:,} of {_counted(sources, 'source')} kept"] if sources else []
    parts += [_counted(totals.generations, "model call")] if totals.generations else []
    parts += [_counted(totals.tool_calls, "tool call")] if totals.tool_calls else []
    parts += (
        ["1 retry" if totals.retries == 1 else f"{totals.retries:,} retries"]
        if totals.retries
        else []
    )
    parts += [_counted(totals.errors, "error")] if totals.errors else []
    if totals.input_tokens is not None:
        parts.append(treetext.tokens(totals.input_tokens, totals.output_tokens))
    if totals.cost_usd is not None:
        rest = _counted(totals.unpriced, "call")
        parts.append(
            text.money(totals.cost_usd) + (f" and {rest} without a cost" if totals.unpriced else "")
        )
    parts += [] if totals.duration_ms is None else [text.duration(totals.duration_ms)]
    lines = [" · ".join(parts)] if parts else []
    sure = [choice.decision for choice in why.decisions if choice.decision.confidence is not None]
    least = min(sure, key=lambda row: row.confidence or 0.0, default=None)
    if least is not None and (least.confidence or 0.0) < _UNSURE:
        lines.append(
            f"least sure of {text.printable(least.name, _NAME)} ({text.share(least.confidence)})"
        )
    flags = [text.printable(one.flag, 80) for one in why.flags]
    return [*lines, *(f"flagged for review: {flag}" for flag in flags[:1])]


def _stage(place: int, stage: Stage, why: Why) -> list[str]:
    name = text.printable(stage.name, 60) if stage.name else "the run itself"
    figures = [] if stage.duration_ms is None else [text.duration(stage.duration_ms)]
    figures += [] if stage.cost_usd is None else [text.money(stage.cost_usd)]
    figures += [stage.status] if stage.status not in {None, "ok"} and stage.status else []
    head = f"## {place}. {name}"
    lines = [f"{text.pad(head, 48)}  {' · '.join(figures)}".rstrip()]
    lines += [line for choice in stage.decisions[:_CHOICES] for line in _choice(choice)]
    lines += _more(stage.decisions, _CHOICES, "decision")
    lines += _factors(stage.factors, "")
    lines += _evidence(stage.evidence)
    lines += _calls(stage.generations)
    lines += _tools(stage.tool_calls)
    lines += [f"- {treetext.describe(row, _WIDTH)}" for row in stage.transformations]
    lines += _scores(stage.scores)
    lines += [
        _output(row) for row in stage.outputs if row.id not in {one.id for one in why.outputs}
    ]
    lines += [
        f"- {row.level}: {text.printable(row.message, _WIDTH)}"
        for row in _first(stage.events, _CALLS)
    ]
    lines += _more(stage.events, _CALLS, "logged problem")
    lines += [f"- failed: {_failed(span)}" for span in _first(stage.failures, _CALLS)]
    return [*lines, *_more(stage.failures, _CALLS, "failed span")]


def _choice(choice: Choice) -> list[str]:
    row = choice.decision
    sure = [] if row.confidence is None else [f"confidence {text.share(row.confidence)}"]
    sure += [f"by {text.printable(row.made_by, 30)}"] if row.made_by else []
    lines = [f"- decided {text.printable(row.name, 40)}: {_chosen(row.what)}"]
    if sure:
        lines[0] = f"{text.pad(lines[0], 66)}  {', '.join(sure)}"
    if row.why:
        lines += [f"  {line}" for line in text.wrapped(row.why, _WIDTH - 2, 3)]
    return [*lines, *_options(choice.not_taken), *_factors(choice.factors, "  ")]


def _chosen(what: object) -> str:
    # A choice of several things reads better as their names than as JSON.
    return text.printable(_joined(what) or what, 70)


def _joined(what: object) -> str:
    several = cast("list[object]", what) if isinstance(what, list) else []
    names = [one for one in several if isinstance(one, str)]
    return ", ".join(names) if len(names) == len(several) else ""


def _options(options: Sequence[dict[str, Any]]) -> list[str]:
    shown = _first(options, _OPTIONS)
    names = [text.printable(option.get("name"), _NAME) for option in shown]
    figures = ["  ".join(_option_figures(option)) for option in shown]
    wide, long = _widest(names), _widest(figures)
    reasons = [text.printable(option.get("reason_rejected") or "", 70) for option in shown]
    lines = [
        "    not " + _aligned((name, wide), (figure, long), (reason, 0))
        for name, figure, reason in zip(names, figures, reasons, strict=True)
    ]
    return [*lines, *_more(options, _OPTIONS, "option", "    ")]


def _option_figures(option: dict[str, Any]) -> list[str]:
    return [
        f"{sign} {text.share(value) if key == 'probability' else text.number(value)}"
        for sign, key in (("p", "probability"), ("score", "score"))
        if isinstance(value := option.get(key), (int, float))
    ]


def _factors(factors: Sequence[r.FactorRow], indent: str) -> list[str]:
    shown = _first(factors, _FACTORS)
    names = [text.printable(row.name, _NAME) for row in shown]
    figures = [text.printable(treetext.factor(row), 44) for row in shown]
    wide, long = _widest(names), _widest(figures)
    lines = [
        f"{indent}- weighed "
        + _aligned((name, wide), (figure, long), (text.printable(row.reasoning, 50), 0))
        for name, figure, row in zip(names, figures, shown, strict=True)
    ]
    return [*lines, *_more(factors, _FACTORS, "factor", f"{indent}  ")]


def _evidence(found: Evidence) -> list[str]:
    kept, dropped = found.kept, found.dropped
    if not kept and not dropped:
        return []
    used = f", {found.records_used:,} records used" if found.records_used else ""
    lines = [f"- sources: kept {len(kept):,} of {len(kept) + len(dropped):,}{used}"]
    shown = [
        *((row, "+") for row in _first(kept, _KEPT)),
        *((row, "-") for row in _first(dropped, _DROPPED)),
    ]
    names = [text.printable(row.title or row.source_key, 40) for row, _ in shown]
    wide = _widest(names)
    for (row, sign), name in zip(shown, names, strict=True):
        cited = " (cited)" if row.id in found.cited else ""
        quality = "" if row.quality is None else f"quality {text.share(row.quality)}  "
        about = quality + text.printable(row.reason or "", 56 - len(cited) - len(quality)) + cited
        lines.append(f"    {sign} {text.pad(name, wide)}  {about}".rstrip())
        if sign == "+" and row is _last(kept, _KEPT):
            lines += _more(kept, _KEPT, "source kept", "    + ", "sources kept")
    if len(dropped) > _DROPPED:
        common = [
            f"{count:,} x {text.printable(why, 30)}"
            for why, count in found.reasons.items()
            if count > 1
        ]
        lines.append(
            f"    - {len(dropped) - _DROPPED:,} more dropped"
            + (f": {', '.join(common[:3])}" if common else "")
        )
    return lines


def _calls(calls: Sequence[r.GenerationRow]) -> list[str]:
    shown = _first(calls, _CALLS)
    models = [
        text.printable(row.response_model or row.model or row.provider or "a model", _NAME)
        for row in shown
    ]
    wide = _widest(models)
    lines = [
        f"- called {text.pad(model, wide)}  "
        + " · ".join(
            [
                *([text.printable(row.name, _NAME)] if row.name else []),
                *map(_short, treetext.call_figures(row)),
            ]
        )
        for model, row in zip(models, shown, strict=True)
    ]
    rest = calls[_CALLS:]
    if rest:
        given = chain.known_sum(row.input_tokens for row in rest)
        got = chain.known_sum(row.output_tokens for row in rest)
        failed = sum(row.status != "ok" for row in rest)
        wrong = f", {failed:,} of them failed" if failed else ""
        tokens = "" if given is None and got is None else f", {treetext.tokens(given, got)}"
        lines.append(f"  and {_counted(len(rest), 'more call', 'more calls')}{tokens}{wrong}")
    return [line.rstrip() for line in lines]


def _tools(tools: Sequence[r.ToolCallRow]) -> list[str]:
    by_name: dict[str, list[r.ToolCallRow]] = {}
    for row in tools:
        by_name.setdefault(row.tool_name, []).append(row)
    lines: list[str] = []
    for name, rows in by_name.items():
        failed = [row for row in rows if row.status == "error"]
        retries = sum(row.retry_count or 0 for row in rows)
        cached = sum(bool(row.cache_hit) for row in rows)
        facts = [f"{len(rows):,}x"] if len(rows) > 1 else []
        took = [row.duration_ms for row in rows if row.duration_ms is not None]
        facts += [text.duration(sum(took))] if took else []
        facts += [f"{cached:,} from cache"] if cached else []
        facts += ["1 retry" if retries == 1 else f"{retries:,} retries"] if retries else []
        facts += [_counted(len(failed), "error")] if failed else []
        lines.append(f"- used {text.printable(name, 40)}  {' · '.join(facts)}".rstrip())
        wrong = Counter(
            text.printable(treetext.failure(row.error) or row.status, 80) for row in failed
        )
        lines += [
            f"    {said}{f' ({count:,}x)' if count > 1 else ''}"
            for said, count in wrong.most_common(3)
        ]
    return lines


def _scores(scores: Sequence[r.ScoreRow]) -> list[str]:
    trails: dict[str, list[r.ScoreRow]] = {}
    for row in scores:
        trails.setdefault(row.name, []).append(row)
    passed = {
        name: rows
        for name, rows in trails.items()
        if rows[-1].passed and len(rows) == 1 and len(trails) > _LISTED_SINGLY
    }
    others = {name: rows for name, rows in trails.items() if name not in passed}
    ordered = sorted(others.items(), key=lambda item: item[1][-1].passed is not False)
    shown = _first(ordered, _SCORES)
    names = [text.printable(name, _NAME) for name, _ in shown]
    figures = [_trail(rows) for _, rows in shown]
    wide, long = _widest(names), _widest(figures)
    lines = [
        "- scored "
        + _aligned((name, wide), (figure, long), (text.printable(rows[-1].feedback, 50), 0))
        for name, figure, (_, rows) in zip(names, figures, shown, strict=True)
    ]
    lines += _more(ordered, _SCORES, "score")
    if passed:
        listed = ", ".join(
            f"{text.printable(name, _NAME)} {text.number(rows[0].value)}"
            for name, rows in passed.items()
        )
        lines += _listed(f"- passed {len(passed):,}: ", listed)
    return lines


def _trail(rows: Sequence[r.ScoreRow]) -> str:
    last = rows[-1]
    if len(rows) == 1:
        return treetext.score(last)
    ordered = (
        rows
        if any(row.iteration is None for row in rows)
        else sorted(rows, key=lambda row: row.iteration or 0)
    )
    earlier = " → ".join(text.number(row.value) for row in ordered[-6:-1])
    return f"{earlier} → {treetext.score(ordered[-1])}"


def _ancestors(why: Why) -> list[str]:
    from whence.query import lineage  # noqa: PLC0415 - it names rows with the functions of `treetext`, as this module does

    lines: list[str] = []
    for one in _first(why.ancestors, _ANCESTORS):
        target = "this" if one.edge.target in {why.id, why.subject.id} else one.target_label
        said = lineage.phrase(one.edge.kind, one.label, target)
        sure = (
            ""
            if one.edge.confidence is None
            else f" (confidence {text.share(one.edge.confidence)})"
        )
        inferred = " (inferred)" if one.edge.inferred else ""
        elsewhere = f"  {one.run}" if one.run and one.run != why.run.id else ""
        lines.append(f"{'  ' * (one.distance - 1)}- {said}{sure}{inferred}{elsewhere}")
    return [*lines, *_more(why.ancestors, _ANCESTORS, "link")]


def _remark(remark: r.AnnotationRow) -> str:
    said = [f"flagged: {remark.flag}"] if remark.flag else []
    said += [remark.status] if remark.status else []
    said += [remark.note] if remark.note else []
    by = f" (by {text.printable(remark.by, 30)}, {text.moment(remark.ts_ns)})" if remark.by else ""
    return f"- {text.printable('; '.join(said), _WIDTH)}{by}"


def _gap(gap: r.GapRow) -> str:
    whose = "" if gap.run else " (of some run at that time)"
    return f"- {_counted(gap.lost, 'record')} lost: {text.printable(gap.reason, 80)}{whose}"


def _output(output: r.OutputRow) -> str:
    summary = f": {text.printable(output.summary, 60)}" if output.summary else ""
    kind = text.printable(output.kind, _NAME)
    return f"- gave {kind} {text.printable(output.output_id, 60)}{summary}"


def _failed(span: r.SpanRow) -> str:
    return text.printable(f"{span.kind} {span.name}: {treetext.failure(span.error)}", _WIDTH)


def _short(figure: str) -> str:
    return text.printable(figure, 60)


def _aligned(*cells: tuple[str, int]) -> str:
    """Return cells side by side, each filled to its width; an empty column is left out."""
    return "  ".join(text.pad(cell, width) for cell, width in cells if cell or width).rstrip()


def _first(items: Sequence[T], count: int) -> list[T]:
    return list(items[:count])


def _last(items: Sequence[T], count: int) -> T | None:
    return items[min(count, len(items)) - 1] if items else None


def _more(
    items: Sequence[object], shown: int, word: str, indent: str = "  ", words: str | None = None
) -> list[str]:
    rest = len(items) - shown
    return (
        [f"{indent}and {rest:,} more {word if rest == 1 else words or f'{word}s'}"]
        if rest > 0
        else []
    )


def _listed(head: str, listed: str) -> list[str]:
    lines = text.wrapped(listed, _WIDTH - len(head), 3)
    return [head + lines[0], *(" " * len(head) + line for line in lines[1:])]


def _counted(count: int, word: str, words: str | None = None) -> str:
    return f"{count:,} {word if count == 1 else words or f'{word}s'}"


def _widest(cells: Iterable[str], measure: Callable[[str], int] = text.columns) -> int:
    return max(map(measure, cells), default=0)
