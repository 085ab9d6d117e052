"""An application's own TracerProvider feeds a home, and no call counts twice."""

from __future__ import annotations

import json
import os
import threading

import openai
import pytest
from loopback import Answer
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import whence
from whence.exports.otlp import sdk
from whence.ingest.importer import import_paths
from whence.integrations import otel
from whence.integrations.openai import wrap
from whence.integrations.otel import WhenceSpanProcessor

CHAT = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-5"}


@pytest.fixture
def own(recorded):  # noqa: ARG001 - configures the home
    """A provider of the application's own that feeds the test's home."""
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(WhenceSpanProcessor())
    yield provider
    provider.shutdown()


def called(response_id, tokens=(10, 5), **more):
    sent, received = tokens
    return {
        **CHAT,
        "gen_ai.response.id": response_id,
        "gen_ai.usage.input_tokens": sent,
        "gen_ai.usage.output_tokens": received,
        **more,
    }


def test_spans_become_runs_calls_and_tools(own, recorded):
    """A trace is a run; a chat is a generation with its tokens; a tool is a tool call."""
    tracer = own.get_tracer("app", "1.2")
    with tracer.start_as_current_span("serve", attributes={"session.id": "s", "list": [1, 2]}):
        with tracer.start_as_current_span("ask", attributes=called("r1")) as span:
            span.add_event("noted", {"n": 1})
        about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "fetch"}
        with (
            pytest.raises(ValueError, match="boom"),
            tracer.start_as_current_span("fetch", attributes=about),
        ):
            raise ValueError("boom")
    assert own.force_flush()

    (run,) = recorded.rows("runs", "started_ns")
    assert (run.name, run.project, run.session, run.status) == ("serve", "shop", "s", "complete")
    call = recorded.one()
    assert (call.model, call.input_tokens, call.output_tokens) == ("gpt-5", 10, 5)
    (tool,) = recorded.rows("tool_calls")
    assert (tool.tool_name, tool.status, tool.error_type) == ("fetch", "error", "ValueError")
    spans = {row.name: row for row in recorded.rows("spans", "started_ns")}
    assert spans["ask"].parent == spans["serve"].id
    assert spans["serve"].attributes["list"] == [1, 2]
    assert spans["serve"].attributes["otel.scope.version"] == "1.2"


def test_it_records_what_an_import_of_the_same_spans_records(own, recorded, tmp_path):
    """The SDK's own print of the spans, imported, gives the same rows."""
    kept = InMemorySpanExporter()
    own.add_span_processor(SimpleSpanProcessor(kept))
    tracer = own.get_tracer("app")
    with tracer.start_as_current_span("root"):
        with tracer.start_as_current_span("call", attributes=called("r1")) as call:
            link = trace.Link(call.get_span_context(), {"why": "again"})
        with tracer.start_as_current_span("next", links=[link]) as last:
            last.set_status(trace.StatusCode.ERROR, "no")
    own.force_flush()
    (tmp_path / "spans.json").write_text(
        "[" + ",".join(one.to_json() for one in kept.get_finished_spans()) + "]", "utf-8"
    )
    import_paths(tmp_path / "other", [tmp_path / "spans.json"])

    with whence.open(tmp_path / "other") as store:
        for table in ("runs", "spans", "generations", "links", "events"):
            mine = recorded.rows(table, _order(table))
            theirs = getattr(store, table)(limit=None)
            assert _printed(mine) == _printed(theirs), table


def _printed(rows):
    """Return of rows what the SDK prints: no scope, and times to a microsecond."""
    made = {row.id: row.to_dict() for row in rows}
    for row in made.values():
        row.get("attributes", {}).pop("otel.scope.name", None)
        for name in ("started_ns", "ended_ns", "duration_ms", "ts_ns"):
            row.pop(name, None)
    return made


def _order(table):
    return "started_ns" if table in {"runs", "spans"} else "ts_ns"


def test_a_call_that_a_client_of_ours_recorded_counts_once(own, recorded, place):
    """The client library is instrumented twice: by whence, and by OpenTelemetry around it."""
    answer = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}
        ],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    place.will_say(Answer(answer))
    client = wrap(openai.OpenAI(api_key="k", base_url=place.url, max_retries=0))
    tracer = own.get_tracer("opentelemetry.instrumentation.openai")
    with (
        tracer.start_as_current_span(
            "framework", attributes={**CHAT, "gen_ai.response.model": "g"}
        ),
        tracer.start_as_current_span("step"),
        tracer.start_as_current_span("openai.chat", attributes=CHAT) as span,
    ):
        asked = [{"role": "user", "content": "hi"}]
        said = client.chat.completions.create(model="gpt-5", messages=asked)
        span.set_attribute("gen_ai.response.id", said.id)
        span.set_attribute("gen_ai.usage.input_tokens", 10)
        span.set_attribute("gen_ai.usage.output_tokens", 5)
    client.close()
    own.force_flush()

    call = recorded.one()
    assert call.response_id == "chatcmpl-1"
    spans = {row.name: row for row in recorded.rows("spans", "started_ns")}
    assert spans["openai.chat"].kind == "step"
    assert spans["openai.chat"].attributes["same_call_as"] == call.span
    assert spans["openai.chat"].attributes["same_call_run"] == call.run
    assert spans["framework"].attributes["same_call_as"] == call.span


def test_calls_that_only_opentelemetry_saw_count_beside_ours(own, recorded):
    """Another answer, or the same one at another time, is a call of its own."""
    with whence.run("ours"), whence.generation("g") as call:
        call.record_generation(model="m", response_id="r1", usage={"input_tokens": 1})
    tracer = own.get_tracer("app")
    with tracer.start_as_current_span("root"):
        with tracer.start_as_current_span("other", attributes=called("r2")):
            pass
        with tracer.start_as_current_span("replayed", attributes=called("r1")):
            pass
    own.force_flush()

    assert sorted(row.response_id for row in recorded.generations()) == ["r1", "r1", "r2"]


def test_an_agent_between_two_calls_keeps_them_apart(own, recorded):
    """A call inside a tool of another call is a second call."""
    tracer = own.get_tracer("app")
    about = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"}
    with (
        tracer.start_as_current_span("outer", attributes=called("r1")),
        tracer.start_as_current_span("t", attributes=about),
        whence.generation("g") as call,
    ):
        call.record_generation(model="m", response_id="r2", attributes=None)
    own.force_flush()

    assert sorted(row.response_id for row in recorded.generations()) == ["r1", "r2"]


def test_a_trace_that_begins_in_a_run_of_ours_is_its_child(own, recorded):
    """The run of the trace names the run that was current."""
    with whence.run("ours") as run, own.get_tracer("app").start_as_current_span("theirs"):
        pass
    own.force_flush()

    runs = {row.name: row for row in recorded.rows("runs", "started_ns")}
    assert runs["theirs"].parent_run == run.id


def test_a_mirror_into_the_same_provider_makes_no_ring(home):
    """Spans that came from whence are passed over."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(WhenceSpanProcessor())
    whence.configure(home, otel=provider)
    with whence.run("r"), whence.step("s"):
        pass
    whence.flush()
    provider.shutdown()
    whence.configure(enabled=False)

    with whence.open(home) as store:
        assert [row.name for row in store.runs()] == ["r"]
        assert [row.name for row in store.spans()] == ["s"]


def test_a_trace_whose_root_is_elsewhere_is_ended_at_the_shutdown(own, recorded):
    """The request came with a traceparent of another process."""
    above = trace.SpanContext(0xA, 0xB, is_remote=True, trace_flags=trace.TraceFlags(1))
    context = trace.set_span_in_context(trace.NonRecordingSpan(above))
    with own.get_tracer("app").start_as_current_span("handle", context=context):
        pass
    own.shutdown()

    (run,) = recorded.rows("runs", "started_ns")
    assert (run.id, run.name, run.status) == (f"{0xA:032x}", "handle", "complete")


def test_after_the_shutdown_nothing_is_taken(own, recorded):
    """Spans that end later are passed over without a word."""
    tracer = own.get_tracer("app")
    late = tracer.start_span("late")
    own.shutdown()
    late.end()

    assert recorded.rows("runs", "started_ns") == []


def test_content_and_texts_are_kept_out_as_configured(home):
    """`capture_content=False` and `redact` hold for what OpenTelemetry states, too."""
    whence.configure(home, capture_content=False, redact=lambda text: text.replace("bob", "*"))
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(WhenceSpanProcessor())
    about = called("r1", **{"gen_ai.input.messages": json.dumps([{"role": "user", "s": "S3"}])})
    with provider.get_tracer("app").start_as_current_span("ask", attributes=about) as span:
        span.set_attribute("llm.output_messages.0.message.content", "S3")
        span.set_attribute("user.id", "bob")
        span.add_event("gen_ai.user.message", {"content": "S3"})
    provider.shutdown()
    whence.configure(enabled=False)

    log = b"".join(path.read_bytes() for path in home.rglob("*.jsonl"))
    assert b"S3" not in log
    assert b"bob" not in log
    assert b"gpt-5" in log


def test_a_project_that_is_switched_off_is_not_recorded(home):
    """`projects={"shop": False}` holds for the service of that name."""
    whence.configure(home, projects={"shop": False})
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(WhenceSpanProcessor())
    provider.get_tracer("app").start_span("s").end()
    provider.shutdown()
    whence.configure(enabled=False)

    assert not list(home.rglob("*.jsonl")) or b'"s"' not in b"".join(
        path.read_bytes() for path in home.rglob("*.jsonl")
    )


@pytest.mark.usefixtures("recorded")
def test_a_home_that_cannot_be_written_costs_spans_and_a_sentence(tmp_path, capsys):
    """The application goes on; what could not be recorded is counted."""
    (tmp_path / "file").write_text("not a folder", "utf-8")
    processor = WhenceSpanProcessor(tmp_path / "file" / "home")
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    provider.get_tracer("app").start_span("s").end()
    assert provider.force_flush() is False
    provider.shutdown()

    assert processor.lost == 1
    assert "could not be recorded" in capsys.readouterr().err


def test_what_waits_has_a_bound(recorded, monkeypatch, capsys):
    """Spans beyond it are lost, counted and told; the others are recorded."""
    monkeypatch.setattr(otel, "MAX_WAITING", 5)
    processor = WhenceSpanProcessor(delay_s=60)
    mine = TracerProvider(shutdown_on_exit=False)
    mine.add_span_processor(processor)
    for _ in range(8):
        mine.get_tracer("app").start_span("s").end()
    mine.shutdown()

    assert processor.lost == 3
    assert len(recorded.rows("spans", "started_ns")) == 5
    assert "more spans ended than could be written" in capsys.readouterr().err


def test_spans_of_many_threads_are_all_recorded(own, recorded):
    """Batches are written while others end."""
    tracer = own.get_tracer("app")

    def work():
        for _ in range(50):
            with tracer.start_as_current_span("a"), tracer.start_as_current_span("b"):
                pass

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert own.force_flush()

    assert len(recorded.rows("spans", "started_ns")) == 600
    assert len(recorded.rows("runs", "started_ns")) == 300


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_records_its_own_spans_only(own, recorded):
    """What waited at the fork is the parent's, and is recorded once."""
    tracer = own.get_tracer("app")
    tracer.start_span("parent").end()
    pid = os.fork()
    if pid == 0:  # no assertion and no exception may leave the child
        tracer.start_span("child").end()
        os._exit(0 if own.force_flush() else 1)
    _, status = os.waitpid(pid, 0)
    own.force_flush()

    assert status == 0
    assert sorted(row.name for row in recorded.rows("spans", "started_ns")) == ["child", "parent"]


@pytest.mark.usefixtures("own")
def test_the_global_provider_is_not_touched():
    """Making and using a processor sets no provider."""
    assert not isinstance(trace.get_tracer_provider(), TracerProvider)
    assert sdk.readable([]) == []
