r"""Relationships as a Graphviz digraph, whatever the requests are called.

The form is document 2's (token provenance): `rankdir=LR`, rounded boxes, one line a node, sources
first, one line an edge with a label. Names are quoted so that two different ones never become one
node: Graphviz reads `\"` in a quoted text as a quote and keeps a doubled backslash apart from a
single one; what does not print is written as an escape of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from whence.query.text import dot_id as quoted

if TYPE_CHECKING:
    from collections.abc import Iterable

LABELS = {
    "triggered_by": "triggered",
    "part_of": "part of",
    "derived_from": "derived",
    "retry_of": "retry",
    "fallback_for": "fallback",
    "enhancement_of": "enhanced",
    "validation_of": "validates",
    "continuation_of": "continues",
}
"""What is written on an edge; other types are written as they are."""


def render(edges: Iterable[tuple[str, str, str]]) -> str:
    """Return a digraph of edges given as source, target and type."""
    given = list(edges)
    nodes = dict.fromkeys([*(edge[0] for edge in given), *(edge[1] for edge in given)])
    return "\n".join(
        [
            "digraph Provenance {",
            "  rankdir=LR;",
            "  node [shape=box, style=rounded];",
            "",
            *(f"  {quoted(node)};" for node in nodes),
            "",
            *(
                f"  {quoted(source)} -> {quoted(target)} [label={quoted(LABELS.get(kind, kind))}];"
                for source, target, kind in given
            ),
            "}",
        ]
    )
