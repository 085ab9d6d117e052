"""Two runs side by side: where they part, and by how much they differ."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import whence
from whence.query.align import align


def record(name: str, *, choice: str = "broad", score: float = 2, key: str = "a", stages=()) -> str:
    """Record one run of the same pipeline with some things different, and return its id."""
    with whence.run("pipeline", external_id=name) as run:
        with whence.stage("collect") as stage:
            stage.decide("strategy", choice, confidence=0.5, options=["broad", choice])
            stage.source("web", "same")
            stage.source("web", key)
        for extra in stages:
            with whence.stage(extra):
                pass
        with whence.stage("judge") as stage:
            stage.record_generation(model="m", messages=["hi"], output=choice, cost_usd=score / 10)
            stage.score("quality", score, threshold=1)
            stage.output(f"out-{name}", summary=choice)
    return run.id


def test_runs_that_did_the_same_do_not_part(store):
    """Ids, times and names of outputs are no difference."""
    record("a")
    record("b")

    found = store.compare("a", "b")
    assert found.first_divergence is None
    assert not any(pair.differs for pair in found.pairs)
    assert "decided, called and produced the same" in str(found)
    assert found.deltas.quality == 0


def test_the_first_divergence_is_the_earliest_difference(store):
    """The decision comes before the answer and the output that follow from it."""
    record("a")
    record("b", choice="deep", score=3, key="b")

    found = store.compare("a", "b")
    first = found.first_divergence
    assert (first.path, first.table, first.name, first.aspect) == (
        "collect",
        "decisions",
        "strategy",
        "what",
    )
    assert (first.a, first.b) == ("broad", "deep")
    assert [change.changed for change in found.decisions] == [["what", "options"]]
    assert [row.source_key for row in found.sources_only_in_a] == ["a"]
    assert [row.source_key for row in found.sources_only_in_b] == ["b"]


def test_differences_are_b_minus_a(store):
    """Scores, cost and their mean, and null where one side has none."""
    record("a", score=2)
    record("b", score=3)
    with whence.run("pipeline", external_id="c"):
        pass

    deltas = store.compare("a", "b").deltas
    assert deltas.quality == 1
    assert deltas.scores["quality"].difference == 1
    assert deltas.cost_usd.difference == pytest.approx(0.1)
    assert store.compare("b", "a").deltas.quality == -1
    nothing = store.compare("a", "c").deltas
    assert (nothing.quality, nothing.cost_usd.difference) == (None, None)


def test_a_step_that_only_one_run_took(store):
    """It stands at its place, and the steps around it stay aligned."""
    record("a", stages=["retry"])
    record("b")

    found = store.compare("a", "b")
    assert (found.first_divergence.aspect, found.first_divergence.name) == ("step", "retry")
    assert [(pair.path, pair.in_a, pair.in_b) for pair in found.pairs] == [
        ("", True, True),
        ("collect", True, True),
        ("retry", True, False),
        ("judge", True, True),
    ]
    assert "only in a" in str(found)


def test_branches_in_another_order_are_compared_with_their_like(store):
    """Parallel branches end in any order; that is not a difference of the branches."""
    record("a", stages=["left", "right"])
    record("b", stages=["right", "left"])

    pairs = {pair.path: (pair.in_a, pair.in_b) for pair in store.compare("a", "b").pairs}
    assert pairs["left"] == pairs["right"] == (True, True)


def test_a_different_end_is_a_divergence(store):
    """Runs that did the same and ended differently part at their status."""

    def fail() -> None:
        with whence.run("pipeline", external_id="b"):
            raise KeyError

    with whence.run("pipeline", external_id="a"):
        pass
    with pytest.raises(KeyError):
        fail()

    first = store.compare("a", "b").first_divergence
    assert (first.aspect, first.a, first.b) == ("status", "complete", "failed")


def test_a_comparison_becomes_json(store):
    """Nulls stay, so that a missing figure is told from a missing key."""
    record("a")
    record("b", choice="deep")

    plain = json.loads(json.dumps(store.compare("a", "b").to_dict(), allow_nan=False))
    assert plain["first_divergence"]["aspect"] == "what"
    assert plain["deltas"]["duration_ms"]["difference"] is not None


def test_an_unknown_run_is_an_error(store):
    """Either side."""
    record("a")

    for sides in (("a", "nobody"), ("nobody", "a")):
        with pytest.raises(whence.NotFoundError, match="nobody"):
            store.compare(*sides)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_every_step_is_aligned_once(a, b):
    """Alignment loses nothing, repeats nothing, pairs equals only, and as many as there can be."""
    places = align(a, b)

    assert sorted(i for i, _ in places if i is not None) == list(range(len(a)))
    assert sorted(j for _, j in places if j is not None) == list(range(len(b)))
    pairs = [(i, j) for i, j in places if i is not None and j is not None]
    assert all(a[i] == b[j] for i, j in pairs)
    assert len(pairs) == sum(min(a.count(key), b.count(key)) for key in "abc")
    assert [i for i, _ in places if i is not None] == list(range(len(a)))


def test_long_loops_are_aligned_in_time():
    """Ten thousand equal steps with an odd one inside are no quadratic matter."""
    a = ["x"] * 5_000 + ["odd"] + ["x"] * 5_000
    b = ["x"] * 10_000

    assert len([1 for i, j in align(a, b) if i is not None and j is not None]) == 10_000
