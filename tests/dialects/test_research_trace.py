"""A trace keeps what a pipeline tells it, in memory, in the log and in its file, all alike."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from researching import (
    EVIDENCE,
    INTENT,
    PRINCIPLES,
    finish,
    load,
    run_pipeline,
    traced_root,  # noqa: F401 - a fixture
    without_clock,
)

from whence.exports.research_shape import plain
from whence.query.reader import open_store
from whence.research import TraceContext

pytestmark = pytest.mark.usefixtures("traced")


def test_a_trace_is_written_in_the_shape_of_the_document(traced):
    """The file stands under the project and has every key of the document's section 3.1."""
    trace = TraceContext.start(
        project_id="p-1", project_name="cobot", query="Cobots?", intent="validating",
        domain="robotics", report_type="market_research", research_type="competitive",
    )  # fmt: skip
    run_pipeline(trace)
    trace.mark_complete()

    result = finish(trace)

    path = traced / "projects" / "cobot" / "_traces" / f"{trace.trace_id}.json"
    assert result["file_path"] == str(path)
    document = json.loads(path.read_text("utf-8"))
    assert set(document) == {
        "schema_version", "trace_id", "project_id", "project_name", "run", "stages", "iterations",
        "iteration_count", "quality_gate_failures", "outputs", "child_traces", "metadata",
    }  # fmt: skip
    assert document["schema_version"] == 1
    assert document["run"] | {"query": "Cobots?", "intent": "validating"} == document["run"]
    assert document["run"]["status"] == "complete"
    assert document["run"]["tracing_enabled"] is True
    assert list(document["stages"]) == ["intake", "collection", "synthesis", "quality_gate"]
    decision = document["stages"]["intake"]["decisions"][0]
    assert decision.pop("timestamp").endswith("Z")
    assert decision == {"decision": "classified_intent", **INTENT}
    assert document["stages"]["collection"]["evidence"] == EVIDENCE
    synthesis = document["stages"]["synthesis"]
    assert synthesis["prompts"] == {"system_prompt": "Be exact.", "user_message": "Cobots?"}
    assert (synthesis["model"], synthesis["cost_usd"]) == ("claude-opus-4-6", 0.32)
    assert synthesis["token_usage"]["total_tokens"] == 48800
    gate = document["stages"]["quality_gate"]
    assert (gate["overall_score"], gate["passing"], gate["threshold"]) == (2.4, True, 2.0)
    assert gate["principle_scores"] == PRINCIPLES
    assert gate["gaps"] == [{"id": "META-12", "score": 1, "feedback": "no citations"}]
    assert gate["strengths"] == [{"id": "META-1", "score": 3, "feedback": "specific"}]
    assert document["outputs"]["report_path"] == "reports/cobots.md"
    metadata = document["metadata"]
    assert metadata.pop("tracing_overhead_ms") > 0
    assert metadata == {"trace_version": 1, "generator": "ire-observability-v1"}


def test_the_id_says_when_the_trace_began():
    """`trc_`, the day, the second, and eight hexadecimal digits, never twice."""
    ids = [TraceContext.start().trace_id for _ in range(50)]

    assert len(set(ids)) == 50
    for one in ids:
        prefix, date, time, digits = one.split("_")
        assert (prefix, len(date), len(time)) == ("trc", 8, 6)
        assert len(digits) == 8
        int(digits, 16)


def test_a_trace_is_a_run_that_core_reading_understands(recording):
    """Stages are spans; decisions, sources, scores, model calls and outputs are their records."""
    trace = TraceContext.start(project_name="cobot", query="Cobots?")
    run_pipeline(trace)
    trace.mark_complete()
    finish(trace)

    with open_store(recording) as reader:
        tree = reader.run(trace.trace_id)
        assert (tree.kind, tree.external_id, tree.status) == (
            "research",
            trace.trace_id,
            "complete",
        )
        assert [node.row.name for node in tree.spans] == [*trace.stages]
        assert {node.row.kind for node in tree.spans} == {"stage"}
        (decision,) = tree.decisions
        assert (decision.what, decision.stage, decision.confidence) == (
            "validating",
            "intake",
            0.85,
        )
        assert [(o["name"], o["probability"]) for o in decision.options] == [
            ("exploring", 0.10),
            ("executing", 0.05),
        ]
        kept = {row.source_key: (row.kept, row.reason) for row in tree.sources}
        assert kept == {
            "https://ifr.org/r": (True, None),
            "https://e.org/old": (False, "published 2019"),
        }
        (call,) = tree.generations
        assert (call.model, call.cost_usd, call.usage.stated["total_tokens"]) == (
            "claude-opus-4-6", 0.32, 48800,
        )  # fmt: skip
        assert [m["role"] for m in call.messages] == ["system", "user"]
        scores = {row.name: (row.value, row.passed) for row in tree.scores}
        assert scores == {"META-1": (3, True), "META-12": (1, False), "overall": (2.4, True)}
        assert [row.path for row in tree.outputs] == ["reports/cobots.md", "evidence/a.json"]
        assert reader.why("reports/cobots.md").to_text()


def test_the_file_says_what_the_trace_says():
    """What was recorded, rendered and written equals the trace in memory."""
    trace = TraceContext.start(project_name="cobot", query="Cobots?")
    run_pipeline(trace)
    trace.record_iteration({"iteration": 1, "passed": False, "overall_score": 1.6})
    trace.record_iteration({"iteration": 2, "passed": True, "overall_score": 2.4})
    trace.mark_complete()
    document = without_clock(trace.to_dict())

    result = finish(trace)

    assert without_clock(load(result["file_path"])) == document


NAMES = st.sampled_from(("intake", "rubric", "quality_gate", "", "a b", "ärger", "../x", "$whence"))
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers(-10, 10) | st.sampled_from((0.5, 1.6, 2.0, 2.4, 3.0))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)
ALTERNATIVES = st.lists(
    st.sampled_from(("exploring (0.10)", "x (0.6)", "(0.5)", "plain", "year (2019)", "a (1.2.3)"))
    | TEXTS
    | VALUES,
    max_size=3,
)
ITEMS = st.fixed_dictionaries(
    {}, optional={"url": TEXTS, "title": TEXTS, "reason": TEXTS, "scores": VALUES, "id": NUMBERS}
)
DATA = st.fixed_dictionaries(
    {},
    optional={
        "what": VALUES,
        "why": TEXTS,
        "confidence": st.sampled_from((0.0, 0.5, 1.0, 0.85)),
        "alternatives_considered": ALTERNATIVES,
        "inputs": st.dictionaries(TEXTS, VALUES, max_size=2),
        "made_by": TEXTS.filter(bool),
    },
)
OUTPUTS = st.dictionaries(TEXTS, VALUES, max_size=2) | st.fixed_dictionaries(
    {},
    optional={
        "passed": st.booleans(),
        "overall_score": NUMBERS,
        "threshold": NUMBERS,
        "principle_scores": st.lists(
            st.fixed_dictionaries({"id": TEXTS, "score": NUMBERS}), max_size=3
        )
        | st.dictionaries(TEXTS, NUMBERS, max_size=3),
        "gaps": st.lists(TEXTS, max_size=2),
        "model": TEXTS,
        "cost_usd": NUMBERS,
        "token_usage": st.fixed_dictionaries({"input_tokens": st.integers(0, 9)}),
        "iteration": st.integers(1, 3),
    },
)
EVIDENCES = st.fixed_dictionaries(
    {},
    optional={
        "collected_count": NUMBERS,
        "kept": st.lists(ITEMS | TEXTS, max_size=2),
        "filtered_out": st.lists(ITEMS, max_size=2) | NUMBERS,
        "note": VALUES,
    },
)
STEPS = st.one_of(
    st.tuples(st.just("start_stage"), NAMES),
    st.tuples(st.just("end_stage"), NAMES, OUTPUTS, st.none() | TEXTS.filter(bool)),
    st.tuples(st.just("record"), NAMES, TEXTS, DATA),
    st.tuples(st.just("record_evidence"), NAMES, EVIDENCES),
    st.tuples(st.just("record_prompts"), NAMES, st.dictionaries(TEXTS, TEXTS, max_size=2)),
    st.tuples(st.just("record_iteration"), OUTPUTS),
    st.tuples(st.just("set_outputs"), st.dictionaries(TEXTS, VALUES, max_size=2)),
    st.tuples(st.just("mark_failed"), TEXTS),
)


@given(st.lists(STEPS, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_trace_is_told_is_in_the_log_as_it_was_told(steps):
    """A run rendered from the log is the trace in memory, but for the clock, for any calls.

    A pass through a stage ends once: of what is said at a second end the log keeps both, memory
    the last.
    """
    trace = TraceContext.start(project_name="cobot")
    ended = set()
    for name, *arguments in copy.deepcopy(steps):
        if name == "start_stage":
            ended.discard(arguments[0])
        elif name == "end_stage":
            if arguments[0] in ended:
                continue
            ended.add(arguments[0])
        getattr(trace, name)(*arguments)
    if trace.status == "in_progress":
        trace.mark_complete()
    expected = without_clock(plain(trace.to_dict()))

    result = finish(trace)

    assert result["supabase"] == "saved"
    assert without_clock(load(result["file_path"])) == expected
