"""Calls of LiteLLM are recorded in the provider's own form, whoever the provider is.

LiteLLM is not among this project's requirements; without it these tests are skipped.
"""

from __future__ import annotations

import asyncio

import pytest
from loopback import Answer, events, named_events

import whence
from whence.errors import ConfigError

litellm = pytest.importorskip("litellm")
of_litellm = pytest.importorskip("whence.integrations.litellm")

CHAT = {"id": "c1", "object": "chat.completion", "created": 1, "model": "gpt-x-1",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7,
                  "prompt_tokens_details": {"cached_tokens": 2}}}  # fmt: skip
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1",
           "stop_reason": "end_turn", "content": [{"type": "text", "text": "hi"}],
           "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 10,
                     "cache_creation_input_tokens": 0}}  # fmt: skip
HELLO = [{"role": "user", "content": "hello"}]
STREAM = events(
    {**CHAT, "object": "chat.completion.chunk", "usage": None,
     "choices": [{"index": 0, "delta": {"role": "assistant", "content": "he"}}]},
    {**CHAT, "object": "chat.completion.chunk", "usage": None,
     "choices": [{"index": 0, "delta": {"content": "y"}, "finish_reason": "stop"}]},
    {**CHAT, "object": "chat.completion.chunk", "choices": []},
    end=True,
)  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _observed():
    of_litellm.wrap(of_litellm.wrap(litellm))
    litellm.suppress_debug_info = True
    litellm.in_memory_llm_clients_cache.flush_cache()


def openai_at(place, **more):
    return {"model": "openai/gpt-x", "api_base": f"{place.url}/v1", "api_key": "none",
            "messages": HELLO, **more}  # fmt: skip


def anthropic_at(place, **more):
    return {"model": "anthropic/claude-x", "api_base": place.url, "api_key": "none",
            "messages": HELLO, "max_tokens": 9, **more}  # fmt: skip


def test_a_completion_is_one_generation_in_the_providers_form(place, recorded):
    """OpenAI's and Anthropic's usage, each word for word."""
    place.will_say(CHAT, MESSAGE)
    with whence.run("r"):
        first = litellm.completion(**openai_at(place))
        second = litellm.completion(**anthropic_at(place))

    rows = recorded.generations()
    assert first.choices[0].message.content == second.choices[0].message.content == "hi"
    assert [row.usage.stated for row in rows] == [CHAT["usage"], MESSAGE["usage"]]
    assert [row.provider for row in rows] == ["openai", "anthropic"]
    assert [row.model for row in rows] == ["gpt-x", "claude-x"]
    assert [row.output for row in rows] == ["hi", "hi"]
    assert recorded.rows("links") == []


def test_a_stream_is_one_generation(place, recorded):
    """And LiteLLM gets every chunk."""
    place.will_say(STREAM)
    asked = openai_at(place, stream=True, stream_options={"include_usage": True})
    text = "".join(c.choices[0].delta.content or "" for c in litellm.completion(**asked))

    row = recorded.one()
    assert text == row.output == "hey"
    assert (row.status, row.usage.stated) == ("ok", CHAT["usage"])
    assert recorded.rows("runs", "started_ns")[0].status == "complete"


def test_async_completions_are_recorded(place, recorded):
    """Also where LiteLLM sends over another transport."""

    async def main():
        await litellm.acompletion(**openai_at(place))
        await litellm.acompletion(**anthropic_at(place))
        stream = await litellm.acompletion(**openai_at(place, stream=True))
        return [chunk async for chunk in stream]

    place.will_say(CHAT, MESSAGE, STREAM)
    asyncio.run(main())

    assert [row.output for row in recorded.generations()] == ["hi", "hi", "hey"]


def test_retries_and_fallbacks_are_linked(place, recorded):
    """LiteLLM's own retries are attempts; another model instead is a fallback."""
    slow = Answer({"error": {"message": "slow", "type": "rate_limit"}}, 429)
    place.will_say(slow, CHAT, slow, MESSAGE)
    with whence.run("r"):
        litellm.completion(**openai_at(place, num_retries=2, max_retries=0))
    router = litellm.Router(
        model_list=[
            {"model_name": "a", "litellm_params": openai_at(place, max_retries=0)},
            {"model_name": "b", "litellm_params": anthropic_at(place)},
        ],
        fallbacks=[{"a": ["b"]}],
        num_retries=0,
    )
    with whence.run("router"):
        of_litellm.wrap(router).completion(model="a", messages=HELLO)

    rows = recorded.generations()
    assert [row.status for row in rows] == ["error", "ok", "error", "ok"]
    assert [(link.kind, link.source, link.target) for link in recorded.rows("links")] == [
        ("retry_of", rows[0].span, rows[1].span),
        ("fallback_for", rows[2].span, rows[3].span),
    ]


def test_a_client_that_is_observed_itself_records_once(place, recorded):
    """LiteLLM sends to OpenAI through OpenAI's library."""
    whence.instrument(["openai"])
    place.will_say(CHAT)
    litellm.completion(**openai_at(place))

    assert recorded.one().output == "hi"
    (run,) = recorded.rows("runs", "started_ns")
    assert (run.status, run.generations) == ("complete", 1)


def test_what_is_not_sent_over_http_is_recorded_as_it_was_answered(recorded):
    """LiteLLM's own answer stands in, with its own account of the tokens."""
    litellm.completion(model="openai/gpt-x", messages=HELLO, mock_response="hi")

    row = recorded.one()
    assert (row.output, row.provider, row.model) == ("hi", "openai", "openai/gpt-x")
    assert row.usage.stated["total_tokens"] > 0


def test_an_anthropic_stream_is_read(place, recorded):
    """Its events are Anthropic's own."""
    started = {**MESSAGE, "content": [], "stop_reason": None}
    text = {"type": "text", "text": ""}
    place.will_say(
        named_events(
            {"type": "message_start", "message": started},
            {"type": "content_block_start", "index": 0, "content_block": text},
            {"type": "content_block_delta", "index": 0,
             "delta": {"type": "text_delta", "text": "hey"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"},
             "usage": {"output_tokens": 7}},
            {"type": "message_stop"},
        )
    )  # fmt: skip
    for _ in litellm.completion(**anthropic_at(place, stream=True)):
        pass

    row = recorded.one()
    assert (row.output, row.finish_reason) == ("hey", "end_turn")
    assert row.usage.stated == {**MESSAGE["usage"], "output_tokens": 7}


def test_only_litellm_can_be_wrapped():
    """Anything else is refused with a sentence that says what to pass."""
    with pytest.raises(ConfigError, match=r"pass the module litellm or a litellm\.Router"):
        of_litellm.wrap(object())
