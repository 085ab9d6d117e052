"""The compiled half of the writer writes what the Python half does, and leaves it the rest."""

from __future__ import annotations

import enum
import gc
import itertools
import json
import os
import re
import resource
import struct
import sys
import threading
from contextlib import contextmanager, nullcontext

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import whence
from whence.capture import details, emit, verbs
from whence.capture.state import current
from whence.log import blobs, lines
from whence.log.lines import PlainFile
from whence.log.resend import Seen
from whence.record import codec
from whence.record.decision import Decision
from whence.record.generation import Generation
from whence.record.values import MAX_DEPTH, is_plain

pytestmark = pytest.mark.skipif(not lines.COMPILED, reason="nothing is compiled here")


class Colour(enum.Enum):
    RED = "red"


class Name(str):
    __slots__ = ()


TEXTS = st.text(max_size=5) | st.sampled_from(
    [
        "",
        "a",
        'say "hi"',
        "back\\slash",
        "line\nend\r\t\x00\x1f\x7f",
        "twelve chars",
        "Ärger \u2028 \U0001f600",
        "lone \ud800",
        "$whence",
        "x" * 40_000,
        "\x01" * 9_000,
        "é" * 20_000,
    ]
)
NUMBERS = (
    st.integers()
    | st.floats()
    | st.sampled_from([0, -1, 2**63 - 1, -(2**63), 2**63, -0.0, 1e-7, 1e300, 5e-324, True, "0.5"])
)


class Undecided(list):
    def __bool__(self):
        raise ValueError("the truth value is ambiguous")


ODD = st.sampled_from(
    [Colour.RED, Name("named"), b"bytes", (1, 2), {1: 2}, {"$whence": 1}, object, Undecided([1])]
)
VALUES = st.recursive(
    st.none() | st.booleans() | TEXTS | NUMBERS | ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OPTION_KEYS = ["name", "probability", "score", "reason_rejected", "chosen", "own"]
OPTIONS = (
    st.none()
    | st.lists(TEXTS | st.dictionaries(st.sampled_from(OPTION_KEYS), VALUES) | VALUES, max_size=3)
    | st.lists(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["a", "b"])},
            optional={
                "probability": st.none() | st.floats(0, 1),
                "score": st.none() | st.integers(0, 9),
                "reason_rejected": st.none() | st.text(max_size=3),
            },
        ),
        max_size=3,
    )
    | st.dictionaries(TEXTS, NUMBERS | st.none(), max_size=3)
    | VALUES
)
FACTORS = (
    st.none()
    | OPTIONS
    | st.lists(
        st.dictionaries(st.sampled_from(["name", "normalized_value", "weight"]), VALUES), max_size=3
    )
)


def mostly(usual):
    """Draw what a verb asks for, and now and then anything."""
    return usual | usual | usual | VALUES


MESSAGES = (
    st.none()
    | st.lists(st.dictionaries(st.sampled_from(["role", "content"]), VALUES) | VALUES, max_size=3)
    | VALUES
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["size", "Maß", "$whence", "odd key", "lone \ud800"]), VALUES, max_size=3
)
ARGUMENTS = {
    "decide": {
        "what": mostly(st.sampled_from(["a", "b"])),
        "name": mostly(TEXTS),
        "why": mostly(TEXTS),
        "confidence": mostly(st.none() | NUMBERS),
        "options": OPTIONS,
        "factors": FACTORS,
        "inputs": VALUES,
        "made_by": mostly(st.none() | TEXTS),
    },
    "factor": {
        "name": mostly(TEXTS),
        "raw_value": VALUES,
        "normalized_value": mostly(st.none() | NUMBERS),
        "weight": mostly(st.none() | NUMBERS),
        "reasoning": mostly(TEXTS),
    },
    "source": {
        "source_type": mostly(TEXTS),
        "source_key": mostly(TEXTS),
        "records_used": mostly(st.none() | st.integers(0)),
        "freshness_seconds": mostly(st.none() | NUMBERS),
        "scores": VALUES,
        "kept": mostly(st.booleans()),
        "reason": mostly(st.none() | TEXTS),
        "sample_ids": st.none() | st.lists(mostly(TEXTS), max_size=3),
    },
    "score": {
        "name": mostly(TEXTS),
        "value": mostly(st.none() | NUMBERS),
        "threshold": mostly(st.none() | NUMBERS),
        "passed": mostly(st.none() | st.booleans()),
        "iteration": mostly(st.none() | st.integers(0, 9)),
    },
    "output": {
        "id": mostly(TEXTS),
        "value": VALUES,
        "kind": mostly(st.just("artifact") | TEXTS),
        "path": mostly(st.none() | TEXTS),
        "validation": VALUES,
    },
    "record_generation": {
        "provider": mostly(st.none() | st.sampled_from(["openai", "anthropic"])),
        "model": mostly(TEXTS),
        "name": mostly(st.none() | TEXTS),
        "messages": MESSAGES,
        "output": VALUES,
        "parameters": mostly(st.dictionaries(TEXTS, VALUES, max_size=2)),
        "prompt_template": mostly(st.none() | TEXTS),
        "usage": VALUES
        | st.dictionaries(st.sampled_from(["input_tokens", "output_tokens", "a"]), VALUES),
        "cost_usd": mostly(st.none() | NUMBERS),
        "cost_source": st.none() | TEXTS,
        "attempt": mostly(st.none() | st.integers(0, 9)),
        "duration_ms": mostly(st.none() | NUMBERS),
        "first_chunk_ns": mostly(st.none() | st.integers(0)),
        "media": st.none() | st.lists(VALUES, max_size=2),
        "policy": mostly(st.none() | st.dictionaries(TEXTS, VALUES, max_size=2)),
        "status": mostly(st.none() | st.sampled_from(["ok", "error"])),
        "error": st.none() | TEXTS,
    },
    "set": {
        "input": VALUES,
        "output": VALUES,
        "status": mostly(st.none() | TEXTS),
        "algorithm": mostly(st.none() | TEXTS),
        "input_count": mostly(st.none() | st.integers(0, 9)),
        "user": mostly(st.none() | TEXTS),
        "tags": VALUES,
        "fields": VALUES,
    },
    "event": {"message": mostly(TEXTS), "level": mostly(st.sampled_from(["info", "error"]))},
    "tool_call": {
        "tool_name": mostly(TEXTS),
        "input": VALUES,
        "output": VALUES,
        "status": mostly(st.none() | TEXTS),
        "duration_ms": mostly(st.none() | NUMBERS),
        "duration_s": st.none() | NUMBERS,
        "cache_hit": mostly(st.none() | st.booleans()),
        "error": st.none() | TEXTS,
    },
}
ATTRIBUTED = {"source", "score", "output", "event", "tool_call", "record_generation", "set"}
NEEDED = {"tool_call": 1, "record_generation": 0, "set": 1}


def calls_of(verb):
    """Draw arguments of a verb, some of them left out."""
    given_, needed = ARGUMENTS[verb], NEEDED.get(verb, 2)
    names = list(given_)
    fields = st.fixed_dictionaries(
        {name: given_[name] for name in names[:needed]},
        optional={name: given_[name] for name in names[needed:]},
    )
    if verb not in ATTRIBUTED:
        return fields
    return st.tuples(fields, ATTRIBUTES).map(lambda both: {**both[1], **both[0]})


@contextmanager
def in_python():
    """Record without the compiled half."""
    compiled = current.direct, current.direct_fields
    current.direct = current.direct_fields = None
    try:
        yield
    finally:
        current.direct, current.direct_fields = compiled


def lines_of(recorded, made):
    """Return the lines that `made` added to the log, without what is new each time.

    Whatever they hold is written out.
    """
    current.seen = Seen(None, -1)
    before = len(recorded.bytes_of_log())
    made()
    added = recorded.bytes_of_log()[before:]
    return [without_the_new(json.loads(line)) for line in added.splitlines()]


def without_the_new(line):
    new = {"seq", "ts", "id", "duration_ns"}
    return {key: value for key, value in line.items() if key not in new and value is not None}


@pytest.mark.parametrize("verb", ARGUMENTS)
@given(data=st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_both_halves_write_the_same(recorded, verb, data):
    """Whatever a verb is given, the line reads the same, and only its id and time differ."""
    arguments = data.draw(calls_of(verb))
    with whence.run("compared") as run, whence.stage("Ärger") as stage:
        for scope in (run, stage):
            call = getattr(scope, verb)
            compiled = lines_of(recorded, lambda call=call: call(**arguments))
            with in_python():
                plain = lines_of(recorded, lambda call=call: call(**arguments))
            assert compiled == plain
            assert len([line for line in plain if verb == "event" or line["kind"] != "event"]) == 1


def spans(**fields):
    for kind in ("stage", "tool", "retrieval", "generation"):
        with whence.span("named", kind=kind, **fields) as span:
            span.set(done=True)
    with pytest.raises(KeyError), whence.step("failing"):
        raise KeyError


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input": "short"},
        {"input": "x" * 2_000},
        {"input": {"a": [1]}, "size": 3},
        {"agent": "critic", "input_count": 3, "algorithm": "bm25", "attempt": 2},
        {"output": "early", "status": "odd"},
        {"tool_type": "api", "cache_hit": False},
        {"$whence": 1},
        {"messages": Undecided()},
    ],
)
def test_both_halves_write_the_same_spans(recorded, fields):
    """Starts, updates and ends with any fields."""

    def key(line):
        line.pop("span", None)
        for error in [line.get("error")]:
            if error:
                error.pop("stack")
        if isinstance(line.get("input"), dict):
            line["input"].pop("line", None)  # where an earlier one stands
        return line

    with whence.run("compared"):
        compiled = [key(line) for line in lines_of(recorded, lambda: spans(**dict(fields)))]
        with in_python():
            plain = [key(line) for line in lines_of(recorded, lambda: spans(**dict(fields)))]
    assert compiled == plain


@pytest.mark.parametrize("fields", [{}, {"input": "asked"}, {"temperature": 0.5}])
def test_a_span_that_tells_of_no_call_is_none(recorded, fields):
    """What a span of a model is opened with counts as its call only if it says something of one."""
    for half in (nullcontext, in_python):
        with half(), whence.run("none"), whence.generation("g", **fields):
            pass
    assert recorded.rows("generations") == []
    assert len(recorded.rows("spans")) == 2


def test_plain_values_take_the_compiled_half(recorded):
    """Each verb with the arguments that its documentation shows."""
    answers = []
    with whence.run("all") as run:
        run.event("first")  # opens the writer's segment
        writer = current.direct_fields.__self__

        class Noting:
            __self__ = writer

            def __init__(self, put):
                self.put = put

            def __call__(self, *arguments):
                answers.append(self.put(*arguments))
                return answers[-1]

        current.direct, current.direct_fields = Noting(writer.put), Noting(writer.put_fields)
        run.decide(
            "depth",
            "deep",
            why="asked",
            confidence=0.5,
            options=["deep", {"name": "flat", "score": 1, "reason_rejected": "thin"}],
            factors=[{"name": "time", "weight": 0.5}],
            inputs={"a": [1, 2.5, None, True, "é"]},
            made_by="planner",
        )
        run.decide("depth", "deep", options={"deep": 0.75, "flat": 0.25})
        run.factor("time", 3, normalized_value=0.5, weight=2)
        run.source("file", "a.txt", kept=False, reason="old", records_used=3, sample_ids=["1"], n=1)
        run.score("quality", 0.5, threshold=0.4, iteration=2)
        run.output("report", value={"a": 1}, summary="short", quality=0.5)
        run.link("cites", "b" * 16, source="a" * 16)
        run.event("said", level="error", size=3)
        run.tag("one", "two")
        run.set(size=3)
        run.tool_call("search", tool_type="api", input={"q": 1}, output=[1], duration_ms=2)
        with whence.tool("search", input="q") as tool:
            tool.set(output="a", status="ok")
        with whence.stage("collect", attempt=2) as stage:
            stage.set(output={"found": 3}, input_count=2)
        with whence.generation("draft", provider="openai", model="m") as call:
            call.record_generation(
                messages=[{"role": "user", "content": "why?"}],
                output="so",
                parameters={"temperature": 0.5},
                usage={"input_tokens": 3, "output_tokens": 1},
                cost_usd=0.5,
                finish_reason="stop",
                attempt=1,
                duration_ms=20,
                region="eu",
            )
        with whence.run("inner", project="p", tags=["a"], user="u", size=3):
            pass
        current.direct, current.direct_fields = writer.put, writer.put_fields
    assert len(answers) == 20
    assert None not in answers
    recorded.rows("decisions")


def test_ids_and_numbers_are_those_of_the_python_half(recorded):
    """Ids come from one counter, lines are numbered without holes, whichever half wrote them."""
    with whence.run("mixed") as run:
        made = []
        for n in range(50):
            made.append(run.event(f"compiled {n}"))
            with in_python():
                made.append(run.event(f"plain {n}"))
    assert len({*made}) == 100
    assert made == sorted(made)
    numbers = [json.loads(line)["seq"] for line in recorded.bytes_of_log().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert whence.flush().written == len(numbers)


def test_threads_may_use_both_halves_at_once(recorded):
    """No line is torn, doubled or lost when some threads' values are plain and others' are not."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def work(number):
        for n in range(300):
            run.event("m" if (n + number) % 2 else Name("m"), number=number, n=n)

    try:
        with whence.run("threads") as run:
            threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        sys.setswitchinterval(interval)
    rows = recorded.rows("events")
    assert sorted((r.data["number"], r.data["n"]) for r in rows) == [
        (number, n) for number in range(8) for n in range(300)
    ]


def test_a_partial_write_is_taken_back(recorded):
    """A file at its size limit takes half a line; the log then holds whole lines and a gap."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            import signal  # noqa: PLC0415 - in the child alone

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            with whence.run("limited") as run:
                run.event("first")
                resource.setrlimit(resource.RLIMIT_FSIZE, (current.writer._size + 100, hard))
                assert run.event("x" * 500)
                assert whence.flush().lost == 1
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
                run.event("last")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert [row.message for row in recorded.rows("events")] == ["first", "last"]
    assert recorded.one("gaps").lost == 1


@pytest.mark.usefixtures("recorded")
def test_nothing_is_kept_of_what_was_recorded():
    """A long-lived process does not grow: neither by what is written nor by what is declined."""
    template, envelope = verbs._DECISION.template, b'"' + b"0" * 32 + b'"'
    generation = details._GENERATION.template
    with whence.run("warm") as run:
        run.event("opens the segment")
        writer = current.writer
        odd = [2**70, "lone \ud800", {"$whence": 1}, float("nan"), object(), [[object()]]]

        def work():
            for n in itertools.chain(range(300), odd * 50):
                options = [{"name": str(n), "score": 1.5}]
                writer.put(
                    template, envelope, _now(writer), "n", n, "w", 0.5, options, None, {"a": n}
                )
                given = {"what": n, "options": options, str(n): n, "messages": writer.texts([n])}
                for serial in (-1, writer.serial, writer.serial + 1):
                    writer.put_fields(generation, envelope, _now(writer), "n", given, serial)

        work()
        gc.collect()
        before = sys.getallocatedblocks()
        for _ in range(5):
            work()
        gc.collect()
        assert sys.getallocatedblocks() - before < 200


def _now(writer):
    return writer._second_ns + 1


def test_a_busy_writer_declines(recorded):
    """A write under way, a follow-up that is due, another second or no segment are for Python.

    So is another segment than the one that a record refers into.
    """
    with whence.run("states") as run:
        run.event("opens the segment")
        writer = current.writer

        def put(at_ns=1):
            at_ns += writer._second_ns
            return writer.put(verbs._EVENT.template, run.envelope, at_ns, "m")

        def put_fields(serial):
            at_ns, fields = writer._second_ns + 1, {"model": "m"}
            return writer.put_fields(
                details._GENERATION.template, run.envelope, at_ns, None, fields, serial
            )

        assert put()
        assert isinstance(put_fields(-1), str)
        record_id, offset = put_fields(writer.serial)
        assert record_id.encode() in recorded.bytes_of_log()[offset:]
        assert put_fields(writer.serial + 1) is None
        for names in ({"no field": 1}, {Name("what"): 1}, {1: 1}):
            at_ns = writer._second_ns + 1
            assert (
                writer.put_fields(verbs._EVENT.template, run.envelope, at_ns, "m", names, -1)
                is None
            )
        assert put(-1) is None
        assert put(writer._turn_after_ns) is None
        for name, value in (("_busy", True), ("_unsettled", True), ("_fd", -1), ("_full_at", 0)):
            kept = getattr(writer, name)
            setattr(writer, name, value)
            assert put() is None
            setattr(writer, name, kept)
        assert put()


def test_wrong_calls_are_refused():
    """The compiled half is told from its own side what it takes."""
    with pytest.raises(TypeError, match="Template"):
        lines.LineFile(100).put(None, b"", 0)
    with pytest.raises(TypeError, match="no form"):
        emit.shape(Generation)
    with pytest.raises((TypeError, ValueError)):
        lines._lines.Template(b"", 1, [(b"",)])
    with pytest.raises(ValueError, match="41 fields"):
        lines._lines.Template(b"", 1, [("", b"", "t", True, None)] * 41)
    template = verbs._EVENT.template
    for wrong in [(), (template, b"", 0, None, [], 0), (None, b"", 0, None, {}, 0)]:
        with pytest.raises(TypeError, match="put_fields takes"):
            lines.LineFile(100).put_fields(*wrong)
    with pytest.raises(TypeError, match="list"):
        lines.LineFile(100).texts(())


def test_a_line_is_as_long_as_the_python_half_allows(recorded):
    """At the length where a value has to go to a blob both halves agree."""
    with whence.run("long") as run:
        run.event("opens the segment")
        for size in range(blobs.INLINE_BYTES + 600, blobs.INLINE_BYTES + 1100, 25):
            compiled = lines_of(recorded, lambda size=size: run.event("x" * size))
            with in_python():
                assert lines_of(recorded, lambda size=size: run.event("x" * size)) == compiled


def test_where_nothing_is_compiled_every_record_is_declined():
    """The stand-in has the same methods, and there are no templates to call them with."""
    plain = PlainFile(100)
    assert plain.put(None, b"", 0, "a") is None
    assert plain.put_fields(None, b"", 0, "a", {}, -1) is None
    assert plain.texts([]) is None
    compiled, lines._lines = lines._lines, None
    try:
        assert lines.template(b"", Decision, has_id=True) is None
    finally:
        lines._lines = compiled


@given(
    numbers=st.lists(
        st.floats(allow_nan=False, allow_infinity=False)
        | st.builds(round, st.floats(-1e10, 1e10), st.integers(0, 8)).map(float)
        | st.sampled_from([0.1 + 0.2, 999_999_999.999_999, 1e9, -1e9, -0.000_001, -0.5, -0.0]),
        max_size=20,
    )
)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_read_back_as_they_were(recorded, numbers):
    """The same 64 bits, however few digits a number has."""
    with whence.run("numbers") as run:
        (line,) = lines_of(recorded, lambda: run.event("m", numbers=numbers))
    assert [struct.pack("d", n) for n in line["data"]["numbers"]] == [
        struct.pack("d", n) for n in numbers
    ]


def nested(levels, inside):
    """Return a value inside so many lists and mappings by turns."""
    for level in range(levels):
        inside = [inside] if level % 2 else {"in": inside}
    return inside


@given(st.lists(VALUES, max_size=3))
@example([nested(MAX_DEPTH, 1)])
@example([nested(MAX_DEPTH + 1, 1)])
@example([nested(MAX_DEPTH, {})])
@example(["", float("nan")])
def test_both_halves_tell_plain_values_alike(given_values):
    """What one takes for plain is plain to the other."""
    assert lines.are_plain(tuple(given_values)) == all(map(is_plain, given_values))


@given(st.lists(VALUES | NUMBERS, max_size=3))
@settings(max_examples=300)
@example([5e-6, 9.9e-5, 1e-5, -1.5e-6])
@example(["\b\f\v\x7f\u2028", -0.0, 0.0, 1e15, 1.5e16, 0.0001, 0.00001, 2.5e-10, 123456.789012])
@example([nested(MAX_DEPTH - 1, 1)])
@example([nested(MAX_DEPTH, 1)])
def test_texts_are_those_of_the_encoder(given_values):
    """Digests are of the encoder's JSON, so what is not plain, or not the same, is left to it."""
    made = lines.LineFile(blobs.INLINE_BYTES).texts(given_values)
    if made is None:
        assert (
            not is_plain(given_values)
            or any(map(has_odd_text, given_values))
            or len(codec.encode_json(given_values)) > blobs.INLINE_BYTES
            or "e" in json.dumps(given_values)
            or any(map(has_small_number, given_values))
        )
    else:
        assert made == list(map(codec.encode_json, given_values))


def has_small_number(value):
    """Whether encoders may turn to an exponent for a number."""
    return any(0 < abs(float(text)) < 1e-4 for text in re.findall(r"[\d.]+", json.dumps(value)))


def has_odd_text(value):
    try:
        codec.encode_json(value)
    except UnicodeError:
        return True
    return False


def test_values_have_to_be_a_tuple():
    """A list could change under the eyes of who looks through it."""
    with pytest.raises(TypeError, match="tuple"):
        lines.are_plain([1])
