"""The client asks the real library over real HTTP, and hands on and records what was answered."""

from __future__ import annotations

import asyncio
import json
import logging

import openai
import pytest
from loopback import Answer
from openaiapi import chat_body, recorded_exchanges, responses_body, serving

import whence
from whence.dialects.generations import answers
from whence.errors import ConfigError, GenerationError
from whence.generations import LLMResponse, OpenAIClient
from whence.integrations.openai import wrap

LOGGER = "whence.generations"
EXCHANGES = recorded_exchanges()
WHOLE = [
    e
    for e in EXCHANGES
    if e["request"]["method"] == "POST" and isinstance(e["response"]["body"], dict)
]
pytestmark = pytest.mark.usefixtures("recording")


def ask(server, /, prompt="Dis oui.", model="gpt-5-nano", settings=None, **options) -> LLMResponse:
    async def once():
        async with OpenAIClient("key", base_url=server.url, **(settings or {})) as client:
            return await client.handle_request_with_metadata(prompt, model, **options)

    return asyncio.run(once())


def calls(home):
    with whence.open(home) as store:
        return store.generations(order="ts").items


def test_a_chat_answer_comes_with_what_was_said_about_it(recording):
    """Text, model, id and counts are the provider's; what it leaves unsaid is null."""
    with serving(chat_body("Oui.")) as api:
        said = ask(api, model="gpt-4o-mini", operation="greeting")

    assert (said.content, said.model, said.response_id) == (
        "Oui.",
        "gpt-4o-mini-2024-07-18",
        "chatcmpl-1",
    )
    assert (said.prompt_tokens, said.completion_tokens, said.total_tokens) == (150, 75, 225)
    assert said.reasoning_tokens is None
    assert said.reasoning_content is None
    assert said.prompt_text == "Dis oui."
    assert 0 < said.duration_ms < 60_000
    (call,) = calls(recording)
    assert (call.id, call.name, call.model) == (said.generation_id, "greeting", "gpt-4o-mini")
    assert call.usage.stated == chat_body()["usage"]
    assert (call.output, call.finish_reason, call.attempt) == ("Oui.", "stop", 1)


def test_a_responses_answer_brings_its_reasoning(recording):
    """The parts of the summary are joined by empty lines, and the tokens are counted."""
    with serving(responses_body("Oui.", "D'abord.", "Ensuite.")) as api:
        said = ask(api)

    assert said.reasoning_content == "D'abord.\n\nEnsuite."
    assert (said.reasoning_tokens, said.completion_tokens) == (500, 575)
    (call,) = calls(recording)
    assert call.reasoning == "D'abord.\n\nEnsuite."
    assert (call.usage.reasoning, call.usage.output_visible) == (500, 75)
    assert (call.usage.cache_read, call.usage.input_uncached) == (100, 50)


@pytest.mark.parametrize(
    ("model", "settings", "path"),
    [
        ("gpt-5", {}, "/v1/responses"),
        ("gpt-5.2-codex", {}, "/v1/responses"),
        ("gpt-6-astra", {}, "/v1/responses"),
        ("gpt-4o", {}, "/v1/chat/completions"),
        ("o3-mini", {}, "/v1/chat/completions"),
        ("gpt-35-turbo", {}, "/v1/chat/completions"),
        ("llama-4", {"api": "responses"}, "/v1/responses"),
        ("gpt-5", {"api": "chat"}, "/v1/chat/completions"),
    ],
)
def test_the_model_decides_over_which_api_it_is_asked(model, settings, path):
    """From gpt-5 on it is Responses, unless one API is chosen."""
    body = responses_body() if path.endswith("responses") else chat_body()
    with serving(body) as api:
        ask(api, model=model, settings=settings)

    assert api.asked[0].path == path
    assert api.asked[0].headers["authorization"] == "Bearer key"


@pytest.mark.parametrize(
    ("model", "parameters", "sent"),
    [
        ("gpt-5", {}, {"summary": "auto"}),
        ("gpt-5", {"reasoning_effort": "low"}, {"summary": "auto", "effort": "low"}),
        ("gpt-5", {"reasoning": {"summary": "detailed"}}, {"summary": "detailed"}),
        ("gpt-5-chat-latest", {}, None),
    ],
)
def test_reasoning_is_asked_for_where_there_is_any(model, parameters, sent):
    """Without being asked, the Responses API tells none."""
    with serving(responses_body()) as api:
        ask(api, model=model, **parameters)

    assert api.asked[0].body.get("reasoning") == sent


def test_a_form_of_the_answer_is_sent_as_each_api_takes_it():
    """One `response_format` serves both."""
    form = {"type": "json_schema", "json_schema": {"name": "word", "schema": {"type": "object"}}}
    with serving(chat_body("{}")) as api:
        ask(api, model="gpt-4o", response_format=form)
    with serving(responses_body("{}")) as other:
        ask(other, response_format=form)

    assert api.asked[0].body["response_format"] == form
    assert other.asked[0].body["text"]["format"] == {
        "type": "json_schema",
        "name": "word",
        "schema": {"type": "object"},
    }


def test_messages_and_instructions_are_kept_as_they_were_sent(recording):
    """A prompt may be a conversation; instructions are its first message."""
    messages = [{"role": "user", "content": "Un?"}, {"role": "user", "content": "Deux?"}]
    with serving(responses_body()) as api:
        said = ask(api, messages, instructions="Sois bref.", prompt_version="2.0", temperature=0.5)

    (call,) = calls(recording)
    assert api.asked[0].body["input"] == messages
    assert call.messages == [{"role": "system", "content": "Sois bref."}, *messages]
    assert call.prompt_version == "2.0"
    assert call.parameters == {"temperature": 0.5}
    assert said.prompt_text == "[system]\nSois bref.\n\n[user]\nUn?\n\n[user]\nDeux?"


def test_what_is_said_to_the_transport_is_not_recorded(recording):
    """Headers may hold a secret; what they add to the request's body is recorded."""
    with serving(chat_body()) as api:
        ask(
            api,
            model="gpt-4o",
            extra_headers={"X-Token": "geheim"},
            extra_query={"key": "geheim"},
            extra_body={"top_k": 3},
            timeout=5,
        )

    (call,) = calls(recording)
    assert api.asked[0].headers["x-token"] == "geheim"
    assert call.parameters == {"top_k": 3}
    assert b"geheim" not in b"".join(p.read_bytes() for p in recording.glob("log/*/*.jsonl"))


def test_usage_that_is_not_stated_is_null(recording):
    """An answer without usage has no counts, and the log line says that they are unknown."""
    body = chat_body()
    del body["usage"]
    with serving(body) as api:
        said = ask(api, model="gpt-4o")

    assert (said.prompt_tokens, said.completion_tokens, said.total_tokens) == (None, None, None)
    assert said.to_trace_dict()["total_tokens"] is None
    assert calls(recording)[0].usage is None


def test_the_log_says_unknown_for_what_is_not_stated(caplog):
    """The line keeps its form."""
    with serving(chat_body(usage=None)) as api, caplog.at_level(logging.INFO, LOGGER):
        ask(api, model="gpt-4o")

    (line,) = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert line.startswith("LLM request completed: operation=unknown, model=gpt-4o-mini-2024-07-18")
    assert line.endswith("tokens=(prompt=unknown, completion=unknown, total=unknown)")


def test_an_operation_cannot_forge_a_line_of_the_log(caplog):
    """Line breaks and controls in a name are shown, not written."""
    with serving(chat_body(model="x\nERROR fake")) as api, caplog.at_level(logging.INFO, LOGGER):
        ask(api, model="gpt-4o", operation="a\r\nLLM request completed: \x1b[31m")

    (line,) = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert "\n" not in line
    assert "\x1b" not in line


def test_a_failed_request_is_recorded_and_raised_as_it_is(recording, caplog):
    """The exception is the library's own; the record has its type and message, the log a line."""
    wrong = {"error": {"message": "no such model", "type": "t", "code": "model_not_found"}}
    with (
        serving(Answer(wrong, 404)) as api,
        caplog.at_level(logging.INFO, LOGGER),
        pytest.raises(openai.NotFoundError),
    ):
        ask(api, model="gpt-4x", operation="greeting")

    (call,) = calls(recording)
    assert (call.status, call.model, call.error_type) == ("error", "gpt-4x", "openai.NotFoundError")
    assert "no such model" in call.error["message"]
    (line,) = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert line.startswith("LLM request failed: operation=greeting, model=gpt-4x, duration=")


def test_a_request_that_was_tried_again_says_how_often(recording):
    """The library's own retries count as attempts of one call."""
    busy = Answer({"error": {"message": "slow down"}}, 429, (("retry-after-ms", "1"),))
    with serving(busy, busy, chat_body()) as api:
        ask(api, model="gpt-4o")

    (call,) = calls(recording)
    assert (call.attempt, len(api.asked)) == (3, 3)


def test_an_answer_that_says_it_failed_is_an_error_with_what_came(recording):
    """Status 200 does not make a failure an answer."""
    body = responses_body(
        "", status="failed", error={"code": "server_error", "message": "it broke"}
    )
    with serving(body) as api, pytest.raises(GenerationError, match="it broke") as caught:
        ask(api)

    assert caught.value.response.response_id == "resp_1"
    assert caught.value.response.total_tokens == 725
    (call,) = calls(recording)
    assert (call.status, call.error_type, call.output_tokens) == ("error", "server_error", 575)


@pytest.mark.parametrize("body", ["<html>busy</html>", "[]", "null", '"text"', "{", "[" * 5000])
def test_what_is_no_answer_is_refused(body, recording):
    """A proxy's page, a list or a torn body is an error and not an empty answer."""
    with serving(body) as api, pytest.raises(GenerationError):
        ask(api, model="gpt-4o")

    assert [call.status for call in calls(recording)] == ["error"]


HOSTILE = [
    {},
    {"choices": [], "usage": []},
    {"choices": [None], "usage": "much", "id": 7, "model": None},
    {"choices": [{"message": {"content": [{"text": 1}, None, "x"]}}], "error": []},
    {"choices": {"0": 1}, "usage": {"prompt_tokens": "many", "total_tokens": True}},
    {"output": [None, 1, {"type": "message", "content": None}, {"type": "reasoning"}]},
    {"output": {"a": 1}, "status": ["x"], "incomplete_details": "y", "usage": 3},
    {"output": [{"type": "reasoning", "summary": [{"text": None}, 3], "content": {}}]},
]


@pytest.mark.parametrize("body", HOSTILE, ids=json.dumps)
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-5"])
def test_an_answer_of_any_form_is_read_without_an_error(body, model):
    """What is not of the documented form is null."""
    with serving(body) as api:
        said = ask(api, model=model)

    assert said.content == ""
    assert (said.prompt_tokens, said.total_tokens, said.reasoning_content) == (None, None, None)


def test_reasoning_of_other_servers_is_read_too():
    """vLLM and DeepSeek say `reasoning_content`, OpenRouter `reasoning`; open models their own."""
    for name in ("reasoning_content", "reasoning"):
        message = {"role": "assistant", "content": "Oui.", name: "Je pense."}
        body = chat_body(choices=[{"index": 0, "message": message, "finish_reason": "stop"}])
        with serving(body) as api:
            assert ask(api, model="deepseek-r1").reasoning_content == "Je pense."
    items = responses_body("Oui.")["output"]
    items[0]["content"] = [{"type": "reasoning_text", "text": "En clair."}]
    with serving(responses_body(output=items)) as api:
        assert ask(api).reasoning_content == "En clair."


def test_an_incomplete_answer_says_why_it_ends():
    """The text so far is the content, and the reason is the provider's word."""
    body = responses_body(
        "Il était", status="incomplete", incomplete_details={"reason": "max_output_tokens"}
    )
    with serving(body) as api:
        said = ask(api)

    assert (said.content, said.finish_reason) == ("Il était", "max_output_tokens")


def test_a_refusal_is_kept_as_what_a_policy_said(recording):
    """The answer is empty, and the record says what was said in its place."""
    message = {"role": "assistant", "content": None, "refusal": "I cannot."}
    with serving(chat_body(choices=[{"message": message, "finish_reason": "stop"}])) as api:
        said = ask(api, model="gpt-4o")

    assert said.content == ""
    assert calls(recording)[0].policy == {"refusal": "I cannot."}


def test_a_call_is_recorded_in_the_span_around_it(recording):
    """Inside a run it belongs there; outside it gets a run of its own."""

    async def twice(client):
        with whence.run("problem") as run:
            await client.handle_request("a", "gpt-4o", "inside")
        await client.handle_request("b", "gpt-4o", "outside")
        return run.id

    with serving(chat_body()) as api:
        run = asyncio.run(twice(OpenAIClient("key", base_url=api.url)))

    inside, outside = calls(recording)
    assert inside.run == run
    assert outside.run != run
    with whence.open(recording) as store:
        assert {row.name for row in store.runs().items} == {"problem", "outside"}


def test_one_client_serves_one_event_loop_after_the_other():
    """No connection is kept that belongs to a loop which is closed."""
    with serving(chat_body()) as api:
        client = OpenAIClient("key", base_url=api.url)
        said = [asyncio.run(client.handle_request("a", "gpt-4o")) for _ in range(3)]

    assert said == ["Salut."] * 3


def test_many_requests_at_once_keep_apart(recording):
    """Each answer belongs to its own prompt."""

    def echo(asked):
        return chat_body(asked.body["messages"][0]["content"] + "!")

    async def many(client):
        return await asyncio.gather(*(client.handle_request(str(n), "gpt-4o") for n in range(20)))

    with serving(answer=echo) as api:
        said = asyncio.run(many(OpenAIClient("key", base_url=api.url)))

    assert said == [f"{n}!" for n in range(20)]
    pairs = {(call.messages[0]["content"], call.output) for call in calls(recording)}
    assert pairs == {(str(n), f"{n}!") for n in range(20)}


def test_a_client_of_ones_own_is_used_as_it_is():
    """Its key and address are its own business, and closing ours leaves it open."""

    async def once(url):
        async with openai.AsyncOpenAI(api_key="mine", base_url=url) as own:
            async with OpenAIClient(client=own, model="gpt-4o") as client:
                first = await client.handle_request("a")
            return first, await OpenAIClient(client=own, model="gpt-4o").handle_request("b")

    with serving(chat_body()) as api:
        assert asyncio.run(once(api.url)) == ("Salut.", "Salut.")

    assert api.asked[0].headers["authorization"] == "Bearer mine"


def test_what_an_answer_cost_is_recorded_where_somebody_knows(recording):
    """A price list of one's own is asked; if it fails, the cost is unknown and the answer comes."""

    def price(said):
        return said.total_tokens * 2e-6

    with serving(chat_body()) as api:
        ask(api, model="gpt-4o", settings={"cost_of": price})
        ask(api, model="gpt-4o", settings={"cost_of": lambda said: said.price})
        ask(api, model="gpt-4o")

    known, failed, unknown = calls(recording)
    assert (known.cost_usd, known.cost_source) == (pytest.approx(0.00045), "computed")
    assert (failed.cost_usd, unknown.cost_usd, unknown.cost_source) == (None, None, None)
    with whence.open(recording) as store:
        (event,) = store.events().items
    assert (event.run, event.level) == (failed.run, "warning")


def test_an_observed_library_does_not_record_the_call_twice(recording):
    """`whence.integrations` leaves alone what this client records itself."""

    async def once(url):
        async with openai.AsyncOpenAI(api_key="mine", base_url=url) as own:
            return await OpenAIClient(client=wrap(own), model="gpt-4o").handle_request("a")

    with serving(chat_body()) as api:
        asyncio.run(once(api.url))

    assert len(calls(recording)) == 1


def test_nothing_is_recorded_when_recording_is_off(recording):
    """The answer comes all the same."""
    whence.configure(recording, enabled=False)
    with serving(chat_body()) as api:
        said = ask(api, model="gpt-4o")

    assert (said.content, said.generation_id) == ("Salut.", None)
    assert not recording.exists()


@pytest.mark.parametrize(
    ("settings", "options", "what"),
    [
        ({"api": "socket"}, {}, "api is"),
        ({}, {"model": None}, "no model"),
        ({}, {"stream": True}, "stream"),
        ({}, {"api": "x"}, "api is"),
    ],
)
def test_a_wrong_call_says_what_is_wrong(settings, options, what):
    """Before anything is sent."""
    with serving(chat_body()) as api, pytest.raises(ConfigError, match=what):
        ask(api, settings=settings, **{"model": "gpt-4o", **options})

    assert api.asked == []


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ('```json\n{"a": 1}\n```', '{"a": 1}'),
        ('```\n{"a": 1}\n```', '{"a": 1}'),
        ('  ```JSON\r\n{"a": 1}\r\n```  \n', '{"a": 1}'),
        ('```json{"a": 1}```', '{"a": 1}'),
        ("```python\nprint()\n```", "print()"),
        ('```json\n{"a": 1}', '{"a": 1}'),
        ("plain", "plain"),
        ("Here:\n```python\nprint()\n```", "Here:\n```python\nprint()\n```"),
        ("```\na\n```\nand\n```\nb\n```", "```\na\n```\nand\n```\nb\n```"),
        ('```json\n{"code": "```x```"}\n```', '{"code": "```x```"}'),
        ("", ""),
        (None, ""),
    ],
)
def test_a_fence_around_the_whole_answer_is_taken_off(raw, clean):
    """And only that: fences inside an answer belong to it."""
    assert answers.without_fence(raw) == clean


@pytest.mark.skipif(not WHOLE, reason="the recorded exchanges are not beside the project")
def test_the_recorded_answers_of_the_service_are_read_as_they_were_stated(recording):
    """Every recorded exchange, replayed over HTTP, gives its ids, counts, reasoning and errors."""
    replayed = []

    def replay(asked):
        exchange = WHOLE[int(asked.headers["x-exchange"])]
        return Answer(exchange["response"]["body"], exchange["response"]["status"])

    async def all_of_them(url):
        client = OpenAIClient("key", base_url=url, max_retries=0)
        for number, exchange in enumerate(WHOLE):
            request = exchange["request"]
            is_chat = request["url"].endswith("/chat/completions")
            given = {
                key: value
                for key, value in request["body"].items()
                if key not in {"model", "messages", "input", "stream"}
            }
            try:
                said = await client.handle_request_with_metadata(
                    request["body"]["messages" if is_chat else "input"],
                    request["body"]["model"],
                    api="chat" if is_chat else "responses",
                    extra_headers={"X-Exchange": str(number)},
                    extra_body=given,
                )
            except openai.APIStatusError as error:
                said = error
            replayed.append((exchange, said))

    with serving(answer=replay) as api:
        asyncio.run(all_of_them(api.url))

    for exchange, said in replayed:
        body = exchange["response"]["body"]
        if exchange["response"]["status"] >= 400:
            assert said.status_code == exchange["response"]["status"]
            continue
        stated = body["usage"] or {}
        assert said.response_id == body["id"]
        assert said.model == body["model"]
        assert said.prompt_tokens == stated.get("prompt_tokens", stated.get("input_tokens"))
        assert said.total_tokens == stated.get("total_tokens")
        details = stated.get("completion_tokens_details", stated.get("output_tokens_details")) or {}
        assert said.reasoning_tokens == details.get("reasoning_tokens")
        summaries = [
            part["text"]
            for item in body.get("output", [])
            if item["type"] == "reasoning"
            for part in item["summary"]
        ]
        assert said.reasoning_content == ("\n\n".join(summaries) or None)
    with whence.open(recording) as store:
        rows = store.generations(limit=None).items
    assert len(rows) == len(WHOLE)
    assert sum(row.status == "error" for row in rows) == sum(
        e["response"]["status"] >= 400 for e in WHOLE
    )
    known = sum(bool(e["response"]["body"].get("usage")) for e in WHOLE)
    assert sum(row.usage is not None for row in rows) == known
