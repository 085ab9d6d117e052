"""Batches: what was asked for is a span, each result that is fetched is a generation."""

from __future__ import annotations

import asyncio
import json

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from loopback import Answer

import whence
from whence.integrations import anthropic as of_anthropic
from whence.integrations import batches
from whence.integrations import google_genai as of_google
from whence.integrations import openai as of_openai


@pytest.fixture(autouse=True)
def _nothing_was_fetched():
    batches._recorded.clear()
    batches._spans.clear()


def lines(*said):
    return "".join(json.dumps(one) + "\n" for one in said).encode()


def test_results_of_anthropic_are_generations(place, recorded):
    """Each under its own id; errors and cancellations too; fetched again they are not new."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
               "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn",
               "usage": {"input_tokens": 3, "output_tokens": 2}}  # fmt: skip
    failed = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}
    file = lines(
        {"custom_id": "a", "result": {"type": "succeeded", "message": message}},
        {"custom_id": "b", "result": {"type": "errored", "error": failed}},
        {"custom_id": "c", "result": {"type": "canceled"}},
        {"custom_id": "d", "result": {"type": "expired"}},
    )
    ended = {"id": "msgbatch_1", "type": "message_batch", "processing_status": "ended",
             "results_url": f"{place.url}/v1/messages/batches/msgbatch_1/results"}  # fmt: skip
    results = Answer(file, kind="application/x-jsonl")
    place.will_say({**ended, "processing_status": "in_progress"}, ended, results, ended, results)
    asked = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}
    made = anthropic.Anthropic(api_key="none", base_url=place.url)
    with of_anthropic.wrap(made) as client, whence.run("r"):
        batch = client.messages.batches.create(requests=[{"custom_id": "a", "params": asked}])
        first = list(client.messages.batches.results(batch.id))
        again = list(client.messages.batches.results(batch.id))

    rows = recorded.generations()
    spans = recorded.rows("spans", "started_ns")
    assert len(first) == len(again) == 4
    assert [row.attributes["custom_id"] for row in rows] == ["a", "b", "c", "d"]
    assert [row.status for row in rows] == ["ok", "error", "cancelled", "error"]
    assert [row.error_type for row in rows] == [None, "invalid_request_error", None, "expired"]
    assert (rows[0].output, rows[0].usage.stated) == ("hi", message["usage"])
    assert rows[0].attributes["batch_id"] == "msgbatch_1"
    assert rows[0].attributes["service_tier"] == "batch"
    assert [(span.name, span.kind) for span in spans] == [
        ("batch", "step"),
        ("batch results", "step"),
    ]
    assert spans[0].input_count == 1
    (link,) = recorded.rows("links")
    assert (link.kind, link.source, link.target) == ("continuation_of", spans[0].id, spans[1].id)


def test_results_of_openai_are_generations(place, recorded):
    """They are the lines of a file, which is known by what is in it."""
    body = {"id": "c1", "object": "chat.completion", "model": "gpt-x",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}  # fmt: skip
    error = {"error": {"type": "invalid_request_error", "message": "no"}}
    file = lines(
        {"id": "br_1", "custom_id": "a", "response": {"status_code": 200, "body": body}},
        {"id": "br_2", "custom_id": "b", "response": {"status_code": 400, "body": error}},
        {"id": "br_3", "custom_id": "c", "response": None,
         "error": {"code": "batch_expired", "message": "late"}},
    )  # fmt: skip
    place.will_say(Answer(file), Answer(file), Answer(b"\x89PNG no batch\n{}\n"))
    made = openai.OpenAI(api_key="none", base_url=place.url)
    with of_openai.wrap(made) as client:
        fetched = client.files.content("file-out")
        client.files.content("file-out")
        client.files.content("file-image")

    rows = recorded.generations()
    assert fetched.content == file
    assert [row.attributes["custom_id"] for row in rows] == ["a", "b", "c"]
    assert [row.error_type for row in rows] == [None, "invalid_request_error", "batch_expired"]
    assert (rows[0].output, rows[0].model) == ("hi", "gpt-x")
    (run,) = recorded.rows("runs", "started_ns")
    assert (run.name, run.generations) == ("batch results", 3)


def test_asking_openai_for_a_batch_is_a_span_and_no_generation(place, recorded):
    """The provider's id is kept, to find the results by."""
    place.will_say({"id": "batch_1", "object": "batch", "status": "validating"})

    async def main():
        made = openai.AsyncOpenAI(api_key="none", base_url=place.url)
        async with of_openai.wrap(made) as client:
            await client.batches.create(
                input_file_id="file-in", endpoint="/v1/responses", completion_window="24h"
            )

    asyncio.run(main())

    (span,) = recorded.rows("spans", "started_ns")
    assert recorded.generations() == []
    assert span.attributes["batch_id"] == "batch_1"
    assert span.attributes["input_file_id"] == "file-in"


def test_results_of_gemini_are_generations(place, recorded):
    """They stand in the batch itself, once it is done; looks before and after say nothing new."""
    answer = {"candidates": [{"content": {"parts": [{"text": "hi"}]}, "finishReason": "STOP"}],
              "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1,
                                "totalTokenCount": 4},
              "modelVersion": "gemini-x", "responseId": "g1"}  # fmt: skip
    inlined = {"inlinedResponses": [
        {"response": answer, "metadata": {"key": "a"}},
        {"error": {"code": 13, "message": "broke"}, "metadata": {"key": "b"}},
    ]}  # fmt: skip
    running = {"name": "batches/b1", "metadata": {"state": "BATCH_STATE_RUNNING"}}
    output = {"inlinedResponses": inlined}
    done = {"name": "batches/b1", "done": True,
            "metadata": {"state": "BATCH_STATE_SUCCEEDED", "output": output}}  # fmt: skip
    place.will_say(running, running, done, done)
    made = genai.Client(api_key="none", http_options=types.HttpOptions(base_url=place.url))
    with of_google.wrap(made) as client, whence.run("r"):
        asked = [{"contents": [{"role": "user", "parts": [{"text": "?"}]}]}]
        job = client.batches.create(model="gemini-x", src=asked)
        for _ in range(3):
            job = client.batches.get(name="batches/b1")

    rows = recorded.generations()
    assert job.name == "batches/b1"
    assert [row.status for row in rows] == ["ok", "error"]
    assert [row.attributes["custom_id"] for row in rows] == ["a", "b"]
    assert (rows[0].output, rows[0].response_id, rows[0].provider) == ("hi", "g1", "google")
    assert [span.name for span in recorded.rows("spans", "started_ns")] == [
        "batch",
        "batch results",
    ]
