"""A run of any dialect is seen by the core, the command line and the other dialects."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

import whence
from whence import agents, generations, insights, research, tokens
from whence.cli.app import cli

if TYPE_CHECKING:
    from pathlib import Path

USAGE = {
    "request_id": "req-1",
    "provider": "openai",
    "model": "gpt-4",
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "provenance": {
        "workflow_id": "wf",
        "agent_id": "a1",
        "agent_type": "provider",
        "task_type": "code",
        "intent": "implement",
    },
}


class Counter(agents.BaseAgent):
    """An agent that says something and answers."""

    def run(self, query: str) -> dict[str, int]:
        self.log(f"asked {query}")
        return {"words": len(query.split())}


def record_insight() -> str:
    """Record an insight and return its provenance id."""
    with insights.provenance_context(
        worker_name="ideas",
        execution_id="e1",
        insight_type=insights.InsightType.VIDEO_IDEA,
        category_key="games",
    ) as provenance:
        provenance.add_data_source("cache", "videos", records_used=5)
        provenance.add_decision_factor("velocity", 3, 0.8, 0.5, "fast")
        provenance.set_insight("idea-1", "Make it")
    return provenance.provenance_id


def record_request() -> str:
    """Track one request and return its id."""
    tokens.TokenManager().handle_signal("track_usage", USAGE)
    return "req-1"


def record_session() -> str:
    """Run an agent and return the id of its run."""
    Counter(enable_provenance=True).execute("how many words")
    with whence.open() as store:
        return store.runs('attributes.dialect = "agents"').items[0].id


def record_artifact() -> str:
    """Record what one model call made, and return the run it was made in."""
    answer = generations.LLMResponse(
        content="Je mange.",
        model="gpt-5",
        response_id="resp_1",
        duration_ms=12.0,
        prompt_tokens=10,
        completion_tokens=5,
        total_tokens=15,
    )
    sentence = generations.SentenceGenerationTrace(0, True, None, answer)  # noqa: FBT003 - the signature of document 4
    trace = generations.ProblemGenerationTrace("gpt-5", "2.0", 12.0, [sentence])
    with whence.run("problems") as run:
        generations.record_artifact("problem-1", trace)
    return run.id


def record_trace() -> str:
    """Trace a pipeline and return the trace id."""

    async def pipeline() -> str:
        async with research.TraceContext.start(project_name="cobot", query="why") as trace:
            trace.start_stage("collection")
            trace.record("collection", "source", {"what": "exa", "why": "good"})
            trace.end_stage("collection", outputs={"evidence_passed": 3})
            return trace.trace_id

    return asyncio.run(pipeline())


WRITERS = [record_insight, record_request, record_session, record_artifact, record_trace]


@pytest.fixture
def folder(recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Record into a home of the test's own, other files into a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WHENCE_HOME", str(recording))
    return recording


def shell(home: Path, *arguments: str) -> Any:
    """Return what a command prints as JSON."""
    result = CliRunner().invoke(cli, [*arguments, "--home", str(home), "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("write", WRITERS)
def test_the_core_and_the_command_line_see_a_run_of_any_dialect(folder: Path, write: Any) -> None:
    """It is in the list, found by its own id, shown as a tree, and explained."""
    any_id = write()
    with whence.open(folder) as store:
        run = store.run(any_id).run
        assert run.status == "complete"
        assert [row.id for row in store.runs(f'id = "{run.id}"').items] == [run.id]
        assert store.why(any_id).run.id == run.id
    assert [row["id"] for row in shell(folder, "runs")["items"]] == [run.id]
    assert shell(folder, "show", any_id)["run"]["id"] == run.id
    assert shell(folder, "why", any_id)["run"]["id"] == run.id


@pytest.mark.parametrize("write", WRITERS)
def test_every_dialect_answers_about_a_run_of_any_other(folder: Path, write: Any) -> None:
    """Each reads it in its own words, with None for what nobody said."""
    any_id = write()
    with whence.open(folder) as store:
        run = store.run(any_id).run

    record = insights.get_provenance_service().get(any_id)
    assert record is not None
    assert record.worker_name == run.name
    assert insights.get_provenance_service().reasoning(any_id) is not None

    trace = asyncio.run(research.TraceQuery().full_trace(any_id))
    assert trace is not None
    assert trace["run"]["status"] == "complete"

    with agents.ProvenanceQueries() as sessions:
        assert sessions.session_trace(run.id)["session"]["success"] is True

    spent = tokens.ProvenanceAnalyzer(tokens.TokenManager()).cost_attribution(by="model")
    model_calls = {record_request: {"gpt-4"}, record_artifact: {"gpt-5"}}
    assert set(spent) == model_calls.get(write, set())


def test_a_model_call_is_one_call_in_every_dialect(folder: Path) -> None:
    """A core run's call has the same tokens wherever one asks."""
    with whence.run("core", workflow="wf") as run:
        run.record_generation(
            provider="openai",
            model="gpt-4",
            usage={"prompt_tokens": 100, "completion_tokens": 50},
            cost_usd=0.25,
        )
    assert (
        tokens.ProvenanceAnalyzer(tokens.TokenManager()).cost_attribution(by="model")["gpt-4"][
            "total_cost"
        ]
        == 0.25
    )
    trace = asyncio.run(research.TraceQuery().full_trace(run.id))
    assert trace is not None
    with agents.ProvenanceQueries() as sessions:
        assert sessions.totals()["provenance_sessions"] == 1
    with whence.open(folder) as store:
        (group,) = store.stats(by=("model",)).rows
    assert (group["model"], group["cost_usd"]) == ("gpt-4", 0.25)
