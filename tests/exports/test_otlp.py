"""Runs leave as OTLP: in either encoding, under either convention, into files and to receivers."""

from __future__ import annotations

import json

import homes
import otlptrip
import pytest
from loopback import Answer, provider
from otlpdata import chat, imported, request, span
from receiver import started

import whence
from whence.errors import ConfigError, ExportError
from whence.exports.otlp import convert, encode, files, model, send
from whence.exports.otlp.model import Options
from whence.ingest import otlp_json, otlp_wire
from whence.log.home import Home


def spans_of(home, **options):
    with whence.open(home) as store:
        ids = [row.id for row in store.runs(order="started_ns", limit=None)]
        return [s for one in ids for s in convert.spans_of(store.run(one), Options(**options))]


def named(spans, name):
    return next(one for one in spans if one.name == name)


def plain(spans):
    """Return spans as the importers see them."""
    return [
        (
            (s.trace, s.span, s.parent, s.name, s.begun_ns, s.ended_ns),
            (s.status, s.message, s.kind, s.attributes),
            (s.origin.resource, s.origin.scope, s.origin.version),
            [(e.name, e.time_ns, e.attributes) for e in s.events],
            [(x.trace, x.span, x.attributes) for x in s.links],
        )
        for s in spans
    ]


def test_both_encodings_say_the_same(home):
    """A reader of OTLP gets the same spans from JSON as from protobuf."""
    otlptrip.record(home)
    spans = spans_of(home)

    from_json = plain(otlp_json.of_json(encode.to_json(spans)).spans)
    from_protobuf = plain(otlp_wire.of_protobuf(encode.to_protobuf(spans)).spans)

    assert from_json == from_protobuf
    assert len(from_json) == len(spans)


def test_a_model_call_has_the_names_of_the_genai_conventions(home):
    """Provider, models, tokens, finish reason, parameters and messages with parts."""
    otlptrip.record(home)
    draft = named(spans_of(home, convention="genai"), "draft")

    given = draft.attributes
    assert draft.kind == model.CLIENT
    assert given["gen_ai.operation.name"] == "chat"
    assert given["gen_ai.provider.name"] == "openai"
    assert given["gen_ai.request.model"] == "gpt-5"
    assert given["gen_ai.response.model"] == "gpt-5-2026"
    assert given["gen_ai.response.id"] == "r1"
    assert given["gen_ai.response.finish_reasons"] == ["stop"]
    assert given["gen_ai.request.temperature"] == 0.2
    assert given["gen_ai.request.seed"] == 7
    assert given["gen_ai.usage.input_tokens"] == 100
    assert given["gen_ai.usage.cache_read.input_tokens"] == 40
    assert given["gen_ai.usage.output_tokens"] == 30
    assert given["gen_ai.usage.reasoning.output_tokens"] == 10
    assert json.loads(given["gen_ai.input.messages"])[1] == {
        "role": "user",
        "parts": [{"type": "text", "content": "hi"}],
    }
    assert json.loads(given["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "hmm"},
                {"type": "text", "content": "hello"},
            ],
            "finish_reason": "stop",
        }
    ]
    assert not any(name.startswith(("llm.", "openinference.")) for name in given)


def test_a_model_call_has_the_names_of_openinference(home):
    """Kind, model, token counts, spread messages and invocation parameters."""
    otlptrip.record(home)
    given = named(spans_of(home, convention="openinference"), "draft").attributes

    assert given["openinference.span.kind"] == "LLM"
    assert given["llm.model_name"] == "gpt-5"
    assert given["llm.token_count.prompt"] == 100
    assert given["llm.token_count.completion"] == 30
    assert given["llm.token_count.total"] == 130
    assert given["llm.token_count.prompt_details.cache_read"] == 40
    assert given["llm.input_messages.1.message.role"] == "user"
    assert given["llm.input_messages.1.message.content"] == "hi"
    assert given["llm.output_messages.0.message.content"] == "hello"
    assert json.loads(given["llm.invocation_parameters"]) == {"temperature": 0.2}
    assert "gen_ai.request.model" not in given


def test_a_sum_of_tokens_is_not_made_of_half_of_what_it_needs(home):
    """Where nobody stated the uncached input, no input is stated."""
    otlptrip.record(home)
    tiny = named(spans_of(home, convention="both"), "chat tiny").attributes

    assert "gen_ai.usage.input_tokens" not in tiny
    assert "llm.token_count.prompt" not in tiny
    assert tiny["gen_ai.usage.cache_read.input_tokens"] == 2
    assert tiny["gen_ai.usage.output_tokens"] == 3


def test_ids_are_those_of_the_home(home):
    """The trace id is the run's id, span ids are kept, and every span is below the run's own."""
    otlptrip.record(home)
    spans = spans_of(home)

    with whence.open(home) as store:
        recorded = {row.id: row for row in store.spans(limit=None)}
    of_spans = {one.span: one for one in spans if one.span in recorded}
    assert of_spans.keys() == recorded.keys()
    assert all(one.trace == recorded[key].run for key, one in of_spans.items())
    known = {one.span for one in spans}
    assert {one.parent for one in spans} - known == {""}
    assert len(known) == len(spans)


def test_a_trace_that_came_in_goes_out_as_it_came(home, tmp_path):
    """Import, export, import: spans, calls and run are the same, and no span is added."""
    imported(
        home,
        tmp_path,
        request(
            span("root", None, {"session.id": "s", "own": 1}, at=(0, 100)),
            span("call", "root", chat((10, 5)), at=(1, 50), kind=3, traceState="a=b"),
            span("work", "root", {"x": True}, at=(2, 60)),
        ),
    )

    back, report = otlptrip.trip(home, tmp_path, Options("genai"))

    assert report.made == 0
    assert report.spans == 3
    with whence.open(home) as one, whence.open(back) as two:
        for table in ("runs", "spans"):
            first, second = (
                sorted(getattr(store, table)(limit=None), key=lambda row: row.id)
                for store in (one, two)
            )
            assert [_without_ours(row) for row in first] == [_without_ours(row) for row in second]


def _without_ours(row):
    made = {**row.to_dict(), "records": 0}
    given = made.pop("attributes", {})
    return made, {name: item for name, item in given.items() if not name.startswith("whence.")}


@pytest.mark.parametrize("convention", model.CONVENTIONS)
def test_without_content_nothing_that_was_said_is_in_the_file(home, convention):
    """Prompts, answers, reasoning, inputs, outputs and samples are left out."""
    secret = "S3CRET"  # noqa: S105 - the text to look for
    whence.configure(home=home)
    with whence.run("r") as run:
        run.set(output=secret)
        run.decide("d", secret, inputs={"x": secret})
        run.output("o", value=secret)
        with whence.tool("t", input=secret) as tool:
            tool.set(output=secret)
        with whence.retrieval("f", input=secret) as found:
            found.source("document", "k", content=secret)
            found.source("document", "k2", kept=False, content=secret)
        with whence.generation("g") as call:
            call.record_generation(
                model="m",
                messages=[{"role": "user", "content": secret}],
                output=secret,
                reasoning=secret,
                prompt_template=secret,
            )
    whence.flush()
    spans = spans_of(home, convention=convention, content=False)

    assert secret.encode() not in encode.to_json(spans)
    assert secret.encode() in encode.to_json(spans_of(home, convention=convention))


@pytest.mark.parametrize("seed", range(4))
def test_odd_homes_go_out_and_come_in(home, tmp_path, seed):
    """Whatever a home holds, both encodings take it, and every exported run comes back."""
    for writer in homes.fill(Home(home), seed):
        writer.close()
    with whence.open(home) as store:
        ids = [row.id for row in store.runs(limit=None)]
        report = files.write(store, ids, tmp_path / "out.jsonl", Options())
        again = files.write(store, ids, tmp_path / "out.pb", Options())

    assert report.running == []
    assert report == again
    back, _ = otlptrip.trip(home, tmp_path, Options(), "again.jsonl")
    with whence.open(back) as store:
        assert sorted(row.id for row in store.runs(limit=None)) == sorted(ids)
        assert sum(row.spans for row in store.runs(limit=None)) == report.spans - report.made


def test_a_run_that_is_going_on_is_left_out_and_named(home, tmp_path):
    """It has no end yet; the report has its id."""
    whence.configure(home=home)
    with whence.run("open") as run, whence.open(home) as store:
        report = files.write(store, [run.id], tmp_path / "out.jsonl", Options())

    assert report.running == [run.id]
    assert report.runs == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_a_file_that_cannot_be_written_leaves_no_half(home, tmp_path):
    """The folder is missing: an error, and nothing else is there."""
    otlptrip.record(home)
    with whence.open(home) as store, pytest.raises(ExportError, match="cannot be written"):
        files.write(store, [], tmp_path / "none" / "out.jsonl", Options())


def test_receivers_get_everything(home, tmp_path):
    """`whence serve` takes what is posted, and has the same runs then."""
    otlptrip.record(home)
    with started(tmp_path / "there") as server, whence.open(home) as store:
        ids = [row.id for row in store.runs(limit=None)]
        target = send.target_of(f"http://{server.address}")
        report = files.post(store, ids, target, Options())

    assert report.rejected == 0
    with whence.open(tmp_path / "there") as store:
        assert sorted(row.id for row in store.runs()) == sorted(ids)
        assert sum(row.generations for row in store.runs()) == 5


def test_a_busy_receiver_is_asked_again(home):
    """429 and 503 with Retry-After are waited for; the same bytes are sent."""
    otlptrip.record(home)
    with provider() as server, whence.open(home) as store:
        server.will_say(
            Answer({}, 429, (("Retry-After", "0"),)),
            Answer({}, 503, (("Retry-After", "Thu, 01 Jan 1970 00:00:00 GMT"),)),
            Answer({"partialSuccess": {"rejectedSpans": "2"}}),
        )
        ids = [row.id for row in store.runs(limit=None)]
        target = send.target_of(server.url, {"x-key": "k"}, encoding="json")
        report = files.post(store, ids, target, Options())

    assert report.rejected == 2
    assert len({one.content for one in server.asked}) == 1
    assert len(server.asked) == 3
    assert server.asked[0].path == "/v1/traces"
    assert server.asked[0].headers["x-key"] == "k"


@pytest.mark.parametrize("status", [400, 401, 413, 302])
def test_a_refusal_is_final(home, status):
    """It is not tried again, a redirect is not followed, and the error says what was answered."""
    otlptrip.record(home)
    with provider() as server, whence.open(home) as store:
        elsewhere = (("Location", "http://127.0.0.1:9/"),)
        server.will_say(Answer({"message": "no"}, status, elsewhere))
        target = send.target_of(server.url, encoding="json")
        ids = [row.id for row in store.runs(limit=None)]
        with pytest.raises(ExportError, match=str(status)):
            files.post(store, ids, target, Options())

    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        ("ftp://x", {}),
        ("nothing", {}),
        ("http://a:99999", {}),
        ("http://user:secret@x", {}),
        ("http://x/a b", {}),
        ("http://x", {"k": "v\r\nHost: y"}),
        ("http://x", {"k: y": "v"}),
    ],
)
def test_an_address_that_cannot_be_posted_to_is_refused(url, headers):
    """Before anything is sent, and without repeating what may be secret."""
    with pytest.raises(ConfigError) as refused:
        send.target_of(url, headers)

    assert "secret" not in str(refused.value)
