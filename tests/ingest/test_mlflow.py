"""MLflow: traces of both schemas, with their assessments, however they were saved."""

from __future__ import annotations

import copy
import json

import pytest
from platformdata import TRACE, mlflow_span, mlflow_trace
from trajectorydata import document, lines, of_kind, records_of

import whence
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.record.generation import Generation, ToolCall
from whence.record.run import RunStarted
from whence.record.score import Annotation, Score
from whence.record.source import Source as SourceRecord
from whence.record.span import SpanStarted


def schema_2():
    """Return the trace as versions before 3 wrote it."""
    trace = mlflow_trace()
    info = trace["info"]
    spans = []
    for number, span in enumerate(trace["data"]["spans"]):
        failed = span["status"]["code"].endswith("ERROR")
        spans.append(
            {
                "name": span["name"],
                "context": {"trace_id": f"0x{TRACE}", "span_id": f"0xaaaaaaaaaaaaaa0{number}"},
                "parent_id": "0xaaaaaaaaaaaaaa00" if number else None,
                "start_time": span["start_time_unix_nano"],
                "end_time": span["end_time_unix_nano"],
                "status_code": "ERROR" if failed else "OK",
                "status_message": span["status"]["message"],
                "attributes": span["attributes"],
                "events": [
                    {
                        "name": event["name"],
                        "timestamp": event["time_unix_nano"],
                        "attributes": event["attributes"],
                    }
                    for event in span["events"]
                ],
            }
        )
    return {
        "info": {
            "request_id": f"tr-{TRACE}",
            "experiment_id": "7",
            "timestamp_ms": 1767225600000,
            "execution_time_ms": 9000,
            "status": "OK",
            "request_metadata": info["trace_metadata"],
            "tags": info["tags"],
            "assessments": info["assessments"],
        },
        "data": {"spans": spans, "request": '{"q": 1}', "response": '"Paris"'},
    }


def facts(home):
    """Return what a home says of the trace."""
    with whence.open(home) as store:
        run = store.run(f"tr-{TRACE}")
        (call,) = run.generations
        return {
            "run": (run.run.id, run.run.name, run.run.project, run.run.session, run.run.tags),
            "spans": [(one.id, one.name, one.kind, one.status) for one in run.tables["spans"]],
            "call": (call.model, call.input_tokens, call.cost_usd, call.messages, call.output),
            "tool": (run.tool_calls[0].tool_name, run.tool_calls[0].error),
            "sources": [source.locator for source in run.sources],
            "scores": sorted((one.name, one.value, one.passed, one.by) for one in run.scores),
            "remarks": [one.note for one in run.annotations],
        }


@pytest.fixture
def trace(tmp_path):
    """The records of a trace of schema 3."""
    records, skipped = records_of(document(tmp_path / "t.json", mlflow_trace()), "mlflow")
    assert skipped == []
    return records


def test_a_model_call_is_told_by_the_names_of_mlflow(trace):
    """Its request and answer are kept as messages, its tokens and cost as stated."""
    (call,) = of_kind(trace, Generation)

    assert (call.provider, call.model, call.response_id) == ("openai", "gpt-5", "c1")
    assert call.messages == [{"role": "user", "content": "capital?"}]
    assert call.output == [{"role": "assistant", "content": "Paris"}]
    assert (call.parameters, call.finish_reason) == ({"temperature": 0.2}, "stop")
    assert (call.usage.input_uncached, call.usage.output_visible) == (12, 3)
    assert call.cost_usd == 0.003


def test_tools_and_retrievers_say_what_they_did(trace):
    """With input, error and documents."""
    (tool,), (found,) = of_kind(trace, ToolCall), of_kind(trace, SourceRecord)

    assert (tool.tool_name, tool.input, tool.status) == ("lookup", {"city": "x"}, "error")
    assert tool.error == {"type": "ValueError", "message": "no city"}
    assert (found.locator, found.attributes["content"]) == ("fr.md", "Paris is the capital")


def test_feedback_is_a_score_and_an_expectation_a_remark(trace):
    """Of the trace, or of the span that it names in hex."""
    truth, number = of_kind(trace, Score)
    (remark,) = of_kind(trace, Annotation)

    assert (truth.name, truth.value, truth.passed, truth.feedback) == (
        "correctness",
        None,
        True,
        "right",
    )
    assert (truth.by, truth.attributes) == ("judge-1", {"source_type": "llm_judge"})
    assert (number.value, number.span, number.by) == (0.75, "aaaaaaaaaaaaaa01", "ada")
    assert (remark.target, remark.note, remark.attributes["expected"]) == (
        TRACE,
        "facts: ['Paris']",
        ["Paris"],
    )


def test_the_trace_is_the_run(trace):
    """Under MLflow's name for it, with its experiment, session, user and tags."""
    started = next(one for one in trace if isinstance(one, RunStarted))

    assert (started.run, started.external_id) == (TRACE, f"tr-{TRACE}")
    assert (started.name, started.project) == ("ask", "experiment 7")
    assert (started.session, started.user, started.tags) == ("s-1", "ada", ["env:test"])


@pytest.mark.parametrize(
    "shape", ["schema 2", "frame", "old frame", "list", "traces", "lines", "packed data"]
)
def test_every_form_says_the_same(shape, home, tmp_path):
    """Both schemas, rows of `search_traces`, lists, lines and answers of the API."""
    trace = mlflow_trace()
    row = {
        "trace_id": f"tr-{TRACE}",
        "trace": json.dumps(trace),
        "state": "OK",
        "spans": trace["data"]["spans"],
        "assessments": trace["info"]["assessments"],
    }
    forms = {
        "schema 2": schema_2(),
        "frame": [row],
        "old frame": [{"request_id": f"tr-{TRACE}", "trace": json.dumps(schema_2())}],
        "list": [trace],
        "traces": {"traces": [trace]},
        "packed data": {**trace, "data": json.dumps(trace["data"])},
    }
    import_paths(tmp_path / "whole", [document(tmp_path / "t.json", trace)])
    path = tmp_path / "in.json"
    if shape == "lines":
        lines(path, [trace, trace])
    else:
        document(path, forms[shape])

    first = import_paths(home, [path])

    assert (first.format, first.skipped) == ("mlflow", [])
    assert facts(home) == facts(tmp_path / "whole")
    assert import_paths(home, [path]).new == 0


def test_what_is_declared_stands_beside_what_calls_add_up_to(home, tmp_path):
    """MLflow sums tokens and cost over a trace itself."""
    trace = mlflow_trace()
    trace["info"]["trace_metadata"]["mlflow.trace.cost"] = '{"total_cost": 0.5}'

    report = import_paths(home, [document(tmp_path / "t.json", trace)])

    assert (report.cost_usd_declared, report.cost_usd_computed) == (0.5, 0.003)


def test_a_trace_without_spans_has_what_its_info_says(home, tmp_path):
    """As the search of the API answers; its spans may come later."""
    info = mlflow_trace()["info"]
    import_paths(home, [document(tmp_path / "infos.json", {"traces": [info]})])

    with whence.open(home) as store:
        run = store.run(f"tr-{TRACE}").run
        assert (run.id, run.name, run.status, run.duration_ms) == (TRACE, "ask", "complete", 9000.0)

    import_paths(home, [document(tmp_path / "trace.json", mlflow_trace())])

    with whence.open(home) as store:
        assert store.run(f"tr-{TRACE}").run.spans == 4


def test_the_artifact_of_spans_alone_is_read(home, tmp_path):
    """`traces.json` of a run's artifacts has no info."""
    path = document(tmp_path / "traces.json", mlflow_trace()["data"])

    report = import_paths(home, [path])

    assert (report.format, report.runs, report.spans, report.generations) == ("mlflow", 1, 4, 1)


def test_types_that_no_convention_knows_have_a_kind(tmp_path):
    """A type of the user's own is kept as an attribute."""
    trace = mlflow_trace()
    types = ["WORKFLOW", "EVALUATOR", "GUARDRAIL", "MY_TYPE"]
    trace["data"]["spans"] = [mlflow_span(n, kind, kind) for n, kind in enumerate(types)]

    records, _ = records_of(document(tmp_path / "t.json", trace), "mlflow")

    kinds = {span.name: span.span_kind for span in of_kind(records, SpanStarted)}
    assert kinds == {
        "WORKFLOW": "step",
        "EVALUATOR": "evaluation",
        "GUARDRAIL": "guardrail",
        "MY_TYPE": "custom",
    }


def test_a_state_that_the_user_gave_is_that_of_the_run(home, tmp_path):
    """MLflow lets a trace fail although its root span did not."""
    trace = mlflow_trace()
    trace["info"]["state"] = "ERROR"
    import_paths(home, [document(tmp_path / "t.json", trace)])

    with whence.open(home) as store:
        assert store.run(TRACE).run.status == "failed"


def test_judgements_of_every_form_are_kept(tmp_path):
    """Words, lists, failures of the judge, and what was overridden."""
    trace = mlflow_trace()
    one = trace["info"]["assessments"][0]
    values = {
        "word": {"feedback": {"value": "no"}},
        "list": {"feedback": {"value": [1, 2]}},
        "failed": {"feedback": {"value": None, "error": {"error_message": "timeout"}}},
        "overridden": {"feedback": {"value": 0.5}, "valid": False},
        "issue": {"feedback": None, "issue": {"issue_name": "slow"}},
    }
    trace["info"]["assessments"] = [
        {**copy.deepcopy(one), "rationale": None, "assessment_id": name, "assessment_name": name}
        | value
        for name, value in values.items()
    ]

    records, _ = records_of(document(tmp_path / "t.json", trace), "mlflow")

    scores = {score.name: score for score in of_kind(records, Score)}
    (flagged,) = of_kind(records, Annotation)
    assert (scores["word"].passed, scores["word"].feedback) == (False, "no")
    assert scores["list"].attributes["value"] == [1, 2]
    assert (scores["failed"].value, scores["failed"].feedback) == (None, "timeout")
    assert scores["overridden"].attributes["valid"] is False
    assert flagged.flag == "slow"


def test_spans_without_ids_are_named(tmp_path):
    """And the others are there."""
    trace = mlflow_trace()
    trace["data"]["spans"][3]["span_id"] = "../../x"

    records, skipped = records_of(document(tmp_path / "t.json", trace), "mlflow")

    assert len(of_kind(records, SpanStarted)) == 3
    assert [one.why for one in skipped] == ["1 spans have no valid trace and span id"]


def test_spans_of_an_sdk_are_not_taken_for_mlflow(tmp_path):
    """Nor is JSON in which the word happens to stand."""
    for number, content in enumerate(({"info": 1, "data": 2}, {"x": "mlflow"}, {"spans": []})):
        found = registry.find_format(Source(document(tmp_path / f"{number}.json", content)))
        assert found is None or found.name != "mlflow"
