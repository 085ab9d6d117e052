"""What a sender was told is in the log is there, exactly once, whatever else was sent."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from otlpdata import chat, hex_id, log_request, request, span
from receiver import PROTOBUF, started

import whence

PROGRAM = """
import sys
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

exporter = OTLPSpanExporter(
    endpoint=sys.argv[1] + "/v1/traces", compression=Compression(sys.argv[2])
)
provider = TracerProvider(resource=Resource.create({"service.name": "agent"}))
provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=50_000))
tracer = provider.get_tracer("program")
for number in range(int(sys.argv[3])):
    with tracer.start_as_current_span(f"run {number}") as root:
        root.set_attribute("number", number)
        with tracer.start_as_current_span("chat gpt-5") as call:
            call.set_attributes({
                "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
                "gen_ai.request.model": "gpt-5", "gen_ai.usage.input_tokens": number,
                "gen_ai.usage.output_tokens": 1,
            })
            call.add_event("noticed", {"what": "a bird"})
        with tracer.start_as_current_span("execute_tool look") as tool:
            tool.set_attribute("gen_ai.operation.name", "execute_tool")
            tool.set_attribute("gen_ai.tool.name", "look")
            tool.set_status(Status(StatusCode.ERROR, "too dark"))
provider.shutdown()
"""


def count(home, table="spans"):
    with whence.open(home) as store:
        return len(getattr(store, table)(limit=None))


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_program_with_the_opentelemetry_sdk_appears_complete(compression, server, home):
    """Every run, call, tool, event and figure of a real exporter is there."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, f"http://{server.address}", compression, "200"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    with whence.open(home) as store:
        runs = store.runs(limit=None).items
        calls = store.generations(limit=None).items
        tools = store.tool_calls(limit=None).items
        events = store.events(limit=None).items
    assert sorted(run.name for run in runs) == sorted(f"run {n}" for n in range(200))
    assert {run.project for run in runs} == {"agent"}
    assert all((run.spans, run.status, run.errors) == (3, "complete", 1) for run in runs)
    assert sorted(call.usage.input_uncached for call in calls) == list(range(200))
    assert {(tool.tool_name, tool.status, tool.error["message"]) for tool in tools} == {
        ("look", "error", "too dark")
    }
    assert [event.data for event in events] == [{"what": "a bird"}] * 200


def test_both_encodings_packed_or_not_are_taken(server, home):
    """JSON and protobuf, and gzip of each, and logs."""
    message = ExportTraceServiceRequest()
    made = message.resource_spans.add().scope_spans.add().spans.add()
    made.trace_id, made.span_id = bytes.fromhex(hex_id("p", 16)), bytes.fromhex(hex_id("p", 8))
    made.name, made.start_time_unix_nano, made.end_time_unix_nano = "p", 1, 2
    plain = message.SerializeToString()
    made.span_id = bytes.fromhex(hex_id("q", 8))
    packed = gzip.compress(message.SerializeToString())
    text = gzip.compress(json.dumps(request(span("b", None))).encode())
    log = log_request({"timeUnixNano": "5", "body": {"stringValue": "hello"}})

    answers = [
        server.send(request(span("a", None))),
        server.send(text, Content_Encoding="gzip"),
        server.send(plain, media=PROTOBUF),
        server.send(packed, media=PROTOBUF, Content_Encoding="gzip"),
        server.send(log, path="/v1/logs"),
    ]

    assert [status for status, _, _ in answers] == [200] * 5
    assert [body for _, _, body in answers] == [b"{}", b"{}", b"", b"", b"{}"]
    assert (count(home), count(home, "events")) == (4, 1)


def test_a_text_that_was_cut_in_a_character_costs_no_request(server, home):
    """Its spans and those beside it are taken; exporters drop what is answered with 400."""
    status, _, body = server.send(request(span("a", None, {"cut": "\ud83d"}), span("b", None)))

    assert (status, count(home)) == (200, 2), body


def test_a_partial_success_says_how_many_were_left_out(server, home):
    """In the encoding of the request, and the good spans are there."""
    bad = span("bad", None) | {"spanId": "00"}

    _, _, text = server.send(request(span("good", None), bad, bad))
    message = ExportTraceServiceRequest()
    message.resource_spans.add().scope_spans.add().spans.add().name = "bad"
    _, _, content = server.send(message.SerializeToString(), media=PROTOBUF)

    partial = json.loads(text)["partialSuccess"]
    assert partial["rejectedSpans"] == "2"
    assert "no valid trace and span id" in partial["errorMessage"]
    answer = ExportTraceServiceResponse.FromString(content).partial_success
    assert (answer.rejected_spans, bool(answer.error_message)) == (1, True)
    assert count(home) == 1


def test_a_request_sent_again_changes_nothing(server, home):
    """Also by many connections at once, as retries of a slow sender are."""
    body = request(
        *(span(f"call {n}", "root", chat((n, 1))) for n in range(50)), span("root", None)
    )

    with ThreadPoolExecutor(8) as senders:
        answers = list(senders.map(lambda _: server.send(body)[0], range(24)))

    assert answers == [200] * 24
    assert (count(home), count(home, "generations")) == (51, 50)


def batches(number, spans=40):
    """Return bodies of one trace each."""
    for n in range(number):
        calls = [span(f"{i}", "root", chat((i, 1)), trace=f"t{n}") for i in range(spans - 1)]
        yield json.dumps(request(*calls, span("root", None, trace=f"t{n}"))).encode()


def test_what_was_answered_survives_the_death_of_the_server(home):
    """After SIGKILL every acknowledged span is there, and sending all again makes it whole."""
    bodies = list(batches(150))
    with started(home) as server:
        acknowledged = []

        def send(body):
            try:
                if server.send(body)[0] == 200:
                    acknowledged.append(body)
            except (OSError, http.client.HTTPException):
                return
            if len(acknowledged) == 40:
                os.kill(server.process.pid, signal.SIGKILL)

        with ThreadPoolExecutor(4) as senders:
            list(senders.map(send, bodies))
    kept = count(home)
    with started(home) as server:
        for body in bodies:
            assert server.send(body)[0] == 200

    assert 40 <= len(acknowledged) < 150
    assert kept >= 40 * len(acknowledged)
    assert (count(home), count(home, "generations")) == (150 * 40, 150 * 39)


def test_a_server_that_is_told_to_end_ends_what_is_open(home):
    """SIGTERM ends with exit code 0, and a trace without its root is a finished run."""
    with started(home) as server:
        assert server.send(request(span("orphan", "gone")))[0] == 200
        with whence.open(home) as store:
            assert store.runs(limit=None).items[0].status == "running"
        server.process.terminate()

        assert server.process.wait(30) == 0

    with whence.open(home) as store:
        (run,) = store.runs(limit=None).items
    assert (run.name, run.status) == ("orphan", "complete")


def test_health_says_what_was_written(server):
    """The number of records, and that all is well."""
    server.send(request(span("a", None)))

    status, _, body = server.send(method="GET", path="/healthz")

    assert status == 200
    assert json.loads(body) == {"status": "ok", "records": 4, "why": None}


@pytest.mark.soak
def test_a_hundred_thousand_spans_at_full_speed_are_all_there(server, home):
    """No span is lost however fast they come."""
    bodies = list(batches(400, spans=250))

    def send(body):
        while server.send(body)[0] != 200:
            pass

    with ThreadPoolExecutor(8) as senders:
        list(senders.map(send, bodies))

    assert count(home) == 100_000
