"""Trace files come back, imported once and as they were; and any run can be written as one."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner
from documents import blocks, find_document
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from researching import (
    finish,
    load,
    run_pipeline,
    traced_root,  # noqa: F401 - a fixture
    without_clock,
)
from trajectorydata import NothingKnown

import whence
from whence.cli.app import cli
from whence.exports.research_trace import left_out, render
from whence.ingest import research_parts as parts
from whence.ingest import research_trace
from whence.ingest.base import Skipped, Source
from whence.ingest.importer import import_paths
from whence.query.reader import open_store
from whence.research import TraceContext, TraceQuery

ABRIDGED = {
    "schema_version": 1,
    "trace_id": "trc_20260213_abc123def",
    "project_name": "cobot",
    "run": {"query": "Q?", "intent": "validating", "status": "complete"},
    "stages": {
        "intake": {
            "started_at": "...",
            "duration_seconds": 5.2,
            "decisions": [
                {"decision": "b", "what": 1, "why": "w", "confidence": 0.8},
                {"decision": "a", "what": 2, "alternatives_considered": ["x (0.40)"]},
            ],
            "outputs": {"intent": "validating"},
        },
        "synthesis": {
            "started_at": "2026-02-13T10:31:00Z",
            "duration_seconds": 180.5,
            "prompts": {"system_prompt": "s"},
            "model": "m",
            "token_usage": {"input_tokens": 45000, "output_tokens": 3800, "total_tokens": 48800},
            "cost_usd": 0.32,
            "outputs": {"sections": 7},
        },
        "quality_gate": {
            "principle_scores": [
                {"id": "META-1", "name": "No Generics", "score": 3, "feedback": "good"},
                {"id": "META-12", "name": "Sources", "score": 1, "feedback": "bad"},
            ],
            "overall_score": 2.4,
            "passing": True,
            "threshold": 2.0,
            "outputs": {"passed": True, "iteration": 1},
        },
    },
    "outputs": {"report_path": "r.md"},
    "child_traces": [{"trace_id": "trc_child", "output_type": "report", "path": "c.md"}],
}


def written(folder, document):
    path = folder / "trace.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


def read(path):
    return list(research_trace.read(Source(path), NothingKnown()))


def imported(home, path):
    """Return the document that an imported trace renders as."""
    report = import_paths(home, [path])
    with open_store(home) as reader:
        (run,) = reader.runs().items
        tree = reader.run(run.id)
        return report, json.loads(json.dumps(render(tree, reader.value))), tree


@pytest.mark.usefixtures("traced")
def test_a_file_that_is_imported_elsewhere_renders_as_it_was(tmp_path):
    """Every value of a written trace survives the way into another home and out again."""
    with TraceContext.start(project_name="cobot", query="Q?", intent="validating") as trace:
        run_pipeline(trace)
        trace.start_stage("synthesis")
        trace.record("synthesis", "again", {"what": [1, {"a": None}], "made_by": "x"})
        trace.end_stage("synthesis", error="too long")
        trace.record_iteration({"iteration": 1, "passed": False, "overall_score": 1.6})
        trace.record_iteration({"iteration": 2, "passed": True, "overall_score": 2.4})
    document = load(trace.result["file_path"])

    _, rendered, tree = imported(tmp_path / "other", trace.result["file_path"])

    assert rendered == document
    assert left_out(tree) == {}


def test_importing_twice_adds_nothing(tmp_path):
    """Ids follow from the trace's own."""
    path = written(tmp_path, ABRIDGED)
    first = import_paths(tmp_path / "home", [path])
    second = import_paths(tmp_path / "home", [path])
    assert (first.runs, first.decisions, first.generations, first.scores) == (1, 2, 1, 3)
    assert first.new > 0
    assert (second.new, second.already_there) == (0, first.new)
    assert first.usage_stated.total == 48800
    assert first.cost_usd_declared == 0.32


def test_figures_beside_the_outputs_are_read_like_those_in_them(tmp_path):
    """The form of the document's example, abridged times and all."""
    _, rendered, tree = imported(tmp_path / "home", written(tmp_path, ABRIDGED))
    stages = rendered["stages"]
    assert [one["decision"] for one in stages["intake"]["decisions"]] == ["b", "a"]
    assert (stages["intake"]["started_at"], stages["intake"]["duration_seconds"]) == (None, 5.2)
    assert stages["synthesis"]["duration_seconds"] == 180.5
    assert stages["synthesis"]["token_usage"] == ABRIDGED["stages"]["synthesis"]["token_usage"]
    gate = ABRIDGED["stages"]["quality_gate"]
    for key in ("principle_scores", "overall_score", "passing", "threshold"):
        assert stages["quality_gate"][key] == gate[key]
    assert stages["quality_gate"]["gaps"] == [{"id": "META-12", "score": 1, "feedback": "bad"}]
    assert rendered["child_traces"] == ABRIDGED["child_traces"]
    assert tree.started_ns == 1_770_978_660_000_000_000  # of the first stage that has a time


def test_an_imported_trace_answers_the_questions(tmp_path):
    """It is found like one that was recorded here."""
    whence.configure(tmp_path / "home")
    import_paths(tmp_path / "home", [written(tmp_path, ABRIDGED)])
    (result,) = asyncio.run(TraceQuery.by_intent("validating"))
    assert (result.trace_id, result.gap_principles) == ("trc_20260213_abc123def", ["META-12"])
    assert asyncio.run(TraceQuery.low_scoring_principle("META-12")) == [result]
    whence.configure(tmp_path / "home", enabled=False)


@pytest.mark.skipif(find_document(5) is None, reason="the document is not here")
def test_the_document_s_own_example_round_trips(tmp_path):
    """Section 3.1, as printed: what it states comes back, abridged times as unknown."""
    example = json.loads(blocks(find_document(5), "json")[0])
    _, rendered, _ = imported(tmp_path / "home", written(tmp_path, example))

    def compare(stated, made):
        if isinstance(stated, dict):
            for key, value in stated.items():
                compare(value, made[key])
        elif isinstance(stated, list):
            assert len(made) == len(stated)
            for one, other in zip(stated, made, strict=True):
                compare(one, other)
        elif stated != "...":
            assert made == stated

    compare(without_clock(example), rendered)


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (b'{"schema_version": 1, "trace_id": "t", "stages": {}}', True),
        (b'\xef\xbb\xbf {"stages": {}, "trace_id": "t", "schema_version": 1}', True),
        (b'{"trace_id": "t", "stages": {}}', False),
        (b'["schema_version", "trace_id", "stages"]', False),
        (b"", False),
        (b"\xff\xfe\x00", False),
    ],
)
def test_a_trace_is_known_by_its_keys(tmp_path, content, is_one):
    """Other JSON is left to other formats."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    assert research_trace.detect(Source(path)) is is_one


@pytest.mark.parametrize("content", ["{", "[]", '{"trace_id": 5}', '{"trace_id": ""}', "[" * 9999])
def test_a_damaged_file_is_refused_with_its_name(tmp_path, content):
    """The whole file is no trace, and the error says which."""
    path = tmp_path / "broken.json"
    path.write_text(content)
    with pytest.raises(whence.WhenceError, match=r"broken\.json"):
        read(path)


SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False)
TEXTS = st.text(max_size=4)
JSON = st.recursive(
    SCALARS | TEXTS | st.sampled_from((1e300, 2**62, "9999-12-31T23:59:59Z", "0001-01-01")),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=5,
)
STAGE = st.dictionaries(
    st.sampled_from(
        ("started_at", "duration_seconds", "decisions", "evidence", "prompts", "outputs", "error",
         "principle_scores", "token_usage", "cost_usd", "earlier")
    ),
    JSON,
    max_size=5,
)  # fmt: skip
DOCUMENT = st.fixed_dictionaries(
    {"trace_id": st.just("trc_20260213_103000_abcdef12")},
    optional={
        "run": JSON | st.dictionaries(st.sampled_from(("status", "query", "started_at")), JSON),
        "stages": JSON | st.dictionaries(st.text(max_size=3), STAGE | JSON, max_size=3),
        "iterations": JSON | st.lists(JSON, max_size=2),
        "outputs": JSON,
        "child_traces": JSON | st.lists(JSON, max_size=2),
        "metadata": JSON,
        "parent_trace_id": JSON,
    },
)


@given(DOCUMENT)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_document_with_an_id_breaks_the_reader(tmp_path, document):
    """Whatever stands where, there is a run, and every record has an id of its own."""
    records = read(written(tmp_path, document))
    assert [one for one in records if type(one).__name__ == "RunStarted"]
    own = [one.id for one in records if getattr(one, "id", "")]
    assert len(set(own)) == len(own)


def test_a_trace_without_any_time_is_skipped(tmp_path):
    """Times come from the source; where it has none, nothing is made up."""
    (skipped,) = read(written(tmp_path, {"trace_id": "mine", "stages": {}}))
    assert isinstance(skipped, Skipped)
    assert "says when" in skipped.why


@given(
    st.text(max_size=12) | st.sampled_from(("a (0.10)", "a(0.1)", "a (1)", "(0.50)", "a (0.505)"))
)
def test_an_alternative_comes_back_as_it_was(alternative):
    """Whatever is parsed out of it, the text is the same."""
    option = parts.option_of(alternative)
    kept = {"attributes": {parts.STATED: option[parts.STATED]}} if parts.STATED in option else {}
    assert parts.alternative_of({**option, **kept}) == alternative


# --- any run as a file ------------------------------------------------------------------------


def test_whence_export_traces_writes_any_run(recording, tmp_path):
    """A run of the core gets a document and a summary, and the report says what has no place."""
    with whence.run("report", project="lib", kind="research", question="Q?") as run:
        with whence.stage("intake") as stage:
            stage.decide("intent", "learning", options={"learning": 0.9, "exploring": 0.1})
        with whence.tool("search", input="x") as tool:
            tool.set(output="y")
    whence.flush()
    arguments = [
        "--home",
        str(recording),
        "--json",
        "export",
        "traces",
        "--to",
        str(tmp_path / "out"),
    ]

    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)

    (made,) = json.loads(done.stdout)["traces"]
    assert made["left_out"] == {"tool_calls": 1}
    document = load(made["file"])
    assert made["file"].startswith(str(tmp_path / "out" / "projects" / "lib" / "_traces"))
    (decision,) = document["stages"]["intake"]["decisions"]
    assert decision["alternatives_considered"] == ["exploring (0.10)"]
    summary = tmp_path / "out" / "projects" / "lib" / "_traces" / f"{run.id}_summary.md"
    assert summary.read_text().startswith(f"# Trace {run.id}")


@pytest.mark.usefixtures("traced")
def test_exporting_a_trace_gives_the_file_it_wrote_itself(recording, tmp_path):
    """The same run, the same document."""
    trace = TraceContext.start(project_name="cobot")
    run_pipeline(trace)
    trace.mark_complete()
    path = finish(trace)["file_path"]
    arguments = [
        "--home",
        str(recording),
        "export",
        "traces",
        trace.trace_id,
        "--to",
        str(tmp_path / "out"),
    ]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    exported = tmp_path / "out" / "projects" / "cobot" / "_traces" / f"{trace.trace_id}.json"
    assert load(exported) == load(path)
