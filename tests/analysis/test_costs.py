"""Costs add up however they are grouped, and what is unknown stays unknown."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whence.analysis import agents, costs, recommend
from whence.analysis.facts import HOUR_NS, Call
from whence.analysis.memoryfacts import MemoryFacts
from whence.analysis.patterns import Thresholds


def test_costs_are_grouped_by_any_field(facts):
    """With tokens, counts, averages, and how many calls nobody priced; the dearest first."""
    calls = [
        {"task_type": "a", "cost_usd": 0.2, "tokens": 10},
        {"task_type": "a", "cost_usd": None, "tokens": 5},
        {"task_type": "b", "cost_usd": 3.0},
        {},
    ]

    dear, cheap, unknown = costs.by(facts(calls), "task_type")

    assert (dear.key, dear.total_cost_usd, dear.total_tokens) == ("b", 3.0, None)
    assert (cheap.request_count, cheap.unpriced, cheap.mean_cost_usd) == (2, 1, 0.2)
    assert (cheap.total_tokens, cheap.mean_tokens) == (15, 7)
    assert (unknown.key, unknown.total_cost_usd) == (None, None)


@pytest.mark.parametrize(
    ("field", "name"),
    [("user", "anonymous"), ("project", "default"), ("team_id", "default"), ("feature", "general")],
)
def test_what_names_nobody_is_charged_to_the_fallback(facts, field, name):
    """Together with those who go by that name."""
    (share,) = costs.by(facts([{"cost_usd": 1}, {field: name, "cost_usd": 2}]), field)

    assert (share.key, share.total_cost_usd, share.request_count) == (name, 3, 2)


@given(
    st.lists(st.tuples(st.sampled_from("ab") | st.none(), st.floats(0, 5) | st.none()), min_size=1),
    st.sampled_from(["task_type", "user", "workflow"]),
)
def test_shares_add_up_to_the_whole(given_calls, field):
    """No cent is lost and none is made, by whatever field it is attributed."""
    calls = [
        Call(id=str(n), run="", request=str(n), ts_ns=n, cost_usd=cost, **{field: value})
        for n, (value, cost) in enumerate(given_calls)
    ]

    shares = costs.by(MemoryFacts(calls, []), field)

    known = [cost for _, cost in given_calls if cost is not None]
    assert sum(share.request_count for share in shares) == len(calls)
    assert sum(share.priced for share in shares) == len(known)
    total = math.fsum(share.total_cost_usd or 0 for share in shares)
    assert total == pytest.approx(math.fsum(known), abs=1e-9)


def test_the_ten_dearest_calls_drive_the_cost(facts):
    """The dearest first; calls without a cost are not among them."""
    calls = [{"cost_usd": n} for n in range(12)] + [{}]

    found = costs.top_drivers(facts(calls))

    assert [call.cost_usd for call in found] == list(range(11, 1, -1))


@pytest.mark.parametrize(
    ("hours", "direction"),
    [
        ([], "stable"),
        ([5], "stable"),
        ([1, 1.2], "stable"),
        ([1, 1.21], "increasing"),
        ([1, 0.8], "stable"),
        ([1, 0.79], "decreasing"),
        ([1, 1, 5], "increasing"),
        ([0, 0], "stable"),
    ],
)
def test_the_later_half_is_compared_with_the_earlier(facts, hours, direction):
    """More than a fifth up or down is a trend; of an odd number the later half is longer."""
    calls = [{"cost_usd": cost, "ts_ns": n * HOUR_NS} for n, cost in enumerate(hours)]

    found = costs.trend(facts(calls))

    assert found.direction == direction
    assert [cost for _, cost in found.hourly] == hours


def test_a_trend_knows_its_peak_and_its_mean(facts):
    """Over the hours in which something was spent; an hour nobody priced is none of them."""
    at = [(0, 1.0), (0, 2.0), (5, 4.0), (9, None)]
    calls = [{"cost_usd": cost, "ts_ns": hour * HOUR_NS + 60} for hour, cost in at]

    found = costs.trend(facts(calls))

    assert found.hourly == [(0, 3.0), (5 * HOUR_NS, 4.0)]
    assert found.peak_hour_ns == 5 * HOUR_NS
    assert found.mean_hourly_cost_usd == 3.5


def test_a_request_that_four_wait_for_is_a_bottleneck(facts):
    """Three are not enough; edges of kinds that relate no requests do not count."""
    edges = [("a", x, "triggered_by") for x in "1234"] + [("b", x, "part_of") for x in "123"]
    edges += [("b", x, "used") for x in "456"]

    (found,) = costs.bottlenecks(facts([{"request": "a", "cost_usd": 2}], edges))

    assert (found.request, found.waiting, found.call.cost_usd) == ("a", 4, 2)


def test_a_bottleneck_may_be_known_by_links_alone(facts):
    """Then nothing is said of its call."""
    (found,) = costs.bottlenecks(facts(edges=[("a", x, "triggered_by") for x in "1234"]))

    assert found.call is None


def test_agents_are_judged_by_type(facts):
    """Requests, tokens, cost, tasks, and the share that failed."""
    calls = [
        {"agent_type": "a", "task_type": "analysis", "tokens": 100, "cost_usd": 1, "failed": True},
        {"agent_type": "a", "task_type": "analysis", "tokens": 101, "cost_usd": 2},
        {"agent_type": "a", "task_type": "code_generation", "tokens": 100},
        {"agent_type": "b"},
    ]

    first, second = agents.performance(facts(calls))

    assert (first.agent_type, first.request_count, first.total_tokens) == ("a", 3, 301)
    assert (first.mean_tokens, first.mean_cost_usd) == (100, 1.5)
    assert first.task_distribution == {"analysis": 2, "code_generation": 1}
    assert first.error_rate == pytest.approx(1 / 3)
    assert first.efficiency_score == 23  # 1000 / (100 / (7 / 3)) = 23.3
    assert (second.error_rate, second.efficiency_score, second.total_cost_usd) == (0.0, None, None)


@pytest.mark.parametrize(
    ("tokens", "task", "score"),
    [
        (1000, "simple_query", 1),
        (400, "simple_query", 3),  # 2.5, halves up
        (100, "analysis", 20),
        (100, "code_generation", 30),
        (100, "complex_reasoning", 40),
        (100, "anything else", 20),
        (100, None, 20),
        (5, "analysis", 100),
        (0, "analysis", 100),
        (None, "analysis", None),
    ],
)
def test_efficiency_is_tokens_for_complexity(tokens, task, score):
    """The rule and the weights are the document's; a hundred is the most."""
    assert agents.efficiency(tokens, {task: 1}) == score


def test_three_equal_inputs_are_worth_a_cache(facts):
    """Two are a pattern only; two thirds of the cost would be saved."""
    calls = [{"input_hash": "x", "cost_usd": 0.3}] * 3 + [{"input_hash": "y", "cost_usd": 9}] * 2

    (found,) = recommend.caching(facts(calls))

    assert (found.type, found.priority) == ("implement_caching", "high")
    assert found.potential_savings == pytest.approx(0.6)
    assert found.affected == {"input_hash": "x", "occurrence_count": 3}


@pytest.mark.parametrize(
    ("tokens", "model", "advised"),
    [
        (499, "gpt-4", True),
        (500, "gpt-4", False),
        (499, "gpt-4-32k", True),
        (499, "claude-3-opus", True),
        (499, "gpt-3.5-turbo", False),
        (None, "gpt-4", False),
    ],
)
def test_simple_tasks_need_no_expensive_model(facts, tokens, model, advised):
    """Below 500 tokens on average a task is simple; 70 percent would be saved."""
    found = recommend.model_selection(
        facts([{"task_type": "t", "model": model, "tokens": tokens, "cost_usd": 2}])
    )

    assert [one.type for one in found] == ["optimize_model_selection"] * advised
    for one in found:
        assert one.potential_savings == pytest.approx(1.4)
        assert one.affected["current_models"] == {model: 1}


def test_deep_workflows_are_to_be_flattened(facts):
    """Deeper than five; what it saves is the document's constant."""
    calls = [{"workflow": "w", "depth": d} for d in range(7)] + [{"workflow": "v", "depth": 5}]

    (found,) = recommend.flattening(facts([*calls, {"depth": 9}]))

    assert (found.type, found.priority) == ("flatten_workflow", "medium")
    assert found.potential_savings == 0.2
    assert (found.affected["workflow_id"], found.affected["max_depth"]) == ("w", 6)


def test_long_prompt_templates_are_to_be_shortened(facts):
    """Above a thousand tokens on average; 30 percent would be saved."""
    calls = [
        {"prompt": "long", "tokens": 1001, "cost_usd": 1},
        {"prompt": "short", "tokens": 1000, "cost_usd": 1},
        {"tokens": 5000, "cost_usd": 1},
    ]

    (found,) = recommend.prompt_templates(facts(calls))

    assert (found.type, found.priority) == ("optimize_prompt_template", "low")
    assert found.potential_savings == pytest.approx(0.3)
    assert found.affected["template_id"] == "long"


def test_what_saves_most_comes_first(facts):
    """Over all kinds of advice, unknown sums last."""
    calls = [{"input_hash": "x", "cost_usd": 0.1}] * 3
    calls += [{"workflow": "w", "depth": 6}]
    calls += [{"prompt": "p", "tokens": 2000, "cost_usd": 10}]
    calls += [{"input_hash": "y"}] * 3

    found = recommend.find_all(facts(calls))

    assert [one.type for one in found] == [
        "optimize_prompt_template",
        "flatten_workflow",
        "implement_caching",
        "implement_caching",
    ]
    assert found[-1].potential_savings is None


def test_savings_follow_the_thresholds(facts):
    """Shares and limits of the advice may be changed as those of the patterns."""
    calls = [{"prompt": "p", "tokens": 50, "cost_usd": 10}]

    (found,) = recommend.find_all(facts(calls), Thresholds(prompt_tokens=40, prompt_share=0.5))

    assert found.potential_savings == 5
