"""How a comparison reads on a terminal: where the runs part, what differs, the totals.

Comes in: a `Comparison`. Goes out: printable lines. Steps that do not differ are counted and not
listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from whence.query import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from whence.query.compare import Comparison
    from whence.query.compared import DecisionChange, Delta, Divergence, Pair
    from whence.store import rows as r

_SIDE = 70
_STEPS = 40
_LISTED = 6
_SAID = {
    "step": "only one run has this",
    "what": "decided something else",
    "call": "called with something else",
    "output": "gave something else",
    "status": "ended differently",
}


def lines_of(comparison: Comparison) -> list[str]:
    """Return the lines of a comparison."""
    lines = ["# Compared", f"a  {_run(comparison.a)}", f"b  {_run(comparison.b)}", ""]
    parting = comparison.first_divergence
    lines += _parting(parting) if parting else ["The runs decided, called and produced the same."]
    differing = [pair for pair in comparison.pairs if pair.differs]
    for pair in differing[:_STEPS]:
        lines += ["", *_step(pair)]
    if len(differing) > _STEPS:
        lines.append(f"and {len(differing) - _STEPS:,} more steps that differ")
    same = len(comparison.pairs) - len(differing)
    if same:
        lines += ["", f"{same:,} of {len(comparison.pairs):,} steps do not differ."]
    return [*lines, "", *_totals(comparison)]


def _run(run: r.RunRow) -> str:
    name = text.printable(run.name or "(no name)", 40)
    known_as = f"{text.printable(run.external_id, 40)} = {run.id}" if run.external_id else run.id
    return f"{name} · {run.status} · {text.began(run.started_ns)} · {known_as}"


def _parting(parting: Divergence) -> list[str]:
    place = text.printable(parting.path, 60) or "the run itself"
    what = text.printable(f"{parting.table.removesuffix('s').replace('_', ' ')} {parting.name}", 60)
    return [
        f"## They part first at {place}: {what}: {_SAID[parting.aspect]}",
        *(
            f"  {name}  {_side(value, some)}"
            for name, value, some in (
                ("a", parting.a, parting.id_a),
                ("b", parting.b, parting.id_b),
            )
        ),
    ]


def _side(value: Any, row_id: str | None) -> str:
    return "(not there)" if row_id is None else text.printable(value, _SIDE)


def _step(pair: Pair) -> list[str]:
    name = text.printable(pair.path, 60) or "the run itself"
    if pair.in_a != pair.in_b:
        return [
            f"## {name}",
            f"- only in {'a' if pair.in_a else 'b'}: {text.printable(pair.kind, 20)}",
        ]
    lines = [f"{text.pad(f'## {name}', 48)}  {_times(pair)}".rstrip()]
    if pair.status[0] != pair.status[1]:
        lines.append(f"- status {pair.status[0]} → {pair.status[1]}")
    lines += [line for change in pair.decisions for line in _decision(change)]
    moved = [score for score in pair.scores if score.value.difference != 0]
    wide = max((text.columns(text.printable(score.name, 28)) for score in moved), default=0)
    for score in moved:
        lines.append(
            f"- scored {text.pad(text.printable(score.name, 28), wide)}  "
            f"{_change(score.value, text.number, text.signed)}"
        )
    lines += _sources("a", pair.sources_only_in_a)
    return [*lines, *_sources("b", pair.sources_only_in_b)]


def _times(pair: Pair) -> str:
    if pair.duration_ms.difference is None:
        return ""
    return f"{text.duration(pair.duration_ms.a)} → {text.duration(pair.duration_ms.b)}"


def _decision(change: DecisionChange) -> list[str]:
    name = text.printable(change.name, 40)
    a, b = change.a, change.b
    if a is None or b is None:
        taken, side = (a, "a") if a is not None else (b, "b")
        what = text.printable(taken.what if taken else None, _SIDE)
        return [f"- decided {name} only in {side}: {what}"]
    lines = [f"- decided {name}"]
    if "what" in change.changed:
        lines += [
            f"    a  {text.printable(a.what, _SIDE)}",
            f"    b  {text.printable(b.what, _SIDE)}",
        ]
    if "confidence" in change.changed:
        lines.append(f"    confidence {_change(change.confidence, text.share, text.signed)}")
    if "options" in change.changed:
        names = [{str(option.get("name")) for option in row.options} for row in (a, b)]
        gone, new = sorted(names[0] - names[1]), sorted(names[1] - names[0])
        said = [f"only in a: {', '.join(gone)}"] if gone else []
        said += [f"only in b: {', '.join(new)}"] if new else []
        lines.append(f"    options {text.printable('; '.join(said) or 'weighed differently', 90)}")
    return lines


def _sources(side: str, rows: list[r.SourceRow]) -> list[str]:
    if not rows:
        return []
    names = [text.printable(row.title or row.source_key, 40) for row in rows[:_LISTED]]
    more = f" and {len(rows) - _LISTED:,} more" if len(rows) > _LISTED else ""
    return [f"- sources only in {side}: {', '.join(names)}{more}"]


def _change(
    delta: Delta,
    show: Callable[[float | None], str],
    show_difference: Callable[[float | None], str],
) -> str:
    difference = "" if delta.difference is None else f"  ({show_difference(delta.difference)})"
    return f"{show(delta.a)} → {show(delta.b)}{difference}"


def _totals(comparison: Comparison) -> list[str]:
    deltas = comparison.deltas
    figures = [
        ("duration", deltas.duration_ms, text.duration),
        ("cost", deltas.cost_usd, text.money),
        ("input tokens", deltas.input_tokens, text.number),
        ("output tokens", deltas.output_tokens, text.number),
    ]
    body = [
        [name, show(delta.a), show(delta.b), _plus(delta.difference) + show(delta.difference)]
        for name, delta, show in figures
        if delta.a is not None or delta.b is not None
    ]
    body += [
        [
            f"score {text.printable(name, 28)}",
            text.number(delta.a),
            text.number(delta.b),
            text.signed(delta.difference),
        ]
        for name, delta in deltas.scores.items()
    ]
    if deltas.quality is not None:
        body.append(["quality (mean of scores)", "", "", text.signed(deltas.quality)])
    return (
        text.table(["total", "a", "b", "b - a"], body, right=frozenset({1, 2, 3})) if body else []
    )


def _plus(difference: float | None) -> str:
    return "+" if difference is not None and difference > 0 else ""
