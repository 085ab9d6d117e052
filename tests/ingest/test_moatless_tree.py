"""Search trees of moatless are runs of nodes with calls, actions, rewards and choices."""

from __future__ import annotations

import json

import pytest
from trajectorydata import document, of_kind, records_of

import whence
from whence.errors import IngestError
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.record.decision import Decision
from whence.record.generation import Generation, ToolCall
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Output, Score
from whence.record.span import SpanEnded, SpanStarted

MODEL = "gpt-x"


def called(key, second, sent, received, *, cached=0, own=None):
    """Return a completion; `own` is what the provider stated of its tokens."""
    return {
        "model": MODEL,
        "input": [{"role": "user", "content": "fix f"}],
        "response": {
            "id": key,
            "created": 1733754000 + second,
            "model": "gpt-x-1",
            "choices": [
                {"finish_reason": "stop", "message": {"role": "assistant", "content": key}}
            ],
            **({} if own is None else {"usage": own}),
        },
        "usage": {
            "completion_cost": 0.25,
            "completion_tokens": received,
            "prompt_tokens": sent,
            "cached_tokens": cached,
        },
    }


def did(name, message="done", properties=None, completion=None, **more):
    """Return an action step."""
    return {
        "action": {
            "thoughts": f"I {name}",
            "path": "a.py",
            "action_args_class": f"moatless.actions.some.{name}Args",
        },
        "observation": {
            "message": message,
            "terminal": name in {"Finish", "Reject"},
            "expect_correction": False,
            "properties": properties or {},
            "execution_completion": completion,
            **more,
        },
        "completion": completion,
    }


def node(number, *steps, completions=None, reward=None, children=(), **more):
    """Return a node."""
    return {
        "node_id": number,
        "user_message": None,
        "action_steps": list(steps),
        "file_context": {"files": []},
        "completions": completions or {},
        "possible_actions": ["View", "Edit", "Finish"],
        "is_duplicate": None,
        "terminal": False,
        "error": None,
        "reward": reward,
        "visits": 1,
        "value": None,
        "max_expansions": 2,
        **more,
        "children": list(children),
    }


def tree():
    """Return a tree: 0 leads to 1 and 3, 1 to 2, 3 to 4, and 5 repeats 4."""
    finished = node(
        4,
        did("Finish", "f is fixed"),
        completions={"build_action": called("b4", 9, 400, 40)},
        file_context={"files": [{"file_path": "a.py", "patch": "--- a/a.py\n"}]},
    )
    repeated = node(5, completions={"build_action": called("b5", 11, 400, 40)}, is_duplicate=True)
    repeated["action_steps"] = [{"action": did("Finish")["action"], "observation": None}]
    searched = called("s1", 3, 50, 5)
    return {
        "metadata": {"instance_id": "repo-1"},
        "max_expansions": 2,
        "max_iterations": 10,
        "selector": {"type": "BestFirstSelector"},
        "root": node(
            0,
            user_message="fix f",
            children=[
                node(
                    1,
                    did("View", completion=searched),
                    completions={
                        "build_action": called("b1", 1, 100, 10),
                        "execute_action": searched,
                        "value_function": called("v1", 4, 70, 7),
                    },
                    reward={"value": 30, "explanation": "a start", "feedback": "look elsewhere"},
                    children=[
                        node(
                            2,
                            did("Edit", "not there", {"fail_reason": "string_not_found"}),
                            completions={"build_action": called("b2", 5, 200, 20)},
                            reward={"value": -50},
                        )
                    ],
                ),
                node(
                    3,
                    did("Edit"),
                    completions={"build_action": called("b3", 7, 300, 30)},
                    children=[finished, repeated],
                ),
            ],
        ),
    }


def listed():
    """Return the same tree as a list of nodes that name their parents."""
    made, waiting = [], [(tree()["root"], None)]
    while waiting:
        one, parent = waiting.pop()
        waiting += [(child, one["node_id"]) for child in one.pop("children")]
        made.append({**one, "parent_id": parent})
    return {"nodes": made}


def only(**changes):
    """Return a tree with one node below its root."""
    return {"root": node(0, children=[node(1, **changes)])}


def read(folder, content):
    return records_of(document(folder / "t.json", content), "moatless-tree")[0]


@pytest.fixture
def records(tmp_path):
    """The records of the small tree."""
    return read(tmp_path, tree())


def test_a_node_is_a_step_that_continues_its_parent(records):
    """In the order in which nodes were made, which is not that of the file."""
    (run,) = of_kind(records, RunStarted)
    steps = [span for span in of_kind(records, SpanStarted) if span.span_kind == "step"]
    names = {span.span: span.name for span in steps}
    links = [link for link in of_kind(records, Link) if link.link_kind == "continuation_of"]

    assert (run.workflow, run.ts) == ("repo-1", "2024-12-09T14:20:01.000000000Z")
    assert list(names.values()) == ["node 0", "View 1", "Edit 2", "Edit 3", "Finish 4", "Finish 5"]
    assert {span.parent for span in steps} == {None}
    assert [(names[link.source], names[link.target]) for link in links] == [
        ("node 0", "View 1"),
        ("View 1", "Edit 2"),
        ("node 0", "Edit 3"),
        ("Edit 3", "Finish 4"),
        ("Edit 3", "Finish 5"),
    ]
    assert (steps[0].input, steps[1].attributes["visits"]) == ("fix f", 1)
    times = [record.ts for record in records]
    assert times == sorted(times)


def test_a_completion_is_one_call_wherever_it_stands(records):
    """An action's own is in the node, the step and the observation; a copied node has it again."""
    calls = of_kind(records, Generation)

    assert [(call.name, call.response_id) for call in calls] == [
        ("build_action", "b1"),
        ("execute_action", "s1"),
        ("value_function", "v1"),
        ("build_action", "b2"),
        ("build_action", "b3"),
        ("build_action", "b4"),
        ("build_action", "b5"),
    ]
    assert {(c.model, c.response_model, c.finish_reason, c.cost_usd) for c in calls} == {
        (MODEL, "gpt-x-1", "stop", 0.25)
    }
    assert calls[0].output == {"role": "assistant", "content": "b1"}


def test_a_copied_node_called_no_model(tmp_path):
    """It has the very completions of the first one; another answer of that id is another call."""
    twice = node(2, completions={"build_action": called("b", 1, 10, 1)})
    content = only(completions={"build_action": called("b", 1, 10, 1)}, children=[twice])

    assert len(of_kind(read(tmp_path, content), Generation)) == 1
    twice["completions"]["build_action"]["usage"]["prompt_tokens"] = 11
    assert len(of_kind(read(tmp_path, content), Generation)) == 2


def test_a_completion_that_was_retried_says_which_attempt_it_was(tmp_path):
    """Only the last attempt is kept, with the tokens of all of them."""
    completion = {**called("b", 1, 30, 3, own={"prompt_tokens": 10}), "retries": 2}
    (call,) = of_kind(read(tmp_path, only(completions={"build_action": completion})), Generation)

    assert (call.attempt, call.usage.input_uncached) == (3, 30)


@pytest.mark.parametrize(
    ("own", "buckets"),
    [
        (None, (40, 60, None)),
        ({"input_tokens": 90, "output_tokens": 10}, (90, 0, None)),
        (
            {
                "input_tokens": 90,
                "output_tokens": 10,
                "cache_read_input_tokens": 60,
                "cache_creation_input_tokens": 10,
            },
            (90, 60, 10),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 10,
                "prompt_tokens_details": {"cached_tokens": 60},
            },
            (40, 60, None),
        ),
    ],
)
def test_the_provider_tells_where_cached_tokens_are(own, buckets, tmp_path):
    """Moatless has one count for those inside and beside the input; its words are kept."""
    content = only(completions={"build_action": called("b", 1, 100, 10, cached=60, own=own)})
    if own is not None and own.keys() == {"input_tokens", "output_tokens"}:
        buckets = (40, 60, None)  # they do not agree with what moatless states
    (call,) = of_kind(read(tmp_path, content), Generation)

    assert (call.usage.input_uncached, call.usage.cache_read, call.usage.cache_write) == buckets
    assert call.usage.output_visible == 10
    assert call.usage.stated["prompt_tokens"] == 100


def test_counts_of_later_versions_have_buckets(tmp_path):
    """They name what is read from a cache, written to it, and reasoned."""
    stated = {
        "completion_cost": 0.5,
        "prompt_tokens": 100,
        "completion_tokens": 30,
        "cache_read_tokens": 60,
        "cache_write_tokens": 10,
        "reasoning_tokens": 20,
    }
    attempts = [
        {
            "start_time": 1733754000000.0,
            "end_time": 1733754001500.0,
            "usage": {"completion_cost": 0.25, "prompt_tokens": 90, "completion_tokens": 5},
            "success": False,
            "failure_reason": "no tool call",
            "attempt_number": 1,
        },
        {
            "start_time": 1733754002000.0,
            "end_time": 1733754004000.0,
            "usage": stated,
            "attempt_number": 2,
        },
    ]
    completion = {"model": MODEL, "attempts": attempts}
    content = only(
        completions={"build_action": completion},
        assistant_message="I look",
        timestamp="2030-01-01T00:00:00",
    )
    records = read(tmp_path, content)
    first, second = of_kind(records, Generation)

    assert (first.attempt, first.status, first.error["message"]) == (1, "error", "no tool call")
    assert (second.attempt, second.duration_ns, second.output) == (2, 2_000_000_000, "I look")
    assert second.ts == "2024-12-09T14:20:04.000000000Z"
    found = second.usage
    assert (found.input_uncached, found.cache_read, found.cache_write) == (30, 60, 10)
    assert (found.output_visible, found.reasoning, second.cost_usd) == (10, 20, 0.5)
    assert of_kind(records, SpanStarted)[1].ts.startswith("2024-12-09T14:20:00.")


def test_an_action_is_a_tool_call_with_its_reason(records):
    """What could have been done instead is told; a node that repeats another did nothing."""
    calls = of_kind(records, ToolCall)
    decisions = [one for one in of_kind(records, Decision) if one.name == "what to do next"]

    assert [(call.tool_name, call.status) for call in calls] == [
        ("View", "ok"),
        ("Edit", "error"),
        ("Edit", "ok"),
        ("Finish", "ok"),
    ]
    assert calls[1].error == {"type": "string_not_found", "message": "not there"}
    assert calls[0].input == {"thoughts": "I View", "path": "a.py"}
    assert (decisions[0].what, decisions[0].why) == ("View: a.py", "I View")
    assert [(one.name, one.chosen) for one in decisions[0].options] == [
        ("View", True),
        ("Edit", False),
        ("Finish", False),
    ]


def test_which_node_was_expanded_is_a_choice_among_those_that_could_be(records):
    """With the reward of each; where only one could be there was no choice."""
    first, second, third, last = [
        one for one in of_kind(records, Decision) if one.name == "which node to expand"
    ]

    assert (first.what, first.made_by) == ("View 1", "BestFirstSelector")
    assert [(one.name, one.score, one.chosen) for one in first.options] == [
        ("node 0", None, False),
        ("View 1", 30, True),
    ]
    assert (second.what, third.what, last.what) == ("node 0", "Edit 3", "Edit 3")
    assert [one.name for one in third.options] == ["View 1", "Edit 2", "Edit 3"]
    assert third.inputs == {"expandable": 3}


def test_a_reward_is_a_score_of_its_node(records):
    """By the model that gave it; what it says to other branches is kept."""
    scores = of_kind(records, Score)

    assert [(score.value, score.by, score.feedback) for score in scores] == [
        (30, MODEL, "a start"),
        (-50, None, ""),
    ]
    assert (scores[0].scale, scores[0].attributes) == ("-100-100", {"feedback": "look elsewhere"})


def test_a_node_that_finished_is_an_output(records):
    """With what it changed; one that was not carried out is none."""
    (output,) = of_kind(records, Output)
    (end,) = of_kind(records, RunEnded)

    assert (output.output_kind, output.value) == ("patch", "--- a/a.py\n")
    assert (output.summary, end.status, end.error) == ("f is fixed", "complete", None)


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"action_steps": [did("Reject", "too hard")]}, "failed", ("rejected", "too hard")),
        ({"error": "ValueError: no\n\nTraceback"}, "failed", ("ValueError", "no")),
        ({"error": "lost"}, "failed", ("error", "lost")),
        ({"action_steps": [did("View")]}, None, None),
    ],
)
def test_a_search_without_an_end_has_none(changes, status, error, tmp_path):
    """It failed if its last node failed or gave up."""
    ends = of_kind(read(tmp_path, only(**changes)), RunEnded)

    assert [end.status for end in ends] == ([] if status is None else [status])
    assert [(end.error["type"], end.error["message"]) for end in ends] == (
        [] if error is None else [error]
    )


def test_what_came_to_nothing_is_tried_again(tmp_path):
    """By the next sibling; and an action that asks to be corrected, by what continues it."""
    action_error = {
        "action": {"error": "no JSON", "action_args_class": "moatless.actions.model.ActionError"},
        "observation": {"message": "no JSON", "terminal": True},
    }
    corrected = did("Edit", "not found", expect_correction=True)
    content = {
        "root": node(
            0,
            children=[
                node(1, did("View"), is_duplicate=True),
                node(2, action_error),
                node(3, corrected, children=[node(4, did("Edit", properties={"retries": 2}))]),
            ],
        )
    }
    records = read(tmp_path, content)
    names = {span.span: span.name for span in of_kind(records, SpanStarted)}
    links = [link for link in of_kind(records, Link) if link.link_kind == "retry_of"]
    ended = {names[end.span]: end for end in of_kind(records, SpanEnded)}

    assert [(names[link.source], names[link.target]) for link in links] == [
        ("View 1", "ActionError 2"),
        ("ActionError 2", "Edit 3"),
        ("Edit 3", "Edit 4"),
    ]
    assert (ended["View 1"].status, ended["ActionError 2"].status) == ("cancelled", "error")
    assert ended["ActionError 2"].error["message"] == "no JSON"
    tools = of_kind(records, ToolCall)
    assert [(tool.tool_name, tool.retry_count) for tool in tools] == [
        ("View", None),
        ("Edit", None),
        ("Edit", 2),
    ]
    assert tools[1].error["type"] == "expect_correction"


def test_the_first_versions_have_one_action_a_node(tmp_path):
    """What it observed stands twice; nothing in them has a time unless a provider gave one."""
    step = did("Finish", "f is fixed")
    content = only(action=step["action"], observation=step["observation"], value=0.0)
    first = content["root"]["children"][0]
    del first["action_steps"]
    first["output"], first["message"] = step["observation"], "go on"
    records = read(tmp_path, content)

    assert of_kind(records, RunStarted)[0].attributes == {"undated": True}
    assert [tool.tool_name for tool in of_kind(records, ToolCall)] == ["Finish"]
    assert of_kind(records, SpanStarted)[1].input == "go on"
    assert of_kind(records, Output)[0].value == "f is fixed"


@pytest.mark.parametrize(
    "response",
    [
        {"choices": [{"message": {"tool_calls": [{"function": {"name": "View"}}]}}]},
        {"choices": [{"message": {"content": '{"action": {}, "action_type": "View"}'}}]},
        {"content": [{"type": "text", "text": "so"}, {"name": "View", "input": {}}]},
    ],
)
def test_an_action_without_a_class_is_what_the_model_asked_for(response, tmp_path):
    """Some versions keep of the actions in steps their reasons alone."""
    step = did("View")
    del step["action"]["action_args_class"]
    content = only(
        action_steps=[step], completions={"build_action": {"model": MODEL, "response": response}}
    )

    assert [tool.tool_name for tool in of_kind(read(tmp_path, content), ToolCall)] == ["View"]
    content["root"]["children"][0]["action"] = did("Edit")["action"]
    assert [tool.tool_name for tool in of_kind(read(tmp_path, content), ToolCall)] == ["Edit"]


def test_a_list_of_nodes_is_the_tree_that_they_name(home, tmp_path):
    """Also by itself, as lists are kept in memory; all forms say the same."""
    reports = []
    for name, content in (
        ("tree.json", tree()),
        ("node.json", tree()["root"]),
        ("nodes.json", listed()),
        ("list.json", listed()["nodes"]),
    ):
        path = document(tmp_path / name, content)
        assert registry.find_format(Source(path)).name == "moatless-tree"
        reports.append(import_paths(home / name, [path]))

    assert {report.format for report in reports} == {"moatless-tree"}
    assert {len(report.skipped) for report in reports} == {0}
    figures = {
        (r.spans, r.generations, r.decisions, r.retries, r.cost_usd_computed) for r in reports
    }
    assert figures == {(10, 7, 9, None, 1.75)}


def test_nodes_of_a_list_that_do_not_fit_are_named(tmp_path):
    """A parent that is not there, an id that is there already; parents in a ring are no trap."""
    nodes = [
        {**node(1, did("View")), "parent_id": 2},
        {**node(2, did("View")), "parent_id": 1},
        {**node(3, did("View")), "parent_id": 7},
        {**node(3, did("View")), "parent_id": 1},
    ]
    records, skipped = records_of(document(tmp_path / "t.json", nodes), "moatless-tree")

    assert len(of_kind(records, ToolCall)) == 3
    assert [one.why for one in skipped] == [
        "the list has a node of this id already",
        "no node has the id of its parent, 7",
    ]


def test_parts_of_another_type_are_named(tmp_path):
    """What is left of the node comes in."""
    content = only(
        completions={"build_action": "lost", "other": None},
        action_steps=[7, did("View")],
        reward=True,
        timestamp=[],
        visits="many",
    )
    content["root"]["children"] += [9, {}, {"node_id": 5, "children": {}, "completions": []}]
    records, skipped = records_of(document(tmp_path / "t.json", content), "moatless-tree")

    assert [tool.tool_name for tool in of_kind(records, ToolCall)] == ["View"]
    assert [one.where.removeprefix(str(tmp_path / "t.json")) for one in skipped] == [
        ", node 1, completion build_action",
        ", node 1, action step 0",
        ", node 2",
        ", node 2",
        ", node 5, children",
        ", node 5, completions",
    ]


def test_a_deep_tree_comes_in_and_a_deeper_one_is_refused(home, tmp_path):
    """A branch of a hundred nodes is usual; how deep JSON may be has a limit."""
    for depth, refused in ((150, False), (100_000, True)):
        inner = '{"node_id": 1, "children": [' * depth + "]}" * depth
        path = tmp_path / f"{depth}.json"
        path.write_text('{"root": {"node_id": 0, "action_steps": [], "children": [' + inner + "]}}")
        report = import_paths(home / path.name, [path])

        assert (report.spans == 0, len(report.skipped)) == (refused, int(refused))


def test_a_wide_tree_takes_no_more_than_its_size(tmp_path):
    """However many nodes could be expanded, a choice names the latest of them."""
    nodes = [{"node_id": 0, "max_expansions": 10**6, "action_steps": []}]
    nodes += [{"node_id": n, "parent_id": 0, "action_steps": []} for n in range(1, 3000)]
    records = read(tmp_path, nodes)

    assert max(len(one.options) for one in of_kind(records, Decision)) == 50


def test_a_second_import_changes_nothing_and_a_cut_file_keeps_what_it_has(home, tmp_path):
    """As for every format."""
    path = document(tmp_path / "t.json", tree())
    first, again = (import_paths(home / "whole", [path]) for _ in range(2))
    text = json.dumps(tree())
    cut = tmp_path / "cut.json"
    cut.write_text(text[: len(text) * 3 // 4])
    report = import_paths(home / "cut", [cut])

    assert (again.new, again.already_there) == (0, first.new)
    assert (first.errors, first.tool_calls, first.tool_errors) == (1, 4, 1)
    assert len(report.skipped) == 1
    assert 0 < report.generations < first.generations
    with whence.open(home / "whole") as store:
        (run,) = store.runs()
        assert store.run(run.id).generations[0].model == MODEL


def test_settings_without_nodes_are_nobodys(tmp_path):
    """A tree is known by its end where its settings are longer than what is looked at."""
    settings = {"max_expansions": 1, "max_iterations": 10, "selector": {}, "agent": "x" * 80_000}
    path = document(tmp_path / "settings.json", settings)
    assert registry.find_format(Source(path)) is None

    path = document(tmp_path / "tree.json", {**settings, "root": tree()["root"]})
    assert registry.find_format(Source(path)).name == "moatless-tree"


@pytest.mark.parametrize("content", [{}, [], {"root": {}}, {"nodes": [1]}, 7])
def test_a_file_without_nodes_is_refused(content, tmp_path):
    """With the reason."""
    with pytest.raises(IngestError, match="no nodes"):
        read(tmp_path, content)
