"""How one stage of a reasoning chain reads, and what is listed elsewhere in a chain as it is there.

Comes in: a `Stage`. Goes out: printable lines that say in this order what it decided and instead of
what, what weighed, which evidence it used and dropped, what it called, and how it was judged. What
is long is cut and counted, and a failure that a call tells is not told again of the call's span.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from whence.query import chain, taken, text, treetext
from whence.query.brevity import SHORT, Cuts
from whence.store.failures import FAILED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from whence.query.chain import Choice, Evidence, Stage
    from whence.store import rows as r

T = TypeVar("T")
WIDTH = 100
"""Columns that the longest parts of a line take."""
_NAME = 28
_CHOICES = 12
_OPTIONS = 4
_FACTORS = 5
_KEPT = 5
_DROPPED = 3
_CALLS = 4
_FAILURES = 3
_SCORES = 6
_LISTED_SINGLY = 3
"""With more scores than this, those that passed at once share a line."""


def name_of(stage: Stage) -> str:
    """Return what a stage is called."""
    return text.printable(stage.name, 60) if stage.name else "the run itself"


def figures_of(stage: Stage) -> list[str]:
    """Return how long a stage took, what it cost, and how it ended if not well."""
    figures = [] if stage.duration_ms is None else [text.duration(stage.duration_ms)]
    if stage.cost_usd is not None:
        unpriced = sum(row.cost_usd is None for row in stage.generations)
        figures.append(text.cost(stage.cost_usd, len(stage.generations), unpriced))
    return figures if stage.status in {None, "", "ok"} else [*figures, str(stage.status)]


def lines_of(
    stage: Stage,
    told: AbstractSet[str],
    stored: Mapping[str, float] | None = None,
    cuts: Cuts = SHORT,
) -> list[str]:
    """Return the lines below the heading of a stage.

    Args:
        stage: The stage.
        told: Ids of the outputs that the chain has named already.
        stored: What `whence costs --reprice` stored, US dollars by the id of the call.
        cuts: What is cut.
    """
    shown = first(stage.decisions, cuts.items(_CHOICES))
    lines = [line for choice in shown for line in _choice(choice, cuts)]
    lines += more(stage.decisions, len(shown), "decision")
    lines += _factors(stage.factors, "", cuts)
    lines += _evidence(stage.evidence, cuts)
    lines += _calls(stage.generations, stored or {}, cuts)
    lines += _tools(stage.tool_calls, cuts)
    lines += [f"- {treetext.describe(row, WIDTH, cuts)}" for row in stage.transformations]
    lines += scores(stage.scores, cuts)
    lines += [output(row, cuts) for row in stage.outputs if row.id not in told]
    events = first(stage.events, cuts.items(_CALLS))
    lines += [_event(row, cuts) for row in events]
    lines += more(stage.events, len(events), "logged problem")
    failed = _failures(stage)
    some = first(failed, cuts.items(_CALLS))
    lines += [f"- failed: {_failed(span, cuts)}" for span in some]
    lines += more(failed, len(some), "failed span")
    some = first(stage.unfinished, cuts.items(_CALLS))
    lines += [_unfinished(span, cuts) for span in some]
    lines += more(stage.unfinished, len(some), "unfinished span")
    if not lines and stage.span is not None:
        return [output(row, cuts) for row in stage.outputs]
    return lines


def _failures(stage: Stage) -> list[r.SpanRow]:
    """Return the spans whose failure no call in them tells."""
    calls = (*stage.generations, *stage.tool_calls)
    told = {(call.span, treetext.failure(call.error)) for call in calls if call.status == FAILED}
    return [span for span in stage.failures if (span.id, treetext.failure(span.error)) not in told]


def _choice(choice: Choice, cuts: Cuts) -> list[str]:
    row = choice.decision
    sure = [] if row.confidence is None else [f"confidence {text.share(row.confidence)}"]
    sure += [f"by {text.printable(row.made_by, 30)}"] if row.made_by else []
    lines = [f"- decided {text.printable(row.name, cuts.columns(40))}: {_chosen(row.what, cuts)}"]
    if sure:
        lines[0] = f"{text.pad(lines[0], 66)}  {', '.join(sure)}"
    if row.why:
        lines += [f"  {line}" for line in text.wrapped(row.why, WIDTH - 2, cuts.lines(3))]
    return [*lines, *_options(choice, cuts), *_factors(choice.factors, "  ", cuts)]


def _chosen(what: object, cuts: Cuts) -> str:
    # A choice of several things reads better as their names than as JSON.
    return text.printable(_joined(what) or what, cuts.columns(70))


def _joined(what: object) -> str:
    several = cast("list[object]", what) if isinstance(what, list) else []
    names = [one for one in several if isinstance(one, str)]
    return ", ".join(names) if len(names) == len(several) else ""


def _options(choice: Choice, cuts: Cuts) -> list[str]:
    options = choice.not_taken
    shown = first(options, cuts.items(_OPTIONS))
    names = [
        text.printable(taken.name_of(option, choice.decision), cuts.columns(_NAME))
        for option in shown
    ]
    figures = ["  ".join(_option_figures(option)) for option in shown]
    wide, long = _widest(names, _NAME), _widest(figures)
    reasons = [
        text.printable(option.get("reason_rejected") or "", cuts.columns(70)) for option in shown
    ]
    lines = [
        "    not " + _aligned((name, wide), (figure, long), (reason, 0))
        for name, figure, reason in zip(names, figures, reasons, strict=True)
    ]
    return [*lines, *more(options, len(shown), "option", "    ")]


def _option_figures(option: dict[str, Any]) -> list[str]:
    return [
        f"{sign} {text.share(value) if key == 'probability' else text.number(value)}"
        for sign, key in (("p", "probability"), ("score", "score"))
        if isinstance(value := option.get(key), (int, float))
    ]


def _factors(factors: Sequence[r.FactorRow], indent: str, cuts: Cuts) -> list[str]:
    shown = first(factors, cuts.items(_FACTORS))
    names = [text.printable(row.name, cuts.columns(_NAME)) for row in shown]
    figures = [text.printable(treetext.factor(row), 44) for row in shown]
    wide, long = _widest(names, _NAME), _widest(figures)
    reasons = [text.printable(row.reasoning, cuts.columns(50)) for row in shown]
    lines = [
        f"{indent}- weighed " + _aligned((name, wide), (figure, long), (reason, 0))
        for name, figure, reason in zip(names, figures, reasons, strict=True)
    ]
    return [*lines, *more(factors, len(shown), "factor", f"{indent}  ")]


def _evidence(found: Evidence, cuts: Cuts) -> list[str]:
    kept, dropped = found.kept, found.dropped
    if not kept and not dropped:
        return []
    used = f", {found.records_used:,} records used" if found.records_used else ""
    lines = [f"- sources: kept {len(kept):,} of {len(kept) + len(dropped):,}{used}"]
    most_kept, most_dropped = cuts.items(_KEPT), cuts.items(_DROPPED)
    shown = [
        *((row, "+") for row in first(kept, most_kept)),
        *((row, "-") for row in first(dropped, most_dropped)),
    ]
    names = [text.printable(row.title or row.source_key, cuts.columns(40)) for row, _ in shown]
    wide = _widest(names, 40)
    for (row, sign), name in zip(shown, names, strict=True):
        cited = " (cited)" if row.id in found.cited else ""
        about = _about_source(row, len(cited), cuts) + cited
        lines.append(f"    {sign} {text.pad(name, wide)}  {about}".rstrip())
        if sign == "+" and row is _last(kept, most_kept):
            lines += more(kept, most_kept, "source kept", "    + ", "sources kept")
    if len(dropped) > most_dropped:
        common = [
            f"{count:,} x {text.printable(why, 30)}"
            for why, count in found.reasons.items()
            if count > 1
        ]
        lines.append(
            f"    - {len(dropped) - most_dropped:,} more dropped"
            + (f": {', '.join(common[:3])}" if common else "")
        )
    return lines


def _about_source(row: r.SourceRow, taken_columns: int, cuts: Cuts) -> str:
    """Return how good a source was held to be and why it was kept or dropped."""
    figures = text.printable(", ".join(treetext.source_figures(row)), cuts.columns(40))
    room = 56 - taken_columns - text.columns(figures)
    reason = text.printable(row.reason or "", cuts.columns(max(room, 24)))
    return f"{figures}  {reason}".strip()


def _calls(calls: Sequence[r.GenerationRow], stored: Mapping[str, float], cuts: Cuts) -> list[str]:
    shown = first(calls, cuts.items(_CALLS))
    models = [
        text.printable(
            row.response_model or row.model or row.provider or "a model", cuts.columns(_NAME)
        )
        for row in shown
    ]
    wide = _widest(models, _NAME)
    lines = [
        f"- called {text.pad(model, wide)}  "
        + " · ".join(
            text.printable(figure, cuts.columns(60))
            for figure in (
                *([text.printable(row.name, cuts.columns(_NAME))] if row.name else []),
                *treetext.call_figures(row, stored.get(row.id), cuts),
            )
        )
        for model, row in zip(models, shown, strict=True)
    ]
    rest = calls[len(shown) :]
    if rest:
        given = chain.known_sum(row.input_tokens for row in rest)
        got = chain.known_sum(row.output_tokens for row in rest)
        failed = [row for row in rest if row.status != "ok"]
        wrong = f", {len(failed):,} of them failed" if failed else ""
        tokens = "" if given is None and got is None else f", {treetext.tokens(given, got)}"
        lines.append(f"  and {text.counted(len(rest), 'more call', 'more calls')}{tokens}{wrong}")
        lines += _said(failed, cuts)
    return [line.rstrip() for line in lines]


def _tools(tools: Sequence[r.ToolCallRow], cuts: Cuts) -> list[str]:
    by_name: dict[str, list[r.ToolCallRow]] = {}
    for row in tools:
        by_name.setdefault(row.tool_name, []).append(row)
    lines: list[str] = []
    for name, rows in by_name.items():
        failed = [row for row in rows if row.status == FAILED]
        retries = sum(row.retry_count or 0 for row in rows)
        cached = sum(bool(row.cache_hit) for row in rows)
        facts = [f"{len(rows):,}x"] if len(rows) > 1 else []
        took = [row.duration_ms for row in rows if row.duration_ms is not None]
        facts += [text.duration(sum(took))] if took else []
        facts += [f"{cached:,} from cache"] if cached else []
        facts += ["1 retry" if retries == 1 else f"{retries:,} retries"] if retries else []
        facts += [text.counted(len(failed), "error")] if failed else []
        head = f"- used {text.printable(name, cuts.columns(40))}"
        lines.append(f"{head}  {' · '.join(facts)}".rstrip())
        lines += _said(failed, cuts)
    return lines


def _said(failed: Sequence[r.GenerationRow | r.ToolCallRow], cuts: Cuts) -> list[str]:
    """Return what failed calls say and what tools were given, the most frequent first."""
    said = Counter(_failure(row, cuts) for row in failed)
    lines = [
        f"    {what}{f' ({count:,}x)' if count > 1 else ''}"
        for what, count in said.most_common(cuts.items(_FAILURES))
    ]
    return [*lines, *more(list(said), len(lines), "failure", "    ")]


def _failure(row: r.GenerationRow | r.ToolCallRow, cuts: Cuts) -> str:
    said = text.printable(treetext.failure(row.error, cuts) or row.status, cuts.columns(80))
    # Models are told apart by their line; messages would say too much here.
    given = treetext.given(getattr(row, "input", None), cuts)
    return f"{said}  {given}" if given else said


def scores(judged: Sequence[r.ScoreRow], cuts: Cuts = SHORT) -> list[str]:
    """Return a line a judgement: those that failed first, with their way through a retry loop."""
    trails: dict[str, list[r.ScoreRow]] = {}
    for row in judged:
        trails.setdefault(row.name, []).append(row)
    passed = {
        name: rows
        for name, rows in trails.items()
        if rows[-1].passed and len(rows) == 1 and len(trails) > _LISTED_SINGLY
    }
    others = {name: rows for name, rows in trails.items() if name not in passed}
    ordered = sorted(others.items(), key=lambda item: item[1][-1].passed is not False)
    shown = first(ordered, cuts.items(_SCORES))
    names = [text.printable(name, cuts.columns(_NAME)) for name, _ in shown]
    figures = [_trail(rows) for _, rows in shown]
    wide, long = _widest(names, _NAME), _widest(figures)
    said = [text.printable(rows[-1].feedback, cuts.columns(50)) for _, rows in shown]
    lines = [
        "- scored " + _aligned((name, wide), (figure, long), (feedback, 0))
        for name, figure, feedback in zip(names, figures, said, strict=True)
    ]
    lines += more(ordered, len(shown), "score")
    if passed:
        names_passed = ", ".join(
            f"{text.printable(name, cuts.columns(_NAME))} {treetext.score_value(rows[0])}"
            for name, rows in passed.items()
        )
        lines += listed(f"- passed {len(passed):,}: ", names_passed, cuts)
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
    earlier = " → ".join(treetext.score_value(row) for row in ordered[-6:-1])
    return f"{earlier} → {treetext.score(ordered[-1])}"


def output(row: r.OutputRow, cuts: Cuts = SHORT) -> str:
    """Return the line of a result."""
    summary = f": {text.printable(row.summary, cuts.columns(60))}" if row.summary else ""
    kind = text.printable(row.kind, _NAME)
    checked = treetext.validation(row, cuts)
    name = text.printable(row.output_id, cuts.columns(60))
    return f"- gave {kind} {name}{f' ({checked})' if checked else ''}{summary}"


def _event(row: r.EventRow, cuts: Cuts) -> str:
    said = text.printable(row.message, cuts.columns(WIDTH))
    data = treetext.details(row, cuts)
    return f"- {text.printable(row.level, 20)}: {said}{f'  {data}' if data else ''}"


def _failed(span: r.SpanRow, cuts: Cuts) -> str:
    said = treetext.failure(span.error, cuts)
    about = f"{span.kind} {span.name}{f': {said}' if said else ''}"
    return text.printable(about, cuts.columns(WIDTH))


def _unfinished(span: r.SpanRow, cuts: Cuts) -> str:
    how = "still running" if span.status == "running" else "unfinished"
    given = treetext.given(span.input, cuts)
    about = f"{span.kind} {span.name or '(no name)'}{f'  {given}' if given else ''}"
    return f"- {how}: {text.printable(about, cuts.columns(WIDTH))}"


def _aligned(*cells: tuple[str, int]) -> str:
    """Return cells side by side, each filled to its width; an empty column is left out."""
    return "  ".join(text.pad(cell, width) for cell, width in cells if cell or width).rstrip()


def first(items: Sequence[T], count: int) -> list[T]:
    """Return the first so many items."""
    return list(items[:count])


def _last(items: Sequence[T], count: int) -> T | None:
    return items[min(count, len(items)) - 1] if items else None


def more(
    items: Sequence[object], shown: int, word: str, indent: str = "  ", words: str | None = None
) -> list[str]:
    """Return a line that counts what was not shown; none if nothing was left out."""
    rest = len(items) - shown
    return (
        [f"{indent}and {text.counted(rest, f'more {word}', words and f'more {words}')}"]
        if rest > 0
        else []
    )


def listed(head: str, names: str, cuts: Cuts = SHORT) -> list[str]:
    """Return names in at most three lines unless all are wanted, those below indented."""
    lines = text.wrapped(names, WIDTH - len(head), cuts.lines(3))
    return [head + lines[0], *(" " * len(head) + line for line in lines[1:])]


def _widest(cells: Iterable[str], most: int | None = None) -> int:
    """Return the width of a column: of its widest cell, but not more than `most`."""
    wide = max(map(text.columns, cells), default=0)
    return wide if most is None else min(wide, most)
