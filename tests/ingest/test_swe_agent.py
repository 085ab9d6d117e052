"""Trajectories of SWE-agent and mini-swe-agent are runs with a step for each answer."""

from __future__ import annotations

import pytest
from trajectorydata import document, expected, of_kind, records_of, swe_trajectory

import whence
from whence.errors import IngestError
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.record.decision import Decision
from whence.record.generation import Generation, ToolCall
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.span import SpanEnded, SpanStarted

MINI = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "fix it"},
    {"role": "assistant", "content": "I look.\n\n```mswea_bash_command\ncat a.py\n```"},
    {"role": "user", "content": "<returncode>1</returncode>\n<output>\nno file\n</output>"},
    {"role": "assistant", "content": "Done.\n\n```bash\nsubmit\n```"},
    {"role": "user", "content": "diff"},
]


def read(folder, content, name="repo-1.traj"):
    return records_of(document(folder / name, content), "swe-agent")[0]


def test_a_step_is_a_call_a_decision_and_a_tool_call(tmp_path):
    """The thought is why, the action is what, its first word is the tool."""
    records = read(tmp_path, swe_trajectory())
    calls, tools = of_kind(records, Generation), of_kind(records, ToolCall)

    assert [decision.why for decision in of_kind(records, Decision)] == [
        "I look first.",
        "That is it.",
    ]
    assert [(tool.tool_name, tool.input, tool.output) for tool in tools] == [
        ("ls", "ls -l\n", "a.py"),
        ("submit", "submit", "diff"),
    ]
    assert [tool.duration_ns for tool in tools] == [250_000_000, 500_000_000]
    assert [call.reasoning for call in calls] == ["I look first.", "That is it."]
    steps = [span for span in of_kind(records, SpanStarted) if span.span_kind == "step"]
    assert [(step.name, step.attributes) for step in steps] == [
        ("ls 1", {"state": {"working_dir": "/repo"}}),
        ("submit 2", {"state": {"working_dir": "/repo"}}),
    ]


def test_a_call_got_the_history_before_its_answer(tmp_path):
    """If the history has an answer for each step; else, what a step states, or nothing."""
    whole = of_kind(read(tmp_path, swe_trajectory()), Generation)
    torn = swe_trajectory()
    torn["history"] = torn["history"][:4]
    torn["trajectory"][1]["query"] = [{"role": "user", "content": "fix it"}]
    parts = of_kind(read(tmp_path, torn), Generation)

    assert [len(call.messages) for call in whole] == [3, 5]
    assert [call.messages for call in parts] == [None, [{"role": "user", "content": "fix it"}]]


def test_totals_are_declared_for_the_run(tmp_path):
    """The cost of this instance, not that of all; a declared 0 is no silence."""
    (run,) = of_kind(read(tmp_path, swe_trajectory()), RunStarted)
    replay, silent = swe_trajectory(), swe_trajectory()
    replay["info"]["model_stats"] = dict.fromkeys(replay["info"]["model_stats"], 0)
    del silent["info"]["model_stats"]
    (zero,) = of_kind(read(tmp_path, replay), RunStarted)
    (none,) = of_kind(read(tmp_path, silent), RunStarted)

    assert run.attributes["declared"] == {
        "cost_usd": 0.5,
        "input_tokens": 120,
        "output_tokens": 7,
        "api_calls": 2,
    }
    assert set(zero.attributes["declared"].values()) == {0}
    assert "declared" not in none.attributes
    calls = of_kind(read(tmp_path, swe_trajectory()), Generation)
    assert {call.usage for call in calls} == {None}


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        ("submitted", "complete"),
        ("submitted (exit_cost)", "complete"),
        ("exit_context", "failed"),
        ("early_exit", "failed"),
    ],
)
def test_the_exit_status_is_the_outcome(status, ended, tmp_path):
    """A trajectory without one has no end."""
    content = swe_trajectory()
    content["info"]["exit_status"] = status

    (end,) = of_kind(read(tmp_path, content), RunEnded)

    assert end.status == ended
    assert (end.error or {}).get("message") == (None if ended == "complete" else status)
    content["info"]["exit_status"] = None
    assert of_kind(read(tmp_path, content), RunEnded) == []


def test_the_submission_is_what_came_out(home, tmp_path):
    """`why` is answered for it too."""
    import_paths(home, [document(tmp_path / "repo-1.traj", swe_trajectory())])

    with whence.open(home) as store:
        (output,) = store.outputs()
        why = store.why(output.output_id)
        assert (output.kind, output.value) == ("patch", "diff --git a b")
        assert why.run.external_id == "repo-1"
        assert "decided what to do next: ls -l" in str(why)


def test_messages_without_steps_give_steps(tmp_path):
    """The block of code is the action, the text around it the reason, a return code the outcome."""
    records = read(tmp_path, MINI, "issue.traj.json")
    tools = of_kind(records, ToolCall)

    assert of_kind(records, RunStarted)[0].external_id == "issue"
    assert [decision.why for decision in of_kind(records, Decision)] == ["I look.", "Done."]
    assert [(tool.tool_name, tool.input, tool.status) for tool in tools] == [
        ("cat", "cat a.py", "error"),
        ("submit", "submit", "ok"),
    ]
    assert tools[0].error == {"type": "exit code 1", "message": "no file"}
    assert of_kind(records, RunEnded) == []


def test_a_newer_mini_trajectory_has_usage_and_times(tmp_path):
    """The provider's answer is kept beside the message."""
    content = {
        "trajectory_format": "mini-swe-agent-1.1",
        "info": {
            "exit_status": "Submitted",
            "submission": "diff",
            "model_stats": {"instance_cost": 0.25, "api_calls": 1},
            "config": {"model": {"model_name": "claude-x"}},
        },
        "messages": [
            {"role": "user", "content": "fix it"},
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [{"function": {"name": "bash", "arguments": '{"command": "ls"}'}}],
                "extra": {
                    "actions": [{"command": "ls"}],
                    "cost": 0.25,
                    "timestamp": 1760000000.5,
                    "response": {
                        "id": "r1",
                        "model": "claude-x-1",
                        "usage": {"prompt_tokens": 7, "completion_tokens": 2},
                        "choices": [{"finish_reason": "tool_calls"}],
                    },
                },
            },
            {"role": "tool", "content": "a.py", "extra": {"returncode": 0}},
        ],
    }
    records = read(tmp_path, content, "x.json")
    (call,) = of_kind(records, Generation)

    assert (call.model, call.response_id, call.cost_usd) == ("claude-x", "r1", 0.25)
    assert (call.usage.input_uncached, call.usage.output_visible) == (7, 2)
    assert of_kind(records, RunStarted)[0].ts == "2025-10-09T08:53:20.500000000Z"
    assert "undated" not in of_kind(records, RunStarted)[0].attributes
    assert of_kind(records, ToolCall)[0].input == "ls"


def test_a_file_without_steps_and_messages_is_refused(tmp_path):
    """The message names the file."""
    path = document(tmp_path / "x.traj", {"info": {}})

    with pytest.raises(IngestError, match=r"x\.traj has neither"):
        records_of(path, "swe-agent")


def test_the_corpus_has_the_expected_totals(home):
    """Steps, declared totals and outcomes of every file; those with messages only have answers."""
    folder, figures = expected("swe-agent-traj")
    totals = figures["totals"]
    answers = sum(
        each.get("messages", each.get("history_messages"))["assistant"]
        for each in figures["files"].values()
        if not each.get("steps")
    )

    report = import_paths(home, [folder])

    assert report.runs == totals["files"]
    assert report.generations == report.tool_calls == totals["steps"] + answers
    assert report.cost_usd_declared == totals["cost"]
    assert report.usage_stated.total is None
    assert {one.where.rpartition("/")[2] for one in report.skipped} == {
        "SOURCE.md",
        "expected.json",
    }
    with whence.open(home) as store:
        declared = [run.attributes.get("declared", {}) for run in store.runs(limit=None)]
        for stated, name in (
            ("tokens_sent", "input_tokens"),
            ("tokens_received", "output_tokens"),
            ("api_calls", "api_calls"),
        ):
            assert sum(each.get(name, 0) for each in declared) == totals[stated]
        ended = [run.status for run in store.runs(limit=None)]
        submitted = [each.get("submitted") for each in figures["files"].values()]
        assert ended.count("complete") == submitted.count(True)
        assert ended.count("incomplete") == 2
    again = import_paths(home, [folder])
    assert (again.new, again.already_there) == (0, report.new)


def answered(key, commands, said="I look.", tokens=10, **more):
    """Return an answer of mini-swe-agent 2 with a call for each command."""
    calls = [
        {"id": f"{key}{n}", "function": {"name": "bash", "arguments": f'{{"command": "{one}"}}'}}
        for n, one in enumerate(commands)
    ]
    usage = {"prompt_tokens": 10 * tokens, "completion_tokens": tokens}
    message = {"role": "assistant", "content": said, "tool_calls": calls or None, **more}
    return message | {
        "extra": {
            "actions": [
                {"command": c, "tool_call_id": f"{key}{n}"} for n, c in enumerate(commands)
            ],
            "response": {"id": key, "usage": usage, "choices": [{"message": message}]},
            "cost": 0.5,
            "timestamp": 1_750_000_000.0,
        }
    }


def observed(key, output, code=0):
    """Return what mini-swe-agent 2 saw of a command."""
    extra = {"raw_output": output, "returncode": code, "timestamp": 1_750_000_001.0}
    return {"role": "tool", "tool_call_id": key, "content": f"saw {output}", "extra": extra}


def test_an_answer_may_call_several_tools(tmp_path):
    """Each has the observation with its id, in whatever order they stand."""
    said = [{"role": "user", "content": "fix it"}, answered("a", ["ls", "cat b"])]
    content = {"messages": [*said, observed("a1", "no file", 1), observed("a0", "a.py")]}
    records = read(tmp_path, content)
    (decision,) = of_kind(records, Decision)

    assert [(t.input, t.output, t.status) for t in of_kind(records, ToolCall)] == [
        ("ls", "saw a.py", "ok"),
        ("cat b", "saw no file", "error"),
    ]
    assert of_kind(records, ToolCall)[1].error == {"type": "exit code 1", "message": "no file"}
    assert (decision.what, decision.why) == (["ls", "cat b"], "I look.")


def test_an_answer_that_cannot_be_parsed_was_a_call(tmp_path):
    """mini-swe-agent keeps it in the message that says what is wrong with it."""
    wrong = answered("b", [], "Done!", 7)
    told = {"role": "user", "content": "No tool calls found."}
    told["extra"] = wrong["extra"] | {"interrupt_type": "FormatError"}
    records = read(tmp_path, {"messages": [answered("a", ["ls"]), observed("a0", "x"), told]})
    calls = of_kind(records, Generation)
    ends = [end for end in of_kind(records, SpanEnded) if end.status == "error"]

    assert [(call.response_id, call.cost_usd) for call in calls] == [("a", 0.5), ("b", 0.5)]
    assert calls[1].output["content"] == "Done!"
    assert calls[1].usage.output_visible == 7
    assert [end.error for end in ends] == [
        {"type": "FormatError", "message": "No tool calls found."}
    ]


def test_answers_of_the_responses_api_have_no_role(tmp_path):
    """Their tokens and reasoning stand in themselves, and results are items of their own."""
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "c1", "name": "bash", "arguments": "{}"},
    ]
    answer = {
        "object": "response",
        "id": "resp_1",
        "output": items,
        "usage": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120},
        "extra": {"actions": [{"command": "ls", "tool_call_id": "c1"}], "cost": 0.25},
    }
    result = {"type": "function_call_output", "call_id": "c1", "output": "a.py", "extra": {}}
    asked = {"role": "user", "content": "fix it"}
    records = read(tmp_path, {"info": {}, "messages": [asked, answer, result]})
    (call,), (tool,) = of_kind(records, Generation), of_kind(records, ToolCall)

    assert (call.response_id, call.reasoning, call.cost_usd) == ("resp_1", "hm", 0.25)
    assert (call.usage.input_uncached, call.usage.output_visible) == (100, 20)
    assert (tool.input, tool.output) == ("ls", "a.py")
    assert of_kind(records, Decision)[0].why == "I look."


def test_attempts_are_stages_and_the_chosen_one_counts_once(tmp_path):
    """The best one stands in the file twice; the others are told as well."""
    first, best = swe_trajectory(), swe_trajectory()
    first["info"]["exit_status"] = "exit_cost"
    best["trajectory"] = best["trajectory"][:1]
    whole = best | {"attempts": [first, best], "info": best["info"] | {"best_attempt_idx": 1}}
    records = read(tmp_path, whole)
    stages = [span for span in of_kind(records, SpanStarted) if span.span_kind == "stage"]
    (link,) = of_kind(records, Link)
    choice = next(one for one in of_kind(records, Decision) if one.name == "which attempt")

    assert [stage.name for stage in stages] == ["attempt 1", "attempt 2"]
    assert (link.source, link.target) == (stages[0].span, stages[1].span)
    assert choice.what == "attempt 2"
    assert len(of_kind(records, Generation)) == 3
    assert of_kind(records, RunStarted)[0].attributes["declared"]["api_calls"] == 2

    records = read(tmp_path, {"attempts": [first, best]})
    assert len(of_kind(records, Generation)) == 3
    assert of_kind(records, RunStarted)[0].attributes["declared"]["api_calls"] == 4


def test_a_mini_trajectory_is_recognized_by_its_end(tmp_path):
    """Whatever it is called: what it is stands behind its messages."""
    content = {
        "info": {"exit_status": ""},
        "messages": MINI,
        "trajectory_format": "mini-swe-agent-1",
    }
    path = document(tmp_path / "last_run.json", content)

    assert registry.find_format(Source(path)).name == "swe-agent"
