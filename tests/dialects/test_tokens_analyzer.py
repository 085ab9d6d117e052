"""The analyzer says of tracked requests what the document's rules say, wherever it asks.

Source of the rules: document 2 (token provenance).
"""

from __future__ import annotations

import json
from itertools import pairwise

import msgspec
import pytest

import whence
from whence.capture.links import edges
from whence.tokens import (
    PATTERN_TYPES,
    RECOMMENDATION_TYPES,
    ProvenanceAnalyzer,
    Thresholds,
    TokenManager,
)


def track(manager: TokenManager, request_id: str, parent=None, provenance=None, **fields) -> None:
    manager.handle_signal(
        "track_usage",
        {
            "request_id": request_id,
            "provider": "openai",
            "model": "gpt-4",
            "prompt_tokens": 100,
            "completion_tokens": 50,
            **fields,
            "provenance": {
                "parent_request_id": parent,
                "agent_id": "agent_1",
                "agent_type": "provider",
                "task_type": "code_generation",
                "intent": "implement_feature",
                **(provenance or {}),
            },
        },
    )


@pytest.fixture(params=["manager", "duckdb", "memory", "buffer"])
def asked(recording, request):
    """A manager, and what an analyzer is made of: it, a reader of its home, or its buffer."""
    if request.param == "buffer":
        whence.configure(recording, enabled=False)
    manager = TokenManager(buffer_size=100)
    if request.param in {"manager", "buffer"}:
        yield manager, manager
        return
    recording.mkdir()
    from whence.query.reader import open_store  # noqa: PLC0415 - a reader of either store

    with open_store(recording, memory=request.param == "memory") as reader:
        yield manager, reader


def test_the_five_patterns_are_found(asked):
    """Each once, with the requests it is about and what it wasted."""
    manager, source = asked
    for name in ("dup_1", "dup_2"):
        track(manager, name, provenance={"input_hash": "h"}, cost=0.5)
    for parent, child in pairwise([None, "try", "try_1", "try_2", "try_3"]):
        track(manager, child, parent, provenance={"relationship_type": "retry_of"}, cost=0.1)
    for parent, child in pairwise([None, *(f"deep_{n}" for n in range(7))]):
        track(manager, child, parent, cost=0.1)
    track(manager, "dear", provenance={"task_type": "essay"}, cost=1.5)

    found = {one.type: one for one in ProvenanceAnalyzer(source).patterns()}

    assert set(found) == set(PATTERN_TYPES) - {"circular_dependency"}
    assert found["duplicate_requests"].severity == "high"
    assert found["duplicate_requests"].request_ids == ["dup_1", "dup_2"]
    assert found["duplicate_requests"].wasted_cost == pytest.approx(0.5)
    assert found["retry_storm"].severity == "high"
    assert found["retry_storm"].request_ids == ["try", "try_1", "try_2", "try_3"]
    assert found["retry_storm"].wasted_cost is None
    assert found["deep_request_chain"].severity == "medium"
    assert found["deep_request_chain"].request_ids == ["deep_6"]
    assert found["expensive_task_pattern"].severity == "medium"
    assert found["expensive_task_pattern"].request_ids == ["dear"]
    assert found["expensive_task_pattern"].affected_requests == ["dear"]
    for one in found.values():
        json.dumps(one.to_dict())


def test_an_imported_ring_is_found(recording):
    """Two processes declared what neither could refuse."""
    whence.configure(recording)
    for source, target in (("a", "b"), ("b", "a")):
        edges._later.clear()  # as in another process
        with whence.run("r") as run:
            run.link("triggered_by", target, source=source)

    (found,) = ProvenanceAnalyzer(TokenManager()).patterns()

    assert (found.type, found.severity) == ("circular_dependency", "critical")
    assert found.request_ids == ["a", "b"]


def test_the_four_recommendations_are_given(asked):
    """What saves most first."""
    manager, source = asked
    for number in range(3):
        track(manager, f"same_{number}", provenance={"input_hash": "h"}, cost=0.2, model="small")
    for parent, child in pairwise([None, *(f"deep_{n}" for n in range(7))]):
        flow = {"workflow_id": "wf", "task_type": "chain"}
        track(manager, child, parent, provenance=flow, cost=0.01, model="small")
    track(manager, "simple", provenance={"task_type": "greeting"}, cost=10)
    track(
        manager,
        "long",
        provenance={"prompt_template_id": "tpl", "task_type": "essay"},
        cost=2,
        prompt_tokens=2000,
    )

    found = ProvenanceAnalyzer(source).recommendations()

    assert [one.type for one in found] == [
        "optimize_model_selection",
        "optimize_prompt_template",
        "implement_caching",
        "flatten_workflow",
    ]
    assert set(RECOMMENDATION_TYPES) == {one.type for one in found}
    assert [one.potential_savings for one in found] == pytest.approx([7, 0.6, 0.4, 0.2])
    assert [one.priority for one in found] == ["medium", "low", "high", "medium"]


def test_costs_are_attributed_by_any_field(asked):
    """The document's five, every other field, and keys of the metadata."""
    manager, source = asked
    data = {"workflow_id": "wf", "metadata": {"region": "eu"}, "purpose": "demo"}
    track(manager, "a", provenance=data, cost=1, user_id="ann", metadata={"team_id": "blue"})
    track(manager, "b", "a", provenance={"agent_type": "planner"}, cost=2, model="small")
    track(manager, "c", cost=None, model="unpriced")
    analyzer = ProvenanceAnalyzer(source)

    def totals(by: str) -> dict:
        return {key: one["total_cost"] for key, one in analyzer.cost_attribution(by=by).items()}

    assert totals("workflow") == totals("workflow_id") == {"wf": 1}
    assert totals("agent_type") == {"provider": 1, "planner": 2}
    assert totals("task_type") == {"code_generation": 3}
    assert totals("intent") == {"implement_feature": 3}
    assert totals("depth") == {0: 1, 1: 2}
    assert totals("user_id") == {"ann": 1, "anonymous": 2}
    assert totals("project_id") == {"default": 3}
    assert totals("team_id") == {"blue": 1, "default": 2}
    assert totals("feature") == {"general": 3}
    assert totals("model") == {"gpt-4": 1, "small": 2, "unpriced": None}
    assert totals("request_id") == {"a": 1, "b": 2, "c": None}
    assert totals("region") == {"eu": 1, None: 2}
    assert totals("purpose") == {"demo": 1, None: 2}
    share = analyzer.cost_attribution(by="task_type")["code_generation"]
    assert (share["request_count"], share["unpriced"], share["total_tokens"]) == (3, 1, 450)
    assert share["avg_cost"] == share["avg_cost_per_request"] == 1.5


def test_without_a_field_the_whole_report_is_given(asked):
    """Five dimensions, the ten dearest requests, and the trend."""
    manager, source = asked
    for number in range(12):
        track(manager, f"req_{number}", provenance={"workflow_id": "wf"}, cost=number)

    report = ProvenanceAnalyzer(source).cost_attribution()

    assert set(report) == {
        "by_workflow",
        "by_agent_type",
        "by_task_type",
        "by_intent",
        "by_depth",
        "top_cost_drivers",
        "cost_trends",
    }
    assert report["by_workflow"]["wf"]["total_cost"] == 66
    drivers = report["top_cost_drivers"]
    assert [one["request_id"] for one in drivers] == [f"req_{n}" for n in range(11, 1, -1)]
    assert drivers[0] == {
        "request_id": "req_11",
        "cost": 11.0,
        "agent_type": "provider",
        "task_type": "code_generation",
        "intent": "implement_feature",
        "workflow_id": "wf",
        "depth": 0,
    }


def test_agents_are_compared(asked):
    """By type: requests, tokens, cost, tasks, errors and efficiency."""
    manager, source = asked
    track(manager, "a", provenance={"metadata": {"error": True}}, cost=1)
    track(manager, "b", cost=2)
    track(manager, "c", provenance={"agent_type": "planner", "task_type": "analysis"}, cost=4)

    found = ProvenanceAnalyzer(source).agent_performance()

    assert found["provider"] == {
        "request_count": 2,
        "total_tokens": 300,
        "total_cost": 3,
        "avg_tokens_per_request": 150,
        "avg_cost_per_request": 1.5,
        "task_distribution": {"code_generation": 2},
        "error_rate": 0.5,
        "efficiency_score": 20,
    }
    assert found["planner"]["error_rate"] == 0
    assert found["planner"]["efficiency_score"] == 13


def test_bottlenecks_are_requests_that_many_wait_for(asked):
    """More than three; of one workflow, if asked for it."""
    manager, source = asked
    track(manager, "hub", provenance={"workflow_id": "wf"}, cost=3)
    for number in range(4):
        track(manager, f"spoke_{number}", "hub", cost=1)
    for number in range(3):
        track(manager, f"other_{number}", "spoke_0", cost=1)
    analyzer = ProvenanceAnalyzer(source)

    (found,) = analyzer.workflow_bottlenecks()

    assert found == {
        "request_id": "hub",
        "blocked_requests": 4,
        "workflow_id": "wf",
        "task_type": "code_generation",
        "cost": 3,
        "tokens": 150,
    }
    assert analyzer.workflow_bottlenecks("wf") == [found]
    assert analyzer.workflow_bottlenecks("another") == []


def test_the_cost_trend_is_by_the_hour(asked):
    """Of the times that the program states, as it may track later."""
    manager, source = asked
    for hour, cost in ((1, 1), (2, 1), (3, 5), (4, 3)):
        stamp = f"2026-01-01T0{hour}:30:00Z"
        track(manager, f"req_{hour}", cost=cost, timestamp=stamp)

    found = ProvenanceAnalyzer(source).cost_trend()

    hours = [f"2026-01-01T0{hour}:00:00.000000000Z" for hour in (1, 2, 3, 4)]
    assert found == {
        "hourly": list(zip(hours, [1, 1, 5, 3], strict=True)),
        "trend": "increasing",
        "peak_hour": hours[2],
        "average_hourly_cost": 2.5,
    }


def test_duplicates_of_an_input_are_listed_newest_first(asked):
    """Without those that failed."""
    manager, source = asked
    track(manager, "a", provenance={"input_hash": "h"})
    track(manager, "b", provenance={"input_hash": "h", "metadata": {"error": True}})
    track(manager, "c", provenance={"input_hash": "h"})

    assert ProvenanceAnalyzer(source).duplicates_of("h") == ["c", "a"]
    assert ProvenanceAnalyzer(source).duplicates_of("unknown") == []


def test_thresholds_are_the_documents_unless_given(asked):
    """Any of them can be changed."""
    manager, source = asked
    track(manager, "a", cost=0.3)

    strict = ProvenanceAnalyzer(source, thresholds=Thresholds(mean_cost_usd=0.2))

    assert ProvenanceAnalyzer(source).patterns() == []
    assert [one.type for one in strict.patterns()] == ["expensive_task_pattern"]
    assert msgspec.structs.asdict(Thresholds())["mean_cost_usd"] == 1.0


def test_a_filter_says_which_requests_count(recording):
    """In the filter language, when a reader is asked."""
    manager = TokenManager()
    track(manager, "a", provenance={"workflow_id": "wf_1"}, cost=1)
    track(manager, "b", provenance={"workflow_id": "wf_2"}, cost=2)

    with whence.open(recording) as store:
        some = ProvenanceAnalyzer(store, filter='run.workflow = "wf_2"')
        assert list(some.cost_attribution("workflow")) == ["wf_2"]
        with pytest.raises(whence.FilterError):
            ProvenanceAnalyzer(store, filter="nonsense =").patterns()
    with pytest.raises(whence.StoreError):
        ProvenanceAnalyzer(manager, filter="cost_usd > 1").patterns()


def test_runs_of_no_dialect_are_analyzed_too(recording):
    """Plain model calls have tasks, costs and inputs; what nobody said is None."""
    for _ in range(3):
        with whence.run("report") as run:
            run.record_generation(name="draft", model="gpt-4", messages=["same"], cost_usd=2)

    with whence.open(recording) as store:
        analyzer = ProvenanceAnalyzer(store)
        kinds = [one.type for one in analyzer.patterns()]
        assert kinds == ["duplicate_requests", "expensive_task_pattern"]
        assert list(analyzer.cost_attribution("task_type")) == ["draft"]
        assert list(analyzer.agent_performance()) == [None]
        assert [one.type for one in analyzer.recommendations()] == ["implement_caching"]


@pytest.mark.usefixtures("recording")
def test_an_analyzer_sees_what_left_the_buffer():
    """It asks the log, so the size of the buffer does not matter."""
    manager = TokenManager(buffer_size=1)
    for number in range(30):
        track(manager, f"req_{number}", provenance={"input_hash": "h"}, cost=1)

    (found,) = [
        one for one in ProvenanceAnalyzer(manager).patterns() if one.type == "duplicate_requests"
    ]

    assert len(found.request_ids) == 30
    assert found.wasted_cost == pytest.approx(29)
