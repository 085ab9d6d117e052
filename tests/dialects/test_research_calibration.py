"""Patterns are flagged without pushing, and verdicts of people are filled in, edited and kept."""

from __future__ import annotations

import asyncio
import logging

import pytest
from postgres import postgres as postgres_database  # noqa: F401 - a fixture
from postgres import postgres_cluster  # noqa: F401 - a fixture
from researching import EVIDENCE, finish, traced_root  # noqa: F401 - a fixture

import whence
from whence import NotFoundError, research
from whence.dialects.research.keeping import get_history
from whence.errors import ConfigError
from whence.query.reader import open_store
from whence.research import (
    Trace,
    TraceContext,
    TraceQuery,
    capture_calibration,
    check_calibration_flags,
)

DAY_NS = 86_400_000_000_000


@pytest.fixture(params=["embedded", "postgresql"])
def kept(request, traced):
    """A place to trace into whose rows are in the home, and once more in a database."""
    if request.param == "postgresql":
        research.configure(root=traced, postgres=request.getfixturevalue("postgres_database"))
        yield traced
        get_history().close()
        return
    yield traced


def made(score=3.0, gaps=(), **fields):
    """Return a finished, complete trace with an overall score and gaps."""
    trace = TraceContext.start(**{"project_name": "cobot", **fields})
    trace.start_stage("quality_gate")
    scores = dict.fromkeys(gaps, 1)
    outputs = {"principle_scores": scores, "overall_score": score, "passed": score >= 2}
    trace.end_stage("quality_gate", outputs=outputs)
    trace.mark_complete()
    finish(trace)
    return trace


def flags(trace, **thresholds):
    return asyncio.run(check_calibration_flags(trace, **thresholds))


def test_a_principle_that_failed_three_times_in_a_week_is_flagged(kept):
    """The third time says so, in the document's words; the second does not."""
    assert flags(made(2.5, ["META-12"])) == []
    assert flags(made(2.5, ["META-12"])) == []
    third = made(2.5, ["META-12", "META-1"])
    assert flags(third) == [
        (
            "Principle META-12 has scored below threshold 3 times in the last 7 days. "
            "Consider reviewing calibration."
        )
    ]
    (result,) = asyncio.run(TraceQuery.flagged_for_review())
    assert result.trace_id == third.trace_id
    alerts = kept / "projects" / "cobot" / "_traces" / "_calibration_alerts.md"
    assert third.trace_id in alerts.read_text()


def test_failures_before_the_window_do_not_count(kept, monkeypatch):
    """What is eight days old is not recent; a wider window has it."""
    from whence import _clock  # noqa: PLC0415

    wall_ns = _clock.wall_ns
    with monkeypatch.context() as patch:
        patch.setattr("whence._clock.wall_ns", lambda: wall_ns() - 8 * DAY_NS)
        patch.setattr("whence.capture.scopes._wall", lambda: wall_ns() - 8 * DAY_NS)
        for _ in range(2):
            made(2.5, ["META-12"])
    trace = made(2.5, ["META-12"])
    assert flags(trace) == []
    assert len(flags(trace, days=9)) == 1
    assert kept.exists()


@pytest.mark.parametrize(("field", "value"), [("intent", "executing"), ("domain", "edtech")])
@pytest.mark.usefixtures("kept")
def test_an_intent_or_domain_that_does_badly_is_flagged(field, value):
    """Its average is more than half a point below the overall one, not half a point exactly."""
    for _ in range(2):
        made(3.0, **{field: "other"})
    low = made(2.25, **{field: value})
    # Overall (3 + 3 + 2.25) / 3 = 2.75: half a point above.
    assert flags(low) == []
    lower = made(2.0, **{field: value})
    # Overall 2.5625, this one's average 2.125.
    assert flags(lower) == []
    assert flags(lower, drop=0.4) == [
        (
            f"Traces with the {field} {value} score 2.12 on average, 0.44 below the overall "
            "average of 2.56. Consider reviewing calibration."
        )
    ]


@pytest.mark.usefixtures("kept")
def test_a_failure_after_a_pass_of_the_same_project_is_flagged():
    """The project's previous complete run passed, this one failed."""
    before = made(3.0)
    other = made(1.0, project_name="other")
    failed = made(1.0)
    assert any(before.trace_id in flag for flag in flags(failed))
    assert not any("previous run" in flag for flag in flags(other))
    again = made(1.0)
    assert not any("previous run" in flag for flag in flags(again))


@pytest.mark.usefixtures("kept")
def test_alerts_are_told_once_a_trace():
    """Asking again returns the flags and writes nothing."""
    made(3.0)
    failed = made(1.0)
    first = flags(failed)
    (path,) = [
        path for path in (research_root() / "cobot" / "_traces").iterdir() if "alerts" in path.name
    ]
    said = path.read_text()
    assert flags(failed) == first != []
    assert path.read_text() == said
    assert len(said.splitlines()) == len(first)


def research_root():
    from whence.dialects.research import settings  # noqa: PLC0415

    return settings.projects_folder()


@pytest.mark.usefixtures("traced")
def test_a_trace_without_a_gate_has_no_flags():
    """Only a verdict can show a pattern."""
    trace = TraceContext.start(project_name="cobot")
    trace.mark_complete()
    finish(trace)
    assert flags(trace) == []
    assert flags(TraceContext.start(enabled=False)) == []
    assert flags(Trace(trace_id="trc_1")) == []


def test_flags_that_cannot_be_checked_are_logged_and_none(traced, caplog):
    """A database that is away does not reach the pipeline."""
    trace = made(1.0, ["META-1"])
    research.configure(root=traced, postgres="postgresql://whence@/none?host=/nonexistent")
    with caplog.at_level(logging.ERROR, logger="whence.research"):
        assert flags(trace) == []
    assert "were not checked" in caplog.text


def test_flags_are_checked_at_the_end_of_each_trace_when_that_is_asked_for(traced):
    """`configure(check_flags=True)` puts them into the result."""
    research.configure(root=traced, check_flags=True)
    made(3.0)
    trace = made(1.0)
    assert len(trace.result["flags"]) == 1
    assert asyncio.run(TraceQuery.flagged_for_review())[0].trace_id == trace.trace_id


# --- verdicts of people -----------------------------------------------------------------------


@pytest.mark.usefixtures("kept")
def test_a_calibration_is_filled_in_from_the_trace():
    """Intent, scores, gaps and evidence stand in it before anybody types."""
    trace = TraceContext.start(project_name="cobot", intent="validating", query="Q?")
    trace.record_evidence("collection", EVIDENCE)
    trace.end_stage("collection", outputs={"evidence_passed": 18, "evidence_filtered": 10})
    outputs = {"principle_scores": {"META-1": 3, "META-12": 1}, "overall_score": 2.4}
    trace.end_stage("quality_gate", outputs=outputs)
    trace.record("quality_gate", "judged", {"what": "PASS"})
    trace.end_stage("quality_gate", outputs={**outputs, "passed": True})
    trace.mark_complete()
    finish(trace)

    draft = capture_calibration(trace.trace_id)

    assert draft.trace_id == trace.trace_id
    assert (draft.intent, draft.project_name) == ("validating", "cobot")
    assert draft.principle_scores == {"META-1": 3, "META-12": 1}
    assert (draft.gap_principles, draft.strength_principles) == (["META-12"], ["META-1"])
    assert draft.evidence == {
        "collected": 28, "passed": 18, "filtered": 10,
        "mean_scores": {"relevance": 0.9, "composite": 0.93},
    }  # fmt: skip
    with pytest.raises(AttributeError, match="no field 'nothing'"):
        _ = draft.nothing


def test_a_confirmed_calibration_is_a_remark_that_edits_nothing(traced, recording):
    """The user's edits and context are kept with what was filled in, and who said it."""
    trace = made(2.4, ["META-12"], intent="validating")
    saved = capture_calibration(trace.trace_id).confirm(
        intent="learning", why_low="citations were cut", notes="META-12 is too strict", by="ada"
    )
    assert saved.edited == ["intent", "why_low"]
    with open_store(recording) as reader:
        (remark,) = reader.annotations(f'run = "{trace.recording.run.id}"').items
        assert (remark.id, remark.by) == (saved.id, "ada")
        assert remark.note == "META-12 is too strict"
        assert remark.attributes["calibration"]["intent"] == "learning"
        assert remark.attributes["calibration"]["gap_principles"] == ["META-12"]
        assert remark.attributes["edited"] == ["intent", "why_low"]
        assert reader.run(trace.trace_id).run.attributes["intent"] == "validating"
        notes = reader.sql("SELECT review_notes FROM traces").rows
        assert [tuple(row) for row in notes] == [("META-12 is too strict",)]
    assert traced.exists()


def test_notes_stand_in_the_database_too(request, traced):
    """`review_notes` of the row is what the user said."""
    research.configure(root=traced, postgres=request.getfixturevalue("postgres_database"))
    trace = made(2.4)
    capture_calibration(trace.trace_id).confirm(notes="look again")
    assert get_history().find(trace.trace_id)["review_notes"] == "look again"
    get_history().close()


@pytest.mark.usefixtures("traced")
def test_a_calibration_may_be_awaited():
    """Asynchronous code waits for it like for everything else."""
    trace = made(2.4)

    async def run():
        draft = await capture_calibration(trace.trace_id)
        return await draft.confirm(notes="fine")

    assert asyncio.run(run()).notes == "fine"


@pytest.mark.usefixtures("traced")
def test_a_calibration_of_nothing_is_refused():
    """An unknown trace, no trace at all, and notes that are no text are told apart."""
    with pytest.raises(NotFoundError, match="no trace 'trc_unknown'"):
        capture_calibration("trc_unknown")
    with pytest.raises(NotFoundError, match="no trace is current"):
        capture_calibration()
    trace = made(2.4)
    with pytest.raises(ConfigError, match="notes is 5"):
        capture_calibration(trace.trace_id).confirm(notes=5)


@pytest.mark.usefixtures("traced")
def test_the_current_trace_is_calibrated_by_default():
    """Inside a run nobody has to name it; and a run of the core can be calibrated as well."""
    with TraceContext.start(project_name="cobot", intent="learning") as trace:
        assert capture_calibration().trace_id == trace.trace_id
    with whence.run("report", project="lib") as run:
        run.set(intent="learning")
    assert capture_calibration(run.id).intent == "learning"


@pytest.mark.parametrize(
    "given", [{"postgres": "mysql://x:secret@y"}, {"connect_timeout_s": 0}, {"postgres": "secret"}]
)
def test_settings_that_cannot_be_used_are_refused(given):
    """The message names the setting and never the address, which may hold a password."""
    with pytest.raises(ConfigError) as told:
        research.configure(**given)
    assert "secret" not in str(told.value)
