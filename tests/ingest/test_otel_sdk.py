"""What an SDK prints is read as what it exports."""

from __future__ import annotations

import json

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode
from otlpdata import chat

import whence
from whence.ingest.importer import import_paths

BIG = 2**63 + 12345


def printed():
    """Return spans of a real SDK as it prints them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("program")
    with tracer.start_as_current_span("root") as root, tracer.start_as_current_span("call") as call:
        call.set_attributes(chat((7, 3)))
        call.add_event("noticed", {"what": "a bird"})
        root.set_status(Status(StatusCode.ERROR, "too late"))
    provider.shutdown()
    return [json.loads(span.to_json()) for span in exporter.get_finished_spans()]


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(json.dumps, id="a list"),
        pytest.param(lambda spans: json.dumps({"spans": spans}, indent=2), id="an object"),
        pytest.param(lambda spans: "\n".join(map(json.dumps, spans)), id="a span a line"),
        pytest.param(lambda spans: json.dumps(spans[0], indent=4), id="one span"),
    ],
)
def test_printed_spans_are_read_in_every_form(form, home, tmp_path):
    """Times, status, events, parents and usage are those that were recorded."""
    spans = printed()
    path = tmp_path / "spans.json"
    path.write_text(form(spans))

    report = import_paths(home, [path])

    assert (report.format, report.generations, report.usage_stated.input) == ("otel-sdk", 1, 7)
    with whence.open(home) as store:
        rows = {row.name: row for row in store.spans(limit=None)}
        (event,) = store.events(limit=None).items
    assert event.data == {"what": "a bird"}
    assert "0x" + rows["call"].id == spans[0]["context"]["span_id"]
    assert "0x" + rows["call"].parent == spans[0]["parent_id"]
    if "root" in rows:
        assert rows["root"].error["message"] == "too late"
        assert rows["root"].parent is None


def test_ids_in_decimal_are_the_same_ids(home, tmp_path):
    """A span id beyond 2^63 is exact, and the trace id has all its 128 bits."""
    context = {"trace_id": BIG << 60, "span_id": BIG, "is_remote": False}
    span = {"name": "a", "context": context, "start_time": 5, "end_time": 9, "attributes": {}}
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"spans": [span], "final_output": {"answer": 42}, "extra": 1}))

    report = import_paths(home, [path])

    with whence.open(home) as store:
        (row,) = store.spans(limit=None).items
        (run,) = store.runs(limit=None).items
    assert row.id == f"{BIG:016x}"
    assert run.id == f"{BIG << 60:032x}"
    assert run.output == {"answer": 42}
    assert [skipped.why for skipped in report.skipped] == ["left out: extra"]


def test_an_answer_without_a_span_is_named(home, tmp_path):
    """There is no run that it could belong to, so the report says that it is left out."""
    context = {"trace_id": "0x0", "span_id": "0x1"}
    path = tmp_path / "trace.json"
    path.write_text(json.dumps({"spans": [{"name": "a", "context": context}], "final_output": 1}))

    report = import_paths(home, [path])

    assert "left out: final_output" in [skipped.why for skipped in report.skipped]


@pytest.mark.parametrize("bad", [0, -1, 2**64, "0x", "zz", True, None, 1.5, "0" * 16])
def test_a_span_without_an_id_is_left_out(bad, home, tmp_path):
    """Zero, too long, another type: the span is named in the report."""
    good = {"trace_id": "0x1", "span_id": "0x2"}
    spans = [{"name": "x", "context": good}, {"name": "y", "context": good | {"span_id": bad}}]
    path = tmp_path / "spans.json"
    path.write_text(json.dumps(spans))

    report = import_paths(home, [path])

    assert (report.spans, len(report.skipped)) == (1, 1)


def test_times_may_be_text_seconds_or_nonsense(home, tmp_path):
    """RFC 3339 and Unix seconds are times; what is none begins at the beginning of time."""
    context = {"trace_id": "0x1", "span_id": "0x2"}
    moments = {
        "2026-01-01T00:00:00Z": 1_767_225_600_000_000_000,
        1.5: 1_500_000_000,
        "soon": 0,
        "": 0,
    }
    spans = [
        {"name": str(n), "context": context | {"span_id": n + 1}, "start_time": at, "end_time": at}
        for n, at in enumerate(moments)
    ]
    path = tmp_path / "spans.json"
    path.write_text(json.dumps(spans))

    import_paths(home, [path])

    with whence.open(home) as store:
        rows = {row.name: row.started_ns for row in store.spans(limit=None)}
    assert [rows[str(n)] for n in range(4)] == list(moments.values())


def test_what_the_console_exporter_prints_is_read(home, tmp_path):
    """It prints one span after the other, each over many lines."""
    path = tmp_path / "console.txt"
    path.write_text("\n".join(json.dumps(span, indent=4) for span in printed()) + "\n")

    report = import_paths(home, [path])

    assert (report.spans, report.generations, report.skipped) == (2, 1, [])
