"""Figures by group, for each table those that it has."""

from __future__ import annotations

import pytest

import whence
from whence.store.rows import TABLES


@pytest.fixture
def calls(recording):  # noqa: ARG001 - it records into that home
    """Record a run with model calls of two models, one of them failed, and some scores."""
    with whence.run("x", project="p") as run:
        for cost in (0.1, 0.2, None):
            run.record_generation(
                model="big",
                usage={"prompt_tokens": 10, "completion_tokens": 5},
                cost_usd=cost,
                duration_ms=100,
            )
        run.record_generation(model="small", error="late")
        for value in (1, 2, 3):
            run.score("s", value, threshold=2)
        run.source("web", "a")
        run.source("web", "b", kept=False)


@pytest.mark.usefixtures("calls")
def test_figures_of_model_calls_by_model(store):
    """Counts, errors, tokens, cost and lengths, the largest group first."""
    big, small = store.stats()

    assert (big["model"], big["count"], big["errors"], big["error_share"]) == ("big", 3, 0, 0)
    assert (big["input_tokens"], big["output_tokens"]) == (30, 15)
    assert big["cost_usd"] == pytest.approx(0.3)
    assert big["p95_duration_ms"] == 100
    assert (small["errors"], small["error_share"], small["cost_usd"]) == (1, 1, None)
    assert (big["unpriced_calls"], small["unpriced_calls"]) == (1, 1)


@pytest.mark.usefixtures("calls")
def test_a_sum_of_costs_says_how_many_calls_are_not_in_it(store):
    """Runs and calls alike, also where none has a cost; where all have, there is no column."""
    (run,) = store.runs()
    assert (run.generations, run.unpriced_calls) == (4, 2)
    assert store.stats((), None, table="runs").rows[0]["unpriced_calls"] == 2
    assert "$0.3000 (2 of 4 calls unpriced)" in str(store.run(run.id))

    assert "unpriced_calls" in str(store.stats())
    assert "unpriced_calls" not in str(store.stats(filter="cost_usd > 0"))
    assert "unpriced_calls" in str(store.stats(filter="model = 'small'"))


@pytest.mark.usefixtures("calls")
def test_each_table_has_its_own_figures(store):
    """Scores have values and a pass share, sources a kept share; any table can be counted."""
    (score,) = store.stats("name", None, table="scores")
    assert (score["avg_value"], score["min_value"], score["max_value"]) == (2, 1, 3)
    assert score["pass_share"] == pytest.approx(2 / 3)
    (source,) = store.stats(by=(), table="sources")
    assert source["kept_share"] == 0.5
    for table in TABLES:
        stats = store.stats(by=(), table=table)
        assert len(stats) <= 1
        assert stats.to_arrow().num_rows == len(stats)


@pytest.mark.usefixtures("calls")
def test_groups_by_fields_of_the_run_and_filters(store):
    """`run.` reaches the run; a filter narrows the rows."""
    stats = store.stats(by=("run.project", "status"), filter="model = 'small'")

    assert stats.to_dicts()[0]["run.project"] == "p"
    assert [row["count"] for row in stats] == [1]


@pytest.mark.usefixtures("calls")
def test_a_window_looks_back_so_far(store):
    """What is older is not counted; None counts everything."""
    assert len(store.stats(window=None)) == 2
    assert len(store.stats(window="1h")) == 2
    assert store.stats(window="0s").rows == []


@pytest.mark.parametrize(
    "question",
    [
        {"by": "modell"},
        {"by": "messages"},
        {"by": "run.tags"},
        {"by": ("model", "")},
        {"window": "yesterday"},
        {"window": "-1h"},
        {"filter": "nonsense"},
    ],
)
def test_wrong_questions_are_filter_errors(reader, question):
    """Fields, windows and filters are checked before anything is asked."""
    with pytest.raises(whence.FilterError):
        reader.stats(**question)


@pytest.mark.usefixtures("calls")
def test_stats_print_and_become_tables(store):
    """A readable table, and the columns in other tools."""
    stats = store.stats()

    assert str(stats).splitlines()[0].split()[:2] == ["model", "count"]
    assert "$0.3000" in str(stats)
    assert stats.to_polars()["count"].to_list() == [3, 1]
    assert stats.to_pandas()["model"].tolist() == ["big", "small"]
    assert stats.to_dict()["by"] == ["model"]
    assert "(2 groups of generations of the last 24h)" in str(stats)
    assert "<td>big</td>" in stats._repr_html_()
