"""Retries, fallbacks, broken connections and streams that nobody reads to their end."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading

import anthropic
import httpx2
import openai
import pytest
from loopback import Answer, events

import whence
from whence.integrations import anthropic as of_anthropic
from whence.integrations import attempts
from whence.integrations import openai as of_openai

QUESTION = [{"role": "user", "content": "hello"}]
GOOD = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "hi"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}  # fmt: skip
SLOW_DOWN = Answer(
    {"error": {"type": "rate_limit_error", "message": "slow down"}},
    429,
    (("retry-after", "0.01"), ("x-request-id", "req_slow")),
)


def chunk(text, **more):
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
            **more}  # fmt: skip


TWO_CHUNKS = events(chunk("one "), chunk("two "), end=True)


@pytest.fixture
def client(place):
    made = openai.OpenAI(api_key="none", base_url=f"{place.url}/v1", max_retries=2)
    with of_openai.wrap(made) as opened:
        yield opened


def ask(client, model="m", **more):
    return client.chat.completions.create(model=model, messages=QUESTION, **more)


def links(recorded):
    return [(row.kind, row.source, row.target, row.inferred) for row in recorded.rows("links")]


@pytest.mark.parametrize("stream", [False, True])
def test_each_retry_of_the_library_is_an_attempt(place, client, recorded, stream):
    """Two 429 and an answer are three generations of one call, linked one to the next."""
    place.will_say(SLOW_DOWN, SLOW_DOWN, TWO_CHUNKS if stream else GOOD)
    with whence.run("r"):
        answer = ask(client, stream=stream)
        for _ in answer if stream else ():
            pass

    rows = recorded.generations()
    assert [row.attempt for row in rows] == [1, 2, 3]
    assert [row.status for row in rows] == ["error", "error", "ok"]
    # An attempt whose stream the library closes unread says no more than its status.
    kind = "http_429" if stream else "rate_limit_error"
    assert [row.error_type for row in rows] == [kind, kind, None]
    assert rows[0].error["http_status"] == 429
    assert rows[0].attributes["request_id"] == "req_slow"
    assert rows[0].attributes["retry_after"] == "0.01"
    assert links(recorded) == [
        ("retry_of", rows[0].span, rows[1].span, False),
        ("retry_of", rows[1].span, rows[2].span, False),
    ]
    assert len(place.asked) == 3
    (run,) = recorded.rows("runs", "started_ns")
    assert (run.status, run.generations, run.errors) == ("complete", 3, 2)


def test_attempts_outside_a_run_share_one(place, client, recorded):
    """The call gets a run, not each attempt."""
    place.will_say(SLOW_DOWN, GOOD)
    ask(client)

    (run,) = recorded.rows("runs", "started_ns")
    assert (run.status, run.generations) == ("complete", 2)


def test_a_call_that_fails_for_good_raises_what_the_library_raises(place, client, recorded):
    """The run of its own fails with it."""
    place.will_say(SLOW_DOWN, SLOW_DOWN, SLOW_DOWN)
    with pytest.raises(openai.RateLimitError) as raised:
        ask(client)

    (run,) = recorded.rows("runs", "started_ns")
    assert "slow down" in str(raised.value)
    assert [row.status for row in recorded.generations()] == ["error"] * 3
    assert (run.status, run.error_type) == ("failed", "openai.RateLimitError")


def test_another_model_tried_instead_is_a_fallback(place, client, recorded):
    """The program asks the same of another model after a failure: an inferred link says so."""
    place.will_say(Answer({"error": {"message": "no such model", "type": "not_found"}}, 404), GOOD)
    with whence.run("r"), whence.step("answer"):
        with pytest.raises(openai.NotFoundError):
            ask(client, "big")
        ask(client, "small")

    first, second = recorded.generations()
    assert links(recorded) == [("fallback_for", first.span, second.span, True)]
    assert (second.model, second.attempt) == ("small", 1)


def test_another_provider_tried_instead_is_a_fallback(place, client, recorded):
    """The texts that are asked tell, however each provider wants them put."""
    place.will_say(
        *[Answer({"error": {"message": "overloaded"}}, 500, (("retry-after", "0.01"),))] * 3,
        {"id": "m1", "type": "message", "role": "assistant", "model": "c",
         "stop_reason": "end_turn", "content": [{"type": "text", "text": "hi"}],
         "usage": {"input_tokens": 1, "output_tokens": 1}},
    )  # fmt: skip
    other = anthropic.Anthropic(api_key="none", base_url=place.url)
    with of_anthropic.wrap(other), whence.run("r"):
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(
                model="m", messages=[{"role": "system", "content": "be brief"}, *QUESTION]
            )
        parts = [{"type": "text", "text": "hello"}]
        other.messages.create(
            model="c",
            max_tokens=9,
            system="be brief",
            messages=[{"role": "user", "content": parts}],
        )

    rows = recorded.generations()
    assert [row.provider for row in rows] == ["openai"] * 3 + ["anthropic"]
    assert links(recorded)[-1] == ("fallback_for", rows[2].span, rows[3].span, True)


def test_the_same_asked_again_by_the_program_is_a_retry(place, recorded):
    """A program that retries itself is understood, and the attempts are counted on."""
    place.will_say(SLOW_DOWN, SLOW_DOWN, GOOD)
    made = openai.OpenAI(api_key="none", base_url=f"{place.url}/v1", max_retries=0)
    with of_openai.wrap(made) as client, whence.run("r"):
        for _ in range(2):
            with pytest.raises(openai.RateLimitError):
                ask(client)
        ask(client)

    rows = recorded.generations()
    assert [row.attempt for row in rows] == [1, 2, 3]
    assert [(kind, inferred) for kind, *_, inferred in links(recorded)] == [("retry_of", True)] * 2


def test_another_question_or_another_span_is_no_retry(place, recorded):
    """Only the same texts in the same span are linked."""
    place.will_say(SLOW_DOWN, GOOD, SLOW_DOWN, GOOD)
    made = openai.OpenAI(api_key="none", base_url=f"{place.url}/v1", max_retries=0)
    with of_openai.wrap(made) as client, whence.run("r"):
        with pytest.raises(openai.RateLimitError):
            ask(client)
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "else"}])
        with whence.step("a"), pytest.raises(openai.RateLimitError):
            ask(client)
        with whence.step("b"):
            ask(client)

    # The third call asks what the first did, but in a span of its own.
    assert links(recorded) == []


@pytest.mark.usefixtures("recorded")
def test_failures_are_not_remembered_without_end(place):
    """Only the latest are, whatever a program does."""
    place.will_say(*[SLOW_DOWN] * 20)
    made = openai.OpenAI(api_key="none", base_url=f"{place.url}/v1", max_retries=0)
    attempts._failures.update({("r", None, n): None for n in range(attempts._MOST_REMEMBERED)})
    with of_openai.wrap(made) as client, whence.run("r"):
        for n in range(20):
            with pytest.raises(openai.RateLimitError):
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": n}])

    assert len(attempts._failures) == attempts._MOST_REMEMBERED
    attempts._failures.clear()


def test_a_server_that_is_not_there_is_a_failed_attempt_each_time(recorded, unused_port):
    """The library's connection errors are recorded with their class, and raised as they are."""
    made = openai.OpenAI(api_key="none", base_url=f"http://127.0.0.1:{unused_port}", max_retries=1)
    with of_openai.wrap(made) as client, pytest.raises(openai.APIConnectionError):
        ask(client)

    rows = recorded.generations()
    assert [row.error_type for row in rows] == ["httpx2.ConnectError"] * 2
    assert [row.usage for row in rows] == [None, None]


@pytest.fixture
def unused_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_an_error_inside_a_stream_is_an_error(place, client, recorded):
    """It comes with status 200, in the middle of the answer."""
    failing = events(chunk("one "), {"error": {"type": "server_error", "message": "broke"}})
    place.will_say(failing)
    with pytest.raises(openai.APIError, match="broke"):
        for _ in ask(client, stream=True):
            pass

    row = recorded.one()
    assert (row.status, row.error_type, row.output) == ("error", "server_error", "one ")
    assert recorded.rows("runs", "started_ns")[0].status == "failed"


def test_a_connection_that_breaks_in_a_stream_is_an_error(place, client, recorded):
    """What came until then is kept."""
    place.will_say(Answer(TWO_CHUNKS, cut_after=TWO_CHUNKS.index("two")))
    with pytest.raises(openai.APIConnectionError):
        for _ in ask(client, stream=True):
            pass

    row = recorded.one()
    assert (row.status, row.output) == ("error", "one ")
    assert row.error_type == "httpx2.RemoteProtocolError"


def leave_loop(stream):
    for _ in stream:
        break
    stream.close()


def close_unread(stream):
    stream.close()


def leave_block(stream):
    with stream:
        next(iter(stream))


def forget(stream):
    next(iter(stream))
    del stream
    gc.collect()


@pytest.mark.parametrize("leave", [leave_loop, close_unread, leave_block, forget])
def test_a_stream_that_is_left_early_is_one_record_with_what_was_seen(
    place, client, recorded, leave
):
    """However it is left, and it is not an error."""
    more = threading.Event()
    place.will_say(Answer(TWO_CHUNKS, wait=more))
    # The iteration has the only reference to the stream, so that leaving it may forget it.
    leave(ask(client, stream=True))
    more.set()
    gc.collect()

    row = recorded.one()
    assert row.status == "cancelled"
    assert row.output == (None if leave is close_unread else "one ")
    assert (row.usage, row.error) == (None, None)
    assert recorded.rows("spans", "started_ns")[0].status == "cancelled"


def test_a_stream_that_is_left_open_is_recorded_when_the_program_ends(place, client, recorded):
    """Nobody closed it: it ends with the process."""
    more = threading.Event()
    place.will_say(Answer(TWO_CHUNKS, wait=more))
    stream = ask(client, stream=True)
    next(iter(stream))
    assert recorded.generations() == []
    attempts._end_open()
    more.set()
    stream.close()

    row = recorded.one()
    assert (row.status, row.output) == ("cancelled", "one ")


def test_a_cancelled_task_is_recorded_as_cancelled(place, recorded):
    """The cancellation goes on, and the attempt says what happened to it."""

    async def main():
        made = openai.AsyncOpenAI(api_key="none", base_url=f"{place.url}/v1", max_retries=0)
        async with of_openai.wrap(made) as client:
            with whence.run("r"):
                async with asyncio.timeout(0.2):
                    async for _ in await ask(client, stream=True):
                        pass

    more = threading.Event()
    place.will_say(Answer(TWO_CHUNKS, wait=more))
    with pytest.raises(TimeoutError):
        asyncio.run(main())
    more.set()

    row = recorded.one()
    assert (row.status, row.output) == ("cancelled", "one ")


def test_what_the_library_refuses_itself_is_no_call(place, client, recorded):
    """Nothing was sent, so nothing is recorded."""
    with pytest.raises(TypeError):
        client.chat.completions.create(model="m")

    assert (recorded.generations(), place.asked) == ([], [])


def test_a_hook_of_the_users_that_fails_fails_as_before(place, recorded):
    """An exception from the HTTP client passes untouched, and is recorded."""

    def hook(_request):
        raise ZeroDivisionError

    inner = httpx2.Client(event_hooks={"request": [hook]})
    made = openai.OpenAI(api_key="none", base_url=place.url, http_client=inner, max_retries=0)
    with of_openai.wrap(made) as client, pytest.raises(ZeroDivisionError):
        ask(client)

    assert recorded.one().error_type == "ZeroDivisionError"
