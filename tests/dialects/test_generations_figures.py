"""Figures over many traces: statistics, trends, comparisons of prompts, and data for a judge."""

from __future__ import annotations

import json
import random

import pytest
from generationtraces import answer, problem
from hypothesis import given
from hypothesis import strategies as st

import whence
from whence import _clock
from whence.dialects.generations import significance, training
from whence.dialects.generations.traces import ProblemGenerationTrace
from whence.errors import ConfigError, FilterError, NotFoundError
from whence.generations import (
    approve,
    compare_prompts,
    export_training,
    record_artifact,
    reject,
    request_review,
    token_trend,
    trace_stats,
)
from whence.log.home import Home
from whence.log.writer import Writer
from whence.record import codec, usage
from whence.record.generation import Generation

DAY_NS = 86_400_000_000_000
NOW_NS = _clock.parse_ns("2026-03-31T12:00:00Z")


@pytest.fixture
def store(recording):
    """A reader of the home that is recorded into."""
    recording.mkdir()
    with whence.open(recording) as reader:
        yield reader


def write_calls(home, calls):
    """Write model calls that were made some days ago: `(days, tokens, cost)` each."""
    writer = Writer(Home(home))
    for number, (days, tokens, cost) in enumerate(calls):
        ts_ns = NOW_NS - round(days * DAY_NS)
        record = Generation(
            ts=_clock.format_ns(ts_ns),
            run="1" * 32,
            id=f"{number + 1:016x}",
            model="m",
            usage=None
            if tokens is None
            else usage.from_stated({"prompt_tokens": tokens, "completion_tokens": 0}),
            cost_usd=cost,
        )
        writer.append(codec.encode_json(record), ts_ns, record.run)
    writer.close()


@pytest.fixture
def now(monkeypatch):
    """It is noon on the last of March."""
    monkeypatch.setattr(_clock, "wall_ns", lambda: NOW_NS)


def test_statistics_are_by_model_and_prompt_version(store):
    """Means are over the artifacts that state a figure; both forms of a trace count."""
    record_artifact("a", problem(answer(reasoning_tokens=10), answer(reasoning_tokens=30)))
    record_artifact("b", problem(answer()))
    record_artifact("c", answer(reasoning_tokens=7), prompt_version="1.0")
    silent = answer(prompt_tokens=None, completion_tokens=None, total_tokens=None)
    record_artifact("d", silent, prompt_version="1.0", quality_status="pending_review")

    found = trace_stats(store)

    two, one = sorted(found.groups, key=lambda group: group.prompt_version, reverse=True)
    assert (two.model, two.artifacts, two.sum_tokens, two.avg_tokens) == (
        "gpt-5-nano",
        2,
        675,
        337.5,
    )
    assert (two.sum_reasoning_tokens, two.avg_reasoning_tokens) == (40, 40)
    assert (one.prompt_version, one.artifacts, one.sum_tokens, one.avg_tokens) == (
        "1.0",
        2,
        225,
        225,
    )
    assert found.by_status == {"approved": 3, "pending_review": 1}
    assert "gpt-5-nano" in found.to_text()


def test_statistics_count_reviews(store):
    """An artifact counts where it stands now, and only once."""
    for name in "abc":
        record_artifact(name, problem())
    reject(store, "a")
    request_review(store, "b")
    approve(store, "b")
    reject(store, "a", issues=["still"])

    assert trace_stats(store).by_status == {"approved": 2, "rejected": 1}


@pytest.mark.parametrize("window", [None, "1h"])
def test_both_stores_give_the_same_statistics(store, window):
    """Whether the store adds up in SQL or its rows are added up here."""
    rng = random.Random(7)  # noqa: S311 - no secret
    for number in range(60):
        counts = [rng.choice((None, 0, 3, 1000)) for _ in range(3)]
        said = answer(
            model=rng.choice(("a", "b")),
            prompt_tokens=counts[0],
            completion_tokens=counts[1],
            total_tokens=counts[0],
            reasoning_tokens=counts[2],
            duration_ms=rng.choice((None, 1.5, 1e6)),
        )
        made = problem(said, said, version=rng.choice(("1", "2"))) if number % 2 else said
        record_artifact(f"p{number}", made)
    with whence.run("of the core") as run:
        run.output("other", generation_trace={"model": "not ours"})

    with whence.open(store.home.root, memory=True) as other:
        expected = trace_stats(other, window)
    found = trace_stats(store, window)

    assert found.by_status == expected.by_status
    for group, same in zip(found.groups, expected.groups, strict=True):
        for name in group.__struct_fields__:
            value = getattr(same, name)
            shown = pytest.approx(value) if isinstance(value, float) else value
            assert getattr(group, name) == shown, name


def test_no_traces_have_no_statistics(store):
    """Nothing is nothing, and no error."""
    found = trace_stats(store)

    assert (found.artifacts, found.groups, found.by_status) == (0, [], {})


@pytest.mark.usefixtures("now")
def test_a_trend_has_a_point_a_day_from_the_first_call_on(store, recording):
    """Days in between without a call took nothing; the day at hand is not over."""
    write_calls(recording, [(3, 100, 0.5), (3, 50, None), (1, 30, 0.1), (0.1, 7, None)])

    found = token_trend(store, "30d")

    assert [point.begin for point in found.points] == [
        "2026-03-28",
        "2026-03-29",
        "2026-03-30",
        "2026-03-31",
    ]
    assert [point.tokens for point in found.points] == [150, 0, 30, 7]
    assert [point.tokens_per_call for point in found.points] == [75, None, 30, 7]
    assert [point.cost_usd for point in found.points] == [0.5, None, 0.1, None]
    assert [point.is_over for point in found.points] == [True, True, True, False]
    assert "2026-03-31 (so far)" in found.to_text()


@pytest.mark.usefixtures("now")
def test_a_trend_says_how_many_calls_are_in_no_cost(store, recording):
    """In the table where there is a sum that lacks them, and in JSON for every point."""
    write_calls(recording, [(3, 100, 0.5), (3, 50, None), (1, 30, 0.1), (0.1, 7, None)])

    found = token_trend(store, "30d")

    assert [said["unpriced_calls"] for said in found.to_dict()["points"]] == [1, 0, 0, 1]
    costs = [line.partition("$")[2] for line in found.to_text().splitlines()[1:]]
    assert ["unpriced" in cost for cost in costs] == [True, False, False, False]
    assert costs[0].endswith("(1 of 2 calls unpriced)")


@pytest.mark.usefixtures("now")
def test_unknown_tokens_of_a_day_are_unknown(store, recording):
    """Calls that state nothing make no zero."""
    write_calls(recording, [(1, None, None)])

    point = token_trend(store, "3d").points[0]
    assert (point.calls, point.tokens, point.tokens_per_call) == (1, None, None)


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize(("daily", "direction"), [(40, "rising"), (-40, "falling"), (0, "unclear")])
def test_a_slope_is_told_with_its_certainty(store, recording, daily, direction):
    """Twenty days that rise, with noise, rise significantly; the slope is about what it is."""
    rng = random.Random(3)  # noqa: S311 - no secret
    calls = [
        (days, 2000 + daily * (20 - days) + rng.randrange(-50, 50), 0.01)
        for days in range(20, 0, -1)
    ]
    write_calls(recording, calls)

    slopes = {slope.figure: slope for slope in token_trend(store, "30d", test=True).slopes}

    tokens = slopes["tokens"]
    assert tokens.direction == direction
    assert tokens.estimate.low <= tokens.estimate.value <= tokens.estimate.high
    assert tokens.estimate.low <= daily <= tokens.estimate.high
    assert tokens.p_corrected >= tokens.estimate.p_value
    assert slopes["cost_usd"].direction == "unclear"
    assert slopes["cost_usd"].estimate.value == 0


@pytest.mark.usefixtures("now")
def test_the_day_at_hand_has_no_say_in_the_slope(store, recording):
    """It is not over: a morning is no fall."""
    write_calls(
        recording, [*((days, 1000 + days % 3, None) for days in range(10, 0, -1)), (0, 1, None)]
    )

    with_it = token_trend(store, "30d", test=True).slopes
    write_calls(recording, [(0, 10**6, None)])
    assert token_trend(store, "30d", test=True).slopes == with_it


@pytest.mark.usefixtures("now")
@pytest.mark.parametrize(
    ("window", "bucket", "first"),
    [("2d", "hour", "2026-03-30 06h"), ("4w", "week", "2026-03-30")],
)
def test_hours_and_weeks_are_buckets_too(store, recording, window, bucket, first):
    """In UTC, weeks from Monday on."""
    write_calls(recording, [(1.25, 100, None)])

    assert token_trend(store, window, bucket=bucket).points[0].begin == first


@pytest.mark.parametrize(
    ("window", "bucket"), [("1y", "day"), ("30d", "minute"), ("52w", "hour"), ("x", "day")]
)
def test_a_window_that_cannot_be_is_refused(store, window, bucket):
    """Also one of too many buckets, which would ask the store as often."""
    with pytest.raises(FilterError):
        token_trend(store, window, bucket=bucket)


def fill_arms(store, approved, rng):
    """Record forty problems of each of two versions, so many of them approved."""
    for version, good in approved.items():
        for number in range(40):
            name = f"{version}-{number}"
            tokens = 1000 + rng.randrange(-50, 50) + (300 if version == "2.0" else 0)
            said = answer(total_tokens=tokens, prompt_tokens=tokens - 75)
            record_artifact(name, problem(said, version=version))
            if number < good:
                approve(store, name)
            else:
                reject(store, name)


def test_prompts_are_compared_with_a_test_and_its_interval(store):
    """A difference that is there is significant, one that is not is not."""
    fill_arms(store, {"1.0": 20, "2.0": 36}, random.Random(5))  # noqa: S311 - no secret

    found = compare_prompts(store, "1.0", "2.0")

    rows = {row.figure: row for row in found.differences}
    share = rows["approved_share"]
    assert (share.a, share.b, share.of_a, share.of_b) == (0.5, 0.9, 40, 40)
    assert share.estimate.value == pytest.approx(0.4)
    assert share.estimate.low < 0.4 < share.estimate.high
    assert share.is_significant
    tokens = rows["tokens"]
    assert tokens.estimate.low < 300 < tokens.estimate.high
    assert tokens.is_significant
    assert not rows["duration_ms"].is_significant
    assert rows["duration_ms"].p_corrected is None
    assert "significant" in found.to_text()
    assert json.loads(json.dumps(found.to_dict()))["counted"] == "artifacts"


def test_what_waits_for_review_is_neither_good_nor_bad(store):
    """It is counted, and left out of the share."""
    record_artifact("a", problem(version="1"))
    record_artifact("b", problem(version="2", quality_status="pending_review"))

    row = compare_prompts(store, "1", "2").differences[0]
    assert (row.of_a, row.of_b, row.b, row.p_corrected) == (1, 0, None, None)


def test_scores_of_the_artifacts_are_compared(store):
    """The last score of that name counts."""
    with whence.run("judge") as run:
        for version, level in (("1", 1.0), ("2", 2.0)):
            for number in range(10):
                name = f"{version}-{number}"
                record_artifact(name, problem(version=version))
                run.score("grammar", 0, target=name)
                run.score("grammar", level + number / 100, target=name)

    rows = compare_prompts(store, "1", "2", scores=["grammar"]).differences
    assert rows[-1].figure == "score:grammar"
    assert rows[-1].estimate.value == pytest.approx(1.0)
    assert rows[-1].is_significant


def test_model_calls_are_compared_where_there_are_no_artifacts(store):
    """Every run that names its prompt version can be compared."""
    with whence.run("core") as run:
        for version, tokens in (("a", 100), ("b", 200)):
            for number in range(5):
                run.record_generation(
                    prompt_version=version,
                    usage={"prompt_tokens": tokens + number, "completion_tokens": 1},
                    cost_usd=tokens / 1000 + number / 1e4,
                )

    found = compare_prompts(store, "a", "b")
    rows = {row.figure: row for row in found.differences}
    assert (found.counted, found.artifacts_a) == ("generations", 5)
    assert rows["tokens"].estimate.value == pytest.approx(100)
    assert rows["cost_usd"].is_significant
    assert "reasoning_tokens" not in rows


def test_a_version_that_nothing_has_is_said_to_have_nothing(store):
    """Rather than compared with nothing."""
    record_artifact("a", problem(version="1"))

    with pytest.raises(NotFoundError, match="'9'"):
        compare_prompts(store, "1", "9")


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_shares_of_any_size_have_an_interval_around_the_difference(good_a, bad_a, good_b, bad_b):
    """And swapping the groups turns the difference round."""
    of_a, of_b = good_a + bad_a, good_b + bad_b
    found = significance.difference_of_shares(good_a, of_a, good_b, of_b)
    other = significance.difference_of_shares(good_b, of_b, good_a, of_a)

    if not of_a or not of_b:
        assert found.value is None
        return
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9
    assert found.low >= -1
    assert found.high <= 1
    assert 0 <= found.p_value <= 1
    assert other.value == pytest.approx(-found.value)
    assert other.p_value == pytest.approx(found.p_value)


VALUES = st.lists(st.floats(-1e6, 1e6), max_size=8)


@given(VALUES, VALUES)
def test_means_of_any_numbers_never_divide_by_nothing(a, b):
    """Few or equal numbers have a difference and no test."""
    found = significance.difference_of_means(a, b)

    assert (found.value is None) == (not a or not b)
    if found.p_value is not None:
        assert 0 <= found.p_value <= 1


def test_welchs_test_is_the_one_of_the_textbooks():
    """As SciPy gives it for the same numbers, interval and p-value."""
    scipy = pytest.importorskip("scipy.stats")
    a, b = [19.8, 20.4, 19.6, 17.8, 18.5, 18.9], [28.2, 26.6, 20.1, 23.3, 25.2, 22.1, 17.7]

    found = significance.difference_of_means(a, b)

    other = scipy.ttest_ind(b, a, equal_var=False)
    interval = other.confidence_interval(0.95)
    assert found.p_value == pytest.approx(other.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(
    ("a", "b", "is_tested"),
    [
        ([1.0, 1.0], [2.0, 2.0], False),
        ([0.1 + 0.2, 0.3], [0.3, 0.3], False),
        ([1.0, 1.0], [1.0, 2.0], True),
        ([1.0], [1.0, 2.0], False),
    ],
)
def test_numbers_that_do_not_differ_are_not_tested(a, b, is_tested):
    """Nor those that differ by the error of the arithmetic alone."""
    assert (significance.difference_of_means(a, b).p_value is not None) == is_tested


def test_holms_correction_is_the_published_one():
    """The worked example of Holm 1979 in every textbook; what was not tested stays so."""
    assert significance.corrected([0.01, None, 0.04, 0.03]) == pytest.approx(
        [0.03, None, 0.06, 0.06]
    )


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def judged(store):
    """Ten problems with reviews, one that waits, one that nobody looked at."""
    for number in range(12):
        said = answer(
            content=f"Phrase {number}.", prompt_text="Écris.", reasoning_content=f"Hm {number}."
        )
        record_artifact(f"p{number}", problem(said, said))
    for number in range(10):
        if number % 2:
            reject(store, f"p{number}", issues=["verb"], note="Wrong.", by="anna")
        else:
            approve(store, f"p{number}", by="anna")
    request_review(store, "p10")
    return store


def test_what_people_judged_becomes_training_data(judged, tmp_path):
    """Each line has what was asked, thought and answered, and the verdict; the rest is counted."""
    path = tmp_path / "judge.jsonl"

    report = export_training(judged, path, holdout=0.3)

    examples = {line["id"]: line for line in lines(path)}
    assert (report.examples, report.good, report.bad, report.unjudged) == (10, 5, 5, 2)
    assert report.train + report.test == len(examples) == 10
    bad = examples["p1"]
    assert (bad["label"], bad["issues"], bad["notes"], bad["judged_by"]) == (
        "bad",
        ["verb"],
        ["Wrong."],
        "anna",
    )
    assert bad["units"][0] == {
        "prompt": "Écris.",
        "reasoning": "Hm 1.",
        "response": "Phrase 1.",
        "error_type": None,
    }
    assert bad["units"][1]["error_type"] == "wrong_auxiliary"
    assert examples["p0"]["label"] == "good"


def test_a_chat_model_is_taught_by_conversations(judged, tmp_path):
    """The last message is the verdict as JSON, the one before it everything to judge by."""
    path = tmp_path / "judge.jsonl"
    export_training(judged, path, form="chat")

    bad = next(line for line in lines(path) if line["metadata"]["id"] == "p1")
    assert [message["role"] for message in bad["messages"]] == ["system", "user", "assistant"]
    assert "## reasoning\nHm 1." in bad["messages"][1]["content"]
    assert json.loads(bad["messages"][2]["content"]) == {"verdict": "bad", "issues": ["verb"]}


def test_recorded_statuses_are_labels_only_when_asked_for(judged, tmp_path):
    """What a pipeline says of its own work is no judgement."""
    report = export_training(judged, tmp_path / "x", recorded_labels=True)

    assert (report.examples, report.good, report.unjudged) == (11, 6, 1)


def test_a_filter_chooses_the_artifacts(judged, tmp_path):
    """In the filter language of outputs; a wrong one leaves an older file in place."""
    path = tmp_path / "x"
    report = export_training(judged, path, filter='output_id = "p1"')

    with pytest.raises(FilterError):
        export_training(judged, path, filter="nonsense = 1")
    with pytest.raises(ConfigError):
        export_training(judged, path, form="xml")
    assert (report.examples, len(lines(path))) == (1, 1)
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["x"]


@given(st.text(max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_an_example_that_is_held_out_stays_so_when_more_are(name, share, larger):
    """The split is a matter of the id alone."""
    small, large = sorted((share, larger))

    assert not training.is_held_out(name, small) or training.is_held_out(name, large)
    assert not training.is_held_out(name, 0)
    assert training.is_held_out(name, 1)


def test_about_the_asked_share_is_held_out():
    """Over many ids."""
    held_out = sum(training.is_held_out(f"problem-{n}", 0.2) for n in range(5000))

    assert 900 < held_out < 1100


def test_artifacts_without_an_answer_teach_nothing(store, tmp_path):
    """They are counted apart."""
    record_artifact("empty", ProblemGenerationTrace("m", "1", 0))
    approve(store, "empty")

    report = export_training(store, tmp_path / "x")
    assert (report.examples, report.without_answer) == (0, 1)
