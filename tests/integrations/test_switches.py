"""What the wrapper leaves alone: programs that record nothing, content, the client itself."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
import json
import subprocess
import sys
import timeit
import weakref

import httpx2
import openai
import pytest
from loopback import Answer, events

import whence
from whence.integrations import calls, funnel
from whence.integrations.openai import API, wrap

QUESTION = [{"role": "user", "content": "the secret word"}]
GOOD = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "another secret"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}  # fmt: skip


@pytest.fixture
def client(place):
    made = openai.OpenAI(api_key="sk-very-secret", base_url=f"{place.url}/v1", max_retries=0)
    with wrap(made) as opened:
        yield opened


def ask(client, **more):
    return client.chat.completions.create(model="m", messages=QUESTION, **more)


def test_wrapping_twice_records_once(place, client, recorded):
    """The same client comes back, and copies of it that share its connections are recorded too."""
    place.will_say(GOOD, GOOD)
    again = wrap(wrap(client))
    ask(again)
    ask(again.with_options(timeout=5))

    assert again is client
    assert len(recorded.generations()) == 2


def test_two_clients_over_one_connection_are_recorded_once_each(place, client, recorded):
    """Both wrapped: still one record a call."""
    place.will_say(GOOD, GOOD)
    other = wrap(openai.OpenAI(api_key="x", base_url=place.url, http_client=client._client))
    ask(client)
    ask(other)

    assert len(recorded.generations()) == 2


@pytest.mark.usefixtures("client")
def test_a_client_that_was_not_wrapped_is_not_recorded(place, recorded):
    """Observing one client does not observe its kind."""
    place.will_say(GOOD)
    with openai.OpenAI(api_key="x", base_url=f"{place.url}/v1", max_retries=0) as other:
        ask(other)

    assert recorded.generations() == []


def test_other_traffic_over_the_same_http_client_is_not_recorded(place, recorded):
    """Only what the library sends is looked at, whatever its path."""
    place.will_say(GOOD, GOOD)
    with httpx2.Client() as inner:
        client = wrap(openai.OpenAI(api_key="x", base_url=place.url, http_client=inner))
        inner.post(f"{place.url}/chat/completions", json={"model": "m", "messages": QUESTION})
        ask(client)

    assert len(recorded.generations()) == 1


def test_nothing_is_recorded_when_recording_is_off(place, client, home, recorded):
    """The call works; no file is made, not even for a stream."""
    whence.configure(home / "off", enabled=False)
    place.will_say(GOOD, events(GOOD))
    answer = ask(client)
    for _ in ask(client, stream=True):
        pass

    assert answer.id == "c1"
    assert not (home / "off").exists()
    assert recorded.generations() == []


def test_nothing_is_recorded_in_a_run_that_is_not(place, client, home, recorded):
    """A project that is switched off takes its model calls with it."""
    whence.configure(home, projects={"quiet": False})
    place.will_say(GOOD)
    with whence.run("r", project="quiet"):
        ask(client)

    assert recorded.generations() == []


def test_a_suppressed_call_is_not_recorded(place, client, recorded):
    """For code that records its calls itself."""
    place.will_say(GOOD, GOOD)
    with calls.suppressed():
        ask(client)
    ask(client)

    assert len(recorded.generations()) == 1


def test_content_stays_out_of_the_log_where_it_is_not_wanted(place, client, home, recorded):
    """Usage, ids and times are kept; questions and answers are not."""
    whence.configure(home, capture_content=False)
    place.will_say(GOOD)
    ask(client)

    written = b"".join(path.read_bytes() for path in home.rglob("*.jsonl"))
    assert b"secret" not in written
    assert recorded.one().usage.stated == GOOD["usage"]


def test_no_key_is_ever_written(place, client, home, recorded):
    """Headers of requests are not recorded, nor what a failing call says of them."""
    place.will_say(Answer({"error": {"message": "bad key"}}, 401))
    with pytest.raises(openai.AuthenticationError):
        ask(client, extra_headers={"x-token": "sk-other-secret"})

    written = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert recorded.one().error_type == "http_401"
    assert b"sk-" not in written


@pytest.mark.usefixtures("recorded")
def test_nothing_of_a_call_is_held_when_it_is_over(place, client):
    """Answers, streams and clients are freed as without us, before any collection."""
    place.will_say(GOOD, events(GOOD))
    gc.collect()
    gc.disable()
    try:
        answer = weakref.ref(ask(client))
        stream = ask(client, stream=True)
        sent = weakref.ref(stream.response)
        for _ in stream:
            pass
        del stream
        assert answer() is None
        assert sent() is None
    finally:
        gc.enable()


@pytest.mark.usefixtures("recorded")
def test_a_client_is_freed_as_without_us(place):
    """The wrapper makes no cycle with the connections: they are closed when the client goes."""
    made = wrap(openai.OpenAI(api_key="x", base_url=place.url))
    inner = weakref.ref(made._client)
    gc.collect()
    del made
    gc.collect()

    assert inner() is None


@pytest.mark.usefixtures("recorded")
def test_what_the_client_returns_is_not_changed(place, client):
    """Answers are of the library's own class, and equal to those of a client without us."""
    place.will_say(copy.deepcopy(GOOD), copy.deepcopy(GOOD))
    with openai.OpenAI(api_key="x", base_url=f"{place.url}/v1") as plain:
        mine, theirs = ask(client), ask(plain)

    assert type(mine) is type(theirs)
    assert mine == theirs
    assert json.loads(place.asked[0].content) == json.loads(place.asked[1].content)


@pytest.mark.parametrize(
    "body",
    [
        Answer([1, 2]),
        Answer("data: {broken\n\ndata: 5\n\ndata: [DONE]\n\n"),
        Answer({"choices": "none", "usage": [1], "id": 7, "error": None, "model": {"a": 1}}),
        Answer({"choices": [{"message": 5}, 6], "usage": {"prompt_tokens": "many"}}),
        Answer(b"\xff\xfe not json", kind="application/json"),
        Answer(b"", kind="application/json"),
    ],
    ids=range(6),
)
def test_an_answer_of_any_shape_is_recorded_once(place, client, recorded, body):
    """What the library makes of it is the library's; the record is lost in no case."""
    place.will_say(body)
    with contextlib.suppress(openai.OpenAIError, ValueError):
        client.post("/chat/completions", cast_to=httpx2.Response, body={"model": "m"})

    assert recorded.one().model == "m"


def test_the_wrapper_costs_little_where_nothing_is_recorded(client, home):
    """Passing a call on takes less than ten microseconds, the rest of a request thousands."""
    whence.configure(home, enabled=False)

    def real(*_args, **_kwargs):
        return None

    passed = funnel.in_call(real, functools.partial(funnel._open, funnel.Wrapped(API)))
    taken = min(timeit.repeat(lambda: passed(client, None, None), number=1000, repeat=5)) / 1000

    assert taken < 10e-6


def test_importing_whence_imports_no_integration():
    """`whence.instrument` costs nothing until it is called, and then no library."""
    program = (
        "import sys, whence\n"
        "assert not [m for m in sys.modules if m.startswith('whence.integrations')]\n"
        "whence.instrument()\n"
        "assert not {'openai', 'anthropic', 'httpx', 'httpx2', 'google.genai'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True)

    assert done.returncode == 0, done.stderr
