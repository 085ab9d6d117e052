"""Streams are split into the same events wherever their bytes are cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.integrations.answer import LineEvents, Reader, SseEvents
from whence.integrations.formats import base, chat, gemini, messages, responses
from whence.integrations.providers import find_provider

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5)
FORMS = [chat.CHAT, chat.COMPLETION, responses.RESPONSES, messages.MESSAGES, gemini.CONTENT]


def pieces_of(content, cuts):
    places = sorted({min(cut, len(content)) for cut in cuts})
    return [content[a:b] for a, b in zip([0, *places], [*places, len(content)], strict=True)]


@given(said=OBJECTS, cuts=st.lists(st.integers(0, 400), max_size=20), crlf=st.booleans())
def test_events_do_not_depend_on_how_the_bytes_arrive(said, cuts, crlf):
    """Cut anywhere, also inside a character, with either end of line."""
    content = "".join(f": ping\nid: 1\ndata: {json.dumps(one)}\n\n" for one in said).encode()
    if crlf:
        content = content.replace(b"\n", b"\r\n")
    events = SseEvents()

    got = [event for piece in pieces_of(content, cuts) for event in events.feed(piece)]

    assert got == said


@given(said=OBJECTS, cuts=st.lists(st.integers(0, 400), max_size=20))
def test_lines_do_not_depend_on_how_the_bytes_arrive(said, cuts):
    """As above, for files of JSON lines."""
    content = "".join(json.dumps(one) + "\n" for one in said).encode()
    events = LineEvents()

    got = [event for piece in pieces_of(content, cuts) for event in events.feed(piece)]

    assert got == said


def test_an_event_of_several_lines_is_one():
    """Its lines are joined, and its name is its type where it has none."""
    content = b'event: ping\ndata: {"a":\ndata: 1}\n\ndata: [DONE]\n\n'
    events = SseEvents()

    assert list(events.feed(content)) == [{"a": 1, "type": "ping"}]
    assert events.done


def test_a_long_line_takes_time_in_its_length():
    """An event of eight megabytes in small pieces is joined once."""
    events = SseEvents()
    found = list(events.feed(b'data: {"a": "'))
    for _ in range(8192):
        found += events.feed(b"x" * 1024)
    found += events.feed(b'"}\n\n')

    assert len(found[0]["a"]) == 8192 * 1024


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.operation)
@given(said=st.lists(st.dictionaries(st.text(max_size=3), JSON), max_size=5), body=JSON)
def test_whatever_a_provider_says_is_read(form, said, body):
    """No shape of a request, answer or event raises."""
    stream = form.stream()
    for event in said:
        stream.add(event)
    for one in (stream.body(), base.mapping(body), *said):
        form.answered(one)
        form.asked(one)


KEYS = ["type", "id", "index", "choices", "delta", "message", "content", "usage", "output", "text",
        "output_index", "item", "response", "candidates", "parts", "error", "tool_calls",
        "function", "arguments", "partial_json", "content_block", "finish_reason"]  # fmt: skip
TYPES = ["response.output_text.delta", "response.output_item.done", "response.completed", "error",
         "response.function_call_arguments.delta", "content_block_delta", "message_start",
         "content_block_start", "message_delta", "input_json_delta", "text_delta", 0]  # fmt: skip
LIKELY = st.recursive(
    st.sampled_from([None, 0, 1, "x", "", [], {}, *TYPES]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.operation)
@given(said=st.lists(st.dictionaries(st.sampled_from(KEYS), LIKELY, max_size=8), max_size=6))
def test_whatever_looks_like_an_event_is_read(form, said):
    """Keys and types as documented, with values of any other kind."""
    stream = form.stream()
    for event in said:
        stream.add(event)

    form.answered(stream.body())


def test_an_answer_that_never_ends_is_not_gathered_without_end():
    """Bytes that are no stream are kept up to a limit, and then no more."""
    reader = Reader(chat.CHAT, 200, {"content-type": "audio/mpeg"})
    for _ in range(70):
        reader.feed(b"x" * (1 << 20))

    outcome = reader.outcome(exhausted=True)
    assert (outcome.body, outcome.content) == (None, None)


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("eu.api.openai.com", "openai"),
        ("mine.openai.azure.com", "azure"),
        ("europe-west4-aiplatform.googleapis.com", "google-vertex"),
        ("bedrock-runtime.eu-central-1.amazonaws.com", "bedrock"),
        ("API.ANTHROPIC.COM", "anthropic"),
        ("localhost", None),
        ("api.openai.com.evil.example", None),
        ("notopenai.azure.com.example", None),
        ("", None),
    ],
)
def test_the_host_tells_the_provider(host, provider):
    """Regions and customers' own hosts included; a name that only begins so is another."""
    assert find_provider(host) == provider
