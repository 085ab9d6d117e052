"""Results of tau-bench are runs with turns, calls, tools and a reward."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from trajectorydata import document, expected, of_kind, records_of, tau_trial

import whence
from whence.ingest.importer import import_paths
from whence.record.decision import Decision
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Score
from whence.record.span import SpanStarted


@pytest.fixture
def trial(tmp_path):
    """The records of one trial."""
    return records_of(document(tmp_path / "r.json", [tau_trial()]), "tau-bench")[0]


def test_a_message_of_the_assistant_is_a_call_that_got_all_before_it(trial):
    """Nobody stated tokens, times or costs of a call."""
    calls = of_kind(trial, Generation)

    assert [len(call.messages) for call in calls] == [2, 4, 6, 8]
    assert [call.output["content"] for call in calls] == ["which one?", None, None, "done"]
    assert {call.usage for call in calls} == {call.cost_usd for call in calls} == {None}


def test_a_message_of_the_customer_begins_a_turn(trial):
    """What the customer says last, to which nobody answers, is an event in a turn of its own."""
    turns = [span for span in of_kind(trial, SpanStarted) if span.span_kind == "step"]
    (last,) = of_kind(trial, Event)

    assert [turn.input for turn in turns] == ["book me a flight", "to Seattle", "###STOP###"]
    assert last.span == turns[2].span
    assert last.message == "the user said: ###STOP###"


def test_tool_calls_have_their_answers_and_errors(trial):
    """An answer that begins with `Error` is one."""
    failed, worked = of_kind(trial, ToolCall)

    assert (failed.status, failed.error) == ("error", {"type": "Error", "message": "no seat"})
    assert (worked.status, worked.output) == ("ok", "booked")
    assert worked.input == {"to": "SEA", "at": 9}
    assert worked.attributes == {"tool_call_id": "c2"}


def test_the_reward_is_a_score_that_says_what_was_expected(trial):
    """A reward of 1 passes."""
    (score,) = of_kind(trial, Score)

    assert (score.name, score.value, score.threshold, score.passed) == ("reward", 1.0, 1.0, True)
    assert score.feedback == "expected book; called book"


def test_only_the_cost_of_the_customer_is_declared(trial, tmp_path):
    """And a cost that is null is not declared."""
    (run,) = of_kind(trial, RunStarted)
    free = tau_trial()
    free["info"]["user_cost"] = None
    (other,) = of_kind(
        records_of(document(tmp_path / "f.json", [free]), "tau-bench")[0], RunStarted
    )

    assert run.attributes["declared"]["cost_usd"] == 0.0025
    assert "customer" in run.attributes["declared"]["covers"]
    assert "declared" not in other.attributes
    assert run.attributes["undated"] is True


def test_trials_of_a_task_follow_each_other(home, tmp_path):
    """Each is linked to the next one, in whatever order the file has them."""
    trials = [tau_trial(trial=number) for number in (2, 0, 1)] + [tau_trial(task=1)]
    report = import_paths(home, [document(tmp_path / "r.json", trials)])

    assert (report.runs, report.retries) == (4, 2)
    with whence.open(home) as store:
        second = store.why("0/1")
        assert [(one.edge.kind, one.label) for one in second.ancestors] == [
            ("retry_of", "run 0/0 (complete)")
        ]
        assert {run.workflow for run in store.runs()} == {"tau-bench task 0", "tau-bench task 1"}


def test_the_same_trial_of_another_model_is_another_run(tmp_path, home):
    """Task and trial do not tell runs apart, what was said in them does."""
    other = tau_trial()
    other["traj"][2]["content"] = "where to?"
    for name, content in (("a.json", tau_trial()), ("b.json", other)):
        report = import_paths(home, [document(tmp_path / name, [content])])
        assert report.new > 0


def test_a_crash_is_a_failed_run(tmp_path):
    """Its error and traceback are kept; it has no conversation."""
    crash = {
        "task_id": 3,
        "reward": 0.0,
        "info": {"error": "boom", "traceback": "Traceback"},
        "traj": [],
        "trial": 0,
    }
    records, _ = records_of(document(tmp_path / "r.json", [crash]), "tau-bench")
    (ended,) = of_kind(records, RunEnded)

    assert ended.status == "failed"
    assert ended.error == {"type": "error", "message": "boom", "stack": "Traceback"}
    assert of_kind(records, Event)[0].level == "error"


def test_calls_and_answers_that_do_not_fit_are_kept(tmp_path):
    """A call without an answer says so; an answer without a call is a call; ids may come again."""
    odd = tau_trial()
    odd["traj"] = [
        {"role": "tool", "tool_call_id": "c0", "name": "early", "content": "hello"},
        *odd["traj"][4:6],
        {"role": "tool", "tool_call_id": "c1", "name": "book", "content": "again"},
        *odd["traj"][4:6],
        odd["traj"][6],
    ]
    calls = of_kind(records_of(document(tmp_path / "r.json", [odd]), "tau-bench")[0], ToolCall)

    assert [(call.tool_name, call.status, call.output) for call in calls] == [
        ("early", "ok", "hello"),
        ("book", "error", "Error: no seat"),
        ("book", "ok", "again"),
        ("book", "error", "Error: no seat"),
        ("book", "unanswered", None),
    ]
    assert len({call.id for call in calls}) == len(calls)


def test_what_is_said_with_a_tool_call_is_its_reason(tmp_path):
    """A message that calls a tool and says something is a decision."""
    spoken = tau_trial()
    spoken["traj"][6]["content"] = "The later one has seats."
    (decision,) = of_kind(
        records_of(document(tmp_path / "r.json", [spoken]), "tau-bench")[0], Decision
    )

    assert decision.why == "The later one has seats."
    assert decision.what == "book"


def test_items_that_are_no_trials_are_named(tmp_path):
    """The others come in."""
    path = document(tmp_path / "r.json", [tau_trial(), 3, {"x": 1}, tau_trial(trial=1)])

    records, skipped = records_of(path, "tau-bench")

    assert len(of_kind(records, RunStarted)) == 2
    assert [one.where.rpartition(", ")[2] for one in skipped] == ["trial 1", "trial 2"]


def test_the_corpus_has_the_expected_totals(home):
    """Every figure of each run and of all of them, twice in a row without a change."""
    folder, figures = expected("tau-bench-airline-gpt4o")
    totals = figures["totals"]

    report = import_paths(home, [folder])

    assert report.runs == totals["runs"]
    assert report.generations == totals["llm_calls"]
    assert report.tool_calls == totals["tool_calls"] == totals["tool_results"]
    assert report.tool_errors == report.errors == totals["tool_errors"]
    assert report.cost_usd_declared == pytest.approx(totals["user_cost"])
    assert report.cost_usd_computed is None
    assert report.usage_stated.input is None
    with whence.open(home) as store:
        calls, scores = store.tool_calls(limit=None), store.scores(limit=None)
        for run in store.runs(limit=None):
            each = figures["runs"][run.external_id]
            assert run.generations == each["llm_calls"]
            assert run.errors == each["tool_errors"]
            assert Counter(call.tool_name for call in calls if call.run == run.id) == each["tools"]
            (score,) = [score for score in scores if score.run == run.id]
            assert score.value == each["reward"]
            stated = json.loads(json.dumps(run.attributes))["user_cost"]
            assert stated == each["user_cost"]
        rewards = [score.value for score in store.scores(limit=None)]
        assert sum(rewards) == totals["reward"]
        unknown = [run for run in store.runs(limit=None) if "declared" not in run.attributes]
        assert len(unknown) == totals["user_cost_null"]
    again = import_paths(home, [folder])
    assert (again.new, again.already_there) == (0, report.new)


def test_an_agent_may_write_what_it_does(tmp_path):
    """ReAct agents are not given tools; their calls and the answers stand in the texts."""
    trial = tau_trial()
    trial["traj"] = [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "cancel it"},
        {
            "role": "assistant",
            "content": 'Thought:\nI look.\nAction:\n{"name": "find", "arguments": {"id": 1}}',
        },
        {"role": "user", "content": "API output: Error: not found"},
        {
            "role": "assistant",
            "content": 'Action:\n{"name": "respond", "arguments": {"content": "sorry"}}',
        },
        {"role": "user", "content": "###STOP###"},
    ]
    records, _ = records_of(document(tmp_path / "t.json", [trial]), "tau-bench")
    (tool,), (decision,) = of_kind(records, ToolCall), of_kind(records, Decision)
    turns = [span for span in of_kind(records, SpanStarted) if span.name.startswith("turn")]

    assert (tool.tool_name, tool.input, tool.output) == ("find", {"id": 1}, "Error: not found")
    assert (tool.status, tool.error["message"]) == ("error", "not found")
    assert (decision.what, decision.why) == ("find", "I look.")
    assert [turn.input for turn in turns] == ["cancel it", "###STOP###"]
    assert len(of_kind(records, Generation)) == 2
