"""Two runs, aligned step by step: what differs, by how much, and where they first part.

Comes in: two run trees. Goes out: a `Comparison`. Spans are the same step when they have the same name and kind at the same place among their
siblings (`whence.query.align`); decisions, calls and outputs are aligned the same way within their span, together with its children, so that
the order of the comparison is the order in which things happened. All differences are b - a, and null where one side is unknown.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from whence.query import align, comparetext, restore, text, tree
from whence.store import rows as r

if TYPE_CHECKING:
    from whence.query.tree import RunTree, SpanNode

_ALIGNED = (r.DecisionRow, r.GenerationRow, r.ToolCallRow, r.OutputRow)
"""What is decided, called and produced; everything else a span holds is compared as a set."""


class Delta(msgspec.Struct, frozen=True):
    """A number in both runs."""

    a: float | None
    """In the first run."""
    b: float | None
    """In the second run."""
    difference: float | None
    """b - a; null if either is unknown."""


class DecisionChange(msgspec.Struct, frozen=True):
    """A decision that differs, or that only one run took."""

    name: str
    """The question that was decided."""
    path: str
    """Where: the names of the spans around it."""
    changed: list[str]
    """What differs: `what`, `confidence`, `options`; `missing` if only one run took it."""
    a: r.DecisionRow | None
    """In the first run."""
    b: r.DecisionRow | None
    """In the second run."""
    confidence: Delta
    """Its confidence in both."""


class ScoreDelta(msgspec.Struct, frozen=True):
    """A score in both runs, or in one."""

    name: str
    """What was judged."""
    path: str
    """Where: the names of the spans around it."""
    iteration: int | None
    """Which round of a retry loop."""
    value: Delta
    """The values."""
    passed: tuple[bool | None, bool | None]
    """Whether it passed, in the first and in the second run."""


class Pair(msgspec.Struct, frozen=True):
    """One step: a span of each run, or of one; the runs themselves at the outermost level."""

    path: str
    """Names of the spans from the outermost to this one; empty for the runs themselves."""
    name: str
    """Name of the step."""
    kind: str
    """Kind of the span; `run` for the runs themselves."""
    a: r.SpanRow | None
    """The span of the first run."""
    b: r.SpanRow | None
    """The span of the second run."""
    in_a: bool
    """Whether the first run took this step."""
    in_b: bool
    """Whether the second run took it."""
    status: tuple[str | None, str | None]
    """Status in the first and in the second run."""
    duration_ms: Delta
    """Lengths in milliseconds."""
    cost_usd: Delta
    """Costs of the model calls recorded in it, without those of spans inside it."""
    input_tokens: Delta
    """Input tokens, likewise."""
    output_tokens: Delta
    """Output tokens, likewise."""
    decisions: list[DecisionChange]
    """Decisions that differ."""
    scores: list[ScoreDelta]
    """Scores of either run."""
    sources_only_in_a: list[r.SourceRow]
    """Sources kept in the first run only."""
    sources_only_in_b: list[r.SourceRow]
    """Sources kept in the second run only."""

    @property
    def differs(self) -> bool:
        """Whether anything but times, costs and tokens differs."""
        moved = any(score.value.difference != 0 for score in self.scores)
        sources = self.sources_only_in_a or self.sources_only_in_b
        return bool(self.in_a != self.in_b or self.status[0] != self.status[1] or self.decisions or moved or sources)


Aspect = Literal["step", "what", "call", "output", "status"]


class Divergence(msgspec.Struct, frozen=True):
    """The earliest place where the runs decided, called or produced something different."""

    path: str
    """Where: the names of the spans around it; empty for the runs themselves."""
    table: str
    """Table of what differs: `spans`, `decisions`, `generations`, `tool_calls`, `outputs`."""
    name: str
    """Name of what differs."""
    aspect: Aspect
    """How: a `step` that one run did not take, `what` was decided, what was given to a `call`, its `output`, a `status`."""
    a: Any
    """In the first run; null if it has no such thing."""
    b: Any
    """In the second run; null if it has no such thing."""
    id_a: str | None
    """Id of the row in the first run."""
    id_b: str | None
    """Id of the row in the second run."""


class Deltas(msgspec.Struct, frozen=True):
    """The runs as a whole."""

    quality: float | None
    """Mean difference of the scores that both runs have, over their names; null without any."""
    scores: dict[str, Delta]
    """Mean value of the scores by name."""
    duration_ms: Delta
    """Lengths in milliseconds."""
    cost_usd: Delta
    """Costs."""
    input_tokens: Delta
    """Input tokens."""
    output_tokens: Delta
    """Output tokens."""


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
            "first_divergence": None if self.first_divergence is None else restore.to_plain(self.first_divergence, sparse=False),
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
    # What is still to be compared, the next last; not by recursion, since runs nest as deep as they like.
    stack: list[tuple[str, _Side | None, _Side | None] | Divergence] = [("", _of_run(a), _of_run(b))]
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
        partings.append(Divergence("", "runs", a.run.name, "status", *whole.status, a.run.id, b.run.id))
    return Comparison(a.run, b.run, partings[0] if partings else None, pairs, _deltas(a, b))


def _of_run(whole: RunTree) -> _Side:
    return _Side(None, whole.spans, whole.records)


def _of_span(node: SpanNode) -> _Side:
    return _Side(node.row, node.children, node.records)


def _inside(path: str, left: _Side, right: _Side) -> list[tuple[str, _Side | None, _Side | None] | Divergence]:
    """Return what is directly in a step of both runs, aligned: steps to compare, and where the runs part."""
    first, second = _items(left), _items(right)
    found: list[tuple[str, _Side | None, _Side | None] | Divergence] = []
    for i, j in align.align([_key(item) for item in first], [_key(item) for item in second]):
        one = first[i] if i is not None else None
        other = second[j] if j is not None else None
        some = one or other
        if isinstance(some, tree.SpanNode):
            place = f"{path} / {some.row.name}" if path else some.row.name
            sides = [_of_span(item) if isinstance(item, tree.SpanNode) else None for item in (one, other)]
            if one is None or other is None:
                found.append(_missing(path, one, other))
            found.append((place, sides[0], sides[1]))
        else:
            parting = _missing(path, one, other) if one is None or other is None else _parting(path, one, other)
            found += [parting] if parting else []
    one_span, other_span = left.span, right.span
    if one_span is not None and other_span is not None and one_span.status != other_span.status:
        statuses = (one_span.status, other_span.status)
        found.append(Divergence(path, "spans", one_span.name, "status", *statuses, one_span.id, other_span.id))
    return found


def _items(side: _Side) -> list[Any]:
    items: list[Any] = [*side.children, *(record for record in side.records if isinstance(record, _ALIGNED))]
    return sorted(items, key=lambda item: item.row.started_ns if isinstance(item, tree.SpanNode) else item.ts_ns)


def _key(item: Any) -> Hashable:
    match item:
        case tree.SpanNode():
            return ("spans", item.row.kind, item.row.name)
        case r.DecisionRow() | r.GenerationRow():
            return (tree.table_of(item), item.name)
        case r.ToolCallRow():
            return ("tool_calls", item.tool_name)
        case _:
            return ("outputs", item.kind)


def _name(item: Any) -> str:
    match item:
        case tree.SpanNode():
            return item.row.name
        case r.ToolCallRow():
            return item.tool_name
        case r.OutputRow():
            return item.output_id
        case _:
            return item.name or getattr(item, "model", None) or ""


def _missing(path: str, one: Any, other: Any) -> Divergence:
    some = one or other
    rows = [item.row if isinstance(item, tree.SpanNode) else item for item in (one, other)]
    shown = [None if row is None else _gist(row) for row in rows]
    ids = [None if row is None else row.id for row in rows]
    return Divergence(path, tree.table_of(rows[0] or rows[1]), _name(some), "step", shown[0], shown[1], ids[0], ids[1])


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
            aspects = [("call", "model"), ("call", "messages"), ("call", "parameters"), ("output", "output"), ("status", "status")]
        case r.ToolCallRow():
            aspects = [("call", "input"), ("output", "output"), ("status", "status")]
        case _:
            aspects = [("output", "value"), ("output", "summary"), ("output", "digest")]
    for aspect, field in aspects:
        left, right = getattr(one, field), getattr(other, field)
        # As JSON, in which not-a-number equals itself.
        if restore.to_json(left) != restore.to_json(right):
            return Divergence(path, tree.table_of(one), _name(one), aspect, left, right, one.id, other.id)
    return None


def _pair(path: str, left: _Side | None, right: _Side | None, run_a: r.RunRow, run_b: r.RunRow) -> Pair:
    some = left or right
    span = some.span if some else None
    rows = [None if side is None else side.span or run for side, run in ((left, run_a), (right, run_b))]
    calls = [_of_type(side, r.GenerationRow) for side in (left, right)]
    kept = [[row for row in _of_type(side, r.SourceRow) if row.kept] for side in (left, right)]
    keys = [{(row.source_type, row.source_key) for row in side} for side in kept]
    # The runs themselves have totals of everything in them.
    sums = [
        Delta_(*(_total(one, row, name) for one, row in zip(calls, rows, strict=True)))
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
        duration_ms=Delta_(*(row.duration_ms if row else None for row in rows)),
        cost_usd=sums[0],
        input_tokens=sums[1],
        output_tokens=sums[2],
        decisions=_decisions(path, _of_type(left, r.DecisionRow), _of_type(right, r.DecisionRow)),
        scores=_scores(path, _of_type(left, r.ScoreRow), _of_type(right, r.ScoreRow)),
        sources_only_in_a=[row for row in kept[0] if (row.source_type, row.source_key) not in keys[1]],
        sources_only_in_b=[row for row in kept[1] if (row.source_type, row.source_key) not in keys[0]],
    )
