"""Nothing that a trace is given raises, leaves its place, or is obeyed."""

from __future__ import annotations

import logging

import pytest
from researching import (
    finish,
    load,
    run_pipeline,
    traced_root,  # noqa: F401 - a fixture
)

import whence
from whence.exports.research_trace import render
from whence.query.reader import open_store
from whence.research import Trace, TraceContext

pytestmark = pytest.mark.usefixtures("traced")


class Hostile:
    """An object that refuses everything."""

    def __getattribute__(self, name):
        raise RuntimeError(name)


@pytest.mark.parametrize(
    "call",
    [
        lambda t: t.record("s", "d", Hostile()),
        lambda t: t.record(Hostile(), "d", {}),
        lambda t: t.record([], "d", {}),
        lambda t: t.record("s", "d", None),
        lambda t: t.record("s", "d", {"alternatives_considered": Hostile(), "inputs": 3}),
        lambda t: t.record("s", "d", {"what": object(), "why": 5, "confidence": float("nan")}),
        lambda t: t.record_evidence("s", {"kept": [Hostile()], "filtered_out": 5}),
        lambda t: t.record_prompts("s", Hostile()),
        lambda t: t.record_iteration(Hostile()),
        lambda t: t.end_stage("s", outputs={"principle_scores": [{"id": [], "score": {}}]}),
        lambda t: t.end_stage("nowhere"),
        lambda t: t.set_outputs(Hostile()),
        lambda t: t.mark_failed(Hostile()),
    ],
)
def test_no_call_raises_into_the_pipeline(call):
    """Whatever a trace is given, the pipeline goes on and the trace can be finished."""
    trace = TraceContext.start(project_name="cobot")
    trace.start_stage("s")
    call(trace)
    trace.record("s", "after", {"what": 1})
    trace.mark_complete()

    result = finish(trace)

    document = load(result["file_path"])
    assert document["stages"]["s"]["decisions"][-1]["what"] == 1


def test_ending_a_stage_that_nobody_mentioned_only_warns(caplog):
    """The document's rule: a warning, and no stage."""
    trace = TraceContext.start(project_name="cobot")
    with caplog.at_level(logging.WARNING, logger="whence.research"):
        trace.end_stage("nowhere")
    assert "unstarted stage: nowhere" in caplog.text
    assert trace.stages == {}


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "", "con\0trol", "x" * 300, " . "])
def test_names_of_projects_never_leave_the_root(traced, name):
    """A project is one folder below the root, whatever it is called."""
    with TraceContext.start(project_name=name) as trace:
        pass
    files = [path for path in traced.parent.rglob("*.json") if path.name.startswith("trc_")]
    assert [str(path) for path in files] == [trace.result["file_path"]]
    assert files[0].parent.parent.parent == traced / "projects"


def test_redacted_and_withheld_content_stays_out_of_the_files(traced, recording):
    """The file holds what the log holds, not what memory holds."""
    whence.configure(
        recording, redact=lambda text: text.replace("secret", "[gone]"), capture_content=False
    )
    with TraceContext.start(project_name="cobot", query="a secret plan") as trace:
        trace.record("intake", "said", {"what": "the secret", "inputs": {"q": "secret"}})
        trace.record_prompts("intake", {"system_prompt": "a secret prompt"})
        trace.end_stage("intake", outputs={"text": "secret"})
    folder = (traced / "projects" / "cobot" / "_traces").iterdir()
    texts = "".join(path.read_text("utf-8") for path in folder)
    assert "[gone]" in texts
    assert "secret" not in texts


def test_a_trace_made_by_hand_is_kept_in_memory_and_can_be_written():
    """Tests and scripts may make a trace without starting one."""
    trace = Trace(trace_id="trc_20260213_abc123def", project_name="cobot")
    trace.record("rubric", "rubric_loaded", {"what": "21"})
    trace.mark_complete()
    assert trace.to_dict()["stages"]["rubric"]["decisions"][0]["confidence"] == 1.0
    result = finish(trace)
    assert load(result["file_path"])["trace_id"] == trace.trace_id
    assert "supabase_error" in result


def test_long_prompts_are_whole_in_the_file():
    """Texts that the log keeps in blobs are read back."""
    prompt = "Be exact. " * 20_000
    with TraceContext.start(project_name="cobot") as trace:
        trace.record_prompts("synthesis", {"system_prompt": prompt})
        trace.record("synthesis", "draft", {"what": prompt})
    document = load(trace.result["file_path"])
    assert document["stages"]["synthesis"]["prompts"]["system_prompt"] == prompt
    assert document["stages"]["synthesis"]["decisions"][0]["what"] == prompt


def test_the_summary_is_markdown_that_obeys_nothing_recorded(traced):
    """The page beside the file names outcome, stages and decisions, with markup escaped."""
    with TraceContext.start(project_name="cobot", query="# big\n| <b>x</b>") as trace:
        run_pipeline(trace)
        trace.record("intake", "odd", {"what": "`code` [link](http://e.org)\x1b[31m"})
    text = (traced / "projects" / "cobot" / "_traces" / f"{trace.trace_id}_summary.md").read_text()
    assert text.startswith(f"# Trace {trace.trace_id}\n")
    assert "- **Quality**: passed, 2.4 (threshold 2.0)" in text
    assert "| synthesis |" in text
    assert "**META-12** scored 1: no citations" in text
    assert r"\# big \| \<b\>x\</b\>" in text
    assert r"\[link\](http://e.org)" in text
    assert "\x1b" not in text


def test_any_core_run_renders_as_a_trace(recording):
    """Stages, figures and rounds of a run of the core follow from its standard records."""
    with whence.run("report", project="lib", kind="research", question="Q?") as run:
        run.set(intent="learning")
        for number, score in ((1, 1.5), (2, 2.5)):
            with whence.stage("quality_gate") as stage:
                stage.score("clear", score, threshold=2, iteration=number, feedback="hm")
                stage.score("overall", score, threshold=2, iteration=number)
        with whence.stage("synthesis") as stage:
            stage.record_generation(
                model="m", usage={"input_tokens": 5, "output_tokens": 3}, cost_usd=0.1,
                messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
            )  # fmt: skip
        run.decide("final", "kept", options=["kept", "dropped"])
        run.output("r1", kind="report", path="r.md")
    with open_store(recording) as reader:
        document = render(reader.run(run.id), reader.value)
    assert document["trace_id"] == run.id
    assert (document["run"]["query"], document["run"]["intent"]) == ("Q?", "learning")
    assert document["stages"]["quality_gate"]["overall_score"] == 2.5
    assert document["stages"]["quality_gate"]["earlier"][0]["gaps"][0]["id"] == "clear"
    assert [one["quality_gate_result"] for one in document["iterations"]] == ["FAIL", "PASS"]
    synthesis = document["stages"]["synthesis"]
    assert synthesis["prompts"] == {"system_prompt": "s", "user_message": "u"}
    assert synthesis["token_usage"]["total_tokens"] == 8
    (final,) = document["stages"]["run"]["decisions"]
    assert (final["confidence"], final["alternatives_considered"]) == (None, ["dropped"])
    assert document["outputs"]["report_path"] == "r.md"
