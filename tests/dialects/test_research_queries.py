"""The ten questions give the same answers from the home itself and from a database."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from postgres import postgres as postgres_database  # noqa: F401 - a fixture
from postgres import postgres_cluster  # noqa: F401 - a fixture
from researching import finish, load, run_pipeline, traced_root  # noqa: F401 - a fixture

import whence
from whence import research
from whence.dialects.research.keeping import get_history
from whence.dialects.research.row import row_of
from whence.query.reader import open_store
from whence.research import TraceContext, TraceQuery, TraceResult

PROJECT_ID = "0c1e6f2a-8f7a-4a5e-9a51-2f7f8f0e7a10"


def ask(question):
    return asyncio.run(question)


@pytest.fixture
def database(request):
    """The address of an empty database."""
    return request.getfixturevalue("postgres_database")


@pytest.fixture(params=["embedded", "postgresql"])
def kept(request, traced):
    """A place to trace into whose rows are in the home, and once more in a database."""
    if request.param == "postgresql":
        research.configure(root=traced, postgres=request.getfixturevalue("database"))
        yield "postgresql"
        get_history().close()
        return
    yield "embedded"


def made(scores, *, project="cobot", passed=None, mark="mark_complete", **fields):
    """Return a finished trace with a verdict on principles, given as `{id: score}`."""
    trace = TraceContext.start(project_name=project, **fields)
    trace.start_stage("quality_gate")
    overall = sum(scores.values()) / len(scores) if scores else None
    outputs = {"principle_scores": scores, "overall_score": overall, "threshold": 2.0}
    outputs["passed"] = bool(overall and overall >= 2) if passed is None else passed
    trace.end_stage("quality_gate", outputs=outputs)
    getattr(trace, mark)(*(["broken"] if mark == "mark_failed" else []))
    result = finish(trace)
    assert result["supabase"] == "saved", result
    return trace


def ids(results):
    assert all(isinstance(one, TraceResult) for one in results)
    return [one.trace_id for one in results]


@pytest.mark.usefixtures("kept")
def test_traces_are_found_by_intent_domain_and_project():
    """Complete ones, the latest first, at most the limit; a project shows all of its own."""
    first = made({"META-1": 3}, intent="validating", domain="robotics")
    second = made({"META-1": 2}, intent="validating", domain="edtech")
    made({"META-1": 2}, intent="learning", domain="edtech", project="other")
    failed = made({}, intent="validating", mark="mark_failed")

    assert ids(ask(TraceQuery.by_intent("validating"))) == [second.trace_id, first.trace_id]
    assert ids(ask(TraceQuery.by_intent("validating", limit=1))) == [second.trace_id]
    assert ids(ask(TraceQuery.by_intent("nobody's"))) == []
    assert ids(ask(TraceQuery.by_domain("robotics"))) == [first.trace_id]
    assert ids(ask(TraceQuery.by_project("cobot"))) == [
        failed.trace_id, second.trace_id, first.trace_id,
    ]  # fmt: skip


@pytest.mark.usefixtures("kept")
def test_a_result_tells_what_a_list_needs():
    """Every field of the document's `TraceResult`."""
    trace = made(
        {"META-1": 3, "META-12": 1}, query="Q?", intent="validating", domain="robotics",
        report_type="market_research",
    )  # fmt: skip
    (result,) = ask(TraceQuery.by_intent("validating"))
    assert result == TraceResult(
        trace_id=trace.trace_id,
        project_name="cobot",
        query="Q?",
        intent="validating",
        domain="robotics",
        report_type="market_research",
        status="complete",
        quality_gate_passed=True,
        overall_quality_score=2.0,
        gap_principles=["META-12"],
        strength_principles=["META-1"],
        duration_seconds=pytest.approx(trace.duration_seconds),
        started_at=load(trace.result["file_path"])["run"]["started_at"],
        trace_file_path=trace.result["file_path"],
    )


@pytest.mark.usefixtures("kept")
def test_low_scores_of_a_principle_are_found():
    """Below the threshold, which is 2 unless given; also where ids are odd."""
    low = made({"META-12": 1, 'it\'s "$.x"': 1.5})
    made({"META-12": 2})
    assert ids(ask(TraceQuery.low_scoring_principle("META-12"))) == [low.trace_id]
    assert len(ask(TraceQuery.low_scoring_principle("META-12", threshold=3))) == 2
    assert ids(ask(TraceQuery.low_scoring_principle('it\'s "$.x"'))) == [low.trace_id]
    assert ids(ask(TraceQuery.low_scoring_principle("META-99"))) == []


@pytest.mark.usefixtures("kept")
def test_failures_of_the_gate_are_found():
    """Complete traces whose report did not pass."""
    made({"META-1": 3})
    failed = made({"META-1": 1})
    assert ids(ask(TraceQuery.quality_gate_failures())) == [failed.trace_id]


@pytest.mark.usefixtures("kept")
def test_a_verdict_of_a_later_round_is_the_one_that_counts():
    """A trace that passed in its second round did not fail."""
    trace = TraceContext.start(project_name="cobot")
    for score in (1, 3):
        trace.start_stage("quality_gate")
        outputs = {"principle_scores": {"META-1": score}, "overall_score": score}
        trace.end_stage("quality_gate", outputs={**outputs, "passed": score > 2})
        trace.record_iteration({"passed": score > 2, "overall_score": score})
    trace.mark_complete()
    finish(trace)
    assert ask(TraceQuery.quality_gate_failures()) == []
    assert ask(TraceQuery.low_scoring_principle("META-1")) == []
    assert ask(TraceQuery.principle_patterns(min_runs=1)) == []


@pytest.mark.usefixtures("kept")
def test_patterns_count_failures_over_complete_traces():
    """Which principle fails in how many traces, how it scores, and in how many it was judged."""
    for scores in ({"A": 1, "B": 1}, {"A": 1, "B": 3}, {"A": 0, "B": 3}, {"A": 3}):
        made(scores)
    made({"A": 0}, mark="mark_failed")
    assert ask(TraceQuery.principle_patterns()) == [
        {"principle_id": "A", "fail_count": 3, "avg_score": 1.25, "total_runs": 4}
    ]
    assert [one["principle_id"] for one in ask(TraceQuery.principle_patterns(min_runs=1))] == [
        "A", "B",
    ]  # fmt: skip


@pytest.mark.usefixtures("kept")
def test_two_traces_compare_side_by_side():
    """Differences are b - a, and unknown where one of them is; gaps are told apart."""
    a = made({"A": 1, "B": 1, "C": 3}, intent="validating")
    b = made({"A": 1, "B": 3, "D": 1})
    compared = ask(TraceQuery.compare(a.trace_id, b.trace_id))
    assert compared["trace_a"]["trace_id"] == a.trace_id
    assert compared["trace_a"]["intent"] == "validating"
    assert compared["diff"] == {
        "quality_delta": pytest.approx(0.0),
        "duration_delta": pytest.approx(b.duration_seconds - a.duration_seconds),
        "cost_delta": None,
        "gaps_a_only": ["B"],
        "gaps_b_only": ["D"],
        "gaps_both": ["A"],
    }
    unknown = ask(TraceQuery.compare(a.trace_id, "trc_unknown"))
    assert unknown == {"error": "One or both trace IDs not found"}


@pytest.mark.usefixtures("kept")
def test_a_full_trace_is_what_its_file_says():
    """The document as it was written; None for an id nobody knows."""
    trace = made({"A": 1})
    assert ask(TraceQuery.full_trace(trace.trace_id)) == load(trace.result["file_path"])
    assert ask(TraceQuery.full_trace("trc_unknown")) is None


@pytest.mark.usefixtures("kept")
def test_a_summary_counts_and_averages():
    """Counts by status and verdict; averages over complete traces, None where nothing is known."""
    assert ask(TraceQuery.summary()) == {
        "total_runs": 0, "complete": 0, "failed": 0, "incomplete": 0, "qg_passed": 0,
        "qg_failed": 0, "avg_quality": None, "avg_duration": None, "avg_cost": None,
    }  # fmt: skip
    made({"A": 3})
    made({"A": 1})
    made({}, mark="mark_incomplete", passed=False)
    summary = ask(TraceQuery.summary())
    assert summary["avg_duration"] > 0
    assert summary | {"avg_duration": None} == {
        "total_runs": 3, "complete": 2, "failed": 0, "incomplete": 1, "qg_passed": 1,
        "qg_failed": 2, "avg_quality": 2.0, "avg_duration": None, "avg_cost": None,
    }  # fmt: skip


@pytest.mark.usefixtures("kept")
def test_flagged_traces_are_found():
    """What was flagged, by hand or by a pattern."""
    made({"A": 1})
    flagged = made({"A": 1})
    get_history().flag(flagged.trace_id, "look at this")
    assert ids(ask(TraceQuery.flagged_for_review())) == [flagged.trace_id]


def test_the_row_follows_from_the_document_column_by_column(kept, recording):
    """What a store finds for a trace is what its document says, in every column of the document."""
    trace = TraceContext.start(
        project_id=PROJECT_ID, project_name="cobot", query="Q?", intent="validating",
        domain="robotics", report_type="market_research", research_type="competitive",
    )  # fmt: skip
    run_pipeline(trace)
    trace.record_iteration({"iteration": 1, "passed": False, "overall_score": 1.6})
    trace.record_iteration({"iteration": 2, "passed": True, "overall_score": 2.4})
    trace.mark_complete()
    path = finish(trace)["file_path"]

    expected = row_of(load(path), path)
    found = get_history().find(trace.trace_id)

    if kept == "postgresql":
        expected["project_id"] = None  # no table of projects knows it
    timing = {name for name in expected if name.endswith("_duration")} | {"completed_at"}
    assert {name: found[name] for name in expected if name not in timing} == {
        name: value for name, value in expected.items() if name not in timing
    }
    for name in timing - {"completed_at"}:
        assert found[name] == pytest.approx(expected[name], abs=0.01), name
    assert expected["evidence_collected"] == 28
    assert (expected["iteration_count"], expected["quality_gate_failures"]) == (2, 1)
    assert recording.exists()


def test_the_views_of_the_document_answer_sql(recording):
    """`traces`, `trace_quality_gaps` and `trace_intent_summary` in the embedded store."""
    made({"A": 1, "B": 3}, intent="validating")
    made({"A": 3}, intent="validating")
    with open_store(recording) as reader:
        gaps = reader.sql("SELECT trace_id, gap_principles, project_name FROM trace_quality_gaps")
        assert [row[1:] for row in gaps.rows] == [(["A"], "cobot")] or [
            list(row[1:]) for row in gaps.rows
        ] == [[["A"], "cobot"]]
        summary = reader.sql("SELECT intent, total_runs, passed, failed FROM trace_intent_summary")
        assert [tuple(row) for row in summary.rows] == [("validating", 2, 2, 0)]


def test_runs_of_the_core_answer_where_the_question_makes_sense(recording):
    """A run that nobody traced by this API is listed, compared, and rendered."""
    with whence.run("report", project="lib", kind="research", question="Q?") as run:
        run.set(intent="learning")
        with whence.stage("quality_gate") as stage:
            stage.score("clear", 1.0, threshold=2, scale="0-3")
            stage.score("overall", 1.0, threshold=2, scale="0-3")
    (result,) = ask(TraceQuery.by_intent("learning"))
    assert (result.trace_id, result.query, result.gap_principles) == (run.id, "Q?", ["clear"])
    assert result.quality_gate_passed is False
    assert ids(ask(TraceQuery.by_project("lib"))) == [run.id]
    assert ids(ask(TraceQuery.low_scoring_principle("clear"))) == [run.id]
    assert ids(ask(TraceQuery.quality_gate_failures())) == [run.id]
    assert ask(TraceQuery.full_trace(run.id))["stages"]["quality_gate"]["passing"] is False
    assert recording.exists()


def test_questions_see_what_other_processes_and_the_archive_have(recording):
    """A trace is found before and after it is archived."""
    from whence.log.home import Home  # noqa: PLC0415
    from whence.store import compactor  # noqa: PLC0415

    first = made({"A": 1}, intent="validating")
    assert ids(ask(TraceQuery.by_intent("validating"))) == [first.trace_id]
    whence.configure(recording)  # a new segment: the one before can be archived
    compactor.compact(Home(recording))
    second = made({"A": 1}, intent="validating")
    assert ids(ask(TraceQuery.by_intent("validating"))) == [second.trace_id, first.trace_id]
    assert ask(TraceQuery.principle_patterns(2))[0]["fail_count"] == 2


@pytest.mark.usefixtures("traced")
def test_a_home_that_does_not_exist_has_no_traces():
    """Asking before anything was recorded gives nothing, and no error."""
    assert ask(TraceQuery.by_intent("validating")) == []
    assert ask(TraceQuery.summary())["total_runs"] == 0
    assert ask(TraceQuery.full_trace("trc_unknown")) is None


@pytest.mark.usefixtures("traced")
def test_rows_that_a_column_cannot_hold_are_kept_all_the_same(database, traced):
    """Hostile texts and figures cost a value, not the row."""
    research.configure(root=traced, postgres=database)
    trace = TraceContext.start(
        project_id="not a uuid", project_name="c\0\ud800", query="nul \0 \ud800", intent="i" * 500
    )
    trace.end_stage("nowhere")
    trace.record_evidence("collection", {"collected_count": 10**30})
    trace.end_stage("collection", outputs={"evidence_passed": 2**40})
    trace.end_stage("quality_gate", outputs={"principle_scores": {"\0": 1}})
    trace.record("quality_gate", "d", {"what": 1})
    trace.end_stage("quality_gate", outputs={"principle_scores": {"\0": 1}})
    trace.mark_complete()
    assert finish(trace)["supabase"] == "saved"
    row = get_history().find(trace.trace_id)
    assert row["intent"] == "i" * 50
    assert row["evidence_passed"] is None
    assert "\ufffd" in row["query"]
    get_history().close()


@pytest.mark.usefixtures("traced")
def test_tables_that_are_there_are_used_as_they_are(database, traced):
    """A database with the document's own table keeps its rows and gets what is missing."""
    import psycopg  # noqa: PLC0415

    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE projects (id UUID PRIMARY KEY, name VARCHAR(80) NOT NULL)")
        connection.execute("INSERT INTO projects VALUES (%s, 'the cobots')", (PROJECT_ID,))
        for _ in range(2):
            connection.execute(research.MIGRATION)
        connection.execute("ALTER TABLE traces DROP COLUMN project_name CASCADE")
        connection.execute(
            "INSERT INTO traces (trace_id, started_at) VALUES ('trc_old', '2026-01-01T00:00Z')"
        )
    research.configure(root=traced, postgres=database)
    trace = made({"A": 1}, project="cobot", project_id=PROJECT_ID)
    assert ids(ask(TraceQuery.by_project("the cobots"))) == [trace.trace_id]
    assert ask(TraceQuery.summary())["total_runs"] == 2
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE traces SET query = 'x' WHERE trace_id = 'trc_old'")
        (later,) = connection.execute(
            "SELECT updated_at > created_at OR updated_at = now() FROM traces "
            "WHERE trace_id = 'trc_old'"
        ).fetchone()
        assert later
        gaps = connection.execute("SELECT trace_id, gap_principles FROM trace_quality_gaps")
        assert gaps.fetchall() == [(trace.trace_id, ["A"])]
    get_history().close()


def test_a_moved_root_is_found(traced, tmp_path, monkeypatch):
    """A file that was written under a relative root is found from another folder."""
    monkeypatch.chdir(tmp_path)
    research.configure(root="brain")
    trace = made({"A": 1})
    assert trace.result["file_path"].startswith("brain/projects/cobot/_traces/")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    research.configure(root=tmp_path / "brain")
    found = ask(TraceQuery.full_trace(trace.trace_id))
    assert found == json.loads((tmp_path / trace.result["file_path"]).read_text("utf-8"))
    assert Path(traced).exists()
