"""Calls of Anthropic's client library are recorded as they were made and return what they did."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import threading
import zlib

import anthropic
import pytest
from loopback import Answer, named_events

import whence
from whence.errors import ConfigError
from whence.integrations.anthropic import wrap

USAGE = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 100,
    "cache_read_input_tokens": 1733,
    "cache_creation": {"ephemeral_5m_input_tokens": 60, "ephemeral_1h_input_tokens": 40},
    "output_tokens": 30,
    "output_tokens_details": {"thinking_tokens": 12},
    "service_tier": "standard",
}
HELLO = [{"role": "user", "content": "hello"}]
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def message(*content, **more):
    return {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-1",
            "content": list(content), "stop_reason": "end_turn", "stop_sequence": None,
            "usage": USAGE, **more}  # fmt: skip


def text(said):
    return {"type": "text", "text": said}


def streamed(*blocks, stop="end_turn"):
    """Return the events of a message whose blocks are `(start, deltas)`."""
    started = message(stop_reason=None, usage={**USAGE, "output_tokens": 1})
    said = [{"type": "message_start", "message": started}, {"type": "ping"}]
    for index, (start, deltas) in enumerate(blocks):
        said.append({"type": "content_block_start", "index": index, "content_block": start})
        said += [{"type": "content_block_delta", "index": index, "delta": d} for d in deltas]
        said.append({"type": "content_block_stop", "index": index})
    last = {"stop_reason": stop, "stop_sequence": None}
    said.append({"type": "message_delta", "delta": last, "usage": {"output_tokens": 30}})
    said.append({"type": "message_stop"})
    return said


TALK = streamed(
    (
        {"type": "thinking", "thinking": "", "signature": ""},
        [
            {"type": "thinking_delta", "thinking": "hm"},
            {"type": "signature_delta", "signature": "s"},
        ],
    ),
    (text(""), [{"type": "text_delta", "text": "Hel"}, {"type": "text_delta", "text": "lo"}]),
    (
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}},
        [
            {"type": "input_json_delta", "partial_json": '{"city":'},
            {"type": "input_json_delta", "partial_json": '"Oslo"}'},
        ],
    ),
    stop="tool_use",
)


@pytest.fixture
def client(place):
    made = anthropic.Anthropic(api_key="none", base_url=place.url, max_retries=1)
    with wrap(made) as opened:
        yield opened


def ask(client, **more):
    return client.messages.create(
        **{"model": "claude-sonnet-5", "max_tokens": 99, "messages": HELLO, **more}
    )


def test_a_message_says_what_was_asked_and_answered(place, client, recorded):
    """Cached tokens are beside the input, thinking tokens inside the output."""
    place.will_say(Answer(message(text("hi")), headers=(("request-id", "req_1"),)))
    with whence.run("r"):
        answer = ask(client, system="be brief", stop_sequences=["."])

    row = recorded.one()
    assert answer.content[0].text == row.output == "hi"
    assert (row.name, row.provider) == ("chat claude-sonnet-5", "anthropic")
    assert (row.response_model, row.response_id) == ("claude-sonnet-5-1", "msg_1")
    assert row.messages == [{"role": "system", "content": "be brief"}, *HELLO]
    assert row.parameters == {"max_tokens": 99, "stop_sequences": ["."]}
    assert row.usage.stated == USAGE
    usage = row.usage
    assert (usage.input_uncached, usage.cache_read, usage.cache_write) == (21, 1733, 100)
    assert (usage.output_visible, usage.reasoning) == (18, 12)
    assert usage.modalities == {"cache_write_1h": 40}
    assert (row.input_tokens, row.output_tokens) == (1854, 30)
    assert row.attributes["request_id"] == "req_1"
    assert (row.finish_reason, row.status) == ("end_turn", "ok")


def test_thinking_is_reasoning_and_tools_are_named(place, client, recorded):
    """The output holds what is not thinking."""
    tool = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    place.will_say(message(thought, text("Let me see."), tool, stop_reason="tool_use"))
    ask(client)

    row = recorded.one()
    assert row.reasoning == "hm"
    assert row.output == [text("Let me see."), tool]
    assert row.attributes["tool_calls"] == [{"id": "toolu_1", "name": "weather"}]


def test_a_refusal_is_told(place, client, recorded):
    """The model declined: the call is no error."""
    place.will_say(message(stop_reason="refusal"))
    ask(client)

    row = recorded.one()
    assert (row.status, row.policy, row.output) == ("ok", {"refused": True}, None)


def test_an_image_that_is_sent_becomes_a_blob(place, client, recorded):
    """Its bytes stand in the message and among the media."""
    encoded = base64.b64encode(PNG).decode()
    source = {"type": "base64", "media_type": "image/png", "data": encoded}
    place.will_say(message(text("a dot")))
    ask(client, messages=[{"role": "user", "content": [{"type": "image", "source": source}]}])

    row = recorded.one()
    assert recorded.value(row.media[0]["data"]) == PNG
    assert row.media[0]["mime_type"] == "image/png"
    assert recorded.value(row.messages)[0]["content"][0]["source"]["data"] == PNG


@pytest.mark.parametrize("way", ["create", "stream", "raw"])
def test_a_stream_is_one_call(place, client, recorded, way):
    """Blocks are put together, counts are the last that were stated."""
    place.will_say(named_events(*TALK))
    asked = {"model": "claude-sonnet-5", "max_tokens": 99, "messages": HELLO}
    if way == "stream":
        with client.messages.stream(**asked) as helper:
            final = helper.get_final_message()
        assert final.content[1].text == "Hello"
    elif way == "create":
        assert (
            len(list(client.messages.create(**asked, stream=True))) == len(TALK) - 1
        )  # the ping is kept from the program
    else:
        with client.messages.with_streaming_response.create(**asked, stream=True) as raw:
            raw.read()

    row = recorded.one()
    assert row.output == [
        text("Hello"),
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}},
    ]
    assert (row.reasoning, row.finish_reason, row.status) == ("hm", "tool_use", "ok")
    assert row.usage.stated == USAGE
    assert row.first_chunk_ms is not None


def test_a_stream_that_is_left_early_keeps_what_was_stated(place, client, recorded):
    """The input was stated at the start; of the output, what was counted by then."""
    more = threading.Event()
    place.will_say(Answer(named_events(*TALK), wait=more))
    with ask(client, stream=True) as stream:
        next(iter(stream))
    more.set()

    row = recorded.one()
    assert row.status == "cancelled"
    assert (row.usage.input_uncached, row.usage.stated["output_tokens"]) == (21, 1)


def test_an_error_inside_a_stream_is_an_error(place, client, recorded):
    """Overload is told in the middle of the answer."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}}
    place.will_say(named_events(*TALK[:9], error))
    with pytest.raises(anthropic.APIStatusError):
        list(ask(client, stream=True))

    row = recorded.one()
    assert (row.status, row.error_type) == ("error", "overloaded_error")


def test_a_retry_inside_the_library_is_an_attempt(place, client, recorded):
    """529 and an answer: two generations, linked."""
    busy = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    place.will_say(Answer(busy, 529, (("retry-after", "0.01"),)), message(text("hi")))
    ask(client)

    first, second = recorded.generations()
    (link,) = recorded.rows("links")
    assert (first.error_type, first.error["http_status"]) == ("overloaded_error", 529)
    assert (link.kind, link.source, link.target) == ("retry_of", first.span, second.span)


def test_counting_tokens_is_no_call_of_a_model(place, client, recorded):
    """Nothing was generated."""
    place.will_say({"input_tokens": 5})
    client.messages.count_tokens(model="claude-sonnet-5", messages=HELLO)

    assert recorded.generations() == []


def test_async_calls_are_recorded(place, recorded):
    """Messages and streams alike."""

    async def main():
        made = anthropic.AsyncAnthropic(api_key="none", base_url=place.url)
        async with wrap(made) as client:
            await ask(client)
            async with client.messages.stream(
                model="claude-sonnet-5", max_tokens=9, messages=HELLO
            ) as stream:
                return await stream.get_final_text()

    place.will_say(message(text("hi")), named_events(*TALK))
    assert asyncio.run(main()) == "Hello"

    assert [row.status for row in recorded.generations()] == ["ok", "ok"]
    assert [row.usage.stated for row in recorded.generations()] == [USAGE, USAGE]


def aws_event(event):
    """Return one message of Amazon's event stream (Smithy 2.0, Amazon Event Stream)."""

    def header(name, value):
        sizes = struct.pack(">B", len(name)), struct.pack(">BH", 7, len(value))
        return sizes[0] + name + sizes[1] + value

    headers = header(b":event-type", b"chunk") + header(b":content-type", b"application/json")
    headers += header(b":message-type", b"event")
    encoded = base64.b64encode(json.dumps(event).encode()).decode()
    payload = json.dumps({"bytes": encoded}).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    prelude += struct.pack(">I", zlib.crc32(prelude))
    body = prelude + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


def test_bedrock_names_the_model_in_the_path(place, recorded):
    """Messages and their binary streams are understood there too."""
    made = anthropic.AnthropicBedrock(
        api_key="none", base_url=place.url, aws_region="us-east-1", max_retries=0
    )
    stream = b"".join(map(aws_event, TALK))
    place.will_say(message(text("hi")), Answer(stream, kind="application/vnd.amazon.eventstream"))
    with wrap(made) as client:
        ask(client, model="anthropic.claude-sonnet-5-v1:0")
        raw = client.messages.with_streaming_response.create(
            model="anthropic.claude-sonnet-5-v1:0", max_tokens=9, messages=HELLO, stream=True
        )
        with raw as streamed_answer:
            streamed_answer.read()

    rows = recorded.generations()
    assert [row.model for row in rows] == ["anthropic.claude-sonnet-5-v1:0"] * 2
    assert rows[0].output == "hi"
    assert rows[1].output[0] == text("Hello")
    assert [row.usage.stated for row in rows] == [USAGE, USAGE]


def test_only_clients_can_be_wrapped():
    """Anything else is refused with a sentence that says what to pass."""
    with pytest.raises(ConfigError, match="not a client that can be observed"):
        wrap("client")
