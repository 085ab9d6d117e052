"""Calls of OpenAI's client library are recorded as they were made and return what they did."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import openai
import pytest
from loopback import Answer, events, named_events
from pydantic import BaseModel

import whence
from whence.errors import ConfigError
from whence.integrations.openai import wrap

USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 9,
    "total_tokens": 21,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
HELLO = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]


def chat(content="hi", finish="stop", **message):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-5-2025-08-07",
        "service_tier": "default",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": USAGE,
    }


def chunk(delta=None, finish=None, **more):
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if delta is not None else []
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1,
            "model": "gpt-5-2025-08-07", "choices": choices, **more}  # fmt: skip


def response(output, status="completed", **more):
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "gpt-5-2025-08-07",
        "status": status,
        "output": output,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        **more,
    }


def said(text):
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [part]}  # fmt: skip


STREAM = events(
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo"}),
    chunk({}, "stop"),
    chunk(usage=USAGE),
    end=True,
)


@pytest.fixture
def client(place):
    made = openai.OpenAI(api_key="none", base_url=f"{place.url}/v1", max_retries=0)
    with wrap(made) as opened:
        yield opened


def ask(client, **more):
    return client.chat.completions.create(
        **{"model": "gpt-5", "messages": HELLO, "temperature": 0.5, "seed": 7, **more}
    )


def test_a_completion_says_what_was_asked_and_answered(place, client, recorded):
    """Question, parameters, answer, usage word for word and in buckets, ids and times."""
    place.will_say(Answer(chat(), headers=(("x-request-id", "req_1"),)))
    with whence.run("r"):
        answer = ask(client)

    row = recorded.one()
    assert answer.choices[0].message.content == row.output == "hi"
    assert (row.name, row.operation, row.provider) == ("chat gpt-5", "chat", "openai")
    assert (row.model, row.response_model) == ("gpt-5", "gpt-5-2025-08-07")
    assert (row.response_id, row.finish_reason, row.status) == ("chatcmpl-1", "stop", "ok")
    assert row.messages == HELLO
    assert row.parameters == {"temperature": 0.5}
    assert (row.seed, row.attempt) == (7, 1)
    assert row.usage.stated == USAGE
    assert (row.usage.input_uncached, row.usage.cache_read) == (8, 4)
    assert (row.usage.output_visible, row.usage.reasoning) == (4, 5)
    assert row.cost_usd is None
    assert row.duration_ms > 0
    assert row.attributes["request_id"] == "req_1"
    (span,) = recorded.rows("spans", "started_ns")
    assert (span.id, span.kind, span.status) == (row.span, "generation", "ok")


def test_a_call_outside_any_run_has_a_run_of_its_own(place, client, recorded):
    """The run is named after the call and ends with it."""
    place.will_say(chat())
    ask(client)

    (run,) = recorded.rows("runs", "started_ns")
    assert (run.name, run.status, run.generations) == ("chat gpt-5", "complete", 1)


def test_tools_that_the_model_calls_are_named(place, client, recorded):
    """The output holds the calls with their arguments, and their names can be filtered by."""
    call = {"id": "call_1", "type": "function",
            "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}}  # fmt: skip
    place.will_say(chat(None, "tool_calls", tool_calls=[call]))
    ask(client, tools=[{"type": "function", "function": {"name": "weather"}}])

    row = recorded.one()
    assert row.output == {"tool_calls": [call]}
    assert row.attributes["tool_calls"] == [{"id": "call_1", "name": "weather"}]
    assert row.parameters["tools"][0]["function"]["name"] == "weather"
    assert row.finish_reason == "tool_calls"


def test_structured_output_is_parsed_by_the_library_and_recorded_as_text(place, client, recorded):
    """`parse` returns its object, and the schema stands among the parameters."""

    class City(BaseModel):
        name: str

    place.will_say(chat('{"name":"Oslo"}'))
    parsed = client.chat.completions.parse(model="gpt-5", messages=HELLO, response_format=City)

    row = recorded.one()
    assert parsed.choices[0].message.parsed == City(name="Oslo")
    assert row.output == '{"name":"Oslo"}'
    assert row.parameters["response_format"]["json_schema"]["name"] == "City"


def test_an_image_that_is_sent_becomes_a_blob(place, client, recorded):
    """The message and the media list refer to its bytes; the log does not hold base64."""
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    part = {"type": "image_url", "image_url": {"url": url}}
    place.will_say(chat())
    ask(client, messages=[{"role": "user", "content": [part]}])

    row = recorded.one()
    (media,) = row.media
    assert (media["direction"], media["mime_type"]) == ("in", "image/png")
    assert recorded.value(media["data"]) == PNG
    assert recorded.value(row.messages)[0]["content"][0]["image_url"]["url"] == PNG


@pytest.mark.parametrize("text", [hashlib.sha256(b"x").hexdigest(), "A" * 64, "https://a.b/c.png"])
def test_a_text_that_could_be_base64_stays_a_text(place, client, recorded, text):
    """Digests and addresses are valid base64; they are decoded only where a file has to stand."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "t", "data": text}]}]
    place.will_say(chat())
    ask(client, messages=messages, metadata={"result": text})

    row = recorded.one()
    assert row.messages == messages
    assert row.media == []


def test_a_refusal_is_told(place, client, recorded):
    """A refusal stands under `policy`, and in the output."""
    place.will_say(chat(None, refusal="I will not"))
    ask(client)

    row = recorded.one()
    assert row.policy == {"refusal": "I will not"}
    assert row.output == {"refusal": "I will not"}


def test_several_choices_are_all_kept(place, client, recorded):
    """The output is a list then, and finish reasons that differ are both said."""
    body = chat("one")
    body["choices"].append({**chat("two", "length")["choices"][0], "index": 1})
    place.will_say(body)
    ask(client, n=2)

    row = recorded.one()
    assert row.output == ["one", "two"]
    assert row.finish_reason == "stop, length"


def test_a_stream_is_one_call_with_its_last_usage(place, client, recorded):
    """The program gets every chunk; the record has the joined text and the time of the first."""
    place.will_say(STREAM)
    stream = ask(client, stream=True, stream_options={"include_usage": True})
    text = "".join(c.choices[0].delta.content or "" for c in stream if c.choices)

    row = recorded.one()
    assert text == row.output == "Hello"
    assert (row.status, row.finish_reason) == ("ok", "stop")
    assert row.usage.stated == USAGE
    assert 0 < row.first_chunk_ms <= row.duration_ms
    assert row.attributes["stream"] is True


def test_tool_calls_of_a_stream_are_put_together(place, client, recorded):
    """Arguments come in pieces, by place in the list."""

    def piece(index, **more):
        return chunk({"tool_calls": [{"index": index, **more}]})

    place.will_say(
        events(
            piece(0, id="a", type="function", function={"name": "one", "arguments": ""}),
            piece(0, function={"arguments": '{"x"'}),
            piece(1, id="b", type="function", function={"name": "two", "arguments": "{}"}),
            piece(0, function={"arguments": ":1}"}),
            chunk({}, "tool_calls"),
            end=True,
        )
    )
    for _ in ask(client, stream=True):
        pass

    row = recorded.one()
    assert [call["function"] for call in row.output["tool_calls"]] == [
        {"name": "one", "arguments": '{"x":1}'},
        {"name": "two", "arguments": "{}"},
    ]
    assert row.usage is None


def test_responses_keep_reasoning_apart_from_the_answer(place, client, recorded):
    """The summary of the reasoning is `reasoning`; instructions are the first message."""
    thought = {"type": "reasoning", "id": "rs_1", "encrypted_content": "x" * 40,
               "summary": [{"type": "summary_text", "text": "thinking"}]}  # fmt: skip
    usage = {"input_tokens": 10, "output_tokens": 6, "total_tokens": 16,
             "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 3},
             "output_tokens_details": {"reasoning_tokens": 4}}  # fmt: skip
    place.will_say(response([thought, said("hi")], usage=usage))
    made = client.responses.create(model="gpt-5", input="hello", instructions="be brief")

    row = recorded.one()
    assert made.output_text == row.output == "hi"
    assert row.reasoning == "thinking"
    assert row.messages == HELLO
    assert row.usage.stated == usage
    assert (row.usage.input_uncached, row.usage.cache_read, row.usage.cache_write) == (5, 2, 3)
    assert (row.input_tokens, row.output_tokens) == (10, 6)


def test_a_response_that_was_cut_says_why(place, client, recorded):
    """The finish reason is what made it incomplete."""
    place.will_say(response([], "incomplete", incomplete_details={"reason": "max_output_tokens"}))
    client.responses.create(model="gpt-5", input="hello")

    assert recorded.one().finish_reason == "max_output_tokens"


def test_a_streamed_response_is_its_last_event(place, client, recorded):
    """The event that ends it holds the whole answer and the usage."""
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3,
             "input_tokens_details": {"cached_tokens": 0},
             "output_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    place.will_say(
        named_events(
            {"type": "response.created", "response": response([], "in_progress"),
             "sequence_number": 0},
            {"type": "response.output_text.delta", "delta": "hi", "output_index": 0,
             "content_index": 0, "item_id": "msg_1", "logprobs": [], "sequence_number": 1},
            {"type": "response.completed", "response": response([said("hi")], usage=usage),
             "sequence_number": 2},
        )
    )  # fmt: skip
    for _ in client.responses.create(model="gpt-5", input="hello", stream=True):
        pass

    row = recorded.one()
    assert (row.output, row.status, row.finish_reason) == ("hi", "ok", "completed")
    assert row.usage.stated == usage


def test_a_response_in_the_background_is_one_call_however_often_it_is_looked_at(
    place, client, recorded
):
    """Asking is the call, with no usage; the look that finds it finished notes how it ended."""
    usage = {"input_tokens": 5, "output_tokens": 6, "total_tokens": 11}
    done = response([said("done")], usage=usage)
    place.will_say(response([], "queued"), response([], "in_progress"), done, done)
    with whence.run("r"):
        made = client.responses.create(model="gpt-5", input="hello", background=True)
        for _ in range(3):
            last = client.responses.retrieve(made.id)

    row = recorded.one()
    assert last.output_text == "done"
    assert (row.finish_reason, row.usage) == ("queued", None)
    (event,) = recorded.rows("events")
    assert (event.span, event.data["usage"]) == (row.span, usage)
    assert event.data["finish_reason"] == "completed"


def test_embeddings_are_counted_and_not_kept(place, client, recorded):
    """The record says how many vectors of which length, not their numbers."""
    vector = base64.b64encode(bytes(12)).decode()
    place.will_say({"object": "list", "model": "text-embedding-3-small",
                    "data": [{"object": "embedding", "index": 0, "embedding": [0.1, 0.2, 0.3]},
                             {"object": "embedding", "index": 1, "embedding": vector}],
                    "usage": {"prompt_tokens": 4, "total_tokens": 4}})  # fmt: skip
    client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])

    row = recorded.one()
    assert (row.operation, row.output) == ("embeddings", {"vectors": 2, "dimensions": 3})
    assert row.messages == [{"role": "user", "content": ["a", "b"]}]
    assert (row.input_tokens, row.output_tokens) == (4, None)


def test_an_image_that_is_made_becomes_a_blob(place, client, recorded):
    """Its bytes are kept once, and its tokens by modality."""
    usage = {"input_tokens": 9, "output_tokens": 1056, "total_tokens": 1065,
             "input_tokens_details": {"text_tokens": 9, "image_tokens": 0},
             "output_tokens_details": {"image_tokens": 1056, "text_tokens": 0}}  # fmt: skip
    encoded = base64.b64encode(PNG).decode()
    place.will_say({"created": 1, "data": [{"b64_json": encoded}], "usage": usage})
    client.images.generate(model="gpt-image-1", prompt="a cat")

    row = recorded.one()
    (media,) = row.media
    assert recorded.value(media["data"]) == PNG
    assert (media["direction"], media["mime_type"]) == ("out", "image/png")
    assert row.usage.modalities == {"input_text": 9, "output_image": 1056}
    assert row.operation == "image"


def test_a_file_that_is_sent_is_kept_and_read_by_nobody_else(place, client, recorded):
    """A form with bytes is recorded from what the library was given."""
    place.will_say({"created": 1, "data": []})
    client.images.edit(model="gpt-image-1", prompt="a cat", image=("cat.png", PNG, "image/png"))

    row = recorded.one()
    assert row.model == "gpt-image-1"
    assert row.messages == [{"role": "user", "content": "a cat"}]
    (file,) = row.parameters["files"]
    assert (file["name"], recorded.value(file["data"])) == ("cat.png", PNG)
    assert PNG in place.asked[0].content


def test_speech_becomes_a_blob(place, client, recorded):
    """An answer that is no JSON is kept as media."""
    place.will_say(Answer(b"ID3sound", kind="audio/mpeg"))
    heard = client.audio.speech.create(model="tts-1", voice="alloy", input="hello")

    row = recorded.one()
    (media,) = row.media
    assert heard.content == recorded.value(media["data"]) == b"ID3sound"
    assert media["mime_type"] == "audio/mpeg"


def test_raw_and_streamed_answers_of_the_library_stay_what_they_are(place, client, recorded):
    """`with_raw_response` and `with_streaming_response` work, each one call."""
    place.will_say(chat(), chat(), STREAM)
    raw = client.chat.completions.with_raw_response.create(model="gpt-5", messages=HELLO)
    with client.chat.completions.with_streaming_response.create(
        model="gpt-5", messages=HELLO
    ) as streamed:
        body = streamed.json()
    with client.chat.completions.stream(model="gpt-5", messages=HELLO) as helper:
        final = helper.get_final_completion()

    assert raw.parse().choices[0].message.content == "hi"
    assert raw.retries_taken == 0
    assert body["choices"][0]["message"]["content"] == "hi"
    assert final.choices[0].message.content == "Hello"
    assert [row.output for row in recorded.generations()] == ["hi", "hi", "Hello"]
    assert [row.status for row in recorded.generations()] == ["ok"] * 3


def test_a_compressed_answer_is_read(place, client, recorded):
    """As JSON and as a stream, whole and streamed by the library."""
    place.will_say(Answer(chat(), packed=True), Answer(STREAM, packed=True))
    ask(client)
    for _ in ask(client, stream=True):
        pass

    assert [row.output for row in recorded.generations()] == ["hi", "Hello"]
    assert [row.usage.stated for row in recorded.generations()] == [USAGE, USAGE]


def test_listing_and_counting_are_no_calls_of_a_model(place, client, recorded):
    """Only what a model answers is recorded."""
    place.will_say({"object": "list", "data": []}, {"object": "list", "data": []})
    client.models.list()
    client.chat.completions.list()

    assert recorded.generations() == []


def test_async_calls_and_streams_are_recorded(place, recorded):
    """As the sync ones, concurrently, each in the span it was made in."""

    async def main():
        made = openai.AsyncOpenAI(api_key="none", base_url=f"{place.url}/v1", max_retries=0)
        async with wrap(made) as client:

            async def in_span(name):
                with whence.step(name):
                    await ask(client)

            with whence.run("r"):
                await asyncio.gather(in_span("a"), in_span("b"))
                text = ""
                async for part in await ask(client, stream=True):
                    text += part.choices[0].delta.content or "" if part.choices else ""
            return text

    place.will_say(chat(), chat(), STREAM)
    text = asyncio.run(main())

    rows = recorded.generations()
    spans = {span.id: span for span in recorded.rows("spans", "started_ns")}
    assert text == "Hello"
    assert sorted(row.output for row in rows) == ["Hello", "hi", "hi"]
    parents = [spans[row.span].parent for row in rows]
    assert sorted(spans[p].name if p else "" for p in parents) == ["", "a", "b"]


@pytest.mark.parametrize("make", [openai.AzureOpenAI, openai.AsyncAzureOpenAI])
def test_azure_names_the_deployment_as_model(place, recorded, make):
    """The model stands in the path there."""
    place.will_say(chat())
    client = wrap(
        make(api_key="none", azure_endpoint=place.url, api_version="2025-01-01", max_retries=0)
    )
    asked = {"model": "my-deployment", "messages": HELLO}
    if isinstance(client, openai.AzureOpenAI):
        client.chat.completions.create(**asked)
        client.close()
    else:

        async def main():
            async with client:
                await client.chat.completions.create(**asked)

        asyncio.run(main())

    row = recorded.one()
    assert (row.model, row.response_model) == ("my-deployment", "gpt-5-2025-08-07")


def test_a_gateways_own_price_is_a_declared_cost(place, client, recorded):
    """OpenRouter states the cost beside the tokens."""
    body = chat()
    body["usage"] = {**USAGE, "cost": 0.000113}
    place.will_say(body)
    ask(client)

    row = recorded.one()
    assert (row.cost_usd, row.cost_source) == (0.000113, "declared")


def test_only_clients_can_be_wrapped():
    """Anything else is refused with a sentence that says what to pass."""
    with pytest.raises(ConfigError, match="not a client that can be observed"):
        wrap(object())


def test_a_server_of_ones_own_is_named_in_the_record(place, client, recorded):
    """The host decides who the provider is; where it is not known, it is told."""
    place.will_say(chat())
    ask(client)

    assert recorded.one().attributes["server_address"] == place.url.removeprefix("http://")


def test_groq_states_the_usage_of_a_stream_in_a_field_of_its_own(place, client, recorded):
    """Its last chunk has it in `x_groq` unless the usage was asked for."""
    said = {"prompt_tokens": 18, "completion_tokens": 73, "total_tokens": 91}
    place.will_say(
        events(
            chunk({"role": "assistant", "content": "hi"}, x_groq={"id": "req_1"}),
            chunk({}, "stop", x_groq={"id": "req_1", "usage": said}),
            end=True,
        )
    )
    list(ask(client, stream=True))

    row = recorded.one()
    assert (row.usage.input_uncached, row.usage.output_visible) == (18, 73)
    assert row.usage.stated == said


def test_what_an_answer_rests_on_is_kept(place, client, recorded):
    """Notes on a text stand in an attribute beside it, in both APIs."""
    note = {
        "type": "url_citation",
        "url_citation": {"url": "https://example.org", "start_index": 0, "end_index": 2},
    }
    cited = {"type": "file_citation", "file_id": "f1", "filename": "a.pdf", "index": 1}
    part = {"type": "output_text", "text": "hi", "annotations": [cited]}
    place.will_say(
        chat(annotations=[note]),
        response([{"type": "message", "id": "m1", "role": "assistant", "content": [part]}]),
    )
    ask(client)
    client.responses.create(model="gpt-5", input="hello")

    first, second = recorded.generations()
    assert (first.output, first.attributes["citations"]) == ("hi", [note])
    assert (second.output, second.attributes["citations"]) == ("hi", [cited])


def test_a_streamed_response_keeps_what_its_last_event_leaves_out(place, client, recorded):
    """Gateways end a stream with a response without its items."""
    item = {
        "type": "message",
        "id": "m1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "hi", "annotations": []}],
    }
    place.will_say(
        named_events(
            {"type": "response.created", "response": response([], "in_progress")},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": response([])},
        )
    )
    list(client.responses.create(model="gpt-5", input="hello", stream=True))

    assert recorded.one().output == "hi"


def test_costs_are_read_in_the_forms_of_several_providers(place, client, recorded):
    """Perplexity states parts and their sum, xAI ticks."""
    for more in ({"cost": {"total_cost": 0.816}}, {"cost_in_usd_ticks": 232_856_000}):
        place.will_say({**chat(), "usage": USAGE | more})
        ask(client)

    assert [row.cost_usd for row in recorded.generations()] == [0.816, 0.0232856]
