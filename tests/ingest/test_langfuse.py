"""Langfuse: whatever it is exported as, a trace becomes the same run."""

from __future__ import annotations

import csv
import json
import re

import duckdb
import pytest
from platformdata import (
    TRACE,
    langfuse_observation,
    langfuse_observations,
    langfuse_scores,
    langfuse_trace,
    table,
)
from trajectorydata import document, lines, of_kind, records_of

import whence
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Annotation, Score
from whence.record.source import Source as SourceRecord
from whence.record.span import SpanStarted

SCORE_COLUMNS = {"correctness": [0.9], "answer_relevance": [0.5, 0.7], "tone": ["polite"]}


def table_row():
    """Return the trace as the UI's table export writes it: no observations, scores in columns."""
    trace = langfuse_trace()
    inner = {"observations", "scores", "htmlPath"}
    return {
        **{name: value for name, value in trace.items() if name not in inner},
        "bookmarked": False,
        "usage": {"promptTokens": 12, "completionTokens": 3, "totalTokens": 15},
        "level": "ERROR",
        "errorCount": 1,
        "observationCount": 6,
        "inputTokens": 12,
        "comments": [
            {
                "id": "c1",
                "content": "look here",
                "author_user_id": "u1",
                "created_at": "2026-01-02T00:00:00.000Z",
            }
        ],
        **SCORE_COLUMNS,
    }


def snake(name):
    named = {"model": "provided_model_name"}.get(name, name)
    return re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", named)


def scheduled(row):
    """Return a row as the scheduled export writes it."""
    made = {snake(name): value for name, value in row.items() if name != "usage"}
    for name in ("start_time", "end_time", "completion_start_time", "timestamp"):
        if made.get(name):
            made[name] = made[name].replace("T", " ").replace("Z", "000")
    for name in ("input", "output", "model_parameters"):
        value = made.get(name)
        made[name] = value if value is None or isinstance(value, str) else json.dumps(value)
    return {"project_id": "p1", **made}


def enriched(row):
    """Return an observation of the scheduled export with what it says of its trace."""
    return {
        **scheduled(row),
        "user_id": "ada",
        "session_id": "s-1",
        "trace_name": "ask",
        "tags": ["demo"],
        "release": "1.0",
    }


def page(rows):
    """Return an answer of the API."""
    return {"data": rows, "meta": {"page": 1, "limit": 50, "totalItems": len(rows)}}


def facts(home):
    """Return what a home says of the trace."""
    with whence.open(home) as store:
        run = store.run(TRACE)
        call = store.generations(limit=None).items[0]
        return {
            "spans": run.run.spans,
            "tools": run.run.tool_calls,
            "errors": run.run.errors,
            "cost": run.run.cost_usd,
            "tokens": (call.input_tokens, call.output_tokens, call.cache_read_tokens),
            "model": call.model,
            "prompt": (call.prompt_name, call.prompt_version),
            "first_chunk_ms": call.first_chunk_ms,
            "messages": call.messages,
            "sources": [source.source_key for source in run.sources],
            "events": [(event.message, event.level) for event in run.events],
        }


@pytest.fixture
def trace(tmp_path):
    """The records of a trace with all of its details."""
    records, skipped = records_of(document(tmp_path / "t.json", langfuse_trace()), "langfuse")
    assert skipped == []
    return records


def test_a_generation_is_a_model_call_with_its_prompt(trace):
    """Counts of Langfuse are apart from each other, which its total tells."""
    (call,) = of_kind(trace, Generation)

    assert (call.model, call.prompt_name, call.prompt_version) == ("gpt-5", "ask", "3")
    assert call.messages == [{"role": "user", "content": "capital?"}]
    assert call.output == [{"role": "assistant", "content": "Paris"}]
    assert call.parameters == {"temperature": 0.2}
    assert (call.cost_usd, call.cost_source) == (0.003, "declared")
    assert (call.first_chunk_ns, call.duration_ns) == (250_000_000, 500_000_000)
    usage = call.usage
    assert (usage.input_uncached, usage.cache_read) == (8, 4)
    assert (usage.output_visible, usage.reasoning) == (2, 1)


def test_types_of_observations_are_kinds_of_spans(trace):
    """An event is a moment and no span."""
    kinds = {span.name: span.span_kind for span in of_kind(trace, SpanStarted)}
    (event,) = of_kind(trace, Event)

    assert kinds == {
        "agent": "agent",
        "search": "retrieval",
        "chat": "generation",
        "lookup": "tool",
        "format": "step",
    }
    assert (event.message, event.level, event.span) == ("cache miss", "warning", "aaaaaaaaaaaaaaa0")


def test_what_failed_says_why(trace):
    """A level of ERROR is an error, with the status message as its reason."""
    (call,) = of_kind(trace, ToolCall)

    assert (call.tool_name, call.status) == ("lookup", "error")
    assert call.error == {"type": "error", "message": "no city"}
    assert call.input == {"q": 1}


def test_documents_of_a_retriever_are_sources(trace):
    """With what was found and where it is."""
    (found,) = of_kind(trace, SourceRecord)

    assert (found.locator, found.attributes["content"]) == ("fr.md", "Paris is the capital")


def test_scores_are_judgements_where_they_belong(trace):
    """A number, a truth and a word; the number beside a word says nothing."""
    number, truth, word = of_kind(trace, Score)

    assert (number.name, number.value, number.feedback, number.by) == (
        "correctness",
        0.9,
        "good",
        "eval",
    )
    assert (truth.value, truth.passed, truth.span) == (None, True, "aaaaaaaaaaaaaaa2")
    assert (word.value, word.feedback, word.by, word.span) == (None, "polite", "u1", None)


def test_the_trace_is_the_run(trace):
    """Its name, session, user and tags; what it declares stands beside what its calls cost."""
    started = next(one for one in trace if isinstance(one, RunStarted))

    assert (started.name, started.session, started.user) == ("ask", "s-1", "ada")
    assert started.tags == ["demo"]
    assert started.run == TRACE
    assert {one.status for one in of_kind(trace, RunEnded)} == {"complete"}


@pytest.mark.parametrize("shape", ["json", "jsonl", "csv", "parquet"])
@pytest.mark.parametrize("form", ["api", "scheduled", "enriched"])
def test_observations_say_the_same_in_every_form(form, shape, home, tmp_path):
    """Pages and lists, lines, CSV and Parquet, in camel and in snake case."""
    change = {"api": dict, "scheduled": scheduled, "enriched": enriched}[form]
    rows = [change(row) for row in langfuse_observations()]
    import_paths(tmp_path / "whole", [document(tmp_path / "t.json", langfuse_trace())])
    path = tmp_path / f"observations.{shape}"
    if shape == "json":
        document(path, page(rows) if form == "api" else rows)
    elif shape == "jsonl":
        lines(path, rows)
    elif shape == "csv":
        table(path, rows)
    else:
        duckdb.read_json(str(lines(tmp_path / "rows.jsonl", rows))).write_parquet(str(path))

    first = import_paths(home, [path])
    again = import_paths(home, [path])

    assert first.format == "langfuse"
    assert first.skipped == []
    assert facts(home) == facts(tmp_path / "whole")
    assert again.new == 0


def test_an_export_in_three_files_is_one_run(home, tmp_path):
    """Whatever the order in which traces, observations and scores come."""
    trace = {
        name: value
        for name, value in langfuse_trace().items()
        if name not in {"observations", "scores", "htmlPath", "totalCost", "latency"}
    }
    for name, rows in (
        ("traces", [{**trace, "bookmarked": False}]),
        ("observations", langfuse_observations()),
        ("scores", langfuse_scores()),
    ):
        (tmp_path / "in" / name).mkdir(parents=True)
        lines(tmp_path / "in" / name / "2026.jsonl", [scheduled(row) for row in rows])

    report = import_paths(home, [tmp_path / "in"])

    assert (report.runs, report.spans, report.scores, report.skipped) == (1, 5, 3, [])
    with whence.open(home) as store:
        run = store.run(TRACE)
        assert (run.run.session, run.run.user, run.run.tags) == ("s-1", "ada", ["demo"])
        assert run.run.output == "Paris"
        assert run.run.status == "complete"
        assert {score.name for score in run.scores} == {"correctness", "is_ok", "tone"}
    assert import_paths(home, [tmp_path / "in"]).new == 0


@pytest.mark.parametrize("shape", ["json", "csv"])
def test_the_table_of_traces_has_scores_in_columns(shape, home, tmp_path):
    """They are imported under their columns' names, beside comments and declared totals."""
    path = tmp_path / f"traces.{shape}"
    (table if shape == "csv" else document)(path, [table_row()])

    report = import_paths(home, [path])

    assert report.format == "langfuse"
    assert (report.runs, report.spans, report.cost_usd_declared) == (1, 0, 0.003)
    assert report.cost_usd_computed is None
    with whence.open(home) as store:
        run = store.run(TRACE)
        assert (run.run.name, run.run.status, run.run.duration_ms) == ("ask", "complete", 9000.0)
        assert run.run.attributes["metadata"] == {"m": 1}
        scored = sorted((one.name, one.value, one.feedback) for one in run.scores)
        assert scored == [
            ("answer_relevance", 0.5, ""),
            ("answer_relevance", 0.7, ""),
            ("correctness", 0.9, ""),
            ("tone", None, "polite"),
        ]
        (comment,) = run.annotations
        assert (comment.note, comment.by, comment.target) == ("look here", "u1", TRACE)
    assert import_paths(home, [path]).new == 0


def test_a_total_of_nothing_is_not_stated(tmp_path):
    """Langfuse writes 0 where nobody said anything of tokens or cost."""
    row = langfuse_observation(1, "GENERATION", "chat", model="m", totalCost=0, latency=0)
    records, _ = records_of(lines(tmp_path / "o.jsonl", [row]), "langfuse")

    (call,) = of_kind(records, Generation)
    assert (call.usage, call.cost_usd) == (None, None)


def test_ids_that_do_not_fit_are_kept_beside_derived_ones(home, tmp_path):
    """Also hostile ones; the trace is found under the id that Langfuse gave it."""
    hostile = "../<b>'; DROP TABLE runs; --"
    rows = [
        langfuse_observation(0, "SPAN", "a", id="o/1", traceId=hostile, parentObservationId=None),
        langfuse_observation(1, "SPAN", "b", id="o/2", traceId=hostile, parentObservationId="o/1"),
    ]
    import_paths(home, [lines(tmp_path / "o.jsonl", rows)])

    with whence.open(home) as store:
        run = store.run(hostile)
        assert len(run.run.id) == 32
        (root,) = run.spans
        assert [child.name for child in root.children] == ["b"]
        assert root.row.attributes["langfuse.observation.id"] == "o/1"


def test_a_trace_of_events_alone_has_a_beginning(home, tmp_path):
    """That of the first that was seen, since nothing else is dated."""
    row = langfuse_observation(4, "EVENT", "seen", endTime=None, parentObservationId=None)
    import_paths(home, [lines(tmp_path / "o.jsonl", [row])])

    with whence.open(home) as store:
        run = store.run(TRACE)
        assert [event.message for event in run.events] == ["seen"]
        assert run.run.started_ns == run.events[0].ts_ns


def test_scores_of_version_3_name_their_subject(tmp_path):
    """A score of a session or an experiment is one of no run, and is named."""
    common = {"name": "x", "dataType": "NUMERIC", "value": 1, "timestamp": "2026-01-01T00:00:00Z"}
    rows = [
        {**common, "id": "1", "subject": {"kind": "trace", "id": TRACE}},
        {
            **common,
            "id": "2",
            "subject": {"kind": "observation", "id": "aaaaaaaaaaaaaaa2", "traceId": TRACE},
        },
        {**common, "id": "3", "subject": {"kind": "session", "id": "s-1"}},
    ]
    path = document(tmp_path / "scores.json", page(rows))

    records, skipped = records_of(path, "langfuse")

    assert [one.span for one in of_kind(records, Score)] == [None, "aaaaaaaaaaaaaaa2"]
    assert [one.why for one in skipped] == ["it is a score of no trace"]
    found = registry.find_format(Source(path))
    assert found is not None
    assert found.name == "langfuse"


def test_comments_of_observations_are_remarks_on_their_spans(tmp_path):
    """As the table of observations exports them."""
    comment = {"id": "c1", "content": "why?", "created_at": "2026-01-02T00:00:00Z"}
    row = langfuse_observation(1, "SPAN", "a", traceName="ask", comments=[comment])

    records, _ = records_of(document(tmp_path / "o.json", [row]), "langfuse")

    (remark,) = of_kind(records, Annotation)
    assert (remark.target, remark.note) == ("aaaaaaaaaaaaaaa1", "why?")


def test_a_torn_table_gives_the_rows_before(home, tmp_path):
    """A quoted cell that never ends is the end of the file, and rows of other lengths are named."""
    path = table(tmp_path / "observations.csv", langfuse_observations())
    whole = path.read_text("utf-8")
    path.write_text(whole.replace("\n", '\n"too","short"\n', 1) + '"half of a cell\n', "utf-8")

    report = import_paths(home, [path])

    assert (report.spans, report.generations) == (5, 1)
    assert [skipped.where.rpartition(":")[2] for skipped in report.skipped] == ["2", "9"]


def test_long_cells_of_a_table_are_read(home, tmp_path):
    """Python's own limit of 128 KiB a cell is neither met nor changed."""
    before = csv.field_size_limit()
    row = langfuse_observation(1, "SPAN", "a", input="x\n" * 200_000, parentObservationId=None)
    import_paths(home, [table(tmp_path / "o.csv", [{**row, "level": "DEBUG"}])])

    with whence.open(home) as store:
        assert store.run(TRACE).spans[0].row.input["size_bytes"] == 400_000
    assert csv.field_size_limit() == before
