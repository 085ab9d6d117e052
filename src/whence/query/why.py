"""The reasoning chain behind an output, typed: what was decided, instead of what, on what evidence.

Comes in: any id. Goes out: a `Why`: the thing, its run, the stages that led to it in order, what it
came from over links, what judged it afterwards, and what is known to be missing. Nothing is
concluded here that is not in the records: every entry is a row, and what belongs to the chain is
decided by one rule, see `whence.query.scope`. How it reads is decided by `whence.query.whytext`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from whence import _clock
from whence.query import brevity, chain, find, lineage, restore, scope, text, tree, whytext
from whence.query.chain import Choice, Evidence, Stage
from whence.query.lineage import Edge
from whence.store import rows as r
from whence.store.base import Order, Store
from whence.store.failures import Failures
from whence.store.predicate import Compare, FieldRef

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LINK_DEPTH = 4
"""How many links back a chain goes: what an earlier attempt's earlier attempt came from is asked of
`lineage`."""


class Ancestor(msgspec.Struct, frozen=True):
    """Something earlier that the chain came from: over a link, or as the parent run."""

    id: str
    """Its id."""
    label: str
    """What it is, on one printable line."""
    edge: Edge
    """The link that leads from it."""
    target_label: str
    """What the link leads to, on one printable line."""
    distance: int
    """How many links away it is, from 1."""
    run: str | None
    """Id of its run; None if nothing in this store has the id."""


class Totals(msgspec.Struct, frozen=True):
    """What the chain consists of and what it cost; null where nobody stated a figure."""

    duration_ms: float | None
    """From the beginning of the run to the thing, or to the run's end."""
    cost_usd: float | None
    """Sum of the costs that are known."""
    input_tokens: int | None
    """Sum of the input tokens that were stated."""
    output_tokens: int | None
    """Sum of the output tokens that were stated."""
    decisions: int
    """How many decisions."""
    generations: int
    """How many model calls."""
    tool_calls: int
    """How many tool calls."""
    sources_kept: int
    """How many sources were kept."""
    sources_dropped: int
    """How many were dropped."""
    retries: int
    """How often something was tried again; a retry that is told twice counts once."""
    errors: int
    """How many model calls and tool calls ended in error, and spans that hold no such call."""
    unpriced_calls: int
    """How many model calls have no cost: `cost_usd` is the sum of the others."""


class Why(msgspec.Struct, frozen=True):
    """The reasoning chain behind one thing. `print(why)` reads it out."""

    id: str
    """The id that was asked about."""
    table: str
    """What it is about: `outputs`, `runs`, `spans`, `decisions` or another table."""
    subject: r.Row
    """The thing: an output, a run, a span or a record."""
    run: r.RunRow
    """Its run."""
    outputs: list[r.OutputRow]
    """The output, or all outputs of the run or span."""
    stages: list[Stage]
    """What led to it, in order; see `Stage`."""
    ancestors: list[Ancestor]
    """What it came from over links, the nearest first."""
    verdicts: list[r.ScoreRow]
    """Scores that name it and were made after it."""
    remarks: list[r.AnnotationRow]
    """Flags and other remarks on it, on its run, or on what is in the chain."""
    gaps: list[r.GapRow]
    """Records of the run that are known to be lost, and losses of its time that no run can be
    blamed for."""
    totals: Totals
    """Figures of the chain."""

    @property
    def decisions(self) -> list[Choice]:
        """All decisions of the chain, in order."""
        return [choice for stage in self.stages for choice in stage.decisions]

    @property
    def factors(self) -> list[r.FactorRow]:
        """All factors of the chain that weigh on no decision in particular, in order."""
        return [factor for stage in self.stages for factor in stage.factors]

    @property
    def sources(self) -> Evidence:
        """The evidence of the whole chain."""
        return chain.evidence(
            [
                row
                for stage in self.stages
                for row in (*stage.evidence.kept, *stage.evidence.dropped)
            ]
        )

    @property
    def generations(self) -> list[r.GenerationRow]:
        """All model calls of the chain, in order."""
        return [row for stage in self.stages for row in stage.generations]

    @property
    def tool_calls(self) -> list[r.ToolCallRow]:
        """All tool calls of the chain, in order."""
        return [row for stage in self.stages for row in stage.tool_calls]

    @property
    def scores(self) -> list[r.ScoreRow]:
        """All scores of the chain, in order, then those made afterwards."""
        return [*(row for stage in self.stages for row in stage.scores), *self.verdicts]

    @property
    def flags(self) -> list[r.AnnotationRow]:
        """The remarks that flag something for review."""
        return [remark for remark in self.remarks if remark.flag]

    def to_dict(self) -> dict[str, Any]:
        """Return the chain as JSON-ready data."""
        return {
            "id": restore.to_json(self.id),
            "table": self.table,
            "subject": restore.to_plain(self.subject),
            "run": restore.to_plain(self.run),
            "outputs": [restore.to_plain(row) for row in self.outputs],
            "stages": [chain.to_dict(stage) for stage in self.stages],
            "ancestors": [restore.to_plain(ancestor) for ancestor in self.ancestors],
            "verdicts": [restore.to_plain(row) for row in self.verdicts],
            "remarks": [restore.to_plain(row) for row in self.remarks],
            "gaps": [restore.to_plain(row) for row in self.gaps],
            "totals": restore.to_plain(self.totals, sparse=False),
        }

    def to_text(self, *, full: bool = False, whole_texts: bool = False) -> str:
        """Return the chain as text for a terminal, in the form of a short markdown document.

        Args:
            full: Show all of it: every item of every list, and every text whole.
            whole_texts: Show texts whole, and of long lists the first items.
        """
        cuts = brevity.of(full=full, whole_texts=whole_texts)
        return "\n".join(whytext.lines_of(self, cuts))

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return text.pre(self.to_text())


def explain(store: Store, get_blob: restore.GetBlob, any_id: str) -> Why:
    """Return the reasoning chain behind what `any_id` stands for.

    Of a run everything counts. Of an output, a span or a record only what came before it counts:
    see `whence.query.scope`.

    Raises:
        NotFoundError: Nothing has that id, or several runs begin with it.
    """
    found = find.find(store, any_id)
    whole = tree.build(found.rows, get_blob)
    subject = _subject(whole, found)
    part = (
        scope.before(whole, subject)
        if isinstance(subject, (r.SpanRow, r.PointRow))
        else scope.of_run(whole)
    )
    names = lineage.Names(store, found)
    ancestors = _ancestors(store, names, found, part, whole.run)
    cited = {ancestor.edge.source for ancestor in ancestors if ancestor.distance == 1}
    stages = chain.stages_of(part, subject, cited)
    shown = {record.id for record in part.records}
    known_ids = {
        *found.ids,
        *part.spans,
        *shown,
        whole.run.id,
        *filter(None, [whole.run.external_id]),
    }
    return Why(
        id=any_id,
        table=found.table,
        subject=subject,
        run=whole.run,
        outputs=_outputs(subject, part),
        stages=stages,
        # What the chain shows is not shown again as something it came from.
        ancestors=[one for one in ancestors if one.id not in shown],
        verdicts=[] if part.until_ns is None else _verdicts(whole, found, part),
        remarks=[remark for remark in whole.annotations if remark.target in known_ids],
        gaps=[*whole.gaps, *_loose_gaps(store, whole.run)],
        totals=_totals(whole.run, part, stages, _retried(whole, part, ancestors)),
    )


def _subject(whole: tree.RunTree, found: find.Found) -> r.Row:
    """Return the thing that was found, restored."""
    rows = cast("Sequence[r.Row]", whole.tables[found.table])
    return next(row for row in rows if row.id == found.row.id)


def _outputs(subject: r.Row, part: scope.Scope) -> list[r.OutputRow]:
    if isinstance(subject, r.OutputRow):
        return [subject]
    if not isinstance(subject, (r.RunRow, r.SpanRow)):
        return []
    inside = [record for record in part.records if isinstance(record, r.OutputRow)]
    if isinstance(subject, r.RunRow):
        return inside
    within = {node.row.id for node in part.spans[subject.id].iter_spans()}
    return [record for record in inside if record.span in within]


def _ancestors(
    store: Store, names: lineage.Names, found: find.Found, part: scope.Scope, run: r.RunRow
) -> list[Ancestor]:
    start = dict.fromkeys(names.node_id(one) for one in (*found.ids, *part.spans, run.id))
    distances: dict[str, int] = {}
    edges: dict[str, Edge] = {}
    lineage.walk(store, names, start, LINK_DEPTH, forward=False, distances=distances, edges=edges)
    parent = run.parent_run
    if parent:
        source = names.node_id(parent)
        edges["parent"] = Edge(source, run.id, "part_of", "")
        distances.setdefault(source, -1)
    ancestors: list[Ancestor] = []
    for edge in edges.values():
        # A link between two spans of the chain says something too: that one retried the other.
        distance = -distances.get(edge.source, -1)
        node = names.node(edge.source, distance)
        if edge.target not in start and edge.target not in distances:
            continue
        ancestors.append(
            Ancestor(node.id, node.label, edge, names.label(edge.target), distance, node.run)
        )
    return sorted(ancestors, key=lambda one: one.distance)


def _verdicts(whole: tree.RunTree, found: find.Found, part: scope.Scope) -> list[r.ScoreRow]:
    known = {record.id for record in part.records}
    return [score for score in whole.scores if score.target in found.ids and score.id not in known]


def _loose_gaps(store: Store, run: r.RunRow) -> Iterable[r.GapRow]:
    """Yield losses that no run can be blamed for and that may have happened while this one ran."""
    if not _clock.is_dated(run.started_ns):
        return
    rows = store.select("gaps", Compare(FieldRef("run"), "=", ""), Order("ts_ns", descending=False))
    for gap in cast("list[r.GapRow]", rows):
        begins = gap.ts_ns if gap.since_ns is None else gap.since_ns
        if gap.ts_ns >= run.started_ns and (run.ended_ns is None or begins <= run.ended_ns):
            yield gap


def _totals(run: r.RunRow, part: scope.Scope, stages: list[Stage], retried: set[str]) -> Totals:
    calls = [row for stage in stages for row in stage.generations]
    tools = [row for stage in stages for row in stage.tool_calls]
    failures = Failures()
    for call in (*calls, *tools):
        failures.add_call(call.status, call.span)
    for node in part.spans.values():
        if node.row.ended_ns is not None:
            failures.add_end(node.row.status, node.row.id)
    return Totals(
        duration_ms=_duration_ms(run, part),
        cost_usd=chain.known_sum(row.cost_usd for row in calls),
        input_tokens=chain.known_sum(row.input_tokens for row in calls),
        output_tokens=chain.known_sum(row.output_tokens for row in calls),
        decisions=sum(len(stage.decisions) for stage in stages),
        generations=len(calls),
        tool_calls=len(tools),
        sources_kept=sum(len(stage.evidence.kept) for stage in stages),
        sources_dropped=sum(len(stage.evidence.dropped) for stage in stages),
        retries=_retries(calls, tools, retried),
        errors=failures.count,
        unpriced_calls=sum(row.cost_usd is None for row in calls),
    )


def _duration_ms(run: r.RunRow, part: scope.Scope) -> float | None:
    """Return how long the chain took; None where the times of a run only tell an order."""
    if part.until_ns is None:
        return run.duration_ms
    if not _clock.is_dated(run.started_ns):
        return None
    last_ns = max([part.until_ns, *(record.ts_ns for record in part.records)])
    return (last_ns - run.started_ns) / 1e6


def _retried(whole: tree.RunTree, part: scope.Scope, ancestors: list[Ancestor]) -> set[str]:
    """Return the ids of what links of the chain say was tried again."""
    inside = {*part.spans, *(record.id for record in part.records)}
    own = {link.target for link in whole.links if link.kind == "retry_of"} & inside
    return own | {one.edge.target for one in ancestors if one.edge.kind == "retry_of"}


def _retries(calls: list[r.GenerationRow], tools: list[r.ToolCallRow], linked: set[str]) -> int:
    """Return how often something was tried again.

    A model call with an `attempt` above 1 is one retry, a tool call has as many as its
    `retry_count` says, and whatever a link of kind `retry_of` leads to is one. A link that leads to
    such a call, or to the span it was recorded in, tells the same retry once more.
    """
    again = [call for call in calls if (call.attempt or 1) > 1]
    counted = [tool for tool in tools if tool.retry_count]
    told = {key for call in (*again, *counted) for key in (call.id, call.span)}
    return len(again) + sum(tool.retry_count or 0 for tool in counted) + len(linked - told)
