"""Trajectories of moatless are runs of stages with decisions, retries, sources and costs."""

from __future__ import annotations

import pytest
from trajectorydata import document, expected, moatless_trajectory, of_kind, records_of

import whence
from whence.errors import IngestError
from whence.ingest import base, registry
from whence.ingest.importer import import_paths
from whence.record.decision import Decision
from whence.record.generation import Generation
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.source import Source
from whence.record.span import SpanEnded, SpanStarted


def read(folder, content):
    return records_of(document(folder / "t.json", content), "moatless")[0]


@pytest.fixture
def records(tmp_path):
    """The records of the small trajectory."""
    return read(tmp_path, moatless_trajectory())


def test_a_state_is_a_stage_and_an_action_a_step_in_it(records):
    """A state ends when the next begins; its records name it."""
    spans = of_kind(records, SpanStarted)
    stages = [span for span in spans if span.span_kind == "stage"]
    steps = [span for span in spans if span.span_kind == "step"]
    ends = {end.span: end.ts for end in of_kind(records, SpanEnded)}

    assert [stage.name for stage in stages] == [
        "Pending",
        "SearchCode",
        "IdentifyCode",
        "EditCode",
        "Finished",
    ]
    assert [step.name for step in steps] == [
        "SearchCode 1",
        "IdentifyCode 1",
        "EditCode 1",
        "EditCode 2",
    ]
    assert ends[stages[0].span] == "2024-08-16T18:58:01.500000000Z"
    assert {decision.stage for decision in of_kind(records, Decision)} == {
        "SearchCode",
        "IdentifyCode",
        "EditCode",
    }


def test_only_what_a_model_completed_is_a_model_call(records):
    """With its own model, usage and cost; what was replayed has none."""
    calls = of_kind(records, Generation)

    assert [(call.usage.input_uncached, call.usage.output_visible) for call in calls] == [
        (100, 10),
        (150, 20),
    ]
    assert [call.cost_usd for call in calls] == [0.01, 0.02]
    assert {(call.model, call.response_model, call.finish_reason) for call in calls} == {
        ("gpt-4o", "gpt-4o-2024", "stop")
    }
    assert calls[0].messages == [{"role": "user", "content": "edit f"}]
    steps = [span for span in of_kind(records, SpanStarted) if span.span_kind == "step"]
    assert [step.attributes["replayed"] for step in steps] == [True, True, False, False]


def test_a_trigger_is_a_decision_among_what_the_rules_allow(records):
    """The scratch pad is why; that an action was sent back was not the model's decision."""
    first, _, retried, last = of_kind(records, Decision)

    assert (first.what, first.why, first.made_by) == ("did_search", "where is f?", None)
    assert [(option.name, option.chosen, option.attributes) for option in first.options] == [
        ("did_search", True, {"leads_to": ["IdentifyCode"]}),
        ("finish", False, {"leads_to": ["EditCode"]}),
    ]
    assert (retried.what, retried.why, retried.made_by) == ("retry", "invalid code", "moatless")
    assert [option.name for option in retried.options] == ["finish", "reject", "retry"]
    assert (last.what, last.made_by) == ("finish", "gpt-4o")


def test_an_action_that_was_sent_back_is_retried_by_what_comes_next(home, tmp_path):
    """The next action, or the state that gave up; the attempt itself failed."""
    given_up = moatless_trajectory()
    given_up["transitions"][3]["actions"].pop()
    given_up["transitions"][4]["name"] = "Rejected"
    for name, content, label in (
        ("t.json", moatless_trajectory(), "step EditCode 2"),
        ("u.json", given_up, "stage Rejected"),
    ):
        report = import_paths(home / name, [document(tmp_path / name, content)])
        with whence.open(home / name) as store:
            (link,) = store.why("coder_1").ancestors
            assert (report.retries, report.errors) == (1, 1)
            assert (link.edge.kind, link.label) == ("retry_of", "step EditCode 1")
            assert link.target_label == label
            assert store.why("coder_1").totals.retries == 1


def test_what_a_search_ranked_was_kept_or_dropped(records):
    """By what the state identified."""
    sources = of_kind(records, Source)

    assert [(source.source_key, source.kept) for source in sources] == [
        ("a.py#f", True),
        ("a.py#g", False),
    ]
    assert sources[1].attributes == {"rank": 1, "tokens": 4}
    assert {source.stage for source in sources} == {"IdentifyCode"}


def test_declared_and_computed_cost_are_both_kept(home, tmp_path):
    """The declared one may cover attempts that are not in the file."""
    report = import_paths(home, [document(tmp_path / "t.json", moatless_trajectory())])

    assert report.cost_usd_declared == 0.04
    assert report.cost_usd_computed == 0.03


@pytest.mark.parametrize(
    ("info", "last", "ended", "message"),
    [
        ({"status": "finished"}, "EditCode", "complete", None),
        ({"status": "rejected", "error": "Max retries"}, "Rejected", "failed", "Max retries"),
        ({}, "Finished", "complete", None),
        ({}, "Rejected", "failed", None),
        ({"error": "Traceback\n  File x\nValueError: no"}, "EditCode", "failed", "no"),
    ],
)
def test_the_outcome_is_stated_or_follows_from_the_last_state(info, last, ended, message, tmp_path):
    """The last line of a traceback is its message. Without either the run has no end."""
    content = moatless_trajectory()
    content["info"] = info
    content["transitions"][-1]["name"] = last

    (end,) = of_kind(read(tmp_path, content), RunEnded)

    assert (end.status, (end.error or {}).get("message")) == (ended, message)
    content["info"], content["transitions"][-1]["name"] = {}, "EditCode"
    assert of_kind(read(tmp_path, content), RunEnded) == []


def test_runs_of_one_instance_share_a_workflow(records):
    """A correction names neither the run that it corrects nor its file, only the instance."""
    (run,) = of_kind(records, RunStarted)

    assert (run.external_id, run.workflow, run.tags) == ("coder_1", "repo-1", ["repo-1"])


def test_a_fork_is_a_choice_among_branches(tmp_path):
    """The branch that leads to the current state was taken; a late branch says what it follows."""
    content = moatless_trajectory()
    branch = dict(content["transitions"][4], id=5, name="Rejected", previous_state_id=2)
    content["transitions"].append(branch)
    records = read(tmp_path, content)
    (fork,) = [one for one in of_kind(records, Decision) if one.name == "which branch"]
    (link,) = [one for one in of_kind(records, Link) if one.link_kind == "continuation_of"]
    spans = {span.span: span.name for span in of_kind(records, SpanStarted)}

    assert fork.what == "EditCode 3"
    assert [(option.name, option.chosen) for option in fork.options] == [
        ("EditCode 3", True),
        ("Rejected 5", False),
    ]
    assert (spans[link.source], spans[link.target]) == ("IdentifyCode", "Rejected")


def test_a_ring_of_states_is_no_trap(tmp_path):
    """Parents that lead back are followed once."""
    content = moatless_trajectory()
    content["transitions"][1]["previous_state_id"] = 3
    content["transitions"].append(dict(content["transitions"][2], id=9, previous_state_id=3))

    assert len(of_kind(read(tmp_path, content), Decision)) > 4


@pytest.mark.parametrize(
    ("trace_id", "began"),
    [
        ("coder_1", "1970-01-01T00:00:00.000001000Z"),
        ("coder_1_20240817-203613", "2024-08-17T20:36:13.000000000Z"),
        ("coder_1_20249999-203613", "1970-01-01T00:00:00.000001000Z"),
    ],
)
def test_a_trajectory_without_times_has_an_order(trace_id, began, tmp_path):
    """It begins when its id says, or else says that it is undated."""
    content = moatless_trajectory()
    content["info"]["trace_id"] = trace_id
    for state in content["transitions"]:
        del state["timestamp"]
    records = read(tmp_path, content)
    times = [record.ts for record in records]

    assert times[0] == began
    assert times == sorted(times)
    attributes = of_kind(records, RunStarted)[0].attributes
    assert ("undated" in attributes) == began.startswith("1970")


def test_a_file_without_transitions_is_refused(tmp_path):
    """With the reason."""
    with pytest.raises(IngestError, match="no transitions"):
        read(tmp_path, {"transition_rules": {}})


def test_the_corpus_has_the_expected_totals(home):
    """Calls, tokens, cost, retries, states and triggers of each file, twice without a change."""
    folder, figures = expected("moatless-tree")
    for name, each in figures["files"].items():
        place = home / name.replace("/", "_")
        report = import_paths(place, [folder / name])
        assert report.spans == each["transitions"] + each["actions"]
        assert report.decisions == each["actions"] == sum(each["triggers"].values())
        assert report.generations == each["llm_calls_with_usage"]
        assert report.usage_stated.input == (each["prompt_tokens"] or None)
        assert report.usage_stated.output == (each["completion_tokens"] or None)
        assert (report.cost_usd_computed or 0) == pytest.approx(each["cost"], abs=1e-6)
        assert (report.retries or 0) == each["retries"]
        with whence.open(place) as store:
            (run,) = store.runs()
            tree = store.run(run.id)
            stages = [span.row.name for span in tree.spans]
            models = [call.model for call in tree.generations]
            assert {name: stages.count(name) for name in stages} == each["states"]
            assert {name: models.count(name) for name in models} == each["models"]
            assert run.attributes.get("declared", {}).get("cost_usd") == each["declared_total_cost"]
            assert (run.error is not None) == each["has_error"]
            assert run.external_id == each["trace_id"]

    totals = figures["totals"]
    whole = import_paths(home / "all", [folder])
    assert whole.runs == totals["files"]
    assert whole.generations == totals["llm_calls_with_usage"]
    assert whole.usage_stated.input == totals["prompt_tokens"]
    assert whole.usage_stated.output == totals["completion_tokens"]
    assert whole.cost_usd_computed == totals["cost"]
    assert whole.retries == totals["retries"]
    again = import_paths(home / "all", [folder])
    assert (again.new, again.already_there) == (0, whole.new)


def test_the_first_versions_state_what_an_action_cost(tmp_path):
    """The model is its state's; what it led to is the next state."""
    content = {
        "name": "AgenticLoop",
        "initial_message": "wrong",
        "transitions": [
            {
                "name": "PlanToCode",
                "properties": {"model": "gpt-x"},
                "actions": [
                    {
                        "action": {"thoughts": "remove it", "action": {"file_path": "a.py"}},
                        "output": {"file_path": "a.py"},
                        "completion_cost": 0.25,
                    }
                ],
            },
            {"name": "Finished", "properties": {}, "actions": []},
        ],
        "info": {"total_cost": 0.5, "trace_id": "coder_x_20240616-074447"},
    }
    path = document(tmp_path / "t.json", content)
    records, _ = records_of(path, "moatless")
    (call,), (decision,) = of_kind(records, Generation), of_kind(records, Decision)

    assert registry.find_format(base.Source(path)).name == "moatless"
    assert (call.model, call.cost_usd, call.usage) == ("gpt-x", 0.25, None)
    assert (decision.what, decision.why) == ("Finished", "remove it")
    assert of_kind(records, RunEnded)[0].status == "complete"
