"""How one stage of a reasoning chain reads, and what is listed elsewhere in a chain as it is there.

Comes in: a `Stage`. Goes out: printable lines that say in this order what it decided and instead of
what, what weighed, which evidence it used and dropped, what it called, and how it was judged. What
is long is cut and counted, and a failure that a call tells is not told again of the call's span.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from whence.query import chain, text, treetext
from whence.store.failures import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
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


def lines_of(stage: Stage, told: AbstractSet[str]) -> list[str]:
    """Return the lines below the heading of a stage.

    Args:
        stage: The stage.
        told: Ids of the outputs that the chain has named already.
    """
    lines = [line for choice in stage.decisions[:_CHOICES] for line in _choice(choice)]
    lines += more(stage.decisions, _CHOICES, "decision")
    lines += _factors(stage.factors, "")
    lines += _evidence(stage.evidence)
    lines += _calls(stage.generations)
    lines += _tools(stage.tool_calls)
    lines += [f"- {treetext.describe(row, WIDTH)}" for row in stage.transformations]
    lines += scores(stage.scores)
    lines += [output(row) for row in stage.outputs if row.id not in told]
    lines += [
        f"- {row.level}: {text.printable(row.message, WIDTH)}"
        for row in first(stage.events, _CALLS)
    ]
    lines += more(stage.events, _CALLS, "logged problem")
    failed = _failures(stage)
    lines += [f"- failed: {_failed(span)}" for span in first(failed, _CALLS)]
    lines += more(failed, _CALLS, "failed span")
    if not lines and stage.span is not None:
        return [output(row) for row in stage.outputs]
    return lines


def _failures(stage: Stage) -> list[r.SpanRow]:
    """Return the spans whose failure no call in them tells."""
    calls = (*stage.generations, *stage.tool_calls)
    told = {(call.span, treetext.failure(call.error)) for call in calls if call.status == FAILED}
    return [span for span in stage.failures if (span.id, treetext.failure(span.error)) not in told]


def _choice(choice: Choice) -> list[str]:
    row = choice.decision
    sure = [] if row.confidence is None else [f"confidence {text.share(row.confidence)}"]
    sure += [f"by {text.printable(row.made_by, 30)}"] if row.made_by else []
    lines = [f"- decided {text.printable(row.name, 40)}: {_chosen(row.what)}"]
    if sure:
        lines[0] = f"{text.pad(lines[0], 66)}  {', '.join(sure)}"
    if row.why:
        lines += [f"  {line}" for line in text.wrapped(row.why, WIDTH - 2, 3)]
    return [*lines, *_options(choice.not_taken), *_factors(choice.factors, "  ")]


def _chosen(what: object) -> str:
    # A choice of several things reads better as their names than as JSON.
    return text.printable(_joined(what) or what, 70)


def _joined(what: object) -> str:
    several = cast("list[object]", what) if isinstance(what, list) else []
    names = [one for one in several if isinstance(one, str)]
    return ", ".join(names) if len(names) == len(several) else ""


def _options(options: Sequence[dict[str, Any]]) -> list[str]:
    shown = first(options, _OPTIONS)
    names = [text.printable(option.get("name"), _NAME) for option in shown]
    figures = ["  ".join(_option_figures(option)) for option in shown]
    wide, long = _widest(names), _widest(figures)
    reasons = [text.printable(option.get("reason_rejected") or "", 70) for option in shown]
    lines = [
        "    not " + _aligned((name, wide), (figure, long), (reason, 0))
        for name, figure, reason in zip(names, figures, reasons, strict=True)
    ]
    return [*lines, *more(options, _OPTIONS, "option", "    ")]


def _option_figures(option: dict[str, Any]) -> list[str]:
    return [
        f"{sign} {text.share(value) if key == 'probability' else text.number(value)}"
        for sign, key in (("p", "probability"), ("score", "score"))
        if isinstance(value := option.get(key), (int, float))
    ]


def _factors(factors: Sequence[r.FactorRow], indent: str) -> list[str]:
    shown = first(factors, _FACTORS)
    names = [text.printable(row.name, _NAME) for row in shown]
    figures = [text.printable(treetext.factor(row), 44) for row in shown]
    wide, long = _widest(names), _widest(figures)
    lines = [
        f"{indent}- weighed "
        + _aligned((name, wide), (figure, long), (text.printable(row.reasoning, 50), 0))
        for name, figure, row in zip(names, figures, shown, strict=True)
    ]
    return [*lines, *more(factors, _FACTORS, "factor", f"{indent}  ")]


def _evidence(found: Evidence) -> list[str]:
    kept, dropped = found.kept, found.dropped
    if not kept and not dropped:
        return []
    used = f", {found.records_used:,} records used" if found.records_used else ""
    lines = [f"- sources: kept {len(kept):,} of {len(kept) + len(dropped):,}{used}"]
    shown = [
        *((row, "+") for row in first(kept, _KEPT)),
        *((row, "-") for row in first(dropped, _DROPPED)),
    ]
    names = [text.printable(row.title or row.source_key, 40) for row, _ in shown]
    wide = _widest(names)
    for (row, sign), name in zip(shown, names, strict=True):
        cited = " (cited)" if row.id in found.cited else ""
        quality = "" if row.quality is None else f"quality {text.share(row.quality)}  "
        about = quality + text.printable(row.reason or "", 56 - len(cited) - len(quality)) + cited
        lines.append(f"    {sign} {text.pad(name, wide)}  {about}".rstrip())
        if sign == "+" and row is _last(kept, _KEPT):
            lines += more(kept, _KEPT, "source kept", "    + ", "sources kept")
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
    shown = first(calls, _CALLS)
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
        failed = [row for row in rest if row.status != "ok"]
        wrong = f", {len(failed):,} of them failed" if failed else ""
        tokens = "" if given is None and got is None else f", {treetext.tokens(given, got)}"
        lines.append(f"  and {text.counted(len(rest), 'more call', 'more calls')}{tokens}{wrong}")
        lines += _said(failed)
    return [line.rstrip() for line in lines]


def _tools(tools: Sequence[r.ToolCallRow]) -> list[str]:
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
        lines.append(f"- used {text.printable(name, 40)}  {' · '.join(facts)}".rstrip())
        lines += _said(failed)
    return lines


def _said(failed: Sequence[r.GenerationRow | r.ToolCallRow]) -> list[str]:
    """Return what failed calls say, the most frequent first."""
    said = Counter(text.printable(treetext.failure(row.error) or row.status, 80) for row in failed)
    lines = [
        f"    {what}{f' ({count:,}x)' if count > 1 else ''}"
        for what, count in said.most_common(_FAILURES)
    ]
    return [*lines, *more(list(said), _FAILURES, "failure", "    ")]


def scores(judged: Sequence[r.ScoreRow]) -> list[str]:
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
    shown = first(ordered, _SCORES)
    names = [text.printable(name, _NAME) for name, _ in shown]
    figures = [_trail(rows) for _, rows in shown]
    wide, long = _widest(names), _widest(figures)
    lines = [
        "- scored "
        + _aligned((name, wide), (figure, long), (text.printable(rows[-1].feedback, 50), 0))
        for name, figure, (_, rows) in zip(names, figures, shown, strict=True)
    ]
    lines += more(ordered, _SCORES, "score")
    if passed:
        names_passed = ", ".join(
            f"{text.printable(name, _NAME)} {text.number(rows[0].value)}"
            for name, rows in passed.items()
        )
        lines += listed(f"- passed {len(passed):,}: ", names_passed)
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


def output(row: r.OutputRow) -> str:
    """Return the line of a result."""
    summary = f": {text.printable(row.summary, 60)}" if row.summary else ""
    kind = text.printable(row.kind, _NAME)
    return f"- gave {kind} {text.printable(row.output_id, 60)}{summary}"


def _failed(span: r.SpanRow) -> str:
    said = treetext.failure(span.error)
    return text.printable(f"{span.kind} {span.name}{f': {said}' if said else ''}", WIDTH)


def _short(figure: str) -> str:
    return text.printable(figure, 60)


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


def listed(head: str, names: str) -> list[str]:
    """Return names in at most three lines, those below indented to the first."""
    lines = text.wrapped(names, WIDTH - len(head), 3)
    return [head + lines[0], *(" " * len(head) + line for line in lines[1:])]


def _widest(cells: Iterable[str], measure: Callable[[str], int] = text.columns) -> int:
    return max(map(measure, cells), default=0)
