"""What is said in a provenance context is in the log as core records, whatever happens there."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
import threading
from enum import Enum

import pytest

import whence
from whence.dialects.shared.home import configured_home
from whence.insights import (
    ConfidenceLevel,
    InsightType,
    ProvenanceService,
    get_provenance_service,
    provenance_context,
)

pytestmark = pytest.mark.usefixtures("recording")


def record_of(prov):
    return get_provenance_service().get(prov.provenance_id)


def tree_of(prov):
    with whence.open(configured_home()) as store:
        return store.run(prov.provenance_id)


def test_a_record_is_one_run_of_core_records():
    """Each fact stands in the core field that is made for it, so that every question works."""
    with provenance_context("worker", "exec", InsightType.VIDEO_IDEA, "fortnite") as prov:
        prov.add_data_source("cache", "key", 35, 3600, 0.9, ["a", "b"])
        prov.start_step("rank", "Rank them", "sort").end_step(35, 7, {"by": "views"})
        prov.add_decision_factor("velocity", 1500, 0.8, 0.3, "fast")
        prov.set_insight("idea_1", "Make it", {"hook": "x"}).set_confidence(0.85, "two signals")
        prov.set_quality(0.9).set_validation(passed=False, errors=["too long"])
        prov.add_tags("a", ["b", "c"]).set_metadata({"region": "eu"}, seed=7)
        prov.set_algorithm_version("2.1")

    tree = tree_of(prov)
    assert (tree.run.name, tree.run.kind, tree.run.workflow) == ("worker", "insight", "exec")
    assert tree.run.attributes == {
        "dialect": "insights",
        "insight_type": "video_idea",
        "category_key": "fortnite",
        "algorithm_version": "2.1",
    }
    assert tree.run.tags == ["a", "b", "c"]
    (source,) = tree.sources
    assert (source.records_used, source.freshness_s, source.quality) == (35, 3600, 0.9)
    (span,) = tree.spans
    assert (span.row.kind, span.row.algorithm, span.row.input_count) == ("step", "sort", 35)
    (factor,) = tree.factors
    assert factor.contribution == pytest.approx(0.24)
    (output,) = tree.outputs
    assert (output.output_id, output.kind, output.summary) == ("idea_1", "insight", "Make it")
    assert output.validation == {"passed": False, "errors": ["too long"]}
    assert output.attributes["metadata"] == {"region": "eu", "seed": 7}
    scores = {score.name: score for score in tree.scores}
    assert scores["quality"].value == 0.9
    assert scores["validation"].passed is False
    assert {score.target for score in tree.scores} == {output.id}


def test_the_chain_of_reasoning_is_found_from_the_insight():
    """`why` of the insight's own id tells its factors and sources."""
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.add_data_source("cache", "key", 1, 2)
        prov.add_decision_factor("velocity", 1500, 0.8, 0.3, "fast")
        prov.set_insight("idea_1", "Make it")

    with whence.open(configured_home()) as store:
        why = store.why("idea_1")

    assert [factor.name for factor in why.factors] == ["velocity"]
    assert [source.source_key for source in why.sources.kept] == ["key"]


@pytest.mark.parametrize(
    ("score", "level"),
    [
        (1.0, "very_high"),
        (0.9, "very_high"),
        (math.nextafter(0.9, 0), "high"),
        (0.75, "high"),
        (math.nextafter(0.75, 0), "medium"),
        (0.5, "medium"),
        (math.nextafter(0.5, 0), "low"),
        (0.25, "low"),
        (math.nextafter(0.25, 0), "very_low"),
        (0.0, "very_low"),
        (-1.0, "very_low"),
    ],
)
def test_a_confidence_score_has_the_level_of_its_band(score, level):
    """A band begins with its least score."""
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.set_confidence(score)

    assert record_of(prov).confidence_level == ConfidenceLevel.of(score) == level


def test_what_nobody_stated_is_none_and_not_zero():
    """An empty context has a record without figures, of medium confidence, that passed."""
    with provenance_context("worker", "exec", "video_idea") as prov:
        pass

    record = record_of(prov)
    assert (record.confidence_score, record.quality_score) == (None, None)
    assert (record.total_records_analyzed, record.data_freshness_avg_seconds) == (None, None)
    assert (record.insight_id, record.primary_factor, record.category_key) == (None, None, None)
    assert record.confidence_level is ConfidenceLevel.MEDIUM
    assert (record.validation_passed, record.algorithm_version) == (True, "1.0")
    assert tree_of(prov).outputs == []


def test_figures_over_sources_count_what_was_stated():
    """Records are added up; freshness is the plain mean of the sources that state it."""
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.add_data_source("a", "1", records_used=30, freshness_seconds=100)
        prov.add_data_source("b", "2", records_used=1, freshness_seconds=300)
        prov.add_data_source("c", "3")

    record = record_of(prov)
    assert (record.total_records_analyzed, record.data_freshness_avg_seconds) == (31, 200)


def test_the_first_of_equal_factors_is_the_primary_one():
    """The largest contribution wins, the first of equals; a factor without one never does."""
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.add_decision_factor("unweighed", 9)
        prov.add_decision_factor("small", 1, 0.1, 0.5)
        prov.add_decision_factor("first", 1, 0.5, 0.4)
        prov.add_decision_factor("second", 1, 0.4, 0.5)

    assert record_of(prov).primary_factor == "first"


@pytest.mark.parametrize(
    ("raw", "kept"),
    [(3, 3), (0.5, 0.5), (True, True), ("x", "x"), ([1, 2], "[1, 2]"), ({"a": 1}, "{'a': 1}")],
)
def test_a_raw_value_that_is_no_scalar_is_kept_as_text(raw, kept):
    """Numbers, texts and booleans stay what they are."""
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.add_decision_factor("f", raw, 0.5, 0.5, "r")

    (factor,) = record_of(prov).decision_factors
    assert factor.raw_value == kept
    assert type(factor.raw_value) is type(kept)


def test_an_exception_passes_untouched_and_marks_the_record_as_failed():
    """What was said before it is kept, an open step ends in error, and the reason is told."""
    error, prov = ValueError("no videos"), provenance_context("worker", "exec", "video_idea")

    def work():
        with prov:
            prov.add_data_source("cache", "key", 1, 2)
            prov.set_confidence(0.4)
            prov.start_step("filter", "Filter")
            raise error

    with pytest.raises(ValueError, match="no videos") as caught:
        work()

    assert caught.value is error
    record = record_of(prov)
    assert (record.status, record.validation_passed) == ("failed", False)
    assert record.error == "ValueError: no videos"
    assert record.validation_errors == ["ValueError: no videos"]
    assert (record.confidence_score, record.total_records_analyzed) == (0.4, 1)
    assert [span.row.status for span in tree_of(prov).spans] == ["error"]


def test_a_failure_outweighs_a_validation_that_passed():
    """What was found valid before it broke off is not valid."""
    prov = provenance_context("worker", "exec", "video_idea")

    def work():
        with prov:
            prov.set_validation(passed=True)
            raise KeyError

    with pytest.raises(KeyError):
        work()

    assert record_of(prov).validation_passed is False


def test_a_cancelled_task_leaves_a_record_that_did_not_pass():
    """Cancellation goes on, and the record says `cancelled`."""
    contexts = []

    async def work():
        async with provenance_context("worker", "exec", "video_idea") as prov:
            contexts.append(prov)
            await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())

    record = record_of(contexts[0])
    assert (record.status, record.validation_passed) == ("cancelled", False)
    assert record.validation_errors == ["the computation was cancelled"]


def test_a_killed_worker_leaves_what_it_said(recording):
    """Sources, factors and steps are written as they are said, and the record is incomplete."""
    program = """
import os, signal, sys, whence
from whence.insights import provenance_context
whence.configure(sys.argv[1])
prov = provenance_context("worker", "exec", "video_idea", "fortnite").__enter__()
prov.add_data_source("cache", "key", 35, 60)
prov.add_decision_factor("velocity", 1, 0.5, 0.5, "r")
prov.start_step("rank", "Rank")
print(prov.provenance_id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    made = subprocess.run(
        [sys.executable, "-c", program, str(recording)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    record = get_provenance_service().get(made.stdout.strip())
    assert (record.status, record.validation_passed) == ("incomplete", False)
    assert (record.total_records_analyzed, record.primary_factor) == (35, "velocity")
    assert [step.operation for step in record.reasoning_chain] == ["rank"]


def test_steps_are_numbered_and_what_is_called_inside_belongs_to_them():
    """A span opened in a step is its child and no step of the chain."""
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.start_step("load", "Load", "cache")
        with whence.tool("fetch") as tool:
            tool.set(output=1)
        prov.end_step(input_count=1)
        prov.start_step("rank", "Rank")
        prov.start_step("score", "Score each", "linear").end_step(5, 5, {"k": 1})
        prov.end_step(5, 3)

    load, rank, score = record_of(prov).reasoning_chain
    assert [one.step_number for one in (load, rank, score)] == [1, 2, 3]
    assert (load.algorithm, load.input_count, load.output_count) == ("cache", 1, None)
    assert (rank.algorithm, rank.output_count, score.parameters) == ("default", 3, {"k": 1})
    assert all(one.duration_ms is not None for one in (load, rank, score))
    fetched = tree_of(prov).find("fetch")
    assert fetched.row.parent == tree_of(prov).find("load").row.id


def test_ending_a_step_that_was_not_begun_does_nothing():
    """No step appears."""
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.end_step(1, 2)

    assert record_of(prov).reasoning_chain == []


def test_steps_of_tasks_side_by_side_are_not_mixed_up():
    """Each task ends the step that it began, whichever came last."""

    async def part(prov, name, count, pause):
        prov.start_step(name, name)
        await asyncio.sleep(pause)
        prov.end_step(count, count)

    async def main():
        async with provenance_context("worker", "exec", "video_idea") as prov:
            await asyncio.gather(part(prov, "slow", 1, 0.02), part(prov, "fast", 2, 0))
        return prov

    record = record_of(asyncio.run(main()))
    assert [(s.operation, s.input_count) for s in record.reasoning_chain] == [
        ("slow", 1),
        ("fast", 2),
    ]


def test_threads_without_the_run_say_things_too():
    """A thread that was not bound records into the context it was handed, steps included."""
    begun, ended = threading.Barrier(2), threading.Barrier(2)

    def work(prov, name, count):
        prov.add_data_source("thread", name, records_used=count)
        prov.start_step(name, name)
        begun.wait(5)
        prov.end_step(count, count)
        ended.wait(5)

    with provenance_context("worker", "exec", "video_idea") as prov:
        threads = [threading.Thread(target=work, args=(prov, f"t{n}", n)) for n in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    record = record_of(prov)
    assert record.total_records_analyzed == 3
    assert {(s.operation, s.input_count) for s in record.reasoning_chain} == {("t1", 1), ("t2", 2)}


def test_a_context_opened_twice_makes_two_records():
    """The second one says nothing of the first."""
    context = provenance_context("worker", "exec", "video_idea")
    with context:
        context.set_confidence(0.9)
        first = context.provenance_id
    with context:
        second = context.provenance_id

    get = get_provenance_service().get
    assert first != second
    assert (get(first).confidence_score, get(second).confidence_score) == (0.9, None)


def test_a_context_inside_a_run_belongs_to_it():
    """The run around it is its parent."""
    with whence.run("batch") as outer, provenance_context("worker", "exec", "video_idea") as prov:
        pass

    assert tree_of(prov).run.parent_run == outer.id


def test_insight_types_are_eighteen_and_open_to_more():
    """A word of one's own is a type, equal to its text, and not a member."""

    class Mine(Enum):
        ODD = "odd_insight"

    assert len(InsightType) == 18
    new = InsightType("podcast_idea")
    assert (new, new.value, str(new), hash(new)) == ("podcast_idea",) * 3 + (hash("podcast_idea"),)
    assert new not in list(InsightType)
    with provenance_context("worker", "exec", Mine.ODD) as prov:
        pass
    assert record_of(prov).insight_type == InsightType("odd_insight") == "odd_insight"
    with pytest.raises(ValueError, match="InsightType"):
        InsightType(3)
    with pytest.raises(ValueError, match="ConfidenceLevel"):
        ConfidenceLevel("sure")


class Hostile:
    """Raises at whatever it is asked."""

    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __bool__ = __iter__ = __float__ = __len__ = __str__


def test_hostile_values_never_raise_into_the_worker():
    """Objects that refuse to be looked at are recorded as what they are not, and nothing breaks."""
    odd = Hostile()
    with provenance_context(odd, odd, odd, odd) as prov:
        prov.add_data_source(odd, odd, odd, odd, odd, odd)
        prov.start_step(odd, odd, odd).end_step(odd, odd, odd)
        prov.add_decision_factor(odd, odd, odd, odd, odd)
        prov.set_insight(odd, odd, odd).set_confidence(odd, odd).set_quality(odd)
        prov.set_validation(odd, odd).add_tags(odd, "'; DROP TABLE runs; --\x00", "\ud800")
        prov.set_metadata(odd, odd).set_metadata({"kind": odd, "$whence": "blob", 3: math.nan})
        prov.set_algorithm_version(odd)

    record = record_of(prov)
    assert (record.status, record.confidence_score) == ("complete", None)
    assert record.metadata["$whence"] == "blob"
    assert math.isnan(record.metadata[3])
    assert "'; DROP TABLE runs; --\x00" in record.tags
    assert record.to_dict()["provenance_id"] == prov.provenance_id


def test_a_large_insight_comes_back_whole():
    """A value that the log keeps in a blob is the value again."""
    value = {"text": "x" * 100_000, "more": ["y" * 50_000]}
    summary = "s" * 40_000
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.set_insight("big", summary, value)

    record = record_of(prov)
    assert record.insight_value == value
    assert record.insight_summary == summary


def test_an_image_in_an_insight_is_named_and_not_carried_along():
    """Bytes stay in their blob, so that a page of records is not a page of images."""
    image = bytes(range(256)) * 500
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.set_insight("img", "An image", {"image": image, "width": 3})

    record = record_of(prov)
    assert record.insight_value["width"] == 3
    assert record.insight_value["image"]["size_bytes"] == len(image)
    with whence.open(configured_home()) as store:
        assert store.blob(record.insight_value["image"]["sha256"]) == image
    assert len(json.dumps(record.to_dict())) < 5_000


def test_without_recording_the_api_works_and_records_nothing(recording):
    """Every call may be made; there is an id, and no record."""
    whence.configure(recording, enabled=False)
    with provenance_context("worker", "exec", "video_idea", "c") as prov:
        prov.add_data_source("a", "b", 1, 2, 3, ["x"])
        prov.start_step("s", "S").end_step(1, 1)
        prov.add_decision_factor("f", 1, 0.5, 0.5, "r").set_insight("i", "s", 1)
        prov.set_confidence(1).set_quality(1).set_validation().add_tags("t").set_metadata(a=1)

    assert len(prov.provenance_id) == 36
    assert get_provenance_service().get(prov.provenance_id) is None
    assert get_provenance_service().query() == ([], 0)
    assert not recording.exists()


def test_a_project_that_is_switched_off_leaves_no_record(recording):
    """Recording goes on for others."""
    whence.configure(recording, projects={"secret": False})
    with provenance_context("worker", "exec", "video_idea", project="secret") as hidden:
        hidden.start_step("s", "S").add_data_source("a", "b")
    with provenance_context("worker", "exec", "video_idea", project="open") as shown:
        shown.set_confidence(1)

    assert get_provenance_service().get(hidden.provenance_id) is None
    assert record_of(shown).confidence_score == 1


def test_any_run_can_be_read_as_a_record():
    """A run of the core has what its records say, and None for what nobody said."""
    with whence.run("report", external_id="job-7") as run:
        run.source("web", "kept", records_used=4)
        run.source("web", "dropped", records_used=100, kept=False)
        with whence.stage("draft"):
            run.factor("reach", 0.5, normalized_value=0.5, weight=1)
        run.output("r-1", kind="report", summary="first", confidence=0.3)
        run.output("r-2", kind="report", summary="second", confidence=0.6)

    service = get_provenance_service()
    record = service.get("job-7")
    assert (record.provenance_id, record.worker_name, record.insight_type) == (
        "job-7",
        "report",
        None,
    )
    assert (record.total_records_analyzed, record.primary_factor) == (4, "reach")
    assert [step.operation for step in record.reasoning_chain] == ["draft"]
    assert (record.insight_id, record.confidence_score) == ("r-2", 0.6)
    assert service.get("r-1").insight_summary == "first"
    assert service.get(run.id) == record
    assert service.query() == ([], 0)


def test_every_id_of_a_record_finds_it():
    """The provenance id, the run's id and the insight's id."""
    with provenance_context("worker", "exec", "video_idea") as prov:
        prov.set_insight("idea_1")

    service = get_provenance_service()
    found = {service.get(one).run_id for one in (prov.provenance_id, prov.run.id, "idea_1")}
    assert found == {prov.run.id}
    assert (service.get("nothing"), service.reasoning("nothing"), service.get("")) == (None,) * 3


def test_the_service_sees_what_another_process_wrote_a_moment_ago(recording):
    """The reader that is kept open takes in new segments."""
    service = get_provenance_service()
    with provenance_context("worker", "exec", "video_idea"):
        pass
    assert service.query()[1] == 1
    program = """
import sys, whence
from whence.insights import provenance_context
whence.configure(sys.argv[1])
with provenance_context("other", "exec", "video_idea"):
    pass
"""
    subprocess.run([sys.executable, "-c", program, str(recording)], check=True, timeout=60)

    records, total = service.query()
    assert (total, records[0].worker_name) == (2, "other")


def test_a_named_reader_is_asked_instead_of_the_configured_home(tmp_path):
    """A server hands over the reader it has."""
    with provenance_context("worker", "exec", "video_idea") as prov:
        pass
    home = configured_home()
    whence.configure(tmp_path / "elsewhere")

    assert get_provenance_service().query() == ([], 0)
    with whence.open(home) as reader:
        assert ProvenanceService(reader).get(prov.provenance_id).worker_name == "worker"
