"""Phoenix: spans and annotations in every form that its API and its data frames give them."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from platformdata import TRACE, phoenix_annotations, phoenix_span, phoenix_spans
from trajectorydata import document, lines, of_kind, records_of

import whence
from whence.ingest.importer import import_paths
from whence.record.generation import Generation, ToolCall
from whence.record.score import Score
from whence.record.source import Source
from whence.record.span import SpanStarted


def frame(*more):
    """Return the spans as Phoenix's data frame has them: columns of attributes, lists nested."""
    rows = []
    for span in phoenix_spans():
        attributes, nested = dict(span["attributes"]), {}
        for name in list(attributes):
            for prefix in ("llm.input_messages", "llm.output_messages", "retrieval.documents"):
                if name.startswith(prefix):
                    part = name.removeprefix(f"{prefix}.0.")
                    nested.setdefault(prefix, [{}])[0][part] = attributes.pop(name)
        rows.append(
            {
                "name": span["name"],
                "span_kind": span["span_kind"],
                "parent_id": span["parent_id"],
                "start_time": pd.Timestamp(span["start_time"]),
                "end_time": pd.Timestamp(span["end_time"]),
                "status_code": span["status_code"],
                "status_message": span["status_message"],
                "events": span["events"],
                "context.span_id": span["context"]["span_id"],
                "context.trace_id": span["context"]["trace_id"],
                **{f"attributes.{name}": value for name, value in (attributes | nested).items()},
            }
        )
    for columns in more:
        rows[0] |= columns
    return pd.DataFrame(rows).set_index("context.span_id", drop=False)


def facts(home):
    """Return what a home says of the trace."""
    with whence.open(home) as store:
        run = store.run(TRACE)
        (call,) = run.generations
        (source,) = run.sources
        return {
            "spans": [(one.name, one.kind, one.status) for one in run.tables["spans"]],
            "tokens": (call.input_tokens, call.output_tokens, call.cost_usd),
            "messages": (call.messages, call.output),
            "source": (source.source_key, source.scores, source.attributes),
            "error": run.tool_calls[0].error,
            "times": (run.run.started_ns, run.run.ended_ns),
            "session": run.run.session,
        }


@pytest.fixture
def told(tmp_path):
    """What the spans say as the API answers them."""
    import_paths(tmp_path / "whole", [document(tmp_path / "api.json", {"data": phoenix_spans()})])
    return facts(tmp_path / "whole")


def test_spans_of_the_api_say_what_they_are(tmp_path):
    """The kind stands beside the attributes, which are those of OpenInference."""
    page = {"data": phoenix_spans(), "next_cursor": None}
    records, skipped = records_of(document(tmp_path / "spans.json", page), "phoenix")

    kinds = {span.name: span.span_kind for span in of_kind(records, SpanStarted)}
    (call,), (tool,) = of_kind(records, Generation), of_kind(records, ToolCall)
    (source,) = of_kind(records, Source)
    assert kinds == {
        "agent": "agent",
        "search": "retrieval",
        "chat": "generation",
        "lookup": "tool",
    }
    assert (call.model, call.cost_usd) == ("gpt-5", 0.003)
    assert call.messages == [{"role": "user", "content": "capital?"}]
    assert tool.error == {"type": "KeyError", "message": "no city"}
    assert (source.source_key, source.scores) == ("fr", {"relevance": 0.9})
    assert skipped == []


@pytest.mark.parametrize("orient", ["records", "lines", "epoch", "columns", "parquet"])
def test_a_data_frame_says_the_same(orient, told, home, tmp_path):
    """As pandas writes it: times as texts or numbers, by row or by column."""
    path = tmp_path / f"frame.{'parquet' if orient == 'parquet' else 'json'}"
    spans = frame()
    if orient == "epoch":  # which pandas wrote by default until it said that it will not
        for name in ("start_time", "end_time"):
            spans[name] = [int(time.timestamp() * 1000) for time in spans[name]]
    if orient == "parquet":
        spans.to_parquet(path)
    elif orient == "columns":
        spans.to_json(path, date_format="iso")
    else:
        spans.to_json(path, orient="records", lines=orient == "lines", date_format="iso")

    first = import_paths(home, [path])

    assert first.format == "phoenix"
    assert first.skipped == []
    assert facts(home) == told
    assert import_paths(home, [path]).new == 0


def test_nested_attributes_are_those_of_flat_names(told, home, tmp_path):
    """Phoenix keeps them nested, and its older JSON Lines half so."""
    spans = []
    for span in phoenix_spans():
        nested = {}
        for name, value in span["attributes"].items():
            node = nested
            words = name.split(".")
            for word in words[:-1]:
                node = node.setdefault(word, {})
            node[words[-1]] = value
        spans.append({**span, "attributes": numbered(nested), "conversation": None})

    import_paths(home, [lines(tmp_path / "spans.jsonl", spans)])

    assert facts(home) == told


def numbered(node):
    """Return a tree in which mappings of indices are lists."""
    if not isinstance(node, dict):
        return node
    inner = {key: numbered(value) for key, value in node.items()}
    return list(inner.values()) if inner and all(map(str.isdecimal, inner)) else inner


def test_spans_in_the_form_of_otlp_are_read(home, tmp_path):
    """The API gives them so at `/otlpv1`."""
    attributes = [
        {"key": "openinference.span.kind", "value": {"string_value": "LLM"}},
        {"key": "llm.token_count.prompt", "value": {"int_value": 12}},
    ]
    span = {
        "name": "chat",
        "trace_id": TRACE,
        "span_id": "aaaaaaaaaaaaaaa2",
        "start_time_unix_nano": 1767225602000000000,
        "end_time_unix_nano": 1767225602500000000,
        "attributes": attributes,
    }

    report = import_paths(home, [document(tmp_path / "o.json", {"data": [span]})])

    assert (report.format, report.generations, report.usage_stated.input) == ("phoenix", 1, 12)


def test_traces_with_their_spans_have_at_least_the_tree(home, tmp_path):
    """`GET .../traces` tells of spans no more than name, kind and times."""
    spans = [
        {
            "id": span["id"],
            "span_id": span["context"]["span_id"],
            **{name: span[name] for name in ("name", "span_kind", "parent_id", "status_code")},
            "start_time": span["start_time"],
            "end_time": span["end_time"],
        }
        for span in phoenix_spans()
    ]
    trace = {"id": "x", "trace_id": TRACE, "project_id": "p", "spans": spans}

    report = import_paths(home, [document(tmp_path / "traces.json", {"data": [trace]})])

    assert (report.format, report.spans, report.generations, report.tool_calls) == (
        "phoenix",
        4,
        1,
        1,
    )


def test_annotations_find_their_spans_in_the_files_beside(home, tmp_path):
    """Of a span, of a document that it found, of the trace; what is about nothing is named."""
    folder = tmp_path / "in"
    folder.mkdir()
    lost = {"name": "x", "annotator_kind": "CODE", "span_id": "f" * 16, "result": {"score": 1}}
    session = {"name": "x", "annotator_kind": "CODE", "session_id": "s-1", "result": {"score": 1}}
    lines(folder / "spans.jsonl", phoenix_spans())
    document(folder / "annotations.json", {"data": [*phoenix_annotations(), lost, session]})

    report = import_paths(home, [folder])

    assert (report.spans, report.scores) == (4, 3)
    assert [skipped.why for skipped in report.skipped] == [
        f"it is about span '{'f' * 16}', which is neither here nor in a file beside",
        "it is about a session",
    ]
    with whence.open(home) as store:
        run = store.run(TRACE)
        scores = {score.name: score for score in run.scores}
        assert (scores["correctness"].value, scores["correctness"].passed) == (1.0, True)
        assert (scores["correctness"].feedback, scores["correctness"].by) == ("it is", "llm")
        assert scores["relevance"].target == run.sources[0].id
        assert (scores["tone"].value, scores["tone"].feedback) == (None, "kind")
        assert all(score.ts_ns >= run.run.started_ns for score in run.scores)
    assert import_paths(home, [folder]).new == 0


@pytest.mark.parametrize("shape", ["records", "parquet"])
def test_rows_of_annotations_are_read(shape, tmp_path):
    """The client's data frame has a column for each part of the result."""
    rows = pd.json_normalize(phoenix_annotations()[:1]).rename(columns={"name": "annotation_name"})
    path = tmp_path / f"annotations.{shape}"
    rows = rows.drop(columns=["user_id"])
    if shape == "parquet":
        rows.to_parquet(path)
    else:
        rows.to_json(path, orient="records")
    lines(tmp_path / "spans.jsonl", phoenix_spans())

    records, skipped = records_of(path, "phoenix")

    (score,) = of_kind(records, Score)
    assert (score.name, score.value, score.span) == ("correctness", 1.0, "aaaaaaaaaaaaaaa0")
    assert skipped == []


def test_evaluations_in_columns_are_scores(tmp_path):
    """As the older data frame has them beside its spans."""
    columns = {"eval.toxicity.score": 0.1, "eval.toxicity.label": "kind", "eval.x.label": "no"}
    path = tmp_path / "frame.json"
    frame(columns).to_json(path, orient="records", date_format="iso")

    records, _ = records_of(path, "phoenix")

    scores = sorted(
        (one.name, one.value, one.passed, one.feedback) for one in of_kind(records, Score)
    )
    assert scores == [("toxicity", 0.1, None, "kind"), ("x", None, False, "no")]


def test_ids_of_older_versions_are_kept_as_the_external_id(home, tmp_path):
    """They were UUIDs, also those of spans."""
    trace, root = "9c3d5e0a-6a0b-4a52-8f5f-0a1b2c3d4e5f", "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    spans = [
        phoenix_span(0, "CHAIN", "a", context={"trace_id": trace, "span_id": root}, parent_id=None),
        phoenix_span(1, "TOOL", "b", context={"trace_id": trace, "span_id": "b-b"}, parent_id=root),
    ]

    import_paths(home, [lines(tmp_path / "spans.jsonl", spans)])

    with whence.open(home) as store:
        (top,) = store.run(trace).spans
        assert [child.name for child in top.children] == ["b"]


def test_events_written_as_text_are_read(tmp_path):
    """A data frame that went through CSV or a database has them as JSON."""
    span = phoenix_spans()[3]
    row = {**span, "events": json.dumps(span["events"])}

    records, _ = records_of(document(tmp_path / "s.json", [row]), "phoenix")

    assert of_kind(records, ToolCall)[0].error["type"] == "KeyError"
