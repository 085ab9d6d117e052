"""Five ways in which model calls are wasteful, each with the calls that show it.

Duplicate requests, retry storms, deep request chains, circular dependencies and expensive tasks.
What they are and from where on they count is document 2's (token provenance); `Thresholds` holds
its numbers, which may be changed. What a duplicate cost is counted with the costs that are known;
where none is known, nothing is said of money.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from whence.analysis import evidence, graph
from whence.analysis.finding import Finding
from whence.query import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from whence.analysis.facts import Call, Edge, Facts, Group

_SECOND_NS = 1_000_000_000


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """From where on something is a finding, and how much a finding names."""

    duplicates: int = 2
    """Fewest calls with the same input hash."""
    retries: int = 2
    """A request with more retries than this, retries of retries included, is a storm."""
    depth: int = 5
    """A request deeper than this is at the end of a deep chain."""
    mean_cost_usd: float = 1.0
    """A type of task whose calls cost more than this on average is expensive."""
    cached_duplicates: int = 3
    """Fewest calls with the same input hash for which caching is advised."""
    small_tokens: int = 500
    """Below so many tokens on average a type of task is simple."""
    expensive_models: tuple[str, ...] = ("gpt-4", "gpt-4-32k", "claude-3-opus")
    """Models too good for simple tasks."""
    model_share: float = 0.7
    """Share of the cost that another model would save."""
    flat_savings: float = 0.2
    """What flattening a workflow is held to save: a constant of the document, no sum of money."""
    prompt_tokens: int = 1000
    """Above so many tokens on average a prompt template is long."""
    prompt_share: float = 0.3
    """Share of the cost that a shorter template would save."""
    fan_out: int = 3
    """A request that more than so many others wait for is a bottleneck."""
    named: int = 1000
    """Most requests and records that one finding names; its figures count all of them."""
    findings: int = 1000
    """Most findings of one kind, the worst ones."""


DEFAULT = Thresholds()


def find_all(facts: Facts, limits: Thresholds = DEFAULT) -> list[Finding]:
    """Return what all five patterns find, pattern by pattern, the worst of each first."""
    return [
        *duplicates(facts, limits),
        *retry_storms(facts, limits),
        *deep_chains(facts, limits),
        *rings(facts, limits),
        *expensive_tasks(facts, limits),
    ]


def duplicates(facts: Facts, limits: Thresholds = DEFAULT) -> list[Finding]:
    """Return groups of calls that share an input hash.

    All but one of them were for nothing: total cost x (n - 1) / n.
    """
    groups = repeated(facts, limits.duplicates)[: limits.findings]
    calls = facts.members("input_hash", [group.key[0] for group in groups], limits.named)
    return [_duplicate(group, calls[group.key[0]]) for group in groups]


def repeated(facts: Facts, min_calls: int) -> list[Group]:
    """Return groups of calls with the same input hash, those that wasted most first."""
    groups = facts.groups(("input_hash",), min_calls=min_calls)
    return sorted(
        (group for group in groups if group.key[0] is not None),
        key=lambda group: -(spare(group, group.cost_usd) or 0.0),
    )


def spare(group: Group, total: float | None) -> float | None:
    """Return what all calls of a group but one took of a total."""
    return None if total is None else total * (group.calls - 1) / group.calls


def _duplicate(group: Group, calls: list[Call]) -> Finding:
    digest = group.key[0]
    lost_ms = spare(group, group.duration_ms)
    return _shown_by(
        calls,
        kind="duplicate_requests",
        severity="high",
        summary=f"{group.calls:,} requests had the same input",
        advice="Keep the answer to this input and give it again.",
        figures={
            "input_hash": digest,
            "requests": group.calls,
            "total_cost_usd": group.cost_usd,
            "total_tokens": group.tokens,
            "agent_types": _distinct(calls, "agent_type"),
            "task_types": _distinct(calls, "task_type"),
            "first_ns": group.first_ns,
            "last_ns": group.last_ns,
        },
        recoverable_usd=spare(group, group.cost_usd),
        recoverable_s=None if lost_ms is None else lost_ms / 1000,
        query=evidence.calls_with("input_hash", digest, _ids(calls)),
    )


def _shown_by(calls: Sequence[Call], **said: Any) -> Finding:
    """Return a finding about the requests of some calls, which are its evidence."""
    return Finding(subjects=[call.request for call in calls], evidence=_ids(calls), **said)


def _ids(calls: Sequence[Call]) -> list[str]:
    return [call.id for call in calls]


def _distinct(calls: Sequence[Call], field: str) -> list[Any]:
    return list(
        dict.fromkeys(value for call in calls if (value := getattr(call, field)) is not None)
    )


def retry_storms(facts: Facts, limits: Thresholds = DEFAULT) -> list[Finding]:
    """Return requests that were tried again too often.

    Retries of retries count, each once; so the second request of a long chain of retries may be the
    original of a storm as well.
    """
    edges = facts.edges(("retry_of",))
    later, earlier = graph.adjacency((edge.source, edge.target) for edge in edges)
    counts = _count_retries(later, earlier)
    worst = sorted(
        ((count, original) for original, count in counts.items() if count > limits.retries),
        key=lambda pair: (-pair[0], pair[1]),
    )[: limits.findings]
    by_target: dict[str, list[Edge]] = {}
    for edge in edges if worst else ():
        by_target.setdefault(edge.target, []).append(edge)
    shown = {
        original: list(graph.reachable(later, original, enough=limits.named))[: limits.named - 1]
        for _, original in worst
    }
    calls = facts.named({retry for retries in shown.values() for retry in retries})
    return [_storm(original, count, shown[original], by_target, calls) for count, original in worst]


def _count_retries(later: graph.Adjacency, earlier: graph.Adjacency) -> dict[str, int]:
    """Return for each request that was tried again how many retries came of it.

    Where every request is a retry of one other at most, as nearly always, a sum over the tree says
    it; elsewhere each one's retries are walked.
    """
    if all(len(sources) == 1 for sources in earlier.values()):
        order = graph.components(later)  # each after all that it leads to
        if all(len(component) == 1 for component in order):
            counts: dict[str, int] = {}
            for (node,) in order:
                counts[node] = sum(1 + counts[retry] for retry in later.get(node, ()))
            return {node: counts[node] for node in later}
    return {node: len(graph.reachable(later, node)) for node in later}


def _storm(
    original: str,
    count: int,
    shown: list[str],
    by_target: dict[str, list[Edge]],
    known: dict[str, Call],
) -> Finding:
    ids = [edge.id for retry in shown for edge in by_target.get(retry, ())]
    calls = sorted(
        (known[retry] for retry in shown if retry in known), key=lambda call: (call.ts_ns, call.id)
    )
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    return Finding(
        kind="retry_storm",
        severity="high",
        summary=f"request {text.printable(original, 80)} was tried again {count:,} times",
        advice="Find out why it fails, and stop trying after a few failures.",
        subjects=[original, *shown],
        evidence=ids,
        figures={
            "original_request": original,
            "retries": count,
            "intervals_s": [
                (after.ts_ns - before.ts_ns) / _SECOND_NS for before, after in pairwise(calls)
            ],
            "agent_types": _distinct(calls, "agent_type"),
            "error_types": dict(Counter(call.error_type for call in calls if call.error_type)),
            "retries_cost_usd": math.fsum(costs) if costs else None,
        },
        query=evidence.links_of(ids),
    )


def deep_chains(facts: Facts, limits: Thresholds = DEFAULT) -> list[Finding]:
    """Return chains of requests that are too long, by the request they began with.

    The stated depth counts; where none is stated, the longest way over links to the request.
    """
    deep = limits.depth
    spread: dict[str, Counter[int]] = {}
    for group in facts.groups(("root", "depth"), deeper_than=deep):
        root, depth = group.key
        spread.setdefault(root or "", Counter())[depth] += group.calls
    worst = sorted(spread, key=lambda root: (-max(spread[root]), root))[: limits.findings]
    members = facts.members(
        "root", [root or None for root in worst], limits.named, deeper_than=deep
    )
    found = [_chain(root, members[root or None], spread[root], deep, stated=True) for root in worst]
    linked = _linked_chains(facts, limits)
    return sorted(
        [*found, *linked], key=lambda one: (-one.figures["max_depth"], one.figures["root_request"])
    )[: limits.findings]


def _linked_chains(facts: Facts, limits: Thresholds) -> list[Finding]:
    """Return chains of requests that state no depth, from the links between them."""
    edges = facts.chains(limits.depth)
    if not edges:
        return []
    later, _ = graph.adjacency((edge.source, edge.target) for edge in edges)
    ways = {node: way for node, way in graph.ways(later).items() if way[0] > limits.depth}
    calls = [call for call in facts.named(ways).values() if call.depth is None]
    by_root: dict[str, list[Call]] = {}
    for call in sorted(calls, key=lambda call: (call.ts_ns, call.id)):
        by_root.setdefault(ways[call.request][1], []).append(call)
    return [
        _chain(
            root,
            members[: limits.named],
            Counter(ways[call.request][0] for call in members),
            limits.depth,
            stated=False,
        )
        for root, members in by_root.items()
    ]


def _chain(
    root: str, calls: list[Call], spread: Counter[int], deep: int, *, stated: bool
) -> Finding:
    ids = _ids(calls)
    return _shown_by(
        calls,
        kind="deep_request_chain",
        severity="medium",
        summary=f"the chain of requests from {text.printable(root, 80) or '(no root)'} "
        f"is {max(spread)} deep",
        advice="Make the chain shorter, or do several of its requests in one.",
        figures={
            "root_request": root,
            "max_depth": max(spread),
            "depth_distribution": dict(sorted(spread.items())),
            "requests": spread.total(),
        },
        query=evidence.calls_with("root", root, ids, deeper_than=deep)
        if stated and root
        else evidence.calls_of(ids),
    )


def rings(facts: Facts, limits: Thresholds = DEFAULT) -> list[Finding]:
    """Return requests that lead back to themselves, one ring for each knot of them.

    Whence refuses such a link when it is declared; links that came from elsewhere, or that several
    processes declared, may form one all the same.
    """
    edges = facts.knots()
    later, _ = graph.adjacency((edge.source, edge.target) for edge in edges)
    found = graph.rings(later)[: limits.findings]
    ids: dict[tuple[str, str], str] = {}
    for edge in edges if found else ():
        ids.setdefault((edge.source, edge.target), edge.id)
    return [_ring(ring, ids, limits.named) for ring in found]


def _ring(ring: list[str], ids: dict[tuple[str, str], str], named: int) -> Finding:
    shown = ring[:named]
    links = [ids[pair] for pair in pairwise([*ring, ring[0]])][:named]
    path = " → ".join(text.printable(one, 40) for one in [*ring[:6], *(["…"] if ring[6:] else [])])
    return Finding(
        kind="circular_dependency",
        severity="critical",
        summary=f"requests lead back to themselves: {path} → {text.printable(ring[0], 40)}",
        advice="Find out which of these links is wrong; an effect cannot come before its cause.",
        subjects=shown,
        evidence=links,
        figures={"cycle_start": ring[0], "cycle_path": [*shown, ring[0]], "requests": len(ring)},
        query=evidence.links_of(links),
    )


def expensive_tasks(facts: Facts, limits: Thresholds = DEFAULT) -> list[Finding]:
    """Return types of task that cost too much on average, over the calls that have a cost."""
    groups = [
        group
        for group in facts.groups(("task_type",))
        if (group.mean_cost_usd or 0.0) > limits.mean_cost_usd
    ]
    groups.sort(key=lambda group: -(group.mean_cost_usd or 0.0))
    del groups[limits.findings :]
    names = [group.key[0] for group in groups]
    calls = facts.members("task_type", names, limits.named)
    return [_expensive(group, calls[group.key[0]]) for group in groups]


def _expensive(group: Group, calls: list[Call]) -> Finding:
    task_type = group.key[0]
    ids = _ids(calls)
    shown = "calls without a type of task" if task_type is None else text.printable(task_type, 80)
    return _shown_by(
        calls,
        kind="expensive_task_pattern",
        severity="medium",
        summary=f"{shown}: {text.money(group.mean_cost_usd)} a request on average",
        advice="See whether a cheaper model can do this type of task.",
        figures={
            "task_type": task_type,
            "mean_cost_usd": group.mean_cost_usd,
            "total_cost_usd": group.cost_usd,
            "requests": group.calls,
            "models": _distinct(calls, "model"),
        },
        query=evidence.calls_of(ids)
        if task_type is None
        else evidence.calls_with("task_type", task_type, ids),
    )
