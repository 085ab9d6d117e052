"""Aggregation, factor analysis and reasoning: the figures are those of the records."""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from statistics import fmean

import pytest

import whence
from whence import _clock
from whence.capture.context import current_scope
from whence.errors import ConfigError
from whence.insights import (
    ProvenanceAggregation,
    ProvenanceQuery,
    ProvenanceService,
    get_provenance_service,
    provenance_context,
)
from whence.log.home import Home
from whence.log.writer import Writer
from whence.record import codec
from whence.record.run import RunEnded, RunStarted

HOUR_NS = 3_600_000_000_000
RECORDS = 40


def record_one(rng: random.Random) -> None:
    prov = provenance_context(
        f"worker{rng.randrange(2)}",
        "exec",
        rng.choice(("video_idea", "keyword_ranking", "mine")),
        rng.choice(("fortnite", "valorant", "", None, "\ud800")),
    )
    failing = rng.random() < 0.2
    with contextlib.suppress(ValueError), prov:
        for _ in range(rng.randrange(4)):
            prov.add_data_source("cache", "key", rng.randrange(50), rng.choice((None, 10, 90)))
        for name in rng.sample([f"factor{n:02}" for n in range(14)], 5):
            prov.add_decision_factor(name, rng.random(), rng.random(), rng.random(), "r")
        prov.add_decision_factor("unweighed", "x")
        if rng.random() < 0.8:
            prov.set_confidence(rng.random())
        if rng.random() < 0.5:
            prov.set_quality(rng.random())
        prov.set_validation(passed=rng.random() < 0.7)
        if failing:
            raise ValueError


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Record insights, and a run that is none."""
    home = tmp_path_factory.mktemp("figures") / "home"
    token = current_scope.set(None)
    whence.configure(home)
    rng = random.Random(11)  # noqa: S311 - no secret
    for _ in range(RECORDS):
        record_one(rng)
    with whence.run("other", kind="report") as run:
        run.factor("factor01", 1, normalized_value=1, weight=1)
    whence.configure(home, enabled=False)
    current_scope.reset(token)
    return home


@pytest.fixture(scope="module", params=["memory", "duckdb"])
def service(recorded, request):
    """Ask the home with each store."""
    with whence.open(recorded, memory=request.param == "memory") as reader:
        yield ProvenanceService(reader)


@pytest.fixture
def records(service):
    """Return all records."""
    return service.query(ProvenanceQuery(page_size=1000))[0]


def mean(values):
    stated = [value for value in values if value is not None]
    return pytest.approx(fmean(stated)) if stated else None


def test_the_aggregation_is_that_of_a_loop_over_the_records(service, records):
    """Counts by type, worker, category and level; means of what was stated; the pass rate."""
    found = service.aggregate(hours=24)

    assert found.total_records == len(records) == RECORDS
    assert found.records_by_type == Counter(one.insight_type for one in records)
    assert found.records_by_worker == Counter(one.worker_name for one in records)
    assert found.records_by_category == Counter(
        one.category_key for one in records if one.category_key
    )
    assert found.records_by_confidence == Counter(one.confidence_level for one in records)
    assert found.avg_confidence_score == mean(one.confidence_score for one in records)
    assert found.avg_quality_score == mean(one.quality_score for one in records)
    assert found.avg_computation_time_ms == mean(one.computation_duration_ms for one in records)
    assert found.avg_data_freshness_seconds == mean(
        one.data_freshness_avg_seconds for one in records
    )
    assert found.avg_records_analyzed == mean(one.total_records_analyzed for one in records)
    passed = [one for one in records if one.validation_passed]
    assert found.validation_pass_rate == pytest.approx(len(passed) / RECORDS)
    assert sum(hour["count"] for hour in found.hourly_counts) == RECORDS


def test_the_top_factors_are_the_ten_most_frequent(service, records):
    """By count, then by name, each with the mean of what it contributed."""
    factors = [factor for one in records for factor in one.decision_factors]
    counts = Counter(factor.factor_name for factor in factors)
    expected = sorted(counts, key=lambda name: (-counts[name], name))[:10]

    found = service.aggregate().top_decision_factors

    assert [one["name"] for one in found] == expected
    assert found[0]["name"] == "unweighed"
    for one in found:
        mine = [f.contribution for f in factors if f.factor_name == one["name"]]
        assert (one["count"], one["avg_contribution"]) == (len(mine), mean(mine))


def test_an_aggregation_may_be_of_some_records_only(service, records):
    """A query says which; its own times hold where no hours are named."""
    some = ProvenanceQuery(insight_types=["mine"], start_time=records[10].computed_at)
    expected = [
        one
        for one in records
        if one.insight_type == "mine" and one.computed_at >= records[10].computed_at
    ]

    assert service.aggregate(query=some).total_records == len(expected) > 0
    assert service.aggregate(1, ProvenanceQuery(worker_names="nobody")) == ProvenanceAggregation()


def test_the_window_of_an_aggregation_ends_now(service, monkeypatch):
    """What is older than the hours is not counted; 24 hours are the default."""
    later_ns = _clock.wall_ns() + 25 * HOUR_NS
    monkeypatch.setattr(_clock, "wall_ns", lambda: later_ns)

    assert service.aggregate().total_records == 0
    assert service.aggregate(hours=24).validation_pass_rate is None
    assert service.aggregate(hours=26).total_records == RECORDS


def test_figures_are_attributes_and_keys(service):
    """Either way of reading them gives the same, and JSON holds them."""
    found = service.aggregate()

    assert found["total_records"] == found.total_records == dict(found)["total_records"]
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    with pytest.raises(KeyError):
        found["no such figure"]


def test_hours_without_records_are_left_out(home):
    """Each hour is named in UTC, however far apart the records are."""
    start_ns = _clock.parse_ns("2026-03-01T10:59:59.999999999Z")
    times = [start_ns, start_ns + 1, start_ns + 2, start_ns + 1000 * HOUR_NS]
    writer = Writer(Home(home))
    for number, time_ns in enumerate(times):
        run, ts = f"{number:032x}", _clock.format_ns(time_ns)
        for record in (
            RunStarted(ts=ts, run=run, name="w", run_kind="insight"),
            RunEnded(ts=ts, run=run, status="complete"),
        ):
            writer.append(codec.encode_json(record), time_ns, run)
    writer.close()

    with whence.open(home) as reader:
        asked = ProvenanceQuery(start_time="2026-01-01")
        found = ProvenanceService(reader).aggregate(query=asked)

    assert found.hourly_counts == [
        {"hour": "2026-03-01 10:00", "count": 1},
        {"hour": "2026-03-01 11:00", "count": 2},
        {"hour": "2026-04-12 02:00", "count": 1},
    ]


def test_a_factor_is_analyzed_over_all_runs(service, records):
    """How often, how much on average, for which types and categories, and the latest twenty."""
    mine = [
        (one, factor)
        for one in records
        for factor in one.decision_factors
        if factor.factor_name == "factor01"
    ]

    found = service.factor("factor01")

    assert (found["factor_name"], found["occurrences"]) == ("factor01", len(mine) + 1)
    assert found["avg_contribution"] == mean([1, *(factor.contribution for _, factor in mine)])
    assert found["avg_weight"] == mean([1, *(factor.weight for _, factor in mine)])
    types = Counter(one.insight_type for one, _ in mine)
    assert found["by_insight_type"] == types | Counter(unknown=1)
    categories = Counter(one.category_key or "unknown" for one, _ in mine)
    assert found["by_category"] == categories + Counter(unknown=1)
    samples = found["recent_samples"]
    assert len(samples) == min(20, len(mine) + 1)
    assert [one["computed_at"] for one in samples] == sorted(
        (one["computed_at"] for one in samples), reverse=True
    )
    assert samples[1].keys() == {
        "provenance_id",
        "insight_type",
        "category",
        "raw_value",
        "normalized",
        "weight",
        "contribution",
        "computed_at",
    }
    assert samples[1]["provenance_id"] in {one.provenance_id for one, _ in mine}


def test_the_window_of_a_factor_is_seven_days(service, monkeypatch):
    """A factor that is older, or unknown, has no occurrences and no means."""
    later_ns = _clock.wall_ns() + 8 * 24 * HOUR_NS
    monkeypatch.setattr(_clock, "wall_ns", lambda: later_ns)

    assert service.factor("factor01") == {
        "factor_name": "factor01",
        "occurrences": 0,
        "avg_contribution": None,
        "avg_weight": None,
        "by_insight_type": {},
        "by_category": {},
        "recent_samples": [],
    }
    assert service.factor("factor01", days=9)["occurrences"] > 0


@pytest.mark.parametrize("length", [0, -1, float("nan"), float("inf"), "24", None, 10**400, True])
def test_a_window_is_a_length_of_time(service, length):
    """Anything else is refused with its name."""
    with pytest.raises(ConfigError, match="days is"):
        service.factor("f", days=length)
    if length is not None:
        with pytest.raises(ConfigError, match="hours is"):
            service.aggregate(hours=length)


@pytest.mark.usefixtures("recording")
def test_the_reasoning_behind_an_insight():
    """Confidence, lineage, factors with their share in percent, steps, and validation."""
    with provenance_context("worker", "exec", "video_idea", "fortnite") as prov:
        prov.add_data_source("cache", "key", 35, 3600, 0.9, ["v1"])
        prov.start_step("filter", "Filter", "threshold").end_step(35, 7)
        prov.add_decision_factor("velocity", 1500, 0.8, 0.3, "fast")
        prov.add_decision_factor("novelty", 1, 0.123, 0.5, "rare")
        prov.add_decision_factor("mood", "good")
        prov.set_insight("idea_1", "Make it").set_confidence(0.85)
        prov.set_validation(passed=False, errors=["too long"])

    found = get_provenance_service().reasoning("idea_1")

    assert json.loads(json.dumps(found)) == found
    assert found["provenance_id"] == prov.provenance_id
    assert (found["insight_type"], found["insight_summary"]) == ("video_idea", "Make it")
    assert found["confidence"] == {"score": 0.85, "level": "high"}
    assert found["data_lineage"] == {
        "sources": [
            {
                "source_type": "cache",
                "source_key": "key",
                "records_used": 35,
                "freshness_seconds": 3600,
                "quality_score": 0.9,
                "sample_ids": ["v1"],
            }
        ],
        "total_records": 35,
        "avg_freshness_seconds": 3600,
    }
    factors = found["decision_factors"]
    assert factors["primary"] == "velocity"
    assert [one["factor_name"] for one in factors["all_factors"]] == ["velocity", "novelty", "mood"]
    assert factors["factor_breakdown"] == {
        "velocity": {"contribution_pct": 24.0, "reasoning": "fast"},
        "novelty": {"contribution_pct": 6.2, "reasoning": "rare"},
        "mood": {"contribution_pct": None, "reasoning": ""},
    }
    (step,) = found["reasoning_chain"]
    assert (step["step"], step["operation"], step["algorithm"]) == (1, "filter", "threshold")
    assert (step["input_count"], step["output_count"]) == (35, 7)
    assert found["validation"] == {"passed": False, "errors": ["too long"]}
