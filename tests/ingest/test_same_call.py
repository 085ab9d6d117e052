"""One model call counts once, whatever the instrumentation repeats, in whatever order it comes."""

from __future__ import annotations

from itertools import pairwise, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from otlpdata import chat, imported, request, span

import whence

AGENT = {"openinference.span.kind": "AGENT"}
CHAIN = {"openinference.span.kind": "CHAIN"}
TOOL = {"openinference.span.kind": "TOOL", "tool.name": "ask"}
REPEATED = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 2}


def outer(tokens=(10, 2), at=(1, 9), **more):
    return span("outer", "root", chat(tokens, **more), at=at)


def inner(parent="outer", tokens=(10, 2), at=(2, 8), name="inner", **more):
    return span(name, parent, chat(tokens, **more), at=at)


ROOT = span("root", None, AGENT | REPEATED, at=(0, 10))
CASES = {
    "an agent repeats the usage of its call": ([ROOT, inner("root")], 1, 10),
    "a chain between repeats it too": (
        [ROOT, span("chain", "root", CHAIN | REPEATED), inner("chain")],
        1,
        10,
    ),
    "two instrumentations nest": ([ROOT, outer(), inner()], 1, 10),
    "the inner one counts cached tokens apart": (
        [ROOT, outer((10, 2)), inner(tokens=(4, 2))],
        1,
        None,
    ),
    "the outer one states no tokens": ([ROOT, outer(None), inner()], 1, 10),
    "the inner one states no tokens": ([ROOT, outer(), inner(tokens=None)], 1, None),
    "three nest": (
        [ROOT, outer(), inner(), inner("inner", at=(3, 7), name="innermost")],
        1,
        10,
    ),
    "an outer one sums up two attempts": (
        [ROOT, outer((20, 4)), inner(at=(2, 4)), inner(at=(5, 8), name="again")],
        2,
        20,
    ),
    "siblings with one answer overlap": (
        [ROOT, outer(gen_ai__response__id="r"), inner("root", gen_ai__response__id="r")],
        1,
        10,
    ),
    "a tool inside a call asks another model": (
        [ROOT, outer(), span("tool", "outer", TOOL, at=(2, 8)), inner("tool")],
        2,
        20,
    ),
    "an agent inside a call asks another model": (
        [ROOT, outer(), span("agent", "outer", AGENT, at=(2, 8)), inner("agent")],
        2,
        20,
    ),
    "the answers differ": (
        [ROOT, outer(gen_ai__response__id="a"), inner(gen_ai__response__id="b")],
        2,
        20,
    ),
    "both figures differ": ([ROOT, outer((100, 50)), inner()], 2, 110),
    "the same answer is read again later": (
        [
            ROOT,
            inner("root", at=(1, 3), gen_ai__response__id="r"),
            inner("root", at=(4, 6), name="again", gen_ai__response__id="r"),
        ],
        2,
        20,
    ),
}


def check(folder, spans, calls, tokens, *, apart):
    requests = [request(one) for one in spans] if apart else [request(*spans)]
    report = imported(folder / "home", folder, *requests)
    with whence.open(folder / "home") as store:
        (run,) = store.runs(limit=None).items

    assert report.generations == run.generations == calls
    assert report.spans == run.spans == len(spans)
    if tokens is not None:
        assert report.usage_stated.input == tokens


@pytest.mark.parametrize("apart", [True, False], ids=["a request a span", "one request"])
@pytest.mark.parametrize("case", CASES)
def test_a_call_counts_once(case, apart, tmp_path):
    """Each case gives the calls that were made, children first as SDKs send them."""
    spans, calls, tokens = CASES[case]

    check(tmp_path, spans[::-1], calls, tokens, apart=apart)


THREE = [name for name, (spans, _, _) in CASES.items() if len(spans) == 3]


@pytest.mark.parametrize("case", THREE)
def test_the_order_in_a_file_makes_no_difference(case, tmp_path):
    """Three spans in all six orders, a line each, give the same calls and tokens."""
    spans, calls, tokens = CASES[case]

    for number, order in enumerate(permutations(spans)):
        folder = tmp_path / str(number)
        folder.mkdir()
        check(folder, order, calls, tokens, apart=True)


@pytest.mark.parametrize("case", [name for name in THREE if "states no" not in name])
def test_the_order_of_arrival_makes_no_difference(case, home, tmp_path):
    """Three spans in all six orders, an import each, give the same calls."""
    spans, calls, tokens = CASES[case]

    for number, order in enumerate(permutations(spans)):
        for one in order:
            imported(home / str(number), tmp_path, request(one))
        with whence.open(home / str(number)) as store:
            (run,) = store.runs(limit=None).items
        assert run.generations == calls
        if tokens is not None:
            assert run.input_tokens == tokens


@settings(max_examples=15)
@given(order=st.permutations(range(12)), cuts=st.sets(st.integers(1, 11)))
def test_a_trace_in_any_order_and_any_requests_has_the_same_totals(order, cuts, tmp_path_factory):
    """A trace of twelve spans comes whole in any order, cut into any requests."""
    tmp_path = tmp_path_factory.mktemp("order")
    spans = [
        span("root", None, AGENT | REPEATED, at=(0, 100)),
        *[span(f"step {n}", "root", CHAIN | REPEATED, at=(n, n + 9)) for n in range(3)],
        *[inner(f"step {n}", name=f"call {n}", at=(n + 1, n + 8)) for n in range(3)],
        *[inner(f"call {n}", name=f"same {n}", at=(n + 2, n + 7)) for n in range(3)],
        *[span(f"tool {n}", "root", TOOL, at=(n, n + 1)) for n in range(2)],
    ]
    shuffled = [spans[index] for index in order]
    edges = [0, *sorted(cuts), len(shuffled)]
    requests = [request(*shuffled[begin:end]) for begin, end in pairwise(edges)]

    report = imported(tmp_path / "home", tmp_path, *requests)

    assert (report.spans, report.generations, report.tool_calls) == (12, 3, 2)
    assert (report.usage_stated.input, report.usage_stated.output) == (30, 6)
    with whence.open(tmp_path / "home") as store:
        (run,) = store.runs(limit=None).items
    assert (run.name, run.status, run.generations) == ("root", "complete", 3)


def test_a_call_that_is_stated_again_says_of_which_span(home, tmp_path):
    """The span that does not count keeps its attributes and names the one that does."""
    imported(home, tmp_path, request(inner(), outer(), ROOT))

    with whence.open(home) as store:
        rows = {row.name: row for row in store.spans(limit=None)}
        (call,) = store.generations(limit=None).items
    assert call.span == rows["inner"].id
    assert rows["outer"].attributes["same_call_as"] == rows["inner"].id
    assert rows["outer"].attributes["gen_ai.usage.input_tokens"] == 10
    assert rows["outer"].status == "ok"
