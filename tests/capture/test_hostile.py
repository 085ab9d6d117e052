"""Whatever is recorded, the program does not notice, and it can be read back."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import math
import pathlib
import sys
import threading
import uuid
from collections import OrderedDict, UserDict, deque
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import whence
from whence.capture.values import clean, settle
from whence.log import blobs
from whence.log.home import Home
from whence.record import codec, values
from whence.record.values import MARK


class Hostile:
    """Raises whatever it is asked."""

    def _refuse(self, *_args):
        raise RuntimeError("no\ud800")

    __repr__ = __str__ = __eq__ = __hash__ = __iter__ = __len__ = __bool__ = __float__ = _refuse
    __getattr__ = keys = items = __getitem__ = __int__ = __index__ = __format__ = _refuse


class HostileMapping(UserDict):
    def items(self):
        raise RuntimeError

    keys = __iter__ = __len__ = items


class HostileClass:
    @property
    def __class__(self):
        raise RuntimeError


class Model:
    def model_dump(self):
        return {"a": 1, "b": [float("nan")]}


class Endless:
    def model_dump(self):
        return Endless()


class BadDump:
    def model_dump(self):
        raise RuntimeError


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = None


class Pair(NamedTuple):
    a: int
    b: str


class Colour(enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()

    def __str__(self):
        return self


class Number(int):
    def __int__(self):
        raise RuntimeError


def cycle():
    value: dict[str, Any] = {"a": 1}
    value["me"] = [value]
    return value


def loop():
    value: list[Any] = []
    value.append(value)
    return value


def doubled(innermost, levels=60):
    """Return a few lists that written as text would be more than any disk holds."""
    value: list[Any] = [innermost]
    for _ in range(levels):
        value = [value, value]
    return value


def deep(levels):
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


WHOLE = {
    "NaN": math.nan,
    "infinity": math.inf,
    "minus infinity": -math.inf,
    "2**63": 2**63,
    "2**70": 2**70,
    "-2**63 - 1": -(2**63) - 1,
    "400 digits": 10**400,
    "10,000 digits": 10**10_000,
    "minus 10,000 digits": -(10**10_000),
    "a lone surrogate": "a\ud800b",
    "a long text with surrogates": "\udfff" * 30_000,
    "NUL": "a\x00b",
    "line breaks": "a\nb\r\nc\u2028d\u2029e\x85f",
    "text of 100,000 characters": "ä" * 100_000,
    "not a text key": {1: "a", None: "b", (1, (2, 3)): "c", 1.5: 6, False: 5},
    "our own key": {MARK: "float", "value": "nan"},
    "our own key inside": [{"a": {MARK: None, "x": math.nan}}],
    "__proto__": {"__proto__": {"a": 1}, "constructor": 1, "": 2},
    "a key with a surrogate": {"\ud800": math.nan, "a": ["\ud800"]},
    "a key of 100,000 characters": {"k" * 100_000: 1},
    "mixed, and long": {"n": math.nan, "s": "\ud800", "big": 2**64, "l": ["x" * 1000] * 100},
    "90 levels": deep(90),
    "bytes": b"\x00\xff",
    "no bytes": b"",
}
"""Values that come back as they were."""

SHOWN = {
    "set": ({1, 2}, [1, 2]),
    "frozenset": (frozenset({"a"}), ["a"]),
    "tuple": ((1, (2,)), [1, [2]]),
    "named tuple": (Pair(1, "b"), [1, "b"]),
    "dataclass": (Point(1, Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
    "ordered": (OrderedDict(a=1), {"a": 1}),
    "user mapping": (UserDict(a=1), {"a": 1}),
    "enum": (Colour.RED, "red"),
    "enum key": ({"a": Colour.RED}, {"a": "red"}),
    "text of a kind": (Text("t"), "t"),
    "key of a kind": ({Text("t"): Text("u")}, {"t": "u"}),
    "number of a kind": (Number(5), 5),
    "decimal": (decimal.Decimal("1.10"), "1.10"),
    "uuid": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "path": (pathlib.PurePosixPath("/a"), "/a"),
    "date": (dt.date(2026, 1, 2), "2026-01-02"),
    "model": (Model(), {"a": 1, "b": [{MARK: "float", "value": "nan"}]}),
    "numpy float": (np.float32(0.5), 0.5),
    "numpy int": (np.int64(5), 5),
    "numpy NaN": (np.float64("nan"), {MARK: "float", "value": "nan"}),
    "numpy array": (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    "numpy bool": (np.bool_(1), True),
    "exception": (ValueError("v"), {"type": "ValueError", "message": "ValueError: v"}),
    "cycle": (cycle(), {"a": 1, "me": [{MARK: "cycle"}]}),
}
"""Values with the form that they are given."""

STRANGE = {
    "hostile": Hostile(),
    "hostile inside": {"a": [Hostile()], "b": 1},
    "hostile mapping": HostileMapping(a=1),
    "hostile class": HostileClass(),
    "endless": Endless(),
    "bad dump": BadDump(),
    "object": object(),
    "class": Hostile,
    "module": sys,
    "lambda": lambda: 1,
    "generator": (x for x in "ab"),
    "deque": deque([1]),
    "lock": threading.Lock(),
    "100,000 levels": deep(100_000),
    "self-containing list": loop(),
    "memoryview": memoryview(b"ab"),
    "strided memoryview": memoryview(b"abcd")[::2],
    "masked array": np.ma.array([1, 2], mask=[True, False]),
    "structured array": np.zeros(2, dtype=[("a", "i4"), ("b", "O")]),
    "complex": 1j,
    "range": range(3),
    "not implemented": NotImplemented,
    "exception group": ExceptionGroup("\ud800", [ValueError(Hostile)]),
}
"""Values that have no form of their own: they are shown somehow, and harm nothing."""

EVERY = {**WHOLE, **{name: value for name, (value, _) in SHOWN.items()}, **STRANGE}


def read_back(value: Any, home: Home) -> Any:
    def blob(marker):
        content = blobs.get(home, marker["sha256"])
        match marker["encoding"]:
            case "text":
                return content.decode("utf-8", "surrogatepass")
            case "json":
                return values.restore(codec.decode_json(content), blob)
            case _:
                return content

    return values.restore(value, blob)


def same(a: Any, b: Any) -> bool:
    """Compare with NaN equal to itself, and types told apart."""
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a):
        return math.isnan(b)
    if isinstance(a, dict) and isinstance(b, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("name", WHOLE)
def test_a_value_that_json_has_no_form_for_comes_back_whole(recorded, name):
    """Wherever values go: top level, nested, output, message, attribute."""
    value = WHOLE[name]
    with whence.run("r") as run:
        run.decide("top", value)
        run.decide("nested", {"in": [value]}, inputs={"v": value})
        run.output("o", value=value)
        run.set(note=value)
        run.record_generation(
            messages=[value, {"content": value}], output=value, parameters={"p": value}
        )
        with whence.tool("t", input=value) as tool:
            tool.set(output=value)

    assert whence.flush().lost == 0
    home = recorded.home
    top, nested = recorded.rows("decisions")
    generation = recorded.one("generations")
    call = recorded.one("tool_calls")
    for found, expected in (
        (top.what, value),
        (nested.what, {"in": [value]}),
        (nested.inputs, {"v": value}),
        (recorded.one("outputs").value, value),
        (recorded.one("runs").attributes, {"note": value}),
        (generation.messages, [value, {"content": value}]),
        (generation.output, value),
        (generation.parameters, {"p": value}),
        (call.input, value),
        (call.output, value),
    ):
        assert same(read_back(found, home), expected)


@pytest.mark.parametrize(("value", "shown"), SHOWN.values(), ids=list(SHOWN))
def test_a_python_value_is_shown_as_plain_data(recorded, value, shown):
    """Containers, scalars and models of the usual libraries."""
    with whence.run("r") as run:
        run.decide("d", value)

    assert recorded.one("decisions").what == shown


@pytest.mark.parametrize("name", EVERY)
def test_no_value_harms_anything_anywhere(recorded, name):
    """In every argument of every verb: no exception, no lost record, one readable line each."""
    value = EVERY[name]
    with whence.run(
        "r", project=value, kind=value, external_id=value, user=value, tags=[value], a=value
    ) as run:
        run.set(
            session=value,
            status=value,
            input=value,
            output=value,
            input_count=value,
            algorithm=value,
        )
        with whence.span(value, agent=value, algorithm=value, input_count=value, x=value) as span:
            span.decide(
                value,
                value,
                why=value,
                confidence=value,
                options=[
                    value,
                    {"name": value, "score": value, "x": value},
                    {"name": value, "reason_rejected": value},
                ],
                factors=[value, {"name": value, "weight": value, "normalized_value": value}],
                inputs={"a": value},
                made_by=value,
                decision_point=value,
            )
            span.factor(value, value, normalized_value=value, weight=value, reasoning=value)
            span.source(
                value,
                value,
                kept=value,
                records_used=value,
                quality=value,
                scores={"a": value},
                sample_ids=[value],
            )
            span.score(
                value,
                value,
                passed=value,
                threshold=value,
                feedback=value,
                iteration=value,
                by=value,
                x=value,
            )
            span.output(
                value, kind=value, summary=value, path=value, validation={"e": value}, digest=value
            )
            span.link(value, value, source="s", confidence=value, inferred=value)
            span.event(value, level=value, x=value)
            span.flag(value)
            span.tag(value)
            span.record_generation(
                provider=value,
                model=value,
                prompt_template=value,
                messages=[value],
                output=value,
                usage={"prompt_tokens": value, "x": value},
                cost_usd=value,
                duration_ms=value,
                attempt=value,
                media=[value],
                price={"a": value},
                error={"type": value},
                x=value,
            )
            span.tool_call(
                value,
                cache_hit=value,
                input=value,
                output=value,
                duration_s=value,
                cache_key=value,
                x=value,
            )
            span.transformation(value, method=value, input_sample=value, input_size=value, x=value)
    report = whence.flush()

    assert (report.lost, report.why) == (0, None)
    log = recorded.bytes_of_log()
    assert log.endswith(b"\n")
    assert log.count(b"\n") == report.written
    for table in (
        "decisions",
        "factors",
        "sources",
        "scores",
        "outputs",
        "links",
        "generations",
    ):
        recorded.one(table)
    assert any("no number in" not in row.message for row in recorded.rows("events"))
    for table in ("tool_calls", "transformations", "annotations", "runs", "spans"):
        recorded.one(table)


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("form", range(5))
def test_no_form_of_options_factors_or_tags_loses_the_record(form):
    """What is not of a form that is known is kept as a value."""
    value = ([Hostile()], Hostile(), {"a": Hostile()}, 5, None)[form]
    with whence.run("r", tags=value) as run:
        run.decide(
            "d",
            Hostile(),
            options=value,
            factors=value if isinstance(value, (list, dict)) else None,
        )
        run.decide("d", np.array([1, 2]), options=["a", "b"])
        run.source("db", "k", sample_ids=value)
        run.record_generation(messages=value, usage=value, media=value, error=value)

    assert whence.flush().lost == 0


def test_names_of_the_envelope_are_free_for_the_user(recorded):
    """Attributes called like our own fields are attributes."""
    names = dict.fromkeys(
        ("run", "span", "ts", "id", "v", "seq", "extra", "stage", "self", "scope", "record"), 1
    )
    with whence.run("r", **names) as run:
        run.set(**names)
        run.event("m", kind=2, name=3, **names)
        run.source("db", "k", kind=2, **names)
        run.record_generation(kind=2, **names)
        run.tool_call("t", kind=2, **names)
        run.transformation("t", kind=2, **names)
        run.score("s", 1, kind=2, **names)
        with whence.span("s", **names) as span:
            span.set(name=3, **names)

    assert recorded.one("runs").attributes == names
    assert recorded.one("events").data == {"kind": 2, "name": 3, **names}
    for table in ("sources", "tool_calls", "transformations", "scores", "generations"):
        assert recorded.one(table).attributes == {"kind": 2, **names}
    assert recorded.one("spans").attributes == {**names, "name": 3}


def test_odd_keys_do_not_swallow_other_attributes(recorded):
    """A key that is ours, or no Unicode, stands apart, and what is said later adds to the rest."""
    with whence.run("r", a=1, **{MARK: "float", "\ud800": 2}) as run:
        run.set(b=3, **{MARK: 4})

    attributes = recorded.one("runs").attributes
    assert (attributes["a"], attributes["b"]) == (1, 3)
    assert values.restore(attributes["odd_keys"]) == {MARK: 4}


def test_a_text_field_that_is_no_unicode_keeps_a_preview_and_the_whole(recorded):
    """Names and reasons stay texts; the exact value stands beside them."""
    with whence.run("r") as run:
        run.decide(
            "n\ud800",
            1,
            why="w" * 100_000,
            options=["a\ud800", {"name": "b", "reason_rejected": "c" * 50_000}],
        )

    decision = recorded.one("decisions")
    assert decision.name == "n\\ud800"
    assert decision.why == "w" * 200
    assert [option["name"] for option in decision.options] == ["a\\ud800", "b"]
    whole = read_back(decision.extra["whole"], recorded.home)
    assert (whole["name"], whole["why"]) == ("n\ud800", "w" * 100_000)
    assert whole["options"][0]["name"] == "a\ud800"
    assert whole["options"][1]["reason_rejected"] == "c" * 50_000


class Key:
    """Found where a text is looked for, and not to be compared with it."""

    def __init__(self, name):
        self._hash = hash(name)

    def __hash__(self):
        return self._hash

    def __eq__(self, other):
        raise ValueError


@pytest.mark.parametrize("name", ["$whence", "name", "normalized_value", "reason_rejected"])
def test_a_key_that_will_not_be_compared_loses_nothing(recorded, name):
    """A mapping may be keyed by any object, wherever a mapping may stand."""
    with whence.run("r") as run:
        run.event("opens the segment")
        run.decide("d", {Key(name): 1}, inputs={Key(name): 1})
        run.decide("d", "a", options=["a", {Key(name): 1, "x": 2}], factors=[{Key(name): 1}])
        run.event("m", data={Key(name): 1})

    assert whence.flush().lost == 0
    decisions = recorded.rows("decisions")
    assert len(decisions) == 2
    assert [option.get("chosen", False) for option in decisions[1].options] == [True, False]


@pytest.mark.usefixtures("recorded")
def test_a_span_that_was_never_entered_harms_nothing(capsys):
    """It belongs to no run; each of its verbs loses a record, and it is said."""
    verbs = {
        "decide": ("d", "a"),
        "factor": ("f", 1),
        "source": ("file", "a.txt"),
        "score": ("s", 1),
        "output": ("o",),
        "event": ("m",),
        "tag": ("t",),
        "flag": ("odd",),
        "tool_call": ("t",),
        "transformation": ("t",),
        "record_generation": (),
    }
    with whence.run("r") as run:
        run.event("opens the segment")
        span = whence.span("s")
        for name, arguments in verbs.items():
            getattr(span, name)(*arguments)

    assert whence.flush().lost == len(verbs)
    assert "a record was lost" in capsys.readouterr().err


def test_a_reference_that_is_no_text_is_kept_as_text(recorded):
    """A factor's decision may be the object that stands for it."""
    with whence.run("r") as run:
        run.factor("f", 1, decision=5)
        run.factor("f", 1, decision=object())
        run.factor("f", 1, decision=run)

    five, other, own = (row.decision for row in recorded.rows("factors"))
    assert five == "5"
    assert other.startswith("<object object")
    assert own == run.id


@pytest.mark.parametrize(
    ("given", "kept"),
    [(7_000_000, 7), (7e6, 7), ("7e6", 7), (2**70, None), (float("inf"), None)],
)
def test_a_duration_is_a_number_of_64_bits_or_none(recorded, given, kept):
    """What no column can hold is not kept."""
    with whence.run("r") as run:
        run.tool_call("t", duration_ns=given)

    assert recorded.one("tool_calls").duration_ms == kept


def test_a_contribution_is_a_number_that_json_readers_hold(recorded):
    """A product may be infinite or longer than 64 bits when neither of its terms is."""
    huge = {"normalized_value": 1e300, "weight": 1e300}
    with whence.run("r") as run:
        run.decide("d", "a", factors=[huge, {"normalized_value": 2**40, "weight": 2**40}])

    factors = recorded.one("decisions").factors
    assert [factor.get("contribution") for factor in factors] == [None, float(2**80)]
    assert str(2**80).encode() not in recorded.bytes_of_log()


@pytest.mark.parametrize("odd", [math.nan, "high", 10**400], ids=["nan", "text", "huge"])
def test_what_is_no_number_is_kept_beside(recorded, odd):
    """In the attributes of the record, or in an event where it has none."""
    with whence.run("r") as run:
        run.decide("d", 1, confidence=odd, options=[{"name": "a", "score": odd}])
        run.decide("e", "a", options={"a": odd})
        run.factor("f", 1, weight=odd, normalized_value=0.5)
        run.source("db", "k", quality=odd, records_used=odd)
        run.score("s", 1, threshold=odd)
        run.output("o", confidence=odd)
        run.link("used", "later", source="earlier", confidence=odd)
        run.record_generation(model="m", cost_usd=odd, seed=odd, duration_ms=odd)
        run.tool_call("t", retry_count=odd, duration_s=odd)
        run.transformation("t", input_size=odd)

    kept = {}
    for table in ("sources", "scores", "outputs", "links", "generations", "tool_calls"):
        kept |= {(table, k): v for k, v in recorded.one(table).attributes.items()}
    kept |= {("t", k): v for k, v in recorded.one("transformations").attributes.items()}
    for row in recorded.rows("events"):
        kept |= {(row.message, k): v for k, v in row.data["given"].items()}
    for row in recorded.rows("decisions"):
        kept |= {(row.name, k): v for k, v in row.options[0]["attributes"].items()}
    assert set(kept) == {
        ("d: no number in confidence", "confidence"),
        ("d", "score"),
        ("e", "probability"),
        ("f: no number in weight", "weight"),
        ("sources", "quality"),
        ("sources", "records_used"),
        ("scores", "threshold"),
        ("outputs", "confidence"),
        ("links", "confidence"),
        ("generations", "cost_usd"),
        ("generations", "seed"),
        ("generations", "duration_ms"),
        ("tool_calls", "retry_count"),
        ("tool_calls", "duration_s"),
        ("t", "input_size"),
    }
    assert all(same(read_back(value, recorded.home), odd) for value in kept.values())


def test_a_count_beyond_64_bits_is_kept_beside(recorded):
    """It is a number, and yet none that the field holds."""
    with whence.run("r") as run:
        run.source("db", "k", records_used=2**70)
        run.score("s", 1, iteration=2**70)

    for table, name in (("sources", "records_used"), ("scores", "iteration")):
        row = recorded.one(table)
        assert getattr(row, name) is None
        assert read_back(row.attributes[name], recorded.home) == 2**70


def test_an_option_without_a_name_keeps_what_it_says(recorded):
    """It is named by all of it."""
    with whence.run("r") as run:
        run.decide("d", "c", options=[{"label": "c"}, {"name": "d"}])

    first, second = recorded.one("decisions").options
    assert (first["name"], first["attributes"]) == ("{'label': 'c'}", {"label": "c"})
    assert second["name"] == "d"


def test_the_type_of_an_error_can_be_told_apart(recorded):
    """As rows call it; an error that says its own type keeps it."""
    with whence.run("r") as run:
        run.record_generation(model="m", error="429", error_type="RateLimit")
        run.tool_call("a", error_type="Timeout")
        run.tool_call("b", error={"type": "Own", "message": "m"}, error_type="Other")

    assert recorded.one("generations").error == {"type": "RateLimit", "message": "429"}
    assert [row.error_type for row in recorded.rows("tool_calls")] == ["Timeout", "Own"]
    assert [row.status for row in recorded.rows("tool_calls")] == ["error", "error"]


@pytest.mark.parametrize(
    ("given", "later"),
    [({"status": "error"}, []), ({}, [{"status": "error"}]),
     ({}, [{"status": "error"}, {"output": 1}]), ({}, [{"output": 1, "status": "error"}])],
)  # fmt: skip
def test_a_tool_that_the_program_calls_failed_has_failed(recorded, given, later):
    """Whenever it says so before the call is told."""
    with whence.run("r"), whence.tool("t", **given) as tool:
        for fields in later:
            tool.set(**fields)

    assert recorded.one("tool_calls").status == "error"
    assert recorded.one("spans").status == "error"


def test_a_value_of_100_megabytes_goes_to_a_blob(recorded):
    """The line stays short."""
    with whence.run("r") as run:
        run.decide("d", "x" * 100_000_000)

    marker = recorded.one("decisions").what
    assert marker["size_bytes"] == 100_000_000
    assert len(recorded.bytes_of_log()) < 5_000


@pytest.mark.parametrize("innermost", [1, object()])
def test_lists_that_hold_each_other_twice_over_are_written_in_part(recorded, innermost):
    """A value of sixty lists that stand for 2**60 numbers is cut, and says so."""
    value = doubled(innermost)
    with whence.run("r", project=value) as run:
        run.decide("d", value, options=[value])
        run.record_generation(model="m", usage={"a": value})

    assert whence.flush().lost == 0
    shown = codec.encode_json(read_back(recorded.one("decisions").what, recorded.home))
    assert b"in too many places to hold them in each" in shown
    assert 1_000 < len(shown) < 10_000_000
    assert recorded.one("runs").project.startswith("[[[[")


def test_what_stands_in_many_places_is_written_in_each(recorded):
    """Sharing alone is no harm: small things, and larger ones a few times."""
    small, larger = {"a": 1, "b": {2}}, {str(n): n for n in range(1000)}
    value = [small] * 20_000 + [larger, larger]
    with whence.run("r") as run:
        run.decide("d", value)

    with whence.open(recorded.home.root) as store:
        (decision,) = store.decisions().items
    assert decision.what == [{"a": 1, "b": [2]}] * 20_000 + [larger, larger]


def test_an_object_that_is_no_usage_is_shown_as_what_it_is(recorded):
    """An object that leads to ever more objects is not followed."""

    class Table:
        @property
        def turned(self):
            return Table()

        for number in range(50):
            locals()[f"column_{number}"] = turned
        del number

    with whence.run("r") as run:
        run.record_generation(model="m", usage=Table(), cost_usd=1)

    stated = recorded.one("generations").usage.stated
    assert stated[MARK] == "object"


def test_a_value_that_changes_while_it_is_recorded_does_no_harm(recorded):
    """Another thread adds to the very dictionary and list that are recorded."""
    value: dict[str, Any] = {"list": [0], "dict": {}}
    stop = threading.Event()

    def change():
        number = 0
        while not stop.is_set():
            number += 1
            value[f"k{number % 50}"] = number
            value["dict"][number % 100] = object()
            value["list"].append(number)
            if number % 50 == 0:
                value.clear()
                value.update(list=[0], dict={})

    thread = threading.Thread(target=change)
    thread.start()
    try:
        with whence.run("r") as run:
            for _ in range(300):
                run.decide("d", value, inputs=value)
    finally:
        stop.set()
        thread.join()

    assert whence.flush().lost == 0
    assert len(recorded.rows("decisions")) == 300


def test_a_deep_value_does_no_harm_with_a_high_recursion_limit(recorded):
    """The encoder is C code, whose stack Python's limit does not protect."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1_000_000)
    try:
        with whence.run("r") as run:
            run.decide("d", deep(100_000))
            run.set(a=deep(100_000))
    finally:
        sys.setrecursionlimit(before)

    assert whence.flush().lost == 0
    assert "deep" in str(recorded.one("decisions").what)


def test_recording_near_the_end_of_the_stack_does_no_harm(recorded):
    """A program that is deep in a recursion loses a record at worst, and is told so."""

    def descend(run):
        run.event("m", a=[[[1]]])
        descend(run)

    with whence.run("r") as run:
        with pytest.raises(RecursionError):
            descend(run)
        run.event("after")

    report = whence.flush()
    assert recorded.rows("events")[-1].message == "after"
    assert report.written == recorded.bytes_of_log().count(b"\n") - len(recorded.rows("gaps"))


def test_a_broken_error_stream_does_no_harm(recorded, monkeypatch):
    """What has to be told goes to a stream that the user replaced."""

    class Stream:
        def write(self, _text):
            raise RuntimeError

    whence.configure(recorded.home.root, redact=lambda _text: 1 / 0)
    monkeypatch.setattr(sys, "stderr", Stream())
    with whence.run("r") as run:
        run.event("m")
    monkeypatch.setattr(sys, "stderr", None)
    with whence.run("r") as run:
        run.event("m")

    assert len(recorded.rows("events")) == 2


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)  # surrogates included
    | st.binary(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text(st.characters(), max_size=5) | st.integers() | st.just(MARK), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(value=ANYTHING)
def test_any_data_comes_back_whole(value, tmp_path_factory):
    """Numbers, texts, bytes, lists and mappings in any combination."""
    home = Home(tmp_path_factory.getbasetemp() / "values")

    def put(content, encoding, preview):
        return blobs.put(home, content, encoding, preview=preview)

    line = codec.encode_json(settle(clean([value], put), put))

    assert same(read_back(codec.decode_json(line), home), [value])


def test_a_usage_object_with_attributes_is_understood(tmp_path):
    """What a client library hands out need be no mapping."""
    whence.configure(tmp_path)
    details = SimpleNamespace(cached_tokens=3)
    with whence.run("calls") as run:
        run.record_generation(
            model="m",
            usage=SimpleNamespace(
                prompt_tokens=10, completion_tokens=5, prompt_tokens_details=details
            ),
        )
    with whence.open(tmp_path) as store:
        usage = store.generations().items[0].usage
        assert (usage.input_uncached, usage.cache_read, usage.output_visible) == (7, 3, 5)
        assert usage.stated["prompt_tokens_details"] == {"cached_tokens": 3}
