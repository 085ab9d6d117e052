"""Flowcept: a workflow is a run in which its tasks are stages."""

from __future__ import annotations

import json

import pytest
from platformdata import flowcept_task, flowcept_tasks
from trajectorydata import document, expected, lines, of_kind, records_of

import whence
from whence.ingest import flowcept
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.record.generation import Generation, ToolCall
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output
from whence.record.span import SpanEnded, SpanStarted


@pytest.fixture
def records(tmp_path):
    """The records of a workflow with four tasks."""
    found, skipped = records_of(document(tmp_path / "tasks.json", flowcept_tasks()), "flowcept")
    assert skipped == []
    return found


def test_a_task_is_a_stage_with_what_it_used_and_generated(records):
    """Its telemetry is among the attributes; it began when it ran, not when it was submitted."""
    first = of_kind(records, SpanStarted)[0]
    ended = of_kind(records, SpanEnded)[0]
    result = of_kind(records, Output)[0]

    assert (first.name, first.span_kind, first.input) == ("train", "stage", {"epochs": 0})
    assert first.ts == "2026-01-01T00:00:00.250000000Z"
    assert first.attributes["telemetry_at_start"] == {"cpu": {"percent_all": 32.1}}
    assert (ended.output["loss"], ended.duration_ns) == (0.5, 500_000_000)
    assert (result.output_id, result.summary) == ("task-0", "loss 0.5")


def test_what_an_agent_did_is_a_model_call_or_a_tool_call(records):
    """By the subtypes of PROV-AGENT."""
    (call,), (tool,) = of_kind(records, Generation), of_kind(records, ToolCall)

    assert (call.model, call.usage.input_uncached, call.usage.output_visible) == ("gpt-5", 12, 3)
    assert call.messages == [{"role": "user", "content": "capital?"}]
    assert (tool.tool_name, tool.output) == ("lookup", {"city": "Paris"})


def test_tokens_that_were_estimated_are_not_stated(tmp_path):
    """Flowcept counts characters where the provider said nothing."""
    estimate = {"input_tokens": 2, "token_count_source": "estimated_from_chars"}
    task = flowcept_task(0, subtype="ai_model_invocation", custom_metadata={"llm_usage": estimate})

    records, _ = records_of(lines(tmp_path / "t.jsonl", [task]), "flowcept")

    assert of_kind(records, Generation)[0].usage is None


def test_a_task_that_failed_fails_its_workflow(records):
    """And is linked to the one that it depended on."""
    (ended,), (link,) = of_kind(records, RunEnded), of_kind(records, Link)
    spans = of_kind(records, SpanStarted)

    assert (ended.status, ended.error) == ("failed", {"type": "ERROR", "message": "out of memory"})
    assert (link.link_kind, link.source, link.target) == (
        "triggered_by",
        spans[0].span,
        spans[3].span,
    )


def test_a_task_that_never_ended_keeps_its_run_open(home, tmp_path):
    """As the last of a workflow that was exported while it ran."""
    open_task = {k: v for k, v in flowcept_task(1).items() if k not in {"ended_at", "status"}}
    import_paths(home, [document(tmp_path / "t.json", [flowcept_task(0), open_task])])

    with whence.open(home) as store:
        run = store.run("wf_1")
        assert run.run.status == "incomplete"
        assert [span.status for span in run.tables["spans"]] == ["ok", "incomplete"]


def test_what_became_known_later_is_of_the_same_task(tmp_path):
    """The buffer has a line when a task begins and another when it ends."""
    whole = flowcept_task(0)
    begun = {k: whole[k] for k in ("task_id", "workflow_id", "activity_id", "started_at", "used")}
    ended = {k: whole[k] for k in ("task_id", "workflow_id", "ended_at", "generated", "status")}

    records, _ = records_of(lines(tmp_path / "b.jsonl", [begun, ended]), "flowcept")

    (span,) = of_kind(records, SpanStarted)
    assert (span.name, span.input) == ("train", {"epochs": 0})
    assert of_kind(records, SpanEnded)[0].duration_ns == 500_000_000


def test_a_workflow_says_what_it_is_itself(tmp_path):
    """Its own document names it and its parent; objects are its outputs."""
    workflow = {
        "type": "workflow",
        "workflow_id": "wf_1",
        "parent_workflow_id": "wf_0",
        "name": "training",
        "campaign_id": "c",
        "user": "ada",
        "utc_timestamp": 1767225500.5,
        "used": {"seed": 1},
    }
    model = {"object_id": "m1", "object_type": "ml_model", "workflow_id": "wf_1", "version": 2}
    path = lines(tmp_path / "b.jsonl", [workflow, flowcept_task(0), model])

    records, skipped = records_of(path, "flowcept")

    (started,) = of_kind(records, RunStarted)
    assert (started.name, started.user, started.workflow) == ("training", "ada", "c")
    assert started.parent_run is not None
    assert ("m1", "ml_model") in {(o.output_id, o.output_kind) for o in of_kind(records, Output)}
    assert skipped == []


def test_documents_of_no_workflow_are_named(tmp_path):
    """The others are there."""
    path = lines(tmp_path / "b.jsonl", [flowcept_task(0), {"task_id": "x"}])

    records, skipped = records_of(path, "flowcept")

    assert len(of_kind(records, SpanStarted)) == 1
    assert [(one.where.rpartition(":")[2], one.why) for one in skipped] == [
        ("2", "it names no workflow")
    ]


def test_the_corpus_has_exactly_its_tasks(home):
    """One run, a stage a task, none of which says more of its status than its end."""
    folder, want = expected("flowcept-tasks")

    report = import_paths(home, [folder])
    again = import_paths(home, [folder])

    assert report.format == "flowcept"
    assert (report.runs, report.spans) == (want["workflows"], want["records"])
    assert (again.new, again.already_there) == (0, report.new)
    with whence.open(home) as store:
        (run,) = store.runs(limit=None)
        spans = store.run(run.id).tables["spans"]
    assert {name: sum(s.name == name for s in spans) for name in want["activity_id"]} == (
        want["activity_id"]
    )
    assert sum(span.ended_ns is not None for span in spans) == want["keys"]["ended_at"]
    assert sum(span.output is not None for span in spans) == want["keys"]["generated"]
    assert sum(span.input is not None for span in spans) == want["keys"]["used"]


def test_tasks_of_the_first_versions_are_those_of_their_campaign(tmp_path):
    """They name no workflow, and their times are as MongoDB writes long numbers."""
    task = {
        "task_id": "t1",
        "used": {"x": 1},
        "started_at": {"$numberLong": "1674603140215"},
        "ended_at": {"$numberLong": "1674603140228"},
        "status": "FINISHED",
        "campaign_id": "c",
        "plugin_id": "mlflow",
    }
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps([task]))

    records, skipped = records_of(path, "flowcept")

    (run,) = of_kind(records, RunStarted)
    (ended,) = of_kind(records, SpanEnded)
    assert (run.name, ended.duration_ns, skipped) == ("c", 13_000_000, [])
    assert flowcept.detect(Source(path))
