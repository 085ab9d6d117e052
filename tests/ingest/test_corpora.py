"""Real traces come in with exactly the totals that were computed without this project."""

from __future__ import annotations

import json

import pytest
from otlpdata import contents, find_corpus

import whence
from whence.ingest.importer import import_paths

OTLP = ("otlp-genai", "otlp-openinference")
PACKAGES = [
    pytest.param(folder, id=f"{name}/{folder.name}")
    for name in OTLP
    if (corpus := find_corpus(name)) is not None
    for folder in sorted(corpus.iterdir())
    if folder.is_dir()
]
FIGURES = ("input", "output", "cache_read", "cache_write", "reasoning")


def corpus(name):
    found = find_corpus(name)
    if found is None:
        pytest.skip("the corpora are not here")
    return found


def totals_match(report, expected):
    calls = expected["distinct_llm_calls"]
    kinds = expected["kinds"]
    errors, tools = expected["errors"], kinds.get("tool", 0)
    assert report.generations == calls["calls"]
    assert report.spans == expected["spans"]
    assert report.errors == errors
    assert report.tool_calls == tools
    assert report.retrievals == kinds.get("retriever", 0)
    assert report.decisions == kinds.get("handoff", 0)
    for figure in FIGURES:
        assert getattr(report.usage_stated, figure) == calls.get(figure), figure
    assert report.usage_stated.total == calls.get("total_declared")


@pytest.mark.parametrize("folder", PACKAGES)
def test_a_package_has_the_expected_totals(folder, tmp_path):
    """Calls, tokens, errors and tool calls of each instrumentation equal the expected ones."""
    expected = json.loads((folder.parent / "expected.json").read_text())["by_package"][folder.name]

    report = import_paths(tmp_path / "home", [folder])

    totals_match(report, expected)


@pytest.mark.parametrize("name", OTLP)
def test_a_corpus_twice_in_a_row_changes_nothing(name, tmp_path):
    """The second import of all packages writes nothing, reports the same and alters no row."""
    source, home = corpus(name), tmp_path / "home"
    first = import_paths(home, [source])
    before = contents(home)

    second = import_paths(home, [source])

    totals_match(second, json.loads((source / "expected.json").read_text())["totals"])
    assert (second.new, second.already_there) == (0, first.new)
    assert contents(home) == before


def test_the_examples_of_the_standard_are_accepted(tmp_path):
    """The trace and the logs of opentelemetry-proto come in, without a model call."""
    report = import_paths(tmp_path / "home", [corpus("otlp-spec-examples")])

    assert (report.runs, report.spans, report.generations) == (1, 1, 0)
    assert [skipped.where.rpartition("/")[2] for skipped in report.skipped] == ["SOURCE.md"]


def test_serialised_spans_of_an_sdk_come_in_with_their_costs(tmp_path):
    """Ids beyond 2^63 stay exact, one file is one run, and costs add up to the cent's fraction."""
    source, home = corpus("any-agent-otel"), tmp_path / "home"
    expected = json.loads((source / "expected.json").read_text())

    report = import_paths(home, [source])
    again = import_paths(home, [source])

    operations = [file["operations"] for file in expected["files"].values()]
    totals = expected["totals"]
    assert report.runs == totals["files"]
    assert report.spans == totals["spans"]
    assert report.generations == sum(each["call_llm"] for each in operations)
    assert report.tool_calls == sum(each["execute_tool"] for each in operations)
    assert report.usage_stated.input == totals["input_tokens"]
    assert report.usage_stated.output == totals["output_tokens"]
    assert report.cost_usd_declared == report.cost_usd_computed == totals["cost"]
    assert again.new == 0
    with whence.open(home) as store:
        assert all(run.output for run in store.runs(limit=None))
