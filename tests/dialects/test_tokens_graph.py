"""Relationships point from the earlier request to the later, and their graph holds no surprise.

Source of the rules: document 2 (token provenance).
"""

from __future__ import annotations

import shutil
import subprocess
from itertools import pairwise

import dotlanguage
import pytest
from hypothesis import given
from hypothesis import strategies as st

import whence
from whence.tokens import (
    PERSISTED_RELATIONSHIP_TYPES,
    RELATIONSHIP_TYPES,
    ProvenanceRelationship,
    RelationshipGraph,
)

LABELS = [
    "triggered",
    "part of",
    "derived",
    "retry",
    "fallback",
    "enhanced",
    "validates",
    "continues",
]


def edge(source: str, target: str, kind: str = "triggered_by") -> ProvenanceRelationship:
    return ProvenanceRelationship(
        source_request_id=source, target_request_id=target, relationship_type=kind
    )


def graph_of(*edges: tuple[str, str]) -> RelationshipGraph:
    return RelationshipGraph(edge(*one) for one in edges)


def test_there_are_eight_types_and_a_second_vocabulary():
    """Both are accepted, anything else is not valid."""
    assert len(RELATIONSHIP_TYPES) == 8
    assert len(PERSISTED_RELATIONSHIP_TYPES) == 6
    for kind in {*RELATIONSHIP_TYPES, *PERSISTED_RELATIONSHIP_TYPES}:
        assert edge("a", "b", kind).validate() == []
    assert edge("a", "b", "cousin_of").validate() == ["invalid relationship type"]
    assert edge("a", "a").validate() == ["source and target cannot be the same"]


def test_a_relationship_is_made_with_defaults():
    """With an id of its own, a time, and metadata that are its own."""
    made = edge("a", "b")

    assert made.id.startswith("rel_")
    assert made.metadata == {}
    assert made.to_dict()["source_request_id"] == "a"
    assert made.id != edge("a", "b").id


def test_rows_of_the_second_vocabulary_are_read():
    """Parent and child, the earlier first; derived unless it says otherwise."""
    made = ProvenanceRelationship.from_persisted(
        {"parent_request_id": "a", "child_request_id": "b", "sequence_number": 3}
    )
    other = ProvenanceRelationship.from_persisted(
        {"parent_request_id": "a", "child_request_id": "b", "relationship_type": "cached_from"}
    )

    assert (made.source_request_id, made.target_request_id) == ("a", "b")
    assert made.relationship_type == "derived_from"
    assert made.metadata == {"sequence_number": 3}
    assert other.relationship_type == "cached_from"


@pytest.mark.parametrize("kind", RELATIONSHIP_TYPES)
def test_for_every_type_the_source_is_the_ancestor(kind):
    """Also for `retry_of`, which reads the other way round: the original leads to the retry."""
    graph = RelationshipGraph()

    graph.add(edge("original", "later", kind))

    assert graph.ancestors("later") == ["original"]
    assert graph.descendants("original") == ["later"]
    assert graph.roots("later") == ["original"]
    assert (graph.depth("original"), graph.depth("later")) == (0, 1)


def test_depth_is_the_longest_way():
    """One more than the deepest ancestor's."""
    graph = graph_of(*pairwise("abcd"), ("a", "d"))

    assert [graph.depth(node) for node in "abcd"] == [0, 1, 2, 3]
    assert graph.depth("nowhere") == 0


def test_walks_may_be_limited():
    """By the number of edges."""
    graph = graph_of(*pairwise("abcde"))

    assert graph.descendants("a", max_depth=2) == ["b", "c"]
    assert graph.ancestors("e", max_depth=1) == ["d"]
    assert graph.ancestors("e", max_depth=0) == []


def test_several_roots_are_all_named():
    """Ancestors without ancestors; a request without any is its own."""
    graph = graph_of(("a", "c"), ("b", "c"), ("c", "d"))

    assert set(graph.roots("d")) == {"a", "b"}
    assert graph.roots("a") == ["a"]


def test_a_ring_is_refused_when_it_is_added():
    """The edge that would close it is not kept, whatever its type."""
    graph = graph_of(*pairwise("abc"))

    assert graph.would_cycle("c", "a")
    assert not graph.would_cycle("a", "c")
    with pytest.raises(whence.LinkError, match="ring"):
        graph.add(edge("c", "a", "derived_from"))
    assert len(graph) == 2
    assert graph.cycles() == []


@pytest.mark.parametrize(
    "wrong", [edge("a", "a"), edge("a", "b", "cousin_of"), edge("", "b"), edge("a", "")]
)
def test_other_wrong_edges_are_refused_too(wrong):
    """Self-edges, unknown types, and edges of nothing."""
    graph = RelationshipGraph()

    with pytest.raises(whence.LinkError):
        graph.add(wrong)
    assert len(graph) == 0


def test_edges_may_be_added_by_their_ends():
    """Without making a relationship first."""
    graph = RelationshipGraph()

    made = graph.add("a", "b", "retry_of", {"attempt": 2})

    assert (made.relationship_type, made.metadata) == ("retry_of", {"attempt": 2})
    assert graph.descendants("a") == ["b"]


def test_imported_rings_are_found_and_walked_without_harm():
    """Every question ends, and the ring is named once."""
    graph = graph_of(("a", "b"), ("b", "c"), ("c", "a"), ("x", "a"), ("c", "y"))

    assert graph.cycles() == [["a", "b", "c"]]
    assert graph.ancestors("y") == ["c", "b", "a", "x"]
    assert set(graph.descendants("a")) == {"b", "c", "y"}
    assert graph.roots("y") == ["x"]
    assert graph.depth("y") == 2
    assert graph_of(("a", "b"), ("b", "a")).roots("a") == ["a"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=25))
def test_no_order_of_adding_makes_a_ring(pairs):
    """Whatever is tried, what was accepted is free of rings, and what was refused would be one."""
    graph = RelationshipGraph()

    for source, target in pairs:
        expected = source == target or source in graph.descendants(target)
        assert graph.would_cycle(source, target) == expected
        if expected:
            with pytest.raises(whence.LinkError):
                graph.add(source, target)
        else:
            graph.add(source, target)

    assert graph.cycles() == []
    for node in "abcdef":
        assert all(node in graph.descendants(above) for above in graph.ancestors(node))


def test_a_bounded_graph_forgets_the_oldest():
    """And with them what they led to."""
    graph = RelationshipGraph(max_edges=2)

    for pair in pairwise("abcd"):
        graph.add(*pair)

    assert len(graph) == 2
    assert graph.ancestors("d") == ["c", "b"]


def test_parallel_edges_are_kept_apart():
    """Two types between the same two requests are two relationships, and one neighbour."""
    graph = graph_of()
    first, second = graph.add("a", "b"), graph.add("a", "b", "derived_from")

    assert graph.relationships_of("b") == [first, second]
    assert graph.descendants("a") == ["b"]
    graph.forget(first)
    assert graph.descendants("a") == ["b"]
    graph.forget(second)
    assert graph.descendants("a") == []


def test_dot_has_the_documents_form():
    """Node by node, sources first, then edge by edge with its label."""
    graph = graph_of(("req_1", "req_2"))
    graph.add("req_1", "req_3", "retry_of")

    assert graph.to_dot() == (
        "digraph Provenance {\n"
        "  rankdir=LR;\n"
        "  node [shape=box, style=rounded];\n"
        "\n"
        '  "req_1";\n'
        '  "req_2";\n'
        '  "req_3";\n'
        "\n"
        '  "req_1" -> "req_2" [label="triggered"];\n'
        '  "req_1" -> "req_3" [label="retry"];\n'
        "}"
    )


@pytest.mark.parametrize(("kind", "label"), list(zip(RELATIONSHIP_TYPES, LABELS, strict=True)))
def test_every_type_has_its_label(kind, label):
    """As the document writes them; a type of the second vocabulary is written as it is."""
    assert f'[label="{label}"]' in RelationshipGraph([edge("a", "b", kind)]).to_dot()
    assert '[label="cached_from"]' in RelationshipGraph([edge("a", "b", "cached_from")]).to_dot()


HOSTILE = [
    'quote "; } digraph evil {',
    "back\\slash",
    "ends in \\",
    "line\nfeed",
    "line\\nfeed",
    "\\x0a",
    "nul\0",
    "<b>html</b>",
    "half \ud800 pair",
    "\u202eright to left",
    "naïve 日本 ☃",
    "",
    " ",
    '\\"',
    '"',
]


def test_hostile_names_stay_names():
    """Each name is one node of its own, and none of them ends the graph."""
    graph = RelationshipGraph(edge("hub", name, name or "triggered_by") for name in HOSTILE)

    nodes, edges = dotlanguage.read(graph.to_dot())

    assert len(nodes) == len(set(nodes)) == len(HOSTILE) + 1
    assert [target for _, target, _ in edges] == nodes[1:]
    graph.to_dot().encode()


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8, unique=True))
def test_different_names_are_different_nodes(names):
    """The quoting loses nothing, whatever the names are made of."""
    graph = RelationshipGraph(edge("the hub of all", name) for name in names)

    nodes, edges = dotlanguage.read(graph.to_dot())

    assert len(nodes) == len(set(nodes)) == 1 + len(names)
    assert len(edges) == len(names)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_itself_reads_it():
    """What our reader takes, the real one takes as well."""
    graph = RelationshipGraph(edge("hub", name) for name in HOSTILE if name)

    done = subprocess.run(
        [shutil.which("dot"), "-Tplain"],
        input=graph.to_dot().encode(),
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert done.stdout.decode().count("\nnode ") == len(HOSTILE)
