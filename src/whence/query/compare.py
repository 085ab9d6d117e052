"""Two runs, aligned step by step: what differs, by how much, and where they first part.

Comes in: two run trees. Goes out: a `Comparison`. Spans are the same step when they have the same
name and kind at the same place among their siblings (`whence.query.align`); decisions, calls and
outputs are aligned the same way within their span, together with its children, so that the order of
the comparison is the order in which things happened. All differences are b - a, and null where one
side is unknown.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from whence.query import align, chain, comparetext, restore, text, tree
from whence.query.compared import (
    Aspect,
    DecisionChange,
    Deltas,
    Divergence,
    Pair,
    ScoreDelta,
    delta,
)
from whence.query.tree import RunTree, SpanNode
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

T = TypeVar("T", bound=r.PointRow)

_ALIGNED = (r.DecisionRow, r.GenerationRow, r.ToolCallRow, r.OutputRow)
"""What is decided, called and produced; everything else a span holds is compared as a set."""


class Comparison(msgspec.Struct, frozen=True):
    """How run `b` differs from run `a`."""

    a: r.RunRow
    """The first run."""
    b: r.RunRow
    """The second run."""
    first_divergence: Divergence | None
    """Where they first part; None if they decided, called and produced the same."""
    pairs: list[Pair]
    """All steps in order, the runs themselves first."""
    deltas: Deltas
    """The runs as a whole."""

    @property
    def decisions(self) -> list[DecisionChange]:
        """All decisions that differ, in order."""
        return [change for pair in self.pairs for change in pair.decisions]

    @property
    def sources_only_in_a(self) -> list[r.SourceRow]:
        """Sources that the first run kept in a step and the second did not."""
        return [row for pair in self.pairs for row in pair.sources_only_in_a]

    @property
    def sources_only_in_b(self) -> list[r.SourceRow]:
        """Sources that the second run kept in a step and the first did not."""
        return [row for pair in self.pairs for row in pair.sources_only_in_b]

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as JSON-ready data."""
        return {
            "a": restore.to_plain(self.a),
            "b": restore.to_plain(self.b),
            "first_divergence": None
            if self.first_divergence is None
            else restore.to_plain(self.first_divergence, sparse=False),
            "deltas": restore.to_plain(self.deltas, sparse=False),
            "pairs": [restore.to_plain(pair) for pair in self.pairs],
        }

    def to_text(self) -> str:
        """Return what differs as text for a terminal."""
        return "\n".join(comparetext.lines_of(self))

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return text.pre(self.to_text())


class _Side(msgspec.Struct, frozen=True):
    """One step of one run: what is directly in it."""

    span: r.SpanRow | None
    children: list[SpanNode]
    records: list[r.PointRow]


def compare(a: RunTree, b: RunTree) -> Comparison:
    """Return how run `b` differs from run `a`."""
    pairs: list[Pair] = []
    partings: list[Divergence] = []
    # What is still to be compared, the next last: a run may nest deeper than the stack.
    stack: list[tuple[str, _Side | None, _Side | None] | Divergence] = [
        ("", _of_run(a), _of_run(b))
    ]
    while stack:
        item = stack.pop()
        if isinstance(item, Divergence):
            partings.append(item)
            continue
        path, left, right = item
        pairs.append(_pair(path, left, right, a.run, b.run))
        if left is not None and right is not None:
            stack.extend(reversed(_inside(path, left, right)))
    whole = pairs[0]
    if not partings and whole.status[0] != whole.status[1]:
        partings.append(
            Divergence("", "runs", a.run.name, "status", *whole.status, a.run.id, b.run.id)
        )
    return Comparison(a.run, b.run, partings[0] if partings else None, pairs, _deltas(a, b))


def _of_run(whole: RunTree) -> _Side:
    return _Side(None, whole.spans, whole.records)


def _of_span(node: SpanNode) -> _Side:
    return _Side(node.row, node.children, node.records)


def _inside(
    path: str, left: _Side, right: _Side
) -> list[tuple[str, _Side | None, _Side | None] | Divergence]:
    """Return what is directly in a step of both runs: steps to compare, places of parting."""
    first, second = _items(left), _items(right)
    found: list[tuple[str, _Side | None, _Side | None] | Divergence] = []
    for i, j in align.align([_key(item) for item in first], [_key(item) for item in second]):
        one = first[i] if i is not None else None
        other = second[j] if j is not None else None
        some = one or other
        if isinstance(some, SpanNode):
            place = f"{path} / {some.row.name}" if path else some.row.name
            sides = [
                _of_span(item) if isinstance(item, SpanNode) else None for item in (one, other)
            ]
            if one is None or other is None:
                found.append(_missing(path, one, other))
            found.append((place, sides[0], sides[1]))
        else:
            parting = (
                _missing(path, one, other)
                if one is None or other is None
                else _parting(path, one, other)
            )
            found += [parting] if parting else []
    one_span, other_span = left.span, right.span
    if one_span is not None and other_span is not None and one_span.status != other_span.status:
        statuses = (one_span.status, other_span.status)
        found.append(
            Divergence(
                path, "spans", one_span.name, "status", *statuses, one_span.id, other_span.id
            )
        )
    return found


def _items(side: _Side) -> list[Any]:
    items: list[Any] = [
        *side.children,
        *(record for record in side.records if isinstance(record, _ALIGNED)),
    ]
    return sorted(
        items, key=lambda item: item.row.started_ns if isinstance(item, SpanNode) else item.ts_ns
    )


def _key(item: Any) -> Hashable:
    match item:
        case SpanNode():
            return ("spans", item.row.kind, item.row.name)
        case r.DecisionRow() | r.GenerationRow():
            return (tree.table_of(item), item.name)
        case r.ToolCallRow():
            return ("tool_calls", item.tool_name)
        case _:
            return ("outputs", item.kind)


def _name(item: Any) -> str:
    match item:
        case SpanNode():
            return item.row.name
        case r.ToolCallRow():
            return item.tool_name
        case r.OutputRow():
            return item.output_id
        case _:
            return item.name or getattr(item, "model", None) or ""


def _missing(path: str, one: Any, other: Any) -> Divergence:
    some = one or other
    rows = [item.row if isinstance(item, SpanNode) else item for item in (one, other)]
    shown = [None if row is None else _gist(row) for row in rows]
    ids = [None if row is None else row.id for row in rows]
    return Divergence(
        path,
        tree.table_of(rows[0] or rows[1]),
        _name(some),
        "step",
        shown[0],
        shown[1],
        ids[0],
        ids[1],
    )


def _gist(row: Any) -> Any:
    match row:
        case r.DecisionRow():
            return row.what
        case r.GenerationRow():
            return row.model
        case r.ToolCallRow():
            return row.input
        case r.OutputRow():
            return row.summary or row.value
        case _:
            return row.name


def _parting(path: str, one: Any, other: Any) -> Divergence | None:
    """Return how two aligned records differ, None if they decided, called or produced the same."""
    aspects: list[tuple[Aspect, str]]
    match one:
        case r.DecisionRow():
            aspects = [("what", "what")]
        case r.GenerationRow():
            aspects = [
                ("call", "model"),
                ("call", "messages"),
                ("call", "parameters"),
                ("output", "output"),
                ("status", "status"),
            ]
        case r.ToolCallRow():
            aspects = [("call", "input"), ("output", "output"), ("status", "status")]
        case _:
            aspects = [("output", "value"), ("output", "summary"), ("output", "digest")]
    for aspect, field in aspects:
        left, right = getattr(one, field), getattr(other, field)
        # As JSON, in which not-a-number equals itself.
        if restore.to_json(left) != restore.to_json(right):
            return Divergence(
                path, tree.table_of(one), _name(one), aspect, left, right, one.id, other.id
            )
    return None


def _pair(
    path: str, left: _Side | None, right: _Side | None, run_a: r.RunRow, run_b: r.RunRow
) -> Pair:
    some = left or right
    span = some.span if some else None
    rows = [
        None if side is None else side.span or run for side, run in ((left, run_a), (right, run_b))
    ]
    calls = [_of_type(side, r.GenerationRow) for side in (left, right)]
    kept = [[row for row in _of_type(side, r.SourceRow) if row.kept] for side in (left, right)]
    keys = [{(row.source_type, row.source_key) for row in side} for side in kept]
    # The runs themselves have totals of everything in them.
    sums = [
        delta(*(_total(one, row, name) for one, row in zip(calls, rows, strict=True)))
        for name in ("cost_usd", "input_tokens", "output_tokens")
    ]
    return Pair(
        path=path,
        name=span.name if span else run_a.name,
        kind=span.kind if span else "run",
        a=left.span if left else None,
        b=right.span if right else None,
        in_a=left is not None,
        in_b=right is not None,
        status=(rows[0].status if rows[0] else None, rows[1].status if rows[1] else None),
        duration_ms=delta(*(row.duration_ms if row else None for row in rows)),
        cost_usd=sums[0],
        input_tokens=sums[1],
        output_tokens=sums[2],
        decisions=_decisions(path, _of_type(left, r.DecisionRow), _of_type(right, r.DecisionRow)),
        scores=_scores(path, _of_type(left, r.ScoreRow), _of_type(right, r.ScoreRow)),
        sources_only_in_a=[
            row for row in kept[0] if (row.source_type, row.source_key) not in keys[1]
        ],
        sources_only_in_b=[
            row for row in kept[1] if (row.source_type, row.source_key) not in keys[0]
        ],
    )


def _of_type(side: _Side | None, kind: type[T]) -> list[T]:
    return [] if side is None else [row for row in side.records if isinstance(row, kind)]


def _total(
    calls: Sequence[r.GenerationRow], row: r.RunRow | r.SpanRow | None, name: str
) -> float | None:
    return (
        getattr(row, name)
        if isinstance(row, r.RunRow)
        else chain.known_sum(getattr(call, name) for call in calls)
    )


def _decisions(path: str, a: list[r.DecisionRow], b: list[r.DecisionRow]) -> list[DecisionChange]:
    changes: list[DecisionChange] = []
    for i, j in align.align([row.name for row in a], [row.name for row in b]):
        one, other = a[i] if i is not None else None, b[j] if j is not None else None
        changed = ["missing"] if one is None or other is None else _changed(one, other)
        if changed:
            name = (one or other or a[0]).name
            sure = delta(one.confidence if one else None, other.confidence if other else None)
            changes.append(DecisionChange(name, path, changed, one, other, sure))
    return changes


def _changed(one: r.DecisionRow, other: r.DecisionRow) -> list[str]:
    return [
        name
        for name in ("what", "confidence", "options")
        if restore.to_json(getattr(one, name)) != restore.to_json(getattr(other, name))
    ]


def _scores(path: str, a: list[r.ScoreRow], b: list[r.ScoreRow]) -> list[ScoreDelta]:
    deltas: list[ScoreDelta] = []
    for i, j in align.align(
        [(row.name, row.iteration) for row in a], [(row.name, row.iteration) for row in b]
    ):
        one, other = a[i] if i is not None else None, b[j] if j is not None else None
        some = one or other or a[0]
        value = delta(one.value if one else None, other.value if other else None)
        passed = (one.passed if one else None, other.passed if other else None)
        deltas.append(ScoreDelta(some.name, path, some.iteration, value, passed))
    return deltas


def _deltas(a: RunTree, b: RunTree) -> Deltas:
    first, second = _means(a.scores), _means(b.scores)
    scores = {name: delta(first.get(name), second.get(name)) for name in {**first, **second}}
    known = [one.difference for one in scores.values() if one.difference is not None]
    runs = (a.run, b.run)
    return Deltas(
        quality=fmean(known) if known else None,
        scores=scores,
        duration_ms=delta(*(run.duration_ms for run in runs)),
        cost_usd=delta(*(run.cost_usd for run in runs)),
        input_tokens=delta(*(run.input_tokens for run in runs)),
        output_tokens=delta(*(run.output_tokens for run in runs)),
    )


def _means(scores: Iterable[r.ScoreRow]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for row in scores:
        if row.value is not None:
            values.setdefault(row.name, []).append(row.value)
    return {name: fmean(found) for name, found in values.items()}
