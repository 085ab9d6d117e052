"""What was recorded is seen: how a chain and a tree show what is easily passed over."""

from __future__ import annotations

import contextlib
import os

import pytest

import whence
from whence.analysis import repricing
from whence.prices.book import Book, Entry
from whence.prices.pricing import Prices

LONG = "because of a very long chain of thoughts " * 12


@pytest.fixture
def texts(recording):
    """Return a function that gives the text of a run as a chain and as a tree."""

    def read(name: str, **how: bool) -> tuple[str, str]:
        with whence.open(recording) as store:
            return store.why(name).to_text(**how), store.run(name).to_text(**how)

    return read


def test_scores_of_sources_data_of_events_and_validations_are_shown(texts):
    """What the example of the README records is there to be read."""
    with whence.run("x", external_id="x"), whence.stage("s") as stage:
        stage.source("web", "https://example.org", scores={"relevance": 0.8}, reason="on topic")
        stage.source("web", "https://example.com", kept=False, quality=0.2)
        stage.event("items failed", level="error", items=[3, 5])
        stage.output("report", validation={"passed": False, "errors": ["no title", "no end"]})
        stage.output("other", validation={"passed": True})
        stage.score("verdict", "good")

    why, tree = texts("x")
    assert "https://example.org  relevance 0.8  on topic" in why
    assert "kept web https://example.org (on topic) relevance 0.8" in tree
    assert "quality 0.20" in why
    for text in (why, tree):
        assert 'items failed {"items":[3,5]}' in text.replace("  {", " {")
        assert "validation failed: no title; no end" in text
        assert "validation passed" in text
    assert "scored verdict  good" in why
    assert "scored verdict: good" in tree


def test_a_tool_that_failed_shows_what_it_was_given(texts):
    """The arguments say why, where the exception does not."""
    with (
        whence.run("x", external_id="x"),
        contextlib.suppress(KeyError),
        whence.tool("look up", input={"city": "Ulm"}),
    ):
        raise KeyError("population")

    for text in texts("x"):
        assert "KeyError: 'population'" in text
        assert 'given {"city":"Ulm"}' in text


def test_all_of_it_is_cut_nowhere(texts):
    """Reasons, feedback, errors and lists are whole on demand, and short otherwise."""
    with whence.run("x", external_id="x") as run:
        for number in range(20):
            run.decide(
                f"d{number}", "a", why=LONG, options=[{"name": "b", "reason_rejected": LONG}]
            )
            run.score(f"s{number}", number, feedback=LONG, passed=False)
        run.event("bad", level="error", said=LONG)
        run.output("o", summary=LONG, validation={"passed": False, "errors": [LONG]})

    short, whole = texts("x"), texts("x", full=True)
    assert all("more decisions" in text or "decided d19" in text for text in short)
    for text in whole:
        assert text.replace("\n  ", " ").count(LONG.strip()) >= 20
        assert "…" not in text
    assert "and 8 more decisions" in short[0]
    assert "more " not in whole[0]


def test_texts_can_be_whole_where_lists_are_not(recording):
    """A pipe has every text and not every item."""
    with whence.run("x", external_id="x") as run:
        for number in range(20):
            run.decide(f"d{number}", "a", options=[{"name": "b", "reason_rejected": LONG}])
    with whence.open(recording) as store:
        text = store.why("x").to_text(whole_texts=True)

    assert text.count(LONG.strip()) == 12
    assert "and 8 more decisions" in text


def test_links_of_a_tree_name_their_ends_and_spans_their_ids(recording):
    """`why` can be asked about what `show` shows; two spans of one name are told apart."""
    with whence.run("x", external_id="x") as run:
        with whence.step("draft") as first:
            pass
        with whence.step("draft") as second, whence.step("check") as check:
            pass
        run.link("retry_of", second, source=first)
        run.link("used", check, source="https://example.org")
    with whence.open(recording) as store:
        text = str(store.run("x"))
        for span in store.spans():
            assert f"  {span.id}" in text
            assert store.why(span.id).subject.id == span.id

    assert f"link step draft {second.id} retry of step draft {first.id}" in text
    assert "link step check used https://example.org" in text


def test_calls_without_a_price_say_so_and_what_to_do(texts):
    """Nobody takes a sum for all of it."""
    with whence.run("x", external_id="x") as run:
        run.record_generation(model="m", cost_usd=0.5)
        run.record_generation(model="n", usage={"input_tokens": 1})
    with whence.run("y", external_id="y") as run:
        run.record_generation(model="m", cost_usd=0.5)

    for text in texts("x"):
        assert "no price" in next(line for line in text.splitlines() if "called n" in line)
        assert "1 model call has no price: `whence costs` computes it" in text
        assert "(1 of 2 calls unpriced)" in text
    assert all("no price" not in text for text in texts("y"))


def test_stored_costs_name_their_call_and_are_told_once(recording, texts):
    """A cost that equals the declared one says nothing new; the latest of a call counts."""
    usage = {"input_tokens": 1_000, "output_tokens": 100}
    with whence.run("x", external_id="x") as run:
        for cost_usd in (None, 0.1, 0.3):
            run.record_generation(model="m", provider="p", usage=usage, cost_usd=cost_usd)
    for usd in (7.0, 100.0):
        with whence.open(recording) as store:
            prices = Prices(Book("book", [Entry("m", None, None, {"input_mtok": usd})]))
            assert repricing.reprice(store, prices).written == 3

    why, tree = texts("x")
    unpriced, declared, _ = [line for line in why.splitlines() if "called m" in line]
    assert unpriced.endswith("$0.1000 computed")
    assert declared.endswith("$0.1000")
    assert "1 model call has a cost stored by `whence costs` only: $0.1000" in why
    assert why.count("on the call of m ") == 2
    assert "no price" not in why
    assert tree.count("on the call of m ") == 6


def test_a_tool_that_was_running_when_the_process_died_is_told(recording, texts):
    """The chain of a killed run ends with what it was doing."""
    if os.fork() == 0:
        run = whence.run("killed", external_id="k1").start()
        stage = whence.stage("b").start(within=run)
        whence.tool("slow", input={"q": "Ulm"}).start(within=stage)
        whence.flush()
        os._exit(9)
    os.wait()

    why, tree = texts("k1")
    assert 'unfinished: tool slow given {"q":"Ulm"}' in why.replace("  given", " given")
    assert "tool slow, incomplete" in tree
    with whence.open(recording) as store:
        (stage,) = store.why("k1").to_dict()["stages"]
        assert [span["name"] for span in stage["unfinished"]] == ["slow"]


def test_what_is_around_a_result_is_not_told_to_be_running(texts):
    """A step is still open when an output is made in it, which is how outputs are made."""
    with whence.run("x", external_id="x"), whence.step("outer"), whence.tool("inner") as tool:
        tool.output("report")
        assert "running" not in texts("report")[0].replace("x · running", "")
        assert "still running: tool inner" in texts("x")[0]
