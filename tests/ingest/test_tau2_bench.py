"""Results of tau2-bench are a run for each simulation."""

from __future__ import annotations

import pytest
from trajectorydata import document, of_kind, records_of

from whence.errors import IngestError
from whence.ingest import registry
from whence.ingest.base import Source
from whence.ingest.importer import import_paths
from whence.record.generation import Generation, ToolCall
from whence.record.link import Link
from whence.record.run import RunEnded, RunStarted
from whence.record.score import Score
from whence.record.span import SpanStarted


def said(role, second, content=None, calls=None, *, cost=None, tokens=None):
    """Return a message; `tokens` are those sent and received."""
    return {
        "role": role,
        "content": content,
        "tool_calls": calls,
        "timestamp": f"2025-06-20T10:00:{second:02}.000000",
        "cost": cost,
        "usage": tokens and {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]},
    }


def asks(key, name, who="assistant"):
    return {"id": key, "name": name, "arguments": {"n": 1}, "requestor": who}


def tells(key, second, content, who="assistant", *, error=False):
    return {
        "id": key,
        "role": "tool",
        "content": content,
        "requestor": who,
        "error": error,
        "timestamp": f"2025-06-20T10:00:{second:02}.000000",
    }


def simulation(trial=0, reward=1.0, reason="user_stop"):
    return {
        "id": f"sim-{trial}",
        "task_id": "7",
        "start_time": "2025-06-20T10:00:00.000000",
        "end_time": "2025-06-20T10:00:10.000000",
        "duration": 10.0,
        "termination_reason": reason,
        "agent_cost": 0.05,
        "user_cost": 0.01,
        "reward_info": {"reward": reward, "reward_breakdown": {"DB": reward}},
        "messages": [
            said("assistant", 0, "Hi! How can I help you today?", cost=0.0),
            said("user", 1, "cancel it", cost=0.004, tokens=(100, 10)),
            said(
                "assistant",
                2,
                None,
                [asks("c1", "find"), asks("c2", "cancel")],
                cost=0.05,
                tokens=(200, 20),
            ),
            tells("c1", 3, "{}"),
            tells("c2", 3, "Error: no", error=True),
            said("user", 4, None, [asks("c3", "toggle", "user")], cost=0.006, tokens=(150, 8)),
            {"role": "tool", "tool_messages": [tells("c3", 5, "on", "user")]},
        ],
        "trial": trial,
        "seed": 1,
    }


def results(*simulations):
    return {
        "timestamp": "2025-06-20",
        "info": {
            "user_info": {"llm": "gpt-x", "llm_args": {}},
            "agent_info": {"llm": "claude-x", "llm_args": {"temperature": 0.0}},
            "environment_info": {"domain_name": "telecom"},
        },
        "tasks": [{"id": "7", "description": "d" * 70_000}],
        "simulations": list(simulations),
    }


def read(folder, *simulations):
    return records_of(document(folder / "r.json", results(*simulations)), "tau2-bench")[0]


@pytest.mark.parametrize("content", [results(simulation()), simulation()])
def test_it_is_recognized(content, tmp_path):
    """Results whose simulations stand behind long tasks, and a simulation by itself."""
    path = document(tmp_path / "r.json", content)

    assert registry.find_format(Source(path)).name == "tau2-bench"
    assert len(of_kind(records_of(path, "tau2-bench")[0], RunStarted)) == 1


def test_each_message_of_a_model_is_a_call(tmp_path):
    """Of the agent's and of the customer's; the greeting is no model's."""
    calls = of_kind(read(tmp_path, simulation()), Generation)

    assert [(call.name, call.model, call.cost_usd) for call in calls] == [
        ("simulated customer", "gpt-x", 0.004),
        ("agent", "claude-x", 0.05),
        ("simulated customer", "gpt-x", 0.006),
    ]
    assert [(c.usage.input_uncached, c.usage.output_visible) for c in calls] == [
        (100, 10),
        (200, 20),
        (150, 8),
    ]


def test_a_tool_call_has_the_answer_with_its_id(tmp_path):
    """The customer's as well; what failed says so."""
    tools = of_kind(read(tmp_path, simulation()), ToolCall)

    assert [(tool.tool_name, tool.output, tool.status) for tool in tools] == [
        ("find", "{}", "ok"),
        ("cancel", "Error: no", "error"),
        ("toggle", "on", "ok"),
    ]
    assert [tool.attributes["requestor"] for tool in tools] == ["assistant", "assistant", "user"]


def test_the_outcome_is_a_score_and_why_it_stopped(tmp_path):
    """What the sides cost is declared; a trial leads to the next one of its task."""
    records = read(tmp_path, simulation(0), simulation(1, 0.0, "max_steps"))
    runs, ends, scores = (of_kind(records, kind) for kind in (RunStarted, RunEnded, Score))
    (link,) = of_kind(records, Link)

    assert runs[0].name == "tau2-bench telecom task 7"
    assert runs[0].attributes["declared"]["cost_usd"] == pytest.approx(0.06)
    assert [(end.status, end.duration_ns) for end in ends] == [
        ("complete", 10_000_000_000),
        ("failed", 10_000_000_000),
    ]
    assert ends[1].error == {"type": "termination", "message": "max_steps"}
    assert [(score.value, score.passed) for score in scores] == [(1.0, True), (0.0, False)]
    assert (link.source, link.target) == (runs[0].run, runs[1].run)
    turns = [span for span in of_kind(records, SpanStarted) if span.name.startswith("turn")]
    assert [turn.input for turn in turns] == ["cancel it", "cancel it"]


def test_it_is_imported_once(home, tmp_path):
    """Whether a simulation stands in the results or by itself."""
    import_paths(home, [document(tmp_path / "r.json", results(simulation()))])

    assert import_paths(home, [tmp_path]).new == 0
    again = import_paths(home, [document(tmp_path / "one.json", simulation())])
    assert (again.runs, again.new) == (1, 0)


def test_a_file_without_simulations_is_refused(tmp_path):
    """And a simulation without messages is named."""
    path = document(tmp_path / "r.json", {"info": {}, "simulations": [{"id": "x"}]})
    assert "no messages" in records_of(path, "tau2-bench")[1][0].why
    with pytest.raises(IngestError, match="no simulations"):
        records_of(document(tmp_path / "r.json", {"info": {}}), "tau2-bench")
