"""Events have the names of their tools that session folders use in every project."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.exports.toolnames import PATTERNS, ToolNames, names_of


@pytest.mark.parametrize(
    ("event", "tool"),
    [
        ("api.kegg_pathway", "KEGGPathwayAPI"),
        ("NCBI.lookup", "NCBIGenomeAPI"),
        ("read_genome", "NCBIGenomeAPI"),
        ("media_optimization", "MediaOptimizationAgent"),
        ("media_list", "MediaAgent"),
        ("pubmed.search", "PubMedAPI"),
        ("database.sql", "DuckDB"),
        ("agent_start", "AgentExecution"),
        ("agent_end", "AgentExecution"),
        ("pick_route", "AgentRouter"),
        ("log_info", "log_info"),
        ("", ""),
    ],
)
def test_the_first_pattern_that_fits_names_the_tool(event, tool):
    """In capitals or not; a name that none fits is the tool's."""
    assert ToolNames().tool_of(event) == tool


def test_own_patterns_go_before_the_known_ones():
    """The latest of them first."""
    names = ToolNames({"kegg": "Ours", "kegg+fast": "Fast"})

    assert [names.tool_of(event) for event in ("KEGG", "fast_kegg", "biocyc")] == [
        "Ours",
        "Fast",
        "BioCycAPI",
    ]


def test_tools_of_the_taxonomy_are_their_own_names():
    """`Read` of any type is Read; other calls are named by type and name."""
    names = ToolNames()

    assert names.tool_of_call("database", "Read") == "Read"
    assert names.tool_of_call("database", "x") == "DuckDB"
    assert names.tool_of_call(None, "x") == "x"


@pytest.mark.parametrize("own", [None, 5, ["a"], {"": "x", "a": 7, 3: "b"}])
def test_attributes_of_any_form_give_names(own):
    """What is no mapping of texts is as good as absent."""
    names = names_of({"dialect": "agents", "tool_names": own})

    assert names.tool_of("a") == "a"
    assert names_of({"tool_names": {"a": "b"}}).tool_of("kegg a") == "kegg a"


@given(st.text())
def test_a_name_is_the_same_every_time(event):
    """Also from the cache, and it is one of the known tools or the event."""
    names = ToolNames()

    assert names.tool_of(event) == names.tool_of(event)
    assert names.tool_of(event) in {event, *(tool for _, tool in PATTERNS)}
