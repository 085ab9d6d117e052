"""The explaining agents do what they say, and their provenance shows what they waste."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dotlanguage
import pytest
from tokens_explain import __main__ as program
from tokens_explain import agents, model, source

import whence
from whence.capture.context import current_scope
from whence.tokens import ProvenanceAnalyzer, TokenManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def recording(home: Path) -> Iterator[Path]:
    """Record into a home of the test's own; nothing is recorded afterwards."""
    token = current_scope.set(None)
    whence.configure(home)
    yield home
    current_scope.reset(token)
    whence.configure(home, enabled=False)


def explain(module: str, *, cached: bool = False) -> tuple[TokenManager, agents.Workflow, dict]:
    manager = TokenManager(buffer_size=5, prices=model.PRICES)
    workflow = agents.Workflow(manager, module, source.load(module), cached=cached)
    return manager, workflow, workflow.run()


def test_the_program_reports_what_it_did(recording, tmp_path, capsys):
    """Usage of each module, patterns, agents, advice, and a graph that Graphviz takes."""
    graph = tmp_path / "requests.dot"

    assert program.main(["heapq", "--home", str(recording), "--dot", str(graph)]) == 0

    printed = capsys.readouterr().out
    assert "explain-heapq-uncached: " in printed
    assert "duplicate_requests (high)" in printed
    assert "explainer" in printed
    assert "Next: whence show explain-heapq-uncached/1" in printed
    nodes, edges = dotlanguage.read(graph.read_text("utf-8"))
    assert len(edges) == len(nodes) - 1
    with whence.open(recording) as store:
        assert store.run("explain-heapq-uncached/1").workflow == "explain-heapq-uncached"
        assert store.count("runs") == len(nodes)


def test_an_explanation_is_made_of_the_source():
    """Its parameters, its exceptions, and what is known of the functions it calls."""
    functions = source.load("textwrap")
    wrap = functions["TextWrapper._wrap_chunks"]

    answer = model.explain(model.LARGE, wrap, {"a": "a: does a."})

    assert "ValueError" in answer.text
    assert "It takes chunks." in answer.text
    assert answer.text.endswith("It relies on a: does a.")
    assert "TextWrapper._handle_long_word" in wrap.calls
    assert not model.explain(model.SMALL, wrap, {"a": "word " * 99}).complete


@pytest.mark.usefixtures("recording")
def test_the_waste_that_is_found_is_the_waste_that_a_cache_saves():
    """What duplicates are said to have cost, the cached workflow does not spend."""
    manager, plain, first = explain("heapq")
    patterns = ProvenanceAnalyzer(manager).patterns()
    wasted = sum(one.wasted_cost for one in patterns if one.type == "duplicate_requests")
    _, cached, second = explain("heapq", cached=True)

    spent = [
        manager.handle_signal("get_workflow_usage", {"workflow_id": one.id})
        for one in (plain, cached)
    ]

    assert first == second
    assert spent[0]["total_requests"] == plain.requests > cached.requests
    assert spent[0]["total_cost"] - spent[1]["total_cost"] == pytest.approx(wasted, rel=0.5)


@pytest.mark.usefixtures("recording")
def test_the_chain_of_requests_is_as_deep_as_the_calls():
    """Each request names the one that led to it, down to the planner's."""
    manager, workflow, _ = explain("configparser")

    usage = manager.handle_signal("get_workflow_usage", {"workflow_id": workflow.id})
    deep = [
        one for one in ProvenanceAnalyzer(manager).patterns() if one.type == "deep_request_chain"
    ]

    (chain,) = deep
    assert chain.pattern_details["max_depth"] == usage["max_depth"] > 5
    lineage = manager.handle_signal("get_lineage", {"request_id": chain.request_ids[0]})
    assert lineage["root_requests"] == [f"{workflow.id}/1"]
    assert lineage["depth"] == len(lineage["ancestors"])


@pytest.mark.usefixtures("recording")
def test_what_did_not_fit_was_tried_again_and_then_elsewhere():
    """A retry of the same model, a fallback to the larger one, a check of the answer."""
    manager, workflow, _ = explain("heapq")

    relations = [one.relationship_type for one in manager.graph]

    assert {"triggered_by", "retry_of", "fallback_for", "validation_of"} == set(relations)
    assert relations.count("retry_of") == relations.count("fallback_for") > 0
    performance = ProvenanceAnalyzer(manager).agent_performance()
    failed = performance["explainer"]["error_rate"] * performance["explainer"]["request_count"]
    assert round(failed) == 2 * relations.count("retry_of")
    assert workflow.requests == len(manager.graph) + 1
