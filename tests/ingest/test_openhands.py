"""Runs of OpenHands come in from both of its forms, and from lists of events."""

from __future__ import annotations

import pytest
from trajectorydata import (
    document,
    expected,
    lines,
    of_kind,
    openhands_new,
    openhands_old,
    records_of,
)

import whence
from whence.errors import IngestError
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.record.decision import Decision
from whence.record.event import Event
from whence.record.generation import Generation, ToolCall
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output, Score
from whence.record.span import SpanStarted


def read(folder, *runs):
    return records_of(lines(folder / "output.jsonl", list(runs)), "openhands")[0]


def test_in_older_files_costs_belong_to_the_actions_in_order(tmp_path):
    """The first message is the task, and no call led to it."""
    records = read(tmp_path, openhands_old())
    steps = {span.span: span.name for span in of_kind(records, SpanStarted)}

    assert [(steps[call.span], call.cost_usd) for call in of_kind(records, Generation)] == [
        ("run 1", 0.1),
        ("run_ipython 2", 0.2),
        ("finish 3", 0.3),
    ]
    assert of_kind(records, Event)[0].message == "user: message: fix it"


def test_more_costs_than_actions_are_calls_all_the_same(tmp_path):
    """And so are fewer: no call is made up."""
    more, fewer = openhands_old(), openhands_old()
    more["metrics"]["costs"] = [0.1] * 5
    fewer["metrics"]["costs"] = [0.1]

    assert [call.span is None for call in of_kind(read(tmp_path, more), Generation)] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert len(of_kind(read(tmp_path, fewer), Generation)) == 1


def test_in_older_files_an_observation_follows_its_action(tmp_path):
    """An exit code that is not 0 is an error, with the last line as its message."""
    first, second = of_kind(read(tmp_path, openhands_old()), ToolCall)

    assert (first.tool_name, first.input, first.output) == ("run", {"command": "ls"}, "a.py")
    assert (first.status, first.attributes) == ("ok", {"exit_code": 0})
    assert second.error == {"type": "exit code 1", "message": "ZeroDivisionError"}


def test_a_thought_is_the_reason_for_its_action(tmp_path):
    """Also of the last one, that finishes."""
    decisions = of_kind(read(tmp_path, openhands_old()), Decision)

    assert [(one.what, one.why) for one in decisions] == [
        ("run: ls", "I look first."),
        ("run_ipython: 1 / 0", "I try."),
        ("finish", "Done."),
    ]


def test_the_oldest_files_have_pairs(tmp_path):
    """Of an action and what came of it."""
    paired = openhands_old()
    said = paired["history"]
    paired["history"] = [[said[0], {}], [said[1], said[2]], [said[3], said[4]], [said[5], {}]]

    assert len(of_kind(read(tmp_path, paired), ToolCall)) == 2
    assert len(of_kind(read(tmp_path, paired), Generation)) == 3


def test_in_newer_files_a_response_is_one_call_however_many_actions_it_has(tmp_path):
    """Its usage, cost and latency are found by its id; a call that led to no action is kept."""
    first, second = of_kind(read(tmp_path, openhands_new()), Generation)

    assert (first.response_id, first.cost_usd, first.duration_ns) == ("resp-1", 0.1, 500_000_000)
    assert (first.usage.stated["prompt_tokens"], first.finish_reason) == (100, "tool_calls")
    assert first.output == {"role": "assistant", "content": "hm"}
    assert (second.response_id, second.cost_usd, second.span) == ("resp-2", 0.2, None)
    assert second.usage.stated["prompt_tokens"] == 200


def test_in_newer_files_an_observation_names_its_cause(tmp_path):
    """Whatever stands between them; an observation without an action is an event."""
    records = read(tmp_path, openhands_new())
    ran, looked = of_kind(records, ToolCall)

    assert (ran.tool_name, ran.tool_type, ran.duration_ns) == ("execute_bash", "run", 10**9)
    assert ran.error == {"type": "exit code 2", "message": "such file"}
    assert looked.error == {"type": "error", "message": "not found"}
    assert [event.message for event in of_kind(records, Event)] == [
        "user: message: fix it",
        "environment: agent_state_changed",
    ]


def test_an_action_without_an_observation_says_so(tmp_path):
    """The run may have ended before it came."""
    torn = openhands_new()
    torn["history"] = torn["history"][:4]

    assert [call.status for call in of_kind(read(tmp_path, torn), ToolCall)] == [
        "error",
        "unanswered",
    ]


def test_the_outcome_is_scores_a_patch_and_an_error(tmp_path):
    """Of the resolver and of SWE-bench; an error at the level of the run fails it."""
    resolved, failed = read(tmp_path, openhands_old()), read(tmp_path, openhands_new())

    (score,) = of_kind(resolved, Score)
    assert (score.name, score.value, score.feedback) == ("success", 1.0, "it works")
    assert of_kind(resolved, RunEnded)[0].status == "complete"
    assert of_kind(resolved, Output)[0].value == "diff --git a b"
    assert of_kind(failed, Score)[0].name == "resolved"
    assert of_kind(failed, Score)[0].passed is False
    assert of_kind(failed, RunEnded)[0].error == {
        "type": "RuntimeError",
        "message": "Agent reached maximum iteration",
    }


def test_totals_are_declared_beside_the_sum_of_calls(home, tmp_path):
    """They agree, and nothing is counted twice."""
    report = import_paths(home, [lines(tmp_path / "o.jsonl", [openhands_new()])])

    assert report.cost_usd_declared == report.cost_usd_computed == 0.3
    assert (report.usage_stated.input, report.usage_stated.output) == (300, 30)
    with whence.open(home) as store:
        run = store.run("repo__1").run
        assert run.attributes["declared"]["usage"]["prompt_tokens"] == 300
        assert run.name == "openhands"


def test_issues_name_their_runs(tmp_path):
    """Where there is no instance id."""
    assert of_kind(read(tmp_path, openhands_old()), RunStarted)[0].external_id == "o/r#5"


def test_a_list_of_events_is_a_run(home, tmp_path):
    """Its metrics are those that the events carry, each call once."""
    given = openhands_new()
    metrics, events = given["metrics"], given["history"]
    events[1]["llm_metrics"] = {
        "accumulated_cost": 0.1,
        "costs": metrics["costs"][:1],
        "token_usages": metrics["token_usages"][:1],
    }
    events[3]["llm_metrics"] = metrics
    path = document(tmp_path / "trajectory.json", events)

    report = import_paths(home, [path])

    assert (report.format, report.runs, report.generations) == ("openhands", 1, 2)
    assert report.cost_usd_declared == report.cost_usd_computed == 0.3
    with whence.open(home) as store:
        assert store.run("trajectory").run.generations == 2
    # The name of the file is not what makes a run this one.
    assert import_paths(home, [path.rename(tmp_path / "other.json")]).new == 0


def test_an_answer_that_was_charged_twice_counts_twice(tmp_path):
    """One id in two usages loses neither."""
    twice = openhands_new()
    twice["metrics"]["token_usages"][1]["response_id"] = "resp-1"

    calls = of_kind(read(tmp_path, twice), Generation)

    assert sorted(call.usage.stated["prompt_tokens"] for call in calls) == [100, 200]
    assert {call.response_id for call in calls} == {"resp-1"}


def test_a_line_that_is_no_run_is_named(tmp_path):
    """The others come in."""
    path = lines(tmp_path / "o.jsonl", [openhands_old(), {"instruction": "x"}, openhands_new()])
    with path.open("a") as file:
        file.write('{"history": [')

    records, skipped = records_of(path, "openhands")

    assert len(of_kind(records, RunStarted)) == 2
    assert [one.where.rpartition(":")[2] for one in skipped] == ["2", "4"]
    assert "ends in the middle" in skipped[1].why


def test_a_list_of_other_things_is_refused(tmp_path):
    """With the reason."""
    with pytest.raises(IngestError, match="not a list of events"):
        records_of(document(tmp_path / "x.json", [{"id": 1, "source": "x"}]), "openhands")


def test_the_corpus_has_the_expected_totals(home):
    """Calls, costs, tools and outcomes of each run, twice in a row without a change."""
    folder, figures = expected("openhands-events")
    totals = figures["totals"]

    report = import_paths(home, [folder])

    assert report.runs == totals["runs"]
    assert report.generations == totals["llm_calls"]
    assert report.cost_usd_computed == pytest.approx(totals["sum_of_costs"])
    assert report.cost_usd_declared == pytest.approx(totals["sum_of_costs"])
    assert (report.usage_stated.input, report.tool_errors) == (None, 0)
    with whence.open(home) as store:
        for run, name in ((5, "line0"), (1, "line1")):
            tree, each = store.run(f"neubig/pr-viewer#{run}"), figures["runs"][name]
            assert tree.run.generations == each["llm_calls"]
            assert tree.run.attributes["declared"]["cost_usd"] == pytest.approx(
                each["accumulated_cost"]
            )
            kinds = [call.tool_name for call in tree.tool_calls]
            for kind in ("run", "run_ipython"):
                assert kinds.count(kind) == each["by_kind"][f"observation:{kind}"]
            assert [score.passed for score in tree.scores] == [each["success"]]
    again = import_paths(home, [folder])
    assert (again.new, again.already_there) == (0, report.new)


def action(number, tool, call, answer, **more):
    """Return an action of the SDK of version 1."""
    given = {"command": "ls", "kind": "TerminalAction"}
    return {
        "id": f"a{number}",
        "timestamp": f"2026-09-23T09:42:{number:02}",
        "source": "agent",
        "thought": [{"type": "text", "text": "I look."}],
        "action": given,
        "tool_name": tool,
        "tool_call_id": call,
        "tool_call": {"id": call, "name": tool, "arguments": "{}"},
        "llm_response_id": answer,
        "kind": "ActionEvent",
        **more,
    }


def observation(number, call, asked, said, **more):
    """Return what came of an action of version 1."""
    return {
        "id": f"o{number}",
        "timestamp": f"2026-09-23T09:42:{number:02}",
        "source": "environment",
        "tool_name": "terminal",
        "tool_call_id": call,
        "observation": {"content": [{"type": "text", "text": said}], "is_error": False, **more},
        "action_id": asked,
        "kind": "ObservationEvent",
    }


def new_events():
    return [
        {
            "id": "u1",
            "timestamp": "2026-09-23T09:42:01",
            "source": "user",
            "llm_message": {"role": "user", "content": [{"type": "text", "text": "fix it"}]},
            "kind": "MessageEvent",
        },
        action(2, "terminal", "c1", "r1", reasoning_content="hm"),
        action(3, "terminal", "c2", "r1"),
        observation(4, "c2", "a3", "boom", exit_code=1),
        observation(5, "c1", "a2", "a.py", exit_code=0),
        action(6, "editor", "c3", "r2"),
        {
            "id": "e7",
            "timestamp": "2026-09-23T09:42:07",
            "source": "agent",
            "tool_name": "editor",
            "tool_call_id": "c3",
            "error": "bad arguments",
            "kind": "AgentErrorEvent",
        },
    ]


def test_events_of_version_1_are_read_like_the_others(tmp_path):
    """An observation names its action, an error the call; a response with two actions is one."""
    records, _ = records_of(document(tmp_path / "t.json", new_events()), "openhands")
    calls, tools = of_kind(records, Generation), of_kind(records, ToolCall)

    assert registry.find_format(Source(tmp_path / "t.json")).name == "openhands"
    assert [(tool.tool_name, tool.output, tool.status) for tool in tools] == [
        ("terminal", "a.py", "ok"),
        ("terminal", "boom", "error"),
        ("editor", "bad arguments", "error"),
    ]
    assert [tool.input for tool in tools] == [{"command": "ls"}] * 3
    assert [(call.response_id, call.reasoning) for call in calls] == [("r1", "hm"), ("r2", None)]
    assert len(calls[0].output["tool_calls"]) == 2
    assert {decision.why for decision in of_kind(records, Decision)} == {"I look."}


def folder_of(path, events, name="{number}.json"):
    """Write a file for each event, and return the folder of the session."""
    (path / "events").mkdir(parents=True, exist_ok=True)
    for number, event in enumerate(events):
        document(path / "events" / name.format(number=number), event)
    return path


def test_a_folder_of_events_is_a_run_that_may_grow(home, tmp_path):
    """The pages that OpenHands keeps of the same events are left alone."""
    events = [event | {"id": n} for n, event in enumerate(openhands_new()["history"])]
    session = folder_of(tmp_path / "s1", events[:2])
    (session / "event_cache").mkdir()
    document(session / "event_cache" / "0-25.json", events)
    import_paths(home, [session])
    folder_of(session, events)

    report = import_paths(home, [session])

    assert report.format == "openhands-events"
    assert report.runs == 1
    assert import_paths(home, [session]).new == 0
    with whence.open(home) as store:
        (run,) = store.runs()
        assert run.external_id == "s1"


def test_the_metrics_of_version_1_stand_beside_the_folder(home, tmp_path):
    """One for each use of a model, which belong to the same run."""
    usage = {"model": "m", "prompt_tokens": 100, "completion_tokens": 10, "cache_read_tokens": 40}
    metrics = {
        "accumulated_cost": 0.5,
        "accumulated_token_usage": usage,
        "costs": [{"model": "m", "cost": 0.5, "timestamp": 1.0}],
        "token_usages": [usage | {"response_id": "r1"}],
    }
    condenser = metrics | {"token_usages": [usage | {"response_id": "r9"}]}
    session = folder_of(tmp_path / "s1", new_events(), "event-{number:05}-0a-b.json")
    state = {"stats": {"usage_to_metrics": {"agent": metrics, "condenser": condenser}}}
    document(session / "base_state.json", state | {"execution_status": "stuck"})

    report = import_paths(home, [session])

    assert report.generations == 3
    assert (report.usage_stated.input, report.usage_stated.cache_read) == (200, 80)
    assert (report.cost_usd_declared, report.cost_usd_computed) == (1.0, 1.0)
    with whence.open(home) as store:
        (run,) = store.runs()
        assert run.status == "failed"
