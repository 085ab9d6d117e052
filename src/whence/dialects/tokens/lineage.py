"""The requests around one request: what led to it, what it led to, and how.

Comes in: a store, or a graph at hand. Goes out: `Lineage`, flat and as a tree. A store is asked one
question a level, however many requests a level has; a request is expanded once, so that neither a
ring nor many ways to one request make a tree endless.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from whence.analysis import graph
from whence.dialects.tokens import rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from whence.dialects.tokens.relationships import RelationshipGraph
    from whence.query.reader import Reader
    from whence.store import rows as r

Side = Literal["ancestors", "descendants"]
MAX_NESTING = 100
"""Levels of the tree; what lies deeper is in the flat lists only."""


class Lineage(msgspec.Struct, frozen=True):
    """The relationships around one request."""

    request_id: str
    """The request."""
    relationships: list[dict[str, Any]]
    """The edges, as fields of a relationship, in order of time."""
    known: dict[str, rows.Request]
    """The requests of it that were recorded, as far as they were looked up."""
    is_whole: bool
    """Whether all of it is there: no limit was met."""

    def to_dict(self) -> dict[str, Any]:
        """Return ancestors, descendants, roots, depth, rings and the tree as JSON-ready data."""
        later, earlier = graph.adjacency(
            (one["source_request_id"], one["target_request_id"]) for one in self.relationships
        )
        descendants = list(graph.reachable(later, self.request_id))
        above = graph.closure(earlier, [self.request_id])
        upward = {node: [one for one in later.get(node, ()) if one in above] for node in above}
        return {
            "request_id": self.request_id,
            "lineage_tree": {
                "id": self.request_id,
                "ancestors": self._tree("ancestors"),
                "descendants": self._tree("descendants"),
            },
            "ancestors": list(graph.reachable(earlier, self.request_id)),
            "descendants": descendants,
            "total_descendants": len(descendants),
            "root_requests": graph.roots(earlier, self.request_id),
            "depth": graph.ways(upward).get(self.request_id, (0, ""))[0],
            "cycles": graph.rings(later),
            "relationships": self.relationships,
            "complete": self.is_whole,
        }

    def _tree(self, side: Side) -> list[dict[str, Any]]:
        """Return the requests on one side, each with what lies behind it.

        A request that was met before is marked `repeated` and has nothing behind it.
        """
        near, far = ("target_request_id", "source_request_id")
        if side == "descendants":
            near, far = far, near
        steps: dict[str, list[tuple[str, str]]] = {}
        for one in self.relationships:
            steps.setdefault(one[near], []).append((one[far], one["relationship_type"]))
        top: list[dict[str, Any]] = []
        seen = {self.request_id}
        level = [(self.request_id, top)]
        for _ in range(MAX_NESTING):
            below: list[tuple[str, list[dict[str, Any]]]] = []
            for request_id, children in level:
                for other, kind in steps.get(request_id, ()):
                    node: dict[str, Any] = {"id": other, "relationship": kind, side: []}
                    if other in seen:
                        node["repeated"] = True
                    else:
                        seen.add(other)
                        below.append((other, node[side]))
                    children.append(node)
            level = below
        return top


def from_graph(relationships: RelationshipGraph, request_id: str, max_depth: int | None) -> Lineage:
    """Return the lineage of a request in a graph at hand."""
    kept = {
        request_id,
        *relationships.ancestors(request_id, max_depth),
        *relationships.descendants(request_id, max_depth),
    }
    edges = [
        one.to_dict()
        for one in relationships
        if one.source_request_id in kept and one.target_request_id in kept
    ]
    return Lineage(request_id, edges, {}, is_whole=True)


def from_store(reader: Reader, request_id: str, max_depth: int | None, most: int) -> Lineage:
    """Return the lineage of a request as it was recorded, by whatever process.

    Args:
        reader: An open reader.
        request_id: The request's id, or its run's.
        max_depth: How many edges to follow to either side; None for all.
        most: About how many requests to follow to either side.

    Raises:
        StoreError: The store cannot be read.
    """
    walk = _Walk(reader)
    start = walk.names([request_id])[0]
    is_whole = [walk.go(start, max_depth, most, forward=forward) for forward in (False, True)]
    ordered = sorted(walk.edges.values(), key=lambda edge: (edge[2].ts_ns, edge[2].id))
    edges = [rows.relationship(source, target, link) for source, target, link in ordered]
    return Lineage(start, edges, walk.known, all(is_whole))


class _Walk:
    """Links read level by level.

    They may name a request by its own id or by its run's, which mean the same request here.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._names: dict[str, str] = {}
        self._aliases: dict[str, set[str]] = {}
        self.known: dict[str, rows.Request] = {}
        self.edges: dict[str, tuple[str, str, r.LinkRow]] = {}

    def go(self, start: str, max_depth: int | None, most: int, *, forward: bool) -> bool:
        """Follow links from `start`; return whether they ended before a limit did."""
        seen, frontier, depth = {start}, [start], 0
        while frontier:
            if (max_depth is not None and depth >= max_depth) or len(seen) > most:
                return False
            depth += 1
            aliases = [name for node in frontier for name in self._aliases[node]]
            links = cast("list[r.LinkRow]", self._reader.store.edges(aliases, forward=forward))
            self.names(end for link in links for end in (link.source, link.target))
            reached: dict[str, None] = {}
            for link in sorted(links, key=lambda one: (one.ts_ns, one.id)):
                source, target = self._names[link.source], self._names[link.target]
                self.edges[f"{link.run}/{link.id}"] = (source, target, link)
                reached[target if forward else source] = None
            frontier = [node for node in reached if node not in seen]
            seen.update(frontier)
        return True

    def names(self, ids: Iterable[str]) -> list[str]:
        """Return the requests that ids stand for, all looked up together."""
        given = list(ids)
        fresh = [one for one in dict.fromkeys(given) if one not in self._names]
        found = rows.requests_of(self._reader, fresh) if fresh else {}
        for any_id, request in found.items():
            self._names[any_id] = request.id
            self._aliases.setdefault(request.id, {request.id}).update((any_id, request.run.id))
            self.known[request.id] = request
        for any_id in fresh:
            name = self._names.setdefault(any_id, any_id)
            self._aliases.setdefault(name, {name}).add(any_id)
        return [self._names[one] for one in given]
