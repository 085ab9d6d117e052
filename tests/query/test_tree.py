"""The tree of a run, of whole and of broken runs, and how ids are looked up."""

from __future__ import annotations

import json

import pytest
from madeup import RUN, run_row, span_row

import whence
from whence.store import rows as r


def test_a_run_is_a_tree_of_its_spans_and_records(store):
    """Spans nest as they were opened; each record stands where it was made."""
    with whence.run("pipeline", external_id="mine", tenant="acme") as run:
        run.event("begin")
        with whence.stage("collect") as stage:
            with whence.tool("search", input="q") as tool:
                tool.set(output="r")
            stage.decide("enough", "yes")
        with whence.stage("write"):
            run.output("report")

    tree = store.run("mine")
    assert [node.name for node in tree.spans] == ["collect", "write"]
    assert [node.name for node in tree.iter_spans()] == ["collect", "search", "write"]
    assert [row.name for row in tree.find("collect").records] == ["enough"]
    assert [type(row) for row in tree.records] == [r.EventRow, r.OutputRow]
    assert (tree.id, tree.status, tree.attributes["tenant"]) == (run.id, "complete", "acme")
    assert (tree.run.decisions, len(tree.decisions), len(tree.tool_calls)) == (1, 1, 1)
    assert tree.find("nothing") is None
    assert len(list(tree.iter_records())) == 4
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        tree.nonsense  # noqa: B018 - the access is the test


def test_a_tree_prints_and_becomes_json(store):
    """The text names every step; the dict nests like the tree."""
    with whence.run("pipeline") as run, whence.stage("collect") as stage:
        stage.source("web", "a", kept=False, reason="old")

    tree = store.run(run.id)
    assert "stage collect" in tree.to_text()
    assert "dropped web a (old)" in tree.to_text()
    plain = json.loads(json.dumps(tree.to_dict()))
    assert plain["spans"][0]["records"][0]["table"] == "sources"
    assert plain["spans"][0]["records"][0]["kept"] is False


def test_any_id_in_a_run_and_the_beginning_of_its_id_lead_to_it(store):
    """External, output, span and record ids are accepted, and six or more digits of a run id."""
    with whence.run("x", external_id="trc_1") as run, whence.stage("s") as span:
        decision = span.decide("q", "a")
        span.output("report-7")

    for one in (run.id, "trc_1", "report-7", span.id, decision, run.id[:20], run.id[:20].upper()):
        assert store.run(one).id == run.id


def test_a_beginning_that_several_runs_share_names_them(store):
    """Nothing is guessed: the candidates are listed."""
    runs = []
    for _ in range(3):
        with whence.run("alike") as run:
            runs.append(run.id)

    with pytest.raises(whence.NotFoundError, match="several runs begin with") as caught:
        store.run(runs[0][:6])
    assert all(one in str(caught.value) for one in runs)


@pytest.mark.parametrize("unknown", ["trc_market_raport", "", "zzzz", "\x1b[2J", "a" * 10_000])
def test_an_unknown_id_is_an_error_that_names_what_is_close(store, unknown):
    """The message suggests ids that exist, and obeys nothing that was asked for."""
    with whence.run("x", external_id="trc_market_report"):
        pass

    with pytest.raises(whence.NotFoundError) as caught:
        store.why(unknown)
    assert ("did you mean 'trc_market_report'" in str(caught.value)) == unknown.startswith("trc")
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_too_few_digits_are_told_to_be_too_few(store):
    """Whoever gives four digits of a run learns how many it takes."""
    with whence.run("x") as run:
        pass

    with pytest.raises(whence.NotFoundError, match=r"4 digits are too few.* begins so; give 6"):
        store.run(run.id[:4].upper())
    with pytest.raises(whence.NotFoundError, match=r"2 digits are too few.* a run; give 6"):
        store.run("ff" if run.id[:2] != "ff" else "ee")


def test_records_and_spans_whose_place_is_unknown_stand_at_the_run(made):
    """Orphans are shown, not dropped."""
    reader = made(
        spans=[span_row("child", parent="lost"), span_row("known")],
        events=[r.EventRow(id="e", run=RUN, span="gone", ts_ns=1, message="m")],
    )

    tree = reader.run(RUN)
    assert {node.id for node in tree.spans} == {"child", "known"}
    assert [row.id for row in tree.records] == ["e"]


def test_a_ring_of_parents_is_opened_at_its_first_span(made):
    """Every span of a ring, and of what hangs on it, appears exactly once."""
    reader = made(
        spans=[
            span_row("b", 2, parent="a"),
            span_row("a", 1, parent="c"),
            span_row("c", 3, parent="b"),
            span_row("leaf", 4, parent="c"),
            span_row("self", 5, parent="self"),
        ]
    )

    tree = reader.run(RUN)
    assert [node.id for node in tree.spans] == ["a", "self"]
    assert [node.id for node in tree.iter_spans()] == ["a", "b", "c", "leaf", "self"]
    assert reader.why(RUN).run.id == RUN


def test_a_run_nested_deeper_than_the_stack_is_read(made):
    """Depth is no limit to reading: no part of it recurses."""
    spans = [span_row(f"s{i}", i, 10_000, parent=f"s{i - 1}") for i in range(3_000)]
    reader = made(spans=spans)

    tree = reader.run(RUN)
    assert len(tree.to_text().splitlines()) == 3_001
    assert tree.to_dict()["spans"][0]["children"][0]["name"] == "s1"
    assert reader.compare(RUN, RUN).first_divergence is None


def test_a_run_without_its_start_is_still_a_tree(made):
    """A run of which only records are known has no name and says so."""
    reader = made(
        runs=[run_row(status="incomplete")],
        decisions=[r.DecisionRow(id="d", run=RUN, ts_ns=5, name="q", what="a")],
    )

    assert reader.run(RUN).to_text().startswith("run (no name)")
    assert "decided q: a" in reader.why(RUN).to_text()


def test_a_run_that_was_killed_says_when_it_fell_silent(made):
    """A run without an end names its last record's time and the process that was to end it."""
    reader = made(
        runs=[run_row(status="incomplete", environment={"pid": 42, "host": "box\x1b"})],
        spans=[span_row("s1", 1_793_527_200_000_000_000, status="incomplete")],
    )
    line = reader.run(RUN).to_text().splitlines()[1]
    assert line.startswith("  it has no end; its last record is from ")
    assert line.endswith("of process 42 on box\\x1b")
