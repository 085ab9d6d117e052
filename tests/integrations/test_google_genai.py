"""Calls of Google's Gen AI library are recorded as they were made and return what they did."""

from __future__ import annotations

import asyncio
import base64
import gc
import threading

import pytest
from google import genai
from google.genai import types
from loopback import Answer, events

import whence
from whence.errors import ConfigError
from whence.integrations.google_genai import wrap

USAGE = {
    "promptTokenCount": 13,
    "candidatesTokenCount": 573,
    "thoughtsTokenCount": 554,
    "totalTokenCount": 1140,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 13}],
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def content(*parts, finish="STOP", **more):
    candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": finish}
    return {"candidates": [candidate], "usageMetadata": USAGE, "modelVersion": "gemini-3-flash",
            "responseId": "r1", **more}  # fmt: skip


def part_of_stream(*parts):
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}}],
            "modelVersion": "gemini-3-flash", "responseId": "r1",
            "usageMetadata": {"promptTokenCount": 13, "totalTokenCount": 13}}  # fmt: skip


STREAM = events(
    part_of_stream({"text": "thinking", "thought": True}),
    part_of_stream({"text": "Hel"}),
    part_of_stream({"text": "lo"}),
    content({"text": "!"}),
)


def options(place, attempts=1):
    retry = types.HttpRetryOptions(
        attempts=attempts, initial_delay=0.01, jitter=0, http_status_codes=[429]
    )
    return types.HttpOptions(base_url=place.url, retry_options=retry)


@pytest.fixture
def client(place):
    made = wrap(genai.Client(api_key="none", http_options=options(place)))
    yield made
    made.close()


def ask(client, contents="hello", **config):
    return client.models.generate_content(
        model="gemini-3-flash", contents=contents, config=config or None
    )


def test_content_says_what_was_asked_and_answered(place, client, recorded):
    """Thoughts are beside the answer's tokens, and inside the total."""
    place.will_say(content({"text": "thinking", "thought": True}, {"text": "hi"}))
    with whence.run("r"):
        answer = ask(client, system_instruction="be brief", temperature=0.5, seed=7)

    row = recorded.one()
    assert answer.text == row.output == "hi"
    assert row.reasoning == "thinking"
    assert (row.name, row.provider, row.model) == (
        "chat gemini-3-flash",
        "google",
        "gemini-3-flash",
    )
    assert (row.response_model, row.response_id) == ("gemini-3-flash", "r1")
    assert [(m["role"], m["parts"]) for m in row.messages] == [
        ("system", [{"text": "be brief"}]),
        ("user", [{"text": "hello"}]),
    ]
    assert row.parameters["generationConfig"]["temperature"] == 0.5
    assert row.seed == 7
    assert row.usage.stated == USAGE
    assert (row.usage.input_uncached, row.usage.output_visible, row.usage.reasoning) == (
        13,
        573,
        554,
    )
    assert row.input_tokens + row.output_tokens == 1140
    assert row.finish_reason == "STOP"


def test_a_prompt_that_is_blocked_says_so_and_states_no_usage(place, client, recorded):
    """The call is no error, and no count is not 0."""
    feedback = {"blockReason": "SAFETY", "blockReasonMessage": "no"}
    place.will_say({"promptFeedback": feedback, "usageMetadata": {"trafficType": "ON_DEMAND"}})
    ask(client)

    row = recorded.one()
    assert (row.status, row.finish_reason, row.usage) == ("ok", "blocked:SAFETY", None)
    assert row.policy == {"prompt_feedback": feedback}


def test_an_answer_that_was_cut_by_the_limit_has_no_output(place, client, recorded):
    """MAX_TOKENS with nothing but thoughts."""
    place.will_say(content(finish="MAX_TOKENS"))
    ask(client)

    row = recorded.one()
    assert (row.finish_reason, row.output) == ("MAX_TOKENS", None)


def test_functions_that_the_model_calls_are_named(place, client, recorded):
    """The output holds the calls with their arguments."""
    call = {"name": "weather", "args": {"city": "Oslo"}}
    place.will_say(content({"functionCall": call, "thoughtSignature": "AAAA"}))
    ask(client)

    row = recorded.one()
    assert row.output == [{"functionCall": call}]
    assert row.attributes["tool_calls"] == [{"name": "weather"}]


def test_functions_that_the_library_calls_are_calls_of_their_own(place, client, recorded):
    """Each exchange with the model is a generation, and none is taken for a retry."""

    @whence.observe(kind="tool")
    def weather(city: str) -> str:
        """Return the weather of a city."""
        return f"rain in {city}"

    call = {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}}
    place.will_say(content(call), content({"text": "It rains."}))
    with whence.run("r"):
        answer = ask(client, tools=[weather])

    assert answer.text == "It rains."
    assert len(recorded.generations()) == 2
    assert recorded.rows("links") == []
    assert len(recorded.rows("tool_calls")) == 1


def test_images_in_and_out_become_blobs(place, client, recorded):
    """Their bytes stand among the media, with their direction."""
    encoded = base64.b64encode(PNG).decode()
    place.will_say(content({"inlineData": {"mimeType": "image/png", "data": encoded}}))
    ask(client, [types.Part.from_bytes(data=PNG, mime_type="image/png"), "again"])

    row = recorded.one()
    assert [(one["direction"], one["mime_type"]) for one in row.media] == [
        ("in", "image/png"),
        ("out", "image/png"),
    ]
    assert [recorded.value(one["data"]) for one in row.media] == [PNG, PNG]


def test_a_stream_is_one_call(place, client, recorded):
    """Its pieces are joined, and the last usage is the usage."""
    place.will_say(STREAM)
    text = "".join(
        chunk.text or ""
        for chunk in client.models.generate_content_stream(model="gemini-3-flash", contents="hi")
    )

    row = recorded.one()
    assert text == row.output == "Hello!"
    assert (row.reasoning, row.finish_reason, row.status) == ("thinking", "STOP", "ok")
    assert row.usage.stated == USAGE
    assert row.first_chunk_ms is not None
    assert row.attributes["stream"] is True


def test_a_stream_that_is_left_early_is_one_record_with_what_was_seen(place, client, recorded):
    """And it is not an error."""
    more = threading.Event()
    place.will_say(Answer(STREAM, wait=more))
    stream = client.models.generate_content_stream(model="gemini-3-flash", contents="hi")
    next(stream)
    more.set()
    stream.close()
    del stream
    gc.collect()

    row = recorded.one()
    assert (row.status, row.reasoning, row.finish_reason) == ("cancelled", "thinking", None)
    assert row.usage.stated == {"promptTokenCount": 13, "totalTokenCount": 13}


def test_retries_of_the_library_are_attempts(place, recorded):
    """Two 429 and an answer are three generations of one call."""
    slow = {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}
    place.will_say(Answer(slow, 429), Answer(slow, 429), content({"text": "hi"}))
    with wrap(genai.Client(api_key="none", http_options=options(place, 3))) as client:
        ask(client)

    rows = recorded.generations()
    assert [row.attempt for row in rows] == [1, 2, 3]
    assert [row.error_type for row in rows] == ["RESOURCE_EXHAUSTED"] * 2 + [None]
    assert rows[0].error["http_status"] == 429
    assert [link.kind for link in recorded.rows("links")] == ["retry_of", "retry_of"]


def test_an_error_is_raised_as_the_library_raises_it(place, client, recorded):
    """And recorded with the service's type and message."""
    error = {"error": {"code": 404, "message": "models/x is not found", "status": "NOT_FOUND"}}
    place.will_say(Answer(error, 404))
    with pytest.raises(genai.errors.ClientError) as raised:
        ask(client)

    row = recorded.one()
    assert raised.value.code == 404
    assert row.error == {
        "type": "NOT_FOUND",
        "message": "models/x is not found",
        "code": 404,
        "http_status": 404,
    }


def test_async_calls_and_streams_are_recorded(place, client, recorded):
    """As the sync ones."""

    async def main():
        await client.aio.models.generate_content(model="gemini-3-flash", contents="hello")
        text = ""
        async for chunk in await client.aio.models.generate_content_stream(
            model="gemini-3-flash", contents="hello"
        ):
            text += chunk.text or ""
        await client.aio.aclose()
        return text

    place.will_say(content({"text": "hi"}), STREAM)
    assert asyncio.run(main()) == "Hello!"

    assert [row.output for row in recorded.generations()] == ["hi", "Hello!"]
    assert [row.status for row in recorded.generations()] == ["ok", "ok"]


def test_embeddings_are_counted_and_not_kept(place, client, recorded):
    """The record says how many vectors of which length."""
    place.will_say({"embeddings": [{"values": [0.1, 0.2]}, {"values": [0.3, 0.4]}]})
    client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"])

    row = recorded.one()
    assert (row.operation, row.output) == ("embeddings", {"vectors": 2, "dimensions": 2})
    assert len(row.messages) == 2


def test_interactions_are_recorded(place, client, recorded):
    """Whole and streamed; the library sends them in a way of their own."""
    usage = {"total_input_tokens": 10, "total_cached_tokens": 4, "total_output_tokens": 5,
             "total_thought_tokens": 3, "total_tokens": 18}  # fmt: skip
    step = {"type": "model_output", "content": [{"type": "text", "text": "hi"}]}
    whole = {"id": "v1_x", "status": "completed", "model": "gemini-3-flash", "steps": [step],
             "usage": usage, "created": "2026-01-01T00:00:00Z"}  # fmt: skip
    start = {key: whole[key] for key in ("id", "model", "created")}
    stream = events(
        {"event_type": "interaction.created", "interaction": {**start, "status": "in_progress"}},
        {"event_type": "step.start", "index": 0, "step": {"type": "model_output"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "h"}},
        {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "i"}},
        {"event_type": "step.stop", "index": 0},
        {
            "event_type": "interaction.completed",
            "interaction": {**start, "status": "completed", "usage": usage},
        },
    )
    place.will_say(whole, stream)
    client.interactions.create(model="gemini-3-flash", input="hello")
    for _ in client.interactions.create(model="gemini-3-flash", input="hello", stream=True):
        pass

    rows = recorded.generations()
    assert [row.output for row in rows] == ["hi", "hi"]
    assert [row.finish_reason for row in rows] == ["completed", "completed"]
    assert [row.usage.stated for row in rows] == [usage, usage]
    assert (rows[0].usage.input_uncached, rows[0].usage.cache_read) == (6, 4)
    assert rows[0].input_tokens + rows[0].output_tokens == 18
    assert rows[0].messages == [{"role": "user", "content": "hello"}]


def test_wrapping_twice_records_once(place, client, recorded):
    """The same client comes back."""
    place.will_say(content({"text": "hi"}))
    assert wrap(wrap(client)) is client
    ask(client)

    assert len(recorded.generations()) == 1


def test_a_client_that_was_not_wrapped_is_not_recorded(place, client, recorded):
    """Observing one client does not observe its kind."""
    place.will_say(content({"text": "hi"}), content({"text": "hi"}))
    with genai.Client(api_key="none", http_options=options(place)) as other:
        ask(other)
    assert recorded.generations() == []
    ask(client)

    assert len(recorded.generations()) == 1


def test_only_clients_can_be_wrapped():
    """Anything else is refused with a sentence that says what to pass."""
    with pytest.raises(ConfigError, match="not a client that can be observed"):
        wrap(object())
