"""Walks over edges give what a definition by hand gives, and end whatever the edges are."""

from __future__ import annotations

from itertools import pairwise, product

from hypothesis import given
from hypothesis import strategies as st

from whence.analysis import graph

NODES = "abcdef"
EDGES = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), max_size=14)
FORWARD = st.lists(st.tuples(st.sampled_from(NODES), st.sampled_from(NODES)), max_size=14).map(
    lambda edges: [edge for edge in edges if edge[0] < edge[1]]
)


def reaches(edges) -> set[tuple[str, str]]:
    """Return all pairs of which the first leads to the second over one edge or more."""
    pairs = set(edges)
    for middle, first, last in product(NODES, NODES, NODES):
        if (first, middle) in pairs and (middle, last) in pairs:
            pairs.add((first, last))
    return pairs


@given(EDGES)
def test_reachable_is_the_transitive_closure(edges):
    """What is reachable is what some way leads to, but for the start, the nearest first."""
    later, _ = graph.adjacency(edges)
    pairs = reaches(edges)

    for node in NODES:
        found = graph.reachable(later, node)
        assert set(found) == {last for first, last in pairs if first == node} - {node}
        assert list(found.values()) == sorted(found.values())
        assert graph.closure(later, [node]) == {node, *found}
        near = {other: steps for other, steps in found.items() if steps <= 2}
        assert graph.reachable(later, node, 2) == near


@given(EDGES)
def test_a_ring_is_named_exactly_where_a_thing_reaches_itself(edges):
    """Every thing in a ring is in a group with a ring, rings follow edges, and begin smallest."""
    later, _ = graph.adjacency(edges)
    pairs = reaches(edges)
    in_rings = {node for node in NODES if (node, node) in pairs}

    found = graph.rings(later)

    for ring in found:
        assert all(edge in edges for edge in pairwise([*ring, ring[0]]))
        assert len(set(ring)) == len(ring)
        assert ring[0] == min(ring)
    grouped = {
        node for ring in found for node in in_rings if {(node, ring[0]), (ring[0], node)} <= pairs
    }
    assert grouped == in_rings
    assert len({ring[0] for ring in found}) == len(found)


@given(FORWARD)
def test_ways_are_longest_ways_where_there_are_no_rings(edges):
    """A thing is one deeper than the deepest thing that leads to it, from a root that does too."""
    later, earlier = graph.adjacency(edges)
    ways = graph.ways(later)

    for node in {end for edge in edges for end in edge}:
        depth, root = ways[node]
        above = earlier.get(node, ())
        assert depth == max((ways[one][0] + 1 for one in above), default=0)
        assert root in graph.roots(earlier, node)
        assert set(graph.roots(earlier, node)) == {
            one for one in [node, *graph.reachable(earlier, node)] if not earlier.get(one)
        }


@given(EDGES)
def test_everything_in_a_ring_is_equally_deep(edges):
    """Rings make no way endless: what leads to each other has one depth."""
    later, _ = graph.adjacency(edges)
    ways = graph.ways(later)

    for first, last in reaches(edges):
        assert ways[first][0] <= ways[last][0]
    for ring in graph.rings(later):
        assert len({ways[node][0] for node in ring}) == 1


def test_long_chains_take_no_recursion():
    """A chain far longer than the interpreter's stack is walked to its end."""
    chain = [(f"{n:06d}", f"{n + 1:06d}") for n in range(50_000)]
    later, earlier = graph.adjacency([*chain, ("050000", "025000")])

    assert graph.ways(later)["025000"] == (25_000, "000000")
    assert len(graph.reachable(later, "000000")) == 50_000
    assert graph.roots(earlier, "050000") == ["000000"]
    assert [len(ring) for ring in graph.rings(later)] == [25_001]
    assert graph.leads_to(later, "000000", "050000")
    assert not graph.leads_to(later, "050000", "000001")


def test_a_walk_may_end_when_enough_was_found():
    """The caller who needs a few need not wait for all."""
    later, _ = graph.adjacency(pairwise("abcdefgh"))

    assert list(graph.reachable(later, "a", enough=3)) == ["b", "c", "d"]


def test_roots_of_a_lone_ring_are_the_thing_itself():
    """Where every ancestor has ancestors, there is no other root to name."""
    _, earlier = graph.adjacency([("a", "b"), ("b", "a")])

    assert graph.roots(earlier, "a") == ["a"]
    assert graph.roots(earlier, "nowhere") == ["nowhere"]
