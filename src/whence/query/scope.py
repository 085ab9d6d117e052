"""What of a run belongs to the chain behind one thing in it.

Comes in: the run's tree and the thing. Goes out: the spans and records that may have led to it. For
a run that is everything. For an output, or anything else recorded at a moment, only what came
before it counts:

- what was recorded before it in the spans around it, and at the run itself;
- the spans that began before it in the span it was recorded in, with what was recorded inside them
  before it;
- beside each span around it, the spans that had ended when that span began. Spans that ran at the
  same time, as branches of a parallel run do, are no part of the chain, since nothing says that
  they led to it.

For a span the moment is its beginning, and everything inside it belongs to the chain too. What
judges the thing afterwards (scores and remarks that name it) is kept apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from whence.query.tree import SpanNode
from whence.store import rows as r

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whence.query.tree import RunTree


class Scope(msgspec.Struct, frozen=True):
    """The part of a run that belongs to a chain."""

    spans: dict[str, SpanNode]
    """Spans by id, in order of their place in the tree."""
    records: list[r.PointRow]
    """Records in order of time."""
    until_ns: int | None
    """The moment up to which the run counts, Unix nanoseconds; None for all of it."""
    parents: dict[str, str]
    """Span id to the id of the span around it, of the whole run."""

    def path(self, span_id: str | None) -> list[SpanNode]:
        """Return the spans of the chain around a record in `span_id`, the outermost first."""
        path: list[SpanNode] = []
        while span_id is not None:
            node = self.spans.get(span_id)
            if node is not None:
                path.append(node)
            span_id = self.parents.get(span_id)
        return path[::-1]


def of_run(tree: RunTree) -> Scope:
    """Return all of a run."""
    spans = {node.row.id: node for node in tree.iter_spans()}
    return Scope(spans, list(tree.iter_records()), None, _parents(tree))


def before(tree: RunTree, row: r.SpanRow | r.PointRow) -> Scope:
    """Return what came before a span or record, and what is inside the span; see the module."""
    parents = _parents(tree)
    nodes = {node.row.id: node for node in tree.iter_spans()}
    inside: dict[str, SpanNode] = {}
    if isinstance(row, r.SpanRow):
        until_ns = row.started_ns
        inside = {node.row.id: node for node in nodes[row.id].iter_spans()}
        around = parents.get(row.id)
    else:
        until_ns = row.ts_ns
        around = row.span if row.span in nodes else None
    path = _upwards(around, parents)
    taken: dict[str, SpanNode] = {}
    # Innermost first: the limit at each level is the beginning of the span around the level below.
    limit_ns, is_innermost = until_ns, not inside
    for holder in [*path, None]:
        siblings = tree.spans if holder is None else nodes[holder].children
        for sibling in siblings:
            began = sibling.row.started_ns <= limit_ns
            if (
                began
                and (is_innermost or _end_ns(sibling) <= limit_ns)
                and sibling.row.id not in path
            ):
                taken |= {
                    node.row.id: node
                    for node in sibling.iter_spans()
                    if node.row.started_ns <= until_ns
                }
        if holder is not None:
            taken[holder] = nodes[holder]
            limit_ns, is_innermost = nodes[holder].row.started_ns, False
    taken |= inside
    spans = {key: node for key, node in nodes.items() if key in taken}
    records = [
        record
        for record in tree.iter_records()
        if (record.span in inside)
        or (record.ts_ns <= until_ns and (record.span in spans or record.span not in nodes))
    ]
    return Scope(spans, _not_after(records, row), until_ns, parents)


def _not_after(records: list[r.PointRow], row: r.SpanRow | r.PointRow) -> list[r.PointRow]:
    # Two records may have the same time; their ids are in the order in which they were made.
    if isinstance(row, r.SpanRow):
        return records
    return [record for record in records if (record.ts_ns, record.id) <= (row.ts_ns, row.id)]


def _parents(tree: RunTree) -> dict[str, str]:
    return {child.row.id: node.row.id for node in tree.iter_spans() for child in node.children}


def _upwards(span_id: str | None, parents: dict[str, str]) -> list[str]:
    path: list[str] = []
    while span_id is not None:
        path.append(span_id)
        span_id = parents.get(span_id)
    return path


def _end_ns(node: SpanNode) -> int:
    """Return when a span ended; of one that never did, when the last thing in it happened."""
    if node.row.ended_ns is not None:
        return node.row.ended_ns
    return max(_moments(node.iter_spans()))


def _moments(nodes: Iterable[SpanNode]) -> Iterable[int]:
    for node in nodes:
        yield node.row.ended_ns or node.row.started_ns
        yield from (record.ts_ns for record in node.records)
