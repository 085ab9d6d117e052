"""Whatever a source holds is kept as data, or left out with a word; nothing breaks."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from otlpdata import START_NS, attributes, chat, imported, request, span, value
from strategies import POOL_TEXTS

import whence
from whence import _clock
from whence.errors import IngestError
from whence.ingest import otlp_json, otlp_wire, values
from whence.ingest.importer import import_paths
from whence.ingest.sink import Sink
from whence.log import doctor
from whence.log.home import Home
from whence.record import codec
from whence.record.decision import Decision, Option
from whence.record.event import Event
from whence.record.generation import Generation, Usage
from whence.record.run import RunStarted, Update
from whence.record.span import SpanStarted
from whence.record.values import is_plain, restore

RUN = "a" * 32
TS = _clock.format_ns(START_NS)
NASTY = [
    "$whence",
    "'; DROP TABLE runs; --",
    "<script>alert(1)</script>",
    "\x1b[31m\u202e\u2028\n",
    "../../etc/passwd",
    "=HYPERLINK('x')",
    "__proto__",
    "",
    "ü" * 300,
    "\x00",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.just("$whence"), inner, max_size=4)
    ),
    max_leaves=12,
)


def held(home, *records):
    with Sink(Home(home)) as sink, sink.batch():
        for record in records:
            sink.take(record)
    examined = doctor.examine(Home(home), deep=True)
    assert not [found for found in examined.findings if found.severity != "note"]
    return whence.open(home)


def same(left, right):
    """Equality that takes NaN for itself and bytes for the blob that holds them."""
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right and isinstance(left, bool) == isinstance(right, bool)


@settings(max_examples=150)
@given(given=JSON)
def test_any_value_comes_back_as_it_was(given):
    """NaN, huge integers, bytes, surrogates and forged markers survive the form of a line."""
    kept = {}

    def put(content, encoding, _preview):
        kept[len(kept)] = content
        return {"$whence": "blob", "sha256": str(len(kept) - 1), "encoding": encoding}

    line = codec.encode_json(values.settled(given, put))
    back = restore(codec.decode_json(line), lambda marker: kept[int(marker["sha256"])])

    assert same(back, given)


@settings(max_examples=60)
@given(given=JSON)
def test_what_is_called_plain_is_a_line_as_it_is(given):
    """Plain values need no form of their own."""
    if is_plain(given):
        try:
            assert same(codec.decode_json(codec.encode_json(given)), given)
        except UnicodeEncodeError:
            assert any(0xD800 <= ord(c) < 0xE000 for c in repr(given) + str(given))


@pytest.mark.parametrize("text", NASTY)
def test_names_keys_and_values_are_data(text, home, tmp_path):
    """A hostile text as name, key, value, service and parent's name comes back exactly."""
    one = span(text, None, {text or "empty": text, "nested": {text or "empty": [text]}})

    report = imported(home, tmp_path, request(one, service=text))

    assert report.spans == 1
    with whence.open(home) as store:
        (row,) = store.spans(limit=None).items
    assert row.name == text
    assert row.attributes[text or "empty"] == text
    assert row.attributes["nested"] == {text or "empty": [text]}


def test_a_forged_marker_is_a_mapping_like_any_other(home, tmp_path):
    """A value that looks like our marker of a blob does not become one."""
    forged = {"$whence": "blob", "sha256": "0" * 64, "size_bytes": 1}

    imported(home, tmp_path, request(span("a", None, {"x": forged})))

    with whence.open(home) as store:
        (row,) = store.spans(limit=None).items
    assert row.attributes["x"] == forged


def test_numbers_that_json_lacks_survive(home, tmp_path):
    """OTLP writes NaN and infinities as text, and integers beyond 64 bits do not wrap."""
    given = span("a", None)
    given["attributes"] = [
        {"key": "nan", "value": {"doubleValue": "NaN"}},
        {"key": "inf", "value": {"doubleValue": "-Infinity"}},
        {"key": "big", "value": {"intValue": "18446744073709551616"}},
        {"key": "bytes", "value": {"bytesValue": "AAECAw=="}},
        {"key": "null", "value": {}},
    ]

    imported(home, tmp_path, request(given))

    with whence.open(home) as store:
        (row,) = store.spans(limit=None).items
    assert math.isnan(row.attributes["nan"])
    assert (row.attributes["inf"], row.attributes["big"]) == (-math.inf, 2**64)
    assert row.attributes["bytes"]["size_bytes"] == 4
    assert row.attributes["null"] is None


def test_megabytes_go_to_blobs_and_come_back(home, tmp_path):
    """A prompt of two megabytes leaves a line of a few kilobytes and is read whole."""
    text = "long " * 400_000
    messages = json.dumps([{"role": "user", "parts": [{"type": "text", "content": text}]}])

    imported(
        home, tmp_path, request(span("a", None, chat((1, 1)) | {"gen_ai.input.messages": messages}))
    )

    with whence.open(home) as store:
        (row,) = store.generations(limit=None).items
    assert row.messages[0]["parts"][0]["content"] == text
    lines = [line for path in home.rglob("*.jsonl") for line in path.read_bytes().splitlines()]
    assert max(map(len, lines)) < 40_000


def test_a_conversation_that_every_call_resends_is_stored_once(home, tmp_path):
    """Forty turns take a small multiple of the final history, and each call has all of it."""
    history = [
        {"role": "user", "parts": [{"type": "text", "content": f"turn {n} " + "x" * 500}]}
        for n in range(40)
    ]
    calls = [
        span(
            f"call {n}",
            None,
            chat((1, 1)) | {"gen_ai.input.messages": json.dumps(history[: n + 1])},
            at=(n, n + 1),
        )
        for n in range(40)
    ]

    imported(home, tmp_path, *map(request, calls))

    with whence.open(home) as store:
        rows = {row.name: row for row in store.generations(limit=None)}
    assert all(rows[f"call {n}"].messages == history[: n + 1] for n in range(40))
    size = sum(path.stat().st_size for path in home.rglob("*.jsonl"))
    assert size < 4 * len(json.dumps(history))


MESSAGES = [
    {"role": "user", "content": "short"},
    {"role": "user", "content": "long " * 300},
    {"role": "assistant", "content": "longer " * 400},
    {"role": "user", "content": "ü" * 40_000},
    {"role": "tool", "content": b"\x00 bytes"},
    {"role": "tool", "content": "half \ud800 a pair"},
    "a text of some length " * 20,
    2**70,
]


@settings(max_examples=40)
@given(calls=st.lists(st.lists(st.sampled_from(range(len(MESSAGES))), max_size=12), max_size=12))
def test_conversations_of_any_shape_come_back(calls, tmp_path_factory):
    """Grown, cut, branched, repeated and alternating: each call has the messages it was given."""
    records = [
        Generation(ts=TS, run=RUN, id=f"{n + 1:016x}", messages=[MESSAGES[m] for m in sent])
        for n, sent in enumerate(calls)
    ]
    with held(tmp_path_factory.mktemp("sent") / "home", *records) as store:
        rows = {row.id: row.messages for row in store.generations(limit=None)} if calls else {}

    for record in records:
        back = rows[record.id]
        assert len(back) == len(record.messages)
        for got, sent in zip(back, record.messages, strict=True):
            if sent is MESSAGES[4]:
                assert got["content"]["encoding"] == "bytes"
            else:
                assert got == sent


def test_a_long_session_takes_as_much_as_it_says(home):
    """A thousand calls that resend everything before them take little more than the last one."""
    history = [{"role": "user", "content": f"{n} {'x' * 100}"} for n in range(2_000)]
    records = [
        Generation(ts=TS, run=RUN, id=f"{n + 1:016x}", messages=history[: 2 * n + 1])
        for n in range(1_000)
    ]
    with held(home, *records) as store:
        last = store.generations(f'id = "{1_000:016x}"').items[0]
    size = sum(path.stat().st_size for path in home.rglob("*.jsonl"))

    assert last.messages == history[:-1]
    assert size < 4 * len(json.dumps(history))


def test_typed_fields_of_any_length_and_alphabet_are_kept(home):
    """Names and reasons that no line can hold leave a beginning, and come back whole."""
    long, broken = "n" * 100_000, "half \ud800 a pair"
    records = [
        RunStarted(ts=TS, run=RUN, name=long, tags=[long, broken, "short"]),
        Update(ts=TS, run=RUN, id="1" * 16, fields={"user": broken}),
        SpanStarted(ts=TS, run=RUN, span="2" * 16, name=broken, input=b"\x00\x01"),
        Decision(
            ts=TS,
            run=RUN,
            id="3" * 16,
            name="d",
            why=long,
            options=[Option(long, reason_rejected=broken, attributes={"x": math.nan})],
        ),
        Generation(
            ts=TS,
            run=RUN,
            id="4" * 16,
            messages=[long, broken, {"x": 2**70}],
            usage=Usage(input_uncached=1, stated={"big": 2**80}),
        ),
    ]

    with held(home, *records) as store:
        tree = store.run(RUN)

    assert tree.run.name == long[:200]
    (decision,) = tree.decisions
    assert decision.why == long
    (call,) = tree.generations
    assert call.messages == [long, broken, {"x": 2**70}]
    assert call.usage.stated == {"big": 2**80}


def test_ids_that_utf8_cannot_hold_are_known_again(home):
    """A parent and an answer's id with a lone surrogate are kept readable, and noted."""
    start = SpanStarted(ts=TS, run=RUN, span="b" * 16, name="s", parent="\ud83d")
    call = Generation(ts=TS, run=RUN, span="b" * 16, id="c" * 16, response_id="\ud83d")
    with held(home, start, call) as store:
        assert [row.parent for row in store.run(RUN).tables["spans"]] == [r"\ud83d"]

    with Sink(Home(home)) as sink, sink.batch():
        assert [sink.take(start), sink.take(call)] == [False, False]


def test_a_record_without_an_id_is_known_by_what_it_says(home):
    """Two alike are one, and a second import finds it."""
    event = Event(ts=TS, run=RUN, message="same", data={"x": math.nan, "y": b"z"})
    other = Event(ts=TS, run=RUN, message="other")

    with held(home, event, event, other) as store:
        assert len(store.events(limit=None)) == 2
    with Sink(Home(home)) as sink, sink.batch():
        assert not sink.take(event)


def deep(levels):
    """Return a request whose attribute is nested so deep, as text: no encoder would make it."""
    begin, end = '{"arrayValue":{"values":[', "]}}"
    nested = begin * levels + '{"stringValue":"x"}' + end * levels
    text = json.dumps(request(span("a", None, {"x": "HERE"})))
    return text.replace('{"stringValue": "HERE"}', nested)


@pytest.mark.parametrize("levels", [10, 90, 150, 10_000])
def test_depth_is_kept_or_refused(levels, home, tmp_path):
    """What is deeper than a line can hold is cut and says so; what is absurd is left out."""
    path = tmp_path / "deep.json"
    path.write_text(deep(levels))

    report = import_paths(home, [path])

    assert report.spans == (1 if levels < 10_000 else 0)
    assert bool(report.skipped) == (levels == 10_000)
    if levels < 10_000:
        with whence.open(home) as store:
            assert store.spans(limit=None).items[0].attributes["x"]


@pytest.mark.parametrize(
    "name",
    [
        "llm.input_messages.999999999999.message.role",
        "llm.input_messages.0" + ".a" * 5000,
        "llm.input_messages.-1.message.role",
        "llm.input_messages..role",
        "llm.input_messages.٣.message.role",
        "gen_ai.prompt.0",
        "retrieval.documents.0",
    ],
)
def test_indexed_names_of_any_form_cost_no_memory_and_lose_nothing(name, home, tmp_path):
    """Absurd indices and paths are attributes or items, and the value is found again."""
    given = {"openinference.span.kind": "LLM", name: "needle", "gen_ai.prompt.0.role": "user"}

    imported(home, tmp_path, request(span("a", None, given)))

    with whence.open(home) as store:
        (row,) = store.generations(limit=None).items
        (of_span,) = store.spans(limit=None).items
        sources = store.sources(limit=None).items
    found = [row.messages, of_span.attributes, [s.to_dict() for s in sources]]
    assert "needle" in json.dumps(found)


@settings(max_examples=60)
@given(
    names=st.lists(
        st.sampled_from(
            [
                "gen_ai.input.messages",
                "llm.tools",
                "input.value",
                "tag.tags",
                "gen_ai.response.finish_reasons",
                "gen_ai.request.model",
                "gen_ai.usage.input_tokens",
                "llm.invocation_parameters",
                "llm.token_count.prompt",
                "session.id",
                "gen_ai.usage.cost",
                "gen_ai.request.seed",
                "retrieval.documents.0.document.score",
                "gen_ai.tool.name",
                "evaluations.0.evaluation.score",
                "gen_ai.response.time_to_first_chunk",
            ]
        ),
        unique=True,
    ),
    kind=st.sampled_from(["LLM", "TOOL", "RETRIEVER", "AGENT", "RERANKER", "EVALUATOR", "what"]),
    data=st.data(),
)
def test_any_type_under_any_name_is_imported(names, kind, data, tmp_path_factory):
    """A convention's name with a value of another type is kept and never raises."""
    tmp_path = tmp_path_factory.mktemp("types")
    shapes = st.sampled_from(
        [
            1,
            -1,
            2**62,
            0.5,
            True,
            "",
            "text",
            "[1, {}]",
            "{",
            [],
            ["a", 1],
            {},
            {"a": [1]},
            *POOL_TEXTS,
        ]
    )
    given = {"openinference.span.kind": kind} | {name: data.draw(shapes) for name in names}

    report = imported(tmp_path / "home", tmp_path, request(span("a", None, given)))

    assert (report.spans, report.skipped) == (1, [])


@settings(max_examples=200)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(content):
    """The decoders raise our error and nothing else."""
    for decode in (otlp_json.of_json, otlp_wire.of_protobuf, lambda c: otlp_wire.unpacked(c, 99)):
        try:
            made = decode(content)
            list(getattr(made, "spans", ()))
        except IngestError:
            pass


def test_strategies_make_what_they_say():
    """The values of this module reach the log as OTLP writes them."""
    assert value({"a": [True, 1, 0.5, "x"]}) == {
        "kvlistValue": {
            "values": attributes({"a": [True, 1, 0.5, "x"]}),
        }
    }
