"""Traces begin, nest and end as contexts do, however the pipeline leaves them."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import threading

import pytest
from researching import (
    INTENT,
    finish,
    load,
    traced_root,  # noqa: F401 - a fixture
)

import whence
from whence.capture.context import current_scope
from whence.query.reader import open_store
from whence.research import Decision, StageTrace, Trace, TraceContext, TraceQuery

pytestmark = pytest.mark.usefixtures("traced")


def test_a_block_that_ends_in_order_is_complete():
    """Leaving the block marks the trace complete and writes it."""

    async def run():
        async with TraceContext.start(project_name="cobot") as trace:
            assert TraceContext.current() is trace
            trace.start_stage("intake")
            trace.end_stage("intake")
        assert TraceContext.current() is None
        return trace

    trace = asyncio.run(run())

    assert trace.status == "complete"
    assert load(trace.result["file_path"])["run"]["status"] == "complete"


@pytest.mark.parametrize("raised", [ValueError("no evidence"), KeyboardInterrupt("stop")])
def test_a_crash_leaves_an_incomplete_trace_and_goes_on(recording, raised):
    """What was recorded is kept, with the error at the stage that was open; the error passes on."""

    async def run():
        async with TraceContext.start(project_name="cobot", query="Q") as trace:
            traces.append(trace)
            trace.start_stage("intake")
            trace.end_stage("intake")
            trace.start_stage("collection")
            trace.record("collection", "source_selection", {"what": "exa"})
            raise raised

    traces: list[Trace] = []
    with pytest.raises(type(raised)):
        asyncio.run(run())

    document = load(traces[0].result["file_path"])
    assert document["run"]["status"] == "incomplete"
    assert document["stages"]["intake"]["error"] is None
    assert document["stages"]["collection"]["decisions"][0]["what"] == "exa"
    said = str(raised) if isinstance(raised, ValueError) else "cancelled"
    assert document["stages"]["collection"]["error"] == said
    assert str(raised) in document["outputs"]["error"]
    with open_store(recording) as reader:
        assert reader.run(traces[0].trace_id).status == "incomplete"


def test_a_cancelled_task_leaves_an_incomplete_trace():
    """Cancellation is a way out like any other."""

    async def work():
        async with TraceContext.start(project_name="cobot") as trace:
            traces.append(trace)
            trace.start_stage("collection")
            await asyncio.sleep(60)

    async def run():
        task = asyncio.create_task(work())
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    traces: list[Trace] = []
    asyncio.run(run())

    document = load(traces[0].result["file_path"])
    assert document["run"]["status"] == "incomplete"
    assert document["stages"]["collection"]["error"] == "cancelled"


def test_a_trace_that_nobody_marked_is_finished_as_incomplete():
    """`finish` alone does not take it for done; and it may be called again."""
    trace = TraceContext.start(project_name="cobot")

    first = finish(trace)

    assert trace.status == "incomplete"
    assert finish(trace) is first


def test_a_plain_block_works_too():
    """Code without an event loop uses `with`."""
    with TraceContext.start(project_name="cobot") as trace:
        trace.record("intake", "classified_intent", INTENT)
    assert trace.status == "complete"
    assert trace.result["supabase"] == "saved"


def test_mark_failed_keeps_the_reason():
    """A failed trace says why in its outputs, and its run is failed."""
    with TraceContext.start(project_name="cobot") as trace:
        trace.mark_failed("no sources answered")
    document = load(trace.result["file_path"])
    assert document["run"]["status"] == "failed"
    assert document["outputs"]["error"] == "no sources answered"


def test_traces_of_tasks_do_not_mix():
    """Each task has its own current trace, and so do the tasks it starts."""

    async def step(name):
        await asyncio.sleep(0.001)
        TraceContext.current().record("intake", "said", {"what": name})

    async def one(name):
        async with TraceContext.start(project_name=name) as trace:
            await asyncio.gather(step(name), step(name))
        return trace

    async def run():
        return await asyncio.gather(*(one(f"p{n}") for n in range(8)))

    for number, trace in enumerate(asyncio.run(run())):
        said = [one.what for one in trace.stages["intake"].decisions]
        assert said == [f"p{number}"] * 2


def test_a_bound_thread_finds_the_trace():
    """A function that went through `whence.bind` records into the trace of its caller."""
    with TraceContext.start(project_name="cobot") as trace:
        found = []
        threads = [
            threading.Thread(target=whence.bind(lambda: found.append(TraceContext.current()))),
            threading.Thread(target=lambda: found.append(TraceContext.current())),
        ]
        for thread in threads:
            thread.start()
            thread.join()
    assert found == [trace, None]


def test_fields_that_are_set_on_a_trace_are_recorded_at_once(recording):
    """An intent that is known only after the intake stands in the run while it runs."""
    trace = TraceContext.start(project_name="cobot")
    trace.intent = "validating"
    with open_store(recording) as reader:
        assert reader.run(trace.trace_id).run.attributes["intent"] == "validating"
    finish(trace)


def test_what_is_put_into_a_trace_without_its_methods_is_kept():
    """Decisions, outputs and children that were appended directly are in the file."""
    trace = TraceContext.start(project_name="cobot")
    trace.stages["rubric"] = StageTrace("rubric")
    trace.stages["rubric"].decisions.append(Decision("rubric_loaded", "21", "all", 1.0))
    trace.outputs["report_path"] = "r.md"
    trace.child_traces.append({"trace_id": "trc_child", "output_type": "report", "path": "c.md"})
    trace.mark_complete()

    document = load(finish(trace)["file_path"])

    assert document["stages"]["rubric"]["decisions"][0]["what"] == "21"
    assert document["outputs"] == {"report_path": "r.md"}
    assert document["child_traces"][0]["path"] == "c.md"


def test_a_decision_without_a_stated_confidence_is_sure_in_the_file_and_silent_in_the_log(
    recording,
):
    """The document's default of 1.0 is not taken for something that anybody said."""
    trace = TraceContext.start(project_name="cobot")
    trace.record("rubric", "rubric_loaded", {"what": "21 principles"})
    document = load(finish(trace)["file_path"])

    assert document["stages"]["rubric"]["decisions"][0]["confidence"] == 1.0
    with open_store(recording) as reader:
        assert reader.run(trace.trace_id).decisions[0].confidence is None


def test_what_a_decision_has_no_field_for_is_kept_beside_it(recording):
    """Unknown keys of a decision's data are in the log, tied to the decision."""
    trace = TraceContext.start(project_name="cobot")
    trace.record("rubric", "loaded", {"what": "a", "confidence": "high", "tier": {"x": 1}})
    finish(trace)
    with open_store(recording) as reader:
        tree = reader.run(trace.trace_id)
        (event,) = tree.events
        assert event.data["said"] == {"tier": {"x": 1}, "confidence": "high"}
        assert event.data["decision"] == tree.decisions[0].id


def test_a_stage_gone_through_again_keeps_its_earlier_passes(recording):
    """A retry replaces the stage in the document, and loses nothing."""
    trace = TraceContext.start(project_name="cobot")
    for number in (1, 2):
        trace.start_stage("synthesis")
        trace.record("synthesis", "draft", {"what": number})
        trace.end_stage("synthesis", outputs={"model": f"m{number}", "cost_usd": 0.5})
    trace.mark_complete()
    document = load(finish(trace)["file_path"])

    stage = document["stages"]["synthesis"]
    assert [one["what"] for one in stage["decisions"]] == [2]
    assert [one["what"] for one in stage["earlier"][0]["decisions"]] == [1]
    with open_store(recording) as reader:
        tree = reader.run(trace.trace_id)
        assert [row.model for row in tree.generations] == ["m1", "m2"]
        (retry,) = [row for row in tree.links if row.kind == "retry_of"]
        assert (retry.source, retry.target) == tuple(node.row.id for node in tree.spans)
    row = asyncio.run(TraceQuery.compare(trace.trace_id, trace.trace_id))["trace_a"]
    assert row["cost_usd"] == 1.0


def test_iterations_count_their_failures_however_these_are_told():
    """`passed` counts, and where it is missing the result's own word."""
    trace = TraceContext.start(project_name="cobot")
    trace.record_iteration({"iteration": 1, "quality_gate_result": "FAIL", "overall_score": 1.6})
    trace.record_iteration({"iteration": 2, "passed": False})
    trace.record_iteration({"iteration": 3, "quality_gate_result": "PASS", "overall_score": 2.4})
    assert (trace.iteration_count, trace.quality_gate_failures) == (3, 2)
    trace.mark_complete()
    document = load(finish(trace)["file_path"])
    assert document["iterations"] == trace.iterations
    assert (document["iteration_count"], document["quality_gate_failures"]) == (3, 2)


def test_a_verdict_told_by_gate_and_round_is_one_score(recording):
    """The gate's outputs and the round's record of the same round do not count twice."""
    trace = TraceContext.start(project_name="cobot")
    for number, score in ((1, 1.6), (2, 2.4)):
        trace.start_stage("quality_gate")
        trace.end_stage("quality_gate", outputs={"overall_score": score, "passed": score > 2})
        trace.record_iteration({"iteration": number, "overall_score": score, "passed": score > 2})
    trace.mark_complete()
    finish(trace)
    with open_store(recording) as reader:
        scores = reader.run(trace.trace_id).scores
        assert [(row.iteration, row.value) for row in scores] == [(1, 1.6), (2, 2.4)]


def test_a_trace_inside_a_trace_is_its_child(recording):
    """The child names its parent, the parent lists the child with the path of its report."""
    with TraceContext.start(project_name="cobot") as parent:
        with TraceContext.start(project_name="cobot", output_type="report") as child:
            child.set_outputs({"report_path": "child.md"})
        assert TraceContext.current() is parent

    said = {"trace_id": child.trace_id, "output_type": "report", "path": "child.md"}
    assert load(parent.result["file_path"])["child_traces"] == [said]
    document = load(child.result["file_path"])
    assert document["parent_trace_id"] == parent.trace_id
    with open_store(recording) as reader:
        above, below = reader.run(parent.trace_id), reader.run(child.trace_id)
        assert below.run.parent_run == above.run.id
        descendants = reader.lineage(parent.trace_id, "descendants").to_dict()
        assert below.run.id in json.dumps(descendants)


def test_a_parent_can_be_named():
    """A child that is started elsewhere says whose it is."""
    with TraceContext.start(project_name="cobot", parent_trace_id="trc_20260213_parent") as child:
        assert child.parent_trace_id == "trc_20260213_parent"
    document = load(child.result["file_path"])
    assert document["parent_trace_id"] == "trc_20260213_parent"


def test_core_verbs_inside_a_trace_belong_to_it():
    """What a stage records by whence itself is in the stage of the file, and costs count once."""
    with TraceContext.start(project_name="cobot") as trace:
        trace.start_stage("synthesis")
        with whence.generation("draft", provider="openai", model="gpt-4o") as span:
            span.record_generation(usage={"input_tokens": 7, "output_tokens": 2}, cost_usd=0.25)
            span.decide("tone", "plain", options={"plain": 0.9, "ornate": 0.1})
        trace.end_stage("synthesis", outputs={"model": "gpt-4o", "cost_usd": 0.25})
        trace.start_stage("collection")
        whence.current_span().source("web", "https://a.org", kept=False, reason="old")
        trace.end_stage("collection")
    document = load(trace.result["file_path"])
    (decision,) = document["stages"]["synthesis"]["decisions"]
    assert (decision["what"], decision["alternatives_considered"]) == ("plain", ["ornate (0.10)"])
    evidence = document["stages"]["collection"]["evidence"]
    assert evidence["filtered_out"] == [{"url": "https://a.org", "reason": "old"}]
    row = asyncio.run(TraceQuery.compare(trace.trace_id, trace.trace_id))["trace_a"]
    assert row["cost_usd"] == 0.25


def test_stages_may_overlap_and_other_tasks_may_end_them():
    """Stages lie side by side in the run, whoever is current where they end."""

    async def end(trace):
        trace.end_stage("a", outputs={"n": 1})

    async def run():
        async with TraceContext.start(project_name="cobot") as trace:
            trace.start_stage("a")
            trace.start_stage("b")
            await asyncio.create_task(end(trace))
            trace.record("b", "said", {"what": 1})
            trace.end_stage("b")
            assert whence.current_span().id == whence.current_run().id
        return trace

    document = load(asyncio.run(run()).result["file_path"])
    assert document["stages"]["a"]["outputs"] == {"n": 1}
    assert [one["what"] for one in document["stages"]["b"]["decisions"]] == [1]


def test_a_run_around_a_trace_is_current_again_after_it():
    """A trace inside a core run is its child, and gives the context back."""
    with whence.run("batch") as batch:
        with TraceContext.start(project_name="cobot"):
            assert whence.current_run().id != batch.id
        assert whence.current_run() is batch
    assert current_scope.get() is None


def test_components_may_record_from_many_threads(recording):
    """Nothing is lost and nothing is there twice, in the file and in the log."""
    with TraceContext.start(project_name="cobot") as trace:

        def work(number):
            for count in range(50):
                trace.record(f"stage {count % 3}", "decided", {"what": [number, count]})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    document = load(trace.result["file_path"])
    told = [one["what"] for stage in document["stages"].values() for one in stage["decisions"]]
    assert sorted(told) == [[number, count] for number in range(8) for count in range(50)]
    with open_store(recording) as reader:
        assert len(reader.run(trace.trace_id).decisions) == 400


def test_a_trace_is_plain_data_but_for_what_runs_it():
    """Dataclass tools see the document's fields and nothing else."""
    with TraceContext.start(project_name="cobot") as trace:
        trace.record("intake", "classified_intent", INTENT)
    fields = dataclasses.asdict(trace)
    assert fields["stages"]["intake"]["decisions"][0]["what"] == "validating"
    assert {"recording", "ender", "outer", "result", "lock"}.isdisjoint(fields)
