"""Walks over edges from earlier to later things, none of which a ring can trap.

Comes in: for each id the ids that edges lead to. Goes out: what is reachable, roots, the longest
way to a thing, and rings. Every id is visited once and nothing recurses, so neither a ring, which
imported links may hold, nor a chain of any length is trouble.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

Adjacency = Mapping[str, Collection[str]]
"""Id to the ids that its edges lead to; an id without edges may be missing."""


def adjacency(
    edges: Iterable[tuple[str, str]],
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Return what is later than each id and what is earlier, each neighbour once."""
    later: dict[str, dict[str, None]] = {}
    earlier: dict[str, dict[str, None]] = {}
    for source, target in edges:
        later.setdefault(source, {})[target] = None
        earlier.setdefault(target, {})[source] = None
    return (
        {node: list(targets) for node, targets in later.items()},
        {node: list(sources) for node, sources in earlier.items()},
    )


def reachable(
    steps: Adjacency, start: str, max_depth: int | None = None, enough: int | None = None
) -> dict[str, int]:
    """Return what can be reached from `start` and over how many edges, the nearest first.

    `start` itself is not in it, even where a ring leads back to it. The walk ends after `max_depth`
    edges, or when `enough` things were found.
    """
    distances: dict[str, int] = {start: 0}
    frontier, depth = [start], 0
    while (
        frontier
        and (max_depth is None or depth < max_depth)
        and (enough is None or len(distances) <= enough)
    ):
        depth += 1
        frontier = list(
            dict.fromkeys(
                target
                for node in frontier
                for target in steps.get(node, ())
                if target not in distances
            )
        )
        distances.update(dict.fromkeys(frontier, depth))
    del distances[start]
    return distances


def closure(steps: Adjacency, starts: Iterable[str]) -> set[str]:
    """Return the starts and all that can be reached from any of them."""
    seen = set(starts)
    waiting = list(seen)
    while waiting:
        fresh = [target for target in steps.get(waiting.pop(), ()) if target not in seen]
        seen.update(fresh)
        waiting += fresh
    return seen


def leads_to(steps: Adjacency, start: str, goal: str) -> bool:
    """Whether edges lead from `start` to `goal`; a thing leads to itself."""
    seen, waiting = {start}, [start]
    while waiting:
        node = waiting.pop()
        if node == goal:
            return True
        fresh = [target for target in steps.get(node, ()) if target not in seen]
        seen.update(fresh)
        waiting += fresh
    return False


def roots(earlier: Adjacency, node: str) -> list[str]:
    """Return the ancestors of `node` that have none themselves, the nearest first.

    It is its own root if it has no ancestors, or if all of them are in a ring.
    """
    found = [one for one in reachable(earlier, node) if not earlier.get(one)]
    return found or [node]


def components(later: Adjacency) -> list[list[str]]:
    """Return the strongly connected components, each after all that it leads to.

    Source: Tarjan (1972), Depth-first search and linear graph algorithms; without recursion.
    """
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: dict[str, None] = {}
    found: list[list[str]] = []
    for root in list(later):
        if root in number:
            continue
        number[root] = low[root] = len(number)
        open_nodes[root] = None
        path = [(root, iter(later.get(root, ())))]
        while path:
            node, targets = path[-1]
            target = next(targets, None)
            if target is None:
                path.pop()
                if path:
                    above = path[-1][0]
                    low[above] = min(low[above], low[node])
                if low[node] == number[node]:
                    component: list[str] = []
                    while not component or component[-1] != node:
                        component.append(open_nodes.popitem()[0])
                    found.append(component[::-1])
            elif target not in number:
                number[target] = low[target] = len(number)
                open_nodes[target] = None
                path.append((target, iter(later.get(target, ()))))
            elif target in open_nodes:
                low[node] = min(low[node], number[target])
    return found


def rings(later: Adjacency) -> list[list[str]]:
    """Return one ring for each group of things that lead to each other, in the order of its edges.

    It is a shortest ring through the group's smallest id, and begins there.
    """
    found: list[list[str]] = []
    for component in components(later):
        first = min(component)
        if len(component) > 1 or first in later.get(first, ()):
            found.append(_shortest_ring(later, first))
    return sorted(found)


def _shortest_ring(later: Adjacency, first: str) -> list[str]:
    came_from: dict[str, str] = {}
    frontier = [first]
    while first not in came_from:
        reached: list[str] = []
        for node in frontier:
            for target in later.get(node, ()):
                if target not in came_from:
                    came_from[target] = node
                    reached.append(target)
        frontier = reached
    ring = [came_from[first]]
    while ring[-1] != first:
        ring.append(came_from[ring[-1]])
    return ring[::-1]


def ways(later: Adjacency) -> dict[str, tuple[int, str]]:
    """Return for every id the length of the longest way to it, in edges, and where it begins.

    Things in one ring count as one, so all of them are equally deep. Source: document 2 (token
    provenance): 1 + the depth of the deepest ancestor.
    """
    order = components(later)
    group = {node: index for index, component in enumerate(order) for node in component}
    found = [(0, min(component)) for component in order]
    for index in range(len(order) - 1, -1, -1):
        depth, root = found[index]
        for node in order[index]:
            for target in later.get(node, ()):
                inner = group[target]
                if inner != index and depth >= found[inner][0]:
                    found[inner] = (depth + 1, root)
    return {node: found[index] for node, index in group.items()}
